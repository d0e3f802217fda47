"""Areas, counts and lengths of a label map, in physical units."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from skimage.measure import regionprops_table

from napari_semigda.io.masks import UNLABELED, Legend
from napari_semigda.session.exporting.objects import Objects
from napari_semigda.session.items import Item

Row = tuple[str | int | float | None, ...]

_LENGTHS = ("axis_major_length", "axis_minor_length", "feret_diameter_max", "equivalent_diameter_area")

OBJECT_COLUMNS = (
    *(
        "image",
        "source",
        "object",
        "class",
        "unit",
        "area",
        "perimeter",
        *_LENGTHS,
        "centroid_y",
        "centroid_x",
    ),
    *("area_pixels", "top", "left", "bottom", "right", "pixel_size_y", "pixel_size_x"),
)
"""One row an object. `area` is in squared units, lengths and the centroid in units, the box in pixels."""

IMAGE_COLUMNS = (
    *("image", "source", "class", "objects", "unit", "area", "mean_object_area", "share_of_image"),
    *("area_pixels", "pixels", "pixels_not_looked_at", "pixel_size_y", "pixel_size_x"),
)
"""One row an image and class. `share_of_image` is of what somebody looked at, or the network."""


def measure_objects(objects: Objects, item: Item, name: str, source: str, legend: Legend) -> Iterator[Row]:
    """Measure each object of an image: one row of `OBJECT_COLUMNS` each.

    The perimeter is only known where pixels are square.
    """
    if not objects.classes:
        return
    square = item.pixel_size[0] == item.pixel_size[1]
    properties = ("area", *(("perimeter",) if square else ()), *_LENGTHS, "centroid", "num_pixels", "bbox")
    found = regionprops_table(objects.numbers, properties=properties, spacing=item.pixel_size)
    names = {one.value: one.name for one in legend.classes}
    places = ("bbox-0", "bbox-1", "bbox-2", "bbox-3")
    for row, value in enumerate(objects.classes):
        perimeter = float(found["perimeter"][row]) if square else None
        lengths = (float(found[length][row]) for length in _LENGTHS)
        center = (float(found["centroid-0"][row]), float(found["centroid-1"][row]))
        box = (int(found[place][row]) for place in places)
        yield (
            *(name, source, row + 1, names[value], item.unit, float(found["area"][row]), perimeter),
            *(*lengths, *center, int(found["num_pixels"][row]), *box, *item.pixel_size),
        )


def measure_image(
    mask: NDArray[np.uint8], objects: Objects, item: Item, name: str, source: str, legend: Legend
) -> Iterator[Row]:
    """Measure each class of an image: one row of `IMAGE_COLUMNS` each, also where there are none."""
    pixel_area = item.pixel_size[0] * item.pixel_size[1]
    unknown = int((mask == UNLABELED).sum())
    sizes = np.bincount(objects.numbers.ravel(), minlength=len(objects.classes) + 1)[1:]
    for one in legend.classes:
        own = sizes[np.array(objects.classes, int) == one.value]
        pixels = int(own.sum())
        yield (
            *(name, source, one.name, len(own), item.unit, pixels * pixel_area),
            float(own.mean()) * pixel_area if len(own) else None,
            pixels / (mask.size - unknown) if mask.size > unknown else None,
            *(pixels, mask.size, unknown, *item.pixel_size),
        )
