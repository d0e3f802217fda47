"""A change to many masks is made wholly or not at all, wherever the program is killed or the disk fails."""

import errno
import json
import os
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session import mask_files
from napari_semigda.session.session import Session

FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
CLASSES = ["cell", "edge"]
RETURNED, REFUSED, KILLED, ELSE = 0, 3, 9, 4
EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.truncate"}


@pytest.fixture
def accepted(tmp_path: Path) -> Path:
    """A closed session: three accepted masks with both classes, one of them painted on since."""
    arrays = {name: np.zeros((12, 14), np.uint8) for name in ("one", "two", "three", "four")}
    settings = ImageSettings(working_size=32)
    with Session.from_arrays(tmp_path / "session", arrays, classes=CLASSES, settings=settings) as session:
        for item in session.items[:3]:
            session.accept(item, masks()[item.id])
        session.labels.keep_edit("one", masks()["edit"])
    return tmp_path / "session"


def masks() -> dict[str, np.ndarray]:
    found = {}
    for place, name in enumerate(("one", "two", "three", "edit")):
        found[name] = np.zeros((12, 14), np.uint8)
        found[name][2:6, place : place + 3] = 2
        found[name][7:9, place : place + 5] = 1
    return found


def remove(session: Session) -> None:
    session.classes.remove(2)


def add(session: Session) -> None:
    session.classes.add("wall", occurs_in_accepted=True)


def unlabel(session: Session) -> None:
    session.classes.unlabel_background(3)


def changed(operation: Callable[[Session], None]) -> dict[str, np.ndarray]:
    value = 2 if operation is remove else 0
    return {name: np.where(mask == value, UNKNOWN, mask) for name, mask in masks().items()}


def look(session: Session) -> tuple[list[str], dict[str, np.ndarray | None]]:
    found = {item.id: session.labels.get(item) for item in session.items[:3]}
    return session.classes.names, {**found, "edit": session.labels.edit("one")}


def state_of(session: Session, operation: Callable[[Session], None]) -> str:
    """Say whether everything is as before or as after; fail where it is neither."""
    names, found = look(session)
    after = {remove: ["cell"], add: [*CLASSES, "wall"]}[operation]
    for state, classes, expected in (("before", CLASSES, masks()), ("after", after, changed(operation))):
        if names == classes and all(np.array_equal(found[name], expected[name]) for name in expected):
            return state
    raise AssertionError(f"neither before nor after: {names}, {found}")


def in_child(work: Callable[[], object], at: int, how: int | None) -> int:
    """Do work in a forked child, whose call number `at` of the system fails (or is where it ends)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    count, real = 0, os.fsync

    def happens() -> None:
        nonlocal count
        count += 1
        if count == at:
            if how is None:
                os._exit(KILLED)
            raise OSError(how, os.strerror(how))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and "session" in str(arguments[0]):
            happens()

    def fsync(descriptor: int) -> None:
        happens()
        real(descriptor)

    code = ELSE
    try:
        os.fsync = fsync
        sys.addaudithook(hook)
        work()
        code = RETURNED if count >= at else REFUSED + 100
    except SemiGDAError:
        code = REFUSED
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def failing_at(
    work: Callable[[Path], object], start: Path, how: int | None, first: int = 1, step: int = 1
) -> Iterator[tuple[int, Path]]:
    """Yield how a child ended, and its copy of the session, for each call of the system in turn."""
    for at in range(first, 2000, step):
        copy = start.with_name(f"copy-{at}") / "session"
        shutil.copytree(start, copy)
        code = in_child(lambda copy=copy: work(copy), at, how)
        if code == REFUSED + 100:
            assert at > 20
            return
        yield code, copy
        shutil.rmtree(copy.parent)
    raise AssertionError("it never came to an end")


HOWS = pytest.mark.parametrize("how", [None, errno.ENOSPC, errno.EIO], ids=["killed", "full", "failing"])
OPERATIONS = pytest.mark.parametrize("operation", [remove, add])


@FORKS
@HOWS
@OPERATIONS
@pytest.mark.slow
def test_it_is_made_wholly_or_not_at_all(
    accepted: Path, operation: Callable[[Session], None], how: int | None
) -> None:
    first = 1 + [None, errno.ENOSPC, errno.EIO].index(how) + 3 * (operation is remove)
    wholly_or_not(accepted, operation, how, first, 6)


@FORKS
@pytest.mark.nightly
@HOWS
@OPERATIONS
def test_it_is_made_wholly_or_not_at_all_at_every_call(
    accepted: Path, operation: Callable[[Session], None], how: int | None
) -> None:
    wholly_or_not(accepted, operation, how, 1, 1)


def wholly_or_not(
    start: Path, operation: Callable[[Session], None], how: int | None, first: int, step: int
) -> None:
    seen = set()
    for code, folder in failing_at(lambda copy: operation(Session.open(copy)), start, how, first, step):
        assert code in ({KILLED} if how is None else {RETURNED, REFUSED})
        with Session.open(folder) as session:
            assert session.read_only is None
            state = state_of(session, operation)
            journal = session.labels.journal()
            told = {entry.item for entry in journal if entry.event not in ("accepted", "corrected")}
            assert told == ({"one", "two", "three"} if state == "after" else set())
            if code == RETURNED:
                assert state == "after"
            if code == REFUSED:
                assert state == "before"
            seen.add(state)
        assert not list(folder.rglob("*.pending-*"))
        assert not (folder / "transaction.json").exists()
    assert seen == {"before", "after"}


def test_of_a_class_added_later_earlier_backgrounds_become_unlabeled_and_can_be_restored(
    accepted: Path,
) -> None:
    with Session.open(accepted) as session:
        added = session.classes.add("wall")
        painted = np.where(masks()["two"] == 0, 3, masks()["two"])
        session.accept("two", painted)
        changes = session.classes.unlabel_background(added.value)
        np.testing.assert_array_equal(session.labels.get("one"), changed(add)["one"])
        np.testing.assert_array_equal(session.labels.edit("one"), changed(add)["edit"])
        np.testing.assert_array_equal(session.labels.get("two"), painted)  # there it was painted
        told = [entry for entry in session.labels.journal() if entry.event == "background unlabeled"]
        assert [entry.item for entry in told] == ["one", "three"]
        assert "“wall” was added later" in told[0].note
        session.accept("three", masks()["three"])
        assert [item.id for item in session.classes.restore_masks(changes)] == ["one"]
        np.testing.assert_array_equal(session.labels.get("one"), masks()["one"])
        np.testing.assert_array_equal(session.labels.get("three"), masks()["three"])
        assert session.classes.restore_masks(changes) == []
    assert [path.name for path in (accepted / "labels").glob("*.replaced-*")] == ["three.replaced-1.tif"]


def test_cancelled_it_changes_nothing(accepted: Path) -> None:
    with Session.open(accepted) as session:
        done: list[int] = []
        with pytest.raises(Cancelled):
            session.classes.add(
                "wall",
                occurs_in_accepted=True,
                progress=lambda count, _: done.append(count),
                cancelled=lambda: len(done) == 2,
            )
        assert state_of(session, add) == "before"
    assert not list(accepted.rglob("*.pending-*"))


def test_a_mask_accepted_while_others_are_being_written_is_changed_as_it_is_now(accepted: Path) -> None:
    new = np.full((12, 14), 2, np.uint8)
    with Session.open(accepted) as session:
        session.classes.remove(2, progress=lambda done, _: session.accept("four", new) if done == 1 else None)
        np.testing.assert_array_equal(session.labels.get("four"), UNKNOWN)


@FORKS
@pytest.mark.parametrize("operation", [remove, add])
def test_who_only_reads_sees_it_before_or_after_and_finishes_nothing(
    accepted: Path, operation: Callable[[Session], None]
) -> None:
    seen = set()
    for code, folder in failing_at(lambda copy: operation(Session.open(copy)), accepted, None, 2, 9):
        assert code == KILLED
        (folder / "session.lock").unlink(missing_ok=True)
        (folder / "session.lock").mkdir()  # so that nobody may write
        files = sorted(path.name for path in folder.rglob("*"))
        with Session.open(folder) as reader:
            assert reader.read_only is not None
            seen.add(state_of(reader, operation))
        assert sorted(path.name for path in folder.rglob("*")) == files
    assert seen == {"before", "after"}


@FORKS
def test_opening_killed_while_it_finishes_is_finished_by_the_next(accepted: Path) -> None:
    for at in (60, 70, 80, 90):
        half = accepted.with_name(f"half-{at}") / "session"
        shutil.copytree(accepted, half)
        in_child(lambda half=half: remove(Session.open(half)), at, None)
        for again in range(3, 33, 6):
            copy = half.with_name(f"copy-{again}-session")
            shutil.copytree(half, copy)
            in_child(lambda copy=copy: Session.open(copy), again, None)
            with Session.open(copy) as session:
                state_of(session, remove)


@pytest.mark.parametrize(
    "values",
    [
        "[",
        {"version": 99},
        {"version": 1, "what": "x", "steps": [{"new": "labels/one.tif"}], "entries": []},
        *(
            {
                "version": 1,
                "what": "x",
                "entries": [],
                "steps": [{"new": new, "place": place, "before": "", "after": "", "kept": None}],
            }
            for new, place in (
                ("../x.pending-00000000.tif", "labels/one.tif"),
                ("labels/one.pending-00000000.tif", "../../one.tif"),
                ("labels/one.pending-00000000.tif", "labels/two.tif"),
                ("labels/one.pending-00000000.tif", "rounds/one.tif"),
                ("labels/one.tif", "labels/one.tif"),
            )
        ),
    ],
)
def test_a_strange_record_moves_nothing_and_the_session_can_be_looked_at(
    accepted: Path, values: object
) -> None:
    text = values if isinstance(values, str) else json.dumps(values)
    (accepted / "transaction.json").write_text(text)
    with Session.open(accepted) as session:
        assert session.read_only is not None
        assert state_of(session, remove) == "before"


@pytest.mark.parametrize("manifest_changed_since", [False, True])
def test_what_an_older_version_left_half_removed_is_put_back_or_told(
    accepted: Path, manifest_changed_since: bool
) -> None:
    labels = accepted / "labels"
    with Session.open(accepted) as session:
        for name in ("one", "two"):  # as version 0.1 did it
            shutil.copyfile(labels / f"{name}.tif", labels / f"{name}.replaced-1.tif")
            half = np.where(masks()[name] == 2, UNKNOWN, masks()[name]).astype(np.uint8)
            mask_files.write_labels(labels / f"{name}.tif", half)
    if manifest_changed_since:
        later = (labels / "two.replaced-1.tif").stat().st_mtime_ns + 10**9
        os.utime(accepted / "semigda.json", ns=(later, later))
    with Session.open(accepted) as session:
        assert len(session.warnings) == 1
        if manifest_changed_since:
            assert "may lack a class" in session.warnings[0]
        else:
            assert state_of(session, remove) == "before"
            assert [entry.event for entry in session.labels.journal()][-2:] == ["mask restored"] * 2


def test_copies_that_the_journal_knows_are_left_alone(accepted: Path) -> None:
    with Session.open(accepted) as session:
        session.classes.remove(2)
        session.classes.add("edge")  # has the value of the one that was removed
    with Session.open(accepted) as session:
        assert session.warnings == ()
        np.testing.assert_array_equal(session.labels.get("one"), changed(remove)["one"])
