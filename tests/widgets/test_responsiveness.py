"""The benchmark that measures whether the window stays free, in small."""

import pytest

from annotator import Annotator
from napari_semigda.session.items import ItemState
from next_image import drawn_pictures
from responsiveness import FIRST, session_with_masks, show, table, work


@pytest.mark.slow
def test_the_window_is_watched_while_a_round_runs_and_masks_are_accepted(widget, viewer, tmp_path):
    show(viewer)
    session_with_masks(tmp_path / "session", drawn_pictures(tmp_path, 12, 64))
    widget.open_session(tmp_path / "session")
    session = widget.workbench.session
    measured = work(Annotator(viewer, widget, {}), 3.0)
    assert len(measured.ticks.gaps) > 10
    assert session.counts()[ItemState.ACCEPTED] == FIRST + len(measured.accepting.to_disk)
    assert measured.drafting.steps
    assert measured.first_step > 0
    assert "until the next image is drawn" in table(measured)
