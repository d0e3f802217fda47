"""Export from the dock: files, progress, cancelling, overwriting."""

import numpy as np
import pytest
import tifffile

from napari_semigda.inference.predictor import Prediction
from napari_semigda.session.exporting.formats import Coco, OmeTiff, PlainTiff
from tests.widgets.conftest import PATIENCE, mask_layer, paint


@pytest.fixture
def opened(widget, make_session, viewer, click):
    """A session of six samples: one accepted, one with a draft; exporting into `export` beside them."""
    session = make_session()
    widget.controller.adopt(session)
    widget.image_panel.jump.setValue(1)
    paint(viewer)
    click(widget.mask_panel.accept)
    session.drafts.store(session.items[1], draft_of(session.items[1]), 0)
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
        click(widget.export_panel.export)
        qtbot.waitUntil(lambda: not widget.export_panel.running, timeout=PATIENCE)

    return export


def test_accepted_masks_are_written_and_the_others_named(opened, export, viewer, tmp_path):
    opened.export_panel.folder.set_text(str(tmp_path / "out"))
    export(opened)
    (file,) = (tmp_path / "out").rglob("*_mask.tif")
    np.testing.assert_array_equal(tifffile.imread(file), mask_layer(viewer).data)
    assert "1 file was written" in opened.export_panel.outcome.text()
    assert "Left out" in opened.export_panel.outcome.text()


def test_drafts_are_written_if_asked(opened, export, tmp_path):
    opened.export_panel.folder.set_text(str(tmp_path / "out"))
    opened.export_panel.choice.with_drafts.setChecked(True)
    export(opened)
    assert len(list((tmp_path / "out").rglob("*_mask.tif"))) == 2


def test_nothing_is_overwritten_unasked(opened, export, answer, click, tmp_path, viewer):
    opened.export_panel.folder.set_text(str(tmp_path / "out"))
    export(opened)
    (file,) = (tmp_path / "out").rglob("*_mask.tif")
    before = tifffile.imread(file)
    mask_layer(viewer).fill((0, 0), 1)
    click(opened.mask_panel.accept)
    asked = answer("Cancel")
    click(opened.export_panel.export)
    np.testing.assert_array_equal(tifffile.imread(file), before)
    assert file.name in asked[0]
    answer("Overwrite all")
    export(opened)
    assert not np.array_equal(tifffile.imread(file), before)
    assert len(asked) == 2


def test_a_second_export_can_write_only_what_changed(opened, export, answer, tmp_path):
    opened.export_panel.folder.set_text(str(tmp_path / "out"))
    export(opened)
    opened.export_panel.choice.with_drafts.setChecked(True)
    answer("Write missing or changed")
    export(opened)
    assert "2 files were written" in opened.export_panel.outcome.text()  # drafts may fill in, too
    answer("Write missing or changed")
    export(opened)
    assert "0 files were written" in opened.export_panel.outcome.text()
    assert "2 were up to date" in opened.export_panel.outcome.text()


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("tiff", {"with_drafts"}),
        ("imagej", {"with_drafts", "stacks"}),
        ("ome-tiff", {"with_drafts", "stacks"}),
        ("objects", {"with_drafts", "minimum_size"}),
        ("probabilities", set()),
        ("overlays", {"with_drafts", "contact_sheet"}),
        ("coco", {"with_drafts", "minimum_size", "polygons"}),
        ("measurements", {"with_drafts", "minimum_size"}),
    ],
)
def test_a_format_shows_the_options_that_belong_to_it(widget, key, options):
    choice = widget.export_panel.choice
    choice.choose(key)
    every = ("with_drafts", "stacks", "minimum_size", "polygons", "contact_sheet")
    assert {name for name in every if not getattr(choice, name).isHidden()} == options
    assert choice.formats.toolTip()


def test_the_chosen_options_are_those_of_the_format(widget):
    choice = widget.export_panel.choice
    assert choice.format() == PlainTiff()
    choice.choose("coco")
    choice.polygons.setChecked(True)
    choice.minimum_size.setValue(7)
    assert choice.format() == Coco(minimum_size=7, polygons=True)
    choice.choose("ome-tiff")
    choice.stacks.setCurrentIndex(2)
    assert choice.format() == OmeTiff("session")
    choice.with_drafts.setChecked(True)
    choice.choose("probabilities")
    assert not choice.include_predicted()


def test_other_formats_are_written(opened, export, tmp_path):
    opened.export_panel.folder.set_text(str(tmp_path / "out"))
    opened.export_panel.choice.choose("overlays")
    export(opened)
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2
    assert "2 files were written" in opened.export_panel.outcome.text()


def test_probabilities_without_a_network_are_refused_with_words(opened, click, notices, tmp_path):
    opened.export_panel.folder.set_text(str(tmp_path / "out"))
    opened.export_panel.choice.choose("probabilities")
    click(opened.export_panel.export)
    assert any("train a round first" in notice for notice in notices())
    assert not opened.export_panel.running


def test_an_impossible_folder_is_told(opened, click, tmp_path, notices):
    (tmp_path / "file").write_text("in the way")
    opened.export_panel.folder.set_text(str(tmp_path / "file"))
    click(opened.export_panel.export)
    assert any("is a file" in notice for notice in notices())
    assert opened.export_panel.export.isEnabled()


def test_a_cancelled_export_ends_and_says_so(widget, make_session, click, qtbot, tmp_path):
    session = make_session(40)
    for item in session.items:
        session.accept(item, np.ones(item.shape, np.uint8))
    widget.controller.adopt(session)
    widget.export_panel.folder.set_text(str(tmp_path / "out"))
    click(widget.export_panel.export)
    click(widget.export_panel.cancel)
    qtbot.waitUntil(lambda: not widget.export_panel.running, timeout=PATIENCE)
    assert "canceled" in widget.export_panel.outcome.text()
    assert len(list((tmp_path / "out").rglob("*_mask.tif"))) < 40
