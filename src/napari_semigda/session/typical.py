"""The image to begin a session with: the one most like all others, told from small copies of a sample."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import normalize
from napari_semigda.io.bands import opened_copy
from napari_semigda.session.items import Item
from napari_semigda.session.selection import spread_order
from napari_semigda.session.session import Session

MOST_READ = 64  # images, spread evenly over the list: more do not move the middle much
FEWEST_READ = 3  # of fewer none is in the middle
SIDE = 64  # pixels: about what a copy is thinned out to
CELLS = 4  # a side
QUICKLY_READ = 2_000_000  # pixels of an image that is read in hundredths of a second


def typical_item(
    session: Session,
    *,
    seconds: float = 5.0,
    most_pixels: float = QUICKLY_READ,
    clock: Callable[[], float] = time.monotonic,
) -> Item | None:
    """Choose the image that waits and is most like the others that do.

    Of a sample of `MOST_READ` images at most, however many there are, mean and spread of every channel are
    compared in 4 × 4 cells; the image with the smallest sum of distances to the others is the typical one.

    Parameters
    ----------
    session
        Whose images.
    seconds
        No further image is read after so long.
    most_pixels
        Images with more pixels than this are left out.
    clock
        Gives seconds.

    Returns
    -------
    Item or None
        None where fewer than `FEWEST_READ` could be read.

    Examples
    --------
    >>> session.current_item = typical_item(session)  # doctest: +SKIP
    """
    waiting = [item for item in session.items if session.state(item).waits]
    end = clock() + seconds
    read: list[Item] = []
    looks: list[NDArray[np.float32]] = []
    for place in spread_order(len(waiting)):
        item = waiting[place]
        if clock() > end or len(read) == MOST_READ:
            break
        look = _look(session, item) if item.shape[0] * item.shape[1] <= most_pixels else None
        if look is not None:
            read.append(item)
            looks.append(look)
    if len(read) < FEWEST_READ:
        return None
    return read[_medoid(np.stack(looks))]


def _medoid(looks: NDArray[np.float32]) -> int:
    """Row of (n, D) with the smallest sum of distances to all others."""
    apart = np.linalg.norm(looks[:, None] - looks[None], axis=-1)
    return int(apart.sum(axis=1).argmin())


def _look(session: Session, item: Item) -> NDArray[np.float32] | None:
    """Mean and spread of each channel in each cell, as the network sees colors; None if it cannot be read."""
    try:
        with opened_copy(session.plane(item), SIDE) as pixels:
            step = max(1, min(pixels.shape[:2]) // SIDE)
            colors = np.asarray(normalize(pixels[::step, ::step], session.settings))
    except SemiGDAError:
        return None
    rows, columns = (np.array_split(np.arange(size), CELLS) for size in colors.shape[1:])
    cells = [
        colors[:, row[:, None], column] for row in rows for column in columns if row.size and column.size
    ]
    measured = np.array([(cell.mean(axis=(1, 2)), cell.std(axis=(1, 2))) for cell in cells], np.float32)
    full = np.zeros((CELLS * CELLS, *measured.shape[1:]), np.float32)
    full[: len(measured)] = measured
    return full.ravel()
