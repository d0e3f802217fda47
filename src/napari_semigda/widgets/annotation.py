"""The image being annotated: its mask on screen, and what was painted on it.

Knows nothing of Qt; of napari it knows what `NapariCanvas` offers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_semigda.errors import SemiGDAError
from napari_semigda.session.items import Item, ItemState
from napari_semigda.session.prefetch import Prefetch
from napari_semigda.session.session import Session

if TYPE_CHECKING:
    from napari_semigda.widgets.canvas.layers import NapariCanvas

SEEN_AFTER = 0.3  # seconds; a mask accepted sooner after it appeared cannot have been reviewed

Mask = NDArray[np.uint8]


class Annotation:
    """Shows one image of a session with its mask, saves what is painted, and accepts the mask.

    Masks are label maps of shape (H, W), uint8, in the image's own pixels. `accepts_empty` returns whether
    an empty mask that nobody painted on may be accepted like any other.
    """

    changed = Signal()  # anything about the item on screen
    states_changed = Signal()  # of an item, so that counts and queue are out of date
    shown = Signal(Item)
    left = Signal(Item)  # the one that was on screen before

    def __init__(
        self, session: Session, canvas: NapariCanvas, accepts_empty: Callable[[], bool] = lambda: False
    ) -> None:
        self.session = session
        self.item: Item | None = None
        self.newer_draft = False  # whether there is one than the mask on screen began as
        self.prefetch = Prefetch(session)
        self.failure: str | None = None  # why the item cannot be shown
        self._canvas = canvas
        self._accepts_empty = accepts_empty
        self._saved: Mask | None = None  # the mask on screen as it was last saved, or shown
        self._shown: Mask | None = None  # as it appeared, or was accepted
        self._shown_at = 0.0
        self._is_draft = False  # what was shown is the draft, which nobody had painted on
        self._refusal: str | None = None
        canvas.painted.connect(self.changed.emit)
        canvas.mask_removed.connect(self._on_mask_removed)

    def close(self) -> None:
        """Save what was painted, and disconnect from the canvas."""
        try:
            self.keep()
        finally:
            self._canvas.painted.disconnect(self.changed.emit)
            self._canvas.mask_removed.disconnect(self._on_mask_removed)

    # What is on screen -------------------------------------------------------------------------

    @property
    def state(self) -> ItemState | None:
        return None if self.item is None else self.session.state(self.item)

    @property
    def position(self) -> int:
        """Index of the item on screen in the session's list; -1 without."""
        return -1 if self.item is None else self.session.index(self.item)

    @property
    def visible(self) -> bool:
        """Whether a mask is on screen; the user may have deleted its layer."""
        return self._canvas.mask() is not None

    @property
    def touched(self) -> bool:
        """Whether the mask on screen differs from the one last saved or shown."""
        mask = self._canvas.mask()
        return mask is not None and self._saved is not None and not np.array_equal(mask, self._saved)

    @property
    def just_shown(self) -> bool:
        """Whether the mask appeared too recently to have been reviewed."""
        return time.monotonic() - self._shown_at < SEEN_AFTER and not self.touched

    @property
    def missing(self) -> bool:
        """Whether the image file is missing."""
        return self.item is not None and not os.path.exists(self.session.images.path(self.item))

    @property
    def draft(self) -> Mask | None:
        """The newest draft of the item on screen."""
        return None if self.item is None else self.session.prediction(self.item)

    @property
    def shows_untouched_draft(self) -> bool:
        """Whether the mask on screen is a draft nobody has painted on."""
        return self._is_draft and not self.touched

    @property
    def drawn_elsewhere(self) -> str | None:
        """Name of another layer in which the user drew what may belong in the mask.

        Only while accepting would save an empty mask, or one that is still as it appeared.
        """
        mask = self._canvas.mask()
        if mask is None or self._shown is None or (mask.any() and not np.array_equal(mask, self._shown)):
            return None
        layer = self._canvas.elsewhere.find()
        return None if layer is None else str(layer.name)

    @property
    def why_unsaved(self) -> str | None:
        """Why saving what is painted failed; None if nothing is unsaved."""
        return self._refusal if self.touched else None

    def show(self, item: Item) -> None:
        """Show an item with its mask, after saving what was painted on the one before."""
        self.keep()
        if self.item is not None and self.item.id != item.id:
            self.left.emit(self.item)
        self.item, self._saved, self._shown, self._refusal = item, None, None, None
        self.failure, self.newer_draft = None, False
        try:
            picture = self.prefetch.picture(item)
            self._is_draft = self.state is not ItemState.ACCEPTED and self.session.labels.edit(item) is None
            mask = self.session.labels.starting_mask(item)
            self._canvas.show(picture, mask, item.name)
            self._saved = self._shown = mask.copy()
            with suppress(SemiGDAError):  # it is only where to start tomorrow
                self.session.current_item = item
            self.shown.emit(item)
        except Exception as error:  # of any kind: the mask before must not stay under this name
            self.failure = self._why_not_shown(item, error)
            self._saved = self._shown = None
            self._canvas.clear()
            if self.missing:
                raise SemiGDAError(self.failure) from error
            raise
        finally:
            self._shown_at = time.monotonic()
            self.changed.emit()

    def _why_not_shown(self, item: Item, error: Exception) -> str:
        if self.missing:
            return (
                f"The image file “{self.session.images.path(item)}” is missing. Its mask is kept. Choose "
                "Find moved images… if the file was moved."
            )
        return str(error) if isinstance(error, SemiGDAError) else f"{item.name} could not be shown: {error}"

    # Saving and accepting ----------------------------------------------------------------------

    def keep(self) -> None:
        """Save a mask that was changed but not accepted, as an edit."""
        mask = self._canvas.mask()
        if self.item is None or mask is None or not self.touched:
            return
        with self._saving():
            accepted = self.session.labels.get(self.item)
            if np.array_equal(mask, _or_empty(self.draft, self.item) if accepted is None else accepted):
                self.session.labels.discard_edit(self.item)
                self._is_draft = accepted is None
            else:
                self.session.labels.keep_edit(self.item, mask)
                self._is_draft = False
        self._saved = mask.copy()
        self.states_changed.emit()

    def accept(self, *, no_object: bool = False) -> None:
        """Accept the mask on screen."""
        mask = self._canvas.mask()
        if self.item is None or mask is None or self._saved is None:
            raise SemiGDAError(self.failure or "There is no mask on screen to accept. Show an image first.")
        self._check_seen(self.item, mask, no_object)
        with self._saving():
            self.session.accept(self.item, mask)
        self._saved = self._shown = mask.copy()
        self._is_draft, self.newer_draft = False, False
        self.states_changed.emit()
        self.changed.emit()

    def _check_seen(self, item: Item, mask: Mask, no_object: bool) -> None:
        """Refuse to accept what the user did not see, or can hardly mean."""
        if self._canvas.uncover_mask():
            raise SemiGDAError(
                f"The mask of {item.name}, or a class in it, was hidden. It is visible again: check it, then "
                "accept it."
            )
        if layer := self.drawn_elsewhere:
            self.changed.emit()  # makes the buttons appear
            raise SemiGDAError(
                f"You drew in the layer “{layer}”, not in the mask of {item.name}. Choose Use layer or "
                "Ignore layer under Mask, then accept."
            )
        if no_object and mask.any():
            raise SemiGDAError(f"The mask of {item.name} is not empty. Clear it, then choose No object here.")
        if not (no_object or mask.any() or self._accepts_empty() or self._was_emptied(item)):
            raise SemiGDAError(
                f"Nothing is painted on {item.name}, so its mask was not accepted. If there is no object in "
                "it, choose No object here."
            )

    def _was_emptied(self, item: Item) -> bool:
        """Whether the user made an empty mask of a draft, or of an accepted mask."""
        return self.state is ItemState.ACCEPTED or bool(_or_empty(self.draft, item).any())

    def undo_accept(self) -> None:
        """Undo the last accept, and show its image as it was before."""
        self.keep()
        item = self.session.labels.undo_accept()
        self.states_changed.emit()
        self.show(item)

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """Remember why saving failed."""
        self._refusal = None
        try:
            yield
        except SemiGDAError as error:
            self._refusal = str(error)
            self.changed.emit()
            raise

    # Changing the mask, each a step of undo ----------------------------------------------------

    def use_layer(self) -> None:
        """Add what was drawn in another layer to the mask."""
        combined = self._canvas.take_from_elsewhere()
        if combined is not None:
            self._canvas.edit_mask(combined)
            self._shown = combined  # there may be another such layer
            self.changed.emit()

    def ignore_layer(self) -> None:
        """Leave what was drawn in another layer out of the mask."""
        self._canvas.elsewhere.ignore()
        self.changed.emit()

    def reset_to_draft(self) -> None:
        """Replace the mask by the newest draft; empty without one."""
        if self.item is not None and self.visible:
            draft = self._see_draft(self.item)
            self.newer_draft = False
            self._edit(draft)

    def reset_to_accepted(self) -> None:
        accepted = None if self.item is None else self.session.labels.get(self.item)
        if accepted is not None and self.visible:
            self._edit(accepted)

    def clear_mask(self) -> None:
        mask = self._canvas.mask()
        if mask is not None:
            self._edit(np.zeros_like(mask))

    def _edit(self, mask: Mask) -> None:
        self._canvas.edit_mask(mask)
        self.changed.emit()

    def refresh_draft(self, item: Item) -> None:
        """Show a newer draft of an item, if it is on screen and its mask still is the draft before.

        A mask that was painted on, saved or accepted stays; `newer_draft` then says that there is a newer
        draft.
        """
        if self.item is None or item.id != self.item.id or not self.visible:
            return
        if self.shows_untouched_draft:
            draft = self._see_draft(self.item)
            self._canvas.replace_mask(draft)
            self._saved = self._shown = draft.copy()
            self._shown_at = time.monotonic()
        else:
            self.newer_draft = True
        self.changed.emit()

    def _see_draft(self, item: Item) -> Mask:
        """The newest draft, to be shown: it is what the accepted mask will be compared with."""
        return _or_empty(self.session.drafts.see(item), item)

    def _on_mask_removed(self) -> None:
        self.keep()
        self.changed.emit()


def _or_empty(mask: Mask | None, item: Item) -> Mask:
    return np.zeros(item.shape, np.uint8) if mask is None else mask
