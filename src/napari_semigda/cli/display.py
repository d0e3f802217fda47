"""What the commands show while they work: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import argparse
import codecs
import io
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from napari_semigda.interrupt import INTERRUPTED as INTERRUPTED
from napari_semigda.pace import time_left

if TYPE_CHECKING:
    from napari_semigda.engine.engine import Engine
    from napari_semigda.engine.events import Drafting, DraftProgress, ModelLoading, Stepped
    from napari_semigda.session.rounds import RoundRecord
    from napari_semigda.session.session import Session

DONE, FAILED, WRONG_USAGE, PARTLY_DONE = 0, 1, 2, 3
"""Exit codes."""

LINE_EVERY = 10.0
"""Seconds between two lines about a round, where the output is no terminal."""


_READ_AS_ASCII = {
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("–—−", "-"),
    "…": "...",
    "×": "x",
    "µ": "u",
    "·": "-",
}


class SafeConsole(Console):
    """A console that shows control characters in names as text, so that no file can steer the terminal."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make text of what is printed; see rich."""
        return super().render_str(visible(text), **options)


def visible(text: str) -> str:
    r"""Write characters that a terminal obeys, and those that turn the direction of writing, as text.

    Examples
    --------
    >>> print(visible("red\x1b[31m.tif"))
    red\x1b[31m.tif
    """
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def make_output_safe() -> None:
    """Let nothing that is printed fail because the output has no such characters; for the whole program."""
    codecs.register_error("napari_semigda", _in_other_characters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="napari_semigda")


def _in_other_characters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    readable = (
        _READ_AS_ASCII.get(one) or one.encode("ascii", "backslashreplace").decode() for one in missing
    )
    return "".join(readable), error.end


def positive_integer(text: str) -> int:
    """Read a whole number above 0 from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("give a whole number above 0")
    return int(text)


def positive(text: str) -> float:
    """Read a number above 0 from the command line."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("give a number above 0")
    return number


def follow(engine: Engine, display: EngineDisplay, *, with_drafts: bool = True) -> int:
    """Let the engine work in this thread until nothing is left to do; Ctrl-C ends it between two steps.

    Parameters
    ----------
    engine
        With something asked of it.
    display
        Shows what happens.
    with_drafts
        Whether to go on with the drafts when a round is over.

    Returns
    -------
    int
        The exit code: done, partly done, failed or interrupted.
    """
    with _closing_on_interrupt(engine, display) as interrupted:
        while engine.start_work():
            for event in engine.work():
                display.show(event, engine.drafts)
                if display.round_is_over and not with_drafts:
                    engine.close()
    if interrupted:
        display.tell_how_to_go_on(engine.session)
        return INTERRUPTED
    return display.finish()


@contextmanager
def _closing_on_interrupt(engine: Engine, display: EngineDisplay) -> Iterator[list[int]]:
    """Close the engine on the first Ctrl-C; a second one breaks off at once."""
    interrupted: list[int] = []

    def close(number: int, _: object) -> None:
        if interrupted:
            raise KeyboardInterrupt
        interrupted.append(number)
        engine.close()
        with suppress(RuntimeError):  # the signal may have come in the middle of another line
            display.say("Stopping after this step; Ctrl-C again breaks off at once …")

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield interrupted
        return
    before = signal.signal(signal.SIGINT, close)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


class EngineDisplay:
    """Shows what an engine does: bars on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[remaining]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._round_bar = self._progress.add_task("", visible=False, total=1.0, remaining="")
        self._draft_bar = self._progress.add_task("", visible=False, total=1.0, remaining="")
        self._last_line = -LINE_EVERY
        self._record: RoundRecord | None = None
        self._failure = False
        self._drafts = 0
        self._failed_drafts = 0
        self.round_is_over = False

    def __enter__(self) -> EngineDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, message: str) -> None:
        """Print a line above the bars."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def progress(self, event: ModelLoading | Drafting) -> None:
        """Show that the model is being made ready; a large image has a bar of its own."""
        from napari_semigda.engine.events import Drafting

        if isinstance(event, Drafting):
            self._share_drafted(event)
            return
        part = f" {event.done / 2**20:.0f} of {event.total / 2**20:.0f} MB" if event.total else ""
        self._progress.update(self._round_bar, visible=True, description=f"{event.message}{part}")

    def show(self, event: object, drafts: DraftProgress) -> None:
        """Show one event of an engine whose drafts are so far."""
        from napari_semigda.engine import events

        match event:
            case events.RoundStarted(record):
                self._started(record)
            case events.FramingFitted(message):
                self.say(message)
            case events.Stepped():
                self._stepped(event)
            case events.RoundEnded(record):
                self._record = record
                self.round_is_over = True
                self._progress.update(self._round_bar, visible=False)
                self.say(f"Round {record.number} is {record.status}: {_duration(record)}.")
            case events.RoundFailed(_, message) | events.RoundNotSaved(_, message):
                self._failure = True
                warn(message)
            case events.Predicted():
                self._drafts += 1
                self._drafted(drafts)
            case events.PredictionFailed(item, message):
                self._failed_drafts += 1
                warn(f"{item.name}: {message}")
                self._drafted(drafts)

    def tell_how_to_go_on(self, session: Session) -> None:
        """Say how to take up again what was interrupted."""
        stopped = self._record is not None and self._record.status == "stopped"
        command = f"semigda {'train --resume' if stopped else 'predict'} {shlex.quote(str(session.folder))}"
        if stopped or session.last_model() is not None:
            self.say(f"Interrupted; what was done so far is kept. Go on with: {command}")
        else:
            self.say("Interrupted.")

    def finish(self) -> int:
        """Say how many images were predicted, and return the exit code: done, partly done or failed."""
        if self._drafts:
            self.say(f"{self._drafts} images predicted.")
        if self._failure or (self._failed_drafts and not self._drafts and not self.round_is_over):
            return FAILED
        return PARTLY_DONE if self._failed_drafts else DONE

    def _started(self, record: RoundRecord) -> None:
        self._record = record
        start = "from the last weights" if record.warm else "afresh"
        self.say(
            f"Round {record.number}, {start}: {len(record.labeled)} labeled and {record.unlabeled} "
            "unlabeled images."
        )

    def _stepped(self, event: Stepped) -> None:
        report = event.report
        of = f"/{report.steps}" if report.steps else ""
        loss = report.losses.get("total", sum(report.losses.values()))
        text = f"Stage {report.stage}, step {report.step}{of}, loss {loss:.3f}"
        remaining = "" if event.remaining is None else time_left(event.remaining)
        self._progress.update(
            self._round_bar, visible=True, description=text, completed=report.fraction, remaining=remaining
        )
        self._line(f"{text}, {remaining}" if remaining else text)

    def _share_drafted(self, event: Drafting) -> None:
        """Show how far a large image is."""
        text = f"Predicting {visible(event.item.name)}"
        self._progress.update(
            self._draft_bar, visible=True, description=text, completed=event.share, total=1.0, remaining=""
        )
        self._line(f"{text}: {100 * event.share:.0f} %")

    def _drafted(self, drafts: DraftProgress) -> None:
        part = f"{drafts.done:.0f} of {drafts.total}"
        left = "" if drafts.remaining is None else f", {time_left(drafts.remaining)}"
        self._progress.update(
            self._draft_bar,
            visible=True,
            description="Predicting",
            completed=drafts.done,
            total=drafts.total,
            remaining=part + left,
        )
        self._line(f"Predicted {part}{left}")

    def _line(self, text: str) -> None:
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= LINE_EVERY:
            self._last_line = now
            self.say(text)


def _duration(record: RoundRecord) -> str:
    return f"{record.steps} steps in {record.seconds:.0f} s"


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal, and nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def warn(message: str) -> None:
    """Print a warning where errors go."""
    SafeConsole(stderr=True).print(escape(message), style="yellow", soft_wrap=True, highlight=False)
