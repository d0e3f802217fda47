"""The command line `semigda`: the same work on the same session folders, without a window.

Nothing heavy is imported before a command runs, so that ``semigda --help`` answers at once.
"""

# ruff: noqa: E402 - Ctrl-C is handled before anything that takes time is imported
from napari_semigda.interrupt import MESSAGE, interruptible, leave_on_interrupt, stop_watching, watch_imports

_before_imports = watch_imports()

import sys
from collections.abc import Sequence

from rich.markup import escape

from napari_semigda.cli import commands  # isort: skip - commands are listed in this order
from napari_semigda.cli import outputs  # isort: skip
from napari_semigda.cli import demo  # isort: skip
from napari_semigda.cli.display import DONE, FAILED, INTERRUPTED, SafeConsole, make_output_safe
from napari_semigda.cli.parser import make_parser
from napari_semigda.errors import Cancelled, user_message
from napari_semigda.log import keep_log

stop_watching(_before_imports)

__all__ = ["commands", "demo", "main", "outputs"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with what was typed after ``semigda``; None takes it from the process.

    Returns 0 done, 1 failed, 2 wrong usage, 3 done for some images only, or 130 interrupted.
    """
    whole_program = arguments is None
    if whole_program:
        make_output_safe()
    try:
        with interruptible():
            code = _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
        SafeConsole(stderr=True).print(MESSAGE, style="yellow")
    if whole_program:
        leave_on_interrupt(code)
    return code


def _run(arguments: Sequence[str]) -> int:
    parser, errors, given = make_parser(), SafeConsole(stderr=True), None
    try:
        if any("\0" in one for one in arguments):
            parser.error("an argument holds a null character")
        given = parser.parse_args(arguments)
        keep_log()
        return int(given.run(given, SafeConsole()))
    except SystemExit as end:  # argparse has printed the error, or the help
        return int(end.code or DONE)
    except (Cancelled, KeyboardInterrupt):
        errors.print(MESSAGE, style="yellow")
        return INTERRUPTED
    except Exception as error:
        if given is None or given.debug:
            raise
        errors.print(escape(user_message(error)), style="red", soft_wrap=True, highlight=False)
        return FAILED
