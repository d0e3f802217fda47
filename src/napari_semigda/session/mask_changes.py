"""Changing the masks of many images at once: where a class was removed, or one was added later."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.pictures import MANIFEST_NAME
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.pace import Cancel, Progress, counted, tracked
from napari_semigda.session.folder import SessionFolder
from napari_semigda.session.item_list import ItemList
from napari_semigda.session.items import Item
from napari_semigda.session.journal import JournalEntry, now, read_entries
from napari_semigda.session.labels import LabelFiles, Stamp
from napari_semigda.session.layout import JOURNAL
from napari_semigda.session.mask_files import MaskFolder
from napari_semigda.session.transaction import digest

Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Returns the new form of a mask: (H, W) uint8."""

NewManifest = Callable[[], tuple[Path, Callable[[], object]]]
"""Writes a changed manifest beside the present one; returns its file, and what to call when it took over."""

_Staged = dict[tuple[MaskFolder, Item], tuple[Stamp, Path | None]]
"""New forms of masks: the stamp of each mask's file, and the new file beside it if there is a change."""


class ChangedMask(NamedTuple):
    """A mask that was changed with others: its folder, item, a copy as it was, and its file's digest now."""

    masks: MaskFolder
    item: Item
    kept: Path
    digest: str


class MaskChanges:
    """Changes to the accepted masks and unfinished edits of a session, all of them or none."""

    def __init__(self, folder: SessionFolder, items: ItemList, files: LabelFiles, edits: MaskFolder) -> None:
        self._folder, self._items, self._files = folder, items, files
        self.accepted, self.edits = files.masks, edits

    def change(
        self,
        change: Change,
        what: str,
        event: str,
        note: str,
        *,
        manifest: NewManifest | None = None,
        among: Collection[str] | None = None,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> list[ChangedMask]:
        """Change masks as one transaction; see `napari_semigda.session.transaction`.

        The new ones are written while others go on working; the session is locked only for the moment in
        which they replace the old ones, which are kept as `<id>.replaced-N.tif`. `what` names the change, and
        the number of masks is added to it; `event` and `note` go into the journal, of each accepted mask;
        only masks of the items with ids `among` these take part, unless that is None.
        """
        staged: _Staged = {}
        new_manifest: Path | None = None
        try:
            for masks, item in tracked(self._masks(among), progress, cancelled):
                _stage(staged, change, masks, item)
            with self._folder.lock:
                for masks, item in self._masks(among):
                    _stage(staged, change, masks, item)  # again, where one was accepted meanwhile
                if manifest is None:
                    return self._commit(staged, None, what, event, note)
                new_manifest, then = manifest()
                changed = self._commit(staged, new_manifest, what, event, note)
                then()
                return changed
        finally:
            if not self._folder.transactions.unfinished:
                for file in (new_manifest, *(new for _, new in staged.values())):
                    _remove(file)

    def restore(self, changed: Sequence[ChangedMask], what: str, note: str) -> list[Item]:
        """Restore masks that were changed with others, but for those changed since."""
        with self._folder.lock:
            as_left = [
                one
                for one in changed
                if one.kept.is_file() and digest(one.masks.file(one.item.id)) == one.digest
            ]
            steps = [(one.kept, one.masks.file(one.item.id), None) for one in as_left]
            items = [one.item for one in as_left if one.masks is self.accepted]
            entries = [JournalEntry(now(), item.id, "mask restored", note=note) for item in items]
            if steps:
                self._folder.transactions.commit(f"{what} {counted(len(steps), 'mask')}", steps, entries)
            for one in as_left:
                self._note_changed(one.masks, one.item)
        return items

    def holding(
        self, masks: MaskFolder, value: int, progress: Progress | None = None, cancelled: Cancel | None = None
    ) -> tuple[Item, ...]:
        """Return the items whose mask in a folder holds a value; masks that cannot be read do not."""
        found = []
        for item in tracked(self._items.all, progress, cancelled):
            with suppress(SemiGDAError):
                mask = masks.read(item)
                if mask is not None and (mask == value).any():
                    found.append(item)
        return tuple(found)

    def undo_interrupted_removal(self, class_values: Collection[int], manifest_written: int) -> None:
        """Restore the masks from which an older version had begun to remove a class when it was stopped.

        Such a version wrote a copy of each mask, then the mask, and the manifest and the journal at last.
        What is older than the manifest (in nanoseconds) may mean something else, and is only reported.
        """
        accepted = self.accepted
        steps: list[tuple[Path, Path, Path | None]] = []
        entries, older = [], []
        copies = accepted.copies()
        notes = " ".join(entry.note for entry in read_entries(self._folder.path / JOURNAL)) if copies else ""
        for item_id, copy in copies:
            value = None if copy.name in notes else _unlabeled_class(accepted, self._items.get(item_id), copy)
            if value is None or value not in class_values:
                continue
            if copy.lstat().st_mtime_ns < manifest_written:
                older.append(copy)
                continue
            note = "an older version was stopped while it removed a class"
            steps.append((copy, accepted.file(item_id), None))
            entries.append(JournalEntry(now(), item_id, "mask restored", note=note))
        if steps:
            self._folder.transactions.commit(f"Restoring {counted(len(steps), 'mask')}", steps, entries)
            for entry in entries:
                self._note_changed(accepted, self._items.get(entry.item))
            self._folder.warn(
                f"Removing a class was interrupted by the end of the program: {counted(len(steps), 'mask')} "
                "without it were restored."
            )
        if older:
            self._folder.warn(
                f"{counted(len(older), 'mask')} may lack a class: an older version may have been stopped "
                f"while it removed one. Compare with the copy “{older[0]}”."
            )

    def _masks(self, among: Collection[str] | None) -> list[tuple[MaskFolder, Item]]:
        with self._folder.lock:
            return [
                (masks, item)
                for masks in (self.accepted, self.edits)
                for item in self._items.of(masks.ids())
                if among is None or item.id in among
            ]

    def _commit(
        self, staged: _Staged, new_manifest: Path | None, what: str, event: str, note: str
    ) -> list[ChangedMask]:
        """Replace masks by their new forms."""
        steps: list[tuple[Path, Path, Path | None]] = []
        if new_manifest is not None:
            steps.append((new_manifest, self._folder.path / MANIFEST_NAME, None))
        entries, changed = [], []
        for (masks, item), (_, file) in staged.items():
            if file is None:
                continue
            kept = masks.kept_name(item.id)
            steps.append((file, masks.file(item.id), kept))
            changed.append(ChangedMask(masks, item, kept, digest(file)))
            if masks is self.accepted:
                text = f"{note}; the mask before is kept as {kept.name}"
                entries.append(JournalEntry(now(), item.id, event, note=text))
        if steps:
            self._folder.transactions.commit(f"{what} {counted(len(changed), 'mask')}", steps, entries)
        for one in changed:
            self._note_changed(one.masks, one.item)
        return changed

    def _note_changed(self, masks: MaskFolder, item: Item) -> None:
        masks.note(item.id)
        if masks is self.accepted:
            self._files.note_written(item)


def _stage(staged: _Staged, change: Change, masks: MaskFolder, item: Item) -> None:
    """Write the new form of a mask, unless that was done and the mask is still the same.

    Files that hold no mask stay as they are; a disk that fails while one is read raises.
    """
    stamp = masks.stamp(item.id)
    known = staged.get((masks, item))
    if known is not None:
        if known[0] == stamp:
            return
        _remove(known[1])
    mask = None
    try:
        mask = masks.read(item)
    except SemiGDAError as error:
        if _is_of_disk(error):  # what it holds is not known, so it cannot stay
            raise
    file = None
    if mask is not None and not np.array_equal(mask, changed := change(mask)):
        file = masks.stage(item, changed)
    staged[masks, item] = stamp, file


def _remove(file: Path | None) -> None:
    if file is not None:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def _is_of_disk(error: BaseException | None) -> bool:
    """Whether the system refused to read, and not the file's content was at fault."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return True
        error = error.__cause__
    return False


def _unlabeled_class(masks: MaskFolder, item: Item, copy: Path) -> int | None:
    """Return the class that is unlabeled in a mask and not in a copy; None if they differ otherwise."""
    try:
        before, after = masks.read_copy(item, copy), masks.read(item)
    except SemiGDAError:
        return None
    if after is None:
        return None
    differs = before != after
    values = np.unique(before[differs])
    return int(values[0]) if values.size == 1 and (after[differs] == UNKNOWN).all() and values[0] else None


def replaced(value: int, by: int) -> Change:
    """Return the change of one value into another."""
    return lambda mask: np.where(mask == value, np.uint8(by), mask)
