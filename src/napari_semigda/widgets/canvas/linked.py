"""Layers that lie exactly over each other, also when the user moves one of them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari.layers import Layer

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
