import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesions_and_cells import KINDS, generate

SIZES = st.integers(32, 160)
SEEDS = st.integers(0, 2**32)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), size=SIZES)
def test_a_sample_is_a_gray_image_with_a_truth_of_its_size(seed, kind, size):
    image, truth = generate(seed, kind, size)

    assert image.shape == truth.shape == (size, size)
    assert image.dtype == truth.dtype == np.uint8
    assert set(np.unique(truth)) == {0, 1}
    assert image.std() > 5


@settings(max_examples=5, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS))
def test_a_seed_gives_the_same_sample_every_time(seed, kind):
    for first, second in zip(generate(seed, kind), generate(seed, kind), strict=True):
        np.testing.assert_array_equal(first, second)


def test_seeds_and_kinds_differ():
    samples = [generate(seed, kind)[0] for seed in (0, 1) for kind in KINDS]

    assert len({sample.tobytes() for sample in samples}) == 4


@pytest.mark.parametrize("seed", range(10))
def test_lesions_are_darker_than_the_tissue_and_cells_brighter_than_the_background(seed):
    for kind, sign in (("lesion", -1), ("cells", 1)):
        image, truth = generate(seed, kind)
        contrast = image[truth == 1].mean() - image[truth == 0].mean()
        assert sign * contrast > 30


@pytest.mark.parametrize("seed", range(10))
def test_gray_values_alone_do_not_give_the_truth(seed):
    """The demo needs a model: no threshold on smoothed gray values may solve it."""
    image, truth = generate(seed, "lesion")
    best = max(_dice(image < level, truth == 1) for level in range(0, 256, 4))

    assert best < 0.9


def _dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


@pytest.mark.parametrize(
    ("seed", "kind", "size"), [(0, "galaxy", 128), (-1, "cells", 128), (0, "lesion", 16)]
)
def test_what_cannot_be_drawn_is_refused(seed, kind, size):
    with pytest.raises(ValueError, match="must"):
        generate(seed, kind, size)
