"""What the engine reports while it works: each event is one moment of a round, or of making drafts."""

from dataclasses import dataclass

from napari_semigda.inference.predictor import DraftMaps
from napari_semigda.session.drafts import DraftInfo
from napari_semigda.session.items import Item
from napari_semigda.session.rounds import RoundRecord
from napari_semigda.training.round import StepReport


class Event:
    """What happened."""


@dataclass(frozen=True)
class ModelLoading(Event):
    """The model is being loaded; ``done`` of ``total`` bytes are fetched (0 of 0: nothing to fetch)."""

    message: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class RoundStarted(Event):
    """A round begins or is resumed."""

    record: RoundRecord


@dataclass(frozen=True)
class FramingFitted(Event):
    """The framing was fitted to the objects in the accepted masks, and is now as the message says."""

    message: str


@dataclass(frozen=True)
class Stepped(Event):
    """One optimizer step was made; ``remaining`` is in seconds of training, None while unknown."""

    record: RoundRecord
    report: StepReport
    remaining: float | None


@dataclass(frozen=True)
class RoundPaused(Event):
    """The round waits in memory until `Engine.unpause`."""

    record: RoundRecord


@dataclass(frozen=True)
class RoundEnded(Event):
    """The round is complete, or was stopped and can be resumed: see the record's status."""

    record: RoundRecord


@dataclass(frozen=True)
class RoundNotSaved(Event):
    """The round is over, but its weights could not be written: it is paused, and can be ended again."""

    record: RoundRecord
    message: str


@dataclass(frozen=True)
class RoundFailed(Event):
    """The round failed, and the previous weights stay in use; ``record`` is None if it never began."""

    record: RoundRecord | None
    message: str


@dataclass(frozen=True)
class Drafting(Event):
    """A draft of a large image is being made, of which a ``share`` in [0, 1] is done."""

    item: Item
    share: float


@dataclass(frozen=True)
class Predicted(Event):
    """A draft was stored in the session."""

    item: Item
    info: DraftInfo


@dataclass(frozen=True)
class PredictionFailed(Event):
    """There is no draft of this item, and why; the others continue."""

    item: Item
    message: str


@dataclass(frozen=True)
class Mapped(Event):
    """The maps behind the newest weights' draft of an item, as requested; nothing of it is stored."""

    item: Item
    maps: DraftMaps


@dataclass(frozen=True)
class MappingFailed(Event):
    """There are no maps of this item, and why."""

    item: Item
    message: str


@dataclass(frozen=True)
class DraftProgress:
    """Drafts done, and parts of one, of all requested since nothing was left to do.

    ``remaining`` is in seconds, at the pace of the last minute; None while unknown.
    """

    done: float
    total: int
    remaining: float | None
