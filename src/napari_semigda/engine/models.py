"""Makes what the engine trains, drafts and extracts features with, from a session and its files."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from napari_semigda.engine.events import ModelLoading
from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.features import FeatureExtractor
from napari_semigda.inference.predictor import Predictor
from napari_semigda.model.checkpoint import load_checkpoint, save_checkpoint
from napari_semigda.model.loading import REPOSITORIES, load_autoencoder
from napari_semigda.model.network import SemiGDANet
from napari_semigda.session.rounds import MODEL, RoundRecord
from napari_semigda.session.session import Session
from napari_semigda.session.trained_model import settings_of
from napari_semigda.training.data import Example, mixed_seed
from napari_semigda.training.recipe import Budget, Recipe
from napari_semigda.training.round import Round


@dataclass
class Models:
    """The networks of a session; the engine touches none itself, so tests can replace them by simple ones."""

    session: Session
    device: torch.device
    weights: Path | None  # the autoencoder's on this machine, if not where the session says
    report: Callable[[ModelLoading], None]
    cancelled: Callable[[], bool]
    clock: Callable[[], float]

    @property
    def at_hand(self) -> bool:
        """Whether the autoencoder can be loaded without a download."""
        return bool(self.session.preset not in REPOSITORIES or self.weights or self.session.weights)

    def trainer(self, record: RoundRecord, labeled: Sequence[Example], unlabeled: Sequence[Example]) -> Round:
        """Return what trains this round, before its first step."""
        return Round(
            self._training_model(record),
            labeled,
            unlabeled,
            recipe=Recipe.from_dict(record.recipe),
            budget=Budget.from_dict(record.budget),
            working_size=self.session.settings.working_size,
            # A later round must not repeat the augmentations and boxes of the first.
            seed=mixed_seed(record.seed, record.number) if record.warm else record.seed,
            device=self.device,
            clock=self.clock,
            warm=1 not in record.stages,
        )

    def predictor_of(self, trainer: Round) -> Predictor:
        """Return a predictor with the averaged weights; it shares the frozen autoencoder with the trainer."""
        shared = trainer.model.autoencoder
        model = copy.deepcopy(trainer.model, {id(shared): shared})
        model.load_trainable_state(trainer.averaged_state())
        return Predictor(model, self.session.settings, self.device)

    def last_predictor(self) -> tuple[Predictor, int]:
        """Return a predictor with the last saved weights, and the round they are of (0: imported)."""
        path = self.session.rounds.last_model()
        if path is None:
            raise SemiGDAError("There is no trained model yet. Train a round first.")
        model, metadata = load_checkpoint(path, **self._loading())
        number = int(path.parent.name)
        # The framing may have been fitted to other objects since that round.
        settings = settings_of(path, metadata) if number else self.session.settings
        return Predictor(model, settings, self.device), number

    def save(self, predictor: Predictor, number: int) -> None:
        """Write the weights of a round."""
        metadata = {
            "class_names": self.session.classes.names,
            "settings": self.session.settings.to_dict(),
            "one_object": self.session.one_object,
            "round": number,
        }
        model = cast(SemiGDANet, predictor.model)
        save_checkpoint(self.session.rounds.folder(number) / MODEL, model, metadata)

    def feature_extractor(self, predictor: Predictor | None) -> FeatureExtractor:
        """Return an extractor of image features, with the predictor's autoencoder where there is one."""
        if predictor is not None:
            autoencoder = cast(SemiGDANet, predictor.model).autoencoder
        else:
            autoencoder = load_autoencoder(self.session.preset, **self._loading())
        return FeatureExtractor(autoencoder, self.session.settings, self.device)

    def _training_model(self, record: RoundRecord) -> SemiGDANet:
        last = self.session.rounds.last_model() if record.warm else None
        if last is None:
            preset, classes = self.session.preset, self.session.classes.channels
            autoencoder = load_autoencoder(preset, **self._loading())
            return SemiGDANet(preset, classes, autoencoder=autoencoder, seed=record.seed)
        model, _ = load_checkpoint(last, **self._loading())
        # The network paints colors: one more class changes only the palette, and `shown` knows that no mask
        # has shown that class yet.
        model.classes = self.session.classes.channels
        return model

    def _loading(self) -> dict[str, Any]:
        return {
            "weights": self.weights or self.session.weights,
            "progress": lambda done, total: self.report(ModelLoading("Fetching weights", done, total)),
            "cancelled": self.cancelled,
        }
