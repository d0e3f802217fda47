"""Reading image files: which two-dimensional planes a file holds, and the pixels of one of them.

TIFF in all its kinds goes through tifffile; PNG, JPEG, BMP and other photographs through Pillow; OME-Zarr
through zarr. A file is read as what it is, not as what its name says; a folder is an image if its name ends
in ``.zarr``. A new file format is a module with the five functions of `_Format`, and a line in `_format_of`.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.io import omezarr, photographs, tiff
from napari_semigda.io.atomic import atomic_file
from napari_semigda.io.colors import Interpretation
from napari_semigda.io.planes import READ_FORMATS, StoredPixels, explain_errors
from napari_semigda.io.planes import FileContent as FileContent
from napari_semigda.io.planes import Picture as Picture
from napari_semigda.io.planes import Plane as Plane
from napari_semigda.io.tiff_pages import is_tiff
from napari_semigda.io.units import OTHER_UNIT, ome_unit

SUFFIXES = frozenset({".tif", ".tiff", ".btf", ".tf8", ".png", ".jpg", ".jpeg", ".bmp", ".webp"})
"""Endings of the files that `find_pictures` finds; folders of OME-Zarr are found as well."""

UNREAD_SUFFIXES = frozenset(
    {
        *(".czi", ".nd2", ".lif", ".lei", ".lsm", ".stk", ".oib", ".oif", ".oir", ".vsi", ".ets", ".ims"),
        *(".zvi", ".dv", ".r3d", ".bif", ".svs", ".ndpi", ".mrxs", ".scn", ".dcm", ".dicom", ".ima", ".nii"),
        *(".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".mrc", ".rec", ".dm3", ".dm4", ".emd", ".fits"),
        *(".h5", ".hdf5", ".n5", ".npy", ".npz", ".mat", ".gif", ".heic", ".heif", ".avif", ".jp2", ".j2k"),
        *(".jpx", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".psd", ".xcf", ".tga", ".pgm"),
        *(".ppm", ".pnm", ".pbm", ".svg", ".eps", ".avi", ".mp4", ".mov", ".mkv"),
    }
)
"""Endings of images in other formats, whose number is reported."""

_MOST_LISTED = 5
_UNNAMED = 3  # files without an ending: from this number on no README, but perhaps DICOM

MANIFEST_NAME = "semigda.json"
"""The file that makes a folder a session; such folders are not searched for images."""


@dataclass(frozen=True)
class Listing:
    """The content of a folder and its sub-folders: image files in natural order, and what was skipped.

    `others` is the number of files of each other kind, by the ending of their names, without hidden ones.
    `links` are links to folders, which are not followed.
    """

    pictures: list[Path]
    others: Mapping[str, int]
    links: list[Path]

    def skipped(self, *, everything: bool = False) -> list[str]:
        """Return sentences on what was skipped: images in other formats, and linked folders.

        With `everything` files that are no images are reported as well: nothing else was found.
        """
        kinds = [
            (ending, count)
            for ending, count in sorted(self.others.items(), key=lambda one: (-one[1], one[0]))
            if everything or ending in UNREAD_SUFFIXES or (not ending and count >= _UNNAMED)
        ]
        sentences = []
        if kinds:
            listed = ", ".join(
                f"{count} {ending or 'without ending'}" for ending, count in kinds[:_MOST_LISTED]
            )
            more = f" and {len(kinds) - _MOST_LISTED} more kinds" if len(kinds) > _MOST_LISTED else ""
            were = "this file was" if sum(count for _, count in kinds) == 1 else "these files were"
            sentences.append(
                f"{listed}{more}: {were} skipped. {READ_FORMATS} are read; save the images as one of these."
            )
        if self.links:
            listed = ", ".join(f"“{link}”" for link in self.links[:_MOST_LISTED])
            more = f" and {len(self.links) - _MOST_LISTED} more" if len(self.links) > _MOST_LISTED else ""
            were, them = ("s were", "them") if len(self.links) > 1 else (" was", "it")
            sentences.append(
                f"{len(self.links)} linked folder{were} skipped: {listed}{more}. "
                f"To read {them}, choose {them} as a folder of images, too."
            )
        return sentences


def _raise_unreadable(error: OSError) -> None:
    raise SemiGDAError(
        f"The folder “{error.filename}” could not be read: {error.strerror}. Check its permissions."
    ) from error


def list_folder(folder: Path | str, cancelled: Callable[[], bool] | None = None) -> Listing:
    """List the image files in a folder and below, and count what else is there.

    The folder of an OME-Zarr is one image and is not searched. Hidden files and folders are left out, and so
    are sub-folders that are sessions. Raises a `SemiGDAError` when the folder is not there or cannot be read,
    and `Cancelled` when `cancelled`, called at every folder, returned True.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise SemiGDAError(f"There is no folder “{folder}”. Choose a folder with images.")
    found: list[Path] = []
    others: Counter[str] = Counter()
    links: list[Path] = []
    for parent, folders, files in os.walk(folder, onerror=_raise_unreadable):
        if cancelled is not None and cancelled():
            raise Cancelled
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not Path(parent, name, MANIFEST_NAME).exists()
        ]
        stores = {name for name in folders if omezarr.is_zarr(Path(parent, name))}
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
    """List the image files in a folder and below; see `list_folder`."""
    return list_folder(folder).pictures


def _ending(name: str) -> str:
    """Return the ending of a name, if it tells a kind of file; else nothing."""
    ending = os.path.splitext(name)[1].lower()
    if ending == ".gz":
        ending = os.path.splitext(name[:-3])[1].lower() + ending
    return ending if re.fullmatch(r"(\.(?!\d+$)\w{1,10}){1,2}", ending) else ""


def natural_order(text: str) -> tuple[Any, ...]:
    """Return a key that sorts “image 9” before “image 10”, whatever the case of the letters."""
    parts = re.split(r"([0-9]+)", text.casefold())
    return (*((int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts)), text)


class _Format(Protocol):
    """What the module of a file format offers."""

    def list_file(self, path: Path) -> FileContent: ...
    def stack_axes(self, path: Path, series: int) -> tuple[list[tuple[str, int]], float | None]: ...
    def read_plane(self, plane: Plane) -> Picture: ...
    def read_samples(self, plane: Plane) -> tuple[NDArray[Any], Interpretation]: ...
    def open_levels(self, plane: Plane, stack: ExitStack, /) -> list[StoredPixels]: ...


def _format_of(path: Path) -> _Format:
    if omezarr.is_zarr(path):
        return omezarr
    return tiff if is_tiff(path) else photographs


def list_file(path: Path | str) -> FileContent:
    """List the planes of a file, and which files are missing of its set; see `list_planes`."""
    path = Path(path)
    with explain_errors(path):
        return _format_of(path).list_file(path)


def list_planes(path: Path | str) -> list[Plane]:
    """List the planes of a file, reading no more than its header.

    A multi-page, z- or t-stack gives one plane a page. Channels, and the samples of a color image, stay
    within their plane. Thumbnails, smaller copies, labels of slides, and masks beside an image are left out,
    unless the file holds nothing else. Of a set of files (OME-TIFF) each lists its own planes. Raises a
    `SemiGDAError` when the file is missing, empty, damaged or no image that can be read.
    """
    planes = list_file(path).planes
    if not planes:
        raise SemiGDAError(
            f"“{path}” belongs to a set of files (OME-TIFF) and holds channels of its images. Choose the "
            "file with their first channels, or the folder."
        )
    return planes


def stack_axes(path: Path | str, series: int = 0) -> tuple[str, tuple[int, ...], float | None]:
    """Return along which axes the planes of a file are counted, how many along each, and the spacing along z.

    Axes are letters as tifffile has them, without channels, height and width; empty for a single plane. The
    spacing is in the unit of `Plane`; None where the file does not say. Raises a `SemiGDAError` as
    `list_planes` does.
    """
    path = Path(path)
    with explain_errors(path):
        lead, spacing = _format_of(path).stack_axes(path, series)
    kept = [(axis, length) for axis, length in lead if length > 1]
    return "".join(axis for axis, _ in kept), tuple(length for _, length in kept), spacing


def read_plane(plane: Plane) -> Picture:
    """Read the pixels of one plane, and as little as possible of the rest of its file.

    Channels are last, the way up that TIFF or EXIF says. Palettes, CMYK, YCbCr and Lab come in their colors,
    inverted gray as it is seen, and samples of less than 8 bits over the whole range of 8. Alpha is kept
    beside colors and dropped beside gray. Raises a `SemiGDAError` when the file is missing, damaged, has no
    such plane, or colors that are not read.
    """
    with explain_errors(plane.path):
        return _format_of(plane.path).read_plane(plane)


def read_samples(plane: Plane) -> tuple[NDArray[Any], Interpretation]:
    """Read the numbers of one plane as they are stored, upright, and what they mean; as `read_plane`."""
    with explain_errors(plane.path):
        return _format_of(plane.path).read_samples(plane)


def open_levels(plane: Plane, stack: ExitStack) -> list[StoredPixels]:
    """Open a plane and its smaller copies until `stack` is closed; none where it has to be read whole."""
    with explain_errors(plane.path):
        return _format_of(plane.path).open_levels(plane, stack)


def write_picture(path: Path | str, picture: Picture, *, new: bool = False) -> None:
    """Write an image, (H, W) or (H, W, C), as OME-TIFF with its pixel size; `read_plane` reads it. Atomic.

    Types that OME-TIFF does not have (bool, float16, 64-bit integers) become the next that holds the values.
    A pixel size without a unit (``"pixel"``) comes back in OME's "reference frame". `new` refuses to replace
    a file. Raises a `SemiGDAError` when the pixels are no image, or the file cannot be written.
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


def _storable(pixels: NDArray[Any], path: Path) -> NDArray[Any]:
    """Bring the pixels to a type that OME-TIFF has."""
    if pixels.ndim not in (2, 3) or not pixels.size or pixels.dtype.kind not in "buif":
        raise SemiGDAError(
            f"“{path.name}” was not written: pixels of the shape {pixels.shape} and the type {pixels.dtype} "
            "are not an image. Two dimensions, or three with the channels last, are needed."
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
