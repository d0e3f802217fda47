"""The objects of a label map, connected pixels of one class, and their areas, counts and lengths."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import regionprops_table

from napari_semigda.io.masks import UNLABELED, Legend
from napari_semigda.session.items import Item

Row = tuple[str | int | float | None, ...]

_EIGHT_NEIGHBORS = np.ones((3, 3), bool)
_LENGTHS = ("axis_major_length", "axis_minor_length", "feret_diameter_max", "equivalent_diameter_area")

OBJECT_COLUMNS = (
    *("image", "source", "object", "class", "unit", "area", "perimeter", *_LENGTHS),
    *("centroid_y", "centroid_x", "area_pixels", "top", "left", "bottom", "right"),
    *("pixel_size_y", "pixel_size_x"),
)
"""One row an object. `area` is in squared units, lengths and the centroid in units, the box in pixels."""

IMAGE_COLUMNS = (
    *("image", "source", "class", "objects", "unit", "area", "mean_object_area", "share_of_image"),
    *("area_pixels", "pixels", "pixels_not_looked_at", "pixel_size_y", "pixel_size_x"),
)
"""One row an image and class. `share_of_image` is of the labeled (or predicted) pixels."""


class Objects(NamedTuple):
    """The objects of one label map: (H, W) int32 with 0 and 1 … n, class by class, and the class of each."""

    numbers: NDArray[np.int32]
    classes: list[int]


def number_objects(mask: NDArray[np.uint8], classes: Sequence[int], minimum_size: int = 1) -> Objects:
    """Number the connected parts of each class; pixels that touch at a corner are connected.

    Parts smaller than `minimum_size` pixels, and values that are not in `classes`, belong to no object.
    """
    numbers = np.zeros(mask.shape, np.int32)
    found: list[int] = []
    for value in classes:
        parts, _ = ndimage.label(mask == value, _EIGHT_NEIGHBORS)
        large = np.bincount(parts.ravel()) >= minimum_size
        large[0] = False
        numbers += np.where(large, len(found) + np.cumsum(large), 0)[parts].astype(np.int32)
        found += [value] * int(large.sum())
    return Objects(numbers, found)


def measure_objects(objects: Objects, item: Item, source: str, legend: Legend) -> Iterator[Row]:
    """Measure each object of an image: one row of `OBJECT_COLUMNS` each.

    The perimeter is only known where pixels are square.
    """
    if not objects.classes:
        return
    square = item.pixel_size[0] == item.pixel_size[1]
    properties = ("area", *(("perimeter",) if square else ()), *_LENGTHS, "centroid", "num_pixels", "bbox")
    found = regionprops_table(objects.numbers, properties=properties, spacing=item.pixel_size)
    names = {one.value: one.name for one in legend.classes}
    floats = (*_LENGTHS, "centroid-0", "centroid-1")
    whole = ("num_pixels", "bbox-0", "bbox-1", "bbox-2", "bbox-3")
    for row, value in enumerate(objects.classes):
        yield (
            *(item.name, source, row + 1, names[value], item.unit, float(found["area"][row])),
            float(found["perimeter"][row]) if square else None,
            *(float(found[name][row]) for name in floats),
            *(int(found[name][row]) for name in whole),
            *item.pixel_size,
        )


def measure_image(
    mask: NDArray[np.uint8], objects: Objects, item: Item, source: str, legend: Legend
) -> Iterator[Row]:
    """Measure each class of an image: one row of `IMAGE_COLUMNS` each, also where there are none."""
    pixel_area = item.pixel_size[0] * item.pixel_size[1]
    unlabeled = int((mask == UNLABELED).sum())
    sizes = np.bincount(objects.numbers.ravel(), minlength=len(objects.classes) + 1)[1:]
    for one in legend.classes:
        own = sizes[np.array(objects.classes, int) == one.value]
        pixels = int(own.sum())
        yield (
            *(item.name, source, one.name, len(own), item.unit, pixels * pixel_area),
            float(own.mean()) * pixel_area if len(own) else None,
            pixels / (mask.size - unlabeled) if mask.size > unlabeled else None,
            *(pixels, mask.size, unlabeled, *item.pixel_size),
        )
