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
    assert len(session.missing_pictures()) == 6

    relocation = session.find_moved_pictures(tmp_path / "archive")

    assert [item.id for item in relocation.found] == list(expected)
    assert relocation.missing == ()
    session.close()
    again = Session.open(session.folder)
    for one in (session, again):
        assert one.missing_pictures() == []
        for item_id, pixels in expected.items():
            np.testing.assert_array_equal(one.picture(item_id).pixels, pixels)
        assert one.state("image_1") is ItemState.ACCEPTED
        assert one.item("image_2").skipped


def test_looking_tells_how_far_it_is_and_can_be_cancelled(session, pictures, tmp_path):
    shutil.move(pictures, tmp_path / "moved")
    told = []
    with pytest.raises(Cancelled):
        session.find_moved_pictures(
            tmp_path / "moved", progress=lambda *far: told.append(far), cancelled=lambda: len(told) == 2
        )
    assert [done for done, _ in told] == [1, 2]
    assert len(session.missing_pictures()) == 6


def test_of_files_of_one_name_the_one_in_the_likelier_folder_is_taken(tmp_path):
    for folder, grey in (("before/monday", 1), ("before/tuesday", 2)):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("L", (9, 8), grey).save(tmp_path / folder / "scan.png")
    session = Session.create(tmp_path / "session", tmp_path / "before")
    shutil.move(tmp_path / "before", tmp_path / "after")

    session.find_moved_pictures(tmp_path / "after")

    assert [int(session.picture(item).pixels[0, 0]) for item in session.items] == [1, 2]


def test_what_is_not_found_or_not_the_same_is_told_with_the_reason(session, pictures, tmp_path):
    old = {item.id: item.path for item in session.items}
    there = tmp_path / "there"
    shutil.move(pictures, there)
    (there / "image 1.png").unlink()
    Image.new("L", (5, 4)).save(there / "image 2.png")
    (there / "image 3.png").write_bytes(b"no picture")
    shutil.copytree(there / "more", there / "other" / "more")  # the stack, twice with the same folder above

    relocation = session.find_moved_pictures(there)

    assert relocation.found == ()
    told = {item.id: reason for item, reason in relocation.missing}
    assert told["image_1"] == "There is no file “image 1.png” there."
    assert "is another picture: it has 5 × 4 pixels" in told["image_2"]
    assert "image 3.png" in told["image_3"]
    assert "several files “stack.tif”" in told["stack_p0001"]
    assert {item.id: item.path for item in session.items} == old
