"""Does the window stay free while a round trains and somebody annotates?

    python benchmarks/responsiveness.py --images BUSI/images --seconds 60
    python benchmarks/responsiveness.py --seconds 60

Opens napari with the plugin on a new session in a temporary folder (of drawn lesions where no folder of
images is given), paints with the mouse, accepts and goes on, then does the same while a round trains, and
then, with its hands off, asks for drafts of other images in it. A timer that should fire every 10 ms on the
main thread tells for how long the window did nothing else. Without a display, run it under
`xvfb-run -s "-screen 0 1400x900x24"`.
"""

import argparse
import datetime
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import napari
import numpy as np
import torch
from qtpy.QtCore import Qt, QTimer

from annotator import Annotator, settle
from napari_semigda import Session
from napari_semigda.engine.events import Predicted, Stepped
from napari_semigda.io.pictures import find_pictures
from napari_semigda.model import device as devices
from napari_semigda.session.items import Item, ItemState
from napari_semigda.widgets.panels.round_progress import Phase
from napari_semigda.widgets.runner import EngineRunner
from next_image import drawn_pictures

WINDOW = (1280, 800)
FIRST = 5  # masks accepted before the round
WARM_UP = 3  # steps of the first round, and of the second one before anything is measured
INTERVAL = 10  # milliseconds between two ticks
POINTS = 40  # of a stroke
DRAFTS = 10  # asked for in the round
PAUSE = 0.5  # seconds that the annotator looks at an image


class Ticks:
    """A timer on the main thread, and the milliseconds from each of its ticks to the next."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self._last: float | None = None
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        """Begin to tick."""
        self._timer.start(INTERVAL)

    def stop(self) -> None:
        """Tick no more."""
        self._timer.stop()

    def _tick(self) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self.gaps.append(1000 * (now - self._last))
        self._last = now


class Drafting:
    """Asks for drafts during a round, one after another, and counts the steps that each takes to come."""

    def __init__(self, annotator: Annotator, runner: EngineRunner) -> None:
        self.waits: list[float] = []
        self.steps: list[float] = []
        self.step_while_painting = math.nan
        self._annotator, self._runner = annotator, runner
        self._drafted: set[str] = set()
        runner.happened.connect(self._follow)

    def ask_for(self, items: Sequence[Item]) -> None:
        """Ask for these drafts, each at another moment of a step; steps are counted from now on."""
        self.step_while_painting = statistics.median(self.steps)
        self.steps.clear()
        for place, item in enumerate(items):
            settle(place / len(items) * self.step_while_painting)
            self._drafted.discard(item.id)
            asked = time.perf_counter()
            self._runner.engine.request_drafts([item], urgent=True)
            self._annotator.wait(lambda item=item: item.id in self._drafted, "a draft")
            self.waits.append(time.perf_counter() - asked)

    def _follow(self, event: object) -> None:
        if isinstance(event, Stepped):
            self.steps.append(event.report.seconds)
        elif isinstance(event, Predicted):
            self._drafted.add(event.item.id)


class Accepting:
    """Accepts what is on the screen with the key, and measures until the disk and until the canvas."""

    def __init__(self, annotator: Annotator) -> None:
        self.to_disk: list[float] = []
        self.to_next: list[float] = []
        self._annotator = annotator
        self._drawn: list[float] = []
        canvas = annotator.viewer.window._qt_viewer.canvas._scene_canvas
        canvas.events.draw.connect(lambda event: self._drawn.append(time.perf_counter()), position="last")

    def accept(self) -> None:
        """Press the key; comes back when the next image was drawn."""
        item, session = self._annotator.item, self._annotator.widget.controller.session
        started = time.perf_counter()
        self._annotator.press_at_once(self._annotator.widget.mask_panel.accept_and_go_on)
        assert session.state(item) is ItemState.ACCEPTED
        self.to_disk.append(1000 * (time.perf_counter() - started))
        self._drawn.clear()
        self._annotator.wait(lambda: bool(self._drawn), "the next image")
        self.to_next.append(1000 * (self._drawn[0] - started))


def circle(shape: tuple[int, int]) -> np.ndarray:
    """Points (y, x) of a stroke round the middle of a picture."""
    angles = np.linspace(0, 2 * np.pi, POINTS)
    middle, radius = np.array(shape) / 2, min(shape) / 5
    return middle + radius * np.stack([np.sin(angles), np.cos(angles)], axis=1)


def session_with_masks(folder: Path, pictures: Sequence[Path]) -> None:
    """Make a session, and accept a disc in its first images."""
    with Session.create(folder, pictures, classes=["lesion"]) as session:
        for item in session.items[:FIRST]:
            rows, columns = np.ogrid[: item.shape[0], : item.shape[1]]
            middle = np.hypot(rows - item.shape[0] / 2, columns - item.shape[1] / 2)
            session.accept(item, (middle < min(item.shape) / 5).astype(np.uint8))


def show(viewer: napari.Viewer) -> None:
    """Show the window, large enough for a canvas beside the dock."""
    viewer.window._qt_window.resize(*WINDOW)
    viewer.window._qt_window.show()


class Measured(NamedTuple):
    """What was measured.

    Attributes
    ----------
    alone, in_round
        Ticks and accepting while nothing trained, and while a round did.
    drafting
        Drafts asked for in the round.
    first_step
        Seconds from pressing *Train* to the end of the first step of the first round.
    """

    alone: tuple[Ticks, Accepting]
    in_round: tuple[Ticks, Accepting]
    drafting: Drafting
    first_step: float


def work(annotator: Annotator, seconds: float) -> Measured:
    """Annotate for so long without a round, and for so long in one."""
    controller, section = annotator.widget.controller, annotator.widget.train_panel
    session, runner, progress = controller.session, controller.runner, controller.progress
    annotator.wait(lambda: not runner.busy, "the end of describing the images")
    end = time.monotonic() + seconds
    alone = annotate(annotator, lambda: time.monotonic() < end)
    first_step = _short_round(annotator)  # for there are no drafts before
    section.minutes.setValue(2 + seconds / 60)
    annotator.click(section.train)
    annotator.wait(lambda: progress.phase is Phase.TRAINING and progress.steps >= WARM_UP, "the second round")
    drafting = Drafting(annotator, runner)
    end = time.monotonic() + seconds
    in_round = annotate(annotator, lambda: time.monotonic() < end and progress.phase is Phase.TRAINING)
    runner.engine.cancel_drafts()
    drafting.ask_for(session.items[-DRAFTS:])
    annotator.click(section.stop)
    annotator.wait(lambda: not progress.active, "the end of the round")
    runner.engine.cancel_drafts()  # the drafts of all other images, which nobody waits for here
    annotator.wait(lambda: not runner.busy, "the end of the last draft")
    return Measured(alone, in_round, drafting, first_step)


def annotate(annotator: Annotator, going_on: Callable[[], bool]) -> tuple[Ticks, Accepting]:
    """Paint a stroke, look, accept and look at the next image, again and again."""
    ticks, accepting = Ticks(), Accepting(annotator)
    ticks.start()
    while going_on():
        annotator.drag(circle(annotator.item.shape))
        settle(PAUSE)
        accepting.accept()
        settle(PAUSE)
    ticks.stop()
    return ticks, accepting


def _short_round(annotator: Annotator) -> float:
    """Train a few steps; return the seconds until the first was done."""
    section, progress = annotator.widget.train_panel, annotator.widget.controller.progress
    section.steps.setValue(WARM_UP)
    pressed = time.perf_counter()
    annotator.click(section.train)
    annotator.wait(lambda: progress.steps > 0, "the first step")
    first_step = time.perf_counter() - pressed
    annotator.wait(lambda: not progress.active, "the end of the first round")
    section.steps.setValue(0)
    return first_step


def table(measured: Measured) -> str:
    """What was measured, beside what it should be."""
    (ticks, accepting), (ticks_in_round, accepting_in_round) = measured.alone, measured.in_round
    step = statistics.median(measured.drafting.steps)
    rows = (
        ("from one tick to the next, ms", ticks.gaps, ""),
        ("the same in a round", ticks_in_round.gaps, "99 % ≤ 50, longest ≤ 200"),
        ("accepting, until the mask is on the disk, ms", accepting.to_disk, ""),
        ("the same in a round", accepting_in_round.to_disk, "≤ 100"),
        ("accepting, until the next image is drawn, ms", accepting.to_next, ""),
        ("the same in a round", accepting_in_round.to_next, "≤ 150"),
        ("a draft asked for, until it is there, steps", [w / step for w in measured.drafting.waits], "≤ 1.5"),
        ("pressing *Train*, until the first step is done, s", [measured.first_step], "≤ 3"),
    )
    lines = ["| what | times | median | 99 % | longest | aim |", "|---|---|---|---|---|---|"]
    for words, values, aim in rows:
        if values:
            share = np.percentile(values, 99)
            numbers = f"{statistics.median(values):.1f} | {share:.1f} | {max(values):.1f}"
            lines.append(f"| {words} | {len(values)} | {numbers} | {aim} |")
    return "\n".join(lines)


def main() -> None:
    """Read the arguments, open napari, work, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="a folder of pictures; else some are drawn")
    parser.add_argument("--drawn", type=int, default=512, metavar="SIDE", help="side of drawn pictures")
    parser.add_argument("--count", type=int, default=100, help="images in the session")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long it is measured")
    parser.add_argument(
        "--turn", type=float, default=devices.TURN, help="seconds for which one of Python's threads may go on"
    )
    arguments = parser.parse_args()
    devices.TURN = arguments.turn
    with tempfile.TemporaryDirectory(prefix="semigda-") as name:
        folder = Path(name)
        if arguments.images is not None:
            pictures = find_pictures(arguments.images)[: arguments.count]
        else:
            pictures = drawn_pictures(folder, arguments.count, arguments.drawn)
        session_with_masks(folder / "session", pictures)
        viewer = napari.Viewer(show=False)
        _, widget = viewer.window.add_plugin_dock_widget("napari-semigda", "Annotate and train")
        show(viewer)
        widget.open_session(folder / "session")
        try:
            device = widget.controller.runner.engine.device
            measured = work(Annotator(viewer, widget, {}), arguments.seconds)
        finally:
            widget.close_down()
            viewer.close()
    steps = measured.drafting.step_while_painting, statistics.median(measured.drafting.steps)
    print(
        f"{device}, torch {torch.__version__}, {len(pictures)} images, {arguments.seconds:.0f} s, "
        f"a step {steps[0]:.2f} s while somebody paints and {steps[1]:.2f} s else, {datetime.date.today()}\n"
    )
    print(table(measured))


if __name__ == "__main__":
    main()
