"""Drawing a region with the mouse, in a shapes layer that goes away afterwards."""

from typing import Any

from napari.components import ViewerModel
from napari.layers import Labels, Layer, Shapes
from napari.layers.base import ActionType
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_semigda.errors import SemiGDAError
from napari_semigda.widgets.canvas.overlays import LinkedLayers, transforms_of
from napari_semigda.widgets.panels.parts import errors_shown


class RegionTool:
    """Lets the user draw one region, with a lasso or any of napari's other shapes."""

    drawn = Signal(object)
    ended = Signal()

    def __init__(self, viewer: ViewerModel, linked: LinkedLayers) -> None:
        self.layer: Shapes | None = None
        self._viewer, self._linked = viewer, linked
        self._mask: Labels | None = None

    @property
    def active(self) -> bool:
        return self.layer is not None

    def draw(self, mask: Labels, name: str) -> None:
        self.cancel()
        self._mask = mask
        self.layer = self._linked.link(
            self._viewer.add_shapes(name=name, face_color="#ffffff40", edge_color="white")
        )
        self._linked.put(self.layer, transforms_of(mask), name)
        self.layer.mode = "add_polygon_lasso"
        self.layer.bind_key("Escape", lambda _: self.cancel(), overwrite=True)
        self.layer.events.data.connect(self._on_shape)

    def cancel(self) -> None:
        layer, layers = self.layer, self._viewer.layers
        if layer is not None:
            self._end()
            if layer in layers:
                layers.remove(layer)
            if self._mask is not None and self._mask in layers:
                layers.selection.active = self._mask

    def on_removed(self, layer: Layer) -> None:
        """Cancel drawing if the user removed its layer."""
        if self.layer is not None and layer == self.layer:
            self._end()

    def _on_shape(self, event: Any) -> None:
        if event.action == ActionType.ADDED:
            QTimer.singleShot(0, self._take)  # napari is still busy with the mouse

    def _take(self) -> None:
        layer, mask = self.layer, self._mask
        if layer is None or mask is None or not layer.nshapes:
            return
        inside = layer.to_masks(mask.data.shape).any(axis=0)
        self.cancel()
        with errors_shown():
            if not inside.any():
                raise SemiGDAError("The region covers no pixel of the image. Draw a larger one.")
            self.drawn.emit(inside)

    def _end(self) -> None:
        if self.layer is not None:
            self.layer.events.data.disconnect(self._on_shape)
            self.layer = None
            self.ended.emit()
