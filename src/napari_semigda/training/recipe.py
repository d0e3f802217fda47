"""How a round trains: every choice that is not the network itself, and how long it may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from napari_semigda.errors import SemiGDAError

DEFAULT_SECONDS = 60.0
"""How long a round trains if nothing else is said."""

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

OptimizerKind = Literal["adamw", "sgd"]
PseudoLabel = Literal["soft", "hard"]


@dataclass(frozen=True)
class OptimizerSettings:
    """One optimizer of a stage; the learning rate decays polynomially to 0 over the stage."""

    kind: OptimizerKind = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9


_PAPER_SGD = OptimizerSettings("sgd", 0.01, 1e-4, 0.9)


@dataclass(frozen=True)
class Recipe:
    """The knobs of a round. `Recipe()` suits a waiting person, `Recipe.paper()` is the published one.

    Attributes
    ----------
    name : str
        Shown to people.
    stage_one_share : float or None
        Part of the budget that the first round spends on stage 1 (latent alignment), in [0, 1); None shares
        it as the epochs of both stages would.
    stage_one_batch, stage_two_batch : int
        Labeled examples a step beside as many unlabeled ones; twice as many where they are alone.
    mapping_optimizer, encoder_optimizer : OptimizerSettings
        Stage 1: latent mapping and encoder are stepped apart.
    stage_two_optimizer : OptimizerSettings
        Stage 2: mapping, encoder and both adapters.
    trained_before : float
        Factor of stage 2's learning rate where the network was trained before, by an earlier round or on
        generated pictures.
    align_in_stage_two : bool
        Whether the alignment losses go on beside Dice in stage 2 (paper: yes, released code: no).
    unlabeled_peak : float
        β of the unlabeled weight λ.
    unlabeled_from : float
        Fraction of a stage from which unlabeled images take part. They halve the labeled steps in a given
        time, and λ is below a third of its peak in the first half.
    mixing_from : float
        Fraction of stage 2 from which CutMix takes part; 1 switches it off.
    mixing_side : float
        Side of the swapped box as a fraction of the image's.
    pseudo_label : {"soft", "hard"}
        What the branches tell each other, see `losses.pseudo_labels`.
    temperature : float
        T of hard pseudo labels.
    one_object : bool
        Keep the largest component of pseudo labels: only where there is one object an image.
    noise_probability : float
        Stage 2: probability with which the image latent's mean is replaced by a sample.
    averaging : float
        Decay of the moving average of the weights that predict.
    stage_one_epochs, stage_two_epochs : int
        Length where the budget names neither steps nor seconds.
    """

    name: str = "default"
    stage_one_share: float | None = 0.1
    stage_one_batch: int = 4
    stage_two_batch: int = 2
    mapping_optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    encoder_optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    stage_two_optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    trained_before: float = 0.25
    align_in_stage_two: bool = True
    unlabeled_peak: float = 0.1
    unlabeled_from: float = 0.5
    mixing_from: float = 0.5
    mixing_side: float = 2 / 3
    pseudo_label: PseudoLabel = "soft"
    temperature: float = 0.1
    one_object: bool = False
    noise_probability: float = 0.5
    averaging: float = 0.98
    stage_one_epochs: int = 200
    stage_two_epochs: int = 350

    @classmethod
    def paper(cls) -> Recipe:
        """The published schedule: 200 + 350 epochs, AdamW on the mapping and SGD on everything else."""
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
        """The recipe of this name, ``"default"`` or ``"paper"``."""
        if name == "default":
            return cls()
        if name == "paper":
            return cls.paper()
        raise SemiGDAError(f"There is no recipe “{name}”; choose “default” or “paper”.")

    def with_one_object(self, one_object: bool) -> Recipe:
        """The same recipe for a session whose images hold one object each, or not."""
        return replace(self, one_object=one_object)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """The recipe that `to_dict` wrote.

        Raises
        ------
        SemiGDAError
            When it is none.
        """
        values = {name: value for name, value in values.items() if name not in _NO_LONGER_USED}
        _check_like(values, cls().to_dict())
        optimizers = {
            key: OptimizerSettings(**value) for key, value in values.items() if isinstance(value, dict)
        }
        return cls(**{**values, **optimizers})


@dataclass(frozen=True)
class Budget:
    """How long a round may take; where both are given the first to be used up ends it.

    Attributes
    ----------
    steps : int or None
        Optimizer steps of all stages together.
    seconds : float or None
        Time spent in steps; waiting, pausing and serving predictions do not count.
    """

    steps: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is not None and self.steps < 1) or (self.seconds is not None and not self.seconds > 0):
            raise SemiGDAError("A round needs at least one step and more than zero seconds.")

    def split(self, share: float) -> tuple[Budget, Budget]:
        """Two budgets of this ``share`` (in (0, 1)) and the rest; each has at least one step."""
        seconds: tuple[float | None, float | None] = (None, None)
        if self.seconds is not None:
            seconds = (self.seconds * share, self.seconds * (1 - share))
        if self.steps is None:
            return Budget(None, seconds[0]), Budget(None, seconds[1])
        first = min(max(1, round(self.steps * share)), self.steps - 1)
        return Budget(first, seconds[0]), Budget(self.steps - first, seconds[1])

    def used(self, steps: int, seconds: float) -> float:
        """How much of the budget is used, in [0, 1]; 0 for a budget without limits."""
        parts = [0.0]
        if self.steps is not None:
            parts.append(steps / self.steps)
        if self.seconds is not None:
            parts.append(seconds / self.seconds)
        return min(1.0, max(parts))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Budget:
        """The budget that `to_dict` wrote.

        Raises
        ------
        SemiGDAError
            When it is none.
        """
        _check_like(values, {"steps": 1, "seconds": 1.0})
        return cls(**values)


def chosen_budget(recipe: str, steps: int | None = None, seconds: float | None = None) -> Budget:
    """How long a round takes that was asked for by the name of its recipe; the paper's knows itself."""
    if steps is None and seconds is None and recipe != "paper":
        return Budget(seconds=DEFAULT_SECONDS)
    return Budget(steps, seconds)


def _check_like(values: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """Make sure that stored values are of the kinds of the usual ones; the file may be anybody's."""
    for name, value in values.items():
        if name not in usual or not _is_like(name, value, usual[name]):
            raise SemiGDAError(f"The record of the round is damaged (“{name}”). Start a new round.")


def _is_like(name: str, value: Any, usual: Any) -> bool:
    if isinstance(usual, dict):
        if isinstance(value, dict):
            _check_like(value, usual)
        return isinstance(value, dict)
    if isinstance(usual, bool | str):
        return isinstance(value, type(usual)) and value in _CHOICES.get(name, (value,))
    if value is None:
        return name in _MAY_BE_NONE
    kind = (int,) if isinstance(usual, int) else (int, float)
    return type(value) in kind and 0 <= value <= _MOST.get(name, 1e9) and value == value


_CHOICES = {"pseudo_label": get_args(PseudoLabel), "kind": get_args(OptimizerKind)}
_MAY_BE_NONE = ("stage_one_share", "steps", "seconds")
_MOST = {"stage_one_batch": 1024, "stage_two_batch": 1024}


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
