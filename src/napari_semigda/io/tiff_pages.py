"""Pages of a TIFF: opened within bounds, and read by windows, whatever their compression.

What is decoded are the samples as they are stored; `napari_semigda.io.colors` says what they mean. No tag and
no segment takes more memory than fits, whatever the file claims.
"""

import io
import lzma
import math
import struct
import threading
import zlib
from collections.abc import Iterator
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
from napari_semigda.io.planes import MOST_PLANES

_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_TAGS, _MOST_OF_A_TAG = 4096, 2**26
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 11: 4, 13: 4}  # bytes; of other kinds of values 8
_SUBIFDS = 330

Array = NDArray[Any]
Page = tifffile.TiffPage | tifffile.TiffFrame

_MOST_OVERHEAD = 2**16  # bytes by which a compressed segment may exceed twice what it unpacks to
_MOST_LZMA = 2**28  # bytes that LZMA may use while it unpacks; its strongest setting takes a quarter

_FAX = {COMPRESSION.CCITTRLE, COMPRESSION.CCITT_T4, COMPRESSION.CCITT_T6}
_BY_LIBTIFF = {COMPRESSION.LZW, COMPRESSION.PACKBITS, COMPRESSION.ZSTD}
_DEFLATE = {COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE}
_AS_IMAGES: dict[int, str] = {
    COMPRESSION.APERIO_JP2000_YCBC: "JPEG2000",
    COMPRESSION.APERIO_JP2000_RGB: "JPEG2000",
    COMPRESSION.JPEG_2000_LOSSY: "JPEG2000",
    COMPRESSION.JPEG2000: "JPEG2000",
    COMPRESSION.WEBP: "WEBP",
}
_IMAGES = {COMPRESSION.JPEG, *_AS_IMAGES}
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def is_tiff(path: Path) -> bool:
    """Return whether a file begins as TIFFs do."""
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
            raise SemiGDAError(f"“{path}” claims to hold {len(tif.pages)} pages; it seems damaged.")
        yield tif


def _check_tags(path: Path) -> None:
    """Refuse a file with a tag that tifffile would read into memory, however many values it claims.

    A sparse file can be huge and still take no space on the disk, so its size is no bound.
    """
    with path.open("rb") as file:
        head = file.read(16)
        order, is_big = "<" if head[:2] == b"II" else ">", b"+" in head[2:4]
        count, tag, link = (order + form for form in (("Q", "HHQQ", "Q") if is_big else ("H", "HHII", "I")))
        count_size, tag_size, link_size = map(struct.calcsize, (count, tag, link))
        waiting = [struct.unpack_from(link, head, 8 if is_big else 4)[0]]
        seen: set[int] = set()
        while waiting and len(seen) <= MOST_PLANES:
            offset = waiting.pop()
            if offset in seen or offset < 8:
                continue
            seen.add(offset)
            file.seek(offset)
            start = file.read(count_size)
            length = tag_size * struct.unpack(count, start)[0] if len(start) == count_size else -1
            if not 0 <= length <= _MOST_TAGS * tag_size:
                continue
            directory = file.read(length + link_size)
            if len(directory) < length + link_size:
                continue
            waiting.append(struct.unpack_from(link, directory, length)[0])
            for code, kind, values, value in struct.iter_unpack(tag, directory[:length]):
                if code in tifffile.TIFF.TAG_LOAD and values * _SIZES.get(kind, 8) > _MOST_OF_A_TAG:
                    raise SemiGDAError(
                        f"“{path}” claims {values} values for its tag {code}; it seems damaged. "
                        "Replace it with an intact copy."
                    )
                if code == _SUBIFDS and values == 1:
                    waiting.append(value)


def keyframe(page: Page) -> tifffile.TiffPage:
    """Return the page whose tags hold for a page: most often itself."""
    return page if isinstance(page, tifffile.TiffPage) else cast(tifffile.TiffPage, page.keyframe)


class Window(NamedTuple):
    """Rows and columns of a page."""

    top: int
    bottom: int
    left: int
    right: int

    def stored(self, shape: tuple[int, int], orientation: int) -> "Window":
        """Find the window of stored pixels that is shown as this window of an upright plane."""
        top, bottom, left, right = self
        if orientation in (3, 4, 7, 8):
            top, bottom = shape[0] - bottom, shape[0] - top
        if orientation in (2, 3, 6, 7):
            left, right = shape[1] - right, shape[1] - left
        return Window(left, right, top, bottom) if orientation > 4 else Window(top, bottom, left, right)


class Segments:
    """The samples of one page of a TIFF, read by windows under the lock of its open file. Thread-safe.

    Raises ValueError when the samples are of a kind that cannot be read.
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
            layer = plane * math.ceil(self.depth / self.deep) + depth // self.deep
            for row in range(top // self.high, math.ceil(bottom / self.high)):
                for column in range(left // self.wide, math.ceil(right / self.wide)):
                    y, x = row * self.high, column * self.wide
                    index = (layer * self._down + row) * self._across + column
                    segment = self._segment(index, y)[depth % self.deep]
                    rows = slice(max(top, y), min(bottom, y + self.high))
                    columns = slice(max(left, x), min(right, x + self.wide))
                    part[_shifted(rows, top), _shifted(columns, left)] = segment[
                        _shifted(rows, y), _shifted(columns, x)
                    ]
        return pixels

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
        if compression == COMPRESSION.JPEG and self._key.jpegheader is None:
            return self._image(self._jpeg(data), "JPEG", shape, inverted=self._together == 4)
        if compression in _AS_IMAGES:
            return self._image(data, _AS_IMAGES[compression], shape)
        unpacked = self._unpacked(data, shape)
        if unpacked is not None:
            return self._samples(unpacked, shape)
        key = self._key
        decoded, _, _ = key.decode(data, index, jpegtables=key.jpegtables, jpegheader=key.jpegheader)
        return _filled(np.asarray(decoded), shape)

    def _encoded(self, offset: int, count: int, size: int) -> bytes:
        """Read the bytes of a segment, at most as many as it can need."""
        most = size if self._key.compression == COMPRESSION.NONE else 2 * size + _MOST_OVERHEAD
        with self._lock:
            self._file.seek(offset)
            data = self._file.read(min(count, most))
        if self._key.fillorder == 2 and self._key.compression not in _IMAGES:
            return data.translate(_REVERSED_BITS)
        return data

    def _bytes(self, rows: int) -> int:
        """Return how many bytes a segment has when it is unpacked."""
        if self._subsampling is not None:
            across, down = self._subsampling
            return math.ceil(rows / down) * math.ceil(self.wide / across) * (across * down + 2)
        return self.deep * rows * math.ceil(self.wide * self._together * self._bits / 8)

    def _unpacked(self, data: bytes, shape: tuple[int, ...]) -> bytes | None:
        """Unpack the bytes of a segment; None where that is left to tifffile."""
        compression, size = self._key.compression, self._bytes(shape[1])
        if compression == COMPRESSION.NONE:
            unpacked = data
        elif compression in _DEFLATE:
            unpacked = zlib.decompressobj().decompress(data, size)
        elif compression == COMPRESSION.LZMA:
            unpacked = lzma.LZMADecompressor(memlimit=_MOST_LZMA).decompress(data, size)
        elif compression in _FAX and self._bits == 1:
            tags = ((code, self._key.tags.valueof(code)) for code in (292, 293))
            options = [(code, int(value)) for code, value in tags if isinstance(value, int)]
            unpacked = _by_libtiff(data, compression, shape[2], shape[1], 1, options)
        elif compression in _BY_LIBTIFF:
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
            stored = self.dtype.newbyteorder(self._key.parent.byteorder)
            pixels = np.frombuffer(unpacked, stored).reshape(shape).astype(self.dtype, copy=False)
        if predictor == 1:
            return pixels
        if predictor == 2 and self._bits in (8, 16, 32, 64) and self.dtype.kind in "uif":
            numbers = pixels.view(f"u{self.dtype.itemsize}")
            return np.cumsum(numbers, axis=2, dtype=numbers.dtype).view(self.dtype)
        raise ValueError(f"its samples are stored as differences of the kind {predictor}")

    def _jpeg(self, data: bytes) -> bytes:
        """Put together a JPEG that says how its colors are stored, as the page says it."""
        tables = self._key.jpegtables or b""
        jfif = b"JFIF\0" in data[:64] or b"JFIF\0" in tables[:64]
        photometric = self._key.photometric
        converts = self._together == 3 and (
            photometric == tifffile.PHOTOMETRIC.YCBCR or (photometric == tifffile.PHOTOMETRIC.RGB and jfif)
        )
        adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([converts])
        return b"".join((b"\xff\xd8", adobe, *_jpeg_segments(tables), *_jpeg_segments(data)))

    def _image(self, data: bytes, kind: str, shape: tuple[int, ...], *, inverted: bool = False) -> Array:
        """Decode a segment that is an image in a format of its own."""
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
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


def _shifted(part: slice, start: int) -> slice:
    return slice(part.start - start, part.stop - start)


def is_lossy(page: Page) -> bool:
    """Return whether the compression of a page may have changed its values."""
    return keyframe(page).compression in {*_IMAGES, COMPRESSION.OJPEG}


def comes_as_rgb(page: Page) -> bool:
    """Return whether decoding turns the YCbCr colors of a page into RGB."""
    key = keyframe(page)
    return key.compression == COMPRESSION.JPEG and key.samplesperpixel == 3 and key.planarconfig == 1


def _subsampling(key: tifffile.TiffPage) -> tuple[int, int] | None:
    """Return how many pixels, across and down, share their colors; None where each has its own."""
    if key.photometric != tifffile.PHOTOMETRIC.YCBCR or key.compression in _IMAGES:
        return None
    across, down = key.subsampling or (2, 2)
    if (across, down) == (1, 1):
        return None
    if key.planarconfig != 1 or key.samplesperpixel != 3 or key.bitspersample != 8 or key.predictor != 1:
        raise ValueError("its colors are subsampled in a way that cannot be read")
    if across not in (1, 2, 4) or down not in (1, 2, 4):
        raise ValueError(f"its colors are subsampled {across} × {down}")
    return across, down


def _with_all_colors(stored: Array, subsampling: tuple[int, int], shape: tuple[int, ...]) -> Array:
    """Give each pixel the colors that it shares: blocks of brightness, each followed by its two colors."""
    across, down = subsampling
    rows, columns = math.ceil(shape[1] / down), math.ceil(shape[2] / across)
    blocks = stored.reshape(rows, columns, across * down + 2)
    pixels = np.empty((rows * down, columns * across, 3), np.uint8)
    brightness = blocks[..., :-2].reshape(rows, columns, down, across)
    pixels[..., 0] = brightness.transpose(0, 2, 1, 3).reshape(rows * down, columns * across)
    pixels[..., 1:] = blocks[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    return pixels[: shape[1], : shape[2]][None]


def _from_bits(unpacked: bytes, bits: int, per_row: int) -> Array:
    """Split samples of 1 to 16 bits; each row begins with a new byte."""
    rows = np.frombuffer(unpacked, np.uint8).reshape(-1, math.ceil(per_row * bits / 8))
    ones = np.unpackbits(rows, axis=1, count=per_row * bits).reshape(len(rows), per_row, bits)
    numbers = np.zeros(ones.shape[:2], np.uint16)
    for bit in range(bits):
        numbers = numbers << 1 | ones[..., bit]
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
    tags = [(256, width), (257, height), (258, bits), (259, compression), (262, 1), (273, 8), (277, 1)]
    tags += [(278, height), (279, len(data)), *options]
    start = 8 + len(data) + len(data) % 2
    header = b"II*\0" + struct.pack("<I", start)
    directory = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in sorted(tags))
    content = header + data + bytes(len(data) % 2) + struct.pack("<H", len(tags)) + directory + bytes(4)
    with TiffImageFile(io.BytesIO(content)) as image:  # Image.open refuses rows of so many bytes
        return np.packbits(np.asarray(image), axis=1).tobytes() if bits == 1 else image.tobytes()


def _jpeg_segments(stream: bytes) -> Iterator[bytes]:
    """Yield the parts of a JPEG without its start, its end, and notes of programs."""
    at = 2 if stream[:2] == b"\xff\xd8" else 0
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        kind = stream[at + 1]
        if kind == 0xDA:  # from here on the pixels
            yield stream[at:]
            return
        length = int.from_bytes(stream[at + 2 : at + 4], "big")
        if not 0xE0 <= kind <= 0xEF:
            yield stream[at : at + 2 + length]
        at += 2 + length
