"""One plane of an image file: what is known of it, its pixels, and why it could not be read."""

import errno
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.io.files import check_regular

MOST_PLANES = 100_000
"""A file that says it holds more planes than this is taken for a broken one."""

READ_FORMATS = "TIFF, PNG, JPEG, BMP, WebP and OME-Zarr"

_PLAUSIBLE_BYTES = 2**29
_PLAUSIBLE_RATIO = 500  # a larger plane that is so many times as large as its file does not fit into it


@dataclass(frozen=True)
class Plane:
    """One two-dimensional image of a file, known from the file's header alone.

    `series` is the image of an OME-TIFF or group of equal pages it belongs to, `index` its number there,
    counted over all axes but channel, height and width. `name`, such as ``"t 2, z 5"`` (from 1), tells it
    from the file's other planes; empty where there are none. `shape` is (height, width), `pixel_size` (y, x)
    in `unit`: ``"µm"`` (all metric lengths and inches are converted), ``"pixel"`` where the file says
    nothing, else its own word.

    `upright` is whether it is turned as TIFF's orientation says, whatever the compression. Versions up to 0.1
    did not turn what is not compressed, or deflated; the masks of their sessions fit the image as it was.
    """

    path: Path
    series: int = 0
    index: int = 0
    name: str = ""
    shape: tuple[int, int] = (1, 1)
    pixel_size: tuple[float, float] = (1.0, 1.0)
    unit: str = "pixel"
    upright: bool = True


@dataclass(frozen=True)
class Picture:
    """An image in memory: its pixels and how large they are.

    Parameters
    ----------
    pixels
        (H, W) or (H, W, C) of any numeric type; what is to be written may be any array that NumPy reads.
    pixel_size
        (y, x) in `unit`.
    unit
        ``"µm"``, ``"pixel"`` where nothing is known, or another word.

    Examples
    --------
    >>> import numpy as np
    >>> Picture(np.zeros((32, 48), np.uint16), (0.5, 0.5), "µm").unit
    'µm'
    """

    pixels: Any
    pixel_size: tuple[float, float] = (1.0, 1.0)
    unit: str = "pixel"


@dataclass(frozen=True)
class FileContent:
    """What a file holds, known from its header alone.

    There are no `planes` where its pixels are channels of planes in another file of its set. `identifier` is
    that of a file that belongs to a set (OME-TIFF), else empty; `missing` are identifiers and names of files
    of that set that are not there.
    """

    planes: list[Plane]
    identifier: str = ""
    missing: tuple[tuple[str, str], ...] = ()


class StoredPixels:
    """One plane as an array, (H, W) or (H, W, C), that is read when sliced. Thread-safe.

    `read` gets a slice with a positive step for each axis; `chunks` are the sides of what is stored as one.
    `keeps` is what has to live as long as this, such as an open file.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: np.dtype,
        chunks: Sequence[int],
        read: Callable[[tuple[slice, ...]], NDArray[Any]],
        path: Path,
    ) -> None:
        self._read, self._path = read, path
        self.keeps: object = None
        self.shape: tuple[int, ...] = tuple(map(int, shape))
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.ndim = len(self.shape)
        self.chunks: tuple[int, ...] = tuple(map(int, chunks))

    def blocks(self, least: int) -> tuple[int, ...]:
        """Return the sides of some chunks together, at least `least` high and wide where the plane is."""
        sides = [chunk * math.ceil(least / chunk) for chunk in self.chunks[:2]]
        return tuple(map(min, self.shape, (*sides, *self.chunks[2:])))

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read what integers and slices with positive steps name."""
        given = key if isinstance(key, tuple) else (key,)
        if Ellipsis in given:
            at = given.index(Ellipsis)
            given = (*given[:at], *(slice(None),) * (self.ndim - len(given) + 1), *given[at + 1 :])
        whole = [*given, *(slice(None),) * (self.ndim - len(given))]
        slices = [part if isinstance(part, slice) else slice(part, part + 1 or None) for part in whole]
        with explain_errors(self._path):
            pixels = self._read(tuple(slices)).astype(self.dtype, copy=False)
        return pixels[tuple(slice(None) if isinstance(part, slice) else 0 for part in whole)]


def plane_name(image: str, position: Iterable[tuple[str, int]]) -> str:
    """Name a plane for people: by its image, where a file has several, and its index on each axis.

    Examples
    --------
    >>> plane_name("image 2", [("T", 0), ("Q", 4)])
    'image 2, t 1, page 5'
    """
    words = [image] if image else []
    for axis, index in position:
        word = axis.lower() if axis in "TtZz" or len(axis) > 1 else "page"
        words.append(f"{word} {index + 1}")
    return ", ".join(words)


# Errors and bounds ------------------------------------------------------------------------------------


class UnreadableError(Exception):
    """Raised by a reader with the end of a sentence that says why a file cannot be read."""


@contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into a `SemiGDAError` that says which file is not read, and why."""
    try:
        check_regular(path)
        yield
    except (SemiGDAError, Cancelled):
        raise
    except FileNotFoundError as error:
        raise SemiGDAError(
            f"“{path}” could not be found. It may have been moved, renamed or deleted. Restore it."
        ) from error
    except Exception as error:  # decoders of broken files raise nearly anything
        raise SemiGDAError(f"“{path}” could not be read as an image: {_reason(path, error)}") from error


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, UnreadableError):
        return str(error)
    with suppress(OSError):  # a disk that does not answer is explained below
        if path.is_dir() and path.suffix.lower() != ".zarr":
            return "it is a folder."
        if path.is_file() and path.stat().st_size == 0:
            return "the file is empty (0 bytes)."
    if isinstance(error, PermissionError):
        return "you have no permission to read it."
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # which decoders give
        return f"{error.strerror}. Reconnect its disk or network share, then try again."
    if isinstance(error, MemoryError):
        return "it is too large for this computer's memory."
    if isinstance(error, Image.DecompressionBombError):
        return "it claims to be larger than 178 megapixels. Save it as TIFF if it really is."
    if isinstance(error, UnidentifiedImageError):
        return f"its format is not supported. Save it as {READ_FORMATS.replace(' and ', ' or ')}."
    if "requires the 'imagecodecs' package" in str(error):
        return "its compression needs another package; install it with “pip install imagecodecs”."
    return f"the file seems damaged ({error or type(error).__name__})."


def refuse_too_many(path: Path, count: int) -> None:
    """Raise a `SemiGDAError` for a file that holds no planes, or claims more than any file has."""
    if not count:
        raise SemiGDAError(f"“{path}” holds no image.")
    if count > MOST_PLANES:
        raise SemiGDAError(f"“{path}” claims to hold {count} images; it seems damaged.")


def refuse_implausible(path: Path, size: int) -> None:
    """Raise a `SemiGDAError` for a plane of `size` bytes that cannot come from a file this small."""
    file = path.stat().st_size
    if size > max(_PLAUSIBLE_BYTES, _PLAUSIBLE_RATIO * file):
        raise SemiGDAError(
            f"“{path}” claims to hold an image of {size / 2**20:.0f} MiB, but has {file / 2**20:.1f} MiB; "
            "it seems damaged. Replace it with an intact copy."
        )
