"""Segmenting image layers with a trained network; knows nothing of Qt."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
from napari.layers import Image
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_semigda.inference.preparation import Pixels
from napari_semigda.model.device import leave_room_for_window
from napari_semigda.session.classes import named_classes
from napari_semigda.session.trained_model import TrainedModel

LayerData = tuple[NDArray[np.uint8], dict[str, Any], str]


@dataclass(frozen=True)
class Segmentation:
    """Which layers to segment (one, or a gray one of the same size for each channel), with which model."""

    layers: tuple[Image, ...]
    model: TrainedModel | None
    device: str = "auto"

    def missing(self) -> str | None:
        """Return what is missing or wrong, None if nothing."""
        if not self.layers:
            return "Open an image first."
        if len(set(self.layers)) < len(self.layers):
            return "The same layer is chosen for two channels."
        if any(layer.rgb for layer in self.layers) and len(self.layers) > 1:
            return "A color layer contains all its channels: choose no other layer."
        if len({layer_data(layer).shape for layer in self.layers}) > 1:
            return "All channels need the same size."
        if self.model is None:
            return "Choose a model."
        wanted, first = self.model.settings.channels, self.layers[0]
        if first.rgb and wanted is not None and max(wanted) >= layer_data(first).shape[-1]:
            return f"The model needs channel {max(wanted)} (counted from 0), which this image does not have."
        if not first.rgb and wanted is not None and len(wanted) != len(self.layers):
            return f"The model needs {len(wanted)} channels: choose a layer for each."
        return None

    def work(self) -> Generator[float, None, LayerData]:
        """Segment plane by plane; yields the share done, returns napari layer data. Close it to cancel."""
        assert self.model is not None
        yield 0.0
        leave_room_for_window()
        settings = self.model.settings
        if not self.layers[0].rgb:  # gray layers are the channels, in their order
            settings = replace(settings, channels=None)
        model = self.model.load(self.device, settings)
        shape = layer_data(self.layers[0]).shape
        labels = np.zeros(shape[:-1] if self.layers[0].rgb else shape, np.uint8)
        planes = list(np.ndindex(labels.shape[:-2]))
        for done, index in enumerate(planes):
            for strip in model.fill(labels[index], self._pixels(index)):
                share = (strip.top + len(strip.labels)) / labels.shape[-2]
                yield (done + share) / len(planes)
        return self._layer_data(labels, self.model)

    def _pixels(self, index: tuple[int, ...]) -> Pixels:
        """One plane; data that are not in memory are read when the model slices them."""
        parts: list[Any] = [_lazily(layer_data(layer))[index] for layer in self.layers]
        in_memory = all(isinstance(part, np.ndarray) for part in parts)
        pixels: Pixels = parts[0] if len(parts) == 1 else (np if in_memory else da).stack(parts, axis=-1)
        return pixels

    def _layer_data(self, labels: NDArray[np.uint8], model: TrainedModel) -> LayerData:
        layer = self.layers[0]
        names = [name or f"removed {value}" for value, name in enumerate(model.class_names, start=1)]
        classes = named_classes(names)
        colors: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
        colors |= {info.value: info.color for info in classes if info.value in model.values}
        settings = {
            "name": f"{layer.name} segmented",
            **placement(layer),
            "colormap": DirectLabelColormap(color_dict=colors),
            "metadata": {
                "model": str(model.path),
                "classes": {value: model.class_names[value - 1] for value in model.values},
            },
        }
        return labels, settings, "labels"


def placement(layer: Image) -> dict[str, Any]:
    """Return a layer's place in the viewer's world, as settings of another layer."""
    names = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
    return {name: getattr(layer, name) for name in names}


def _lazily(data: Any) -> Any:
    """An array of which slicing a plane does not read it, as slicing zarr does."""
    return data if isinstance(data, np.ndarray | da.Array) else da.asarray(data)


def layer_data(layer: Image) -> Any:
    """Return the pixels of a layer, of the finest level if there are several."""
    return layer.data[0] if layer.multiscale else layer.data
