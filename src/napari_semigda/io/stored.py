"""Planes that lie on the disk in strips, tiles or chunks, of which only those are read that are asked for."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_semigda.io.explained import explained


class StoredPixels:
    """One plane as an array, (H, W) or (H, W, C), that is read when sliced. Thread-safe.

    Parameters
    ----------
    shape, dtype
        As an array has them.
    chunks
        Sides of what is stored as one.
    read
        Reads what slices with positive steps name, one for each axis.
    path
        The image file, for messages.

    Attributes
    ----------
    shape, dtype, ndim
        As an array has them.
    chunks : tuple of int
        Sides of what is stored as one.
    keeps : object
        What has to live as long as this, such as an open file.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: np.dtype,
        chunks: Sequence[int],
        read: Callable[[tuple[slice, ...]], NDArray[Any]],
        path: Path,
    ) -> None:
        self._read, self._path = read, path
        self.keeps: object = None
        self.shape: tuple[int, ...] = tuple(map(int, shape))
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.ndim = len(self.shape)
        self.chunks: tuple[int, ...] = tuple(map(int, chunks))

    def blocks(self, least: int) -> tuple[int, ...]:
        """Return the sides of some chunks together, at least so high and wide where the plane is."""
        sides = [chunk * math.ceil(least / chunk) for chunk in self.chunks[:2]]
        return tuple(map(min, self.shape, (*sides, *self.chunks[2:])))

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read what integers and slices with positive steps name."""
        given = key if isinstance(key, tuple) else (key,)
        if Ellipsis in given:
            place = given.index(Ellipsis)
            missing = self.ndim - len(given) + 1
            given = (*given[:place], *(slice(None),) * missing, *given[place + 1 :])
        whole = [*given, *(slice(None),) * (self.ndim - len(given))]
        slices = [part if isinstance(part, slice) else slice(part, part + 1 or None) for part in whole]
        with explained(self._path):
            pixels = self._read(tuple(slices)).astype(self.dtype, copy=False)
        return pixels[tuple(slice(None) if isinstance(part, slice) else 0 for part in whole)]


def stored_zarr(array: Any, axes: Sequence[str], position: Sequence[int], path: Path) -> StoredPixels:
    """Show one plane of a zarr array.

    Parameters
    ----------
    array
        The array.
    axes
        What its axes are: ``"y"``, ``"x"``, perhaps ``"c"``, and any others.
    position
        The plane's place on each of the others.
    path
        The image, for messages.
    """
    lengths = dict(zip(axes, array.shape, strict=True))
    chunks = dict(zip(axes, array.chunks, strict=True))
    order = ("y", "x", "c") if lengths.get("c", 1) > 1 else ("y", "x")

    def read(slices: tuple[slice, ...]) -> NDArray[Any]:
        window, places = dict(zip(order, slices, strict=True)), iter(position)
        selection = tuple(
            window[axis] if axis in window else 0 if axis == "c" else next(places) for axis in axes
        )
        kept = [axis for axis in axes if axis in window]
        return np.asarray(array[selection]).transpose([kept.index(axis) for axis in order])

    sides = [lengths[axis] for axis in order], [chunks[axis] for axis in order]
    return StoredPixels(sides[0], array.dtype, sides[1], read, path)
