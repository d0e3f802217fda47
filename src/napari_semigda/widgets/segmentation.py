"""Segmenting image layers with a trained network: which, with what, and the work itself; knows no Qt."""

from __future__ import annotations

from collections.abc import Generator, Iterator
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
from napari_semigda.session.trained_model import SemiGDA, TrainedModel

LayerData = tuple[NDArray[np.uint8], dict[str, Any], str]


@dataclass(frozen=True)
class Segmentation:
    """What shall be segmented, and with what.

    Parameters
    ----------
    layers : tuple of napari.layers.Image
        One layer, gray or in colors; or one gray layer of the same size for each channel.
    model : TrainedModel or None
        The network.
    device : str
        Where to compute.
    """

    layers: tuple[Image, ...]
    model: TrainedModel | None
    device: str = "auto"

    def missing(self) -> str | None:
        """What has to be said before the work can be done, in a sentence; None if nothing."""
        if not self.layers:
            return "Open an image first."
        if len(set(self.layers)) < len(self.layers):
            return "The same layer is chosen as two channels."
        if any(layer.rgb for layer in self.layers) and len(self.layers) > 1:
            return "A layer in colors has all its channels: choose no others."
        if any(_data(layer).shape != _data(self.layers[0]).shape for layer in self.layers):
            return "All channels need to have the same size."
        if self.model is None:
            return "Choose a model."
        return self._channels_missing(self.model)

    def _channels_missing(self, model: TrainedModel) -> str | None:
        wanted = model.settings.channels
        if self.layers[0].rgb and wanted is not None and max(wanted) >= _data(self.layers[0]).shape[-1]:
            return f"The model was trained on channel {max(wanted)} (from 0), which this image does not have."
        if not self.layers[0].rgb and wanted is not None and len(wanted) != len(self.layers):
            return f"The model was trained on {len(wanted)} channels: choose a layer for each."
        return None

    @property
    def planes(self) -> list[tuple[int, ...]]:
        """The places of the planes in the stack; one empty place for a picture."""
        return list(np.ndindex(self._shape[:-2]))

    @property
    def _shape(self) -> tuple[int, ...]:
        shape = _data(self.layers[0]).shape
        return tuple(shape[:-1] if self.layers[0].rgb else shape)

    def work(self) -> Generator[float, None, LayerData]:
        """Segment plane by plane; yields the share that is done, returns the labels as napari layer data.

        Close it to give up.
        """
        assert self.model is not None
        yield 0.0
        leave_room_for_window()
        model = self.model.load(self.device, self._settings(self.model))
        labels = np.zeros(self._shape, np.uint8)
        planes = self.planes
        for done, place in enumerate(planes):
            for share in _segment(model, self._pixels(place), labels[place]):
                yield (done + share) / len(planes)
        return self._layer_data(labels, self.model)

    def _settings(self, model: TrainedModel) -> Any:
        """Gray layers are the channels, in their order; colors are used as in training."""
        return model.settings if self.layers[0].rgb else replace(model.settings, channels=None)

    def _pixels(self, place: tuple[int, ...]) -> Pixels:
        """One plane; where its data are not in memory, they are read when the model asks for them."""
        parts: list[Any] = [_lazily(_data(layer))[place] for layer in self.layers]
        if len(parts) == 1:
            only: Pixels = parts[0]
            return only
        in_memory = all(isinstance(part, np.ndarray) for part in parts)
        stacked: Pixels = np.stack(parts, axis=-1) if in_memory else da.stack(parts, axis=-1)
        return stacked

    def _layer_data(self, labels: NDArray[np.uint8], model: TrainedModel) -> LayerData:
        layer = self.layers[0]
        names = [name or f"removed {value}" for value, name in enumerate(model.class_names, start=1)]
        classes = named_classes(names)
        colors: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
        colors |= {info.value: info.color for info in classes if info.value in model.values}
        settings = {
            "name": f"{layer.name} segmented",
            **place_of(layer),
            "colormap": DirectLabelColormap(color_dict=colors),
            "metadata": {
                "model": str(model.path),
                "classes": {value: model.class_names[value - 1] for value in model.values},
            },
        }
        return labels, settings, "labels"


def place_of(layer: Image) -> dict[str, Any]:
    """Where a layer is in the viewer's world, as settings of another layer."""
    names = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
    return {name: getattr(layer, name) for name in names}


def _segment(model: SemiGDA, pixels: Pixels, labels: NDArray[np.uint8]) -> Iterator[float]:
    """Fill in the labels of one picture."""
    for strip in model.fill(labels, pixels):
        yield (strip.top + len(strip.labels)) / len(labels)


def _lazily(data: Any) -> Any:
    """Make sure that taking a plane out of an array on the disk (a zarr array) does not read it."""
    return data if isinstance(data, np.ndarray | da.Array) else da.asarray(data)


def _data(layer: Image) -> Any:
    return layer.data[0] if layer.multiscale else layer.data
