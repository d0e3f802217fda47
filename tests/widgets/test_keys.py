"""Keys do what the buttons they stand on do, and collide with none of napari's."""

import pytest
from napari._app_model import get_app_model
from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_semigda.session.items import ItemState
from napari_semigda.widgets.keys import Key
from napari_semigda.widgets.keys_window import KeysWindow
from tests.widgets.conftest import TITLE, paint


@pytest.fixture
def opened(widget, make_session):
    widget.controller.adopt(make_session())
    widget.image_panel.jump.setValue(2)
    return widget


@pytest.fixture
def dock_on_screen(make_napari_viewer, make_session, qtbot):
    """The dock in a window that is on the screen, so that its parts can have the focus."""
    viewer = make_napari_viewer(show=True)
    _, widget = viewer.window.add_plugin_dock_widget("napari-semigda", TITLE)
    widget.controller.adopt(make_session())
    widget.image_panel.jump.setValue(1)
    window = widget.window()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    yield widget
    widget.close_down()


@pytest.fixture
def press(viewer, qtbot):
    """Presses a key while the canvas has the focus."""
    canvas = viewer.window._qt_viewer.canvas.native
    return lambda key, modifier=Qt.KeyboardModifier.NoModifier: qtbot.keyClick(canvas, key, modifier)


def test_a_accepts_and_goes_on(opened, viewer, press):
    session, item = opened.controller.session, opened.controller.annotation.item
    paint(viewer)
    press(Qt.Key.Key_A)
    assert session.state(item) is ItemState.ACCEPTED
    assert opened.controller.annotation.item != item


def test_shift_a_accepts_and_stays(opened, viewer, press):
    paint(viewer)
    item = opened.controller.annotation.item
    press(Qt.Key.Key_A, Qt.KeyboardModifier.ShiftModifier)
    assert opened.controller.annotation.item == item
    assert opened.controller.annotation.state is ItemState.ACCEPTED


def test_d_and_s_go_forth_and_back(opened, press):
    press(Qt.Key.Key_D)
    assert opened.controller.annotation.position == 2
    press(Qt.Key.Key_S)
    press(Qt.Key.Key_S)
    assert opened.controller.annotation.position == 0


def test_a_key_whose_button_is_gray_says_why(opened, viewer, press):
    while opened.image_panel.previous.isEnabled():
        press(Qt.Key.Key_S)
    position = opened.controller.annotation.position
    press(Qt.Key.Key_S)
    assert opened.controller.annotation.position == position
    assert viewer.status == "No image was shown before this one."


def test_k_skips(opened, press):
    item = opened.controller.annotation.item
    press(Qt.Key.Key_K)
    assert opened.controller.session.state(item) is ItemState.SKIPPED


def test_q_goes_through_the_classes_background_and_unknown(opened, press):
    picked = []
    for _ in range(4):
        press(Qt.Key.Key_Q)
        picked.append(opened.canvas.selected_label)
    assert picked == [0, 255, 1, 0]


def test_every_key_stands_on_its_button_or_in_its_menu(opened):
    assert set(opened.buttons) == set(Key)
    for key, button in opened.buttons.items():
        assert button.text().endswith((f"({key.label})", f"\t{key.label}"))


def test_no_key_is_one_of_naparis(viewer):
    taken = {
        str(key)
        for kind in (Labels, Image, *type(viewer).__mro__)
        for key in getattr(kind, "class_keymap", ())
    }
    taken |= {str(rule.keybinding) for rule in get_app_model().keybindings}
    assert {"P", "E", "V", "Ctrl+O"} <= taken
    assert not {key.label for key in Key} & taken
    assert len({key.label for key in Key}) == len(Key)


def test_keys_are_given_back_when_the_dock_is_taken_away(opened, viewer):
    viewer.window.remove_dock_widget(opened)
    assert not viewer.keymap


def test_a_key_can_be_chosen_in_the_preferences(opened, preferences, viewer, press, qtbot):
    paint(viewer)
    session, item = opened.controller.session, opened.controller.annotation.item
    preferences().keys.accept_and_go_on = "Shift+Q"
    qtbot.waitUntil(lambda: opened.mask_panel.accept_and_go_on.text().endswith("(Shift+Q)"))
    press(Qt.Key.Key_A)
    assert session.state(item) is ItemState.UNLABELED
    preferences().keys.accept_and_go_on = "Alt+Y"
    qtbot.waitUntil(lambda: opened.mask_panel.accept_and_go_on.text().endswith("(Alt+Y)"))
    press(Qt.Key.Key_Y, Qt.KeyboardModifier.AltModifier)
    assert session.state(item) is ItemState.ACCEPTED


@pytest.mark.parametrize(
    ("text", "words"), [("P", "napari uses it"), ("S", "Back to the image"), ("nonsense", "no such key")]
)
def test_a_key_that_cannot_be_used_is_reported_and_the_default_stays(
    opened, preferences, notices, qtbot, text, words
):
    preferences().keys.skip = text
    qtbot.waitUntil(lambda: any(words in notice for notice in notices()))
    assert opened.image_panel.skip.text() == "Skip  (K)"


def test_a_key_can_be_left_out(opened, preferences, viewer, qtbot):
    preferences().keys.help = ""
    qtbot.waitUntil(lambda: opened.mask_panel.help.text() == "List keys…")
    assert "F1" not in {str(binding) for binding in viewer.keymap}


def test_napari_shows_the_keys_in_its_preferences(opened, viewer, qtbot):
    from napari._qt.dialogs.preferences_dialog import PreferencesDialog

    dialog = PreferencesDialog(parent=viewer.window._qt_window)
    qtbot.addWidget(dialog)
    pages = [dialog._list.item(place).text() for place in range(dialog._list.count())]
    assert "SemiGDA" in pages


def test_f1_lists_all_keys(opened, press, qtbot):
    press(Qt.Key.Key_F1)
    window = opened.findChild(KeysWindow)
    assert window.isVisible()
    for key in Key:
        assert f"<b>{key.label}</b>" in window.words.text()
        assert key.meaning in window.words.text()
    window.close()


@pytest.mark.parametrize("ends", [Qt.Key.Key_Return, Qt.Key.Key_Escape])
def test_after_typing_in_the_dock_return_and_escape_give_the_keys_back(dock_on_screen, qtbot, ends):
    widget = dock_on_screen
    for line in (widget.image_panel.jump, widget.train_panel.minutes, widget.table_panel.search):
        line.setFocus()
        qtbot.keyClick(line, ends)
        assert not line.hasFocus()
        place = widget.controller.annotation.position
        qtbot.keyClick(QApplication.focusWidget() or widget.window(), Qt.Key.Key_D)
        assert widget.controller.annotation.position == place + 1


def test_a_class_picked_with_the_mouse_does_not_take_the_keys(dock_on_screen, qtbot):
    rows, annotation = dock_on_screen.classes_panel.list, dock_on_screen.controller.annotation
    qtbot.mouseClick(
        rows.viewport(), Qt.MouseButton.LeftButton, pos=rows.visualItemRect(rows.item(1)).center()
    )
    assert dock_on_screen.controller.canvas.selected_label == 0
    place = annotation.position
    qtbot.keyClick(rows, Qt.Key.Key_D)
    assert annotation.position == place + 1
    qtbot.keyClick(rows, Qt.Key.Key_Up)
    assert dock_on_screen.controller.canvas.selected_label == 1
