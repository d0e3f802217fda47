"""One plane of an image file: what is known of it, its pixels, and why it could not be read."""

import errno
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.io.files import check_regular


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
    upright
        Whether it is turned as TIFF's orientation says, whatever the compression. Earlier versions did not
        turn what is not compressed, or deflated; the masks of their sessions fit the image as it was.
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


class StoredPixels:
    """One plane as an array, (H, W) or (H, W, C), that is read when sliced. Thread-safe.

    Parameters
    ----------
    shape, dtype
        As an array has them.
    chunks
        Sides of what is stored as one.
    read
        Reads what slices with positive steps name, one for each axis.
    path
        The image file, for messages.

    Attributes
    ----------
    shape, dtype, ndim
        As an array has them.
    chunks : tuple of int
        Sides of what is stored as one.
    keeps : object
        What has to live as long as this, such as an open file.
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
        """Return the sides of some chunks together, at least so high and wide where the plane is."""
        sides = [chunk * math.ceil(least / chunk) for chunk in self.chunks[:2]]
        return tuple(map(min, self.shape, (*sides, *self.chunks[2:])))

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read what integers and slices with positive steps name."""
        given = key if isinstance(key, tuple) else (key,)
        if Ellipsis in given:
            place = given.index(Ellipsis)
            missing = self.ndim - len(given) + 1
            given = (*given[:place], *(slice(None),) * missing, *given[place + 1 :])
        whole = [*given, *(slice(None),) * (self.ndim - len(given))]
        slices = [part if isinstance(part, slice) else slice(part, part + 1 or None) for part in whole]
        with explained(self._path):
            pixels = self._read(tuple(slices)).astype(self.dtype, copy=False)
        return pixels[tuple(slice(None) if isinstance(part, slice) else 0 for part in whole)]


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say in a sentence which file could not be read and why, whatever the decoder raised."""
    try:
        check_regular(path)
        yield
    except (SemiGDAError, Cancelled):
        raise
    except FileNotFoundError as error:
        raise SemiGDAError(
            f"“{path}” is not there. It may have been moved, renamed or deleted; bring it back to go on."
        ) from error
    except Exception as error:  # decoders of broken files raise nearly anything
        raise SemiGDAError(f"“{path}” could not be read as a picture: {_reason(path, error)}") from error


def _reason(path: Path, error: Exception) -> str:
    with suppress(OSError):  # a disk that does not answer is told of below
        if path.is_dir() and path.suffix.lower() != ".zarr":
            return "it is a folder."
        if path.is_file() and path.stat().st_size == 0:
            return "the file is empty (0 bytes)."
    if isinstance(error, PermissionError):
        return "you have no permission to read it."
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # which decoders give
        return f"{error.strerror}. Bring back its disk or network share, then try again."
    if isinstance(error, MemoryError):
        return "it is too large for this computer's memory."
    if isinstance(error, Image.DecompressionBombError):
        return "it claims to be larger than 178 megapixels. Save it as TIFF if it truly is."
    if isinstance(error, UnidentifiedImageError):
        return "it is none of the formats known here (TIFF, PNG, JPEG, BMP, WebP, OME-Zarr)."
    if "requires the 'imagecodecs' package" in str(error):
        return "its compression needs another package; install it with “pip install imagecodecs”."
    return f"the file seems damaged ({error or type(error).__name__})."
