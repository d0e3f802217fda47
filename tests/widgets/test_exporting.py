"""Export from the dock: files, progress, cancelling, overwriting."""

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QMessageBox

from napari_semigda.inference.predictor import Prediction
from tests.widgets.conftest import PATIENCE, mask_layer, paint


@pytest.fixture
def opened(widget, make_session, viewer, click):
    """A session of six samples: one accepted, one with a draft; exporting into `export` beside them."""
    session = make_session()
    widget.workbench.adopt(session)
    widget.image_section.jump.setValue(1)
    paint(viewer)
    click(widget.mask_section.accept)
    session.store_prediction(session.items[1], draft_of(session.items[1]), 0)
    return widget


def draft_of(item):
    labels = np.zeros(item.shape, np.uint8)
    labels[:20] = 1
    probabilities = np.stack([1.0 - labels, labels]).astype(np.float32)
    return Prediction(probabilities, labels, np.zeros(item.shape, np.float32), 0.5)


@pytest.fixture
def export(click, qtbot):
    """Presses Export and waits for the end."""

    def export(widget):
        click(widget.export_section.export)
        qtbot.waitUntil(lambda: not widget.export_section.exporter.running, timeout=PATIENCE)

    return export


def test_accepted_masks_are_written_and_the_others_named(opened, export, viewer, tmp_path):
    opened.export_section.folder.set_text(str(tmp_path / "out"))
    export(opened)
    (file,) = (tmp_path / "out").rglob("*_mask.tif")
    np.testing.assert_array_equal(tifffile.imread(file), mask_layer(viewer).data)
    assert "1 mask was written" in opened.export_section.outcome.text()
    assert "Left out" in opened.export_section.outcome.text()


def test_drafts_are_written_if_asked(opened, export, tmp_path):
    opened.export_section.folder.set_text(str(tmp_path / "out"))
    opened.export_section.with_drafts.setChecked(True)
    export(opened)
    assert len(list((tmp_path / "out").rglob("*_mask.tif"))) == 2


def test_nothing_is_overwritten_unasked(opened, export, click, tmp_path, monkeypatch, viewer):
    opened.export_section.folder.set_text(str(tmp_path / "out"))
    export(opened)
    (file,) = (tmp_path / "out").rglob("*_mask.tif")
    before = tifffile.imread(file)
    mask_layer(viewer).fill((0, 0), 1)
    click(opened.mask_section.accept)
    asked = []

    def answer(answer):
        monkeypatch.setattr(QMessageBox, "question", lambda *texts: asked.append(texts[2]) or answer)

    answer(QMessageBox.StandardButton.No)
    click(opened.export_section.export)
    np.testing.assert_array_equal(tifffile.imread(file), before)
    answer(QMessageBox.StandardButton.Yes)
    export(opened)
    assert not np.array_equal(tifffile.imread(file), before)
    assert len(asked) == 2
    assert "out" in asked[0]


def test_an_impossible_folder_is_told(opened, export, tmp_path, notices):
    (tmp_path / "file").write_text("in the way")
    opened.export_section.folder.set_text(str(tmp_path / "file"))
    export(opened)
    assert any("is a file" in notice for notice in notices())
    assert opened.export_section.export.isEnabled()


def test_a_cancelled_export_ends_and_says_so(widget, make_session, click, qtbot, tmp_path):
    session = make_session(40)
    for item in session.items:
        session.accept(item, np.ones(item.shape, np.uint8))
    widget.workbench.adopt(session)
    widget.export_section.folder.set_text(str(tmp_path / "out"))
    click(widget.export_section.export)
    click(widget.export_section.cancel)
    qtbot.waitUntil(lambda: not widget.export_section.exporter.running, timeout=PATIENCE)
    assert "cancelled" in widget.export_section.outcome.text()
    assert len(list((tmp_path / "out").rglob("*_mask.tif"))) < 40
