"""ImageJ's kind of TIFF: hyperstacks with pixel size, color table and a text about the file."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import error as StructError
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import atomic_file
from napari_semigda.io.legend import NOT_LOOKED_AT, Legend
from napari_semigda.io.units import clean_unit

NOT_LOOKED_AT_COLOR = "#808080"

_LARGEST_RATIO = 2**31
_VALUES = 256  # of a color table


@dataclass(frozen=True)
class Grid:
    """The shape of what is written, and how large its pixels are.

    Parameters
    ----------
    axes
        ``"YX"``, with any of ``"T"``, ``"Z"`` and ``"C"`` before it, in this order.
    shape
        As long as `axes`.
    pixel_size
        (y, x) in `unit`.
    unit
        ``"µm"``, ``"pixel"`` or another word.
    spacing
        Between two planes along z, in `unit`; None if it is not known.
    """

    axes: str
    shape: tuple[int, ...]
    pixel_size: tuple[float, float] = (1.0, 1.0)
    unit: str = "pixel"
    spacing: float | None = None


def write_imagej(
    path: Path | str,
    planes: Iterable[NDArray[Any]],
    grid: Grid,
    dtype: type[np.uint8] | type[np.uint16] | type[np.float32],
    *,
    info: str = "",
    colors: NDArray[np.uint8] | None = None,
    plane_names: Sequence[str] = (),
    shown: tuple[float, float] | None = None,
    durable: bool = True,
) -> None:
    """Write a zlib-compressed TIFF that ImageJ, napari and tifffile open, plane by plane. Atomic.

    Parameters
    ----------
    path
        The file; its folder must exist.
    planes
        As many as `grid` says, each (H, W); taken one after the other.
    grid
        Shape and pixel size; kept in the resolution tags, as ImageJ keeps them.
    dtype
        What the planes are stored as.
    info
        Shown by ImageJ under *Image › Show Info…*.
    colors
        (3, 256) uint8: the color of each value of 8-bit planes; None is gray.
    plane_names
        One a plane, or none.
    shown
        The values that ImageJ shows black and white at first; None leaves it to ImageJ.
    durable
        Wait until the disk has it; see `atomic_file`.

    Raises
    ------
    SemiGDAError
        When the file cannot be written, or would be larger than ImageJ's files can be.
    """
    given: dict[str, Any] = {"axes": grid.axes, "Info": info}
    if plane_names:
        given["Labels"] = list(plane_names)
    if shown is not None:
        given["min"], given["max"] = map(float, shown)
    if grid.spacing is not None:
        given["spacing"] = grid.spacing
    resolution = None
    unit = clean_unit(grid.unit)
    if unit != "pixel" and all(1 / _LARGEST_RATIO < size < _LARGEST_RATIO for size in grid.pixel_size):
        given["unit"] = unit.replace("µ", "\\u00B5").encode("ascii", "replace").decode()
        resolution = (1 / grid.pixel_size[1], 1 / grid.pixel_size[0])
    if colors is not None:
        given["LUTs"] = [colors]
    with atomic_file(path, durable=durable) as temporary:
        try:
            tifffile.imwrite(
                temporary,
                _stored(planes, dtype),
                shape=grid.shape,
                dtype=dtype,
                imagej=True,
                photometric="minisblack" if colors is None else "palette",
                colormap=None if colors is None else colors.astype(np.uint16) * 257,
                compression="zlib",
                resolution=resolution,
                metadata=given,
            )
        except StructError as error:  # an offset beyond 32 bits
            raise SemiGDAError(
                f"“{path}” was not written: ImageJ's files end at 4 GB. Write OME-TIFF, or a file an image."
            ) from error


def color_table(legend: Legend) -> NDArray[np.uint8]:
    """Give each value of a label map its color, as red, green and blue: (3, 256) uint8.

    0 is black, what nobody looked at is gray, and so are values that mean nothing.
    """
    table = np.full((_VALUES, 3), _rgb(NOT_LOOKED_AT_COLOR), np.uint8)
    table[0] = 0
    for one in legend.classes:
        if 0 < one.value < NOT_LOOKED_AT:
            table[one.value] = _rgb(one.color)
    return np.ascontiguousarray(table.T)


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _stored(planes: Iterable[NDArray[Any]], dtype: type[Any]) -> Iterator[NDArray[Any]]:
    for plane in planes:
        yield np.ascontiguousarray(plane, dtype)
