"""Small files that unpack to gigabytes: read or refused, in little memory."""

import bz2
import gzip
import io
import lzma
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.chunks import check_chunk
from napari_semigda.io.masks import read_legend
from napari_semigda.io.pictures import list_planes, read_plane
from tests.stores import noise, write_store

PART = bytes(2**24)
TIMES = 16
"""Of `PART`: 256 MiB."""


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()


@cache
def deflated() -> bytes:
    packer = zlib.compressobj(1)
    return b"".join([packer.compress(PART) for _ in range(TIMES)]) + packer.flush()


def zstd(frames: int = 1) -> bytes:
    """Frames of blocks that repeat a zero, without saying how many there are."""
    blocks = TIMES * len(PART) // 2**17
    body = b"".join(
        (2**17 << 3 | 1 << 1 | (number == blocks - 1)).to_bytes(3, "little") + b"\0"
        for number in range(blocks)
    )
    return (struct.pack("<I", 0xFD2FB528) + b"\0\x50" + body) * frames


def honest_zstd() -> bytes:
    """One frame that says how large it is."""
    return bytes(numcodecs.Zstd().encode(np.zeros(TIMES * len(PART), np.uint8)))


CHUNKS: dict[str, Callable[[], bytes]] = {
    "zlib": deflated,
    "gzip": lambda: gzip.compress(PART) * TIMES,
    "bz2": lambda: bz2.compress(PART) * TIMES,
    "lzma": lambda: lzma.compress(PART, preset=0) * TIMES,
    "zstd": zstd,
    "blosc": lambda: bytes(numcodecs.Blosc().encode(np.zeros(TIMES * len(PART), np.uint8))),
    "lz4": lambda: bytes(numcodecs.LZ4().encode(np.zeros(TIMES * len(PART), np.uint8))),
}


@pytest.mark.parametrize("codec", CHUNKS)
def test_a_chunk_of_zarr_2_that_unpacks_to_far_more_than_its_pixels_is_refused(
    tmp_path: Path, codec: str
) -> None:
    compressor = numcodecs.get_codec({"id": codec})
    folder = write_store(tmp_path / "a.zarr", noise((40, 40)), "yx", compressors=compressor)
    (plane,) = list_planes(folder)
    np.testing.assert_array_equal(read_plane(plane).pixels, noise((40, 40)))
    (folder / "0" / "0.0").write_bytes(CHUNKS[codec]())
    with little_memory(), pytest.raises(SemiGDAError, match=r"a\.zarr.*one of its chunks"):
        read_plane(plane)


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("codec", ["gzip", "zstd", "blosc"])
def test_a_chunk_of_zarr_3_is_checked_too_inside_of_shards(tmp_path: Path, codec: str, sharded: bool) -> None:
    codecs = {"gzip": zarr.codecs.GzipCodec, "zstd": zarr.codecs.ZstdCodec, "blosc": zarr.codecs.BloscCodec}
    given: dict[str, Any] = {"shards": (40, 40)} if sharded else {}
    folder = write_store(
        tmp_path / "a.zarr",
        noise((40, 40)),
        "yx",
        version="0.5",
        chunks=(20, 20) if sharded else (40, 40),
        compressors=codecs[codec](),
        **given,
    )
    (plane,) = list_planes(folder)
    np.testing.assert_array_equal(read_plane(plane).pixels, noise((40, 40)))
    chunk = folder / "0" / "c" / "0" / "0"
    bomb = CHUNKS[codec]()[:60_000] if codec == "gzip" else CHUNKS[codec]()
    if sharded:  # an index that says that every chunk is the bomb
        index = np.tile(np.array([0, len(bomb)], "<u8"), 4)
        bomb += bytes(numcodecs.CRC32C(location="end").encode(index.view(np.uint8)))
    chunk.write_bytes(bomb)
    with little_memory(), pytest.raises(SemiGDAError, match=r"a\.zarr"):
        read_plane(plane)


@pytest.mark.parametrize("codec", CHUNKS)
@pytest.mark.parametrize("size", [0, 1, 1600, 2**20])
def test_chunks_that_keep_their_word_are_let_through(codec: str, size: int) -> None:
    for pixels in (
        np.zeros(size, np.uint8),
        np.random.default_rng(0).integers(0, 255, size).astype(np.uint8),
    ):
        check_chunk(codec, bytes(numcodecs.get_codec({"id": codec}).encode(pixels)), size)


def test_a_frame_may_say_how_large_it_is_or_not() -> None:
    for data in (zstd(), zstd(frames=2), honest_zstd()):
        with pytest.raises(ValueError, match="far more"):
            check_chunk("zstd", data, 1600)


# TIFF and photographs ----------------------------------------------------------------------------------


def by_pillow(compression: str) -> bytes:
    buffer = io.BytesIO()
    Image.frombytes("L", (2**12, 2**12), PART).save(buffer, "TIFF", compression=compression, strip_size=2**30)
    content = buffer.getvalue()
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        page = tif.pages.first
        return content[page.dataoffsets[0] :][: page.databytecounts[0]]


def large_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (2**14, 2**13)).save(buffer, "JPEG")
    return buffer.getvalue()


STRIPS: dict[str, tuple[int, Callable[[], bytes]]] = {
    "nothing": (1, lambda: PART),
    "deflate": (8, deflated),
    "LZW": (5, lambda: by_pillow("tiff_lzw")),
    "PackBits": (32773, lambda: by_pillow("packbits")),
    "zstd": (50000, zstd),
    "LZMA": (34925, lambda: lzma.compress(PART, preset=0)),
    "JPEG": (7, large_jpeg),
}


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("kind", STRIPS)
def test_a_strip_or_tile_takes_no_more_memory_than_its_pixels(tmp_path: Path, kind: str, tiled: bool) -> None:
    compression, made = STRIPS[kind]
    data = made()
    place = {324: 8, 325: len(data), 322: 48, 323: 48} if tiled else {273: 8, 278: 40, 279: len(data)}
    tags = {256: 40, 257: 40, 258: 8, 259: compression, 262: 1, 277: 1, **place}
    body = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in sorted(tags.items()))
    path = tmp_path / "bomb.tif"
    head = b"II*\0" + struct.pack("<I", 8 + len(data) + len(data) % 2)
    path.write_bytes(head + data + bytes(len(data) % 2) + struct.pack("<H", len(tags)) + body + bytes(4))
    with little_memory():
        if kind == "JPEG":
            with pytest.raises(SemiGDAError, match=r"bomb\.tif.* claims"):
                read_plane(list_planes(path)[0])
        else:
            assert not read_plane(list_planes(path)[0]).pixels.any()


def test_a_photograph_that_claims_far_more_than_its_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (8, 9)).save(path)
    content = path.read_bytes()
    header = b"IHDR" + struct.pack(">II", 13_000, 13_000) + content[24:29]
    path.write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    with little_memory(), pytest.raises(SemiGDAError, match=r"a\.png.* claims"):
        list_planes(path)


def test_a_description_that_claims_endless_planes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    for claim in (b'SizeT="999999999"', b'SizeT="2"'):
        tifffile.imwrite(path, np.zeros((2, 8, 9), np.uint8), ome=True, metadata={"axes": "TYX"})
        with tifffile.TiffFile(path) as tif:
            xml = (tif.ome_metadata or "").encode().replace(b'SizeT="2"', claim)
        if claim.endswith(b'"2"'):
            xml = xml.replace(b"<TiffData", b'<TiffData FirstT="999999999"', 1)
        tifffile.imwrite(path, np.zeros((8, 9), np.uint8), description=xml, metadata=None)
        with little_memory(), pytest.raises(SemiGDAError, match="seems damaged"):
            list_planes(path)


@pytest.mark.parametrize("code", [270, 273, 258, 305, 330, 339, 347])
def test_a_tag_that_claims_more_than_any_has_is_refused(tmp_path: Path, code: int) -> None:
    path = tmp_path / "sparse.tif"
    tags = {256: 40, 257: 40, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 40, 279: 1600}
    entries = {one: (4, 1, value) for one, value in tags.items()} | {code: (4, 2**28, 4000)}
    body = b"".join(struct.pack("<HHII", one, *entries[one]) for one in sorted(entries))
    head = b"II*\0" + struct.pack("<I", 1608) + bytes(1600)
    path.write_bytes(head + struct.pack("<H", len(entries)) + body + bytes(4))
    with path.open("r+b") as file:
        file.truncate(2**31)  # takes no room on the disk
    with little_memory(), pytest.raises(SemiGDAError, match=rf"sparse\.tif” claims .* tag {code}"):
        list_planes(path)
    with little_memory():
        assert read_legend(path) is None
