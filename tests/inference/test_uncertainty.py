"""What makes a pixel uncertain, and a picture urgent."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_semigda.inference.postprocessing import ImageScore, uncertainty_map


def two_classes(*foreground):
    """One pixel per value, (1, 2, 1, n)."""
    values = torch.tensor(foreground)[None, None, None]
    return torch.cat([1 - values, values], dim=1)


def test_uncertainty_of_two_classes():
    certain, doubtful = two_classes(0.0, 1.0, 0.5, 0.0), two_classes(0.0, 1.0, 0.5, 1.0)
    #                  both sure of background, of foreground, both in doubt, contradicting each other
    assert uncertainty_map((certain + doubtful) / 2, certain, doubtful)[0, 0].tolist() == pytest.approx(
        [0, 0, 0.5, 1]
    )


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_knowing_nothing_counts_the_same_for_any_number_of_classes(classes):
    flat = torch.full((1, classes, 2, 2), 1 / classes)
    torch.testing.assert_close(uncertainty_map(flat, flat, flat), torch.full((1, 2, 2), 0.5))


@settings(deadline=None)
@given(classes=st.integers(2, 9), seed=st.integers(0, 1000), sharpness=st.floats(0.1, 200))
def test_uncertainty_is_symmetric_and_in_range(classes, seed, sharpness):
    generator = torch.Generator().manual_seed(seed)
    branches = (sharpness * torch.randn(2, 1, classes, 4, 4, generator=generator)).softmax(dim=2)
    mean = branches.mean(dim=0)
    found = uncertainty_map(mean, branches[0], branches[1])
    assert (found >= 0).all()
    assert (found <= 1).all()
    torch.testing.assert_close(found, uncertainty_map(mean, branches[1], branches[0]))


def score(foreground, uncertainty):
    picture = ImageScore()
    picture.add(torch.stack([1 - foreground, foreground]), uncertainty)
    return picture.value


def disc(size, radius):
    axis = torch.arange(size) - size / 2
    return ((axis[:, None] ** 2 + axis**2).sqrt() < radius).float()


def test_background_does_not_dilute_the_score():
    small, large = (score(disc(size, 20), 0.5 * (disc(size, 22) - disc(size, 18))) for size in (64, 256))
    assert large > 0.6 * small  # by pixels it would be a sixteenth


def test_a_doubtful_object_is_more_urgent_than_a_certain_one_and_that_than_an_empty_picture():
    object_, outline = disc(128, 30), disc(128, 32) - disc(128, 28)
    doubtful, certain = score(object_, 0.8 * object_), score(object_, 0.3 * outline)
    empty = score(torch.zeros(128, 128), torch.full((128, 128), 0.001))
    assert 1 > doubtful > certain > empty > 0


def test_a_few_doubtful_specks_do_not_make_an_empty_picture_urgent():
    specks = torch.zeros(128, 128)
    specks[60:62, 60:62] = 1
    assert score(torch.zeros(128, 128), specks) < 0.05


def test_a_picture_scores_the_same_in_pieces():
    foreground, uncertainty = torch.rand(40, 50), torch.rand(40, 50)
    pieces = ImageScore()
    for rows in (slice(0, 7), slice(7, 40)):
        pieces.add(torch.stack([1 - foreground[rows], foreground[rows]]), uncertainty[rows])
    assert pieces.value == pytest.approx(score(foreground, uncertainty))


def test_nothing_scores_zero():
    assert ImageScore().value == 0
