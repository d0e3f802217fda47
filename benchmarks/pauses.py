"""For how long does the window stand still, from opening the dock to closing it?

    python benchmarks/pauses.py --images BUSI/images --count 60 --runs 3

Each run is a process of its own: napari with the plugin on a new session in a temporary folder (of drawn
lesions where no folder of images is given), worked with mouse and keys. A timer that should fire every 5 ms
on the main thread tells for how long the window did nothing else. Without a display, run it under
`xvfb-run -s "-screen 0 1400x900x24"`.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from qtpy.QtCore import QEventLoop, QPoint, Qt, QTimer
from qtpy.QtTest import QTest

INTERVAL = 5  # milliseconds between two ticks
ACCEPTED = 5  # masks accepted before the round, and in it
PAUSE = 0.5  # seconds that the annotator looks at an image
SHORT = 50  # milliseconds: what people do not see
PATIENCE = 180.0


class Pauses:
    """Milliseconds from one tick of the window's thread to the next, by what is being done."""

    def __init__(self, blame: bool) -> None:
        self.found: dict[str, list[float]] = {}
        self.seconds: dict[str, float] = {}
        self._doing: str | None = None
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._timer.start(INTERVAL)
        if blame:
            threading.Thread(target=self._blame, args=(threading.get_ident(),), daemon=True).start()

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Count what comes as pauses of this."""
        self._tick()
        self._doing = what
        began = time.perf_counter()
        yield
        settle(0.1)
        self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - began - 0.1
        self._doing = None

    def _tick(self) -> None:
        now = time.perf_counter()
        if self._doing is not None:
            self.found.setdefault(self._doing, []).append(1000 * (now - self._last))
        self._last = now

    def _blame(self, main: int) -> None:
        """Print where the main thread is when it has not ticked for a while."""
        told = 0.0
        while True:
            time.sleep(0.02)
            if time.perf_counter() - self._last > 0.1 and self._last != told:
                told = self._last
                print(f"--- {self._doing}", file=sys.stderr)
                for name, thread in [("main", main)]:
                    frames = traceback.extract_stack(sys._current_frames()[thread])
                    print(name, "".join(traceback.format_list(frames[-14:])), file=sys.stderr)


def settle(seconds: float) -> None:
    """Let the window go on by itself."""
    loop = QEventLoop()
    QTimer.singleShot(round(1000 * seconds), Qt.TimerType.PreciseTimer, loop.quit)
    loop.exec()


def wait(condition: Callable[[], bool]) -> None:
    """Let the window go on until something is true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("waited in vain")
        settle(0.02)


def work(session: Path, output: Path, blame: bool) -> Pauses:
    """Open napari, and go through a session as an annotator does."""
    import napari

    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1280, 800)
    settle(2)
    pauses = Pauses(blame)
    with pauses.of("opening the dock"):
        _, widget = viewer.window.add_plugin_dock_widget("napari-semigda", "Annotate and train")
        wait(lambda: getattr(widget, "ready", True))
    settle(1)
    with pauses.of("opening the session, until its image is there"):
        widget.open_session(session)
        wait(lambda: widget.controller.annotation is not None and widget.controller.annotation.visible)
    with pauses.of("the second after"):
        settle(1)
    controller, canvas = widget.controller, viewer.window._qt_viewer.canvas.native
    wait(lambda: not controller.runner.busy)

    def press(button: object) -> None:
        key = next(key for key, one in widget.buttons.items() if one is button)
        QTest.keyClick(canvas, getattr(Qt.Key, f"Key_{key.label.split('+')[-1]}"))

    def stroke() -> None:
        middle = QPoint(canvas.width() // 2, canvas.height() // 2)
        QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=middle)
        for step in range(20):
            QTest.mouseMove(canvas, middle + QPoint(3 * step, 2 * step))
            settle(0.005)
        QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=middle + QPoint(60, 40))

    def accept(note: str) -> None:
        before = controller.annotation.item
        with pauses.of(f"a stroke{note}"):
            stroke()
            settle(PAUSE)
        with pauses.of(f"accepting, until the next image is there{note}"):
            press(widget.mask_panel.accept_and_go_on)
            wait(lambda: controller.annotation.item != before)
            settle(PAUSE)

    for _ in range(ACCEPTED):
        accept("")
    with pauses.of("the next image"):
        for _ in range(ACCEPTED):
            press(widget.image_panel.next)
            settle(PAUSE)
    train = widget.train_panel
    train.minutes.setValue(1.0)
    with pauses.of("starting a round, until its third step"):
        train.train.click()
        wait(lambda: controller.progress.steps >= 3)
    for _ in range(ACCEPTED):
        accept(" in the round")
    with pauses.of("ending the round"):
        train.stop.click()
        wait(lambda: not controller.progress.active)
    with pauses.of("the drafts that come then"):
        settle(3)
    controller.runner.engine.cancel_drafts()
    wait(lambda: not controller.runner.busy)
    with pauses.of("exporting"):
        export(widget, output)
    with pauses.of("closing the dock"):
        viewer.window.remove_dock_widget(widget)
        wait(lambda: controller.session is None)
    return pauses


def export(widget: object, folder: Path) -> None:
    """Export the masks to a folder, as the button does, and wait for the last."""
    section = widget.export_panel
    section.folder.set_text(str(folder))
    section.export.click()
    wait(lambda: not section.running and bool(section.outcome.text()))


def run(arguments: argparse.Namespace) -> None:
    """Do one run and print what was found as JSON."""
    pauses = work(arguments.session, arguments.output, arguments.blame)
    print(json.dumps({"pauses": pauses.found, "seconds": pauses.seconds}))
    sys.stdout.flush()
    os._exit(0)


def table(runs: list[dict[str, dict]]) -> str:
    """The longest pauses, and how many can be seen, of all runs."""
    lines = [
        f"| what | takes, s | longest pause, ms (median run) | worst run | pauses above {SHORT} ms a run |",
        "|---|---|---|---|---|",
    ]
    for what in runs[0]["pauses"]:
        found = [one["pauses"][what] for one in runs]
        longest = [max(one) for one in found]
        seen = statistics.mean(sum(pause > SHORT for pause in one) for one in found)
        seconds = statistics.median(one["seconds"][what] for one in runs)
        lines.append(
            f"| {what} | {seconds:.1f} | {statistics.median(longest):.0f} | {max(longest):.0f} | {seen:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Read the arguments, do the runs, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="a folder of pictures; else some are drawn")
    parser.add_argument("--count", type=int, default=60, help="images in the session")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--blame", action="store_true", help="tell where the window stands still")
    parser.add_argument("--session", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.session is not None:
        run(arguments)
        return
    runs = []
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory(prefix="semigda-") as name:
            session, output = new_session(Path(name), arguments), Path(name) / "export"
            output.mkdir()
            words = [sys.executable, __file__, "--session", str(session), "--output", str(output)]
            words += ["--blame"] * arguments.blame
            environment = os.environ | {"NAPARI_CONFIG": str(Path(name) / "settings.yaml")}
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=environment)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{arguments.runs} runs, {arguments.count} images, {datetime.date.today()}\n\n{table(runs)}")


def new_session(folder: Path, arguments: argparse.Namespace) -> Path:
    """Make a session, in this process, which is not measured."""
    from napari_semigda import Session
    from napari_semigda.io.pictures import find_pictures
    from next_image import drawn_pictures

    if arguments.images is not None:
        pictures = find_pictures(arguments.images)[: arguments.count]
    else:
        pictures = drawn_pictures(folder, arguments.count, 512)
    Session.create(folder / "session", pictures, classes=["lesion"]).close()
    return folder / "session"


if __name__ == "__main__":
    main()
