"""Drafts of any threshold, from maps that were predicted once."""

from itertools import pairwise

import numpy as np
import pytest

from napari_semigda.errors import Cancelled
from napari_semigda.inference.predictor import Predictor, draft_maps
from napari_semigda.inference.preparation import ImageSettings
from tests.inference.test_predictor import Brightness, count_objects, discs

WHOLE = ImageSettings(working_size=64)
TILES = ImageSettings(working_size=64, framing="tiles")


@pytest.mark.parametrize("settings", [WHOLE, TILES])
@pytest.mark.parametrize("classes", [2, 4])
def test_at_one_half_it_is_the_predictors_own_draft(settings, classes):
    pixels, _ = discs(150, 130)
    predictor = Predictor(Brightness(classes), settings)
    maps, prediction = draft_maps(predictor, pixels), predictor.predict(pixels)
    np.testing.assert_array_equal(maps.labels(), prediction.labels)
    np.testing.assert_array_equal(maps.uncertainty, prediction.uncertainty)


def test_a_lower_threshold_gives_more_foreground_and_never_another_class():
    pixels, _ = discs(120, 120)
    maps = draft_maps(Predictor(Brightness(3), WHOLE), pixels)
    drafts = [maps.labels(threshold) for threshold in (0.1, 0.3, 0.5, 0.9)]
    for more, less in pairwise(drafts):
        assert ((less == 0) | (less == more)).all()
        assert (more > 0).sum() > (less > 0).sum()


def test_only_the_classes_asked_for_are_chosen():
    pixels, _ = discs(120, 120)
    predictor = Predictor(Brightness(4), WHOLE)
    assert set(np.unique(draft_maps(predictor, pixels, {1, 2}).labels(0.05))) <= {0, 1, 2}
    assert not draft_maps(predictor, pixels, {9}).labels(0.0).any()


def test_it_can_be_cancelled():
    with pytest.raises(Cancelled):
        draft_maps(Predictor(Brightness(), WHOLE), discs(20, 20)[0], cancelled=lambda: True)


def test_drafts_of_any_threshold_have_one_object_where_there_is_only_one():
    pixels, _ = discs(150, 130)
    predictor = Predictor(Brightness(3), TILES, one_object=True)
    maps = draft_maps(predictor, pixels)
    np.testing.assert_array_equal(maps.labels(), predictor.draft(pixels).labels)
    for threshold in (0.02, 0.3, 0.5, 0.9, 0.99):
        assert count_objects(maps.labels(threshold)) <= 1
