import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

pytest.importorskip("monai")

from scores import class_scores, scores


def square(top: int, left: int, side: int, shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def outline(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask with a neighbor, or the edge of the image, that is not of it: (n, 2)."""
    padded = np.pad(mask, 1)
    neighbors = [padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]]
    return np.argwhere((mask > 0) & (np.min(neighbors, axis=0) == 0))


def plain_hd95(first: np.ndarray, second: np.ndarray) -> float:
    """The definition, with every distance computed."""
    difference = outline(first)[:, None] - outline(second)[None]
    distances = np.sqrt((difference**2).sum(axis=-1))
    return max(np.percentile(distances.min(axis=1), 95), np.percentile(distances.min(axis=0), 95))


masks = array_shapes(min_dims=2, max_dims=2, max_side=12).flatmap(
    lambda shape: st.tuples(*[arrays(np.uint8, shape, elements=st.integers(0, 1))] * 2)
)


def test_a_mask_scored_against_itself_is_perfect():
    assert scores(square(3, 4, 6), square(3, 4, 6)) == {"dice": 1, "iou": 1, "hd95": 0}


def test_a_square_moved_by_half_its_side():
    assert scores(square(4, 4, 8), square(4, 8, 8)) == {
        "dice": pytest.approx(1 / 2),
        "iou": pytest.approx(1 / 3),
        "hd95": pytest.approx(4),
    }


def test_hd95_looks_past_a_stray_pixel_that_the_maximum_would_report():
    lesion = square(2, 2, 15, (40, 60))
    strayed = lesion.copy()
    strayed[39, 59] = 1

    assert scores(strayed, lesion)["hd95"] == 0


def test_two_empty_masks_agree():
    empty = np.zeros((5, 7), np.uint8)

    assert scores(empty, empty) == {"dice": 1, "iou": 1, "hd95": 0}


def test_one_empty_mask_is_as_wrong_as_can_be():
    empty, mask = np.zeros((30, 40), np.uint8), square(0, 0, 3, (30, 40))

    for pair in ((empty, mask), (mask, empty)):
        assert scores(*pair) == {"dice": 0, "iou": 0, "hd95": 50}


@given(masks)
def test_scores_are_those_of_the_definitions(pair):
    found, real = pair
    score = scores(found, real)

    assert score == scores(real, found)
    if found.any() and real.any():
        assert score["hd95"] == pytest.approx(plain_hd95(found, real), abs=1e-4)
        assert score["iou"] == pytest.approx((found & real).sum() / (found | real).sum())
        assert score["dice"] == pytest.approx(2 * (found & real).sum() / (found.sum() + real.sum()))


def test_only_what_is_wanted_is_computed():
    assert scores(square(1, 1, 4), square(1, 1, 4), ("iou",)) == {"iou": 1}


def test_masks_of_unlike_size_are_refused():
    with pytest.raises(ValueError, match="pixels"):
        scores(np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8))


def test_several_classes_are_scored_each_by_itself():
    truth, found = square(3, 4, 6), square(3, 4, 6)
    truth[4:6, 5:7] = 2
    found[4:6, 5:6] = 2
    told = class_scores(found, truth, ["body", "core"], ["dice"])
    assert told["dice core"] == pytest.approx(2 / 3)
    assert told["dice body"] == pytest.approx(2 * 32 / (32 + 34))
    assert told["dice"] == pytest.approx((told["dice core"] + told["dice body"]) / 2)
    assert class_scores(found, truth, ["object"]) == scores(found, truth)
