"""A folder that is a file system of its own, in user space, and answers with errors when told to.

What is written into it is kept in another folder. Linux with `/dev/fuse` and libfuse; see `why_not`.
"""

from __future__ import annotations

import errno
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

MOUNTED = "mounted"

TROUBLES = {
    "full": (errno.ENOSPC, False),
    "read-only": (errno.EROFS, False),
    "broken": (errno.EIO, True),
    "vanished": (errno.ESTALE, True),
}
"""The error, and whether reading, too, is answered with it."""


def why_not() -> str | None:
    """Say why there can be no such file system here; None where there can be one."""
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError, AttributeError) as error:
        return f"needs mfusepy and libfuse ({error})"
    if shutil.which("fusermount3") is None:
        return "needs fusermount3 (of fuse3)"
    return None if os.access("/dev/fuse", os.R_OK | os.W_OK) else "needs /dev/fuse"


class FailingDisk:
    """A mounted folder, as long as the block lasts.

    Parameters
    ----------
    home
        An empty folder, in which the disk's content, its place and its switch are made.

    Attributes
    ----------
    folder : Path
        Where it is mounted.
    """

    def __init__(self, home: Path) -> None:
        self.folder, self._content, self._switch = home / "disk", home / "content", home / "trouble"

    def __enter__(self) -> Self:
        for folder in (self.folder, self._content):
            folder.mkdir()
        command = [sys.executable, __file__, *map(str, (self._content, self.folder, self._switch))]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != MOUNTED:
            raise OSError("the file system could not be mounted")
        return self

    def __exit__(self, *exception: object) -> None:
        subprocess.run(["fusermount3", "-u", "-z", str(self.folder)], check=False)
        self._process.kill()  # without waiting for whoever still has a file open there
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @contextmanager
    def failing(self, trouble: str) -> Iterator[None]:
        """Answer with the error of one of `TROUBLES` while the block lasts."""
        ready = self._switch.with_suffix(".new")
        ready.write_text(trouble)
        ready.rename(self._switch)  # nobody reads half a word
        try:
            yield
        finally:
            self._switch.unlink()


def serve(content: Path, folder: Path, switch: Path) -> None:
    """Mount the file system, and answer until it is unmounted."""
    import mfusepy

    def answering(writes: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Make a method answer with an error while there is trouble."""

        def decorated(method: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(method)
            def answer(*arguments: Any) -> Any:
                with suppress(FileNotFoundError):
                    code, reading_too = TROUBLES[switch.read_text()]
                    if writes or reading_too:
                        raise mfusepy.FuseOSError(code)
                return method(*arguments)

            return answer

        return decorated

    reads, writes = answering(False), answering(True)

    class PassThrough(mfusepy.Operations):  # type: ignore[misc]
        use_ns = True

        def init(self, path: str) -> None:
            print(MOUNTED, flush=True)

        @reads
        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            status = os.lstat(at(path))
            times = {f"st_{one}time": getattr(status, f"st_{one}time_ns") for one in "amc"}
            return times | {
                name: getattr(status, name)
                for name in ("st_mode", "st_size", "st_uid", "st_gid", "st_nlink", "st_ino")
            }

        @reads
        def readdir(self, path: str, fh: int) -> list[str]:
            return [".", "..", *os.listdir(at(path))]

        @reads
        def readlink(self, path: str) -> str:
            return os.readlink(at(path))

        @reads
        def statfs(self, path: str) -> dict[str, int]:
            status = os.statvfs(at(path))
            return {name: getattr(status, name) for name in dir(status) if name.startswith("f_b")}

        @reads
        def open(self, path: str, flags: int) -> int:
            return os.open(at(path), flags & ~os.O_APPEND)  # the kernel tells where to write

        @reads
        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            return os.pread(fh, size, offset)

        def release(self, path: str, fh: int) -> int:
            os.close(fh)
            return 0

        @writes
        def create(self, path: str, mode: int, fi: Any = None) -> int:
            return os.open(at(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

        @writes
        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            return os.pwrite(fh, data, offset)

        @writes
        def truncate(self, path: str, length: int, fh: int | None = None) -> int:
            os.truncate(at(path), length)
            return 0

        @writes
        def fsync(self, path: str, datasync: int, fh: int) -> int:
            os.fsync(fh)
            return 0

        @writes
        def mkdir(self, path: str, mode: int) -> int:
            os.mkdir(at(path), mode)
            return 0

        @writes
        def rmdir(self, path: str) -> int:
            os.rmdir(at(path))
            return 0

        @writes
        def unlink(self, path: str) -> int:
            os.unlink(at(path))
            return 0

        @writes
        def rename(self, old: str, new: str, flags: int = 0) -> int:
            os.rename(at(old), at(new))
            return 0

        @writes
        def chmod(self, path: str, mode: int) -> int:
            os.chmod(at(path), mode)
            return 0

        @writes
        def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
            os.utime(at(path), ns=times) if times else os.utime(at(path))
            return 0

    def at(path: str) -> str:
        return f"{content}{path}"

    mfusepy.FUSE(PassThrough(), str(folder), foreground=True, nothreads=True, attr_timeout=0, entry_timeout=0)


if __name__ == "__main__":
    serve(*map(Path, sys.argv[1:4]))
