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
from PIL import Image, ImageCms, ImageOps

from napari_semigda.errors import SemiGDAError
from napari_semigda.io import bands
from napari_semigda.io.bands import opened_plane
from napari_semigda.io.colors import upright
from napari_semigda.io.masks import read_labels
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


# Colors, against other programs ------------------------------------------------------------------------


COLOR = np.zeros((40, 50, 3), np.uint8)
COLOR[...] = (200, 30, 40)
COLOR[10:20] = (20, 160, 90)
COLOR[:, 30:] = np.add.outer(np.arange(40), np.arange(60).reshape(20, 3)).astype(np.uint8) * 2


@pytest.mark.parametrize("compression", [None, "packbits", "tiff_lzw", "tiff_adobe_deflate", "zstd", "lzma"])
@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "RGB", "L", "1", "P", "RGBA", "LA", "I;16"])
def test_tiffs_of_pillow_show_what_pillow_shows(tmp_path: Path, mode: str, compression: str | None) -> None:
    image = Image.fromarray(COLOR)
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    elif mode == "I;16":
        image = Image.fromarray(COLOR[..., 0].astype(np.uint16) * 255)
    elif mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(GRAY))
        image = image.convert(mode)
    else:
        image = image.convert(mode)
    image.save(tmp_path / "a.tif", compression=compression)
    expected = np.asarray(image if mode in ("RGB", "L", "1", "RGBA", "I;16") else image.convert("RGB"))
    if mode == "LA":
        expected = np.asarray(image)[..., 0]
    pixels = read(tmp_path / "a.tif")
    if mode in ("YCbCr", "LAB"):
        reference = COLOR if mode == "LAB" else expected
        assert np.abs(pixels.astype(int) - reference).max() <= (4 if mode == "LAB" else 1)
    else:
        np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.tif", "a.jpg", "a.png", "a.webp"])
def test_every_orientation_is_turned_as_pillow_turns_it(tmp_path: Path, name: str, orientation: int) -> None:
    path = tmp_path / name
    exif = Image.Exif()
    exif[274] = orientation
    given: dict[str, Any] = {"tiffinfo": {274: orientation}} if name == "a.tif" else {"exif": exif}
    Image.fromarray(GRAY).convert("RGB").save(path, **given)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read(path), expected)


def test_a_pixel_size_turns_with_its_image(tmp_path: Path) -> None:
    given: dict[str, Any] = {"resolution": (20_000, 5000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "a.tif", GRAY, extratags=[(274, 3, 1, 6, True)], **given)
    (plane,) = list_planes(tmp_path / "a.tif")
    assert plane.shape == (50, 40)
    assert plane.pixel_size == pytest.approx((0.5, 2))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "YCbCr"])
def test_jpeg_in_tiff_shows_what_pillow_shows(tmp_path: Path, mode: str) -> None:
    smooth = np.dstack([GRAY, GRAY[::-1], GRAY[:, ::-1]])
    image = Image.fromarray(smooth).convert(mode)
    image.save(tmp_path / "a.tif", compression="jpeg", quality=95)
    far = read(tmp_path / "a.tif").astype(int) - np.asarray(image if mode == "L" else image.convert("RGB"))
    assert np.abs(far).mean() < 4


def test_a_cmyk_jpeg_shows_what_pillow_shows(tmp_path: Path) -> None:
    Image.fromarray(COLOR).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    with Image.open(tmp_path / "a.jpg") as image:
        np.testing.assert_array_equal(read(tmp_path / "a.jpg"), np.asarray(image.convert("RGB")))
    content = (tmp_path / "a.jpg").read_bytes()
    start = content.index(b"\xff\xee")
    length = int.from_bytes(content[start + 2 : start + 4], "big")
    (tmp_path / "b.jpg").write_bytes(content[:start] + content[start + 2 + length :])
    with pytest.raises(SemiGDAError, match=r"b\.jpg.* inverted"):
        read(tmp_path / "b.jpg")


@pytest.mark.parametrize(("across", "down"), [(1, 1), (2, 1), (2, 2), (4, 2), (1, 2)])
def test_colors_of_less_resolution_are_spread_over_their_pixels(
    tmp_path: Path, across: int, down: int
) -> None:
    blocks = np.random.default_rng(0).integers(0, 256, (5, 6, across * down + 2)).astype(np.uint8)
    height, width = 5 * down - down // 2, 6 * across - across // 2
    path, data = tmp_path / "a.tif", blocks.tobytes()
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 6),
        (273, 4, 8),
        (277, 3, 3),
    ]
    tags += [(278, 4, height), (279, 4, len(data)), (530, 3, across | down << 16)]
    body = b"".join(
        struct.pack("<HHII", code, kind, 2 if code == 530 else 1, value) for code, kind, value in tags
    )
    padded = data + bytes(len(data) % 2)
    head = b"II*\0" + struct.pack("<I", 8 + len(padded))
    path.write_bytes(head + padded + struct.pack("<H", len(tags)) + body + bytes(4))
    ycbcr = np.empty((5 * down, 6 * across, 3), np.uint8)
    for row, column in np.ndindex(5, 6):
        part = ycbcr[row * down : (row + 1) * down, column * across : (column + 1) * across]
        part[..., 0] = blocks[row, column, :-2].reshape(down, across)
        part[..., 1:] = blocks[row, column, -2:]
    expected = np.asarray(Image.fromarray(ycbcr[:height, :width], "YCbCr").convert("RGB"))
    assert np.abs(read(path).astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("colors", "count"), [(2, 3), (4, 2), (6, 4)])
def test_a_png_of_sixteen_bits_keeps_them_all(tmp_path: Path, colors: int, count: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (8, 9, count)).astype(np.uint16)
    write_png(tmp_path / "a.png", pixels, 16, colors)
    np.testing.assert_array_equal(read(tmp_path / "a.png"), pixels[..., 0] if count == 2 else pixels)


def write_png(path: Path, pixels: NDArray[Any], bits: int, colors: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = packed(pixels, bits) if bits < 8 else pixels.astype(">u2" if bits == 16 else "u1").tobytes()
    each = len(rows) // len(pixels)
    lines = b"".join(b"\0" + rows[row * each : (row + 1) * each] for row in range(len(pixels)))
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], bits, colors, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_black_to_white_in_an_image_and_numbers_in_a_mask(tmp_path: Path, bits: int) -> None:
    values = np.random.default_rng(0).integers(0, 2**bits, (8, 9)).astype(np.uint8)
    write_png(tmp_path / "a.png", values, bits, 0)
    np.testing.assert_array_equal(
        read(tmp_path / "a.png") * (1 if bits > 1 else 255), values * (255 // (2**bits - 1))
    )
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), values)


@pytest.mark.parametrize("photometric", [4 + 28, 10, 32803, 32844])
def test_colors_that_are_not_known_are_refused(tmp_path: Path, photometric: int) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GRAY, metadata=None)
    with_tags(path, PhotometricInterpretation=photometric)
    with pytest.raises(SemiGDAError, match=rf"a\.tif.* {photometric}"):
        read(path)


# Label maps --------------------------------------------------------------------------------------------


def stack(*channels: NDArray[Any]) -> NDArray[Any]:
    return np.dstack(channels).astype(np.uint8)


NOTHING, FULL = np.zeros((40, 50), np.uint8), np.full((40, 50), 255, np.uint8)
LABELS = DISC.copy()
LABELS[30:35] = 2
CELLS = 255 * DISC


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (stack(NOTHING, NOTHING, NOTHING, CELLS), CELLS),
        (stack(FULL, FULL, FULL, CELLS), CELLS),
        (stack(CELLS, CELLS, CELLS, CELLS), CELLS),
        (stack(FULL, NOTHING, NOTHING, CELLS), CELLS),
        (stack(CELLS, CELLS, CELLS, FULL), CELLS),
        (stack(LABELS, LABELS, LABELS, FULL), LABELS),
        (stack(LABELS, LABELS, LABELS, 255 * (LABELS > 0)), LABELS),
        (stack(NOTHING, NOTHING, NOTHING, NOTHING), "completely transparent"),
        (stack(NOTHING, NOTHING, NOTHING, CELLS // 2), "semi-transparent"),
        (stack(CELLS, CELLS, CELLS, 255 * (GRAY > 50)), "several colors"),
        (stack(CELLS, NOTHING, NOTHING, FULL), "color image"),
    ],
)
def test_what_is_drawn_on_a_transparent_ground_is_the_object(
    tmp_path: Path, ending: str, pixels: NDArray[Any], expected: Any
) -> None:
    path = tmp_path / f"a.{ending}"
    given = {"lossless": True, "exact": True} if ending == "webp" else {}
    Image.fromarray(pixels, "RGBA").save(path, **given)
    if isinstance(expected, str):
        with pytest.raises(SemiGDAError, match=rf"a\.{ending}.* {expected}"):
            read_labels(path)
    else:
        np.testing.assert_array_equal(read_labels(path), expected)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "group4"])
def test_a_mask_where_0_is_white_means_what_is_seen(tmp_path: Path, compression: str | None) -> None:
    image = Image.fromarray(DISC > 0)
    image.save(tmp_path / "a.tif", compression=compression, tiffinfo={262: 0})
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), DISC)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), DISC > 0)


@pytest.mark.parametrize("given", [{}, {"compression": "zlib"}, {"metadata": None}, {"ome": True}])
def test_in_an_array_of_python_true_is_the_object(tmp_path: Path, given: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", DISC > 0, **given)  # which says on its own that 0 is white
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), DISC)


def test_of_a_mask_where_0_is_white_other_values_are_not_guessed(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", LABELS, photometric="miniswhite")
    with pytest.raises(SemiGDAError, match="WhiteIsZero"):
        read_labels(tmp_path / "a.tif")
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), 255 - LABELS)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_imagejs_inverting_table_changes_what_is_seen_but_no_label(tmp_path: Path, dtype: Any) -> None:
    tifffile.imwrite(tmp_path / "a.tif", LABELS.astype(dtype), imagej=True)
    with_tags(tmp_path / "a.tif", PhotometricInterpretation=0)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), LABELS)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), np.iinfo(dtype).max - LABELS.astype(dtype))


@pytest.mark.parametrize("ending", ["png", "tif", "gif", "bmp"])
def test_of_a_palette_the_indices_are_the_classes(tmp_path: Path, ending: str) -> None:
    colors = [0, 0, 0, 128, 0, 0, 0, 128, 0]
    image = Image.frombytes("P", (50, 40), LABELS.tobytes())
    image.putpalette(colors + [0] * 759)
    image.save(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(read_labels(tmp_path / f"a.{ending}"), LABELS)
    expected = np.array(colors, np.uint8).reshape(3, 3)[LABELS]
    np.testing.assert_array_equal(read(tmp_path / f"a.{ending}"), expected)


@pytest.mark.parametrize(
    ("colors", "expected"),
    [
        ([0, 255], DISC),
        ([255, 0], 255 - CELLS),
        ([255, 128], "another order"),
        ([10, 90], DISC),
        ([0, 2], "another start"),
        ([0, 0], DISC),
    ],
)
def test_of_a_palette_of_grays_its_order_decides(tmp_path: Path, colors: list[int], expected: Any) -> None:
    image = Image.frombytes("P", (50, 40), DISC.tobytes())
    image.putpalette([color for color in colors for _ in range(3)])
    image.save(tmp_path / "a.png")
    if isinstance(expected, str):
        with pytest.raises(SemiGDAError, match=expected):
            read_labels(tmp_path / "a.png")
    else:
        np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("values", [[0, 2], [0, 2, 3], [2], [0, 255]])
def test_of_a_gray_gif_the_gray_values_are_the_classes(tmp_path: Path, values: list[int]) -> None:
    labels = np.array(values, np.uint8)[np.minimum(LABELS, len(values) - 1)]
    Image.fromarray(labels).save(tmp_path / "a.gif")  # Pillow numbers the values that are in use
    np.testing.assert_array_equal(read_labels(tmp_path / "a.gif"), labels)


@pytest.mark.parametrize("first", ["transparent", "opaque"])
def test_of_a_palette_with_transparency_what_is_opaque_is_the_object(tmp_path: Path, first: str) -> None:
    index = DISC if first == "transparent" else 1 - DISC
    image = Image.frombytes("P", (50, 40), index.tobytes())
    image.putpalette([0] * 6)
    image.save(tmp_path / "a.png", transparency=bytes([0, 255] if first == "transparent" else [255, 0]))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png") > 0, DISC > 0)


def test_a_jpeg_is_no_mask_unless_it_is_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / "a.jpg")
    Image.fromarray(LABELS).save(tmp_path / "a.tif", compression="jpeg")
    Image.fromarray(LABELS).save(tmp_path / "a.webp")
    for name in ("a.jpg", "a.tif", "a.webp"):
        with pytest.raises(SemiGDAError, match="changes values"):
            read_labels(tmp_path / name)
    Image.fromarray(FULL).save(tmp_path / "a.jpg", quality=100)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.jpg"), FULL)


def test_a_mask_in_sixteen_bits_a_color_keeps_its_values(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.dstack([LABELS] * 3).astype(np.uint16), 16, 2)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), LABELS)


def test_a_mask_with_what_is_no_number_is_refused_for_that(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.where(DISC, np.nan, 0).astype(np.float32))
    with pytest.raises(SemiGDAError, match="fractions"):
        read_labels(tmp_path / "a.tif")
