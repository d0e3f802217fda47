"""The image to begin a session with: the one most like all others, judged by small copies of a sample."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings, normalize
from napari_semigda.io.bands import opened_copy
from napari_semigda.io.pictures import Plane
from napari_semigda.session.images import ImageFiles
from napari_semigda.session.items import Item
from napari_semigda.session.ranking import spread_order

MOST_READ = 64  # images, spread evenly over the list: more do not move the middle much
FEWEST_READ = 3  # of fewer none is in the middle
SIDE = 64  # pixels: about what a copy is thinned out to
CELLS = 4  # a side
QUICKLY_READ = 2_000_000  # pixels of an image that is read in hundredths of a second


def typical_item(
    items: Sequence[Item],
    images: ImageFiles,
    settings: ImageSettings,
    *,
    seconds: float = 5.0,
    most_pixels: float = QUICKLY_READ,
    clock: Callable[[], float] = time.monotonic,
) -> Item | None:
    """Return the item whose image is most like the others'; None with fewer than `FEWEST_READ` images.

    Of a sample of `MOST_READ` images at most, mean and spread of every channel are compared in 4 × 4 cells;
    the image with the smallest sum of distances to the others is the typical one. No further image is read
    after `seconds`, and none with more pixels than `most_pixels`.
    """
    end = clock() + seconds
    read: list[Item] = []
    looks: list[NDArray[np.float32]] = []
    for index in spread_order(len(items)):
        item = items[index]
        if clock() > end or len(read) == MOST_READ:
            break
        if item.shape[0] * item.shape[1] > most_pixels:
            continue
        with suppress(SemiGDAError):
            looks.append(_look(images.plane(item), settings))
            read.append(item)
    if len(read) < FEWEST_READ:
        return None
    apart = np.linalg.norm(np.stack(looks)[:, None] - np.stack(looks)[None], axis=-1)
    return read[int(apart.sum(axis=1).argmin())]


def _look(plane: Plane, settings: ImageSettings) -> NDArray[np.float32]:
    """Mean and spread of each channel in each cell, as the network sees colors."""
    with opened_copy(plane, SIDE) as pixels:
        step = max(1, min(pixels.shape[:2]) // SIDE)
        colors = np.asarray(normalize(pixels[::step, ::step], settings))
    rows, columns = (np.array_split(np.arange(size), CELLS) for size in colors.shape[1:])
    cells = [
        colors[:, row[:, None], column] for row in rows for column in columns if row.size and column.size
    ]
    measured = np.array([(cell.mean(axis=(1, 2)), cell.std(axis=(1, 2))) for cell in cells], np.float32)
    full = np.zeros((CELLS * CELLS, *measured.shape[1:]), np.float32)
    full[: len(measured)] = measured
    return full.ravel()
