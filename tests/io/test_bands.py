"""Large planes, read in bands: the same pixels, and no more of them than asked for."""

import gc
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io import bands
from napari_semigda.io.bands import BandedPixels, open_large, opened_plane
from napari_semigda.io.pictures import list_planes, read_plane
from tests.stores import noise, write_store


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
        ((3, 64, 48), np.uint8, {"tile": (16, 16), "photometric": "rgb", "planarconfig": "separate"}),
        ((2, 3, 70, 40), np.uint16, {"tile": (16, 16), "ome": True, "metadata": {"axes": "ZCYX"}}),
    ],
    ids=["gray", "16 bit, big-endian", "color", "strips", "stack", "planes of color", "channels in pages"],
)
def test_it_reads_what_reading_it_whole_reads(
    tmp_path: Path, shape: tuple[int, ...], dtype: Any, given: dict[str, Any]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 250, shape).astype(dtype)
    tifffile.imwrite(tmp_path / "picture.tif", pixels, **given)
    for plane in list_planes(tmp_path / "picture.tif"):
        whole = read_plane(plane).pixels
        with opened_plane(plane) as banded:
            assert isinstance(banded, BandedPixels)
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
        with pytest.raises(SemiGDAError, match="could not be read as an image"):
            banded[120:]


def test_what_cannot_be_read_in_bands_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "one_strip.tif"
    tifffile.imwrite(path, noise((64, 48)), photometric="minisblack", compression="zlib", rowsperstrip=64)
    (plane,) = list_planes(path)
    with opened_plane(plane) as whole:
        np.testing.assert_array_equal(whole, read_plane(plane).pixels)
    assert open_large(plane) is None


# To be looked at ---------------------------------------------------------------------------------------


def _tiled(path: Path, pixels: NDArray[Any], *, levels: int = 1) -> Path:
    with tifffile.TiffWriter(path) as tif:
        given: dict[str, Any] = {"tile": (16, 16), "compression": "zlib", "photometric": "minisblack"}
        tif.write(pixels, subifds=levels - 1, **given)
        for level in range(1, levels):
            tif.write(pixels[:: 2**level, :: 2**level], subfiletype=1, **given)
    return path


def _store(path: Path, pixels: NDArray[Any], *, levels: int = 1) -> Path:
    return write_store(path, pixels, "yx", chunks=(16, 16), levels=levels)


@pytest.mark.parametrize("write", [_tiled, _store], ids=["a.tif", "a.zarr"])
@pytest.mark.parametrize("levels", [1, 2])
def test_a_large_picture_is_opened_with_smaller_copies_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any, levels: int
) -> None:
    monkeypatch.setattr(bands, "OVERVIEW_SIDE", 60)
    pixels = noise((160, 70))
    name = "a.tif" if write is _tiled else "a.zarr"
    large = open_large(list_planes(write(tmp_path / name, pixels, levels=levels))[0])
    assert large is not None
    assert [level.shape for level in large.levels] == [(160, 70), (80, 35)][:levels]
    np.testing.assert_array_equal(large.levels[0][:], pixels)
    smallest = pixels[:: 2 ** (levels - 1), :: 2 ** (levels - 1)]
    np.testing.assert_array_equal(large.levels[-1][70:, -1], smallest[70:, -1])
    assert all(max(overview.shape) <= 60 for overview in large.overviews)
    assert max(large.overviews[-1].shape) <= 15
    assert {value for overview in large.overviews for value in np.unique(overview)} <= set(np.unique(pixels))


def test_a_small_picture_is_not_opened_but_read(tmp_path: Path) -> None:
    assert open_large(list_planes(_store(tmp_path / "a.zarr", noise((160, 70))))[0]) is None


def test_its_file_is_closed_when_nobody_looks_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bands, "OVERVIEW_SIDE", 60)
    path = _tiled(tmp_path / "a.tif", noise((160, 70)))
    large = open_large(list_planes(path)[0])
    assert large is not None
    process = psutil.Process()
    assert str(path) in {file.path for file in process.open_files()}
    del large
    gc.collect()
    assert str(path) not in {file.path for file in process.open_files()}


def test_of_a_line_nothing_would_be_left_from_afar_so_it_is_not_opened_by_parts(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "line.tif", np.zeros((13_000, 2), np.uint8), rowsperstrip=64)
    tifffile.imwrite(tmp_path / "band.tif", np.zeros((13_000, 64), np.uint8), rowsperstrip=64)
    assert open_large(list_planes(tmp_path / "line.tif")[0]) is None
    large = open_large(list_planes(tmp_path / "band.tif")[0])
    assert large is not None
    assert all(min(level.shape) > 0 for level in large.overviews)
