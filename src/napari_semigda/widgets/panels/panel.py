"""The parts all sections are made of: a heading that folds, and buttons that say why they are gray."""

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtGui import QAction, QIcon, QMouseEvent, QResizeEvent  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QGridLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QWidget,
)
from superqt import QCollapsible, QElidingLabel

from napari_semigda.widgets.keys import Key
from napari_semigda.widgets.panels.names import elided
from napari_semigda.widgets.panels.notices import errors_shown
from napari_semigda.widgets.panels.tips import wrapped

COLUMNS = 12
BAR_HEIGHT = 8
FRAME = 12  # pixels beside the text of a box
UNLIMITED = 16777215  # Qt's own largest height of a widget

HEADING = "text-align: left; border: none; background: transparent; font-weight: bold; padding: 2px"


class Panel(QCollapsible):
    """A titled part of the dock that folds away; its content may grow and shrink as it likes."""

    def __init__(self, title: str, content: QWidget) -> None:
        super().__init__(title, expandedIcon=QIcon(), collapsedIcon=QIcon())  # the arrow is in the text
        self._title, self._note = title, ""
        self.setDuration(0)
        self.toggleButton().setStyleSheet(HEADING)
        self.toggleButton().setMinimumWidth(1)  # else a long note makes the whole dock too wide
        self.setContent(content)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)  # text may wrap
        layout = self.layout()
        assert layout is not None  # QCollapsible has made one
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        self.toggled.connect(self._fit)
        self.expand(animate=False)

    def note(self, words: str) -> None:
        """Say something behind the title, where it costs no room and moves nothing."""
        self._note = words
        self._say(self.isExpanded())

    def _fit(self, expanded: bool) -> None:
        self.content().setMaximumHeight(UNLIMITED if expanded else 0)
        self._say(expanded)

    def _say(self, expanded: bool) -> None:
        heading, metrics = f"{'▾' if expanded else '▸'}  {self._title}", self.toggleButton().fontMetrics()
        name, colon, numbers = self._note.rpartition(": ")
        room = self.width() - metrics.horizontalAdvance(f"{heading}  ({colon}{numbers})") - FRAME
        note = f"  ({elided(name, metrics, room)}{colon}{numbers})" if self._note else ""
        self.setText(heading + note)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Say as much of the note as there is room for."""
        super().resizeEvent(event)
        self._say(self.isExpanded())


class Allowing:
    """What can be used or says why not; to be mixed into a button or an entry of a menu.

    Attributes
    ----------
    why_not : str or None
        The reason why it cannot be used.
    """

    why_not: str | None
    setEnabled: Any  # Qt's, of the class it is mixed into
    setToolTip: Any

    def _explain(self, tip: str) -> None:
        """Say what it is for, and allow it."""
        self._tip = tip
        self.allow()

    def allow(self, why_not: str | None = None) -> None:
        """Allow using it, or forbid it with the reason that people read in the tooltip."""
        self.why_not = why_not
        self.setEnabled(why_not is None)
        self.setToolTip(wrapped(self._tip if why_not is None else why_not))


class Acting(Allowing):
    """An action with its words and its key; to be mixed into a button or an entry of a menu."""

    setText: Any
    too_soon: Callable[[], bool] = staticmethod(lambda: False)
    """Whether a key or a click comes before people can have seen what it is about."""
    _before_key = "  ({})"

    def _prepare(self, text: str, tip: str, action: Callable[[], object], key: Key | None) -> None:
        self._words, self._action, self._key = text, action, key
        self.say()
        self._explain(tip)

    def say(self, text: str | None = None) -> None:
        """Change what it says; without a text only the key is looked up anew."""
        self._words = self._words if text is None else text
        label = "" if self._key is None else self._key.label
        self.setText(self._words + (self._before_key.format(label) if label else ""))

    def _act(self) -> None:
        with errors_shown():
            self._action()


class ActionButton(Acting, QPushButton):
    """A button for one action, which is either allowed or says why not.

    Parameters
    ----------
    text : str
        What it says; the key is added.
    tip : str
        What it does, in a sentence, for the tooltip.
    action : callable
        Called at a click; its errors are shown as notifications.
    key : Key, optional
        The key that does the same.
    """

    def __init__(self, text: str, tip: str, action: Callable[[], object], key: Key | None = None) -> None:
        super().__init__()
        self._prepare(text, tip, action, key)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys to the canvas
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.clicked.connect(self._act)

    def press(self) -> None:
        """Do what a click does."""
        self.click()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Begin a click, unless it comes too soon."""
        if not self.too_soon():
            super().mousePressEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        """Take the second half of a double click for a click of its own only where nothing is at stake."""
        if "too_soon" not in self.__dict__:
            super().mouseDoubleClickEvent(event)


class MenuAction(Acting, QAction):
    """An entry of a menu for one action, which is either allowed or says why not.

    Parameters
    ----------
    menu : QMenu
        The menu it is added to.
    text, tip, action, key
        As for `ActionButton`.
    """

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
        """Do what a click does."""
        self.trigger()


class MenuButton(Allowing, QPushButton):
    """A button that opens a menu.

    Parameters
    ----------
    text : str
        What it says.
    tip : str
        What is in the menu, for the tooltip.
    """

    def __init__(self, text: str, tip: str) -> None:
        super().__init__(text)
        self._explain(tip)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.entries = QMenu(self)
        self.setMenu(self.entries)


def number(
    box: QSpinBox | QDoubleSpinBox, value: float, lowest: float, highest: float, step: float, tip: str
) -> None:
    """Say what a box for a number holds, and what it is for."""
    box.setRange(lowest, highest)  # type: ignore[arg-type]
    box.setSingleStep(step)  # type: ignore[arg-type]
    box.setValue(value)  # type: ignore[arg-type]
    box.setToolTip(wrapped(tip))
    box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)  # napari's take half the box


class ThinBar(QProgressBar):
    """A progress bar that is painted when the window is, not at once: that would paint the canvas, too."""

    def setValue(self, value: int) -> None:
        """Show another value."""
        self.setUpdatesEnabled(False)
        super().setValue(value)
        self.setUpdatesEnabled(True)


def thin_bar(tip: str = "") -> QProgressBar:
    """A progress bar without text."""
    bar = ThinBar()
    bar.setTextVisible(False)
    bar.setFixedHeight(BAR_HEIGHT)
    bar.setToolTip(wrapped(tip))
    return bar


def dialog_buttons(ends_with: QDialogButtonBox.StandardButton) -> QDialogButtonBox:
    """The buttons at the foot of a dialog, without the desktop's icons, which suit no theme of napari."""
    box = QDialogButtonBox(ends_with)
    for button in box.buttons():
        button.setIcon(QIcon())
    return box


def timer(parent: QObject, milliseconds: int, action: Callable[[], object]) -> QTimer:
    """A timer that acts once, so long after it was started last."""
    made = QTimer(parent)
    made.setSingleShot(True)
    made.setInterval(milliseconds)
    made.timeout.connect(action)
    return made


def sentence() -> QLabel:
    """A label for text that may need more than one line."""
    label = QLabel()
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def grow(dialog: QDialog) -> None:
    """Make room for all text of a dialog, of which Qt counts one line where it wraps: else parts overlap."""
    layout = dialog.layout()
    if layout is not None:
        width = max(dialog.width(), layout.minimumSize().width())
        dialog.resize(width, max(dialog.height(), layout.totalHeightForWidth(width)))
    screen = dialog.screen()
    if screen is not None and dialog.isVisible():
        below = dialog.frameGeometry().bottom() - screen.availableGeometry().bottom()
        if below > 0:
            dialog.move(dialog.x(), max(dialog.y() - below, screen.availableGeometry().top()))


def keep_lines(label: QLabel, lines: int) -> None:
    """Keep so many lines free for a label, more where its words need them, whatever the size of letters."""
    label.ensurePolished()  # in the letters of napari's theme
    kept = lines * label.fontMetrics().lineSpacing() + 8
    label.setFixedHeight(max(kept, label.heightForWidth(label.width())))


class Rows(QGridLayout):
    """A tight layout of a section's content: rows whose parts are equally wide."""

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
        """How wide it has to be so that no button or word in it is cut off."""
        needed = [0]
        for place in range(self.count()):
            item = self.itemAt(place)
            part = None if item is None else item.widget()
            if part is not None and not part.isHidden():
                share = self.getItemPosition(place)[3]
                width = _words_width(part) + self.horizontalSpacing()
                needed.append(width * COLUMNS // share - self.horizontalSpacing())
        margins = self.contentsMargins()
        return max(needed) + margins.left() + margins.right()


def _words_width(part: QWidget) -> int:
    """The width of words that can be neither wrapped nor shortened."""
    if isinstance(part, QAbstractSpinBox):
        return part.fontMetrics().horizontalAdvance(part.text()) + FRAME
    fixed = isinstance(part, QLabel) and not (part.wordWrap() or isinstance(part, QElidingLabel))
    return part.sizeHint().width() if fixed or isinstance(part, QAbstractButton) else 0
