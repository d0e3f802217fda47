"""A trained network on the disk: what it says of itself, and how it is used elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.atomic import write_bytes, write_json
from napari_semigda.io.pictures import MANIFEST_NAME
from napari_semigda.model.checkpoint import load_checkpoint, read_metadata
from napari_semigda.model.device import choose_device
from napari_semigda.session.classes import MOST_NAMED
from napari_semigda.session.layout import ROUNDS, make_folder
from napari_semigda.session.manifest import read_manifest
from napari_semigda.session.rounds import MODEL, Rounds

ORIGIN = "origin.json"
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
    encoder
        The pre-trained encoder it stands on, if any.
    """

    path: Path
    preset: str
    class_names: tuple[str, ...]
    settings: ImageSettings
    origin: str
    weights: Path | None = None
    encoder: str | None = None

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
        origin = path.name
        if folder is not None:
            with suppress(SemiGDAError):
                weights = read_manifest(folder).weights
            origin = f"{weights_in_words(path)} of “{folder.name}”"
        return cls(
            path=path,
            preset=metadata["preset"],
            class_names=_class_names(path, metadata),
            settings=_settings(path, metadata),
            origin=origin,
            weights=weights,
            encoder=(metadata.get("encoder") or {}).get("name"),
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
            f"{low:g} to {high:g} %."
        )

    def predictor(
        self,
        device: str = "auto",
        settings: ImageSettings | None = None,
        *,
        cancelled: Callable[[], bool] | None = None,
    ) -> Predictor:
        """Load the network, to predict with.

        Parameters
        ----------
        device
            As for `choose_device`.
        settings
            How pictures are seen, if not as in training.
        cancelled
            Asked while the autoencoder is being fetched.

        Raises
        ------
        SemiGDAError
            When the checkpoint, its autoencoder or the device cannot be had.
        Cancelled
            If `cancelled` said so.
        """
        chosen = choose_device(device)
        model, _ = load_checkpoint(self.path, self.weights, cancelled=cancelled)
        return Predictor(model, settings or self.settings, chosen)

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
            raise SemiGDAError(f"“{self.path}” cannot be read: {error.strerror or error}.") from error
        write_json(place / ORIGIN, {"from": self.origin, "path": self.path.as_posix()})
        write_bytes(place / MODEL, content)


def weights_in_words(path: Path) -> str:
    """Say which weights of a session these are: those of a round, or brought along from elsewhere."""
    number = int(path.parent.name)
    if number != BROUGHT_ALONG:
        return f"round {number}"
    try:
        return str(json.loads((path.parent / ORIGIN).read_bytes())["from"])
    except (OSError, ValueError, KeyError, TypeError):
        return "another session"


def _newest_of_session(folder: Path) -> Path:
    if not (folder / MANIFEST_NAME).is_file():
        raise SemiGDAError(f"“{folder}” is no session: it has no {MANIFEST_NAME}. Choose another folder.")
    path = Rounds(folder / ROUNDS).last_model()
    if path is None:
        raise SemiGDAError(f"The session “{folder.name}” has no weights yet: train a round there first.")
    return path


def _session_of(path: Path) -> Path | None:
    """The session whose weights these are, if they lie where a session puts them."""
    if path.name != MODEL or not path.parent.name.isdigit() or path.parent.parent.name != ROUNDS:
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


def _settings(path: Path, metadata: dict[str, Any]) -> ImageSettings:
    if not isinstance(metadata.get("settings"), dict):
        raise SemiGDAError(f"“{path}” does not say how its images were seen: choose a session's model.")
    try:
        return ImageSettings.from_dict(metadata["settings"])
    except (SemiGDAError, TypeError, ValueError) as error:
        raise SemiGDAError(f"The header of “{path}” is damaged: {error}") from error
