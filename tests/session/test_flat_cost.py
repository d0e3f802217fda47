"""What the annotator waits for costs the same with few items and with many: operations counted, not time."""

import json
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_semigda.inference.predictor import Prediction
from napari_semigda.session.session import Session

Predict = Callable[..., Prediction]
FEW, MANY = 20, 1000
MASK = np.ones((4, 4), np.uint8)

_watching: list[Callable[[Path], None]] = []


def _tell(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event == "open" and isinstance(arguments[0], str | Path):
        _watching[-1](Path(arguments[0]))


sys.addaudithook(_tell)


@contextmanager
def opened_files() -> Iterator[list[Path]]:
    """Gather the files that are opened meanwhile."""
    files: list[Path] = []
    _watching.append(files.append)
    try:
        yield files
    finally:
        _watching.pop()


def calls(work: Callable[[], object]) -> int:
    """Count the functions called by a piece of work, Python's and C's."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.fixture
def session_of(tmp_path: Path) -> Callable[[int], Session]:
    """Make a session of so many items, which share one picture."""

    def made(count: int) -> Session:
        arrays = {"first": (np.zeros(MASK.shape, np.uint8), (1.0, 1.0), "pixel")}
        with Session.from_arrays(tmp_path / f"session of {count}", arrays) as session:
            folder = session.folder
        manifest = json.loads((folder / "semigda.json").read_text())
        names = [f"i{number}" for number in range(count)]
        manifest["items"] = [manifest["items"][0] | {"id": name, "name": name} for name in names]
        (folder / "semigda.json").write_text(json.dumps(manifest))
        return Session.open(folder)

    return made


@pytest.mark.parametrize(
    "work",
    [
        lambda session: session.accept("i3", MASK),
        lambda session: session.skip("i4"),
        lambda session: session.labels.keep_edit("i5", MASK),
        lambda session: session.counts(),
        lambda session: session.index("i6"),
        lambda session: session.changes(0),
        lambda session: session.new_masks(None),
        lambda session: session.labels.to_learn_from(),
        lambda session: session.labels.keep_for_validation("i1"),
        lambda session: session.examples()[1][10],
    ],
    ids=[
        *("accept", "skip", "keep edit", "counts", "place", "changes"),
        *("new masks", "something to learn", "keep for validation", "draw an example"),
    ],
)
def test_it_calls_as_many_functions_with_many_items(
    session_of: Callable[[int], Session], work: Callable[[Session], object]
) -> None:
    counted = []
    for count in (FEW, MANY):
        session = session_of(count)
        for item_id in ("i1", "i2"):
            session.accept(item_id, MASK)
        session.labels.keep_for_validation("i2")  # the first change of a manifest writes down all items
        session.examples()[1][11]
        counted.append(calls(lambda session=session: work(session)))
    few, many = counted
    assert many - few < (MANY - FEW) / 4  # a few more or less are the libraries, not ours


def test_accepting_opens_as_many_files_with_many_items(session_of: Callable[[int], Session]) -> None:
    counted = []
    for count in (FEW, MANY):
        session = session_of(count)
        with opened_files() as files:
            session.accept("i3", MASK)
        counted.append(len(files))
    assert counted[0] == counted[1] > 0


def test_what_is_known_of_a_draft_is_read_once(
    session_of: Callable[[int], Session], predict: Predict
) -> None:
    session = _with_drafts(session_of(FEW), predict)
    with opened_files() as files:
        first = session.drafts.scores()
    assert len([file for file in files if file.suffix == ".json"]) == FEW
    with opened_files() as files:
        again = session.drafts.scores()
        session.drafts.store("i1", predict(MASK, 0.9), 2)
        after = session.drafts.scores()
    assert not [file for file in files if file.suffix == ".json" and file.stem == "i0"]
    assert np.array_equal(first, again)
    assert after[1] == np.float32(0.9)


@pytest.mark.parametrize(
    "work",
    [
        lambda session, predict: session.drafts.scores(),
        lambda session, predict: session.overview(),
        lambda session, predict: session.drafts.store("i1", predict(MASK), 2),
    ],
    ids=["scores", "table", "storing a draft"],
)
def test_others_go_on_while_drafts_are_read_or_written(
    session_of: Callable[[int], Session], predict: Predict, work: Callable[[Session, Predict], object]
) -> None:
    session = _with_drafts(session_of(FEW), predict)
    went_on = []

    def count_in_another_thread(file: Path) -> None:
        written = file.parent.name == "predictions" and file.suffix == ".tif"
        if written or file.name == "i0.json":  # what is read is opened by its name in its open folder
            others = threading.Thread(target=session.counts, daemon=True)
            others.start()
            others.join(timeout=10)
            went_on.append(not others.is_alive())

    _watching.append(count_in_another_thread)
    try:
        work(session, predict)
    finally:
        _watching.pop()
    assert went_on
    assert all(went_on)


def test_changes_are_remembered_once_an_item(session_of: Callable[[int], Session]) -> None:
    session = session_of(FEW)
    session.accept("i1", MASK)
    _, before = session.changes()
    tracemalloc.start()
    try:
        for _ in range(200):
            session.labels.discard_edit("i2")
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    ids, now = session.changes(before)
    assert ids == {"i2"}
    assert now == before + 200
    assert session.changes(now) == (set(), now)
    assert session.changes(0)[0] == {"i1", "i2"}
    assert size < 200 * sys.getsizeof(now)


def _with_drafts(session: Session, predict: Predict) -> Session:
    """Draft all items, and open the session again."""
    with session:
        for item in session.items:
            session.drafts.store(item, predict(MASK, 0.5), 1)
    return Session.open(session.folder)
