"""Picture files that nobody expects: each is an item or is named with the reason, and the others go on."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_semigda.engine.engine import Engine
from napari_semigda.engine.events import Predicted, PredictionFailed, RoundEnded
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget

GRAY = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)
WIDTH, HEIGHT, ROWS_PER_STRIP, SAMPLES = 256, 257, 278, 277

PICTURES = {
    "one pixel.tif": GRAY[:1, :1],
    "line.tif": np.zeros((1, 100_000), np.uint8),
    "column.tif": np.zeros((100_000, 1), np.uint8),
    "five channels.tif": np.stack([GRAY] * 5, axis=-1),
    "not a number.tif": np.where(GRAY % 3, np.where(GRAY % 2, np.inf, GRAY), np.nan).astype(np.float32),
    "nothing but not a number.tif": np.full((40, 50), np.nan, np.float32),
    "constant.tif": np.full((40, 50), 7, np.uint16),
    "bool.tif": GRAY > 40,
    "int64.tif": GRAY.astype(np.int64) * 10**15,
    "largest floats.tif": GRAY.astype(np.float64) * 1e300,
    "complex.tif": GRAY.astype(np.complex64),
}


NOISE = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)


def photograph(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def decompression_bomb() -> bytes:
    """A PNG of a kilobyte that says it has 2500 megapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


def with_tags(content: bytes, **tags: int) -> bytes:
    """A TIFF of one page whose header says something else."""
    changed = bytearray(content)
    numbers = {"width": [WIDTH], "height": [HEIGHT, ROWS_PER_STRIP], "samples": [SAMPLES]}
    wanted = {code: value for name, value in tags.items() for code in numbers[name]}
    (page,) = struct.unpack_from("<I", changed, 4)
    (count,) = struct.unpack_from("<H", changed, page)
    for place in range(page + 2, page + 2 + 12 * count, 12):
        (code,) = struct.unpack_from("<H", changed, place)
        if code in wanted:
            struct.pack_into("<HII", changed, place + 2, 4, 1, wanted[code])
    return bytes(changed)


def tiff(folder: Path, **options: object) -> bytes:
    path = folder.parent / "made.tif"
    tifffile.imwrite(path, GRAY, metadata=None, **options)
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Strange pictures, and two ordinary ones."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, pixels in PICTURES.items():
        tifffile.imwrite(folder / name, pixels, photometric="minisblack")
    with tifffile.TiffWriter(folder / "several.ome.tif", ome=True) as several:
        several.write(GRAY)
        several.write(np.stack([GRAY, GRAY]).astype(np.uint16), metadata={"axes": "ZYX"})
    tifffile.imwrite(folder / "sound.ome.tif", np.stack([GRAY] * 3), ome=True, metadata={"axes": "ZYX"})
    sound = (folder / "sound.ome.tif").read_bytes()
    files = {
        "a.png": photograph(GRAY),
        "b.png": photograph(255 - GRAY),
        "torn description.ome.tif": sound.replace(b"</OME>", b"</EMO>"),
        "wrong size in description.ome.tif": sound.replace(b'SizeX="50"', b'SizeX="99"'),
        "missing planes.ome.tif": sound.replace(b'SizeZ="3"', b'SizeZ="9"'),
        "unknown type.ome.tif": sound.replace(b'Type="uint8"', b'Type="uint9"'),
        "in truth png.tif": photograph(GRAY),
        "truncated.png": photograph(NOISE)[:1000],
        "truncated.jpg": photograph(NOISE, "JPEG")[:1000],
        "no bytes.png": b"",
        "text.png": b"just some text",
        "bomb.png": decompression_bomb(),
        "bomb.tif": with_tags(tiff(folder, compression="zlib"), width=60_000, height=60_000),
        "larger than the file.tif": with_tags(tiff(folder), width=200_000, height=200_000),
        "no width.tif": with_tags(tiff(folder), width=0),
        "no channels.tif": with_tags(tiff(folder), samples=0),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


NO_PICTURES = {
    "complex.tif": "complex64",
    "truncated.png": "damaged",
    "no bytes.png": "empty",
    "text.png": "format is not supported",
    "bomb.png": "178 megapixels",
    "bomb.tif": "claims to hold",
    "larger than the file.tif": "claims to hold",
    "no width.tif": "holds no image",
    "no channels.tif": "too few",
}


LABELED = ("a.png", "truncated.jpg", "one pixel.tif", "line.tif", "nothing but not a number.tif")


def test_what_is_no_picture_is_left_out_by_its_name_and_the_others_are_items(
    folder: Path, tmp_path: Path
) -> None:
    with Session.create(tmp_path / "session", folder) as session:
        left_out = {file.name: reason for file, reason in session.left_out}
        assert left_out.keys() == NO_PICTURES.keys()
        for name, words in NO_PICTURES.items():
            assert name in left_out[name]
            assert words in left_out[name]
        items = {Path(item.path).name for item in session.items}
        assert items == {file.name for file in folder.iterdir()} - left_out.keys()


@pytest.mark.slow
def test_a_round_trains_and_drafts_whatever_can_be_read_and_names_the_rest(
    folder: Path, tmp_path: Path
) -> None:
    settings = ImageSettings(working_size=32)
    with Session.create(tmp_path / "session", folder, settings=settings) as session:
        for item in session.items:
            if item.name in LABELED:
                session.accept(item, np.ones(item.shape, np.uint8))
        engine = Engine(session, "cpu")
        engine.request_round(budget=Budget(steps=6))
        assert engine.start_work()
        events = list(engine.work())
        (ended,) = [event for event in events if isinstance(event, RoundEnded)]
        assert ended.record.status == "complete"
        assert any("truncated.jpg is left out of training" in warning for warning in session.warnings)
        engine.request_drafts(session.items)
        assert engine.start_work()
        events = list(engine.work())
        failed = [event for event in events if isinstance(event, PredictionFailed)]
        assert [event.item.name for event in failed] == ["truncated.jpg"]
        assert "truncated.jpg" in failed[0].message
        drafted = {event.item.id for event in events if isinstance(event, Predicted)}
        assert drafted == {item.id for item in session.items} - {failed[0].item.id}
        for item in session.items:
            if item.id in drafted:
                assert session.prediction(item).shape == item.shape
