"""Ids are safe file names everywhere, and no two are alike anywhere."""

import unicodedata
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_semigda.session.items import (
    Item,
    identity,
    is_safe_id,
    items_told_apart,
    stored_path,
    tell_apart,
    unique_ids,
)

ANY_NAME = st.text(max_size=300) | st.sampled_from(
    [
        "a",
        "A",
        "ä",
        "a\u0308",
        "a-2",
        "CON",
        "con",
        "nul.txt",
        "..",
        ".",
        "/",
        "\n",
        "ß",
        "ss",
        "ﬁ",
        "fi",
        "",
        " ",
    ]
)


@given(st.lists(ANY_NAME, max_size=30))
def test_ids_of_any_names_are_safe_and_different(names: list[str]) -> None:
    ids = unique_ids(names)
    assert len(ids) == len(names)
    assert all(is_safe_id(one) for one in ids)
    assert len({identity(one) for one in ids}) == len(ids)
    for folder_form in ("NFC", "NFD"):
        assert len({unicodedata.normalize(folder_form, one).lower() for one in ids}) == len(ids)
    assert all(len(f"{one}.replaced-99.tif".encode()) < 255 for one in ids)


@given(st.lists(ANY_NAME, max_size=10))
def test_the_same_names_give_the_same_ids(names: list[str]) -> None:
    assert unique_ids(names) == unique_ids(names)


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["image 1", "image_1", "IMAGE 1"], ["image_1", "image_1-2", "IMAGE_1-3"]),
        (["a", "a", "a-2", "a"], ["a", "a-2", "a-2-2", "a-3"]),
        (["Zelle é", "细胞 1", "🔬"], ["Zelle_é", "细胞_1", "image"]),
        (["../../etc/passwd", "aux"], ["etc_passwd", "aux_"]),
    ],
)
def test_ids_can_be_read_by_people(names: list[str], ids: list[str]) -> None:
    assert unique_ids(names) == ids


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a/b", "a\\b", "/a", "a\n", "a b", "a.tif", "-a", "nul", "a" * 200, "e\u0301", "a\0"],
)
def test_other_names_are_no_ids(text: str) -> None:
    assert not is_safe_id(text)


def test_paths_near_the_session_are_relative_and_others_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "session"
    folder.mkdir(parents=True)
    assert stored_path(folder / "images" / "1.png", folder) == "images/1.png"
    assert stored_path(tmp_path / "a" / "b" / "images" / "1.png", folder) == "../images/1.png"
    assert stored_path(tmp_path / "a" / "1.png", folder) == "../../1.png"
    assert stored_path(tmp_path / "1.png", folder) == (tmp_path.resolve() / "1.png").as_posix()


def test_a_linked_session_folder_finds_its_pictures(tmp_path: Path) -> None:
    """What “..” means depends on where the folder really is."""
    real = tmp_path / "far" / "away" / "session"
    real.mkdir(parents=True)
    picture = tmp_path / "far" / "away" / "1.png"
    picture.touch()
    (tmp_path / "link").symlink_to(real)
    stored = stored_path(picture, tmp_path / "link")
    assert (real / stored).resolve() == picture.resolve()


def test_names_are_told_apart_by_as_many_folders_as_needed() -> None:
    names = ["f.png", "f.png", "g.png", "é.png", "e\u0301.png"]
    paths = ["/d/p1/im/f.png", "/d/p2/im/f.png", "/d/p2/im/g.png", "/x/é.png", "/x/e\u0301.png"]
    assert tell_apart(names, list(map(PurePath, paths))) == [
        *("p1/im/f.png", "p2/im/f.png", "p2/im/g.png", "é.png", "e\u0301.png (2)")
    ]
    assert tell_apart(["f.png"], [PurePath("/d/f.png")], {"f.png", "d/f.png"}) == ["f.png (2)"]


def test_items_that_an_earlier_version_called_alike_are_told_apart() -> None:
    items = [
        Item(id=str(number), name=name, path=path, shape=(1, 1), index=index)
        for number, (name, path, index) in enumerate(
            [
                ("s.tif · z 1", "../p1/s.tif", 0),
                ("s.tif · z 2", "../p1/s.tif", 1),
                ("s.tif · z 1", "../p2/s.tif", 0),
                ("layer", "images/layer.ome.tif", 0),
                ("layer", "images/layer-2.ome.tif", 0),
            ]
        )
    ]
    assert [item.name for item in items_told_apart(items)] == [
        *("p1/s.tif · z 1", "p1/s.tif · z 2", "p2/s.tif · z 1", "layer", "layer (2)")
    ]
    assert items_told_apart(items[:2]) == tuple(items[:2])
