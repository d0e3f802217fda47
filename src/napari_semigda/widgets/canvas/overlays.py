"""Layers that lie exactly over each other; and those shown with a mask: its draft, and its uncertainty."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray

from napari_semigda.widgets.canvas.colors import uncertainty_colors

MASK = " mask"  # follows the image's name in the name of its mask layer
MOVED_BY = ("scale", "translate", "rotate", "shear", "affine", "units")  # events of napari's layers


def unmoved() -> dict[str, Any]:
    """Return the transforms of a layer that nobody has moved, rotated or sheared."""
    return {"translate": np.zeros(2), "rotate": np.eye(2), "shear": np.zeros(1), "affine": np.eye(3)}


def transforms_of(layer: Layer) -> dict[str, Any]:
    """Return where a layer is, for `LinkedLayers.put`."""
    moved = {name: np.array(getattr(layer, name)) for name in unmoved()}
    return {"scale": tuple(layer.scale), "units": tuple(map(str, layer.units)), **moved}


class LinkedLayers:
    """Moves all layers when one is moved; else strokes would end up elsewhere than they seem to."""

    def __init__(self, layers: Callable[[], Iterable[Layer]]) -> None:
        self._layers = layers
        self._placing = False

    def link(self, layer: Any) -> Any:
        """Move the others with this new layer; returns it."""
        for name in MOVED_BY:
            getattr(layer.events, name).connect(self._on_moved)
        return layer

    def put(self, layer: Layer, transforms: dict[str, Any], name: str) -> None:
        """Give one layer its name, and place it."""
        layer.name = name
        with self._quietly():
            _put(layer, transforms)

    def _on_moved(self, event: Any) -> None:
        if self._placing:
            return
        with self._quietly():
            for layer in self._layers():
                if layer != event.source:
                    _put(layer, transforms_of(event.source))

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        self._placing = True
        try:
            yield
        finally:
            self._placing = False


def _put(layer: Layer, transforms: dict[str, Any]) -> None:
    """Place a layer; what is right already is not set again, which costs napari time."""
    for name, value in transforms.items():
        if name == "units":
            if tuple(map(str, layer.units)) != value:
                layer.units = value
        elif not np.array_equal(np.asarray(getattr(layer, name)), value):
            setattr(layer, name, value)


class Overlays:
    """A draft layer that cannot be painted on, and a map of uncertainty below the mask."""

    def __init__(self, viewer: ViewerModel, linked: LinkedLayers) -> None:
        self.draft: Labels | None = None
        self.uncertainty: Image | None = None
        self._viewer, self._linked = viewer, linked

    @property
    def layers(self) -> list[Layer]:
        """The layers there are, the uppermost first."""
        return [layer for layer in (self.draft, self.uncertainty) if layer is not None]

    @property
    def hides_mask(self) -> bool:
        """Whether the draft is shown in place of the mask."""
        return self.draft is not None and bool(self.draft.visible)

    def show_draft(self, mask: Labels, draft: NDArray[np.uint8] | None) -> None:
        """Show a draft in place of the mask; None shows the mask."""
        if draft is not None:
            self._fill_draft(mask, draft)
        elif not self.hides_mask:
            return
        assert self.draft is not None
        self.draft.visible, mask.visible = draft is not None, draft is None
        self._viewer.layers.selection.active = mask if draft is None else self.draft

    def _fill_draft(self, mask: Labels, draft: NDArray[np.uint8]) -> None:
        if self.draft is None:
            self.draft = self._linked.link(self._viewer.add_labels(draft.copy(), colormap=mask.colormap))
        else:
            self.draft.data = draft.copy()
        self.draft.opacity, self.draft.contour = mask.opacity, mask.contour
        self._linked.put(self.draft, transforms_of(mask), mask.name.removesuffix(MASK) + " draft")
        self.draft.mode, self.draft.editable = "pan_zoom", False

    def show_uncertainty(self, mask: Labels | None, uncertainty: NDArray[np.float32] | None) -> None:
        """Show a map of values in [0, 1] over the image; None, or one of another image, hides it."""
        if uncertainty is None or mask is None or uncertainty.shape != mask.data.shape:
            if self.uncertainty is not None:
                self.uncertainty.visible = False
            return
        if self.uncertainty is None:
            self.uncertainty = self._linked.link(
                self._viewer.add_image(
                    uncertainty, colormap=uncertainty_colors(), blending="translucent", contrast_limits=(0, 1)
                )
            )
            self.uncertainty.colorbar.visible = True
            layers = self._viewer.layers
            layers.move(layers.index(self.uncertainty), layers.index(mask))
            layers.selection.active = mask if mask.visible else self.draft
        else:
            self.uncertainty.data = uncertainty
        self._linked.put(self.uncertainty, transforms_of(mask), mask.name.removesuffix(MASK) + " uncertainty")
        self.uncertainty.visible = True

    def remove(self) -> None:
        """Remove both, which belong to one image only: hidden, they could be shown over the next."""
        layers = self.layers
        self.draft = self.uncertainty = None
        for layer in layers:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def on_removed(self, layer: Layer, mask: Labels | None) -> None:
        """Forget a layer that the user removed."""
        if self.draft is not None and layer == self.draft:
            self.draft = None
            if mask is not None:
                mask.visible = True
        elif self.uncertainty is not None and layer == self.uncertainty:
            self.uncertainty = None
