"""How pictures of all kinds are shown: colors, channels, pixel size, contrast; and one after the other."""

import numpy as np
import pytest

from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io import bands
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session
from tests.stores import noise, write_store
from tests.widgets.conftest import mask_layer, paint

GRAY = np.arange(40 * 60, dtype=np.uint8).reshape(40, 60)
DEEP = (np.arange(50 * 30, dtype=np.uint16) + 1000).reshape(50, 30)
COLOR = np.dstack([GRAY, GRAY // 2, GRAY // 3])
CHANNELS = np.dstack([DEEP, DEEP[::-1]])


@pytest.fixture
def show(widget, tmp_path):
    """Opens a session of these pictures and shows the first."""

    def show(*pictures, size=(1.0, 1.0), unit="pixel"):
        arrays = {f"picture {number}": (pixels, size, unit) for number, pixels in enumerate(pictures)}
        settings = ImageSettings(working_size=32)
        widget.controller.adopt(Session.from_arrays(tmp_path / "session", arrays, settings=settings))
        widget.image_panel.jump.setValue(1)
        return widget

    return show


def test_pixel_size_and_unit_are_shown(show, viewer):
    show(GRAY, size=(0.5, 0.25), unit="µm")
    for layer in viewer.layers:
        np.testing.assert_allclose(layer.scale, (0.5, 0.25))
        assert {str(unit) for unit in layer.units} == {"micrometer"}


def test_a_color_picture_is_shown_in_color(show, viewer):
    show(COLOR)
    assert viewer.layers[0].rgb
    np.testing.assert_array_equal(viewer.layers[0].data, COLOR)
    assert mask_layer(viewer).data.shape == (40, 60)


def test_channels_that_are_no_colors_are_layers_of_their_own(show, viewer):
    show(CHANNELS)
    assert len(viewer.layers) == 3
    assert viewer.layers[-1] == mask_layer(viewer)
    np.testing.assert_array_equal(viewer.layers[1].data, CHANNELS[..., 1])


def test_pictures_of_other_kinds_and_sizes_follow_each_other(show, viewer, click):
    widget = show(GRAY, COLOR, DEEP, CHANNELS, GRAY)
    for number, pixels in enumerate((GRAY, COLOR, DEEP, CHANNELS, GRAY), start=1):
        widget.image_panel.jump.setValue(number)
        assert mask_layer(viewer).data.shape == pixels.shape[:2]
        assert not mask_layer(viewer).data.any()
        assert viewer.layers[-1] == mask_layer(viewer)
        assert len(viewer.layers) == (3 if pixels is CHANNELS else 2)
        paint(viewer, (10, 10), brush=6)
        click(widget.mask_panel.accept)
    assert widget.controller.session.counts()[ItemState.ACCEPTED] == 5


def test_contrast_follows_pictures_that_are_not_8_bit(show, viewer, click):
    widget = show(DEEP, DEEP * 8)
    assert viewer.layers[0].contrast_limits[1] == pytest.approx(DEEP.max(), rel=0.1)
    click(widget.image_panel.next)
    assert viewer.layers[0].contrast_limits[1] == pytest.approx(DEEP.max() * 8, rel=0.1)


def test_contrast_set_by_hand_stays_for_8_bit_pictures(show, viewer, click):
    widget = show(GRAY, GRAY)
    viewer.layers[0].contrast_limits = (10, 100)
    click(widget.image_panel.next)
    assert viewer.layers[0].contrast_limits == [10, 100]


def test_the_view_stays_from_picture_to_picture_of_one_size(show, viewer, click):
    widget = show(GRAY, GRAY, DEEP)
    viewer.scene.camera.zoom = 9
    click(widget.image_panel.next)
    assert viewer.scene.camera.zoom == 9
    click(widget.image_panel.next)
    assert viewer.scene.camera.zoom != 9


def test_a_polygon_begun_is_not_carried_to_the_next_picture(show, viewer, click):
    widget = show(GRAY, GRAY)
    layer = mask_layer(viewer)
    layer.mode = "polygon"
    layer._overlays["polygon"].points = [(1, 1), (1, 20), (20, 20)]
    click(widget.image_panel.next)
    assert layer.mode == "paint"
    assert not layer._overlays["polygon"].points


def test_a_stroke_in_the_making_does_not_reach_the_next_picture(show, viewer, click):
    widget = show(GRAY, GRAY)
    layer = mask_layer(viewer)
    with layer.block_history():
        layer.paint((10, 10), 1)
        click(widget.image_panel.next)
    layer.undo()
    assert not layer.data.any()


# Large ones --------------------------------------------------------------------------------------------


@pytest.fixture
def small_is_large(monkeypatch):
    monkeypatch.setattr(bands, "LARGE", 100)
    monkeypatch.setattr(bands, "OVERVIEW_SIDE", 300)


@pytest.fixture
def show_file(widget, tmp_path, small_is_large):
    """Opens a session of these picture files and shows the first."""

    def show(*files):
        settings = ImageSettings(working_size=32, framing="tiles")
        widget.controller.adopt(Session.create(tmp_path / "session", files, settings=settings))
        widget.image_panel.jump.setValue(1)
        return widget

    return show


def seen(layer):
    """What napari has read of a layer to show it, without padding."""
    return np.asarray(layer._slice.image.raw)


def look_at(layer, top, left, side=200):
    """Zoom into a part, one pixel of the picture on one of the screen."""
    corners = np.array([[top, left], [top + side, left + side]])
    layer._update_draw(scale_factor=1, corner_pixels_displayed=corners, shape_threshold=(side, side))


def test_a_large_picture_is_shown_by_parts_that_are_read_when_they_are_seen(
    show_file, viewer, tmp_path, click, notices
):
    pixels = noise((4000, 3000))
    store = write_store(tmp_path / "large.ome.zarr", pixels, "yx", chunks=(250, 250), levels=4)
    (store / "0" / "15.11").write_bytes(b"whoever reads the whole picture meets a damaged chunk")
    widget = show_file(store)
    layer = viewer.layers[0]
    assert layer.multiscale
    assert layer.data.shape == (4000, 3000)
    assert not any("shown black" in notice for notice in notices())
    for top, left in ((100, 150), (2000, 2100)):
        look_at(layer, top, left)
        assert layer.data_level == 0
        (first, start), (last, end) = layer.corner_pixels
        assert first <= top < top + 200 <= last < first + 1000
        np.testing.assert_array_equal(seen(layer)[: last - first], pixels[first:last, start : end + 1])
    paint(viewer, (10, 10), brush=6)
    click(widget.mask_panel.accept)
    assert widget.controller.session.labels.get("large").any()
    look_at(layer, 3800, 2800)
    assert not seen(layer)[-50:, -50:].any()
    assert any("large.ome.zarr" in notice and "shown black" in notice for notice in notices())


@pytest.mark.parametrize("kind", ["gray", "color", "deep color", "channels"])
def test_large_pictures_look_like_small_ones(show_file, viewer, tmp_path, kind, monkeypatch, click):
    shape = {"gray": (640, 400), "channels": (640, 400, 2)}.get(kind, (640, 400, 3))
    pixels = noise(shape, np.uint16 if kind == "deep color" else np.uint8)
    store = write_store(tmp_path / "a.zarr", pixels, "yxc"[: pixels.ndim])
    small = write_store(tmp_path / "b.zarr", pixels[:200, :300], "yxc"[: pixels.ndim])
    widget = show_file(store, small)
    large = [(layer.rgb, layer.ndim, np.asarray(layer.data[0]), layer.scale) for layer in viewer.layers[:-1]]
    assert all(layer.multiscale for layer in viewer.layers[:-1])
    monkeypatch.setattr(bands, "LARGE", 10**9)
    widget.controller.open(widget.controller.session.folder)
    widget.image_panel.jump.setValue(1)
    whole = [(layer.rgb, layer.ndim, np.asarray(layer.data), layer.scale) for layer in viewer.layers[:-1]]
    assert len(whole) == len(large)
    for (rgb, ndim, data, scale), other in zip(large, whole, strict=True):
        assert (rgb, ndim) == other[:2]
        np.testing.assert_allclose(data, other[2], atol=0.01)
        np.testing.assert_allclose(scale, other[3])


def test_large_and_small_pictures_follow_each_other(show_file, viewer, tmp_path):
    sides = (640, 200, 700, 800)
    stores = [write_store(tmp_path / f"{side}.zarr", noise((side, 100)), "yx") for side in sides]
    widget = show_file(*stores)
    for number, side in enumerate(sides, start=1):
        widget.image_panel.jump.setValue(number)
        picture, mask = viewer.layers
        assert picture.multiscale == (side > 300)
        assert mask == mask_layer(viewer)
        assert picture.data.shape == mask.data.shape == (side, 100)
