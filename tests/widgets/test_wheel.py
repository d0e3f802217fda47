"""The wheel scrolls, and turns only what was clicked on; the keys stay with the canvas."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QScrollBar,
    QSpinBox,
    QWidget,
)

from napari_semigda.widgets.menus import SegmentDialog
from napari_semigda.widgets.panels.new_session import NewSessionDialog
from tests.widgets.conftest import TITLE


@pytest.fixture
def dock_on_screen(make_napari_viewer, make_trained, qtbot):
    """The dock in a window that is on the screen, with everything in it unfolded."""
    viewer = make_napari_viewer(show=True)
    _, widget = viewer.window.add_plugin_dock_widget("napari-semigda", TITLE)
    widget.controller.adopt(make_trained(classes=("lesion", "vessel")))
    for section in widget.sections.values():
        section.expand(animate=False)
    window = widget.window()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    yield widget
    widget.close_down()


def turn(widget, steps=-1):
    """Turn the wheel over a widget; returns whether it kept the event, or left it to what is around."""
    middle = QPointF(widget.rect().center())
    event = QWheelEvent(
        middle,
        widget.mapToGlobal(middle),
        QPoint(0, 0),
        QPoint(0, 120 * steps),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)
    return event.isAccepted()


def turnable(widget):
    """Whatever a wheel could change inside a widget, with the lines and labels in it."""
    kinds = (QAbstractSpinBox, QAbstractSlider, QComboBox)
    parts = [one for one in widget.findChildren(QWidget) if isinstance(one, kinds)]
    return [one for one in parts if not isinstance(one, QScrollBar)]


def value(part):
    return part.currentIndex() if isinstance(part, QComboBox) else part.value()


def assert_the_wheel_changes_nothing(widget):
    parts = turnable(widget)
    before = [value(part) for part in parts]
    for part in parts:
        part.setEnabled(True)
        for over in (part, *part.findChildren(QLineEdit)):
            kept = [turn(over, steps) for steps in (1, -1, -1)]
            assert not any(kept), over
    assert [value(part) for part in parts] == before
    return parts


def test_nothing_in_the_dock_is_changed_by_scrolling(dock_on_screen):
    item = dock_on_screen.controller.annotation.item
    assert len(assert_the_wheel_changes_nothing(dock_on_screen)) > 8
    assert dock_on_screen.controller.annotation.item == item


def test_what_was_clicked_on_turns_until_something_else_is(dock_on_screen, qtbot):
    minutes = dock_on_screen.train_panel.minutes
    before = minutes.value()
    qtbot.mouseClick(minutes.lineEdit(), Qt.MouseButton.LeftButton)  # which is what is under the mouse
    minutes.setFocus()
    turn(minutes, 1)
    assert minutes.value() > before
    changed = minutes.value()
    minutes.clearFocus()
    turn(minutes, 1)
    assert minutes.value() == changed


def test_what_comes_later_is_guarded_too(dock_on_screen, qtbot):
    late = QSpinBox(dock_on_screen.mask_panel)
    late.show()
    qtbot.waitUntil(late.isVisible)
    turn(late, 1)
    assert late.value() == 0
    assert late.focusPolicy() != Qt.FocusPolicy.WheelFocus


def test_dialogs_are_guarded_too(dock_on_screen, viewer, tmp_path, qtbot):
    layer = viewer.add_image(np.zeros((8, 8)))
    for dialog in (
        NewSessionDialog([layer], tmp_path, dock_on_screen),
        SegmentDialog([layer, layer], layer, None),
    ):
        dialog.show()
        qtbot.waitUntil(dialog.isVisible)
        assert assert_the_wheel_changes_nothing(dialog)
        dialog.close()
        dialog.deleteLater()


def test_letters_typed_in_a_box_for_a_number_are_keys_of_the_canvas(dock_on_screen, qtbot):
    jump, annotation = dock_on_screen.image_panel.jump, dock_on_screen.controller.annotation
    jump.setValue(1)
    place = annotation.position
    jump.setFocus()
    qtbot.keyClick(jump, Qt.Key.Key_D)
    assert annotation.position == place + 1
    assert not jump.hasFocus()


def test_keys_work_while_the_dock_floats(dock_on_screen, qtbot):
    annotation = dock_on_screen.controller.annotation
    dock_on_screen.image_panel.jump.setValue(1)
    floating = dock_on_screen.parentWidget()
    while not hasattr(floating, "setFloating"):
        floating = floating.parentWidget()
    floating.setFloating(True)
    place = annotation.position
    qtbot.keyClick(dock_on_screen.image_panel.next, Qt.Key.Key_D)
    assert annotation.position == place + 1
