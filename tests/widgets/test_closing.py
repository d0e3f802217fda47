"""Closing napari's window: nothing painted or learned is lost."""

import gc
import weakref

import numpy as np
import pytest
from qtpy.QtWidgets import QMessageBox

from napari_semigda.session.session import Session
from napari_semigda.widgets.panels.round_progress import Phase
from tests.widgets.conftest import PATIENCE, TITLE, mask_layer, paint


@pytest.fixture
def shown(make_napari_viewer, make_session, click):
    """A visible window with the dock on a session, one mask accepted; the second image is on the screen."""
    viewer = make_napari_viewer(show=True)
    _, widget = viewer.window.add_plugin_dock_widget("napari-semigda", TITLE)
    widget.controller.adopt(make_session())
    widget.image_panel.jump.setValue(1)
    paint(viewer)
    click(widget.mask_panel.accept)
    widget.image_panel.jump.setValue(2)
    return viewer, widget


def test_closing_the_window_keeps_the_strokes(shown):
    viewer, widget = shown
    session = widget.controller.session
    painted = paint(viewer, (20, 20))
    viewer.window.close()
    assert widget.controller.session is None
    with Session.open(session.folder) as again:
        np.testing.assert_array_equal(again.labels.edit(session.items[1]), painted)


def press(question, words):
    next(button for button in question.buttons() if button.text() == words).click()


def test_closing_the_window_asks_before_strokes_are_lost(shown, monkeypatch):
    viewer, widget = shown
    session, asked = widget.controller.session, []
    answers = iter(["Cancel", "Close and lose them"])
    monkeypatch.setattr(
        QMessageBox, "exec", lambda box: asked.append(box.text()) or press(box, next(answers))
    )
    painted = paint(viewer, (20, 20))
    (session.folder / "edits").rmdir()
    (session.folder / "edits").touch()  # no folder can be made in its place
    assert not viewer.window._qt_window.close()
    assert widget.controller.session is session
    np.testing.assert_array_equal(mask_layer(viewer).data, painted)
    assert "could not be saved" in asked[0]
    assert str(session.folder) in asked[0]
    viewer.window.close()
    assert len(asked) == 2
    assert widget.controller.session is None


def test_closing_the_dock_leaves_strokes_on_the_screen_that_cannot_be_saved(shown):
    viewer, widget = shown
    painted = paint(viewer, (20, 20))
    edits = widget.controller.session.folder / "edits"
    edits.rmdir()
    edits.touch()  # no folder can be made in its place
    widget.close_down()
    np.testing.assert_array_equal(mask_layer(viewer).data, painted)


@pytest.mark.slow
@pytest.mark.parametrize("paused", [False, True])
def test_closing_the_window_during_a_round_stops_it_so_that_it_can_be_resumed(shown, click, qtbot, paused):
    viewer, widget = shown
    session, progress = widget.controller.session, widget.controller.progress
    widget.train_panel.steps.setValue(10_000)
    click(widget.train_panel.train)
    qtbot.waitUntil(lambda: progress.steps > 1, timeout=PATIENCE)
    if paused:
        click(widget.train_panel.pause)
        qtbot.waitUntil(lambda: progress.phase is Phase.PAUSED, timeout=PATIENCE)
    viewer.window.close()
    with Session.open(session.folder) as again:
        assert again.rounds[-1].status == "stopped"
        assert again.labels.get(session.items[0]).any()


@pytest.mark.slow
def test_a_closed_session_leaves_no_network_in_memory(widget, make_session, viewer, click, qtbot):
    widget.controller.adopt(make_session())
    paint(viewer)
    click(widget.mask_panel.accept)
    widget.train_panel.steps.setValue(3)
    click(widget.train_panel.train)
    progress = widget.controller.progress
    qtbot.waitUntil(
        lambda: progress.phase is Phase.IDLE and not widget.controller.runner.busy, timeout=PATIENCE
    )
    engine = weakref.ref(widget.controller.runner.engine)
    click(widget.session_panel.close_session)
    qtbot.wait(1)  # lets Qt delete what is no longer needed
    gc.collect()
    assert engine() is None


def test_closing_the_window_does_not_wait_for_its_layers_to_be_taken_away(shown):
    viewer, _ = shown
    layers = list(viewer.layers)
    viewer.window.close()
    assert list(viewer.layers) == layers
