"""Two napari windows on one session: the second may look, says who has it, and takes over when it is free."""

import subprocess
import sys

import numpy as np
import pytest

from napari_semigda.session.session import Session
from tests.widgets.conftest import TITLE, mask_layer, paint

HOLD = """
import sys
from napari_semigda.session.session import Session
session = Session.open(sys.argv[1])
print(session.read_only or "mine", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_window(make_napari_viewer, qtbot):
    """A second viewer with a dock of its own."""
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-semigda", TITLE)
    yield viewer, widget
    widget.close_down()
    widget.deleteLater()
    qtbot.wait(1)


def test_the_second_window_looks_and_goes_on_when_the_first_is_done(
    viewer, widget, other_window, make_session, click
):
    widget.controller.adopt(make_session())
    first, item = widget.controller.session, widget.controller.annotation.item
    other_viewer, other = other_window

    other.open_session(first.folder)

    assert "is open elsewhere" in other.session_panel.name.toolTip()
    assert ", since 20" in other.session_panel.name.toolTip()
    assert not mask_layer(other_viewer).editable
    assert not other.mask_panel.accept.isEnabled()
    painted = paint(viewer)
    click(widget.mask_panel.accept)
    np.testing.assert_array_equal(first.labels(item), painted)

    widget.controller.close()
    other.open_session(first.folder)
    assert other.controller.session.read_only is None
    np.testing.assert_array_equal(other.controller.session.labels.get(item), painted)
    other.controller.annotation.show(item)
    again = paint(other_viewer, (20, 20))
    click(other.mask_panel.accept)
    other.controller.close()
    with Session.open(first.folder) as later:
        np.testing.assert_array_equal(later.labels(item), again)


def test_the_lock_of_a_killed_program_is_taken_over(viewer, widget, make_session, click):
    session = make_session()
    session.close()
    command = [sys.executable, "-c", HOLD, str(session.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "mine\n"
        widget.open_session(session.folder)
        assert not widget.mask_panel.accept.isEnabled()
        program.kill()
    assert (session.folder / "in-use.json").exists(), "it had no time to tidy up"

    widget.open_session(session.folder)

    assert widget.controller.session.read_only is None
    painted = paint(viewer)
    click(widget.mask_panel.accept)
    np.testing.assert_array_equal(
        widget.controller.session.labels.get(widget.controller.annotation.item), painted
    )
