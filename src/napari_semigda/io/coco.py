"""COCO's JSON for objects: masks as compressed run lengths, or as polygons."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask
from scipy import ndimage
from skimage.measure import approximate_polygon, find_contours

from napari_semigda.io.atomic import write_bytes
from napari_semigda.io.masks import Legend

_TOLERANCE = 0.25  # pixels by which a polygon may deviate from the outline, to have fewer points


class CocoFile:
    """Images, categories and annotations, collected one image after the other.

    The classes of the legend become the categories, `about` COCO's "info". With `polygons` outlines are
    written, which every program reads, but which have no holes and round the corners of pixels; without, run
    lengths, exact to the pixel.
    """

    def __init__(self, legend: Legend, about: Mapping[str, str], *, polygons: bool = False) -> None:
        self._polygons = polygons
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._head = {
            "info": dict(about),
            "licenses": [],
            "categories": [
                {"id": one.value, "name": one.name, "supercategory": "", "color": one.color}
                for one in legend.classes
            ],
        }

    def add(
        self, name: str, numbers: NDArray[np.int32], classes: Sequence[int], more: Mapping[str, Any]
    ) -> None:
        """Add an image and its objects: `numbers`, (H, W), is 1 … n on them, and `classes` has the category
        of each. `more` are additional fields of the image.
        """
        height, width = numbers.shape
        image_id = len(self._images) + 1
        self._images.append({"id": image_id, "file_name": name, "width": width, "height": height, **more})
        for number, (rows, columns) in enumerate(ndimage.find_objects(numbers), start=1):
            crop = numbers[rows, columns] == number
            left, top = columns.start, rows.start
            outline: Any = (
                polygons(crop, left, top) if self._polygons else run_lengths(crop, left, top, numbers.shape)
            )
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": image_id,
                    "category_id": classes[number - 1],
                    "segmentation": outline,
                    "area": int(crop.sum()),
                    "bbox": [left, top, columns.stop - left, rows.stop - top],
                    "iscrowd": 0,
                }
            )

    def write(self, path: Path | str) -> None:
        """Write the file; atomic."""
        content = self._head | {"images": self._images, "annotations": self._annotations}
        write_bytes(path, json.dumps(content, separators=(",", ":")).encode("ascii"))


def run_lengths(crop: NDArray[np.bool_], left: int, top: int, shape: tuple[int, ...]) -> dict[str, Any]:
    """Encode a mask as COCO's compressed run lengths: column by column, background first.

    `crop` is the part of an image of `shape` (H, W) with the object, and begins at `left` and `top`. Runs are
    counted here, because pycocotools goes through the whole image for each object.
    """
    height, width = shape
    columns, rows = np.nonzero(crop.T)
    pixels = (columns + left).astype(np.int64) * height + rows + top
    gaps = np.flatnonzero(np.diff(pixels) > 1)
    starts = pixels[np.concatenate([[0], gaps + 1])] if pixels.size else pixels
    ends = pixels[np.concatenate([gaps, [-1]])] + 1 if pixels.size else pixels
    edges = np.concatenate([[0], np.stack([starts, ends], axis=1).ravel(), [height * width]])
    counts = np.diff(edges).tolist()
    if counts[-1] == 0:
        counts.pop()
    encoded = mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": encoded["counts"].decode()}


def polygons(crop: NDArray[np.bool_], left: int, top: int) -> list[list[float]]:
    """Outline a mask with polygons x, y, x, y, …, in pixels from the image's upper left corner.

    `crop` is the part of the image with the object, and begins at `left` and `top`.
    """
    outlines = find_contours(np.pad(crop, 1).astype(np.float64), 0.5, fully_connected="high")
    found = []
    for outline in outlines:
        y, x = outline.T
        if (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() > 0:  # the object is inside: no edge of a hole
            line = approximate_polygon(outline, _TOLERANCE)[:-1]
            if len(line) > 2:
                found.append([float(part) for y, x in line for part in (x + left - 0.5, y + top - 0.5)])
    return found
