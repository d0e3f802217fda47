"""A real viewer with the plugin's dock, and small sessions of the bundled samples."""

import gc
import warnings

import napari.settings
import pytest
from napari.utils import progress
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QApplication

from napari_semigda.downloads import keep_downloads_in
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.checkpoint import save_checkpoint
from napari_semigda.model.network import SemiGDANet
from napari_semigda.samples import sample_pairs
from napari_semigda.session.rounds import MODEL
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget, Recipe
from napari_semigda.widgets import annotation, keys
from napari_semigda.widgets.preferences import get_plugin_settings, settings

TITLE = "Annotate and train"
PATIENCE = 60_000  # milliseconds; nothing waits that long unless something is broken


QUICK = {"test_annotating", "test_correcting", "test_menus", "test_new_labels", "test_reasons", "test_tips"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests with a window take a second each: those of the daily work alone belong to the quick part."""
    for item in items:
        in_a_window = "make_napari_viewer" in getattr(item, "fixturenames", ())
        if in_a_window and item.path.stem not in QUICK:
            item.add_marker(pytest.mark.slow)


def leave_out_of_collections():
    """Leave what earlier tests imported or kept out of the collections that napari asks for, four a test."""
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    gc.freeze()


@pytest.fixture
def make_session(tmp_path):
    """Makes a session of the first few bundled samples, as small as the network allows."""

    def make(count=6, name="session", classes=("lesion",)):
        session = Session.create(
            tmp_path / name,
            [picture for picture, _ in sample_pairs()[:count]],
            classes=classes,
            settings=ImageSettings(working_size=32),
        )
        session.current_item = session.items[0]  # else it begins with a typical one
        return session

    return make


@pytest.fixture(autouse=True)
def preferences(monkeypatch, tmp_path):
    """The plugin's settings as they are without anybody's choices; nothing chosen in a test is kept."""
    monkeypatch.setattr("napari_semigda.widgets.panels.session.user_data_path", lambda _: tmp_path / "own")
    monkeypatch.setattr(napari.settings, "_CFG_PATH", None, raising=False)
    forget = getattr(napari.settings, "_clear_plugin_settings_cache", None) or get_plugin_settings.cache_clear
    forget()
    yield settings
    forget()
    keys.read_again()
    keep_downloads_in(None)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Clicks of tests come as soon as a mask appears, and are meant."""
    monkeypatch.setattr(annotation, "SEEN_AFTER", 0.0)


@pytest.fixture
def make_trained(make_session):
    """Makes a session with the weights of a round: those that `compact` starts from."""

    def make(**choices):
        session = make_session(**choices)
        record = session.rounds.begin(Recipe(), Budget(steps=1), 0, warm=False)
        model = SemiGDANet("compact", session.classes.channels)
        metadata = {"round": record.number, "class_names": [info.name for info in session.classes]}
        metadata["settings"] = session.settings.to_dict()
        save_checkpoint(session.rounds.folder(record.number) / MODEL, model, metadata)
        session.rounds.finish(record, "complete", steps=1, seconds=0.0)
        return session

    return make


@pytest.fixture
def viewer(make_napari_viewer):
    leave_out_of_collections()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield make_napari_viewer()


@pytest.fixture
def dock(viewer, qtbot):
    """Opens the plugin's dock as the menu does, and takes it away again at the end."""
    opened = []

    def open_dock():
        _, widget = viewer.window.add_plugin_dock_widget("napari-semigda", TITLE)
        opened.append(widget)
        return widget

    yield open_dock
    for widget in opened:
        widget.close_down()
        widget.deleteLater()
    qtbot.wait(1)  # lets Qt delete what napari's fixture counts as leaked


@pytest.fixture
def widget(dock):
    return dock()


@pytest.fixture
def click(qtbot):
    """Clicks a button, which has to be allowed."""

    def click(button):
        assert button.isEnabled(), button.toolTip()
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    return click


@pytest.fixture
def notices():
    """What napari has notified people of, during this test."""
    notification_manager.records.clear()
    return lambda: [str(record.message) for record in notification_manager.records]


@pytest.fixture
def answer(qtbot):
    """Waits for the next question, and clicks the button with this text, or presses Enter; gives its text."""
    asked = []

    def answer(text=None):
        def press():
            question = QApplication.activeModalWidget()
            if question is None:
                QTimer.singleShot(10, press)
                return
            asked.append(question.text())
            buttons = {button.text().strip("&"): button for button in question.buttons()}
            (question.defaultButton() if text is None else buttons[text]).click()

        QTimer.singleShot(0, press)
        return asked

    return answer


def activity(words):
    """The line of napari's activity dock that says this; its `cancel` is what its button calls."""
    return next(line for line in progress._all_instances if words in line.desc)


def mask_layer(viewer):
    """The mask on the screen."""
    from napari.layers import Labels

    return next(layer for layer in viewer.layers if isinstance(layer, Labels))


def paint(viewer, *places, brush=20):
    """Paint a stroke of dabs of the brush at these places; returns the mask as it stands then."""
    layer = mask_layer(viewer)
    layer.brush_size = brush
    with layer.block_history():
        for place in places or ((60, 60), (66, 70)):
            layer.paint(place, layer.selected_label)
    return layer.data.copy()
