"""Correcting with the dock: each correction is one step of undo, and looking changes nothing."""

import numpy as np
import pytest
from napari.layers import Image, Labels, Shapes
from qtpy.QtCore import Qt

from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.items import ItemState
from tests.widgets.conftest import PATIENCE, mask_layer, paint


@pytest.fixture
def opened(widget, make_session):
    widget.controller.adopt(make_session(classes=("lesion", "vessel")))
    return widget


@pytest.fixture
def drafted(widget, make_trained, qtbot):
    """The dock with a session of which the image on screen has a draft."""
    session = make_trained()
    widget.controller.adopt(session)
    item = widget.controller.annotation.item
    qtbot.waitUntil(lambda: session.prediction(item) is not None, timeout=PATIENCE)
    qtbot.waitUntil(lambda: widget.mask_panel.draft_in_region.isEnabled())
    return widget


def ring(viewer, value=1):
    """Paint a ring with a small object beside it, as a user would."""
    layer = mask_layer(viewer)
    y, x = np.indices(layer.data.shape)
    distance = np.hypot(y - 60, x - 60)
    mask = layer.data.copy()
    mask[(distance < 30) & (distance > 20)] = value
    mask[5, 5] = value
    layer.data_setitem(np.nonzero(mask != layer.data), mask[mask != layer.data])
    return mask


def undone(viewer):
    mask_layer(viewer).undo()
    return mask_layer(viewer).data


def test_holes_are_filled_and_small_objects_removed_in_one_step_each(opened, viewer):
    section = opened.mask_panel
    painted = ring(viewer)
    section.fill_holes.press()
    filled = mask_layer(viewer).data.copy()
    assert filled[60, 60] == 1
    assert viewer.status == f"{(filled != painted).sum()} pixels changed."
    section.remove_small.press()
    assert mask_layer(viewer).data[5, 5] == 0
    assert viewer.status == "1 pixel changed."
    np.testing.assert_array_equal(undone(viewer), filled)
    np.testing.assert_array_equal(undone(viewer), painted)


def test_the_class_being_painted_is_corrected_and_with_background_all_are(opened, viewer):
    section = opened.mask_panel
    painted = ring(viewer, value=2)
    section.fill_holes.press()
    np.testing.assert_array_equal(mask_layer(viewer).data, painted)
    assert "no hole" in viewer.status
    section.correct.entries.aboutToShow.emit()
    assert section.fill_holes.text().startswith("Fill holes of lesion")
    mask_layer(viewer).selected_label = 0
    section.correct.entries.aboutToShow.emit()
    assert section.fill_holes.text().startswith("Fill holes of all classes")
    section.fill_holes.press()
    assert mask_layer(viewer).data[60, 60] == 2


def test_each_class_has_its_own_size_of_small_objects(opened, viewer):
    section = opened.mask_panel
    section.smallest.setValue(500)
    mask_layer(viewer).selected_label = 2
    section.correct.entries.aboutToShow.emit()
    assert section.smallest.value() == 50
    mask_layer(viewer).selected_label = 1
    section.correct.entries.aboutToShow.emit()
    assert section.smallest.value() == 500


def test_smoothing_is_one_step(opened, viewer):
    painted = ring(viewer)
    opened.mask_panel.smooth.press()
    assert (mask_layer(viewer).data != painted).any()
    np.testing.assert_array_equal(undone(viewer), painted)


def draw_rectangle(viewer, qtbot, top=10, left=10, bottom=40, right=50):
    """Draw a rectangle into the shapes layer that waits for a region."""
    layer = next(one for one in viewer.layers if isinstance(one, Shapes))
    layer.add_rectangles([[top, left], [top, right], [bottom, right], [bottom, left]])
    qtbot.waitUntil(lambda: not any(isinstance(one, Shapes) for one in viewer.layers))


def test_a_region_is_marked_as_unlabeled(opened, viewer, qtbot):
    section = opened.mask_panel
    painted = paint(viewer)
    section.mark_unlabeled.press()
    assert "Draw around the region" in section.notice.text()
    assert viewer.status == section.notice.text()
    draw_rectangle(viewer, qtbot)
    mask = mask_layer(viewer).data
    assert (mask[12:39, 12:49] == UNKNOWN).all()
    np.testing.assert_array_equal(mask[45:], painted[45:])
    assert viewer.layers.selection.active == mask_layer(viewer)
    assert section.notice.isHidden()
    np.testing.assert_array_equal(undone(viewer), painted)


def test_a_region_that_changes_nothing_says_so(drafted, viewer, qtbot):
    section = drafted.mask_panel
    section.draft_in_region.press()
    draw_rectangle(viewer, qtbot)
    assert viewer.status == "The mask already equals the draft there."
    section.mark_unlabeled.press()
    draw_rectangle(viewer, qtbot)
    assert viewer.status.endswith("pixels changed.")
    section.mark_unlabeled.press()
    draw_rectangle(viewer, qtbot)
    assert viewer.status == "The region is already unlabeled."


def test_drawing_a_region_can_be_canceled(opened, viewer, click):
    section = opened.mask_panel
    section.mark_unlabeled.press()
    click(section.cancel_region)
    assert not any(isinstance(layer, Shapes) for layer in viewer.layers)
    section.mark_unlabeled.press()
    viewer.layers.remove(next(layer for layer in viewer.layers if isinstance(layer, Shapes)))
    assert section.cancel_region.isHidden()
    section.mark_unlabeled.press()
    click(opened.image_panel.next)
    assert len(viewer.layers) == 2
    assert not mask_layer(viewer).data.any()


def test_escape_cancels_drawing_a_region(opened, viewer, qtbot):
    opened.mask_panel.mark_unlabeled.press()
    qtbot.keyClick(viewer.window._qt_viewer.canvas.native, Qt.Key.Key_Escape)
    assert not any(isinstance(layer, Shapes) for layer in viewer.layers)
    assert opened.mask_panel.cancel_region.isHidden()
    assert viewer.layers.selection.active == mask_layer(viewer)


def test_a_region_outside_of_the_image_is_refused(opened, viewer, qtbot, notices):
    opened.mask_panel.mark_unlabeled.press()
    draw_rectangle(viewer, qtbot, -50, -50, -20, -20)
    assert any("covers no pixel" in notice for notice in notices())


def test_without_weights_what_needs_them_says_so(opened):
    section = opened.mask_panel
    for part in (section.threshold, section.uncertainty, section.show_draft, section.draft_in_region):
        assert not part.isEnabled()
        assert "train a round first" in part.toolTip()


def test_the_draft_is_taken_inside_a_region_only(drafted, viewer, qtbot):
    section, annotation = drafted.mask_panel, drafted.controller.annotation
    painted = paint(viewer, (100, 100))
    painted[:] = 1 - annotation.draft
    mask_layer(viewer).data_setitem(np.nonzero(painted >= 0), painted.ravel())
    section.draft_in_region.press()
    draw_rectangle(viewer, qtbot)
    mask = mask_layer(viewer).data
    np.testing.assert_array_equal(mask[12:39, 12:49], annotation.draft[12:39, 12:49])
    np.testing.assert_array_equal(mask[45:], painted[45:])


def turn(section, viewer, qtbot, threshold):
    """Drag the slider there, with a stop on the way, and let it go; returns the mask."""
    slider = section.threshold
    slider.setSliderDown(True)
    slider.setValue((threshold + slider.value()) / 2)
    slider.setValue(threshold)
    correcting = section._controller.corrections
    qtbot.waitUntil(lambda: correcting.threshold == pytest.approx(threshold))
    qtbot.waitUntil(lambda: not section._controller.runner.busy, timeout=PATIENCE)
    slider.setSliderDown(False)
    qtbot.wait(1)
    return mask_layer(viewer).data.copy()


def test_the_threshold_is_one_step_a_drag_and_keeps_what_was_painted(drafted, viewer, qtbot):
    section = drafted.mask_panel
    draft = mask_layer(viewer).data.copy()
    more = turn(section, viewer, qtbot, 0.05)
    assert ((draft == 0) | (more == draft)).all()
    assert more.sum() > draft.sum()
    mask_layer(viewer).selected_label = UNKNOWN
    painted = paint(viewer, (20, 20), brush=10) == UNKNOWN
    less = turn(section, viewer, qtbot, 0.95)
    assert (less[painted] == UNKNOWN).all()
    assert (less[~painted] > 0).sum() < (more[~painted] > 0).sum()
    undone(viewer)
    undone(viewer)
    np.testing.assert_array_equal(mask_layer(viewer).data, more)
    np.testing.assert_array_equal(undone(viewer), draft)


def test_after_undo_the_threshold_begins_where_the_mask_is(drafted, viewer, qtbot):
    section = drafted.mask_panel
    more = turn(section, viewer, qtbot, 0.1)
    turn(section, viewer, qtbot, 0.9)
    np.testing.assert_array_equal(undone(viewer), more)
    assert section.threshold.value() == pytest.approx(0.1)
    mask_layer(viewer).redo()
    assert section.threshold.value() == pytest.approx(0.9)
    np.testing.assert_array_equal(undone(viewer), more)
    np.testing.assert_array_equal(turn(section, viewer, qtbot, 0.1), more)
    between = turn(section, viewer, qtbot, 0.3)
    assert ((between == 0) | (between == more)).all()


def test_with_the_draft_its_threshold_is_back(drafted, viewer, qtbot, click):
    section = drafted.mask_panel
    turn(section, viewer, qtbot, 0.1)
    click(section.reset)
    assert section.threshold.value() == pytest.approx(0.5)


def test_the_next_image_begins_with_its_own_draft(drafted, viewer, qtbot, click):
    section = drafted.mask_panel
    turn(section, viewer, qtbot, 0.1)
    click(drafted.image_panel.next if drafted.image_panel.next.isEnabled() else drafted.image_panel.previous)
    assert section.threshold.value() == pytest.approx(0.5)
    for _ in range(3):
        undone(viewer)
    starting = drafted.controller.session.labels.starting_mask(drafted.controller.annotation.item)
    np.testing.assert_array_equal(mask_layer(viewer).data, starting)


def test_looking_at_the_draft_leaves_the_mask_alone_and_nothing_can_be_accepted_meanwhile(
    drafted, viewer, click
):
    section, annotation = drafted.mask_panel, drafted.controller.annotation
    painted = paint(viewer, (20, 20), (100, 100))
    own = mask_layer(viewer)
    section.show_draft.press()
    shown = viewer.layers.selection.active
    np.testing.assert_array_equal(shown.data, annotation.draft)
    assert not shown.editable
    assert shown.visible
    assert not own.visible
    assert not section.accept.isEnabled()
    assert "Showing the draft" in section.accept.toolTip()
    section.show_draft.press()
    assert viewer.layers.selection.active == own
    assert own.visible
    np.testing.assert_array_equal(own.data, painted)
    click(section.accept)
    np.testing.assert_array_equal(annotation.session.labels.get(annotation.item), painted)


def test_another_image_is_shown_with_its_mask_not_the_draft(drafted, viewer, click):
    section = drafted.mask_panel
    section.show_draft.press()
    click(drafted.image_panel.next if drafted.image_panel.next.isEnabled() else drafted.image_panel.previous)
    assert not section.show_draft.isChecked()
    visible = [layer for layer in viewer.layers if isinstance(layer, Labels) and layer.visible]
    assert len(visible) == 1
    assert visible[0].editable


def test_uncertainty_lies_over_the_image_and_follows_to_the_next(drafted, viewer, qtbot, click):
    section = drafted.mask_panel

    def overlay():
        found = [layer for layer in viewer.layers if isinstance(layer, Image) and "uncertainty" in layer.name]
        return found[0] if found and found[0].visible else None

    section.uncertainty.press()
    qtbot.waitUntil(lambda: overlay() is not None, timeout=PATIENCE)
    first = overlay().data
    assert first.shape == mask_layer(viewer).data.shape
    assert viewer.layers.index(overlay()) < viewer.layers.index(mask_layer(viewer))
    click(drafted.image_panel.next if drafted.image_panel.next.isEnabled() else drafted.image_panel.previous)
    qtbot.waitUntil(lambda: overlay() is not None and overlay().data is not first, timeout=PATIENCE)
    section.uncertainty.press()
    assert overlay() is None


def test_outlines_only_and_back(opened, viewer, click):
    section = opened.mask_panel
    section.contour.press()
    assert mask_layer(viewer).contour > 0
    click(opened.image_panel.next)
    assert mask_layer(viewer).contour > 0
    section.contour.press()
    assert mask_layer(viewer).contour == 0


def test_corrections_are_kept_as_strokes_are(opened, viewer, click):
    session, item = opened.controller.session, opened.controller.annotation.item
    ring(viewer)
    opened.mask_panel.fill_holes.press()
    corrected = mask_layer(viewer).data.copy()
    click(opened.image_panel.next)
    np.testing.assert_array_equal(session.labels.edit(item), corrected)
    assert session.state(item) is ItemState.DRAFT
