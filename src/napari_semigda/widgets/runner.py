"""The engine's one thread, as a napari worker with a line in the activity dock."""

import functools
import threading
import weakref
from collections.abc import Iterator

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, QThreadPool, QTimer, Signal  # type: ignore[attr-defined]
from superqt.utils import GeneratorWorker

from napari_semigda.engine.engine import Engine
from napari_semigda.engine.events import Drafting, Event, ModelLoading, Predicted, PredictionFailed, Stepped
from napari_semigda.model.device import leave_room_for_window
from napari_semigda.pace import time_left
from napari_semigda.session.session import Session
from napari_semigda.widgets.background import Activity

CLOSING_PATIENCE = 10.0  # seconds; a step is far shorter, except for the largest preset on a CPU
LAST_SIGNALS = 1000  # milliseconds


class EngineWorker(GeneratorWorker):
    """A worker that closes its engine in good order when napari asks it to quit."""

    engine: weakref.ref[Engine]  # weak, for napari never forgets its workers

    def quit(self) -> None:
        """Let the engine save its state at the next step, instead of dropping its generator."""
        engine = self.engine()
        if engine is not None:
            engine.close()


class _Task(functools.partial):
    """What runs; napari shows its text where it asks before closing."""

    def __str__(self) -> str:
        return (
            "SemiGDA is training a round or computing drafts.\n"
            "Accepted masks are saved, and a round can be resumed."
        )


class EngineRunner(QObject):
    """Runs a session's engine in a worker, and passes its events on in the main thread."""

    happened = Signal(object)
    failed = Signal(object)
    rested = Signal()
    cancel_asked = Signal()

    def __init__(self, session: Session, device: str = "auto", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.engine = Engine(session, device, on_progress=self.happened.emit)
        self.happened.connect(self._show_progress)
        self._activity: Activity | None = None
        self._ended = threading.Event()
        self._ended.set()

    @property
    def busy(self) -> bool:
        return not self._ended.is_set()

    def wake(self) -> None:
        """Start a worker if the engine has something to do and no worker is running."""
        if not self.engine.start_work():
            return
        self._ended = threading.Event()  # a new one: the worker before may be about to set its own
        worker = create_worker(
            _Task(_work),
            self.engine,
            self._ended,
            _worker_class=EngineWorker,
            _ignore_errors=True,
            _start_thread=False,
        )
        worker.engine = weakref.ref(self.engine)
        worker.yielded.connect(self.happened)
        worker.errored.connect(self.failed)
        worker.finished.connect(self._on_finished)
        worker.start()
        # A moment later: napari draws the whole window for a new line in its activity dock.
        QTimer.singleShot(0, functools.partial(self._begin_activity, worker, self._ended))

    def close(self, patience: float = CLOSING_PATIENCE) -> bool:
        """Stop everything at the next step, and wait until its state is saved."""
        self.engine.close()
        ended = self._ended.wait(patience)
        pool = QThreadPool.globalInstance()
        if ended and pool is not None:
            # The worker has a few signals still to emit, and must not outlive what they are made of.
            pool.waitForDone(LAST_SIGNALS)
        if ended and self.engine.start_work():  # a paused round, whose state no worker is there to write
            for _ in self.engine.work():
                pass
        QTimer.singleShot(0, self.engine.give_memory_back)
        return ended

    def _begin_activity(self, worker: EngineWorker, ended: threading.Event) -> None:
        if not ended.is_set():
            self._activity = Activity("SemiGDA", self.cancel_asked.emit)
            worker.finished.connect(self._activity.close)

    def _on_finished(self) -> None:
        self._activity = None
        self.wake()  # something was requested between its last look and its end
        if not self.busy:
            self.rested.emit()

    def _show_progress(self, event: Event) -> None:
        """Show in the activity dock what is done, and how far it is."""
        if self._activity is None or not self.busy:
            return
        if isinstance(event, Stepped):
            title, done, total = f"training round {event.record.number}", event.report.fraction, 1.0
        elif isinstance(event, ModelLoading):
            title, done, total = event.message.lower(), event.done, event.total
        elif isinstance(event, Drafting | Predicted | PredictionFailed) and not self.engine.round_is_active:
            drafts = self.engine.drafts
            left = "" if drafts.remaining is None else f", {time_left(drafts.remaining)}"
            title, done, total = f"computing drafts{left}", drafts.done, max(drafts.total, 1)
        else:
            return
        if self._activity.desc.removesuffix(": ") != f"SemiGDA: {title}":
            self._activity.set_description(f"SemiGDA: {title}")
        if total:
            self._activity.report(done, total)


def _work(engine: Engine, ended: threading.Event) -> Iterator[Event]:
    leave_room_for_window()
    try:
        yield from engine.work()
    finally:
        ended.set()
