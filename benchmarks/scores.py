"""How close a predicted mask is to the truth: Dice, IoU, HD95, one image at a time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

NAMES = ("dice", "iou", "hd95")


def scores(predicted: NDArray[np.integer], truth: NDArray[np.integer]) -> dict[str, float]:
    """Compare a label map with the truth; everything above 0 is object.

    Parameters
    ----------
    predicted, truth
        (H, W), of equal size.

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
    found, wanted = predicted > 0, truth > 0
    if not found.any() and not wanted.any():
        return {"dice": 1.0, "iou": 1.0, "hd95": 0.0}
    if not found.any() or not wanted.any():
        return {"dice": 0.0, "iou": 0.0, "hd95": math.hypot(*truth.shape)}
    both, either = int((found & wanted).sum()), int((found | wanted).sum())
    return {"dice": 2 * both / (both + either), "iou": both / either, "hd95": _hd95(found, wanted)}


def _hd95(found: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    # Slow to import; whoever only reads or averages scores need not wait for it.
    from monai.metrics import compute_hausdorff_distance

    pair = (mask[None, None] for mask in (found, wanted))
    return float(compute_hausdorff_distance(*pair, include_background=True, percentile=95))
