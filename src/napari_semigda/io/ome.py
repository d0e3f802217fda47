"""OME-TIFF: label maps with pixel size, units and the names of the classes."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_semigda.io.atomic import atomic_file
from napari_semigda.io.imagej import Grid
from napari_semigda.io.legend import NAMESPACE, Legend

PLANES_NAMESPACE = "napari-semigda/planes"
"""Of the map annotation that names the planes of a stack."""

_UNITS = frozenset(
    {f"{prefix}m" for prefix in ("Y", "Z", "E", "P", "T", "G", "M", "k", "h", "da", "", "d", "c", "m", "µ")}
    | {"nm", "pm", "fm", "am", "zm", "ym", "Å", "thou", "li", "in", "ft", "yd", "mi", "pt", "pixel"}
)
_LONG_NAMES = {
    "meter": "m",
    "centimeter": "cm",
    "millimeter": "mm",
    "micrometer": "µm",
    "nanometer": "nm",
    "angstrom": "Å",
    "inch": "in",
}
OTHER_UNIT = "reference frame"
"""OME's word for a length in a unit that it does not know, or that nobody has named."""


def write_ome(
    path: Path | str,
    planes: Iterable[NDArray[Any]],
    grid: Grid,
    dtype: type[np.uint8] | type[np.uint16] | type[np.uint32] | type[np.float32],
    *,
    name: str,
    legend: Legend | None = None,
    channels: Sequence[str] = ("labels",),
    plane_names: Sequence[str] = (),
) -> None:
    """Write a zlib-compressed OME-TIFF, valid by the schema 2016-06, plane by plane. Atomic.

    Parameters
    ----------
    path
        The file, ending in ``.ome.tif``; its folder must exist.
    planes
        As many as `grid` says, each (H, W); taken one after the other.
    grid
        Shape, pixel size and unit. A unit that OME does not know becomes its "reference frame".
    dtype
        What the planes are stored as.
    name
        Of the image.
    legend
        Names and colors of the classes; stands in a map annotation.
    channels
        One name a channel.
    plane_names
        One a plane, or none; stand in a map annotation.

    Raises
    ------
    SemiGDAError
        When the file cannot be written.
    """
    metadata: dict[str, Any] = {
        "axes": grid.axes,
        "Name": _plain(name),
        "Channel": {"Name": [_plain(channel) for channel in channels]},
        "MapAnnotation": list(_annotations(legend, plane_names)),
    }
    if grid.unit != "pixel":
        sizes = {"Y": grid.pixel_size[0], "X": grid.pixel_size[1], "Z": grid.spacing}
        for axis, size in sizes.items():
            if size is not None:
                metadata[f"PhysicalSize{axis}"] = size
                metadata[f"PhysicalSize{axis}Unit"] = ome_unit(grid.unit)
    with atomic_file(path) as temporary:
        tifffile.imwrite(
            temporary,
            (np.ascontiguousarray(plane, dtype) for plane in planes),
            shape=grid.shape,
            dtype=dtype,
            ome=True,
            photometric="minisblack",
            compression="zlib",
            metadata=metadata,
        )


def ome_unit(unit: str) -> str:
    """Return a unit (``"µm"``, ``"micrometer"``) as OME writes it; others are its "reference frame"."""
    short = _LONG_NAMES.get(unit, unit)
    return short if short in _UNITS else OTHER_UNIT


def _annotations(legend: Legend | None, plane_names: Sequence[str]) -> Iterable[dict[str, str]]:
    if legend is not None:
        values = {key: _plain(value) for key, value in legend.to_map().items()}
        yield {"Namespace": NAMESPACE, **values}
    if plane_names:
        named = {str(number): _plain(name) for number, name in enumerate(plane_names)}
        yield {"Namespace": PLANES_NAMESPACE, **named}


def _plain(text: str) -> str:
    """Replace what XML cannot hold."""
    return "".join(
        letter if letter.isprintable() and not "\ud800" <= letter <= "\udfff" else "?" for letter in text
    )
