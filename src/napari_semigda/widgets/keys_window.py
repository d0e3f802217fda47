"""A small window that lists all keys."""

from html import escape

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QDialog, QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_semigda.widgets.keys import Key, complaints
from napari_semigda.widgets.panels.parts import dialog_buttons

OF_NAPARI = {
    "2 or P, 1 or E": "Brush, eraser (click and drag)",
    "4 or F": "Fill the clicked area",
    "3": "Polygon: click its corners, double-click to finish",
    "[ and ]": "Smaller and larger brush",
    "Ctrl+Z, Ctrl+Shift+Z": "Undo, redo",
    "Space": "Pan the image while held",
}
MARGIN = 48  # pixels around the text, and around the window with its frame
ELSEWHERE = "You can change keys in <i>File › Preferences › SemiGDA</i>."


class KeysWindow(QDialog):
    """Lists the keys of the plugin and of napari's label layers."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("SemiGDA keys")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.words = QLabel(_table())
        self.words.setTextFormat(Qt.TextFormat.RichText)
        buttons = dialog_buttons(self, ends_with="Close")
        area = QScrollArea()  # they may not fit on a small screen
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setWidget(self.words)
        layout = QVBoxLayout(self)
        layout.addWidget(area)
        layout.addWidget(buttons)
        self.resize(self._fitting_size(buttons.sizeHint().height()))

    def _fitting_size(self, below: int) -> QSize:
        """As large as the text with the button below, but no larger than the screen."""
        self.words.ensurePolished()  # in the font of napari's theme, not the desktop's
        needed, screen = self.words.sizeHint(), self.screen()
        size = QSize(needed.width() + MARGIN, needed.height() + below + MARGIN)
        return size if screen is None else size.boundedTo(screen.availableSize() - QSize(MARGIN, MARGIN))


def show_keys(parent: QWidget) -> KeysWindow:
    """Show the window, or bring the open one to the front."""
    window: KeysWindow = parent.findChild(KeysWindow) or KeysWindow(parent)
    window.show()
    window.raise_()
    return window


def _table() -> str:
    rows = [(key.label, key.meaning) for key in Key if key.label]
    text = "".join(_row(*row) for row in rows)
    text += "<tr><td colspan=2><br><b>napari's keys for painting</b></td></tr>"
    text += "".join(_row(*row) for row in OF_NAPARI.items())
    notes = "".join(f"<br>{escape(words)}" for words in complaints())
    return f"<table cellpadding=2>{text}</table><p>{ELSEWHERE}{notes}</p>"


def _row(key: str, words: str) -> str:
    return f"<tr><td><b>{escape(key)}</b>&nbsp;&nbsp;</td><td>{escape(words)}</td></tr>"
