"""A session to be made: from which images, where, and how; knows nothing of Qt."""

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
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.pace import Progress
from napari_semigda.samples import sample_pairs
from napari_semigda.session.session import Session
from napari_semigda.session.trained_model import TrainedModel

_ODD_CHARACTERS = re.compile(r"[^\w -]+")

Pixels = tuple[NDArray, tuple[float, float], str]


@dataclass(frozen=True)
class LayerSource:
    """Image layers of a viewer, of which every plane becomes an item.

    Attributes
    ----------
    layers : tuple of napari.layers.Image
        Layers of two or more dimensions; the last two (before colors) are the plane.
    as_channels : bool
        Whether the layers are channels of the same pictures, as napari shows files of several channels.
    """

    layers: tuple[Image, ...]
    as_channels: bool = False

    def missing(self) -> str | None:
        """What stands in the way of making pictures of the layers, in a sentence; None if nothing."""
        if not self.layers:
            return "Tick at least one layer."
        if self.as_channels and any(layer.rgb for layer in self.layers):
            return "Layers in colors have their channels already: untick them, or make pictures of their own."
        if self.as_channels and len({_data(layer).shape for layer in self.layers}) > 1:
            return "The channels of a picture need to have the same size: untick what does not belong to it."
        return None

    def planes(self) -> Iterator[tuple[str, Pixels]]:
        """Each plane's name, pixels (H, W) or (H, W, C), and pixel size (y, x) with its unit."""
        if self.as_channels and len(self.layers) > 1:
            for same in zip(*map(_planes, self.layers), strict=True):
                name, (_, size, unit) = same[0]
                yield name, (np.stack([pixels for _, (pixels, _, _) in same], axis=-1), size, unit)
            return
        for layer in self.layers:
            yield from _planes(layer)

    @property
    def count(self) -> int:
        """How many planes there are."""
        layers = self.layers[:1] if self.as_channels else self.layers
        return sum(math.prod(_data(layer).shape[: _stacked_axes(layer)]) for layer in layers)

    def pictures(self) -> dict[str, Pixels]:
        """The planes by their names, of which no two are alike."""
        found: dict[str, Pixels] = {}
        for name, pixels in self.planes():
            others = (f"{name} ({number})" for number in count(2))
            found[next(one for one in chain([name], others) if one not in found)] = pixels
        return found


@dataclass(frozen=True)
class SessionPlan:
    """What a new session shall be.

    Attributes
    ----------
    source : Path or LayerSource or tuple of Path
        A folder of images, layers, or image files.
    folder : Path
        The session's folder; it may not be a session yet.
    classes : tuple of str
        Names of the classes, without background.
    preset : str
        Name of the network's preset.
    weights : Path or None
        Local weights of the autoencoder; None takes the preset's own.
    working_size : int
        Side in pixels of what the network sees.
    framing : {"whole", "tiles"} or None
        How images are seen; None lets the size of the objects decide, when training begins.
    one_object : bool
        Whether there is at most one object in an image.
    channels : tuple of int or None
        Which channels of the images are looked at, from 0 on, at most three; None takes the first three.
    start : TrainedModel or None
        Weights that the first round starts from. Classes (which may have other names), network, working size,
        framing and normalization are then those of the model, whatever is said here.
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
        """What has to be said before the session can be made, in a sentence; None if nothing."""
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
            return f"The model knows {len(self.start.values)} classes: name as many, in its order."
        if self.channels is not None and not (1 <= len(set(self.channels)) == len(self.channels) <= 3):
            return "Name one to three different channels, from 0 on, separated by commas; or none."
        if self.working_size % 8:
            return "The working size has to be a multiple of 8."
        return None

    def make(self, progress: Progress | None = None, cancelled: Callable[[], bool] | None = None) -> Session:
        """Make the session.

        Parameters
        ----------
        progress, cancelled
            Told and asked after each image.

        Raises
        ------
        SemiGDAError
            If the folder cannot be used, or an image or the model cannot be read.
        Cancelled
            If the person cancelled; no session was made.
        """
        if self.start is not None:
            TrainedModel.find(self.start.path)  # before anything is made
        watched: dict[str, Any] = {"progress": progress, "cancelled": cancelled}
        if isinstance(self.source, LayerSource):
            session = Session.from_arrays(self.folder, self.source.pictures(), **watched, **self._choices())
        else:
            images = self.source if isinstance(self.source, Path) else list(self.source)
            session = Session.create(self.folder, images, **watched, **self._choices())
        if self.start is not None:
            self._bring_along(session, self.start)
        elif self.framing is None:
            session.settings = replace(
                session.settings, working_size=self.working_size, channels=self.channels
            )
        return session

    def _bring_along(self, session: Session, start: TrainedModel) -> None:
        for value, name in enumerate(start.class_names, start=1):
            if not name:
                session.remove_class(value)
        start.bring_along(session.folder)

    def _choices(self) -> dict[str, Any]:
        if self.start is not None:
            return {
                "classes": self._names_by_value(self.start),
                "preset": self.start.preset,
                "settings": self.start.settings,
                "one_object": self.one_object,
                "weights": self.start.weights or self.weights,
            }
        settings = None
        if self.framing is not None:
            settings = ImageSettings(
                working_size=self.working_size, framing=self.framing, channels=self.channels
            )
        return {
            "classes": self.classes,
            "preset": self.preset,
            "settings": settings,
            "one_object": self.one_object,
            "weights": self.weights,
        }

    def _names_by_value(self, start: TrainedModel) -> tuple[str, ...]:
        """The names of the classes at the model's values; what the model does not know follows."""
        names = iter(self.classes)
        known = [
            next(names) if name else f"removed {value}"
            for value, name in enumerate(start.class_names, start=1)
        ]
        return (*known, *names)


def model_at(path: Path) -> tuple[TrainedModel | None, str | None]:
    """Find the model at a path that may be half typed, or the reason why there is none; neither for ``.``."""
    if str(path) == ".":
        return None, None
    if not path.is_absolute():
        return (
            None,
            f"Enter the full path of the model, such as {Path.home() / path.name}, or browse with “…”.",
        )
    try:
        return TrainedModel.find(path), None
    except SemiGDAError as error:
        return None, str(error)
    except (OSError, RuntimeError, ValueError) as error:  # half of a path can be all that is wrong with paths
        return None, f"“{path}” could not be read: {error}."


def plan_of_samples(folder: Path) -> SessionPlan:
    """A session of the bundled pictures in this folder."""
    return SessionPlan(tuple(picture for picture, _ in sample_pairs()), folder)


def _why_no_images(folder: Path) -> str | None:
    """Say why there can be no images in a folder; the path may be half typed."""
    if str(folder) == ".":
        return "Choose the folder that holds the images."
    if not folder.is_absolute():
        return "Write the whole path of the folder that holds the images, or choose it with “…”."
    if os.path.isdir(folder):  # which never raises, as Path's own does
        return (
            None if os.access(folder, os.R_OK | os.X_OK) else f"“{folder}” cannot be read: permission denied."
        )
    if os.path.exists(folder):
        return f"“{folder}” is a file. Choose the folder that holds the images."
    return f"There is no folder “{folder}”. Choose the folder that holds the images."


def _why_no_session(folder: Path) -> str | None:
    """Say why a folder cannot become a session; the path may be half typed."""
    if str(folder) == ".":
        return "Choose a folder for the session."
    if not folder.is_absolute():
        return "Write the whole path of the session's folder, or choose it with “…”."
    if os.path.exists(folder / "semigda.json"):
        return "This folder is a session already. Open it, or choose another folder."
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place) or not place.name)
    if not os.path.isdir(there):
        return f"“{there}” is a file. Choose another folder for the session."
    if not os.access(there, os.W_OK | os.X_OK):
        return f"Nothing can be written in “{there}”. Choose another folder for the session."
    return None


def session_folder_for(source: Path | LayerSource, place: Path) -> Path:
    """Where a session of these images is put unless the person says otherwise: beside the images.

    Parameters
    ----------
    source : Path or LayerSource
        A folder of images, or layers.
    place : Path
        Where sessions of layers go, and of images in a folder without a name.
    """
    if isinstance(source, Path):
        images = Path(os.path.normpath(source))
        if not images.name or images.name == os.pardir:  # the root of a disk has no name, nor has half a path
            return place / "session"
        return images.with_name(f"{images.name} session")
    name = source.layers[0].name if source.layers else "layers"
    return place / f"{_ODD_CHARACTERS.sub('_', name).strip()} session"


def _planes(layer: Image) -> Iterator[tuple[str, Pixels]]:
    data = _data(layer)
    stacked = _stacked_axes(layer)
    size = (float(layer.scale[-2]), float(layer.scale[-1]))
    unit = str(layer.units[-1])
    for place in np.ndindex(data.shape[:stacked]):
        yield _plane_name(layer, data.shape[:stacked], place), (np.asarray(data[place]), size, unit)


def _stacked_axes(layer: Image) -> int:
    return int(_data(layer).ndim) - (3 if layer.rgb else 2)


def _data(layer: Image) -> Any:
    return layer.data[0] if layer.multiscale else layer.data


def _plane_name(layer: Image, counts: tuple[int, ...], place: tuple[int, ...]) -> str:
    """The layer's name and the plane's place on each axis, counted from 0 as napari's sliders do."""
    digits = (f"{index:0{len(str(count - 1))}d}" for index, count in zip(place, counts, strict=True))
    return "_".join((layer.name, *digits))
