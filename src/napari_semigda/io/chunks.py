"""The chunks of a zarr array, each checked before it is unpacked: none may become far larger than its pixels.

The chunk itself, not the metadata, says how much it unpacks to, and zarr trusts it.
"""

import bz2
import lzma
import math
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from napari_semigda.io.files import check_regular

COMPRESSIONS = frozenset({"gzip", "zlib", "zstd", "blosc", "lz4", "bz2", "lzma"})
"""Codecs whose chunks say themselves how large they become."""

_OVERHEAD = 2**16
_HARMLESS = 2**24  # bytes that a chunk may unpack to beyond twice what its pixels need: not worth measuring
_DEFLATE_RATIO, _COUNTED_FROM = 1032, 2**27
_BLOCK = 2**17  # of zstd
_STEP = 2**22


def check_chunk(codec: str, data: bytes, size: int) -> None:
    """Raise ValueError for a chunk that is damaged, or unpacks to far more than the `size` of its pixels."""
    if len(data) > 2 * size + _OVERHEAD:
        raise ValueError(f"one of its chunks has {len(data)} bytes for {size} bytes of pixels")
    measure = _MEASURES.get(codec)
    if measure is not None and measure(data, most := 2 * size + _HARMLESS) > most:
        raise ValueError(f"one of its chunks would unpack to far more than its {size} bytes of pixels")


def _counted(start: Callable[[], Any]) -> Callable[[bytes, int], int]:
    """Measure by unpacking piece by piece, keeping nothing, until there is too much."""

    def measure(data: bytes, most: int) -> int:
        total, left = 0, data
        while left and total <= most:
            decoder = start()
            total += len(decoder.decompress(left, _STEP))
            while not decoder.eof and total <= most:
                rest = getattr(decoder, "unconsumed_tail", b"")
                part = decoder.decompress(rest, _STEP)
                if not part and not rest:
                    return total
                total += len(part)
            left = decoder.unused_data.lstrip(b"\0")
        return total

    return measure


_deflated = _counted(lambda: zlib.decompressobj(wbits=47))


def _deflate(data: bytes, most: int) -> int:
    is_small = 2 * len(data) <= most - _HARMLESS and len(data) * _DEFLATE_RATIO < _COUNTED_FROM
    return 0 if is_small else _deflated(data, most)


def _zstd(data: bytes, most: int) -> int:
    """Sum what the frames say, or at most what their blocks can become."""
    total, at = 0, 0
    while at + 5 <= len(data) and total <= most:
        magic = int.from_bytes(data[at : at + 4], "little")
        if magic & 0xFFFFFFF0 == 0x184D2A50:  # a frame to be skipped
            at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            continue
        if magic != 0xFD2FB528:
            raise ValueError("one of its chunks is damaged")
        flags = data[at + 4]
        single, kind = flags >> 5 & 1, flags >> 6
        at += 5 + (not single) + (0, 1, 2, 4)[flags & 3]
        length = (single, 2, 4, 8)[kind]
        told = int.from_bytes(data[at : at + length], "little") + (256 if length == 2 else 0)
        at += length
        blocks, last = 0, False
        while not last and at + 3 <= len(data):
            header = int.from_bytes(data[at : at + 3], "little")
            last, block, count = bool(header & 1), header >> 1 & 3, header >> 3
            at += 3 + (1 if block == 1 else count)
            blocks += count if block < 2 else _BLOCK
        total += told if length else blocks
        at += 4 * (flags >> 2 & 1)
    return total


_MEASURES: dict[str, Callable[[bytes, int], int]] = {
    "gzip": _deflate,
    "zlib": _deflate,
    "bz2": _counted(bz2.BZ2Decompressor),
    "lzma": _counted(lzma.LZMADecompressor),
    "zstd": _zstd,
    "blosc": lambda data, most: int.from_bytes(data[4:8], "little"),
    "lz4": lambda data, most: int.from_bytes(data[:4], "little"),
}


# zarr -------------------------------------------------------------------------------------------------


def opened_array(folder: Path, zarr_format: int, compressions: tuple[str, ...], chunk_size: int) -> Any:
    """Open a zarr array of format 2 or 3 whose chunks are checked.

    `compressions` are those of the array, the outermost last; `chunk_size` is in bytes of memory.
    """
    import zarr  # takes a third of a second

    if zarr_format == 2:
        store = _checked_store(folder, compressions[-1] if compressions else "", chunk_size)
        return zarr.open_array(store=store, mode="r", zarr_format=2)
    with zarr.config.set({"codecs": {**zarr.config.get("codecs"), **_register_codecs()}}):
        return zarr.open_array(store=_checked_store(folder), mode="r", zarr_format=3)


def _checked_store(folder: Path, compression: str = "", size: int = 0) -> Any:
    """Return a store that refuses a pipe in place of a chunk, and checks chunks whose `size` is given."""
    from zarr.storage import LocalStore

    class CheckedStore(LocalStore):  # a class for each array, so that no copy of a store can lose its checks
        async def get(self, key: str, *given: Any, **named: Any) -> Any:
            with suppress(OSError):  # zarr reports what is not there
                check_regular(self.root / key)
            value = await super().get(key, *given, **named)
            if size and value is not None and not key.rpartition("/")[2].startswith((".z", "zarr.json")):
                check_chunk(compression, value.to_bytes(), size)
            return value

    return CheckedStore(folder, read_only=True)


@cache
def _register_codecs() -> dict[str, str]:
    """Register codecs of zarr 3 that check their chunks, and return their names by the usual ones."""
    from zarr.registry import get_codec_class, register_codec

    chosen = {}
    for name in (*(f"numcodecs.{name}" for name in sorted(COMPRESSIONS)), "gzip", "zstd", "blosc"):
        try:
            base = get_codec_class(name)
        except KeyError:  # this version of zarr does not have it
            continue
        chosen[name] = f"{__name__}.{name}"
        register_codec(name, _checked(base, name.removeprefix("numcodecs.")), qualname=chosen[name])
    return chosen


def _checked(base: Any, codec: str) -> Any:
    class Checked(base):
        async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
            size = math.prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize
            check_chunk(codec, chunk_bytes.to_bytes(), size)
            return await super()._decode_single(chunk_bytes, chunk_spec)

    return Checked
