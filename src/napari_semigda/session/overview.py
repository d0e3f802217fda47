"""All items of a session in a table: how far each is, its score and its effort; in any order, or in part."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_semigda.io.pictures import SUFFIXES
from napari_semigda.session.items import Item, Status, file_stem, folded
from napari_semigda.session.session import Session

Key = Literal["place", "standing", "score", "effort"]
"""What the table can be sorted by."""

Places = NDArray[np.intp]
"""Places of items in the session's list, from 0."""

ORDER_OF_STANDINGS = tuple(Status)


class Overview:
    """The table of a session's items, which knows what changed since it was looked at last.

    Making it reads something of every item that has a draft: of many thousand items that takes a second or
    two, and should not be done by the thread that people wait for. After that it costs what has changed.

    Parameters
    ----------
    session
        Whose items.

    Attributes
    ----------
    items : tuple of Item
        In the order of the list; so are the others.
    titles : list of str
        Their names as a narrow column shows them: without endings where these tell nothing apart.
    standings : list of Status
        How far each item is.
    scores, efforts : ndarray
        (N,) float32: acquisition score, and share of the draft's pixels that the annotator changed; NaN
        where there is none.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        _, self._seen = session.changes()
        self.items: tuple[Item, ...] = session.items
        self._places = {item.id: place for place, item in enumerate(self.items)}
        self.titles = short_names([item.name for item in self.items])
        self._folded = [item.name.casefold() for item in self.items]
        self.standings = [Status.UNLABELED] * len(self.items)
        self.scores, self.efforts = (np.full(len(self.items), np.nan, np.float32) for _ in range(2))
        for place in range(len(self.items)):
            self._read(place)

    def place(self, item_id: str) -> int:
        """Return an item's place in the list."""
        return self._places[item_id]

    def refresh(self) -> list[int]:
        """Read again what changed since the last time, and return the places of these items."""
        ids, self._seen = self._session.changes(self._seen)
        changed = sorted(self._places[item_id] for item_id in ids)
        for place in changed:
            self._read(place)
        return changed

    def arranged(
        self,
        key: Key = "place",
        *,
        descending: bool = False,
        text: str = "",
        standings: Collection[Status] = ORDER_OF_STANDINGS,
    ) -> Places:
        """Put items in order.

        Parameters
        ----------
        key
            By what. Items without a score or an effort come last either way; those that are alike in the
            order of the list.
        descending
            Whether the largest comes first.
        text
            Only items whose name holds this, whatever the case of the letters.
        standings
            Only items that are that far.

        Returns
        -------
        ndarray
            Places.
        """
        values = self._values(key)
        order = np.argsort(-values if descending else values, kind="stable")
        text = text.strip().casefold()
        if text or len(set(standings)) < len(ORDER_OF_STANDINGS):
            wanted = [
                standing in standings and text in name
                for standing, name in zip(self.standings, self._folded, strict=True)
            ]
            order = order[np.array(wanted, bool)[order]]
        return order

    def _values(self, key: Key) -> NDArray[np.float32]:
        match key:
            case "standing":
                ranks = {standing: rank for rank, standing in enumerate(ORDER_OF_STANDINGS)}
                return np.array([ranks[standing] for standing in self.standings], np.float32)
            case "score":
                return self.scores
            case "effort":
                return self.efforts
        return np.arange(len(self.items), dtype=np.float32)

    def _read(self, place: int) -> None:
        item = self.items[place]
        info, effort = self._session.prediction_info(item), self._session.effort(item)
        self.standings[place] = self._session.standing(item)
        self.scores[place] = np.nan if info is None else info.score
        self.efforts[place] = np.nan if effort is None else effort


def short_names(names: Sequence[str]) -> list[str]:
    """Leave out the endings of image files, but not where names would look alike then.

    Examples
    --------
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
