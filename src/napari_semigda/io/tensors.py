"""Opening safetensors files of which nothing is known."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.files import check_regular

_LARGEST_HEADER = 16 * 2**20  # a hundred times what the largest network needs; it is parsed as a whole


@contextmanager
def opened_tensors(path: Path, framework: Literal["pt", "numpy"]) -> Iterator[Any]:
    """Open a safetensors file; a link is followed, so check a session's own file before.

    Yields
    ------
    safe_open
        Its handle. The library has made sure that all tensors lie within the file and none in another.

    Raises
    ------
    SemiGDAError
        When the file is a pipe or a device, or its header is larger than a network's.
    SafetensorError
        When it is damaged.
    OSError
        When it cannot be read.
    """
    check_regular(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    with path.open("rb") as file:
        length = file.read(8)
    # What claims more than the file holds is damaged, as the library says at once.
    if _LARGEST_HEADER < int.from_bytes(length, "little") <= path.stat().st_size:
        raise SemiGDAError(f"“{path}” has a header that is too large; it is no file of weights.")
    try:
        with safe_open(path, framework=framework) as tensors:
            yield tensors
    except (SafetensorError, OSError, SemiGDAError):
        raise
    except (MemoryError, OverflowError) as error:
        raise SemiGDAError(f"“{path}” does not fit into memory.") from error


def read_all(path: Path) -> dict[str, Any]:
    """Read all tensors of a file for torch, mapped from the disk.

    Raises
    ------
    SemiGDAError, SafetensorError, OSError
        As for `opened_tensors`.
    """
    with opened_tensors(path, "pt") as tensors:
        return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 - no mapping
