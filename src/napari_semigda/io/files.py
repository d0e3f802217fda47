"""Reading files that others may have put there: no links, no pipes or devices, bounded sizes.

A session may come from anybody, who chose every file in its folder. Nothing below that folder is opened
before it is known to be a regular file that is stored there. The folder itself is the person's own and may be
reached through a link.
"""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

from safetensors import SafetensorError, safe_open

from napari_semigda.errors import SemiGDAError

MOST_BYTES = 64 * 2**20
"""Largest size of a JSON file, unless its reader sets another."""
MOST_OF_LINES = 2 * MOST_BYTES
"""Largest size of a file with JSON in each line."""

_MOST_LINE = 2**20
_LARGEST_HEADER = 16 * 2**20  # a hundred times what the largest network needs; it is parsed as a whole
_MOST_VALUES, _MOST_CONTAINERS = 16 * 2**20, 4 * 2**20  # of JSON; each container takes 64 bytes of memory
_FLAGS = {"rb": os.O_RDONLY, "a+b": os.O_RDWR | os.O_APPEND | os.O_CREAT}
# A pipe must not be waited for; a terminal must not become this program's.
_ALWAYS = sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY", "O_NOINHERIT")
)
_NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)
_BY_FOLDERS = bool(_NO_LINK) and os.open in os.supports_dir_fd
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_own(
    path: Path, within: Path | None = None, *, mode: Literal["rb", "a+b"] = "rb", most: int | None = None
) -> BinaryIO:
    """Open a file of a session, or of another folder that a stranger may have made; ``"a+b"`` creates it if
    needed.

    `within` is the folder that the person chose, by default that of the file. It may be reached through
    links; below it nothing may be one. Raises a `SemiGDAError` for a link, for what is no regular file, and
    for a file of more than `most` bytes, else an OSError as `open` does.
    """
    within = path.parent if within is None else within
    check_own(path, within, most=most)
    try:
        descriptor = _open_below(within, path.relative_to(within).parts, _FLAGS[mode] | _ALWAYS | _NO_LINK)
    except OSError:
        check_own(path, within)  # what it became meanwhile
        raise
    return _opened(descriptor, path, mode, most)


def check_own(path: Path, within: Path | None = None, *, most: int | None = None) -> None:
    """Raise what `open_own` raises; for a file that a library opens by its name. It may be missing."""
    within = path.parent if within is None else within
    inner = within
    for part in path.relative_to(within).parts:
        inner /= part
        if is_link(inner):
            raise SemiGDAError(
                f"“{inner}” is a link to another location, and links in a session are not followed. "
                f"Replace it with the {'file' if inner == path else 'folder'} itself."
            )
    try:
        found = os.lstat(path)
    except OSError:
        return
    _check_kind(found, path)
    if most is not None and found.st_size > most:
        raise _too_large(path, most)


def check_regular(path: Path) -> None:
    """Raise a `SemiGDAError` for a pipe, socket or device, of which reading may never end; links are
    followed.
    """
    found = os.stat(path)
    if not stat.S_ISDIR(found.st_mode):
        _check_kind(found, path)


def is_own_file(path: Path, within: Path | None = None) -> bool:
    """Return whether `open_own` would open the file for reading."""
    try:
        check_own(path, within)
        return path.is_file()
    except (SemiGDAError, OSError):
        return False


def is_link(path: Path) -> bool:
    """Return whether a path is a symbolic link, dangling or not, or a junction of Windows."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    tag, junction = getattr(found, "st_reparse_tag", 0), getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", -1)
    return stat.S_ISLNK(found.st_mode) or tag == junction


def read_own(path: Path, within: Path | None = None, *, most: int | None = None) -> bytes:
    """Read a file of a session; see `open_own`."""
    with open_own(path, within, most=most) as file:
        return _content(file, path, most)


def read_json(path: Path, within: Path | None = None, *, most: int = MOST_BYTES, links: bool = False) -> Any:
    """Read a JSON file; with `links` the person chose it, so that it may be a link.

    Raises a ValueError when it is no JSON, or holds more values than fit into memory; else as `open_own`.
    """
    if not links:
        return parse_json(read_own(path, within, most=most))
    check_regular(path)
    with _opened(os.open(path, _FLAGS["rb"] | _ALWAYS), path, "rb", most) as file:
        return parse_json(_content(file, path, most))


def json_or_none(path: Path, within: Path | None = None, *, most: int = MOST_BYTES) -> Any:
    """Read an optional JSON file; None where it is missing or `read_json` refuses it."""
    try:
        return read_json(path, within, most=most)
    except (OSError, ValueError, SemiGDAError):
        return None


def read_json_lines(path: Path, within: Path | None = None) -> Iterator[Any]:
    """Read a file with JSON in each line; lines that hold none (torn by a crash, say) are skipped."""
    with open_own(path, within, most=MOST_OF_LINES) as file:
        while line := file.readline(_MOST_LINE):
            whole = line.endswith(b"\n") or len(line) < _MOST_LINE
            while not whole:
                rest = file.readline(_MOST_LINE)
                whole, line = rest.endswith(b"\n") or len(rest) < _MOST_LINE, b""
            try:
                yield parse_json(line)
            except ValueError:
                continue


def parse_json(text: bytes | str) -> Any:
    """Parse JSON; whatever is wrong with it is a ValueError.

    Examples
    --------
    >>> parse_json("[" * 100_000)
    Traceback (most recent call last):
    ...
    ValueError: it is nested too deeply
    """
    counts = [text.count(one) if isinstance(text, str) else text.count(one.encode()) for one in "[{,"]
    if counts[0] + counts[1] > _MOST_CONTAINERS or counts[2] > _MOST_VALUES:
        raise ValueError("it holds more values than fit into memory")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except MemoryError as error:
        raise ValueError("it does not fit into memory") from error


@contextmanager
def opened_tensors(path: Path, framework: Literal["pt", "numpy"]) -> Iterator[Any]:
    """Open a safetensors file; a link is followed, so check a session's own file first.

    The library makes sure that all tensors are within the file and none overlaps another. Raises a
    `SemiGDAError` for a pipe, a device or a header larger than a network's; SafetensorError or OSError for a
    damaged file.
    """
    check_regular(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    with path.open("rb") as file:
        length = file.read(8)
    # What claims more than the file holds is damaged, as the library says at once.
    if _LARGEST_HEADER < int.from_bytes(length, "little") <= path.stat().st_size:
        raise SemiGDAError(f"“{path}” has a header that is too large; it is not a weights file.")
    try:
        with safe_open(path, framework=framework) as tensors:
            yield tensors
    except (SafetensorError, OSError, SemiGDAError):
        raise
    except (MemoryError, OverflowError) as error:
        raise SemiGDAError(f"“{path}” does not fit into memory.") from error


def load_tensors(path: Path) -> dict[str, Any]:
    """Read all tensors of a file for torch, mapped from the disk; raises what `opened_tensors` does."""
    with opened_tensors(path, "pt") as tensors:
        return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 - no mapping


def _open_below(within: Path, parts: tuple[str, ...], flags: int) -> int:
    """Open a file folder by folder where the system can, so that none is replaced with a link meanwhile."""
    if not _BY_FOLDERS:
        return os.open(within.joinpath(*parts), flags, 0o666)
    folder = os.open(within, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | _NO_LINK, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(parts[-1], flags, 0o666, dir_fd=folder)
    finally:
        os.close(folder)


def _opened(descriptor: int, path: Path, mode: str, most: int | None) -> BinaryIO:
    try:
        found = os.fstat(descriptor)
        _check_kind(found, path)
        if most is not None and found.st_size > most:
            raise _too_large(path, most)
    except BaseException:
        os.close(descriptor)
        raise
    file: BinaryIO = os.fdopen(descriptor, mode)  # type: ignore[assignment]  # opened for bytes
    return file


def _content(file: BinaryIO, path: Path, most: int | None) -> bytes:
    content = file.read() if most is None else file.read(most + 1)
    if most is not None and len(content) > most:  # files of /proc say that they are empty
        raise _too_large(path, most)
    return content


def _check_kind(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no regular file")
        raise SemiGDAError(
            f"“{path}” is {kind} where a file should be; it is not opened. Replace it with a file."
        )


def _too_large(path: Path, most: int) -> SemiGDAError:
    size = f"{most / 2**20:.0f} MB" if most >= 2**20 else f"{most / 2**10:.0f} kB"
    return SemiGDAError(f"“{path}” is larger than the {size} that such a file may have; it is not read.")
