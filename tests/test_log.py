"""What only a programmer understands is written to a file; people are told which."""

import logging
import sys

import pytest

from napari_semigda import log
from napari_semigda.cli import main

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the place cannot be chosen")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    yield tmp_path
    monkeypatch.undo()
    log.keep_log()  # later tests do not write into a folder that is gone


@pytest.mark.slow
def test_errors_go_to_the_file_with_their_trace_and_only_once():
    log.keep_log()
    log.keep_log()
    assert not log.log_file().exists(), "there is no file as long as nothing went wrong"
    try:
        raise ValueError("the ink is dry")
    except ValueError as error:
        logging.getLogger("napari_semigda.engine.engine").error("unexpected", exc_info=error)
    text = log.log_file().read_text(encoding="utf-8")
    assert text.count("ValueError: the ink is dry") == 1
    assert "Traceback" in text


def test_a_place_that_cannot_be_written_keeps_nobody_from_working(place):
    (place / "napari-semigda").write_text("in the way")
    log.keep_log()
    logging.getLogger("napari_semigda").error("lost, and no harm done")
    assert (place / "napari-semigda").read_text() == "in the way"


@pytest.mark.slow
def test_the_command_line_names_the_file(tmp_path, monkeypatch, capsys):
    def breaks(*_args, **_options):
        raise RuntimeError("out of paper")

    monkeypatch.setattr("napari_semigda.session.session.Session.open", breaks)
    assert main(["info", str(tmp_path)]) == 1
    assert str(log.log_file()) in capsys.readouterr().err.replace("\n", "")
    assert "out of paper" in log.log_file().read_text(encoding="utf-8")
