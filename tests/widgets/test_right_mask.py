"""Only what the user saw and meant is accepted, where it was painted, and an accept can be undone."""

import shutil

import numpy as np
import pytest
from napari.layers import Image, Labels
from napari.utils.transforms import Affine
from qtpy.QtCore import QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QKeyEvent, QMouseEvent
from qtpy.QtWidgets import QApplication

from napari_semigda.inference.predictor import Prediction
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session
from napari_semigda.widgets import annotation as annotating
from napari_semigda.widgets.keys import HeldKeys
from tests.widgets.conftest import mask_layer, paint


@pytest.fixture
def opened(widget, make_session):
    widget.controller.adopt(make_session(classes=("lesion", "vessel")))
    widget.image_panel.jump.setValue(1)
    return widget


def image_layer(viewer):
    return next(layer for layer in viewer.layers if isinstance(layer, Image))


def drafted(session, place, value=1):
    """Store a draft of an item: a square."""
    item = session.items[place]
    draft = np.zeros(item.shape, np.uint8)
    draft[10:20, 10:20] = value
    session.drafts.store(item, Prediction(np.zeros((3, 1, 1), np.float32), draft, draft, 0.5), 1)
    return draft


def square(top=10, left=10, side=30):
    return np.array([[top, left], [top, left + side], [top + side, left + side], [top + side, left]])


# Accepting -------------------------------------------------------------------------------------


def test_an_empty_mask_nobody_painted_on_is_not_accepted(opened, viewer, notices, click):
    item = opened.controller.annotation.item
    for button in (opened.mask_panel.accept, opened.mask_panel.accept_and_go_on):
        click(button)
        assert opened.controller.session.labels.get(item) is None
        assert opened.controller.annotation.item == item
        assert "choose No object here" in notices()[-1]
    paint(viewer)  # and rub it out
    opened.controller.annotation.keep()
    mask_layer(viewer).undo()
    click(opened.mask_panel.accept)
    assert opened.controller.session.labels.get(item) is None
    assert "No object here" in notices()[-1]


def test_an_empty_draft_is_not_accepted_but_one_that_was_cleared_is(opened, click):
    session = opened.controller.session
    drafted(session, 1, value=0)
    drafted(session, 2)
    opened.image_panel.jump.setValue(2)
    click(opened.mask_panel.accept)
    assert session.labels.get(session.items[1]) is None
    opened.image_panel.jump.setValue(3)
    click(opened.mask_panel.clear)
    click(opened.mask_panel.accept)
    assert not session.labels.get(session.items[2]).any()


def test_no_object_is_not_said_of_objects_and_can_be_left_unsaid(opened, viewer, click, notices, preferences):
    item = opened.controller.annotation.item
    painted = paint(viewer)
    click(opened.mask_panel.no_object)
    assert opened.controller.session.labels.get(item) is None
    assert "is not empty" in notices()[-1]
    np.testing.assert_array_equal(mask_layer(viewer).data, painted)
    mask_layer(viewer).undo()
    preferences().accepting.accept_empty = True
    click(opened.mask_panel.accept)
    assert not opened.controller.session.labels.get(item).any()


class KeyAt(QKeyEvent):
    """A as the window system reports it, at a time in milliseconds."""

    def __init__(self, kind, at):
        super().__init__(kind, Qt.Key.Key_A, Qt.KeyboardModifier.NoModifier, "a")
        self.timestamp = lambda: at


def test_a_held_key_counts_once_also_where_qt_takes_a_repetition_for_a_new_press():
    held = HeldKeys(QObject())
    press, release = QEvent.Type.KeyPress, QEvent.Type.KeyRelease
    assert not held.eventFilter(None, KeyAt(press, 1000))
    assert not held.eventFilter(None, KeyAt(release, 1500))
    assert held.eventFilter(None, KeyAt(press, 1500))  # as X11 repeats a key
    assert not held.eventFilter(None, KeyAt(release, 1540))
    assert not held.eventFilter(None, KeyAt(press, 1640))  # a finger
    assert not held.eventFilter(None, KeyAt(press, 0))  # of a program, without a time


def test_a_key_that_repeats_moves_on_once(opened, viewer):
    canvas = viewer.window._qt_viewer.canvas.native
    shown = []
    opened.controller.annotation.shown.connect(shown.append)
    paint(viewer)
    for count, letter in enumerate("A0KDW", start=1):
        for again in (False, True, True, True):
            key = getattr(Qt.Key, f"Key_{letter}")
            QApplication.sendEvent(
                canvas, QKeyEvent(QEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier, "", again)
            )
        assert len(shown) == count


def test_the_second_click_of_a_double_click_accepts_nothing(opened, viewer, qtbot):
    session, button = opened.controller.session, opened.mask_panel.accept_and_go_on
    drafted(session, 0), drafted(session, 1)
    opened.image_panel.order.setCurrentText("list order")
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    place, left = QPointF(button.rect().center()), Qt.MouseButton.LeftButton
    for kind in (QEvent.Type.MouseButtonDblClick, QEvent.Type.MouseButtonRelease):
        where = QPointF(button.mapToGlobal(button.rect().center()))
        QApplication.sendEvent(
            button, QMouseEvent(kind, place, where, left, left, Qt.KeyboardModifier.NoModifier)
        )
    assert session.counts()[ItemState.ACCEPTED] == 1


def test_a_mask_that_has_just_appeared_is_not_accepted_by_an_impatient_key_or_click(
    opened, viewer, qtbot, monkeypatch
):
    monkeypatch.setattr(annotating, "SEEN_AFTER", 60.0)
    session, canvas = opened.controller.session, viewer.window._qt_viewer.canvas.native
    drafted(session, 1), drafted(session, 2)
    paint(viewer)
    qtbot.keyClick(canvas, Qt.Key.Key_A)
    qtbot.keyClick(canvas, Qt.Key.Key_A)
    qtbot.mouseClick(opened.mask_panel.accept, Qt.MouseButton.LeftButton)
    assert session.counts()[ItemState.ACCEPTED] == 1
    assert "was shown just now" in viewer.status


def test_a_hidden_mask_is_shown_before_it_is_accepted(opened, viewer, click, notices):
    item = opened.controller.annotation.item
    painted = paint(viewer)
    for hide in ({"visible": False}, {"opacity": 0.0}):
        for name, value in hide.items():
            setattr(mask_layer(viewer), name, value)
        click(opened.mask_panel.accept)
        assert opened.controller.session.labels.get(item) is None
        assert "was hidden" in notices()[-1]
        assert mask_layer(viewer).visible
        assert mask_layer(viewer).opacity > 0.1
    click(opened.mask_panel.accept)
    np.testing.assert_array_equal(opened.controller.session.labels.get(item), painted)


# Undoing an accept -----------------------------------------------------------------------------


def test_accepts_are_undone_one_by_one_also_after_going_on(opened, viewer, click, monkeypatch):
    session, section = opened.controller.session, opened.mask_panel
    opened.image_panel.order.setCurrentText("list order")
    assert not section.undo_accept.isEnabled()
    painted = {}
    for number in (1, 2, 3):
        painted[number] = paint(viewer, (20 * number, 40))
        click(section.accept_and_go_on)
    click(opened.image_panel.next)
    for number in (3, 2, 1):
        click(section.undo_accept)
        assert opened.controller.annotation.item == session.items[number - 1]
        np.testing.assert_array_equal(mask_layer(viewer).data, painted[number])
        assert session.labels.get(session.items[number - 1]) is None
        assert "painted by you, not accepted" in opened.image_panel.state.text()
    assert not section.undo_accept.isEnabled()
    assert "No mask was accepted" in section.undo_accept.toolTip()


def test_undoing_brings_back_the_draft_or_the_mask_accepted_before(opened, viewer, click):
    session, section, first = opened.controller.session, opened.mask_panel, None
    draft = drafted(session, 1)
    opened.image_panel.jump.setValue(2)
    click(section.accept)
    click(section.undo_accept)
    assert session.state(session.items[1]) is ItemState.DRAFT
    assert session.labels.edit(session.items[1]) is None
    np.testing.assert_array_equal(mask_layer(viewer).data, draft)
    first = paint(viewer)
    click(section.accept)
    second = paint(viewer, (90, 90))
    click(section.accept)
    click(section.undo_accept)
    np.testing.assert_array_equal(session.labels.get(session.items[1]), first)
    np.testing.assert_array_equal(mask_layer(viewer).data, second)
    click(section.to_accepted)
    np.testing.assert_array_equal(mask_layer(viewer).data, first)


# Where it is painted ---------------------------------------------------------------------------


MOVES = {
    "affine": Affine(rotate=30, translate=(20, 30)),
    "translate": (5, -9),
    "scale": (2.0, 2.0),
    "rotate": 90,
    "shear": [0.5],
}


@pytest.mark.parametrize("find", [mask_layer, image_layer])
def test_layers_are_moved_together_and_lie_still_with_the_next_image(opened, viewer, find):
    for place, (name, value) in enumerate(MOVES.items(), start=1):
        setattr(find(viewer), name, value)
        painted = mask_layer(viewer).world_to_data(image_layer(viewer).data_to_world((50, 60)))
        np.testing.assert_allclose(painted, (50, 60), atol=1e-6)
        opened.image_panel.jump.setValue(place + 1)
        for one in (mask_layer(viewer), image_layer(viewer)):
            np.testing.assert_allclose(one.data_to_world((50, 60)), (50, 60))


def test_each_image_begins_with_the_first_class_and_the_brush(opened, viewer, click):
    layer = mask_layer(viewer)
    opened.canvas.selected_label = 0
    layer.mode, layer.preserve_labels, layer.contiguous = "fill", True, False
    layer.n_edit_dimensions, layer.show_selected_label = 1, True
    layer.visible = False
    viewer.layers.move(viewer.layers.index(layer), 0)
    viewer.dims.ndisplay = 3
    click(opened.image_panel.next)
    layer = mask_layer(viewer)
    assert opened.canvas.selected_label == layer.selected_label == 1
    assert (layer.mode, layer.preserve_labels, layer.contiguous) == ("paint", False, True)
    assert (layer.n_edit_dimensions, layer.show_selected_label, layer.visible) == (2, False, True)
    assert viewer.layers.index(layer) > viewer.layers.index(image_layer(viewer))
    assert viewer.dims.ndisplay == 2


def test_the_list_marks_the_class_that_each_image_begins_with(opened, viewer, click):
    classes = opened.classes_panel
    classes.next.press()
    assert classes.list.currentRow() == 1
    click(opened.image_panel.next)
    assert mask_layer(viewer).selected_label == 1
    assert classes.list.currentRow() == 0
    classes.next.press()
    assert mask_layer(viewer).selected_label == 2


def test_a_value_that_is_no_class_can_neither_be_picked_nor_accepted(opened, viewer, click, notices):
    item, layer = opened.controller.annotation.item, mask_layer(viewer)
    for value in (3, 200, 254):
        layer.selected_label = value
        assert layer.selected_label == 1
        layer.paint((40, 40), value)
        click(opened.mask_panel.accept)
        assert opened.controller.session.labels.get(item) is None
        assert f"value {value}" in notices()[-1]


def test_overlays_go_with_their_image(opened, viewer, click):
    session, correcting = opened.controller.session, opened.controller.corrections
    drafted(session, 0), drafted(session, 1)
    opened.canvas.show_uncertainty(np.ones(session.items[0].shape, np.float32))
    correcting.toggle_draft()
    assert len(viewer.layers) == 4
    click(opened.image_panel.next)
    assert len(viewer.layers) == 2
    assert mask_layer(viewer).visible
    opened.canvas.show_uncertainty(np.ones((3, 3), np.float32))  # of another image, late
    assert len(viewer.layers) == 2


def test_painting_goes_on_beside_stacks_and_in_grid_mode(opened, viewer, click):
    item = opened.controller.annotation.item
    viewer.add_image(np.zeros((4, 50, 60)), name="mine")
    viewer.grid.enabled = True
    painted = paint(viewer)
    click(opened.mask_panel.accept)
    np.testing.assert_array_equal(opened.controller.session.labels.get(item), painted)


# Drawn elsewhere -------------------------------------------------------------------------------


def in_a_copy(viewer):
    mask = mask_layer(viewer)
    copy = viewer.add_labels(mask.data.copy(), name="copy")
    copy.data[10:41, 10:41] = 1
    return copy


def in_scaled_labels(viewer):
    labels = np.zeros((200, 200), np.uint8)
    labels[20:81, 20:81] = 7
    return viewer.add_labels(labels, scale=(0.5, 0.5))


def in_shapes(viewer):
    return viewer.add_shapes([square()], shape_type="polygon")


def in_moved_shapes(viewer):
    return viewer.add_shapes([square() - 10], shape_type="rectangle", translate=(10, 10))


def in_points(viewer):
    return viewer.add_points([[25, 25]], size=34)


def test_what_was_drawn_in_another_layer_is_offered(opened, viewer, click, notices):
    session, section = opened.controller.session, opened.mask_panel
    mask = mask_layer(viewer)
    for place, draw in enumerate((in_a_copy, in_scaled_labels, in_shapes, in_moved_shapes, in_points)):
        opened.image_panel.jump.setValue(place + 1)
        item, layer = opened.controller.annotation.item, draw(viewer)
        for button in (section.accept, section.no_object):
            click(button)
            assert session.labels.get(item) is None
            assert layer.name in notices()[-1]
        click(section.use_layer)
        assert set(np.unique(mask.data)) == {0, 1}
        assert (mask.data[15:35, 15:35] == 1).all()
        assert 700 < mask.data.sum() < 1100
        assert not layer.visible
        assert section.use_layer.isHidden()
        click(section.accept)
        np.testing.assert_array_equal(session.labels.get(item), mask.data)


def test_an_untouched_draft_is_asked_about_too_and_a_layer_can_be_ignored(opened, viewer, click):
    session, section = opened.controller.session, opened.mask_panel
    draft = drafted(session, 1)
    opened.image_panel.jump.setValue(2)
    shapes = in_shapes(viewer)
    click(section.accept)
    assert session.labels.get(session.items[1]) is None
    click(section.ignore_layer)
    click(section.accept)
    np.testing.assert_array_equal(session.labels.get(session.items[1]), draft)
    assert shapes.visible


def test_only_what_was_drawn_since_the_image_appeared_is_taken(opened, viewer, click):
    session, section = opened.controller.session, opened.mask_panel
    shapes, labels = in_shapes(viewer), in_a_copy(viewer)
    click(opened.image_panel.next)
    shapes.add_polygons([square(60, 60, 20)])
    labels.data[100:110, 100:110] = 2
    for _ in range(2):
        click(section.accept)
        click(section.use_layer)
    mask = next(one for one in viewer.layers if one.name.endswith(" mask")).data
    assert not mask[:50, :50].any()
    assert session.labels.get(session.items[1]) is None


# A file that is missing ------------------------------------------------------------------------


def test_a_missing_image_is_told_and_can_be_looked_for(widget, make_session, tmp_path, click, notices):
    bundled = make_session(3)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for item in bundled.items:
        shutil.copy(bundled.images.path(item), folder)
    Session.create(tmp_path / "own", folder).close()
    widget.open_session(tmp_path / "own")
    session, section = widget.controller.session, widget.mask_panel
    gone = session.images.path(session.items[1])
    gone.unlink()
    widget.image_panel.jump.setValue(2)
    assert f"“{gone}” is missing" in notices()[-1]
    assert section.notice.text() == notices()[-1]
    assert "missing" in section.accept.toolTip()
    assert not section.find_moved.isHidden()
    assert section.show_again.isHidden()
    click(widget.image_panel.next)
    assert section.find_moved.isHidden()


# Tools -----------------------------------------------------------------------------------------


def test_the_largest_piece_of_the_class_stays_in_one_step(opened, viewer):
    layer = mask_layer(viewer)
    before = layer.data.copy()
    before[10:30, 10:30] = before[40:45, 40:45] = 1
    before[60:70, 60:70] = before[80:82, 80:82] = 2
    before[90:95] = UNKNOWN
    layer.data_setitem(np.nonzero(before), before[before > 0])
    opened.mask_panel.keep_largest.press()
    kept = before.copy()
    kept[40:45, 40:45] = 0
    np.testing.assert_array_equal(layer.data, kept)
    assert viewer.status == "25 pixels changed."
    opened.canvas.selected_label = 0
    opened.mask_panel.keep_largest.press()
    kept[80:82, 80:82] = 0
    np.testing.assert_array_equal(layer.data, kept)
    layer.undo()
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)


def test_uncertainty_is_ordered_for_the_eye_and_lets_the_image_through(opened, viewer):
    opened.canvas.show_uncertainty(np.zeros(opened.controller.annotation.item.shape, np.float32))
    layer = next(one for one in viewer.layers if "uncertainty" in one.name)
    colors = layer.colormap.map(np.linspace(0, 1, 64))
    lightness = colors[:, :3] @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(lightness) > 0).all()
    assert colors[0, 3] == 0
    assert colors[:, 3].max() < 0.8
    assert layer.colorbar.visible
    assert isinstance(mask_layer(viewer), Labels)


def test_a_hidden_class_is_shown_before_a_mask_with_it_is_accepted(opened, viewer, click):
    session, item = opened.controller.session, opened.controller.annotation.item
    opened.canvas.selected_label = 2
    paint(viewer)
    opened.canvas.selected_label = 1  # the class that is painted cannot be hidden
    opened.canvas.hidden_classes = {2}
    click(opened.mask_panel.accept)
    assert session.labels.get(item) is None
    assert not opened.canvas.hidden_classes
    assert opened.classes_panel.list.item(1).checkState() == Qt.CheckState.Checked
    click(opened.mask_panel.accept)
    assert (session.labels.get(item) == 2).any()
