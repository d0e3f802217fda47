"""Trained models: found by their session or file, loaded to predict with, imported into other sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.atomic import cannot_read, write_bytes, write_json
from napari_semigda.io.files import json_or_none
from napari_semigda.io.pictures import MANIFEST_NAME
from napari_semigda.model.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from napari_semigda.model.device import choose_device
from napari_semigda.model.network import SemiGDANet
from napari_semigda.session.classes import MOST_NAMED
from napari_semigda.session.layout import ROUNDS, make_folder
from napari_semigda.session.manifest import read_manifest
from napari_semigda.session.rounds import MODEL, newest_model

ORIGIN = "origin.json"
_MOST_ORIGIN = 2**16
IMPORTED = 0  # number of the round that stands for imported weights


@dataclass(frozen=True)
class TrainedModel:
    """A checkpoint, and what has to be known to use it on other images."""

    path: Path  # of the `.safetensors` file
    preset: str  # a key of `napari_semigda.model.presets.PRESETS`
    class_names: tuple[str, ...]  # by value, from 1 on; empty for removed classes
    settings: ImageSettings  # how images were normalized and framed in training
    origin: str  # where it comes from, for people
    weights: Path | None = None  # the autoencoder's file or folder, where it is not the preset's own
    one_object: bool = False  # at most one in an image; in a session, its current choice

    @classmethod
    def find(cls, path: Path) -> TrainedModel:
        """Read what is known of a checkpoint, without its weights.

        `path` is a `.safetensors` file, or a session's folder or `semigda.json`: its newest weights are
        meant. Raises a `SemiGDAError` if there is no checkpoint of ours, or it has no image settings.
        """
        path = path.resolve()
        if path.name == MANIFEST_NAME:
            path = path.parent
        if path.is_dir():
            path = _newest_of_session(path)
        metadata = read_metadata(path)
        origin, weights, one_object = path.name, None, metadata.get("one_object") is True
        number, rounds = path.parent.name, path.parent.parent
        in_rounds = path.name == MODEL and number.isascii() and number.isdigit() and rounds.name == ROUNDS
        if in_rounds and (rounds.parent / MANIFEST_NAME).is_file():
            with suppress(SemiGDAError):
                manifest = read_manifest(rounds.parent)
                weights, one_object = manifest.weights, manifest.one_object
            origin = f"{weights_in_words(path)} of “{rounds.parent.name}”"
        names, settings = _class_names(path, metadata), settings_of(path, metadata)
        return cls(path, metadata["preset"], names, settings, origin, weights, one_object)

    @property
    def values(self) -> tuple[int, ...]:
        """The values of its classes in label maps."""
        return tuple(value for value, name in enumerate(self.class_names, start=1) if name)

    def in_words(self) -> str:
        """Describe it in a sentence or two."""
        settings = self.settings
        names = ", ".join(name for name in self.class_names if name)
        channels = "" if settings.channels is None else f", channels {', '.join(map(str, settings.channels))}"
        low, high = settings.percentiles
        return (
            f"Weights of {self.origin}. Classes: {names}. Network {self.preset}; "
            f"{settings.in_words()}{channels}; 8-bit images as they are, others stretched from "
            f"{low:g} to {high:g} %.{' At most one object in an image.' if self.one_object else ''}"
        )

    def load(
        self,
        device: str = "auto",
        settings: ImageSettings | None = None,
        *,
        weights: Path | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Segmenter:
        """Load the network to predict with, see `Segmenter.from_pretrained`; `settings` replace its own."""
        chosen = choose_device(device)
        network, _ = load_checkpoint(self.path, weights or self.weights, cancelled=cancelled)
        settings = settings or self.settings
        return Segmenter(network, settings, self.class_names, chosen, one_object=self.one_object)

    def import_into(self, folder: Path) -> None:
        """Copy the weights into another session's folder; its first round starts from them.

        Raises a `SemiGDAError` if a file cannot be read or written.
        """
        target = folder / ROUNDS / f"{IMPORTED:03d}"
        make_folder(target)
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise cannot_read(self.path, error) from error
        write_json(target / ORIGIN, {"from": self.origin, "path": self.path.as_posix()})
        write_bytes(target / MODEL, content)


class Segmenter(Predictor):
    """A trained model that segments images of any size and type.

    `from_pretrained` loads one that was trained in a session, `save_pretrained` writes it into one file.
    It is a predictor, not an ``nn.Module``: the network itself is `model`, a `SemiGDANet`. `class_names`,
    `settings`, `device` and `one_object` are attributes, too.

    Parameters
    ----------
    network
        A `SemiGDANet` with its weights; moved to the device.
    settings
        How images are normalized and framed.
    class_names
        ``class_names[0]`` is the class with the value 1 in label maps, and so on; empty texts stand for
        removed classes, which are not predicted.
    device
        Where to compute.
    one_object
        Whether there is at most one object in an image: only the largest one predicted is kept.

    Examples
    --------
    >>> import numpy as np
    >>> network = SemiGDANet("compact", classes=2)
    >>> segmenter = Segmenter(network, ImageSettings(), ["cell"])
    >>> prediction = segmenter.predict(np.zeros((100, 120), np.uint8))
    >>> prediction.labels.shape, prediction.labels.dtype, prediction.probabilities.shape
    ((100, 120), dtype('uint8'), (2, 100, 120))
    """

    def __init__(
        self,
        network: SemiGDANet,
        settings: ImageSettings,
        class_names: Sequence[str],
        device: str | torch.device = "cpu",
        *,
        one_object: bool = False,
    ) -> None:
        removed = [value for value, name in enumerate(class_names, start=1) if not name]
        super().__init__(network, settings, device, one_object=one_object, removed=removed)
        self.class_names = tuple(class_names)

    @classmethod
    def from_pretrained(
        cls, path: Path | str, *, device: str = "auto", weights: Path | str | None = None
    ) -> Segmenter:
        """Load a trained model; no code in its file is executed.

        Parameters
        ----------
        path
            A session's folder (its newest weights are loaded), a `model.safetensors` of a round, or a file
            written by `save_pretrained`.
        device
            ``"auto"`` (CUDA, else MPS, else the CPU), or a device by torch's name.
        weights
            File or folder of the frozen autoencoder on this machine. None: the session's choice, else those
            of the package or the model hub.

        Raises
        ------
        SemiGDAError
            If there is no model, the file is damaged, or its autoencoder or the device is not available.

        Examples
        --------
        >>> segmenter = Segmenter.from_pretrained("liver")
        >>> segmenter.class_names
        ('lesion',)
        """
        found = TrainedModel.find(Path(path))
        return found.load(device, weights=None if weights is None else Path(weights))

    def save_pretrained(self, path: Path | str) -> None:
        """Write the model into one file for `from_pretrained` and ``semigda predict --model``.

        The frozen autoencoder is not in it: with the presets ``taesd`` and ``sd`` the other machine needs
        its weights, too.

        Parameters
        ----------
        path
            The `.safetensors` file; an existing one is replaced.

        Raises
        ------
        SemiGDAError
            If the file cannot be written; an existing one is unchanged then.
        """
        metadata = {
            "class_names": list(self.class_names),
            "settings": self.settings.to_dict(),
            "one_object": self.one_object,
        }
        save_checkpoint(path, cast(SemiGDANet, self.model), metadata)

    save = save_pretrained


SemiGDA = Segmenter
"""Name of `Segmenter` in earlier versions."""


def weights_in_words(path: Path) -> str:
    """Return where weights of a session come from: ``"round 3"``, or the origin of imported ones."""
    number = int(path.parent.name)
    if number != IMPORTED:
        return f"round {number}"
    values = json_or_none(path.parent / ORIGIN, path.parents[2], most=_MOST_ORIGIN)
    origin = values.get("from") if isinstance(values, dict) else None
    return origin if isinstance(origin, str) and origin else "another session"


def _newest_of_session(folder: Path) -> Path:
    if not (folder / MANIFEST_NAME).is_file():
        raise SemiGDAError(f"“{folder}” is not a session: it has no {MANIFEST_NAME}. Choose another folder.")
    path = newest_model(folder)
    if path is None:
        raise SemiGDAError(f"The session “{folder.name}” has no weights yet: train a round there first.")
    return path


def _class_names(path: Path, metadata: dict[str, Any]) -> tuple[str, ...]:
    count = int(metadata["classes"]) - 1
    names = metadata.get("class_names", [f"class {number}" for number in range(1, count + 1)])
    sound = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not sound or not 1 <= len(names) <= MOST_NAMED or not any(names):
        raise SemiGDAError(f"The header of “{path}” is damaged: it does not name its classes.")
    return tuple(names)


def settings_of(path: Path, metadata: dict[str, Any]) -> ImageSettings:
    """Return the image settings in a checkpoint's header; a `SemiGDAError` if missing or damaged."""
    if not isinstance(metadata.get("settings"), dict):
        raise SemiGDAError(f"“{path}” does not say how its images were seen: choose a session's model.")
    try:
        return ImageSettings.from_dict(metadata["settings"])
    except (SemiGDAError, TypeError, ValueError) as error:
        raise SemiGDAError(f"The header of “{path}” is damaged: {error}") from error
