"""Overlapping tiles of an image, and the weights that blend them without a seam."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

OVERLAP = 0.25
"""Share of a tile that its neighbor covers as well, at least."""

PIXELS_AT_ONCE = 2**20
"""Pixels yielded together: working on them needs several times their memory for a moment."""


class Axis:
    """Tiles along one axis of an image of `length` pixels, spread evenly; neighbors share at least `OVERLAP`.

    `starts` are the first pixels of the tiles, `tile` their side; an image that is shorter is one tile.
    """

    def __init__(self, length: int, tile: int) -> None:
        self.length = length
        self.tile = min(tile, length)
        free = length - self.tile
        gaps = math.ceil(free / max(1, self.tile - int(self.tile * OVERLAP)))
        self.starts = [round(index * free / gaps) for index in range(gaps + 1)] if gaps else [0]
        centers = torch.arange(self.tile, dtype=torch.float64) + 0.5
        self._window = torch.sin(math.pi * centers / self.tile) ** 2
        self._total = torch.zeros(length, dtype=torch.float64)
        for start in self.starts:
            self._total[start : start + self.tile] += self._window

    def weights(self, index: int) -> Tensor:
        """Return a tile's weights, (tile,) float32; those of all tiles over a pixel add up to one."""
        start = self.starts[index]
        return (self._window / self._total[start : start + self.tile]).float()


class RowBlender:
    """Blend rows of tiles with `layers` values per pixel, with one row of tiles in memory at a time."""

    def __init__(self, rows: Axis, columns: Axis, layers: int) -> None:
        self.rows = rows
        self.columns = columns
        self._buffer = torch.zeros(layers, rows.tile, columns.length)
        self._at_once = max(1, PIXELS_AT_ONCE // columns.length)

    def blend(self, tile_rows: Iterable[Iterable[Tensor]]) -> Iterator[tuple[int, Tensor]]:
        """Blend rows of tiles, each (layers, rows.tile, columns.tile), and yield the rows that no further
        tile touches.

        Yields the first row of pixels and (layers, n, columns.length) float32, of at most `PIXELS_AT_ONCE`
        pixels or one row. Strips follow one another without a gap and cover the image.
        """
        starts = self.rows.starts
        for index, tiles in enumerate(tile_rows):
            down = self.rows.weights(index)[:, None]
            for column, tile in enumerate(tiles):
                left = self.columns.starts[column]
                weights = down * self.columns.weights(column)
                self._buffer[:, :, left : left + self.columns.tile] += weights * tile
            last = index + 1 == len(starts)
            finished = self.rows.tile if last else starts[index + 1] - starts[index]
            for top in range(0, finished, self._at_once):
                bottom = min(top + self._at_once, finished)
                yield starts[index] + top, self._buffer[:, top:bottom].clone()
            kept = self.rows.tile - finished
            self._buffer[:, :kept] = self._buffer[:, finished:].clone()
            self._buffer[:, kept:] = 0
