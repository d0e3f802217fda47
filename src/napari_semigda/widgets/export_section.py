"""Section 6: one TIFF an image, accepted masks and, if asked for, drafts."""

from pathlib import Path

from qtpy.QtWidgets import QCheckBox, QMessageBox, QWidget

from napari_semigda.widgets.exporter import Exporter
from napari_semigda.widgets.image_section import NO_SESSION
from napari_semigda.widgets.path_line import PathLine
from napari_semigda.widgets.section import ActionButton, Rows, sentence, thin_bar
from napari_semigda.widgets.workbench import Workbench


class ExportSection(QWidget):
    """Where to, what of, how far."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._workbench = workbench
        self.exporter = Exporter(self)
        self.folder = PathLine("Export to", for_folders=True, start=Path.home())
        self.folder.line.setToolTip("Folder the masks are written to; it is made if it is not there.")
        self.with_drafts = QCheckBox("Also drafts that nobody accepted")
        self.with_drafts.setToolTip(
            "Write the drafts of images that are not accepted, too, and fill in with drafts what was marked "
            "as not looked at. Otherwise only accepted masks are written."
        )
        self.export = ActionButton(
            "Export masks", "Write one TIFF an image; the image's pixel size is kept.", self._export
        )
        self.cancel = ActionButton("Cancel", "Stop; what is written stays.", self.exporter.cancel)
        self.bar = thin_bar()
        self.outcome = sentence()
        self._lay_out()
        self.exporter.changed.connect(self._refresh)
        workbench.opened.connect(self._on_opened)
        workbench.closed.connect(self._refresh)
        workbench.closed.connect(self.exporter.cancel)
        self._refresh()

    def _lay_out(self) -> None:
        rows = Rows(self)
        rows.add(self.folder)
        rows.add(self.with_drafts)
        rows.add(self.export, self.cancel)
        rows.add(self.bar)
        rows.add(self.outcome)

    def _on_opened(self) -> None:
        assert self._workbench.session is not None
        self.folder.set_text(str(self._workbench.session.folder / "export"))
        self.exporter.forget()

    def _export(self) -> None:
        session = self._workbench.session
        if session is None:
            return
        if self._workbench.annotation is not None:
            self._workbench.annotation.keep()
        folder = Path(self.folder.text())
        overwrite = folder.is_dir() and any(folder.glob("**/*_mask.tif"))
        if overwrite and not self._may_overwrite(folder):
            return
        self.exporter.start(session, folder, with_drafts=self.with_drafts.isChecked(), overwrite=overwrite)

    def _may_overwrite(self, folder: Path) -> bool:
        answer = QMessageBox.question(
            self, "Export masks", f"There are masks in\n{folder}\nalready. Overwrite those of this session?"
        )
        return bool(answer == QMessageBox.StandardButton.Yes)

    def _refresh(self) -> None:
        running = self.exporter.running
        no_session = NO_SESSION if self._workbench.session is None else None
        self.export.allow(no_session or ("An export is running." if running else None))
        self.cancel.allow(None if running else "No export is running.")
        self.bar.setVisible(running)
        self.bar.setMaximum(self.exporter.total)
        self.bar.setValue(self.exporter.done)
        self.outcome.setText(self.exporter.outcome)
        self.outcome.setVisible(bool(self.exporter.outcome))
