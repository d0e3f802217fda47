"""Large planes, read in bands: the same pixels, and no more of them than asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_semigda.errors import SemiGDAError
from napari_semigda.io import bands
from napari_semigda.io.bands import BandedPixels, opened_plane
from napari_semigda.io.pictures import list_planes, read_plane


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "LARGE", 100)


@pytest.mark.parametrize(
    ("shape", "dtype", "given"),
    [
        ((130, 75), np.uint8, {"tile": (32, 16), "compression": "zlib"}),
        (
            (130, 75),
            np.uint16,
            {"tile": (32, 16), "byteorder": ">", "predictor": 2, "compression": "zlib"},
        ),
        ((130, 75, 3), np.uint8, {"tile": (16, 32), "photometric": "rgb"}),
        ((70, 40), np.float32, {"rowsperstrip": 16, "compression": "zlib"}),
        ((2, 70, 40), np.uint8, {"tile": (16, 16), "photometric": "minisblack", "metadata": {"axes": "ZYX"}}),
    ],
    ids=["grey", "16 bit, big-endian", "colour", "strips", "stack"],
)
def test_it_reads_what_reading_it_whole_reads(
    tmp_path: Path, shape: tuple[int, ...], dtype: Any, given: dict[str, Any]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 250, shape).astype(dtype)
    tifffile.imwrite(tmp_path / "picture.tif", pixels, **given)
    for plane in list_planes(tmp_path / "picture.tif"):
        whole = read_plane(plane).pixels
        with opened_plane(plane) as banded:
            assert (banded.shape, banded.dtype) == (whole.shape, whole.dtype.newbyteorder("="))
            for part in (
                np.s_[:],
                np.s_[3:40],
                np.s_[16:48:5],
                np.s_[31:70:7, ::3],
                np.s_[5:6, 3:9],
                np.s_[60:500],
                np.s_[9:9],
            ):
                np.testing.assert_array_equal(np.asarray(banded[part]), whole[part])


def test_only_the_tiles_asked_for_are_decoded_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "picture.tif"
    tifffile.imwrite(path, np.zeros((160, 64), np.uint8), tile=(32, 32), compression="zlib")
    plane = list_planes(path)[0]
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[0].dataoffsets[-1]
    with path.open("r+b") as file:  # spoil the last tile
        file.seek(offset)
        file.write(b"no tile")
    with opened_plane(plane) as banded:
        assert isinstance(banded, BandedPixels)
        assert not np.asarray(banded[:128]).any()
        with pytest.raises(SemiGDAError, match="could not be read as a picture"):
            banded[120:]


def test_what_cannot_be_read_in_bands_is_read_whole(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 250, (3, 64, 48)).astype(np.uint8)
    path = tmp_path / "planar.tif"
    tifffile.imwrite(path, pixels, tile=(16, 16), photometric="rgb", planarconfig="separate")
    (plane,) = list_planes(path)
    with opened_plane(plane) as whole:
        np.testing.assert_array_equal(whole, read_plane(plane).pixels)
