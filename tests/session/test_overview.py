"""The table of all items: how far each is, its score and its effort, sorted and filtered."""

import numpy as np
import pytest

from napari_semigda.inference.predictor import Prediction
from napari_semigda.session.items import Status
from napari_semigda.session.overview import Overview, short_names
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
    session.store_prediction(first, prediction(lesion(6), 0.2), 1)
    session.accept(first, lesion(3))
    session.store_prediction(second, prediction(lesion(6), 0.7), 1)
    session.keep_edit(third, lesion(1))
    session.skip(fourth)
    session.accept(fifth, lesion(2))
    session.keep_edit(fifth, lesion(3))
    return session


def test_it_tells_how_far_each_item_is_with_score_and_effort(begun):
    overview = Overview(begun)
    assert overview.standings == [
        Status.ACCEPTED,
        Status.DRAFT,
        Status.PAINTED,
        Status.SKIPPED,
        Status.CHANGED,
    ]
    np.testing.assert_allclose(overview.scores, [0.2, 0.7, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(overview.efforts, [0.25, np.nan, np.nan, np.nan, np.nan])


def test_it_tells_the_same_after_opening_the_session_again(begun):
    before = Overview(begun)
    begun.close()
    with Session.open(begun.folder) as again:
        after = Overview(again)
    assert after.standings == before.standings
    np.testing.assert_array_equal(after.scores, before.scores)
    np.testing.assert_array_equal(after.efforts, before.efforts)


def test_only_what_changed_is_read_again(begun):
    overview = Overview(begun)
    assert overview.refresh() == []
    begun.accept(begun.items[1], lesion(6))
    begun.unskip(begun.items[3])
    begun.discard_edit(begun.items[4])
    assert overview.refresh() == [1, 3, 4]
    assert overview.refresh() == []
    assert [overview.standings[place] for place in (1, 3, 4)] == [
        Status.ACCEPTED,
        Status.UNLABELED,
        Status.ACCEPTED,
    ]
    assert overview.efforts[1] == 0


@pytest.mark.parametrize(
    ("key", "descending", "places"),
    [
        ("place", False, [0, 1, 2, 3, 4]),
        ("place", True, [4, 3, 2, 1, 0]),
        ("score", True, [1, 0, 2, 3, 4]),
        ("score", False, [0, 1, 2, 3, 4]),
        ("effort", True, [0, 1, 2, 3, 4]),
        ("standing", False, [1, 2, 0, 4, 3]),
    ],
)
def test_it_is_sorted_with_what_has_no_value_last(begun, key, descending, places):
    assert list(Overview(begun).arranged(key, descending=descending)) == places


def test_it_is_filtered_by_name_and_state(begun):
    overview = Overview(begun)
    assert list(overview.arranged(descending=True, text=" SCAN ")) == [3, 1, 0]
    assert list(overview.arranged(standings={Status.DRAFT, Status.PAINTED})) == [1, 2]
    assert list(overview.arranged(text="scan", standings={Status.SKIPPED})) == [3]
    assert list(overview.arranged(text="nowhere")) == []


def test_titles_keep_the_endings_that_tell_images_apart() -> None:
    assert short_names(["a.png", "A.tif", "b.png", "c.zarr", "p/a.ome.tif"]) == [
        *("a.png", "A.tif", "b", "c.zarr", "p/a")
    ]
