"""A small window with all keys."""

from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QVBoxLayout, QWidget

from napari_semigda.widgets.keys import Key, complaints
from napari_semigda.widgets.section import dialog_buttons

OF_NAPARI = {
    "2 or P, 1 or E": "Brush, eraser (click and drag)",
    "4 or F": "Fill what is clicked on",
    "3": "Polygon: click its corners, double-click at the end",
    "[ and ]": "Smaller and larger brush",
    "Ctrl+Z, Ctrl+Shift+Z": "Undo, redo",
    "Space": "Move the image while held",
}
ELSEWHERE = "Other keys can be chosen in <i>File › Preferences › SemiGDA</i>."


class KeysWindow(QDialog):
    """Lists what each key does, of the plugin and of napari's label layers."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys of SemiGDA")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.words = QLabel(_table())
        self.words.setTextFormat(Qt.TextFormat.RichText)
        buttons = dialog_buttons(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        layout = QVBoxLayout(self)
        layout.addWidget(self.words)
        layout.addWidget(buttons)


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
