"""Hundreds of masks in one sitting, with few file descriptors; full disks; failing system calls."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from napari_semigda import SemiGDAError, Session, export_masks, train_round
from tests.cases.conftest import MakeSession, square, stored_mask, write_images

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, or mounts, or traces")

MANY_ACCEPTS = """
import os, resource, sys
from napari_semigda import Session
from tests.cases.conftest import square
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

def held():
    resident = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return len(os.listdir("/proc/self/fd")), resident / 2**20

with Session.open(sys.argv[1]) as session:
    for number in range(300):
        item = session.items[number % len(session.items)]
        session.starting_mask(item)
        session.keep_edit(item, square(number))
        session.accept(item, square(number))
        if number == 100:
            before = held()
    files, memory = (now - then for now, then in zip(held(), before))
    print(files, memory)
"""


@linux
@pytest.mark.slow
def test_accepting_for_hours_holds_no_more_files_and_no_more_memory(make_session: MakeSession) -> None:
    folder = make_session()
    command = [sys.executable, "-c", MANY_ACCEPTS, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    files, memory = map(float, done.stdout.split())
    assert files <= 0
    assert memory < 20
    with Session.open(folder) as session:
        for number, item in enumerate(session.items, start=300 - len(session.items)):
            np.testing.assert_array_equal(stored_mask(folder, item.id), square(number))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def leave_free(disk: Path, size: int | None) -> None:
    """Fill the disk until so many bytes are free, or empty it again."""
    (disk / "fill").unlink(missing_ok=True)
    state = os.statvfs(disk)
    if size is not None:
        (disk / "fill").write_bytes(bytes(max(0, state.f_bavail * state.f_bsize - size)))


@linux
@pytest.mark.nightly
def test_on_a_full_disk_nothing_accepted_is_lost_and_rounds_end_in_words(
    small_disk: Path, tmp_path: Path
) -> None:
    folder = small_disk / "session"
    session = Session.create(folder, write_images(tmp_path / "images"))
    accepted = {}
    for number in range(42):
        item = session.items[number % len(session.items)]
        session.starting_mask(item)
        leave_free(small_disk, number % 7 * 4096)
        with suppress(SemiGDAError):
            if number % 2:
                session.keep_edit(item, square(number))
            session.accept(item, square(number))
            accepted[item.id] = square(number)
        for item_id, mask in accepted.items():
            np.testing.assert_array_equal(stored_mask(folder, item_id), mask)
        if number % 5 == 0:
            with suppress(SemiGDAError):
                export_masks(session, small_disk / "masks", overwrite=True)
            shutil.rmtree(small_disk / "masks", ignore_errors=True)
        leave_free(small_disk, None)
    for free in (0, 8192, 300_000, 3_000_000):
        leave_free(small_disk, free)
        with suppress(SemiGDAError):
            list(train_round(session, steps=2, device="cpu"))
    leave_free(small_disk, None)
    list(train_round(session, steps=2, device="cpu"))
    assert session.rounds[-1].status == "complete"
    assert "running" not in [record.status for record in session.rounds]
    session.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with Session.open(folder) as session:
        assert session.read_only is not None
        for item_id, mask in accepted.items():
            np.testing.assert_array_equal(stored_mask(folder, item_id), mask)


ACCEPT = """
import sys
import numpy as np
from napari_semigda import Session
from napari_semigda.errors import SemiGDAError
from tests.cases.conftest import square
with Session.open(sys.argv[1]) as session:
    session.states()
    print("BEGIN", flush=True)
    try:
        session.accept(session.items[0], square(9))
        print("RETURNED", flush=True)
    except SemiGDAError as error:
        print("REFUSED", error, flush=True)
"""
CALLS = ("openat", "write", "fsync", "rename", "unlink")


@linux
@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_whichever_system_call_fails_the_mask_is_the_old_or_the_new_one(
    make_session: MakeSession, tmp_path: Path
) -> None:
    folder = make_session()
    shutil.copytree(folder, tmp_path / "before")
    log = tmp_path / "calls"

    def accept(*injection: str) -> str:
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "before", folder)
        trace = ["strace", "-f", "-o", str(log), "-e", f"trace={','.join(CALLS)}", *injection]
        command = [*trace, sys.executable, "-c", ACCEPT, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        return done.stdout

    assert "RETURNED" in accept()
    lines = log.read_text(errors="replace").splitlines()
    begin = next(number for number, line in enumerate(lines) if "BEGIN" in line)
    seen = dict.fromkeys(CALLS, 0)
    plan = []
    for number, line in enumerate(lines):
        call = re.match(r"\d+\s+(\w+)\(", line)
        if call and call[1] in seen:
            seen[call[1]] += 1
            if number > begin and (str(folder) in line or call[1] in ("fsync", "rename")):
                plan.append((call[1], seen[call[1]]))
    assert len(plan) > 5
    item_id = Session.open(folder).items[0].id
    for number, (call, when) in enumerate(plan):
        failure = "error=EIO" if call == "fsync" else ("error=EIO", "error=ENOSPC", "signal=KILL")[number % 3]
        said = accept("-e", f"inject={call}:{failure}:when={when}")
        with Session.open(folder):  # finishes or takes back what was begun
            pass
        mask = stored_mask(folder, item_id)
        is_new = np.array_equal(mask, square(9))
        assert is_new or np.array_equal(mask, square(0)), (call, when, failure)
        assert is_new or "RETURNED" not in said, (call, when, failure)
