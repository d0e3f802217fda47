"""Many programs want one session: one of them may write, whatever happened to the others."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_semigda import Session
from napari_semigda.session.layout import LOCK
from tests.cases.conftest import MakeSession, square, stored_mask

pytestmark = pytest.mark.slow
posix = pytest.mark.skipif(os.name != "posix", reason="needs signals and links")

OPENER = """
import sys
from napari_semigda import Session
print("ready", flush=True)
sys.stdin.readline()
session = Session.open(sys.argv[1])
print("reads" if session.read_only else "writes", flush=True)
sys.stdin.readline()
"""

HOLDER = """
import sys
import numpy as np
from napari_semigda import Session, SemiGDAError
session = Session.open(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
try:
    session.accept(session.items[3], np.ones((40, 40), np.uint8))
    print("accepted", flush=True)
except SemiGDAError as error:
    print("refused:", error, flush=True)
session.close()
"""


def program(code: str, session: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, str(session)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def tell(process: "subprocess.Popen[str]") -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def test_of_several_that_open_at_once_exactly_one_may_write(make_session: MakeSession) -> None:
    folder = make_session()
    openers = [program(OPENER, folder) for _ in range(4)]
    try:
        assert [opener.stdout.readline() for opener in openers] == ["ready\n"] * 4
        for opener in openers:
            tell(opener)
        answers = [opener.stdout.readline().strip() for opener in openers]
    finally:
        for opener in openers:
            opener.communicate("\n")
    assert sorted(answers) == ["reads", "reads", "reads", "writes"]


@posix
def test_another_path_leads_to_the_same_lock(make_session: MakeSession, tmp_path: Path) -> None:
    folder = make_session()
    (tmp_path / "linked").symlink_to(folder)
    with Session.open(folder), Session.open(tmp_path / "linked") as other:
        assert other.read_only is not None


def test_what_another_machine_left_keeps_nobody_out(make_session: MakeSession) -> None:
    folder = make_session()
    left = {"user": "x", "host": "another", "pid": os.getpid(), "since": "2026-01-01T00:00:00"}
    (folder / "in-use.json").write_text(json.dumps(left))
    with Session.open(folder) as session:
        assert session.read_only is None


@posix
def test_one_who_stood_still_while_another_took_over_saves_nothing(make_session: MakeSession) -> None:
    folder = make_session()
    holder = program(HOLDER, folder)
    try:
        assert holder.stdout.readline() == "open\n"
        os.kill(holder.pid, signal.SIGSTOP)
        (folder / LOCK).unlink()
        with Session.open(folder) as session:
            assert session.read_only is None
            item = session.items[3]
            session.accept(item, square(5))
            os.kill(holder.pid, signal.SIGCONT)
            answer, _ = holder.communicate("\n")
            assert answer.startswith("refused: ")
            assert (folder / "in-use.json").exists()
            with Session.open(folder) as third:
                assert third.read_only is not None
        np.testing.assert_array_equal(stored_mask(folder, item.id), square(5))
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.nightly
def test_of_two_trainings_at_once_one_is_refused_or_comes_second(make_session: MakeSession) -> None:
    folder = make_session()
    command = [
        sys.executable,
        "-m",
        "napari_semigda",
        "train",
        str(folder),
        "--steps",
        "3",
        "--device",
        "cpu",
    ]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert "Traceback" not in "".join(said)
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 0], [0, 1])
    with Session.open(folder) as session:
        assert [record.status for record in session.rounds] == ["complete"] * codes.count(0)
