"""How far the labeling of each item of a session is, and which item comes next."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from napari_semigda.session.class_list import ClassList
from napari_semigda.session.drafts import DraftStore
from napari_semigda.session.features import ImageFeatures
from napari_semigda.session.folder import SessionFolder
from napari_semigda.session.images import ImageFiles
from napari_semigda.session.item_list import ItemList
from napari_semigda.session.items import Item, ItemState, Status, id_of
from napari_semigda.session.labels import LabelStore
from napari_semigda.session.manifest import ManifestFile
from napari_semigda.session.overview import Overview
from napari_semigda.session.ranking import DEFAULT_ORDER, Order, order_named, ranked
from napari_semigda.session.renamed import takes_strategy
from napari_semigda.session.rounds import RoundStore
from napari_semigda.session.typical import typical_item


class ItemStates:
    """The part of a session that combines what its stores know of the items."""

    folder: Path
    rounds: RoundStore
    classes: ClassList
    labels: LabelStore
    drafts: DraftStore
    images: ImageFiles
    features: ImageFeatures
    _base: SessionFolder
    _file: ManifestFile
    _items: ItemList

    @property
    def items(self) -> tuple[Item, ...]:
        """All items, in the order of the list."""
        return self._items.all

    def item(self, item: Item | str) -> Item:
        """Return the item with this id, or the present form of an item; see `ItemList.get`."""
        return self._items.get(item)

    def index(self, item: Item | str) -> int:
        """Return the index of an item in the list, from 0."""
        return self._items.index(item)

    def changes(self, since: int = 0) -> tuple[set[str], int]:
        """Return the ids of the items that changed since an earlier call; see `ItemList.changes`."""
        return self._items.changes(since)

    def state(self, item: Item | str) -> ItemState:
        """Return how far the labeling of an item is: accepted, else skipped, else a draft, else unlabeled.

        A draft is what has a prediction or an unfinished edit.
        """
        item_id = id_of(item)
        with self._base.lock:
            if item_id in self.labels:
                return ItemState.ACCEPTED
            if item_id in self._items.skipped:
                return ItemState.SKIPPED
            drafted = item_id in self.drafts or item_id in self.labels.edits
            return ItemState.DRAFT if drafted else ItemState.UNLABELED

    def states(self) -> tuple[ItemState, ...]:
        """Return the state of every item, in the order of the list."""
        with self._base.lock:
            states = dict.fromkeys(self._items.ids(), ItemState.UNLABELED)
            states.update(dict.fromkeys(self.drafts.ids() | self.labels.edits.ids(), ItemState.DRAFT))
            states.update(dict.fromkeys(self._items.skipped, ItemState.SKIPPED))
            states.update(dict.fromkeys(self.labels.accepted.ids(), ItemState.ACCEPTED))
            return tuple(states.values())

    def counts(self) -> dict[ItemState, int]:
        """Return the number of items in each state; every state is a key."""
        with self._base.lock:
            accepted, total = self.labels.accepted.ids(), len(self._items.ids())
            skipped = self._items.skipped - accepted
            drafts = (self.drafts.ids() | self.labels.edits.ids()) - skipped - accepted
        return {
            ItemState.UNLABELED: total - len(accepted) - len(skipped) - len(drafts),
            ItemState.DRAFT: len(drafts),
            ItemState.ACCEPTED: len(accepted),
            ItemState.SKIPPED: len(skipped),
        }

    def status(self, item: Item | str) -> Status:
        """Return the state of an item, and whether something on it is painted and not accepted."""
        item_id = id_of(item)
        with self._base.lock:
            state, edited = self.state(item_id), item_id in self.labels.edits
        if edited and state is ItemState.ACCEPTED:
            return Status.CHANGED
        if edited and state.waits:
            return Status.PAINTED
        if state is ItemState.ACCEPTED and item_id in self._file.manifest.validation:
            return Status.VALIDATION
        return Status(state.value)

    @takes_strategy
    def queue(
        self,
        after: Item | str | None = None,
        order: Order = DEFAULT_ORDER,
        *,
        seed: int = 0,
        count: int | None = None,
        done: bool = False,
    ) -> list[Item]:
        """Return the items that wait for the annotator (neither accepted nor skipped), in order.

        Parameters
        ----------
        after
            The item on screen: it is left out, and the order goes on behind it.
        order
            ``"mixed"`` (what represents the most uncertainty), ``"uncertainty"``, ``"diversity"`` (unlike all
            that was accepted), ``"list order"`` or ``"random"``; see `napari_semigda.session.ranking`.
        seed
            Of ``"random"``.
        count
            Number of items, at most; None returns all of them.
        done
            Whether to order as if `after` were accepted or skipped already.
        """
        order, items = order_named(order), self.items
        waiting = np.array([state.waits for state in self.states()], bool)
        index = None if after is None else self.index(after)
        if index is not None and done:
            waiting[index] = False
        features, known = self.features.vectors()
        scores = near = np.full(len(items), np.nan, np.float32)
        if order in ("mixed", "uncertainty"):
            scores = self.drafts.scores()
        if order in ("mixed", "diversity"):
            near = self.features.distance_to(~waiting)
        indices = ranked(order, waiting, scores, features, known, near, after=index, seed=seed)
        return [items[one] for one in islice(indices, count)]

    @takes_strategy
    def next_item(
        self,
        after: Item | str | None = None,
        order: Order = DEFAULT_ORDER,
        *,
        seed: int = 0,
        done: bool = False,
    ) -> Item | None:
        """Return the next suggested item, the first of `queue`; None where no other item waits."""
        return next(iter(self.queue(after, order, seed=seed, count=1, done=done)), None)

    def typical_item(self, **limits: Any) -> Item | None:
        """Return the item to begin with; see `napari_semigda.session.typical.typical_item`."""
        waiting = [item for item, state in zip(self.items, self.states(), strict=True) if state.waits]
        return typical_item(waiting, self.images, self._file.manifest.settings, **limits)

    def overview(self) -> Overview:
        """Return the table of all items; of many thousand items this takes a second or two."""
        return Overview(self.items, self.drafts, self.labels, self.status, self.changes)
