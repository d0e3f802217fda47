"""Prefetching: the next suggested images, chosen and read before anybody asks."""

import threading
from contextlib import suppress

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.bands import LargePicture
from napari_semigda.io.pictures import Picture
from napari_semigda.session.items import Item
from napari_semigda.session.ranking import Order
from napari_semigda.session.states import ItemStates


class Prefetch:
    """The next images of a session, for the one on screen: once it is accepted or skipped, or passed over.

    `prepare` may take as long as reading two images; call it in another thread than the one people wait
    for. What it found is used while it still holds, else found again, so nothing depends on it but time.
    """

    def __init__(self, session: ItemStates) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._next: dict[tuple[str, Order, bool], Item] = {}
        self._pictures: dict[str, Picture | LargePicture] = {}

    def prepare(self, item: Item, order: Order) -> Item | None:
        """Find and read what comes after this item; return what comes once it is accepted or skipped."""
        waits = self._session.state(item).waits
        found = {
            (item.id, order, passed): self._session.next_item(item, order, done=not passed)
            for passed in ((False, True) if waits else (False,))
        }
        known = {key: one for key, one in found.items() if one is not None}
        pictures = {}
        for one in {one.id: one for one in known.values()}.values():
            with suppress(SemiGDAError):  # reported when it is shown
                pictures[one.id] = self._pictures.get(one.id) or self._session.images.shown(one)
                self._session.drafts.get(one)  # so that its file is in the system's memory
        with self._lock:
            self._next, self._pictures = known, pictures
        return found[(item.id, order, False)]

    def next_item(self, after: Item | None, order: Order) -> Item | None:
        """Return the next suggested item; see `Session.next_item`."""
        if after is not None:
            with self._lock:
                found = self._next.get((after.id, order, self._session.state(after).waits))
            if found is not None and self._session.state(found).waits:
                return found
        return self._session.next_item(after, order)

    def picture(self, item: Item) -> Picture | LargePicture:
        """Return the image of an item, from memory if it was read before; raises as `ImageFiles.shown`."""
        with self._lock:
            known = self._pictures.get(item.id)
        return self._session.images.shown(item) if known is None else known
