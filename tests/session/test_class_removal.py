"""Removing a class: its pixels count as not looked at, and nothing that was painted is lost."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.io.masks import read_labels
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session


@pytest.fixture
def painted(tmp_path: Path, pictures: Path) -> Session:
    """Six pictures, three classes; two of the pictures are accepted, one is painted on."""
    session = Session.create(tmp_path / "session", pictures, classes=["cell", "edge", "debris"])
    first, second, third = session.items[:3]
    session.accept(first, stripes(first.shape, 1, 2))
    session.accept(second, stripes(second.shape, 1, 3))
    session.labels.keep_edit(third, stripes(third.shape, 2, 3))
    return session


def stripes(shape: tuple[int, int], *values: int) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    for place, value in enumerate(values):
        mask[4 * place + 1 : 4 * place + 3] = value
    return mask


def test_it_is_said_in_how_many_images_a_class_is(painted: Session) -> None:
    use = painted.classes.use(2)
    assert use.accepted == painted.items[:1]
    assert use.painted == painted.items[2:3]
    assert use.images == 2
    with pytest.raises(Cancelled):
        painted.classes.use(2, cancelled=lambda: True)


def test_its_pixels_are_not_looked_at_any_more_and_the_other_masks_are_untouched(painted: Session) -> None:
    first, second, third = painted.items[:3]
    other = (painted.folder / "labels" / f"{second.id}.tif").read_bytes()
    painted.classes.remove(2)
    np.testing.assert_array_equal(painted.labels.get(first), stripes(first.shape, 1, UNKNOWN))
    np.testing.assert_array_equal(painted.labels.edit(third), stripes(third.shape, UNKNOWN, 3))
    assert (painted.folder / "labels" / f"{second.id}.tif").read_bytes() == other
    assert [info.value for info in painted.classes] == [1, 3]
    assert painted.classes.channels == 4
    assert painted.classes.names == ["cell", "", "debris"]
    assert painted.state(first) is ItemState.ACCEPTED


def test_what_was_painted_is_kept_beside_and_the_journal_says_so(painted: Session) -> None:
    first, _, third = painted.items[:3]
    painted.classes.remove(2)
    kept = painted.folder / "labels" / f"{first.id}.replaced-1.tif"
    np.testing.assert_array_equal(read_labels(kept), stripes(first.shape, 1, 2))
    kept_edit = painted.folder / "edits" / f"{third.id}.replaced-1.tif"
    np.testing.assert_array_equal(read_labels(kept_edit), stripes(third.shape, 2, 3))
    told = [entry for entry in painted.labels.journal() if entry.event == "class removed"]
    assert [entry.item for entry in told] == [first.id]
    assert "edge" in told[0].note
    assert kept.name in told[0].note


def test_a_session_with_a_removed_class_opens_again(painted: Session) -> None:
    painted.classes.remove(2)
    painted.close()
    with Session.open(painted.folder) as again:
        assert [(info.value, info.name) for info in again.classes] == [(1, "cell"), (3, "debris")]
        assert again.classes.add("edge").value == 4
        with pytest.raises(SemiGDAError, match="holds the value 2"):
            again.accept(again.items[0], stripes(again.items[0].shape, 2))


def test_in_drafts_a_removed_class_is_background(painted: Session, predict) -> None:
    item = painted.items[4]
    painted.drafts.store(item, predict(stripes(item.shape, 2, 3)), 1)
    painted.classes.remove(2)
    np.testing.assert_array_equal(painted.prediction(item), stripes(item.shape, 0, 3))
    painted.drafts.store(item, predict(stripes(item.shape, 1, 2)), 1)
    np.testing.assert_array_equal(painted.labels.starting_mask(item), stripes(item.shape, 1, 0))


def test_the_only_class_and_none_are_refused(session: Session) -> None:
    for value in (1, 2):
        with pytest.raises(SemiGDAError):
            session.classes.remove(value)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind everybody here")
def test_if_it_cannot_be_saved_everything_is_as_before(painted: Session) -> None:
    (painted.folder / "edits").chmod(0o500)
    refused(painted)
    (painted.folder / "edits").chmod(0o700)


def test_if_the_manifest_cannot_be_written_everything_is_as_before(painted: Session) -> None:
    manifest = painted.folder / "semigda.json"
    content = manifest.read_bytes()
    manifest.unlink()
    manifest.mkdir()
    refused(painted)
    manifest.rmdir()
    manifest.write_bytes(content)
    assert len(json.loads(content)["classes"]) == 3


def refused(session: Session) -> None:
    """Removing a class fails and changes nothing."""
    first, _, third = session.items[:3]
    with pytest.raises(SemiGDAError):
        session.classes.remove(2)
    np.testing.assert_array_equal(session.labels.get(first), stripes(first.shape, 1, 2))
    np.testing.assert_array_equal(session.labels.edit(third), stripes(third.shape, 2, 3))
    assert len(session.classes) == 3
    assert not list((session.folder / "labels").glob("*.replaced-*"))
