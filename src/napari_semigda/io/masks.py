"""Label maps in files: TIFF that every program opens, and OME-TIFF; read from TIFF, PNG and the like.

What the values mean, the legend, is written into the file itself and read back from it. ImageJ shows it
under *Image › Show Info…* and keeps it when it saves the file; in an OME-TIFF it is a map annotation.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from struct import error as StructError
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import ImageColor

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import atomic_file
from napari_semigda.io.files import check_regular, parse_json
from napari_semigda.io.pictures import list_planes, read_samples
from napari_semigda.io.planes import Plane
from napari_semigda.io.tiff_pages import opened_tiff
from napari_semigda.io.units import clean_unit, ome_unit

UNLABELED = 255
"""The value of unlabeled pixels."""

UNLABELED_COLOR = "#808080"

NAMESPACE = "napari-semigda/legend"
"""Of the map annotation in an OME-TIFF that holds a legend."""

PLANES_NAMESPACE = "napari-semigda/planes"
"""Of the map annotation that names the planes of a stack."""

_HEADING = "SemiGDA label map"
_LONGEST = 2**20  # characters; a legend of 253 classes with the longest names takes a thirtieth of it
_LARGEST_RATIO = 2**31
_COLORS = 256  # of a color table


# What the values mean ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class LegendEntry:
    """One class of a label map: its value (from 1), its name and its color as ``"#rrggbb"``."""

    value: int
    name: str
    color: str


@dataclass(frozen=True)
class Legend:
    """What the values of a label map mean, apart from 0, the background.

    With `objects` the values number objects, and `classes` says nothing about them.
    """

    classes: tuple[LegendEntry, ...] = ()
    objects: bool = False

    def to_text(self) -> str:
        """Return the legend as one line of ASCII for people and programs."""
        classes = [asdict(one) for one in self.classes]
        objects = {"objects": True, "classes": classes}
        values = objects if self.objects else {"classes": classes, "not_looked_at": UNLABELED}
        return f"{_HEADING} {json.dumps(values)}"

    def to_map(self) -> dict[str, str]:
        """Return the legend as keys and values for people, with the line of `to_text`."""
        names = {"0": "background"} | {str(one.value): one.name for one in self.classes}
        if not self.objects:
            names[str(UNLABELED)] = "unlabeled"
        return names | {"legend": self.to_text()}


def read_legend(path: Path | str) -> Legend | None:
    """Read what the values of a label map mean; None for damaged files and those of other programs."""
    try:
        check_regular(Path(path))
        with opened_tiff(Path(path)) as tif:
            if not (tif.is_ome and tif.ome_metadata):
                return parse_legend(str((tif.imagej_metadata or {}).get("Info", "")))
            for one in ElementTree.fromstring(tif.ome_metadata).iterfind(".//{*}M[@K='legend']"):
                return parse_legend(one.text or "")
    except Exception:  # tifffile raises nearly anything, and reading the pixels tells what is wrong
        pass
    return None


def parse_legend(text: str) -> Legend | None:
    """Find what `Legend.to_text` wrote among what other programs have added; None if it is not there."""
    line = re.search(rf"^{_HEADING} (\{{.*\}})\s*$", text[:_LONGEST], re.MULTILINE)
    if line is None:
        return None
    try:
        values = parse_json(line[1])
        entries = [_entry(one) for one in values.get("classes", ())]
    except (AttributeError, ValueError, TypeError):
        return None
    return Legend(tuple(one for one in entries if one is not None), objects=bool(values.get("objects")))


def _entry(values: Any) -> LegendEntry | None:
    if not isinstance(values, Mapping):
        return None
    value, name, color = values.get("value"), values.get("name"), values.get("color")
    if not isinstance(value, int) or not isinstance(name, str) or not isinstance(color, str):
        return None
    return LegendEntry(value, name, color) if re.fullmatch("#[0-9a-f]{6}", color) else None


# Label maps -------------------------------------------------------------------------------------------

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

    `labels`, (H, W), are integers 0 … 65535 or boolean, stored as uint8 where they fit, else as uint16. The
    (y, x) pixel size is in `unit`: ``"µm"``, ``"pixel"`` or another. A legend without classes says only that
    the file is ours, so that 255 is unlabeled. Raises a `SemiGDAError` for what is not a label map, and as
    `atomic_file`.
    """
    path = Path(path)
    stored = _storable_labels(np.asarray(labels), path)
    write_imagej(
        path,
        [stored],
        Grid("YX", stored.shape, pixel_size, unit),
        np.uint8 if stored.dtype == np.uint8 else np.uint16,
        info=legend.to_text(),
        shown=(0, int(stored.max(initial=1, where=True if legend.objects else stored != UNLABELED))),
        durable=durable,
    )


def read_labels(source: Path | str | Plane) -> NDArray[np.integer]:
    """Read a label map, (H, W) of an integer type, from a file that holds one or from one plane of a file.

    Accepts the formats of `read_plane`. Gray masks that were saved in color are taken for gray, and
    floating-point files whose values are all whole for integers. Of a palette the indices count, whatever
    their colors. What was drawn on a transparent background is the object. Where 0 is white, what is seen
    counts, but in ImageJ's files the stored values. Raises a `SemiGDAError` when the file cannot be read, or
    is not a label map.
    """
    if isinstance(source, Plane):
        plane = source
    else:
        planes = list_planes(source)
        if len(planes) != 1:
            raise SemiGDAError(
                f"“{source}” holds {len(planes)} images; a label map is a single one. Save it on its own."
            )
        plane = planes[0]
    samples, meaning = read_samples(plane)
    return meaning.as_labels(samples, plane.path)


def _storable_labels(labels: NDArray[Any], path: Path) -> NDArray[Any]:
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


# TIFF as ImageJ and OME have it -----------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """The shape of what is written, and how large its pixels are.

    `axes` are ``"YX"``, with any of ``"T"``, ``"Z"`` and ``"C"`` before it, in this order. `pixel_size`
    (y, x) and the `spacing` of planes along z, if known, are in `unit`.
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
    """Write planes as a zlib-compressed TIFF that ImageJ, napari and tifffile open. Atomic.

    The planes, each (H, W) and as many as `grid` says, are taken one after the other and stored as `dtype`.
    ImageJ shows `info` under *Image › Show Info…*. `colors`, (3, 256) uint8, has the color of each value of
    8-bit planes; None is gray. `shown` are the values that ImageJ shows black and white at first; None leaves
    it to ImageJ. Raises a `SemiGDAError` as `atomic_file`, and for more than the 4 GB of ImageJ's files.
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
                (np.ascontiguousarray(plane, dtype) for plane in planes),
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
                f"“{path}” was not written: ImageJ's files end at 4 GB. Write OME-TIFF or single images."
            ) from error


def color_table(legend: Legend) -> NDArray[np.uint8]:
    """Return the color of each value of a label map as red, green and blue: (3, 256) uint8.

    0 is black; unlabeled pixels and values that mean nothing are gray.
    """
    table = np.full((_COLORS, 3), ImageColor.getrgb(UNLABELED_COLOR), np.uint8)
    table[0] = 0
    for one in legend.classes:
        if 0 < one.value < UNLABELED:
            table[one.value] = ImageColor.getrgb(one.color)
    return np.ascontiguousarray(table.T)


def write_ome(
    path: Path | str,
    planes: Iterable[NDArray[Any]],
    grid: Grid,
    dtype: type[np.uint8] | type[np.uint16] | type[np.uint32] | type[np.float32],
    *,
    name: str,
    legend: Legend | None = None,
    plane_names: Sequence[str] = (),
) -> None:
    """Write planes as a zlib-compressed OME-TIFF, valid by the schema 2016-06; `path` ends in ``.ome.tif``.
    Atomic.

    `name` is the image's; names and colors of the classes, and of the planes, are stored in map annotations.
    A unit that OME does not know becomes its "reference frame". The rest is as for `write_imagej`.
    """
    annotations = []
    if legend is not None:
        annotations.append({"Namespace": NAMESPACE, **legend.to_map()})
    if plane_names:
        named = {str(number): one for number, one in enumerate(plane_names)}
        annotations.append({"Namespace": PLANES_NAMESPACE, **named})
    metadata: dict[str, Any] = {
        "axes": grid.axes,
        "Name": _plain(name),
        "Channel": {"Name": ["labels"]},
        "MapAnnotation": [{key: _plain(value) for key, value in one.items()} for one in annotations],
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


def _plain(text: str) -> str:
    """Replace what XML cannot hold."""
    return "".join(
        letter if letter.isprintable() and not "\ud800" <= letter <= "\udfff" else "?" for letter in text
    )
