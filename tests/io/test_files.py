"""Files that somebody else put there are opened only where they are what they seem."""

import json
import os
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_semigda.errors import SemiGDAError
from napari_semigda.io import files
from napari_semigda.io.atomic import append_line
from napari_semigda.io.files import (
    check_own,
    check_regular,
    is_own_file,
    json_or_none,
    open_own,
    parse_json,
    read_json,
    read_json_lines,
    read_own,
)

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and devices in folders are POSIX's")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture(params=[True, False], ids=["by folders", "by name"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open as POSIX can, and as Windows has to."""
    if not request.param:
        monkeypatch.setattr(files, "_BY_FOLDERS", False)
        monkeypatch.setattr(files, "_NO_LINK", 0)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path has a hundred bytes at most
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


SPECIAL: dict[str, Callable[[Path], None]] = {
    "pipe": pipe,
    "socket": bound_socket,
    "folder": Path.mkdir,
    "link to a file": lambda path: path.symlink_to(path.with_name("victim")),
    "link to a folder": lambda path: path.symlink_to(path.parent),
    "link to nothing": lambda path: path.symlink_to(path.with_name("nowhere")),
    "link to itself": lambda path: path.symlink_to(path),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to a process's file": lambda path: path.symlink_to("/proc/self/environ"),
}


@posix
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_of_its_own_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"1\n")
    path = tmp_path / "own.json"
    SPECIAL[kind](path)
    for refused in (
        lambda: open_own(path).close(),
        lambda: open_own(path, mode="a+b").close(),
        lambda: read_own(path),
        lambda: read_json(path),
        lambda: list(read_json_lines(path)),
        lambda: check_own(path),
        lambda: append_line(path, "line"),
    ):
        with pytest.raises(SemiGDAError, match=r"own\.json"):
            refused()
    assert not is_own_file(path)
    assert json_or_none(path) is None
    assert victim.read_bytes() == b"1\n"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.usefixtures("way")
def test_links_above_the_folder_are_followed_and_links_below_it_are_not(tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "rounds" / "001").mkdir(parents=True)
    (real / "rounds" / "001" / "round.json").write_text("{}")
    (tmp_path / "link").symlink_to(real, target_is_directory=True)
    (real / "linked").symlink_to(real / "rounds", target_is_directory=True)
    folder = tmp_path / "link"
    assert read_json(folder / "rounds" / "001" / "round.json", folder) == {}
    with pytest.raises(SemiGDAError, match="linked” is a link"):
        read_json(folder / "linked" / "001" / "round.json", folder)
    with pytest.raises(SemiGDAError, match="linked” is a link"):
        append_line(folder / "linked" / "001" / "curves.jsonl", "line", within=folder)
    assert not (real / "rounds" / "001" / "curves.jsonl").exists()


@posix
def test_a_folder_that_becomes_a_link_after_the_check_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "inside").symlink_to("elsewhere")
    monkeypatch.setattr(files, "check_own", lambda *_, **__: None)
    with pytest.raises(OSError, match="inside"):
        open_own(tmp_path / "inside" / "file", tmp_path, mode="a+b")
    assert not (tmp_path / "elsewhere" / "file").exists()


@posix
def test_a_person_may_choose_a_link_but_no_pipe(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text("[1]")
    (tmp_path / "link.json").symlink_to("file.json")
    os.mkfifo(tmp_path / "pipe")
    assert read_json(tmp_path / "link.json", links=True) == [1]
    check_regular(tmp_path / "link.json")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(SemiGDAError, match=r"a pipe|a device"):
            read_json(path, links=True)
        with pytest.raises(SemiGDAError, match=r"a pipe|a device"):
            check_regular(path)


def test_adding_to_a_file_with_a_second_name_leaves_the_other_alone(tmp_path: Path) -> None:
    other, own = tmp_path / "other", tmp_path / "journal.jsonl"
    other.write_text("kept\n")
    os.link(other, own)
    append_line(own, "added")
    assert other.read_text() == "kept\n"
    assert own.read_text() == "kept\nadded\n"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"a":' * 200_000,
        "[" * 200_000 + "]" * 200_000,
        "1" + "0" * 5000,
        "",
        "\x00",
        "{",
        "nul",
    ],
    ids=lambda text: text[:3],
)
def test_whatever_is_wrong_with_json_is_a_value_error(text: str) -> None:
    for given_text in (text, text.encode()):
        with pytest.raises(ValueError, match=r"."):
            parse_json(given_text)


@pytest.mark.parametrize("piece", [b"[],", b"{},", b'[[[["",', b"1,"])
def test_json_takes_no_more_memory_than_a_bound(tmp_path: Path, piece: bytes) -> None:
    path = tmp_path / "huge.json"
    path.write_bytes(b"[" + piece * (48 * 2**20 // len(piece)) + b"0]")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more values than fit"):
            read_json(path)
        assert tracemalloc.get_traced_memory()[1] < 256 * 2**20
    finally:
        tracemalloc.stop()


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    for read in (read_json, lambda path: list(read_json_lines(path))):
        with pytest.raises(SemiGDAError, match="larger than the"):
            read(path)


def test_a_line_without_end_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"1\n[" + b" " * (3 * 2**20) + b"\n" + b"[" * 5000 + b"\n2\ntorn")
    assert list(read_json_lines(path)) == [1, 2]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(JSON))
def test_lines_come_back_as_they_were_added(tmp_path: Path, values: list[object]) -> None:
    path = tmp_path / "lines.jsonl"
    path.unlink(missing_ok=True)
    for value in values:
        append_line(path, json.dumps(value), durable=False)
    assert list(read_json_lines(path) if values else []) == values


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=50) | st.text('[]{}",:0123eE.-nulltrue \\u', max_size=50).map(str.encode))
def test_any_bytes_are_json_or_a_value_error(content: bytes) -> None:
    try:
        parse_json(content)
    except ValueError:
        return
