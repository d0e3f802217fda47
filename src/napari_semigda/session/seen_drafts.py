"""Which draft the annotator was shown, which a mask was made of even if a newer draft was stored since."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.files import check_own
from napari_semigda.io.masks import read_labels, write_labels
from napari_semigda.session.items import Item

_MARK = ".draft-of-round-"  # no id holds a full stop


@dataclass(frozen=True)
class SeenDraft:
    """The draft that the annotator was shown before painting, and its round; None without one."""

    draft: NDArray[np.uint8] | None = field(default=None, repr=False)
    round: int | None = None


class SeenDrafts:
    """The draft of the item shown last, in memory, and of items with an unfinished edit, beside the edit.

    Called under the session's lock.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._item = ""
        self._seen = SeenDraft()
        self._kept = True

    def see(self, item: Item, draft: NDArray[np.uint8] | None, round_number: int | None) -> None:
        """Remember what the annotator is shown of an item."""
        self._item, self._kept = item.id, False
        self._seen = SeenDraft(draft, round_number)

    def of(self, item: Item, *, edited: bool) -> SeenDraft | None:
        """Return what the annotator was shown; None where no annotator was shown the item."""
        if item.id == self._item:
            return self._seen
        return self._read(item) if edited else None

    def keep(self, item: Item) -> None:
        """Save what was shown, for tomorrow: an edit of the item begins or continues."""
        if item.id != self._item or self._kept:
            return
        self.drop(item)
        if self._seen.draft is not None:
            file = self._folder / f"{item.id}{_MARK}{self._seen.round or 0}.tif"
            with suppress(SemiGDAError):  # the effort will not be known: no reason not to keep the strokes
                write_labels(file, self._seen.draft, item.pixel_size, item.unit, durable=False)
        self._kept = True

    def drop(self, item: Item) -> None:
        """Remove what was written down: the edit is over."""
        for file in self._files(item):
            with suppress(OSError):
                file.unlink()
        if item.id == self._item:
            self._kept = False

    def _read(self, item: Item) -> SeenDraft:
        for file in self._files(item):
            number = file.stem.removeprefix(f"{item.id}{_MARK}")
            with suppress(SemiGDAError):
                check_own(file, self._folder.parent)
                draft = read_labels(file).astype(np.uint8)
                return SeenDraft(draft, int(number) if number.isdecimal() else None)
        return SeenDraft()

    def _files(self, item: Item) -> list[Path]:
        with suppress(OSError):
            return sorted(self._folder.glob(f"{item.id}{_MARK}*.tif"))
        return []
