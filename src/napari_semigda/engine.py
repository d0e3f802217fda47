"""The one thread that owns the device: trains rounds and serves predictions between their steps.

`Engine.work` is a plain generator. Whoever iterates it is that thread: a napari worker in the plugin, the
main thread in the command line and in tests. The other methods only leave requests and may be called
from any thread; they take effect at the next step, and nothing is ever terminated.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.inference.predictor import Predictor
from napari_semigda.model.checkpoint import load_checkpoint, save_checkpoint
from napari_semigda.model.device import choose_device
from napari_semigda.model.presets import build_model
from napari_semigda.model.semigda import SemiGDA
from napari_semigda.session.queue import queue_order
from napari_semigda.session.rounds import RoundRecord
from napari_semigda.session.session import Item, ItemState, PredictionInfo, Session
from napari_semigda.training.recipe import Budget, Recipe
from napari_semigda.training.round import Round, StepReport

logger = logging.getLogger(__name__)

#: Seconds of training after which the state of a running round is written, in case the program is killed.
STATE_INTERVAL = 60.0


@dataclass(frozen=True)
class ModelLoading:
    """The model is being made ready: ``done`` of ``total`` bytes fetched (0 of 0 where nothing is fetched)."""

    message: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class RoundStarted:
    """A round begins or goes on."""

    record: RoundRecord


@dataclass(frozen=True)
class Stepped:
    """One optimiser step was made; ``remaining`` is in seconds of training, None while unknown."""

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
class RoundFailed:
    """The round broke off, and the weights from before stay in use; ``record`` is None if it never began."""

    record: RoundRecord | None
    message: str


@dataclass(frozen=True)
class Predicted:
    """A draft was stored in the session."""

    item: Item
    info: PredictionInfo


@dataclass(frozen=True)
class PredictionFailed:
    """There is no draft for this item, and why; the others go on."""

    item: Item
    message: str


Event = (
    ModelLoading
    | RoundStarted
    | Stepped
    | RoundPaused
    | RoundEnded
    | RoundFailed
    | Predicted
    | PredictionFailed
)


@dataclass(frozen=True)
class _RoundRequest:
    recipe: Recipe
    budget: Budget
    fresh: bool
    seed: int
    resume: bool


@dataclass
class _RunningRound:
    record: RoundRecord
    round: Round
    steps: Iterator[StepReport]
    seconds: float = 0.0
    state_saved: float = 0.0
    published: float = 0.0
    last: StepReport | None = None


@dataclass
class _Requests:
    """What was asked for and not yet done; guarded by the engine's lock."""

    round: _RoundRequest | None = None
    stop: bool = False
    paused: bool = False
    closing: bool = False
    urgent: list[str] = field(default_factory=list)
    background: list[str] = field(default_factory=list)


class Engine:
    """Trains and predicts for one session.

    Parameters
    ----------
    session : Session
        Read and written by the thread that iterates `work`.
    device : str
        ``"auto"``, or a device by torch's name: ``"cuda"``, ``"mps"``, ``"cpu"``.
    on_loading : callable, optional
        Called with `ModelLoading` by the working thread while an autoencoder is being fetched.

    Examples
    --------
    >>> engine.request_round(budget=Budget(seconds=60))
    >>> if engine.start_work():
    ...     for event in engine.work():
    ...         print(event)
    """

    def __init__(
        self,
        session: Session,
        device: str = "auto",
        on_loading: Callable[[ModelLoading], None] | None = None,
    ) -> None:
        self.session = session
        self.device = choose_device(device)
        self._on_loading = on_loading or (lambda _: None)
        self._lock = threading.RLock()
        self._requests = _Requests()
        self._working = False
        self._running: _RunningRound | None = None
        self._predictor: Predictor | None = None
        self._predictor_round = 0

    # What others ask for

    def request_round(
        self,
        *,
        recipe: Recipe | None = None,
        budget: Budget | None = None,
        fresh: bool = False,
        resume: bool = False,
        seed: int = 0,
    ) -> None:
        """Ask for a round on all accepted masks and all other images.

        Parameters
        ----------
        recipe : Recipe, optional
            How to train; the default recipe, with the session's word on one object an image.
        budget : Budget, optional
            How long; without one the recipe's epochs count.
        fresh : bool
            Start from nothing instead of the last round's weights.
        resume : bool
            Go on with the round that was stopped; recipe, budget and seed are then those of that round.
        seed : int
            Seed of the round.

        Raises
        ------
        SemiGDAError
            If a round is running, nothing is accepted yet, or there is nothing to resume.
        """
        with self._lock:
            if self._running is not None or self._requests.round is not None:
                raise SemiGDAError("A round is running already: stop it first, or wait until it ends.")
            if resume and self.session.resumable_round() is None:
                raise SemiGDAError("There is no stopped round to resume: start a new one.")
            if not self.session.counts()[ItemState.ACCEPTED]:
                raise SemiGDAError("A round needs at least one accepted mask: accept one, then train.")
            chosen = recipe or Recipe().with_one_object(self.session.one_object)
            self._requests.round = _RoundRequest(chosen, budget or Budget(), fresh, seed, resume)
            self._requests.stop = self._requests.paused = False

    def request_predictions(self, items: Iterable[Item], *, urgent: bool = False) -> None:
        """Ask for drafts of these items; urgent ones are served between two steps of a running round."""
        with self._lock:
            waiting = self._requests.urgent if urgent else self._requests.background
            waiting.extend(item.id for item in items if item.id not in waiting)

    def pause(self) -> None:
        """Hold the round after its present step; predictions are still served."""
        with self._lock:
            self._requests.paused = True

    def unpause(self) -> None:
        """Let a paused round go on."""
        with self._lock:
            self._requests.paused = False

    def stop_round(self) -> None:
        """End the round after its present step; it can be resumed, and what it learned is used."""
        with self._lock:
            self._requests.stop = True

    def cancel_predictions(self) -> None:
        """Forget the drafts that were asked for; the one being made is left unfinished."""
        with self._lock:
            self._requests.urgent.clear()
            self._requests.background.clear()

    def close(self) -> None:
        """End everything at the next step; a running round is stopped and can be resumed."""
        with self._lock:
            self._requests.closing = self._requests.stop = True
            self.cancel_predictions()

    @property
    def round_is_active(self) -> bool:
        """Whether a round is asked for, running or paused."""
        with self._lock:
            return self._running is not None or self._requests.round is not None

    @property
    def paused(self) -> bool:
        """Whether a running round is held."""
        with self._lock:
            return self._requests.paused

    @property
    def has_model(self) -> bool:
        """Whether there are weights to predict with."""
        return self._predictor is not None or self.session.last_model() is not None

    @property
    def waiting_predictions(self) -> int:
        """How many drafts are asked for and not yet made."""
        with self._lock:
            return len(self._requests.urgent) + len(self._requests.background)

    # The work itself

    def start_work(self) -> bool:
        """Say whether the caller must now iterate `work` (True at most once until that iteration ends)."""
        with self._lock:
            if self._working or self._next_task() is None:
                return False
            self._working = True
            return True

    def work(self) -> Iterator[Event]:
        """Do what was asked for, yielding what happens, and return when nothing is left to do.

        Call it only after `start_work` returned True. A paused round does not keep it going: after
        `unpause` ask `start_work` again.
        """
        try:
            while (task := self._take_task()) is not None:
                yield from task()
        finally:
            with self._lock:
                self._working = False

    def _take_task(self) -> Callable[[], Iterator[Event]] | None:
        with self._lock:
            task = self._next_task()
            # Said under the lock: a request that comes later finds nobody working and starts anew.
            self._working = task is not None
            return task

    def _next_task(self) -> Callable[[], Iterator[Event]] | None:
        requests = self._requests
        if requests.stop and self._running is not None:
            return self._stop
        if requests.closing:
            return None
        if requests.urgent and self.has_model:
            return lambda: self._predict(requests.urgent)
        if requests.round is not None:
            return self._begin
        if self._running is not None and not requests.paused:
            return self._step
        if requests.background and self.has_model:
            return lambda: self._predict(requests.background)
        return None

    # Rounds

    def _begin(self) -> Iterator[Event]:
        with self._lock:
            request, self._requests.round = self._requests.round, None
        assert request is not None
        record = None
        try:
            self._on_loading(ModelLoading("Preparing the model"))
            record = self._record(request)
            self._running = self._prepare(record, request)
        except Cancelled:
            yield self._failed(record, "The round was cancelled before it began.")
        except Exception as error:
            yield self._failed(record, _in_words(error))
        else:
            yield RoundStarted(record)

    def _record(self, request: _RoundRequest) -> RoundRecord:
        if request.resume:
            record = self.session.resumable_round()
            if record is None:
                raise SemiGDAError("There is no stopped round to resume: start a new one.")
            return self.session.continue_round(record)
        return self.session.begin_round(
            request.recipe, request.budget, seed=request.seed, warm=self._starts_warm(request)
        )

    def _starts_warm(self, request: _RoundRequest) -> bool:
        return not request.fresh and self.session.last_model() is not None

    def _prepare(self, record: RoundRecord, request: _RoundRequest) -> _RunningRound:
        labelled, unlabelled = self.session.examples(record)
        round_ = Round(
            self._training_model(record),
            labelled,
            unlabelled,
            recipe=record.recipe,
            budget=record.budget,
            working_size=self.session.settings.working_size,
            seed=record.seed,
            device=self.device,
            warm=record.warm,
        )
        if request.resume:
            round_.load_state(self.session.state_file(record))
        return _RunningRound(record, round_, round_.run(), seconds=record.seconds, state_saved=record.seconds)

    def _training_model(self, record: RoundRecord) -> SemiGDA:
        """A network for this round: new, or with the last weights; the frozen autoencoder is shared."""
        classes = len(self.session.classes) + 1
        known = self._predictor.model if self._predictor is not None else None
        if isinstance(known, SemiGDA) and record.warm and known.classes == classes:
            return _sharing_autoencoder(known)
        model = build_model(
            self.session.preset,
            classes,
            weights=self.session.weights,
            seed=record.seed,
            progress=lambda done, total: self._on_loading(
                ModelLoading("Fetching the autoencoder", done, total)
            ),
            cancelled=lambda: self._requests.stop or self._requests.closing,
        )
        last = self.session.last_model()
        if record.warm and last is not None:
            model.load_trainable_state(load_checkpoint(last, autoencoder=model.autoencoder)[0].trainable_state())
        return model

    def _step(self) -> Iterator[Event]:
        running = self._running
        assert running is not None
        try:
            report = next(running.steps)
            self._after_step(running, report)
        except StopIteration:
            yield from self._finish("complete")
        except Exception as error:
            yield self._failed(running.record, _in_words(error))
        else:
            yield Stepped(running.record, report, _remaining(running))
            if self._is_paused():
                yield RoundPaused(running.record)

    def _is_paused(self) -> bool:
        with self._lock:
            return self._requests.paused and not self._requests.stop

    def _after_step(self, running: _RunningRound, report: StepReport) -> None:
        running.last = report
        running.seconds += report.seconds
        running.record = self.session.note_step(running.record, report, running.seconds)
        if running.seconds - running.state_saved >= STATE_INTERVAL:
            running.state_saved = running.seconds
            running.round.save_state(self.session.state_file(running.record))

    def _stop(self) -> Iterator[Event]:
        with self._lock:
            self._requests.stop = self._requests.paused = False
        yield from self._finish("stopped")

    def _finish(self, status: Literal["complete", "stopped"]) -> Iterator[Event]:
        """Keep what was learned, then ask for drafts of everything that is not accepted."""
        running = self._running
        assert running is not None
        try:
            record = self._keep(running, status)
        except Exception as error:
            yield self._failed(running.record, _in_words(error))
            return
        self._release()
        yield RoundEnded(record)
        if self.session.model_file(record).exists():
            self._request_drafts()

    def _keep(self, running: _RunningRound, status: Literal["complete", "stopped"]) -> RoundRecord:
        record, round_ = running.record, running.round
        if status == "stopped":
            round_.save_state(self.session.state_file(record))
        # After a first round's stage 1 the adapters have learned nothing: there is no draft to be had.
        if status == "complete" or record.warm or (running.last is not None and running.last.stage == 2):
            self._publish(record, round_.model, round_.averaged_state())
        return self.session.finish_round(record, status)

    def _publish(self, record: RoundRecord, trained: SemiGDA, weights: dict[str, Tensor]) -> None:
        """Write the averaged weights, then predict with them."""
        model = _sharing_autoencoder(trained)
        model.load_trainable_state(weights)
        save_checkpoint(
            self.session.model_file(record),
            model,
            {
                "preset": self.session.preset,
                "classes": model.classes,
                "class_names": [info.name for info in self.session.classes],
                "settings": self.session.settings.to_dict(),
                "round": record.number,
            },
        )
        self._predictor = Predictor(model, self.session.settings, self.device)
        self._predictor_round = record.number

    def _failed(self, record: RoundRecord | None, message: str) -> RoundFailed:
        self._release()
        if record is not None:
            try:
                record = self.session.finish_round(record, "failed", message)
            except (OSError, SemiGDAError):  # a full disk must not hide why the round failed
                logger.exception("The failure of round %d could not be written down.", record.number)
        return RoundFailed(record, message)

    def _release(self) -> None:
        """Let go of optimisers and gradients, and give the device its memory back."""
        with self._lock:
            self._running = None
            self._requests.stop = False
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    # Drafts

    def _request_drafts(self) -> None:
        self.request_predictions(queue_order(self.session))

    def _predict(self, waiting: list[str]) -> Iterator[Event]:
        with self._lock:
            if not waiting:
                return
            item = self.session.item(waiting.pop(0))
        try:
            predictor = self._ready_predictor()
            prediction = predictor.predict(
                self.session.picture(item).pixels, cancelled=lambda: self._requests.closing
            )
            info = self.session.store_prediction(item, prediction, self._predictor_round)
        except Cancelled:
            return
        except Exception as error:
            yield PredictionFailed(item, _in_words(error))
        else:
            yield Predicted(item, info)

    def _ready_predictor(self) -> Predictor:
        if self._predictor is None:
            path = self.session.last_model()
            if path is None:
                raise SemiGDAError("There is no trained model yet: train a round first.")
            model, metadata = load_checkpoint(path, weights=self.session.weights)
            self._predictor = Predictor(model, self.session.settings, self.device)
            self._predictor_round = int(metadata.get("round", 0))
        return self._predictor


def _sharing_autoencoder(model: SemiGDA) -> SemiGDA:
    """A copy of the trainable parts around the same frozen autoencoder."""
    return copy.deepcopy(model, {id(model.autoencoder): model.autoencoder})


def _remaining(running: _RunningRound) -> float | None:
    fraction = running.last.fraction if running.last is not None else 0.0
    if not fraction:
        return None
    return running.seconds * (1 - fraction) / fraction


def _in_words(error: Exception) -> str:
    """A sentence for the person; what only a programmer understands goes to the log."""
    if isinstance(error, SemiGDAError):
        return str(error)
    logger.error("Unexpected failure", exc_info=error)
    if isinstance(error, torch.OutOfMemoryError):
        return "The graphics card has too little memory: choose a smaller preset or working size, or the CPU."
    if isinstance(error, OSError):
        return f"A file could not be read or written ({error}): check the disk, then try again."
    return f"Something unexpected went wrong ({type(error).__name__}: {error}). Details are in the log."
