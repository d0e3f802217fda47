"""The one thread that owns the device: trains rounds and serves predictions between their steps.

`Engine.work` is a plain generator. Whoever iterates it is that thread: a napari worker in the plugin, the
main thread in the command line and in tests. The other methods only leave requests and may be called
from any thread; they take effect at the next step, and nothing is ever terminated.
"""

from __future__ import annotations

import copy
import gc
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch

from napari_semigda.engine.events import (
    Drafting,
    DraftProgress,
    Event,
    FramingFitted,
    Mapped,
    MappingFailed,
    ModelLoading,
    Predicted,
    PredictionFailed,
    RoundEnded,
    RoundFailed,
    RoundNotSaved,
    RoundPaused,
    RoundStarted,
    Stepped,
)
from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.inference.draft_maps import draft_maps
from napari_semigda.inference.features import FeatureExtractor
from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import Pixels
from napari_semigda.log import log_file
from napari_semigda.model.checkpoint import load_checkpoint, save_checkpoint
from napari_semigda.model.device import choose_device, is_out_of_memory
from napari_semigda.model.loading import REPOSITORIES, load_autoencoder
from napari_semigda.model.network import SemiGDANetwork
from napari_semigda.model.presets import build_model
from napari_semigda.pace import Pace
from napari_semigda.session.items import Item
from napari_semigda.session.journal import effort
from napari_semigda.session.queue import queue
from napari_semigda.session.rounds import MODEL, STATE, RoundRecord, Validation, append_point, keep_points
from napari_semigda.session.selection import spread_order
from napari_semigda.session.session import Session
from napari_semigda.session.trained_model import settings_of
from napari_semigda.training.recipe import Budget, Recipe
from napari_semigda.training.round import Round, StepReport
from napari_semigda.training.sampling import mixed_seed

logger = logging.getLogger(__name__)

#: Seconds of training after which the state of a running round is written, in case the program is killed.
STATE_INTERVAL = 60.0

#: Part of a round after which drafts asked for meanwhile are made with what it has learned so far.
REFRESH_INTERVAL = 0.25

#: So many drafts, of the items that come next, are made anew at most; the others when the round has ended.
REFRESHED = 8

#: Share of a round's time that these drafts may take, for whoever waits for the round waits for them, too.
REFRESH_SHARE = 0.1

SMALLER_BATCH = (
    "There is too little memory for this many images at once: the round goes on with half of them a step. "
    "A smaller working size or preset needs less."
)


NOTHING_TO_LEARN = (
    "A round needs at least one accepted mask that is not kept for validation: accept one, then train."
)
NOTHING_LABELED = (
    "Every pixel of the accepted masks is unlabeled (255), so there is nothing to learn from: paint objects "
    "or background in at least one of them, accept it, then train."
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
    labeled: tuple[Item, ...]
    state_saved: float
    refreshed: float = 0.0
    seconds_drafting: float = 0.0
    last: StepReport | None = None
    changes: int = 0
    pause_told: bool = False


_Waiting = OrderedDict[str, None]
"""Ids in the order in which they were asked for, each once."""


@dataclass
class _Requests:
    """What was asked for and not yet done; guarded by the engine's lock."""

    round: _RoundRequest | None = None
    stop: bool = False
    paused: bool = False
    closing: bool = False
    maps: str | None = None
    given_up: bool = False
    urgent: _Waiting = field(default_factory=OrderedDict)
    soon: _Waiting = field(default_factory=OrderedDict)
    background: _Waiting = field(default_factory=OrderedDict)
    latents: list[str] = field(default_factory=list)


class Engine:
    """Trains and predicts for one session.

    Parameters
    ----------
    session : Session
        Read and written by the thread that iterates `work`.
    device : str
        ``"auto"``, or a device by torch's name: ``"cuda"``, ``"mps"``, ``"cpu"``.
    on_progress : callable, optional
        Called by the working thread in the midst of what takes long: with `ModelLoading` while an autoencoder
        is being fetched, with `Drafting` while a large image is.
    weights : Path, optional
        Where the autoencoder's weights are on this machine, if not where the session says.
    clock : callable
        Gives the seconds that budgets of rounds count; see `Round`.

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
        on_progress: Callable[[ModelLoading | Drafting], None] | None = None,
        weights: Path | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.session = session
        self.device = choose_device(device)
        self._on_progress = on_progress or (lambda _: None)
        self._weights = weights
        self._clock = clock
        self._lock = threading.RLock()
        self._requests = _Requests()
        self._working = False
        self._memory_is_due = False
        self._running: _RunningRound | None = None
        self._predictor: Predictor | None = None
        self._predictor_round = 0
        self._drafts_done = 0.0
        self._pace = Pace(clock)
        self._describer: FeatureExtractor | None = None
        self._not_described: set[str] = set()

    # What others ask for

    @property
    def drafting_round(self) -> int | None:
        """The round whose weights draft now, which may still be running; 0: brought along; None: none yet."""
        return None if self._predictor is None else self._predictor_round

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
            If a round is running, nothing is accepted yet, no pixel of it is labeled, or there is nothing
            to resume.
        """
        with self._lock:
            if self._running is not None or self._requests.round is not None:
                raise SemiGDAError("A round is running already: stop it first, or wait until it ends.")
            if resume and self.resumable_round() is None:
                raise SemiGDAError("There is no stopped round to resume: start a new one.")
            if not self.session.has_something_to_learn:
                raise SemiGDAError(NOTHING_TO_LEARN)
            if self.session.labels_nothing():
                raise SemiGDAError(NOTHING_LABELED)
            chosen = recipe or Recipe().with_one_object(self.session.one_object)
            self._requests.round = _RoundRequest(chosen, budget or Budget(), fresh, seed, resume)
            self._requests.stop = self._requests.paused = False

    def resumable_round(self) -> RoundRecord | None:
        """The newest round, if it was stopped before its end and can go on."""
        rounds = self.session.rounds
        return rounds[-1] if rounds and rounds[-1].status == "stopped" else None

    def request_predictions(self, items: Iterable[Item], *, urgent: bool = False) -> None:
        """Ask for drafts of these items; urgent ones are served between two steps of a running round.

        The newest request that is urgent comes first: somebody looks at that image now. In a session that can
        only be looked at, nothing is drafted.
        """
        if self.session.read_only is not None:
            return
        with self._lock:
            if not urgent:
                for item in items:  # in the order of the newest request
                    self._requests.background.pop(item.id, None)
                    self._requests.background[item.id] = None
                return
            for item in reversed(list(items)):
                self._requests.soon.pop(item.id, None)
                self._requests.urgent[item.id] = None
                self._requests.urgent.move_to_end(item.id, last=False)

    def request_maps(self, item: Item) -> None:
        """Ask for the probabilities behind the draft of one item, in place of those asked for before.

        They are served between two steps of a running round, and handed over with `Mapped`, not stored.
        """
        with self._lock:
            self._requests.maps = item.id

    def request_latents(self) -> None:
        """Ask for the pooled latents that the queue compares pictures by, of all items without one.

        They need no training, only the autoencoder. Where its weights may have to be downloaded they wait
        until there is a trained model: nobody asked for a download by looking at pictures.
        """
        if self.session.read_only is not None:
            return
        at_hand = self.session.preset not in REPOSITORIES or self._weights or self.session.weights
        if at_hand or self.has_model:
            with self._lock:
                self._requests.latents = self._items_to_describe()

    def pause(self) -> None:
        """Hold the round after its present step; drafts are still made, those of what comes next, too."""
        with self._lock:
            self._requests.paused = True

    def unpause(self) -> None:
        """Let a paused round go on."""
        with self._lock:
            self._requests.paused = False
            if self._running is not None:
                self._running.pause_told = False

    def stop_round(self) -> None:
        """End the round after its present step; it can be resumed, and what it learned is used."""
        with self._lock:
            self._requests.stop = True

    def cancel_predictions(self) -> None:
        """Forget the drafts and latents that were asked for; a large one is given up in its midst."""
        with self._lock:
            self._requests.given_up = True
            self._requests.maps = None
            self._requests.urgent.clear()
            self._requests.soon.clear()
            self._requests.background.clear()
            self._requests.latents.clear()

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

    def wants_draft(self, item: Item) -> bool:
        """Whether a draft of this item, which nobody has accepted, would be newer than the one it has."""
        if not self.session.state(item).waits:
            return False
        info = self.session.prediction_info(item)
        if self._predictor is None:
            return info is None and self.has_model
        return info is None or info.round != self._predictor_round

    @property
    def drafts(self) -> DraftProgress:
        """How far the drafts are that were asked for."""
        with self._lock:
            waiting = self._requests.urgent, self._requests.soon, self._requests.background
            total = math.ceil(self._drafts_done) + sum(map(len, waiting))
            return DraftProgress(self._drafts_done, total, self._pace.remaining(total))

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
        self._count_drafts_anew()
        try:
            while (task := self._take_task()) is not None:
                yield from task()
                del task  # and with it whatever a round that is over still held
                if not self._requests.closing:  # then somebody waits for the end
                    self.give_memory_back()
        except BaseException:
            with self._lock:
                self._working = False
            raise

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
        if self._running is not None and requests.paused and not self._running.pause_told:
            return self._tell_pause
        if requests.urgent and self.has_model:
            return lambda: self._predict(requests.urgent)
        if requests.maps is not None and self.has_model:
            return self._map
        if requests.round is not None:
            return self._begin
        if self._running is not None and requests.soon and self._has_time_to_refresh(self._running):
            return self._refresh
        if self._running is not None and not requests.paused:
            return self._step
        drafts_wait = requests.background and self.has_model
        if requests.latents and not (drafts_wait and self.session.state(requests.latents[0]).waits):
            return self._describe_next
        if drafts_wait:  # each draft brings the latent of its item along
            return lambda: self._predict(requests.background)
        return None

    # Rounds

    def _begin(self) -> Iterator[Event]:
        with self._lock:
            request, self._requests.round = self._requests.round, None
        assert request is not None
        record = message = fitted = None
        try:
            self._on_progress(ModelLoading("Preparing the model"))
            if self._begins_anew(request):
                fitted = self.session.fit_framing()
            record = self._record(request)
            self._running = self._prepare(record, request)
        except Cancelled:
            message = "The round was cancelled before it began."
        except Exception as error:
            message = _in_words(error)
        if fitted is not None:
            yield FramingFitted(fitted)
        if message is not None:
            # A stopped round that could not be taken up again stays as it was.
            yield self._failed(record, message, "stopped" if request.resume else "failed")
        elif record is not None:
            yield RoundStarted(record)

    def _begins_anew(self, request: _RoundRequest) -> bool:
        """Whether no earlier round's weights, used to objects of another size, take part."""
        if request.resume and self.resumable_round() is not None:
            return False
        return request.fresh or self.session.last_model() is None

    def _record(self, request: _RoundRequest) -> RoundRecord:
        stopped = self.resumable_round()
        if request.resume and stopped is not None:
            return self.session.resume_round(stopped.number)
        last = None if request.fresh else self.session.last_model()
        return self.session.begin_round(
            request.recipe,
            request.budget,
            request.seed,
            warm=last is not None,
            started_from="" if last is None else f"round {int(last.parent.name)}",
        )

    def _prepare(self, record: RoundRecord, request: _RoundRequest) -> _RunningRound:
        labeled, unlabeled = self.session.examples(record.labeled)
        training = Round(
            self._training_model(record),
            labeled,
            unlabeled,
            recipe=Recipe.from_dict(record.recipe),
            budget=Budget.from_dict(record.budget),
            working_size=self.session.settings.working_size,
            # A later round is not to see the same augmentations and boxes again.
            seed=mixed_seed(record.seed, record.number) if record.warm else record.seed,
            device=self.device,
            clock=self._clock,
            warm=1 not in record.stages,
        )
        if request.resume:
            training.load_state(self._file(record, STATE))
            keep_points(self.session.round_folder(record.number), training.steps_done)
        return _RunningRound(
            record,
            training,
            training.run(),
            labeled.items,
            state_saved=training.seconds_done,
            seconds_drafting=REFRESH_SHARE * training.seconds_done,
        )

    def _training_model(self, record: RoundRecord) -> SemiGDANetwork:
        """A network for this round: new, or with the last weights."""
        last = self.session.last_model() if record.warm else None
        if last is None:
            return build_model(
                self.session.preset,
                self.session.class_count,
                seed=record.seed,
                **self._loading(),
            )
        model, _ = load_checkpoint(last, **self._loading())
        # The network paints colors: with a class more only the palette is another, and `shown` tells that
        # no mask has shown that class yet.
        model.classes = self.session.class_count
        return model

    def _loading(self) -> dict[str, Any]:
        """How an autoencoder is loaded: from where, seen by whom, and until when."""
        return {
            "weights": self._weights or self.session.weights,
            "progress": lambda done, total: self._on_progress(ModelLoading("Fetching weights", done, total)),
            "cancelled": lambda: self._requests.stop or self._requests.closing,
        }

    def _step(self) -> Iterator[Event]:
        running = self._running
        assert running is not None
        report = message = None
        try:
            self._take_in_new_masks(running)
            divisor = running.round.batch_divisor
            report = next(running.steps, None)
            if running.round.batch_divisor > divisor:
                self.session.warn(SMALLER_BATCH)
            if report is not None:
                self._after_step(running, report)
        except Exception as error:
            message = _in_words(error)
        if message is not None:
            yield self._failed(running.record, message)
        elif report is None:
            yield from self._finish("complete")
        else:
            yield Stepped(running.record, report, _remaining(running))

    def _tell_pause(self) -> Iterator[Event]:
        """Say at once that the round is held, before drafts that may take a while."""
        running = self._running
        assert running is not None
        running.pause_told = True
        yield RoundPaused(running.record)

    def _take_in_new_masks(self, running: _RunningRound) -> None:
        """Let the round learn, from its next epoch on, from what was accepted since it began."""
        changed, running.changes = self.session.changes(running.changes)
        new = self.session.new_masks(running.record) if changed else []
        if not new:
            return
        try:
            running.record = self.session.extend_round(running.record, new)
        except SemiGDAError as error:  # they wait for the next round; a full disk is no reason to stop
            self.session.warn(_in_words(error))
            return
        running.labeled = (*running.labeled, *new)
        running.round.add_labeled(self.session.labeled_examples(running.labeled))

    def _after_step(self, running: _RunningRound, report: StepReport) -> None:
        running.last = report
        try:
            append_point(self.session.round_folder(running.record.number), asdict(report))
            if running.round.seconds_done - running.state_saved >= STATE_INTERVAL:
                running.state_saved = running.round.seconds_done
                running.round.save_state(self._file(running.record, STATE))
        except (OSError, SemiGDAError) as error:  # a full disk is no reason to stop learning
            self.session.warn(_in_words(error))
        due = report.fraction - running.refreshed >= REFRESH_INTERVAL
        if report.stage == 2 and due and report.fraction < 1:  # at its end all are drafted
            running.refreshed = report.fraction
            self._predict_with(running.record, running.round)
            self._request_refresh()

    def _request_refresh(self) -> None:
        """Have drafted anew what an annotator will look at soon; not what is on screen."""
        shown = self.session.current_item
        if shown is not None:
            soon = queue(self.session, shown, count=REFRESHED)
            with self._lock:
                self._requests.soon = OrderedDict((item.id, None) for item in soon)

    def _has_time_to_refresh(self, running: _RunningRound) -> bool:
        """Whether drafts made anew took no more than their share so far; while it is held, all may come."""
        return self._requests.paused or (
            running.seconds_drafting <= REFRESH_SHARE * running.round.seconds_done
        )

    def _refresh(self) -> Iterator[Event]:
        """Make the next of these drafts, unless somebody wants something else meanwhile."""
        running, began, requests = self._running, self._clock(), self._requests
        assert running is not None
        self._drop_from_refresh()
        yield from self._predict(
            requests.soon,
            unless=lambda: (
                requests.stop or bool(requests.urgent) or (requests.paused and not running.pause_told)
            ),
        )
        if not requests.paused:
            running.seconds_drafting += self._clock() - began

    def _drop_from_refresh(self) -> None:
        """Forget the first ones that were dealt with since, or are on screen."""
        shown = self.session.current_item
        with self._lock:
            while self._requests.soon:
                item = self.session.item(next(iter(self._requests.soon)))
                if self.session.state(item).waits and item != shown:
                    return
                del self._requests.soon[item.id]

    def _file(self, record: RoundRecord, name: str) -> Path:
        return self.session.round_folder(record.number) / name

    def _stop(self) -> Iterator[Event]:
        assert self._running is not None
        with self._lock:
            self._requests.stop = self._requests.paused = self._running.pause_told = False
        yield from self._finish("stopped")

    def _finish(self, status: Literal["complete", "stopped"]) -> Iterator[Event]:
        """Keep what was learned, then ask for drafts of everything that is not accepted."""
        running = self._running
        assert running is not None
        model = message = validation = None
        try:
            if status == "complete" or _has_something_to_show(running):
                model = self._predict_with(running.record, running.round)
        except Exception as error:
            message = _in_words(error)
        if message is not None:
            yield self._failed(running.record, message)
            return
        if model is not None:
            validation = yield from self._validate(running.record)
        try:
            record = self._save(running, status, model, validation)
        except (OSError, SemiGDAError) as error:
            message = _in_words(error)
        if message is not None and self._requests.closing:  # nobody will end it again
            resumable = self._file(running.record, STATE).is_file()
            yield self._failed(running.record, message, "stopped" if resumable else "failed")
            return
        if message is not None:
            message += " The round is held and nothing is lost: make room, then end it again."
            with self._lock:
                self._requests.paused = True
            yield RoundNotSaved(running.record, message)
            return
        self._release()
        self._count_drafts_anew()
        if model is not None:
            self._request_drafts()
        yield RoundEnded(record)

    def _save(
        self,
        running: _RunningRound,
        status: Literal["complete", "stopped"],
        model: SemiGDANetwork | None,
        validation: Validation | None,
    ) -> RoundRecord:
        record, training = running.record, running.round
        if status == "stopped":
            training.save_state(self._file(record, STATE))
        else:  # what came in its last epoch is for the next round
            record = replace(record, labeled=record.labeled[: training.labeled_count])
        if model is not None:
            self._publish(record, model)
        ended = self.session.finish_round(
            record,
            status,
            steps=training.steps_done,
            seconds=training.seconds_done,
            validation=validation,
        )
        if status == "complete":
            self._file(record, STATE).unlink(missing_ok=True)
        return ended

    def _predict_with(self, record: RoundRecord, training: Round) -> SemiGDANetwork:
        """Predict with the averaged weights from now on; the frozen autoencoder is shared with training."""
        model = copy.deepcopy(training.model, {id(training.model.autoencoder): training.model.autoencoder})
        model.load_trainable_state(training.averaged_state())
        self._predictor = Predictor(model, self.session.settings, self.device)
        self._predictor_round = record.number  # whoever predicts asks `_ready_predictor`
        return model

    def _validate(self, record: RoundRecord) -> Generator[Event, None, Validation | None]:
        """Compare what is predicted now with the accepted masks kept for validation; None without any.

        What the annotator waits for is served between two of them.

        A round that was begun before one of them was set aside has learned from it, and leaves it out.
        """
        predictor, found = self._ready_predictor(), []
        for item in self.session.validation:
            if item.id in record.labeled:
                continue
            yield from self._serve_meanwhile()
            try:
                accepted = self.session.labels(item)
                with self.session.opened_picture(item) as pixels:
                    predicted = predictor.draft(pixels, cancelled=lambda: self._requests.closing).labels
            except Cancelled:
                return None
            except Exception as error:
                self.session.warn(f"{item.name} is left out of validation. {_in_words(error)}")
                continue
            dice = None if accepted is None else effort(predicted, accepted, self.session.class_count)[0]
            if dice is not None:
                found.append(dice)
        return Validation(sum(found) / len(found), len(found)) if found else None

    def _serve_meanwhile(self) -> Iterator[Event]:
        """Make the drafts and maps that somebody waits for."""
        while self._requests.urgent and not self._requests.closing:
            yield from self._predict(self._requests.urgent)
        if self._requests.maps is not None and not self._requests.closing:
            yield from self._map()

    def _publish(self, record: RoundRecord, model: SemiGDANetwork) -> None:
        save_checkpoint(
            self._file(record, MODEL),
            model,
            {
                "class_names": self.session.class_names,
                "settings": self.session.settings.to_dict(),
                "one_object": self.session.one_object,
                "round": record.number,
            },
        )

    def _failed(
        self, record: RoundRecord | None, message: str, status: Literal["failed", "stopped"] = "failed"
    ) -> RoundFailed:
        training = None if self._running is None else self._running.round
        steps, seconds = (0, 0.0) if record is None else (record.steps, record.seconds)
        if training is not None:
            steps, seconds = training.steps_done, training.seconds_done
        self._release()
        self._predictor = None  # back to the last weights that were published
        if record is not None:
            try:
                record = self.session.finish_round(
                    record, status, steps=steps, seconds=seconds, message=message
                )
            except SemiGDAError:  # a full disk must not hide why the round failed
                logger.exception("The failure of round %d could not be written down.", record.number)
                self.session.leave_round(record.number)
        return RoundFailed(record, message)

    def _release(self) -> None:
        """Let go of a round with its optimizers and gradients."""
        with self._lock:
            self._running = self._describer = None
            self._requests.soon.clear()
            self._requests.stop = False
            self._memory_is_due = True

    def give_memory_back(self) -> None:
        """Let other programs have the memory of a round that is over; takes a moment.

        After a round this is done by itself; after `close` by whoever closed, when nobody waits.
        """
        if not self._memory_is_due:
            return
        self._memory_is_due = False
        gc.collect()
        with suppress(RuntimeError):  # a card that no longer answers has nothing to give back
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            elif self.device.type == "mps":
                torch.mps.empty_cache()

    # Drafts

    def _request_drafts(self) -> None:
        self.request_latents()
        self.request_predictions(queue(self.session))

    def _predict(self, waiting: _Waiting, unless: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Make the first of these drafts; it is given up as soon as ``unless`` says so."""
        with self._lock:
            if not waiting:
                return
            item = self.session.item(waiting.popitem(last=False)[0])
            self._requests.given_up = False
        try:
            predictor = self._ready_predictor()
        except Cancelled:
            return
        except Exception as error:
            self.cancel_predictions()  # without weights the others would only fail one by one
            yield PredictionFailed(item, _in_words(error))
            return
        with ExitStack() as stack:
            try:
                pixels = stack.enter_context(self.session.opened_picture(item))
                draft = predictor.draft(
                    pixels,
                    progress=lambda done, total: self._tell_share(item, done / total),
                    cancelled=lambda: self._requests.closing or self._requests.given_up or unless(),
                )
                info = self.session.store_prediction(item, draft, self._predictor_round)
            except Cancelled:
                self._count_drafts_anew()
                return
            except Exception as error:
                self._reach(math.floor(self._drafts_done) + 1)
                yield PredictionFailed(item, _in_words(error))
                return
            self._reach(math.floor(self._drafts_done) + 1)
            yield Predicted(item, info)
            self._describe_too(item, pixels)

    def _tell_share(self, item: Item, share: float) -> None:
        """Say how much of a draft is made that takes more than a moment."""
        if share < 1:
            self._reach(math.floor(self._drafts_done) + share)
            self._on_progress(Drafting(item, share))

    def _count_drafts_anew(self) -> None:
        with self._lock:
            self._drafts_done = 0.0
            self._pace.begin()

    def _reach(self, count: float) -> None:
        with self._lock:
            self._drafts_done = count
            self._pace.reach(count)

    def _map(self) -> Iterator[Event]:
        with self._lock:
            wanted, self._requests.maps = self._requests.maps, None
        if wanted is None:
            return
        item = self.session.item(wanted)
        maps = message = None
        try:
            predictor, classes = self._ready_predictor(), {info.value for info in self.session.classes}
            with self.session.opened_picture(item) as pixels:
                maps = draft_maps(predictor, pixels, classes, cancelled=lambda: self._requests.closing)
        except Cancelled:
            return
        except Exception as error:
            message = _in_words(error)
        yield Mapped(item, maps) if maps is not None else MappingFailed(item, message or "")

    def _ready_predictor(self) -> Predictor:
        if self._predictor is None:
            path = self.session.last_model()
            if path is None:
                raise SemiGDAError("There is no trained model yet: train a round first.")
            model, metadata = load_checkpoint(path, **self._loading())
            self._predictor_round = int(path.parent.name)  # 0: the weights were brought along from elsewhere
            # The framing may have been fitted to other objects since the round.
            settings = settings_of(path, metadata) if self._predictor_round else self.session.settings
            self._predictor = Predictor(model, settings, self.device)
        # Both may have changed since.
        values = {info.value for info in self.session.classes}
        known = range(1, cast(SemiGDANetwork, self._predictor.model).classes)
        self._predictor.removed = tuple(value for value in known if value not in values)
        self._predictor.one_object = self.session.one_object
        return self._predictor

    # Image features

    def _items_to_describe(self) -> list[str]:
        """Items without a latent: those that the annotator has dealt with, then the others, spread evenly."""
        items, states = self.session.items, self.session.states()
        order = sorted(spread_order(len(items)), key=lambda place: states[place].waits)
        ids = (items[place].id for place in order)
        return [one for one in ids if one not in self.session.latents and one not in self._not_described]

    def _describe_next(self) -> Iterator[Event]:
        with self._lock:
            if not self._requests.latents:
                return
            item = self.session.item(self._requests.latents.pop(0))
            last = not self._requests.latents
        try:
            if item.id not in self.session.latents:
                with self.session.opened_picture(item) as pixels:
                    self._describe(item, pixels)
            if last:
                self._describer = None
                self.session.latents.save()
        except Cancelled:
            return
        except Exception as error:
            self._go_without_latent(item, error)
        yield from ()

    def _describe_too(self, item: Item, pixels: Pixels) -> None:
        """Describe an item that was just drafted, while its picture and the autoencoder are at hand."""
        if item.id in self.session.latents or item.id in self._not_described:
            return
        try:
            self._describe(item, pixels)
        except Cancelled:
            return
        except Exception as error:
            self._go_without_latent(item, error)

    def _describe(self, item: Item, pixels: Pixels) -> None:
        latent = self._ready_describer().describe(pixels, cancelled=lambda: self._requests.closing)
        self.session.latents.store(item.id, latent)

    def _go_without_latent(self, item: Item, error: Exception) -> None:
        """The queue does without it; whoever shows, drafts or trains on the picture is told what is wrong."""
        logger.info("%s has no latent: %s", item.name, error)
        self._not_described.add(item.id)
        if self._describer is None:  # there is no autoencoder: the others would only fail one by one
            with self._lock:
                self._requests.latents.clear()

    def _ready_describer(self) -> FeatureExtractor:
        if self._describer is None:
            if self._predictor is not None:
                autoencoder = cast(SemiGDANetwork, self._predictor.model).autoencoder
            else:
                autoencoder = load_autoencoder(self.session.preset, **self._loading())
            describer = FeatureExtractor(autoencoder, self.session.settings, self.device)
            self._describer = describer
            if self.session.latents.begin(describer.signature()):
                self.request_latents()
        return self._describer


def _has_something_to_show(running: _RunningRound) -> bool:
    """After stage 1 of random weights the adapters have learned nothing: there is no draft to be had."""
    return 1 not in running.record.stages or (running.last is not None and running.last.stage == 2)


def _remaining(running: _RunningRound) -> float | None:
    fraction = running.last.fraction if running.last is not None else 0.0
    if not fraction:
        return None
    return running.round.seconds_done * (1 - fraction) / fraction


def _in_words(error: Exception) -> str:
    """A sentence for the person; what only a programmer understands goes to the log."""
    if isinstance(error, SemiGDAError):
        return str(error)
    logger.error("Unexpected failure", exc_info=error)
    if is_out_of_memory(error):
        return "There is too little memory: choose a smaller preset or working size, or the CPU."
    if isinstance(error, RuntimeError) and "CUDA error" in str(error):
        return (
            "The graphics card no longer answers. Accepted masks are saved, and the weights from before stay "
            f"in use: start napari again, or choose the CPU in its preferences. Details: {log_file()}"
        )
    if isinstance(error, OSError):
        return f"A file could not be read or written ({error}): check the disk, then try again."
    return f"Something unexpected went wrong ({type(error).__name__}: {error}). Details: {log_file()}"
