"""The way through a session: where it begins, the way back, drafts of all, and words for them."""

import subprocess
import sys

import numpy as np
import pytest

from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session
from napari_semigda.session.trained_model import TrainedModel
from napari_semigda.widgets.panels.curves import MEANINGS, WORDS
from napari_semigda.widgets.panels.round_progress import Phase
from tests.widgets.conftest import PATIENCE


def drafted(session):
    return [session.drafts.info(item) is not None for item in session.items]


# The way back


def test_back_follows_the_images_shown_not_the_list(widget, make_session, click):
    widget.controller.adopt(make_session())
    section, annotation = widget.image_panel, widget.controller.annotation
    items = widget.controller.session.items
    assert not section.previous.isEnabled()
    for place in (4, 1, 5):
        annotation.show(items[place])
    shown = []
    while section.previous.isEnabled():
        click(section.previous)
        shown.append(items.index(annotation.item))
    assert shown == [1, 4, 0]
    assert "No image was shown before" in section.previous.toolTip()


def test_back_and_on_again_does_not_turn_in_circles(widget, make_session, click):
    widget.controller.adopt(make_session())
    annotation, items = widget.controller.annotation, widget.controller.session.items
    annotation.show(items[3])
    click(widget.image_panel.previous)
    click(widget.image_panel.next)
    assert annotation.position == 1
    click(widget.image_panel.previous)
    assert annotation.position == 0
    annotation.show(annotation.item)  # the same again is no step
    assert not widget.controller.navigation.can_go_back


def test_back_keeps_what_was_painted_and_passes_images_that_are_gone(widget, tmp_path, click):
    pictures = {f"scan {n}": (np.full((60, 60), 40 * n, np.uint8), (1.0, 1.0), "pixel") for n in range(5)}
    session = Session.from_arrays(tmp_path / "s", pictures)  # its pictures are its own, and may go
    session.current_item = session.items[0]
    widget.controller.adopt(session)
    annotation = widget.controller.annotation
    annotation.show(session.items[2])
    annotation.show(session.items[4])
    mask = np.zeros(session.items[4].shape, np.uint8)
    mask[10:30, 10:30] = 1
    widget.canvas.edit_mask(mask)
    session.images.path(session.items[2]).unlink()
    click(widget.image_panel.previous)
    assert (annotation.position, annotation.visible) == (2, False)
    click(widget.image_panel.previous)
    assert (annotation.position, annotation.visible) == (0, True)
    np.testing.assert_array_equal(session.labels.edit(session.items[4]), mask)


# The image to begin with


def test_a_session_made_elsewhere_begins_with_a_typical_image(widget, make_session):
    session = make_session(count=9)
    session.current_item = None
    widget.controller.adopt(session)
    assert widget.controller.annotation.visible
    first = widget.controller.annotation.item
    widget.controller.close()
    widget.open_session(session.folder)
    assert widget.controller.annotation.item.id == first.id  # and again with the one on screen last


# Drafts of all


def test_all_images_are_drafted_at_the_press_of_a_button(widget, make_trained, click, qtbot, notices):
    widget.controller.adopt(make_trained())
    session, section = widget.controller.session, widget.train_panel
    session.skip(session.items[5])
    click(section.draft_all)
    qtbot.waitUntil(
        lambda: sum(drafted(session)) == 5 and not widget.controller.runner.busy, timeout=PATIENCE
    )
    assert drafted(session) == [True] * 5 + [False]
    qtbot.waitUntil(lambda: section.draft_all.isEnabled(), timeout=PATIENCE)
    click(section.draft_all)
    qtbot.waitUntil(lambda: any("newest weights" in one for one in notices()), timeout=PATIENCE)


def test_making_drafts_of_all_can_be_stopped(widget, make_trained, click, qtbot):
    widget.controller.adopt(make_trained(count=12))
    session, section = widget.controller.session, widget.train_panel
    click(section.draft_all)
    qtbot.waitUntil(lambda: sum(drafted(session)) >= 2 and section.stop.isEnabled(), timeout=PATIENCE)
    assert not section.draft_all.isEnabled()
    click(section.stop)
    qtbot.waitUntil(lambda: widget.controller.progress.phase is Phase.IDLE, timeout=PATIENCE)
    assert section.draft_all.isEnabled()


def test_without_weights_there_are_no_drafts(widget, make_session):
    widget.controller.adopt(make_session())
    assert not widget.train_panel.draft_all.isEnabled()
    assert "train a round" in widget.train_panel.draft_all.toolTip()


def test_drafts_of_imported_weights_come_for_all_images_and_are_named(
    widget, make_trained, make_session, qtbot
):
    trained = make_trained(count=3, name="before")
    session = make_session(name="new")
    trained.close()
    session.close()
    TrainedModel.find(trained.folder).import_into(session.folder)
    widget.open_session(session.folder)
    session = widget.controller.session
    qtbot.waitUntil(lambda: all(drafted(session)), timeout=PATIENCE)
    qtbot.waitUntil(lambda: not widget.controller.runner.busy, timeout=PATIENCE)
    assert session.counts()[ItemState.DRAFT] == len(session.items)
    assert widget.image_panel.state.text().startswith("draft of the imported model")


# Words


def test_losses_have_a_legend_in_words(widget):
    assert set(WORDS) == set(MEANINGS)
    curves = widget.train_panel.curves
    assert curves.isHidden()
    for name in ("unlabeled dice", "mixed dice"):
        assert name not in WORDS.values()


# Getting ready

COLD = """
import sys, time
import napari
from pathlib import Path
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from napari_semigda import Session
viewer = napari.Viewer(show=False)
QTest.qWait(100)
loaded = set(sys.modules)
_, dock = viewer.window.add_plugin_dock_widget("napari-semigda", "Annotate and train")
assert "torch" not in sys.modules or dock.ready is False
assert not dock.ready
assert dock.cursor().shape() is Qt.CursorShape.BusyCursor
if sys.argv[1] == "early":
    dock.open_session(sys.argv[2])
    assert dock.controller.annotation.item is not None  # whoever asks waits
elif sys.argv[1] == "closed":
    dock.close_down()
    end = time.monotonic() + 60
    while "napari_semigda.widgets.dock" not in sys.modules and time.monotonic() < end:
        QTest.qWait(50)
    QTest.qWait(100)
    assert not dock.ready
else:
    dock.open_session(sys.argv[2])
    end = time.monotonic() + 60
    while not dock.ready and time.monotonic() < end:
        QTest.qWait(20)
    assert dock.controller.session is not None
    assert dock.cursor().shape() is not Qt.CursorShape.BusyCursor
dock.close_down()
viewer.close()
print("well")
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["early", "waiting", "closed"])
def test_the_dock_is_there_before_pytorch_is(make_session, tmp_path, how, viewer):
    session = make_session()
    session.close()
    words = [sys.executable, "-c", COLD, how, str(session.folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1:] == ["well"], done.stderr
