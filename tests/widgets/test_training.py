"""Rounds from the dock: train, keep annotating, pause, stop, resume; drafts appear."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.samples import sample_pairs
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget
from napari_semigda.widgets.panels.round_progress import Phase
from tests.widgets.conftest import PATIENCE, activity, mask_layer, paint

MANY_STEPS = 10_000


@pytest.fixture
def begun(widget, make_session, viewer, click):
    """The dock with a session of six samples, two of them accepted; the third is on the screen."""
    widget.controller.adopt(make_session())
    for number in (1, 2):
        widget.image_panel.jump.setValue(number)
        paint(viewer)
        click(widget.mask_panel.accept)
    widget.image_panel.jump.setValue(3)
    return widget


@pytest.fixture
def wait(qtbot):
    """Waits until something is true, with napari's window alive."""
    return lambda condition: qtbot.waitUntil(condition, timeout=PATIENCE)


@pytest.fixture
def train(click):
    """Presses Train for so many steps."""

    def train(widget, steps):
        widget.train_panel.steps.setValue(steps)
        click(widget.train_panel.train)

    return train


def is_training(widget):
    return lambda: widget.controller.progress.phase is Phase.TRAINING and widget.controller.progress.steps > 1


def is_at_rest(widget):
    return lambda: widget.controller.progress.phase is Phase.IDLE and not widget.controller.runner.busy


def test_training_needs_an_accepted_mask(widget, make_session):
    widget.controller.adopt(make_session())
    assert not widget.train_panel.train.isEnabled()
    assert "Accept at least one mask" in widget.train_panel.train.toolTip()


def test_training_on_masks_without_a_labeled_pixel_is_refused(widget, make_session, train, notices):
    session = make_session()
    session.accept(session.items[0], np.full(session.items[0].shape, 255, np.uint8))
    widget.controller.adopt(session)
    train(widget, 1)
    assert any("Every pixel of the accepted masks is unlabeled" in one for one in notices())
    assert session.rounds == ()


@pytest.mark.slow
def test_a_round_makes_drafts_and_the_mask_on_screen_becomes_one(begun, train, wait, viewer):
    session = begun.controller.session
    train(begun, 4)
    wait(is_at_rest(begun))
    assert session.counts()[ItemState.DRAFT] == 4
    assert session.rounds[-1].status == "complete"
    np.testing.assert_array_equal(mask_layer(viewer).data, session.prediction(session.items[2]))
    assert "Round 1 is complete" in begun.train_panel.state.text()
    assert "round 1" in begun.session_panel.weights.text()
    assert "draft of round 1" in begun.image_panel.state.text()
    assert len(begun.controller.progress.curves["total"]) == 4


@pytest.mark.slow
def test_a_draft_never_overwrites_strokes_but_is_offered(begun, train, wait, viewer, click):
    session = begun.controller.session
    painted = paint(viewer, (30, 30))
    train(begun, 4)
    wait(is_at_rest(begun))
    np.testing.assert_array_equal(mask_layer(viewer).data, painted)
    assert "newer draft" in begun.mask_panel.notice.text()
    click(begun.mask_panel.reset)
    np.testing.assert_array_equal(mask_layer(viewer).data, session.prediction(session.items[2]))
    mask_layer(viewer).undo()
    np.testing.assert_array_equal(mask_layer(viewer).data, painted)


@pytest.mark.slow
def test_accepting_goes_on_while_a_round_runs(begun, train, wait, viewer, click):
    session = begun.controller.session
    train(begun, MANY_STEPS)
    wait(is_training(begun))
    painted = paint(viewer, (30, 30))
    click(begun.mask_panel.accept_and_go_on)
    np.testing.assert_array_equal(session.labels.get(session.items[2]), painted)
    steps = begun.controller.progress.steps
    wait(lambda: begun.controller.progress.steps > steps)
    click(begun.train_panel.stop)
    wait(is_at_rest(begun))
    assert session.counts()[ItemState.ACCEPTED] == 3
    np.testing.assert_array_equal(session.labels.get(session.items[2]), painted)


@pytest.mark.slow
def test_a_round_starts_by_itself_after_so_many_new_masks(begun, wait, click):
    session, section = begun.controller.session, begun.train_panel
    section.steps.setValue(3)
    assert section.every.text() == "manually"
    section.every.setValue(4)
    click(begun.session_panel.close_session)
    begun.open_session(session.folder)
    session = begun.controller.session
    click(begun.mask_panel.no_object)
    assert not session.rounds
    click(begun.mask_panel.no_object)
    wait(lambda: len(session.rounds) == 1)
    wait(is_at_rest(begun))
    assert (session.rounds[0].status, session.rounds[0].steps) == ("complete", 3)
    click(begun.mask_panel.no_object)
    wait(is_at_rest(begun))
    assert len(session.rounds) == 1


def test_when_rounds_begin_and_in_which_order_images_come_is_remembered_with_the_session(
    begun, make_session, click
):
    folder, section = begun.controller.session.folder, begun.train_panel
    section.minutes.setValue(2.5)
    section.steps.setValue(3)
    section.every.setValue(4)
    begun.image_panel.order.setCurrentText("list order")
    click(begun.session_panel.close_session)
    begun.controller.adopt(make_session(name="another"))
    assert (section.minutes.value(), section.steps.value(), section.every.value()) == (1, 0, 0)
    assert begun.controller.navigation.order == "mixed"
    begun.open_session(folder)
    assert (section.minutes.value(), section.steps.value(), section.every.value()) == (2.5, 3, 4)
    assert begun.controller.training.round_after == 4
    assert begun.controller.training.round_budget == Budget(steps=3, seconds=150)
    assert begun.controller.navigation.order == "list order"
    assert begun.image_panel.order.currentText() == "list order"


def test_which_sections_are_folded_is_remembered_with_the_session(begun, make_session, click):
    folder, sections = begun.controller.session.folder, begun.sections
    click(sections["Classes"].toggleButton())
    click(sections["Export"].toggleButton())
    click(begun.session_panel.close_session)
    begun.controller.adopt(make_session(name="another"))
    assert sections["Classes"].isExpanded()
    assert not sections["Export"].isExpanded()
    begun.open_session(folder)
    assert not sections["Classes"].isExpanded()
    assert sections["Export"].isExpanded()


@pytest.mark.slow
def test_the_image_on_screen_is_drafted_while_a_round_runs(begun, train, wait, click):
    session = begun.controller.session
    item = session.items[4]
    weights = begun.session_panel.weights
    assert weights.text() == "Weights: pretrained, no round yet (preset compact)"
    session.skip(item)
    train(begun, 3)
    wait(is_at_rest(begun))
    assert weights.text() == "Weights: round 1 (preset compact)"
    session.labels.unskip(item)
    assert session.prediction(item) is None
    train(begun, MANY_STEPS)
    wait(is_training(begun))
    begun.image_panel.jump.setValue(5)
    wait(lambda: session.prediction(item) is not None)
    assert begun.controller.progress.phase is Phase.TRAINING
    made_by = session.drafts.info(item).round
    wait(lambda: f"round {made_by}" in weights.text())
    click(begun.train_panel.stop)
    wait(is_at_rest(begun))


@pytest.mark.slow
def test_a_round_is_stopped_from_the_activity_dock(begun, train, wait):
    train(begun, MANY_STEPS)
    wait(is_training(begun))
    assert 0 <= activity("training round 1").n < 100
    activity("training round 1").cancel()
    wait(is_at_rest(begun))
    assert begun.controller.session.rounds[-1].status == "stopped"


@pytest.mark.slow
def test_a_paused_round_goes_on_where_it_was(begun, train, wait, click):
    section, progress = begun.train_panel, begun.controller.progress
    train(begun, 30)
    wait(is_training(begun))
    click(section.pause)
    wait(lambda: progress.phase is Phase.PAUSED and not begun.controller.runner.busy)
    steps = progress.steps
    assert section.pause.text() == "Continue"
    assert "paused" in section.state.text()
    click(section.pause)
    wait(lambda: progress.steps > steps)
    wait(is_at_rest(begun))
    assert begun.controller.session.rounds[-1].status == "complete"
    assert begun.controller.session.rounds[-1].steps == 30


@pytest.mark.slow
def test_a_stopped_round_is_resumed_after_reopening(begun, train, wait, click, dock):
    session = begun.controller.session
    train(begun, 80)
    wait(is_training(begun))
    click(begun.session_panel.close_session)
    with Session.open(session.folder) as again:
        (record,) = again.rounds
        assert record.status == "stopped"
        assert 0 < record.steps < 80
    begun.open_session(session.folder)
    assert begun.train_panel.resume.isEnabled()
    assert "can be resumed" in begun.train_panel.state.text()
    click(begun.train_panel.resume)
    wait(is_at_rest(begun))
    (record,) = begun.controller.session.rounds
    assert (record.status, record.steps) == ("complete", 80)


@pytest.mark.slow
def test_closing_with_a_paused_round_keeps_its_state(begun, train, wait, click):
    session = begun.controller.session
    train(begun, MANY_STEPS)
    wait(is_training(begun))
    click(begun.train_panel.pause)
    wait(lambda: begun.controller.progress.phase is Phase.PAUSED)
    click(begun.session_panel.close_session)
    with Session.open(session.folder) as again:
        assert again.rounds[-1].status == "stopped"


@pytest.mark.slow
def test_a_failed_round_is_told_and_annotating_goes_on(widget, tmp_path, viewer, train, wait, click, notices):
    pictures = [shutil.copy(picture, tmp_path) for picture, _ in sample_pairs()[:3]]
    widget.controller.adopt(Session.create(tmp_path / "session", pictures))
    session, first = widget.controller.session, widget.controller.annotation.item
    paint(viewer)
    click(widget.mask_panel.accept_and_go_on)
    session.images.path(first).unlink()
    train(widget, 4)
    wait(is_at_rest(widget))
    assert session.rounds[-1].status == "failed"
    assert notices()
    assert widget.train_panel.state.text() == notices()[-1]
    assert session.labels.get(first).any()
    click(widget.mask_panel.no_object)
    assert session.counts()[ItemState.ACCEPTED] == 2
    assert widget.train_panel.train.isEnabled()


@pytest.mark.slow
def test_taking_the_dock_away_during_a_round_ends_it_in_good_order(begun, train, wait, viewer):
    folder = begun.controller.session.folder
    train(begun, MANY_STEPS)
    wait(is_training(begun))
    viewer.window.remove_dock_widget(begun)
    with Session.open(folder) as again:
        assert again.rounds[-1].status == "stopped"
        assert again.counts()[ItemState.ACCEPTED] == 2


@pytest.mark.slow
def test_a_class_added_after_a_round_is_learned_by_the_next(begun, train, wait, viewer, click):
    session = begun.controller.session
    train(begun, 3)
    wait(is_at_rest(begun))
    click(begun.classes_panel.add)
    painted = paint(viewer, (100, 100))
    assert 2 in painted
    click(begun.mask_panel.accept)
    train(begun, 3)
    wait(is_at_rest(begun))
    assert session.rounds[-1].status == "complete"
    assert session.counts()[ItemState.DRAFT] == 3


def test_images_without_a_draft_are_counted_once_however_often_it_was_tried(
    widget, train, wait, notices, click, viewer, tmp_path
):
    pictures = [shutil.copy(picture, tmp_path) for picture, _ in sample_pairs()[:5]]
    settings = ImageSettings(working_size=32)
    widget.controller.adopt(Session.create(tmp_path / "session", pictures, settings=settings))
    for number in (1, 2):
        widget.image_panel.jump.setValue(number)
        paint(viewer)
        click(widget.mask_panel.accept)
    for broken in pictures[3:]:
        Path(broken).unlink()
    train(widget, 8)  # tried at each quarter of the round, and at its end
    wait(is_at_rest(widget))
    (told,) = [notice for notice in notices() if "could not be drafted" in notice]
    assert "could not be found" in told
    assert told.endswith("(1 more image has no draft either.)")
