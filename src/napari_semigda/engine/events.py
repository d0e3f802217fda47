"""What the engine tells while it works: each event is one moment of a round, or of making drafts."""

from dataclasses import dataclass

from napari_semigda.inference.draft_maps import DraftMaps
from napari_semigda.session.drafts import DraftInfo
from napari_semigda.session.items import Item
from napari_semigda.session.rounds import RoundRecord
from napari_semigda.training.round import StepReport


@dataclass(frozen=True)
class ModelLoading:
    """The model is being made ready; ``done`` of ``total`` bytes are fetched (0 of 0: nothing to fetch)."""

    message: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class RoundStarted:
    """A round begins or goes on."""

    record: RoundRecord


@dataclass(frozen=True)
class FramingFitted:
    """How images are seen was fitted to the objects that were outlined, and now is as the message says."""

    message: str


@dataclass(frozen=True)
class Stepped:
    """One optimizer step was made; ``remaining`` is in seconds of training, None while unknown."""

    record: RoundRecord
    report: StepReport
    remaining: float | None


@dataclass(frozen=True)
class RoundPaused:
    """The round waits in memory until `Engine.unpause`."""

    record: RoundRecord


@dataclass(frozen=True)
class RoundEnded:
    """The round is complete, or was stopped and can be resumed: see the record's status."""

    record: RoundRecord


@dataclass(frozen=True)
class RoundNotSaved:
    """The round is over, but what it learned could not be written: it is held, and can be ended again."""

    record: RoundRecord
    message: str


@dataclass(frozen=True)
class RoundFailed:
    """The round broke off, and the weights from before stay in use; ``record`` is None if it never began."""

    record: RoundRecord | None
    message: str


@dataclass(frozen=True)
class Drafting:
    """A draft of a large image is being made, of which a ``share`` in [0, 1] is done."""

    item: Item
    share: float


@dataclass(frozen=True)
class DraftProgress:
    """How far the making of drafts is, counting those that were made since nothing was left to do.

    Parameters
    ----------
    done
        Drafts made, and the part of the one that is being made.
    total
        All that were asked for.
    remaining
        Seconds until they are made, at the pace of the last minute; None while unknown.
    """

    done: float
    total: int
    remaining: float | None


@dataclass(frozen=True)
class Predicted:
    """A draft was stored in the session."""

    item: Item
    info: DraftInfo


@dataclass(frozen=True)
class PredictionFailed:
    """There is no draft for this item, and why; the others go on."""

    item: Item
    message: str


@dataclass(frozen=True)
class Mapped:
    """What lies behind the newest weights' draft of an item, as asked for; nothing of it is kept."""

    item: Item
    maps: DraftMaps


@dataclass(frozen=True)
class MappingFailed:
    """There are no maps of this item, and why."""

    item: Item
    message: str


Event = (
    ModelLoading
    | RoundStarted
    | FramingFitted
    | Stepped
    | RoundPaused
    | RoundEnded
    | RoundNotSaved
    | RoundFailed
    | Drafting
    | Predicted
    | PredictionFailed
    | Mapped
    | MappingFailed
)
