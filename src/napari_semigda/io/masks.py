"""Label maps in files: written as plain TIFF that every program opens, read from TIFF, PNG and the like."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.imagej import Grid, write_imagej
from napari_semigda.io.legend import NOT_LOOKED_AT, Legend
from napari_semigda.io.pictures import Plane, list_planes, read_samples

_OWN = Legend()


def write_labels(
    path: Path | str,
    labels: NDArray[Any],
    pixel_size: tuple[float, float] = (1.0, 1.0),
    unit: str = "pixel",
    *,
    legend: Legend = _OWN,
    durable: bool = True,
) -> None:
    """Write a label map as a zlib-compressed TIFF that ImageJ, napari and tifffile open. Atomic.

    Parameters
    ----------
    path
        The file; its folder must exist.
    labels
        (H, W), integer or boolean, values 0 … 65535. Stored as uint8, or as uint16 where a value is
        above 255.
    pixel_size
        (y, x) in `unit`; kept in the resolution tags.
    unit
        ``"µm"``, ``"pixel"`` or another word; kept as ImageJ keeps it.
    legend
        What the values mean. Without classes the file says only that it is ours, and that 255 therefore
        means "not looked at".
    durable
        Wait until the disk has it; see `atomic_file`.

    Raises
    ------
    SemiGDAError
        When the array is no label map, or the file cannot be written.
    """
    path = Path(path)
    stored = _storable(np.asarray(labels), path)
    write_imagej(
        path,
        [stored],
        Grid("YX", stored.shape, pixel_size, unit),
        np.uint8 if stored.dtype == np.uint8 else np.uint16,
        info=legend.to_text(),
        shown=(0, _highest(stored, legend)),
        durable=durable,
    )


def read_labels(source: Path | str | Plane) -> NDArray[np.integer]:
    """Read a label map: from a file that holds one, or one plane of a file.

    Accepts TIFF, PNG and the other formats of `read_plane`. Gray masks that were saved in color are
    taken for gray, and floating-point files whose values are all whole for integers. Of a palette the
    indices count, whatever their colors. What was drawn on a transparent ground is the object. Where 0 is
    white, what is seen counts, but in ImageJ's files the stored values.

    Returns
    -------
    ndarray
        (H, W), of an integer type; values as they are in the file.

    Raises
    ------
    SemiGDAError
        When the file cannot be read, or is no label map.
    """
    if isinstance(source, Plane):
        plane = source
    else:
        planes = list_planes(source)
        if len(planes) != 1:
            raise SemiGDAError(f"“{source}” holds {len(planes)} pictures; a label map is a single one.")
        plane = planes[0]
    samples, meaning = read_samples(plane)
    return meaning.as_labels(samples, plane.path)


def _storable(labels: NDArray[Any], path: Path) -> NDArray[Any]:
    if labels.ndim != 2 or not labels.size or labels.dtype.kind not in "bui":
        raise SemiGDAError(
            f"“{path.name}” was not written: a label map has two dimensions and whole numbers, "
            f"but this one has the shape {labels.shape} and the type {labels.dtype}."
        )
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest > 65535:
        raise SemiGDAError(
            f"“{path.name}” was not written: labels go from 0 to 65535, "
            f"but these go from {lowest} to {highest}."
        )
    return np.ascontiguousarray(labels, dtype=np.uint8 if highest <= 255 else np.uint16)


def _highest(labels: NDArray[Any], legend: Legend) -> int:
    """Return the highest number of an object or a class, at least 1."""
    counted = True if legend.objects else labels != NOT_LOOKED_AT
    return int(labels.max(initial=1, where=counted))
