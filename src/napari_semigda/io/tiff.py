"""TIFF in all its kinds: which planes a file holds, and the pixels of one of them, whole or by windows."""

import math
import operator
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.colors import Interpretation, meaning_of_page, upright
from napari_semigda.io.planes import (
    FileContent,
    Picture,
    Plane,
    StoredPixels,
    plane_name,
    refuse_implausible,
    refuse_too_many,
)
from napari_semigda.io.tiff_metadata import (
    Description,
    OmeImage,
    Part,
    check_claims,
    file_of_part,
    pixel_size,
    read_set,
    sibling,
    spacing,
)
from napari_semigda.io.tiff_pages import Page, Segments, Window, keyframe, opened_tiff
from napari_semigda.io.units import PixelSize

_CHANNELS = "CS"
_IN_PLANE = _CHANNELS + "YX"
_MOST_CHANNELS = 16

_NO_IMAGES = frozenset({"thumbnail", "label", "macro", "map", "preview"})
"""Names that tifffile gives to what slide scanners store beside the slide."""
_REDUCED, _MASK, _MACRO = 1, 4, 8  # bits of NewSubfileType; the last one is Aperio's
_ORIENTATION, _PAGE_NUMBER = 274, 297
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

Array = NDArray[Any]


def list_file(path: Path) -> FileContent:
    """List what a TIFF holds: images to label and label maps; thumbnails and the like if nothing else."""
    with ExitStack() as stack:
        images, description = _images(path, stack)
        refuse_too_many(path, sum(image.count for image in images))
        found = [one for image in images for one in _listed(image)]
        found = [one for one in found if not one.aside] or found
        several = len({one.plane.series for one in found}) > 1
        planes = [
            replace(plane, name=plane_name(f"image {plane.series + 1}" if several else "", position))
            for plane, position, _ in found
        ]
        if description is None:
            refuse_too_many(path, len(planes))
            return FileContent(planes)
        return FileContent(planes, description.identifier, description.missing(path))


def stack_axes(path: Path, series: int) -> tuple[list[tuple[str, int]], float | None]:
    """Return the axes over which planes are counted, their lengths, and the distance along z, if known."""
    with ExitStack() as stack:
        image = _image(path, series, stack)
        return image.lead, spacing(image.tif, image.number)


def read_plane(plane: Plane) -> Picture:
    """Read one plane as it is displayed."""
    with ExitStack() as stack:
        stored = _open(plane, stack)
        return Picture(stored.picture(), *stored.size)


def read_samples(plane: Plane) -> tuple[Array, Interpretation]:
    """Read the samples of one plane as they are stored, upright, and what they mean."""
    with ExitStack() as stack:
        stored = _open(plane, stack)
        return stored.samples(), stored.meaning


def open_levels(plane: Plane, stack: ExitStack) -> list[StoredPixels]:
    """Open a plane and its smaller copies until `stack` is closed; none where it has to be read whole."""
    full = _open(plane, stack)
    if full.block is None:
        return []
    levels = [level.by_slices() for level in (full, *full.smaller())]
    like = levels[0]
    return [level for level in levels if (level.dtype, level.shape[2:]) == (like.dtype, like.shape[2:])]


def _open(plane: Plane, stack: ExitStack) -> "_StoredPlane":
    return _StoredPlane(_image(plane.path, plane.series, stack), plane.index, upright=plane.upright)


# Images of a file -------------------------------------------------------------------------------------


@dataclass
class _Image:
    """One image of a TIFF: an array over several axes, whose last ones are stored in pages.

    `key` is one of its pages, and `page` gives the page of a number, counted over the axes before those in a
    page. `series` is what tifffile takes it for; `described` is what the description of a set of files says.
    """

    path: Path
    tif: tifffile.TiffFile
    number: int
    axes: str
    shape: tuple[int, ...]
    key: tifffile.TiffPage
    page: Callable[[int], Page]
    lock: threading.Lock
    series: tifffile.TiffPageSeries | None = None
    described: OmeImage | None = None

    def __post_init__(self) -> None:
        self.outer = _outer_axes(self.shape, self.key.shape)
        self.height, self.width = (int(self.shape[self.axes.index(axis)]) for axis in "YX")
        self.lead = [
            (axis, int(n)) for axis, n in zip(self.axes, self.shape, strict=True) if axis not in _IN_PLANE
        ]
        self.count = math.prod(length for _, length in self.lead)

    def position(self, index: int) -> tuple[int, ...]:
        """Return the indices of a plane along the axes over which planes are counted."""
        lengths = [length for _, length in self.lead]
        return tuple(map(int, np.unravel_index(index, lengths))) if lengths else ()

    def window(self, index: int) -> tuple[slice | int, ...]:
        """Return where one plane is in the array."""
        position = iter(self.position(index))
        return tuple(slice(None) if axis in _IN_PLANE else next(position) for axis in self.axes)

    def pages(self, index: int) -> list[int] | None:
        """Return the numbers of the pages that hold a plane; None where they split its rows or columns."""
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
        return [int(number) for number in np.ravel_multi_index(np.ix_(*kept), lengths).flat]

    def listed(self) -> Iterable[int]:
        """Return the planes of this file: of a set those whose first channel it holds, the others there."""
        if self.described is None:
            return range(self.count)
        axes, shape, parts = self.described.axes, self.described.shape, self.described.parts
        own = sorted(number for number, part in parts.items() if not part.file)
        positions = np.unravel_index(np.array(own, np.intp), shape)
        kept = [axis for axis, letter in enumerate(axes) if letter not in _CHANNELS]
        indices = np.ravel_multi_index([positions[axis] for axis in kept], [shape[axis] for axis in kept])
        return [index for index in np.unique(indices).tolist() if self._is_own(index, parts)]

    def _is_own(self, index: int, parts: dict[int, Part]) -> bool:
        found = [parts.get(number) for number in self.pages(index) or []]
        return bool(found and found[0] and not found[0].file) and all(
            part is not None and (not part.file or sibling(self.path, part.file)) for part in found
        )

    def page_of(self, index: int) -> tifffile.TiffPage:
        """Return the first page of a plane, or the one that stands for all."""
        pages = [] if self.is_alike else self.pages(index)
        return self.key if not pages or self.is_one_block else keyframe(self.page(pages[0]))

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

    def leaves_out(self, index: int) -> bool:
        """Return whether the file says nothing about the pixels of a plane."""
        if self.series is None or self.is_one_block or self.is_alike:
            return False
        return any(self.series[number] is None for number in self.pages(index) or ())

    def check_size(self) -> None:
        """Refuse a plane that would fill the memory with what a small file claims."""
        lengths = (int(n) for axis, n in zip(self.axes, self.shape, strict=True) if axis in _IN_PLANE)
        refuse_implausible(self.path, math.prod(lengths) * np.dtype(self.key.dtype).itemsize)

    def pixel_size(self, page: Page) -> PixelSize:
        """Return the size of a pixel, upright, and its unit."""
        described = self.described
        (height, width), unit = (
            pixel_size(self.tif, self.number, keyframe(page)) if described is None else described.pixel_size
        )
        return ((width, height) if _orientation(page) > 4 else (height, width)), unit


def _outer_axes(shape: tuple[int, ...], page: Sequence[int]) -> int | None:
    """Return how many axes are counted by pages; None where the last axes are not those of a page."""
    wanted = [length for length in page if length > 1]
    for outer in range(len(shape) + 1):
        if [length for length in shape[outer:] if length > 1] == wanted:
            return outer
    return None


def _image(path: Path, series: int, stack: ExitStack) -> _Image:
    images, _ = _images(path, stack)
    image = next((one for one in images if one.number == series), None)
    if image is None:
        raise SemiGDAError(f"“{path}” no longer has an image number {series + 1}. Restore the original file.")
    return image


def _images(path: Path, stack: ExitStack) -> tuple[list[_Image], Description | None]:
    tif, lock = stack.enter_context(opened_tiff(path)), threading.Lock()
    xml = tif.ome_metadata if tif.is_ome else None
    if xml:
        check_claims(xml, path)
        description = read_set(xml, path, len(tif.pages))
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
    def page(index: int) -> Page:
        found = series[index]
        if found is None:
            raise SemiGDAError(f"“{path}” leaves out the pixels of its plane {index + 1}.")
        if series.kind == "uniform" and not isinstance(found, tifffile.TiffPage):
            tif.filehandle.seek(found.offset)  # tifffile has taken the first page's tags for all
            return tifffile.TiffPage(tif, found.index)
        return found

    axes = f"{series.axes[:-3]}YXC" if _has_channels_last(series) else series.axes
    return _Image(path, tif, number, axes, tuple(series.shape), series.keyframe, page, lock, series)


def _has_channels_last(series: tifffile.TiffPageSeries) -> bool:
    """Return whether an array with its channels last was saved without saying so: as very narrow pages."""
    if series.kind not in ("shaped", "uniform", "generic", "imagej"):
        return False
    if series.axes[-2:] != "YX" or len(series.axes) < 3:
        return False
    if series.kind == "shaped" and series.axes[-3] not in "QI":
        return False
    height, width, channels = series.shape[-3:]
    return 2 <= channels <= _MOST_CHANNELS and min(height, width) > 2 * channels


def _image_of_set(
    path: Path, tif: tifffile.TiffFile, number: int, image: OmeImage, stack: ExitStack, lock: threading.Lock
) -> _Image:
    key = keyframe(tif.pages[next((part.page for part in image.parts.values() if not part.file), 0)])
    files: dict[str, tifffile.TiffFile] = {"": tif}

    def page(index: int) -> Page:
        part = image.parts.get(index)
        if part is None:
            raise SemiGDAError(f"“{path}” leaves out the pixels of a plane that it says its set has.")
        if part.file not in files:
            files[part.file] = stack.enter_context(opened_tiff(file_of_part(path, part)))
        found = files[part.file].pages[part.page]
        if tuple(keyframe(found).shape) != tuple(key.shape) or keyframe(found).dtype != key.dtype:
            raise SemiGDAError(
                f"“{path.with_name(part.file)}” is not the file that “{path.name}” names as part of its set: "
                "its planes have another size or type. Restore the right file."
            )
        return found

    in_page = [(axis, n) for axis, n in zip(key.axes, key.shape, strict=True) if axis != "Z" or n > 1]
    axes = image.axes + "".join(axis for axis, _ in in_page)
    shape = (*image.shape, *(length for _, length in in_page))
    return _Image(path, tif, number, axes, shape, key, page, lock, described=image)


# Listing ----------------------------------------------------------------------------------------------


class _Listed(NamedTuple):
    plane: Plane
    position: tuple[tuple[str, int], ...]
    aside: bool  # a thumbnail, a mask beside an image, a slide's label


def _listed(image: _Image) -> list[_Listed]:
    found: list[_Listed] = []
    numbers: list[Any] = []
    for index in image.listed():
        if image.leaves_out(index):
            continue
        page = image.page_of(index)
        if not found:  # whether it can be read
            Segments(page, image.lock)
            meaning_of_page(page, image.tif, image.path)
            image.check_size()
        axes = zip(image.lead, image.position(index), strict=True)
        shape = (image.width, image.height) if _orientation(page) > 4 else (image.height, image.width)
        plane = Plane(image.path, image.number, index, "", shape, *image.pixel_size(page))
        position = tuple((axis, number) for (axis, length), number in axes if length > 1)
        found.append(_Listed(plane, position, _is_aside(image, page)))
        numbers.append(page.tags.valueof(_PAGE_NUMBER))
    return _in_page_order(found, numbers)


def _in_page_order(found: list[_Listed], numbers: list[Any]) -> list[_Listed]:
    """Sort pages by the numbers that they give themselves, if each has its own."""
    order = [int(number[0]) if isinstance(number, tuple) and number else -1 for number in numbers]
    if sorted(order) != list(range(len(order))) or any(len(one.position) != 1 for one in found):
        return found
    return [found[at]._replace(position=((found[0].position[0][0], order[at]),)) for at in np.argsort(order)]


def _is_aside(image: _Image, page: tifffile.TiffPage) -> bool:
    return (
        bool(int(page.subfiletype) & (_REDUCED | _MASK | _MACRO))
        or page.photometric == tifffile.PHOTOMETRIC.MASK
        or (image.series is not None and image.series.name.lower() in _NO_IMAGES)
    )


def _orientation(page: Page) -> int:
    value = keyframe(page).tags.valueof(_ORIENTATION, 1)
    return int(value) if isinstance(value, int) and 1 <= value <= 8 else 1


# One plane --------------------------------------------------------------------------------------------


class _StoredPlane:
    """One plane of a TIFF, to be read whole or by windows."""

    def __init__(self, image: _Image, index: int, *, upright: bool) -> None:
        if not 0 <= index < image.count:
            raise SemiGDAError(
                f"“{image.path}” no longer has a page number {index + 1}. Restore the original file."
            )
        self._image, self._index, self._upright = image, index, upright
        page = image.page_of(index)
        self.meaning = meaning_of_page(page, image.tif, image.path)
        self._turn = _orientation(page) if upright or page.compression not in _ONCE_NOT_TURNED else 1
        self.size = image.pixel_size(page)
        image.check_size()
        self.shape = (image.width, image.height) if self._turn > 4 else (image.height, image.width)
        numbers = None if image.is_one_block else image.pages(index)
        self._segments = [Segments(image.page(number), image.lock) for number in numbers or ()]
        self._depth = 0
        if self._segments and self._segments[0].depth > 1:  # which of the planes in one page it is
            in_page = image.window(index)[image.outer :]
            self._depth = next((part for part in in_page if isinstance(part, int)), 0)

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

    def samples(self) -> Array:
        """Read the samples as they are stored, upright: (H, W) or (H, W, C)."""
        parts = self._parts(slice(None), slice(None))
        stored = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        return stored[..., 0] if stored.shape[-1] == 1 else stored

    def picture(self, rows: slice = slice(None), columns: slice = slice(None)) -> Array:
        """Read some rows and columns as they are displayed."""
        return self._seen(self._parts(rows, columns))

    def by_slices(self) -> StoredPixels:
        """Return the plane as an array that is read when sliced."""
        black = self._seen([np.zeros((1, 1, one.samples), one.dtype) for one in self._segments])

        def read(slices: tuple[slice, ...]) -> Array:
            rows, columns = (slice(*one.indices(n)) for one, n in zip(slices, self.shape, strict=False))
            pixels = self.picture(slice(rows.start, rows.stop), slice(columns.start, columns.stop))
            return pixels[(slice(None, None, rows.step), slice(None, None, columns.step), *slices[2:])]

        channels = black.shape[2:]
        chunks = (*(self.block or self.shape), *channels)
        return StoredPixels((*self.shape, *channels), black.dtype, chunks, read, self._image.path)

    def smaller(self) -> list["_StoredPlane"]:
        """Return the smaller copies of the plane that the file holds and that can be read by windows."""
        image = self._image
        found: list[_StoredPlane] = []
        for series in image.series.levels[1:] if image.series is not None else ():
            if series.axes != image.axes or len(series.shape) != len(image.shape):
                continue
            level = _image_of_series(image.path, image.tif, image.number, series, image.lock)
            if level.lead == image.lead and not level.leaves_out(self._index):
                plane = _StoredPlane(level, self._index, upright=self._upright)
                before = found[-1].shape if found else self.shape
                if plane.block is not None and all(map(operator.lt, plane.shape, before)):
                    found.append(plane)
        return found

    def _seen(self, parts: list[Array]) -> Array:
        seen = [self.meaning.as_picture(part) for part in parts]
        return seen[0] if len(seen) == 1 else np.concatenate([np.atleast_3d(part) for part in seen], axis=-1)

    def _parts(self, rows: slice, columns: slice) -> list[Array]:
        """Read the samples of each page: (H, W, C)."""
        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = columns.indices(self.shape[1])
        if not self._segments:
            return [np.atleast_3d(upright(self._whole(), self._turn)[top:bottom, left:right])]
        window = Window(top, bottom, left, right).stored(self.shape, self._turn)
        return [upright(segments.read(window, self._depth), self._turn) for segments in self._segments]

    def _whole(self) -> Array:
        """Read a plane whose pages are not those of the plane: one block, or an array with channels last."""
        image = self._image
        window = image.window(self._index)
        kept = "".join(axis for axis, part in zip(image.axes, window, strict=True) if isinstance(part, slice))
        if image.is_one_block and image.series is not None:
            if int(image.key.bitspersample) != 8 * np.dtype(image.key.dtype).itemsize:
                raise ValueError("its pixels are packed without pages of their own")
            dtype = image.tif.byteorder + np.dtype(image.key.dtype).str[1:]
            offset = image.series.dataoffset or 0
            mapped = image.tif.filehandle.memmap_array(dtype, image.shape, offset)
            return _channels_last(np.array(mapped[window]), kept)
        if image.outer is None:
            raise ValueError("its pages do not have the shape that it says")
        lengths = image.shape[: image.outer]
        numbers = np.arange(math.prod(lengths)).reshape(lengths)[window[: image.outer]]
        pages = [self._page(int(number)) for number in np.ravel(numbers)]
        stacked = np.stack(pages).reshape(*np.shape(numbers), *image.shape[image.outer :])
        return _channels_last(stacked[(..., *window[image.outer :])], kept)

    def _page(self, number: int) -> Array:
        """Read a whole page in the order of its own axes."""
        segments = Segments(self._image.page(number), self._image.lock)
        whole = Window(0, segments.height, 0, segments.width)
        layers = np.stack([segments.read(whole, depth) for depth in range(segments.depth)])
        return np.moveaxis(layers, -1, 0) if self._image.key.planarconfig == 2 else layers


def _channels_last(pixels: Array, axes: str) -> Array:
    order = "YX" + "".join(axis for axis in axes if axis not in "YX")
    moved = pixels.transpose([axes.index(axis) for axis in order])
    channels = math.prod(moved.shape[2:])
    return moved.reshape(moved.shape[:2] if channels == 1 else (*moved.shape[:2], channels))
