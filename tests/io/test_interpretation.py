"""Pixels are what a viewer shows, whatever way a file stores them, read whole and by windows."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from napari_semigda.io import bands
from napari_semigda.io.bands import opened_plane
from napari_semigda.io.colors import upright
from napari_semigda.io.pictures import list_planes, read_plane

GRAY = np.add.outer(3 * np.arange(40), 2 * np.arange(50)).astype(np.uint8)
DISC = np.zeros((40, 50), np.uint8)
DISC[8:20, 10:30] = 1


def read(path: Path) -> NDArray[Any]:
    (plane,) = list_planes(path)
    pixels = read_plane(plane).pixels
    assert pixels.shape[:2] == plane.shape
    return pixels


def with_tags(path: Path, **numbers: int) -> Path:
    """Change tags of the first page that are stored as short numbers."""
    with tifffile.TiffFile(path, mode="r+") as tif:
        for name, value in numbers.items():
            tif.pages.first.tags[name].overwrite(value)
    return path


# All that TIFF can do, against the plain array ---------------------------------------------------------


@pytest.fixture
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "LARGE", 1)


def packed(samples: NDArray[Any], bits: int) -> bytes:
    """Rows of samples of so many bits, each row beginning with a new byte."""
    flat = samples.reshape(len(samples), -1).astype(np.uint16)
    ones = np.unpackbits(flat.astype(">u2").view(np.uint8).reshape(*flat.shape, 2), axis=2)[..., 16 - bits :]
    return np.packbits(ones.reshape(len(samples), -1), axis=1).tobytes()


def lzw_by_pillow(data: bytes, kind: str) -> bytes:
    """What libtiff makes of bytes."""
    buffer = io.BytesIO()
    Image.frombytes("L", (len(data), 1), data).save(buffer, "TIFF", compression=kind)
    content = buffer.getvalue()
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        page = tif.pages.first
        assert len(page.dataoffsets) == 1
        return content[page.dataoffsets[0] :][: page.databytecounts[0]]


ENCODERS = {
    1: lambda data: data,
    8: zlib.compress,
    5: lambda data: lzw_by_pillow(data, "tiff_lzw"),
    32773: lambda data: lzw_by_pillow(data, "packbits"),
    50000: lambda data: lzw_by_pillow(data, "zstd"),
}
PHOTOMETRIC = {"white": 0, "black": 1, "rgb": 2, "palette": 3, "cmyk": 5}


def write_tiff(
    path: Path,
    stored: NDArray[Any],
    *,
    kind: str,
    bits: int,
    compression: int,
    planar: bool,
    orientation: int,
    tile: tuple[int, int] | None,
    rows: int,
    big: bool,
    alpha: int | None,
    predictor: bool,
    reverse: bool,
) -> None:
    """Write a TIFF by the book: stored is (H, W, C)."""
    height, width, count = stored.shape
    order = ">" if big else "<"
    groups = [stored[..., [one]] for one in range(count)] if planar else [stored]
    segments = []
    for group in groups:
        if tile is None:
            parts = [group[top : top + rows] for top in range(0, height, rows)]
        else:
            parts = []
            for top in range(0, height, tile[0]):
                for left in range(0, width, tile[1]):
                    part = np.zeros((*tile, group.shape[2]), stored.dtype)
                    cut = group[top : top + tile[0], left : left + tile[1]]
                    part[: cut.shape[0], : cut.shape[1]] = cut
                    parts.append(part)
        for part in parts:
            if predictor:
                part = np.concatenate([part[:, :1], np.diff(part, axis=1)], axis=1)
            data = packed(part, bits) if bits < 8 else part.astype(part.dtype.newbyteorder(order)).tobytes()
            data = ENCODERS[compression](data)
            if reverse:
                data = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
            segments.append(data)
    tags: dict[int, tuple[int, list[int]]] = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * count), 259: (3, [compression]),
        262: (3, [PHOTOMETRIC[kind]]), 266: (3, [2 if reverse else 1]), 274: (3, [orientation]),
        277: (3, [count]), 284: (3, [2 if planar else 1]), 317: (3, [2 if predictor else 1]),
    }  # fmt: skip
    if kind == "palette":
        tags[320] = (3, (PALETTE[: 2**bits].T.astype(int) * 257).ravel().tolist())
    if alpha is not None:
        tags[338] = (3, [alpha])
    offsets, place = [], 8
    for segment in segments:
        offsets.append(place)
        place += len(segment) + len(segment) % 2
    if tile is None:
        tags |= {278: (4, [rows]), 273: (4, offsets), 279: (4, [len(one) for one in segments])}
    else:
        tags |= {322: (4, [tile[1]]), 323: (4, [tile[0]])}
        tags |= {324: (4, offsets), 325: (4, [len(one) for one in segments])}
    body = b"".join(one + bytes(len(one) % 2) for one in segments)
    directory = struct.pack(f"{order}H", len(tags))
    extra, start = b"", 8 + len(body) + 2 + 12 * len(tags) + 4
    for code, (type_, values) in sorted(tags.items()):
        value = struct.pack(f"{order}{len(values)}{'H' if type_ == 3 else 'I'}", *values)
        if len(value) > 4:
            here = struct.pack(f"{order}I", start + len(extra))
            extra += value
        else:
            here = value.ljust(4, b"\0")
        directory += struct.pack(f"{order}HHI", code, type_, len(values)) + here
    head = (b"MM\0*" if big else b"II*\0") + struct.pack(f"{order}I", 8 + len(body))
    path.write_bytes(head + body + directory + bytes(4) + extra)


PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3)).astype(np.uint8)


def shown(stored: NDArray[Any], kind: str, bits: int, alpha: int | None) -> NDArray[Any]:
    """What a viewer shows, written down in the plainest way."""
    most = 2**bits - 1
    base, rest = (
        (stored[..., : {"rgb": 3, "cmyk": 4}.get(kind, 1)], stored[..., -1:]) if alpha else (stored, None)
    )
    if kind == "palette":
        seen = PALETTE[base[..., 0]]
    elif kind == "cmyk":
        ink = base / most
        seen = np.rint((1 - ink[..., :3]) * (1 - ink[..., 3:]) * (255 if bits < 8 else most))
    else:
        seen = most - base if kind == "white" else base
        if alpha == 1:
            seen = np.minimum(seen.astype(np.int64) * most // np.maximum(rest, 1), most) * (rest > 0)
        if bits < 8 and (bits > 1 or kind == "rgb"):
            seen = np.rint(seen.astype(float) * 255 / most)
    if rest is not None and seen.shape[2] == 3:
        seen = np.concatenate([seen, rest], axis=2)
    return seen[..., 0] if seen.shape[2] == 1 else seen


@pytest.mark.usefixtures("_small_is_large")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_tiff_of_any_kind_is_read_as_it_is_shown_whole_and_by_windows(
    tmp_path: Path, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(sorted(PHOTOMETRIC)))
    bits = data.draw(st.sampled_from([1, 2, 4, 8] if kind == "palette" else [1, 2, 4, 8, 16]))
    alpha = data.draw(st.sampled_from([None, 1, 2])) if bits >= 8 and kind in ("rgb", "black") else None
    if kind != "rgb" and alpha == 1:
        alpha = 2
    planar = data.draw(st.booleans())
    count = {"rgb": 3, "cmyk": 4}.get(kind, 1) + (alpha is not None)
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    orientation = data.draw(st.integers(1, 8))
    values = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 2**bits, (height, width, count))
    stored = values.astype(np.uint16 if bits == 16 else np.uint8)
    path = tmp_path / "a.tif"
    write_tiff(
        path,
        stored,
        kind=kind,
        bits=bits,
        compression=data.draw(st.sampled_from(sorted(ENCODERS))),
        planar=planar and count > 1,
        orientation=orientation,
        tile=data.draw(st.sampled_from([None, (16, 16), (16, 32)])),
        rows=data.draw(st.integers(1, 50)),
        big=data.draw(st.booleans()),
        alpha=alpha,
        predictor=bits >= 8 and data.draw(st.booleans()),
        reverse=data.draw(st.booleans()),
    )
    (plane,) = list_planes(path)
    whole = read_plane(plane).pixels
    expected = upright(shown(stored, kind, bits, alpha), orientation)
    assert plane.shape == whole.shape[:2]
    np.testing.assert_array_equal(whole, expected)
    with opened_plane(plane) as opened:
        assert (tuple(opened.shape), opened.dtype) == (whole.shape, whole.dtype)
        top, left = data.draw(st.integers(0, whole.shape[0])), data.draw(st.integers(0, whole.shape[1]))
        step = data.draw(st.integers(1, 3))
        for part in (np.s_[:], np.s_[top:, left:], np.s_[top : top + 7 : step, left : left + 9 : step]):
            np.testing.assert_array_equal(np.asarray(opened[part]), whole[part])
