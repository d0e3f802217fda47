"""Everything that the plugin puts into napari's menus, pressed there, as napari calls it."""

import numpy as np
import pytest
from napari.layers import Image, Labels
from qtpy.QtWidgets import QApplication, QDialog

from napari_semigda.session.items import ItemState
from napari_semigda.widgets.dock import SemiGDAWidget
from napari_semigda.widgets.menus import SegmentDialog
from tests.widgets.conftest import PATIENCE, paint


@pytest.fixture
def press(viewer):
    """Presses an entry of the window's menus, found by the words it begins with."""

    def press(*path):
        entries = viewer.window._qt_window.menuBar().actions()
        for words in path:
            entry = next(one for one in entries if one.text().replace("&", "").startswith(words))
            if entry.menu() is not None:
                entry.menu().aboutToShow.emit()
                entries = entry.menu().actions()
        assert entry.isEnabled()
        entry.trigger()

    return press


@pytest.fixture
def image(viewer):
    """An image that is not selected, below one that is."""
    chosen = viewer.add_image(np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8), name="scan")
    viewer.add_image(np.zeros((8, 8)), name="another")
    viewer.layers.selection.active = chosen
    return chosen


def test_segment_a_layer(viewer, image, press, make_trained, monkeypatch, notices, qtbot):
    session = make_trained()
    session.close()

    def answer(dialog):
        assert dialog.layer.currentText() == "scan"
        dialog.session.set_text(str(session.folder))
        return QDialog.DialogCode.Accepted

    monkeypatch.setattr(SegmentDialog, "exec", answer)
    press("Layers", "Segment", "Segment a layer with a model…")
    qtbot.waitUntil(lambda: len(viewer.layers) == 3 or bool(notices()), timeout=PATIENCE)
    assert not notices()
    assert viewer.layers[-1].data.shape == image.data.shape


def test_segment_a_layer_while_the_dock_is_open(viewer, image, press, widget, make_session, monkeypatch):
    widget.controller.adopt(make_session())
    viewer.layers.selection.active = image
    asked = []
    monkeypatch.setattr(
        SegmentDialog,
        "exec",
        lambda dialog: asked.append(dialog.layer.currentText()) or QDialog.DialogCode.Rejected,
    )
    press("Layers", "Segment", "Segment a layer with a model…")
    assert asked == ["scan"]


def test_segment_a_layer_without_an_image(viewer, press, notices):
    press("Layers", "Segment", "Segment a layer with a model…")
    assert any("no image to segment" in notice for notice in notices())


def test_labels_with_classes(viewer, image, press):
    press("File", "New Layer", "Labels with the classes of a session")
    assert isinstance(viewer.layers[-1], Labels)
    assert viewer.layers[-1].data.shape == image.data.shape


@pytest.mark.parametrize("path", [("Layers", "Segment"), ("Layers", "Annotate"), ("Plugins",)])
def test_the_dock_opens_and_works(viewer, image, press, make_session, path, qtbot):
    press(*path, "Annotate and train")
    (dock,) = (one for one in QApplication.allWidgets() if isinstance(one, SemiGDAWidget))
    dock.controller.adopt(make_session(count=2))
    paint(viewer)
    dock.mask_panel.accept_and_go_on.click()
    assert dock.controller.session.counts()[ItemState.ACCEPTED] == 1
    dock.close_down()
    dock.deleteLater()
    qtbot.wait(1)


@pytest.mark.parametrize("name", ["Sample lesions", "Sample cells"])
def test_samples(viewer, press, name):
    press("File", "Open Sample", "SemiGDA", name)
    assert [type(layer) for layer in viewer.layers] == [Image, Labels]
