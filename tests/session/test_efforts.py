"""What correcting took: against the draft that the annotator saw, by round, and in a sentence."""

import numpy as np
import pytest

from napari_semigda.inference.predictor import Prediction
from napari_semigda.session.efforts import AcceptedDraft, Efforts, in_words, mean_by_round
from napari_semigda.session.journal import JournalEntry
from napari_semigda.session.session import Session

PIXELS = np.arange(12 * 10, dtype=np.uint8).reshape(12, 10)


def lesion(rows):
    mask = np.zeros(PIXELS.shape, np.uint8)
    mask[:rows] = 1
    return mask


def draft(session, item, rows, round_number):
    labels = lesion(rows)
    nothing = np.zeros((2, *labels.shape), np.float32)
    session.drafts.store(item, Prediction(nothing, labels, nothing[0], 0.5), round_number)


@pytest.fixture
def session(tmp_path):
    pictures = {f"scan {number}": (PIXELS, (1.0, 1.0), "pixel") for number in range(1, 4)}
    return Session.from_arrays(tmp_path / "s", pictures)


def test_effort_is_measured_against_the_draft_that_was_shown(session):
    item = session.items[0]
    draft(session, item, 6, 1)
    np.testing.assert_array_equal(session.labels.starting_mask(item), lesion(6))
    draft(session, item, 3, 2)  # comes while the annotator corrects the first
    entry = session.accept(item, lesion(3))
    assert (entry.changed, entry.round) == (0.25, 1)


def test_a_newer_draft_counts_once_it_was_shown(session):
    item = session.items[0]
    draft(session, item, 6, 1)
    session.labels.starting_mask(item)
    draft(session, item, 3, 2)
    np.testing.assert_array_equal(session.drafts.see(item), lesion(3))
    entry = session.accept(item, lesion(3))
    assert (entry.changed, entry.round) == (0, 2)


def test_a_mask_painted_without_a_draft_was_no_correction(session):
    item = session.items[0]
    assert not session.labels.starting_mask(item).any()
    draft(session, item, 6, 1)
    entry = session.accept(item, lesion(6))
    assert (entry.dice, entry.changed, entry.round) == (None, None, None)
    assert session.labels.accepted_drafts() == []


def test_the_draft_behind_unfinished_strokes_is_known_tomorrow(session):
    first, second, third = session.items
    draft(session, first, 6, 1)
    session.labels.starting_mask(first)
    session.labels.keep_edit(first, lesion(5))
    session.labels.starting_mask(second)
    session.labels.keep_edit(second, lesion(5))
    session.labels.starting_mask(third)  # another item is on the screen now
    session.close()
    with Session.open(session.folder) as again:
        draft(again, first, 3, 2)
        draft(again, second, 3, 2)
        np.testing.assert_array_equal(again.labels.starting_mask(first), lesion(5))
        entry = again.accept(first, lesion(3))
        assert (entry.changed, entry.round) == (0.25, 1)
        assert again.accept(second, lesion(3)).changed is None
        assert list((again.folder / "edits").iterdir()) == []


def test_a_program_that_shows_nobody_anything_is_compared_with_the_newest_draft(session):
    item = session.items[0]
    draft(session, item, 6, 1)
    draft(session, item, 3, 2)
    entry = session.accept(item, lesion(6))
    assert (entry.changed, entry.round) == (0.25, 2)


def test_drafts_count_once_and_are_remembered(session):
    for item, rows in zip(session.items, (6, 3, 12), strict=True):
        draft(session, item, 6, 1)
        session.accept(item, lesion(rows))
    session.accept(session.items[0], lesion(1))
    told = [AcceptedDraft(1, 0.0), AcceptedDraft(1, 0.25), AcceptedDraft(1, 0.5)]
    assert session.labels.accepted_drafts() == told
    session.close()
    with Session.open(session.folder) as again:
        assert again.labels.accepted_drafts() == told
        assert again.labels.effort(again.items[0]) == pytest.approx(5 / 12)


def test_the_mean_of_each_round():
    drafts = [AcceptedDraft(2, 0.1), AcceptedDraft(1, 0.4), AcceptedDraft(2, 0.3)]
    assert mean_by_round(drafts) == pytest.approx({1: 0.4, 2: 0.2})
    assert mean_by_round([]) == {}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ([], ""),
        ([0.5], "The one draft you accepted so far needed more than 2 % changed."),
        ([0.01], "The one draft you accepted so far needed less than 2 % changed."),
        ([0.0, 0.01], "Of the 2 drafts you accepted so far, all needed less than 2 % changed."),
        ([0.5, 0.3], "Of the 2 drafts you accepted so far, none needed less than 2 % changed."),
        ([0.5] * 9 + [0.0], "Of the last 10 drafts you accepted, 1 needed less than 2 % changed."),
        ([0.0] * 90 + [0.5] * 3, "Of the last 10 drafts you accepted, 7 needed less than 2 % changed."),
    ],
)
def test_the_last_drafts_in_a_sentence(changed, words):
    assert in_words([AcceptedDraft(1, share) for share in changed]) == words


def test_empty_drafts_are_not_among_those_nearly_right(session):
    for item, rows in zip(session.items, (0, 0, 6), strict=True):
        draft(session, item, rows, 1)
        session.labels.starting_mask(item)
    session.accept(session.items[0], lesion(0))
    assert in_words(session.labels.accepted_drafts()) == ""
    one_pixel = lesion(0)
    one_pixel[0, 0] = 1  # less than 2 % of the pixels, and all of the object
    session.accept(session.items[1], one_pixel)
    assert in_words(session.labels.accepted_drafts()) == ""
    session.accept(session.items[2], lesion(6))
    assert (
        in_words(session.labels.accepted_drafts())
        == "The one draft you accepted so far needed less than 2 % changed."
    )
    session.close()
    with Session.open(session.folder) as again:
        assert [one.empty for one in again.labels.accepted_drafts()] == [True, True, False]


def test_of_journals_of_earlier_versions_drafts_that_met_nothing_count_as_empty():
    entries = [
        JournalEntry("2026-01-01", item, "accepted", dice, 0.001, 1)
        for item, dice in (("a", 0.0), ("b", 0.9), ("c", 1.0))
    ]
    assert [one.empty for one in Efforts(entries).drafts] == [True, False, False]
