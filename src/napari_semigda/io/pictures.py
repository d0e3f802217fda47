"""Reading pictures: which two-dimensional planes a file holds, and the pixels of one of them.

TIFF in all its kinds goes through tifffile; PNG, JPEG, BMP and other photographs through Pillow; OME-Zarr
through zarr. A file is read as what it is, not as what its name says; a folder is a picture if its name ends
in ``.zarr``.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import atomic_file
from napari_semigda.io.explained import explained
from napari_semigda.io.ome import OTHER_UNIT, ome_unit
from napari_semigda.io.omezarr import ZarrImage, is_zarr, read_images
from napari_semigda.io.units import (
    NO_SIZE,
    from_density,
    number_in,
    size_of_pixel,
    unless_dots_per_inch,
    unless_printed,
)

SUFFIXES = frozenset({".tif", ".tiff", ".btf", ".tf8", ".png", ".jpg", ".jpeg", ".bmp", ".webp"})
"""Endings of the file names that `find_pictures` looks for; beside them it finds the folders of OME-Zarr."""

UNREAD_SUFFIXES = frozenset(
    {
        *(".czi", ".nd2", ".lif", ".lei", ".lsm", ".stk", ".oib", ".oif", ".oir", ".vsi", ".ets", ".ims"),
        *(".zvi", ".dv", ".r3d", ".bif", ".svs", ".ndpi", ".mrxs", ".scn", ".dcm", ".dicom", ".ima"),
        *(".nii", ".nii.gz"),
        *(".nrrd", ".nhdr", ".mha", ".mhd", ".mrc", ".rec", ".dm3", ".dm4", ".ser", ".emd", ".fits", ".h5"),
        *(".hdf5", ".n5", ".npy", ".npz", ".mat", ".gif", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jpx"),
        *(".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".psd", ".xcf", ".tga", ".pgm", ".ppm"),
        *(".pnm", ".pbm", ".svg", ".eps", ".avi", ".mp4", ".mov", ".mkv"),
    }
)
"""Endings of images that are not read; people are told how many there are."""

READ_FORMATS = "TIFF, PNG, JPEG, BMP, WebP and OME-Zarr"
_KINDS_TOLD = 5
_UNNAMED = 3  # files without an ending: so many are no README any more, but perhaps DICOM

MOST_PLANES = 100_000
"""A file that says it holds more planes than this is taken for a broken one."""

_PLAUSIBLE_BYTES = 2**29
_PLAUSIBLE_RATIO = 500
"""A plane above the former that is more than so many times as large as its file does not fit into it."""

MANIFEST_NAME = "semigda.json"
"""The file that makes a folder a session; such folders are not searched for pictures."""

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PHOTOGRAPHS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "PPM")
_CHANNEL_AXES = "CS"
_EXIF_ORIENTATION = 274


@dataclass(frozen=True)
class Plane:
    """One two-dimensional picture of a file, known from the file's header alone.

    Parameters
    ----------
    path
        The file.
    series
        Which of the file's series (images of an OME-TIFF, groups of equal pages) it belongs to.
    index
        Which plane of the series, counted over all axes but channel, height and width.
    name
        What tells it from the file's other planes, such as ``"t 2, z 5"`` (counted from 1); empty where
        the file holds one.
    shape
        (height, width) in pixels.
    pixel_size
        (y, x) in `unit`.
    unit
        ``"µm"`` (all metric lengths and inches are converted), ``"pixel"`` where the file says nothing,
        else the file's own word.
    """

    path: Path
    series: int = 0
    index: int = 0
    name: str = ""
    shape: tuple[int, int] = (1, 1)
    pixel_size: tuple[float, float] = (1.0, 1.0)
    unit: str = "pixel"


@dataclass(frozen=True)
class Picture:
    """The pixels of one plane.

    Parameters
    ----------
    pixels
        (H, W) or (H, W, C), of the file's own type.
    pixel_size
        (y, x) in `unit`.
    unit
        As in `Plane`.
    """

    pixels: NDArray[Any]
    pixel_size: tuple[float, float] = (1.0, 1.0)
    unit: str = "pixel"


@dataclass(frozen=True)
class Listing:
    """What there is in a folder and below.

    Parameters
    ----------
    pictures
        The picture files, in the order a person would sort them.
    others
        How many files there are of each other kind, by the ending of their names; hidden ones do not count.
    links
        Links to folders, which are not followed.
    """

    pictures: list[Path]
    others: Mapping[str, int]
    links: list[Path]

    def skipped(self, *, everything: bool = False) -> list[str]:
        """Tell in sentences what was skipped: images of kinds that are not read, and linked folders.

        Parameters
        ----------
        everything
            Tell of files that are no images, too: nothing else was found.
        """
        kinds = [
            (ending, count)
            for ending, count in sorted(self.others.items(), key=lambda one: (-one[1], one[0]))
            if everything or ending in UNREAD_SUFFIXES or (not ending and count >= _UNNAMED)
        ]
        sentences = []
        if kinds:
            told = ", ".join(f"{count} {ending or 'without ending'}" for ending, count in kinds[:_KINDS_TOLD])
            more = f" and {len(kinds) - _KINDS_TOLD} more kinds" if len(kinds) > _KINDS_TOLD else ""
            one = sum(count for _, count in kinds) == 1
            sentences.append(
                f"{told}{more}: {'this file was' if one else 'these files were'} skipped. {READ_FORMATS} are "
                "read; save the images as one of these."
            )
        if self.links:
            told = ", ".join(f"“{link}”" for link in self.links[:_KINDS_TOLD])
            more = f" and {len(self.links) - _KINDS_TOLD} more" if len(self.links) > _KINDS_TOLD else ""
            many = len(self.links) > 1
            sentences.append(
                f"{len(self.links)} linked folder{'s were' if many else ' was'} skipped: {told}{more}. "
                f"Name {'them' if many else 'it'} as a folder of images to read {'them' if many else 'it'}."
            )
        return sentences


def list_folder(folder: Path | str) -> Listing:
    """List the picture files in a folder and below, and count what else is there.

    The folder of an OME-Zarr is one picture, and nothing is looked for inside of it. Hidden files and folders
    are left out, and so are the sub-folders that are sessions.

    Raises
    ------
    SemiGDAError
        When the folder is not there or cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SemiGDAError(f"There is no folder “{folder}”. Choose a folder that holds images.")
    found: list[Path] = []
    others: Counter[str] = Counter()
    links: list[Path] = []
    for parent, folders, files in os.walk(folder, onerror=_raise_unreadable):
        folders[:] = [name for name in folders if not _is_left_alone(Path(parent, name))]
        stores = {name for name in folders if is_zarr(Path(parent, name))}
        folders[:] = [name for name in folders if name not in stores]
        found += [Path(parent, name) for name in stores]
        links += [link for name in folders if (link := Path(parent, name)).is_symlink()]
        for name in files:
            if name.startswith("."):
                continue
            ending = _ending(name)
            if ending in SUFFIXES:
                found.append(Path(parent, name))
            else:
                others[ending] += 1
    found.sort(key=lambda path: natural_order(path.relative_to(folder).as_posix()))
    return Listing(found, others, sorted(links))


def find_pictures(folder: Path | str) -> list[Path]:
    """List the picture files in a folder and below; see `list_folder`."""
    return list_folder(folder).pictures


def _ending(name: str) -> str:
    """Return what tells the kind of a file: its ending, where letters or digits are one; else nothing."""
    ending = os.path.splitext(name)[1].lower()
    if ending == ".gz":
        ending = os.path.splitext(name[:-3])[1].lower() + ending
    return ending if re.fullmatch(r"(\.(?!\d+$)\w{1,10}){1,2}", ending) else ""


def natural_order(text: str) -> tuple[Any, ...]:
    """Key that sorts “image 9” before “image 10”, whatever the case of the letters."""
    parts = re.split(r"([0-9]+)", text.casefold())
    return (*((int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts)), text)


def list_planes(path: Path | str) -> list[Plane]:
    """List the planes of a file, reading no more than its header.

    A multi-page, z- or t-stack gives one plane a page. Channels, and the samples of a colour picture,
    stay within their plane.

    Raises
    ------
    SemiGDAError
        When the file is missing, empty, damaged or no picture that can be read.
    """
    path = Path(path)
    with explained(path):
        if is_zarr(path):
            return _list_zarr_planes(path)
        if is_tiff(path):
            return _list_tiff_planes(path)
        with _opened_photograph(path) as image:
            width, height = image.size
            turned = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
            return [Plane(path, shape=(width, height) if turned else (height, width))]


def stack_axes(path: Path | str, series: int = 0) -> tuple[str, tuple[int, ...], float | None]:
    """Tell along which axes the planes of a file are counted, reading no more than its header.

    Returns
    -------
    axes
        Letters as tifffile has them, without channels, height and width; empty for a single plane.
    lengths
        Planes along each.
    spacing
        Between planes along z, in the unit of `Plane`; None where the file does not say.

    Raises
    ------
    SemiGDAError
        As for `list_planes`, and when there is no such series.
    """
    path = Path(path)
    with explained(path):
        if is_zarr(path):
            image = read_images(path)[series]
            return *_counted(_zarr_letters(image), [length for _, length in image.lead]), _zarr_spacing(image)
        if not is_tiff(path):
            return "", (), None
        with opened_tiff(path) as tif:
            return *_counted(*_lead(tif.series[series])), _tiff_spacing(tif, series)


def read_plane(plane: Plane) -> Picture:
    """Read the pixels of one plane, and as little as possible of the rest of its file.

    Returns
    -------
    Picture
        Channels last. Palette pictures come in their colours, photographs the way up that their EXIF
        says. Alpha is kept beside colours and dropped beside grey. Of a PNG with 16 bits a colour,
        Pillow reads the upper 8.

    Raises
    ------
    SemiGDAError
        When the file is missing, damaged, or has no such plane.
    """
    with explained(plane.path):
        if is_zarr(plane.path):
            return _read_zarr_plane(plane)
        if is_tiff(plane.path):
            return _read_tiff_plane(plane)
        with _opened_photograph(plane.path) as image:
            return Picture(_photograph_pixels(image))


def write_picture(path: Path | str, picture: Picture, *, new: bool = False) -> None:
    """Write a picture as OME-TIFF, with its pixel size; readable by `read_plane`. Atomic.

    Parameters
    ----------
    path
        Where to write; the name should end in ``.ome.tif`` or ``.tif``.
    picture
        (H, W) or (H, W, C) of any boolean, integer or floating type. Types that OME-TIFF does not have
        (bool, float16, 64-bit integers) become the next that holds the values. A pixel size without a unit
        (``"pixel"``) comes back in OME's "reference frame".
    new
        Refuse to replace a file.

    Raises
    ------
    SemiGDAError
        When the pixels are no picture, or the file cannot be written.
    """
    path = Path(path)
    pixels = _storable(np.asarray(picture.pixels), path)
    colour = pixels.ndim == 3 and pixels.shape[2] in (3, 4) and pixels.dtype == np.uint8
    if pixels.ndim == 3 and not colour:
        pixels = np.moveaxis(pixels, 2, 0)
    metadata: dict[str, Any] = {"axes": "YXS" if colour else "CYX"[-pixels.ndim :]}
    sized = picture.unit != "pixel"
    if sized or tuple(picture.pixel_size) != (1, 1):
        for axis, size in zip("YX", picture.pixel_size, strict=True):
            metadata[f"PhysicalSize{axis}"] = size
            metadata[f"PhysicalSize{axis}Unit"] = ome_unit(picture.unit) if sized else OTHER_UNIT
    with atomic_file(path, new=new) as temporary:
        tifffile.imwrite(
            temporary,
            np.ascontiguousarray(pixels),
            ome=True,
            photometric="rgb" if colour else "minisblack",
            compression="zlib",
            metadata=metadata,
        )


def _raise_unreadable(error: OSError) -> None:
    raise SemiGDAError(f"The folder “{error.filename}” cannot be read: {error.strerror}.") from error


def _is_left_alone(folder: Path) -> bool:
    return folder.name.startswith(".") or (folder / MANIFEST_NAME).exists()


def is_tiff(path: Path) -> bool:
    """Whether a file begins as TIFFs do."""
    with path.open("rb") as file:
        return file.read(4) in _TIFF_STARTS


# Photographs ------------------------------------------------------------------------------------------


def _opened_photograph(path: Path) -> Image.Image:
    return Image.open(path, formats=_PHOTOGRAPHS)


def _photograph_pixels(image: Image.Image) -> NDArray[Any]:
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("P", "PA"):
        upright = upright.convert("RGBA" if "transparency" in upright.info else "RGB")
    elif upright.mode in ("LA", "La"):
        upright = upright.convert("L")
    elif upright.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa"):
        upright = upright.convert("RGB")
    return np.array(upright)


# OME-Zarr ---------------------------------------------------------------------------------------------


def _list_zarr_planes(path: Path) -> list[Plane]:
    images = read_images(path)
    _refuse_too_many(path, (math.prod(length for _, length in image.lead) for image in images))
    return [
        plane
        for number, image in enumerate(images)
        for plane in _planes(
            Plane(
                path,
                number,
                0,
                f"image {number + 1}" if len(images) > 1 else "",
                image.shape,
                *_zarr_pixel_size(image),
            ),
            [axis.upper() if axis in ("t", "z") else axis for axis, _ in image.lead],
            [length for _, length in image.lead],
        )
    ]


def zarr_image(plane: Plane) -> tuple[ZarrImage, tuple[int, ...]]:
    """Find the image that a plane of an OME-Zarr belongs to, and its place on the image's other axes.

    Raises
    ------
    SemiGDAError
        As `read_plane`.
    """
    images = read_images(plane.path)
    if not 0 <= plane.series < len(images):
        raise SemiGDAError(f"“{plane.path}” has no image number {plane.series + 1} any more.")
    image = images[plane.series]
    lengths = [length for _, length in image.lead]
    if not 0 <= plane.index < math.prod(lengths):
        raise SemiGDAError(f"“{plane.path}” has no page number {plane.index + 1} any more.")
    return image, tuple(map(int, np.unravel_index(plane.index, lengths))) if lengths else ()


def _read_zarr_plane(plane: Plane) -> Picture:
    image, position = zarr_image(plane)
    return Picture(image.opened(0, position, plane.path)[:], *_zarr_pixel_size(image))


def _zarr_letters(image: ZarrImage) -> str:
    """The lead axes as tifffile names them: T, Z, and Q for others."""
    return "".join({"t": "T", "z": "Z"}.get(axis, "Q") for axis, _ in image.lead)


def _zarr_pixel_size(image: ZarrImage) -> tuple[tuple[float, float], str]:
    return size_of_pixel(image.along("y"), image.along("x"))


def _zarr_spacing(image: ZarrImage) -> float | None:
    """Return the distance of planes along z, in the unit of `_zarr_pixel_size`; None if unknown."""
    if "z" not in image.axes:
        return None
    (spacing, _), told = size_of_pixel(image.along("z"), image.along("z"))
    return None if told == "pixel" else spacing


# TIFF -------------------------------------------------------------------------------------------------


@contextmanager
def opened_tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF whose pages come to an end."""
    with tifffile.TiffFile(path) as tif:
        # Counting follows the chain of pages to its end and notices where a damaged one bites its own tail;
        # looking for series without it would never end then.
        if len(tif.pages) > MOST_PLANES:
            raise SemiGDAError(f"“{path}” says that it holds {len(tif.pages)} pages; it seems damaged.")
        yield tif


def _list_tiff_planes(path: Path) -> list[Plane]:
    with opened_tiff(path) as tif:
        series = [
            (number, one) for number, one in enumerate(tif.series) if {"Y", "X"} <= set(one.axes) and one.size
        ]
        _refuse_too_many(path, (math.prod(_lead(one)[1]) for _, one in series))
        for _, one in series:
            _refuse_implausible(path, one)
        return [
            plane
            for number, one in series
            for plane in _planes(
                Plane(
                    path,
                    number,
                    0,
                    f"image {number + 1}" if len(series) > 1 else "",
                    (one.shape[one.axes.index("Y")], one.shape[one.axes.index("X")]),
                    *_tiff_pixel_size(tif, number, one),
                ),
                *_lead(one),
            )
        ]


def _refuse_implausible(path: Path, series: tifffile.TiffPageSeries) -> None:
    """Refuse planes that are no picture, or that would fill the memory with what a small file claims."""
    if series.dtype is None or series.dtype.kind not in "buif":
        raise SemiGDAError(
            f"“{path}” holds numbers of the type {series.dtype}, which are no grey values. "
            "Save it as real numbers, such as the magnitude."
        )
    plane = math.prod(
        length for axis, length in zip(series.axes, series.shape, strict=True) if axis in _CHANNEL_AXES + "YX"
    )
    room, file = plane * series.dtype.itemsize, path.stat().st_size
    if room > max(_PLAUSIBLE_BYTES, _PLAUSIBLE_RATIO * file):
        raise SemiGDAError(
            f"“{path}” claims to hold a picture of {room / 2**20:.0f} MiB, but has {file / 2**20:.1f} MiB; "
            "it seems damaged. Bring back a sound copy of it."
        )


def _refuse_too_many(path: Path, counts: Iterable[int]) -> None:
    count = sum(counts)
    if not count:
        raise SemiGDAError(f"“{path}” holds no picture.")
    if count > MOST_PLANES:
        raise SemiGDAError(f"“{path}” says that it holds {count} pictures; it seems damaged.")


def _planes(first: Plane, axes: Sequence[str], lengths: Sequence[int]) -> Iterator[Plane]:
    """Count planes over axes, and name them by their places on those with more than one."""
    for index, position in enumerate(np.ndindex(*lengths)):
        words = [first.name] if first.name else []
        words += [
            f"{_axis_word(axis)} {place + 1}"
            for axis, place, length in zip(axes, position, lengths, strict=True)
            if length > 1
        ]
        yield replace(first, index=index, name=", ".join(words))


def _counted(axes: str, lengths: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    """Leave out the axes along which there is one plane."""
    kept = [(axis, length) for axis, length in zip(axes, lengths, strict=True) if length > 1]
    return "".join(axis for axis, _ in kept), tuple(length for _, length in kept)


def _lead(series: tifffile.TiffPageSeries) -> tuple[str, tuple[int, ...]]:
    """Return the axes over which planes are counted, and their lengths."""
    kept = [
        (axis, length)
        for axis, length in zip(series.axes, series.shape, strict=True)
        if axis not in _CHANNEL_AXES + "YX"
    ]
    return "".join(axis for axis, _ in kept), tuple(int(length) for _, length in kept)


def _axis_word(axis: str) -> str:
    """Name an axis for people: by its letter, where everybody knows it, or by its name, where it has one."""
    return axis.lower() if axis in ("T", "Z") or len(axis) > 1 else "page"


def _read_tiff_plane(plane: Plane) -> Picture:
    with opened_tiff(plane.path) as tif:
        if not 0 <= plane.series < len(tif.series):
            raise SemiGDAError(f"“{plane.path}” has no image number {plane.series + 1} any more.")
        series = tif.series[plane.series]
        if not {"Y", "X"} <= set(series.axes) or not 0 <= plane.index < math.prod(_lead(series)[1]):
            raise SemiGDAError(f"“{plane.path}” has no page number {plane.index + 1} any more.")
        _refuse_implausible(plane.path, series)
        pixels = _in_palette_colours(_channels_last(*_plane_array(tif, plane, series)), tif, series)
        return Picture(pixels, *_tiff_pixel_size(tif, plane.series, series))


def _plane_array(
    tif: tifffile.TiffFile, plane: Plane, series: tifffile.TiffPageSeries
) -> tuple[NDArray[Any], str]:
    """Read one plane with its channel axes, by the cheapest way that the file allows."""
    lengths = _lead(series)[1]
    position = iter(np.unravel_index(plane.index, lengths) if lengths else ())
    window = tuple(
        slice(None) if axis in _CHANNEL_AXES + "YX" else int(next(position)) for axis in series.axes
    )
    axes = "".join(axis for axis, part in zip(series.axes, window, strict=True) if isinstance(part, slice))
    if series.dataoffset is not None:
        mapped = tif.asarray(series=plane.series, out="memmap")
        return np.array(mapped.reshape(series.shape)[window]), axes
    page_shape = tuple(series.keyframe.shape)
    outer = series.shape[: len(series.shape) - len(page_shape)]
    if tuple(series.shape) == outer + page_shape and len(series.pages) == math.prod(outer):
        numbers = np.arange(math.prod(outer)).reshape(outer)[window[: len(outer)]]
        pages = np.stack([_page_array(plane.path, series, int(number)) for number in np.ravel(numbers)])
        inner = window[len(outer) :]
        return pages.reshape(np.shape(numbers) + page_shape)[(..., *inner)], axes
    return series.asarray()[window], axes


def _page_array(path: Path, series: tifffile.TiffPageSeries, number: int) -> NDArray[Any]:
    page = series.pages[number]
    if page is None:  # OME-TIFF may leave planes out
        return np.zeros(series.keyframe.shape, series.dtype)
    try:
        return np.asarray(page.asarray())
    except ValueError as error:
        if "requires the 'imagecodecs' package" not in str(error):
            raise
        pixels = _page_array_by_pillow(path, page.index)
        if pixels is None or pixels.shape != tuple(page.shape) or pixels.dtype != page.dtype:
            raise
        return pixels


def _page_array_by_pillow(path: Path, index: Any) -> NDArray[Any] | None:
    """Read a page with libtiff, which knows LZW and JPEG; None for what it cannot."""
    if not isinstance(index, int | np.integer):
        return None
    try:
        with Image.open(path, formats=("TIFF",)) as image:
            image.seek(int(index))
            return np.array(image)
    except (OSError, ValueError, EOFError):
        return None


def _channels_last(pixels: NDArray[Any], axes: str) -> NDArray[Any]:
    order = "YX" + "".join(axis for axis in axes if axis not in "YX")
    moved = pixels.transpose([axes.index(axis) for axis in order])
    channels = math.prod(moved.shape[2:])
    shape = moved.shape[:2] if channels == 1 else (*moved.shape[:2], channels)
    return np.ascontiguousarray(moved.reshape(shape))


def _in_palette_colours(
    pixels: NDArray[Any], tif: tifffile.TiffFile, series: tifffile.TiffPageSeries
) -> NDArray[Any]:
    """Replace indices by their colours; in ImageJ's files the values count and the palette is decoration."""
    page = series.keyframe
    palette = getattr(page, "colormap", None)
    if tif.is_imagej or palette is None or page.photometric != tifffile.PHOTOMETRIC.PALETTE:
        return pixels
    colours = (np.asarray(palette) >> 8).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(colours[:, pixels], 0, -1))


def _tiff_pixel_size(
    tif: tifffile.TiffFile, number: int, series: tifffile.TiffPageSeries
) -> tuple[tuple[float, float], str]:
    """Return the pixel size (y, x) and its unit as OME-XML, ImageJ or the resolution tags give it."""
    if tif.is_ome and tif.ome_metadata:
        return _ome_pixel_size(tif.ome_metadata, number)
    tags = series.keyframe.tags
    per_unit = tuple(_ratio(tags.valueof(name)) for name in ("YResolution", "XResolution"))
    if tif.is_imagej:
        unit = str((tif.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
        size = from_density(per_unit, unit)
        return unless_dots_per_inch(per_unit[1], size) if unit in ("inch", "in") else size
    resolution_unit = tags.valueof("ResolutionUnit")
    if resolution_unit == tifffile.RESUNIT.CENTIMETER:
        return unless_printed(from_density(per_unit, "cm"))
    if resolution_unit == tifffile.RESUNIT.INCH:
        return unless_printed(from_density(per_unit, "inch"))
    return NO_SIZE


def _ome_pixel_size(xml: str, number: int) -> tuple[tuple[float, float], str]:
    try:
        elements = ElementTree.fromstring(xml).iter()
    except ElementTree.ParseError:  # a damaged description does not make the pixels unreadable
        return NO_SIZE
    pixels = [one for one in elements if one.tag.rpartition("}")[2] == "Pixels"]
    if number >= len(pixels):
        return NO_SIZE
    given = pixels[number].attrib
    return size_of_pixel(
        *(
            (number_in(given.get(f"PhysicalSize{axis}")), given.get(f"PhysicalSize{axis}Unit", "µm"))
            for axis in "YX"
        )
    )


def _tiff_spacing(tif: tifffile.TiffFile, number: int) -> float | None:
    """Return the distance of planes along z, in the unit that `_tiff_pixel_size` gives; None if unknown."""
    if tif.is_ome and tif.ome_metadata:
        pixels = [
            one
            for one in ElementTree.fromstring(tif.ome_metadata).iter()
            if one.tag.rpartition("}")[2] == "Pixels"
        ]
        given = pixels[number].attrib if number < len(pixels) else {}
        size, unit = number_in(given.get("PhysicalSizeZ")), given.get("PhysicalSizeZUnit", "µm")
    else:
        given = tif.imagej_metadata or {}
        size, unit = number_in(given.get("spacing")), str(given.get("unit", "")).replace("\\u00B5", "µ")
    (spacing, _), told = from_density((1 / size, 1 / size), unit) if size > 0 else ((0.0, 0.0), "pixel")
    return None if told == "pixel" else spacing


def _ratio(value: Any) -> float:
    """Return the number that a resolution tag stands for, 0 where it stands for none."""
    try:
        return number_in(value[0] / value[1] if isinstance(value, tuple) else value)
    except (ZeroDivisionError, IndexError, TypeError):
        return 0.0


def _storable(pixels: NDArray[Any], path: Path) -> NDArray[Any]:
    """Bring the pixels to a type that OME-TIFF has."""
    if pixels.ndim not in (2, 3) or not pixels.size or pixels.dtype.kind not in "buif":
        raise SemiGDAError(
            f"“{path.name}” was not written: pixels of the shape {pixels.shape} and the type {pixels.dtype} "
            "are no picture. Two dimensions, or three with the channels last, are needed."
        )
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype == np.float16:
        return pixels.astype(np.float32)
    if pixels.dtype.kind in "ui" and pixels.dtype.itemsize == 8:
        limits = np.iinfo(np.int32)
        fits = limits.min <= int(pixels.min()) and int(pixels.max()) <= limits.max
        return pixels.astype(np.int32 if fits else np.float64)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
