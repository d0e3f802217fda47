"""OME-Zarr (NGFF 0.1 to 0.5, zarr formats 2 and 3): which images a store holds, and their pixels.

The metadata are read and checked here, before zarr sees them: they come from files of unknown origin, and
among the codecs that zarr knows are some that execute code.
"""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.chunks import COMPRESSIONS, opened_array
from napari_semigda.io.colors import Interpretation
from napari_semigda.io.files import read_json
from napari_semigda.io.planes import (
    FileContent,
    Picture,
    Plane,
    StoredPixels,
    UnreadableError,
    explain_errors,
    plane_name,
    refuse_too_many,
)
from napari_semigda.io.units import NO_SIZE, PixelSize, size_of_pixel

_MOST_IMAGES = 100_000
_MOST_PIXELS = 2**34  # of a plane; one that claims more is taken for a broken one
_MOST_OF_A_CHUNK = 2**31  # bytes in memory
_MOST_METADATA = 2**26  # bytes of one file

_ERRORS = (UnreadableError, SemiGDAError, OSError)
_OLD_AXES = ("t", "c", "z", "y", "x")  # of versions before 0.3
_NAME = re.compile(r"\w[\w -]{0,30}")
_NUMBERS_2 = re.compile(r"[<>|](b1|[iu][1248]|f[248])")
_NUMBERS_3 = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)")
_WRONG_TYPE = "its pixels have the type {!r}; integers or floating-point numbers are needed."
_CODECS = frozenset(
    {"bytes", "transpose", "sharding_indexed", "gzip", "zlib", "zstd", "blosc", "lz4", "bz2", "lzma"}
    | {"crc32c", "crc32", "adler32", "fletcher32", "shuffle", "delta", "bitround", "packbits"}
    | {"fixedscaleoffset", "quantize", "astype"}
)
"""What zarr and numcodecs decode by themselves without executing anything that a file says."""


@dataclass(frozen=True)
class Level:
    """One array of a store, known from its metadata; `chunk_size` is in bytes of memory."""

    folder: Path
    zarr_format: Literal[2, 3]
    shape: tuple[int, ...]
    dtype: np.dtype
    compressions: tuple[str, ...]
    chunk_size: int


@dataclass(frozen=True)
class ZarrImage:
    """One image of a store.

    `axes` are ``"y"``, ``"x"``, perhaps ``"c"``, and others by their names, in the order of the arrays' axes.
    `levels` are the array at full resolution, then those with smaller copies of every plane. `scale` is the
    size of a pixel along each axis, 0 where unknown, in `units`, empty where unknown.
    """

    axes: tuple[str, ...]
    levels: tuple[Level, ...]
    scale: tuple[float, ...]
    units: tuple[str, ...]

    @property
    def lead(self) -> list[tuple[str, int]]:
        """The axes over which planes are counted, and their lengths."""
        lengths = zip(self.axes, self.levels[0].shape, strict=True)
        return [(axis, length) for axis, length in lengths if axis not in ("y", "x", "c")]

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of a plane."""
        lengths = dict(zip(self.axes, self.levels[0].shape, strict=True))
        return lengths["y"], lengths["x"]

    def pixel_size(self, y: str = "y", x: str = "x") -> PixelSize:
        """Return the size of a pixel along two axes, and its unit."""
        sizes = dict(zip(self.axes, zip(self.scale, self.units, strict=True), strict=True))
        return size_of_pixel(sizes[y], sizes[x])


def is_zarr(path: Path) -> bool:
    """Return whether this is the folder of a zarr store, by its name."""
    return path.suffix.lower() == ".zarr" and path.is_dir()


def list_file(path: Path) -> FileContent:
    """List the planes of a store."""
    images = _read_images(path)
    refuse_too_many(path, sum(math.prod(length for _, length in image.lead) for image in images))
    planes = []
    for number, image in enumerate(images):
        name = f"image {number + 1}" if len(images) > 1 else ""
        for index, position in enumerate(np.ndindex(*(length for _, length in image.lead))):
            axes = zip(image.lead, position, strict=True)
            named = [(axis, at) for (axis, length), at in axes if length > 1]
            size = image.pixel_size()
            planes.append(Plane(path, number, index, plane_name(name, named), image.shape, *size))
    return FileContent(planes)


def stack_axes(path: Path, series: int) -> tuple[list[tuple[str, int]], float | None]:
    """Return the axes over which planes are counted, their lengths, and the distance along z, if known."""
    image = _read_images(path)[series]
    (spacing, _), unit = image.pixel_size("z", "z") if "z" in image.axes else NO_SIZE
    letters = [({"t": "T", "z": "Z"}.get(axis, "Q"), length) for axis, length in image.lead]
    return letters, None if unit == "pixel" else spacing


def read_plane(plane: Plane) -> Picture:
    """Read one plane as it is displayed."""
    image, position = _find(plane)
    return Picture(_open_level(image, 0, position, plane.path)[:], *image.pixel_size())


def read_samples(plane: Plane) -> tuple[NDArray[Any], Interpretation]:
    """Read the numbers of one plane as they are stored, and what they mean."""
    return read_plane(plane).pixels, Interpretation(bits=0)


def open_levels(plane: Plane, _: ExitStack) -> list[StoredPixels]:
    """Open a plane and its smaller copies."""
    image, position = _find(plane)
    return [_open_level(image, level, position, plane.path) for level in range(len(image.levels))]


def _find(plane: Plane) -> tuple[ZarrImage, tuple[int, ...]]:
    """Find the image that a plane belongs to, and its indices along the image's other axes."""
    images = _read_images(plane.path)
    if not 0 <= plane.series < len(images):
        raise SemiGDAError(
            f"“{plane.path}” no longer has an image number {plane.series + 1}. Restore the original file."
        )
    image = images[plane.series]
    lengths = [length for _, length in image.lead]
    if not 0 <= plane.index < math.prod(lengths):
        raise SemiGDAError(
            f"“{plane.path}” no longer has a page number {plane.index + 1}. Restore the original file."
        )
    return image, tuple(map(int, np.unravel_index(plane.index, lengths))) if lengths else ()


def _open_level(image: ZarrImage, level: int, position: Sequence[int], path: Path) -> StoredPixels:
    """Open one plane of one level, to be read by slices."""
    one = image.levels[level]
    with explain_errors(path):
        array = opened_array(one.folder, one.zarr_format, one.compressions, one.chunk_size)
    lengths = dict(zip(image.axes, array.shape, strict=True))
    chunks = dict(zip(image.axes, array.chunks, strict=True))
    order = ("y", "x", "c") if lengths.get("c", 1) > 1 else ("y", "x")

    def read(slices: tuple[slice, ...]) -> NDArray[Any]:
        window, indices = dict(zip(order, slices, strict=True)), iter(position)
        selection = tuple(
            window[axis] if axis in window else 0 if axis == "c" else next(indices) for axis in image.axes
        )
        kept = [axis for axis in image.axes if axis in window]
        return np.asarray(array[selection]).transpose([kept.index(axis) for axis in order])

    shape, sides = ([lengths[axis] for axis in order], [chunks[axis] for axis in order])
    return StoredPixels(shape, array.dtype, sides, read, path)


def _read_images(path: Path) -> list[ZarrImage]:
    images = [
        _image(path, path / group, one)
        for group in _groups(path)
        for one in _list(_attributes(path, path / group).get("multiscales"), "multiscales")
    ]
    if not images:
        raise UnreadableError("its metadata name no image.")
    return images


# Groups -----------------------------------------------------------------------------------------------


def _groups(path: Path) -> list[str]:
    """List the groups with images: the store itself, the series of a converted file, the wells of a plate."""
    attributes = _attributes(path, path)
    if "multiscales" in attributes:
        return [""]
    if "plate" in attributes:
        groups = list(_of_plate(path, attributes["plate"]))
    elif "bioformats2raw.layout" in attributes:
        groups = _series(path)
    else:
        raise UnreadableError("it is not OME-Zarr: its metadata name no image (“multiscales”).")
    if len(groups) > _MOST_IMAGES:
        raise UnreadableError(f"it claims to hold {len(groups)} images; it seems damaged.")
    return groups


def _of_plate(path: Path, plate: Any) -> Iterator[str]:
    for well in _list(_dict(plate, "plate").get("wells"), "wells"):
        group = _inside(_dict(well, "wells").get("path"))
        attributes = _attributes(path, path / group)
        for image in _list(_dict(attributes.get("well"), "well").get("images"), "images"):
            yield f"{group}/{_inside(_dict(image, 'images').get('path'))}"


def _series(path: Path) -> list[str]:
    with suppress(*_ERRORS):  # it is allowed to be missing
        named = _attributes(path, path / "OME").get("series")
        if named is not None:
            return [_inside(one) for one in _list(named, "series")]
    numbers = map(str, range(_MOST_IMAGES))
    return list(itertools.takewhile(lambda number: (path / number).is_dir(), numbers))


def _attributes(path: Path, group: Path) -> dict[str, Any]:
    """Read what a group says of itself; from version 0.5 on it is below “ome”."""
    document = _json(group / "zarr.json")
    if document is not None:
        attributes = _dict(document.get("attributes", {}), "attributes")
        return _dict(attributes.get("ome", attributes), "ome")
    attributes_2 = _json(group / ".zattrs")
    if attributes_2 is None:
        part = "it" if group == path else f"its part “{group.relative_to(path).as_posix()}”"
        raise UnreadableError(f"{part} has no metadata (neither “zarr.json” nor “.zattrs”).")
    return attributes_2


# One image --------------------------------------------------------------------------------------------


def _image(path: Path, group: Path, given: Any) -> ZarrImage:
    multiscale = _dict(given, "multiscales")
    datasets = [_dict(one, "datasets") for one in _list(multiscale.get("datasets"), "datasets")]
    if not datasets:
        raise UnreadableError("its metadata name no array (“datasets”).")
    levels = [_level(path, group / _inside(datasets[0].get("path")))]
    axes, units = _axes(multiscale.get("axes"), len(levels[0].shape))
    height, width = (levels[0].shape[axes.index(axis)] for axis in "yx")
    if height * width > _MOST_PIXELS:
        raise UnreadableError(f"it claims to have {width} × {height} pixels; it seems damaged.")
    for dataset in datasets[1:]:
        with suppress(*_ERRORS):  # the smaller copies are optional
            level = _level(path, group / _inside(dataset.get("path")))
            if _is_smaller(level, levels[-1], axes):
                levels.append(level)
    return ZarrImage(axes, tuple(levels), _scale((datasets[0], multiscale), len(axes)), units)


def _axes(given: Any, count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the axes' names, the channels being ``"c"``, and their units."""
    listed = _list(list(_OLD_AXES) if given is None else given, "axes")
    described = [one if isinstance(one, dict) else {"name": one} for one in listed]
    names = [
        "c" if one.get("type") == "channel" else str(one.get("name", "")).strip().lower() for one in described
    ]
    if len(names) != count:
        raise UnreadableError(f"its metadata name {len(names)} axes, but its array has {count}.")
    if not {"y", "x"} <= set(names) or len(set(names)) < count or not all(map(_NAME.fullmatch, names)):
        found = ", ".join(names)[:60] or "not named"
        raise UnreadableError(f"its axes are {found}; y and x are needed, and no two of the same name.")
    units = [one.get("unit") for one in described]
    return tuple(names), tuple(unit if isinstance(unit, str) else "" for unit in units)


def _scale(described: Sequence[dict[str, Any]], count: int) -> tuple[float, ...]:
    """Multiply the scales of the level and of the image; without any the pixel size is unknown."""
    total, known = np.ones(count), False
    for one in described:
        transformations = one.get("coordinateTransformations")
        for transformation in transformations if isinstance(transformations, list) else ():
            factors = transformation.get("scale") if isinstance(transformation, dict) else None
            if not isinstance(factors, list) or len(factors) != count:
                continue
            if all(type(one) in (int, float) and 0 < one < 1e300 for one in factors):
                total, known = total * np.array(factors, float), True
    return tuple(float(one) if known and 0 < one < math.inf else 0.0 for one in total)


def _is_smaller(level: Level, other: Level, axes: Sequence[str]) -> bool:
    return len(level.shape) == len(axes) and all(
        one < before if axis in ("y", "x") else one == before
        for axis, one, before in zip(axes, level.shape, other.shape, strict=True)
    )


# Arrays -----------------------------------------------------------------------------------------------


def _level(path: Path, folder: Path) -> Level:
    """Read what an array says of itself, and make sure that it can be read as numbers."""
    name = folder.relative_to(path).as_posix()
    zarr_format: Literal[2, 3] = 3
    document = _json(folder / "zarr.json")
    if document is None:
        zarr_format, document = 2, _json(folder / ".zarray")
    if document is None:
        raise UnreadableError(f"its array “{name}” is missing. Copy or write it again.")
    shape = _lengths(document.get("shape"), "shape")
    chunks, dtype, codecs = (_format_3 if zarr_format == 3 else _format_2)(document)
    if len(chunks) != len(shape):
        raise UnreadableError(f"the chunks of its array “{name}” have {len(chunks)} axes, not {len(shape)}.")
    for codec in codecs:
        if codec not in _CODECS:
            raise UnreadableError(f"its compression “{codec}” is not supported.")
    size = math.prod(chunks) * dtype.itemsize
    if size > _MOST_OF_A_CHUNK:
        raise UnreadableError(f"its chunks have {size / 2**30:.0f} GiB; at most 2 GiB can be read.")
    compressions = tuple(codec for codec in codecs if codec in COMPRESSIONS)
    if zarr_format == 2 and len(compressions) > 1:
        raise UnreadableError(f"its chunks are compressed {len(compressions)} times over.")
    return Level(folder, zarr_format, shape, dtype, compressions, size)


def _format_2(document: dict[str, Any]) -> tuple[tuple[int, ...], np.dtype, list[str]]:
    dtype = document.get("dtype")
    if not isinstance(dtype, str) or not _NUMBERS_2.fullmatch(dtype):
        raise UnreadableError(_WRONG_TYPE.format(dtype))
    filters = document.get("filters") or []
    compressor = document.get("compressor")
    given = [*_list(filters, "filters"), *([] if compressor is None else [compressor])]
    codecs = [str(_dict(one, "compressor").get("id")) for one in given]
    return _lengths(document.get("chunks"), "chunks"), np.dtype(dtype), codecs


def _format_3(document: dict[str, Any]) -> tuple[tuple[int, ...], np.dtype, list[str]]:
    dtype = document.get("data_type")
    if not isinstance(dtype, str) or not _NUMBERS_3.fullmatch(dtype):
        raise UnreadableError(_WRONG_TYPE.format(dtype))
    grid = _dict(document.get("chunk_grid"), "chunk_grid")
    configuration = _dict(grid.get("configuration"), "chunk_grid")
    codecs = list(_codecs(document.get("codecs")))
    chunks = next((shape for _, shape in codecs if shape is not None), configuration.get("chunk_shape"))
    return _lengths(chunks, "chunk_shape"), np.dtype(dtype), [name for name, _ in codecs]


def _codecs(given: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names of the codecs, also inside of shards, with the shape of what shards decode to."""
    for codec in _list(given, "codecs"):
        described = {"name": codec} if isinstance(codec, str) else _dict(codec, "codecs")
        name = str(described.get("name")).removeprefix("numcodecs.")
        if name != "sharding_indexed":
            yield name, None
            continue
        shards = _dict(described.get("configuration"), name)
        yield name, shards.get("chunk_shape")
        for inner in ("codecs", "index_codecs"):
            yield from _codecs(shards.get(inner))


# What JSON may hold -----------------------------------------------------------------------------------


def _json(file: Path) -> dict[str, Any] | None:
    """Read a metadata file; None if there is none."""
    try:
        if file.stat().st_size > _MOST_METADATA:
            raise UnreadableError(f"its “{file.name}” is too large to be metadata.")
        document = read_json(file, most=_MOST_METADATA, links=True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise UnreadableError(f"its “{file.name}” is damaged ({error}).") from error
    return _dict(document, file.name)


def _dict(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnreadableError(f"its metadata are damaged (“{name}” is {_kind(value)}).")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise UnreadableError(f"its metadata are damaged (“{name}” is {_kind(value)}).")
    return value


def _kind(value: Any) -> str:
    return "missing" if value is None else f"no list or group of values, but {str(value)[:40]!r}"


def _lengths(value: Any, name: str) -> tuple[int, ...]:
    lengths = _list(value, name)
    if not lengths or not all(type(one) is int and one > 0 for one in lengths):
        raise UnreadableError(f"its metadata are damaged (“{name}” is {str(lengths)[:60]}).")
    return tuple(lengths)


def _inside(name: Any) -> str:
    """Return the path of a part of the store, if it is inside of it."""
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or ".." in parts or parts[0].startswith("/") or {"\\", ":", "\0"} & set(name):
        raise UnreadableError(f"its metadata name a part that cannot be inside of it ({str(name)[:60]!r}).")
    return str(name)
