"""The accepted masks of a session, what is painted and not accepted yet, and which items are skipped.

The files are the truth. An item is accepted if and only if its label file exists; memory holds only what
the folders held when the session was opened and what happened since.
"""

import warnings
import zlib
from collections import Counter, deque
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import MayNotLast
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.drafts import DraftStore, SeenDraft, SeenDrafts
from napari_semigda.session.efforts import UNDONE, AcceptedDraft, Journal, measure
from napari_semigda.session.folder import SessionFolder
from napari_semigda.session.item_list import ItemList
from napari_semigda.session.items import Item, id_of
from napari_semigda.session.journal import JournalEntry, now
from napari_semigda.session.manifest import ManifestFile
from napari_semigda.session.mask_files import MaskFolder

UNDOABLE = 20  # accepts that can be undone, the last first, while the session is open

Stamp = tuple[int, int] | None
"""Changes whenever a file does; None where there is none."""


class _Packed:
    """A label map that takes little memory."""

    def __init__(self, labels: NDArray[np.uint8]) -> None:
        self._shape, self._bytes = labels.shape, zlib.compress(labels.tobytes(), 1)

    def labels(self) -> NDArray[np.uint8]:
        return np.frombuffer(zlib.decompress(self._bytes), np.uint8).reshape(self._shape).copy()


@dataclass(frozen=True)
class _Accept:
    """What an item was before its mask was accepted, and the stamp of its label file since."""

    item_id: str
    accepted: _Packed | None
    draft: _Packed | None
    round: int | None
    skipped: bool
    stamp: Stamp


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


class LabelStore:
    """What the annotator did to the items of a session. Thread-safe by the session's lock.

    Wherever an item is asked for, its id serves as well.
    """

    def __init__(
        self,
        folder: SessionFolder,
        items: ItemList,
        manifest: ManifestFile,
        drafts: DraftStore,
        files: LabelFiles,
        edits: MaskFolder,
        seen: SeenDrafts,
    ) -> None:
        self._folder, self._items, self._manifest, self._drafts = folder, items, manifest, drafts
        self.accepted, self.edits, self._seen_drafts = files.masks, edits, seen
        self._files, self._journal = files, Journal(folder)
        self._undoable: deque[_Accept] = deque(maxlen=UNDOABLE)

    # Reading

    def __contains__(self, item: Item | str) -> bool:
        return id_of(item) in self.accepted

    def __getitem__(self, item: Item | str) -> NDArray[np.uint8]:
        mask = self.get(item)
        if mask is None:
            raise KeyError(id_of(item))
        return mask

    def __call__(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read an accepted mask, as `session.labels(item)` did before there was `get`."""
        warnings.warn("use session.labels.get(item)", DeprecationWarning, stacklevel=2)
        return self.get(item)

    def get(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read the accepted mask of an item: (H, W) uint8, 255 where unlabeled; None without.

        A `SemiGDAError` says that its label file is damaged or does not fit the image.
        """
        return self.accepted.read(self._items.get(item))

    def edit(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read what is painted on an item and not accepted: (H, W) uint8; None without. Raises as `get`."""
        return self.edits.read(self._items.get(item))

    def starting_mask(self, item: Item | str) -> NDArray[np.uint8]:
        """Return the mask (H, W) to continue with: the edit, the accepted mask, the draft, or background.

        An edit beside an accepted mask is the newer of the two, because accepting removes it. Raises as
        `get`.
        """
        item = self._items.get(item)
        with self._folder.lock:
            self._files.show(item)
        edit = self.edits.read(item)
        if edit is not None:
            return edit
        accepted = self.accepted.read(item)
        if accepted is not None:
            self._seen_drafts.see(item, SeenDraft())
            return accepted
        draft = self._drafts.see(item)
        return np.zeros(item.shape, np.uint8) if draft is None else draft

    def stamp(self, item: Item | str) -> tuple[Stamp, int]:
        """Return what changes whenever the label file of an item does, here or by another program."""
        item = self._items.get(item)
        with self._folder.lock:
            return self._files.stamp(item)

    def journal(self) -> list[JournalEntry]:
        """Read what happened so far, oldest first."""
        return self._journal.entries()

    def effort(self, item: Item | str) -> float | None:
        """Return the share of the draft changed when an item was accepted last, in [0, 1]; None without."""
        with self._folder.lock:
            return self._journal.efforts().of(id_of(item)) if item in self else None

    def accepted_drafts(self) -> list[AcceptedDraft]:
        """Return what every draft that was accepted had cost, oldest first; see `Efforts`."""
        with self._folder.lock:
            return list(self._journal.efforts().drafts)

    # What rounds learn from

    @property
    def validation(self) -> list[Item]:
        """The accepted items that are kept for validation: no round trains on them."""
        with self._folder.lock:
            return self._items.of(self.accepted.ids().intersection(self._manifest.manifest.validation))

    def keep_for_validation(self, item: Item | str, keep: bool = True) -> None:
        """Keep an accepted item for validation from the next round on, or train on it again; saves.

        A `SemiGDAError` says that it is not accepted, or cannot be saved.
        """
        self._folder.check_writable()
        item = self._items.get(item)
        if keep and item not in self:
            raise SemiGDAError(f"{item.name} has no accepted mask to compare with: accept it first.")
        with self._folder.lock:
            others = tuple(one for one in self._manifest.manifest.validation if one != item.id)
            self._manifest.change(validation=(*others, item.id) if keep else others)
            self._items.note_change(item.id)

    def to_learn_from(self, besides: Collection[str] = ()) -> list[Item]:
        """Return the accepted items that are not kept for validation, without those with the given ids."""
        with self._folder.lock:
            ids = self.accepted.ids().difference(self._manifest.manifest.validation, besides)
            return self._items.of(ids)

    def for_training(self, labeled_ids: Collection[str] | None = None) -> tuple[list[Item], list[Item]]:
        """Return the labeled and unlabeled items of a round; not those skipped or kept for validation.

        `labeled_ids` count as labeled, in this order, as the record of a resumed round has them; what was
        accepted since is among the unlabeled ones then. None takes all that are accepted now.
        """
        with self._folder.lock:
            accepted, skipped = self.accepted.ids(), self._items.skipped
            aside = accepted.intersection(self._manifest.manifest.validation) - set(labeled_ids or ())
            ids = self._items.ids() if labeled_ids is None else labeled_ids
            labeled = [self._items.get(one) for one in ids if one in accepted and one not in aside]
            out = {item.id for item in labeled} | aside | (skipped - accepted)
            return labeled, [item for item in self._items.all if item.id not in out]

    def nothing_labeled(self) -> bool:
        """Return whether there are masks to learn from and all their pixels are unlabeled."""
        masks = (mask for item in self.to_learn_from() if (mask := self.readable(item)) is not None)
        first = next(masks, None)
        return first is not None and all((mask == UNKNOWN).all() for mask in chain([first], masks))

    def readable(self, item: Item) -> NDArray[np.uint8] | None:
        """Read an accepted mask; None also where it cannot be read, which training reports."""
        with suppress(SemiGDAError):
            return self.get(item)
        return None

    # What the annotator does

    def accept(self, item: Item | str, labels: NDArray[Any], *, event: str | None = None) -> JournalEntry:
        """Save a mask for good: when this returns, it is on the disk.

        The label file is written first, then the journal, then an unfinished edit is removed (which was
        updated before, so that a crash between leaves nothing stale). A label file that is
        in the way and is no mask of this item, or that another program changed since the annotator was
        shown it (by `starting_mask`), is kept as `labels/<id>.replaced-N.tif`.

        `labels` is (H, W), integer or boolean: 0 background, 1 … K-1 classes, 255 unlabeled. The event is
        ``"accepted"`` unless given, or ``"corrected"`` where it was accepted before; its entry in the journal
        is returned, with how much was changed in the draft. A `SemiGDAError` says that the mask does not fit
        the item or cannot be saved, and what was accepted before still is; `MayNotLast`, that it was saved,
        but the disk failed then: accept it again once the disk works.
        """
        self._folder.check_writable()
        item = self._items.get(item)
        mask = self.accepted.checked(item, labels)
        with self._folder.lock:
            event = event or ("corrected" if item in self else "accepted")
            note = self._files.keep_unseen(item)
            # A program that accepts what no annotator was shown is taken to know the newest draft.
            shown = self._seen_drafts.of(item, edited=item.id in self.edits) or self._drafts.newest(item)
            accepted = self.readable(item)  # what is no mask of the item is none to go back to
            packed = None if accepted is None else _Packed(accepted)
            draft = None if shown.draft is None else _Packed(shown.draft)
            skipped = item.id in self._items.skipped
            if item.id in self.edits:
                self.edits.write(item, mask)
            self._files.write(item, mask)
            stamp = self._files.seen(item)
            self._undoable.append(_Accept(item.id, packed, draft, shown.round, skipped, stamp))
            entry = JournalEntry(now(), item.id, event, note=note)
            if shown.draft is not None:
                dice, changed = measure(shown.draft, mask, self._manifest.manifest.classes[-1].value + 1)
                empty = not shown.draft.any()
                entry = replace(entry, dice=dice, changed=changed, round=shown.round, empty=empty)
            self._journal.add(entry)
            self._drop_edit(item)
            with suppress(SemiGDAError):  # accepted counts before skipped anyway
                self._items.set_skipped(item, False)
        return entry

    @property
    def undoable(self) -> tuple[Item, ...]:
        """The items whose accepts can be undone, the last accept last; empty when a session is opened."""
        with self._folder.lock:
            return tuple(self._items.get(one.item_id) for one in self._undoable)

    def undo_accept(self) -> Item:
        """Restore the item that was accepted last to a draft, or to its earlier accepted mask.

        What was painted stays as an edit, which is written first: a crash between leaves the mask accepted. A
        `SemiGDAError` says that there is none, its label file was changed since, or something cannot be
        written; then the mask stays accepted.
        """
        self._folder.check_writable()
        with self._folder.lock:
            if not self._undoable:
                raise SemiGDAError("No mask was accepted since the session was opened.")
            last = self._undoable[-1]
            item = self._items.get(last.item_id)
            mask = self.accepted.read(item)
            if mask is None or self.accepted.stamp(item.id) != last.stamp:
                self._undoable.pop()
                raise SemiGDAError(
                    f"The accepted mask of {item.name} was changed since it was accepted, so that accept "
                    "cannot be undone. Show the image, correct the mask and accept it again."
                )
            draft = None if last.draft is None else last.draft.labels()
            accepted = None if last.accepted is None else last.accepted.labels()
            if accepted is not None:  # classes removed since become unlabeled, as in the other masks
                known = [0, UNKNOWN, *(one.value for one in self._manifest.manifest.classes)]
                accepted = np.where(np.isin(accepted, known), accepted, np.uint8(UNKNOWN))
            before = self._drafts.get(item) if accepted is None else accepted  # a newer draft, perhaps
            self._keep_as_edit(item, mask, before, SeenDraft(draft, last.round))
            self._put_back(item, accepted)
            self._undoable.pop()
            self._journal.add(JournalEntry(now(), item.id, UNDONE))
            if last.skipped:
                self._items.set_skipped(item, True)
        return item

    def keep_edit(self, item: Item | str, labels: NDArray[Any]) -> None:
        """Save what is painted so far, without accepting it; raises `SemiGDAError`."""
        self._folder.check_writable()
        item = self._items.get(item)
        mask = self.edits.checked(item, labels)
        with self._folder.lock:
            self.edits.write(item, mask)
            self._seen_drafts.keep(item)

    def discard_edit(self, item: Item | str) -> None:
        """Forget what is painted on an item and not accepted."""
        self._folder.check_writable()
        with self._folder.lock:
            self._drop_edit(self._items.get(item))

    def skip(self, item: Item | str) -> None:
        """Skip an item: not suggested, not trained on, not exported. Accepted ones stay accepted."""
        self._folder.check_writable()
        item = self._items.get(item)
        with self._folder.lock:
            if item not in self and self._items.set_skipped(item, True):
                self._journal.add(JournalEntry(now(), item.id, "skipped"))

    def unskip(self, item: Item | str) -> None:
        """Take an item up again that was skipped."""
        self._folder.check_writable()
        item = self._items.get(item)
        with self._folder.lock:
            if self._items.set_skipped(item, False):
                self._journal.add(JournalEntry(now(), item.id, "unskipped"))

    # Details

    def _keep_as_edit(
        self, item: Item, mask: NDArray[np.uint8], before: NDArray[np.uint8] | None, seen: SeenDraft
    ) -> None:
        """Keep a mask that is no longer accepted, unless it is as before or somebody painted since."""
        if item.id in self.edits:
            return
        self._seen_drafts.see(item, seen)
        if not np.array_equal(mask, np.zeros_like(mask) if before is None else before):
            self.edits.write(item, mask)
            self._seen_drafts.keep(item)

    def _put_back(self, item: Item, accepted: NDArray[np.uint8] | None) -> None:
        """Make a label file what it was before, or remove it."""
        try:
            if accepted is None:
                self.accepted.remove(item.id)
            else:
                self.accepted.write(item, accepted)
        finally:
            self._files.note_written(item)
        if accepted is None and item in self:
            raise SemiGDAError(
                f"“{self.accepted.file(item.id)}” could not be deleted, so the mask is still accepted. "
                "Give write permission there, then try again."
            )
        stamp = self._files.seen(item)
        earlier = (replace(one, stamp=stamp) if one.item_id == item.id else one for one in self._undoable)
        self._undoable = deque(earlier, maxlen=UNDOABLE)

    def _drop_edit(self, item: Item) -> None:
        self.edits.remove(item.id)
        self._seen_drafts.drop(item)
