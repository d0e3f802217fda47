"""Panel 6: the masks of the session, in files of other programs."""

from pathlib import Path

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QWidget

from napari_semigda.session.export import Existing, Export
from napari_semigda.widgets.controller import Controller
from napari_semigda.widgets.exporter import Exporter
from napari_semigda.widgets.panels.format_choice import FormatChoice
from napari_semigda.widgets.panels.parts import (
    ActionButton,
    PathLine,
    Rows,
    ThinBar,
    ask,
    wrapped,
    wrapping_label,
)
from napari_semigda.widgets.panels.status import NO_SESSION

ONLY_NEW, OVERWRITE = "Only missing or changed", "Overwrite"
NAMED = 3  # files in the way that are named; the others are counted


class ExportPanel(QWidget):
    """Where to, what of, how far.

    Attributes
    ----------
    ended : Signal
        Emitted when there is something to say of an export that has ended.
    """

    ended = Signal()

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.exporter = Exporter(self)
        self.folder = PathLine("Export to", for_folders=True, start=Path.home())
        self.folder.line.setToolTip(
            wrapped("Folder the files are written to; it is made if it is not there.")
        )
        self.choice = FormatChoice()
        self.export = ActionButton(
            "Export", "Write the files, in the sub-folders of the images; pixel sizes are kept.", self._export
        )
        self.cancel = ActionButton("Cancel", "Stop; what is written stays.", self.exporter.cancel)
        self.bar = ThinBar()
        self.outcome = wrapping_label()
        self._lay_out()
        self.exporter.changed.connect(self._refresh)
        controller.opened.connect(self._on_opened)
        controller.closed.connect(self._refresh)
        controller.closed.connect(self.exporter.cancel)
        self._refresh()

    def _lay_out(self) -> None:
        rows = Rows(self)
        rows.add(self.choice)
        rows.add(self.folder)
        rows.add(self.bar, self.cancel, shares=(8, 4))
        rows.add(self.outcome)

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
        there = export.existing()
        existing = self._asked(folder, there) if there else Existing.REFUSE
        if existing is not None:
            self.exporter.start(export, folder, existing, device=str(runner.engine.device))

    def _asked(self, folder: Path, there: list[Path]) -> Existing | None:
        """Ask what to do about files in the way; None is nothing at all."""
        named = ", ".join(path.name for path in there[:NAMED]) + (", …" if len(there) > NAMED else "")
        one = len(there) == 1
        answer = ask(
            self,
            "Export",
            f"{'A file is' if one else f'{len(there)} files are'} there already in\n{folder}\n\n{named}",
            (ONLY_NEW, OVERWRITE),
            more="Overwrite them, or write only what is missing or changed since they were exported?",
            by_enter=ONLY_NEW,
        )
        return {ONLY_NEW: Existing.UPDATE, OVERWRITE: Existing.OVERWRITE}.get(answer or "")

    def _refresh(self) -> None:
        running = self.exporter.running
        no_session = NO_SESSION if self._controller.session is None else None
        self.export.allow(no_session or ("An export is running." if running else None))
        for part in (self.bar, self.cancel):
            part.setVisible(running)
        self.bar.setMaximum(self.exporter.total)
        self.bar.setValue(self.exporter.done)
        self.outcome.setText(self.exporter.outcome)
        self.outcome.setVisible(bool(self.exporter.outcome))
        if self.exporter.outcome and not running:
            self.ended.emit()
