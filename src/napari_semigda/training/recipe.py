"""How a round trains, and how long it may take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, field, replace
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from napari_semigda.errors import SemiGDAError

DEFAULT_SECONDS = 60.0
"""Length of a round by default."""

_ON_DISK = {
    "labeled": "labelled",
    "unlabeled": "unlabelled",
    "unlabeled_peak": "unlabelled_peak",
    "unlabeled_from": "unlabelled_from",
    "mapping_optimizer": "mapping_optimiser",
    "encoder_optimizer": "encoder_optimiser",
    "stage_two_optimizer": "stage_two_optimiser",
    "unlabeled dice": "unlabelled dice",
    "unlabeled alignment": "unlabelled alignment",
}
"""Names that keep their first spelling in files, so that every version reads the files of every other."""

_NO_LONGER_USED = ("backbone_rate",)

_MOST = 10**9
_STORED = ConfigDict(extra="forbid")

Count = Annotated[int, Field(strict=True, ge=0, le=_MOST)]
Batch = Annotated[int, Field(strict=True, ge=0, le=1024)]
Number = Annotated[float, Field(strict=True, ge=0, le=_MOST, allow_inf_nan=False)]
Switch = Annotated[bool, Field(strict=True)]


class _Stored:
    """What is stored in the record of a round, which anybody may have written."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return what `to_dict` wrote; a `SemiGDAError` names a damaged field."""
        try:
            return TypeAdapter(cls).validate_python(values)
        except (SemiGDAError, ValidationError) as error:
            field = error.errors()[0]["loc"][-1] if isinstance(error, ValidationError) else "budget"
            raise SemiGDAError(
                f"The record of the round is damaged (“{field}”). Start a new round."
            ) from error


@dataclass(frozen=True, config=_STORED)
class OptimizerSettings:
    """One optimizer of a stage; the learning rate decays polynomially to 0 over the stage."""

    kind: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Number = 2e-3
    weight_decay: Number = 1e-4
    momentum: Number = 0.9


_PAPER_SGD = OptimizerSettings("sgd", 0.01, 1e-4, 0.9)


@dataclass(frozen=True, config=_STORED)
class Recipe(_Stored):
    """The settings of a round. `Recipe()` suits a waiting user, `Recipe.paper()` is the published one."""

    name: str = "default"
    stage_one_share: Number | None = 0.1  # of a first round's budget; None: as the epochs of both stages
    stage_one_batch: Batch = 4  # labeled examples, beside as many unlabeled ones; twice as many if alone
    stage_two_batch: Batch = 2
    mapping_optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)  # in stage 1
    encoder_optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)  # in stage 1
    stage_two_optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    trained_before: Number = 0.25  # factor of stage 2's learning rate for a network that was trained before
    align_in_stage_two: Switch = True  # beside Dice (paper: yes, released code: no)
    unlabeled_peak: Number = 0.1  # β of the unlabeled weight λ
    # Fraction of a stage from which unlabeled images take part. They halve the labeled steps in a given time,
    # and λ is below a third of its peak in the first half.
    unlabeled_from: Number = 0.5
    mixing_from: Number = 0.5  # fraction of stage 2 from which CutMix takes part; 1 switches it off
    mixing_side: Number = 2 / 3  # of the swapped box, as a fraction of the image's
    pseudo_label: Literal["soft", "hard"] = "soft"  # see `losses.pseudo_labels`
    temperature: Number = 0.1  # T of hard pseudo labels
    one_object: Switch = False  # keep the largest component of pseudo labels
    noise_probability: Number = 0.5  # with which the image latent's mean is replaced by a sample in stage 2
    averaging: Number = 0.98  # decay of the moving average of the weights that predict
    stage_one_epochs: Count = 200  # where the budget names neither steps nor seconds
    stage_two_epochs: Count = 350

    @classmethod
    def paper(cls) -> Recipe:
        """Return the published schedule: 200 + 350 epochs, AdamW on the mapping and SGD on the rest."""
        return cls(
            name="paper",
            stage_one_share=None,
            stage_one_batch=12,
            mapping_optimizer=OptimizerSettings("adamw", 2e-3, 1e-2),
            encoder_optimizer=_PAPER_SGD,
            stage_two_optimizer=_PAPER_SGD,
            trained_before=1.0,
            unlabeled_from=0.0,
            mixing_from=1 / 3,
        )

    @classmethod
    def named(cls, name: str) -> Recipe:
        """Return the recipe of this name, ``"default"`` or ``"paper"``."""
        if name == "default":
            return cls()
        if name == "paper":
            return cls.paper()
        raise SemiGDAError(f"There is no recipe “{name}”; choose “default” or “paper”.")

    def with_one_object(self, one_object: bool) -> Recipe:
        """Return the same recipe for images with at most one object each, or not."""
        return replace(self, one_object=one_object)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return what `to_dict` wrote; a `SemiGDAError` names a damaged field."""
        return super().from_dict({name: values[name] for name in values if name not in _NO_LONGER_USED})


@dataclass(frozen=True, config=_STORED)
class Budget(_Stored):
    """How long a round may take; where both limits are given, the first one reached ends it.

    Steps are the optimizer's, of all stages together; seconds are spent in steps: waiting, pausing and
    serving predictions do not count.
    """

    steps: Annotated[int, Field(strict=True)] | None = None
    seconds: Annotated[float, Field(strict=True)] | None = None

    def __post_init__(self) -> None:
        if (self.steps is not None and self.steps < 1) or (self.seconds is not None and not self.seconds > 0):
            raise SemiGDAError("A round needs at least one step and more than zero seconds.")
        if (self.steps or 0) > _MOST or (self.seconds or 0) > _MOST:
            raise SemiGDAError("A round can have at most a billion steps, and as many seconds.")

    def split(self, share: float) -> tuple[Budget, Budget]:
        """Return two budgets of this ``share`` (in (0, 1)) and the rest; each has at least one step."""
        seconds: tuple[float | None, float | None] = (None, None)
        if self.seconds is not None:
            seconds = (self.seconds * share, self.seconds * (1 - share))
        if self.steps is None:
            return Budget(None, seconds[0]), Budget(None, seconds[1])
        first = min(max(1, round(self.steps * share)), self.steps - 1)
        return Budget(first, seconds[0]), Budget(self.steps - first, seconds[1])

    def used(self, steps: int, seconds: float) -> float:
        """Return how much of the budget is used, in [0, 1]; 0 for a budget without limits."""
        parts = [0.0]
        if self.steps is not None:
            parts.append(steps / self.steps)
        if self.seconds is not None:
            parts.append(seconds / self.seconds)
        return min(1.0, max(parts))


def chosen_budget(recipe: str, steps: int | None = None, seconds: float | None = None) -> Budget:
    """Return the budget of a round with this recipe; the paper's has its own length."""
    if steps is None and seconds is None and recipe != "paper":
        return Budget(seconds=DEFAULT_SECONDS)
    return Budget(steps, seconds)


def unlabeled_weight(fraction: float, peak: float) -> float:
    """λ(t) = β·exp(−5(1 − t/t_max)²), the weight of the unlabeled images; `fraction` is t/t_max, `peak` β."""
    return peak * math.exp(-5.0 * (1.0 - fraction) ** 2)


def polynomial_decay(fraction: float, power: float = 0.9) -> float:
    """Factor of the learning rate, from 1 down to 0 at the end of the stage, without restarts."""
    return float((1.0 - min(fraction, 1.0)) ** power)


def averaging_decay(step: int, decay: float) -> float:
    """Decay of the weights' moving average: short memory at first, so that a short round is not all start."""
    return min(decay, (1.0 + step) / (10.0 + step))


def to_disk(values: Mapping[str, Any]) -> dict[str, Any]:
    """Spell the names in a record or state as the files have them; `from_disk` undoes it."""
    return _respelled(values, _ON_DISK)


def from_disk(values: Mapping[str, Any]) -> dict[str, Any]:
    """Spell the names of a record or state read from a file as the code has them."""
    return _respelled(values, {old: new for new, old in _ON_DISK.items()})


def _respelled(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {
        names.get(name, name): _respelled(value, names) if isinstance(value, dict) else value
        for name, value in values.items()
    }
