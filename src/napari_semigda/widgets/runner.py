"""The engine's one thread, as a napari worker: seen in the activity dock, and asked about before closing."""

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
from napari_semigda.widgets.activity import WHOLE, Activity

CLOSING_PATIENCE = 10.0  # seconds; a step is far shorter, except for the largest preset on a CPU
LAST_SIGNALS = 1000  # milliseconds


class EngineWorker(GeneratorWorker):
    """A worker that, asked to quit, closes the engine and lets it come to its end in good order."""

    engine: weakref.ref[Engine]  # weak, for napari remembers its workers for good

    def quit(self) -> None:
        """Let the engine save what it has at the next step, instead of dropping its generator."""
        engine = self.engine()
        if engine is not None:
            engine.close()


class _Task(functools.partial):
    """What runs, named for people: napari shows it where it asks before closing."""

    def __str__(self) -> str:
        return "SemiGDA: a round, or drafts.\nAccepted masks are saved, and a round can be resumed."


class EngineRunner(QObject):
    """Owns a session's engine, iterates it in a worker, and hands its events to the main thread.

    Parameters
    ----------
    session : Session
        What to train and predict for.
    device : str
        See `Engine`.

    Attributes
    ----------
    happened : Signal
        Emitted in the main thread with each of the engine's events.
    failed : Signal
        Emitted in the main thread with an exception that the engine did not expect.
    rested : Signal
        Emitted in the main thread when nothing is left to do, or a round is paused.
    cancel_asked : Signal
        Emitted when the person presses *Cancel* in the activity dock.
    """

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

    def wake(self) -> None:
        """Start a worker if the engine has something to do and nobody does it."""
        if not self.engine.start_work():
            return
        self._ended = threading.Event()  # a new one: the worker before may be about to set its own
        worker = create_worker(
            _Task(_working),
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

    @property
    def busy(self) -> bool:
        """Whether the engine's thread is at work."""
        return not self._ended.is_set()

    def close(self, patience: float = CLOSING_PATIENCE) -> bool:
        """End everything at the next step, keep its state, and wait for that.

        Returns
        -------
        bool
            Whether it ended in time; if not, it still ends in good order behind the scenes.
        """
        self.engine.close()
        ended = self._ended.wait(patience)
        pool = QThreadPool.globalInstance()
        if ended and pool is not None:
            # The worker has a few signals still to emit, and must not outlive what they are made of.
            pool.waitForDone(LAST_SIGNALS)
        if ended and self.engine.start_work():  # a paused round: nobody is there to write its state
            for _ in self.engine.work():
                pass
        QTimer.singleShot(0, self.engine.give_memory_back)
        return ended

    def _begin_activity(self, worker: EngineWorker, ended: threading.Event) -> None:
        """Show a worker in the activity dock, if it is still at work."""
        if not ended.is_set():
            self._activity = Activity("SemiGDA", self.cancel_asked.emit)
            worker.finished.connect(self._activity.close)

    def _on_finished(self) -> None:
        self._activity = None
        self.wake()  # asked for something between its last look and its end
        if not self.busy:
            self.rested.emit()

    def _show_progress(self, event: Event) -> None:
        """The state of the work in words, in napari's activity dock."""
        if self._activity is None or not self.busy:
            return
        if isinstance(event, Stepped):
            self._describe(f"SemiGDA: training round {event.record.number}")
            self._activity.report(round(event.report.fraction * WHOLE), WHOLE)
        elif isinstance(event, ModelLoading):
            self._describe(f"SemiGDA: {event.message.lower()}")
            if event.total:
                self._activity.report(event.done, event.total)
        elif isinstance(event, Drafting | Predicted | PredictionFailed) and not self.engine.round_is_active:
            drafts = self.engine.drafts
            left = "" if drafts.remaining is None else f", {time_left(drafts.remaining)}"
            self._describe(f"SemiGDA: making drafts{left}")
            self._activity.report(round(WHOLE * drafts.done / max(drafts.total, 1)), WHOLE)

    def _describe(self, words: str) -> None:
        if self._activity is not None and self._activity.desc.removesuffix(": ") != words:
            self._activity.set_description(words)


def _working(engine: Engine, ended: threading.Event) -> Iterator[Event]:
    leave_room_for_window()
    try:
        yield from engine.work()
    finally:
        ended.set()
