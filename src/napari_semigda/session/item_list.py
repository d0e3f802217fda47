"""The items of an opened session, which of them are skipped, and which changed since one asked last."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from itertools import takewhile

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import write_json
from napari_semigda.io.files import json_or_none
from napari_semigda.session.folder import SessionFolder
from napari_semigda.session.items import Item, id_of
from napari_semigda.session.layout import SKIPPED


class ItemList:
    """All items of a session, in a fixed order. Thread-safe by the session's lock."""

    def __init__(self, folder: SessionFolder, items: Iterable[Item]) -> None:
        self._folder = folder
        self._items = {item.id: item for item in items}
        self._indices = {item_id: index for index, item_id in enumerate(self._items)}
        self._changes: dict[str, int] = {}  # the number of the last change of each item, in this order
        self._changes_so_far = 0
        stored = json_or_none(folder.path / SKIPPED)
        ids = (one for one in (stored if isinstance(stored, list) else []) if isinstance(one, str))
        self.skipped = frozenset(ids).intersection(self._items)
        """Ids of the items that were skipped; `set_skipped` changes them."""
        for item_id in self.skipped:
            self._items[item_id] = replace(self._items[item_id], skipped=True)

    @property
    def all(self) -> tuple[Item, ...]:
        """All items, in order."""
        with self._folder.lock:
            return tuple(self._items.values())

    def ids(self) -> Collection[str]:
        """Return the ids of all items, in order."""
        return self._items.keys()

    def get(self, item: Item | str) -> Item:
        """Return the present form of the item with this id; raises a `SemiGDAError` without one."""
        with self._folder.lock:
            found = self._items.get(id_of(item))
        if found is None:
            raise SemiGDAError(f"The session “{self._folder.path}” has no item “{id_of(item)}”.")
        return found

    def index(self, item: Item | str) -> int:
        """Return the index of an item in the list, from 0; raises as `get`."""
        return self._indices[self.get(item).id]

    def of(self, ids: Iterable[str]) -> list[Item]:
        """Return the items with these ids, in the order of the list."""
        with self._folder.lock:
            return [self._items[item_id] for item_id in sorted(ids, key=self._indices.__getitem__)]

    def replace(self, items: Iterable[Item]) -> None:
        """Take the new form of some items, as far as they are in the list; what is skipped stays so."""
        with self._folder.lock:
            for item in items:
                if item.id in self._items:
                    self._items[item.id] = replace(item, skipped=item.id in self.skipped)

    def set_skipped(self, item: Item, skipped: bool) -> bool:
        """Skip an item or take it up again, and save; return whether anything changed."""
        with self._folder.lock:
            ids = self.skipped | {item.id} if skipped else self.skipped - {item.id}
            if ids == self.skipped:
                return False
            write_json(self._folder.path / SKIPPED, [one for one in self._items if one in ids])
            self.skipped = ids
            self._items[item.id] = replace(self._items[item.id], skipped=skipped)
            self.note_change(item.id)
            return True

    def note_change(self, item_id: str) -> None:
        """Have `changes` report an item, something of which changed here or elsewhere."""
        with self._folder.lock:
            self._changes_so_far += 1
            self._changes.pop(item_id, None)
            self._changes[item_id] = self._changes_so_far

    def changes(self, since: int = 0) -> tuple[set[str], int]:
        """Return the ids of items that changed since an earlier call, and the number for the next call."""
        with self._folder.lock:
            ids = takewhile(lambda item_id: self._changes[item_id] > since, reversed(self._changes))
            return set(ids), self._changes_so_far
