"""The label files of a session: which of them this program has seen as they are, and keeping the others."""

from collections import Counter
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import MayNotLast
from napari_semigda.session.folder import SessionFolder
from napari_semigda.session.items import Item
from napari_semigda.session.mask_files import MaskFolder

Stamp = tuple[int, int] | None
"""Changes whenever a file does; None where there is none."""


class LabelFiles:
    """Notices label files that another program changed. Called under the session's lock."""

    def __init__(self, folder: SessionFolder, masks: MaskFolder) -> None:
        self.masks = masks
        self._folder = folder
        self._writes: Counter[str] = Counter()
        self._seen: dict[str, Stamp] = {}

    def stamp(self, item: Item) -> tuple[Stamp, int]:
        """Return what changes whenever the label file of an item does, here or by another program."""
        return self.masks.stamp(item.id), self._writes[item.id]

    def seen(self, item: Item) -> Stamp:
        """Return the stamp of the label file that this program wrote or showed last."""
        return self._seen.get(item.id)

    def write(self, item: Item, mask: NDArray[np.uint8]) -> None:
        """Write a checked mask; raises as `MaskFolder.write`."""
        try:
            self.masks.write(item, mask)
        except MayNotLast:
            self.note_written(item)
            raise
        self.note_written(item)

    def note_written(self, item: Item) -> None:
        """Remember how the label file is that was just written; a disk that fails only now loses nothing."""
        self._writes[item.id] += 1
        self._seen.pop(item.id, None)
        with suppress(SemiGDAError):
            self._seen[item.id] = self.masks.stamp(item.id)

    def show(self, item: Item) -> None:
        """Remember which label file the annotator is shown; warn if it is another than last time."""
        stamp = self.masks.stamp(item.id)
        if stamp is not None and self._seen.get(item.id, stamp) != stamp:
            self._folder.warn(
                f"The accepted mask of {item.name} was changed by another program; please review it."
            )
        self.masks.notice(item.id)
        self._seen[item.id] = stamp

    def keep_unseen(self, item: Item) -> str:
        """Copy a label file that this program has not seen as it is; return a note for the journal."""
        stamp = self.masks.stamp(item.id)
        if stamp is None:
            return ""
        if self._seen.get(item.id, stamp) != stamp:
            what = "was changed by another program while you worked on the image"
        elif not self.masks.holds_mask(item):
            what = "was not a mask of it"
        else:
            return ""
        kept = self.masks.set_aside(item)
        self._folder.warn(f"The label file of {item.name} {what}; it was kept as “{kept}”.")
        return f"the file that was there is kept as {kept.name}"
