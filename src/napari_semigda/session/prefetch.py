"""Reading ahead: what the queue will choose next, and its picture, found before anybody asks."""

import threading
from contextlib import suppress

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.bands import LargePicture
from napari_semigda.io.pictures import Picture
from napari_semigda.session.items import Item
from napari_semigda.session.queue import Strategy, next_item
from napari_semigda.session.session import Session


class Prefetch:
    """The next items of a session, for the one on screen: what comes after it is dealt with, or passed over.

    `prepare` may take as long as reading two pictures; call it in another thread than the one people wait
    for. What it found is used while it still holds, else found anew, so nothing depends on it but time.

    Parameters
    ----------
    session
        Whose items.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._next: dict[tuple[str, Strategy, bool], Item] = {}
        self._pictures: dict[str, Picture | LargePicture] = {}

    def prepare(self, item: Item, strategy: Strategy) -> Item | None:
        """Find what will come after this item, and read the pictures.

        Returns
        -------
        Item or None
            What comes next once this item is accepted or skipped; None if nothing does.
        """
        waits = self._session.state(item).waits
        found = {
            (item.id, strategy, passed): next_item(self._session, item, strategy, dealt_with=not passed)
            for passed in ((False, True) if waits else (False,))
        }
        known = {key: one for key, one in found.items() if one is not None}
        pictures = {}
        for one in {one.id: one for one in known.values()}.values():
            with suppress(SemiGDAError):  # told when it is shown
                pictures[one.id] = self._pictures.get(one.id) or self._session.shown_picture(one)
                self._session.prediction(one)  # so that its file is in the system's memory
        with self._lock:
            self._next, self._pictures = known, pictures
        return found[(item.id, strategy, False)]

    def next_item(self, after: Item | None, strategy: Strategy) -> Item | None:
        """Say which item to look at next; see `napari_semigda.session.queue.next_item`."""
        if after is not None:
            with self._lock:
                found = self._next.get((after.id, strategy, self._session.state(after).waits))
            if found is not None and self._session.state(found).waits:
                return found
        return next_item(self._session, after, strategy)

    def picture(self, item: Item) -> Picture | LargePicture:
        """Return the picture of an item, from memory if it was read or opened ahead.

        Raises
        ------
        SemiGDAError
            When it cannot be read.
        """
        with self._lock:
            known = self._pictures.get(item.id)
        return self._session.shown_picture(item) if known is None else known
