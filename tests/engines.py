"""What tests of the engine share, and models that neither train nor predict."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_semigda.engine.engine import Engine
from napari_semigda.engine.events import Event
from napari_semigda.engine.models import Models
from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.atomic import atomic_file
from napari_semigda.samples import sample_pairs
from napari_semigda.session.rounds import MODEL, RoundRecord
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget
from napari_semigda.training.round import StepReport

STEPS = 4


def sample_session(folder: Path, accepted: int = 2) -> Session:
    """Six bundled samples, seen small; the first ones are accepted."""
    pairs = sample_pairs()[:6]
    session = Session.create(folder, [image for image, _ in pairs], settings=ImageSettings(working_size=32))
    for item, (_, mask) in zip(session.items[:accepted], pairs, strict=False):
        session.accept(item, (iio.imread(mask) > 0).astype(np.uint8))
    return session


def drain(engine: Engine, react: Callable[[Event], None] = lambda _: None) -> list[Event]:
    """Let the engine work in this thread until nothing is left to do."""
    events = []
    while engine.start_work():
        for event in engine.work():
            events.append(event)
            react(event)
    return events


def of(kind: type, events: list[Event]) -> list:
    return [event for event in events if isinstance(event, kind)]


def train(engine: Engine, steps: int = STEPS, **options: object) -> list[Event]:
    engine.request_round(budget=Budget(steps=steps), **options)  # type: ignore[arg-type]
    return drain(engine)


class FakeNetwork(nn.Module):
    """Takes what is brighter than a threshold, another one after each step, for foreground."""

    classes = 2
    image_branch_share = 0.5

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def latents(self, image: Tensor) -> Tensor:
        return image.mean(1, keepdim=True)

    def decode_image_branch(self, latents: Tensor) -> Tensor:
        foreground = torch.sigmoid(latents - 0.1 * self.steps)
        return torch.cat([1 - foreground, foreground], 1)

    decode_mask_branch = decode_image_branch


class FakeTrainer:
    """Counts steps of stage 2; new masks join at the next one."""

    batch_divisor = 1

    def __init__(self, steps: int, labeled: Sequence, clock: Callable[[], float]) -> None:
        self.steps, self.labeled, self.clock = steps, labeled, clock
        self.labeled_count = len(labeled)
        self.steps_done, self.seconds_done = 0, 0.0

    def add_labeled(self, labeled: Sequence) -> None:
        self.labeled = labeled

    def run(self) -> Iterator[StepReport]:
        while self.steps_done < self.steps:
            self.labeled_count = len(self.labeled)
            began = self.clock()
            seconds = self.clock() - began
            self.steps_done, self.seconds_done = self.steps_done + 1, self.seconds_done + seconds
            fraction = self.steps_done / self.steps
            yield StepReport(2, self.steps_done, self.steps, fraction, {"total": 1.0}, 0.1, seconds)

    def save_state(self, path: Path) -> None:
        _write(path, self.steps_done)

    def load_state(self, path: Path) -> None:
        self.steps_done = _read(path)


class FakeExtractor:
    """Describes an image by mean and deviation."""

    def signature(self) -> dict:
        return {"cells": 1, "settings": {}, "autoencoder": [0.0]}

    def extract(self, pixels: np.ndarray, *, cancelled: Callable[[], bool]) -> np.ndarray:
        return np.array([np.mean(pixels), np.std(pixels)], np.float32)


class FakeModels(Models):
    """To be given to an engine as `models`."""

    def trainer(self, record: RoundRecord, labeled: Sequence, unlabeled: Sequence) -> FakeTrainer:
        steps = Budget.from_dict(record.budget).steps
        assert steps is not None
        return FakeTrainer(steps, labeled, self.clock)

    def predictor_of(self, trainer: FakeTrainer) -> Predictor:
        return Predictor(FakeNetwork(trainer.steps_done), self.session.settings, self.device)

    def last_predictor(self) -> tuple[Predictor, int]:
        path = self.session.rounds.last_model()
        assert path is not None
        return Predictor(FakeNetwork(_read(path)), self.session.settings, self.device), int(path.parent.name)

    def save(self, predictor: Predictor, number: int) -> None:
        _write(self.session.rounds.folder(number) / MODEL, predictor.model.steps)

    def feature_extractor(self, predictor: Predictor | None) -> FakeExtractor:
        return FakeExtractor()


def _write(path: Path, steps: int) -> None:
    with atomic_file(path) as temporary:
        save_file({"steps": torch.tensor(steps)}, temporary)


def _read(path: Path) -> int:
    with safe_open(path, "pt") as file:
        return int(file.get_tensor("steps"))
