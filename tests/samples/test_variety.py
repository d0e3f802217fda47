import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesions_and_cells import fractal_noise
from variety import SHAPES, random_image, random_labels


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(48, 160), classes=st.integers(2, 8))
def test_labels_stay_below_the_number_of_classes(seed, size, classes):
    labels = random_labels(np.random.default_rng(seed), size, classes)

    assert labels.shape == (size, size)
    assert labels.dtype == np.uint8
    assert labels.max() < classes


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(48, 160))
def test_pictures_are_eight_bit_rgb(seed, size):
    picture = random_image(np.random.default_rng(seed), size)

    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("draw_shape", [shape for shape, _ in SHAPES], ids=lambda shape: shape.__name__)
def test_every_kind_of_shape_has_foreground_and_background(draw_shape):
    shares = [draw_shape(np.random.default_rng(seed), 128).mean() for seed in range(12)]

    assert max(shares) > 0.02
    assert min(shares) < 0.98


def test_a_seed_gives_the_same_pictures():
    first, second = (random_image(np.random.default_rng(7), 64) for _ in range(2))

    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 3.0])
def test_noise_is_standardised(exponent):
    field = fractal_noise(np.random.default_rng(0), 96, exponent)

    assert field.mean() == pytest.approx(0, abs=1e-4)
    assert field.std() == pytest.approx(1, abs=1e-3)
