"""What the engine is doing, in numbers and plain words; knows nothing of Qt."""

from __future__ import annotations

from contextlib import suppress
from enum import Enum

from psygnal import Signal

from napari_semigda.engine.events import (
    Drafting,
    DraftProgress,
    Event,
    ModelLoading,
    Predicted,
    PredictionFailed,
    RoundEnded,
    RoundFailed,
    RoundPaused,
    RoundStarted,
    Stepped,
)
from napari_semigda.pace import time_left
from napari_semigda.session.items import ItemState
from napari_semigda.session.rounds import RoundRecord, read_curves
from napari_semigda.session.session import Session
from napari_semigda.training.round import StepReport

GOOD_START = 5  # accepted masks
STAGES = {1: "aligning features", 2: "learning masks"}


class Phase(Enum):
    """What the engine is doing."""

    IDLE = "idle"
    PREPARING = "preparing"
    TRAINING = "training"
    PAUSING = "pausing"
    PAUSED = "paused"
    STOPPING = "stopping"
    DRAFTING = "drafting"


class RoundProgress:
    """The round and drafts under way, as the train panel shows them.

    `share` and `curves` (each loss by step, ``nan`` where a stage has none) cover the whole round;
    `remaining` is in seconds; `stops_drafts` is whether it is drafts, not a round, that stop.
    """

    changed = Signal()

    def __init__(self) -> None:
        self.reset()

    @property
    def active(self) -> bool:
        """Whether a round is prepared, running or paused."""
        return self.phase not in (Phase.IDLE, Phase.DRAFTING)

    @property
    def steps(self) -> int:
        """Steps of this round so far."""
        return max((len(values) for values in self.curves.values()), default=0)

    def reset(self) -> None:
        """Forget everything, for no session is open."""
        self.phase = Phase.IDLE
        self.stops_drafts = False
        self.loading: ModelLoading | None = None
        self.record: RoundRecord | None = None
        self.remaining: float | None = None
        self._forget_steps()
        self.drafts: DraftProgress | None = None
        self.message = ""
        self.changed.emit()

    def begin(self, session: Session) -> None:
        """Show the last round of a session."""
        self.reset()
        rounds = session.rounds
        if rounds:
            self.record = rounds[-1]
            for point in read_curves(session.rounds.folder(self.record.number)):
                with suppress(TypeError):  # a line of another version
                    self._add(StepReport(**point))
        self.changed.emit()

    def requested(self, *, resumes: bool = False) -> None:
        """Note that a round was requested, or that one begun before shall continue."""
        if not resumes:
            self._forget_steps()
        self.message = ""
        self._be(Phase.PREPARING)

    def pausing(self) -> None:
        self._be(Phase.PAUSING)

    def stopping(self) -> None:
        """Note that the round, or the drafts, shall stop."""
        self.stops_drafts = not self.active
        self._be(Phase.STOPPING)

    def drafts_requested(self) -> None:
        """Note that drafts were requested; during a round they are computed when it has ended."""
        if self.phase is Phase.IDLE:
            self.drafts, self.message = None, ""
            self._be(Phase.DRAFTING)

    def failed(self) -> None:
        self.message = "The task failed; see the log for details."
        self._be(Phase.IDLE)

    def rest(self, *, paused: bool) -> None:
        """Note that the engine's thread has ended, with or without a paused round."""
        self._be(Phase.PAUSED if paused else Phase.IDLE)

    @property
    def share(self) -> float | None:
        """Share of the round, or of the drafts, that is done, in [0, 1]; None while there is neither."""
        if self.active:
            return self.fraction
        if self.phase is Phase.DRAFTING and self.drafts is not None:
            return self.drafts.done / max(self.drafts.total, 1)
        return None

    def take(self, event: Event, drafts: DraftProgress | None = None) -> None:
        """Follow one event of the engine; `drafts` is the progress of its drafts."""
        match event:
            case ModelLoading():
                self.loading = event
            case RoundStarted(record):
                self.record, self.loading = record, None
                self._leave(Phase.PREPARING, Phase.TRAINING)
            case Stepped(record, report, remaining):
                self.record, self.remaining = record, remaining
                self._add(report)
                self._leave(Phase.PREPARING, Phase.TRAINING)
            case RoundPaused(record):
                self.record, self.phase = record, Phase.PAUSED
            case RoundEnded(record):
                self.record, self.remaining, self.phase = record, None, Phase.DRAFTING
                self.drafts = None
            case RoundFailed(record, message):
                self.record, self.message, self.phase = record or self.record, message, Phase.IDLE
            case Drafting() | Predicted() | PredictionFailed():
                self.drafts = drafts
                self._leave(Phase.IDLE, Phase.DRAFTING)
        self.changed.emit()

    def _be(self, phase: Phase) -> None:
        self.phase, self.loading = phase, None
        self.changed.emit()

    def _leave(self, phase: Phase, new: Phase) -> None:
        if self.phase is phase:
            self.phase = new

    def _forget_steps(self) -> None:
        self.report: StepReport | None = None
        self.fraction = 0.0
        self.curves: dict[str, list[float]] = {}

    def _add(self, report: StepReport) -> None:
        step = self.steps
        self.report, self.fraction = report, report.fraction
        for name, value in report.losses.items():
            known = self.curves.setdefault(name, [])
            known.extend([float("nan")] * (step - len(known)))
            known.append(value)


def in_words(progress: RoundProgress, session: Session | None) -> str:
    """Return the state of training in a sentence or two."""
    if session is None:
        return "Open a session first."
    if progress.loading is not None:
        return _loading(progress.loading)
    match progress.phase:
        case Phase.PREPARING:
            return "Getting ready…"
        case Phase.TRAINING:
            return _training(progress)
        case Phase.PAUSING:
            return "Pausing after this step…"
        case Phase.PAUSED:
            return f"{_round(progress)} is paused. Continue it, or stop it and use what it has learned."
        case Phase.STOPPING:
            if progress.stops_drafts:
                return "Stopping; the finished drafts are kept…"
            return "Stopping after this step; what it learned is kept…"
        case Phase.DRAFTING:
            return f"{_outcome(progress)} {_drafting(progress.drafts)}".strip()
    return _resting(progress, session)


def duration(seconds: float) -> str:
    """Return seconds in words: ``"40 s"``, ``"3 min"``, ``"1 h 20 min"``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _loading(loading: ModelLoading) -> str:
    if loading.total:
        return f"{loading.message}: {loading.done / 2**20:.0f} of {loading.total / 2**20:.0f} MiB."
    return f"{loading.message}…"


def _training(progress: RoundProgress) -> str:
    report = progress.report
    if report is None:
        return f"{_round(progress)} is starting…"
    steps = f"step {report.step}" + (f" of {report.steps}" if report.steps else "")
    return f"{_round(progress)}, {STAGES.get(report.stage, '')}: {steps}.{_left(progress.remaining)}"


def _drafting(drafts: DraftProgress | None) -> str:
    if drafts is None:
        return "Drafting…"
    if drafts.total <= 1:
        return f"Drafting: {100 * drafts.done:.0f} %.{_left(drafts.remaining)}"
    return f"Drafting: {int(drafts.done)} of {drafts.total}.{_left(drafts.remaining)}"


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    words = time_left(seconds)
    return f" {words[0].upper()}{words[1:]}."


def _resting(progress: RoundProgress, session: Session) -> str:
    if progress.message:
        return progress.message
    if progress.record is not None:
        return _outcome(progress)
    if session.read_only is not None:
        return "Not trained yet."
    accepted = session.counts()[ItemState.ACCEPTED]
    if not accepted:
        return "Not trained yet: accept a few masks, then train."
    if accepted < GOOD_START:
        return f"Not trained yet, {accepted} accepted. Five images as different as possible are a good start."
    return f"Not trained yet, {accepted} accepted: enough for a first round."


def _outcome(progress: RoundProgress) -> str:
    record = progress.record
    if record is None:
        return ""
    how = {
        "complete": "is complete",
        "stopped": "was stopped and can be resumed",
        "failed": "failed; the previous weights are in use",
    }.get(record.status, "was interrupted and can be resumed")
    numbers = f"{record.steps} steps in {duration(record.seconds)}, {len(record.labeled)} accepted masks"
    return f"{_round(progress)} {how} ({numbers})."


def _round(progress: RoundProgress) -> str:
    return "The round" if progress.record is None else f"Round {progress.record.number}"
