"""One filter for all that can be typed, dragged or turned in the dock and its dialogs.

The wheel scrolls the dock and changes nothing that nobody clicked on, and the keys go back to the canvas.
"""

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractSlider, QAbstractSpinBox, QApplication, QComboBox, QScrollBar, QWidget

TURNABLE = (QAbstractSpinBox, QAbstractSlider, QComboBox)  # what Qt changes with the wheel
COMMANDS = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier


class InputGuard(QObject):
    """Watches a widget, all inside of it, and whatever comes into it later, dialogs too.

    Parameters
    ----------
    root : QWidget
        The dock, or a dialog.
    """

    def __init__(self, root: QWidget) -> None:
        super().__init__(root)
        self._root = root
        self._clicked: QObject | None = None
        self._watch(root)

    def _watch(self, widget: QWidget) -> None:
        for one in (widget, *widget.findChildren(QWidget)):
            one.installEventFilter(self)
            if _is_turnable(one) and one.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                one.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Stop what must not happen; everything else is none of our business."""
        if event is None or watched is None:
            return False
        match event.type():
            case QEvent.Type.Wheel:
                return self._stop_wheel(watched, event)
            case QEvent.Type.ChildPolished:  # when it is added, it may not be built yet
                child = event.child()  # type: ignore[attr-defined]
                if isinstance(child, QWidget):
                    self._watch(child)
            case QEvent.Type.MouseButtonPress:
                self._clicked = _turnable_around(watched)
            case QEvent.Type.FocusOut if watched is self._clicked:
                self._clicked = None
            case QEvent.Type.KeyPress:
                return self._hand_over(watched, event)
            case QEvent.Type.Leave if watched is self._root:
                self._give_keys_back()
        return False

    def _stop_wheel(self, watched: QObject, event: QEvent) -> bool:
        """Leave the wheel to what is around, unless the person clicked on this and works with it."""
        if not _is_turnable(watched) or (watched is self._clicked and watched is QApplication.focusWidget()):
            return False
        event.ignore()  # so that Qt offers it to the parents, of which one scrolls
        return True

    def _hand_over(self, watched: QObject, event: QEvent) -> bool:
        """Give letters typed in a box for a number to the canvas, whose keys they are."""
        assert isinstance(event, QKeyEvent)
        if not isinstance(watched, QAbstractSpinBox) or not self._root.isAncestorOf(watched):
            return False
        if not event.text().isalpha() or event.modifiers() & COMMANDS:
            return False
        watched.clearFocus()
        QApplication.sendEvent(self._root, event)
        return True

    def _give_keys_back(self) -> None:
        """Whoever leaves the dock with the mouse is done with its numbers; text may be half typed."""
        focused = QApplication.focusWidget()
        if isinstance(focused, TURNABLE) and self._root.isAncestorOf(focused):
            focused.clearFocus()


def _turnable_around(widget: QObject) -> QObject | None:
    """What is turned where a widget was clicked on: the box around a line, for example."""
    found: QObject | None = widget
    while found is not None and not _is_turnable(found):
        found = found.parent()
    return found


def _is_turnable(widget: QObject) -> bool:
    return isinstance(widget, TURNABLE) and not isinstance(widget, QScrollBar)
