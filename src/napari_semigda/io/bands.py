"""Large planes, of which only what is asked for is read and decoded."""

import math
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_semigda.io.pictures import open_levels, read_plane
from napari_semigda.io.planes import Plane, StoredPixels

LARGE = 2**24
"""Pixels from which on an image is read part by part; a smaller one is whole in memory."""

OVERVIEW_SIDE = 6000
"""Most pixels on the long side of the copies in memory that show a large image zoomed out."""

_BAND_PIXELS = 2**24
_FEWEST_ROWS = 64  # read at a time


def _levels(plane: Plane, stack: ExitStack) -> list[StoredPixels]:
    """Open a large plane and its smaller copies; none where it has to be read whole."""
    return open_levels(plane, stack) if math.prod(plane.shape) >= LARGE else []


@contextmanager
def opened_copy(plane: Plane, side: int) -> Iterator["NDArray[Any] | BandedPixels"]:
    """Open the smallest copy of a plane whose long side has at least `side` pixels; as `opened_plane`.

    Where the file holds no smaller copies, or the plane is small, it is the plane itself.
    """
    with ExitStack() as stack:
        levels = _levels(plane, stack)
        fine = [level for level in levels if max(level.shape[:2]) >= side]
        yield BandedPixels((fine or levels)[-1 if fine else 0]) if levels else read_plane(plane).pixels


@contextmanager
def opened_plane(plane: Plane) -> Iterator["NDArray[Any] | BandedPixels"]:
    """Open one plane for reading it by slices, (H, W) or (H, W, C).

    A large plane of an OME-Zarr, or of a TIFF in tiles or strips of any compression, is read when it is
    sliced; everything else is read at once, as by `read_plane`. What is read is the same.

    Raises what `read_plane` does; for what is read when sliced, then.
    """
    with ExitStack() as stack:
        levels = _levels(plane, stack)
        yield BandedPixels(levels[0]) if levels else read_plane(plane).pixels


class BandedPixels:
    """A stored plane as an array, (H, W) or (H, W, C), that is read by whole rows of chunks.

    The rows decoded last are kept, so that overlapping windows from top to bottom decode each once. Not
    thread-safe.
    """

    def __init__(self, stored: StoredPixels) -> None:
        self._stored = stored
        self.shape, self.dtype = stored.shape, stored.dtype
        self._rows = stored.blocks(_FEWEST_ROWS)[0]
        self._kept: dict[int, NDArray[Any]] = {}

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read the rows that the first of the slices names, and slice the others out of them."""
        rows, *others = key if isinstance(key, tuple) else (key,)
        start, stop, step = rows.indices(self.shape[0])
        parts = [
            band[first - top :: step][:, *others]
            for top, band in self._bands(start, stop)
            if (first := max(start, top + (start - top) % step)) < min(stop, top + len(band))
            for band in [band[: stop - top]]
        ]
        if not parts:
            return np.empty((0, *self.shape[1:]), self.dtype)[:, *others]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _bands(self, start: int, stop: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield rows of chunks from top to bottom, each with its first row of pixels."""
        wanted = range(start // self._rows, -(-stop // self._rows) if stop > start else start // self._rows)
        for number in wanted:
            if number not in self._kept:
                band = self._stored[number * self._rows : (number + 1) * self._rows]
                self._kept = {one: kept for one, kept in self._kept.items() if one in wanted}
                self._kept[number] = band
            yield number * self._rows, self._kept[number]


@dataclass(frozen=True)
class LargePicture:
    """A plane too large to be held in memory only to be shown.

    `levels` are the plane at full resolution and the smaller copies that its file holds, to be read by
    slices; `overviews` still smaller copies, in memory, the smallest last.
    """

    levels: tuple[StoredPixels, ...]
    overviews: tuple[NDArray[Any], ...]
    pixel_size: tuple[float, float]
    unit: str


def open_stored(plane: Plane) -> StoredPixels | None:
    """Open a large plane to read parts of it; None where it is small, or has to be read whole.

    Its file stays open as long as what is returned lives. Raises what `read_plane` does.
    """
    levels = _kept_open(plane)
    return levels[0] if levels else None


def open_large(plane: Plane) -> LargePicture | None:
    """Open a large plane to be shown; None where it is small or a mere line, or has to be read whole.

    Its file stays open as long as what is returned lives. Raises what `read_plane` does.
    """
    narrow, long = sorted(plane.shape)
    if long <= OVERVIEW_SIDE or narrow * OVERVIEW_SIDE < 2 * long:  # a line vanishes when zoomed out
        return None
    levels = _kept_open(plane)
    if not levels:
        return None
    large = [level for level in levels if max(level.shape[:2]) > OVERVIEW_SIDE]
    overviews = [level[:] for level in levels[len(large) :]] or [_thinned_out(large[-1])]
    while max(overviews[-1].shape[:2]) > OVERVIEW_SIDE // 4:
        overviews.append(overviews[-1][::2, ::2])
    return LargePicture(tuple(large), tuple(overviews), plane.pixel_size, plane.unit)


def _kept_open(plane: Plane) -> list[StoredPixels]:
    with ExitStack() as stack:
        levels = _levels(plane, stack)
        keeper = _Keeper(stack.pop_all())
        for level in levels:
            level.keeps = keeper
        return levels


class _Keeper:
    """Closes files when nothing reads from them anymore."""

    def __init__(self, files: ExitStack) -> None:
        weakref.finalize(self, files.close)


def _thinned_out(stored: StoredPixels) -> NDArray[Any]:
    """Return every n-th pixel of a plane, n being a power of two, read band by band."""
    step = 2 ** math.ceil(math.log2(max(stored.shape[:2]) / OVERVIEW_SIDE))
    rows = max(step, _BAND_PIXELS // stored.shape[1] // step * step)
    return np.concatenate(
        [
            stored[top + step // 2 : top + rows : step, step // 2 :: step]
            for top in range(0, stored.shape[0], rows)
            if top + step // 2 < stored.shape[0]
        ]
    )
