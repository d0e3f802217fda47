"""The dock on windows of usual sizes: the main buttons are always seen, nothing is cut off, nothing jumps."""

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QAbstractButton, QApplication, QLabel, QMessageBox

from napari_semigda.widgets.panels.layout import Column
from tests.widgets.conftest import TITLE


@pytest.fixture
def dock_on_screen(make_napari_viewer, make_trained, qtbot):
    viewer = make_napari_viewer(show=True)
    _, widget = viewer.window.add_plugin_dock_widget("napari-semigda", TITLE)
    widget.controller.adopt(make_trained(classes=("lesion", "vessel")))
    window = widget.window()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    yield widget
    widget.close_down()


def main_buttons(dock):
    return (
        dock.mask_panel.accept_and_go_on,
        dock.mask_panel.accept,
        dock.train_panel.train,
        dock.train_panel.stop,
        dock.export_panel.export,
    )


def is_whole(part):
    """Whether all of a part is seen and none of its words is cut off."""
    corner = part.mapTo(part.window(), QPoint(0, 0))
    return (
        part.isVisible()
        and part.visibleRegion().boundingRect() == part.rect()
        and part.window().rect().contains(part.rect().translated(corner))
        and part.width() >= part.sizeHint().width()
    )


@pytest.mark.parametrize("size", [(1280, 800), (900, 560)])
def test_the_main_buttons_are_seen_however_far_one_scrolls(dock_on_screen, size, qtbot):
    dock_on_screen.window().resize(*size)
    for section in dock_on_screen.sections.values():
        section.expand(animate=False)
    bar = dock_on_screen.findChild(Column).verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 0)
    for value in (0, bar.maximum() // 2, bar.maximum()):
        bar.setValue(value)
        assert all(map(is_whole, main_buttons(dock_on_screen)))
    assert (
        dock_on_screen.table_panel.table.rowAt(dock_on_screen.table_panel.table.viewport().height() - 8) >= 4
    )


def test_nothing_is_seen_by_half(dock_on_screen, qtbot):
    dock_on_screen.window().resize(1000, 640)
    column = dock_on_screen.findChild(Column)
    bar, viewport = column.verticalScrollBar(), column.viewport()
    qtbot.waitUntil(lambda: bar.maximum() > 0)
    for value in range(0, bar.maximum() + 1, 7):
        bar.setValue(value)
        QApplication.processEvents()
        for part in column.findChildren(QAbstractButton):
            seen = part.visibleRegion().boundingRect().intersected(part.rect())
            top = part.mapTo(viewport, QPoint(0, 0)).y()
            middle = QPoint(part.width() // 2, part.height() // 2)
            under = viewport.childAt(part.mapTo(viewport, middle))
            inside = top >= 0 and top + part.height() <= viewport.height()
            assert seen.isEmpty() or inside or under is not part, part.text()


def test_letters_of_any_size_are_not_cut_off(dock_on_screen, qtbot):
    before = dock_on_screen.minimumSizeHint().width()
    dock_on_screen.setStyleSheet("* {font-size: 20pt}")
    qtbot.waitUntil(lambda: dock_on_screen.width() > before)
    qtbot.waitUntil(lambda: all(map(is_whole, main_buttons(dock_on_screen))))
    dock_on_screen.setStyleSheet("")


def test_buttons_stay_where_they_are_when_work_begins_and_ends(dock_on_screen):
    actions, bar = dock_on_screen.main_actions, dock_on_screen.train_panel.bar
    heights = []
    for working in (True, False):
        bar.setVisible(working)
        QApplication.processEvents()
        heights.append(actions.sizeHint().height())
    assert heights[0] == heights[1]


def test_looking_at_the_draft_moves_nothing(dock_on_screen, qtbot):
    dock = dock_on_screen
    item = dock.controller.annotation.item
    qtbot.waitUntil(lambda: dock.controller.session.drafts.info(item) is not None, timeout=60_000)
    qtbot.waitUntil(dock.mask_panel.show_draft.isEnabled)
    parts = [part for part in dock.findChildren(QAbstractButton) if part.isVisible()]
    places = [part.mapTo(dock, QPoint(0, 0)) for part in parts]
    for _ in range(2):
        dock.mask_panel.show_draft.press()
        QApplication.processEvents()
        assert [part.mapTo(dock, QPoint(0, 0)) for part in parts] == places


def test_a_section_that_is_unfolded_and_what_came_of_an_export_are_scrolled_to(dock_on_screen, qtbot, click):
    dock_on_screen.window().resize(1000, 640)
    export = dock_on_screen.export_panel
    qtbot.mouseClick(dock_on_screen.sections["Train"].toggleButton(), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock_on_screen.train_panel.every.visibleRegion().isEmpty() is False)
    click(export.export)
    qtbot.waitUntil(lambda: bool(export.outcome.text()) and not export.outcome.visibleRegion().isEmpty())


def test_a_question_in_front_of_the_window_hides_nothing_of_the_dock(dock_on_screen, qtbot):
    column = dock_on_screen.findChild(Column)
    viewport = column.viewport()

    def in_sight(button):
        return viewport.childAt(button.mapTo(viewport, button.rect().center())) is button

    seen = [button for button in column.findChildren(QAbstractButton) if in_sight(button)]
    question = QMessageBox(parent=dock_on_screen.classes_panel)
    question.setText("Is\nthis\na\nquestion?")
    question.show()
    words = next(label for label in question.findChildren(QLabel) if "question" in label.text())
    start = words.mapTo(column.widget(), QPoint(0, 0)).y() - question.y()
    question.move(0, viewport.height() - words.height() + 4 - start)  # across the end of what is seen, to Qt
    QApplication.processEvents()
    column.verticalScrollBar().valueChanged.emit(0)
    assert seen
    assert all(map(in_sight, seen))
    question.close()
    question.deleteLater()


def test_a_session_of_a_long_name_makes_the_dock_no_wider(dock_on_screen, qtbot, make_session):
    column = dock_on_screen.findChild(Column)
    dock_on_screen.controller.adopt(make_session(name="a long name of a session that says everything"))
    heading = dock_on_screen.sections["Session"].toggleButton()
    qtbot.waitUntil(lambda: "…" in heading.text() and heading.text().endswith(": 0 of 6 accepted)"))
    assert column.widget().width() <= column.viewport().width()
    assert heading.fontMetrics().horizontalAdvance(heading.text()) <= heading.width()


def test_the_sections_fill_the_dock_when_it_is_opened_again(dock_on_screen, qtbot):
    actions = dock_on_screen.main_actions
    dock_on_screen.window().resize(1280, 800)
    qtbot.waitUntil(lambda: actions.isVisible() and dock_on_screen.height() > 400)

    def below():
        return dock_on_screen.height() - actions.mapTo(dock_on_screen, actions.rect().bottomLeft()).y()

    qtbot.waitUntil(lambda: below() < 8)
