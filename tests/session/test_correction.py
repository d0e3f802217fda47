"""Corrections change what they say, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from napari_semigda.inference.correction import (
    classes_in,
    fill_holes,
    mark_unlabeled,
    remove_small_objects,
    smooth_outlines,
    use_inside,
)
from napari_semigda.model.annotation import UNKNOWN

SIDES = st.integers(1, 14)
MAPS = hnp.arrays(np.uint8, st.tuples(SIDES, SIDES), elements=st.sampled_from([0, 0, 0, 1, 1, 2, UNKNOWN]))
VALUES = st.sampled_from([None, [1], [2], [1, 2]])
quick = settings(max_examples=60, deadline=None)
TOUCHING = np.ones((3, 3), bool)


def disc(shape, center, radius):
    y, x = np.indices(shape)
    return (y - center[0]) ** 2 + (x - center[1]) ** 2 <= radius**2


def areas(mask):
    return np.bincount(ndimage.label(mask, TOUCHING)[0].ravel())[1:]


def test_a_ring_becomes_a_disc():
    ring = (disc((40, 50), (20, 25), 12) & ~disc((40, 50), (20, 25), 8)).astype(np.uint8)
    np.testing.assert_array_equal(fill_holes(ring), disc((40, 50), (20, 25), 12))


def test_a_hole_that_holds_another_class_or_what_nobody_looked_at_is_none():
    ring = (disc((40, 40), (20, 20), 12) & ~disc((40, 40), (20, 20), 8)).astype(np.uint8)
    for inside in (2, UNKNOWN):
        ring[20, 20] = inside
        np.testing.assert_array_equal(fill_holes(ring), ring)


def test_holes_of_other_classes_stay_where_only_one_is_meant():
    labels = np.ones((9, 18), np.uint8)
    labels[:, 9:] = 2
    labels[4, 4] = labels[4, 13] = 0
    filled = fill_holes(labels, [2])
    assert filled[4, 4] == 0
    assert filled[4, 13] == 2


def test_background_at_the_edge_is_no_hole():
    labels = np.ones((5, 5), np.uint8)
    labels[0, 2] = 0
    assert fill_holes(labels)[0, 2] == 0


@quick
@given(MAPS, VALUES)
def test_filling_turns_background_into_classes_only_and_leaves_nothing_to_fill(labels, values):
    filled = fill_holes(labels, values)
    changed = filled != labels
    assert not labels[changed].any()
    assert set(filled[changed].tolist()) <= set(classes_in(labels)) & set(values or [1, 2])
    np.testing.assert_array_equal(fill_holes(filled, values), filled)


def test_a_speck_inside_another_class_leaves_no_hole():
    labels = disc((30, 30), (15, 15), 10).astype(np.uint8) * 2
    labels[15, 15] = 1
    labels[1, 1] = 1
    cleaned = remove_small_objects(labels, 5)
    assert cleaned[15, 15] == 2
    assert cleaned[1, 1] == 0


def test_each_class_has_its_own_smallest_size():
    labels = np.zeros((10, 10), np.uint8)
    labels[1, 1:4], labels[5, 1:4] = 1, 2
    cleaned = remove_small_objects(labels, {1: 4})
    assert classes_in(cleaned) == [2]


@quick
@given(MAPS, st.integers(0, 12))
def test_after_dropping_specks_every_piece_is_large_enough(labels, smallest):
    cleaned = remove_small_objects(labels, smallest)
    for value in classes_in(cleaned):
        assert areas(cleaned == value).min() >= smallest
    np.testing.assert_array_equal(cleaned == UNKNOWN, (labels == UNKNOWN) | (cleaned == UNKNOWN))
    np.testing.assert_array_equal(remove_small_objects(cleaned, smallest), cleaned)


@quick
@given(MAPS)
def test_large_pieces_are_not_touched(labels):
    cleaned = remove_small_objects(labels, {1: 3, 2: 3})
    for value in (1, 2):
        numbered, count = ndimage.label(labels == value, TOUCHING)
        for number in range(1, count + 1):
            piece = numbered == number
            if piece.sum() >= 3:
                assert (cleaned[piece] == value).all()


def test_smoothing_takes_a_spike_away_and_keeps_the_size():
    labels = disc((60, 60), (30, 30), 15).astype(np.uint8)
    spiked = labels.copy()
    spiked[30, 45:55] = 1
    smooth = smooth_outlines(spiked, 2.0)
    assert not smooth[30, 49:].any()
    assert abs(int(smooth.sum()) - int(labels.sum())) < 0.05 * labels.sum()


def test_a_thin_line_is_not_smoothed_away():
    labels = np.zeros((30, 30), np.uint8)
    labels[15, 5:25] = 1
    np.testing.assert_array_equal(smooth_outlines(labels, 3.0), labels)


@quick
@given(MAPS, VALUES, st.floats(0.5, 4))
def test_smoothing_keeps_every_class_and_what_was_not_looked_at(labels, values, radius):
    smooth = smooth_outlines(labels, radius, values)
    assert classes_in(smooth) == classes_in(labels)
    np.testing.assert_array_equal(smooth == UNKNOWN, labels == UNKNOWN)
    if values is not None:
        changed = smooth != labels
        assert (np.isin(labels[changed], values) | np.isin(smooth[changed], values)).all()


@quick
@given(MAPS, st.data())
def test_a_region_is_taken_from_the_draft_and_the_rest_stays(labels, data):
    region = data.draw(hnp.arrays(bool, labels.shape))
    draft = data.draw(hnp.arrays(np.uint8, labels.shape, elements=st.integers(0, 2)))
    taken = use_inside(labels, draft, region)
    np.testing.assert_array_equal(taken[region], draft[region])
    np.testing.assert_array_equal(taken[~region], labels[~region])
    unseen = mark_unlabeled(labels, region)
    assert unseen.dtype == np.uint8
    assert (unseen[region] == UNKNOWN).all()
    np.testing.assert_array_equal(unseen[~region], labels[~region])


@pytest.mark.parametrize(
    "correct", [fill_holes, smooth_outlines, lambda labels: remove_small_objects(labels, 9)]
)
def test_corrections_return_new_label_maps(correct):
    labels = np.zeros((12, 12), np.uint8)
    labels[3:7, 3:7] = 1
    before = labels.copy()
    corrected = correct(labels)
    assert corrected is not labels
    assert corrected.dtype == np.uint8
    np.testing.assert_array_equal(labels, before)
