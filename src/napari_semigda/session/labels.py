"""How far the labeling of a session's items is, and what the annotator does to them.

The files are the truth. An item is accepted if and only if its label file exists; memory holds only what
the folders held when the session was opened and what happened since.
"""

import threading
import zlib
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.io.atomic import MayNotLast, write_json
from napari_semigda.io.files import MOST_OF_LINES, check_own, json_or_none
from napari_semigda.io.pictures import MANIFEST_NAME
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.drafts import DraftStore
from napari_semigda.session.efforts import UNDONE, Efforts
from napari_semigda.session.items import Item, ItemState, Status, standing
from napari_semigda.session.journal import JournalEntry, append_entry, effort, now, read_entries
from napari_semigda.session.layout import EDITS, JOURNAL, LABELS, PREDICTIONS, SKIPPED
from napari_semigda.session.mask_changes import (
    Change,
    ChangedMask,
    ClassUse,
    Progress,
    StagedMasks,
    items_with,
    taken_out,
)
from napari_semigda.session.mask_files import MaskFolder
from napari_semigda.session.seen_drafts import SeenDraft, SeenDrafts
from napari_semigda.session.transaction import Transactions, digest

MaskKind = Literal["labels", "edits"]
"""The folders of masks that people made."""

UNDOABLE = 20
"""So many accepts can be undone, the last first, while the session is open."""


class _Packed:
    """A label map that takes little memory."""

    def __init__(self, labels: NDArray[np.uint8]) -> None:
        self._shape, self._bytes = labels.shape, zlib.compress(labels.tobytes(), 1)

    def labels(self) -> NDArray[np.uint8]:
        return np.frombuffer(zlib.decompress(self._bytes), np.uint8).reshape(self._shape).copy()


@dataclass(frozen=True)
class _Accept:
    """What an item was before its mask was accepted, and its label file since."""

    item_id: str
    accepted: _Packed | None
    draft: _Packed | None
    round: int | None
    skipped: bool
    stamp: tuple[int, int] | None


class LabelStore:
    """The items of a session with their masks, drafts and edits. Thread-safe by the session's lock.

    Wherever an item is asked for, its id serves as well.

    Parameters
    ----------
    folder
        The session's.
    items
        All of them, in the order of the list.
    class_values
        Tells the values that the classes have now.
    warn
        Is told what went wrong without stopping anything.
    lock
        The session's.
    transactions
        The session's.
    validation
        Tells the ids of the items that are kept for validation now.
    one_object
        Tells whether there is at most one object in an image now.

    Attributes
    ----------
    predictions : DraftStore
        The drafts.

    Raises
    ------
    SemiGDAError
        When a folder of masks cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        items: Iterable[Item],
        class_values: Callable[[], Collection[int]],
        warn: Callable[[str], None],
        lock: threading.RLock,
        transactions: Transactions,
        validation: Callable[[], Collection[str]] = tuple,
        one_object: Callable[[], bool] = bool,
    ) -> None:
        self.folder = folder
        self._class_values = class_values
        self._warn = warn
        self._lock = lock
        self.transactions = transactions
        self._validation = validation
        self._items = {item.id: item for item in items}
        self._places = {item_id: place for place, item_id in enumerate(self._items)}
        self._changes: dict[str, int] = {}  # which change of all was the last of an item, in this order
        self._changes_so_far = 0
        self._efforts: Efforts | None = None
        self._labels, self._edits, predicted = (
            MaskFolder(
                folder / name,
                self._items.keys(),
                class_values,
                lock,
                self.note_change,
                forgiving=name == PREDICTIONS,
                transactions=transactions,
            )
            for name in (LABELS, EDITS, PREDICTIONS)
        )
        self.predictions = DraftStore(predicted, lock, one_object)
        self._seen_drafts = SeenDrafts(folder / EDITS)
        self._accepts: Counter[str] = Counter()
        self._seen: dict[str, tuple[int, int] | None] = {}
        self._undoable: deque[_Accept] = deque(maxlen=UNDOABLE)
        self._skipped = self._read_skipped()

    # Items

    @property
    def items(self) -> tuple[Item, ...]:
        """All items, in the order of the list."""
        with self._lock:
            return tuple(self._items.values())

    def item(self, item: Item | str) -> Item:
        """Return the item with this id (or the present form of an item handed out earlier).

        Raises
        ------
        SemiGDAError
            When the session has no such item.
        """
        item_id = item if isinstance(item, str) else item.id
        with self._lock:
            if item_id not in self._items:
                raise SemiGDAError(f"The session “{self.folder}” has no item “{item_id}”.")
            return self._items[item_id]

    def place(self, item: Item | str) -> int:
        """Tell the place of an item in the list, from 0.

        Raises
        ------
        SemiGDAError
            When the session has no such item.
        """
        return self._places[self.item(item).id]

    def replace_items(self, items: Iterable[Item]) -> None:
        """Take the new form of some items: what is known of their labeling stays."""
        with self._lock:
            for item in items:
                self._items[item.id] = replace(item, skipped=item.id in self._skipped)

    def state(self, item: Item | str) -> ItemState:
        """Tell how far the labeling of an item is.

        Accepted is what has a label file; else what the annotator skipped is skipped; else what has a
        prediction or an unfinished edit is a draft.
        """
        item_id = item if isinstance(item, str) else item.id
        with self._lock:
            if item_id in self._labels:
                return ItemState.ACCEPTED
            if item_id in self._skipped:
                return ItemState.SKIPPED
            if item_id in self.predictions or item_id in self._edits:
                return ItemState.DRAFT
            return ItemState.UNLABELED

    def states(self) -> tuple[ItemState, ...]:
        """Tell the state of every item, in the order of the list."""
        with self._lock:
            drafted = self.predictions.ids() | self._edits.ids()
            states = dict.fromkeys(self._items, ItemState.UNLABELED)
            states.update(dict.fromkeys(drafted, ItemState.DRAFT))
            states.update(dict.fromkeys(self._skipped, ItemState.SKIPPED))
            states.update(dict.fromkeys(self._labels.ids(), ItemState.ACCEPTED))
            return tuple(states.values())

    def counts(self) -> dict[ItemState, int]:
        """Count the items in each state; every state is a key."""
        with self._lock:
            drafted = self.predictions.ids() | self._edits.ids()
            accepted = self._labels.ids()
            skipped, drafts = self._skipped - accepted, drafted - self._skipped - accepted
            waiting = len(self._items) - len(accepted) - len(skipped) - len(drafts)
        return {
            ItemState.UNLABELED: waiting,
            ItemState.DRAFT: len(drafts),
            ItemState.ACCEPTED: len(accepted),
            ItemState.SKIPPED: len(skipped),
        }

    def standing(self, item: Item | str) -> Status:
        """Tell the state of an item, and whether something on it is painted and not accepted."""
        item_id = item if isinstance(item, str) else item.id
        with self._lock:
            return standing(
                self.state(item_id), edited=item_id in self._edits, aside=item_id in self._validation()
            )

    def effort(self, item: Item | str) -> float | None:
        """Tell which share of the draft's pixels was changed when the item was accepted last, in [0, 1].

        None where it is not accepted, or there was no draft.
        """
        item_id = item if isinstance(item, str) else item.id
        with self._lock:
            return self.efforts.of(item_id) if item_id in self._labels else None

    @property
    def efforts(self) -> Efforts:
        """What correcting took so far; the journal is read at the first question."""
        with self._lock:
            if self._efforts is None:
                try:
                    check_own(self.folder / JOURNAL, most=MOST_OF_LINES)
                except SemiGDAError as error:
                    self._warn(str(error))
                    self._efforts = Efforts(())
                else:
                    self._efforts = Efforts(self.journal())
            return self._efforts

    def changes(self, since: int = 0) -> tuple[set[str], int]:
        """Tell the ids of the items of which anything changed, here, since an earlier question.

        Parameters
        ----------
        since
            The number that the earlier question was answered with.

        Returns
        -------
        ids, number
            The number is for the next question.
        """
        with self._lock:
            ids = takewhile(lambda item_id: self._changes[item_id] > since, reversed(self._changes))
            return set(ids), self._changes_so_far

    def for_training(self, labeled_ids: Collection[str] | None = None) -> tuple[list[Item], list[Item]]:
        """Tell the items that a round learns from; neither skipped ones nor those kept for validation.

        Parameters
        ----------
        labeled_ids
            The items that count as labeled, as the record of a resumed round has them; None takes all that
            are accepted now. What was accepted since is among the unlabeled ones then.

        Returns
        -------
        labeled, unlabeled
            In the order of the list, but labeled ones in the order of `labeled_ids` where these are given.
        """
        with self._lock:
            aside = {item.id for item in self.for_validation()} - set(labeled_ids or ())
            accepted = self._labels.ids()
            chosen = accepted - aside if labeled_ids is None else accepted.intersection(labeled_ids)
            ids = self._items if labeled_ids is None else labeled_ids
            labeled = [self._items[item_id] for item_id in ids if item_id in chosen]
            unlabeled = [
                item
                for item in self._items.values()
                if item.id not in chosen
                and item.id not in aside
                and (item.id in accepted or item.id not in self._skipped)
            ]
        return labeled, unlabeled

    def for_validation(self) -> list[Item]:
        """Tell the accepted items that are kept for validation, in the order of the list."""
        with self._lock:
            return self._in_order(set(self._validation()).intersection(self._labels.ids()))

    def to_learn_from(self) -> list[Item]:
        """Tell the accepted items that are not kept for validation, in the order of the list."""
        with self._lock:
            return self._in_order(self._labels.ids().difference(self._validation()))

    def _in_order(self, ids: Collection[str]) -> list[Item]:
        return [self._items[item_id] for item_id in sorted(ids, key=self._places.__getitem__)]

    def note_change(self, item_id: str) -> None:
        """Have `changes` tell of an item, something of which changed here or elsewhere."""
        with self._lock:
            self._changes_so_far += 1
            self._changes.pop(item_id, None)
            self._changes[item_id] = self._changes_so_far

    # Masks

    def labels(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read the accepted mask of an item: (H, W) uint8, `UNKNOWN` where nobody looked; None without.

        Raises
        ------
        SemiGDAError
            When its label file is damaged or does not fit the picture.
        """
        return self._labels.read(self.item(item))

    def edit(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read what was painted on an item since it was accepted, or at all: (H, W) uint8; None without.

        Raises
        ------
        SemiGDAError
            When the file is damaged or does not fit the picture.
        """
        return self._edits.read(self.item(item))

    def starting_mask(self, item: Item | str) -> NDArray[np.uint8]:
        """Return what the annotator goes on from: the edit, else the accepted mask, else the draft.

        An edit beside an accepted mask is the newer of the two, because accepting removes it.

        Returns
        -------
        ndarray
            (H, W) uint8; background everywhere if there is none of these.

        Raises
        ------
        SemiGDAError
            When what the annotator did cannot be read; the file is named, and left as it is.
        """
        item = self.item(item)
        self._look_at_file(item)
        edit = self._edits.read(item)
        if edit is not None:
            return edit
        accepted = self._labels.read(item)
        if accepted is not None:
            self._seen_drafts.see(item, None, None)
            return accepted
        draft = self.see_draft(item)
        return np.zeros(item.shape, np.uint8) if draft is None else draft

    def see_draft(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read the newest draft of an item for the annotator, whose effort is measured against it now.

        A newer one may be stored before the mask is accepted, but not change what was corrected.
        """
        item = self.item(item)
        with self._lock:
            draft, info = self.predictions.read(item), self.predictions.info(item)
            self._seen_drafts.see(item, draft, None if draft is None or info is None else info.round)
        return draft

    def label_stamp(self, item: Item | str) -> tuple[tuple[int, int] | None, int]:
        """Return what changes whenever the label file of an item does, here or by another program."""
        item_id = self.item(item).id
        with self._lock:
            return self._labels.stamp(item_id), self._accepts[item_id]

    # What the annotator does

    def accept(self, item: Item | str, labels: NDArray[Any], *, event: str | None = None) -> JournalEntry:
        """Save a mask for good: when this returns, it is on the disk.

        The label file is written first, then the journal, then an unfinished edit is removed (which was
        brought up to date before, so that a crash between leaves nothing stale). A label file that is
        in the way and is no mask of this item, or that another program changed since the annotator was
        shown it (by `starting_mask`), is kept as `labels/<id>.replaced-N.tif`.

        Parameters
        ----------
        labels
            (H, W) integer or boolean: 0 background, 1 … K-1 classes, `UNKNOWN` (255) not looked at.
        event
            For the journal; None says ``"accepted"``, or ``"corrected"`` where it was accepted before.

        Returns
        -------
        JournalEntry
            With how much was changed against the draft.

        Raises
        ------
        SemiGDAError
            When the mask does not fit the item, or cannot be saved; what was accepted before still is.
        MayNotLast
            When it was saved, but the disk failed then: accept it again once the disk works.
        """
        item = self.item(item)
        mask = self._labels.checked(item, labels)
        with self._lock:
            event = event or ("corrected" if item.id in self._labels else "accepted")
            note = self._keep_unseen(item)
            dice, changed, round_number, empty = self._effort(item, mask)
            before = self._before_accept(item)
            if item.id in self._edits:
                self._edits.write(item, mask)
            try:
                self._labels.write(item, mask)
            except MayNotLast:
                self._has_written(item)
                raise
            self._has_written(item)
            self._undoable.append(replace(before, stamp=self._seen.get(item.id)))
            entry = JournalEntry(now(), item.id, event, dice, changed, round_number, note, empty)
            self._note(entry)
            self._drop_edit(item)
            with suppress(SemiGDAError):  # accepted counts before skipped anyway
                self._set_skipped(item, False)
        return entry

    def undoable_accepts(self) -> tuple[Item, ...]:
        """Tell the items whose accepts can be undone, the last accept last."""
        with self._lock:
            return tuple(self._items[one.item_id] for one in self._undoable)

    def undo_accept(self) -> Item:
        """Make of the item that was accepted last what it was before: a draft, or an earlier accepted mask.

        What was painted stays as an edit, which is written first: a crash between leaves the mask accepted.

        Returns
        -------
        Item
            The item.

        Raises
        ------
        SemiGDAError
            When there is none, its label file was changed since, or something cannot be written; then the
            mask stays accepted.
        """
        with self._lock:
            if not self._undoable:
                raise SemiGDAError("No mask was accepted since the session was opened.")
            last = self._undoable[-1]
            item = self._items[last.item_id]
            mask = self._labels.read(item)
            if mask is None or self._labels.stamp(item.id) != last.stamp:
                self._undoable.pop()
                raise SemiGDAError(
                    f"The accepted mask of {item.name} was changed since it was accepted, so that accept "
                    "cannot be undone. Show the image, correct the mask and accept it again."
                )
            draft = None if last.draft is None else last.draft.labels()
            accepted = None if last.accepted is None else self._of_classes(last.accepted.labels())
            before = self.predictions.read(item) if accepted is None else accepted  # a newer draft, perhaps
            self._keep_as_edit(item, mask, before, SeenDraft(draft, last.round))
            self._put_back(item, accepted)
            self._undoable.pop()
            self._note(JournalEntry(now(), item.id, UNDONE))
            if last.skipped:
                self._set_skipped(item, True)
        return item

    def _before_accept(self, item: Item) -> _Accept:
        """What is needed to undo an accept of an item that comes next."""
        accepted = None
        with suppress(SemiGDAError):  # what is no mask of the item is no accepted mask to go back to
            accepted = self._labels.read(item)
        seen = self._seen_drafts.of(item, edited=item.id in self._edits)
        if seen is None:
            info = self.predictions.info(item)
            seen = SeenDraft(self.predictions.read(item), None if info is None else info.round)
        return _Accept(
            item.id,
            None if accepted is None else _Packed(accepted),
            None if seen.draft is None else _Packed(seen.draft),
            seen.round,
            item.id in self._skipped,
            None,
        )

    def _of_classes(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A mask of earlier, in which removed classes become unlabeled as they did in the others."""
        known = np.isin(mask, (0, UNKNOWN, *self._class_values()))
        return np.where(known, mask, np.uint8(UNKNOWN))

    def _keep_as_edit(
        self, item: Item, mask: NDArray[np.uint8], before: NDArray[np.uint8] | None, seen: SeenDraft
    ) -> None:
        """Keep a mask that is accepted no more, unless it is as before or somebody painted since."""
        if item.id in self._edits:
            return
        self._seen_drafts.see(item, seen.draft, seen.round)
        if not np.array_equal(mask, np.zeros_like(mask) if before is None else before):
            self._edits.write(item, mask)
            self._seen_drafts.keep(item)

    def _put_back(self, item: Item, accepted: NDArray[np.uint8] | None) -> None:
        """Make of a label file what it was before, or remove it."""
        if accepted is not None:
            try:
                self._labels.write(item, accepted)
            finally:
                self._has_written(item)
        else:
            self._labels.remove(item.id)
            self._has_written(item)
            if item.id in self._labels:
                raise SemiGDAError(
                    f"“{self._labels.file(item.id)}” could not be deleted, so the mask is still accepted. "
                    "Give write permission there, then try again."
                )
        stamp = self._seen.get(item.id)
        earlier = [replace(one, stamp=stamp) if one.item_id == item.id else one for one in self._undoable]
        self._undoable = deque(earlier, maxlen=UNDOABLE)

    def keep_edit(self, item: Item | str, labels: NDArray[Any]) -> None:
        """Save what is painted so far, without accepting it.

        Raises
        ------
        SemiGDAError
            When the mask does not fit the item, or cannot be saved.
        """
        item = self.item(item)
        mask = self._edits.checked(item, labels)
        with self._lock:
            self._edits.write(item, mask)
            self._seen_drafts.keep(item)

    def discard_edit(self, item: Item | str) -> None:
        """Forget what is painted on an item but not accepted."""
        with self._lock:
            self._drop_edit(self.item(item))

    def skip(self, item: Item | str) -> None:
        """Leave an item aside: not asked for, not trained on, not exported. Accepted ones stay accepted."""
        item = self.item(item)
        with self._lock:
            if item.id not in self._labels and item.id not in self._skipped:
                self._set_skipped(item, True)
                self._note(JournalEntry(now(), item.id, "skipped"))

    def unskip(self, item: Item | str) -> None:
        """Take an item up again."""
        item = self.item(item)
        with self._lock:
            if item.id in self._skipped:
                self._set_skipped(item, False)
                self._note(JournalEntry(now(), item.id, "unskipped"))

    def class_use(
        self, value: int, progress: Progress | None = None, cancelled: Callable[[], bool] | None = None
    ) -> ClassUse:
        """Find the items on which a class is painted, accepted or not.

        Raises
        ------
        Cancelled
            If `cancelled` said so.
        """
        accepted = items_with(self._labels, self.items, value, progress, cancelled)
        return ClassUse(accepted, items_with(self._edits, self.items, value))

    def change_masks(
        self,
        change: Change,
        masks: Collection[MaskKind],
        what: str,
        event: str,
        note: str,
        *,
        manifest: Callable[[], tuple[Path, Callable[[], object]]] | None = None,
        among: Callable[[str], bool] = lambda item_id: True,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[ChangedMask]:
        """Change many masks, all of them or none; see `napari_semigda.session.transaction`.

        The new ones are written while others go on working; the session is held only for the moment in which
        they take their places. The masks as they were are kept as `<id>.replaced-N.tif`.

        Parameters
        ----------
        change
            Gives the new form of a mask.
        masks
            Which ones.
        what
            Names the change; the number of masks is added.
        event, note
            For the journal, of each accepted mask.
        manifest
            Writes a new manifest beside the old one; gives its file, and what to do once it is in its place.
        among
            Whether the masks of an item, given its id, take part.
        progress, cancelled
            Told and asked after each mask.

        Raises
        ------
        SemiGDAError
            When something cannot be written; then nothing is changed.
        Cancelled
            When the person cancelled; nothing is changed.
        """
        folders = [self._labels if kind == LABELS else self._edits for kind in masks]
        staged = StagedMasks(change)
        new_manifest: Path | None = None
        try:
            targets = self._masks_in(folders, among)
            for done, (folder, item) in enumerate(targets, start=1):
                if cancelled is not None and cancelled():
                    raise Cancelled
                staged.stage(folder, item)
                if progress is not None:
                    progress(done, len(targets))
            with self._lock:
                for folder, item in self._masks_in(folders, among):
                    staged.stage(folder, item)  # again, where one was accepted meanwhile
                if manifest is not None:
                    new_manifest, then = manifest()
                changed = self._commit(staged, new_manifest, what, event, note)
                if manifest is not None:
                    then()
                return changed
        finally:
            if not self.transactions.unfinished:
                staged.remove()
                if new_manifest is not None:
                    with suppress(OSError):
                        new_manifest.unlink(missing_ok=True)

    def undo_interrupted_removal(self, manifest_written: int) -> None:
        """Put back the masks from which an older version had begun to remove a class when it was stopped.

        Such a version wrote a copy of each mask, then the mask, and the manifest and the journal at last.

        Parameters
        ----------
        manifest_written
            When the manifest was written, in nanoseconds: what is older than it may mean something else, and
            is only told.
        """
        steps: list[tuple[Path, Path, Path | None]] = []
        entries, older = [], []
        copies = self._labels.copies()
        notes = " ".join(entry.note for entry in self.journal()) if copies else ""
        for item_id, copy in copies:
            item = self._items[item_id]
            value = None if copy.name in notes else taken_out(self._labels, item, copy)
            if value is None or value not in self._class_values():
                continue
            if copy.lstat().st_mtime_ns < manifest_written:
                older.append(copy)
                continue
            note = "an older version was stopped while it removed a class"
            steps.append((copy, self._labels.file(item_id), None))
            entries.append(JournalEntry(now(), item_id, "mask restored", note=note))
        if steps:
            self.transactions.commit(f"Restoring {_masks(len(steps))}", steps, entries)
            for entry in entries:
                self._note_changed(self._labels, self._items[entry.item])
            self._warn(
                f"Removing a class was interrupted by the end of the program: {_masks(len(steps))} without "
                "it were put back as they were."
            )
        if older:
            self._warn(
                f"{_masks(len(older))} may lack a class, for an older version was perhaps stopped while it "
                f"removed one. Compare with the copy “{older[0]}”."
            )

    def restore_masks(self, changed: Sequence[ChangedMask], what: str, note: str) -> list[Item]:
        """Put masks back that were changed with others, all of them or none; those changed since stay.

        Raises
        ------
        SemiGDAError
            When it cannot be recorded; then nothing is changed.
        """
        with self._lock:
            as_left = [one for one in changed if self._is_as_left(one)]
            steps = [(one.kept, one.masks.file(one.item.id), None) for one in as_left]
            items = [one.item for one in as_left if one.masks is self._labels]
            entries = [JournalEntry(now(), item.id, "mask restored", note=note) for item in items]
            if steps:
                self.transactions.commit(f"{what} {_masks(len(steps))}", steps, entries)
            for one in as_left:
                self._note_changed(one.masks, one.item)
        return items

    @staticmethod
    def _is_as_left(one: ChangedMask) -> bool:
        return one.kept.is_file() and digest(one.masks.file(one.item.id)) == one.digest

    def _masks_in(
        self, folders: Iterable[MaskFolder], among: Callable[[str], bool]
    ) -> list[tuple[MaskFolder, Item]]:
        with self._lock:
            return [
                (folder, item)
                for folder in folders
                for item in self._in_order(folder.ids())
                if among(item.id)
            ]

    def _commit(
        self, staged: StagedMasks, new_manifest: Path | None, what: str, event: str, note: str
    ) -> list[ChangedMask]:
        """Put staged masks in their places, and take note of them."""
        manifest = [] if new_manifest is None else [(new_manifest, self.folder / MANIFEST_NAME, None)]
        steps: list[tuple[Path, Path, Path | None]] = [*manifest]
        entries, changed = [], []
        for folder, item, file in staged.changes():
            kept = folder.kept_name(item.id)
            steps.append((file, folder.file(item.id), kept))
            changed.append(ChangedMask(folder, item, kept, digest(file)))
            if folder is self._labels:
                told = f"{note}; the mask before is kept as {kept.name}"
                entries.append(JournalEntry(now(), item.id, event, note=told))
        if steps:
            self.transactions.commit(f"{what} {_masks(len(changed))}", steps, entries)
        for one in changed:
            self._note_changed(one.masks, one.item)
        return changed

    def _note_changed(self, folder: MaskFolder, item: Item) -> None:
        folder.changed_by_transaction(item.id)
        if folder is self._labels:
            self._has_written(item)

    def journal(self) -> list[JournalEntry]:
        """Read what happened so far, oldest first."""
        return read_entries(self.folder / JOURNAL)

    def _has_written(self, item: Item) -> None:
        """Note how the label file is that was just written; a disk that fails only now takes nothing back."""
        self._accepts[item.id] += 1
        self._seen.pop(item.id, None)
        with suppress(SemiGDAError):
            self._seen[item.id] = self._labels.stamp(item.id)

    def _keep_unseen(self, item: Item) -> str:
        """Set a copy aside of a label file that nobody here has seen as it is; say so for the journal."""
        stamp = self._labels.stamp(item.id)
        if stamp is None:
            return ""
        if self._seen.get(item.id, stamp) != stamp:
            what = "was changed by another program while you worked on the image"
        elif not self._labels.holds_mask(item):
            what = "was no mask of it"
        else:
            return ""
        kept = self._labels.set_aside(item)
        self._warn(f"The label file of {item.name} {what}; it was kept as “{kept}”.")
        return f"the file that was there is kept as {kept.name}"

    def _look_at_file(self, item: Item) -> None:
        """Remember which label file the annotator is shown; tell if it is another than last time."""
        with self._lock:
            stamp = self._labels.stamp(item.id)
            if stamp is not None and self._seen.get(item.id, stamp) != stamp:
                self._warn(f"The accepted mask of {item.name} was changed by another program: look it over.")
            self._labels.notice(item.id)
            self._seen[item.id] = stamp

    def _drop_edit(self, item: Item) -> None:
        self._edits.remove(item.id)
        self._seen_drafts.drop(item)

    def _effort(
        self, item: Item, mask: NDArray[np.uint8]
    ) -> tuple[float | None, float | None, int | None, bool | None]:
        """Compare with the draft that the annotator was shown; a program is taken to know the newest."""
        seen = self._seen_drafts.of(item, edited=item.id in self._edits)
        if seen is None:
            info = self.predictions.info(item)
            seen = SeenDraft(self.predictions.read(item), None if info is None else info.round)
        if seen.draft is None:
            return None, None, None, None
        dice, changed = effort(seen.draft, mask, max(self._class_values()) + 1)
        return dice, changed, seen.round, not seen.draft.any()

    def _note(self, entry: JournalEntry) -> None:
        """Add to the journal; what it tells of has happened, whether or not that can be written."""
        if self._efforts is not None:
            self._efforts.add(entry)
        try:
            append_entry(self.folder / JOURNAL, entry)
        except SemiGDAError as error:
            self._warn(str(error))

    def _set_skipped(self, item: Item, skipped: bool) -> None:
        ids = self._skipped | {item.id} if skipped else self._skipped - {item.id}
        if ids == self._skipped:
            return
        write_json(self.folder / SKIPPED, [one for one in self._items if one in ids])
        self._skipped = ids
        self._items[item.id] = replace(self._items[item.id], skipped=skipped)
        self.note_change(item.id)

    # As it was left

    def _read_skipped(self) -> set[str]:
        skipped = json_or_none(self.folder / SKIPPED)
        ids = self._known(skipped if isinstance(skipped, list) else [])
        for item_id in ids:
            self._items[item_id] = replace(self._items[item_id], skipped=True)
        return ids

    def _known(self, ids: Iterable[Any]) -> set[str]:
        return {one for one in ids if isinstance(one, str) and one in self._items}


def _masks(count: int) -> str:
    return "1 mask" if count == 1 else f"{count} masks"
