"""The strips and tiles of a TIFF page: what is asked for is read and decoded, whatever its compression.

What is decoded are the samples as they are stored; `napari_semigda.io.colors` says what they mean. No segment
takes more memory than the page says that it has pixels, however much its bytes would unpack to.
"""

import io
import lzma
import math
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile
from tifffile import COMPRESSION

from napari_semigda.errors import SemiGDAError

MOST_PLANES = 100_000
"""A file that says it holds more planes than this is taken for a broken one."""

_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_TAGS, _MOST_OF_A_TAG = 4096, 2**26
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 11: 4, 13: 4}  # bytes; of other kinds of values 8
_SUBIFDS = 330

Array = NDArray[Any]
Page = tifffile.TiffPage | tifffile.TiffFrame

_MOST_OVERHEAD = 2**16
"""Bytes by which a compressed segment may be larger than twice what it unpacks to."""

_MOST_LZMA = 2**28
"""Bytes that LZMA may use while it unpacks; its strongest setting takes a quarter."""

_LIBTIFF = frozenset(
    {
        COMPRESSION.CCITTRLE,
        COMPRESSION.CCITT_T4,
        COMPRESSION.CCITT_T6,
        COMPRESSION.LZW,
        COMPRESSION.PACKBITS,
        COMPRESSION.ZSTD,
    }
)
_FAX = frozenset({COMPRESSION.CCITTRLE, COMPRESSION.CCITT_T4, COMPRESSION.CCITT_T6})
_DEFLATE = frozenset({COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE})
_JPEG = frozenset({COMPRESSION.JPEG})
_JPEG_2000 = frozenset(
    {
        COMPRESSION.APERIO_JP2000_YCBC,
        COMPRESSION.APERIO_JP2000_RGB,
        COMPRESSION.JPEG_2000_LOSSY,
        COMPRESSION.JPEG2000,
    }
)
_AS_IMAGES: dict[int, str] = {**dict.fromkeys(_JPEG_2000, "JPEG2000"), COMPRESSION.WEBP: "WEBP"}
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def is_tiff(path: Path) -> bool:
    """Whether a file begins as TIFFs do."""
    with path.open("rb") as file:
        return file.read(4) in _STARTS


@contextmanager
def opened_tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF whose pages come to an end, and whose tags fit into memory."""
    _check_tags(path)
    with tifffile.TiffFile(path) as tif:
        # Counting follows the chain of pages to its end and notices where a damaged one bites its own tail;
        # looking for series without it would never end then.
        if len(tif.pages) > MOST_PLANES:
            raise SemiGDAError(f"“{path}” says that it holds {len(tif.pages)} pages; it seems damaged.")
        yield tif


def _check_tags(path: Path) -> None:
    """Refuse a file with a tag that tifffile would read into memory, however many values it claims.

    A file may be as large as it likes and take no room on the disk.
    """
    with path.open("rb") as file:
        head = file.read(16)
        order, is_big = "<" if head[:2] == b"II" else ">", b"+" in head[2:4]
        count, tag, link = ("Q", "HHQQ", "Q") if is_big else ("H", "HHII", "I")
        sizes = {name: struct.calcsize(order + name) for name in (count, tag, link)}
        waiting = [struct.unpack_from(order + link, head, 8 if is_big else 4)[0]]
        seen: set[int] = set()
        while waiting and len(seen) <= MOST_PLANES:
            place = waiting.pop()
            if place in seen or place < 8:
                continue
            seen.add(place)
            file.seek(place)
            start = file.read(sizes[count])
            number = struct.unpack(order + count, start)[0] if len(start) == sizes[count] else _MOST_TAGS + 1
            if number > _MOST_TAGS:
                continue
            directory = file.read(number * sizes[tag] + sizes[link])
            if len(directory) < number * sizes[tag] + sizes[link]:
                continue
            waiting.append(struct.unpack_from(order + link, directory, number * sizes[tag])[0])
            for code, kind, values, value in struct.iter_unpack(
                order + tag, directory[: number * sizes[tag]]
            ):
                if code in tifffile.TIFF.TAG_LOAD and values * _SIZES.get(kind, 8) > _MOST_OF_A_TAG:
                    raise SemiGDAError(
                        f"“{path}” claims {values} values for its tag {code}; it seems damaged. "
                        "Bring back a sound copy of it."
                    )
                if code == _SUBIFDS and values == 1:
                    waiting.append(value)


def keyframe(page: Page) -> tifffile.TiffPage:
    """Return the page whose tags hold for a page: most often itself."""
    return page if isinstance(page, tifffile.TiffPage) else cast(tifffile.TiffPage, page.keyframe)


class Window(NamedTuple):
    """Rows and columns of a page, as they are stored."""

    top: int
    bottom: int
    left: int
    right: int


class Segments:
    """The samples of one page of a TIFF, read by windows. Thread-safe.

    Parameters
    ----------
    page
        The page; its file has to stay open.
    lock
        Under which the file is read.

    Raises
    ------
    ValueError
        When the samples of the page are none that can be read.
    """

    def __init__(self, page: Page, lock: threading.Lock) -> None:
        key = keyframe(page)
        self._page, self._key, self._lock = page, key, lock
        self._file = page.parent.filehandle
        if key.dtype is None or not isinstance(key.bitspersample, int) or 0 in key.shaped:
            raise ValueError(f"its samples have {key.bitspersample} bits of the kind {key.sampleformat}")
        self._bits = key.bitspersample
        self.dtype = np.dtype(key.dtype).newbyteorder("=")
        if self._bits != 8 * self.dtype.itemsize and not (self.dtype.kind in "ub" and self._bits <= 16):
            raise ValueError(f"its samples have {self._bits} bits")
        planes, self.depth, self.height, self.width, samples = key.shaped
        self.samples = planes * samples
        self._planes, self._together = planes, samples
        if key.is_tiled:
            self.deep, self.high, self.wide = key.tiledepth, key.tilelength, key.tilewidth
        else:
            self.deep, self.high, self.wide = 1, key.rowsperstrip, key.imagewidth
        if min(self.deep, self.high, self.wide) < 1:
            raise ValueError("its strips or tiles have no size")
        self._down, self._across = math.ceil(self.height / self.high), math.ceil(self.width / self.wide)
        self._subsampling = _subsampling(key)

    def read(self, window: Window, depth: int = 0) -> Array:
        """Read a window: (rows, columns, samples), native byte order."""
        top, bottom, left, right = window
        pixels = np.empty((bottom - top, right - left, self.samples), self.dtype)
        for plane in range(self._planes):
            part = pixels[..., plane * self._together : (plane + 1) * self._together]
            for row in range(top // self.high, math.ceil(bottom / self.high)):
                for column in range(left // self.wide, math.ceil(right / self.wide)):
                    self._place(part, window, plane, depth, row, column)
        return pixels

    def _place(self, pixels: Array, window: Window, plane: int, depth: int, row: int, column: int) -> None:
        """Put one segment, as far as it lies in the window, into the pixels of the window."""
        y, x = row * self.high, column * self.wide
        layer = (plane * math.ceil(self.depth / self.deep) + depth // self.deep) * self._down + row
        segment = self._segment(layer * self._across + column, y)[depth % self.deep]
        rows = max(window.top, y), min(window.bottom, y + self.high)
        columns = max(window.left, x), min(window.right, x + self.wide)
        pixels[
            rows[0] - window.top : rows[1] - window.top, columns[0] - window.left : columns[1] - window.left
        ] = segment[rows[0] - y : rows[1] - y, columns[0] - x : columns[1] - x]

    def _segment(self, index: int, y: int) -> Array:
        """Decode a segment: (depth, rows, columns, samples)."""
        rows = self.high if self._key.is_tiled else min(self.high, self.height - y)
        shape = self.deep, rows, self.wide, self._together
        if index >= len(self._page.dataoffsets) or index >= len(self._page.databytecounts):
            raise ValueError("it has fewer strips or tiles than its size needs")
        offset, count = int(self._page.dataoffsets[index]), int(self._page.databytecounts[index])
        if not offset and not count:  # left out, for it has nothing but what stands for no data
            return np.full(shape, self._key.nodata, self.dtype)
        data = self._encoded(offset, count, self._bytes(rows))
        compression = self._key.compression
        if compression in _JPEG and self._key.jpegheader is None:
            return self._image(self._jpeg(data), shape, inverted=self._together == 4)
        if compression in _AS_IMAGES:
            kind = _AS_IMAGES[compression]
            return self._image(lambda: Image.open(io.BytesIO(data), formats=(kind,)), shape)
        unpacked = self._unpacked(data, shape)
        if unpacked is not None:
            return self._samples(unpacked, shape)
        decoded, _, _ = self._key.decode(
            data, index, jpegtables=self._key.jpegtables, jpegheader=self._key.jpegheader
        )
        return _filled(np.asarray(decoded), shape)

    def _encoded(self, offset: int, count: int, size: int) -> bytes:
        """Read the bytes of a segment, and no more than it can need."""
        most = size if self._key.compression == COMPRESSION.NONE else 2 * size + _MOST_OVERHEAD
        with self._lock:
            self._file.seek(offset)
            data = self._file.read(min(count, most))
        if self._key.fillorder == 2 and self._key.compression not in {*_JPEG, *_AS_IMAGES}:
            return data.translate(_REVERSED_BITS)
        return data

    def _bytes(self, rows: int) -> int:
        """How many bytes a segment has when it is unpacked."""
        if self._subsampling is not None:
            across, down = self._subsampling
            return math.ceil(rows / down) * math.ceil(self.wide / across) * (across * down + 2)
        return self.deep * rows * math.ceil(self.wide * self._together * self._bits / 8)

    def _unpacked(self, data: bytes, shape: tuple[int, ...]) -> bytes | None:
        """Unpack the bytes of a segment; None for a compression that is not known here."""
        compression, size = self._key.compression, self._bytes(shape[1])
        if compression == COMPRESSION.NONE:
            unpacked = data
        elif compression in _DEFLATE:
            unpacked = zlib.decompressobj().decompress(data, size)
        elif compression == COMPRESSION.LZMA:
            unpacked = lzma.LZMADecompressor(memlimit=_MOST_LZMA).decompress(data, size)
        elif compression in _FAX and self._bits == 1:
            unpacked = _by_libtiff(data, compression, shape[2], shape[1], 1, _fax_options(self._key))
        elif compression in _LIBTIFF and compression not in _FAX:
            unpacked = _by_libtiff(data, compression, size, 1, 8, [])
        else:
            return None
        if len(unpacked) < size:
            raise ValueError(f"a strip or tile has {len(unpacked)} bytes instead of {size}")
        return unpacked[:size]

    def _samples(self, unpacked: bytes, shape: tuple[int, ...]) -> Array:
        if self._subsampling is not None:
            return _with_all_colors(np.frombuffer(unpacked, np.uint8), self._subsampling, shape)
        per_row = shape[2] * shape[3]
        predictor = self._key.predictor
        if predictor == 3 and self.dtype.kind == "f":
            return _from_float_differences(unpacked, shape, self.dtype)
        if self._bits != 8 * self.dtype.itemsize or self.dtype.kind == "b":
            pixels = _from_bits(unpacked, self._bits, per_row).astype(self.dtype).reshape(shape)
        else:
            pixels = np.frombuffer(unpacked, self.dtype.newbyteorder(self._key.parent.byteorder)).reshape(
                shape
            )
            pixels = pixels.astype(self.dtype, copy=False)
        if predictor == 1:
            return pixels
        if predictor == 2 and self._bits in (8, 16, 32, 64) and self.dtype.kind in "uif":
            numbers = pixels.view(f"u{self.dtype.itemsize}")
            return np.cumsum(numbers, axis=2, dtype=numbers.dtype).view(self.dtype)
        raise ValueError(f"its samples are stored as differences of the kind {predictor}")

    def _jpeg(self, data: bytes) -> Callable[[], Image.Image]:
        """Put together a JPEG that says how its colors are stored, as the page says it."""
        tables = self._key.jpegtables or b""
        parts = b"".join(_jpeg_segments(tables)), b"".join(_jpeg_segments(data))
        jfif = b"JFIF\0" in data[:64] or b"JFIF\0" in tables[:64]
        photometric = self._key.photometric
        converts = self._together == 3 and (
            photometric == tifffile.PHOTOMETRIC.YCBCR or (photometric == tifffile.PHOTOMETRIC.RGB and jfif)
        )
        adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([converts])
        stream = b"\xff\xd8" + adobe + parts[0] + parts[1]
        return lambda: Image.open(io.BytesIO(stream), formats=("JPEG",))

    def _image(
        self, opened: Callable[[], Image.Image], shape: tuple[int, ...], *, inverted: bool = False
    ) -> Array:
        """Decode a segment that is an image of a format of its own."""
        with opened() as image:
            if image.width > shape[2] or image.height > shape[1]:
                raise ValueError(
                    f"a tile of {shape[2]} × {shape[1]} pixels claims {image.width} × {image.height}"
                )
            if image.mode == "P" or (image.mode == "RGB" and shape[3] == 4):
                image.putalpha(255)
            pixels = np.asarray(image)
        if pixels.dtype != self.dtype or (1 if pixels.ndim == 2 else pixels.shape[2]) != shape[3]:
            raise ValueError(f"a tile has samples of the type {pixels.dtype} instead of {self.dtype}")
        return _filled(255 - pixels if inverted else pixels, shape)


def is_lossy(page: Page) -> bool:
    """Whether the compression of a page may have changed its values."""
    return keyframe(page).compression in {*_JPEG, *_AS_IMAGES, COMPRESSION.OJPEG}


def comes_as_rgb(page: Page) -> bool:
    """Whether decoding turns the colors of a page, which are brightness and two colors, into RGB."""
    key = keyframe(page)
    return key.compression in _JPEG and key.samplesperpixel == 3 and key.planarconfig == 1


def _subsampling(key: tifffile.TiffPage) -> tuple[int, int] | None:
    """How many pixels, across and down, share their colors; None where each has its own."""
    if key.photometric != tifffile.PHOTOMETRIC.YCBCR or key.compression in {*_JPEG, *_AS_IMAGES}:
        return None
    across, down = key.subsampling or (2, 2)
    if (across, down) == (1, 1):
        return None
    if key.planarconfig != 1 or key.samplesperpixel != 3 or key.bitspersample != 8 or key.predictor != 1:
        raise ValueError(
            "its colors have less resolution than its brightness, in a way that is not known here"
        )
    if across not in (1, 2, 4) or down not in (1, 2, 4):
        raise ValueError(f"its colors are thinned out {across} × {down}")
    return across, down


def _with_all_colors(stored: Array, subsampling: tuple[int, int], shape: tuple[int, ...]) -> Array:
    """Give each pixel the colors that it shares: blocks of brightness, each with its two colors behind it."""
    across, down = subsampling
    rows, columns = math.ceil(shape[1] / down), math.ceil(shape[2] / across)
    blocks = stored.reshape(rows, columns, across * down + 2)
    pixels = np.empty((rows * down, columns * across, 3), np.uint8)
    brightness = blocks[..., :-2].reshape(rows, columns, down, across)
    pixels[..., 0] = brightness.transpose(0, 2, 1, 3).reshape(rows * down, columns * across)
    pixels[..., 1:] = blocks[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    return pixels[: shape[1], : shape[2]][None]


def _from_bits(unpacked: bytes, bits: int, per_row: int) -> Array:
    """Take samples of 1 to 16 bits apart; each row begins with a new byte."""
    rows = np.frombuffer(unpacked, np.uint8).reshape(-1, math.ceil(per_row * bits / 8))
    ones = np.unpackbits(rows, axis=1, count=per_row * bits).reshape(len(rows), per_row, bits)
    numbers = np.zeros(ones.shape[:2], np.uint16)
    for place in range(bits):
        numbers = numbers << 1 | ones[..., place]
    return numbers


def _from_float_differences(unpacked: bytes, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Undo TIFF's predictor for floating point: bytes of equal weight together, as differences."""
    depth, rows, columns, samples = shape
    differences = np.frombuffer(unpacked, np.uint8).reshape(depth * rows, -1, samples)
    planes = np.cumsum(differences, axis=1, dtype=np.uint8).reshape(
        depth * rows, dtype.itemsize, columns * samples
    )
    numbers = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(dtype.newbyteorder(">"))
    return numbers.reshape(shape).astype(dtype)


def _filled(pixels: Array, shape: tuple[int, ...]) -> Array:
    """Give a segment that is cut off at the edge of the page its full size."""
    pixels = pixels.reshape(1, *pixels.shape) if pixels.ndim < 4 else pixels
    pixels = pixels[..., None] if pixels.ndim < 4 else pixels
    if pixels.shape == shape:
        return pixels
    full = np.zeros(shape, pixels.dtype)
    full[tuple(map(slice, pixels.shape))] = pixels
    return full


# Decoders ---------------------------------------------------------------------------------------------


def _by_libtiff(
    data: bytes, compression: int, width: int, height: int, bits: int, options: list[tuple[int, int]]
) -> bytes:
    """Unpack bytes with libtiff, which Pillow has, as a TIFF that holds nothing else."""
    tags = [
        (256, width),
        (257, height),
        (258, bits),
        (259, compression),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, len(data)),
        *options,
    ]
    start = 8 + len(data) + len(data) % 2
    header = b"II*\0" + struct.pack("<I", start)
    directory = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in sorted(tags))
    content = header + data + bytes(len(data) % 2) + struct.pack("<H", len(tags)) + directory + bytes(4)
    with TiffImageFile(io.BytesIO(content)) as image:  # Image.open refuses rows of so many bytes
        return np.packbits(np.asarray(image), axis=1).tobytes() if bits == 1 else image.tobytes()


def _fax_options(key: tifffile.TiffPage) -> list[tuple[int, int]]:
    found = ((code, key.tags.valueof(code)) for code in (292, 293))
    return [(code, int(value)) for code, value in found if isinstance(value, int)]


def _jpeg_segments(stream: bytes) -> Iterator[bytes]:
    """The parts of a JPEG without its start, its end, and what programs say about it."""
    place = 2 if stream[:2] == b"\xff\xd8" else 0
    while place + 4 <= len(stream) and stream[place] == 0xFF:
        kind = stream[place + 1]
        if kind == 0xDA:  # from here on the pixels
            yield stream[place:]
            return
        length = int.from_bytes(stream[place + 2 : place + 4], "big")
        if not 0xE0 <= kind <= 0xEF:
            yield stream[place : place + 2 + length]
        place += 2 + length
