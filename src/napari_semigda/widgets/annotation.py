"""The image being annotated: which one it is, whose mask is on screen, and where to go next.

Knows nothing of Qt and napari; what it needs of a screen is the small `Canvas` below.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal, SignalInstance

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.bands import LargePicture
from napari_semigda.io.pictures import Picture
from napari_semigda.session.items import Item, ItemState
from napari_semigda.session.prefetch import Prefetch
from napari_semigda.session.ranking import DEFAULT_ORDER, Order
from napari_semigda.session.session import Session

SEEN_AFTER = 0.3  # seconds; a mask that is accepted sooner after it appeared was not looked at


class Canvas(Protocol):
    """A screen that shows one picture with one label map over it, and lets a person paint.

    Masks are label maps of shape (H, W), uint8, in the picture's own pixels.
    """

    @property
    def painted(self) -> SignalInstance:
        """Emitted when the person has changed the mask (a stroke, a fill, undo, redo)."""
        ...

    @property
    def mask_removed(self) -> SignalInstance:
        """Emitted when the person took the mask off the screen; `mask` still gives it while this runs."""
        ...

    def show(self, picture: Picture | LargePicture, mask: NDArray[np.uint8], name: str) -> None:
        """Show a picture and its mask in place of what was there; undo starts anew."""
        ...

    def replace_mask(self, mask: NDArray[np.uint8]) -> None:
        """Show another mask of the same picture; undo starts anew."""
        ...

    def edit_mask(self, mask: NDArray[np.uint8]) -> None:
        """Change the mask as one step of the person's own, which undo takes back."""
        ...

    def mask(self) -> NDArray[np.uint8] | None:
        """The mask as it stands, or None where there is none on the screen."""
        ...

    def uncover_mask(self) -> bool:
        """Make the mask visible where the person has hidden it or classes in it; False where it was."""
        ...

    def drawn_elsewhere(self) -> str | None:
        """Name of what the person drew in, since the image is shown, besides the mask; None without."""
        ...

    def take_from_elsewhere(self) -> NDArray[np.uint8] | None:
        """The mask with what was drawn there, which is not asked about again; None without."""
        ...

    def ignore_elsewhere(self) -> None:
        """Ask no more about what was drawn besides the mask so far."""
        ...

    def clear(self) -> None:
        """Take picture and mask off the screen."""
        ...


class Annotation:
    """One session's annotating: show an item, keep what was painted, accept, skip, go on.

    Parameters
    ----------
    session : Session
        The open session.
    canvas : Canvas
        Where pictures are shown and masks painted.

    Attributes
    ----------
    item : Item or None
        The item on screen.
    strategy : Order
        By what the queue chooses what to look at next.
    prefetch : Prefetch
        Knows what comes next, where somebody let it look.
    accepts_empty : callable
        Tells whether an empty mask that nobody painted on is accepted like any other.
    failure : str or None
        Why the item on screen cannot be shown.
    changed : Signal
        Emitted when anything about the item on screen is different from before: which one it is, its state,
        whether it was painted on, whether a newer draft waits.
    states_changed : Signal
        Emitted when an item's state changed, so that counts and queue have to be read again.
    shown : Signal
        Emitted with an item when it has come onto the screen.
    """

    changed = Signal()
    shown = Signal(Item)
    states_changed = Signal()

    def __init__(self, session: Session, canvas: Canvas) -> None:
        self.session = session
        self.item: Item | None = None
        self.strategy: Order = DEFAULT_ORDER
        self.newer_draft = False
        self.prefetch = Prefetch(session)
        self.accepts_empty: Callable[[], bool] = lambda: False
        self.failure: str | None = None
        self._canvas = canvas
        self._saved: NDArray[np.uint8] | None = None
        self._shown: NDArray[np.uint8] | None = None
        self._shown_at = 0.0
        self._refusal: str | None = None
        self._drafted = False
        self._shown_before: list[str] = []
        canvas.painted.connect(self.changed.emit)
        canvas.mask_removed.connect(self._on_mask_removed)

    # What is on screen -------------------------------------------------------------------------

    @property
    def state(self) -> ItemState | None:
        """State of the item on screen, as the session has it."""
        return None if self.item is None else self.session.state(self.item)

    @property
    def visible(self) -> bool:
        """Whether a mask is on the screen (the person may have deleted its layer)."""
        return self._canvas.mask() is not None

    @property
    def touched(self) -> bool:
        """Whether the mask on screen differs from the one last saved or shown."""
        mask = self._canvas.mask()
        return mask is not None and self._saved is not None and not np.array_equal(mask, self._saved)

    @property
    def just_shown(self) -> bool:
        """Whether the mask appeared only now, and nobody can have looked at it or painted on it."""
        return time.monotonic() - self._shown_at < SEEN_AFTER and not self.touched

    @property
    def missing(self) -> bool:
        """Whether the file of the image on screen is not where it was."""
        return self.item is not None and not os.path.exists(self.session.picture_path(self.item))

    @property
    def drawn_elsewhere(self) -> str | None:
        """Name of the layer in which the person drew what may belong into the mask; None without.

        Only where accepting would save an empty mask, or one that is still as it appeared.
        """
        mask = self._canvas.mask()
        if mask is None or self._shown is None or (mask.any() and not np.array_equal(mask, self._shown)):
            return None
        return self._canvas.drawn_elsewhere()

    @property
    def why_unsaved(self) -> str | None:
        """Why what is painted could not be saved when that was tried last; None where nothing waits."""
        return self._refusal if self.touched else None

    @property
    def draft(self) -> NDArray[np.uint8] | None:
        """The newest draft of the item on screen; None where there is none."""
        return None if self.item is None else self.session.prediction(self.item)

    @property
    def shows_untouched_draft(self) -> bool:
        """Whether the mask on screen is a draft nobody has painted on."""
        return self._drafted and not self.touched

    @property
    def position(self) -> int:
        """Place of the item on screen in the session's list, from 0; -1 when there is none."""
        return -1 if self.item is None else self.session.items.index(self.item)

    def show(self, item: Item) -> None:
        """Show an item with the mask to start from, keeping what was painted on the one before.

        Raises
        ------
        SemiGDAError
            If the picture or a mask of it cannot be read. The item is then the current one all the same, with
            nothing on the screen, so that one can go on to the next or skip it.
        """
        self.keep()
        if self.item is not None and self.item.id != item.id:
            self._shown_before.append(self.item.id)
        self.item, self._saved, self._shown, self._refusal = item, None, None, None
        self.failure, self.newer_draft = None, False
        try:
            picture = self.prefetch.picture(item)
            mask = self._starting_mask(item)
            self._canvas.show(picture, mask, item.name)
            self._saved = self._shown = mask.copy()
            self._remember(item)
            self.shown.emit(item)
        except Exception as error:  # of whatever kind: the mask before must not stay under this name
            self.failure = self._why_not_shown(item, error)
            self._saved = self._shown = None
            self._canvas.clear()
            if self.missing:
                raise SemiGDAError(self.failure) from error
            raise
        finally:
            self._shown_at = time.monotonic()
            self.changed.emit()

    def close(self) -> None:
        """Keep what was painted, and listen to the canvas no longer."""
        try:
            self.keep()
        finally:
            self._canvas.painted.disconnect(self.changed.emit)
            self._canvas.mask_removed.disconnect(self._on_mask_removed)

    # What becomes of the mask ------------------------------------------------------------------

    def keep(self) -> None:
        """Put a mask that was changed but not accepted into the session as an edit.

        Raises
        ------
        SemiGDAError
            If it cannot be written. The mask stays on the screen.
        """
        mask = self._canvas.mask()
        if self.item is None or mask is None or not self.touched:
            return
        with self._saving():
            if np.array_equal(mask, self._untouched_mask(self.item)):
                self.session.discard_edit(self.item)
                self._drafted = self.session.labels(self.item) is None
            else:
                self.session.keep_edit(self.item, mask)
                self._drafted = False
        self._saved = mask.copy()
        self.states_changed.emit()

    def accept(self, *, no_object: bool = False) -> None:
        """Accept the mask on screen as it stands.

        Parameters
        ----------
        no_object
            Whether the person says that the image has no object: only then is an empty mask accepted that
            nobody painted on, and no other is.

        Raises
        ------
        SemiGDAError
            If no mask is on the screen or it is hidden, if it is empty and nobody painted on it, if something
            was drawn in another layer, or if the session refuses it (a label that is no class) or cannot
            write it. The mask stays on the screen.
        """
        mask = self._canvas.mask()
        if self.item is None or mask is None or self._saved is None:
            why_not = self.failure or "There is no mask on the screen to accept. Show an image first."
            raise SemiGDAError(why_not)
        self._check_seen(self.item, mask, no_object)
        with self._saving():
            self.session.accept(self.item, mask)
        self._saved = self._shown = mask.copy()
        self._drafted, self.newer_draft = False, False
        self.states_changed.emit()
        self.changed.emit()

    def _check_seen(self, item: Item, mask: NDArray[np.uint8], no_object: bool) -> None:
        """Refuse to accept what the person did not see, or can hardly mean."""
        if self._canvas.uncover_mask():
            raise SemiGDAError(
                f"The mask of {item.name}, or a class in it, was hidden. It is visible again: check it, then "
                "accept it."
            )
        if layer := self.drawn_elsewhere:
            self.changed.emit()  # has the buttons offered
            raise SemiGDAError(
                f"You drew in the layer “{layer}”, not in the mask of {item.name}. Choose Use layer or "
                "Ignore layer under Mask, then accept."
            )
        if mask.any():
            if no_object:
                raise SemiGDAError(
                    f"The mask of {item.name} is not empty. Clear it, then choose No object here."
                )
        elif not (no_object or self.accepts_empty() or self._says_something(item)):
            raise SemiGDAError(
                f"Nothing is painted on {item.name}, so its mask was not accepted. If there is no object in "
                "it, choose No object here."
            )

    def _says_something(self, item: Item) -> bool:
        """Whether an empty mask is one that a person made so: of a draft, or of an accepted mask."""
        return self.session.state(item) is ItemState.ACCEPTED or bool(self._draft(item).any())

    def accept_and_next(self, *, no_object: bool = False) -> bool:
        """Accept the mask on screen and show the next item to look at; False when none is left."""
        self.accept(no_object=no_object)
        return self.show_next()

    def undo_accept(self) -> None:
        """Undo the last accept, whatever was shown since, and show its image as it was before.

        Raises
        ------
        SemiGDAError
            If there is none, or it cannot be undone; the mask stays accepted.
        """
        self.keep()
        item = self.session.undo_accept()
        self.states_changed.emit()
        self.show(item)

    def use_layer(self) -> None:
        """Take what was drawn in another layer into the mask, as a step undo takes back."""
        taken = self._canvas.take_from_elsewhere()
        if taken is not None:
            self._canvas.edit_mask(taken)
            self._shown = taken  # there may be another such layer
            self.changed.emit()

    def ignore_layer(self) -> None:
        """Leave what was drawn in another layer where it is."""
        self._canvas.ignore_elsewhere()
        self.changed.emit()

    def reset_to_draft(self) -> None:
        """Change the mask into the newest draft (empty where there is none), as a step undo takes back."""
        if self.item is not None and self.visible:
            self._canvas.edit_mask(self._newest_draft(self.item))
            self.newer_draft = False
            self.changed.emit()

    def reset_to_accepted(self) -> None:
        """Change the mask back into the accepted one, as a step undo takes back."""
        accepted = None if self.item is None else self.session.labels(self.item)
        if accepted is not None and self.visible:
            self._canvas.edit_mask(accepted)
            self.changed.emit()

    def clear_mask(self) -> None:
        """Empty the mask, as a step undo takes back."""
        mask = self._canvas.mask()
        if mask is not None:
            self._canvas.edit_mask(np.zeros_like(mask))
            self.changed.emit()

    def refresh_draft(self, item: Item) -> None:
        """Take note that the session has a newer draft of an item.

        The mask on screen follows only where it is still the draft it began as; what a person painted, kept
        or accepted stays, and `newer_draft` says that there is something to look at.
        """
        if self.item is None or item.id != self.item.id or not self.visible:
            return
        if self._drafted and not self.touched:
            draft = self._newest_draft(self.item)
            self._canvas.replace_mask(draft)
            self._saved = self._shown = draft.copy()
            self._shown_at = time.monotonic()
        else:
            self.newer_draft = True
        self.changed.emit()

    # Where to go -------------------------------------------------------------------------------

    def go(self, step: int) -> None:
        """Show the item so many places further in the list (negative: back); nothing at either end."""
        place = self.position + step
        if self.item is not None and 0 <= place < len(self.session.items):
            self.show(self.session.items[place])

    @property
    def can_go_back(self) -> bool:
        """Whether another image was on the screen before this one."""
        return bool(self._shown_before)

    def go_back(self) -> None:
        """Show the item that was on the screen before this one, and so on to the first; nothing before that.

        Raises
        ------
        SemiGDAError
            As `show` does.
        """
        if not self._shown_before:
            return
        self.keep()  # what cannot be kept stays on the screen, and the way back as it is
        before = self.session.item(self._shown_before.pop())
        way_back = list(self._shown_before)
        try:
            self.show(before)
        finally:
            self._shown_before = way_back  # the one just left is not a step back
            self.changed.emit()

    def show_next(self) -> bool:
        """Show the item the session asks to look at next; False when there is none."""
        item = self.prefetch.next_item(self.item, self.strategy)
        if item is None:
            self.changed.emit()
            return False
        self.show(item)
        return True

    def skip(self) -> bool:
        """Leave the item on screen out of the work and go on; False when nothing is left."""
        if self.item is None:
            return False
        self.keep()
        self.session.skip(self.item)
        self.states_changed.emit()
        return self.show_next()

    def unskip(self) -> None:
        """Take the item on screen back into the work."""
        if self.item is not None:
            self.session.unskip(self.item)
            self.states_changed.emit()
            self.changed.emit()

    # -------------------------------------------------------------------------------------------

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """Tell, while the mask stays as it is, that it could not be saved."""
        self._refusal = None
        try:
            yield
        except SemiGDAError as error:
            self._refusal = str(error)
            self.changed.emit()
            raise

    def _why_not_shown(self, item: Item, error: Exception) -> str:
        if self.missing:
            return (
                f"The image file “{self.session.picture_path(item)}” is missing. Its mask is kept. Choose "
                "Find moved images… if the file is somewhere else now."
            )
        return str(error) if isinstance(error, SemiGDAError) else f"{item.name} could not be shown: {error}"

    def _remember(self, item: Item) -> None:
        with suppress(SemiGDAError):  # only where to begin tomorrow: no reason to stop
            self.session.current_item = item

    def _starting_mask(self, item: Item) -> NDArray[np.uint8]:
        """What a person last left here, or else the draft."""
        accepted = self.session.state(item) is ItemState.ACCEPTED
        self._drafted = not accepted and self.session.edit(item) is None
        return self.session.starting_mask(item)

    def _untouched_mask(self, item: Item) -> NDArray[np.uint8]:
        """What would be shown if nobody had painted: the accepted mask, or the draft."""
        accepted = self.session.labels(item)
        return self._draft(item) if accepted is None else accepted

    def _newest_draft(self, item: Item) -> NDArray[np.uint8]:
        """The newest draft, for the annotator to see: it is what the accepted mask will be compared with."""
        draft = self.session.see_draft(item)
        return np.zeros(item.shape, np.uint8) if draft is None else draft

    def _draft(self, item: Item) -> NDArray[np.uint8]:
        prediction = self.session.prediction(item)
        return np.zeros(item.shape, np.uint8) if prediction is None else prediction

    def _on_mask_removed(self) -> None:
        self.keep()
        self.changed.emit()
