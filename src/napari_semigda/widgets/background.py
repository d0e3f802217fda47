"""Small work behind the scenes, in a thread of its own: what it returns comes back in the main thread."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from qtpy.QtCore import QObject, QThreadPool, Signal  # type: ignore[attr-defined]

CLOSING_PATIENCE = 5000  # milliseconds; reading one large picture may take some of them

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Background(QObject):
    """One thread, apart from napari's workers, which a round of training may keep busy for an hour.

    Tasks are done one after the other. A task says itself in what it returns that something went wrong; what
    it raises all the same is written to the log, and nobody is told.
    """

    _done = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._closed = False
        self._done.connect(self._hand_over)

    def do(self, task: Callable[[], T], then: Callable[[T], object]) -> None:
        """Do a task when those before it are done, then hand its result over in the main thread."""

        def run() -> None:
            try:
                result = task()
            except Exception:
                logger.exception("A task behind the scenes failed.")
            else:
                with suppress(RuntimeError):  # nobody is there any more to hand it to
                    self._done.emit(then, result)

        if not self._closed:
            self._pool.start(run)

    def close(self) -> None:
        """Drop what was not begun, wait for the task at work, and hand over nothing any more."""
        self._closed = True
        self._pool.clear()
        self._pool.waitForDone(CLOSING_PATIENCE)

    def _hand_over(self, then: Callable[[Any], object], result: Any) -> None:
        if not self._closed:
            then(result)
