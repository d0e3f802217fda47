"""Writing files that are either complete or not there: next to their path, flushed, then renamed."""

import csv
import errno
import io
import json
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.files import open_own, read_own

_TEMPORARY = ".semigda-"
_ABANDONED_AFTER_SECONDS = 3600.0

# Errors of file systems that cannot flush a folder, or cannot link a file: not failures of the disk.
_CANNOT = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.EMLINK}
)


class MayNotLast(SemiGDAError):
    """A file was written, but the disk failed to confirm that it will survive a power cut."""


@contextmanager
def atomic_file(path: Path | str, *, durable: bool = True, new: bool = False) -> Iterator[Path]:
    """Write a file so that readers, and a crash, see the old file or the new one and nothing between.

    The body writes to the temporary path it is given (same folder, same suffix). When the body ends well, the
    file is flushed to the disk and renamed to `path`; when it fails, the file at `path` is untouched. A link
    at `path` is replaced, never followed. Without `durable`, for what can be computed again, the disk is not
    waited for. `new` refuses to replace a file, even one that another program writes at the same moment.

    Raises a `SemiGDAError` when the file cannot be written, and `MayNotLast` when only flushing its folder
    failed.
    """
    path = Path(path)
    temporary = temporary_name(path)
    folder: int | None = None
    try:
        yield temporary
        if durable:
            flush_file(temporary)
            folder = _opened_folder(path.parent)  # now: after renaming it would be too late to fail
        if new:
            _put_new(temporary, path)
        else:
            os.replace(temporary, path)
    except BaseException as error:
        _remove(temporary)
        if folder is not None:
            os.close(folder)
        if isinstance(error, FileExistsError) and new:
            raise SemiGDAError(
                f"“{path}” already exists and is not overwritten. Choose another name or folder."
            ) from error
        if isinstance(error, OSError | SafetensorError):
            raise cannot_write(path, error) from error
        raise
    if folder is not None:
        try:
            _flush_opened(folder)
        except OSError as error:
            raise MayNotLast(
                f"“{path}” was written, but the disk failed ({_reason(error)}) and may lose it. "
                "Check the disk, then save again."
            ) from error


def temporary_name(path: Path) -> Path:
    """Return a name beside `path` for a file that `remove_abandoned` removes if its program is killed."""
    return path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}{path.suffix}")


def write_bytes(path: Path | str, content: bytes, *, durable: bool = True, new: bool = False) -> None:
    """Write `content` to `path` atomically; see `atomic_file`."""
    with atomic_file(path, durable=durable, new=new) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path | str, value: Any, *, durable: bool = True) -> None:
    """Write `value` as readable UTF-8 JSON atomically; ValueError for NaN and infinity. See `atomic_file`."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode("utf-8", errors="surrogatepass"), durable=durable)


def write_table(
    path: Path | str, columns: Sequence[str], rows: Iterable[Sequence[str | int | float | None]]
) -> None:
    """Write a table as CSV: UTF-8, commas, numbers with six digits, nothing where a value is None. Atomic.

    Text that a spreadsheet would run as a formula gets an apostrophe in front; numbers stay numbers.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(as_text, columns))
    writer.writerows(map(_cell, row) for row in rows)
    write_bytes(path, text.getvalue().encode("utf-8", errors="replace"))


def as_text(value: str) -> str:
    """Return what a spreadsheet shows as this text, whatever it takes for the separator of cells.

    Examples
    --------
    >>> as_text("=1+1"), as_text("cell-1.tif"), as_text("a;@b")
    ("'=1+1", 'cell-1.tif', "a;'@b")
    """
    return _FORMULA.sub(r"\1'", value)


# Spreadsheets skip blanks and quotes before a formula, and take full-width signs for the usual ones.
_FORMULA = re.compile(r"((?:^|[\t\r\n,;|])[\s\0\ufeff\"“”«»]*?)(?=[=+\-@\t\r＝＋－＠﹢﹣﹦﹫−])")


def _cell(value: str | int | float | None) -> str | int | None:
    if isinstance(value, str):
        return as_text(value)
    return f"{value:.6g}" if isinstance(value, float) else value


def append_line(path: Path | str, line: str, *, durable: bool = True, within: Path | None = None) -> None:
    """Add one line to a text file, and wait until the disk has it if `durable`; a `SemiGDAError` if that
    fails.

    A last line torn by a crash is closed first, so that it cannot swallow the new one. A file that has a
    second name (a hard link, as some backups make them) becomes one of its own first. A link is not followed.
    """
    path = Path(path)
    try:
        begins = durable and not path.exists()
        if path.is_file() and path.lstat().st_nlink > 1:
            write_bytes(path, read_own(path, within), durable=durable)
        with open_own(path, within, mode="a+b") as file:
            lead = b""
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                lead = b"" if file.read(1) == b"\n" else b"\n"
            file.write(lead + line.encode("utf-8", errors="surrogatepass") + b"\n")
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if begins:
            flush_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_abandoned(folder: Path) -> None:
    """Remove temporary files that a killed program left in `folder` more than an hour ago.

    Those from more than an hour ahead are older, too: the clock was set back since.
    """
    with suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.startswith(_TEMPORARY):
                age = abs(time.time() - entry.stat(follow_symlinks=False).st_mtime)
                if age > _ABANDONED_AFTER_SECONDS:
                    _remove(Path(entry.path))


def cannot_write(path: Path, error: OSError | SafetensorError) -> SemiGDAError:
    """Return the error to raise when the system refuses to write `path`."""
    return SemiGDAError(
        f"“{path}” could not be written: {_reason(error)}. An earlier version of it is unchanged. "
        "Free some space or allow writing there, then try again."
    )


def cannot_read(path: Path, error: OSError) -> SemiGDAError:
    """Return the error to raise when the system refuses to read `path`."""
    return SemiGDAError(
        f"“{path}” could not be read: {_reason(error)}. Check that its disk is connected and that you have "
        "permission to read it, then try again."
    )


def flush_file(path: Path) -> None:
    """Wait until the disk has the content of a file; raises `OSError`."""
    descriptor = os.open(path, os.O_RDWR)  # Windows flushes only what is open for writing
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder, where its file system can; raises `OSError`."""
    descriptor = _opened_folder(folder)
    if descriptor is not None:
        _flush_opened(descriptor)


def put(path: Path, target: Path, kept: Path | None = None) -> None:
    """Rename a file to `target`, and keep the one there as `kept`; raises `OSError`.

    Needs no additional space. Where the file system has no hard links, `target` is missing for a moment.
    After an interruption at any point, another call continues.
    """
    if kept is not None and not os.path.lexists(kept) and os.path.lexists(target):
        try:
            os.link(target, kept, follow_symlinks=False)
        except (OSError, NotImplementedError):  # depends on the file system
            os.rename(target, kept)
    os.replace(path, target)


def _put_new(path: Path, target: Path) -> None:
    """Rename a file if there is none of that name."""
    if os.name == "nt":
        os.rename(path, target)
        return
    try:
        os.link(path, target)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        os.replace(path, target)  # not in one step, without hard links
    else:
        os.unlink(path)


def _opened_folder(folder: Path) -> int | None:
    """Open a folder for flushing; None where the system cannot."""
    if os.name != "posix":
        return None
    try:
        return os.open(folder, os.O_RDONLY)
    except PermissionError:  # one may write into it and not list it
        return None


def _flush_opened(folder: int) -> None:
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    finally:
        os.close(folder)


def _reason(error: OSError | SafetensorError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return str(error).rpartition("I/O error: ")[2].partition(" (os error")[0]


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
