"""The parts that panels and dialogs share: headings, buttons with reasons, questions, rows."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error
from psygnal import EmitLoopError
from qtpy.QtCore import QObject, QSize, Qt, QTimer
from qtpy.QtGui import (  # type: ignore[attr-defined]
    QAction,
    QFontMetrics,
    QIcon,
    QMouseEvent,
    QResizeEvent,
)
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QToolButton,
    QWidget,
)
from superqt import QCollapsible, QElidingLabel

from napari_semigda.errors import Cancelled, user_message
from napari_semigda.widgets.keys import Key

CANCEL = "Cancel"
COLUMNS = 12
BAR_HEIGHT = 8
FRAME = 12  # pixels beside the text of a box
UNLIMITED = 16777215  # Qt's own largest height of a widget
HEADING = "text-align: left; border: none; background: transparent; font-weight: bold; padding: 2px"

_NUMBER = re.compile(r"[\W_]?[^\W\d_]?\d+\D{0,8}$")
"""The last number of a name, with what stands right before it, and what follows, such as an ending."""


# Errors and questions -----------------------------------------------------------------------------------


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show an error raised inside as a notification (see `show_failure`), and continue."""
    try:
        yield
    except Exception as error:
        show_failure(error)


def show_failure(error: BaseException) -> None:
    """Show one error as a notification; `Cancelled` passes in silence, and what is unexpected is logged."""
    while isinstance(error, EmitLoopError) and error.__cause__ is not None:
        error = error.__cause__  # what a signal's listener raised
    if not isinstance(error, Cancelled):
        show_error(user_message(error))


def ask(
    parent: QWidget, title: str, words: str, answers: Sequence[str], *, more: str = "", by_enter: str = CANCEL
) -> str | None:
    """Ask a question with a verb on every button; None if it was canceled or closed.

    `more` is shown in smaller letters on some desktops, *Cancel* is added to the answers, and Enter gives
    the answer `by_enter`.
    """
    question = QMessageBox(QMessageBox.Icon.Question, title, words, parent=parent)
    question.setInformativeText(more)
    buttons = {text: QPushButton(text) for text in (*answers, CANCEL)}
    for text, button in buttons.items():
        rejects = QMessageBox.ButtonRole.RejectRole
        question.addButton(button, rejects if text == CANCEL else QMessageBox.ButtonRole.AcceptRole)
        button.setIcon(QIcon())  # the desktop's icons suit no theme of napari
    question.setDefaultButton(buttons[by_enter])
    question.setEscapeButton(buttons[CANCEL])
    question.exec()
    clicked = question.clickedButton()
    question.deleteLater()
    return next((text for text in answers if buttons[text] is clicked), None)


# Words that have to fit ---------------------------------------------------------------------------------


def wrapped(words: str) -> str:
    """Words as rich text, for a tooltip: Qt breaks the lines of no other, and long ones leave the screen."""
    lines = escape(words, quote=False).replace("\n", "<br>")
    return f"<qt>{lines}</qt>" if words else ""


def elided(name: str, metrics: QFontMetrics, width: int) -> str:
    """Shorten a name to a width in pixels, and keep the number at its end, which tells images apart."""
    if metrics.horizontalAdvance(name) <= width:
        return name
    number = _NUMBER.search(name)
    tail = "" if number is None else name[number.start() :]
    room = width - metrics.horizontalAdvance(tail)
    if not tail or room < metrics.horizontalAdvance("m…"):
        return metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, width)
    return metrics.elidedText(name[: -len(tail)], Qt.TextElideMode.ElideRight, room) + tail


class NameLabel(QLabel):
    """A label for a name, elided where there is no room for it; `text` is the whole name."""

    def __init__(self) -> None:
        super().__init__()
        self._name = ""

    def text(self) -> str:
        return self._name

    def setText(self, name: str | None) -> None:
        self._name = name or ""
        self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._fit()

    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())

    def _fit(self) -> None:
        super().setText(elided(self._name, self.fontMetrics(), self.width()))


def wrapping_label(text: str = "") -> QLabel:
    """Return a label for text that may need more than one line."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def reserve_lines(label: QLabel, lines: int) -> None:
    """Reserve a number of lines for a label, more where its text needs them."""
    label.ensurePolished()  # in the font of napari's theme
    label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    label.setAlignment(Qt.AlignmentFlag.AlignTop)
    reserved = lines * label.fontMetrics().lineSpacing() + 8
    label.setFixedHeight(max(reserved, label.heightForWidth(label.width())))


def fit_to_text(dialog: QDialog) -> None:
    """Make room for all text of a dialog; Qt counts one line where it wraps, so that parts overlap."""
    layout = dialog.layout()
    if layout is not None:
        width = max(dialog.width(), layout.minimumSize().width())
        dialog.resize(width, max(dialog.height(), layout.totalHeightForWidth(width)))
    screen = dialog.screen()
    if screen is not None and dialog.isVisible():
        below = dialog.frameGeometry().bottom() - screen.availableGeometry().bottom()
        if below > 0:
            dialog.move(dialog.x(), max(dialog.y() - below, screen.availableGeometry().top()))


# Headings, buttons, boxes -------------------------------------------------------------------------------


class Panel(QCollapsible):
    """A titled part of the dock that collapses; its content may grow and shrink."""

    def __init__(self, title: str, content: QWidget) -> None:
        super().__init__(title, expandedIcon=QIcon(), collapsedIcon=QIcon())  # the arrow is in the text
        self._title, self._note = title, ""
        self.setDuration(0)
        self.toggleButton().setStyleSheet(HEADING)
        self.toggleButton().setMinimumWidth(1)  # else a long note makes the whole dock too wide
        self.setContent(content)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)  # text may wrap
        layout = self.layout()
        assert layout is not None  # QCollapsible has created one
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        self.toggled.connect(self._fit)
        self.expand(animate=False)

    def note(self, words: str) -> None:
        self._note = words
        self._show_heading()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._show_heading()

    def _fit(self, expanded: bool) -> None:
        self.content().setMaximumHeight(UNLIMITED if expanded else 0)
        self._show_heading()

    def _show_heading(self) -> None:
        heading = f"{'▾' if self.isExpanded() else '▸'}  {self._title}"
        metrics = self.toggleButton().fontMetrics()
        name, colon, numbers = self._note.rpartition(": ")
        room = self.width() - metrics.horizontalAdvance(f"{heading}  ({colon}{numbers})") - FRAME
        note = f"  ({elided(name, metrics, room)}{colon}{numbers})" if self._note else ""
        self.setText(heading + note)


class Acting:
    """Mixed into a button or menu entry: its label and key, and its tooltip, or why it is disabled."""

    why_not: str | None
    setEnabled: Any  # Qt's, of the class it is mixed into
    setText: Any
    setToolTip: Any
    too_soon: Callable[[], bool] = staticmethod(lambda: False)
    """Whether a key or a click comes before people can have seen what it is about."""
    _before_key = "  ({})"

    def _prepare(self, text: str, tip: str, action: Callable[[], object], key: Key | None) -> None:
        self._words, self._tip, self._action, self.key = text, tip, action, key
        self.say()
        self.allow()

    def allow(self, why_not: str | None = None) -> None:
        self.why_not = why_not
        self.setEnabled(why_not is None)
        self.setToolTip(wrapped(self._tip if why_not is None else why_not))

    def say(self, text: str | None = None) -> None:
        """Change the label; without a text only look up the key again."""
        self._words = self._words if text is None else text
        label = "" if self.key is None else self.key.label
        words = self._words.replace("&", "&&")  # Qt takes one for an underlined letter
        self.setText(words + (self._before_key.format(label) if label else ""))

    def _act(self) -> None:
        with errors_shown():
            self._action()


class ActionButton(Acting, QPushButton):
    """A button for one action; the key is added to its text, errors are shown as notifications."""

    def __init__(self, text: str, tip: str, action: Callable[[], object], key: Key | None = None) -> None:
        super().__init__()
        self._prepare(text, tip, action, key)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys to the canvas
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.clicked.connect(self._act)

    def press(self) -> None:
        self.click()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        if not self.too_soon():
            super().mousePressEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        """Treat the second half of a double click as a click only where nothing is at stake."""
        if "too_soon" not in self.__dict__:
            super().mouseDoubleClickEvent(event)


class MenuAction(Acting, QAction):
    """An entry of a menu for one action; parameters as for `ActionButton`."""

    _before_key = "\t{}"  # Qt sets it at the right edge

    def __init__(
        self, menu: QMenu, text: str, tip: str, action: Callable[[], object], key: Key | None = None
    ) -> None:
        super().__init__(menu)
        self._prepare(text, tip, action, key)
        menu.setToolTipsVisible(True)
        menu.addAction(self)
        self.triggered.connect(self._act)

    def press(self) -> None:
        self.trigger()


class MenuButton(ActionButton):
    """A button that opens the menu `entries`."""

    def __init__(self, text: str, tip: str) -> None:
        super().__init__(text, tip, lambda: None)
        self.entries = QMenu(self)
        self.setMenu(self.entries)


class PathLine(QWidget):
    """A line for a path, with a button to browse."""

    def __init__(self, title: str, *, for_folders: bool, start: Path) -> None:
        super().__init__()
        self._title, self._for_folders, self._start = title, for_folders, start
        self.line = QLineEdit()
        self.text_changed = self.line.textChanged
        button = QToolButton()
        button.setText("…")
        button.setToolTip(wrapped(f"Browse for the {title[0].lower()}{title[1:]}."))
        button.clicked.connect(self._browse)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line)
        layout.addWidget(button)

    def text(self) -> str:
        return str(self.line.text().strip())

    def path(self) -> Path:
        """Return the path with ``~`` expanded; it may be half typed."""
        return Path(os.path.expanduser(self.text()))

    def set_text(self, text: str) -> None:
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


class ThinBar(QProgressBar):
    """A progress bar without text; it is painted with the window, for at once would paint the canvas, too."""

    def __init__(self, tip: str = "") -> None:
        super().__init__()
        self.setTextVisible(False)
        self.setFixedHeight(BAR_HEIGHT)
        self.setToolTip(wrapped(tip))

    def setValue(self, value: int) -> None:
        self.setUpdatesEnabled(False)
        super().setValue(value)
        self.setUpdatesEnabled(True)


def set_up_number(
    box: QSpinBox | QDoubleSpinBox, value: float, lowest: float, highest: float, step: float, tip: str
) -> None:
    """Set the value, range, step and tooltip of a box for a number."""
    box.setRange(lowest, highest)  # type: ignore[arg-type]
    box.setSingleStep(step)  # type: ignore[arg-type]
    box.setValue(value)  # type: ignore[arg-type]
    box.setToolTip(wrapped(tip))
    box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)  # napari's take half the box


def choice(entries: Iterable[tuple[str, Any, str]]) -> QComboBox:
    """Return a box to choose from entries, each a text, its data and a tooltip."""
    box = QComboBox()
    box.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys to the canvas
    for index, (text, data, tip) in enumerate(entries):
        box.addItem(text, data)
        box.setItemData(index, wrapped(tip), Qt.ItemDataRole.ToolTipRole)
    return box


def dialog_buttons(
    dialog: QDialog, accepts: QPushButton | None = None, *, ends_with: str = CANCEL
) -> QDialogButtonBox:
    """Return the buttons at the foot of a dialog: one that accepts, and *Cancel* or *Close*."""
    box = QDialogButtonBox(QDialogButtonBox.StandardButton[ends_with])
    for button in box.buttons():
        button.setIcon(QIcon())  # the desktop's icons suit no theme of napari
    if accepts is not None:
        box.addButton(accepts, QDialogButtonBox.ButtonRole.AcceptRole)
    box.accepted.connect(dialog.accept)
    box.rejected.connect(dialog.reject)
    return box


def timer(parent: QObject, milliseconds: int, action: Callable[[], object]) -> QTimer:
    """Return a timer that acts once, a while after it was last started."""
    made = QTimer(parent)
    made.setSingleShot(True)
    made.setInterval(milliseconds)
    made.timeout.connect(action)
    return made


class Rows(QGridLayout):
    """A tight layout of a panel's content: rows whose parts are equally wide."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self.setContentsMargins(6, 2, 2, 4)
        self.setSpacing(4)
        for column in range(COLUMNS):
            self.setColumnStretch(column, 1)

    def add(self, *parts: QWidget, shares: Sequence[int] = ()) -> None:
        """Add a row of parts: equally wide, or with these shares of `COLUMNS`."""
        row, column = self.rowCount(), 0
        for part, share in zip(parts, shares or [COLUMNS // len(parts)] * len(parts), strict=True):
            part.setMinimumWidth(1)  # all columns stay alike, whatever the texts
            self.addWidget(part, row, column, 1, share)
            column += share

    def needed_width(self) -> int:
        """Return the width at which no button or label is cut off."""
        needed = [0]
        for index in range(self.count()):
            item = self.itemAt(index)
            part = None if item is None else item.widget()
            if part is not None and not part.isHidden():
                share = self.getItemPosition(index)[3]
                width = _text_width(part) + self.horizontalSpacing()
                needed.append(width * COLUMNS // share - self.horizontalSpacing())
        margins = self.contentsMargins()
        return max(needed) + margins.left() + margins.right()


def _text_width(part: QWidget) -> int:
    """Width of text that can be neither wrapped nor elided."""
    if isinstance(part, QAbstractSpinBox):
        return part.fontMetrics().horizontalAdvance(part.text()) + FRAME
    fixed = isinstance(part, QLabel) and not (part.wordWrap() or isinstance(part, QElidingLabel))
    return part.sizeHint().width() if fixed or isinstance(part, QAbstractButton) else 0
