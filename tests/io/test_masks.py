"""Label maps come back from their files as they were, with the pixel size; what is none is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.masks import Legend, read_labels, write_labels
from napari_semigda.io.pictures import list_planes, read_plane


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=arrays.arrays(
        st.sampled_from([np.uint8, np.int16, np.int64, np.uint16, np.dtype(">i4")]),
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.integers(0, 127),
    )
    | arrays.arrays(np.bool_, (3, 5)),
    size=st.tuples(st.floats(1e-4, 1e4), st.floats(1e-4, 1e4)),
    unit=st.sampled_from(["µm", "lines"]),
)
def test_labels_and_pixel_size_come_back(
    tmp_path: Path, labels: NDArray[Any], size: tuple[float, float], unit: str
) -> None:
    path = tmp_path / "mask.tif"
    write_labels(path, labels, size, unit)
    np.testing.assert_array_equal(read_labels(path), labels)
    (plane,) = list_planes(path)
    assert read_plane(plane).pixel_size == pytest.approx(size, rel=1e-5)
    assert read_plane(plane).unit == unit


def test_files_are_compressed_eight_bit_tiff_that_any_program_reads(tmp_path: Path) -> None:
    path = tmp_path / "mask.tif"
    labels = np.zeros((200, 300), np.int64)
    labels[50:100, 60:90] = 255
    write_labels(path, labels, (0.5, 0.25), "µm")
    assert path.stat().st_size < 2000
    np.testing.assert_array_equal(tifffile.imread(path), labels)
    np.testing.assert_array_equal(np.array(Image.open(path)), labels)
    with tifffile.TiffFile(path) as tif:
        assert tif.imagej_metadata is not None
        assert tif.imagej_metadata["unit"] == "\\u00B5m"
        assert tif.pages[0].tags["XResolution"].value == (4, 1)
        assert tif.pages[0].dtype == np.uint8


@pytest.mark.parametrize(
    ("values", "legend", "brightest"),
    [([0, 2, 255], Legend(), 2), ([0, 0], Legend(), 1), ([0, 300], Legend(objects=True), 300)],
)
def test_imagej_shows_small_values_bright(
    tmp_path: Path, values: list[int], legend: Legend, brightest: int
) -> None:
    write_labels(tmp_path / "mask.tif", np.array([values]), legend=legend)
    with tifffile.TiffFile(tmp_path / "mask.tif") as tif:
        assert tif.imagej_metadata is not None
        assert (tif.imagej_metadata["min"], tif.imagej_metadata["max"]) == (0, brightest)


def test_large_values_take_sixteen_bits(tmp_path: Path) -> None:
    write_labels(tmp_path / "mask.tif", np.array([[0, 65535]]))
    assert tifffile.imread(tmp_path / "mask.tif").dtype == np.uint16


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros((2, 2, 2), int),
        np.zeros((2, 2)),
        np.zeros((0, 2), int),
        np.array([[-1]]),
        np.array([[65536]]),
    ],
)
def test_what_is_no_label_map_is_not_written(tmp_path: Path, labels: NDArray[Any]) -> None:
    with pytest.raises(SemiGDAError, match=r"mask\.tif” was not written"):
        write_labels(tmp_path / "mask.tif", labels)
    assert list(tmp_path.iterdir()) == []


def test_masks_saved_as_gray_color_or_fraction_free_floats_are_label_maps(tmp_path: Path) -> None:
    mask = np.array([[0, 255], [255, 0]], np.uint8)
    Image.fromarray(mask).convert("RGBA").save(tmp_path / "color.png")
    Image.fromarray(mask).convert("1").save(tmp_path / "bits.png")
    tifffile.imwrite(tmp_path / "float.tif", mask.astype(np.float32))
    np.testing.assert_array_equal(read_labels(tmp_path / "color.png"), mask)
    np.testing.assert_array_equal(read_labels(tmp_path / "bits.png"), mask > 0)
    read = read_labels(tmp_path / "float.tif")
    np.testing.assert_array_equal(read, mask)
    assert read.dtype.kind == "i"


def test_what_is_no_label_map_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "photo.png")
    tifffile.imwrite(tmp_path / "half.tif", np.full((4, 4), 0.5))
    tifffile.imwrite(tmp_path / "nan.tif", np.full((4, 4), np.nan))
    tifffile.imwrite(tmp_path / "complex.tif", np.zeros((4, 4), np.complex64))
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((2, 4, 4), np.uint8), photometric="minisblack")
    for name in ("photo.png", "half.tif", "nan.tif", "complex.tif", "stack.tif"):
        with pytest.raises(SemiGDAError, match=name):
            read_labels(tmp_path / name)


def test_one_page_of_a_stack_of_masks(tmp_path: Path) -> None:
    stack = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    np.testing.assert_array_equal(read_labels(list_planes(tmp_path / "stack.tif")[1]), stack[1])
