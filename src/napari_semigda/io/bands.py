"""Large planes, of which only what is asked for is read and decoded."""

import math
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_semigda.io.omezarr import is_zarr
from napari_semigda.io.pictures import read_plane, zarr_image
from napari_semigda.io.planes import Plane, StoredPixels, explained
from napari_semigda.io.tiff import StoredPlane, open_tiff_plane
from napari_semigda.io.tiff_pages import is_tiff

LARGE = 2**24
"""Pixels from which on a picture is read piece by piece; a smaller one is whole in memory."""

OVERVIEW_SIDE = 6000
"""A large picture is seen from afar in copies whose long sides have no more pixels; they are in memory."""

_BAND_PIXELS = 2**24
_FEWEST_ROWS = 64  # read at a time


@contextmanager
def opened_copy(plane: Plane, side: int) -> Iterator["NDArray[Any] | BandedPixels"]:
    """Open the smallest copy of a plane whose long side has so many pixels, as `opened_plane` does.

    Where the file holds no smaller copies, or the plane is small, it is the plane itself.
    """
    with ExitStack() as stack:
        levels = _stored_levels(plane, stack)
        fine = [level for level in levels if max(level.shape[:2]) >= side]
        yield BandedPixels((fine or levels)[-1 if fine else 0]) if levels else read_plane(plane).pixels


@contextmanager
def opened_plane(plane: Plane) -> Iterator["NDArray[Any] | BandedPixels"]:
    """Open one plane for reading it by slices, (H, W) or (H, W, C).

    A large plane of an OME-Zarr, or of a TIFF in tiles or strips of any compression, is read when it is
    sliced; everything else is read at once, as by `read_plane`. What is read is the same.

    Raises
    ------
    SemiGDAError
        As `read_plane`; for what is read when sliced, then.
    """
    with ExitStack() as stack:
        levels = _stored_levels(plane, stack)
        yield BandedPixels(levels[0]) if levels else read_plane(plane).pixels


class BandedPixels:
    """A stored plane as an array, (H, W) or (H, W, C), that is read by whole rows of chunks.

    The rows that were decoded last are kept, so that overlapping windows from top to bottom decode each
    once. Not thread-safe.

    Parameters
    ----------
    stored
        The plane.
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
        """Rows of chunks from top to bottom, each with its first row of pixels."""
        wanted = range(start // self._rows, -(-stop // self._rows) if stop > start else start // self._rows)
        for number in wanted:
            if number not in self._kept:
                band = self._stored[number * self._rows : (number + 1) * self._rows]
                self._kept = {one: kept for one, kept in self._kept.items() if one in wanted}
                self._kept[number] = band
            yield number * self._rows, self._kept[number]


@dataclass(frozen=True)
class LargePicture:
    """A plane too large to be held in memory only to look at it.

    Parameters
    ----------
    levels
        The plane in full resolution, and the smaller copies that its file holds, to be read by slices.
    overviews
        Still smaller copies, in memory; the last one is the smallest of all.
    pixel_size, unit
        As in `Plane`.
    """

    levels: tuple[StoredPixels, ...]
    overviews: tuple[NDArray[Any], ...]
    pixel_size: tuple[float, float]
    unit: str


def open_stored(plane: Plane) -> StoredPixels | None:
    """Open a large plane to read parts of it now and then; None where it is small, or has to be read whole.

    Its file stays open as long as what is returned lives.

    Raises
    ------
    SemiGDAError
        As `read_plane`.
    """
    levels = _kept_open(plane)
    return levels[0] if levels else None


def open_large(plane: Plane) -> LargePicture | None:
    """Open a large plane to be looked at; None where it is small or a mere line, or has to be read whole.

    Its file stays open as long as what is returned lives.

    Raises
    ------
    SemiGDAError
        As `read_plane`.
    """
    narrow, long = sorted(plane.shape)
    if long <= OVERVIEW_SIDE or narrow * OVERVIEW_SIDE < 2 * long:  # of a line nothing is left from afar
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
        levels = _stored_levels(plane, stack)
        keeper = _Keeper(stack.pop_all())
        for level in levels:
            level.keeps = keeper
        return levels


class _Keeper:
    """Closes files when nobody reads from them any more."""

    def __init__(self, files: ExitStack) -> None:
        weakref.finalize(self, files.close)


def _thinned_out(stored: StoredPixels) -> NDArray[Any]:
    """Every n-th pixel of a plane, n being a power of two, read band by band."""
    step = 2 ** math.ceil(math.log2(max(stored.shape[:2]) / OVERVIEW_SIDE))
    rows = max(step, _BAND_PIXELS // stored.shape[1] // step * step)
    return np.concatenate(
        [
            stored[top + step // 2 : top + rows : step, step // 2 :: step]
            for top in range(0, stored.shape[0], rows)
            if top + step // 2 < stored.shape[0]
        ]
    )


# What can be read piece by piece ----------------------------------------------------------------------


def _stored_levels(plane: Plane, stack: ExitStack) -> list[StoredPixels]:
    """Open a large plane and its smaller copies; none where it has to be read whole."""
    if math.prod(plane.shape) < LARGE:
        return []
    with explained(plane.path):
        if is_zarr(plane.path):
            image, position = zarr_image(plane)
            return [image.opened(level, position, plane.path) for level in range(len(image.levels))]
        if is_tiff(plane.path):
            return _tiff_levels(
                open_tiff_plane(plane.path, plane.series, plane.index, stack, upright=plane.upright), plane
            )
    return []


def _tiff_levels(plane: StoredPlane, source: Plane) -> list[StoredPixels]:
    if plane.block is None:
        return []
    levels = [stored_tiff(level, source.path) for level in (plane, *plane.smaller())]
    full = levels[0]
    return [level for level in levels if (level.dtype, level.shape[2:]) == (full.dtype, full.shape[2:])]


def stored_tiff(plane: StoredPlane, path: Path) -> StoredPixels:
    """Show one plane of a TIFF."""
    example = plane.example()

    def read(slices: tuple[slice, ...]) -> NDArray[Any]:
        rows, columns = (
            slice(*part.indices(length)) for part, length in zip(slices, plane.shape, strict=False)
        )
        pixels = plane.picture(slice(rows.start, rows.stop), slice(columns.start, columns.stop))
        return pixels[(slice(None, None, rows.step), slice(None, None, columns.step), *slices[2:])]

    chunks = (*(plane.block or plane.shape), *example.shape[2:])
    return StoredPixels((*plane.shape, *example.shape[2:]), example.dtype, chunks, read, path)
