"""The settings of a session: its network, how that sees the images, and what the window remembers."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict, Unpack

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.framing import MASKS_MEASURED, settings_for_objects
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.atomic import write_json
from napari_semigda.model.presets import starts_trained
from napari_semigda.session.creation import choose_settings
from napari_semigda.session.examples import ExampleCache
from napari_semigda.session.items import Item
from napari_semigda.session.layout import VIEW
from napari_semigda.session.ranking import spread_order
from napari_semigda.session.states import ItemStates
from napari_semigda.session.view import View


class Settings(TypedDict, total=False):
    """What `Session.update` changes."""

    settings: ImageSettings
    preset: str
    weights: Path | str | None
    one_object: bool
    framing_by_objects: bool


class SessionSettings(ItemStates):
    """The part of a session that reads and changes its settings and what the window remembers."""

    _examples: ExampleCache
    _view: View

    def update(self, **changes: Unpack[Settings]) -> None:
        """Change settings, and save.

        Parameters
        ----------
        settings
            An `ImageSettings`.
        preset
            A key of `napari_semigda.model.presets.PRESETS`.
        weights
            The autoencoder's file or folder; None for the preset's own.
        one_object
            Whether there is at most one object in an image.
        framing_by_objects
            Whether a round from scratch fits the framing to the accepted objects.

        Raises
        ------
        SemiGDAError
            When a value is impossible or cannot be saved; nothing is changed then.
        """
        if unknown := changes.keys() - Settings.__annotations__.keys():
            raise TypeError(f"a session has no setting {', '.join(sorted(unknown))}")
        self._base.check_writable()
        if "preset" in changes:
            choose_settings(changes["preset"], self._file.manifest.items)
        if (weights := changes.get("weights")) is not None:
            changes["weights"] = Path(os.path.abspath(weights))
        self._file.change(**changes)
        if "settings" in changes:
            self._examples.clear()
        if changes.keys() & {"settings", "preset", "weights"}:
            self.features.clear()

    @property
    def preset(self) -> str:
        """The autoencoder and sizes; a key of `napari_semigda.model.presets.PRESETS`."""
        return self._file.manifest.preset

    @property
    def settings(self) -> ImageSettings:
        """How images are normalized and framed."""
        return self._file.manifest.settings

    @property
    def framing_by_objects(self) -> bool:
        """Whether a round from scratch fits the framing to the accepted objects."""
        return self._file.manifest.framing_by_objects

    @property
    def one_object(self) -> bool:
        """Whether there is at most one object in an image, so that drafts have no more."""
        return self._file.manifest.one_object

    @property
    def weights(self) -> Path | None:
        """The autoencoder's file or folder, where it is not the preset's own."""
        return self._file.manifest.weights

    @property
    def created(self) -> str:
        """When the session was created: UTC, ISO 8601."""
        return self._file.manifest.created

    @property
    def starts_trained(self) -> bool:
        """Whether a network comes with weights that were trained before, on sample images."""
        return starts_trained(self.preset, self.weights)

    def fit_framing(self) -> str | None:
        """Fit the framing to the accepted objects, where `framing_by_objects` allows it.

        Returns what changed, in a sentence; None if nothing did. Raises `SemiGDAError`.
        """
        if not self.framing_by_objects:
            return None
        labeled = self.labels.to_learn_from()
        masks = map(self.labels.readable, (labeled[i] for i in spread_order(len(labeled))[:MASKS_MEASURED]))
        fitting = settings_for_objects((mask for mask in masks if mask is not None), self.settings)
        if fitting == self.settings:
            return None
        self.update(settings=fitting)
        return f"Chosen by the size of the outlined objects: {fitting.in_words()}."

    @property
    def current_item(self) -> Item | None:
        """The item on screen, remembered from one opening to the next; setting it saves."""
        with suppress(SemiGDAError):
            return self._items.get(self.view.current)
        return None

    @current_item.setter
    def current_item(self, item: Item | str | None) -> None:
        self.remember(current="" if item is None else self._items.get(item).id)

    @property
    def view(self) -> View:
        """What the annotator chose in passing, remembered from one opening to the next."""
        return self._view

    def remember(self, **choices: Any) -> None:
        """Remember fields of `View`; where nothing can be saved, as long as the session is open."""
        with self._base.lock:
            before, self._view = self._view, self._view.model_copy(update=choices)
            if self._view != before and self._base.read_only is None:
                try:
                    write_json(self._base.path / VIEW, self._view.model_dump(), durable=False)
                except SemiGDAError as error:  # a convenience, which stops nothing
                    self._base.warn(str(error))
