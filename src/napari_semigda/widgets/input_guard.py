"""Wheel and keys in the dock and its dialogs.

The wheel scrolls, and changes only a box that was clicked; keys return to the canvas.
"""

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractSlider, QAbstractSpinBox, QApplication, QComboBox, QScrollBar, QWidget

BOXES = (QAbstractSpinBox, QAbstractSlider, QComboBox)  # what Qt changes with the wheel
COMMANDS = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier


class InputGuard(QObject):
    """Watches a widget and all its children, also those added later."""

    def __init__(self, root: QWidget) -> None:
        super().__init__(root)
        self._root = root
        self._clicked: QObject | None = None
        self._watch(root)

    def _watch(self, widget: QWidget) -> None:
        for one in (widget, *widget.findChildren(QWidget)):
            one.installEventFilter(self)
            if _is_box(one) and one.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                one.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Stop the wheel and keys where they should act elsewhere."""
        if event is None or watched is None:
            return False
        match event.type():
            case QEvent.Type.Wheel:
                return self._stop_wheel(watched, event)
            case QEvent.Type.ChildPolished:  # when it is added it may not be complete
                child = event.child()  # type: ignore[attr-defined]
                if isinstance(child, QWidget):
                    self._watch(child)
            case QEvent.Type.MouseButtonPress:
                self._clicked = _box_around(watched)
            case QEvent.Type.FocusOut if watched is self._clicked:
                self._clicked = None
            case QEvent.Type.KeyPress:
                return self._pass_on(watched, event)
            case QEvent.Type.Leave if watched is self._root:
                self._return_focus()
        return False

    def _stop_wheel(self, watched: QObject, event: QEvent) -> bool:
        """Leave the wheel to the parent, unless the user clicked on this box and it has the focus."""
        if not _is_box(watched) or (watched is self._clicked and watched is QApplication.focusWidget()):
            return False
        event.ignore()  # so that Qt passes it to the parents, of which one scrolls
        return True

    def _pass_on(self, watched: QObject, event: QEvent) -> bool:
        """Pass letters typed in a number box to the canvas."""
        assert isinstance(event, QKeyEvent)
        if not isinstance(watched, QAbstractSpinBox) or not self._root.isAncestorOf(watched):
            return False
        if not event.text().isalpha() or event.modifiers() & COMMANDS:
            return False
        watched.clearFocus()
        QApplication.sendEvent(self._root, event)
        return True

    def _return_focus(self) -> None:
        """Return the focus when the mouse leaves the dock; text may be half typed, so lines keep it."""
        focused = QApplication.focusWidget()
        if isinstance(focused, BOXES) and self._root.isAncestorOf(focused):
            focused.clearFocus()


def _box_around(widget: QObject) -> QObject | None:
    """The box that a clicked widget is part of."""
    found: QObject | None = widget
    while found is not None and not _is_box(found):
        found = found.parent()
    return found


def _is_box(widget: QObject) -> bool:
    return isinstance(widget, BOXES) and not isinstance(widget, QScrollBar)
