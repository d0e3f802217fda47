"""A short afternoon at the window: what `benchmarks/afternoon.py` does with more images and longer rounds."""

import pytest

import afternoon
import annotator
from afternoon import Afternoon, Plan
from tests.widgets.conftest import TITLE
from truths import collect, drawn_lesions

LESIONS = drawn_lesions()[:12]


@pytest.fixture(autouse=True)
def quick_hand(monkeypatch):
    """The hand rests a fiftieth of a second after each action, not a tenth."""
    settle = annotator.settle
    for module in (annotator, afternoon):
        monkeypatch.setattr(module, "settle", lambda seconds=0.02: settle(min(seconds, 0.02)))


@pytest.fixture
def open_window(make_napari_viewer):
    """Opens napari with the dock."""

    def open_window():
        viewer = make_napari_viewer(show=True)
        _, widget = viewer.window.add_plugin_dock_widget("napari-semigda", TITLE)
        return viewer, widget

    return open_window


@pytest.mark.slow
def test_every_mask_accepted_in_an_afternoon_is_on_the_disk_and_exported_bit_by_bit(open_window, tmp_path):
    images = tmp_path / "images"
    plan = Plan(
        images,
        collect(LESIONS, images),
        working_size=32,
        seconds=600,
        patience=0,
        first=2,
        meanwhile=3,
        corrected=1,
        points=16,
    )
    report = Afternoon(plan, open_window).run()
    counts = report.counts
    # Two at first, one in the pause, three in the round, one after strokes here and there, one of a new
    # class, and one after each round.
    assert counts["accepted images"] == 10
    assert counts["masks on the disk as accepted"] == counts["masks exported as accepted"] == 10
    assert counts["accepted again after a correction"] == counts["classes added"] == 1
    assert counts["accepted while a round ran"] == 3
    assert counts["times undo did not reach into another image"] == 3
    assert len(report.questions) == 3  # of the new class, and two of closing
