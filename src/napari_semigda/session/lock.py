"""One program writes into a session at a time; all others may read."""

import getpass
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import write_json
from napari_semigda.io.files import check_own, json_or_none
from napari_semigda.io.pictures import MANIFEST_NAME
from napari_semigda.session.layout import LOCK, OWNER

_MOST_BYTES = 2**16


class Owner(BaseModel):
    """Who writes into a session now: user and computer as the system names them, process, local time."""

    model_config = ConfigDict(strict=True)

    user: str
    host: str
    pid: int
    since: str

    @classmethod
    def this_program(cls) -> Self:
        """Return this user, computer and process, from now on."""
        try:
            user = getpass.getuser()
        except (OSError, KeyError):  # a number without a name, as in containers
            user = ""
        since = datetime.now().isoformat(timespec="seconds")
        return cls(user=user, host=socket.gethostname(), pid=os.getpid(), since=since)

    def in_words(self) -> str:
        """Return such as “lena on microscope-3, since 2026-11-23 14:05”."""
        who = " on ".join(part for part in (self.user, self.host) if part)
        return f"{who or 'somebody'}, since {self.since.replace('T', ' ')[:16]}"


class SessionLock:
    """The right to write into a session's folder, held until `release` or the end of the process.

    The operating system holds the lock and frees it when the process ends, however it ends: no dead program
    keeps anybody out. `in-use.json` only tells others who the owner is. `recover` is called once the lock is
    held; if it raises a `SemiGDAError`, this program may only read.

    `refused` says why this program may only read, None where it may write; `unsure` is a warning where the
    file system cannot lock, so that nobody is kept out, or None.
    """

    def __init__(self, folder: Path, recover: Callable[[], object]) -> None:
        self.refused: str | None = None
        self.unsure: str | None = None
        self._folder = folder
        self._owner = folder / OWNER
        self._lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
        self._held: tuple[int, int] | None = None
        self._checking = threading.Lock()
        try:
            _check_lock_file(folder / LOCK)
        except SemiGDAError as error:
            self.refused = f"{error} Until then you can view everything here, but cannot save."
            return
        try:
            self._acquire()
        except Timeout:
            self.refused = self._elsewhere()
            return
        except NotImplementedError:
            self.unsure = (
                f"The file system of “{folder}” does not support locking: "
                "make sure that nobody else works on the session at the same time."
            )
        except OSError as error:
            self._refuse(error)
            return
        try:
            recover()  # needs no disk space, and may free some
        except SemiGDAError as error:
            self.release()
            self.refused = str(error)
            return
        try:
            if self.unsure is None:
                self._write_owner()
        except (OSError, SemiGDAError) as error:
            self._refuse(error)

    def _write_owner(self) -> None:
        write_json(self._owner, Owner.this_program().model_dump(), durable=False)

    def _refuse(self, error: OSError | SemiGDAError) -> None:
        self.release()
        reason = error.strerror if isinstance(error, OSError) else None
        self.refused = (
            f"Nothing can be saved in “{self._folder}”{f' ({reason})' if reason else ''}. You can view "
            "everything here. Free disk space or give write permission there, then open it again."
        )

    def release(self) -> None:
        """Let others write."""
        if self._lock.is_locked:
            self._held = None
            with suppress(OSError):
                self._owner.unlink(missing_ok=True)
            with suppress(OSError):  # the disk may be gone
                self._lock.release()

    def check(self) -> None:
        """Make sure that this program may write, and that the session is still where it was.

        Raises a `SemiGDAError` if it may only read, or the disk with the session is gone or came back with
        another owner.
        """
        if self.refused is not None:
            raise SemiGDAError(self.refused)
        # Without this, what is saved would land in the empty folder that an unmounted share leaves behind.
        if not self._is_there():
            raise self._not_there()
        with self._checking:
            if self._held is not None and not (self._lock.is_locked and self._identity() == self._held):
                self._acquire_again()

    def _acquire(self) -> None:
        self._lock.acquire()
        self._held = self._identity()

    def _acquire_again(self) -> None:
        """Lock the file that is there now: a share that went away and came back has forgotten the lock."""
        with suppress(OSError):
            self._lock.release(force=True)
        _check_lock_file(self._folder / LOCK)
        try:
            self._acquire()
        except Timeout as error:
            self.refused, self._held = self._elsewhere(), None
            raise SemiGDAError(self.refused) from error
        except (OSError, NotImplementedError) as error:
            raise self._not_there() from error
        with suppress(SemiGDAError):
            self._write_owner()

    def _is_there(self) -> bool:
        with suppress(OSError):  # a disk that does not answer
            return (self._folder / MANIFEST_NAME).is_file()
        return False

    def _identity(self) -> tuple[int, int] | None:
        with suppress(OSError):
            status = (self._folder / LOCK).stat()
            return status.st_dev, status.st_ino
        return None

    def _elsewhere(self) -> str:
        try:
            owner = Owner.model_validate(json_or_none(self._owner, most=_MOST_BYTES)).in_words()
        except ValidationError:
            owner = "by another program"
        return (
            f"“{self._folder.name}” is open elsewhere ({owner}). You can view everything here, but cannot "
            "save. Close it there, then open it again."
        )

    def _not_there(self) -> SemiGDAError:
        return SemiGDAError(
            f"The session “{self._folder}” is no longer there, so nothing could be written. "
            "Reconnect its disk or network share, then try again."
        )


def _check_lock_file(path: Path) -> None:
    """Refuse a lock file that is a link, no regular file, or a second name of a file with content.

    Locking empties the file.
    """
    check_own(path)
    with suppress(OSError):
        found = path.lstat()
        if found.st_nlink > 1 and found.st_size:
            raise SemiGDAError(f"“{path}” is a second name of another file. Move it away.")
