"""What is left of a label map where there is at most one object in an image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from napari_semigda.inference import postprocessing
from napari_semigda.inference.postprocessing import one_object

label_maps = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.sampled_from([0, 0, 0, 1, 2])
)


def objects(labels: np.ndarray) -> tuple[np.ndarray, int]:
    numbered, count = ndimage.label(labels > 0, np.ones((3, 3)))
    return numbered, count


@given(labels=label_maps, at_once=st.integers(1, 60))
def test_the_largest_object_stays_as_it_is_and_nothing_else_does(labels: np.ndarray, at_once: int) -> None:
    """In whatever bands components are numbered."""
    numbered, count = objects(labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postprocessing, "_PIXELS_AT_ONCE", at_once)
        kept = one_object(labels.copy())
    assert objects(kept)[1] == min(count, 1)
    assert ((kept == labels) | (kept == 0)).all()
    assert (kept > 0).sum() == max(np.bincount(numbered.ravel())[1:], default=0)


@given(labels=label_maps, seed=st.integers(0, 99))
def test_an_object_that_somebody_accepted_stays_before_a_larger_one(labels: np.ndarray, seed: int) -> None:
    certain = np.random.default_rng(seed).random(labels.shape) < 0.2
    kept = one_object(labels, certain)
    numbered, count = objects(labels)
    accepted = set(numbered[certain & (labels > 0)].tolist())
    if accepted:
        np.testing.assert_array_equal(kept > 0, np.isin(numbered, list(accepted)))
    else:
        assert objects(kept)[1] == min(count, 1)
    np.testing.assert_array_equal(kept[certain], np.where(kept[certain] > 0, labels[certain], 0))


def test_a_nucleus_in_its_cytoplasm_is_one_object() -> None:
    labels = np.zeros((20, 30), np.uint8)
    labels[2:12, 2:12], labels[5:8, 5:8] = 1, 2
    labels[2:6, 20:24] = 2
    kept = one_object(labels)
    np.testing.assert_array_equal(kept[:, :15], labels[:, :15])
    assert not kept[:, 15:].any()


def test_what_was_handed_in_is_not_changed() -> None:
    labels = np.array([[1, 1, 0, 1]], np.uint8)
    one_object(labels)
    assert labels.tolist() == [[1, 1, 0, 1]]
