"""A file is the old one or the new one, and nothing between."""

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import append_line, atomic_file, remove_abandoned, write_bytes, write_json


def test_the_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "mask.tif"
    with atomic_file(target) as temporary:
        temporary.write_bytes(b"half")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.suffix == ".tif"
    assert target.read_bytes() == b"half"
    assert os.listdir(tmp_path) == ["mask.tif"]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "mask.tif"
    write_bytes(target, b"old")
    with pytest.raises(KeyError), atomic_file(target) as temporary:
        temporary.write_bytes({}[temporary.write_bytes(b"half")])
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["mask.tif"]


def test_a_refusing_system_is_told_in_a_sentence_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(SemiGDAError, match=r"gone.mask\.tif” could not be written: .*try again"):
        write_bytes(tmp_path / "gone" / "mask.tif", b"x")


def test_a_link_in_the_way_is_replaced_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    link = tmp_path / "link"
    link.symlink_to(elsewhere)
    write_bytes(link, b"new")
    assert elsewhere.read_bytes() == b"precious"
    assert link.read_bytes() == b"new"
    assert not link.is_symlink()


@pytest.mark.skipif(os.name != "posix", reason="modes are a matter of POSIX systems")
def test_files_get_the_mode_that_other_programs_would_give_them(tmp_path: Path) -> None:
    (tmp_path / "by_hand").write_bytes(b"")
    write_bytes(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "by_hand").stat().st_mode


@settings(max_examples=30, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json(path, value)
    assert json.loads(path.read_bytes()) == value


def test_json_that_others_could_not_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "value.json", {"loss": float("nan")})
    assert os.listdir(tmp_path) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"))), st.binary(max_size=8))
def test_lines_added_after_a_torn_one_are_whole(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], torn: bytes
) -> None:
    path = tmp_path_factory.mktemp("lines") / "journal.jsonl"
    path.write_bytes(torn)
    for line in lines:
        append_line(path, line)
    content = path.read_bytes()
    assert content.startswith(torn)
    if lines:
        assert content.endswith(b"".join(line.encode() + b"\n" for line in lines))
        assert content[len(torn) :].startswith(b"\n") == (
            (bool(torn) and not torn.endswith(b"\n")) or lines[0] == ""
        )


@pytest.mark.parametrize("written", [0, time.time() + 7200], ids=["long ago", "before the clock went back"])
def test_only_old_temporary_files_are_swept_away(tmp_path: Path, written: float) -> None:
    write_bytes(tmp_path / "kept.tif", b"x")
    with atomic_file(tmp_path / "being_written.tif") as young:
        young.write_bytes(b"x")
        old = tmp_path / young.name.replace(young.stem, ".semigda-0123")
        old.write_bytes(b"half")
        os.utime(old, (written, written))
        os.utime(tmp_path / "kept.tif", (0, 0))
        remove_abandoned(tmp_path)
        assert young.exists()
        assert not old.exists()
    assert sorted(os.listdir(tmp_path)) == ["being_written.tif", "kept.tif"]
