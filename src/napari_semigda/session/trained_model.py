"""A trained network: what it says of itself on the disk, and how it is used elsewhere."""

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
BROUGHT_ALONG = 0
"""Number of the round that stands for weights from elsewhere."""


@dataclass(frozen=True)
class TrainedModel:
    """A checkpoint, and what has to be known to use it for other pictures.

    Parameters
    ----------
    path
        The `.safetensors` file.
    preset
        A key of `napari_semigda.model.presets.PRESETS`.
    class_names
        By value, from 1 on; empty for classes that were removed.
    settings
        How pictures were seen in training.
    origin
        Where it is from, for people.
    weights
        The autoencoder's file or folder, where it is not the preset's own.
    one_object
        Whether the pictures have at most one object; in a session that is what the session says now.
    """

    path: Path
    preset: str
    class_names: tuple[str, ...]
    settings: ImageSettings
    origin: str
    weights: Path | None = None
    one_object: bool = False

    @classmethod
    def find(cls, place: Path) -> TrainedModel:
        """Read what is known of a checkpoint, without its weights.

        Parameters
        ----------
        place
            A `.safetensors` file; or a session's folder or `semigda.json`: its newest weights are meant.

        Raises
        ------
        SemiGDAError
            When there is no checkpoint of ours, or it does not say how its pictures were seen.
        """
        place = place.resolve()
        if place.name == MANIFEST_NAME:
            place = place.parent
        path = _newest_of_session(place) if place.is_dir() else place
        metadata = read_metadata(path)
        folder, weights = _session_of(path), None
        origin, one_object = path.name, metadata.get("one_object") is True
        if folder is not None:
            with suppress(SemiGDAError):
                manifest = read_manifest(folder)
                weights, one_object = manifest.weights, manifest.one_object
            origin = f"{weights_in_words(path)} of “{folder.name}”"
        return cls(
            path=path,
            preset=metadata["preset"],
            class_names=_class_names(path, metadata),
            settings=settings_of(path, metadata),
            origin=origin,
            weights=weights,
            one_object=one_object,
        )

    @property
    def values(self) -> tuple[int, ...]:
        """The values of its classes."""
        return tuple(value for value, name in enumerate(self.class_names, start=1) if name)

    def in_words(self) -> str:
        """What it is, in a sentence or two."""
        names = ", ".join(name for name in self.class_names if name)
        channels = self.settings.channels
        seen = self.settings.in_words()
        seen += "" if channels is None else f", channels {', '.join(map(str, channels))}"
        low, high = self.settings.percentiles
        return (
            f"Weights of {self.origin}. Classes: {names}. Network {self.preset}; "
            f"{seen}; 8-bit images as they are, others stretched from "
            f"{low:g} to {high:g} %.{' At most one object in an image.' if self.one_object else ''}"
        )

    def load(
        self,
        device: str = "auto",
        settings: ImageSettings | None = None,
        *,
        weights: Path | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> SemiGDA:
        """Load the network, to predict with; see `SemiGDA.from_pretrained`.

        Parameters
        ----------
        settings
            How pictures are seen, if not as in training.
        """
        chosen = choose_device(device)
        network, _ = load_checkpoint(self.path, weights or self.weights, cancelled=cancelled)
        return SemiGDA(
            network, settings or self.settings, self.class_names, chosen, one_object=self.one_object
        )

    def bring_along(self, folder: Path) -> None:
        """Put a copy of the weights into another session, as what its first round starts from.

        Parameters
        ----------
        folder
            The session's.

        Raises
        ------
        SemiGDAError
            When it cannot be read or written.
        """
        place = folder / ROUNDS / f"{BROUGHT_ALONG:03d}"
        make_folder(place)
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise cannot_read(self.path, error) from error
        write_json(place / ORIGIN, {"from": self.origin, "path": self.path.as_posix()})
        write_bytes(place / MODEL, content)


class SemiGDA(Predictor):
    """A trained model: segments pictures of any size and type, and can be saved as one file.

    `from_pretrained` gives one that was trained in a session.

    Parameters
    ----------
    network
        A `napari_semigda.model.network.SemiGDANet`, with its weights; moved to the device.
    settings
        How pictures are normalized and framed.
    class_names
        By value, from 1 on; empty texts stand for classes that were removed, and are not predicted.
    device
        Where to compute.
    one_object
        Whether there is at most one object in a picture: of what is predicted the largest is kept.

    Attributes
    ----------
    class_names : tuple of str
        As above: ``class_names[0]`` is the class with the value 1 in label maps.
    settings : ImageSettings
        As above.
    device : torch.device
        As above.
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
        cls, place: Path | str, *, device: str = "auto", weights: Path | str | None = None
    ) -> SemiGDA:
        """Load a trained model; no code in its file is executed.

        Parameters
        ----------
        place
            A session's folder (its newest weights are meant), or a file: a `model.safetensors` of a round,
            or what `save` wrote.
        device
            ``"auto"`` (CUDA, else MPS, else the CPU), or a device by torch's name.
        weights
            File or folder of the frozen autoencoder on this machine. None: where the model's session says,
            else the package or the model hub.

        Raises
        ------
        SemiGDAError
            When there is no model, its autoencoder or the device cannot be had, or the file is damaged.

        Examples
        --------
        >>> model = SemiGDA.from_pretrained("liver")
        >>> model.class_names
        ('lesion',)
        """
        found = TrainedModel.find(Path(place))
        return found.load(device, weights=None if weights is None else Path(weights))

    def save(self, path: Path | str) -> None:
        """Write the model into one file for `from_pretrained`, and for ``semigda predict --model``.

        The frozen autoencoder is not in it: with the presets ``taesd`` and ``sd`` the other machine needs
        its weights, too.

        Parameters
        ----------
        path
            The `.safetensors` file; one that is there is replaced as a whole.

        Raises
        ------
        SemiGDAError
            If the file cannot be written; what stood there is unchanged then.
        """
        metadata = {
            "class_names": list(self.class_names),
            "settings": self.settings.to_dict(),
            "one_object": self.one_object,
        }
        save_checkpoint(path, cast(SemiGDANet, self.model), metadata)


def weights_in_words(path: Path) -> str:
    """Say which weights of a session these are: those of a round, or brought along from elsewhere."""
    number = int(path.parent.name)
    if number != BROUGHT_ALONG:
        return f"round {number}"
    values = json_or_none(path.parent / ORIGIN, path.parents[2], most=_MOST_ORIGIN)
    origin = values.get("from") if isinstance(values, dict) else None
    return origin if isinstance(origin, str) and origin else "another session"


def _newest_of_session(folder: Path) -> Path:
    if not (folder / MANIFEST_NAME).is_file():
        raise SemiGDAError(f"“{folder}” is no session: it has no {MANIFEST_NAME}. Choose another folder.")
    path = newest_model(folder)
    if path is None:
        raise SemiGDAError(f"The session “{folder.name}” has no weights yet: train a round there first.")
    return path


def _session_of(path: Path) -> Path | None:
    """The session whose weights these are, if they lie where a session puts them."""
    if (
        path.name != MODEL
        or not (path.parent.name.isascii() and path.parent.name.isdigit())
        or path.parent.parent.name != ROUNDS
    ):
        return None
    folder = path.parents[2]
    return folder if (folder / MANIFEST_NAME).is_file() else None


def _class_names(path: Path, metadata: dict[str, Any]) -> tuple[str, ...]:
    count = int(metadata["classes"]) - 1
    names = metadata.get("class_names", [f"class {number}" for number in range(1, count + 1)])
    sound = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not sound or not 1 <= len(names) <= MOST_NAMED or not any(names):
        raise SemiGDAError(f"The header of “{path}” is damaged: it does not name its classes.")
    return tuple(names)


def settings_of(path: Path, metadata: dict[str, Any]) -> ImageSettings:
    """How the images were seen that a checkpoint was trained on.

    Parameters
    ----------
    path
        The checkpoint, to name it in messages.
    metadata
        Its header, as `model.checkpoint` reads it.

    Raises
    ------
    SemiGDAError
        If the header does not tell, or nothing sensible.
    """
    if not isinstance(metadata.get("settings"), dict):
        raise SemiGDAError(f"“{path}” does not say how its images were seen: choose a session's model.")
    try:
        return ImageSettings.from_dict(metadata["settings"])
    except (SemiGDAError, TypeError, ValueError) as error:
        raise SemiGDAError(f"The header of “{path}” is damaged: {error}") from error
