"""A disk or network share that vanishes with a session on it, and comes back."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from failing_disk import TROUBLES, FailingDisk, why_not
from napari_semigda.engine.engine import Engine
from napari_semigda.engine.events import Event, RoundEnded, RoundFailed, RoundNotSaved, Stepped
from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget


@pytest.mark.skipif(os.name == "nt", reason="Windows does not rename a folder with an open file in it")
@pytest.mark.parametrize("mount_point_stays", [False, True])
def test_a_session_that_vanishes_saves_nowhere_else_and_goes_on_when_it_is_back(
    session: Session, tmp_path: Path, mount_point_stays: bool
) -> None:
    mask = np.zeros(session.item("image_1").shape, np.uint8)
    mask[3:9, 3:9] = 1
    session.accept("image_1", mask)
    away = tmp_path / "away"
    session.folder.rename(away)
    if mount_point_stays:
        session.folder.mkdir()
    for save in (session.accept, session.labels.keep_edit):
        with pytest.raises(SemiGDAError, match=r"is no longer there.*share, then try again"):
            save("image_1", 1 - mask)
    with pytest.raises(SemiGDAError):
        session.labels.get("image_1")
    assert not session.folder.exists() or not os.listdir(session.folder)
    if mount_point_stays:
        session.folder.rmdir()
    away.rename(session.folder)
    assert session.state("image_1") is ItemState.ACCEPTED
    assert np.array_equal(session.labels.get("image_1"), mask)
    session.accept("image_1", 1 - mask)
    session.close()
    with Session.open(session.folder) as again:
        assert np.array_equal(again.labels.get("image_1"), 1 - mask)


@pytest.fixture
def came_back(session: Session, tmp_path: Path) -> Session:
    """A session whose share went away and came back: the same files, but nobody remembers who held them."""
    session.accept("image_1", np.zeros(session.item("image_1").shape, np.uint8))
    shutil.copytree(session.folder, tmp_path / "again")
    session.folder.rename(tmp_path / "away")
    (tmp_path / "again").rename(session.folder)
    return session


@pytest.mark.skipif(os.name == "nt", reason="Windows does not rename a folder with an open file in it")
def test_a_share_that_came_back_is_locked_again(came_back: Session) -> None:
    came_back.accept("image_1", mask := np.ones(came_back.item("image_1").shape, np.uint8))
    with Session.open(came_back.folder) as other:
        assert "is open elsewhere" in (other.read_only or "")
    came_back.close()
    with Session.open(came_back.folder) as again:
        assert again.read_only is None
        np.testing.assert_array_equal(again.labels.get("image_1"), mask)


@pytest.mark.skipif(os.name == "nt", reason="Windows does not rename a folder with an open file in it")
def test_who_began_to_write_while_the_share_was_away_is_not_written_over(came_back: Session) -> None:
    mask = np.ones(came_back.item("image_1").shape, np.uint8)
    with Session.open(came_back.folder) as other:
        other.accept("image_1", mask)
        with pytest.raises(SemiGDAError, match="is open elsewhere"):
            came_back.accept("image_1", 1 - mask)
        assert came_back.read_only is not None
        np.testing.assert_array_equal(other.labels.get("image_1"), mask)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FailingDisk]:
    """A disk that answers with errors when told to."""
    if reason := why_not():
        pytest.skip(reason)
    with FailingDisk(tmp_path) as disk:
        yield disk


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_disk_that_answers_with_errors_is_told_in_words_and_loses_nothing(
    disk: FailingDisk, trouble: str
) -> None:
    picture = np.arange(120, dtype=np.uint8).reshape(10, 12)
    first, second = np.eye(10, 12, dtype=np.uint8), np.ones((10, 12), np.uint8)
    with Session.from_arrays(disk.folder / "session", {"a": picture, "b": picture}) as session:
        session.accept("a", first)
        session.labels.keep_edit("b", first)
        changes = [
            lambda: session.accept("a", second),
            lambda: session.labels.keep_edit("b", second),
            lambda: session.classes.rename(1, "other"),
        ]
        looks = [
            lambda: session.labels.starting_mask("a"),
            lambda: session.labels.get("a"),
            lambda: session.picture("a"),
            lambda: tuple(session.rounds),
            lambda: session.rounds.last_model(),
            session.labels.journal,
        ]
        with disk.failing(trouble):
            for ask in [*changes, *looks] if TROUBLES[trouble][1] else changes:
                with pytest.raises(SemiGDAError, match="try again") as caught:
                    ask()
                assert str(session.folder) in str(caught.value)
            assert session.state("a") is ItemState.ACCEPTED
        np.testing.assert_array_equal(session.labels.get("a"), first)
        np.testing.assert_array_equal(session.labels.starting_mask("b"), first)
        session.accept("a", second)
        assert session.warnings == ()
    with Session.open(session.folder) as again:
        assert again.read_only is None
        np.testing.assert_array_equal(again.labels.get("a"), second)
        assert not list((session.folder / "labels").glob("*replaced*"))


@pytest.fixture
def training(disk: FailingDisk) -> Iterator[Session]:
    """A session on that disk, with a round behind it."""
    picture = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)
    pictures = {name: picture + number for number, name in enumerate("abcd")}
    settings = ImageSettings(working_size=32)
    with Session.from_arrays(disk.folder / "session", pictures, settings=settings) as session:
        session.accept("a", (picture > 30).astype(np.uint8))
        worked(Engine(session, "cpu"))
        yield session


def worked(engine: Engine, react: Callable[[Event], object] = lambda _: None) -> list[Event]:
    """Ask for a round if there is none, and let the engine work until nothing is left to do."""
    events = []
    if not engine.round_is_active:
        engine.request_round(budget=Budget(steps=6))
    while engine.start_work():
        for event in engine.work():
            events.append(event)
            react(event)
    return events


@pytest.mark.slow
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_round_whose_disk_fails_is_held_or_ends_in_words_and_training_goes_on_when_it_is_back(
    disk: FailingDisk, training: Session, trouble: str
) -> None:
    before, mask = training.rounds.last_model(), training.labels.get("a")
    engine = Engine(training, "cpu")
    with ExitStack() as stack:

        def break_down(event: Event) -> None:
            if isinstance(event, Stepped) and event.report.step == 3:
                stack.enter_context(disk.failing(trouble))

        events = worked(engine, break_down)
    told = [event for event in events if isinstance(event, RoundNotSaved | RoundFailed)]
    assert len(told) == 1
    assert str(training.folder) in told[0].message
    assert training.rounds.last_model() == before
    assert training.rounds[-1].status != "running" or engine.round_is_active
    engine.unpause()
    ended = [event for event in worked(engine) if isinstance(event, RoundEnded)]
    assert [event.record.status for event in ended] == ["complete"]
    assert training.rounds.last_model() != before
    np.testing.assert_array_equal(training.labels.get("a"), mask)
