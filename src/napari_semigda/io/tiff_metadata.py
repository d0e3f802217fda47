"""What a TIFF says of itself: pixel sizes, and the axes and files of an OME-TIFF.

A set of files (OME-TIFF) shares one description. Each of them knows its own parts by an identifier, so that a
renamed file is still known; one file may also have the description for all others. It comes from a file of
unknown origin: it opens nothing outside of its folder, and what it claims is bounded.
"""

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from xml.etree import ElementTree

import tifffile

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.tiff_pages import opened_tiff
from napari_semigda.io.units import (
    NO_SIZE,
    PixelSize,
    from_density,
    number_in,
    size_of_pixel,
    unless_dots_per_inch,
    unless_printed,
)

_MOST_PARTS = 1_000_000  # a description that claims more planes is taken for a broken one
_ORDERS = frozenset({"XYZCT", "XYZTC", "XYCTZ", "XYCZT", "XYTCZ", "XYTZC"})


class Part(NamedTuple):
    """Where one stored plane is."""

    file: str  # name in the same folder; empty for the file that the description was read from
    identifier: str  # of that file, empty where it has none
    page: int


@dataclass(frozen=True)
class OmeImage:
    """One image of a description.

    `axes` and `shape` are those of the stored planes, without height, width and the samples of a pixel, such
    as ``"TZC"``. `parts` says where each plane is stored, counted over `axes`; planes that the description
    leaves out have none.
    """

    axes: str
    shape: tuple[int, ...]
    parts: dict[int, Part] = field(default_factory=dict)
    pixel_size: PixelSize = NO_SIZE


@dataclass(frozen=True)
class Description:
    """The description of a set of files: its images, and the identifier of the file that was asked."""

    identifier: str
    images: tuple[OmeImage, ...]

    def missing(self, path: Path) -> tuple[tuple[str, str], ...]:
        """List the files of the set that are not beside `path`: their names, by their identifiers."""
        there = {file.casefold() for file in os.listdir(path.parent)}
        parts = [part for image in self.images for part in image.parts.values()]
        names = {part.identifier or part.file: part.file for part in parts}
        return tuple((key, name) for key, name in names.items() if name and name.casefold() not in there)


def check_claims(xml: str, path: Path) -> None:
    """Refuse a description that claims more planes than any file has."""
    for pixels in _pixels(_parsed(xml)):
        planes = math.prod(_whole(pixels.get(f"Size{axis}"), 1) for axis in "ZCT")
        claims = [_whole(value, 0) for part in _named(pixels, "TiffData") for value in part.attrib.values()]
        if max(planes, *claims, 0) > _MOST_PARTS:
            raise SemiGDAError(f"“{path}” claims to hold {max(planes, *claims)} planes; it seems damaged.")


def read_set(xml: str, path: Path, page_count: int) -> Description | None:
    """Read the description in an OME-TIFF whose images are in several files; None for others. Raises a
    `SemiGDAError` when the file with the description is missing, or it names no part of this file.
    """
    root = _parsed(xml)
    if root is None:
        return None
    elsewhere = next(_named(root, "BinaryOnly"), None)
    identifier = root.get("UUID") or ""
    if elsewhere is not None:
        root = _parsed(_of_another_file(elsewhere.get("MetadataFile") or "", path))
        if root is None:
            return None
    images = tuple(_image(pixels, page_count) for pixels in _pixels(root))
    files = {(part.file, part.identifier) for image in images for part in image.parts.values()}
    if elsewhere is None and all(
        known in ("", identifier) and file.casefold() in ("", path.name.casefold()) for file, known in files
    ):
        return None
    own = _own(files, identifier, path, alone=elsewhere is None)
    if not own:
        names = ", ".join(sorted(f"“{name[:100]}”" for name, _ in files)[:3]) or "no file"
        raise SemiGDAError(
            f"“{path}” belongs to a set of files (OME-TIFF) that knows it by another name; its planes are in "
            f"{names}. Rename it back."
        )
    return Description(identifier, tuple(_with_own_parts(image, own) for image in images))


def pixel_size(tif: tifffile.TiffFile, number: int, key: tifffile.TiffPage) -> PixelSize:
    """Return the pixel size (y, x) and its unit as OME-XML, ImageJ or the resolution tags give it."""
    if tif.is_ome and tif.ome_metadata:
        return _described_size(_attributes(tif.ome_metadata, number))
    scanned = re.search(r"\bMPP\s*=\s*([0-9.]+)", key.description) if tif.is_svs else None
    if scanned is not None and number_in(scanned[1]) > 0:
        return from_density((1 / number_in(scanned[1]),) * 2, "µm")
    per_unit = tuple(_ratio(key.tags.valueof(name)) for name in ("YResolution", "XResolution"))
    if tif.is_imagej:
        unit = _imagej_unit(tif)
        size = from_density(per_unit, unit)
        return unless_dots_per_inch(per_unit[1], size) if unit in ("inch", "in") else size
    units = {tifffile.RESUNIT.CENTIMETER: "cm", tifffile.RESUNIT.INCH: "inch"}
    unit = units.get(key.tags.valueof("ResolutionUnit"), "pixel")
    return unless_printed(from_density(per_unit, unit))


def spacing(tif: tifffile.TiffFile, number: int) -> float | None:
    """Return the distance of planes along z, in the unit of the pixel size; None if unknown."""
    if tif.is_ome and tif.ome_metadata:
        given = _attributes(tif.ome_metadata, number)
        size, unit = number_in(given.get("PhysicalSizeZ")), given.get("PhysicalSizeZUnit", "µm")
    else:
        size, unit = number_in((tif.imagej_metadata or {}).get("spacing")), _imagej_unit(tif)
    (distance, _), unit = from_density((1 / size, 1 / size), unit) if size > 0 else NO_SIZE
    return None if unit == "pixel" else distance


def _described_size(given: Mapping[str, str]) -> PixelSize:
    y, x = (
        (number_in(given.get(f"PhysicalSize{axis}")), given.get(f"PhysicalSize{axis}Unit", "µm"))
        for axis in "YX"
    )
    return size_of_pixel(y, x)


def _imagej_unit(tif: tifffile.TiffFile) -> str:
    return str((tif.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")


def _ratio(value: Any) -> float:
    """Return the value of a resolution tag, 0 if it is invalid."""
    try:
        return number_in(value[0] / value[1] if isinstance(value, tuple) else value)
    except (ZeroDivisionError, IndexError, TypeError):
        return 0.0


def _attributes(xml: str, number: int) -> dict[str, str]:
    found = list(_pixels(_parsed(xml)))
    return dict(found[number].attrib) if number < len(found) else {}


def _parsed(xml: str) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError):  # a damaged description does not make the pixels unreadable
        return None


def _named(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    return element.iterfind(f"{{*}}{name}")


def _pixels(root: ElementTree.Element | None) -> Iterable[ElementTree.Element]:
    return () if root is None else root.iterfind(".//{*}Pixels")


def _whole(value: str | None, otherwise: int) -> int:
    try:
        return otherwise if value is None else max(int(value), 0)
    except ValueError:
        return otherwise


def _of_another_file(name: str, path: Path) -> str:
    """Read the description in another file of the folder."""
    file = sibling(path, name)
    if file is None:
        raise SemiGDAError(
            f"“{path}” needs the file “{name[:100]}” of the same set (OME-TIFF), which is missing "
            "and describes its planes. Restore it."
        )
    if file.suffix.lower() in (".ome", ".xml"):
        with file.open("rb") as opened:
            return opened.read(2**26).decode("utf-8", errors="replace")
    with opened_tiff(file) as tif:
        return tif.ome_metadata or ""


def sibling(path: Path, name: str) -> Path | None:
    """Return the file of this name beside `path`; None if there is none, or the name leads elsewhere."""
    if not name or name == ".." or {"/", "\\", ":", "\0"} & set(name) or PurePath(name).name != name:
        return None
    file = path.with_name(name)
    return file if file.is_file() else None


def file_of_part(path: Path, part: Part) -> Path:
    """Find the file of a part, and make sure that it is the one that the description means."""
    file = sibling(path, part.file)
    if file is None:
        raise SemiGDAError(
            f"“{part.file[:100]}”, which holds pixels of “{path}” (OME-TIFF), is missing. Restore it."
        )
    if part.identifier:
        with opened_tiff(file) as tif:
            root = _parsed(tif.ome_metadata or "")
        known = "" if root is None else root.get("UUID")
        if known and known != part.identifier:
            raise SemiGDAError(
                f"“{file}” is not the file that “{path.name}” names as part of its set (OME-TIFF). "
                "Restore the right file."
            )
    return file


def _image(pixels: ElementTree.Element, page_count: int) -> OmeImage:
    order = pixels.get("DimensionOrder", "XYZCT")
    if order not in _ORDERS:
        raise ValueError(f"its description names the axes {order[:20]}")
    samples = max(1, *(_whole(one.get("SamplesPerPixel"), 1) for one in _named(pixels, "Channel")), 1)
    axes = order[:1:-1]
    lengths = {axis: max(1, _whole(pixels.get(f"Size{axis}"), 1)) for axis in axes}
    lengths["C"] = max(1, lengths["C"] // samples)
    shape = tuple(lengths[axis] for axis in axes)
    parts: dict[int, Part] = {}
    for data in _named(pixels, "TiffData"):
        first = [_whole(data.get(f"First{axis}"), 0) for axis in axes]
        if any(index >= length for index, length in zip(first, shape, strict=True)):
            continue
        start, page = (first[0] * shape[1] + first[1]) * shape[2] + first[2], _whole(data.get("IFD"), 0)
        counted = data.get("PlaneCount") or data.get("NumPlanes")
        count = _whole(counted, 1) if counted else 1 if "IFD" in data.attrib else page_count
        uuid = next(_named(data, "UUID"), None)
        name, identifier = "", ""
        if uuid is not None:
            name, identifier = uuid.get("FileName") or "", (uuid.text or "").strip()
        for step in range(min(count, math.prod(shape) - start)):
            parts.setdefault(start + step, Part(name, identifier, page + step))
    return OmeImage(axes, shape, parts, _described_size(pixels.attrib))


def _own(files: set[tuple[str, str]], identifier: str, path: Path, *, alone: bool) -> set[tuple[str, str]]:
    """Return which names and identifiers mean the asked file, whatever it is called now."""
    unnamed = files & {("", "")}
    by_identifier = {file for file in files if identifier and file[1] == identifier}
    by_name = {file for file in files if file[0].casefold() == path.name.casefold()}
    own = unnamed | (by_identifier or by_name)
    return files if not own and alone and len(files) == 1 and not identifier else own


def _with_own_parts(image: OmeImage, own: set[tuple[str, str]]) -> OmeImage:
    """Leave out the names of the asked file; a file known only by its identifier is named by that."""
    parts = {}
    for index, part in image.parts.items():
        is_own = (part.file, part.identifier) in own
        parts[index] = part._replace(file="" if is_own else part.file or part.identifier)
    return replace(image, parts=parts)
