"""What a person would otherwise train: a supervised U-Net, and a Mean Teacher U-Net for unlabeled images.

Both are MONAI's `UNet`, and both see what a `Round` sees: the same examples, windows, augmentation, seeds and
budget. A `UNet` has the interface of the project's networks, so that the same `Predictor` predicts with it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from monai.networks import nets
from torch import Tensor, nn

from napari_semigda.errors import SemiGDAError
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.model.device import autocast
from napari_semigda.training.augmentation import augment
from napari_semigda.training.data import Batch, Example, Stream, draw_batch, mixed_seed
from napari_semigda.training.losses import dice_loss, one_hot
from napari_semigda.training.recipe import Budget, averaging_decay, polynomial_decay, unlabeled_weight

BATCH = 4
"""Labeled examples a step; Mean Teacher draws as many unlabeled ones."""

LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-4

CONSISTENCY_PEAK = 0.1
"""What the consistency term's weight grows to, as in the usual semi-supervised comparisons."""

NOISE = 0.1
"""Standard deviation of what is added to the teacher's images, which lie in [-1, 1]."""


class UNet(nn.Module):
    """MONAI's U-Net in the place of a `SemiGDANet`: both of its branches say the same.

    Parameters
    ----------
    classes
        Number of classes with the background.
    seed
        Of the weights; the caller's random state is left alone.
    """

    image_branch_share = 0.5

    def __init__(self, classes: int = 2, seed: int = 0) -> None:
        super().__init__()
        self.classes = classes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = nets.UNet(2, 3, classes, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, S, S) of images (B, 3, S, S) in [-1, 1]; S is a multiple of 16.

        Raises
        ------
        SemiGDAError
            If S is no multiple of 16.
        """
        if image.shape[-1] % 16 or image.shape[-2] % 16:
            raise SemiGDAError("The U-Net halves images four times: use a working size that 16 divides.")
        return self.network(image)

    def latents(self, image: Tensor) -> Tensor:
        """What there is to decode of images (B, 3, S, S): class probabilities already, (B, K, S, S)."""
        return self(image).float().softmax(dim=1)

    def decode_image_branch(self, latents: Tensor) -> Tensor:
        """Class probabilities (B, K, S, S)."""
        return latents

    def decode_mask_branch(self, latents: Tensor) -> Tensor:
        """Class probabilities (B, K, S, S), the same again."""
        return latents


@dataclass(frozen=True)
class UNetStep:
    """What one optimizer step did: its number from 1, its loss, and the seconds it took."""

    step: int
    loss: float
    seconds: float


class SupervisedUNet:
    """Train a U-Net on labeled examples: Dice and cross-entropy, AdamW, a rate that decays to 0.

    Unknown pixels and padding train nothing. Like a `Round` it counts only the seconds spent in steps.

    Parameters
    ----------
    labeled, unlabeled : sequence of Example
        At least one labeled example; unlabeled ones are for `MeanTeacherUNet`.
    budget : Budget
        When to stop.
    working_size : int
        Side of the windows in pixels, a multiple of 16.
    seed : int
        Of the weights and of every step.
    device : str or torch.device
        Where to train.
    network : UNet
        Weights to start from; trained in place. None: random ones.
    clock : callable
        What counts the seconds of a step.

    Attributes
    ----------
    network : UNet
        As trained.
    average : UNet
        With the moving average of the weights.
    steps_done, seconds_done : int, float
        What has been used of the budget.
    """

    decay = 0.98

    def __init__(
        self,
        labeled: Sequence[Example],
        unlabeled: Sequence[Example] = (),
        *,
        budget: Budget,
        working_size: int,
        seed: int = 0,
        device: str | torch.device = "cpu",
        network: UNet | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not len(labeled):
            raise SemiGDAError("Training needs at least one labeled image.")
        self.device = torch.device(device)
        self.labeled, self.unlabeled = labeled, unlabeled
        self.budget, self.working_size, self.seed = budget, working_size, seed
        self.network = (UNet(seed=seed) if network is None else network).to(self.device)
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.steps_done, self.seconds_done = 0, 0.0
        self._clock = clock
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        self._labeled_stream = Stream(len(labeled), BATCH, mixed_seed(seed, 1))
        self._unlabeled_stream = Stream(len(unlabeled), BATCH, mixed_seed(seed, 2))

    @property
    def predicting(self) -> UNet:
        """The network whose predictions are this method's result."""
        return self.network

    def run(self) -> Iterator[UNetStep]:
        """Train until the budget is used up, and say so after each step."""
        while (fraction := self.budget.used(self.steps_done, self.seconds_done)) < 1:
            started = self._clock()
            loss = self._train_step(fraction)
            seconds = self._clock() - started
            self.steps_done, self.seconds_done = self.steps_done + 1, self.seconds_done + seconds
            yield UNetStep(self.steps_done, loss, seconds)

    def _train_step(self, fraction: float) -> float:
        self.network.train()
        for group in self._optimizer.param_groups:
            group["lr"] = LEARNING_RATE * polynomial_decay(fraction)
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, self.steps_done))
        labeled = self._draw(self.labeled, self._labeled_stream, generator)
        with autocast(self.device):
            loss = self._loss(labeled, fraction, generator)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        value = float(loss.detach())
        self._optimizer.step()
        self._update_average()
        return value

    def _loss(self, labeled: Batch, fraction: float, generator: torch.Generator) -> Tensor:
        return supervised_loss(self.network(labeled.images), labeled)

    def _draw(self, examples: Sequence[Example], stream: Stream, generator: torch.Generator) -> Batch:
        batch = draw_batch(examples, stream.draw(self.steps_done), self.working_size, generator)
        return augment(Batch(*(part.to(self.device) for part in batch)), generator)

    @torch.no_grad()
    def _update_average(self) -> None:
        share = 1 - averaging_decay(self.steps_done, self.decay)
        # a U-Net with instance normalization has parameters only, no buffers
        for average, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
            average.lerp_(value, share)


class MeanTeacherUNet(SupervisedUNet):
    """Train a U-Net that also agrees with its own moving average on unlabeled images (Mean Teacher).

    The teacher, the average of the weights, sees the images with noise; the mean squared difference of both
    outputs counts with a weight that grows like a Gaussian over the budget. The teacher predicts.
    """

    decay = 0.99

    @property
    def predicting(self) -> UNet:
        """The teacher."""
        return self.average

    def _loss(self, labeled: Batch, fraction: float, generator: torch.Generator) -> Tensor:
        if not len(self.unlabeled):
            return super()._loss(labeled, fraction, generator)
        unlabeled = self._draw(self.unlabeled, self._unlabeled_stream, generator)
        logits = self.network(torch.cat([labeled.images, unlabeled.images]))
        student = logits[len(labeled.images) :].float().softmax(dim=1)
        noise = torch.randn(unlabeled.images.shape, generator=generator) * NOISE
        with torch.no_grad():
            noisy = unlabeled.images + noise.clamp(-2 * NOISE, 2 * NOISE).to(self.device)
            teacher = self.average(noisy).float().softmax(dim=1)
        return supervised_loss(logits[: len(labeled.images)], labeled) + unlabeled_weight(
            fraction, CONSISTENCY_PEAK
        ) * consistency_loss(student, teacher, unlabeled.valid)


def supervised_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Dice plus cross-entropy where somebody has looked; 0 where nobody has.

    Parameters
    ----------
    logits
        (B, K, S, S).
    batch
        With labels and validity (B, S, S).
    """
    known, classes = batch.known, logits.shape[1]
    labels = batch.labels.masked_fill(~known, UNKNOWN).long()
    total = F.cross_entropy(logits.float(), labels, ignore_index=UNKNOWN, reduction="sum")
    overlap = dice_loss(logits.float().softmax(dim=1), one_hot(batch.labels, classes), known)
    return overlap + total / known.sum().clamp(min=1)


def consistency_loss(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Mean squared difference of two (B, K, S, S) probabilities, of pixels inside the images (B, S, S)."""
    squares = ((student - teacher) ** 2).mean(dim=1) * valid
    return squares.sum() / valid.sum().clamp(min=1)
