"""A line for a path, with a button to look for it; and what a path that is half typed means so far."""

import os
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QToolButton, QWidget

from napari_semigda.errors import SemiGDAError
from napari_semigda.session.trained_model import TrainedModel
from napari_semigda.widgets.panels.tips import wrapped


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

    def path(self) -> Path:
        """What is written, with ``~`` as the person's own folder; it may be anything yet."""
        return Path(os.path.expanduser(self.text()))

    def set_text(self, text: str) -> None:
        """Write another path."""
        self.line.setText(text)

    def _browse(self) -> None:
        start = str(self.path()) if self.text() else str(self._start)
        if self._for_folders:
            path = QFileDialog.getExistingDirectory(self, self._title, start)
        else:
            path, _ = QFileDialog.getOpenFileName(self, self._title, start)
        if path:
            self.line.setText(path)
            self.line.textEdited.emit(path)


def why_not_whole(path: Path, what: str) -> str | None:
    """Say why a path could mean one place or another; None where it cannot."""
    if path.is_absolute():
        return None
    return f"Write the whole path of {what}, such as {Path.home() / path.name}, or choose it with “…”."


def model_at(line: PathLine) -> tuple[TrainedModel | None, str | None]:
    """Find the model that is written in a line, or say why there is none; neither where nothing is."""
    if not line.text():
        return None, None
    path = line.path()
    if (why_not := why_not_whole(path, "the model")) is not None:
        return None, why_not
    try:
        return TrainedModel.find(path), None
    except SemiGDAError as error:
        return None, str(error)
    except (OSError, RuntimeError, ValueError) as error:  # half of a path can be all that is wrong with paths
        return None, f"“{path}” cannot be read: {error}."
