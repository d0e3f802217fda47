"""Corrections that brush, eraser and fill cannot do: pure functions from label map to label map.

Label maps are (H, W), uint8: 0 background, 1, 2, … classes, `UNKNOWN` (255) unlabeled. All functions return a
new array.
"""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_semigda.model.annotation import UNKNOWN

LabelMap = NDArray[np.uint8]
Region = NDArray[np.bool_]

_DIAGONALS_TOO = np.ones((3, 3), bool)


def classes_in(labels: LabelMap) -> list[int]:
    """List the classes that occur, without background and unlabeled pixels."""
    return [value for value in np.unique(labels).tolist() if value not in (0, UNKNOWN)]


def _chosen(labels: LabelMap, values: Collection[int] | None) -> list[int]:
    return [value for value in classes_in(labels) if values is None or value in values]


def fill_holes(labels: LabelMap, values: Collection[int] | None = None) -> LabelMap:
    """Fill holes in classes of these values, None for all, with the class around them.

    A hole is a connected piece of background that is surrounded by one class only and does not reach the edge
    of the image. Background that touches another class or unlabeled pixels is not a hole.
    """
    numbered, count = ndimage.label(labels == 0)
    around, alone = _around(numbered, count, labels)
    alone &= np.isin(around, _chosen(labels, values))
    for side in (numbered[0], numbered[-1], numbered[:, 0], numbered[:, -1]):
        alone[side] = False
    new = np.where(alone, around, 0).astype(np.uint8)
    return np.where(numbered > 0, new[numbered], labels)


def remove_small_objects(labels: LabelMap, smallest: int | Mapping[int, int]) -> LabelMap:
    """Remove connected pieces of fewer than `smallest` pixels; of the classes in `smallest` alone if it is a
    mapping.

    A piece becomes what surrounds it, where that is one label only, else background: a small piece of one
    class inside another leaves no hole. Pixels that touch at a corner are connected.
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
    """Keep the largest connected piece of each class, or of these `values`, and remove the others as
    `remove_small_objects` does. Of two pieces of the same size the upper one is kept.
    """
    kept = labels.copy()
    for value in _chosen(labels, values):
        numbered, count = ndimage.label(kept == value, _DIAGONALS_TOO)
        others = np.ones(count + 1, bool)
        others[[0, 1 + int(np.bincount(numbered.ravel(), minlength=count + 1)[1:].argmax())]] = False
        kept = _without(kept, numbered, count, others)
    return kept


def smooth_outlines(labels: LabelMap, radius: float = 2.0, values: Collection[int] | None = None) -> LabelMap:
    """Smooth outlines of all classes, or of these `values`: each pixel takes the most frequent class around
    it, weighted by a Gaussian with a standard deviation of `radius` pixels.

    Pieces so small or thin that they would vanish are not changed, and neither are unlabeled pixels.
    """
    wanted = _chosen(labels, values)
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
    around, alone = _around(numbered, count, labels)
    new = np.where(alone, around, 0).astype(np.uint8)
    return np.where(pieces[numbered], new[numbered], labels)


def _around(
    numbered: NDArray[np.integer], count: int, labels: LabelMap
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the lowest label next to each numbered piece, and whether it is the only one."""
    lowest, highest = np.full(count + 1, UNKNOWN + 1), np.full(count + 1, -1)
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
    return lowest, lowest == highest
