"""TIFF in all its kinds: which planes a file holds, and the pixels of one of them, whole or by windows."""

import itertools
import math
import operator
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from tifffile import PHOTOMETRIC

from napari_semigda.errors import SemiGDAError
from napari_semigda.io import ome
from napari_semigda.io.colors import ColorSpace, Interpretation, upright
from napari_semigda.io.tiff_pages import (
    MOST_PLANES,
    Page,
    Segments,
    Window,
    comes_as_rgb,
    is_lossy,
    keyframe,
    opened_tiff,
)
from napari_semigda.io.units import (
    NO_SIZE,
    PixelSize,
    from_density,
    number_in,
    unless_dots_per_inch,
    unless_printed,
)

CHANNEL_AXES = "CS"

_PLAUSIBLE_BYTES = 2**29
_PLAUSIBLE_RATIO = 500
"""A plane above the former that is more than so many times as large as its file does not fit into it."""

_NO_IMAGES = frozenset({"thumbnail", "label", "macro", "map", "preview"})
"""Names that tifffile gives to what slide scanners store beside the slide."""

_REDUCED, _MASK, _MACRO = 1, 4, 8  # bits of NewSubfileType; the last one is Aperio's
_ORIENTATION, _PAGE_NUMBER, _PHOTOMETRIC = 274, 297, 262
_ONCE_NOT_TURNED = frozenset(
    {
        tifffile.COMPRESSION.NONE,
        tifffile.COMPRESSION.DEFLATE,
        tifffile.COMPRESSION.ADOBE_DEFLATE,
        tifffile.COMPRESSION.PACKBITS,
        tifffile.COMPRESSION.LZMA,
    }
)
"""Compressions of files that versions up to 0.1 did not turn."""
_INK_SET, _CMYK_INKS = 332, 1
_COEFFICIENTS, _REFERENCE = 529, 532
_MOST_CHANNELS = 16

Array = NDArray[Any]


@dataclass(frozen=True)
class TiffPlane:
    """One plane of a file, known from the file's header alone.

    Parameters
    ----------
    series, index
        As in `napari_semigda.io.pictures.Plane`.
    place
        Its place on the axes over which planes are counted, by their letters; those with one plane left out.
    shape
        (height, width), upright.
    pixel_size, unit
        As in `napari_semigda.io.pictures.Plane`.
    """

    series: int
    index: int
    place: tuple[tuple[str, int], ...]
    shape: tuple[int, int]
    pixel_size: tuple[float, float]
    unit: str


@dataclass(frozen=True)
class TiffHeader:
    """What a file holds.

    Parameters
    ----------
    planes
        That are images to label, or label maps: no thumbnails, labels of slides, or masks beside images.
    identifier
        Of a file of a set (OME-TIFF).
    missing
        Files of that set that are not there: their names by their identifiers, or by their names.
    """

    planes: tuple[TiffPlane, ...]
    identifier: str = ""
    missing: tuple[tuple[str, str], ...] = ()


def read_header(path: Path) -> TiffHeader:
    """List what a TIFF holds; raises what `napari_semigda.io.planes.explained` puts into words."""
    with ExitStack() as stack:
        images, description = _images(path, stack)
        count = sum(math.prod(length for _, length in image.lead) for image in images)
        refuse_too_many(path, count)
        found = [(image, _listed(image)) for image in images]
        if any(not listed.aside for _, planes in found for listed in planes):
            found = [(image, [one for one in planes if not one.aside]) for image, planes in found]
        planes = tuple(listed.plane for _, planes in found for listed in planes)
        if description is None:
            refuse_too_many(path, len(planes))
            return TiffHeader(planes)
        return TiffHeader(planes, description.identifier, _missing(description, path))


@contextmanager
def opened_tiff_plane(
    path: Path, series: int, index: int, *, upright: bool = True
) -> Iterator["StoredPlane"]:
    """Open one plane of a TIFF; raises what `napari_semigda.io.planes.explained` puts into words."""
    with ExitStack() as stack:
        yield open_tiff_plane(path, series, index, stack, upright=upright)


def open_tiff_plane(
    path: Path, series: int, index: int, stack: ExitStack, *, upright: bool = True
) -> "StoredPlane":
    """Open one plane of a TIFF until `stack` is closed; as `opened_tiff_plane`."""
    images, _ = _images(path, stack)
    image = next((one for one in images if one.number == series), None)
    if image is None:
        raise SemiGDAError(f"“{path}” has no image number {series + 1} any more.")
    if not 0 <= index < math.prod(length for _, length in image.lead):
        raise SemiGDAError(f"“{path}” has no page number {index + 1} any more.")
    return StoredPlane(image, index, upright=upright)


def tiff_stack(path: Path, series: int) -> tuple[list[tuple[str, int]], float | None]:
    """Return the axes over which planes are counted, their lengths, and the distance along z, if known."""
    with ExitStack() as stack:
        images, _ = _images(path, stack)
        image = next((one for one in images if one.number == series), None)
        if image is None:
            raise SemiGDAError(f"“{path}” has no image number {series + 1} any more.")
        return image.lead, image.spacing()


def refuse_too_many(path: Path, count: int) -> None:
    """Refuse a file that holds nothing, or says that it holds more than any file does.

    Raises
    ------
    SemiGDAError
        When it has no planes, or more than `MOST_PLANES`.
    """
    if not count:
        raise SemiGDAError(f"“{path}” holds no picture.")
    if count > MOST_PLANES:
        raise SemiGDAError(f"“{path}” says that it holds {count} pictures; it seems damaged.")


def refuse_implausible(path: Path, room: int) -> None:
    """Refuse a plane that would fill the memory with what a small file claims.

    Parameters
    ----------
    path
        The file.
    room
        Bytes that the plane takes, at least.

    Raises
    ------
    SemiGDAError
        When it takes more than 512 MiB, and more than 500 times what the file has.
    """
    file = path.stat().st_size
    if room > max(_PLAUSIBLE_BYTES, _PLAUSIBLE_RATIO * file):
        raise SemiGDAError(
            f"“{path}” claims to hold a picture of {room / 2**20:.0f} MiB, but has {file / 2**20:.1f} MiB; "
            "it seems damaged. Bring back a sound copy of it."
        )


# Images of a file -------------------------------------------------------------------------------------


class _Image:
    """One image of a TIFF: an array over several axes, whose last ones are stored in pages.

    Parameters
    ----------
    path
        The file.
    tif
        The file, open.
    number
        Of the image in the file.
    axes, shape
        Of the whole array.
    key
        A page of it.
    page
        Gives the page of a number, counted over the axes before those in a page.
    lock
        Under which the file is read.
    name, series
        What tifffile calls it, and takes it for.
    """

    def __init__(
        self,
        path: Path,
        tif: tifffile.TiffFile,
        number: int,
        axes: str,
        shape: Sequence[int],
        key: tifffile.TiffPage,
        page: Callable[[int], Page],
        lock: threading.Lock,
        name: str = "",
        series: tifffile.TiffPageSeries | None = None,
    ) -> None:
        self.path, self.tif, self.number, self.lock, self.name = path, tif, number, lock, name
        self.axes, self.shape, self.key, self.page, self.series = axes, tuple(shape), key, page, series
        self.outer = _outer_axes(self.shape, key.shape)

    @property
    def lead(self) -> list[tuple[str, int]]:
        """The axes over which planes are counted, and their lengths."""
        pairs = zip(self.axes, self.shape, strict=True)
        return [(axis, int(length)) for axis, length in pairs if axis not in CHANNEL_AXES + "YX"]

    def window(self, index: int) -> tuple[slice | int, ...]:
        """Where one plane is in the array."""
        lengths = [length for _, length in self.lead]
        position = iter(np.unravel_index(index, lengths) if lengths else ())
        return tuple(
            slice(None) if axis in CHANNEL_AXES + "YX" else int(next(position)) for axis in self.axes
        )

    def pages(self, index: int) -> list[int] | None:
        """The numbers of the pages that hold a plane and nothing of its rows and columns apart; else None."""
        if (
            self.outer is None
            or {"Y", "X"} & set(self.axes[: self.outer])
            or not {"Y", "X"} <= set(self.key.axes)
        ):
            return None
        lengths = self.shape[: self.outer]
        if not lengths:
            return [0]
        kept = [
            range(length) if isinstance(part, slice) else (part,)
            for part, length in zip(self.window(index), lengths, strict=False)
        ]
        places = np.array(list(itertools.product(*kept)), np.intp).T
        return [int(number) for number in np.ravel_multi_index(tuple(places), lengths)]

    def listed(self) -> Iterable[int]:
        """The numbers of the planes that are listed with this file."""
        return range(math.prod(length for _, length in self.lead))

    def page_of(self, index: int) -> tifffile.TiffPage:
        """The first page of a plane, or the one that stands for all."""
        pages = [] if self.is_alike else self.pages(index)
        if not pages or self.is_one_block:
            return self.key
        return keyframe(self.page(pages[0]))

    @property
    def is_alike(self) -> bool:
        """Whether one program has written all pages in the same way, and left none out."""
        return self.series is not None and self.series.kind in ("shaped", "imagej")

    @property
    def is_one_block(self) -> bool:
        """Whether its pixels follow each other without pages for all of them."""
        return (
            self.series is not None
            and self.series.dataoffset is not None
            and len(self.series) * math.prod(self.key.shape) < math.prod(self.shape)
        )

    def size(self, page: Page) -> PixelSize:
        """Size of a pixel, upright, and its unit."""
        (height, width), unit = self._size(keyframe(page))
        return ((width, height) if _orientation(page) > 4 else (height, width)), unit

    def _size(self, key: tifffile.TiffPage) -> PixelSize:
        return _pixel_size(self.tif, self.number, key)

    def spacing(self) -> float | None:
        """Distance of planes along z, in the unit of the pixel size; None if unknown."""
        if self.tif.is_ome and self.tif.ome_metadata:
            (spacing, _), told = ome.spacing(self.tif.ome_metadata, self.number)
        else:
            given = self.tif.imagej_metadata or {}
            size = number_in(given.get("spacing"))
            (spacing, _), told = (
                from_density((1 / size, 1 / size), _imagej_unit(self.tif)) if size > 0 else NO_SIZE
            )
        return None if told == "pixel" else spacing


def _outer_axes(shape: tuple[int, ...], page: Sequence[int]) -> int | None:
    """How many axes of an array are counted by pages; None where its last ones are not those of a page."""
    wanted = [length for length in page if length > 1]
    for outer in range(len(shape) + 1):
        if [length for length in shape[outer:] if length > 1] == wanted:
            return outer
    return None


def _images(path: Path, stack: ExitStack) -> tuple[list[_Image], ome.Description | None]:
    tif, lock = stack.enter_context(opened_tiff(path)), threading.Lock()
    xml = tif.ome_metadata if tif.is_ome else None
    if xml:
        ome.check_claims(xml, path)
        description = ome.read_set(xml, path, len(tif.pages))
        if description is not None:
            return [
                _image_of_set(path, tif, number, image, stack, lock)
                for number, image in enumerate(description.images)
                if image.parts
            ], description
    return [
        _image_of_series(path, tif, number, series, lock)
        for number, series in enumerate(tif.series)
        if {"Y", "X"} <= set(series.axes) and series.size
    ], None


def _image_of_series(
    path: Path, tif: tifffile.TiffFile, number: int, series: tifffile.TiffPageSeries, lock: threading.Lock
) -> _Image:
    axes = series.axes
    if _has_channels_last(tif, series):
        axes = f"{axes[:-3]}YXC"

    def page(place: int) -> Page:
        found = series[place]
        if found is None:
            raise SemiGDAError(f"“{path}” leaves out the pixels of its plane {place + 1}.")
        if series.kind == "uniform" and not isinstance(found, tifffile.TiffPage):
            tif.filehandle.seek(found.offset)  # tifffile has taken the first page's tags for all
            return tifffile.TiffPage(tif, found.index)
        return found

    return _Image(path, tif, number, axes, series.shape, series.keyframe, page, lock, series.name, series)


def _has_channels_last(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    """Whether an array with its channels last was saved without saying so: as pages a few pixels wide."""
    if (
        series.kind not in ("shaped", "uniform", "generic", "imagej")
        or series.axes[-2:] != "YX"
        or len(series.axes) < 3
    ):
        return False
    if series.kind == "shaped" and series.axes[-3] not in "QI":
        return False
    height, width, channels = series.shape[-3:]
    return 2 <= channels <= _MOST_CHANNELS and min(height, width) > 2 * channels


def _image_of_set(
    path: Path,
    tif: tifffile.TiffFile,
    number: int,
    image: ome.OmeImage,
    stack: ExitStack,
    lock: threading.Lock,
) -> "_Set":
    own = next((part.page for part in image.parts.values() if not part.file), 0)
    key = keyframe(tif.pages[own])
    files: dict[str, tifffile.TiffFile] = {"": tif}

    def page(place: int) -> Page:
        part = image.parts.get(place)
        if part is None:
            raise SemiGDAError(f"“{path}” leaves out the pixels of a plane that it says its set has.")
        if part.file not in files:
            files[part.file] = stack.enter_context(opened_tiff(_file_of_set(path, part)))
        found = files[part.file].pages[part.page]
        if tuple(keyframe(found).shape) != tuple(key.shape) or keyframe(found).dtype != key.dtype:
            raise SemiGDAError(
                f"“{path.with_name(part.file)}” is not the file that “{path.name}” names as part of "
                "its set: its "
                "planes have another size or type. Bring the right one back."
            )
        return found

    extra = zip(key.axes, key.shape, strict=True)
    inner = [(axis, length) for axis, length in extra if axis != "Z" or length > 1]
    axes = image.axes + "".join(axis for axis, _ in inner)
    shape = (*image.shape, *(length for _, length in inner))
    return _Set(path, tif, number, axes, shape, key, page, lock, image)


class _Set(_Image):
    """One image of a set of files."""

    def __init__(
        self,
        path: Path,
        tif: tifffile.TiffFile,
        number: int,
        axes: str,
        shape: Sequence[int],
        key: tifffile.TiffPage,
        page: Callable[[int], Page],
        lock: threading.Lock,
        image: ome.OmeImage,
    ) -> None:
        super().__init__(path, tif, number, axes, shape, key, page, lock)
        self._image = image

    def _size(self, key: tifffile.TiffPage) -> PixelSize:
        return self._image.pixel_size

    def listed(self) -> Iterable[int]:
        """The planes whose first channel lies in this file, and whose others lie somewhere."""
        kept = [place for place, axis in enumerate(self._image.axes) if axis not in CHANNEL_AXES]
        lengths = [self._image.shape[place] for place in kept]
        own = [number for number, part in self._image.parts.items() if not part.file]
        places = np.unravel_index(np.array(sorted(own), np.intp), self._image.shape)
        indices = np.ravel_multi_index([places[place] for place in kept], lengths)
        return [index for index in np.unique(indices).tolist() if self._is_own(index)]

    def _is_own(self, index: int) -> bool:
        parts = [self._image.parts.get(number) for number in self.pages(index) or []]
        return (
            bool(parts)
            and all(
                part is not None
                and (not part.file or (ome.is_plain_name(part.file) and self._is_there(part.file)))
                for part in parts
            )
            and (first := parts[0]) is not None
            and not first.file
        )

    def _is_there(self, name: str) -> bool:
        return self.path.with_name(name).is_file()


def _file_of_set(path: Path, part: ome.Part) -> Path:
    """Find the file of a part, which is the one that the description means."""
    file = path.with_name(part.file) if ome.is_plain_name(part.file) else None
    if file is None or not file.is_file():
        raise SemiGDAError(
            f"“{part.file[:100]}”, which holds pixels of “{path}” (both are of one OME-TIFF set), is "
            "not there. "
            "Bring it back."
        )
    if part.identifier:
        with opened_tiff(file) as tif:
            known = ome.identifier_of(tif.ome_metadata or "")
        if known and known != part.identifier:
            raise SemiGDAError(
                f"“{file}” is not the file that “{path.name}” names as part of its set (OME-TIFF). "
                "Bring the right one back."
            )
    return file


def _missing(description: ome.Description, path: Path) -> tuple[tuple[str, str], ...]:
    there = {file.casefold() for file in os.listdir(path.parent)}
    parts = {
        part.identifier or part.file: part.file
        for image in description.images
        for part in image.parts.values()
    }
    return tuple(
        (identifier, name) for identifier, name in parts.items() if name and name.casefold() not in there
    )


# Listing ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Listed:
    plane: TiffPlane
    aside: bool
    """Whether it is no image to label: a thumbnail, a mask beside an image, a slide's label."""


def _listed(image: _Image) -> list[_Listed]:
    lengths = [length for _, length in image.lead]
    found: list[_Listed] = []
    numbers: list[Any] = []
    for index in image.listed():
        position = np.unravel_index(index, lengths) if lengths else ()
        if _is_left_out(image, index):
            continue
        page = image.page_of(index)
        if not found:
            Segments(page, image.lock)
            interpretation_of(page, image)
            _refuse_implausible(image)
        place = tuple(
            (axis, int(number))
            for (axis, length), number in zip(image.lead, position, strict=True)
            if length > 1
        )
        height, width = _height_and_width(image)
        shape = (width, height) if _orientation(page) > 4 else (height, width)
        plane = TiffPlane(image.number, index, place, shape, *image.size(page))
        found.append(_Listed(plane, _is_aside(image, page)))
        numbers.append(keyframe(page).tags.valueof(_PAGE_NUMBER))
    return _in_page_order(found, numbers)


def _in_page_order(found: list[_Listed], numbers: list[Any]) -> list[_Listed]:
    """Sort pages by the numbers that they give themselves, if all have one of their own."""
    order = [int(number[0]) if isinstance(number, tuple) and number else -1 for number in numbers]
    if sorted(order) != list(range(len(order))) or any(len(one.plane.place) != 1 for one in found):
        return found
    axis = found[0].plane.place[0][0] if found else ""
    return [
        replace(found[place], plane=replace(found[place].plane, place=((axis, order[place]),)))
        for place in np.argsort(order)
    ]


def _height_and_width(image: _Image) -> tuple[int, int]:
    return int(image.shape[image.axes.index("Y")]), int(image.shape[image.axes.index("X")])


def _is_left_out(image: _Image, index: int) -> bool:
    """Whether the file says nothing about the pixels of a plane."""
    if image.series is None or image.is_one_block or image.is_alike:
        return False
    return any(image.series[number] is None for number in image.pages(index) or ())


def _is_aside(image: _Image, page: Page) -> bool:
    kind = keyframe(page).subfiletype
    return (
        bool(int(kind) & (_REDUCED | _MASK | _MACRO))
        or keyframe(page).photometric == PHOTOMETRIC.MASK
        or image.name.lower() in _NO_IMAGES
    )


def _refuse_implausible(image: _Image) -> None:
    pairs = zip(image.axes, image.shape, strict=True)
    plane = math.prod(int(length) for axis, length in pairs if axis in CHANNEL_AXES + "YX")
    refuse_implausible(image.path, plane * np.dtype(image.key.dtype).itemsize)


# What the numbers mean --------------------------------------------------------------------------------


def interpretation_of(page: Page, image: _Image) -> Interpretation:
    """Say what the samples of a page mean.

    Raises
    ------
    SemiGDAError
        When they are of a kind that is not known here.
    """
    key, path = keyframe(page), image.path
    if key.dtype is None or np.dtype(key.dtype).kind not in "buif":
        raise SemiGDAError(
            f"“{path}” holds numbers of the type {key.dtype}, which are no gray values. "
            "Save it as real numbers, such as the magnitude."
        )
    floating = np.dtype(key.dtype).kind == "f"
    bits = 0 if floating else int(key.bitspersample)
    space = _color_space(key, image)
    extra = [int(one) for one in key.extrasamples][-max(key.samplesperpixel - space.samples, 0) :]
    opacity = next((place for place, kind in enumerate(extra) if kind in (1, 2)), None)
    if key.samplesperpixel <= space.samples:
        opacity = None
    _refuse_unknown_numbers(key, space, bits, path)
    return Interpretation(
        space,
        bits,
        alpha=None if opacity is None else space.samples + opacity,
        premultiplied=opacity is not None and extra[opacity] == 1,
        palette=_palette(key) if space is ColorSpace.PALETTE else None,
        raw_labels=image.tif.is_imagej or (bits == 1 and _is_of_python(image.tif)),
        lossy=is_lossy(page),
        ycbcr=_ycbcr(key),
    )


def _color_space(key: tifffile.TiffPage, image: _Image) -> ColorSpace:
    photometric = key.tags.valueof(_PHOTOMETRIC)
    if photometric is None:
        photometric = PHOTOMETRIC.RGB if key.samplesperpixel in (3, 4) else PHOTOMETRIC.MINISBLACK
    if photometric == PHOTOMETRIC.PALETTE and (image.tif.is_imagej or key.tags.valueof(320) is None):
        return ColorSpace.GRAY  # in ImageJ's files the values count, and the palette is decoration
    known = {
        PHOTOMETRIC.MINISWHITE: ColorSpace.WHITE_IS_ZERO,
        PHOTOMETRIC.MINISBLACK: ColorSpace.GRAY,
        PHOTOMETRIC.MASK: ColorSpace.GRAY,
        PHOTOMETRIC.DEPTH_MAP: ColorSpace.GRAY,
        PHOTOMETRIC.LINEAR_RAW: ColorSpace.GRAY,
        PHOTOMETRIC.RGB: ColorSpace.RGB,
        PHOTOMETRIC.PALETTE: ColorSpace.PALETTE,
        PHOTOMETRIC.YCBCR: ColorSpace.RGB if comes_as_rgb(key) else ColorSpace.YCBCR,
        PHOTOMETRIC.CIELAB: ColorSpace.CIELAB,
        PHOTOMETRIC.ICCLAB: ColorSpace.ICCLAB,
    }
    if photometric == PHOTOMETRIC.SEPARATED and key.tags.valueof(_INK_SET, _CMYK_INKS) == _CMYK_INKS:
        space = ColorSpace.CMYK
    elif photometric in known:
        space = known[photometric]
    else:
        raise SemiGDAError(
            f"“{image.path}” has colors of a kind that is not read (PhotometricInterpretation "
            f"{int(photometric)}). "
            "Save it as RGB or gray."
        )
    if key.compression == tifffile.COMPRESSION.APERIO_JP2000_YCBC and space is ColorSpace.RGB:
        space = ColorSpace.YCBCR
    if space is ColorSpace.RGB and key.samplesperpixel < 3:
        return ColorSpace.GRAY
    if key.samplesperpixel < space.samples:
        raise ValueError(f"it has {key.samplesperpixel} samples a pixel, too few for {space.value}")
    return space


def _refuse_unknown_numbers(key: tifffile.TiffPage, space: ColorSpace, bits: int, path: Path) -> None:
    """Refuse numbers that no rule turns into colors."""
    kind = np.dtype(key.dtype).kind
    converted = {ColorSpace.YCBCR, ColorSpace.CIELAB, ColorSpace.ICCLAB}
    wrong = space in converted and (kind not in "ui" or bits not in (8, 16))
    wrong |= space is ColorSpace.CMYK and kind not in "buf"
    wrong |= space is ColorSpace.PALETTE and (kind not in "ub" or bits > 16)
    if wrong:
        raise SemiGDAError(
            f"“{path}” stores its colors ({space.value}) in {key.bitspersample} bits of the kind "
            f"{key.dtype}, which is not read. Save it as RGB or gray."
        )


def _is_of_python(tif: tifffile.TiffFile) -> bool:
    """Whether tifffile has written a file: it calls True black, without anybody's asking."""
    first = tif.pages[0]
    return isinstance(first, tifffile.TiffPage) and str(first.software).startswith("tifffile")


def _palette(key: tifffile.TiffPage) -> Array:
    given = np.asarray(key.tags.valueof(320)).reshape(3, -1).T
    return (given if given.max() < 256 else given >> 8).astype(np.uint8)


def _ycbcr(key: tifffile.TiffPage) -> tuple[float, ...]:
    weights = _ratios(key.tags.valueof(_COEFFICIENTS), 3) or (0.299, 0.587, 0.114)
    limits = _ratios(key.tags.valueof(_REFERENCE), 6) or (0, 255, 128, 255, 128, 255)
    if weights[1] <= 0 or any(limits[place] >= limits[place + 1] for place in (0, 2, 4)):
        return Interpretation().ycbcr
    return (*weights, *limits)


def _ratios(value: Any, count: int) -> tuple[float, ...] | None:
    """Read numbers that a tag stores as numerators and denominators; None where it does not."""
    if not isinstance(value, Sequence) or len(value) != 2 * count or not all(value[1::2]):
        return None
    return tuple(number_in(over / under) for over, under in zip(value[::2], value[1::2], strict=True))


def _orientation(page: Page) -> int:
    value = keyframe(page).tags.valueof(_ORIENTATION, 1)
    return int(value) if isinstance(value, int) and 1 <= value <= 8 else 1


# One plane --------------------------------------------------------------------------------------------


class StoredPlane:
    """One plane of a TIFF, to be read whole or by windows.

    Attributes
    ----------
    shape
        (height, width), upright.
    pixel_size, unit
        As in `napari_semigda.io.pictures.Plane`.
    meaning
        What its samples mean.
    """

    def __init__(self, image: _Image, index: int, *, upright: bool = True) -> None:
        self._image, self._index, self._upright = image, index, upright
        page = image.page_of(index)
        self.meaning = interpretation_of(page, image)
        self._turn = _orientation(page) if upright or page.compression not in _ONCE_NOT_TURNED else 1
        self.pixel_size, self.unit = image.size(page)
        _refuse_implausible(image)
        height, width = _height_and_width(image)
        self.shape = (width, height) if self._turn > 4 else (height, width)
        numbers = None if image.is_one_block else image.pages(index)
        pages = [image.page(number) for number in numbers] if numbers is not None else []
        self._segments = [Segments(page, image.lock) for page in pages]
        self._depth = self._depth_of(image, index) if self._segments and self._segments[0].depth > 1 else 0

    @property
    def block(self) -> tuple[int, int] | None:
        """Height and width of what is stored as one, upright; None where the plane has to be read whole."""
        if not self._segments:
            return None
        first = self._segments[0]
        high, wide = min(first.high, first.height), min(first.wide, first.width)
        if (high, wide) == (first.height, first.width) or first.deep > 1:
            return None
        return (wide, high) if self._turn > 4 else (high, wide)

    def samples(self, rows: slice = slice(None), columns: slice = slice(None)) -> Array:
        """Read the samples of some rows and columns as they are stored, upright: (H, W) or (H, W, C)."""
        parts = self._parts(rows, columns)
        stored = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        return stored[..., 0] if stored.shape[-1] == 1 else stored

    def example(self) -> Array:
        """Return one black pixel of `picture`, for its type and channels."""
        parts = [
            self.meaning.as_picture(np.zeros((1, 1, segments.samples), segments.dtype))
            for segments in self._segments
        ]
        return (
            parts[0] if len(parts) == 1 else np.concatenate([np.atleast_3d(part) for part in parts], axis=-1)
        )

    def smaller(self) -> list["StoredPlane"]:
        """Return the smaller copies of the plane that the file holds and that can be read by windows."""
        image = self._image
        found: list[StoredPlane] = []
        for series in image.series.levels[1:] if image.series is not None else ():
            if series.axes != image.axes or len(series.shape) != len(image.shape):
                continue
            level = _image_of_series(image.path, image.tif, image.number, series, image.lock)
            if level.lead == image.lead and not _is_left_out(level, self._index):
                plane = StoredPlane(level, self._index, upright=self._upright)
                before = found[-1].shape if found else self.shape
                if plane.block is not None and all(map(operator.lt, plane.shape, before)):
                    found.append(plane)
        return found

    def picture(self, rows: slice = slice(None), columns: slice = slice(None)) -> Array:
        """Read what is seen of some rows and columns."""
        parts = [self.meaning.as_picture(part) for part in self._parts(rows, columns)]
        return (
            parts[0] if len(parts) == 1 else np.concatenate([np.atleast_3d(part) for part in parts], axis=-1)
        )

    def _parts(self, rows: slice, columns: slice) -> list[Array]:
        """Read the samples of each page: (H, W, C)."""
        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = columns.indices(self.shape[1])
        if not self._segments:
            return [np.atleast_3d(upright(self._whole(), self._turn)[top:bottom, left:right])]
        window = _stored_window(Window(top, bottom, left, right), self.shape, self._turn)
        return [upright(segments.read(window, self._depth), self._turn) for segments in self._segments]

    def _depth_of(self, image: _Image, index: int) -> int:
        """Which of the planes that are stored in one page it is."""
        inner = list(zip(image.axes, image.window(index), strict=True))[image.outer :]
        return next((int(place) for _, place in inner if isinstance(place, int)), 0)

    def _whole(self) -> Array:
        """Read a plane whose pages are not those of the plane: one block, or an array with channels last."""
        image = self._image
        window, axes = image.window(self._index), image.axes
        kept = "".join(axis for axis, part in zip(axes, window, strict=True) if isinstance(part, slice))
        if image.is_one_block and image.series is not None:
            if int(image.key.bitspersample) != 8 * np.dtype(image.key.dtype).itemsize:
                raise ValueError("its pixels are packed without pages of their own")
            mapped = image.tif.filehandle.memmap_array(
                image.tif.byteorder + np.dtype(image.key.dtype).str[1:],
                image.shape,
                image.series.dataoffset or 0,
            )
            return _channels_last(np.array(mapped[window]), kept)
        if image.outer is None:
            raise ValueError("its pages do not have the shape that it says")
        lengths = image.shape[: image.outer]
        numbers = np.arange(math.prod(lengths)).reshape(lengths)[window[: image.outer]]
        pages = [self._page(int(number)) for number in np.ravel(numbers)]
        inner = image.shape[image.outer :]
        stacked = np.stack(pages).reshape(*np.shape(numbers), *inner)
        return _channels_last(stacked[(..., *window[image.outer :])], kept)

    def _page(self, number: int) -> Array:
        """Read a whole page in the order of its own axes."""
        segments = Segments(self._image.page(number), self._image.lock)
        whole = Window(0, segments.height, 0, segments.width)
        layers = np.stack([segments.read(whole, depth) for depth in range(segments.depth)])
        return np.moveaxis(layers, -1, 0) if self._image.key.planarconfig == 2 else layers


def _stored_window(window: Window, shape: tuple[int, int], orientation: int) -> Window:
    """Find the window of stored pixels that is shown as a window of the upright plane."""
    top, bottom, left, right = window
    if orientation in (3, 4, 7, 8):
        top, bottom = shape[0] - bottom, shape[0] - top
    if orientation in (2, 3, 6, 7):
        left, right = shape[1] - right, shape[1] - left
    return Window(left, right, top, bottom) if orientation > 4 else Window(top, bottom, left, right)


def _channels_last(pixels: Array, axes: str) -> Array:
    order = "YX" + "".join(axis for axis in axes if axis not in "YX")
    moved = pixels.transpose([axes.index(axis) for axis in order])
    channels = math.prod(moved.shape[2:])
    return moved.reshape(moved.shape[:2] if channels == 1 else (*moved.shape[:2], channels))


# Pixel size -------------------------------------------------------------------------------------------


def _pixel_size(tif: tifffile.TiffFile, number: int, key: tifffile.TiffPage) -> PixelSize:
    """Return the pixel size (y, x) and its unit as OME-XML, ImageJ or the resolution tags give it."""
    if tif.is_ome and tif.ome_metadata:
        return ome.pixel_size(tif.ome_metadata, number)
    scanned = re.search(r"\bMPP\s*=\s*([0-9.]+)", key.description) if tif.is_svs else None
    if scanned is not None and number_in(scanned[1]) > 0:
        return from_density((1 / number_in(scanned[1]),) * 2, "µm")
    per_unit = tuple(_ratio(key.tags.valueof(name)) for name in ("YResolution", "XResolution"))
    if tif.is_imagej:
        unit = _imagej_unit(tif)
        size = from_density(per_unit, unit)
        return unless_dots_per_inch(per_unit[1], size) if unit in ("inch", "in") else size
    units = {tifffile.RESUNIT.CENTIMETER: "cm", tifffile.RESUNIT.INCH: "inch"}
    resolution_unit = key.tags.valueof("ResolutionUnit")
    return unless_printed(from_density(per_unit, units.get(resolution_unit, "pixel")))


def _imagej_unit(tif: tifffile.TiffFile) -> str:
    return str((tif.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")


def _ratio(value: Any) -> float:
    """Return the number that a resolution tag stands for, 0 where it stands for none."""
    try:
        return number_in(value[0] / value[1] if isinstance(value, tuple) else value)
    except (ZeroDivisionError, IndexError, TypeError):
        return 0.0
