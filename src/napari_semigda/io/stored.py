"""Planes of arrays that lie on the disk in chunks, of which only those are read that are asked for."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_semigda.io.explained import explained


class StoredPixels:
    """One plane of a chunked array as an array, (H, W) or (H, W, C), that is read when sliced. Thread-safe.

    Parameters
    ----------
    array
        A zarr array.
    axes
        What its axes are: ``"y"``, ``"x"``, perhaps ``"c"``, and any others.
    position
        The plane's place on each of the others.
    path
        The picture file, for messages.

    Attributes
    ----------
    shape, dtype, ndim
        As an array has them.
    chunks : tuple of int
        Sides of what is stored as one.
    keeps : object
        What has to live as long as this, such as an open file.
    """

    def __init__(self, array: Any, axes: Sequence[str], position: Sequence[int], path: Path) -> None:
        self._array, self._axes, self._position = array, tuple(axes), tuple(position)
        self._path = path
        self.keeps: object = None
        lengths = dict(zip(axes, array.shape, strict=True))
        chunks = dict(zip(axes, array.chunks, strict=True))
        self._order = ("y", "x", "c") if lengths.get("c", 1) > 1 else ("y", "x")
        self.shape: tuple[int, ...] = tuple(int(lengths[axis]) for axis in self._order)
        self.dtype = np.dtype(array.dtype).newbyteorder("=")
        self.ndim = len(self.shape)
        self.chunks: tuple[int, ...] = tuple(int(chunks[axis]) for axis in self._order)

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
        pixels = self._read(dict(zip(self._order, slices, strict=True)))
        return pixels[tuple(slice(None) if isinstance(part, slice) else 0 for part in whole)]

    def _read(self, window: dict[str, slice]) -> NDArray[Any]:
        position = iter(self._position)
        selection = tuple(
            window[axis] if axis in window else 0 if axis == "c" else next(position) for axis in self._axes
        )
        kept = [axis for axis in self._axes if axis in window]
        with explained(self._path):
            part = np.asarray(self._array[selection])
        return part.transpose([kept.index(axis) for axis in self._order]).astype(self.dtype, copy=False)
