"""The table of all items: how far each is, its score and its effort, sorted and filtered."""

import numpy as np
import pytest

from napari_semigda.inference.predictor import Prediction
from napari_semigda.session.items import Status
from napari_semigda.session.overview import short_names
from napari_semigda.session.session import Session

PIXELS = np.arange(12 * 10, dtype=np.uint8).reshape(12, 10)
EMPTY = np.zeros(PIXELS.shape, np.uint8)


def lesion(rows):
    mask = EMPTY.copy()
    mask[:rows] = 1
    return mask


def prediction(labels, score):
    shape = (2, *labels.shape)
    return Prediction(np.zeros(shape, np.float32), labels, np.zeros(labels.shape, np.float32), score)


@pytest.fixture
def session(tmp_path):
    names = ["scan 10", "scan 2", "other", "scan 1", "another"]
    return Session.from_arrays(tmp_path / "s", dict.fromkeys(names, (PIXELS, (1.0, 1.0), "pixel")))


@pytest.fixture
def begun(session):
    """Five items: accepted with a quarter of the draft changed, draft, painted, skipped, changed again."""
    first, second, third, fourth, fifth = session.items
    session.drafts.store(first, prediction(lesion(6), 0.2), 1)
    session.accept(first, lesion(3))
    session.drafts.store(second, prediction(lesion(6), 0.7), 1)
    session.labels.keep_edit(third, lesion(1))
    session.skip(fourth)
    session.accept(fifth, lesion(2))
    session.labels.keep_edit(fifth, lesion(3))
    return session


def test_it_tells_how_far_each_item_is_with_score_and_effort(begun):
    overview = begun.overview()
    assert overview.statuses == [
        Status.ACCEPTED,
        Status.DRAFT,
        Status.PAINTED,
        Status.SKIPPED,
        Status.CHANGED,
    ]
    np.testing.assert_allclose(overview.scores, [0.2, 0.7, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(overview.efforts, [0.25, np.nan, np.nan, np.nan, np.nan])


def test_it_tells_the_same_after_opening_the_session_again(begun):
    before = begun.overview()
    begun.close()
    with Session.open(begun.folder) as again:
        after = again.overview()
    assert after.statuses == before.statuses
    np.testing.assert_array_equal(after.scores, before.scores)
    np.testing.assert_array_equal(after.efforts, before.efforts)


def test_only_what_changed_is_read_again(begun):
    overview = begun.overview()
    assert overview.refresh() == []
    begun.accept(begun.items[1], lesion(6))
    begun.labels.unskip(begun.items[3])
    begun.labels.discard_edit(begun.items[4])
    assert overview.refresh() == [1, 3, 4]
    assert overview.refresh() == []
    assert [overview.statuses[place] for place in (1, 3, 4)] == [
        Status.ACCEPTED,
        Status.UNLABELED,
        Status.ACCEPTED,
    ]
    assert overview.efforts[1] == 0


@pytest.mark.parametrize(
    ("key", "descending", "places"),
    [
        ("index", False, [0, 1, 2, 3, 4]),
        ("index", True, [4, 3, 2, 1, 0]),
        ("score", True, [1, 0, 2, 3, 4]),
        ("score", False, [0, 1, 2, 3, 4]),
        ("effort", True, [0, 1, 2, 3, 4]),
        ("status", False, [1, 2, 0, 4, 3]),
    ],
)
def test_it_is_sorted_with_what_has_no_value_last(begun, key, descending, places):
    assert list(begun.overview().arranged(key, descending=descending)) == places


def test_it_is_filtered_by_name_and_state(begun):
    overview = begun.overview()
    assert list(overview.arranged(descending=True, text=" SCAN ")) == [3, 1, 0]
    assert list(overview.arranged(statuses={Status.DRAFT, Status.PAINTED})) == [1, 2]
    assert list(overview.arranged(text="scan", statuses={Status.SKIPPED})) == [3]
    assert list(overview.arranged(text="nowhere")) == []


def test_titles_keep_the_endings_that_tell_images_apart() -> None:
    assert short_names(["a.png", "A.tif", "b.png", "c.zarr", "p/a.ome.tif"]) == [
        *("a.png", "A.tif", "b", "c.zarr", "p/a")
    ]
