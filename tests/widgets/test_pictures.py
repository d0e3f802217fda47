"""How pictures of all kinds are shown: colours, channels, pixel size, contrast; and one after the other."""

import numpy as np
import pytest

from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session
from tests.widgets.conftest import mask_layer, paint

GREY = np.arange(40 * 60, dtype=np.uint8).reshape(40, 60)
DEEP = (np.arange(50 * 30, dtype=np.uint16) + 1000).reshape(50, 30)
COLOUR = np.dstack([GREY, GREY // 2, GREY // 3])
CHANNELS = np.dstack([DEEP, DEEP[::-1]])


@pytest.fixture
def show(widget, tmp_path):
    """Opens a session of these pictures and shows the first."""

    def show(*pictures, size=(1.0, 1.0), unit="pixel"):
        arrays = {f"picture {number}": (pixels, size, unit) for number, pixels in enumerate(pictures)}
        settings = ImageSettings(working_size=32)
        widget.workbench.adopt(Session.from_arrays(tmp_path / "session", arrays, settings=settings))
        widget.image_section.jump.setValue(1)
        return widget

    return show


def test_pixel_size_and_unit_are_shown(show, viewer):
    show(GREY, size=(0.5, 0.25), unit="µm")
    for layer in viewer.layers:
        np.testing.assert_allclose(layer.scale, (0.5, 0.25))
        assert {str(unit) for unit in layer.units} == {"micrometer"}


def test_a_colour_picture_is_shown_in_colour(show, viewer):
    show(COLOUR)
    assert viewer.layers[0].rgb
    np.testing.assert_array_equal(viewer.layers[0].data, COLOUR)
    assert mask_layer(viewer).data.shape == (40, 60)


def test_channels_that_are_no_colours_are_layers_of_their_own(show, viewer):
    show(CHANNELS)
    assert len(viewer.layers) == 3
    assert viewer.layers[-1] == mask_layer(viewer)
    np.testing.assert_array_equal(viewer.layers[1].data, CHANNELS[..., 1])


def test_pictures_of_other_kinds_and_sizes_follow_each_other(show, viewer, click):
    widget = show(GREY, COLOUR, DEEP, CHANNELS, GREY)
    for number, pixels in enumerate((GREY, COLOUR, DEEP, CHANNELS, GREY), start=1):
        widget.image_section.jump.setValue(number)
        assert mask_layer(viewer).data.shape == pixels.shape[:2]
        assert not mask_layer(viewer).data.any()
        assert viewer.layers[-1] == mask_layer(viewer)
        assert len(viewer.layers) == (3 if pixels is CHANNELS else 2)
        paint(viewer, (10, 10), brush=6)
        click(widget.mask_section.accept)
    assert widget.workbench.session.counts()[ItemState.ACCEPTED] == 5


def test_contrast_follows_pictures_that_are_not_8_bit(show, viewer, click):
    widget = show(DEEP, DEEP * 8)
    assert viewer.layers[0].contrast_limits[1] == pytest.approx(DEEP.max(), rel=0.1)
    click(widget.image_section.next)
    assert viewer.layers[0].contrast_limits[1] == pytest.approx(DEEP.max() * 8, rel=0.1)


def test_contrast_set_by_hand_stays_for_8_bit_pictures(show, viewer, click):
    widget = show(GREY, GREY)
    viewer.layers[0].contrast_limits = (10, 100)
    click(widget.image_section.next)
    assert viewer.layers[0].contrast_limits == [10, 100]


def test_the_view_stays_from_picture_to_picture_of_one_size(show, viewer, click):
    widget = show(GREY, GREY, DEEP)
    viewer.scene.camera.zoom = 9
    click(widget.image_section.next)
    assert viewer.scene.camera.zoom == 9
    click(widget.image_section.next)
    assert viewer.scene.camera.zoom != 9


def test_a_polygon_begun_is_not_carried_to_the_next_picture(show, viewer, click):
    widget = show(GREY, GREY)
    layer = mask_layer(viewer)
    layer.mode = "polygon"
    layer._overlays["polygon"].points = [(1, 1), (1, 20), (20, 20)]
    click(widget.image_section.next)
    assert layer.mode == "polygon"
    assert not layer._overlays["polygon"].points


def test_a_stroke_in_the_making_does_not_reach_the_next_picture(show, viewer, click):
    widget = show(GREY, GREY)
    layer = mask_layer(viewer)
    with layer.block_history():
        layer.paint((10, 10), 1)
        click(widget.image_section.next)
    layer.undo()
    assert not layer.data.any()
