"""Removing a class from the masks that hold it, without losing what was painted."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.io.atomic import write_bytes
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.items import Item
from napari_semigda.session.mask_files import MaskFolder

Progress = Callable[[int, int], None]


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


class Replaced(NamedTuple):
    """A mask file that was written anew, and the copy of what it was before."""

    masks: MaskFolder
    item: Item
    copy: Path


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


def take_out(
    places: Iterable[tuple[MaskFolder, Sequence[Item]]], value: int, commit: Callable[[], object]
) -> list[Replaced]:
    """Make the pixels of a class ones that nobody looked at, in all these masks or in none.

    Of each mask a copy is kept beside it. Each file is the old one or the new one at any time.

    Parameters
    ----------
    places
        Folders of masks, and the items of which the mask holds the class.
    value
        The class.
    commit
        Called when all masks are written; if it fails, everything is as before.

    Raises
    ------
    SemiGDAError
        When something cannot be written; the masks are then what they were.
    """
    replaced: list[Replaced] = []
    try:
        for masks, items in places:
            for item in items:
                mask = masks.read(item)
                if mask is not None:
                    replaced.append(Replaced(masks, item, masks.set_aside(item)))
                    masks.write(item, np.where(mask == value, np.uint8(UNKNOWN), mask))
        commit()
    except BaseException:
        for masks, item, copy in reversed(replaced):
            write_bytes(masks.file(item.id), copy.read_bytes())
            copy.unlink(missing_ok=True)
        raise
    return replaced
