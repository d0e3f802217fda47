"""The mask files of a session: a TIFF for each item, which is refused if it is no mask of that item."""

import os
import threading
import unicodedata
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import MayNotLast, cannot_read, cannot_write, temporary_name, write_bytes
from napari_semigda.io.files import check_own, is_own_file, read_own
from napari_semigda.io.masks import read_labels, write_labels
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.items import Item, size_for_people
from napari_semigda.session.layout import make_folder
from napari_semigda.session.transaction import Transactions, pending_name

_BAND = 128  # rows of a mask that are checked together


class MaskFolder:
    """One folder of masks: `labels`, `edits` or `predictions`.

    The folder is listed once; after that, its content is known from what happens here. A file that another
    program removed is noticed when it is read; files that are named after none of the `ids` are ignored.
    `changed` is called, under the session's lock, with the id of each item whose mask was written or removed.
    If `forgiving`, a value that is none of `class_values()` counts as background: the class was removed.
    """

    def __init__(
        self,
        folder: Path,
        ids: Collection[str],
        class_values: Callable[[], Collection[int]],
        lock: threading.RLock,
        changed: Callable[[str], object],
        transactions: Transactions,
        *,
        forgiving: bool,
    ) -> None:
        self.folder = folder
        self._class_values = class_values
        self._forgiving = forgiving
        self._lock = lock
        self._changed = changed
        self._transactions = transactions
        stems = _stems(folder) | transactions.stems(folder)
        self._present = stems.keys() & set(ids)
        self._stems = {item_id: stem for item_id in self._present if (stem := stems[item_id]) != item_id}

    def __contains__(self, item_id: str) -> bool:
        with self._lock:
            return item_id in self._present

    def ids(self) -> set[str]:
        """Return the ids of all items that have a mask here."""
        with self._lock:
            return set(self._present)

    def file(self, item_id: str) -> Path:
        """Return the path of an item's mask, whether it exists or not."""
        return self.folder / f"{self._stems.get(item_id, item_id)}.tif"

    def read(self, item: Item) -> NDArray[np.uint8] | None:
        """Read the mask of an item: (H, W) uint8; None without one.

        Raises a `SemiGDAError` when the file is damaged or does not fit the image; it is left as it is.
        """
        if item.id not in self:
            return None
        path = self._transactions.current(self.file(item.id))
        try:
            return self.read_copy(item, path)
        except SemiGDAError as error:
            if path != self.file(item.id) and self._is_gone(path):
                return self.read(item)  # it was renamed in this moment
            if self._is_gone(path):
                with self._lock:
                    self._present.discard(item.id)
                    self._changed(item.id)
                return None
            raise SemiGDAError(
                f"“{path}” could not be used as a mask of {item.name}: {error} "
                "Restore a copy of it, or move it away to label the image again."
            ) from error

    def write(self, item: Item, mask: NDArray[np.uint8], *, durable: bool = True) -> None:
        """Write a checked mask; the earlier one stays until this one is complete.

        Raises `MayNotLast` when it is written, but the disk failed then.
        """
        with self._lock:
            make_folder(self.folder)
            try:
                write_labels(self.file(item.id), mask, item.pixel_size, item.unit, durable=durable)
            except MayNotLast:
                self.note(item.id)
                raise
            self.note(item.id)

    def note(self, item_id: str) -> None:
        """Note that the mask of an item was written."""
        with self._lock:
            self._present.add(item_id)
            self._changed(item_id)

    def stage(self, item: Item, mask: NDArray[np.uint8]) -> Path:
        """Write a mask under another name, for a transaction, and return the file."""
        path = pending_name(self.file(item.id))
        write_labels(path, mask, item.pixel_size, item.unit, durable=False)
        return path

    @contextmanager
    def staged(self, item: Item, mask: NDArray[np.uint8]) -> Iterator[Callable[[], None]]:
        """Write a mask that can be computed again under another name, without holding the lock.

        Yields a function that renames it at once, to be called under the session's lock.
        """
        make_folder(self.folder)
        path = self.file(item.id)
        beside = temporary_name(path)
        write_labels(beside, mask, item.pixel_size, item.unit, durable=False)

        def put() -> None:
            try:
                os.replace(beside, path)
            except OSError as error:
                raise cannot_write(path, error) from error
            self.note(item.id)

        try:
            yield put
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    def remove(self, item_id: str) -> None:
        """Remove the mask of an item; it stays listed where its file could not be removed."""
        with self._lock, suppress(OSError):
            self.file(item_id).unlink(missing_ok=True)
            self._present.discard(item_id)
            self._changed(item_id)

    def notice(self, item_id: str) -> None:
        """Take over a file that another program put there since the folder was listed."""
        with self._lock:
            if item_id not in self._present and is_own_file(self.file(item_id), self.folder.parent):
                self.note(item_id)

    def stamp(self, item_id: str) -> tuple[int, int] | None:
        """Return what changes whenever the file of an item does, whoever changes it; None without a file."""
        path = self._transactions.current(self.file(item_id))
        try:
            status = path.lstat()
        except OSError as error:
            if item_id not in self or self._is_gone(path):
                return None
            raise cannot_read(path, error) from error
        return status.st_mtime_ns, status.st_size

    def _is_gone(self, path: Path) -> bool:
        """Whether a file of this folder was removed; without the folder the whole disk may be gone."""
        try:
            return self.folder.is_dir() and not os.path.lexists(path)
        except OSError:  # a disk that does not answer has removed nothing
            return False

    def holds_mask(self, item: Item) -> bool:
        """Return whether the file of an item holds a mask of it."""
        try:
            self.read_copy(item, self.file(item.id))
        except SemiGDAError:
            return False
        return True

    def kept_name(self, item_id: str) -> Path:
        """Return an unused name for a copy of an item's mask: `<id>.replaced-N.tif`."""
        path, number = self.file(item_id), 1
        while os.path.lexists(kept := path.with_name(f"{item_id}.replaced-{number}.tif")):
            number += 1
        return kept

    def copies(self) -> list[tuple[str, Path]]:
        """List the copies of masks that were replaced, `<id>.replaced-N.tif`, with the items' ids."""
        found = []
        for name, stem in _stems(self.folder).items():
            item_id, mark, number = name.partition(".replaced-")
            if mark and number.isdecimal() and item_id in self:
                found.append((item_id, self.folder / f"{stem}.tif"))
        return sorted(found)

    def read_copy(self, item: Item, path: Path) -> NDArray[np.uint8]:
        """Read a copy of an item's mask: (H, W) uint8."""
        check_own(path, self.folder.parent)
        return self.checked(item, read_labels(path))

    def set_aside(self, item: Item) -> Path:
        """Copy the file of an item's mask to `<id>.replaced-N.tif`, and return the copy; a link is moved."""
        path, kept = self.file(item.id), self.kept_name(item.id)
        try:
            if not is_own_file(path, self.folder.parent):
                path.rename(kept)
                return kept
            content = read_own(path, self.folder.parent)
        except OSError as error:
            raise cannot_read(path, error) from error
        write_bytes(kept, content)
        return kept

    def checked(self, item: Item, labels: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the mask as uint8 if it is one for this item.

        Raises a `SemiGDAError` when its size is not the image's, or it holds a value that is neither a class
        nor 255.
        """
        mask = np.asarray(labels)
        if mask.ndim != 2 or mask.dtype.kind not in "bui":
            raise SemiGDAError(
                f"The mask of {item.name} should have two dimensions and whole numbers, but it has the shape "
                f"{mask.shape} and the type {mask.dtype}."
            )
        if mask.shape != item.shape:
            raise SemiGDAError(
                f"The mask of {item.name} has {size_for_people(mask.shape)} pixels, "
                f"but the image has {size_for_people(item.shape)}."
            )
        values = self._class_values()
        foreign = _foreign(mask, values)
        if foreign is None:
            return mask.astype(np.uint8, copy=False)
        if self._forgiving:
            return np.where(foreign, 0, mask).astype(np.uint8)
        raise SemiGDAError(
            f"The mask of {item.name} holds the value {int(mask[foreign][0])}, but the classes of this "
            f"session have the values {', '.join(map(str, (0, *values)))} (and {UNKNOWN} is unlabeled)."
        )


def _foreign(mask: NDArray[Any], values: Collection[int]) -> NDArray[np.bool_] | None:
    """Return which pixels are neither background nor of a class nor `UNKNOWN`; None if none is."""
    known = np.zeros(256, bool)
    known[[0, UNKNOWN, *values]] = True
    bands = (mask[top : top + _BAND] for top in range(0, len(mask), _BAND))  # of a large mask no copies
    if mask.dtype == np.uint8 and all(known[band].all() for band in bands):
        return None
    inside = (mask >= 0) & (mask <= UNKNOWN)
    foreign: NDArray[np.bool_] = ~(inside & known[np.where(inside, mask, 0).astype(np.uint8)])
    return foreign if foreign.any() else None


def _stems(folder: Path) -> dict[str, str]:
    """List the masks in a folder by ids; a name copied from macOS may have its accents decomposed."""
    try:
        files = [
            entry.name
            for entry in os.scandir(folder)
            if entry.name.endswith(".tif") and not entry.is_dir(follow_symlinks=False)
        ]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise cannot_read(folder, error) from error
    stems = [file.removesuffix(".tif") for file in files]
    exact = {stem: stem for stem in stems if unicodedata.is_normalized("NFC", stem)}
    return {unicodedata.normalize("NFC", stem): stem for stem in stems} | exact
