"""Reading pictures: which two-dimensional planes a file holds, and the pixels of one of them.

TIFF in all its kinds goes through tifffile; PNG, JPEG, BMP and other photographs through Pillow; OME-Zarr
through zarr. A file is read as what it is, not as what its name says; a folder is a picture if its name ends
in ``.zarr``.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.io import photographs
from napari_semigda.io.atomic import atomic_file
from napari_semigda.io.colors import Interpretation
from napari_semigda.io.omezarr import ZarrImage, is_zarr, read_images
from napari_semigda.io.planes import Picture as Picture
from napari_semigda.io.planes import Plane as Plane
from napari_semigda.io.planes import explained
from napari_semigda.io.tiff import opened_tiff_plane, read_header, refuse_too_many, tiff_stack
from napari_semigda.io.tiff_pages import is_tiff
from napari_semigda.io.units import OTHER_UNIT, ome_unit, size_of_pixel

SUFFIXES = frozenset({".tif", ".tiff", ".btf", ".tf8", ".png", ".jpg", ".jpeg", ".bmp", ".webp"})
"""Endings of the file names that `find_pictures` looks for; beside them it finds the folders of OME-Zarr."""

UNREAD_SUFFIXES = frozenset(
    {
        *(".czi", ".nd2", ".lif", ".lei", ".lsm", ".stk", ".oib", ".oif", ".oir", ".vsi", ".ets", ".ims"),
        *(".zvi", ".dv", ".r3d", ".bif", ".svs", ".ndpi", ".mrxs", ".scn", ".dcm", ".dicom", ".ima"),
        *(".nii", ".nii.gz"),
        *(".nrrd", ".nhdr", ".mha", ".mhd", ".mrc", ".rec", ".dm3", ".dm4", ".emd", ".fits", ".h5"),
        *(".hdf5", ".n5", ".npy", ".npz", ".mat", ".gif", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jpx"),
        *(".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".psd", ".xcf", ".tga", ".pgm", ".ppm"),
        *(".pnm", ".pbm", ".svg", ".eps", ".avi", ".mp4", ".mov", ".mkv"),
    }
)
"""Endings of images that are not read; people are told how many there are."""

READ_FORMATS = "TIFF, PNG, JPEG, BMP, WebP and OME-Zarr"
_KINDS_TOLD = 5
_UNNAMED = 3  # files without an ending: so many are no README any more, but perhaps DICOM

MANIFEST_NAME = "semigda.json"
"""The file that makes a folder a session; such folders are not searched for pictures."""


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
            were, them = ("s were", "them") if len(self.links) > 1 else (" was", "it")
            sentences.append(
                f"{len(self.links)} linked folder{were} skipped: {told}{more}. "
                f"To read {them}, choose {them} as a folder of images, too."
            )
        return sentences


def list_folder(folder: Path | str, cancelled: Callable[[], bool] | None = None) -> Listing:
    """List the picture files in a folder and below, and count what else is there.

    The folder of an OME-Zarr is one picture, and nothing is looked for inside of it. Hidden files and folders
    are left out, and so are the sub-folders that are sessions.

    Parameters
    ----------
    folder
        Where to look.
    cancelled
        Asked at every folder.

    Raises
    ------
    SemiGDAError
        When the folder is not there or cannot be read.
    Cancelled
        When the person cancelled.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise SemiGDAError(f"There is no folder “{folder}”. Choose a folder that holds images.")
    found: list[Path] = []
    others: Counter[str] = Counter()
    links: list[Path] = []
    for parent, folders, files in os.walk(folder, onerror=_raise_unreadable):
        if cancelled is not None and cancelled():
            raise Cancelled
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
            elif not ending and not Path(parent, name).exists():
                links.append(Path(parent, name))  # to a folder that is not there now
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


@dataclass(frozen=True)
class FileContent:
    """What a file holds, known from its header alone.

    Parameters
    ----------
    planes
        As `list_planes` gives them; none where its pixels are channels of planes in another file of its set.
    identifier
        Of a file that belongs to a set (OME-TIFF); else empty.
    missing
        Files of that set that are not there: their names, by their identifiers.
    """

    planes: list[Plane]
    identifier: str = ""
    missing: tuple[tuple[str, str], ...] = ()


def list_file(path: Path | str) -> FileContent:
    """List the planes of a file, and which files are missing of its set; see `list_planes`."""
    path = Path(path)
    with explained(path):
        if is_zarr(path):
            return FileContent(_list_zarr_planes(path))
        if is_tiff(path):
            return _list_tiff(path)
        return FileContent([Plane(path, shape=photographs.read_size(path))])


def list_planes(path: Path | str) -> list[Plane]:
    """List the planes of a file, reading no more than its header.

    A multi-page, z- or t-stack gives one plane a page. Channels, and the samples of a color image,
    stay within their plane. Thumbnails, smaller copies, labels of slides, and masks beside an image are left
    out, unless the file holds nothing else. Of a set of files (OME-TIFF) each lists its own planes.

    Raises
    ------
    SemiGDAError
        When the file is missing, empty, damaged or no picture that can be read.
    """
    planes = list_file(path).planes
    if not planes:
        raise SemiGDAError(
            f"“{path}” belongs to a set of files (OME-TIFF) and holds channels of its images. Choose "
            "the file with "
            "their first channels, or the folder."
        )
    return planes


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
        lead, spacing = tiff_stack(path, series)
        return *_counted("".join(axis for axis, _ in lead), [length for _, length in lead]), spacing


def read_plane(plane: Plane) -> Picture:
    """Read the pixels of one plane, and as little as possible of the rest of its file.

    Returns
    -------
    Picture
        Channels last, the way up that TIFF or EXIF says. Palettes, CMYK, YCbCr and Lab come in their colors,
        inverted gray as it is seen, and samples of less than 8 bits over the whole range of 8.
        Alpha is kept beside colors and dropped beside gray.

    Raises
    ------
    SemiGDAError
        When the file is missing, damaged, has no such plane, or colors that are not read.
    """
    with explained(plane.path):
        if is_zarr(plane.path):
            return _read_zarr_plane(plane)
        if is_tiff(plane.path):
            with opened_tiff_plane(plane.path, plane.series, plane.index, upright=plane.upright) as stored:
                return Picture(stored.picture(), stored.pixel_size, stored.unit)
        samples, meaning = photographs.read_samples(plane.path)
        return Picture(meaning.as_picture(samples))


def read_samples(plane: Plane) -> tuple[NDArray[Any], Interpretation]:
    """Read the numbers of one plane as they are stored, upright, and what they mean; as `read_plane`."""
    with explained(plane.path):
        if is_zarr(plane.path):
            return _read_zarr_plane(plane).pixels, Interpretation(bits=0)
        if is_tiff(plane.path):
            with opened_tiff_plane(plane.path, plane.series, plane.index, upright=plane.upright) as stored:
                return stored.samples(), stored.meaning
        return photographs.read_samples(plane.path)


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
    color = pixels.ndim == 3 and pixels.shape[2] in (3, 4) and pixels.dtype == np.uint8
    if pixels.ndim == 3 and not color:
        pixels = np.moveaxis(pixels, 2, 0)
    metadata: dict[str, Any] = {"axes": "YXS" if color else "CYX"[-pixels.ndim :]}
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
            photometric="rgb" if color else "minisblack",
            compression="zlib",
            metadata=metadata,
        )


def _raise_unreadable(error: OSError) -> None:
    raise SemiGDAError(f"The folder “{error.filename}” cannot be read: {error.strerror}.") from error


def _is_left_alone(folder: Path) -> bool:
    return folder.name.startswith(".") or (folder / MANIFEST_NAME).exists()


# OME-Zarr ---------------------------------------------------------------------------------------------


def _list_zarr_planes(path: Path) -> list[Plane]:
    images = read_images(path)
    refuse_too_many(path, sum(math.prod(length for _, length in image.lead) for image in images))
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


def _list_tiff(path: Path) -> FileContent:
    header = read_header(path)
    several = len({plane.series for plane in header.planes}) > 1
    planes = []
    for plane in header.planes:
        words = [f"image {plane.series + 1}"] if several else []
        words += [f"{_axis_word(axis)} {number + 1}" for axis, number in plane.place]
        size = plane.pixel_size, plane.unit
        planes.append(Plane(path, plane.series, plane.index, ", ".join(words), plane.shape, *size))
    return FileContent(planes, header.identifier, header.missing)


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


def _axis_word(axis: str) -> str:
    """Name an axis for people: by its letter, where everybody knows it, or by its name, where it has one."""
    return axis.lower() if axis in ("T", "Z") or len(axis) > 1 else "page"


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
