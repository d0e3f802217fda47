"""Corrections of the mask on screen beyond napari's own tools, its draft's threshold, and what else is shown.

Knows nothing of Qt. Everything that changes the mask is one step of undo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.correction import use_inside
from napari_semigda.inference.predictor import DRAFT_THRESHOLD, DraftMaps
from napari_semigda.session.items import Item
from napari_semigda.widgets.annotation import Annotation, Mask

if TYPE_CHECKING:
    from napari_semigda.widgets.canvas.layers import NapariCanvas

Region = NDArray[np.bool_]


class Corrections:
    """Corrects the mask on screen, and shows drafts of other thresholds and uncertainty."""

    changed = Signal()
    maps_wanted = Signal(Item)

    def __init__(self, annotation: Annotation, canvas: NapariCanvas) -> None:
        self._annotation = annotation
        self._canvas = canvas
        self.shows_uncertainty = False
        self._begin(None)
        annotation.shown.connect(self._begin)
        annotation.changed.connect(self._on_changed)
        canvas.stepped.connect(self.find_threshold)

    def _begin(self, item: Item | None) -> None:
        """Forget the item that was on screen before."""
        self._item = item
        self._maps: DraftMaps | None = None
        self._before: Mask | None = None  # the mask before the threshold changed
        self._painted: Region | None = None  # where that mask is no draft
        self._waiting = self._dragging = self.shows_draft = False
        self.threshold, self._tried = DRAFT_THRESHOLD, {DRAFT_THRESHOLD}
        if self.shows_uncertainty and item is not None:
            self.maps_wanted.emit(item)
        self.changed.emit()

    def _on_changed(self) -> None:
        if self._item is not None and not self._annotation.visible:
            self._begin(None)

    def use_draft_inside(self, mask: Mask, region: Region) -> Mask:
        """Return a mask with the newest draft inside a region."""
        if self._annotation.draft is None:
            raise SemiGDAError("There is no draft of this image yet: train a round first.")
        return use_inside(mask, self._annotation.draft, region)

    def apply(self, correct: Callable[[Mask], Mask]) -> int:
        """Correct the mask on screen; return how many pixels changed."""
        self._canvas.commit_preview()
        mask = self._canvas.mask()
        if mask is None:
            return 0
        corrected = correct(mask)
        changed = int((corrected != mask).sum())
        if changed:
            self._canvas.edit_mask(corrected)
            self._annotation.changed.emit()
        return changed

    # The draft's threshold ---------------------------------------------------------------------

    def set_threshold(self, threshold: float, *, more_follow: bool = False) -> None:
        """Show the draft of another threshold, and keep what the user painted."""
        if self._item is None:
            return
        self.threshold, self._dragging = threshold, more_follow
        self._waiting = True
        if self._maps is None:
            self.maps_wanted.emit(self._item)
        else:
            self._show_threshold(self._maps)

    def commit_threshold(self) -> None:
        """Make one step of undo of the changes of threshold since the last."""
        self._dragging = False
        if self._before is not None:
            self._tried.add(self.threshold)
            self._before = self._painted = None
            self._canvas.commit_preview()
            self._annotation.changed.emit()

    def set_maps(self, item: Item, maps: DraftMaps) -> None:
        """Use these maps, if their item is still on screen."""
        if self._item is None or item.id != self._item.id or self._annotation.item != self._item:
            return
        self._maps = maps
        if self.shows_uncertainty:
            self._canvas.show_uncertainty(maps.uncertainty)
        if self._waiting:
            self._show_threshold(maps)

    def drop_maps(self, item: Item | None = None) -> None:
        """Forget the maps of an item, or of any: there is a newer draft, or there are newer weights."""
        if self._item is not None and (item is None or item.id == self._item.id):
            self.commit_threshold()
            self._maps = None
            if self.shows_draft:
                self._canvas.show_draft(self._annotation.draft)
            if self.shows_uncertainty or self._waiting:
                self.maps_wanted.emit(self._item)

    def _show_threshold(self, maps: DraftMaps) -> None:
        mask = self._canvas.mask()
        if mask is None or mask.shape != maps.best.shape:
            return
        if self._before is None or self._painted is None:
            self._before = mask.copy()
            self._painted = self._painted_by_user(self._before, maps)
        self._waiting = False
        self._canvas.preview_mask(np.where(self._painted, self._before, maps.labels(self.threshold)))
        if not self._dragging:
            self.commit_threshold()

    def _painted_by_user(self, mask: Mask, maps: DraftMaps) -> Region:
        """Where the mask differs from the draft it is most like, of all thresholds tried."""
        if self._annotation.shows_untouched_draft:
            return np.zeros(mask.shape, bool)
        drafts = [maps.labels(threshold) for threshold in self._tried]
        if self._annotation.draft is not None:
            drafts.append(self._annotation.draft)
        return min((mask != draft for draft in drafts), key=np.count_nonzero)

    def find_threshold(self) -> None:
        """Find the tried threshold whose draft the mask is most like: undo may have changed it."""
        mask, maps = self._canvas.mask(), self._maps
        if mask is None or maps is None or self._dragging or len(self._tried) < 2:
            return
        tried = sorted(self._tried, key=lambda threshold: threshold != self.threshold)  # it first
        self.threshold = min(tried, key=lambda threshold: np.count_nonzero(mask != maps.labels(threshold)))
        self.changed.emit()

    # What is shown -----------------------------------------------------------------------------

    def toggle_draft(self) -> None:
        """Show the newest draft in place of the mask, or the mask again."""
        draft = self._annotation.draft
        self.shows_draft = not self.shows_draft and draft is not None
        self._canvas.show_draft(draft if self.shows_draft else None)
        self.changed.emit()

    def toggle_uncertainty(self) -> None:
        """Show or hide where the network is uncertain."""
        self.shows_uncertainty = not self.shows_uncertainty
        if not self.shows_uncertainty:
            self._canvas.show_uncertainty(None)
        elif self._maps is not None:
            self._canvas.show_uncertainty(self._maps.uncertainty)
        elif self._item is not None:
            self.maps_wanted.emit(self._item)
        self.changed.emit()
