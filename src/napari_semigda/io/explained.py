"""Why a picture file could not be read, in a sentence for the person at the screen."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.io.files import check_regular


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
