"""Layers › Segment › Segment a layer with a model…: any image layer, no session needed."""

from dataclasses import replace

import dask.array
import numpy as np
import pytest
import zarr
from napari.layers import Image, Labels
from qtpy.QtWidgets import QDialog

from napari_semigda.session.trained_model import TrainedModel
from napari_semigda.widgets.layer_files import label_reader, write_label_ome, write_label_tiff
from napari_semigda.widgets.menus import SegmentDialog, begin, segment_layer
from napari_semigda.widgets.segmentation import Segmentation
from tests.widgets.conftest import PATIENCE, activity


@pytest.fixture
def folder(make_trained):
    """A session with weights, of yesterday."""
    session = make_trained(classes=("lesion",))
    session.close()
    return session.folder


@pytest.fixture
def model(folder):
    return TrainedModel.find(folder)


def finish(segmentation):
    """Do all the work here and now; returns the labels and how they are shown."""
    work = segmentation.work()
    shares = []
    while True:
        try:
            shares.append(next(work))
        except StopIteration as end:
            assert shares == sorted(shares)
            assert shares[-1] == 1
            return end.value


def test_the_menu_asks_and_adds_one_layer_in_the_place_of_the_image(viewer, folder, monkeypatch, qtbot):
    stack = np.random.default_rng(0).integers(0, 4000, (2, 3, 40, 50)).astype(np.uint16)
    viewer.add_image(np.zeros((8, 8)), name="another")
    layer = viewer.add_image(
        stack, name="film", scale=(1, 2, 0.5, 0.25), translate=(0, 10, 5, 5), units=("s", "um", "um", "um")
    )

    def answer(dialog):
        assert dialog.layer.currentText() == "film"
        dialog.session.set_text(str(folder))
        assert "Classes: lesion" in dialog.words.text()
        assert dialog.segment.isEnabled()
        return QDialog.DialogCode.Accepted

    monkeypatch.setattr(SegmentDialog, "exec", answer)
    segment_layer(viewer)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=PATIENCE)
    labels = viewer.layers[-1]
    assert isinstance(labels, Labels)
    assert labels.name == "film segmented"
    assert labels.data.shape == stack.shape
    np.testing.assert_array_equal(labels.scale, layer.scale)
    np.testing.assert_array_equal(labels.translate, layer.translate)
    assert labels.units == layer.units
    assert labels.metadata["classes"] == {1: "lesion"}


def test_a_scale_without_a_unit_goes_along_and_into_a_saved_file(model, tmp_path):
    image = Image(np.zeros((40, 50), np.uint8), scale=(0.5, 0.25))
    data, properties, _ = finish(Segmentation((image,), model, "cpu"))
    labels = Labels(data, **properties)
    np.testing.assert_array_equal(labels.scale, image.scale)
    assert labels.units == image.units
    for write, name in ((write_label_tiff, "a.tif"), (write_label_ome, "a.ome.tif")):
        (file,) = write(str(tmp_path / name), labels.data, labels.as_layer_data_tuple()[1])
        ((_, again, _),) = label_reader(file)(file)
        np.testing.assert_allclose(again["scale"], image.scale)


def test_the_menu_offers_it_and_napari_calls_it(viewer, notices):
    from app_model import Application

    app = Application.get_app("test_app")
    commands = [getattr(item, "command", None) for item in app.menus.get_menu("napari/layers/segment")]
    command = next(one for one in commands if one is not None and one.id.endswith("segment_layer"))
    app.commands.execute_command(command.id).result()
    assert any("no image to segment" in notice for notice in notices())


def test_each_plane_is_segmented_by_itself(model):
    stack = np.random.default_rng(1).integers(0, 255, (2, 40, 50), np.uint8)
    labels, _, _ = finish(Segmentation((Image(stack),), model, "cpu"))
    for plane, found in zip(stack, labels, strict=True):
        alone, _, _ = finish(Segmentation((Image(plane),), model, "cpu"))
        np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize("shape", [(30, 40, 3), (2, 30, 40, 4)])
def test_colors_are_one_picture(model, shape):
    labels, settings, kind = finish(Segmentation((Image(np.zeros(shape, np.uint8), rgb=True),), model, "cpu"))
    assert labels.shape == shape[:-1]
    Labels(labels, **settings)
    assert kind == "labels"


def test_layers_can_be_the_channels(model):
    one, other = (Image(np.full((30, 40), value, np.uint8)) for value in (0, 200))
    assert Segmentation((one, other), model).missing() is None
    assert finish(Segmentation((one, other), model, "cpu"))[0].shape == (30, 40)
    assert "same layer" in Segmentation((one, one), model).missing()
    colors = Image(np.zeros((30, 40, 3), np.uint8), rgb=True)
    assert "choose no other layer" in Segmentation((colors, one), model).missing()
    assert "same size" in Segmentation((one, Image(np.zeros((8, 8)))), model).missing()


def test_a_layer_that_is_not_in_memory_is_read_plane_by_plane(model):
    stack = dask.array.zeros((3, 40, 50), chunks=(1, 40, 50), dtype=np.uint8)
    assert finish(Segmentation((Image(stack),), model, "cpu"))[0].shape == (3, 40, 50)


def test_of_a_pyramid_the_finest_level_is_segmented(model):
    pyramid = [np.zeros((64, 80), np.uint8), np.zeros((32, 40), np.uint8)]
    assert finish(Segmentation((Image(pyramid, multiscale=True),), model, "cpu"))[0].shape == (64, 80)


def test_cancelling_adds_nothing(viewer, model, qtbot, notices):
    layer = viewer.add_image(np.zeros((400, 64, 64), np.uint8))
    begin(viewer, Segmentation((layer,), model, "cpu"))
    activity("segmenting").cancel()
    qtbot.waitUntil(lambda: any("canceled" in notice for notice in notices()), timeout=PATIENCE)
    assert list(viewer.layers) == [layer]


def test_the_dialog_says_what_is_missing_and_what_is_wrong(viewer, folder, tmp_path):
    layer = viewer.add_image(np.zeros((8, 8)))
    dialog = SegmentDialog([layer], layer, None)
    assert not dialog.segment.isEnabled()
    assert dialog.words.text() == "Choose a model."
    dialog.session.set_text(str(tmp_path))
    assert "not a session" in dialog.words.text()
    dialog.from_file.setChecked(True)
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    dialog.file.set_text(str(tmp_path / "x.safetensors"))
    assert "damaged" in dialog.segment.toolTip()
    dialog.file.set_text(str(folder / "rounds" / "001" / "model.safetensors"))
    assert dialog.segment.isEnabled()
    dialog.deleteLater()


def test_the_session_that_is_open_is_suggested(widget, viewer, folder, monkeypatch):
    widget.open_session(folder)
    suggested = []
    monkeypatch.setattr(
        SegmentDialog,
        "exec",
        lambda dialog: suggested.append(dialog.session.text()) or QDialog.DialogCode.Rejected,
    )
    segment_layer(viewer)
    assert suggested == [str(folder)]


class Watched:
    """An array that tells how many of its pixels were asked for."""

    def __init__(self, pixels):
        self._pixels = pixels
        self.shape, self.dtype, self.ndim = pixels.shape, pixels.dtype, pixels.ndim
        self.asked = 0

    def __getitem__(self, key):
        part = self._pixels[key]
        self.asked += part.size
        return part


def in_tiles(model):
    return replace(model, settings=replace(model.settings, framing="tiles"))


def test_a_large_plane_is_read_band_by_band(model):
    pixels = np.random.default_rng(0).integers(0, 255, (320, 64), np.uint8)
    watched = Watched(pixels)
    layer = Image(dask.array.from_array(watched, chunks=(32, 32), name=False), contrast_limits=(0, 255))
    watched.asked = 0
    work = Segmentation((layer,), in_tiles(model), "cpu").work()
    next(work)
    while next(work) < 0.25:
        pass
    assert 0 < watched.asked < pixels.size / 2
    labels = finish(Segmentation((layer,), in_tiles(model), "cpu"))[0]
    np.testing.assert_array_equal(labels, finish(Segmentation((Image(pixels),), in_tiles(model), "cpu"))[0])


@pytest.mark.parametrize("count", [1, 2])
def test_layers_of_zarr_arrays_are_segmented_like_arrays_in_memory(model, tmp_path, count):
    pixels = np.random.default_rng(0).integers(0, 255, (count, 2, 80, 64), np.uint8)
    stored = [
        zarr.create_array(tmp_path / f"{number}.zarr", shape=one.shape, chunks=(1, 16, 16), dtype=one.dtype)
        for number, one in enumerate(pixels)
    ]
    for array, one in zip(stored, pixels, strict=True):
        array[...] = one
    lazy, whole = (
        finish(
            Segmentation(
                tuple(Image(one, contrast_limits=(0, 255)) for one in layers), in_tiles(model), "cpu"
            )
        )
        for layers in (stored, pixels)
    )
    np.testing.assert_array_equal(lazy[0], whole[0])
    assert isinstance(lazy[0], np.ndarray)
