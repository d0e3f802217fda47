"""Exporting behind the scenes: a worker writes the files, its progress arrives in the main thread."""

import threading
from pathlib import Path
from typing import Any

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from superqt.utils import FunctionWorker

from napari_semigda.errors import Cancelled
from napari_semigda.session.export import Existing, Export, ExportReport
from napari_semigda.widgets.activity import Activity
from napari_semigda.widgets.panels.parts import show_failure

NAMED = 3  # images left out that are named; the others are counted


class Exporter(QObject):
    """One export at a time.

    Attributes
    ----------
    running : bool
        Whether an export runs.
    done, total : int
        Images exported, and images to export.
    outcome : str
        What became of the last export, in a sentence.
    changed : Signal
        Emitted in the main thread when any of these changed.
    """

    changed = Signal()
    _progressed = Signal(int, int)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.running = False
        self.done = self.total = 0
        self.outcome = ""
        self._cancelled = threading.Event()
        self._activity: Activity | None = None
        self._progressed.connect(self._on_progress)

    def start(self, export: Export, folder: Path, existing: Existing, *, device: str) -> None:
        """Run an export into a folder.

        Parameters
        ----------
        export : Export
            What to write.
        folder : Path
            Where to, as people are told.
        existing : Existing
            What to do about files that are there already.
        device : str
            Where to predict, if the format does.
        """
        self._cancelled = threading.Event()
        self.running, self.done, self.total, self.outcome = True, 0, 0, ""
        worker: Any = create_worker(
            export.run,
            existing,
            device=device,
            progress=self._progressed.emit,
            cancelled=self._cancelled.is_set,
            _ignore_errors=True,
            _start_thread=False,
            _worker_class=FunctionWorker,
        )
        worker.returned.connect(lambda report: self._end(_in_words(report, folder)))
        worker.errored.connect(self._on_error)
        self._activity = Activity("SemiGDA: exporting", self.cancel)
        worker.finished.connect(self._activity.close)
        worker.start()
        self.changed.emit()

    def cancel(self) -> None:
        """Stop before the next file."""
        self._cancelled.set()

    def forget(self) -> None:
        """Say nothing any more of the last export."""
        self.outcome = ""
        self.changed.emit()

    def _on_progress(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        if self._activity is not None:
            self._activity.report(done, total)
        self.changed.emit()

    def _on_error(self, error: Exception) -> None:
        self._end("The export was cancelled; what was written stays." if isinstance(error, Cancelled) else "")
        show_failure(error)

    def _end(self, outcome: str) -> None:
        self.running, self.outcome = False, outcome
        self.changed.emit()


def _in_words(report: ExportReport, folder: Path) -> str:
    written = len(report.written)
    text = f"{written} file{' was' if written == 1 else 's were'} written to {folder}."
    if report.kept:
        text += f" {len(report.kept)} {'was' if len(report.kept) == 1 else 'were'} up to date."
    if report.left_out:
        named = "; ".join(f"{item.name}: {why}" for item, why in report.left_out[:NAMED])
        more = len(report.left_out) - NAMED
        text += f" Left out: {named}{f'; and {more} more' if more > 0 else ''}."
    return text
