"""A change to many masks is made wholly or not at all, wherever the program is killed or the disk fails."""

import errno
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

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.annotation import UNKNOWN
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
        session.keep_edit("one", masks()["edit"])
    return tmp_path / "session"


def masks() -> dict[str, np.ndarray]:
    found = {}
    for place, name in enumerate(("one", "two", "three", "edit")):
        found[name] = np.zeros((12, 14), np.uint8)
        found[name][2:6, place : place + 3] = 2
        found[name][7:9, place : place + 5] = 1
    return found


def remove(session: Session) -> None:
    session.remove_class(2)


def add(session: Session) -> None:
    session.add_class("wall", occurs_in_accepted=True)


def unlabel(session: Session) -> None:
    session.unlabel_background(3)


def changed(operation: Callable[[Session], None]) -> dict[str, np.ndarray]:
    value = 2 if operation is remove else 0
    return {name: np.where(mask == value, UNKNOWN, mask) for name, mask in masks().items()}


def look(session: Session) -> tuple[list[str], dict[str, np.ndarray | None]]:
    found = {item.id: session.labels(item) for item in session.items[:3]}
    return session.class_names, {**found, "edit": session.edit("one")}


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
def test_it_is_made_wholly_or_not_at_all(
    accepted: Path, operation: Callable[[Session], None], how: int | None
) -> None:
    first = 1 + [None, errno.ENOSPC, errno.EIO].index(how) + 3 * (operation is remove)
    wholly_or_not(accepted, operation, how, first, 6)


@FORKS
@pytest.mark.slow
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
            told = {entry.item for entry in session.journal() if entry.event not in ("accepted", "corrected")}
            assert told == ({"one", "two", "three"} if state == "after" else set())
            if code == RETURNED:
                assert state == "after"
            if code == REFUSED:
                assert state == "before"
            seen.add(state)
        assert not list(folder.rglob("*.pending-*"))
        assert not (folder / "transaction.json").exists()
    assert seen == {"before", "after"}
