"""The open session and everything that works on it; the panels show parts of this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from napari.utils.notifications import show_info, show_warning
from psygnal import Signal

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.pictures import MANIFEST_NAME
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.model.device import choose_device
from napari_semigda.session.items import Item
from napari_semigda.session.mask_changes import ChangedMask
from napari_semigda.session.relocation import Relocation
from napari_semigda.session.session import Session
from napari_semigda.widgets.annotation import Annotation
from napari_semigda.widgets.background import run_in_background
from napari_semigda.widgets.canvas.layers import NapariCanvas
from napari_semigda.widgets.corrections import Corrections
from napari_semigda.widgets.navigation import Navigation
from napari_semigda.widgets.panels.parts import errors_shown, show_failure
from napari_semigda.widgets.panels.round_progress import RoundProgress
from napari_semigda.widgets.panels.session_plan import LayerSource
from napari_semigda.widgets.preferences import accepts_empty, chosen_device, use_cache_folder
from napari_semigda.widgets.runner import EngineRunner
from napari_semigda.widgets.training import Training

NO_SESSION = "Open a session first."
TYPICAL_WITHIN = 0.1  # seconds for which the window may wait when a session is opened the first time
SKIPPED_SHOWN = 3  # sentences on files that became no image

T = TypeVar("T")


class Controller:
    """Opens, creates and closes sessions, and changes the classes of the open one.

    Its parts (`session`, `annotation`, `navigation`, `corrections`, `runner`) are None without a session.
    """

    opened = Signal()
    closed = Signal()
    creating = Signal()  # `is_creating` changed
    states_changed = Signal()  # of any item
    classes_changed = Signal()  # one was added or removed, or got another color

    def __init__(self, canvas: NapariCanvas, device: str | None = None) -> None:
        self.canvas = canvas
        self.session: Session | None = None
        self.annotation: Annotation | None = None
        self.navigation: Navigation | None = None
        self.corrections: Corrections | None = None
        self.progress = RoundProgress()
        self.is_creating = False  # or adding images, in the background
        self._training: Training | None = None
        self._device = device
        self._warnings_shown = 0
        self.states_changed.connect(self._prefetch)

    @property
    def training(self) -> Training:
        """Rounds and drafts of the open session."""
        if self._training is None:
            raise SemiGDAError(NO_SESSION)
        return self._training

    @property
    def runner(self) -> EngineRunner | None:
        """The engine's thread; None while no session is open."""
        return None if self._training is None else self._training.runner

    @property
    def why_no_change(self) -> str | None:
        """Why nothing can be changed: there is no session, or it is read-only; else None."""
        return NO_SESSION if self.session is None else self.session.read_only

    # Opening and closing -----------------------------------------------------------------------

    def open(self, folder: Path) -> None:
        """Open a session folder in place of the open session."""
        session_folder = (folder.parent if folder.name == MANIFEST_NAME else folder).resolve()
        if self.annotation is not None and self.annotation.session.folder == session_folder:
            self.annotation.keep()
            self.close()  # a session can be written only once
        self.adopt(Session.open(folder))

    def adopt(self, session: Session) -> None:
        """Use an open session from now on, and show its first image."""
        if self.annotation is not None:
            self.annotation.keep()
        self.close()
        use_cache_folder()
        self.session, self._warnings_shown = session, 0
        self.annotation = annotation = Annotation(session, self.canvas, accepts_empty)
        self.navigation = Navigation(annotation)
        self.corrections = Corrections(annotation, self.canvas)
        self._training = Training(
            annotation, self.navigation, self.corrections, self.progress, self._usable_device()
        )
        self._training.states_changed.connect(self.states_changed.emit)
        annotation.states_changed.connect(self._on_states_changed)
        self.canvas.read_only = session.read_only is not None
        self.canvas.show_classes(session.classes)
        self.progress.begin(session)
        self.opened.emit()
        _warn_of_skipped(session)
        with errors_shown():
            self._show_first(session, annotation, self.navigation)
        if session.read_only is not None:
            show_warning(session.read_only)
        self._training.begin()

    def close(self, *, layers_stay: bool = False) -> bool:
        """Save the strokes, stop the engine at its next step, and close the session."""
        if self.session is None or self.annotation is None:
            return True
        kept = False
        with errors_shown():
            self.annotation.close()
            kept = True
        self.training.close()
        self.session.close()
        self.session = self.annotation = self.navigation = self.corrections = self._training = None
        if kept and not layers_stay:
            self.canvas.clear()
        self.progress.reset()
        self.closed.emit()
        return kept

    def _show_first(self, session: Session, annotation: Annotation, navigation: Navigation) -> None:
        """Show the last image on screen; in a new session a typical one; else the next suggested."""
        item = session.current_item
        if item is None and all(state.waits for state in session.states()):
            item = session.typical_item(seconds=TYPICAL_WITHIN)
        if item is not None:
            annotation.show(item)
        elif not navigation.show_next():
            annotation.show(session.items[0])

    def _usable_device(self) -> str:
        """The chosen device, or the fastest one if that is not available."""
        device = self._device or chosen_device()
        try:
            choose_device(device)
        except SemiGDAError as error:
            show_warning(f"{error} The fastest device available is used instead.")
            return "auto"
        return device

    def _prefetch(self) -> None:
        if self._training is not None:
            self._training.prefetch_soon()

    def _on_states_changed(self) -> None:
        assert self.session is not None
        for warning in self.session.warnings[self._warnings_shown :]:
            show_warning(warning)
        self._warnings_shown = len(self.session.warnings)
        self.states_changed.emit()
        self.training.train_if_due()

    # Creating and adding -----------------------------------------------------------------------

    def create(self, function: Callable[..., Session]) -> None:
        """Create a session in the background, then open it; `function` as in `run_in_background`."""

        def create(**watch: Any) -> Session:
            session = function(**watch)
            session.current_item = session.typical_item()
            return session

        self._run(create, self.adopt)

    def add_images(self, images: Sequence[Path]) -> None:
        """Add image files in the background, then open the session again."""
        session = self._open_session()
        self._run(partial(session.add_images, list(images)), lambda _: self._on_added(session))

    def add_layers(self, layers: LayerSource) -> None:
        """Add the planes of image layers in the background, then open the session again."""
        session = self._open_session()
        self._run(
            lambda **watch: session.add_arrays(layers.pictures(), **watch), lambda _: self._on_added(session)
        )

    def find_moved_images(self, folder: Path) -> None:
        """Search a folder for missing images in the background, then open the session again."""
        session = self._open_session()
        self._run(partial(session.images.find_moved, folder), lambda found: self._on_searched(session, found))

    def _run(self, function: Callable[..., T], on_done: Callable[[T], object]) -> None:
        def end(action: Callable[[Any], object], result: Any) -> None:
            self.is_creating = False
            with errors_shown():
                action(result)
            self.creating.emit()

        title = "SemiGDA: reading the images"
        run_in_background(title, function, partial(end, on_done), partial(end, show_failure))
        self.is_creating = True
        self.creating.emit()

    def _on_added(self, session: Session) -> None:
        _warn_of_skipped(session)
        self._open_again(session)
        if self._training is not None:
            self._training.draft_new()

    def _on_searched(self, session: Session, relocation: Relocation) -> None:
        if relocation.missing:
            (first, why), count = relocation.missing[0], len(relocation.missing)
            more = f" {count - 1} more are missing." if count > 1 else ""
            show_warning(f"{first.name} is still missing. {why}{more}")
        show_info(f"{len(relocation.found)} images were found again.")
        self._open_again(session)

    def _open_again(self, session: Session) -> None:
        if self.session is session:
            self.open(session.folder)

    def _open_session(self) -> Session:
        if self.session is None:
            raise SemiGDAError(NO_SESSION)
        return self.session

    # Classes -----------------------------------------------------------------------------------

    def add_class(self, name: str) -> None:
        """Add a class after the others, and paint it."""
        session = self._open_session()
        added = session.classes.add(name)
        self.canvas.show_classes(session.classes)
        self.canvas.selected_label = added.value
        self.classes_changed.emit()

    def rename_class(self, value: int, name: str) -> None:
        session = self._open_session()
        session.classes.rename(value, name)
        self.canvas.show_classes(session.classes)

    def recolor_class(self, value: int, color: str) -> None:
        """Show a class in another color, ``"#rrggbb"``."""
        session = self._open_session()
        session.classes.recolor(value, color)
        self.canvas.show_classes(session.classes)
        self.classes_changed.emit()

    def remove_class(self, value: int, **watch: Any) -> None:
        """Remove a class; its pixels become unlabeled. See `ClassList.remove`."""
        session = self._open_session()
        self._change_masks(session.classes.remove, value, **watch)
        self.classes_changed.emit()

    def unlabel_background(self, value: int, **watch: Any) -> list[ChangedMask]:
        """Make the background of accepted masks unlabeled. See `ClassList.unlabel_background`."""
        return self._change_masks(self._open_session().classes.unlabel_background, value, **watch)

    def restore_masks(self, changed: Sequence[ChangedMask]) -> list[Item]:
        """Restore masks as they were before `unlabel_background`. See `ClassList.restore_masks`."""
        return self._change_masks(self._open_session().classes.restore_masks, changed)

    def _change_masks(self, change: Callable[..., T], *args: Any, **watch: Any) -> T:
        """Change masks on disk, then show the one on screen again."""
        session, annotation = self._open_session(), self.annotation
        assert annotation is not None
        annotation.keep()
        result = change(*args, **watch)
        self.canvas.show_classes(session.classes)
        painting, values = self.canvas.selected_label, [info.value for info in session.classes]
        if annotation.item is not None and annotation.visible:
            annotation.show(annotation.item)
        self.canvas.selected_label = painting if painting in (0, UNKNOWN, *values) else values[0]
        self.states_changed.emit()
        return result


def _warn_of_skipped(session: Session) -> None:
    sentences = [*(why for _, why in session.left_out), *session.notices]
    if sentences:
        more = len(sentences) - SKIPPED_SHOWN
        shown = [*sentences[:SKIPPED_SHOWN], *([f"{more} more were skipped."] if more > 0 else [])]
        show_warning(" ".join(shown))
