"""What the commands show while they work: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import codecs
import io
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from napari_semigda.interrupt import INTERRUPTED as INTERRUPTED
from napari_semigda.pace import Progress, counted, time_left

if TYPE_CHECKING:
    from napari_semigda.engine.engine import Engine
    from napari_semigda.engine.events import Drafting, DraftProgress, ModelLoading, Stepped
    from napari_semigda.session.rounds import RoundRecord
    from napari_semigda.session.session import Session

DONE, FAILED, PARTLY_DONE = 0, 1, 3
"""Exit codes; 2, wrong usage, is argparse's."""

LINE_EVERY = 10.0
"""Seconds between two lines where the output is no terminal."""

_READ_AS_ASCII = {
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("–—−", "-"),
    "…": "...",
    "×": "x",
    "µ": "u",
    "·": "-",
}
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class SafeConsole(Console):
    """A console that shows control characters in names as text, so that no file can steer the terminal."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return what is printed as rich's text."""
        return super().render_str(visible(text), **options)

    def say(self, text: str) -> None:
        """Print a line as it is: no markup, no colors, no line breaks added."""
        self.print(text, markup=False, highlight=False, soft_wrap=True)


def visible(text: str) -> str:
    r"""Write characters that a terminal obeys, and those that turn the direction of writing, as text.

    Examples
    --------
    >>> print(visible("red\x1b[31m.tif"))
    red\x1b[31m.tif
    """
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


def warn(*messages: str) -> None:
    """Print warnings to where errors go."""
    for message in messages:
        SafeConsole(stderr=True).print(escape(message), style="yellow", soft_wrap=True, highlight=False)


def make_output_safe() -> None:
    """Replace characters that the output's encoding lacks; for the whole program."""
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


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[Progress]:
    """Show a bar on a terminal, and nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def follow(engine: Engine, display: EngineDisplay, *, with_drafts: bool = True) -> int:
    """Let the engine work in this thread until nothing is left to do, and return the exit code.

    Ctrl-C ends it between two steps. Without drafts it ends when a round is over.
    """
    with _closing_on_interrupt(engine, display) as interrupted:
        while engine.start_work():
            for event in engine.work():
                display.show(event, engine.drafts)
                if display.round_is_over and not with_drafts:
                    engine.close()
    if interrupted:
        display.show_how_to_continue(engine.session)
        return INTERRUPTED
    return display.finish()


@contextmanager
def _closing_on_interrupt(engine: Engine, display: EngineDisplay) -> Iterator[list[int]]:
    """Close the engine on the first Ctrl-C; a second one ends it at once."""
    interrupted: list[int] = []

    def close(number: int, _: object) -> None:
        if interrupted:
            raise KeyboardInterrupt
        interrupted.append(number)
        engine.close()
        with suppress(RuntimeError):  # the signal may have come in the middle of another line
            display.console.say("Stopping after this step. Press Ctrl-C again to stop at once.")

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

    def __init__(self, console: SafeConsole) -> None:
        self.console = console
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[remaining]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._round_bar = self._bars.add_task("", visible=False, total=1.0, remaining="")
        self._draft_bar = self._bars.add_task("", visible=False, total=1.0, remaining="")
        self._last_line = -LINE_EVERY
        self._record: RoundRecord | None = None
        self._failed = False
        self._drafts = 0
        self._failed_drafts = 0
        self.round_is_over = False

    def __enter__(self) -> EngineDisplay:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def progress(self, event: ModelLoading | Drafting) -> None:
        """Show how far the loading of the model or the draft of a large image is."""
        from napari_semigda.engine.events import Drafting

        if isinstance(event, Drafting):
            text = f"Predicting {visible(event.item.name)}"
            self._show(self._draft_bar, text, event.share, line=f"{text}: {100 * event.share:.0f}%")
            return
        part = f" {event.done / 2**20:.0f} of {event.total / 2**20:.0f} MB" if event.total else ""
        self._bars.update(self._round_bar, visible=True, description=f"{event.message}{part}")

    def show(self, event: object, drafts: DraftProgress) -> None:
        """Show one event of an engine and the progress of its drafts."""
        from napari_semigda.engine import events

        match event:
            case events.RoundStarted(record):
                self._record = record
                start = "from the last round's weights" if record.warm else "from scratch"
                if record.steps:
                    start = f"resumed after {counted(record.steps, 'step')}"
                images = f"{len(record.labeled)} labeled and {record.unlabeled} unlabeled images"
                self.console.say(f"Round {record.number}, {start}: {images}.")
            case events.FramingFitted(message):
                self.console.say(message)
            case events.Stepped():
                self._stepped(event)
            case events.RoundEnded(record):
                self._record = record
                self.round_is_over = True
                self._bars.update(self._round_bar, visible=False)
                took = f"{counted(record.steps, 'step')} in {record.seconds:.0f} s"
                self.console.say(f"Round {record.number} is {record.status}: {took}.")
            case events.RoundFailed(_, message) | events.RoundNotSaved(_, message):
                self._failed = True
                warn(message)
            case events.Predicted():
                self._drafts += 1
                self._drafted(drafts)
            case events.PredictionFailed(item, message):
                self._failed_drafts += 1
                warn(f"{item.name}: {message}")
                self._drafted(drafts)

    def show_how_to_continue(self, session: Session) -> None:
        """Say how to continue what was interrupted."""
        stopped = self._record is not None and self._record.status == "stopped"
        command = f"semigda {'train --resume' if stopped else 'predict'} {shlex.quote(str(session.folder))}"
        if stopped or session.rounds.last_model() is not None:
            self.console.say(f"Interrupted. What was done so far is saved. To continue: {command}")
        else:
            self.console.say("Interrupted.")

    def finish(self) -> int:
        """Say how many images were predicted, and return the exit code: done, partly done or failed."""
        if self._drafts:
            self.console.say(f"{counted(self._drafts, 'image')} predicted.")
        if self._failed or (self._failed_drafts and not self._drafts and not self.round_is_over):
            return FAILED
        return PARTLY_DONE if self._failed_drafts else DONE

    def _stepped(self, event: Stepped) -> None:
        report = event.report
        of = f"/{report.steps}" if report.steps else ""
        loss = report.losses.get("total", sum(report.losses.values()))
        text = f"Stage {report.stage}, step {report.step}{of}, loss {loss:.3f}"
        remaining = "" if event.remaining is None else time_left(event.remaining)
        line = f"{text}, {remaining}" if remaining else text
        self._show(self._round_bar, text, report.fraction, remaining=remaining, line=line)

    def _drafted(self, drafts: DraftProgress) -> None:
        part = f"{drafts.done:.0f} of {drafts.total}"
        if drafts.remaining is not None:
            part += f", {time_left(drafts.remaining)}"
        self._show(self._draft_bar, "Predicting", drafts.done, drafts.total, part, line=f"Predicted {part}")

    def _show(
        self, bar: Any, text: str, done: float, total: float = 1, remaining: str = "", *, line: str
    ) -> None:
        self._bars.update(
            bar, visible=True, description=text, completed=done, total=total, remaining=remaining
        )
        now = time.monotonic()
        if not self.console.is_terminal and now - self._last_line >= LINE_EVERY:
            self._last_line = now
            self.console.say(line)
