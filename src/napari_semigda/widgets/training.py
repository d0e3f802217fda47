"""Rounds and drafts of the open session: what is requested of the engine, and what its events change."""

from __future__ import annotations

from collections.abc import Callable

from napari.utils.notifications import show_info, show_warning
from psygnal import Signal
from superqt.utils import qthrottled

from napari_semigda.engine.events import (
    Event,
    FramingFitted,
    Mapped,
    MappingFailed,
    Predicted,
    PredictionFailed,
    RoundEnded,
    RoundFailed,
    RoundNotSaved,
)
from napari_semigda.errors import SemiGDAError
from napari_semigda.session.items import Item
from napari_semigda.training.recipe import Budget
from napari_semigda.widgets.annotation import Annotation
from napari_semigda.widgets.background import TaskThread
from napari_semigda.widgets.corrections import Corrections
from napari_semigda.widgets.navigation import Navigation
from napari_semigda.widgets.panels.parts import errors_shown, show_failure
from napari_semigda.widgets.panels.round_progress import Phase, RoundProgress
from napari_semigda.widgets.runner import EngineRunner

NO_WEIGHTS = "There is no trained model yet: train a round, or start a session from a model."
NEW_DRAFTS_EVERY = 200  # milliseconds between two reports of new drafts
PREFETCH_AFTER = 300  # milliseconds after something changed: the image on screen comes first


class Training:
    """Trains on the open session and drafts its images."""

    states_changed = Signal()

    def __init__(
        self,
        annotation: Annotation,
        navigation: Navigation,
        corrections: Corrections,
        progress: RoundProgress,
        device: str,
    ) -> None:
        self.runner = EngineRunner(annotation.session, device)
        self.round_after = 0
        self.round_budget = Budget(seconds=60)
        self.prefetch_soon = qthrottled(self._prefetch, timeout=PREFETCH_AFTER, leading=False)
        self._session = annotation.session
        self._annotation, self._navigation = annotation, navigation
        self._corrections, self._progress = corrections, progress
        self._tasks = TaskThread()
        self._not_drafted: dict[str, PredictionFailed] = {}
        self._report_drafts = qthrottled(self.states_changed.emit, timeout=NEW_DRAFTS_EVERY)
        annotation.shown.connect(self._on_shown)
        corrections.maps_wanted.connect(self._request_maps)
        self.runner.happened.connect(self._on_event)
        self.runner.failed.connect(self._on_failure)
        self.runner.rested.connect(self._on_rest)
        self.runner.cancel_asked.connect(self.stop)

    def begin(self) -> None:
        """Start with what a newly opened session lacks: image features and drafts."""
        self.runner.engine.request_features()  # the queue works without, but not as well
        self.runner.wake()
        if not self._session.rounds:  # weights, if there are any, are imported: nothing was drafted yet
            self.draft_new()

    def close(self) -> None:
        """Stop the engine at its next step."""
        self._report_drafts.cancel()
        self.prefetch_soon.cancel()
        self._tasks.close()
        self._tasks.deleteLater()
        self.runner.close()
        self.runner.blockSignals(True)  # what its last events tell is on disk
        self.runner.deleteLater()

    # Rounds ------------------------------------------------------------------------------------

    def train(self, budget: Budget, *, fresh: bool = False) -> None:
        """Start a round on all accepted masks; `fresh` trains from scratch."""
        self.runner.engine.request_round(budget=budget, fresh=fresh)
        self.runner.wake()
        self._progress.requested()

    def train_if_due(self) -> None:
        """Start a round if enough masks were accepted since the last."""
        if not self.round_after or self._session.read_only or self._progress.active:
            return
        rounds = self._session.rounds
        learned = rounds[-1].labeled if rounds else ()
        if len(self._session.labels.to_learn_from(besides=learned)) >= self.round_after:
            with errors_shown():
                self.train(self.round_budget)

    def resume_round(self) -> None:
        self.runner.engine.request_round(resume=True)
        self.runner.wake()
        self._progress.requested(resumes=True)

    def pause(self) -> None:
        """Pause the running round after the current step."""
        self.runner.engine.pause()
        self._progress.pausing()

    def unpause(self) -> None:
        """Continue the paused round."""
        self.runner.engine.unpause()
        self.runner.wake()
        self._progress.requested(resumes=True)

    def stop(self) -> None:
        """Stop the running round after the current step; without one, stop drafting."""
        if self._progress.active:
            self.runner.engine.stop_round()
        else:
            self.runner.engine.cancel_drafts()
        self.runner.wake()  # a paused round has no worker
        self._progress.stopping()

    # Drafts ------------------------------------------------------------------------------------

    def draft_all(self) -> None:
        """Draft all unlabeled images whose draft is older than the weights, in the queue's order.

        While a round trains this waits for its end.
        """
        if not self.runner.engine.has_model:
            raise SemiGDAError(NO_WEIGHTS)
        self._find_undrafted(self._on_draft_all)

    def draft_new(self) -> None:
        """Draft all unlabeled images without a draft of these weights, if there are weights."""
        if self.runner.engine.has_model:
            self._find_undrafted(self._request_drafts)

    def _find_undrafted(self, on_done: Callable[[list[Item]], object]) -> None:
        """Find them in the background: ordering many thousand images takes half a second."""
        if self._session.read_only is None:
            order, engine = self._navigation.order, self.runner.engine
            self._tasks.run(
                lambda: [item for item in self._session.queue(order=order) if engine.wants_draft(item)],
                on_done,
            )

    def _on_draft_all(self, items: list[Item]) -> None:
        self._request_drafts(items)
        if not items:
            show_info("All images have drafts of the newest weights.")
        elif self._progress.active and self._progress.phase is not Phase.PAUSED:
            show_info(f"{len(items)} images will be drafted when the round has ended.")

    def _request_drafts(self, items: list[Item]) -> None:
        if items:
            self.runner.engine.request_drafts(items)
            self._progress.drafts_requested()
            self.runner.wake()

    def _request_draft(self, item: Item) -> None:
        """Have an item drafted before everything else, unless its draft is of the newest weights."""
        if self.runner.engine.wants_draft(item):
            self.runner.engine.request_drafts([item], urgent=True)
            self.runner.wake()

    def _request_maps(self, item: Item) -> None:
        """Have the probabilities behind a draft computed, before everything but the draft itself."""
        self.runner.engine.request_maps(item)
        self.runner.wake()

    def _on_shown(self, item: Item) -> None:
        self._request_draft(item)
        self.prefetch_soon()

    def _prefetch(self) -> None:
        """Read in the background what will be shown next."""
        item, order = self._annotation.item, self._navigation.order
        if item is not None:
            self._tasks.run(lambda: self._annotation.prefetch.prepare(item, order), self._on_prefetched)

    def _on_prefetched(self, item: Item | None) -> None:
        with errors_shown():
            if item is not None:
                self._request_draft(item)

    # Events ------------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        if self.runner.signalsBlocked():  # the session was closed while this event was queued
            return
        stopping = self._progress.phase is Phase.STOPPING
        with errors_shown():
            self._progress.take(event, self.runner.engine.drafts)
            match event:
                case Predicted(item):
                    self._corrections.drop_maps(item)
                    self._annotation.refresh_draft(item)
                    self._report_drafts()
                case PredictionFailed(item):
                    self._not_drafted.setdefault(item.id, event)
                case Mapped(item, maps):
                    self._corrections.set_maps(item, maps)
                case FramingFitted():
                    show_info(event.message)
                case RoundEnded(record):
                    self._corrections.drop_maps()
                    self.states_changed.emit()
                    if (
                        record.status == "complete"
                    ):  # after stopping one, the user does not want another at once
                        self.train_if_due()
                case RoundFailed() | RoundNotSaved() | MappingFailed() if not stopping:
                    raise SemiGDAError(event.message)

    def _on_failure(self, error: Exception) -> None:
        self._progress.failed()
        show_failure(error)

    def _on_rest(self) -> None:
        if self._not_drafted:
            first, *others = self._not_drafted.values()
            have = "more image has" if len(others) == 1 else "more images have"
            more = f" ({len(others)} {have} no draft either.)" if others else ""
            show_warning(f"{first.item.name} could not be drafted: {first.message}{more}")
            self._not_drafted.clear()
        self._progress.rest(paused=self.runner.engine.round_is_active)
