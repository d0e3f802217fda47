"""Changing the masks of many images at once: where a class was removed, or one was added later."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.items import Item
from napari_semigda.session.mask_files import MaskFolder

Progress = Callable[[int, int], None]

Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Gives the new form of a mask: (H, W) uint8."""


class ClassUse(NamedTuple):
    """Where a class was painted.

    Parameters
    ----------
    accepted
        Items whose accepted mask holds it.
    painted
        Items on which it is painted, not accepted.
    """

    accepted: tuple[Item, ...]
    painted: tuple[Item, ...]

    @property
    def images(self) -> int:
        """In how many images it is."""
        return len({item.id for item in (*self.accepted, *self.painted)})


class ChangedMask(NamedTuple):
    """A mask that was changed with others, and the copy of what it was before.

    Parameters
    ----------
    masks
        The folder that it is in.
    item
        Whose mask.
    kept
        The copy, beside it.
    digest
        Of the file that took its place.
    """

    masks: MaskFolder
    item: Item
    kept: Path
    digest: str


class StagedMasks:
    """New forms of masks, written beside the files they shall replace, while others go on working.

    Parameters
    ----------
    change
        Gives the new form of a mask; where it is equal to the old one, the mask stays.
    """

    def __init__(self, change: Change) -> None:
        self._change = change
        self._files: dict[tuple[MaskFolder, Item], tuple[tuple[int, int] | None, Path | None]] = {}

    def stage(self, masks: MaskFolder, item: Item) -> None:
        """Write the new form of a mask, unless this was done and the mask is still the same.

        Files that hold no mask stay as they are.

        Raises
        ------
        SemiGDAError
            When the disk fails while it is read, or it cannot be written.
        """
        stamp = masks.stamp(item.id)
        known = self._files.get((masks, item))
        if known is not None and known[0] == stamp:
            return
        self._remove(known)
        mask = None
        try:
            mask = masks.read(item)
        except SemiGDAError as error:
            if _is_of_disk(error):  # what it holds is not known, so it cannot stay
                raise
        changed = None if mask is None else self._change(mask)
        same = mask is None or changed is None or np.array_equal(mask, changed)
        self._files[masks, item] = (stamp, None if same or changed is None else masks.stage(item, changed))

    def changes(self) -> list[tuple[MaskFolder, Item, Path]]:
        """List the masks that will be others, and their new files."""
        return [(masks, item, file) for (masks, item), (_, file) in self._files.items() if file is not None]

    def remove(self) -> None:
        """Remove the new files."""
        for known in self._files.values():
            self._remove(known)

    @staticmethod
    def _remove(known: tuple[tuple[int, int] | None, Path | None] | None) -> None:
        if known is not None and known[1] is not None:
            with suppress(OSError):
                known[1].unlink(missing_ok=True)


def _is_of_disk(error: BaseException | None) -> bool:
    """Whether the system refused to read, and not the file's content was at fault."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return True
        error = error.__cause__
    return False


def taken_out(masks: MaskFolder, item: Item, copy: Path) -> int | None:
    """Return the class that is unlabeled in a mask and not in a copy; None if they differ otherwise.

    Before there were transactions, a class was removed from mask after mask, each with a copy beside it.
    """
    try:
        before, after = masks.read_copy(item, copy), masks.read(item)
    except SemiGDAError:
        return None
    if after is None:
        return None
    differs = before != after
    values = np.unique(before[differs])
    return int(values[0]) if values.size == 1 and (after[differs] == UNKNOWN).all() and values[0] else None


def items_with(
    masks: MaskFolder,
    items: Sequence[Item],
    value: int,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[Item, ...]:
    """Find the items whose mask holds a value; masks that cannot be read are none.

    Raises
    ------
    Cancelled
        If `cancelled` said so.
    """
    found = []
    for done, item in enumerate(items, start=1):
        if cancelled is not None and cancelled():
            raise Cancelled
        with suppress(SemiGDAError):
            mask = masks.read(item)
            if mask is not None and (mask == value).any():
                found.append(item)
        if progress is not None:
            progress(done, len(items))
    return tuple(found)


def replaced(value: int, by: int) -> Change:
    """Return the change of one value into another."""

    def change(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.where(mask == value, np.uint8(by), mask)

    return change
