"""File › New Layer: empty labels over an image, with the classes of the session that is open in the dock."""

import numpy as np
from napari._app_model import get_app_model
from napari.layers import Labels

from napari_semigda.io.masks import read_legend

PLUGIN = "napari-semigda"
COMMAND = "napari-semigda.new_labels"


def add():
    get_app_model().commands.execute_command(COMMAND).result()


def test_it_lies_on_the_image_and_its_classes_are_saved(viewer, widget, make_session, tmp_path):
    widget.controller.adopt(make_session(classes=("cell", "nucleus")))
    image = viewer.add_image(
        np.zeros((3, 20, 30)),
        scale=(2, 0.5, 0.25),
        units=("um", "um", "um"),
        axis_labels=("z", "y", "x"),
        translate=(0, 5, 5),
    )
    add()
    layer = viewer.layers[-1]
    assert isinstance(layer, Labels)
    assert layer.data.shape == (3, 20, 30)
    np.testing.assert_array_equal(layer.extent.world, image.extent.world)
    assert list(layer.features["class"]) == ["background", "cell", "nucleus", "unlabeled"]

    layer.paint((1, 10, 10), 2)
    layer.save(str(tmp_path / "drawn.tif"), plugin=PLUGIN)
    assert [one.name for one in read_legend(tmp_path / "drawn.tif").classes] == ["cell", "nucleus"]


def test_colors_of_an_image_are_no_axis_and_without_a_session_there_is_one_class(viewer):
    viewer.add_image(np.zeros((20, 30, 3), np.uint8), rgb=True)
    add()
    assert viewer.layers[-1].data.shape == (20, 30)
    assert "object" in list(viewer.layers[-1].features["class"])


def test_without_an_image_the_words_say_so(viewer, notices):
    add()
    assert any("no image" in words for words in notices())
