"""Run the tests as tox does: most of them in two processes, then those that measure time, alone.

    python .ci/tests.py [-m MARKERS] [-n PROCESSES] [whatever pytest takes]

Without `-m` the nightly tests are left out.
"""

import argparse
import subprocess
import sys

NO_TESTS = 5  # pytest's exit code where nothing was selected


def main(arguments: list[str]) -> int:
    """Run pytest twice and return the worse exit code; no tests in one of the two runs is no failure."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-m", dest="markers", default="not nightly")
    parser.add_argument("-n", dest="processes", default="2")
    options, rest = parser.parse_known_args(arguments)
    codes = []
    for markers, processes in (
        (f"({options.markers}) and not serial", ["-n", options.processes, "--dist", "loadfile"]),
        (f"({options.markers}) and serial", ["-n", "0"]),
    ):
        command = [sys.executable, "-m", "pytest", *processes, "-m", markers, *rest]
        codes.append(subprocess.run(command, check=False).returncode)
    failures = [code for code in codes if code not in (0, NO_TESTS)]
    return failures[0] if failures else min(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
