"""Hyperstacks open elsewhere with their axes, their pixel size and the colors of the classes."""

from pathlib import Path

import imageio.v3
import numpy as np
import pytest
import skimage.io
import tifffile

from napari_semigda.io.masks import Grid, Legend, LegendEntry, color_table, read_legend, write_imagej
from napari_semigda.io.pictures import list_planes, read_plane, stack_axes

LEGEND = Legend((LegendEntry(1, "lesion", "#e69f00"), LegendEntry(2, "shadow", "#56b4e9")))
STACK = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), (4, 5, 12, 10))
GRID = Grid("TZYX", STACK.shape, (0.5, 0.25), "µm", 2.0)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    write_imagej(
        tmp_path / "stack.tif",
        STACK.reshape(-1, 12, 10),
        GRID,
        np.uint8,
        info=LEGEND.to_text(),
        colors=color_table(LEGEND),
        plane_names=[f"plane {number}" for number in range(20)],
    )
    return tmp_path / "stack.tif"


def test_tifffile_reads_axes_sizes_colors_and_names(stack: Path) -> None:
    with tifffile.TiffFile(stack) as tif:
        assert tif.imagej_metadata is not None
        assert (tif.series[0].axes, tif.series[0].shape) == ("TZYX", STACK.shape)
        np.testing.assert_array_equal(tif.asarray(), STACK)
        assert (tif.imagej_metadata["unit"], tif.imagej_metadata["spacing"]) == ("\\u00B5m", 2.0)
        assert tif.imagej_metadata["Labels"][5] == "plane 5"
        tags = tif.pages[0].tags
        assert (tags["XResolution"].value, tags["YResolution"].value) == ((4, 1), (2, 1))
        table = np.array(tags["ColorMap"].value).reshape(3, 256) >> 8
    assert [tuple(table[:, value]) for value in (0, 1, 2, 255)] == [
        (0, 0, 0),
        (0xE6, 0x9F, 0x00),
        (0x56, 0xB4, 0xE9),
        (0x80, 0x80, 0x80),
    ]


def test_other_readers_see_the_values_not_the_colors(stack: Path) -> None:
    np.testing.assert_array_equal(skimage.io.imread(stack), STACK)
    np.testing.assert_array_equal(imageio.v3.imread(stack, plugin="tifffile"), STACK)


def test_our_own_reader_sees_planes_sizes_and_classes(stack: Path) -> None:
    planes = list_planes(stack)
    assert [plane.name for plane in planes[:4]] == ["t 1, z 1", "t 1, z 2", "t 1, z 3", "t 1, z 4"]
    picture = read_plane(planes[11])
    np.testing.assert_array_equal(picture.pixels, STACK[2, 1])
    assert (picture.pixel_size, picture.unit) == ((0.5, 0.25), "µm")
    assert stack_axes(stack) == ("TZ", (4, 5), 2.0)
    assert read_legend(stack) == LEGEND


def test_probabilities_keep_their_type_and_channels(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((2, 12, 10), np.float32)
    write_imagej(tmp_path / "p.tif", values, Grid("CYX", values.shape), np.float32, plane_names=["a", "b"])
    with tifffile.TiffFile(tmp_path / "p.tif") as tif:
        assert tif.series[0].axes == "CYX"
        assert tif.asarray().dtype == np.float32
        np.testing.assert_array_equal(tif.asarray(), values)


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    def torn():
        yield STACK[0, 0]
        raise RuntimeError("the disk went away")

    with pytest.raises(RuntimeError):
        write_imagej(tmp_path / "stack.tif", torn(), Grid("TYX", (2, 12, 10)), np.uint8)
    assert list(tmp_path.iterdir()) == []
