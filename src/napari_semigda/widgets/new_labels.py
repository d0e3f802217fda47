"""File › New Layer › Labels with classes: an empty mask whose classes go along when it is saved."""

import napari.viewer
import numpy as np
from napari.layers import Image, Labels

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.masks import Legend, LegendEntry
from napari_semigda.session.classes import named_classes
from napari_semigda.widgets.layer_files import meaning
from napari_semigda.widgets.opening import session_in
from napari_semigda.widgets.panels.parts import errors_shown
from napari_semigda.widgets.segmentation import place_of
from napari_semigda.widgets.viewer import without_proxy

WITHOUT_SESSION = ("object",)


def new_labels(viewer: napari.viewer.Viewer) -> None:
    """Add an empty layer of labels over the selected image; what napari's menu calls.

    Its classes are those of the session that is open in the dock, or one, `object`. It lies where the image
    does, and has its scale and units.
    """
    viewer = without_proxy(viewer)
    with errors_shown():
        image = _image_of(viewer)
        session = session_in(viewer)
        classes = named_classes(WITHOUT_SESSION) if session is None else session.classes
        legend = Legend(tuple(LegendEntry(one.value, one.name, one.color) for one in classes))
        data = image.data[0] if image.multiscale else image.data
        labels = np.zeros(data.shape[: image.ndim], np.uint8)
        layer = Labels(labels, name=f"{image.name} labels", **place_of(image), **meaning(legend))
        layer.selected_label = classes[0].value if classes else 1
        viewer.add_layer(layer)


def _image_of(viewer: napari.viewer.Viewer) -> Image:
    """The selected image, or else the uppermost."""
    images = [layer for layer in viewer.layers if isinstance(layer, Image)]
    if not images:
        raise SemiGDAError("There is no image to put labels on. Open one first.")
    active = viewer.layers.selection.active
    return active if isinstance(active, Image) else images[-1]
