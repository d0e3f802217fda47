"""Export in the background; progress and outcome arrive in the main thread."""

from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_semigda.errors import Cancelled
from napari_semigda.session.export import Existing, Export, ExportReport
from napari_semigda.widgets.background import Activity, run_in_background
from napari_semigda.widgets.panels.parts import show_failure

NAMED = 3  # images left out that are named; the others are counted


class Exporter(QObject):
    """One export at a time."""

    changed = Signal()
    _progressed = Signal(int, int)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.running = False
        self.done = self.total = 0
        self.outcome = ""
        self._activity: Activity | None = None
        self._progressed.connect(self._on_progress)

    def start(self, export: Export, folder: Path, existing: Existing, *, device: str) -> None:
        """Run an export; `existing` says what to do with files already there, the outcome names `folder`."""

        def run(*, cancelled: Any, **_: Any) -> ExportReport:
            return export.run(existing, device=device, progress=self._progressed.emit, cancelled=cancelled)

        self.running, self.done, self.total, self.outcome = True, 0, 0, ""
        self._activity = run_in_background(
            "SemiGDA: exporting", run, lambda report: self._end(_outcome(report, folder)), self._on_failed
        )
        self.changed.emit()

    def cancel(self) -> None:
        """Stop before the next file."""
        if self._activity is not None:
            self._activity.cancel()

    def forget(self) -> None:
        """Clear the outcome of the last export."""
        self.outcome = ""
        self.changed.emit()

    def _on_progress(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        if self._activity is not None:
            self._activity.report(done, total)
        self.changed.emit()

    def _on_failed(self, error: Exception) -> None:
        canceled = isinstance(error, Cancelled)
        self._end("The export was canceled; the files written so far stay." if canceled else "")
        show_failure(error)

    def _end(self, outcome: str) -> None:
        self.running, self.outcome, self._activity = False, outcome, None
        self.changed.emit()


def _outcome(report: ExportReport, folder: Path) -> str:
    written, kept = len(report.written), len(report.kept)
    text = f"{written} file{' was' if written == 1 else 's were'} written to {folder}."
    if kept:
        text += f" {kept} {'was' if kept == 1 else 'were'} up to date."
    if report.left_out:
        named = "; ".join(f"{item.name}: {why}" for item, why in report.left_out[:NAMED])
        more = len(report.left_out) - NAMED
        text += f" Left out: {named}{f'; and {more} more' if more > 0 else ''}."
    return text
