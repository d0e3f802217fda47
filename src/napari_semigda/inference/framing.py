"""Choose whether images are resized whole or split into tiles, by the thickness of the labeled objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.morphology import skeletonize

from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.annotation import UNKNOWN

LEAST_THICKNESS = 6.0
"""Pixels of the network below which an object is thin: its finest level sees squares of 2 × 2."""

WORTH_TILES = 1.25
"""Tiles cost more: they have to show objects this much larger than the whole image would."""

MASKS_MEASURED = 8
"""Number of masks from which the thickness of a session's objects is measured."""

_WINDOW = 1024
"""Side in pixels of the part of a large label map that is measured."""


def settings_for_objects(masks: Iterable[NDArray[np.integer]], settings: ImageSettings) -> ImageSettings:
    """Choose framing and zoom such that the network sees objects at least `LEAST_THICKNESS` pixels thick.

    ``"whole"`` where that shows half of the masks' objects thick enough, or tiles would not show them larger;
    else ``"tiles"``, with a `zoom` below 1 where the images have more resolution than needed. The rest is
    kept, and without any object everything.
    """
    measured = [
        (thickness, thickness * settings.working_size / max(mask.shape))
        for mask in masks
        if (thickness := object_thickness(mask)) is not None
    ]
    if not measured:
        return settings
    own, seen_whole = (median(column) for column in zip(*measured, strict=True))
    zoom = min(1.0, max(0.02, round(LEAST_THICKNESS / own, 2)))
    thin = seen_whole < LEAST_THICKNESS
    if thin and zoom * own >= WORTH_TILES * seen_whole:
        return replace(settings, framing="tiles", zoom=zoom)
    return replace(settings, framing="whole", zoom=1.0)


def object_thickness(labels: NDArray[np.integer]) -> float | None:
    """Measure the thickness of the objects in a label map (H, W), in its own pixels; None without objects.

    Twice the median distance of the objects' middle lines from their outlines. Of a large label map only a
    part with objects is measured.
    """
    objects = _part_with_objects((labels > 0) & (labels != UNKNOWN))
    if not objects.any():
        return None
    middle = skeletonize(objects)
    distances: NDArray[np.float64] = distance_transform_edt(np.pad(objects, 1))[1:-1, 1:-1]
    # the distance is that to the center of the first pixel outside
    return float(np.median(2 * distances[middle] - 1))


def _part_with_objects(objects: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cut a window out, around the middle one of the rows with objects and the middle one of its pixels."""
    rows = np.flatnonzero(objects.any(axis=1))
    if max(objects.shape) <= _WINDOW or not len(rows):
        return objects
    row = rows[len(rows) // 2]
    columns = np.flatnonzero(objects[row])
    top, left = (
        int(np.clip(middle - _WINDOW // 2, 0, max(0, side - _WINDOW)))
        for middle, side in zip((row, columns[len(columns) // 2]), objects.shape, strict=True)
    )
    return objects[top : top + _WINDOW, left : left + _WINDOW]
