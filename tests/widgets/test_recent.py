"""Sessions of before are found again, and names keep what tells them apart."""

import shutil

import pytest
from qtpy.QtGui import QFont, QFontMetrics
from qtpy.QtWidgets import QFileDialog

from napari_semigda.widgets.panels.parts import elided
from napari_semigda.widgets.panels.session import MOST_RECENT, last_folder, recent_sessions, remember_session


def entries(section):
    section.recent.entries.aboutToShow.emit()
    return {entry.toolTip(): entry for entry in section.recent.entries.actions()}


def test_sessions_of_before_are_offered_and_open(widget, make_session, click):
    section = widget.session_panel
    assert section.recent.why_not
    folders = []
    for name in ("first", "second"):
        session = make_session(count=1, name=name)
        session.close()
        folders.append(session.folder)
        widget.open_session(session.folder)
    (offered,) = entries(section).values()  # not the one that is open
    assert offered.text().startswith("first")
    offered.press()
    assert widget.controller.session.folder == folders[0]
    click(section.close_session)
    assert [entry.text().split()[0] for entry in entries(section).values()] == ["first", "second"]
    shutil.rmtree(folders[1])
    assert [entry.text().split()[0] for entry in entries(section).values()] == ["first"]


def test_open_begins_beside_the_last_session(widget, make_session, monkeypatch, click):
    session = make_session(count=1)
    session.close()
    widget.open_session(session.folder)
    click(widget.session_panel.close_session)
    begun = []
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *given: begun.append(given[2]) or "")
    click(widget.session_panel.open)
    assert begun == [str(session.folder.parent)]


def test_so_many_are_kept_and_each_once(tmp_path):
    folders = [tmp_path / f"{number}" for number in range(MOST_RECENT + 3)]
    for folder in [*folders, folders[5]]:
        folder.mkdir(exist_ok=True)
        (folder / "semigda.json").touch()
        remember_session(folder)
    latest = [folders[5], *(one for one in folders[:2:-1] if one != folders[5])]
    assert recent_sessions() == latest[:MOST_RECENT]
    assert last_folder() == tmp_path


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"sessions": 3}', '{"sessions": [1, null, "x", {}]}', "[" * 9999]
)
def test_a_file_that_is_damaged_is_forgotten(tmp_path, text):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "recent.json").write_text(text)
    assert recent_sessions() == []
    assert last_folder().is_dir()


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("experiment of the third of May_plate_A_0007.png", "_0007.png"),
        ("a_very_long_name_of_a_scan_z12", "_z12"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1", " 1"),
        ("stack of many planes and more words · z 3", " 3"),
    ],
)
def test_a_name_that_is_shortened_keeps_its_number(qapp, name, end):
    metrics = QFontMetrics(QFont())
    for width in range(metrics.horizontalAdvance(end) + 40, metrics.horizontalAdvance(name), 7):
        short = elided(name, metrics, width)
        assert short.endswith(end)
        assert short[0] == name[0]
        assert "…" in short
        assert metrics.horizontalAdvance(short) <= width + 2
    assert elided(name, metrics, 10_000) == name


def test_names_in_the_dock_keep_their_numbers(widget, make_session):
    label = widget.image_panel.name
    label.resize(100, 20)
    label.setText("experiment of the third of May_0007.png")
    assert label.text() == "experiment of the third of May_0007.png"
