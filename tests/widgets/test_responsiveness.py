"""The benchmark that measures whether the window stays free, in small."""

import pytest

from annotator import Annotator
from napari_semigda.session.items import ItemState
from next_image import drawn_pictures
from responsiveness import FIRST, session_with_masks, show, table, work


@pytest.mark.serial
@pytest.mark.slow
def test_the_window_is_watched_while_a_round_runs_and_masks_are_accepted(widget, viewer, tmp_path):
    show(viewer)
    session_with_masks(tmp_path / "session", drawn_pictures(tmp_path, 24, 64))
    widget.open_session(tmp_path / "session")
    session = widget.controller.session
    measured = work(Annotator(viewer, widget, {}), 1.0)
    accepted = 0
    for ticks, accepting in (measured.alone, measured.in_round):
        assert len(ticks.gaps) > 3
        accepted += len(accepting.to_next)
    assert session.counts()[ItemState.ACCEPTED] == FIRST + accepted
    assert measured.drafting.steps
    assert measured.first_step > 0
    assert "until the next image is drawn" in table(measured)
