import shutil

import numpy as np
import pytest
from PIL import Image

from napari_semigda.errors import Cancelled
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session


def test_moved_pictures_are_found_by_their_names_and_stay_found(session, pictures, tmp_path):
    expected = {item.id: session.picture(item).pixels for item in session.items}
    session.skip("image_2")
    session.accept("image_1", np.ones(session.item("image_1").shape, np.uint8))
    (tmp_path / "archive").mkdir()
    shutil.move(pictures, tmp_path / "archive" / "november")
    assert len(session.images.missing()) == 6

    relocation = session.images.find_moved(tmp_path / "archive")

    assert [item.id for item in relocation.found] == list(expected)
    assert relocation.missing == ()
    session.close()
    again = Session.open(session.folder)
    for one in (session, again):
        assert one.images.missing() == []
        for item_id, pixels in expected.items():
            np.testing.assert_array_equal(one.picture(item_id).pixels, pixels)
        assert one.state("image_1") is ItemState.ACCEPTED
        assert one.item("image_2").skipped


def test_looking_tells_how_far_it_is_and_can_be_cancelled(session, pictures, tmp_path):
    shutil.move(pictures, tmp_path / "moved")
    told = []
    with pytest.raises(Cancelled):
        session.images.find_moved(
            tmp_path / "moved", progress=lambda *far: told.append(far), cancelled=lambda: len(told) == 2
        )
    assert [done for done, _ in told] == [1, 2]
    assert len(session.images.missing()) == 6


def test_of_files_of_one_name_the_one_in_the_likelier_folder_is_taken(tmp_path):
    for folder, gray in (("before/monday", 1), ("before/tuesday", 2)):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("L", (9, 8), gray).save(tmp_path / folder / "scan.png")
    session = Session.create(tmp_path / "session", tmp_path / "before")
    shutil.move(tmp_path / "before", tmp_path / "after")

    session.images.find_moved(tmp_path / "after")

    assert [int(session.picture(item).pixels[0, 0]) for item in session.items] == [1, 2]


def test_what_is_not_found_or_not_the_same_is_told_with_the_reason(session, pictures, tmp_path):
    old = {item.id: item.path for item in session.items}
    there = tmp_path / "there"
    shutil.move(pictures, there)
    (there / "image 1.png").unlink()
    Image.new("L", (5, 4)).save(there / "image 2.png")
    (there / "image 3.png").write_bytes(b"no picture")
    shutil.copytree(there / "more", there / "other" / "more")  # the stack, twice with the same folder above

    relocation = session.images.find_moved(there)

    assert relocation.found == ()
    told = {item.id: reason for item, reason in relocation.missing}
    assert told["image_1"] == "There is no file “image 1.png” there."
    assert "is another image: it has 5 × 4 pixels" in told["image_2"]
    assert "image 3.png" in told["image_3"]
    assert "several files “stack.tif”" in told["stack_p0001"]
    assert {item.id: item.path for item in session.items} == old


def _frames(root, *names):
    for gray, name in enumerate(names, start=1):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 8), gray).save(root / name)


def _grays(session):
    missing = {item.id for item in session.images.missing()}
    return [None if item.id in missing else int(session.picture(item).pixels[0, 0]) for item in session.items]


def test_one_file_is_not_the_picture_of_two_items(tmp_path):
    _frames(tmp_path / "images", "p1/f.png", "p2/f.png")
    session = Session.create(tmp_path / "session", tmp_path / "images")
    (tmp_path / "moved").mkdir()
    shutil.move(tmp_path / "images/p1/f.png", tmp_path / "moved/f.png")
    (tmp_path / "images/p2/f.png").unlink()

    assert session.images.find_moved(tmp_path / "moved").found == ()
    shutil.move(tmp_path / "moved/f.png", tmp_path / "images/p1/f.png")
    shutil.move(tmp_path / "images/p1", tmp_path / "moved/p1")
    relocation = session.images.find_moved(tmp_path / "moved")

    assert [item.name for item in relocation.found] == ["p1/f.png"]
    assert "fits p1/f.png better" in relocation.missing[0][1]
    assert _grays(session) == [1, None]


def test_a_file_of_another_item_or_a_copy_of_it_is_not_taken(tmp_path):
    _frames(tmp_path / "images", "p1/f.png", "p2/f.png")
    session = Session.create(tmp_path / "session", tmp_path / "images")
    (tmp_path / "images/p2/f.png").unlink()
    shutil.copytree(tmp_path / "images/p1", tmp_path / "backup/p1")
    (tmp_path / "links/p2").mkdir(parents=True)
    (tmp_path / "links/p2/f.png").hardlink_to(tmp_path / "images/p1/f.png")

    cases = (("images", "is the image of p1/f.png"), ("backup", "better"), ("links", "is the image"))
    for folder, words in cases:
        relocation = session.images.find_moved(tmp_path / folder)
        assert relocation.found == ()
        assert words in relocation.missing[0][1]
    assert _grays(session) == [1, None]


def test_a_frame_of_another_folder_is_taken_only_from_that_folder_itself(tmp_path):
    _frames(tmp_path / "images", "p1/f1.png", "p2/f2.png")
    session = Session.create(tmp_path / "session", tmp_path / "images")
    shutil.move(tmp_path / "images/p1/f1.png", tmp_path / "images/p2/f1.png")

    relocation = session.images.find_moved(tmp_path / "images")
    assert "folder of other images" in relocation.missing[0][1]
    assert len(session.images.find_moved(tmp_path / "images/p2").found) == 1
    assert _grays(session) == [1, 2]


def test_folders_that_swapped_their_names_keep_their_pictures_by_path(tmp_path):
    _frames(tmp_path / "images", "p1/f.png", "p2/f.png")
    session = Session.create(tmp_path / "session", tmp_path / "images")
    shutil.move(tmp_path / "images", tmp_path / "moved")
    session.images.find_moved(tmp_path)
    assert _grays(session) == [1, 2]


def test_images_added_in_the_same_opening_stay_and_their_files_are_theirs(tmp_path):
    _frames(tmp_path / "images", "a.png", "b.png")
    _frames(tmp_path / "more", "c.png", "b.png")
    session = Session.create(tmp_path / "session", tmp_path / "images")
    (tmp_path / "images/b.png").unlink()
    session.add_images([tmp_path / "more/c.png", tmp_path / "more/b.png"])

    relocation = session.images.find_moved(tmp_path / "more")

    assert relocation.found == ()
    session.close()
    again = Session.open(session.folder)
    assert [item.name for item in again.items] == ["a.png", "b.png", "more/c.png", "more/b.png"]
    assert len({item.path for item in again.items}) == 4
    again.close()


def test_added_images_are_found_again_too(tmp_path):
    _frames(tmp_path / "images", "a.png")
    _frames(tmp_path / "more", "c.png")
    session = Session.create(tmp_path / "session", tmp_path / "images")
    session.add_images(tmp_path / "more")
    shutil.move(tmp_path / "more", tmp_path / "moved")
    assert [item.name for item in session.images.find_moved(tmp_path / "moved").found] == ["c.png"]
    session.close()
    again = Session.open(session.folder)
    assert again.images.missing() == []
    again.close()


def test_a_mask_in_its_folder_is_not_taken_for_the_image_of_its_name(tmp_path):
    (tmp_path / "data" / "masks").mkdir(parents=True)
    for name in ("a.png", "b.png", "masks/b.png"):
        Image.new("L", (9, 8), len(name)).save(tmp_path / "data" / name)
    session = Session.create(tmp_path / "session", [tmp_path / "data/a.png", tmp_path / "data/b.png"])
    (tmp_path / "data/b.png").unlink()
    relocation = session.images.find_moved(tmp_path / "data")
    assert relocation.found == ()
    assert "folder of masks" in relocation.missing[0][1]
    assert len(session.images.find_moved(tmp_path / "data/masks").found) == 1  # it was pointed at


def test_of_names_that_differ_in_case_alone_each_finds_its_own(tmp_path):
    names = ("A.png", "a.png", "b/F.png")
    for gray, name in enumerate(names):
        (tmp_path / "before" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 8), gray).save(tmp_path / "before" / name)
    if (tmp_path / "before/A.PNG").exists():
        pytest.skip("this file system does not tell case apart")
    session = Session.create(tmp_path / "session", tmp_path / "before")
    grays = {item.id: session.picture(item).pixels[0, 0] for item in session.items}
    shutil.move(tmp_path / "before", tmp_path / "after")
    (tmp_path / "after/b/F.png").rename(tmp_path / "after/b/f.png")
    (tmp_path / "after/c").mkdir()
    Image.new("L", (9, 8), 99).save(tmp_path / "after/c/F.png")  # the folder counts before the case
    session.images.find_moved(tmp_path / "after")
    assert {item.id: session.picture(item).pixels[0, 0] for item in session.items} == grays
