"""What is on the bench: the open session, its annotating, its engine; sections are views of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari.qt.threading import create_worker
from napari.utils.notifications import show_info, show_warning
from psygnal import Signal
from superqt.utils import FunctionWorker, qthrottled

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
from napari_semigda.io.pictures import MANIFEST_NAME
from napari_semigda.model.device import choose_device
from napari_semigda.pace import Progress
from napari_semigda.session.items import Item
from napari_semigda.session.mask_changes import ChangedMask
from napari_semigda.session.relocation import Relocation
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget
from napari_semigda.widgets.activity import Activity
from napari_semigda.widgets.annotation import Annotation
from napari_semigda.widgets.background import Background
from napari_semigda.widgets.canvas.layers import NapariCanvas
from napari_semigda.widgets.corrections import Corrections
from napari_semigda.widgets.panels.parts import errors_shown, show_failure
from napari_semigda.widgets.panels.round_progress import Phase, RoundProgress
from napari_semigda.widgets.panels.session_plan import LayerSource
from napari_semigda.widgets.preferences import accepts_empty, chosen_device, heed_cache_folder
from napari_semigda.widgets.runner import EngineRunner

NO_WEIGHTS = "There are no weights to draft with yet: train a round, or start a session from a model."
COUNTED_EVERY = 200  # milliseconds, while drafts come in one after the other
TYPICAL_WITHIN = 0.1  # seconds for which a window may wait that opens a session made elsewhere
LOOK_AHEAD_AFTER = 300  # milliseconds after something changed: the image on screen comes first
SKIPPED_TOLD = 3  # sentences on files that became no image


class Controller:
    """The open session and everything that works on it.

    Parameters
    ----------
    canvas : NapariCanvas
        Where images are shown.
    device : str, optional
        Device of the engine: ``"auto"``, or by torch's name; None takes the one of napari's preferences.

    Attributes
    ----------
    session, annotation, correcting, runner : the open session and its parts; None while none is open.
    progress : RoundProgress
        What the engine is doing, for the eye.
    round_after : int
        A round begins by itself when so many masks are accepted that no round has learned from; 0: never.
    round_budget : Budget
        Of such a round.
    opened, closed : Signal
        Emitted after a session was opened, and after it was closed.
    creating : Signal
        Emitted when the making of a session begins and ends.
    states_changed : Signal
        Emitted when the state of any item changed.
    classes_changed : Signal
        Emitted when a class was added, removed or colored anew.
    """

    opened = Signal()
    closed = Signal()
    creating = Signal()
    states_changed = Signal()
    classes_changed = Signal()

    def __init__(self, canvas: NapariCanvas, device: str | None = None) -> None:
        self.canvas = canvas
        self.session: Session | None = None
        self.annotation: Annotation | None = None
        self.corrections: Corrections | None = None
        self.runner: EngineRunner | None = None
        self.progress = RoundProgress()
        self.round_after = 0
        self.round_budget = Budget(seconds=60)
        self._device = device
        self._maker: Any = None
        self._warnings_told = 0
        self._without_draft: dict[str, PredictionFailed] = {}
        self._count_drafts = qthrottled(self.states_changed.emit, timeout=COUNTED_EVERY)
        self._background: Background | None = None
        self._look_ahead = qthrottled(self._prepare_next, timeout=LOOK_AHEAD_AFTER, leading=False)
        self.states_changed.connect(self._look_ahead)

    def open(self, folder: Path) -> None:
        """Open a session folder in place of the session open now.

        Raises
        ------
        SemiGDAError
            If the folder is no session, or cannot be read. The session open before stays open.
        """
        self._leave_if(folder)
        self.adopt(Session.open(folder))

    def adopt(self, session: Session) -> None:
        """Work on this session from now on, and show the item to look at first.

        Raises
        ------
        SemiGDAError
            If what was painted in the session open before cannot be kept. That one stays open.
        """
        if self.annotation is not None:
            self.annotation.keep()
        self.close()
        self.session = session
        self._warnings_told = 0
        self.annotation = Annotation(session, self.canvas)
        self.annotation.accepts_empty = accepts_empty
        self.annotation.states_changed.connect(self._on_counted)
        self.annotation.shown.connect(self._on_shown)
        self._background = Background()
        self.corrections = Corrections(self.annotation, self.canvas)
        self.corrections.maps_wanted.connect(self._ask_for_maps)
        heed_cache_folder()
        self.runner = EngineRunner(session, self._usable_device())
        self.runner.happened.connect(self._on_event)
        self.runner.failed.connect(self._on_failure)
        self.runner.rested.connect(self._on_rest)
        self.runner.cancel_asked.connect(self.stop)
        self.canvas.read_only = session.read_only is not None
        self.canvas.show_classes(session.classes)
        self.progress.begin(session)
        self.opened.emit()
        self._tell_left_out(session)
        with errors_shown():
            self._show_first_item()
        if session.read_only is not None:
            show_warning(session.read_only)
        self.runner.engine.request_features()  # the queue can do without, but not as well
        self.runner.wake()
        if not session.rounds:  # the weights, if there are any, are imported ones: nothing was drafted yet
            self._draft_all_quietly()

    def _leave_if(self, folder: Path) -> None:
        """Close the session open now if it is the one in this folder: it can be written only once."""
        folder = (folder.parent if folder.name == MANIFEST_NAME else folder).resolve()
        if self.annotation is not None and self.session is not None and self.session.folder == folder:
            self.annotation.keep()
            self.close()

    def close(self, *, layers_stay: bool = False) -> bool:
        """Keep what was painted, stop the engine at its next step, and close the session.

        Strokes that cannot be kept stay on the screen.

        Parameters
        ----------
        layers_stay : bool
            Leave the image and the mask on the screen: the window is closing, and takes them along.

        Returns
        -------
        bool
            False where strokes could not be kept, and stay on the screen.
        """
        if self.session is None or self.annotation is None or self.runner is None:
            return True
        kept = False
        with errors_shown():
            self.annotation.close()
            kept = True
        self._count_drafts.cancel()
        self._look_ahead.cancel()
        if self._background is not None:
            self._background.close()
            self._background.deleteLater()
            self._background = None
        self.runner.close()
        self.runner.blockSignals(True)  # what its last events tell is on the disk, and nobody looks any more
        self.runner.deleteLater()
        self.session.close()
        self.session = self.annotation = self.corrections = self.runner = None
        if kept and not layers_stay:
            self.canvas.clear()
        self.progress.reset()
        self.closed.emit()
        return kept

    @property
    def is_creating(self) -> bool:
        """Whether a session is being made."""
        return self._maker is not None

    def create(self, how: Callable[[Progress, Callable[[], bool]], Session]) -> None:
        """Make a session behind the scenes (reading the images' headers may take a while), then open it.

        Parameters
        ----------
        how
            Makes it; given what to tell of its progress, and what to ask whether it is cancelled.
        """
        self._begin_creating(lambda *told: _begun(how(*told)), self._on_made)

    def add_images(self, images: Sequence[Path]) -> None:
        """Add picture files to the session, behind the scenes, and open it again with them.

        Raises
        ------
        SemiGDAError
            If no session is open.
        """
        session = self._open_session()
        self._begin_creating(
            lambda progress, cancelled: session.add_images(
                list(images), progress=progress, cancelled=cancelled
            ),
            lambda _: self._on_added(session),
        )

    def add_layers(self, layers: LayerSource) -> None:
        """Add the planes of image layers to the session, behind the scenes, and open it again with them.

        Raises
        ------
        SemiGDAError
            If no session is open.
        """
        session = self._open_session()
        self._begin_creating(
            lambda progress, cancelled: session.add_arrays(
                layers.pictures(), progress=progress, cancelled=cancelled
            ),
            lambda _: self._on_added(session),
        )

    def find_moved_images(self, folder: Path) -> None:
        """Look for missing images in a folder, behind the scenes, and open the session again with them.

        Raises
        ------
        SemiGDAError
            If no session is open.
        """
        session = self._open_session()
        self._begin_creating(
            lambda progress, cancelled: session.find_moved_pictures(
                folder, progress=progress, cancelled=cancelled
            ),
            lambda found: self._on_looked(session, found),
        )

    def _open_session(self) -> Session:
        if self.session is None:
            raise SemiGDAError("Open a session first.")
        return self.session

    def _begin_creating(
        self, how: Callable[[Progress, Callable[[], bool]], Any], then: Callable[[Any], None]
    ) -> None:
        activity = Activity("SemiGDA: reading the images")
        self._maker = create_worker(
            how,
            activity.report,
            lambda: activity.is_canceled,
            _worker_class=FunctionWorker,
            _ignore_errors=True,
            _start_thread=False,
        )
        self._maker.finished.connect(activity.close)
        self._maker.returned.connect(then)
        self._maker.errored.connect(self._on_not_made)
        self._maker.start()
        self.creating.emit()

    def _on_added(self, session: Session) -> None:
        self._tell_left_out(session)
        self._open_anew(session)
        if self.runner is not None:
            self._draft_all_quietly()

    def _on_looked(self, session: Session, relocation: Relocation) -> None:
        if relocation.missing:
            (first, why), count = relocation.missing[0], len(relocation.missing)
            more = f" {count - 1} more are missing." if count > 1 else ""
            show_warning(f"{first.name} is still missing. {why}{more}")
        show_info(f"{len(relocation.found)} images were found again.")
        self._open_anew(session)

    def _open_anew(self, session: Session) -> None:
        self._maker = None
        with errors_shown():
            if self.session is session:
                self.open(session.folder)
        self.creating.emit()

    def _on_made(self, session: Session) -> None:
        self._maker = None
        with errors_shown():
            self.adopt(session)
        self.creating.emit()

    def _tell_left_out(self, session: Session) -> None:
        told = [*(why for _, why in session.left_out), *session.notices]
        if told:
            more = f" {len(told) - SKIPPED_TOLD} more were skipped." if len(told) > SKIPPED_TOLD else ""
            show_warning(" ".join(told[:SKIPPED_TOLD]) + more)

    def _on_not_made(self, error: Exception) -> None:
        self._maker = None
        self.creating.emit()
        show_failure(error)

    # Rounds ------------------------------------------------------------------------------------

    def train(self, budget: Budget, *, fresh: bool = False) -> None:
        """Begin a round on all accepted masks.

        Raises
        ------
        SemiGDAError
            If a round is running already, or nothing is accepted yet.
        """
        runner = self._open_runner()
        runner.engine.request_round(budget=budget, fresh=fresh)
        runner.wake()
        self.progress.requested()

    def _train_if_due(self) -> None:
        """Begin a round if enough masks are accepted that no round has learned from."""
        session = self.session
        if not self.round_after or session is None or session.read_only or self.progress.active:
            return
        rounds = session.rounds
        if len(session.new_masks(rounds[-1] if rounds else None)) >= self.round_after:
            with errors_shown():
                self.train(self.round_budget)

    def resume_round(self) -> None:
        """Go on with the round that was stopped, as if it never had been."""
        runner = self._open_runner()
        runner.engine.request_round(resume=True)
        runner.wake()
        self.progress.requested(resumes=True)

    def pause(self) -> None:
        """Hold the running round after its present step."""
        self._open_runner().engine.pause()
        self.progress.pausing()

    def unpause(self) -> None:
        """Let the paused round go on."""
        runner = self._open_runner()
        runner.engine.unpause()
        runner.wake()
        self.progress.requested(resumes=True)

    def stop(self) -> None:
        """End the running round after its present step, or the drafts being made."""
        runner = self._open_runner()
        if self.progress.active:
            runner.engine.stop_round()
        else:
            runner.engine.cancel_drafts()
        runner.wake()  # a paused round has nobody at work
        self.progress.stopping()

    def draft_all(self) -> None:
        """Have all images that wait drafted, in the order chosen, where newer weights can do it better.

        While a round trains they come when it has ended, by what it has learned; while it is held, at once.

        Raises
        ------
        SemiGDAError
            If no session is open, or there are no weights yet.
        """
        if not self._open_runner().engine.has_model:
            raise SemiGDAError(NO_WEIGHTS)
        self._find_undrafted(self._on_asked_for)

    def _draft_all_quietly(self) -> None:
        """Have all images drafted that have no draft of these weights, if there are any; say nothing."""
        if self._open_runner().engine.has_model:
            self._find_undrafted(self._request_drafts)

    def _find_undrafted(self, then: Callable[[list[Item]], object]) -> None:
        """Look for them behind the scenes: of many thousand images the order takes half a second."""
        session, annotation, background = self._open_session(), self.annotation, self._background
        engine = self._open_runner().engine
        if annotation is not None and background is not None and session.read_only is None:
            strategy = annotation.strategy
            background.do(
                lambda: [item for item in session.queue(order=strategy) if engine.wants_draft(item)], then
            )

    def _on_asked_for(self, items: list[Item]) -> None:
        self._request_drafts(items)
        if not items:
            show_info("Every image that waits has a draft of the newest weights.")
        elif self.progress.active and self.progress.phase is not Phase.PAUSED:
            show_info(f"The round goes on; {len(items)} drafts are made when it has ended.")

    def _request_drafts(self, items: list[Item]) -> None:
        if self.runner is not None and items:
            self.runner.engine.request_drafts(items)
            self.progress.drafts_requested()
            self.runner.wake()

    # Classes -----------------------------------------------------------------------------------

    def rename_class(self, value: int, name: str) -> None:
        """Give a class another name."""
        if self.session is not None:
            self.session.rename_class(value, name)
            self.canvas.show_classes(self.session.classes)

    def recolor_class(self, value: int, color: str) -> None:
        """Show a class in another color, ``"#rrggbb"``."""
        if self.session is not None:
            self.session.recolor_class(value, color)
            self.canvas.show_classes(self.session.classes)
            self.classes_changed.emit()

    def remove_class(self, value: int, **watched: Any) -> None:
        """Remove a class; its pixels become unlabeled, also in the mask on the screen.

        Parameters
        ----------
        value
            Of the class.
        **watched
            ``progress`` and ``cancelled``; see `Session.remove_class`.

        Raises
        ------
        SemiGDAError, Cancelled
            See `Session.remove_class`; then nothing is changed.
        """
        if self.session is None or self.annotation is None:
            return
        self.annotation.keep()
        self.session.remove_class(value, **watched)
        self.canvas.show_classes(self.session.classes)
        if self.canvas.selected_label == value:
            self.canvas.selected_label = self.session.classes[0].value
        self._show_changed_masks()
        self.classes_changed.emit()

    def unlabel_background(self, value: int, **watched: Any) -> list[ChangedMask]:
        """Make the background of accepted masks unlabeled for a class added later, also on the screen.

        Parameters
        ----------
        value
            Of the class.
        **watched
            ``progress`` and ``cancelled``; see `Session.unlabel_background`.

        Raises
        ------
        SemiGDAError, Cancelled
            See `Session.unlabel_background`; then nothing is changed.
        """
        session = self._open_session()
        if self.annotation is not None:
            self.annotation.keep()
        changed = session.unlabel_background(value, **watched)
        self._show_changed_masks()
        return changed

    def restore_masks(self, changed: Sequence[ChangedMask]) -> list[Item]:
        """Put masks back as they were before `unlabel_background`; see `Session.restore_masks`."""
        session = self._open_session()
        if self.annotation is not None:
            self.annotation.keep()
        restored = session.restore_masks(changed)
        self._show_changed_masks()
        return restored

    def _show_changed_masks(self) -> None:
        assert self.annotation is not None
        painting = self.canvas.selected_label
        if self.annotation.item is not None and self.annotation.visible:
            self.annotation.show(self.annotation.item)
            self.canvas.selected_label = painting  # it is the same image still
        self.states_changed.emit()

    def add_class(self, name: str) -> None:
        """Add a class behind the others and paint it."""
        if self.session is not None:
            added = self.session.add_class(name)
            self.canvas.show_classes(self.session.classes)
            self.canvas.selected_label = added.value
            self.classes_changed.emit()

    # -------------------------------------------------------------------------------------------

    def _usable_device(self) -> str:
        """The device that was chosen, or the quickest there is where that one is not there."""
        device = self._device or chosen_device()
        try:
            choose_device(device)
        except SemiGDAError as error:
            show_warning(f"{error} For now the quickest device there is will be used.")
            return "auto"
        return device

    def _open_runner(self) -> EngineRunner:
        if self.runner is None:
            raise SemiGDAError("Open a session first.")
        return self.runner

    def _show_first_item(self) -> None:
        """The item on screen last time; in a new session a typical one; else the next suggested."""
        assert self.annotation is not None
        assert self.session is not None
        last = self.session.current_item
        if last is None and all(state.waits for state in self.session.states()):
            last = self.session.typical_item(seconds=TYPICAL_WITHIN)
        if last is not None:
            self.annotation.show(last)
        elif not self.annotation.show_next():
            self.annotation.show(self.session.items[0])

    def _on_shown(self, item: Item) -> None:
        self._ask_for_draft(item)
        self._look_ahead()

    def _prepare_next(self) -> None:
        """Read ahead, behind the scenes, what will be asked for next."""
        annotation = self.annotation
        if annotation is None or annotation.item is None or self._background is None:
            return
        item, strategy = annotation.item, annotation.strategy
        self._background.do(lambda: annotation.prefetch.prepare(item, strategy), self._on_prepared)

    def _on_prepared(self, item: Item | None) -> None:
        with errors_shown():
            if item is not None and self.runner is not None:
                self._ask_for_draft(item)

    def _ask_for_draft(self, item: Item) -> None:
        """Have an item drafted before everything else, where newer weights can do it better."""
        runner = self._open_runner()
        if runner.engine.wants_draft(item):
            runner.engine.request_drafts([item], urgent=True)
            runner.wake()

    def _ask_for_maps(self, item: Item) -> None:
        """Have the probabilities behind the item on screen computed, before everything but its draft."""
        runner = self._open_runner()
        runner.engine.request_maps(item)
        runner.wake()

    def _on_event(self, event: Event) -> None:
        stopping = self.progress.phase is Phase.STOPPING
        with errors_shown():
            self.progress.take(event, None if self.runner is None else self.runner.engine.drafts)
            if isinstance(event, Predicted):
                if self.annotation is not None and self.corrections is not None:
                    self.corrections.drop_maps(event.item)
                    self.annotation.refresh_draft(event.item)
                self._count_drafts()
            elif isinstance(event, RoundEnded):
                if self.corrections is not None:
                    self.corrections.drop_maps()
                self.states_changed.emit()
                if event.record.status == "complete":  # who stopped a round does not want another at once
                    self._train_if_due()
            elif isinstance(event, FramingFitted):
                show_info(event.message)
            elif isinstance(event, PredictionFailed):
                self._without_draft.setdefault(event.item.id, event)
            elif isinstance(event, Mapped):
                if self.corrections is not None:
                    self.corrections.set_maps(event.item, event.maps)
            elif isinstance(event, RoundFailed | RoundNotSaved | MappingFailed) and not stopping:
                raise SemiGDAError(event.message)

    def _on_counted(self) -> None:
        self._tell_warnings()
        self.states_changed.emit()
        self._train_if_due()

    def _tell_warnings(self) -> None:
        """What the session took note of without stopping, each once."""
        assert self.session is not None
        for warning in self.session.warnings[self._warnings_told :]:
            show_warning(warning)
        self._warnings_told = len(self.session.warnings)

    def _on_failure(self, error: Exception) -> None:
        self.progress.failed()
        show_failure(error)

    def _on_rest(self) -> None:
        if self._without_draft:
            first, *others = self._without_draft.values()
            have = "more image has" if len(others) == 1 else "more images have"
            more = f" ({len(others)} {have} no draft, either.)" if others else ""
            show_warning(f"There is no draft of {first.item.name}: {first.message}{more}")
            self._without_draft.clear()
        if self.runner is not None:
            self.progress.rest(paused=self.runner.engine.round_is_active)


def _begun(session: Session) -> Session:
    """Have a new session begin with a typical image; in the thread that made it."""
    session.current_item = session.typical_item()
    return session
