"""COCO's files say to COCO's own library what was in the masks."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from skimage.draw import disk

from napari_semigda.io.coco import CocoFile, polygons, run_lengths
from napari_semigda.io.masks import Legend, LegendEntry

LEGEND = Legend((LegendEntry(1, "lesion", "#e69f00"), LegendEntry(2, "ärea", "#56b4e9")))


@settings(max_examples=100, deadline=None)
@given(mask=arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_run_lengths_are_those_of_pycocotools(mask: NDArray[np.bool_]) -> None:
    ours = run_lengths(mask, 0, 0, mask.shape)
    theirs = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert ours == {"size": list(mask.shape), "counts": theirs["counts"].decode()}


@settings(max_examples=50, deadline=None)
@given(
    mask=arrays.arrays(np.bool_, (9, 7)),
    place=st.tuples(st.integers(0, 300), st.integers(0, 300)),
)
def test_a_part_of_a_large_image_is_encoded_in_its_place(
    mask: NDArray[np.bool_], place: tuple[int, int]
) -> None:
    left, top = place
    whole = np.zeros((310, 309), np.uint8, order="F")
    whole[top : top + 9, left : left + 7] = mask
    np.testing.assert_array_equal(coco_masks.decode(run_lengths(mask, left, top, whole.shape)), whole)


def test_polygons_go_round_the_object() -> None:
    mask = np.zeros((80, 90), bool)
    mask[disk((40, 45), 25)] = True
    mask[disk((30, 60), 15)] = True
    outline = polygons(mask[5:70, 10:85], 10, 5)
    drawn = coco_masks.decode(coco_masks.merge(coco_masks.frPyObjects(outline, *mask.shape)))
    assert (mask & (drawn > 0)).sum() / (mask | (drawn > 0)).sum() > 0.98


def test_polygons_have_no_holes() -> None:
    ring = np.ones((20, 20), bool)
    ring[5:15, 5:15] = False
    assert len(polygons(ring, 0, 0)) == 1


@pytest.mark.parametrize("as_polygons", [False, True])
def test_pycocotools_reads_the_file(tmp_path: Path, as_polygons: bool) -> None:
    numbers = np.zeros((30, 40), np.int32)
    numbers[2:12, 3:18] = 1
    numbers[15:25, 20:38] = 2
    file = CocoFile(LEGEND, {"description": "test"}, polygons=as_polygons)
    file.add("a/b.png", numbers, [1, 2], {})
    file.add("empty.tif", np.zeros((5, 6), np.int32), [], {"page": 3})
    file.write(tmp_path / "annotations.json")
    coco = COCO(str(tmp_path / "annotations.json"))
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == ["lesion", "ärea"]
    images = coco.loadImgs(coco.getImgIds())
    assert [(one["file_name"], one["width"], one["height"]) for one in images] == [
        ("a/b.png", 40, 30),
        ("empty.tif", 6, 5),
    ]
    assert images[1]["page"] == 3
    found = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    for one, number in zip(found, (1, 2), strict=True):
        drawn = coco.annToMask(one)
        if as_polygons:
            assert (drawn != (numbers == number)).sum() <= 4  # the corners
        else:
            np.testing.assert_array_equal(drawn, numbers == number)
        assert one["area"] == (numbers == number).sum()
    assert found[0]["bbox"] == [3, 2, 15, 10]
    assert coco.getAnnIds(imgIds=[2]) == []
    assert json.loads((tmp_path / "annotations.json").read_text())["info"] == {"description": "test"}
