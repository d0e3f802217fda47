"""Runs rounds: start, step, pause, finish, validate, fail."""

import gc
import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from napari_semigda.engine import events
from napari_semigda.engine.drafts import Drafter
from napari_semigda.engine.events import Event
from napari_semigda.engine.models import Models
from napari_semigda.engine.requests import Requests
from napari_semigda.errors import Cancelled, SemiGDAError, user_message
from napari_semigda.inference.predictor import Predictor
from napari_semigda.session.efforts import measure as effort
from napari_semigda.session.items import Item
from napari_semigda.session.rounds import STATE, RoundRecord, Validation, append_point, keep_points
from napari_semigda.session.session import Session
from napari_semigda.training.round import Round, StepReport

logger = logging.getLogger(__name__)

STATE_INTERVAL = 60.0  # seconds of training between two writes of its state, in case the program is killed
REFRESH_INTERVAL = 0.25  # part of a round after which the next images are drafted with what it learned so far
REFRESHED = 8  # images at most that are drafted again while a round runs; the others when it has ended
REFRESH_SHARE = 0.1  # largest share of a round's time for these drafts: they make the round last longer
SMALLER_BATCH = (
    "Not enough memory for this many images at once: the round continues with half as many per step. "
    "A smaller working size or preset needs less."
)


@dataclass
class RunningRound:
    """A round in memory; `pause_reported` is set once `RoundPaused` was yielded."""

    record: RoundRecord
    trainer: Round
    steps: Iterator[StepReport]
    labeled: tuple[Item, ...]
    state_saved: float
    seconds_drafting: float
    refreshed: float = 0.0
    last: StepReport | None = None
    changes: int = 0
    pause_reported: bool = False


@dataclass
class RoundRunner:
    """Runs one round at a time, on the working thread; it stays in memory while it is paused."""

    session: Session
    models: Models
    drafter: Drafter
    requests: Requests
    report: Callable[[events.ModelLoading], None]
    clock: Callable[[], float]
    running: RunningRound | None = None
    memory_is_due: bool = False

    def resumable(self) -> RoundRecord | None:
        """Return the newest round if it was stopped before its end."""
        last = next(reversed(self.session.rounds), None)
        return last if last is not None and last.status == "stopped" else None

    def begin(self) -> Iterator[Event]:
        """Start or resume the requested round."""
        with self.requests.lock:
            request, self.requests.round = self.requests.round, None
        assert request is not None
        record = framing = None
        message = ""
        try:
            self.report(events.ModelLoading("Preparing the model"))
            resumed = self.resumable() if request.resume else None
            if resumed is None and (request.fresh or self.session.rounds.last_model() is None):
                framing = self.session.fit_framing()  # no weights of an earlier round depend on it
            if resumed is None:
                last = None if request.fresh else self.session.rounds.last_model()
                record = self.session.rounds.begin(
                    request.recipe,
                    request.budget,
                    request.seed,
                    warm=last is not None,
                    started_from="" if last is None else f"round {int(last.parent.name)}",
                )
            else:
                record = self.session.rounds.resume(resumed.number)
            self.running = self._prepare(record, request.resume)
        except Cancelled:
            message = "The round was canceled before it began."
        except Exception as error:
            message = user_message(error)
        if framing is not None:
            yield events.FramingFitted(framing)
        if record is not None and not message:
            yield events.RoundStarted(record)
        else:  # a stopped round that could not be resumed stays stopped
            yield self._fail(record, message, "stopped" if request.resume else "failed")

    def _prepare(self, record: RoundRecord, resume: bool) -> RunningRound:
        labeled, unlabeled = self.session.examples(record.labeled)
        trainer = self.models.trainer(record, labeled, unlabeled)
        if resume:
            trainer.load_state(self._state_file(record))
            keep_points(self.session.rounds.folder(record.number), trainer.steps_done)
        return RunningRound(
            record,
            trainer,
            trainer.run(),
            labeled.items,
            state_saved=trainer.seconds_done,
            seconds_drafting=REFRESH_SHARE * trainer.seconds_done,
        )

    def step(self) -> Iterable[Event]:
        """Make one optimizer step, or finish the round after the last."""
        running = self.running
        assert running is not None
        try:
            self._add_new_masks(running)
            divisor = running.trainer.batch_divisor
            report = next(running.steps, None)
            if running.trainer.batch_divisor > divisor:
                self.session.warn(SMALLER_BATCH)
            if report is None:
                return self._finish("complete")
            self._after_step(running, report)
        except Exception as error:
            return (self._fail(running.record, user_message(error)),)
        done, seconds = report.fraction, running.trainer.seconds_done
        return (events.Stepped(running.record, report, seconds * (1 - done) / done if done else None),)

    def _add_new_masks(self, running: RunningRound) -> None:
        """Let the round learn, from its next epoch on, from what was accepted since it began."""
        changed, running.changes = self.session.changes(running.changes)
        new = self.session.labels.to_learn_from(running.record.labeled) if changed else []
        if not new:
            return
        try:
            running.record = self.session.rounds.extend(running.record, new)
        except SemiGDAError as error:  # they wait for the next round; a full disk is no reason to stop
            self.session.warn(user_message(error))
            return
        running.labeled = (*running.labeled, *new)
        # Not `examples`: an accept that was undone meanwhile must not take an example away.
        running.trainer.add_labeled(self.session.examples_of(running.labeled, self.session.labels))

    def _after_step(self, running: RunningRound, report: StepReport) -> None:
        running.last = report
        try:
            append_point(self.session.rounds.folder(running.record.number), asdict(report))
            if running.trainer.seconds_done - running.state_saved >= STATE_INTERVAL:
                running.state_saved = running.trainer.seconds_done
                running.trainer.save_state(self._state_file(running.record))
        except (OSError, SemiGDAError) as error:  # a full disk is no reason to stop learning
            self.session.warn(user_message(error))
        due = report.fraction - running.refreshed >= REFRESH_INTERVAL
        if report.stage == 2 and due and report.fraction < 1:  # at its end all are drafted
            running.refreshed = report.fraction
            self.drafter.use(self.models.predictor_of(running.trainer), running.record.number)
            shown = self.session.current_item
            if shown is not None:  # it is not drafted again, only what the annotator will look at next
                ids = [item.id for item in self.session.queue(shown, count=REFRESHED)]
                with self.requests.lock:
                    self.requests.refresh.clear()
                    self.requests.refresh.update(dict.fromkeys(ids))

    def has_time_to_refresh(self) -> bool:
        """Return whether drafts made meanwhile took no more than their share; all may come during a pause."""
        running = self.running
        return running is not None and (
            self.requests.paused or running.seconds_drafting <= REFRESH_SHARE * running.trainer.seconds_done
        )

    def refresh(self) -> Iterator[Event]:
        """Make the next of these drafts, unless something more urgent is requested."""
        running, began, requests = self.running, self.clock(), self.requests
        assert running is not None
        shown = self.session.current_item
        with requests.lock:  # skip what was accepted or skipped since, or is on screen now
            while requests.refresh:
                item = self.session.item(next(iter(requests.refresh)))
                if self.session.state(item).waits and item != shown:
                    break
                del requests.refresh[item.id]
        yield from self.drafter.draft(
            requests.refresh,
            unless=lambda: (
                requests.stop or bool(requests.urgent) or (requests.paused and not running.pause_reported)
            ),
        )
        if not requests.paused:
            running.seconds_drafting += self.clock() - began

    def report_pause(self) -> Iterable[Event]:
        """Report at once that the round is paused, before drafts that may take a while."""
        assert self.running is not None
        self.running.pause_reported = True
        return (events.RoundPaused(self.running.record),)

    def stop(self) -> Iterator[Event]:
        """End the round before its budget is used up."""
        assert self.running is not None
        with self.requests.lock:
            self.requests.stop = self.requests.paused = self.running.pause_reported = False
        return self._finish("stopped")

    def _finish(self, status: Literal["complete", "stopped"]) -> Iterator[Event]:
        """Keep what was learned, then request drafts of everything that is not accepted."""
        running = self.running
        assert running is not None
        predictor = validation = None
        try:
            # After stage 1 of random weights the adapters have learned nothing yet.
            in_stage_2 = running.last is not None and running.last.stage == 2
            if status == "complete" or in_stage_2 or 1 not in running.record.stages:
                predictor = self.models.predictor_of(running.trainer)
                self.drafter.use(predictor, running.record.number)
        except Exception as error:
            yield self._fail(running.record, user_message(error))
            return
        if predictor is not None:
            validation = yield from self._validate(running.record)
        try:
            record = self._save(running, status, predictor, validation)
        except (OSError, SemiGDAError) as error:
            message = user_message(error)
            if self.requests.closing:  # there is no later chance to save it
                resumable = self._state_file(running.record).is_file()
                yield self._fail(running.record, message, "stopped" if resumable else "failed")
                return
            with self.requests.lock:
                self.requests.paused = True
            message += " The round is paused and nothing is lost. Free disk space, then continue or stop it."
            yield events.RoundNotSaved(running.record, message)
            return
        self._release()
        self.drafter.restart_progress()
        if predictor is not None:
            self.drafter.request_features()
            self.requests.add_drafts(self.session.queue())
        yield events.RoundEnded(record)

    def _save(
        self,
        running: RunningRound,
        status: Literal["complete", "stopped"],
        predictor: Predictor | None,
        validation: Validation | None,
    ) -> RoundRecord:
        record, trainer = running.record, running.trainer
        if status == "stopped":
            trainer.save_state(self._state_file(record))
        else:  # masks accepted during its last epoch are left to the next round
            record = replace(record, labeled=record.labeled[: trainer.labeled_count])
        if predictor is not None:
            self.models.save(predictor, record.number)
        ended = self.session.rounds.finish(
            record, status, steps=trainer.steps_done, seconds=trainer.seconds_done, validation=validation
        )
        if status == "complete":
            self._state_file(record).unlink(missing_ok=True)
        return ended

    def _validate(self, record: RoundRecord) -> Generator[Event, None, Validation | None]:
        """Compare drafts with the accepted masks kept for validation; None without any.

        What the annotator waits for is served between two of them. A round that began before a mask was set
        aside has learned from it, and leaves it out.
        """
        predictor, dices = self.drafter.ready_predictor(), []
        for item in self.session.labels.validation:
            if item.id in record.labeled:
                continue
            yield from self.drafter.serve_waiting_user()
            try:
                accepted = self.session.labels.get(item)
                with self.session.images.open(item) as pixels:
                    drafted = predictor.draft(pixels, cancelled=lambda: self.requests.closing).labels
            except Cancelled:
                return None
            except Exception as error:
                self.session.warn(f"{item.name} was left out of validation. {user_message(error)}")
                continue
            dice = None if accepted is None else effort(drafted, accepted, self.session.classes.channels)[0]
            if dice is not None:
                dices.append(dice)
        return Validation(sum(dices) / len(dices), len(dices)) if dices else None

    def _fail(
        self, record: RoundRecord | None, message: str, status: Literal["failed", "stopped"] = "failed"
    ) -> events.RoundFailed:
        trainer = None if self.running is None else self.running.trainer
        self._release()
        self.drafter.use(None)  # back to the last weights that were saved
        if record is not None:
            steps = record.steps if trainer is None else trainer.steps_done
            seconds = record.seconds if trainer is None else trainer.seconds_done
            try:
                record = self.session.rounds.finish(
                    record, status, steps=steps, seconds=seconds, message=message
                )
            except SemiGDAError:  # a full disk must not hide why the round failed
                logger.exception("The failure of round %d could not be recorded.", record.number)
                self.session.rounds.leave(record.number)
        return events.RoundFailed(record, message)

    def _release(self) -> None:
        """Let go of a round with its optimizers and gradients."""
        with self.requests.lock:
            self.running = self.drafter.extractor = None
            self.requests.refresh.clear()
            self.requests.stop = False
            self.memory_is_due = True

    def give_memory_back(self) -> None:
        """Free the memory of a round that is over for other programs; see `Engine.give_memory_back`."""
        if not self.memory_is_due:
            return
        self.memory_is_due = False
        gc.collect()
        with suppress(RuntimeError):  # a card that stopped responding has nothing to give back
            if self.models.device.type == "cuda":
                torch.cuda.empty_cache()
            elif self.models.device.type == "mps":
                torch.mps.empty_cache()

    def _state_file(self, record: RoundRecord) -> Path:
        return self.session.rounds.folder(record.number) / STATE
