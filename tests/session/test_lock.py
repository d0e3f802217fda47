import subprocess
import sys

import numpy as np
import pytest

from napari_semigda.errors import SemiGDAError
from napari_semigda.session.items import ItemState
from napari_semigda.session.layout import LOCK
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget, Recipe

HOLD = """
import sys
from napari_semigda.session.session import Session
session = Session.open(sys.argv[1])
print(session.read_only or "mine", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holding(session):
    """Another program that has the session open, until it is killed."""
    session.close()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(session.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "mine\n"
        yield program
        program.kill()


@pytest.mark.slow
def test_a_session_open_in_another_program_can_be_looked_at_and_names_who_has_it(session, holding):
    again = Session.open(session.folder)

    assert again.read_only is not None
    assert "is open elsewhere" in again.read_only
    assert ", since 20" in again.read_only
    assert again.picture("image_1").pixels.shape == again.item("image_1").shape


@pytest.mark.parametrize(
    "change",
    [
        lambda session, mask: session.accept("image_1", mask),
        lambda session, mask: session.labels.keep_edit("image_1", mask),
        lambda session, mask: session.skip("image_1"),
        lambda session, mask: session.classes.add("other"),
        lambda session, mask: session.classes.rename(1, "other"),
        lambda session, mask: session.update(one_object=True),
        lambda session, mask: session.rounds.begin(Recipe(), Budget(steps=1), 0, False),
    ],
)
def test_whoever_only_looks_changes_nothing(session, change):
    mask = np.ones(session.item("image_1").shape, np.uint8)
    looking = Session.open(session.folder)
    before = contents(session.folder)

    with pytest.raises(SemiGDAError, match="cannot save"):
        change(looking, mask)
    looking.current_item = "image_1"
    looking.close()

    assert contents(session.folder) == before


def test_what_the_other_one_saves_goes_on_being_saved(session):
    Session.open(session.folder).close()

    session.accept("image_1", np.ones(session.item("image_1").shape, np.uint8))

    assert Session.open(session.folder).state("image_1") is ItemState.ACCEPTED


@pytest.mark.slow
def test_a_program_that_was_killed_keeps_nobody_out(session, holding):
    holding.kill()
    holding.wait()

    with Session.open(session.folder) as again:
        assert again.read_only is None
        again.accept("image_1", np.ones(again.item("image_1").shape, np.uint8))


def test_a_lock_that_could_not_be_taken_again_is_taken_before_the_next_mask_is_saved(session, tmp_path):
    mask = np.ones(session.item("image_1").shape, np.uint8)
    lock = session.folder / LOCK
    lock.rename(tmp_path / "away")
    lock.mkdir()  # what cannot be locked

    with pytest.raises(SemiGDAError, match="is a folder where a file should be"):
        session.accept("image_1", mask)
    lock.rmdir()
    (tmp_path / "away").rename(lock)
    session.accept("image_1", mask)

    assert Session.open(session.folder).read_only is not None


def test_a_closed_session_can_be_opened_for_writing_again(session):
    session.close()

    assert Session.open(session.folder).read_only is None


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
