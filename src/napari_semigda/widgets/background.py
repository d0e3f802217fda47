"""Work beside the window: long jobs as napari workers, and small tasks in a thread of their own."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from napari.qt.threading import create_worker
from napari.utils import cancelable_progress
from qtpy.QtCore import QObject, QThreadPool, Signal  # type: ignore[attr-defined]
from superqt.utils import FunctionWorker

from napari_semigda.widgets.panels.parts import show_failure

WHOLE = 100
CLOSING_PATIENCE = 5000  # milliseconds; reading one large image may take some of them

logger = logging.getLogger(__name__)

T = TypeVar("T")


class _Reports(QObject):
    """Hands progress over to the main thread."""

    made = Signal(float, float)


class Activity(cancelable_progress):
    """A line in napari's activity dock with a *Cancel* button; create and close it in the main thread.

    napari tells only a loop over such a line that it was canceled. Work in another thread asks
    `is_canceled`, or is told by `on_cancel`.
    """

    def __init__(self, title: str, on_cancel: Callable[[], object] | None = None) -> None:
        super().__init__(desc=title, total=0, cancel_callback=on_cancel)
        self._share = 0
        self._reports = _Reports()
        self._reports.made.connect(self._show)

    def cancel(self) -> None:
        super().cancel()
        if self.cancel_callback is not None:
            self.cancel_callback()

    def report(self, done: float, total: float) -> None:
        """Show how much is done; may be called in any thread."""
        self._reports.made.emit(done, total)

    def _show(self, done: float, total: float) -> None:
        share = round(WHOLE * done / max(total, 1))
        if share != self._share:
            self.total = WHOLE
            self.update(share - self._share)
            self._share = share


def run_in_background(
    title: str,
    function: Callable[..., T],
    on_done: Callable[[T], object],
    on_failed: Callable[[Exception], object] = show_failure,
) -> Activity:
    """Run a function in a thread, as a line of napari's activity dock.

    It gets the keywords ``progress``, to call with the numbers done and total, and ``cancelled``, which
    returns whether the user pressed *Cancel*. What it returned, or raised, goes to `on_done` or `on_failed`
    in the main thread.
    """
    activity = Activity(title)
    worker: Any = create_worker(
        function,
        progress=activity.report,
        cancelled=lambda: activity.is_canceled,
        _worker_class=FunctionWorker,
        _ignore_errors=True,
        _start_thread=False,
    )
    worker.finished.connect(activity.close)
    worker.returned.connect(on_done)
    worker.errored.connect(on_failed)
    worker.start()
    return activity


class TaskThread(QObject):
    """A thread that does small tasks one after the other.

    It is none of napari's worker threads, which a round may keep busy for an hour. What a task raises is only
    logged, so a task has to return what users should be told.
    """

    _done = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._closed = False
        self._done.connect(self._hand_over)

    def run(self, task: Callable[[], T], on_done: Callable[[T], object]) -> None:
        """Run a task after those before it, and pass its result on in the main thread."""

        def work() -> None:
            try:
                result = task()
            except Exception:
                logger.exception("A background task failed.")
            else:
                with suppress(RuntimeError):  # Qt has deleted this object meanwhile
                    self._done.emit(on_done, result)

        if not self._closed:
            self._pool.start(work)

    def close(self) -> None:
        """Drop waiting tasks, wait for the running one, and pass no more results on."""
        self._closed = True
        self._pool.clear()
        self._pool.waitForDone(CLOSING_PATIENCE)

    def _hand_over(self, on_done: Callable[[Any], object], result: Any) -> None:
        if not self._closed:
            on_done(result)
