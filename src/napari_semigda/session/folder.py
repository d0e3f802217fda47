"""The folder of an opened session: whether this program may write into it, and what went wrong there."""

import threading
from pathlib import Path

from napari_semigda.session.lock import SessionLock
from napari_semigda.session.transaction import Transactions


class SessionFolder:
    """What all parts of an opened session share.

    Attributes
    ----------
    path : Path
        The session's folder, absolute.
    lock : RLock
        Guards what is in memory and the order of writes.
    transactions : Transactions
        Changes to several files at once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._warnings: dict[str, None] = {}
        self.transactions = Transactions(path, self.lock, self.warn)
        self._writing = SessionLock(path, self.transactions.recover)
        if self._writing.unsure is not None:
            self.warn(self._writing.unsure)

    @property
    def read_only(self) -> str | None:
        """Why nothing can be saved, as a sentence; None where everything can."""
        return self._writing.refused

    def check_writable(self) -> None:
        """Make sure that something may be saved now; every method that changes the disk begins with it.

        Raises
        ------
        SemiGDAError
            If this program may only look, the disk is gone, or a transaction could not be finished.
        """
        self._writing.check()
        self.transactions.finish()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What went wrong without stopping anything, since the session was opened; each once."""
        with self.lock:
            return tuple(self._warnings)

    def warn(self, message: str) -> None:
        """Remember a warning for the annotator."""
        with self.lock:
            self._warnings[message] = None

    def release(self) -> None:
        """Let other programs write into the session."""
        self._writing.release()
