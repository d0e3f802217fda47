"""A session that somebody else made: nothing is written outside of it, and nothing hangs."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.predictor import Prediction
from napari_semigda.io.pictures import list_planes, read_plane
from napari_semigda.session.export import export_masks
from napari_semigda.session.rounds import read_curves, read_record
from napari_semigda.session.session import Session
from tests.stores import write_store

posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes need rights on Windows")
pytestmark = posix

SMALL_FILES = ["skipped.json", "view.json", "journal.jsonl", "in-use.json", "session.lock"]
ROUND_FILES = ["round.json", "curves.jsonl", "model.safetensors", "state.safetensors"]
FILES = [
    *SMALL_FILES,
    *(f"rounds/001/{name}" for name in ROUND_FILES),
    "rounds/000/origin.json",
    "predictions/latents.safetensors",
    "predictions/image_2.json",
    "predictions/image_2.tif",
    "edits/image_2.tif",
    "labels/image_1.tif",
    "labels/image_3.tif",
    "semigda.v1.json",
]
RECORD = {
    "number": 1,
    "status": "stopped",
    "stages": [2],
    "recipe": {},
    "budget": {},
    "seed": 0,
    "warm": True,
    "started_from": "",
    "labeled": ["image_1"],
    "unlabeled": 3,
}


@pytest.fixture
def folder(labeled: Session) -> Path:
    labeled.close()
    return labeled.folder


def use(folder: Path) -> list[str]:
    """Do everything with a session that reads or writes its files; return what was refused."""
    refused: list[str] = []

    def attempt(action: Callable[[], object]) -> None:
        try:
            action()
        except SemiGDAError as error:
            refused.append(str(error))

    with Session.open(folder) as session:
        attempt(session.states)
        attempt(session.labels.journal)
        attempt(lambda: [session.labels.effort(item) for item in session.items])
        attempt(lambda: session.rounds)
        attempt(session.drafts.scores)
        attempt(session.rounds.last_model)
        for item in session.items[:3]:
            mask = np.ones(item.shape, np.uint8)
            attempt(lambda item=item: session.labels.starting_mask(item))
            attempt(lambda item=item, mask=mask: session.labels.keep_edit(item, mask))
            attempt(lambda item=item, mask=mask: session.accept(item, mask))
            assert np.array_equal(session.labels.get(item), mask)
        attempt(lambda: session.classes.add("new"))
        refused += session.warnings
    with Session.open(folder) as session:
        assert session.counts()
    return refused


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["file", "empty file", "nothing", "pipe", "device", "folder"])
def test_no_file_of_a_session_is_followed_or_waited_for(folder: Path, name: str, kind: str) -> None:
    elsewhere = folder.parent / "elsewhere"
    (elsewhere / "kept").mkdir(parents=True)
    (elsewhere / "victim").write_bytes(b"theirs\n" if kind == "file" else b"")
    before = snapshot(elsewhere)
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    match kind:
        case "file" | "empty file":
            place.symlink_to(elsewhere / "victim")
        case "nothing":
            place.symlink_to(elsewhere / "new")
        case "pipe":
            os.mkfifo(place)
        case "device":
            place.symlink_to("/dev/zero")
        case "folder":
            place.mkdir()
    if name == "session.lock" or (name, kind) == ("in-use.json", "folder"):
        with Session.open(folder) as session:
            assert session.read_only is not None
            with pytest.raises(SemiGDAError, match="view everything here"):
                session.accept("image_1", np.zeros(session.item("image_1").shape, np.uint8))
    else:
        told = use(folder)
        if name in ("journal.jsonl", "skipped.json", "rounds/001/model.safetensors"):
            assert any(Path(name).name in sentence for sentence in told)
    assert snapshot(elsewhere) == before
    assert not (elsewhere / "new").exists()


@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe", "folder", "device"])
def test_a_manifest_that_is_no_file_is_refused(folder: Path, kind: str) -> None:
    manifest = folder / "semigda.json"
    moved = manifest.rename(folder.parent / "moved.json")
    {
        "link": lambda: manifest.symlink_to(moved),
        "link to nothing": lambda: manifest.symlink_to("nowhere"),
        "pipe": lambda: os.mkfifo(manifest),
        "folder": manifest.mkdir,
        "device": lambda: manifest.symlink_to("/dev/zero"),
    }[kind]()
    with pytest.raises(SemiGDAError, match=r"semigda\.json"):
        Session.open(folder)


@pytest.mark.parametrize("name", ["labels", "edits", "predictions", "rounds", "rounds/001", "rounds/002"])
@pytest.mark.parametrize("dangling", [False, True])
def test_no_folder_below_a_session_may_be_a_link(folder: Path, name: str, dangling: bool) -> None:
    place, elsewhere = folder / name, folder.parent / "elsewhere"
    if not dangling:
        shutil.copytree(folder / "labels", elsewhere)
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(elsewhere)
    with pytest.raises(SemiGDAError, match=f"{Path(name).name}” is a link to another location"):
        Session.open(folder)


def test_images_are_not_written_through_a_link(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    pixels = np.zeros((20, 20), np.uint8)
    for place in (folder, tmp_path / "fresh"):
        place.mkdir(exist_ok=True)
        (place / "images").symlink_to(tmp_path / "elsewhere")
    with Session.open(folder) as session, pytest.raises(SemiGDAError, match="images” is a link"):
        session.add_arrays({"new": pixels})
    with pytest.raises(SemiGDAError, match="images” is a link"):
        Session.from_arrays(tmp_path / "fresh", {"new": pixels})
    assert not list((tmp_path / "elsewhere").iterdir())


def test_ones_own_session_opens_through_links(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "data").symlink_to(folder.parent)
    (tmp_path / "alias").symlink_to(tmp_path / "data" / folder.name)
    for place in (tmp_path / "data" / folder.name, tmp_path / "alias", tmp_path / "alias" / "semigda.json"):
        with Session.open(place) as session:
            assert session.read_only is None
            session.accept("image_1", np.ones(session.item("image_1").shape, np.uint8))
            assert not session.warnings


def test_locking_empties_no_file_that_has_a_second_name(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "victim").write_text("theirs")
    (folder / "session.lock").unlink()
    os.link(tmp_path / "victim", folder / "session.lock")
    with Session.open(folder) as session:
        assert "second name" in (session.read_only or "")
    assert (tmp_path / "victim").read_text() == "theirs"


@pytest.mark.parametrize("linked", [".semigda_export.jsonl", "more"])
@pytest.mark.parametrize("dangling", [False, True])
def test_an_export_does_not_follow_links_below_its_folder(
    tmp_path: Path, folder: Path, linked: str, dangling: bool
) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    if not dangling:
        elsewhere.mkdir() if linked == "more" else elsewhere.write_text("theirs\n")
    (out / linked).symlink_to(elsewhere)
    with Session.open(folder) as session, pytest.raises(SemiGDAError, match="is a link"):
        export_masks(session, out)
    assert dangling is not elsewhere.exists()
    if elsewhere.is_file():
        assert elsewhere.read_text() == "theirs\n"
    elif elsewhere.is_dir():
        assert not list(elsewhere.iterdir())


def test_a_linked_round_is_not_trained_into(folder: Path, predict: Callable[..., Prediction]) -> None:
    """Where the link comes while the session is open, drafts stay in the session, too."""
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    with Session.open(folder) as session:
        (folder / "predictions").rename(folder / "before")
        (folder / "predictions").symlink_to(elsewhere)
        item = session.item("image_2")
        with pytest.raises(SemiGDAError, match="is a link"):
            session.drafts.store(item, predict(np.ones(item.shape, np.uint8)), 2)
    assert not list(elsewhere.iterdir())


# Small files with anything in them -----------------------------------------------------------------------

DEEP = "[" * 100_000
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(
        ["../../x", "\x1b[31m", "\u202e", "\ud800", 10**400, [[[]]], {"a": {}}, [None], "x" * 10_000]
    ),
    st.lists(st.integers() | st.text(max_size=3), max_size=3),
)


def fuzzed(values: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Give some fields another value, leave some out, or give something else altogether."""
    changed = st.dictionaries(st.sampled_from(sorted(values)), ODD, min_size=1, max_size=2)
    return changed.map(lambda fields: {**values, **fields}) | ODD


ENTRY = {
    "time": "t",
    "item": "image_1",
    "event": "accepted",
    "dice": 0.5,
    "changed": 0.1,
    "round": 1,
    "note": "",
}
VIEW = {
    "current": "image_1",
    "order": "",
    "round_after": 1,
    "round_seconds": 1.0,
    "round_steps": 0,
    "folded": ["a"],
}
CONTENTS = {
    "skipped.json": ODD,
    "view.json": fuzzed(VIEW),
    "journal.jsonl": fuzzed(ENTRY),
    "rounds/001/round.json": fuzzed(RECORD),
    "predictions/image_2.json": fuzzed({"score": 0.5, "round": 1, "uncertainty": 0.2}),
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzzed")
    arrays = {f"image_{number}": np.zeros((8, 8), np.uint8) for number in (1, 2)}
    with Session.from_arrays(folder / "s", arrays) as session:
        mask = np.ones((8, 8), np.uint8)
        session.accept("image_1", mask)
        shutil.copy(folder / "s/labels/image_1.tif", folder / "s/predictions/image_2.tif")
    return folder / "s"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_small_files_may_hold_anything(opened: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(CONTENTS)))
    text = json.dumps(data.draw(CONTENTS[name]))
    place = opened / name
    place.parent.mkdir(exist_ok=True)
    place.write_text(text if not name.endswith("l") else f"{text}\n{json.dumps(ENTRY)}\n")
    try:
        with Session.open(opened) as session:
            session.states()
            assert all(0 <= (entry.dice or 0) <= 1 for entry in session.labels.journal())
            assert [session.labels.effort(item) for item in session.items]
            assert all(record.seconds >= 0 and len(record.labeled) >= 0 for record in session.rounds)
            session.drafts.scores()
            session.queue()
            assert isinstance(session.view.round_seconds, int | float)
            assert session.labels.get("image_1") is not None
    finally:
        place.unlink()


@pytest.mark.parametrize("name", [*FILES, "rounds/001/curves.jsonl"])
@pytest.mark.parametrize("content", [DEEP, "9" * 5000, ""], ids=["deep", "number", "empty"])
def test_nothing_in_a_file_stops_the_work(folder: Path, name: str, content: str) -> None:
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)
    use(folder)


@pytest.mark.parametrize("field", ["id", "name", "path", "unit"])
def test_half_a_pair_of_code_units_is_refused_in_words(opened: Path, field: str) -> None:
    manifest = opened / "semigda.json"
    values = json.loads(manifest.read_bytes())
    values["items"][0][field] = "\ud800"
    manifest.write_text(json.dumps(values))
    with pytest.raises(SemiGDAError, match=r"semigda\.json"):
        Session.open(opened)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_manifest_opens_or_is_refused_in_words(opened: Path, data: st.DataObject) -> None:
    manifest = opened / "semigda.json"
    original = manifest.read_bytes()
    values = json.loads(original)
    part = data.draw(st.sampled_from(["", "items", "classes", "settings"]))
    if not part:
        changed = data.draw(fuzzed(values))
    elif part == "settings":
        changed = {**values, part: data.draw(fuzzed(values[part]))}
    else:
        changed = {**values, part: [data.draw(fuzzed(values[part][0])), *values[part][1:]]}
    manifest.write_text(json.dumps(changed), errors="surrogatepass")
    try:
        with Session.open(opened) as session:
            session.counts()
            session.queue()
            session.classes.rename(session.classes[0].value, "renamed")
        with Session.open(opened) as session:
            assert session.items is not None
    except SemiGDAError:
        pass
    finally:
        manifest.write_bytes(original)
        (opened / "session.lock").unlink(missing_ok=True)


# Weights and latents -------------------------------------------------------------------------------------


def tensors_file(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


@pytest.mark.parametrize(
    "content",
    {
        "claims": struct.pack("<Q", 2**62) + b"{}",
        "large": tensors_file(b" " * (17 * 2**20)),
        "deep": tensors_file(b'{"a":' + b"[" * 100_000),
        "outside": tensors_file(b'{"latents":{"dtype":"F16","shape":[2,4],"data_offsets":[0,160]}}'),
        "wide": safetensors.numpy.save(
            {"latents": np.zeros((0, 2**40), np.float16)}, {"ids": "[]", "signature": "{}"}
        ),
        "ids": safetensors.numpy.save(
            {"latents": np.zeros((1, 4), np.float16)}, {"ids": "[[1]]", "signature": "{}"}
        ),
        "deep ids": safetensors.numpy.save(
            {"latents": np.zeros((1, 4), np.float16)}, {"ids": DEEP, "signature": "{}"}
        ),
    }.values(),
    ids=["claims", "large", "deep", "outside", "wide", "ids", "deep ids"],
)
def test_hostile_tensors_count_as_none(folder: Path, content: bytes) -> None:
    (folder / "rounds" / "001").mkdir(parents=True)
    (folder / "predictions" / "latents.safetensors").write_bytes(content)
    (folder / "rounds" / "001" / "model.safetensors").write_bytes(content[: 2**10])
    with Session.open(folder) as session:
        session.rounds.last_model()
        assert "image_1" not in session.features


def test_a_record_with_a_field_of_another_kind_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "s" / "rounds" / "001"
    folder.mkdir(parents=True)
    (folder / "round.json").write_text(json.dumps(RECORD))
    assert read_record(folder) is not None
    for name in RECORD:
        for odd in (None, [[]], {"a": 1}, -1, "x", float("inf"), 10**400):
            (folder / "round.json").write_text(json.dumps({**RECORD, name: odd}))
            record = read_record(folder)
            assert record is None or isinstance(getattr(record, name), type(RECORD[name]) | tuple)
    assert read_curves(folder) == []


# Images --------------------------------------------------------------------------------------------------


def test_images_that_are_no_files_are_left_out_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    tifffile.imwrite(folder / "sound.tif", np.zeros((20, 20), np.uint8))
    shutil.copy(folder / "sound.tif", tmp_path / "other.tif")
    (folder / "linked.tif").symlink_to(tmp_path / "other.tif")
    os.mkfifo(folder / "pipe.png")
    (folder / "endless.tif").symlink_to("/dev/zero")
    (folder / "folder.tif").mkdir()
    with Session.create(tmp_path / "s", folder) as session:
        assert {item.name for item in session.items} == {"sound.tif", "linked.tif"}
        reasons = {path.name: reason for path, reason in session.left_out}
    assert "is a pipe" in reasons["pipe.png"]
    assert "is a device" in reasons["endless.tif"]


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/tty", "pipe.tif", "../pipe.tif", "."])
def test_an_item_that_names_no_file_is_not_waited_for(folder: Path, place: str) -> None:
    for pipe in (folder / "pipe.tif", folder.parent / "pipe.tif"):
        os.mkfifo(pipe)
    manifest = json.loads((folder / "semigda.json").read_text())
    manifest["items"][0]["path"] = place
    (folder / "semigda.json").write_text(json.dumps(manifest))
    with Session.open(folder) as session:
        item = session.items[0]
        for read in (session.picture, session.images.shown):
            with pytest.raises(SemiGDAError):
                read(item)
        with pytest.raises(SemiGDAError), session.images.open(item):
            pass


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_pipe_in_an_image_of_chunks_is_not_waited_for(tmp_path: Path, version: str) -> None:
    for part in ("chunk", "metadata"):
        store = write_store(tmp_path / f"{part}.zarr", np.ones((32, 32), np.uint8), "yx", version=version)
        files = [path for path in store.rglob("*") if path.is_file()]
        metadata = [path for path in files if path.name in (".zarray", "zarr.json")]
        chosen = next(path for path in files if path.name[0] not in ".z") if part == "chunk" else metadata[-1]
        chosen.unlink()
        os.mkfifo(chosen)
        with pytest.raises(SemiGDAError, match="is a pipe"):
            read_plane(list_planes(store)[0])
