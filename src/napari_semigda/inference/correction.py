"""Corrections that brush, eraser and fill cannot do: pure functions from label map to label map.

Label maps are (H, W), uint8: 0 background, 1, 2, … classes, `UNKNOWN` (255) unlabeled. All functions return a
new array.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_semigda.model.annotation import UNKNOWN

LabelMap = NDArray[np.uint8]
Region = NDArray[np.bool_]

_DIAGONALS_TOO = np.ones((3, 3), bool)
_NONE, _LEAST = 256, -1


def classes_in(labels: LabelMap) -> list[int]:
    """List the classes that occur, without background and unlabeled pixels."""
    return [value for value in np.unique(labels).tolist() if value not in (0, UNKNOWN)]


def fill_holes(labels: LabelMap, values: Collection[int] | None = None) -> LabelMap:
    """Fill holes with the class around them.

    A hole is a connected piece of background that is surrounded by one class only and does not reach the edge
    of the image. Background that touches another class or unlabeled pixels is not a hole.

    Parameters
    ----------
    labels
        The label map.
    values
        Classes whose holes are filled; None fills those of all.
    """
    numbered, count = ndimage.label(labels == 0)
    around = _around(numbered, count, labels)
    classes = classes_in(labels)
    fillable = around.alone & ~_at_the_edge(numbered, count)
    fillable &= np.isin(around.lowest, [one for one in classes if values is None or one in values])
    new = np.where(fillable, around.lowest, 0).astype(np.uint8)
    return np.where(numbered > 0, new[numbered], labels)


def remove_small_objects(labels: LabelMap, smallest: int | Mapping[int, int]) -> LabelMap:
    """Remove connected pieces that are too small.

    A piece becomes what surrounds it, where that is one label only, else background: a small piece of one
    class inside another leaves no hole. Pixels that touch at a corner are connected.

    Parameters
    ----------
    labels
        The label map.
    smallest
        Pieces with fewer pixels are removed; or such a number for each class (classes without one are kept).
    """
    smallest = smallest if isinstance(smallest, Mapping) else dict.fromkeys(classes_in(labels), smallest)
    cleaned = labels.copy()
    found = True
    while found:  # a piece that takes its surroundings' class may leave a new small one; there are ever fewer
        found = False
        for value, least in smallest.items():
            numbered, count = ndimage.label(cleaned == value, _DIAGONALS_TOO)
            small = np.bincount(numbered.ravel(), minlength=count + 1) < least
            small[0] = False
            if small.any():
                found = True
                cleaned = _without(cleaned, numbered, count, small)
    return cleaned


def keep_largest(labels: LabelMap, values: Collection[int] | None = None) -> LabelMap:
    """Keep the largest connected piece of each class, and remove the others as `remove_small_objects` does.

    Of two pieces of the same size the upper one is kept.

    Parameters
    ----------
    labels
        The label map.
    values
        Classes of which one piece is kept; None: all.
    """
    kept = labels.copy()
    for value in classes_in(labels):
        if values is None or value in values:
            numbered, count = ndimage.label(kept == value, _DIAGONALS_TOO)
            others = np.ones(count + 1, bool)
            others[[0, 1 + int(np.bincount(numbered.ravel(), minlength=count + 1)[1:].argmax())]] = False
            kept = _without(kept, numbered, count, others)
    return kept


def smooth_outlines(labels: LabelMap, radius: float = 2.0, values: Collection[int] | None = None) -> LabelMap:
    """Smooth outlines: each pixel takes the most frequent class around it (weighted by a Gaussian).

    Pieces so small or thin that they would vanish are not changed, and neither are unlabeled pixels.

    Parameters
    ----------
    labels
        The label map.
    radius
        Standard deviation of the Gaussian, in pixels.
    values
        Classes whose outlines are smoothed; None: all.
    """
    wanted = [one for one in classes_in(labels) if values is None or one in values]
    if not wanted:
        return labels.copy()
    weight, smooth = np.full(labels.shape, -1.0, np.float32), labels.copy()
    for value in (0, *classes_in(labels)):
        share = ndimage.gaussian_filter((labels == value).astype(np.float32), radius, mode="nearest")
        smooth[share > weight] = value
        np.maximum(weight, share, out=weight)
    wanted_here = np.isin(labels, wanted) | np.isin(smooth, wanted)
    smooth = np.where(wanted_here & (labels != UNKNOWN), smooth, labels)
    for value in classes_in(labels):
        numbered, count = ndimage.label(labels == value, _DIAGONALS_TOO)
        stays = np.bincount(numbered[smooth == value], minlength=count + 1) > 0
        smooth = np.where((numbered > 0) & ~stays[numbered], labels, smooth)
    return smooth


def use_inside(labels: LabelMap, other: LabelMap, region: Region) -> LabelMap:
    """Replace a label map by another one of the same size inside a region, (H, W) bool."""
    return np.where(region, other, labels)


def mark_unlabeled(labels: LabelMap, region: Region) -> LabelMap:
    """Mark a region as unlabeled, so that it trains nothing."""
    return np.where(region, np.uint8(UNKNOWN), labels)


def _without(
    labels: LabelMap, numbered: NDArray[np.integer], count: int, pieces: NDArray[np.bool_]
) -> LabelMap:
    """Give numbered pieces the label around them, where there is one only, else background."""
    around = _around(numbered, count, labels)
    new = np.where(around.alone, around.lowest, 0).astype(np.uint8)
    return np.where(pieces[numbered], new[numbered], labels)


class _Around(NamedTuple):
    """The lowest and highest label next to each numbered piece; index 0 is no piece."""

    lowest: NDArray[np.intp]
    highest: NDArray[np.intp]

    @property
    def alone(self) -> NDArray[np.bool_]:
        """Whether each piece has only one label next to it."""
        alone: NDArray[np.bool_] = self.lowest == self.highest
        return alone


def _around(numbered: NDArray[np.integer], count: int, labels: LabelMap) -> _Around:
    lowest, highest = np.full(count + 1, _NONE), np.full(count + 1, _LEAST)
    for here, there in (
        (np.s_[1:], np.s_[:-1]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        piece, beside = numbered[here], labels[there]
        edge = (piece > 0) & (numbered[there] != piece)
        np.minimum.at(lowest, piece[edge], beside[edge])
        np.maximum.at(highest, piece[edge], beside[edge])
    return _Around(lowest, highest)


def _at_the_edge(numbered: NDArray[np.integer], count: int) -> NDArray[np.bool_]:
    at_edge = np.zeros(count + 1, bool)
    for side in (numbered[0], numbered[-1], numbered[:, 0], numbered[:, -1]):
        at_edge[side] = True
    return at_edge
