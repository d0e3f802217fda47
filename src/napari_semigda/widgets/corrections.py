"""What one can do to the mask on screen beyond napari's own tools, and what one can look at meanwhile.

Knows nothing of Qt and napari. Everything that changes the mask is one step that undo takes back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal, SignalInstance

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.correction import (
    drop_specks,
    fill_holes,
    keep_largest,
    not_looked_at,
    smooth_outlines,
    taken_inside,
)
from napari_semigda.inference.draft_maps import DRAFT_THRESHOLD, DraftMaps
from napari_semigda.session.items import Item
from napari_semigda.widgets.annotation import Annotation, Canvas

LabelMap = NDArray[np.uint8]


class Sight(Canvas, Protocol):
    """A canvas that can show more than picture and mask."""

    @property
    def stepped(self) -> SignalInstance:
        """Emitted after undo and redo."""
        ...

    def preview_mask(self, mask: LabelMap) -> None:
        """Show a mask that may change many times more before it becomes a step of undo."""
        ...

    def commit_preview(self) -> None:
        """Make one step of undo of all that was previewed."""
        ...

    def show_draft(self, draft: LabelMap | None) -> None:
        """Show a draft in place of the mask, which stays as it is; None shows the mask again."""
        ...

    def show_uncertainty(self, uncertainty: NDArray[np.float32] | None) -> None:
        """Lay an uncertainty map (H, W) over the picture; None takes it away."""
        ...


class Corrections:
    """Corrections of the mask on screen, its draft at other thresholds, and where the network is unsure.

    Parameters
    ----------
    annotation : Annotation
        Which item is on screen.
    canvas : Sight
        Where it is shown.

    Attributes
    ----------
    threshold : float
        Foreground is what is more probable than this, in (0, 1).
    shows_draft : bool
        Whether the draft is shown in place of the mask.
    shows_uncertainty : bool
        Whether uncertainty is to be seen, as soon as it is there.
    changed : Signal
        Emitted when one of these is different from before.
    maps_wanted : Signal
        Emitted with the item on screen when the maps behind its draft are needed; hand them to `set_maps`.
    """

    changed = Signal()
    maps_wanted = Signal(Item)

    def __init__(self, annotation: Annotation, canvas: Sight) -> None:
        self.threshold = DRAFT_THRESHOLD
        self.shows_draft = self.shows_uncertainty = False
        self._annotation = annotation
        self._canvas = canvas
        self._item: Item | None = None
        self._maps: DraftMaps | None = None
        self._thresholds = {DRAFT_THRESHOLD}
        self._waits = self._turning = False
        self._begun: LabelMap | None = None
        self._own: NDArray[np.bool_] | None = None
        annotation.shown.connect(self._begin_anew)
        annotation.changed.connect(self._on_changed)
        canvas.stepped.connect(self.find_threshold)

    # Corrections -------------------------------------------------------------------------------

    def fill_holes(self, values: Collection[int] | None = None) -> int:
        """Give holes the class around them; returns how many pixels changed. See `session.correction`."""
        return self._edit(lambda mask: fill_holes(mask, values))

    def remove_small(self, smallest: int | Mapping[int, int]) -> int:
        """Remove pieces that are too small; returns how many pixels changed."""
        return self._edit(lambda mask: drop_specks(mask, smallest))

    def keep_largest(self, values: Collection[int] | None = None) -> int:
        """Keep the largest piece of each class; returns how many pixels changed."""
        return self._edit(lambda mask: keep_largest(mask, values))

    def smooth(self, radius: float, values: Collection[int] | None = None) -> int:
        """Take the roughness out of outlines; returns how many pixels changed."""
        return self._edit(lambda mask: smooth_outlines(mask, radius, values))

    def use_draft_inside(self, region: NDArray[np.bool_]) -> int:
        """Take the newest draft inside a region, leave the rest; returns how many pixels changed."""
        draft = self._annotation.draft
        if draft is None:
            raise SemiGDAError("There is no draft of this image yet: train a round first.")
        return self._edit(lambda mask: taken_inside(mask, draft, region))

    def mark_unlabeled(self, region: NDArray[np.bool_]) -> int:
        """Mark a region so that it trains nothing; returns how many pixels changed."""
        return self._edit(lambda mask: not_looked_at(mask, region))

    def _edit(self, correct: Callable[[LabelMap], LabelMap]) -> int:
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
        """Show the draft of another threshold; what the person painted stays.

        Parameters
        ----------
        threshold
            In (0, 1): the lower, the more foreground.
        more_follow
            Whether more such changes follow that belong to the same step of undo, until `commit_threshold`.
        """
        if self._item is None:
            return
        self.threshold, self._turning = threshold, more_follow
        self._waits = True
        if self._maps is None:
            self.maps_wanted.emit(self._item)
        else:
            self._show_threshold(self._maps)

    def commit_threshold(self) -> None:
        """Make one step of undo of the changes of threshold since the last."""
        self._turning = False
        if self._begun is not None:
            self._thresholds.add(self.threshold)
            self._begun = self._own = None
            self._canvas.commit_preview()
            self._annotation.changed.emit()

    def set_maps(self, item: Item, maps: DraftMaps) -> None:
        """Use these maps of an item, if it is still on screen."""
        if self._item is None or item.id != self._item.id or self._annotation.item != self._item:
            return
        self._maps = maps
        if self.shows_uncertainty:
            self._canvas.show_uncertainty(maps.uncertainty)
        if self._waits:
            self._show_threshold(maps)

    def drop_maps(self, item: Item | None = None) -> None:
        """Take note that the maps are out of date, for there are newer weights, or is a newer draft."""
        if self._item is not None and (item is None or item.id == self._item.id):
            self.commit_threshold()
            self._maps = None
            if self.shows_draft:
                self._canvas.show_draft(self._annotation.draft)
            if self.shows_uncertainty or self._waits:
                self.maps_wanted.emit(self._item)

    def _show_threshold(self, maps: DraftMaps) -> None:
        mask = self._canvas.mask()
        if mask is None or mask.shape != maps.best.shape:
            return
        if self._begun is None or self._own is None:
            self._begun = mask.copy()
            self._own = self._painted_by_person(self._begun, maps)
        self._waits = False
        self._canvas.preview_mask(np.where(self._own, self._begun, maps.labels(self.threshold)))
        if not self._turning:
            self.commit_threshold()

    def _painted_by_person(self, mask: LabelMap, maps: DraftMaps) -> NDArray[np.bool_]:
        """Where the mask is no draft: it differs from the draft, of any threshold used, it is most like."""
        if self._annotation.shows_untouched_draft:
            return np.zeros(mask.shape, bool)
        drafts = [maps.labels(threshold) for threshold in self._thresholds]
        if self._annotation.draft is not None:
            drafts.append(self._annotation.draft)
        return min((mask != draft for draft in drafts), key=np.count_nonzero)

    def find_threshold(self) -> None:
        """Find which of the thresholds tried the mask is of: undo brings back the draft of an earlier one."""
        mask, maps = self._canvas.mask(), self._maps
        if mask is None or maps is None or self._turning or len(self._thresholds) < 2:
            return
        tried = sorted(self._thresholds, key=lambda threshold: threshold != self.threshold)  # it first
        self.threshold = min(tried, key=lambda threshold: np.count_nonzero(mask != maps.labels(threshold)))
        self.changed.emit()

    # What is seen ------------------------------------------------------------------------------

    def toggle_draft(self) -> None:
        """Show the newest draft in place of the mask, or the mask again; the mask itself stays as it is."""
        draft = self._annotation.draft
        self.shows_draft = not self.shows_draft and draft is not None
        self._canvas.show_draft(draft if self.shows_draft else None)
        self.changed.emit()

    def toggle_uncertainty(self) -> None:
        """Show where the network is unsure, or show it no longer."""
        self.shows_uncertainty = not self.shows_uncertainty
        if not self.shows_uncertainty:
            self._canvas.show_uncertainty(None)
        elif self._maps is not None:
            self._canvas.show_uncertainty(self._maps.uncertainty)
        elif self._item is not None:
            self.maps_wanted.emit(self._item)
        self.changed.emit()

    # -------------------------------------------------------------------------------------------

    def _on_changed(self) -> None:
        if self._item is not None and not self._annotation.visible:
            self._begin_anew(None)

    def _begin_anew(self, item: Item | None) -> None:
        """Know nothing of the item that was on screen before."""
        self._item = item
        self._maps = self._begun = self._own = None
        self._waits = self._turning = self.shows_draft = False
        self.threshold, self._thresholds = DRAFT_THRESHOLD, {DRAFT_THRESHOLD}
        if self.shows_uncertainty and item is not None:
            self.maps_wanted.emit(item)
        self.changed.emit()
