"""A label map says in its own file what its values mean."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_semigda.io.masks import Legend, LegendEntry, read_legend, write_labels

ENTRIES = st.builds(
    LegendEntry, st.integers(1, 253), st.text(max_size=30), st.from_regex("#[0-9a-f]{6}", fullmatch=True)
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(legend=st.builds(Legend, st.lists(ENTRIES, max_size=4).map(tuple), st.booleans()))
def test_a_legend_comes_back_from_the_file(tmp_path: Path, legend: Legend) -> None:
    write_labels(tmp_path / "mask.tif", np.zeros((3, 4), np.uint8), legend=legend)
    assert read_legend(tmp_path / "mask.tif") == legend


def test_every_label_map_written_here_is_known_as_ours(tmp_path: Path) -> None:
    write_labels(tmp_path / "mask.tif", np.zeros((3, 4), np.uint8))
    assert read_legend(tmp_path / "mask.tif") == Legend()


def test_what_imagej_adds_does_not_hide_it(tmp_path: Path) -> None:
    legend = Legend((LegendEntry(1, "lésion", "#e69f00"),))
    tifffile.imwrite(
        tmp_path / "mask.tif",
        np.zeros((3, 4), np.uint8),
        imagej=True,
        metadata={"Info": f"Title: mask\n{legend.to_text()}\nLocation: here\n"},
    )
    assert read_legend(tmp_path / "mask.tif") == legend


@pytest.mark.parametrize(
    "info",
    [
        "",
        "SemiGDA label map {",
        "SemiGDA label map {torn}",
        'SemiGDA label map {"classes": 3}',
    ],
)
def test_a_damaged_legend_is_none(tmp_path: Path, info: str) -> None:
    tifffile.imwrite(tmp_path / "mask.tif", np.zeros((3, 4), np.uint8), imagej=True, metadata={"Info": info})
    assert read_legend(tmp_path / "mask.tif") is None


def test_classes_that_are_none_are_passed_over(tmp_path: Path) -> None:
    info = 'SemiGDA label map {"classes": [7, {"value": 1, "name": "a", "color": "red"}, {"value": "1"}]}'
    tifffile.imwrite(tmp_path / "mask.tif", np.zeros((3, 4), np.uint8), imagej=True, metadata={"Info": info})
    assert read_legend(tmp_path / "mask.tif") == Legend()


def test_files_of_other_programs_have_none(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "mask.png")
    tifffile.imwrite(tmp_path / "mask.tif", np.zeros((3, 4), np.uint8))
    (tmp_path / "damaged.tif").write_bytes(b"II*\0damaged")
    for name in ("mask.png", "mask.tif", "damaged.tif", "missing.tif"):
        assert read_legend(tmp_path / name) is None
