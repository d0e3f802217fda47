"""COCO's JSON for objects: masks as compressed run lengths, or as polygons."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import approximate_polygon, find_contours

from napari_semigda.io.atomic import write_bytes
from napari_semigda.io.masks import Legend

_TOLERANCE = 0.25  # pixels by which a polygon may leave the outline, to be made of fewer points


class CocoFile:
    """Images, categories and annotations, gathered one image after the other.

    Parameters
    ----------
    legend
        The classes become the categories; their values are the categories' ids.
    about
        COCO's "info": a description, a version, …
    polygons
        Write outlines as polygons, which every program reads, but which have no holes and round the corners
        of pixels; without, masks are run lengths, exact to the pixel.
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
        """Add an image and its objects.

        Parameters
        ----------
        name
            The image's file.
        numbers
            (H, W): 0, and 1 … n for the objects.
        classes
            Category of each object, in the order of their numbers.
        more
            Further fields of the image.
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
        """Write the file; atomic.

        Raises
        ------
        SemiGDAError
            When it cannot be written.
        """
        content = self._head | {"images": self._images, "annotations": self._annotations}
        write_bytes(path, json.dumps(content, separators=(",", ":")).encode("ascii"))


def run_lengths(crop: NDArray[np.bool_], left: int, top: int, shape: tuple[int, ...]) -> dict[str, Any]:
    """Encode a mask as COCO's compressed run lengths: column by column, background first.

    Parameters
    ----------
    crop
        The part of the mask with the object in it.
    left, top
        Where the part lies in the image.
    shape
        (H, W) of the image.
    """
    height, width = shape
    columns, rows = np.nonzero(crop.T)
    places = (columns + left).astype(np.int64) * height + rows + top
    gaps = np.flatnonzero(np.diff(places) > 1)
    starts = places[np.concatenate([[0], gaps + 1])] if places.size else places
    ends = places[np.concatenate([gaps, [-1]])] + 1 if places.size else places
    edges = np.concatenate([[0], np.stack([starts, ends], axis=1).ravel(), [height * width]])
    counts = [int(count) for count in np.diff(edges)]
    if counts[-1] == 0:
        counts.pop()
    return {"size": [height, width], "counts": _compressed(counts)}


def polygons(crop: NDArray[np.bool_], left: int, top: int) -> list[list[float]]:
    """Outline a mask with polygons x, y, x, y, …, in pixels from the image's upper left corner.

    Parameters
    ----------
    crop
        The part of the mask with the object in it.
    left, top
        Where the part lies in the image.
    """
    outlines = find_contours(np.pad(crop, 1).astype(np.float64), 0.5, fully_connected="high")
    kept = (approximate_polygon(line, _TOLERANCE)[:-1] for line in outlines if _goes_round_object(line))
    return [
        [float(part) for y, x in line for part in (x + left - 0.5, y + top - 0.5)]
        for line in kept
        if len(line) > 2
    ]


def _goes_round_object(line: NDArray[np.float64]) -> bool:
    """Whether the object is inside the line, and not a hole of it."""
    y, x = line.T
    return bool((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() > 0)


def _compressed(counts: Sequence[int]) -> str:
    """Write each count, from the fourth on its difference to the last but one, in letters of 5 bits."""
    letters = []
    for place, count in enumerate(counts):
        rest, more = count - counts[place - 2] if place > 2 else count, True
        while more:
            bits = rest & 0x1F
            rest >>= 5
            more = rest != (-1 if bits & 0x10 else 0)
            letters.append(chr(bits + 48 + (0x20 if more else 0)))
    return "".join(letters)
