"""Undoing accepts: the item is again what it was before, and nothing accepted is lost on the way."""

import shutil

import numpy as np
import pytest

from napari_semigda.errors import SemiGDAError
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session


def mask_of(session, item_id, row=3, value=1):
    mask = np.zeros(session.item(item_id).shape, np.uint8)
    mask[row] = value
    return mask


def test_without_an_accept_there_is_nothing_to_undo(session):
    assert session.labels.undoable == ()
    with pytest.raises(SemiGDAError, match="No mask was accepted"):
        session.labels.undo_accept()


def test_accepts_are_undone_last_first_and_the_journal_tells(session, predict):
    session.drafts.store("image_2", predict(mask_of(session, "image_2")), 1)
    session.accept("image_1", mask_of(session, "image_1", 5))
    session.drafts.see("image_2")
    session.accept("image_2", mask_of(session, "image_2"))
    session.accept("image_1", mask_of(session, "image_1", 7))
    assert [item.id for item in session.labels.undoable] == ["image_1", "image_2", "image_1"]
    assert session.labels.undo_accept().id == "image_1"
    np.testing.assert_array_equal(session.labels.get("image_1"), mask_of(session, "image_1", 5))
    np.testing.assert_array_equal(session.labels.edit("image_1"), mask_of(session, "image_1", 7))
    session.labels.undo_accept()
    assert session.state("image_2") is ItemState.DRAFT
    assert session.labels.edit("image_2") is None  # the draft it was accepted as
    assert session.labels.accepted_drafts() == []
    session.labels.undo_accept()
    assert session.labels.get("image_1") is None
    assert [entry.event for entry in session.labels.journal()][-3:] == ["accept undone"] * 3
    folder = session.folder
    session.close()
    with Session.open(folder) as again:
        assert not again.counts()[ItemState.ACCEPTED]
        assert again.labels.accepted_drafts() == []


def test_the_effort_of_an_undone_accept_is_that_of_the_one_before(session, predict):
    session.drafts.store("image_1", predict(mask_of(session, "image_1")), 1)
    session.drafts.see("image_1")
    session.accept("image_1", mask_of(session, "image_1"))
    session.accept("image_1", mask_of(session, "image_1", 9))
    assert session.labels.effort("image_1") > 0
    session.labels.undo_accept()
    assert session.labels.effort("image_1") == 0
    assert len(session.labels.accepted_drafts()) == 1


def test_a_skipped_item_is_skipped_again(session):
    session.skip("image_3")
    session.accept("image_3", mask_of(session, "image_3"))
    session.labels.undo_accept()
    assert session.state("image_3") is ItemState.SKIPPED


def test_strokes_made_after_the_accept_stay(session):
    session.accept("image_1", mask_of(session, "image_1", 5))
    session.labels.keep_edit("image_1", mask_of(session, "image_1", 8))
    session.labels.undo_accept()
    np.testing.assert_array_equal(session.labels.edit("image_1"), mask_of(session, "image_1", 8))


def test_a_mask_that_another_program_changed_is_left_alone(session):
    session.accept("image_1", mask_of(session, "image_1", 5))
    session.accept("image_2", mask_of(session, "image_2", 5))
    labels = session.folder / "labels"
    shutil.copy(labels / "image_2.tif", labels / "other.tif")
    session.accept("image_2", mask_of(session, "image_2", 6))
    (labels / "other.tif").replace(labels / "image_2.tif")
    for _ in range(2):
        with pytest.raises(SemiGDAError, match="changed since it was accepted"):
            session.labels.undo_accept()
        np.testing.assert_array_equal(session.labels.get("image_2"), mask_of(session, "image_2", 5))
    assert session.labels.undo_accept().id == "image_1"


def test_a_class_removed_since_does_not_come_back(session):
    session.classes.add("other")
    session.accept("image_1", mask_of(session, "image_1", 5, value=2))
    session.accept("image_1", mask_of(session, "image_1", 5))
    session.classes.remove(2)
    session.labels.undo_accept()
    np.testing.assert_array_equal(session.labels.get("image_1"), mask_of(session, "image_1", 5, value=255))


def test_a_label_file_that_cannot_be_removed_stays_accepted(session, monkeypatch):
    session.accept("image_1", mask_of(session, "image_1", 5))
    file = session.folder / "labels" / "image_1.tif"
    content = file.read_bytes()
    file.unlink()
    file.mkdir()  # what unlink refuses also for root
    (file / "in the way").touch()
    with pytest.raises(SemiGDAError):
        session.labels.undo_accept()
    shutil.rmtree(file)
    file.write_bytes(content)
    assert session.labels.get("image_1") is not None


def test_an_accepted_draft_is_kept_when_a_newer_one_took_its_place(session, predict):
    session.drafts.store("image_1", predict(mask_of(session, "image_1")), 1)
    session.drafts.see("image_1")
    session.accept("image_1", mask_of(session, "image_1"))
    session.drafts.store("image_1", predict(mask_of(session, "image_1", 9)), 2)
    session.labels.undo_accept()
    np.testing.assert_array_equal(session.labels.edit("image_1"), mask_of(session, "image_1"))
