"""The table of all images: click, find, sort, filter; rows follow what happens."""

import time

import numpy as np
import pytest
from qtpy.QtCore import QPersistentModelIndex, Qt

from napari_semigda.inference.predictor import Prediction
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.session.classes import ClassInfo
from napari_semigda.session.items import Item, Status
from napari_semigda.session.manifest import Manifest, write_manifest
from napari_semigda.session.session import Session
from napari_semigda.widgets.panels.image_model import (
    EFFORT,
    NAME,
    SCORE,
    SIDE,
    STATE,
    WORDS,
    ImageModel,
    Thumbnails,
)
from napari_semigda.widgets.panels.table import ImageTable
from tests.widgets.conftest import PATIENCE, paint


@pytest.fixture
def opened(widget, make_session, qtbot):
    """The dock with a session of six samples, whose table is there."""
    widget.controller.adopt(make_session())
    qtbot.waitUntil(lambda: widget.table_panel.model.rowCount() == 6, timeout=PATIENCE)
    return widget


def store(session, place, score):
    item = session.items[place]
    blank = np.zeros(item.shape, np.uint8)
    session.drafts.store(item, Prediction(np.zeros((2, 1, 1), np.float32), blank, blank, score), 1)


def column(widget, number):
    model = widget.table_panel.model
    return [model.data(model.index(row, number)) for row in range(model.rowCount())]


def places(widget):
    """Numbers, in the list, of the images that the table shows."""
    model, session = widget.table_panel.model, widget.controller.session
    return [session.items.index(model.item(model.index(row, NAME))) + 1 for row in range(model.rowCount())]


def click_row(qtbot, table, row):
    place = table.visualRect(table.model().index(row, NAME)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)


def choose(widget, standing):
    widget.table_panel.states.setCurrentText(WORDS[standing])


def selected_row(table):
    return [index.row() for index in table.selectionModel().selectedRows()]


def test_a_click_shows_the_image_and_its_row_is_selected(opened, qtbot):
    section = opened.table_panel
    section.table.resize(300, 260)
    click_row(qtbot, section.table, 3)
    assert opened.controller.annotation.position == 3
    assert selected_row(section.table) == [3]
    opened.image_panel.jump.setValue(2)
    assert selected_row(section.table) == [1]


def test_rows_follow_what_the_annotator_does(opened, viewer, click):
    session = opened.controller.session
    opened.image_panel.jump.setValue(1)
    assert column(opened, STATE) == ["no mask"] * 6
    reset = []
    opened.table_panel.model.modelReset.connect(lambda: reset.append(True))
    paint(viewer)
    click(opened.image_panel.next)
    assert column(opened, STATE)[0] == "painted"
    click(opened.image_panel.previous)
    click(opened.mask_panel.accept)
    store(session, 4, 0.37)
    opened.image_panel.jump.setValue(3)
    click(opened.image_panel.skip)
    assert column(opened, STATE) == [
        "accepted",
        "no mask",
        "skipped",
        "no mask",
        "draft",
        "no mask",
    ]
    assert column(opened, SCORE) == ["", "", "", "", "0.37", ""]
    assert not reset


def test_the_effort_of_an_accepted_draft_is_shown(opened, viewer, click):
    store(opened.controller.session, 1, 0.5)
    opened.image_panel.jump.setValue(2)
    painted = paint(viewer)
    click(opened.mask_panel.accept)
    assert column(opened, EFFORT)[1] == f"{100 * painted.mean():.1f} %"


def test_sorting_by_a_column_keeps_the_image_on_screen_marked(opened):
    session, section = opened.controller.session, opened.table_panel
    for place, score in enumerate((0.1, 0.5, 0.3)):
        store(session, place, score)
    opened.image_panel.jump.setValue(3)
    opened.controller.states_changed.emit()
    section.table.sortByColumn(SCORE, Qt.SortOrder.DescendingOrder)
    assert places(opened) == [2, 3, 1, 4, 5, 6]
    assert selected_row(section.table) == [1]
    section.table.sortByColumn(NAME, Qt.SortOrder.AscendingOrder)
    assert places(opened) == [1, 2, 3, 4, 5, 6]
    assert selected_row(section.table) == [2]


def test_finding_by_name_and_state(opened, click):
    section, items = opened.table_panel, opened.controller.session.items
    section.search.setText(items[4].name.upper())
    assert column(opened, NAME) == [items[4].name.removesuffix(".png")]
    assert opened.sections["Images"].text() == "▾  Images  (1 of 6)"
    section.search.clear()
    opened.image_panel.jump.setValue(2)
    click(opened.mask_panel.no_object)
    choose(opened, Status.ACCEPTED)
    assert places(opened) == [2]
    choose(opened, Status.SKIPPED)
    assert places(opened) == []
    assert opened.sections["Images"].text() == "▾  Images  (none of 6)"
    section.states.setCurrentIndex(0)
    assert opened.sections["Images"].text() == "▾  Images"


def test_a_filtered_table_lets_go_of_rows_and_takes_in_others(opened, click):
    section = opened.table_panel
    choose(opened, Status.UNLABELED)
    kept = QPersistentModelIndex(section.model.index(5, NAME))
    for number in (1, 2, 4):
        opened.image_panel.jump.setValue(number)
        click(opened.mask_panel.no_object)
    assert places(opened) == [3, 5, 6]
    assert kept.row() == 2
    opened.image_panel.jump.setValue(3)
    click(opened.image_panel.skip)
    opened.image_panel.jump.setValue(3)
    click(opened.image_panel.skip)  # takes it back
    assert places(opened) == [3, 5, 6]


def thumbnail(model):
    icon = model.data(model.index(0, NAME), Qt.ItemDataRole.DecorationRole)
    return icon.pixmap(SIDE, SIDE).toImage()


def test_thumbnails_come_after_a_while(opened, qtbot):
    model = opened.table_panel.model
    opened.table_panel.table.hide()  # nobody has asked for one yet
    with qtbot.waitSignal(model.dataChanged, timeout=PATIENCE):
        assert thumbnail(model).pixelColor(0, 0).alpha() == 0
    assert thumbnail(model).pixelColor(0, 0).alpha() == 255


def test_a_closed_session_leaves_an_empty_table_and_a_word_why(opened, click):
    click(opened.session_panel.close_session)
    section = opened.table_panel
    assert section.model.rowCount() == 0
    assert not section.search.isEnabled()
    assert "Open a session first." in section.search.toolTip()


def test_pictures_that_cannot_be_read_have_no_thumbnail(make_session, qtbot, tmp_path):
    good = make_session(2)
    copied = tmp_path / "broken.png"
    copied.write_bytes(good.picture_path(good.items[0]).read_bytes())
    session = Session.create(tmp_path / "with broken", [copied])
    copied.write_bytes(b"not a picture")
    thumbnails = Thumbnails(session)
    with qtbot.waitSignal(thumbnails.made, timeout=PATIENCE):
        assert thumbnails.of(session.items[0]) is None
    assert thumbnails.of(session.items[0]).isNull()
    thumbnails.close()


def twenty_thousand(folder):
    """A session of as many items, of which no picture is there."""
    items = tuple(
        Item(f"i{number}", f"scan {number}.png", f"{number}.png", (8, 8)) for number in range(20_000)
    )
    classes = (ClassInfo(1, "object", "#ff0000"),)
    write_manifest(folder, Manifest(classes, "compact", ImageSettings(working_size=32), items))
    return Session.open(folder)


def test_twenty_thousand_rows_are_quick(tmp_path, qtbot):
    session = twenty_thousand(tmp_path)
    overview, model = session.overview(), ImageModel()
    table = ImageTable(model)
    qtbot.addWidget(table)
    table.show()
    thumbnails = Thumbnails(session)
    model.begin(overview, thumbnails)
    session.skip(session.items[7])
    times = {}

    def timed(name, action):
        started = time.process_time()
        action()
        times[name] = time.process_time() - started

    timed("update", model.update)
    timed("sort", lambda: table.sortByColumn(STATE, Qt.SortOrder.DescendingOrder))
    timed("filter", lambda: model.filter("99", tuple(Status)))
    timed("all again", lambda: model.filter("", tuple(Status)))
    timed("go", lambda: table.show_row(model.index(15_000, NAME)))
    thumbnails.close()
    assert model.rowCount() == 20_000
    assert max(times.values()) < 0.5, times
