import numpy as np
import pytest

import failing_disk
from faults import (
    WrongClock,
    damaged,
    digest,
    drawn,
    failing_share,
    faults_of,
    killed,
    main,
    new_session,
    started_and_stopped,
)


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.nightly)])
def test_nothing_is_lost_when_a_working_process_is_killed(times):
    tally = killed(times, longest=4.0, seed=0)

    assert tally.times == times
    assert tally.masks > 0
    assert tally.faults == []


@pytest.mark.nightly
@pytest.mark.skipif(not WrongClock.library.exists(), reason=f"needs {WrongClock.library} (libfaketime)")
def test_nothing_is_lost_when_the_clock_goes_back_and_forth():
    tally = killed(2, longest=3.0, seed=0, clock=WrongClock())

    assert tally.times == 2
    assert tally.faults == []


@pytest.mark.skipif(failing_disk.why_not() is not None, reason=str(failing_disk.why_not()))
def test_nothing_is_lost_on_a_disk_that_answers_with_errors():
    tally = failing_share(8, seed=1)

    assert tally.times == 8
    assert tally.masks > 0
    assert tally.faults == []


@pytest.mark.slow
@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.nightly)])
def test_rounds_started_and_stopped_hold_no_more_memory(times):
    tally = started_and_stopped(times, "cpu")

    assert tally.interrupted == {"complete": (times + 1) // 2, "stopped": times // 2}
    assert tally.faults == []


def test_a_lost_mask_and_a_half_written_file_would_be_told(tmp_path):
    with new_session(tmp_path / "session") as session:
        session.accept("i0", drawn(1))
        session.accept("i1", drawn(2))
    (session.folder / "labels" / "i1.tif").unlink()
    (session.folder / "labels" / "i2.tif").write_bytes(b"II*\0 and no more")

    lost = list(faults_of(session.folder, {"i0": "another"}, ("nothing", "", "")))
    gone = list(faults_of(session.folder, {"i1": "whatever"}, ("accepting", "i1", "another")))

    assert "the mask of i0 is" in lost[0]
    assert "i2.tif" in lost[1]
    assert gone[0] == "the mask of i1 is nothing instead of whatever"


def test_a_mask_that_was_being_accepted_may_be_the_old_or_the_new_one(tmp_path):
    with new_session(tmp_path / "session") as session:
        session.accept("i0", drawn(1))
    known = {"i0": digest(np.zeros(1, np.uint8))}

    assert list(faults_of(session.folder, known, ("accepting", "i0", digest(drawn(1))))) == []
    assert known == {"i0": digest(drawn(1))}


def test_a_large_disk_is_not_filled(tmp_path):
    with pytest.raises(SystemExit, match="more than 64 MiB"):
        main(["--disk", str(tmp_path)])


def test_damaged_pictures_are_read_or_refused_in_words():
    tally = damaged(60, seed=1)

    assert tally.faults == []
    assert tally.interrupted["refused"] > tally.interrupted["a picture"] > 0
