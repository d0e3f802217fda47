"""The one thread that owns the device: trains rounds and serves drafts between their steps.

`Engine.work` is a plain generator; whichever thread iterates it owns the device: a napari worker in the
plugin, the main thread on the command line and in tests. The other methods only leave requests and may be
called from any thread; they take effect at the next step, and nothing is ever terminated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from napari_semigda.engine.drafts import Drafter
from napari_semigda.engine.events import Drafting, DraftProgress, Event, ModelLoading
from napari_semigda.engine.models import Models
from napari_semigda.engine.requests import Requests, RoundRequest
from napari_semigda.engine.rounds import RoundRunner
from napari_semigda.errors import SemiGDAError
from napari_semigda.model.device import choose_device
from napari_semigda.session.items import Item
from napari_semigda.session.rounds import RoundRecord
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget, Recipe

NOTHING_TO_LEARN = (
    "A round needs at least one accepted mask that is not kept for validation. Accept one, then train."
)
NOTHING_LABELED = (
    "Every pixel of the accepted masks is unlabeled (255), so there is nothing to learn from. Paint objects "
    "or background in at least one of them, accept it, then train."
)

Task = Callable[[], Iterable[Event]] | None
"""None: there is nothing left to do."""


class Engine:
    """Trains and predicts for one session.

    The working thread calls `on_progress` while an autoencoder is fetched or a large image is drafted.
    `weights` are the autoencoder's on this machine, if not where the session says; `clock` gives the seconds
    that budgets of rounds count; `models` makes what trains and predicts; tests give one that does neither.

    >>> engine.request_round(budget=Budget(seconds=60))
    >>> if engine.start_work():
    ...     for event in engine.work():
    ...         print(event)
    """

    def __init__(
        self,
        session: Session,
        device: str = "auto",
        on_progress: Callable[[ModelLoading | Drafting], None] = lambda _: None,
        weights: Path | None = None,
        clock: Callable[[], float] = time.perf_counter,
        models: Callable[..., Models] = Models,
    ) -> None:
        self.session = session
        self.device = choose_device(device)
        self._requests = requests = Requests()
        made = models(
            session, self.device, weights, on_progress, lambda: requests.stop or requests.closing, clock
        )
        self._drafter = Drafter(session, made, requests, on_progress, clock)
        self._rounds = RoundRunner(session, made, self._drafter, requests, on_progress, clock)
        self._tasks = self._in_order()
        self._working = False

    def _in_order(self) -> list[tuple[Callable[[], object], Task]]:
        """Return when each task is due; of those that are, the first is done, then all are asked again."""
        requests, rounds, drafter = self._requests, self._rounds, self._drafter
        return [
            (lambda: requests.stop and rounds.running, rounds.stop),
            (lambda: requests.closing, None),
            (
                lambda: requests.paused and rounds.running and not rounds.running.pause_reported,
                rounds.report_pause,
            ),
            (lambda: requests.urgent and drafter.has_model, lambda: drafter.draft(requests.urgent)),
            (lambda: requests.maps and drafter.has_model, drafter.maps),
            (lambda: requests.round, rounds.begin),
            (lambda: requests.refresh and rounds.has_time_to_refresh(), rounds.refresh),
            (lambda: rounds.running and not requests.paused, rounds.step),
            (drafter.features_come_first, drafter.extract_next),
            (lambda: requests.background and drafter.has_model, lambda: drafter.draft(requests.background)),
        ]

    # What others request

    def request_round(
        self,
        *,
        recipe: Recipe | None = None,
        budget: Budget | None = None,
        fresh: bool = False,
        resume: bool = False,
        seed: int = 0,
    ) -> None:
        """Request a round on all accepted masks and all other images.

        It starts from the last round's weights unless ``fresh``; without a budget the recipe's epochs count.
        With ``resume`` the stopped round continues, with its own recipe, budget and seed. Raises a
        `SemiGDAError` if a round is running, no accepted pixel is labeled, or there is nothing to resume.
        """
        with self._requests.lock:
            if self.round_is_active:
                raise SemiGDAError("A round is already running. Stop it first, or wait until it ends.")
            if resume and self.resumable_round() is None:
                raise SemiGDAError("There is no stopped round to resume. Start a new one.")
            if not self.session.labels.to_learn_from():
                raise SemiGDAError(NOTHING_TO_LEARN)
            if self.session.labels.nothing_labeled():
                raise SemiGDAError(NOTHING_LABELED)
            chosen = recipe or Recipe().with_one_object(self.session.one_object)
            self._requests.round = RoundRequest(chosen, budget or Budget(), fresh, seed, resume)
            self._requests.stop = self._requests.paused = False

    def resumable_round(self) -> RoundRecord | None:
        """Return the newest round if it was stopped before its end."""
        return self._rounds.resumable()

    def request_drafts(self, items: Iterable[Item], *, urgent: bool = False) -> None:
        """Request drafts of these items, unless the session is open for reading only.

        Urgent ones are served between two steps of a running round, the newest first.
        """
        if self.session.read_only is None:
            (self._requests.add_urgent if urgent else self._requests.add_drafts)(items)

    def request_maps(self, item: Item) -> None:
        """Request the maps behind the draft of one item instead of those requested before; see `Mapped`."""
        with self._requests.lock:
            self._requests.maps = item.id

    def request_features(self) -> None:
        """Request the image features that the queue compares images by, of all items without them.

        They need only the autoencoder. Where its weights may have to be downloaded they wait until there is a
        trained model: looking at images must not start a download.
        """
        self._drafter.request_features()

    def pause(self) -> None:
        """Hold the round after its current step; drafts are still made."""
        with self._requests.lock:
            self._requests.paused = True

    def unpause(self) -> None:
        """Let a paused round continue."""
        with self._requests.lock:
            self._requests.paused = False
            if self._rounds.running is not None:
                self._rounds.running.pause_reported = False

    def stop_round(self) -> None:
        """End the round after its current step; it can be resumed, and what it learned is used."""
        with self._requests.lock:
            self._requests.stop = True

    def cancel_drafts(self) -> None:
        """Drop all requested drafts, maps and image features, also a large one that is being made."""
        self._requests.drop_drafts()

    def close(self) -> None:
        """End everything at the next step; a running round is stopped and can be resumed."""
        with self._requests.lock:
            self._requests.closing = self._requests.stop = True
            self._requests.drop_drafts()

    # How things are

    @property
    def round_is_active(self) -> bool:
        """Whether a round is requested, running or paused."""
        with self._requests.lock:
            return self._rounds.running is not None or self._requests.round is not None

    @property
    def paused(self) -> bool:
        """Whether a running round is paused."""
        return self._requests.paused

    @property
    def has_model(self) -> bool:
        """Whether there are weights to predict with."""
        return self._drafter.has_model

    @property
    def drafting_round(self) -> int | None:
        """The round whose weights draft now, which may still be running; 0: imported; None: none yet."""
        return None if self._drafter.predictor is None else self._drafter.round

    @property
    def drafts(self) -> DraftProgress:
        """How many of the requested drafts are made."""
        return self._drafter.progress

    def wants_draft(self, item: Item) -> bool:
        """Return whether the item is not accepted and its draft is missing or of older weights."""
        if not self.session.state(item).waits:
            return False
        info = self.session.drafts.info(item)
        if self.drafting_round is None:
            return info is None and self.has_model
        return info is None or info.round != self.drafting_round

    # The work itself

    def start_work(self) -> bool:
        """Return whether the caller must now iterate `work` (True at most once until that iteration ends)."""
        with self._requests.lock:
            if self._working or self._next_task() is None:
                return False
            self._working = True
            return True

    def work(self) -> Iterator[Event]:
        """Do what was requested, yielding what happens, and return when nothing is left to do.

        Call it only after `start_work` returned True. A paused round does not keep it running: after
        `unpause` call `start_work` again.
        """
        self._drafter.restart_progress()
        try:
            while True:
                with self._requests.lock:  # after a later request, `start_work` returns True
                    task = self._next_task()
                    self._working = task is not None
                if task is None:
                    return
                yield from task()
                if not self._requests.closing:  # then the user waits for the end
                    self.give_memory_back()
        except BaseException:
            with self._requests.lock:
                self._working = False
            raise

    def _next_task(self) -> Task:
        return next((task for is_due, task in self._tasks if is_due()), None)

    def give_memory_back(self) -> None:
        """Free the memory of a round that is over for other programs; takes a moment.

        After a round this happens by itself; after `close`, call it when the user no longer waits.
        """
        self._rounds.give_memory_back()
