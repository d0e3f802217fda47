"""How close a predicted mask is to the truth: Dice, IoU, HD95, one image at a time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

NAMES = ("dice", "iou", "hd95")


def scores(
    predicted: NDArray[np.integer], truth: NDArray[np.integer], wanted: Collection[str] = NAMES
) -> dict[str, float]:
    """Compare a label map with the truth; everything above 0 is object.

    Parameters
    ----------
    predicted, truth
        (H, W), of equal size.
    wanted
        Which scores; HD95 takes most of the time.

    Returns
    -------
    dict
        ``"dice"`` and ``"iou"`` in [0, 1]; ``"hd95"``: the 95th percentile of the distances from the pixels
        of one outline to the other outline, the larger of both ways, in pixels. Two empty masks score
        1, 1 and 0; where one is empty, 0, 0 and the diagonal of the image.

    Raises
    ------
    ValueError
        If the sizes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"The prediction is {predicted.shape} pixels and the truth {truth.shape}.")
    found, real = predicted > 0, truth > 0
    score = {"dice": _dice, "iou": _iou, "hd95": _hd95}
    return {name: score[name](found, real) for name in wanted}


def class_scores(
    predicted: NDArray[np.integer],
    truth: NDArray[np.integer],
    classes: Sequence[str],
    wanted: Collection[str] = NAMES,
) -> dict[str, float]:
    """Compare a label map of several classes with the truth: the mean over the classes, and Dice of each.

    Parameters
    ----------
    classes
        The names of the values 1, 2, …; with one name only this is `scores`.

    Returns
    -------
    dict
        As of `scores`, and ``"dice NAME"`` of each class.
    """
    if len(classes) == 1:
        return scores(predicted, truth, wanted)
    each = [scores(predicted == value, truth == value, wanted) for value in range(1, len(classes) + 1)]
    means = {name: sum(one[name] for one in each) / len(each) for name in wanted}
    return means | {f"dice {name}": one["dice"] for name, one in zip(classes, each, strict=True)}


def _dice(found: NDArray[np.bool_], real: NDArray[np.bool_]) -> float:
    total = int(found.sum()) + int(real.sum())
    return 2 * int((found & real).sum()) / total if total else 1.0


def _iou(found: NDArray[np.bool_], real: NDArray[np.bool_]) -> float:
    either = int((found | real).sum())
    return int((found & real).sum()) / either if either else 1.0


def _hd95(found: NDArray[np.bool_], real: NDArray[np.bool_]) -> float:
    if not (found.any() and real.any()):
        return math.hypot(*real.shape) if found.any() or real.any() else 0.0
    # Slow to import; whoever only reads or averages scores need not wait for it.
    from monai.metrics import compute_hausdorff_distance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about how MONAI's own functions call one another
        distance = compute_hausdorff_distance(
            found[None, None], real[None, None], include_background=True, percentile=95
        )
    return float(distance)
