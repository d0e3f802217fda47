"""Commands with their options, and the parser of all of them."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_semigda.version import __version__

Option = tuple[tuple[str, ...], dict[str, Any]]
"""Arguments of `argparse.ArgumentParser.add_argument`."""

COMMANDS: dict[str, tuple[str, tuple[Option | list[Option], ...], Callable[..., int]]] = {}
"""Name: summary, options (a list: at most one of them), and what runs it and returns the exit code."""


def option(*names: str, **settings: Any) -> Option:
    """Describe an option of a command, as for argparse."""
    return names, settings


def command(name: str, summary: str, *options: Option | list[Option]) -> Callable[..., Any]:
    """Register the decorated function, which gets the parsed arguments and a console, as a command."""

    def register(run: Callable[..., int]) -> Callable[..., int]:
        COMMANDS[name] = summary, options, run
        return run

    return register


SESSION = option("folder", type=Path, help="the session")
DEVICE = option("--device", default="auto", help="auto (default), cuda, cuda:1, mps or cpu")
WEIGHTS = option(
    "--weights", type=Path, help="the autoencoder's weights, if not at the path stored in the session"
)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all registered commands."""
    parser = argparse.ArgumentParser(
        prog="semigda",
        description="Segment images in active-labeling rounds: outline a few, train, correct the drafts.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done for some images only, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"napari-semigda {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (summary, options, run) in COMMANDS.items():
        added = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        added.add_argument("--debug", action="store_true", help="show the traceback of an error")
        added.set_defaults(run=run, usage_error=added.error)
        for one in options:
            if isinstance(one, list):
                group = added.add_mutually_exclusive_group()
                for names, settings in one:
                    group.add_argument(*names, **settings)
            else:
                added.add_argument(*one[0], **one[1])
    return parser


def positive_integer(text: str) -> int:
    """Read a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("enter a whole number above 0")
    return int(text)


def positive(text: str) -> float:
    """Read a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("enter a number above 0")
    return number


def channels(text: str) -> tuple[int, ...]:
    """Read channels, such as ``0,2``."""
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError("enter channels counted from 0, such as 0,2")
    return tuple(int(part) for part in text.split(","))
