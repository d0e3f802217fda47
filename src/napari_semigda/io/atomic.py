"""Files that are either whole or not there: written beside their place, flushed, then renamed into it."""

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.files import open_own, read_own

_TEMPORARY = ".semigda-"
_ABANDONED_AFTER_SECONDS = 3600.0


@contextmanager
def atomic_file(path: Path | str, *, durable: bool = True) -> Iterator[Path]:
    """Write a file so that readers, and a crash, see the old file or the new one and nothing between.

    The body writes to the temporary path it is given (same folder, same suffix). When the body ends well,
    the file is flushed to the disk and renamed to `path`; when it fails, the temporary file is removed and
    what stood at `path` is untouched. A link at `path` is replaced, never followed.

    Parameters
    ----------
    path
        Where the file shall stand. Its folder must exist.
    durable
        Wait until the disk has it. Give False for what can be computed again; the file is still never
        seen half-written by other programs.

    Yields
    ------
    Path
        The temporary file to write.

    Raises
    ------
    SemiGDAError
        When the file cannot be written (no space, no permission, the folder is gone).
    """
    path = Path(path)
    temporary = temporary_name(path)
    try:
        yield temporary
        if durable:
            _flush_file(temporary)
        os.replace(temporary, path)
    except OSError as error:
        _remove(temporary)
        raise cannot_write(path, error) from error
    except BaseException:
        _remove(temporary)
        raise
    if durable:
        _flush_folder(path.parent)


def temporary_name(path: Path) -> Path:
    """Make up a name beside `path`, of a file that `remove_abandoned` removes if its program is killed."""
    return path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}{path.suffix}")


def write_bytes(path: Path | str, content: bytes, *, durable: bool = True) -> None:
    """Write `content` to `path` atomically; see `atomic_file`."""
    with atomic_file(path, durable=durable) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path | str, value: Any, *, durable: bool = True) -> None:
    """Write `value` as readable UTF-8 JSON to `path` atomically; see `atomic_file`.

    Raises
    ------
    ValueError
        When `value` holds a number JSON has no notation for (NaN, infinity).
    """
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode("utf-8", errors="surrogatepass"), durable=durable)


def append_line(path: Path | str, line: str, *, durable: bool = True, within: Path | None = None) -> None:
    """Add one line to a text file and wait until the disk has it.

    A last line torn by a crash is closed first, so that it cannot swallow the new one. A file that has a
    second name (a hard link, as some backups make them) becomes one of its own first.

    Parameters
    ----------
    path, within
        See `napari_semigda.io.files.open_own`: a link is not followed.
    line
        Without its end.
    durable
        See `atomic_file`.

    Raises
    ------
    SemiGDAError
        When the line cannot be written.
    """
    path = Path(path)
    try:
        if path.is_file() and path.lstat().st_nlink > 1:
            write_bytes(path, read_own(path, within), durable=durable)
        with open_own(path, within, mode="a+b") as file:
            lead = b"" if _ends_with_newline(file) else b"\n"
            file.write(lead + line.encode("utf-8", errors="surrogatepass") + b"\n")
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_abandoned(folder: Path) -> None:
    """Remove temporary files that a killed program left in `folder` more than an hour ago.

    One whose time is more than an hour ahead is older, too: the clock went back since.
    """
    with suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.startswith(_TEMPORARY) and _distance(entry) > _ABANDONED_AFTER_SECONDS:
                _remove(Path(entry.path))


def cannot_write(path: Path, error: OSError) -> SemiGDAError:
    """What to tell the person when the system refuses to write `path`."""
    reason = error.strerror or str(error) or type(error).__name__
    return SemiGDAError(
        f"“{path}” could not be written: {reason}. What stood there before is unchanged. "
        "Make room or give write permission there, then try again."
    )


def cannot_read(path: Path, error: OSError) -> SemiGDAError:
    """What to tell the person when the system refuses to read `path`."""
    reason = error.strerror or str(error) or type(error).__name__
    return SemiGDAError(
        f"“{path}” cannot be read: {reason}. See to it that its disk or network share is there and that you "
        "may read it, then try again."
    )


def _ends_with_newline(file: Any) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")


def _flush_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)  # Windows flushes only what is open for writing
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    with suppress(OSError):  # some network shares refuse; the rename itself has happened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _distance(entry: os.DirEntry[str]) -> float:
    return abs(time.time() - entry.stat(follow_symlinks=False).st_mtime)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
