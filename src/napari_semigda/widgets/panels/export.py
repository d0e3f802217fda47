"""Panel 6: export the masks of the session for other programs."""

from dataclasses import fields
from pathlib import Path

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QCheckBox, QLabel, QSpinBox, QWidget

from napari_semigda.session.export import Existing, Export
from napari_semigda.session.exporting.formats import FORMATS, Format
from napari_semigda.widgets.controller import NO_SESSION, Controller
from napari_semigda.widgets.exporter import Exporter
from napari_semigda.widgets.panels.parts import (
    ActionButton,
    PathLine,
    Rows,
    ThinBar,
    ask,
    choice,
    set_up_number,
    wrapped,
    wrapping_label,
)

ONLY_NEW, OVERWRITE = "Write missing or changed", "Overwrite all"
NAMED = 3  # existing files that are named; the others are counted
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

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.exporter = Exporter(self)
        self.folder = PathLine("Export folder", for_folders=True, start=Path.home())
        self.folder.line.setToolTip(wrapped("Where files are written; the folder is created if needed."))
        self.choice = FormatChoice()
        self.export = ActionButton(
            "Export", "Write the files, in the subfolders of the images; pixel sizes are kept.", self._export
        )
        self.cancel = ActionButton("Cancel", "Stop; files already written are kept.", self.exporter.cancel)
        self.bar = ThinBar()
        self.outcome = wrapping_label()
        rows = Rows(self)
        rows.add(self.choice)
        rows.add(self.folder)
        rows.add(self.bar, self.cancel, shares=(8, 4))
        rows.add(self.outcome)
        self.exporter.changed.connect(self._refresh)
        controller.opened.connect(self._on_opened)
        controller.closed.connect(self._refresh)
        controller.closed.connect(self.exporter.cancel)
        self._refresh()

    def _on_opened(self) -> None:
        assert self._controller.session is not None
        self.folder.set_text(str(self._controller.session.folder / "export"))
        self.exporter.forget()

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
            self.exporter.start(export, folder, existing, device=str(runner.engine.device))

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

    def _refresh(self) -> None:
        running = self.exporter.running
        no_session = NO_SESSION if self._controller.session is None else None
        self.export.allow(no_session or ("An export is already running." if running else None))
        self.bar.setVisible(running)
        self.cancel.setVisible(running)
        self.bar.setMaximum(self.exporter.total)
        self.bar.setValue(self.exporter.done)
        self.outcome.setText(self.exporter.outcome)
        self.outcome.setVisible(bool(self.exporter.outcome))
        if self.exporter.outcome and not running:
            self.ended.emit()


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
        """Return the chosen format with its options."""
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
        """Choose the format with this key."""
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


def _check_box(text: str, tip: str) -> QCheckBox:
    box = QCheckBox(text)
    box.setToolTip(wrapped(tip))
    return box
