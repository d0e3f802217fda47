"""All items of a session in a table: how far each is, its score and its effort; in any order, or in part."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_semigda.io.pictures import SUFFIXES
from napari_semigda.session.drafts import DraftStore
from napari_semigda.session.items import Item, Status, file_stem, folded
from napari_semigda.session.labels import LabelStore

Key = Literal["index", "status", "score", "effort"]  # what the table can be sorted by
Indices = NDArray[np.intp]  # of items in the session's list, from 0
STATUSES = tuple(Status)


class Overview:
    """The table of a session's items, which knows what changed since it was refreshed last.

    Making it reads something of every item that has a draft: of many thousand items that takes a second or
    two, and should not be done by the thread that people wait for. After that it costs what has changed.

    `items`, `titles` and `statuses` are in the order of the list; titles are names as a narrow column shows
    them. `scores` and `efforts` are (N,) float32: acquisition score, and share of the draft's pixels that the
    annotator changed; NaN where there is none.
    """

    def __init__(
        self,
        items: Sequence[Item],
        drafts: DraftStore,
        labels: LabelStore,
        status: Callable[[Item], Status],
        changes: Callable[[int], tuple[set[str], int]],
    ) -> None:
        self._drafts, self._labels, self._status, self._changes = drafts, labels, status, changes
        _, self._seen = changes(0)
        self.items = tuple(items)
        self._indices = {item.id: index for index, item in enumerate(self.items)}
        self.titles = short_names([item.name for item in self.items])
        self._folded = [item.name.casefold() for item in self.items]
        self.statuses = [Status.UNLABELED] * len(self.items)
        self.scores, self.efforts = (np.full(len(self.items), np.nan, np.float32) for _ in range(2))
        for index in range(len(self.items)):
            self._read(index)

    def index(self, item_id: str) -> int:
        """Return an item's index in the list."""
        return self._indices[item_id]

    def refresh(self) -> list[int]:
        """Read again what changed since the last time, and return the indices of these items."""
        ids, self._seen = self._changes(self._seen)
        changed = sorted(self._indices[item_id] for item_id in ids)
        for index in changed:
            self._read(index)
        return changed

    def arranged(
        self,
        key: Key = "index",
        *,
        descending: bool = False,
        text: str = "",
        statuses: Collection[Status] = STATUSES,
    ) -> Indices:
        """Return the indices of the items with this text in their names and one of these statuses, in order.

        Items without a score or an effort come last either way; equal ones in the order of the list.
        """
        values: NDArray[Any] = np.arange(len(self.items))
        if key == "status":
            values = np.array([STATUSES.index(status) for status in self.statuses])
        elif key != "index":
            values = self.scores if key == "score" else self.efforts
        order = np.argsort(-values if descending else values, kind="stable")
        text = text.strip().casefold()
        if text or len(set(statuses)) < len(STATUSES):
            wanted = [
                status in statuses and text in name
                for status, name in zip(self.statuses, self._folded, strict=True)
            ]
            order = order[np.array(wanted, bool)[order]]
        return order

    def _read(self, index: int) -> None:
        item = self.items[index]
        info, effort = self._drafts.info(item), self._labels.effort(item)
        self.statuses[index] = self._status(item)
        self.scores[index] = np.nan if info is None else info.score
        self.efforts[index] = np.nan if effort is None else effort


def short_names(names: Sequence[str]) -> list[str]:
    """Leave out the endings of image files, where names stay different.

    >>> short_names(["scan 7.png", "stack.tif · z 3", "a.png", "a.tif"])
    ['scan 7', 'stack · z 3', 'a.png', 'a.tif']
    """
    short = [_without_ending(name) for name in names]
    count = Counter(map(folded, short))
    return [full if count[folded(name)] > 1 else name for full, name in zip(names, short, strict=True)]


def _without_ending(name: str) -> str:
    file, dot, plane = name.partition(" · ")
    path = PurePosixPath(file)
    return f"{path.with_name(file_stem(file)) if path.suffix.lower() in SUFFIXES else file}{dot}{plane}"
