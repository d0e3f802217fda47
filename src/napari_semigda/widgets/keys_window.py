"""A small window with all keys."""

from html import escape

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QDialog, QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_semigda.widgets.keys import Key, complaints
from napari_semigda.widgets.panels.parts import dialog_buttons

OF_NAPARI = {
    "2 or P, 1 or E": "Brush, eraser (click and drag)",
    "4 or F": "Fill what is clicked on",
    "3": "Polygon: click its corners, double-click at the end",
    "[ and ]": "Smaller and larger brush",
    "Ctrl+Z, Ctrl+Shift+Z": "Undo, redo",
    "Space": "Move the image while held",
}
MARGIN = 48  # pixels around the words, and around the window with its frame
ELSEWHERE = "Other keys can be chosen in <i>File › Preferences › SemiGDA</i>."


class KeysWindow(QDialog):
    """Lists what each key does, of the plugin and of napari's label layers."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys of SemiGDA")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.words = QLabel(_table())
        self.words.setTextFormat(Qt.TextFormat.RichText)
        buttons = dialog_buttons(self, ends_with="Close")
        area = QScrollArea()  # a small screen, or a large scaling, cannot hold them all
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setWidget(self.words)
        layout = QVBoxLayout(self)
        layout.addWidget(area)
        layout.addWidget(buttons)
        self.resize(self._fitting_size(buttons.sizeHint().height()))

    def _fitting_size(self, below: int) -> QSize:
        """As large as the words, with what stands below them, or as the screen."""
        self.words.ensurePolished()  # in the letters of napari's theme, not of the desktop
        needed, screen = self.words.sizeHint(), self.screen()
        size = QSize(needed.width() + MARGIN, needed.height() + below + MARGIN)
        return size if screen is None else size.boundedTo(screen.availableSize() - QSize(MARGIN, MARGIN))


def show_keys(parent: QWidget) -> KeysWindow:
    """Show the window beside the work, or bring the one that is open to the front."""
    window: KeysWindow = parent.findChild(KeysWindow) or KeysWindow(parent)
    window.show()
    window.raise_()
    return window


def _table() -> str:
    rows = [(key.label, key.words) for key in Key if key.label]
    text = "".join(_row(*row) for row in rows)
    text += "<tr><td colspan=2><br><b>Of napari, in the mask</b></td></tr>"
    text += "".join(_row(*row) for row in OF_NAPARI.items())
    notes = "".join(f"<br>{escape(words)}" for words in complaints())
    return f"<table cellpadding=2>{text}</table><p>{ELSEWHERE}{notes}</p>"


def _row(key: str, words: str) -> str:
    return f"<tr><td><b>{escape(key)}</b>&nbsp;&nbsp;</td><td>{escape(words)}</td></tr>"
