"""OME-TIFF is valid by the schema, and says how large its pixels are and what the classes are called."""

from pathlib import Path

import numpy as np
import ome_types
import pytest
import skimage.io
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ome_types.model import MapAnnotation

from napari_semigda.io.masks import (
    NAMESPACE,
    PLANES_NAMESPACE,
    Grid,
    Legend,
    LegendEntry,
    read_legend,
    write_ome,
)
from napari_semigda.io.pictures import list_planes, stack_axes

LEGEND = Legend((LegendEntry(1, "Läsion <1>", "#e69f00"), LegendEntry(2, "shadow", "#56b4e9")))
STACK = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), (5, 12, 10))


def annotations(ome: ome_types.OME) -> dict[str, dict[str, str]]:
    found = ome.structured_annotations
    return {one.namespace: dict(one.value) for one in found if isinstance(one, MapAnnotation)}


def test_a_stack_is_valid_and_complete(tmp_path: Path) -> None:
    path = tmp_path / "stack.ome.tif"
    write_ome(
        path,
        STACK,
        Grid("ZYX", STACK.shape, (0.5, 0.25), "µm", 2.0),
        np.uint8,
        name="scan & co",
        legend=LEGEND,
        plane_names=["a", "b", "c", "d", "e"],
    )
    ome = ome_types.from_tiff(path, validate=True)
    (image,) = ome.images
    pixels = image.pixels
    assert image.name == "scan & co"
    assert (pixels.size_z, pixels.size_y, pixels.size_x, pixels.size_c) == (5, 12, 10, 1)
    assert (pixels.physical_size_y, pixels.physical_size_x, pixels.physical_size_z) == (0.5, 0.25, 2.0)
    assert {pixels.physical_size_x_unit.value, pixels.physical_size_z_unit.value} == {"µm"}
    assert [channel.name for channel in pixels.channels] == ["labels"]
    found = annotations(ome)
    assert found[NAMESPACE]["1"] == "Läsion <1>"
    assert found[NAMESPACE]["255"] == "unlabeled"
    assert found[PLANES_NAMESPACE] == dict(zip("01234", "abcde", strict=True))
    np.testing.assert_array_equal(tifffile.imread(path), STACK)
    np.testing.assert_array_equal(skimage.io.imread(path), STACK)


def test_our_own_reader_sees_planes_sizes_and_classes(tmp_path: Path) -> None:
    path = tmp_path / "stack.ome.tif"
    grid = Grid("TYX", STACK.shape, (0.5, 0.25), "µm")
    write_ome(path, STACK, grid, np.uint8, name="stack", legend=LEGEND)
    planes = list_planes(path)
    assert [plane.name for plane in planes] == ["t 1", "t 2", "t 3", "t 4", "t 5"]
    assert (planes[0].pixel_size, planes[0].unit) == ((0.5, 0.25), "µm")
    assert stack_axes(path) == ("T", (5,), None)
    assert read_legend(path) == LEGEND


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(max_size=20), classes=st.lists(st.text(max_size=20), max_size=3), unit=st.text(max_size=8)
)
def test_whatever_the_names_and_units_the_file_is_valid(
    tmp_path: Path, name: str, classes: list[str], unit: str
) -> None:
    path = tmp_path / "mask.ome.tif"
    legend = Legend(tuple(LegendEntry(number + 1, one, "#123456") for number, one in enumerate(classes)))
    grid = Grid("YX", (12, 10), (0.5, 0.25), unit)
    write_ome(path, STACK[:1], grid, np.uint8, name=name, legend=legend, plane_names=[name])
    assert ome_types.from_tiff(path, validate=True).images[0].pixels.size_x == 10
    assert read_legend(path) == legend


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_many_objects_take_wider_types(tmp_path: Path, dtype: type) -> None:
    labels = np.array([[0, np.iinfo(dtype).max]], dtype)
    write_ome(tmp_path / "o.ome.tif", [labels], Grid("YX", (1, 2)), dtype, name="o")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o.ome.tif"), labels)
