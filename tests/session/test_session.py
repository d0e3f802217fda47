"""A session is a folder: what was accepted is there tomorrow, whatever else happened."""

import json
import os
import shutil
import threading
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.inference.predictor import Prediction
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.masks import read_labels, write_labels
from napari_semigda.io.pictures import Picture, list_planes
from napari_semigda.session import renamed
from napari_semigda.session.export import export_masks
from napari_semigda.session.items import ItemState, identity
from napari_semigda.session.manifest import SCHEMA_VERSION
from napari_semigda.session.session import Session
from napari_semigda.session.view import View

Predict = Callable[..., Prediction]


def square(session: Session, item_id: str, start: int = 3, value: int = 1) -> NDArray[np.uint8]:
    mask = np.zeros(session.item(item_id).shape, np.uint8)
    mask[start : start + 10, start : start + 10] = value
    return mask


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


# Making and opening


def test_every_plane_becomes_an_item(session: Session) -> None:
    assert [item.id for item in session.items] == [
        "image_1", "image_2", "image_3", "stack_p0001", "stack_p0002", "stack_p0003",
    ]  # fmt: skip
    stack = session.item("stack_p0002")
    assert stack.name == "more/stack.tif · z 2"
    assert stack.path == "../pictures/more/stack.tif"
    assert stack.pixel_size == (0.5, 0.25)
    assert stack.unit == "µm"
    assert session.picture(stack).pixels.shape == stack.shape == (24, 32)
    assert session.counts()[ItemState.UNLABELED] == 6


def test_pictures_are_never_written(tmp_path: Path, pictures: Path) -> None:
    before = files_of(pictures)
    session = Session.create(tmp_path / "session", pictures)
    session.accept("image_1", square(session, "image_1"))
    session.examples()[0][0]
    assert files_of(pictures) == before


def test_a_bad_file_is_reported_and_the_others_go_on(tmp_path: Path, pictures: Path) -> None:
    (pictures / "bad.tif").write_bytes(b"II*\0 no picture")
    (pictures / "empty.png").touch()
    session = Session.create(tmp_path / "session", pictures)
    assert len(session.items) == 6
    assert {path.name for path, _ in session.left_out} == {"bad.tif", "empty.png"}
    assert all(path.name in reason for path, reason in session.left_out)


def test_no_picture_at_all_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "bad.tif").write_bytes(b"no picture")
    with pytest.raises(SemiGDAError, match=r"No readable image was found .*bad\.tif"):
        Session.create(tmp_path / "session", tmp_path / "pictures")
    assert not (tmp_path / "session").exists()


def test_files_of_one_name_in_two_folders_are_two_items(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / folder / "1.png")
    session = Session.create(
        tmp_path / "s", [tmp_path / "a", tmp_path / "b" / "1.png", tmp_path / "a" / "1.png"]
    )
    assert [(item.id, item.path) for item in session.items] == [("1", "../a/1.png"), ("1-2", "../b/1.png")]


def test_a_session_may_live_beside_its_pictures(pictures: Path) -> None:
    session = Session.create(pictures / "session", pictures)
    session.accept("image_1", square(session, "image_1"))
    assert len(session.items) == 6
    again = Session.create(pictures / "second", pictures)
    assert len(again.items) == 6


def test_an_existing_session_is_not_overwritten(session: Session, pictures: Path) -> None:
    before = files_of(session.folder)
    with pytest.raises(SemiGDAError, match="is already a session"):
        Session.create(session.folder, pictures)
    assert files_of(session.folder) == before


def test_remains_of_another_session_are_not_taken_for_masks(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "session" / "labels").mkdir(parents=True)
    (tmp_path / "session" / "labels" / "image_1.tif").touch()
    with pytest.raises(SemiGDAError, match="“labels” already exists there"):
        Session.create(tmp_path / "session", pictures)


def test_making_a_session_can_be_watched_and_cancelled(tmp_path: Path, pictures: Path) -> None:
    seen: list[tuple[int, int]] = []
    with pytest.raises(Cancelled):
        Session.create(
            tmp_path / "session",
            pictures,
            progress=lambda done, total: seen.append((done, total)),
            cancelled=lambda: len(seen) == 2,
        )
    assert seen == [(1, 4), (2, 4)]
    assert not (tmp_path / "session").exists()


def test_large_pictures_are_seen_by_tiles(tmp_path: Path) -> None:
    for name, side in (("small", 400), ("large", 800)):
        (tmp_path / name).mkdir()
        Image.new("L", (side, 20)).save(tmp_path / name / "1.png")
    assert Session.create(tmp_path / "s1", tmp_path / "small").settings.framing == "whole"
    assert Session.create(tmp_path / "s2", tmp_path / "large").settings.framing == "tiles"
    chosen = ImageSettings(working_size=64)
    assert Session.create(tmp_path / "s3", tmp_path / "large", settings=chosen).settings == chosen


def test_pictures_from_memory_are_written_with_their_pixel_size(tmp_path: Path) -> None:
    gray = np.arange(600, dtype=np.uint16).reshape(20, 30)
    color = np.zeros((20, 30, 3), np.uint8)
    session = Session.from_arrays(
        tmp_path / "s",
        {"cells: t=1": Picture(gray, (0.5, 0.25), "µm"), "photo": (color, (1.0, 1.0), "pixel")},
    )
    assert [item.name for item in session.items] == ["cells: t=1", "photo"]
    picture = Session.open(tmp_path / "s").picture("cells_t_1")
    np.testing.assert_array_equal(picture.pixels, gray)
    assert (picture.pixel_size, picture.unit) == ((0.5, 0.25), "µm")
    assert session.picture("photo").pixels.shape == (20, 30, 3)


def test_a_failed_start_from_memory_leaves_no_pictures(tmp_path: Path) -> None:
    good = (np.zeros((8, 8), np.uint8), (1.0, 1.0), "pixel")
    with pytest.raises(SemiGDAError, match="are not an image"):
        Session.from_arrays(tmp_path / "s", {"a": good, "b": (np.zeros((2, 2, 2, 2)), (1.0, 1.0), "pixel")})
    assert files_of(tmp_path / "s") == {}
    assert len(Session.from_arrays(tmp_path / "s", {"a": good}).items) == 1


def test_pictures_from_memory_are_added_to_a_session(tmp_path: Path) -> None:
    first = (np.zeros((8, 9), np.uint8), (1.0, 1.0), "pixel")
    other = (np.ones((8, 9), np.uint8), (0.5, 0.5), "µm")
    with Session.from_arrays(tmp_path / "s", {"a": first}) as session:
        assert session.add_arrays({"a": first, "A": other, "b": other}) == 2
        with pytest.raises(SemiGDAError, match="already has these images"):
            session.add_arrays({"a": first, "b": other})
    with Session.open(tmp_path / "s") as again:
        assert [(item.id, item.name) for item in again.items] == [("a", "a"), ("A-2", "A"), ("b", "b")]
        np.testing.assert_array_equal(again.picture("A-2").pixels, other[0])
        assert again.items[1].pixel_size == (0.5, 0.5)


def test_pictures_that_cannot_be_added_leave_the_session_as_it_was(tmp_path: Path) -> None:
    good = (np.zeros((8, 8), np.uint8), (1.0, 1.0), "pixel")
    with Session.from_arrays(tmp_path / "s", {"a": good}) as session:
        before = files_of(tmp_path / "s")
        with pytest.raises(SemiGDAError, match="are not an image"):
            session.add_arrays({"b": good, "c": (np.zeros((2, 2, 2, 2)), (1.0, 1.0), "pixel")})
        assert files_of(tmp_path / "s") == before


def test_a_session_opens_as_it_was_left(tmp_path: Path, session: Session, predict: Predict) -> None:
    session.accept("image_1", square(session, "image_1"))
    session.labels.keep_edit("image_2", square(session, "image_2", 5))
    session.skip("image_3")
    session.drafts.store("stack_p0001", predict(square(session, "stack_p0001"), 0.75), 2)
    session.classes.rename(1, "nucleus")
    session.classes.add("border", "#123456")
    session.classes.recolor(1, "#00ff00")
    session.update(one_object=True)
    session.update(settings=ImageSettings(working_size=64, channels=(0,)))
    session.update(weights=tmp_path / "autoencoder.safetensors")
    session.update(preset="taesd")
    session.current_item = "stack_p0003"
    session.remember(order="random", round_after=5, round_seconds=90.0, round_steps=40)
    session.close()

    again = Session.open(session.folder / "semigda.json")
    assert again.items == session.items
    assert [item.skipped for item in again.items] == [item.skipped for item in session.items]
    assert [again.state(item) for item in again.items] == [
        ItemState.ACCEPTED,
        ItemState.DRAFT,
        ItemState.SKIPPED,
        ItemState.DRAFT,
        ItemState.UNLABELED,
        ItemState.UNLABELED,
    ]
    for item in again.items:
        for one, other in (
            (again.labels.get, session.labels.get),
            (again.labels.edit, session.labels.edit),
            (again.prediction, session.prediction),
            (again.labels.starting_mask, session.labels.starting_mask),
        ):
            np.testing.assert_array_equal(one(item), other(item))
    assert again.drafts.info("stack_p0001") == session.drafts.info("stack_p0001")
    assert again.classes == session.classes
    assert [one.name for one in again.classes] == ["nucleus", "border"]
    assert again.settings == session.settings
    assert again.one_object
    assert again.preset == "taesd"
    assert again.weights == tmp_path / "autoencoder.safetensors"
    assert again.current_item == again.item("stack_p0003")
    assert again.view == View(
        current="stack_p0003", order="random", round_after=5, round_seconds=90.0, round_steps=40
    )
    assert again.created == session.created


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"round_after": -1}',
        '{"round_after": true, "order": 3, "new": 1}',
        '{"round_seconds": NaN}',
        '{"folded": [1]}',
    ],
)
def test_what_makes_no_sense_in_the_view_is_as_if_nothing_had_been_chosen(
    session: Session, content: str
) -> None:
    (session.folder / "view.json").write_text(content)
    session.close()
    assert Session.open(session.folder).view == View()


def test_opening_does_not_touch_the_pictures(session: Session, pictures: Path) -> None:
    shutil.rmtree(pictures)
    session.close()
    again = Session.open(session.folder)
    assert len(again.items) == 6
    again.accept("image_1", square(again, "image_1"))
    with pytest.raises(SemiGDAError, match=r"image 1\.png” could not be found"):
        again.picture("image_1")


def test_session_and_pictures_can_move_together(tmp_path: Path, session: Session) -> None:
    pixels = session.picture("stack_p0003").pixels
    (tmp_path / "elsewhere").mkdir()
    for name in ("session", "pictures"):
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    again = Session.open(tmp_path / "elsewhere" / "session")
    np.testing.assert_array_equal(again.picture("stack_p0003").pixels, pixels)


# Accepting


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int64, np.int8, np.dtype(">i4"), np.bool_]),
)
def test_an_accepted_mask_comes_back(session: Session, data: st.DataObject, dtype: Any) -> None:
    item = session.item("stack_p0001")
    mask = data.draw(arrays.arrays(np.uint8, item.shape, elements=st.sampled_from([0, 1])))
    if dtype in (np.uint8, np.uint16, np.int64):
        mask = data.draw(arrays.arrays(np.uint8, item.shape, elements=st.sampled_from([0, 1, 255])))
    session.accept(item, mask.astype(dtype))
    for one in (session, Session.open(session.folder)):
        read = one.labels(item)
        assert read is not None
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, mask)
        assert one.state(item) is ItemState.ACCEPTED


def test_other_programs_read_the_mask_with_its_pixel_size(session: Session) -> None:
    mask = square(session, "stack_p0001")
    session.accept("stack_p0001", mask)
    path = session.folder / "labels" / "stack_p0001.tif"
    np.testing.assert_array_equal(tifffile.imread(path), mask)
    (plane,) = list_planes(path)
    assert (plane.pixel_size, plane.unit) == ((0.5, 0.25), "µm")


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((40, 32), np.uint8), "32 × 40 pixels, but the image has 31 × 40"),
        (np.zeros((40, 31)), "whole numbers"),
        (np.zeros((1, 40, 31), int), "two dimensions"),
        (np.full((40, 31), 2), "the value 2, but the classes of this session have the values 0, 1"),
        (np.full((40, 31), -1), "the value -1"),
        (np.full((40, 31), 256), "the value 256"),
    ],
)
def test_what_is_no_mask_of_the_image_is_refused(session: Session, mask: NDArray[Any], words: str) -> None:
    session.accept("image_1", good := square(session, "image_1"))
    before = files_of(session.folder)
    for save in (session.accept, session.labels.keep_edit):
        with pytest.raises(SemiGDAError, match=words):
            save("image_1", mask)
    assert files_of(session.folder) == before
    np.testing.assert_array_equal(session.labels.get("image_1"), good)


def test_an_added_class_can_be_used(session: Session) -> None:
    mask = square(session, "image_1", value=2)
    with pytest.raises(SemiGDAError, match="the value 2"):
        session.accept("image_1", mask)
    assert session.classes.add("border").value == 2
    session.accept("image_1", mask)
    np.testing.assert_array_equal(Session.open(session.folder).labels.get("image_1"), mask)


def test_the_journal_tells_how_much_was_corrected(session: Session, predict: Predict) -> None:
    draft = square(session, "image_1")
    session.drafts.store("image_1", predict(draft), 3)
    corrected = draft.copy()
    corrected[3:13, 3:8] = 0  # half of the object
    corrected[30:] = 255
    entry = session.accept("image_1", corrected)
    looked_at = (corrected != 255).sum()
    assert entry.dice == pytest.approx(2 * 50 / 150)
    assert entry.changed == pytest.approx(50 / looked_at, abs=1e-6)
    assert (entry.event, entry.round) == ("accepted", 3)

    session.accept("image_1", draft)
    session.accept("image_2", square(session, "image_2"))
    session.skip("image_3")
    session.labels.unskip("image_3")
    told = [
        (one.event, one.item, one.dice, one.round) for one in Session.open(session.folder).labels.journal()
    ]
    assert told == [
        ("accepted", "image_1", entry.dice, 3),
        ("corrected", "image_1", 1.0, 3),
        ("accepted", "image_2", None, None),
        ("skipped", "image_3", None, None),
        ("unskipped", "image_3", None, None),
    ]


def test_an_empty_draft_of_an_empty_image_needed_no_correction(session: Session, predict: Predict) -> None:
    empty = np.zeros(session.item("image_1").shape, np.uint8)
    session.drafts.store("image_1", predict(empty), 1)
    entry = session.accept("image_1", empty)
    assert (entry.dice, entry.changed) == (1.0, 0.0)


def test_a_torn_journal_is_read_and_gone_on_with(session: Session) -> None:
    session.accept("image_1", square(session, "image_1"))
    with (session.folder / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"time": "2026-01-01T00:00:00+00:00", "item": "ima')
    session.close()
    again = Session.open(session.folder)
    again.accept("image_2", square(again, "image_2"))
    assert [entry.item for entry in again.labels.journal()] == ["image_1", "image_2"]


def test_painting_goes_on_where_it_was_left(session: Session, predict: Predict) -> None:
    """First nothing, then the draft, then what was painted, then what was accepted, then what was painted."""
    masks = [square(session, "image_1", start) for start in (1, 4, 8, 12, 16)]
    assert not session.labels.starting_mask("image_1").any()
    assert session.labels.starting_mask("image_1").dtype == np.uint8
    session.drafts.store("image_1", predict(masks[0]), 1)
    np.testing.assert_array_equal(session.labels.starting_mask("image_1"), masks[0])
    session.labels.keep_edit("image_1", masks[1])
    np.testing.assert_array_equal(session.labels.starting_mask("image_1"), masks[1])
    session.accept("image_1", masks[2])
    np.testing.assert_array_equal(session.labels.starting_mask("image_1"), masks[2])
    assert session.labels.edit("image_1") is None
    session.labels.keep_edit("image_1", masks[3])
    np.testing.assert_array_equal(Session.open(session.folder).labels.starting_mask("image_1"), masks[3])
    np.testing.assert_array_equal(session.labels.get("image_1"), masks[2])
    session.labels.discard_edit("image_1")
    np.testing.assert_array_equal(session.labels.starting_mask("image_1"), masks[2])


def test_a_foreign_label_file_is_kept_when_a_mask_is_accepted_over_it(session: Session) -> None:
    path = session.folder / "labels" / "image_1.tif"
    session.close()
    foreign = [b"not a TIFF", None, b""]
    tifffile.imwrite(path, np.full((40, 31), 77, np.uint8))
    foreign[1] = path.read_bytes()
    for number, content in enumerate(foreign, start=1):
        assert content is not None
        path.write_bytes(content)
        again = Session.open(session.folder)
        with pytest.raises(SemiGDAError, match=r"labels.image_1\.tif” could not be used"):
            again.labels.get("image_1")
        with pytest.raises(SemiGDAError, match=r"labels.image_1\.tif” could not be used"):
            again.labels.starting_mask("image_1")
        assert path.read_bytes() == content
        entry = again.accept("image_1", square(again, "image_1"))
        kept = path.with_name(f"image_1.replaced-{number}.tif")
        assert kept.read_bytes() == content
        assert kept.name in entry.note
        assert str(kept) in again.warnings[-1]
        again.close()
    final = Session.open(session.folder)
    assert final.counts()[ItemState.ACCEPTED] == 1
    np.testing.assert_array_equal(final.labels.get("image_1"), square(final, "image_1"))


def test_masks_that_another_program_changed_or_removed_are_taken_as_they_are(session: Session) -> None:
    session.accept("image_1", square(session, "image_1"))
    stamp = session.labels.stamp("image_1")
    path = session.folder / "labels" / "image_1.tif"
    changed = square(session, "image_1", 20)
    tifffile.imwrite(path, changed)
    os.utime(path, (1, 1))
    assert session.labels.stamp("image_1") != stamp
    np.testing.assert_array_equal(session.labels.get("image_1"), changed)
    path.unlink()
    assert session.labels.get("image_1") is None
    assert session.state("image_1") is ItemState.UNLABELED


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_keeps_what_was_accepted(session: Session) -> None:
    session.accept("image_1", first := square(session, "image_1"))
    labels = session.folder / "labels"
    labels.chmod(0o500)
    try:
        with pytest.raises(SemiGDAError, match="could not be written"):
            session.accept("image_1", square(session, "image_1", 20))
    finally:
        labels.chmod(0o700)
    np.testing.assert_array_equal(Session.open(session.folder).labels.get("image_1"), first)


def test_a_place_that_cannot_be_written_is_told_and_nothing_is_lost(session: Session) -> None:
    """A file stands where the folder should: no user, not even root, can write there."""
    session.accept("image_1", first := square(session, "image_1"))
    (session.folder / "labels").rename(session.folder / "away")
    (session.folder / "labels").touch()
    with pytest.raises(SemiGDAError, match="labels"):
        session.accept("image_2", square(session, "image_2"))
    assert session.state("image_2") is ItemState.UNLABELED
    (session.folder / "labels").unlink()
    (session.folder / "away").rename(session.folder / "labels")
    session.accept("image_2", square(session, "image_2"))
    np.testing.assert_array_equal(session.labels.get("image_1"), first)
    assert Session.open(session.folder).counts()[ItemState.ACCEPTED] == 2


def test_what_was_accepted_counts_even_if_the_journal_cannot_be_written(session: Session) -> None:
    (session.folder / "journal.jsonl").mkdir()
    session.accept("image_1", mask := square(session, "image_1"))
    np.testing.assert_array_equal(session.labels.get("image_1"), mask)
    assert "journal.jsonl" in session.warnings[0]


def test_skipped_items_are_taken_up_by_accepting_them(session: Session) -> None:
    session.skip("image_1")
    assert session.item("image_1").skipped
    session.accept("image_1", square(session, "image_1"))
    assert session.state("image_1") is ItemState.ACCEPTED
    assert not Session.open(session.folder).item("image_1").skipped
    session.skip("image_1")
    assert session.state("image_1") is ItemState.ACCEPTED


def test_a_picture_that_changed_its_size_is_told(session: Session, pictures: Path) -> None:
    Image.new("L", (50, 60)).save(pictures / "image 1.png")
    with pytest.raises(SemiGDAError, match=r"image 1\.png.* had 31 × 40 pixels and has 50 × 60"):
        session.picture("image_1")


# Drafts


def test_a_prediction_is_a_draft(session: Session, predict: Predict) -> None:
    mask = square(session, "image_2")
    info = session.drafts.store("image_2", predict(mask, 0.7), 4)
    assert (info.score, info.round, info.uncertainty) == (0.7, 4, 0.25)
    assert session.state("image_2") is ItemState.DRAFT
    np.testing.assert_array_equal(session.prediction("image_2"), mask)
    assert Session.open(session.folder).drafts.info("image_2") == info


def test_a_prediction_of_another_size_is_refused(session: Session, predict: Predict) -> None:
    with pytest.raises(SemiGDAError, match="5 × 5 pixels"):
        session.drafts.store("image_2", predict(np.zeros((5, 5), np.uint8)), 1)
    assert session.drafts.info("image_2") is None


def test_a_broken_prediction_is_as_good_as_none(session: Session, predict: Predict) -> None:
    session.drafts.store("image_2", predict(square(session, "image_2")), 1)
    (session.folder / "predictions" / "image_2.tif").write_bytes(b"half")
    (session.folder / "predictions" / "image_2.json").write_text('{"score": "high"')
    session.close()
    again = Session.open(session.folder)
    assert again.prediction("image_2") is None
    assert again.drafts.info("image_2") is None
    assert not again.labels.starting_mask("image_2").any()
    assert again.accept("image_2", square(again, "image_2")).dice is None


def test_scores_that_are_no_numbers_do_not_spoil_the_session(session: Session, predict: Predict) -> None:
    session.drafts.store("image_1", predict(square(session, "image_1"), float("nan")), 1)
    info = Session.open(session.folder).drafts.info("image_1")
    assert info is not None
    assert info.score == 0


# Threads


def test_accepting_and_predicting_at_the_same_time(session: Session, predict: Predict) -> None:
    """One thread accepts, one stores drafts, one reads: nobody sees half of anything."""
    drafts = {item.id: predict(square(session, item.id, 2), 0.5) for item in session.items}
    done, failures = threading.Event(), []
    together = threading.Barrier(3)

    def guarded(work: Callable[[], None]) -> None:
        try:
            together.wait()
            work()
        except BaseException as error:
            failures.append(error)

    def store() -> None:
        for number in range(8):
            for item in session.items:
                session.drafts.store(item, drafts[item.id], number)
        done.set()

    def read() -> None:
        while not done.is_set():
            counts = session.counts()
            assert sum(counts.values()) == 6
            for item in session.items:
                assert session.labels.starting_mask(item).shape == item.shape

    def accept() -> None:
        for start in range(8):
            for item in session.items:
                session.labels.keep_edit(item, square(session, item.id, start))
                entry = session.accept(item, square(session, item.id, start))
                assert entry.dice is None or 0 <= entry.dice <= 1

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (store, read, accept)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    again = Session.open(session.folder)
    assert again.counts()[ItemState.ACCEPTED] == 6
    for item in again.items:
        np.testing.assert_array_equal(again.labels.get(item), square(again, item.id, 7))
        np.testing.assert_array_equal(again.prediction(item), drafts[item.id].labels)
        assert again.labels.edit(item) is None
    assert len(again.labels.journal()) == 48
    assert not list(session.folder.rglob(".*"))


# Manifests of strangers


def test_a_newer_session_is_refused_and_left_alone(session: Session) -> None:
    path = session.folder / "semigda.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "schema_version": SCHEMA_VERSION + 1, "items": "in a new form"}))
    before = files_of(session.folder)
    with pytest.raises(SemiGDAError, match=r"newer version of napari-semigda.*Update"):
        Session.open(session.folder)
    assert files_of(session.folder) == before


def test_a_folder_that_is_no_session_is_told(tmp_path: Path) -> None:
    with pytest.raises(SemiGDAError, match=r"is not a session: it has no semigda\.json"):
        Session.open(tmp_path)


@pytest.mark.parametrize(
    ("place", "value", "field"),
    [
        (("schema_version",), "1", "schema_version"),
        (("schema_version",), 0, "schema_version"),
        (("schema_version",), None, "schema_version"),
        (("classes",), [], "classes"),
        (("classes", 0, "value"), 0, "classes[0].value"),
        (("classes", 0, "name"), 5, "classes[0].name"),
        (("classes", 0, "color"), "red", "classes[0]"),
        (("preset",), 1, "preset"),
        (("settings",), {"working_size": 7}, "settings"),
        (("settings",), {"zoom": "much"}, "settings"),
        (("settings",), {"color": 1}, "settings"),
        (("one_object",), "yes", "one_object"),
        (("validation",), "all", "validation"),
        (("framing_by_objects",), 1, "framing_by_objects"),
        (("items",), {"a": 1}, "items"),
        (("items", 1), "image", "items[1]"),
        (("items", 1, "id"), "../../escape", "items[1].id"),
        (("items", 1, "id"), "IMAGE_1", "items[1].id"),
        (("items", 1, "id"), "x" * 300, "items[1].id"),
        (("items", 1, "path"), "", "items[1].path"),
        (("items", 1, "path"), "a\0b", "items[1].path"),
        (("items", 1, "path"), 3, "items[1].path"),
        (("items", 1, "shape"), [0, 5], "items[1].shape"),
        (("items", 1, "shape"), [1e3, 5], "items[1].shape"),
        (("items", 1, "shape"), [10**9, 10**9], "items[1].shape"),
        (("items", 1, "shape"), [True, 5], "items[1].shape"),
        (("items", 1, "pixel_size"), [1, -1], "items[1].pixel_size"),
        (("items", 1, "pixel_size"), [1, float("inf")], "items[1].pixel_size"),
        (("items", 1, "pixel_size"), [1, 10**400], "items[1].pixel_size"),
        (("items", 1, "index"), -1, "items[1].index"),
    ],
)
def test_a_damaged_field_is_named(session: Session, place: tuple[Any, ...], value: Any, field: str) -> None:
    path = session.folder / "semigda.json"
    values = json.loads(path.read_text())
    inner = values
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    path.write_text(json.dumps(values))
    with pytest.raises(SemiGDAError) as caught:
        Session.open(session.folder)
    assert "semigda.json” is damaged" in str(caught.value)
    assert f"“{field}”" in str(caught.value)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_the_manifest_is_told_or_harmless(session: Session, data: st.DataObject) -> None:
    path = session.folder / "semigda.json"
    original = path.read_bytes()
    content = bytearray(original)
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
    try:
        opened = Session.open(session.folder)
    except SemiGDAError as refusal:
        message = str(refusal)
    else:
        message = f"{path} holds {opened.counts()}"
    finally:
        path.write_bytes(original)
    assert str(session.folder) in message


@pytest.mark.parametrize("name", ["skipped.json", "view.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"5", b"[[1], {}, null]", b'{"current": [1]}', b'["nobody"]'])
def test_damaged_conveniences_do_not_keep_a_session_closed(
    session: Session, name: str, content: bytes
) -> None:
    (session.folder / name).write_bytes(content)
    again = Session.open(session.folder)
    assert again.current_item is None
    assert again.counts()[ItemState.UNLABELED] == 6


def test_a_mask_that_another_program_changed_is_kept_beside_the_one_accepted_over_it(
    session: Session,
) -> None:
    path = session.folder / "labels" / "image_1.tif"
    mine, theirs = square(session, "image_1"), square(session, "image_1", 12)
    session.accept("image_1", mine)
    session.labels.starting_mask("image_1")
    write_labels(path, theirs, (1.0, 1.0), "pixel")
    content = path.read_bytes()

    session.accept("image_1", mine)

    assert path.with_name("image_1.replaced-1.tif").read_bytes() == content
    assert "changed by another program" in session.warnings[-1]
    np.testing.assert_array_equal(session.labels.get("image_1"), mine)
    session.accept("image_1", theirs)
    assert not path.with_name("image_1.replaced-2.tif").exists()


@pytest.mark.parametrize("accepted_before", [True, False])
def test_a_mask_that_another_program_wrote_is_shown_when_the_image_is_looked_at(
    session: Session, accepted_before: bool
) -> None:
    theirs = square(session, "image_1", 12)
    if accepted_before:
        session.accept("image_1", square(session, "image_1"))
    session.labels.starting_mask("image_1")
    write_labels(session.folder / "labels" / "image_1.tif", theirs, (1.0, 1.0), "pixel")

    np.testing.assert_array_equal(session.labels.starting_mask("image_1"), theirs)

    assert session.state("image_1") is ItemState.ACCEPTED
    assert session.warnings == (
        "The accepted mask of image 1.png was changed by another program; please review it.",
    )


def test_a_linked_folder_of_labels_is_refused(tmp_path: Path, session: Session) -> None:
    (session.folder / "labels").rmdir()
    (tmp_path / "outside").mkdir()
    (session.folder / "labels").symlink_to(tmp_path / "outside")
    with pytest.raises(SemiGDAError, match="is a link"):
        Session.open(session.folder)


def test_a_linked_label_file_is_replaced_not_followed(tmp_path: Path, session: Session) -> None:
    outside = tmp_path / "outside.tif"
    outside.write_bytes(b"precious")
    (session.folder / "labels" / "image_1.tif").symlink_to(outside)
    session.accept("image_1", square(session, "image_1"))
    assert outside.read_bytes() == b"precious"
    assert read_labels(session.folder / "labels" / "image_1.tif").sum() == 100


def test_an_item_that_is_none_is_named(session: Session) -> None:
    with pytest.raises(SemiGDAError, match=r"no item “\.\./x”"):
        session.labels.get("../x")


def test_names_of_any_kind_become_items(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    names = [
        "a b.png",
        "ünï.png",
        "emoji 🔬.png",
        "new\nline.png",
        "x" * 200 + ".png",
        "a.b.png",
        "con.png",
        "A B.png",
    ]
    for name in names:
        Image.new("L", (8, 8)).save(folder / name)
    with Session.create(tmp_path / "session", folder) as session:
        for item in session.items:
            session.accept(item, np.ones((8, 8), int))
        again = Session.open(session.folder)
        assert again.counts()[ItemState.ACCEPTED] == len(names)
        assert all(again.picture(item).pixels.shape == (8, 8) for item in again.items)
        written = export_masks(again, tmp_path / "out").written
    assert len({identity(path.name) for path in written}) == len(names)
    assert set(written) == set((tmp_path / "out").glob("*_mask.tif"))
    assert all(read_labels(path).all() for path in written)


def test_a_manifest_that_points_elsewhere_has_nothing_written_there(tmp_path: Path, session: Session) -> None:
    """What a stranger can put into a manifest: places outside of it, and names that lead there."""
    precious = tmp_path / "precious"
    precious.mkdir()
    Image.new("L", (8, 8)).save(precious / "picture.png")
    path = session.folder / "semigda.json"
    values = json.loads(path.read_text())
    names = ["../../precious/picture.png", str(precious / "picture.png"), "a/../../../precious/x", "~/x", "."]
    values["items"] = [
        {**values["items"][0], "id": f"i{number}", "name": name, "path": place, "shape": [8, 8]}
        for number, (name, place) in enumerate(
            (name, place) for name in names for place in ("../precious/picture.png", str(precious / "p.png"))
        )
    ]
    path.write_text(json.dumps(values))
    session.close()
    before = files_of(precious)
    around = {entry.name for entry in tmp_path.iterdir()}
    with Session.open(session.folder) as opened:
        for item in opened.items:
            opened.labels.keep_edit(item, np.zeros((8, 8), np.uint8))
            opened.accept(item, np.ones((8, 8), np.uint8))
        report = export_masks(opened, tmp_path / "out")
        with pytest.raises(SemiGDAError, match="already exist"):
            export_masks(opened, tmp_path / "out")
    assert len(report.written) == len(values["items"])
    assert all(file.resolve().is_relative_to(tmp_path / "out") for file in report.written)
    assert files_of(precious) == before
    assert {entry.name for entry in tmp_path.iterdir()} == around | {"out"}


def test_a_manifest_of_very_many_items_opens_or_names_the_one_that_is_wrong(session: Session) -> None:
    path = session.folder / "semigda.json"
    values = json.loads(path.read_text())
    values["items"] = [{**values["items"][0], "id": f"i{number}"} for number in range(30_000)]
    path.write_text(json.dumps(values))
    session.close()
    with Session.open(session.folder) as opened:
        assert opened.counts()[ItemState.UNLABELED] == 30_000
    values["items"][-1]["id"] = "I0"
    path.write_text(json.dumps(values))
    with pytest.raises(SemiGDAError, match=r"items\[29999\]\.id"):
        Session.open(session.folder)


def two_squares(shape: tuple[int, int]) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[2:12, 2:12], labels[20:24, 20:24] = 1, 1
    return labels


def test_drafts_have_one_object_where_the_session_says_so(session: Session, predict) -> None:
    """Whoever made them, and also those that were stored before; accepted masks stay as they are."""
    labels = two_squares(session.item("image_1").shape)
    session.accept("image_1", labels)
    session.drafts.store("image_2", predict(two_squares(session.item("image_2").shape)), 1)
    assert session.prediction("image_2")[22, 22] == 1
    session.update(one_object=True)
    session.drafts.store("image_3", predict(two_squares(session.item("image_3").shape)), 1)
    for item_id in ("image_2", "image_3"):
        draft = session.prediction(item_id)
        assert (draft[5, 5], draft[22, 22], draft.sum()) == (1, 0, 100)
        np.testing.assert_array_equal(session.drafts.see(item_id), draft)
        np.testing.assert_array_equal(session.labels.starting_mask(item_id), draft)
    np.testing.assert_array_equal(session.labels.get("image_1"), labels)
    session.update(one_object=False)
    assert session.prediction("image_2")[22, 22] == 1


def test_masks_copied_with_decomposed_names_are_read_and_replaced(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name in ("é.png", "ü.png"):
        Image.new("L", (4, 4)).save(tmp_path / "pictures" / name)
    with Session.create(tmp_path / "session", tmp_path / "pictures") as session:
        for item in session.items:
            session.accept(item, np.ones((4, 4), np.uint8))
    labels = tmp_path / "session" / "labels"
    for file in list(labels.glob("*.tif")):
        file.rename(labels / unicodedata.normalize("NFD", file.name))
    with Session.open(tmp_path / "session") as session:
        assert all(session.labels.get(item) is not None for item in session.items)
        session.accept("é", np.zeros((4, 4), np.uint8))
        assert export_masks(session, tmp_path / "out").left_out == []
    with Session.open(tmp_path / "session") as session:
        masks = [session.labels.get(item) for item in session.items]
        assert [int(mask.sum()) for mask in masks] == [0, 16]
    assert len(list(labels.iterdir())) == 2


def test_files_that_are_not_read_and_linked_folders_are_told_with_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.dcm").write_bytes(b"x")
        (folder / f"IM{number}.1.2.840").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    (folder / "more").symlink_to(tmp_path)
    (folder / "away").symlink_to(tmp_path / "a share that is not mounted")
    with pytest.raises(SemiGDAError, match=r"4 without ending, 4 \.dcm, 1 \.txt.*2 linked folders"):
        Session.create(tmp_path / "session", folder)
    Image.new("L", (4, 4)).save(folder / "a.png")
    with Session.create(tmp_path / "session", folder) as session:
        told = " ".join(reason for _, reason in session.left_out)
    assert "4 without ending, 4 .dcm: these files were skipped" in told
    assert "more" in told
    assert ".txt" not in told


@pytest.mark.parametrize("name", [*renamed.PATHS, "has_something_to_learn", "new_masks", "labeled_examples"])
def test_a_former_name_works_with_a_warning(session: Session, name: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"Session.{name}"):
        getattr(session, name)


def test_settings_can_still_be_assigned(session: Session) -> None:
    for name, value in (("one_object", True), ("preset", "taesd"), ("framing_by_objects", False)):
        with pytest.warns(DeprecationWarning, match="Session.update"):
            setattr(session, name, value)
        assert getattr(Session.open(session.folder), name) == value
    with pytest.raises(TypeError, match="no setting color"):
        session.update(color="red")
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        session.colour  # noqa: B018


def test_masks_can_still_be_read_by_a_call(session: Session) -> None:
    session.accept("image_1", square(session, "image_1"))
    with pytest.warns(DeprecationWarning, match="labels.get"):
        np.testing.assert_array_equal(session.labels("image_1"), session.labels["image_1"])
    with pytest.raises(KeyError):
        session.labels["image_2"]
