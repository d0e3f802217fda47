"""Going through images with the dock: show, paint, keep, accept, skip, undo."""

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import Qt

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.masks import read_labels
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session
from tests.widgets.conftest import mask_layer, paint


@pytest.fixture
def opened(widget, make_session):
    """The dock with a session of six samples, made before and opened from its folder."""
    session = make_session()
    session.close()
    widget.open_session(session.folder)
    return widget


def test_opening_a_session_shows_an_image_with_an_empty_mask_over_it(opened, viewer):
    item = opened.controller.annotation.item
    picture, mask = viewer.layers
    assert picture.name == item.name
    np.testing.assert_array_equal(picture.data, opened.controller.session.picture(item).pixels)
    assert not mask.data.any()
    assert mask.mode == "paint"
    assert "0 of 6 accepted" in opened.session_panel.name.text()


def test_accepting_writes_the_mask_and_goes_on_to_another_image(opened, viewer, click):
    session = opened.controller.session
    first = opened.controller.annotation.item
    painted = paint(viewer)
    click(opened.mask_panel.accept_and_go_on)
    np.testing.assert_array_equal(read_labels(session.folder / "labels" / f"{first.id}.tif"), painted)
    assert opened.controller.annotation.item != first
    assert not mask_layer(viewer).data.any()
    assert "1 of 6 accepted" in opened.session_panel.name.text()
    assert viewer.status == opened.controller.annotation.item.name


def test_accepting_without_going_on_stays(opened, viewer, click):
    first = opened.controller.annotation.item
    paint(viewer)
    click(opened.mask_panel.accept)
    assert opened.controller.annotation.item == first
    assert opened.image_panel.state.text() == "accepted"


def test_an_empty_mask_is_accepted_as_an_image_without_an_object(opened, click):
    first = opened.controller.annotation.item
    click(opened.mask_panel.no_object)
    assert not opened.controller.session.labels.get(first).any()
    assert opened.controller.session.state(first) is ItemState.ACCEPTED


def test_next_and_jump_go_through_the_list_and_back_to_what_was_shown(opened, click):
    annotation, section = opened.controller.annotation, opened.image_panel
    items = opened.controller.session.items
    section.jump.setValue(1)
    assert annotation.item == items[0]
    click(section.next)
    assert annotation.item == items[1]
    click(section.previous)
    assert annotation.item == items[0]
    section.jump.setValue(6)
    assert annotation.item == items[5]
    assert not section.next.isEnabled()
    assert section.jump.text() == "6 of 6"


def test_what_was_painted_but_not_accepted_is_there_again_on_coming_back(opened, viewer, click):
    annotation = opened.controller.annotation
    opened.image_panel.jump.setValue(1)
    painted = paint(viewer)
    assert "painted by you" in opened.image_panel.state.text()
    click(opened.image_panel.next)
    assert opened.controller.session.labels.get(opened.controller.session.items[0]) is None
    click(opened.image_panel.previous)
    np.testing.assert_array_equal(mask_layer(viewer).data, painted)
    assert annotation.state is ItemState.DRAFT


def test_looking_at_an_image_without_painting_leaves_no_trace(opened, click):
    click(opened.image_panel.next)
    click(opened.image_panel.next)
    assert opened.controller.session.counts()[ItemState.UNLABELED] == 6


def test_undo_never_brings_back_another_images_pixels(opened, viewer, click):
    opened.image_panel.jump.setValue(1)
    painted = paint(viewer)
    click(opened.image_panel.next)
    paint(viewer, (20, 20))
    paint(viewer, (100, 100))
    for _ in range(5):
        mask_layer(viewer).undo()
    assert not mask_layer(viewer).data.any()
    click(opened.image_panel.previous)
    mask_layer(viewer).undo()
    np.testing.assert_array_equal(mask_layer(viewer).data, painted)


def test_correcting_an_accepted_mask_counts_only_when_accepted_again(opened, viewer, click):
    session = opened.controller.session
    opened.image_panel.jump.setValue(1)
    first = session.items[0]
    painted = paint(viewer)
    click(opened.mask_panel.accept)
    mask_layer(viewer).fill((0, 0), 1)
    click(opened.image_panel.next)
    np.testing.assert_array_equal(session.labels.get(first), painted)
    click(opened.image_panel.previous)
    assert mask_layer(viewer).data.all()
    click(opened.mask_panel.to_accepted)
    np.testing.assert_array_equal(mask_layer(viewer).data, painted)
    mask_layer(viewer).undo()
    assert mask_layer(viewer).data.all()
    click(opened.mask_panel.accept)
    assert session.labels.get(first).all()


def test_clearing_is_one_step_that_undo_takes_back(opened, viewer, click):
    painted = paint(viewer)
    click(opened.mask_panel.clear)
    assert not mask_layer(viewer).data.any()
    mask_layer(viewer).undo()
    np.testing.assert_array_equal(mask_layer(viewer).data, painted)


def test_a_skipped_image_is_not_asked_for_and_can_be_taken_back(opened, click):
    annotation, section = opened.controller.annotation, opened.image_panel
    section.jump.setValue(3)
    skipped = annotation.item
    click(section.skip)
    assert annotation.item != skipped
    seen = set()
    for _ in range(6):
        click(section.next_suggested)
        seen.add(annotation.item.id)
    assert skipped.id not in seen
    section.jump.setValue(3)
    assert section.state.text() == "skipped"
    click(section.skip)
    assert opened.controller.session.counts()[ItemState.SKIPPED] == 0


def test_the_order_in_which_images_are_asked_for_can_be_chosen(opened, click):
    section = opened.image_panel
    explained = set()
    for place in range(section.order.count()):
        section.order.setCurrentIndex(place)
        assert section.order.toolTip() == section.order.itemData(place, Qt.ItemDataRole.ToolTipRole)
        explained.add(section.order.toolTip())
    assert len(explained) == 5
    section.order.setCurrentText("list order")
    section.jump.setValue(4)
    shown = []
    for _ in range(6):
        click(section.next_suggested)
        shown.append(opened.controller.annotation.position)
    assert shown == [4, 5, 0, 1, 2, 3]


def test_when_everything_is_accepted_the_queue_says_so(opened, click, notices):
    for _ in range(6):
        click(opened.mask_panel.no_object)
    assert "can be exported" in notices()[-1]
    assert opened.controller.session.counts()[ItemState.ACCEPTED] == 6
    assert not opened.image_panel.next_suggested.isEnabled()
    assert "accepted or skipped" in opened.image_panel.next_suggested.toolTip()


def test_how_masks_look_goes_along_to_the_next_image(opened, viewer, click):
    layer = mask_layer(viewer)
    layer.brush_size, layer.opacity, layer.contour = 17, 0.3, 2
    click(opened.image_panel.next)
    layer = mask_layer(viewer)
    assert (layer.brush_size, layer.opacity, layer.contour) == (17, 0.3, 2)


def test_layers_that_are_not_the_plugins_stay(opened, viewer, click):
    own = viewer.add_image(np.zeros((8, 8)), name="mine")
    click(opened.image_panel.next)
    click(opened.session_panel.close_session)
    assert list(viewer.layers) == [own]


def test_deleting_the_mask_layer_by_hand_loses_nothing(opened, viewer, click):
    opened.image_panel.jump.setValue(1)
    painted = paint(viewer)
    viewer.layers.remove(mask_layer(viewer))
    assert not opened.mask_panel.accept.isEnabled()
    assert "no mask" in opened.mask_panel.accept.toolTip()
    click(opened.mask_panel.show_again)
    np.testing.assert_array_equal(mask_layer(viewer).data, painted)


def test_deleting_all_layers_by_hand_leaves_the_way_to_the_next_image(opened, viewer, click):
    viewer.layers.clear()
    click(opened.image_panel.next)
    assert len(viewer.layers) == 2
    click(opened.mask_panel.no_object)


def test_an_unreadable_image_is_told_and_can_be_passed(widget, make_session, tmp_path, click, notices):
    picture = tmp_path / "only.tif"
    session = make_session(3)
    broken = session.items[1]
    copied = tmp_path / "broken.png"
    copied.write_bytes(session.images.path(broken).read_bytes())
    folder = tmp_path / "with broken"
    paths = [session.images.path(session.items[0]), copied, session.images.path(session.items[2])]
    Session.create(folder, paths).close()
    copied.write_bytes(b"not a picture")
    widget.open_session(folder)
    widget.image_panel.jump.setValue(2)
    assert any("broken.png" in notice for notice in notices())
    assert not widget.mask_panel.accept.isEnabled()
    click(widget.image_panel.next)
    click(widget.mask_panel.no_object)
    assert not picture.exists()


def test_reopening_shows_the_image_and_the_strokes_left_behind(opened, viewer, dock, click):
    folder = opened.controller.session.folder
    opened.image_panel.jump.setValue(4)
    painted = paint(viewer)
    click(opened.session_panel.close_session)
    assert not viewer.layers
    opened.open_session(folder)
    assert opened.controller.annotation.position == 3
    np.testing.assert_array_equal(mask_layer(viewer).data, painted)


def test_taking_the_dock_away_keeps_the_strokes(opened, viewer):
    session = opened.controller.session
    item = opened.controller.annotation.item
    painted = paint(viewer)
    viewer.window.remove_dock_widget(opened)
    with Session.open(session.folder) as again:
        np.testing.assert_array_equal(again.labels.edit(item), painted)
    assert not viewer.layers


def test_strokes_are_kept_soon_after_they_are_made(opened, viewer, qtbot):
    session, item = opened.controller.session, opened.controller.annotation.item
    painted = paint(viewer)
    qtbot.waitUntil(lambda: session.labels.edit(item) is not None, timeout=10_000)
    np.testing.assert_array_equal(session.labels.edit(item), painted)


def test_a_folder_that_is_no_session_is_refused_in_a_sentence(widget, tmp_path, notices):
    widget.open_session(tmp_path)
    assert any("is not a session" in notice for notice in notices())
    assert widget.controller.session is None
    assert not widget.mask_panel.accept.isEnabled()
    assert widget.mask_panel.accept.why_not == "Open a session first."


def test_an_image_that_cannot_be_shown_does_not_lend_its_name_to_the_mask_before(opened, viewer):
    session, annotation = opened.controller.session, opened.controller.annotation
    paint(viewer)

    def fail(event):
        raise ValueError("somebody else's listener")

    next(layer for layer in viewer.layers if isinstance(layer, Image)).events.data.connect(fail)
    other = next(item for item in session.items if item != annotation.item)
    with pytest.raises(ValueError, match="listener"):
        annotation.show(other)
    assert not annotation.visible
    with pytest.raises(SemiGDAError, match="could not be shown"):
        annotation.accept()
    assert session.labels.get(other) is None
