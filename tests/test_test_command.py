"""`.ci/tests.py`, which tox runs: first in two processes, then alone what measures time."""

import runpy
import subprocess
from pathlib import Path

import pytest

COMMAND = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "tests.py"))["main"]


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((0, 0), 0), ((0, 5), 0), ((5, 0), 0), ((5, 5), 5), ((1, 0), 1), ((5, 1), 1), ((2, 1), 2)],
)
def test_the_worse_of_both_runs_counts(
    monkeypatch: pytest.MonkeyPatch, codes: tuple[int, int], expected: int
) -> None:
    commands, left = [], list(codes)

    def run(command: list[str], check: bool) -> "subprocess.CompletedProcess[str]":
        commands.append(command)
        return subprocess.CompletedProcess(command, left.pop(0))

    monkeypatch.setattr(subprocess, "run", run)
    assert COMMAND(["-m", "not slow", "tests/io", "-k", "bombs"]) == expected
    together, alone = commands
    assert together[3:] == [
        *("-n", "2", "--dist", "loadfile", "-m", "(not slow) and not serial", "tests/io", "-k", "bombs")
    ]
    assert alone[3:] == ["-n", "0", "-m", "(not slow) and serial", "tests/io", "-k", "bombs"]
