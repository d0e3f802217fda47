"""What the description of an OME-TIFF says: the axes of its images, and which plane lies in which file.

A set of files shares one description. Each of them knows its own parts by an identifier, so that a renamed
file is still known; a description may also stand in one file for all others. The description comes from a
file of unknown origin: it opens nothing outside of its folder, and what it claims is bounded.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import NamedTuple
from xml.etree import ElementTree

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.tiff_pages import opened_tiff
from napari_semigda.io.units import NO_SIZE, PixelSize, from_density, number_in, size_of_pixel

MOST_PARTS = 1_000_000
"""A description that claims more planes is taken for a broken one."""

_ORDERS = frozenset({"XYZCT", "XYZTC", "XYCTZ", "XYCZT", "XYTCZ", "XYTZC"})


class Part(NamedTuple):
    """Where one stored plane lies."""

    file: str
    """Name in the same folder; empty for the file that the description was read from."""
    identifier: str
    """Of that file, empty where it has none."""
    page: int


@dataclass(frozen=True)
class OmeImage:
    """One image of a description.

    Parameters
    ----------
    axes, shape
        Of the stored planes, without height, width and the samples of a pixel: such as ``"TZC"``.
    parts
        Where each of them lies, counted over `axes`; what the description leaves out has none.
    pixel_size
        (y, x), and its unit.
    """

    axes: str
    shape: tuple[int, ...]
    parts: dict[int, Part] = field(default_factory=dict)
    pixel_size: PixelSize = NO_SIZE


@dataclass(frozen=True)
class Description:
    """A description that is spread over several files.

    Parameters
    ----------
    identifier
        Of the file that was asked.
    images
        Of the whole set.
    """

    identifier: str
    images: tuple[OmeImage, ...]


def check_claims(xml: str, path: Path) -> None:
    """Refuse a description that claims more planes than any file has.

    Raises
    ------
    SemiGDAError
        When it does.
    """
    for pixels in _pixels(_parsed(xml)):
        lengths = [_whole(pixels.get(f"Size{axis}"), 1) for axis in "ZCT"]
        claims = [_whole(value, 0) for part in _named(pixels, "TiffData") for value in part.attrib.values()]
        if math.prod(lengths) > MOST_PARTS or max(claims, default=0) > MOST_PARTS:
            raise SemiGDAError(
                f"“{path}” says that it holds {max(math.prod(lengths), *claims)} planes; it seems damaged."
            )


def read_set(xml: str, path: Path, page_count: int) -> Description | None:
    """Read the description of an OME-TIFF whose images lie in several files; None for others.

    Parameters
    ----------
    xml
        The description in the file.
    path
        The file.
    page_count
        How many pages it has.

    Raises
    ------
    SemiGDAError
        When the description stands in a file that is not there, or has no part in this file.
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
    if elsewhere is None and all(_seems_own(*file, identifier, path) for file in files):
        return None
    own = _own(files, identifier, path, alone=elsewhere is None)
    if not own:
        names = ", ".join(sorted(f"“{name[:100]}”" for name, _ in files)[:3]) or "no file"
        raise SemiGDAError(
            f"“{path}” belongs to a set of files (OME-TIFF) that knows it by another name; its planes are in "
            f"{names}. Give it its old name back."
        )
    return Description(identifier, tuple(_with_own_parts(image, own) for image in images))


def pixel_size(xml: str, number: int) -> PixelSize:
    """Return the pixel size (y, x) of an image of a description, and its unit."""
    return _size(_attributes(xml, number))


def _size(given: Mapping[str, str]) -> PixelSize:
    return size_of_pixel(
        *(
            (number_in(given.get(f"PhysicalSize{axis}")), given.get(f"PhysicalSize{axis}Unit", "µm"))
            for axis in "YX"
        )
    )


def spacing(xml: str, number: int) -> PixelSize:
    """Return the distance of planes along z, twice, and its unit."""
    given = _attributes(xml, number)
    size = number_in(given.get("PhysicalSizeZ"))
    return from_density((1 / size, 1 / size), given.get("PhysicalSizeZUnit", "µm")) if size > 0 else NO_SIZE


def identifier_of(xml: str) -> str:
    """Return the identifier of the file that a description stands in; empty without."""
    root = _parsed(xml)
    return "" if root is None else root.get("UUID") or ""


def _attributes(xml: str, number: int) -> dict[str, str]:
    found = list(_pixels(_parsed(xml)))
    return dict(found[number].attrib) if number < len(found) else {}


def _parsed(xml: str) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError):  # a damaged description does not make the pixels unreadable
        return None


def _named(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    return (one for one in element if one.tag.rpartition("}")[2] == name)


def _pixels(root: ElementTree.Element | None) -> Iterator[ElementTree.Element]:
    return (
        one for one in (() if root is None else root.iter()) if str(one.tag).rpartition("}")[2] == "Pixels"
    )


def _whole(value: str | None, otherwise: int) -> int:
    try:
        return otherwise if value is None else max(int(value), 0)
    except ValueError:
        return otherwise


def _of_another_file(name: str, path: Path) -> str:
    """Read the description that stands in another file of the folder."""
    file = path.with_name(name) if is_plain_name(name) else None
    if file is None or not file.is_file():
        raise SemiGDAError(
            f"“{path}” needs the file “{name[:100]}” of the same set (OME-TIFF), which says what its "
            "planes are "
            "and is not there. Bring it back."
        )
    if file.suffix.lower() in (".ome", ".xml"):
        with file.open("rb") as opened:
            return opened.read(2**26).decode("utf-8", errors="replace")
    with opened_tiff(file) as tif:
        return tif.ome_metadata or ""


def is_plain_name(name: str) -> bool:
    """Whether this is the name of a file in the same folder, and no path that leads elsewhere."""
    return (
        bool(name)
        and name not in (".", "..")
        and not {"/", "\\", ":", "\0"} & set(name)
        and PurePath(name).name == name
    )


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
        if any(place >= length for place, length in zip(first, shape, strict=True)):
            continue
        start, page = (first[0] * shape[1] + first[1]) * shape[2] + first[2], _whole(data.get("IFD"), 0)
        counted = data.get("PlaneCount") or data.get("NumPlanes")
        count = _whole(counted, 1) if counted else 1 if "IFD" in data.attrib else page_count
        uuid = next(_named(data, "UUID"), None)
        name, identifier = (
            ("", "") if uuid is None else (uuid.get("FileName") or "", (uuid.text or "").strip())
        )
        for step in range(min(count, math.prod(shape) - start)):
            parts.setdefault(start + step, Part(name, identifier, page + step))
    return OmeImage(axes, shape, parts, _size(pixels.attrib))


def _seems_own(file: str, known: str, identifier: str, path: Path) -> bool:
    """Whether a part lies in the file that was asked, by identifier and by name."""
    return known in ("", identifier) and file.casefold() in ("", path.name.casefold())


def _own(files: set[tuple[str, str]], identifier: str, path: Path, *, alone: bool) -> set[tuple[str, str]]:
    """Which of the names and identifiers mean the file that was asked, whatever it is called now."""
    unnamed = files & {("", "")}
    by_identifier = {file for file in files if identifier and file[1] == identifier}
    by_name = {file for file in files if file[0].casefold() == path.name.casefold()}
    own = unnamed | (by_identifier or by_name)
    return files if not own and alone and len(files) == 1 and not identifier else own


def _with_own_parts(image: OmeImage, own: set[tuple[str, str]]) -> OmeImage:
    """Leave the names of the asked file out; one that is only known by its identifier is called by it."""
    parts = {
        place: part._replace(file="")
        if (part.file, part.identifier) in own
        else part._replace(file=part.file or part.identifier)
        for place, part in image.parts.items()
    }
    return replace(image, parts=parts)
