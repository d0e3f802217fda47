"""One round: both stages of SemiGDA on labeled and unlabeled examples, a generator of steps."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from napari_semigda.errors import SemiGDAError, is_out_of_memory
from napari_semigda.io.atomic import atomic_file
from napari_semigda.io.files import check_own, opened_tensors, parse_json
from napari_semigda.model.device import autocast
from napari_semigda.model.network import SemiGDANet
from napari_semigda.training.augmentation import augment
from napari_semigda.training.data import Batch, Example, Stream, draw_batch, mixed_seed
from napari_semigda.training.objective import Objective, Terms
from napari_semigda.training.recipe import (
    Budget,
    OptimizerSettings,
    Recipe,
    averaging_decay,
    from_disk,
    polynomial_decay,
    to_disk,
)

_MOST = 10**12  # steps or seconds
_UNFIT = (
    *(OSError, SafetensorError, ArithmeticError, AttributeError),
    *(LookupError, RuntimeError, TypeError, ValueError),
)

_DIVERGED = (
    "Training has diverged (the loss is no longer a number). The weights from before this round stay in use; "
    "check the accepted masks, or train again with another seed."
)


@dataclass(frozen=True)
class StepReport:
    """One optimizer step.

    Attributes
    ----------
    stage : int
        1 (latent alignment) or 2 (segmentation).
    step : int
        Steps done in this stage, from 1.
    steps : int or None
        Steps of this stage, None where only time limits it.
    fraction : float
        Used share of the whole round's budget, in [0, 1].
    losses : dict of str to float
        The terms of the loss and their weighted sum ``"total"``.
    learning_rate : float
        Of this step (the first optimizer's where there are two).
    seconds : float
        Duration of this step.
    """

    stage: int
    step: int
    steps: int | None
    fraction: float
    losses: dict[str, float]
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class _Stage:
    number: int
    share: float
    budget: Budget
    batch: int


class Round:
    """Train a network, in place, on labeled and unlabeled examples, which are loaded when drawn.

    `run` yields after each optimizer step; between two steps the caller may predict with the network's
    weights, save the state, or stop. Every random choice of a step follows from the seed and the number of
    the step, so a round resumed from its state ends with the weights of one that never stopped, provided that
    steps, not seconds, limit it. Without limits in the budget the recipe's epochs count.

    At least one labeled example is needed, else there is a `SemiGDAError`; more may be added later.
    `working_size` is the side in pixels of the square windows that the network sees, a multiple of 8. `warm`
    is True for a network that was trained before, by an earlier round or on generated images: stage 1 is left
    out, and learning rates are lower. `clock` returns the seconds that the budget counts, for example the
    processor's on a shared machine.

    `steps_done` and `seconds_done` count both stages, and what was before a resumption; batches of this stage
    are `batch_divisor` times smaller than the recipe's, for lack of memory.
    """

    def __init__(
        self,
        model: SemiGDANet,
        labeled: Sequence[Example],
        unlabeled: Sequence[Example],
        *,
        recipe: Recipe,
        budget: Budget,
        working_size: int,
        seed: int = 0,
        device: str | torch.device = "cpu",
        warm: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not len(labeled):
            raise SemiGDAError("A round needs at least one accepted mask: accept one, then train.")
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.labeled, self.unlabeled = labeled, unlabeled
        self.recipe, self.working_size, self.seed = recipe, working_size, seed
        self._warm = warm
        self._clock = clock
        self._labeled_from: list[list[int]] = []  # since which step, and how many
        self._stages = _stages(recipe, budget, len(labeled), warm)
        self._stage_index = 0
        self._step = 0
        self._seconds = 0.0
        self.steps_done, self.seconds_done = 0, 0.0
        self._average = {name: value.clone() for name, value in model.trainable_state().items()}
        self._start_stage()

    def add_labeled(self, labeled: Sequence[Example]) -> None:
        """Learn from more examples from the next epoch on.

        `labeled` are the present examples in the same order, followed by the new ones. When others joined is
        part of the state, so a round is resumed exactly.
        """
        if len(labeled) < len(self.labeled):
            raise ValueError("Labeled examples may be added to a round, not taken away.")
        self.labeled = labeled

    @property
    def labeled_count(self) -> int:
        """Number of labeled examples that take part; those added since the epoch began do not yet."""
        return self._labeled_from[-1][1]

    @property
    def finished(self) -> bool:
        """Whether every stage has used up its budget."""
        return self._stage_index >= len(self._stages)

    def run(self) -> Iterator[StepReport]:
        """Yield a report after each optimizer step until the budget is used up.

        Where the device has too little memory for a batch, it is halved; a RuntimeError if one labeled and
        one unlabeled example are too many. Raises a `SemiGDAError` if the loss is no longer a number.
        """
        while not self.finished:
            self._let_in()
            started = self._clock()
            losses, learning_rate = self._train_step_that_fits()
            seconds = self._clock() - started
            self._step += 1
            self._seconds += seconds
            self.steps_done, self.seconds_done = self.steps_done + 1, self.seconds_done + seconds
            stage = self._stages[self._stage_index]
            used = stage.budget.used(self._step, self._seconds)
            before = sum(one.share for one in self._stages[: self._stage_index])
            fraction = min(1.0, before + stage.share * used)
            report = StepReport(
                stage.number, self._step, stage.budget.steps, fraction, losses, learning_rate, seconds
            )
            if used >= 1:
                self._stage_index, self._step, self._seconds = self._stage_index + 1, 0, 0.0
                if not self.finished:
                    self._start_stage()
            yield report

    def averaged_state(self) -> dict[str, Tensor]:
        """Return the average of the weights, on the CPU; a `SemiGDAError` if one is not a finite number."""
        if not all(bool(value.isfinite().all()) for value in self._average.values()):
            raise SemiGDAError(_DIVERGED)
        return {name: value.detach().cpu().clone() for name, value in self._average.items()}

    def save_state(self, path: Path) -> None:
        """Write everything that `load_state` needs, atomically and without pickles."""
        tensors = {f"model.{name}": value for name, value in self.model.trainable_state().items()}
        tensors |= {f"average.{name}": value for name, value in self._average.items()}
        for number, optimizer in enumerate(self._optimizers):
            for index, values in optimizer.state_dict()["state"].items():
                for key, value in values.items():
                    if value is not None:
                        tensors[f"optimiser.{number}.{index}.{key}"] = torch.as_tensor(value)
        with atomic_file(path) as temporary:
            save_file(
                {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
                temporary,
                metadata={"semigda-round": json.dumps(to_disk(self._position()))},
            )

    def load_state(self, path: Path) -> None:
        """Continue where `save_state` stopped, with the same arguments, or raise a `SemiGDAError`."""
        try:
            check_own(path)
            with opened_tensors(path, "pt") as file:
                position = from_disk(parse_json((file.metadata() or {})["semigda-round"]))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            self._resume(position, tensors)
        except _UNFIT as error:
            raise SemiGDAError(
                f"The stopped round in “{path}” cannot be resumed ({error}); start a new round instead."
            ) from error

    def _position(self) -> dict[str, Any]:
        return {
            "stages": [stage.number for stage in self._stages],
            "plan": [[stage.share, stage.budget.to_dict()] for stage in self._stages],
            "stage_index": self._stage_index,
            "step": self._step,
            "seconds": self._seconds,
            "steps_done": self.steps_done,
            "seconds_done": self.seconds_done,
            "labeled": self._labeled_from,
            "batch_divisor": self.batch_divisor,
            "shown": sorted(self.model.shown),
        }

    def _resume(self, position: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        if position["stages"] != [stage.number for stage in self._stages]:
            raise ValueError("it has other stages")
        _check_position(position, len(self._stages))
        # Epochs were counted with the examples there were then.
        for index, (share, budget) in enumerate(position.get("plan", [])):
            self._stages[index] = replace(
                self._stages[index], share=float(share), budget=Budget.from_dict(budget)
            )
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimiser": {}}
        for name, value in tensors.items():
            group, _, rest = name.partition(".")
            groups[group][rest] = value
        self.model.load_trainable_state(groups["model"])
        self.model.shown.update(int(value) for value in position.get("shown", range(1, self.model.classes)))
        self._average = {name: value.to(self.device) for name, value in groups["average"].items()}
        self._stage_index, self._step = position["stage_index"], position["step"]
        self._seconds = position["seconds"]
        self.steps_done, self.seconds_done = position["steps_done"], position["seconds_done"]
        if not self.finished:
            self._start_stage()
            self.batch_divisor = int(position.get("batch_divisor", 1))
            self._shuffle_unlabeled()
            there = len(self.labeled)  # fewer than there were, if masks have been taken away since
            counts: list[list[int]] = position.get("labeled", self._labeled_from)
            self._labeled_from = [[int(step), min(int(count), there)] for step, count in counts]
            self._shuffle_labeled()
            self._resume_optimizers(groups["optimiser"])

    def _resume_optimizers(self, tensors: dict[str, Tensor]) -> None:
        states: list[dict[int, dict[str, Tensor]]] = [{} for _ in self._optimizers]
        for name, value in tensors.items():
            number, index, key = name.split(".")
            states[int(number)].setdefault(int(index), {})[key] = value
        for optimizer, state in zip(self._optimizers, states, strict=True):
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})

    def _start_stage(self) -> None:
        stage = self._stages[self._stage_index]
        self._labeled_from = [[0, len(self.labeled)]]
        self.batch_divisor = 1
        self._shuffle_labeled()
        self._shuffle_unlabeled()
        self._optimizers = _optimizers(self.model, self.recipe, stage.number)

    def _shuffle_labeled(self) -> None:
        """Shuffle the present labeled examples, from the step at which the last ones joined."""
        batch, count = self._batch, self._labeled_from[-1][1]
        joined = len(self._labeled_from) - 1
        seed = mixed_seed(self.seed, 1, joined) if joined else mixed_seed(self.seed, 1)
        self._labeled_stream = Stream(count, batch, seed)
        self._labeled_alone_stream = Stream(count, 2 * batch, seed)

    def _shuffle_unlabeled(self) -> None:
        self._unlabeled_stream = Stream(len(self.unlabeled), self._batch, mixed_seed(self.seed, 2))

    @property
    def _batch(self) -> int:
        return max(1, self._stages[self._stage_index].batch // self.batch_divisor)

    def _let_in(self) -> None:
        """Where an epoch begins, let the examples take part that were added since the last one."""
        since, count = self._labeled_from[-1]
        if len(self.labeled) > count and self._labeled_stream.begins_epoch(self._step - since):
            self._labeled_from.append([self._step, len(self.labeled)])
            self._shuffle_labeled()

    def _train_step_that_fits(self) -> tuple[dict[str, float], float]:
        while True:
            try:
                return self._train_step()
            except RuntimeError as error:
                if self._batch == 1 or not is_out_of_memory(error):
                    raise
            # Not above: the error holds what the step has made.
            for optimizer in self._optimizers:
                optimizer.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.batch_divisor *= 2
            self._labeled_from.append([self._step, self.labeled_count])
            self._shuffle_labeled()
            self._shuffle_unlabeled()

    def _train_step(self) -> tuple[dict[str, float], float]:
        stage = self._stages[self._stage_index]
        fraction = stage.budget.used(self._step, self._seconds)
        learning_rate = self._set_learning_rates(fraction)
        self.model.train()
        # Dropout draws from the global generator: seed it for this step and leave it as it was found.
        cards = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cards):
            torch.manual_seed(mixed_seed(self.seed, stage.number, self._step, 3))
            terms = self._terms(stage, fraction)
            total = torch.stack([weight * value for weight, value in terms.values()]).sum()
            for optimizer in self._optimizers:
                optimizer.zero_grad(set_to_none=True)
            total.backward()
        values = torch.stack([*(value for _, value in terms.values()), total]).tolist()  # one wait for a card
        losses = dict(zip((*terms, "total"), values, strict=True))
        if not math.isfinite(losses["total"]):
            raise SemiGDAError(_DIVERGED)
        for optimizer in self._optimizers:
            optimizer.step()
        self._update_average()
        return losses, learning_rate

    def _terms(self, stage: _Stage, fraction: float) -> Terms:
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, stage.number, self._step))
        alone = not len(self.unlabeled) or fraction < self.recipe.unlabeled_from
        stream = self._labeled_alone_stream if alone else self._labeled_stream
        labeled = self._draw(self.labeled, stream.draw(self._step - self._labeled_from[-1][0]), generator)
        unlabeled = (
            None if alone else self._draw(self.unlabeled, self._unlabeled_stream.draw(self._step), generator)
        )
        objective = Objective(self.model, self.recipe, generator)
        with autocast(self.device):
            return objective.terms(stage.number, fraction, labeled, unlabeled)

    def _set_learning_rates(self, fraction: float) -> float:
        factor = polynomial_decay(fraction) * (self.recipe.trained_before if self._warm else 1.0)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = factor * group["initial_lr"]
        return float(self._optimizers[0].param_groups[0]["lr"])

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = averaging_decay(self.steps_done, self.recipe.averaging)
        for name, value in self.model.trainable_state().items():
            average = self._average[name] = self._average[name].to(value.device)
            if value.is_floating_point():
                average.lerp_(value.to(average.dtype), 1 - decay)
            else:
                average.copy_(value)

    def _draw(self, examples: Sequence[Example], indices: list[int], generator: torch.Generator) -> Batch:
        batch = draw_batch(examples, indices, self.working_size, generator)
        counts = torch.bincount(batch.labels.flatten(), minlength=self.model.classes)
        self.model.shown.update(counts[1 : self.model.classes].nonzero().flatten().add(1).tolist())
        return augment(Batch(*(part.to(self.device) for part in batch)), generator)


def _stages(recipe: Recipe, budget: Budget, labeled: int, warm: bool) -> list[_Stage]:
    """Stages 1 and 2 with their budgets; stage 1 is left out in a warm round, or if it gets nothing."""
    first = recipe.stage_one_epochs * math.ceil(labeled / recipe.stage_one_batch)
    second = recipe.stage_two_epochs * math.ceil(labeled / recipe.stage_two_batch)
    share = recipe.stage_one_share
    if budget.steps is None and budget.seconds is None:
        share = None
        budget = Budget(steps=second if warm else first + second)
    if share is None:
        share = first / (first + second)
    if warm or not share or budget.steps == 1:
        return [_Stage(2, 1.0, budget, recipe.stage_two_batch)]
    first_budget, second_budget = budget.split(share)
    return [
        _Stage(1, share, first_budget, recipe.stage_one_batch),
        _Stage(2, 1 - share, second_budget, recipe.stage_two_batch),
    ]


def _optimizers(model: SemiGDANet, recipe: Recipe, stage: int) -> list[torch.optim.Optimizer]:
    parts = model.parts()

    def optimizer(names: Iterable[str], settings: OptimizerSettings) -> torch.optim.Optimizer:
        parameters = [parameter for name in names for parameter in parts[name].parameters()]
        rate = settings.learning_rate
        groups = [{"params": parameters, "lr": rate, "initial_lr": rate}]
        if settings.kind == "adamw":
            return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
        return torch.optim.SGD(groups, momentum=settings.momentum, weight_decay=settings.weight_decay)

    if stage == 1:
        return [
            optimizer(["mapping"], recipe.mapping_optimizer),
            optimizer(["encoder"], recipe.encoder_optimizer),
        ]
    return [optimizer(parts, recipe.stage_two_optimizer)]


def _check_position(position: dict[str, Any], stages: int) -> None:
    """Raise a ValueError unless a round can continue from there; anybody may have written the file."""
    counts = [position[name] for name in ("stage_index", "step", "steps_done")]
    counts.append(position.get("batch_divisor", 1))
    counts += [one for pair in position.get("labeled", []) for one in pair]
    seconds = [position[name] for name in ("seconds", "seconds_done")]
    if not all(type(one) is int and 0 <= one <= _MOST for one in counts) or counts[3] < 1:
        raise ValueError("it does not say how far it was")
    if not all(type(one) in (int, float) and 0 <= one <= _MOST for one in seconds):
        raise ValueError("it does not say how long it took")
    if counts[0] > stages or len(position.get("plan", [])) > stages:
        raise ValueError("it has other stages")
