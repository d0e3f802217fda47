import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from scenes import FAMILIES, draw_scene


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(48, 128))
def test_a_scene_is_a_color_picture_with_its_label_map(seed, size):
    picture, labels = draw_scene(np.random.default_rng(seed), size)

    assert (picture.shape, picture.dtype) == ((size, size, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((size, size), np.uint8)
    assert labels.max() <= 1


def test_a_seed_gives_the_same_scene():
    first, second = (draw_scene(np.random.default_rng(7), 64) for _ in range(2))

    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize("family", [family for family, _ in FAMILIES], ids=lambda family: family.__name__)
def test_every_family_shows_its_objects(family):
    """Across an outline a picture changes more than elsewhere, in most pictures."""
    shown = []
    for seed in range(12):
        picture, mask = family(np.random.default_rng(seed), 96)
        assert 0 < mask.mean() < 1
        gray = ndimage.gaussian_filter(picture.reshape(96, 96, -1).mean(axis=2), 1.5)
        steepness = np.hypot(*np.gradient(gray))
        outline = ndimage.binary_dilation(mask) & ~ndimage.binary_erosion(mask)
        shown.append(steepness[outline].mean() > steepness[~outline].mean())

    assert np.mean(shown) > 0.7
