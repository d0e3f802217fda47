"""A line for a path, with a button to look for it."""

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QToolButton, QWidget

from napari_semigda.widgets.tips import wrapped


class PathLine(QWidget):
    """A line for a path, and a button to look for it."""

    def __init__(self, title: str, *, for_folders: bool, start: Path) -> None:
        super().__init__()
        self._title, self._for_folders, self._start = title, for_folders, start
        self.line = QLineEdit()
        self.changed_to = self.line.textChanged
        button = QToolButton()
        button.setText("…")
        button.setToolTip(wrapped(f"Choose: {title.lower()}."))
        button.clicked.connect(self._browse)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line)
        layout.addWidget(button)

    def text(self) -> str:
        """The path as written."""
        return str(self.line.text().strip())

    def set_text(self, text: str) -> None:
        """Write another path."""
        self.line.setText(text)

    def _browse(self) -> None:
        start = self.text() or str(self._start)
        if self._for_folders:
            path = QFileDialog.getExistingDirectory(self, self._title, start)
        else:
            path, _ = QFileDialog.getOpenFileName(self, self._title, start)
        if path:
            self.line.setText(path)
            self.line.textEdited.emit(path)
