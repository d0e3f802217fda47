"""Commands with their options, and the parser of all of them."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from napari_semigda import __version__


class Option(NamedTuple):
    """One argument of a command; `settings` as for `argparse.ArgumentParser.add_argument`."""

    names: tuple[str, ...]
    settings: dict[str, Any]


class OneOf(NamedTuple):
    """Options of which at most one may be given."""

    options: tuple[Option, ...]


class Command(NamedTuple):
    """What `semigda NAME` does: `run` takes the parsed arguments and returns the exit code."""

    summary: str
    options: tuple[Option | OneOf, ...]
    run: Callable[[argparse.Namespace, Console], int]


COMMANDS: dict[str, Command] = {}


def option(*names: str, **settings: Any) -> Option:
    """Describe an option of a command."""
    return Option(names, settings)


SESSION = option("folder", type=Path, help="the session")
DEVICE = option("--device", default="auto", help="auto (default), cuda, cuda:1, mps or cpu")
WEIGHTS = option(
    "--weights",
    type=Path,
    help="weights of the autoencoder on this machine, if not where the session says",
)


def one_of(*options: Option) -> OneOf:
    """Describe options that exclude each other."""
    return OneOf(options)


def command(name: str, summary: str, *options: Option | OneOf) -> Callable[..., Any]:
    """Register the decorated function as a command."""

    def register(run: Callable[[argparse.Namespace, Console], int]) -> Any:
        COMMANDS[name] = Command(summary, options, run)
        return run

    return register


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
            group = added.add_mutually_exclusive_group() if isinstance(one, OneOf) else added
            for names, settings in one.options if isinstance(one, OneOf) else (one,):
                group.add_argument(*names, **settings)
    return parser


def positive_integer(text: str) -> int:
    """Read a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("give a whole number above 0")
    return int(text)


def positive(text: str) -> float:
    """Read a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("give a number above 0")
    return number


def channels(text: str) -> tuple[int, ...]:
    """Read channels, such as ``0,2``."""
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError("give channels counted from 0, such as 0,2")
    return tuple(int(part) for part in text.split(","))
