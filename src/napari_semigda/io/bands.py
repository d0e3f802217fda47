"""Large planes, of which only the rows that are asked for are read and decoded."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_semigda.io.pictures import Plane, explained, is_tiff, opened_tiff, read_plane

LARGE = 2**24
"""Pixels from which on a picture is read in bands; a smaller one is whole in memory."""


@contextmanager
def opened_plane(plane: Plane) -> Iterator["NDArray[Any] | BandedPixels"]:
    """Open one plane for reading it by slices, (H, W) or (H, W, C).

    A large plane of a tiled (or finely striped) TIFF is read when it is sliced; everything else is read at
    once, as by `read_plane`. What is read is the same.

    Raises
    ------
    SemiGDAError
        As `read_plane`; for what is read when sliced, then.
    """
    with ExitStack() as stack:
        banded = None
        if math.prod(plane.shape) >= LARGE:
            with explained(plane.path):
                if is_tiff(plane.path):
                    banded = _in_bands(stack.enter_context(opened_tiff(plane.path)), plane)
        yield read_plane(plane).pixels if banded is None else banded


class BandedPixels:
    """A page of an open TIFF as an array, (H, W) or (H, W, C), that is read when sliced.

    Rows of tiles (or strips) that were decoded last are kept, so that overlapping windows from top to
    bottom decode each once. Not thread-safe.

    Parameters
    ----------
    page
        With its channels last, of which each tile can be decoded alone; its file must stay open.
    path
        Of that file, for messages.
    """

    def __init__(self, page: tifffile.TiffPage, path: Path) -> None:
        self._page = page
        self._path = path
        height, width = page.imagelength, page.imagewidth
        colours = (page.samplesperpixel,) if page.samplesperpixel > 1 else ()
        self.shape: tuple[int, ...] = (height, width, *colours)
        self.dtype = np.dtype(page.dtype)
        self._rows = page.tilelength if page.is_tiled else page.rowsperstrip
        self._columns = page.tilewidth if page.is_tiled else width
        self._across = -(-width // self._columns)
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
        """Rows of tiles from top to bottom, each with its first row of pixels."""
        wanted = range(start // self._rows, -(-stop // self._rows) if stop > start else start // self._rows)
        for number in wanted:
            if number not in self._kept:
                with explained(self._path):
                    band = self._decoded(number)
                self._kept = {one: kept for one, kept in self._kept.items() if one in wanted}
                self._kept[number] = band
            yield number * self._rows, self._kept[number]

    def _decoded(self, number: int) -> NDArray[Any]:
        page, top = self._page, number * self._rows
        height = min(self._rows, self.shape[0] - top)
        band = np.full((height, *self.shape[1:]), page.nodata, self.dtype)
        for column in range(self._across):
            index, left = number * self._across + column, column * self._columns
            data = None
            if page.databytecounts[index]:
                page.parent.filehandle.seek(page.dataoffsets[index])
                data = page.parent.filehandle.read(page.databytecounts[index])
            tile = page.decode(data, index)[0]
            if tile is not None:
                width = min(self._columns, self.shape[1] - left)
                pixels = tile.reshape(*tile.shape[-3:-1], *self.shape[2:])
                band[:, left : left + width] = pixels[:height, :width]
        return band


def _in_bands(tif: tifffile.TiffFile, plane: Plane) -> BandedPixels | None:
    """Return a plane as it is read in bands; None where it has to be read whole."""
    if not 0 <= plane.series < len(tif.series):
        return None
    series = tif.series[plane.series]
    if not 0 <= plane.index < len(series.pages):
        return None
    page = series.pages[plane.index]
    if not isinstance(page, tifffile.TiffPage) or page.axes not in ("YX", "YXS"):
        return None
    is_whole_plane = series.axes.endswith(page.axes) and not set("CS") & set(series.axes[: -len(page.axes)])
    decodes_alone = page.photometric in _PLAIN and page.compression in _LOSSLESS
    finely_cut = page.is_tiled or page.rowsperstrip < page.imagelength
    return BandedPixels(page, plane.path) if is_whole_plane and decodes_alone and finely_cut else None


_PLAIN = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)
_LOSSLESS = (
    tifffile.COMPRESSION.NONE,
    tifffile.COMPRESSION.ADOBE_DEFLATE,
    tifffile.COMPRESSION.DEFLATE,
    tifffile.COMPRESSION.PACKBITS,
)
"""What tifffile decodes by itself."""
