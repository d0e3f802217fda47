"""Paths as they are while somebody types them: every letter is a path, and most are nonsense."""

import os
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_semigda.samples import sample_pairs
from napari_semigda.widgets.menus import SegmentDialog
from napari_semigda.widgets.panels.new_session import NewSessionDialog
from tests.widgets.conftest import PATIENCE


@pytest.fixture
def scans(tmp_path):
    """A folder of three images, one of them below, and a file that is none."""
    folder = tmp_path / "scans"
    (folder / "below").mkdir(parents=True)
    for place, (picture, _) in zip(("a.png", "b.png", "below/c.png"), sample_pairs(), strict=False):
        (folder / place).write_bytes(picture.read_bytes())
    (folder / "notes.txt").write_text("none")
    return folder


@pytest.fixture
def dialog(viewer, tmp_path, qtbot):
    dialog = NewSessionDialog([], tmp_path)
    qtbot.addWidget(dialog)
    dialog.show()
    yield dialog
    dialog.reject()


ODD = (
    "/",
    "//",
    "~",
    "~nobody-of-that-name/x",
    ".",
    "..",
    "../..",
    "a",
    "a/b",
    "/..",
    "/dev/null",
    "/dev/null/x",
    "\\",
)


@pytest.mark.parametrize("line", ["images", "folder", "start", "weights"])
def test_every_letter_of_a_path_can_be_typed(dialog, scans, line, qtbot, capfd):
    dialog.more.setChecked(True)
    typed = getattr(dialog, line)
    for text in (str(scans), "~/" + "x" * 300, *ODD):
        typed.line.clear()
        typed.line.setFocus()
        qtbot.keyClicks(typed.line, text)
        dialog.plan().missing()
    assert "Traceback" not in "".join(capfd.readouterr())


def test_what_is_wrong_with_a_path_is_said(dialog, scans, tmp_path, monkeypatch):
    for text, words in (
        ("", "folder that contains the images"),
        ("scans", "full path"),
        (str(scans / "a.png"), "is a file"),
        (str(scans / "nowhere"), "There is no folder"),
    ):
        dialog.images.set_text(text)
        assert words in dialog.why_not.text()
        assert not dialog.make.isEnabled()
    dialog.images.set_text(str(scans))
    for text, words in (
        ("", "Choose a folder"),
        ("session", "full path"),
        (str(scans / "a.png"), "is a file"),
        (str(scans / "a.png" / "session"), "is a file"),
    ):
        dialog.folder.set_text(text)
        assert words in dialog.why_not.text()
    dialog.folder.set_text(str(tmp_path / "session"))
    assert dialog.make.isEnabled()
    for line in (dialog.start, dialog.weights):
        line.set_text(str(tmp_path / "nothing"))
        assert "There is no file" in dialog.why_not.text()
        line.set_text("")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_told(dialog, scans):
    scans.chmod(0)
    dialog.images.set_text(str(scans))
    assert "permission denied" in dialog.why_not.text()
    scans.chmod(0o700)


def test_the_own_folder_can_be_written_as_a_tilde(dialog, scans, monkeypatch):
    monkeypatch.setenv("HOME", str(scans.parent))
    dialog.images.set_text("~/scans")
    assert dialog.plan().source == scans
    assert dialog.plan().folder == scans.with_name("scans session")


def test_how_many_images_there_are_is_said(dialog, scans, qtbot):
    dialog.images.set_text(str(scans))
    qtbot.waitUntil(lambda: dialog.found.text() == "3 images found.", timeout=PATIENCE)
    dialog.images.set_text(str(scans / "below"))
    qtbot.waitUntil(lambda: dialog.found.text() == "1 image found.", timeout=PATIENCE)
    (scans / "empty").mkdir()
    dialog.images.set_text(str(scans / "empty"))
    qtbot.waitUntil(lambda: dialog.found.text().startswith("No image"), timeout=PATIENCE)


def test_a_whole_disk_does_not_hold_the_window_up(dialog, qtbot, monkeypatch):
    monkeypatch.setattr("napari_semigda.widgets.panels.new_session.COUNTED_FOR", 0.05)
    dialog.images.set_text("/")
    qtbot.waitUntil(lambda: "large folder" in dialog.found.text(), timeout=PATIENCE)
    assert dialog.make.isEnabled()


def test_what_most_sessions_leave_as_it_is_is_folded(dialog, qtbot):
    for part in (dialog.images, dialog.folder, dialog.classes, dialog.one_object):
        assert part.isVisible()
    more = (dialog.start, dialog.preset, dialog.weights, dialog.working_size, dialog.framing, dialog.channels)
    assert not any(part.isVisible() for part in more)
    qtbot.mouseClick(dialog.more, Qt.MouseButton.LeftButton)
    assert all(part.isVisible() for part in more)


def test_half_a_path_of_a_model(viewer, qtbot, tmp_path):
    layer = viewer.add_image(np.zeros((8, 8)))
    dialog = SegmentDialog([layer], layer, None)
    qtbot.addWidget(dialog)
    for text in (*ODD, str(Path.home()), "~/" + "x" * 300):
        dialog.session.set_text(text)
        assert not dialog.segment.isEnabled()
        assert dialog.words.text()


def test_words_of_the_dialog_are_not_cut_off_in_large_letters(dialog, qtbot):
    dialog.setStyleSheet("* {font-size: 15pt}")
    dialog.more.setChecked(True)
    qtbot.waitUntil(lambda: dialog.one_object.width() >= dialog.one_object.sizeHint().width())
    words = dialog.preset_words
    qtbot.waitUntil(lambda: words.height() >= words.heightForWidth(words.width()))
