"""Panel 6: export the masks of the session for other programs."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QCheckBox, QLabel, QSpinBox, QWidget

from napari_semigda.errors import Cancelled
from napari_semigda.session.export import Existing, Export, ExportReport
from napari_semigda.session.exporting.formats import FORMATS, Format
from napari_semigda.widgets.background import Activity, run_in_background
from napari_semigda.widgets.controller import NO_SESSION, Controller
from napari_semigda.widgets.panels.parts import (
    ActionButton,
    PathLine,
    Rows,
    ThinBar,
    ask,
    choice,
    set_up_number,
    show_failure,
    wrapped,
    wrapping_label,
)

ONLY_NEW, OVERWRITE = "Write missing or changed", "Overwrite all"
NAMED = 3  # existing files, and images left out, that are named; the others are counted
LARGEST_MINIMUM = 10**6  # pixels
WITH_DRAFTS_TIP = (
    "Also write the drafts of images that are not accepted, and fill unlabeled regions with drafts. "
    "Otherwise only accepted masks are written."
)
POLYGONS_TIP = (
    "Every program reads polygons, but they round corners and have no holes. Run lengths are exact."
)
MINIMUM_TIP = "Smaller connected objects are left out."
STACK_WORDS = {
    "image": ("one file per image", "Each plane has its own file."),
    "file": (
        "one file per image file",
        "The planes of a z-stack or time series become one stack again; planes without a mask are unlabeled.",
    ),
    "session": (
        "one file for all images",
        "A stack of all masks; the images need the same size and pixel size.",
    ),
}


class ExportPanel(QWidget):
    """Format and folder of an export, and its progress; `ended` comes when an outcome is shown."""

    ended = Signal()
    _progressed = Signal(int, int)

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._activity: Activity | None = None  # of the running export
        self.folder = PathLine("Export folder", for_folders=True, start=Path.home())
        self.folder.line.setToolTip(wrapped("Where files are written; the folder is created if needed."))
        self.choice = FormatChoice()
        self.export = ActionButton(
            "Export", "Write the files, in the subfolders of the images; pixel sizes are kept.", self._export
        )
        self.cancel = ActionButton("Cancel", "Stop; files already written are kept.", self._cancel)
        self.bar = ThinBar()
        self.outcome = wrapping_label()
        rows = Rows(self)
        rows.add(self.choice)
        rows.add(self.folder)
        rows.add(self.bar, self.cancel, shares=(8, 4))
        rows.add(self.outcome)
        self._progressed.connect(self._on_progress)
        controller.opened.connect(self._on_opened)
        controller.closed.connect(self._refresh)
        controller.closed.connect(self._cancel)
        self._refresh()

    @property
    def running(self) -> bool:
        return self._activity is not None

    def _on_opened(self) -> None:
        assert self._controller.session is not None
        self.folder.set_text(str(self._controller.session.folder / "export"))
        self._show_outcome("")

    def _export(self) -> None:
        session, runner = self._controller.session, self._controller.runner
        if session is None or runner is None:
            return
        if self._controller.annotation is not None:
            self._controller.annotation.keep()
        folder = Path(self.folder.text())
        export = Export(
            session, folder, self.choice.format(), include_predicted=self.choice.include_predicted()
        )
        files = export.existing()
        existing = self._ask_about(folder, files) if files else Existing.REFUSE
        if existing is not None:
            self._start(export, folder, existing, str(runner.engine.device))

    def _ask_about(self, folder: Path, files: list[Path]) -> Existing | None:
        """Ask what to do about existing files; None cancels."""
        named = ", ".join(path.name for path in files[:NAMED]) + (", …" if len(files) > NAMED else "")
        count = "1 file exists" if len(files) == 1 else f"{len(files)} files exist"
        answer = ask(
            self,
            "Export",
            f"{count} already in\n{folder}\n\n{named}",
            (ONLY_NEW, OVERWRITE),
            more="Overwrite them, or write only what is missing or has changed since the last export?",
            by_enter=ONLY_NEW,
        )
        return {ONLY_NEW: Existing.UPDATE, OVERWRITE: Existing.OVERWRITE}.get(answer or "")

    def _start(self, export: Export, folder: Path, existing: Existing, device: str) -> None:
        def run(*, cancelled: Any, **_: Any) -> ExportReport:
            return export.run(existing, device=device, progress=self._progressed.emit, cancelled=cancelled)

        self._activity = run_in_background(
            "SemiGDA: exporting", run, lambda report: self._end(_outcome(report, folder)), self._on_failed
        )
        self.bar.setMaximum(0)
        self._show_outcome("")

    def _cancel(self) -> None:
        if self._activity is not None:
            self._activity.cancel()

    def _on_progress(self, done: int, total: int) -> None:
        self.bar.setMaximum(total)
        self.bar.setValue(done)
        if self._activity is not None:
            self._activity.report(done, total)

    def _on_failed(self, error: Exception) -> None:
        canceled = isinstance(error, Cancelled)
        self._end("The export was canceled; files already written are kept." if canceled else "")
        show_failure(error)

    def _end(self, outcome: str) -> None:
        self._activity = None
        self._show_outcome(outcome)
        if outcome:
            self.ended.emit()

    def _show_outcome(self, outcome: str) -> None:
        self.outcome.setText(outcome)
        self.outcome.setVisible(bool(outcome))
        self._refresh()

    def _refresh(self) -> None:
        no_session = NO_SESSION if self._controller.session is None else None
        self.export.allow(no_session or ("An export is already running." if self.running else None))
        self.bar.setVisible(self.running)
        self.cancel.setVisible(self.running)


class FormatChoice(QWidget):
    """A list of formats by key, and the options of the chosen one."""

    def __init__(self) -> None:
        super().__init__()
        self.formats = choice((format.title, format.key, format.about) for format in FORMATS.values())
        self.stacks = choice((title, stacks, tip) for stacks, (title, tip) in STACK_WORDS.items())
        self.stacks.setToolTip(wrapped("Which masks share a file."))
        self.with_drafts = _check_box("Include unaccepted drafts", WITH_DRAFTS_TIP)
        self.polygons = _check_box("Use polygons", POLYGONS_TIP)
        self.contact_sheet = _check_box(
            "Add contact sheet", "contact_sheet.png shows all images with their outlines and names."
        )
        self.contact_sheet.setChecked(True)
        self.minimum_size = QSpinBox()
        set_up_number(self.minimum_size, 1, 1, LARGEST_MINIMUM, 1, MINIMUM_TIP)
        self.minimum_size.setPrefix("at least ")
        self.minimum_size.setSuffix(" px")
        self._size_label = QLabel("Objects")
        rows = Rows(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.add(self.formats)
        rows.add(self.with_drafts)
        rows.add(self.stacks)
        rows.add(self._size_label, self.minimum_size, shares=(3, 9))
        rows.add(self.polygons)
        rows.add(self.contact_sheet)
        self.formats.currentIndexChanged.connect(self._show_options)
        self._show_options()

    def format(self) -> Format:
        chosen = self._chosen()
        values = {
            "stacks": self.stacks.currentData(),
            "minimum_size": self.minimum_size.value(),
            "polygons": self.polygons.isChecked(),
            "contact_sheet": self.contact_sheet.isChecked(),
        }
        return chosen(**{field.name: values[field.name] for field in fields(chosen)})

    def include_predicted(self) -> bool:
        """Return whether to include drafts; never for formats that predict themselves."""
        return not self._chosen().predicts and self.with_drafts.isChecked()

    def choose(self, key: str) -> None:
        self.formats.setCurrentIndex(self.formats.findData(key))

    def _chosen(self) -> type[Format]:
        return FORMATS[self.formats.currentData()]

    def _show_options(self) -> None:
        chosen = self._chosen()
        self.formats.setToolTip(wrapped(chosen.about))
        options = {field.name for field in fields(chosen)}
        self.with_drafts.setVisible(not chosen.predicts)
        self._size_label.setVisible("minimum_size" in options)
        for name in ("stacks", "minimum_size", "polygons", "contact_sheet"):
            getattr(self, name).setVisible(name in options)


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


def _check_box(text: str, tip: str) -> QCheckBox:
    box = QCheckBox(text)
    box.setToolTip(wrapped(tip))
    return box
