"""The folder of an opened session: whether this program may write into it, and what went wrong there."""

import threading
from pathlib import Path

from napari_semigda.session.lock import SessionLock
from napari_semigda.session.transaction import Transactions


class SessionFolder:
    """What all parts of an opened session share: its path, lock, transactions and warnings."""

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
        """Raise a `SemiGDAError` if nothing can be saved now; called first by all that changes the disk."""
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
