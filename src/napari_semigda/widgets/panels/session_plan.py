"""A session to be created: from which images, where, and how; knows nothing of Qt."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal

import numpy as np
from napari.layers import Image

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.pictures import MANIFEST_NAME
from napari_semigda.io.planes import Picture
from napari_semigda.pace import Progress
from napari_semigda.samples import sample_pairs
from napari_semigda.session.session import Session
from napari_semigda.session.trained_model import TrainedModel
from napari_semigda.widgets.segmentation import layer_data

_ODD_CHARACTERS = re.compile(r"[^\w -]+")


@dataclass(frozen=True)
class LayerSource:
    """Image layers of which every plane becomes an item, or that are channels of the same images."""

    layers: tuple[Image, ...]
    as_channels: bool = False

    def missing(self) -> str | None:
        """Return what is wrong with the choice of layers, None if nothing."""
        if not self.layers:
            return "Select at least one layer."
        if self.as_channels and any(layer.rgb for layer in self.layers):
            return "Color layers already contain their channels: deselect them, or make them separate images."
        if self.as_channels and len({layer_data(layer).shape for layer in self.layers}) > 1:
            return "All channels of an image need the same size: deselect the layers that do not fit."
        return None

    @property
    def count(self) -> int:
        """Number of planes."""
        layers = self.layers[:1] if self.as_channels else self.layers
        return sum(math.prod(_stack_shape(layer)) for layer in layers)

    def planes(self) -> Iterator[tuple[str, Picture]]:
        if self.as_channels and len(self.layers) > 1:
            for same in zip(*map(_planes, self.layers), strict=True):
                name, first = same[0]
                yield name, replace(first, pixels=np.stack([plane.pixels for _, plane in same], axis=-1))
            return
        for layer in self.layers:
            yield from _planes(layer)

    def pictures(self) -> dict[str, Picture]:
        """Return the planes by unique names."""
        found: dict[str, Picture] = {}
        for name, plane in self.planes():
            others = (f"{name} ({number})" for number in count(2))
            found[next(one for one in chain([name], others) if one not in found)] = plane
        return found


@dataclass(frozen=True)
class SessionPlan:
    """How to create a session.

    `weights` are local ones of the autoencoder, `working_size` is the side in pixels of what the network
    sees. Without `framing` the size of the objects decides; without `channels` the first three are used. With
    a model to `start` from, classes (which may be renamed), network, working size, framing and normalization
    are the model's.
    """

    source: Path | LayerSource | tuple[Path, ...]
    folder: Path
    classes: tuple[str, ...] = ("object",)
    preset: str = "compact"
    weights: Path | None = None
    working_size: int = 128
    framing: Literal["whole", "tiles"] | None = None
    one_object: bool = False
    channels: tuple[int, ...] | None = None
    start: TrainedModel | None = None

    def missing(self) -> str | None:
        """Return what keeps the session from being created, None if nothing."""
        if isinstance(self.source, Path) and (missing := _why_no_images(self.source)):
            return missing
        if isinstance(self.source, LayerSource) and (missing := self.source.missing()):
            return missing
        if missing := _why_no_session(self.folder):
            return missing
        if self.weights is not None and not os.path.exists(self.weights):
            return f"There is no file “{self.weights}”."
        if not self.classes:
            return "Name at least one class."
        if self.start is not None and len(self.classes) < len(self.start.values):
            return f"The model has {len(self.start.values)} classes: name at least as many, in its order."
        if self.channels is not None and not (1 <= len(set(self.channels)) == len(self.channels) <= 3):
            return "Enter one to three different channels, counted from 0 and separated by commas; or none."
        if self.working_size % 8:
            return "The working size has to be a multiple of 8."
        return None

    def make(self, progress: Progress | None = None, cancelled: Callable[[], bool] | None = None) -> Session:
        """Create the session; errors are those of `Session.create` and `TrainedModel.find`."""
        if self.start is not None:
            TrainedModel.find(self.start.path)  # before anything is written
        watched: dict[str, Any] = {"progress": progress, "cancelled": cancelled}
        if isinstance(self.source, LayerSource):
            session = Session.from_arrays(self.folder, self.source.pictures(), **watched, **self._choices())
        else:
            images = self.source if isinstance(self.source, Path) else list(self.source)
            session = Session.create(self.folder, images, **watched, **self._choices())
        if self.start is not None:
            for value, name in enumerate(self.start.class_names, start=1):
                if not name:
                    session.classes.remove(value)
            self.start.import_into(session.folder)
        elif self.framing is None:
            settings = replace(session.settings, working_size=self.working_size, channels=self.channels)
            session.update(settings=settings)
        return session

    def _choices(self) -> dict[str, Any]:
        classes, preset, weights, settings = self.classes, self.preset, self.weights, None
        if self.start is not None:
            names = iter(self.classes)
            known = [
                next(names) if name else f"removed {value}"
                for value, name in enumerate(self.start.class_names, start=1)
            ]
            classes = (*known, *names)  # at the model's values; new classes follow
            preset, settings = self.start.preset, self.start.settings
            weights = self.start.weights or self.weights
        elif self.framing is not None:
            settings = ImageSettings(
                working_size=self.working_size, framing=self.framing, channels=self.channels
            )
        return {
            "classes": classes,
            "preset": preset,
            "settings": settings,
            "one_object": self.one_object,
            "weights": weights,
        }


def plan_of_samples(folder: Path) -> SessionPlan:
    """Return the plan of a session of the sample images."""
    return SessionPlan(tuple(image for image, _ in sample_pairs()), folder)


def session_folder_for(source: Path | LayerSource, usual: Path) -> Path:
    """Suggest a session's folder: beside a folder of images, else in the usual folder."""
    if isinstance(source, Path):
        images = Path(os.path.normpath(source))
        if not images.name or images.name == os.pardir:  # the root of a disk has no name, nor has half a path
            return usual / "session"
        return images.with_name(f"{images.name} session")
    name = source.layers[0].name if source.layers else "layers"
    return usual / f"{_ODD_CHARACTERS.sub('_', name).strip()} session"


# Paths that may be half typed: `os.path` never raises where `Path` would ---------------------------------


def model_at(path: Path) -> tuple[TrainedModel | None, str | None]:
    """Return the model at a path, or why there is none; neither where no path was entered."""
    if str(path) == ".":
        return None, None
    if not path.is_absolute():
        example = Path.home() / path.name
        return None, f"Enter the full path of the model, such as {example}, or browse with “…”."
    try:
        return TrainedModel.find(path), None
    except SemiGDAError as error:
        return None, str(error)
    except (OSError, RuntimeError, ValueError) as error:
        return None, f"“{path}” could not be read: {error}."


def _why_no_images(folder: Path) -> str | None:
    if str(folder) == ".":
        return "Choose the folder that contains the images."
    if not folder.is_absolute():
        return "Enter the full path of the folder that contains the images, or browse with “…”."
    if os.path.isdir(folder):
        readable = os.access(folder, os.R_OK | os.X_OK)
        return None if readable else f"“{folder}” could not be read: permission denied."
    if os.path.exists(folder):
        return f"“{folder}” is a file. Choose the folder that contains the images."
    return f"There is no folder “{folder}”. Choose the folder that contains the images."


def _why_no_session(folder: Path) -> str | None:
    if str(folder) == ".":
        return "Choose a folder for the session."
    if not folder.is_absolute():
        return "Enter the full path of the session's folder, or browse with “…”."
    if os.path.exists(folder / MANIFEST_NAME):
        return "This folder is already a session. Open it, or choose another folder."
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path) or not path.name)
    if not os.path.isdir(there):
        return f"“{there}” is a file. Choose another folder for the session."
    if not os.access(there, os.W_OK | os.X_OK):
        return f"“{there}” is not writable. Choose another folder for the session."
    return None


# Planes of layers ----------------------------------------------------------------------------------------


def _planes(layer: Image) -> Iterator[tuple[str, Picture]]:
    """Yield planes, named by the layer and their index on each axis, counted from 0 as napari does."""
    data, stacked = layer_data(layer), _stack_shape(layer)
    size = (float(layer.scale[-2]), float(layer.scale[-1]))
    for indices in np.ndindex(stacked):
        digits = (f"{index:0{len(str(length - 1))}d}" for index, length in zip(indices, stacked, strict=True))
        plane = Picture(np.asarray(data[indices]), size, str(layer.units[-1]))
        yield "_".join((layer.name, *digits)), plane


def _stack_shape(layer: Image) -> tuple[int, ...]:
    """Lengths of the axes before the plane."""
    return tuple(layer_data(layer).shape[: layer_data(layer).ndim - (3 if layer.rgb else 2)])
