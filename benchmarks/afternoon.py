"""An annotator's afternoon at the real window: how long each wait is, whether every accepted mask is kept.

    python benchmarks/afternoon.py --images FOLDER --masks FOLDER --count 60 --seconds 60
    python benchmarks/afternoon.py --samples --pictures FOLDER

Opens napari on a new session of some images. Somebody who knows the truth paints with the real brush and
accepts; trains a round and goes on accepting meanwhile; pauses, continues; goes back and forth, undoes,
corrects what was accepted before, adds a class; corrects drafts; closes napari in the midst of a round; opens
it again, resumes the round, and exports. At the end every mask on the disk, and every exported one, must be
the accepted one, bit by bit. Prints a table of the waits: what a clock showed, and what the processor worked
meanwhile, in all threads, for machines that are shared. Without a display, run it under
`xvfb-run -s "-screen 0 1400x900x24"`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import napari
import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialog, QLabel, QLineEdit, QPushButton
from skimage.io import imread

from annotator import ALIKE, Annotator, dice, settle
from napari_semigda.session.items import Item, ItemState
from napari_semigda.widgets.dock import SemiGDAWidget
from napari_semigda.widgets.panels.classes import KEEP
from napari_semigda.widgets.panels.new_session import NewSessionDialog
from napari_semigda.widgets.panels.round_progress import Phase
from truths import ask_for_pictures, chosen_pairs, collect

WINDOW = (1280, 800)
DRAWN = 5.0  # seconds after which an image that was not drawn is not waited for: the screen cannot draw

OpenWindow = Callable[[], tuple[napari.Viewer, SemiGDAWidget]]


@dataclass(frozen=True)
class Plan:
    """What the afternoon is about.

    Attributes
    ----------
    images : Path
        Folder of the images.
    truths : dict of str to Path
        True mask of each image, by the image's stem.
    name : str
        Of the class.
    working_size : int
        Of the network.
    seconds : float
        Length of a round.
    patience : float
        After so many seconds of waiting for a round, *Stop* is pressed.
    first, meanwhile, corrected : int
        Images accepted before the first round, while it runs, and after each round.
    points : int
        How many points the mouse passes on its way round an object.
    output : Path or None
        Folder for pictures of the window.
    """

    images: Path
    truths: dict[str, Path]
    name: str = "lesion"
    working_size: int = 128
    seconds: float = 60.0
    patience: float = 120.0
    first: int = 5
    meanwhile: int = 20
    corrected: int = 5
    points: int = 24
    output: Path | None = None


@dataclass(frozen=True)
class Wait:
    """Seconds by the clock, and of the processor in all threads."""

    clock: float
    processor: float


@dataclass
class Report:
    """What the afternoon came to.

    Attributes
    ----------
    waits : dict of str to list of Wait
        By what was waited for.
    counts : dict of str to int
        Of what was done, and of what was compared and found the same.
    questions : list of str
        What napari asked before it closed.
    folder : Path
        Of the session.
    """

    waits: dict[str, list[Wait]] = field(default_factory=lambda: defaultdict(list))
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    questions: list[str] = field(default_factory=list)
    folder: Path = Path()

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Write down how long something takes."""
        clock, processor = time.perf_counter(), time.process_time()
        yield
        self.waits[what].append(Wait(time.perf_counter() - clock, time.process_time() - processor))

    def table(self) -> str:
        """Waits and counts in Markdown."""
        lines = ["| wait | times | median, s | worst, s | processor, median, s |", "|---|---|---|---|---|"]
        for what, waits in self.waits.items():
            clock, processor = [one.clock for one in waits], [one.processor for one in waits]
            numbers = (statistics.median(clock), max(clock), statistics.median(processor))
            lines.append(f"| {what} | {len(waits)} | {' | '.join(f'{number:.3f}' for number in numbers)} |")
        lines += ["", "| | number |", "|---|---|"]
        lines += [f"| {what} | {number} |" for what, number in self.counts.items()]
        return "\n".join(lines)


class Afternoon:
    """The annotator's work from the first image to the export.

    Parameters
    ----------
    plan : Plan
        What it is about.
    open_window : callable
        Opens napari with the dock; called again after napari was closed.
    """

    def __init__(self, plan: Plan, open_window: OpenWindow) -> None:
        self.plan = plan
        self.report = Report()
        self.accepted: dict[str, NDArray[np.uint8]] = {}
        self._open_window = open_window
        self._sit_down()

    def _sit_down(self) -> None:
        viewer, widget = self._open_window()
        self.annotator = Annotator(viewer, widget, self.plan.truths, self.plan.output, self.plan.points)
        self._drawn: list[float] = []
        canvas = viewer.window._qt_viewer.canvas._scene_canvas
        canvas.events.draw.connect(lambda event: self._drawn.append(time.perf_counter()), position="last")

    @property
    def widget(self) -> SemiGDAWidget:
        """The dock."""
        return self.annotator.widget

    @property
    def phase(self) -> Phase:
        """What the engine is at."""
        return self.widget.controller.progress.phase

    def run(self) -> Report:
        """Work through the afternoon; raise AssertionError where something is not as it should be."""
        self.make_session()
        self.paint_and_accept(self.plan.first)
        self.begin_round()
        self.pause_and_go_on()
        self.accept_in_a_round()
        self.go_back_and_forth()
        self.correct_accepted()
        self.add_class()
        self.end_round()
        self.annotator.picture("drafts")
        self.correct_drafts()
        self.close_in_a_round()
        self.open_again()
        self.resume()
        self.correct_drafts()
        self.export()
        self.check_disk()
        self.widget.close_down()
        return self.report

    # The session -------------------------------------------------------------------------------

    def make_session(self) -> None:
        """Fill in the dialog for a new session."""
        controller = self.widget.controller
        dialog = NewSessionDialog([], self.plan.images.parent, self.widget)
        dialog.images.set_text(str(self.plan.images))
        dialog.classes.setText(self.plan.name)
        dialog.working_size.setValue(self.plan.working_size)
        plan = dialog.plan()
        dialog.deleteLater()
        with self.report.waiting("new session, until the first image"):
            controller.create(plan.make)
            self.annotator.wait(lambda: controller.annotation is not None, "the session")
        self.report.folder = plan.folder
        self.report.counts["images"] = len(controller.session.items)
        self.annotator.picture("session")

    def open_again(self) -> None:
        """Open napari and the session again: it goes on where it was."""
        self._sit_down()
        with self.report.waiting("opening the session again"):
            self.widget.open_session(self.report.folder)
        assert self.annotator.item.id == self._left_at
        np.testing.assert_array_equal(self.annotator.mask.data, self._left)
        self.check_disk()
        self.annotator.picture("opened_again")

    def check_disk(self) -> None:
        """Compare every label file with what was accepted last."""
        files = {path.stem: path for path in (self.report.folder / "labels").glob("*.tif")}
        masks = {name: path for name, path in files.items() if not name.partition(".")[2]}
        assert set(masks) == set(self.accepted), set(masks) ^ set(self.accepted)
        for name, accepted in self.accepted.items():
            _assert_same(imread(masks[name]), accepted)
        self.report.counts["accepted images"] = len(self.accepted)
        self.report.counts["masks on the disk as accepted"] = len(masks)

    # Annotating --------------------------------------------------------------------------------

    def paint_and_accept(self, count: int, when: str = "") -> None:
        """Make the masks the queue asks for right with the brush, and accept them."""
        for _ in range(count):
            with self.report.waiting("painting one image"):
                self.annotator.correct()
            self.accept_and_go_on(when)

    def accept_and_go_on(self, when: str = "") -> None:
        """Press the key; the mask must be on the disk, and another image on the screen."""
        annotator, session = self.annotator, self.widget.controller.session
        item, mask = annotator.item, annotator.mask.data.copy()
        label = f", {when}" if when and self.phase in (Phase.TRAINING, Phase.PREPARING) else ""
        drawn, on_disk = self._drawn, []
        annotation = self.widget.controller.annotation
        clock, processor = time.perf_counter(), time.process_time()

        def note() -> None:
            on_disk.append(Wait(time.perf_counter() - clock, time.process_time() - processor))

        annotation.states_changed.connect(note)
        annotator.press_at_once(self.widget.mask_panel.accept_and_go_on)
        drawn.clear()
        while not drawn and time.perf_counter() < clock + DRAWN:
            QApplication.processEvents()
        now = Wait(time.perf_counter() - clock, time.process_time() - processor)
        annotation.states_changed.disconnect(note)
        if drawn:
            self.report.waits[f"accepting, until the next image is drawn{label}"].append(now)
        self.report.waits[f"accepting, until the mask is on the disk{label}"].append(on_disk[0])
        assert annotator.item != item
        self._is_accepted(item, mask)
        assert session.state(item) is ItemState.ACCEPTED
        if label:
            self.report.counts["accepted while a round ran"] += 1

    def _is_accepted(self, item: Item, mask: NDArray[np.uint8]) -> None:
        """Read the label file, and remember the mask."""
        _assert_same(imread(self.report.folder / "labels" / f"{item.id}.tif"), mask)
        self.accepted[item.id] = mask

    # Here and there ----------------------------------------------------------------------------

    def go_back_and_forth(self) -> None:
        """Paint, go elsewhere, undo there, come back: strokes stay, and undo stays in its image."""
        annotator, image = self.annotator, self.widget.image_panel
        here, there = (image.next, image.previous), (image.previous, image.next)
        forth, back = here if image.next.isEnabled() else there
        self._stroke()
        item, painted = annotator.item, annotator.mask.data.copy()
        annotator.press(forth)
        assert annotator.item != item
        self._undo_changes_nothing()
        annotator.press(back)
        assert annotator.item == item
        _assert_same(annotator.mask.data, painted)
        self._undo_changes_nothing()
        self._stroke(1)
        annotator.undo()
        _assert_same(annotator.mask.data, painted)
        self.accept_and_go_on()
        self._undo_changes_nothing()
        self.check_disk()

    def correct_accepted(self) -> None:
        """Find an accepted image in the table, correct it, and accept it again."""
        annotator, queue = self.annotator, self.widget.table_panel
        name = next(iter(self.accepted))
        index = queue.model.row(name)
        queue.table.scrollTo(index)
        settle()
        place = queue.table.visualRect(index).center()
        QTest.mouseClick(queue.table.viewport(), Qt.MouseButton.LeftButton, pos=place)
        settle()
        item = annotator.item
        assert item.id == name
        _assert_same(annotator.mask.data, self.accepted[name])
        self._stroke(0)
        mask = annotator.mask.data.copy()
        assert not np.array_equal(mask, self.accepted[name])
        annotator.press(self.widget.mask_panel.accept)
        assert annotator.item == item
        self._is_accepted(item, mask)
        self.report.counts["accepted again after a correction"] += 1
        annotator.picture("accepted_again")
        annotator.press(self.widget.image_panel.next_suggested)

    def add_class(self) -> None:
        """Add a class, type its name, paint with it, and go back to the first."""
        classes, session = self.widget.classes_panel, self.widget.controller.session
        self.annotator.click(classes.add)
        editor = classes.list.findChild(QLineEdit)
        QTest.keyClicks(editor, "shadow")
        self.annotator.picture("class_added")
        with self._answering(KEEP, "class_question") as pressed:
            QTest.keyClick(editor, Qt.Key.Key_Return)
            self.annotator.wait(lambda: bool(pressed), "the question about accepted masks")
            settle()
        assert [info.name for info in session.classes] == [self.plan.name, "shadow"]
        self._stroke()
        assert (self.annotator.mask.data == 2).any()
        self.annotator.picture("class_painted")
        self.accept_and_go_on()
        place = classes.list.visualItemRect(classes.list.item(0)).center()
        QTest.mouseClick(classes.list.viewport(), Qt.MouseButton.LeftButton, pos=place)
        assert self.annotator.mask.selected_label == 1
        self.report.counts["classes added"] += 1

    def _stroke(self, label: int | None = None) -> None:
        """Draw a stroke with the brush, or with the eraser, across the middle of the image."""
        mask = self.annotator.mask
        mask.mode, mask.brush_size = "erase" if label == 0 else "paint", max(3, min(mask.data.shape) // 12)
        height, width = mask.data.shape
        before = mask.data.copy()
        self.annotator.drag(np.linspace((0.5 * height, 0.2 * width), (0.6 * height, 0.8 * width), 12))
        mask.mode = "paint"
        if np.array_equal(mask.data, before):
            self.annotator.drag(np.linspace((0.1 * height, 0.1 * width), (0.1 * height, 0.9 * width), 12))

    def _undo_changes_nothing(self) -> None:
        before = self.annotator.mask.data.copy()
        for _ in range(3):
            self.annotator.undo()
        _assert_same(self.annotator.mask.data, before)
        self.report.counts["times undo did not reach into another image"] += 1

    def correct_drafts(self) -> None:
        """Correct and accept the drafts that the queue asks for."""
        self.annotator.press(self.widget.image_panel.next_suggested)
        waiting = sum(state.waits for state in self.widget.controller.session.states())
        for _ in range(min(self.plan.corrected, waiting - 1)):  # after each there has to be another to show
            good = dice(self.annotator.mask.data == 1, self.annotator.truth()) >= ALIKE
            self.report.counts["drafts good enough" if good else "drafts drawn anew"] += 1
            self.paint_and_accept(1)

    # Rounds ------------------------------------------------------------------------------------

    def begin_round(self) -> None:
        """Train, until the first steps are made."""
        section, progress = self.widget.train_panel, self.widget.controller.progress
        section.minutes.setValue(self.plan.seconds / 60)
        with self.report.waiting("a round, until its second step"):
            self.annotator.click(section.train)
            self.annotator.wait(lambda: self.phase is Phase.TRAINING and progress.steps > 1, "the round")

    def pause_and_go_on(self) -> None:
        """Pause the round, accept a mask, and let it go on."""
        controller, section = self.widget.controller, self.widget.train_panel
        with self.report.waiting("pausing a round"):
            self.annotator.click(section.pause)
            self.annotator.wait(
                lambda: self.phase is Phase.PAUSED and not controller.runner.busy, "the pause"
            )
        self.annotator.picture("paused")
        self.paint_and_accept(1)
        steps = controller.progress.steps
        with self.report.waiting("going on after a pause, until the next step"):
            self.annotator.click(section.pause)
            self.annotator.wait(lambda: controller.progress.steps > steps, "the next step")

    def accept_in_a_round(self) -> None:
        """Paint and accept while a round runs, and begin another where it has ended."""
        for number in range(self.plan.meanwhile):
            if not self.widget.controller.progress.active:
                self.begin_round()
            self.paint_and_accept(1, "in a round")
            if number == self.plan.meanwhile // 2:
                self.annotator.picture("in_a_round")

    def end_round(self) -> None:
        """Wait for the end of the round, or press Stop; then for the drafts."""
        controller, clock = self.widget.controller, time.monotonic()
        over = lambda: not controller.progress.active  # noqa: E731
        self.annotator.wait(lambda: over() or time.monotonic() > clock + self.plan.patience, "the round")
        if not over():
            with self.report.waiting("stopping a round"):
                self.annotator.click(self.widget.train_panel.stop)
                self.annotator.wait(over, "the end of the round")
        with self.report.waiting("drafts of all other images"):
            self.annotator.wait(lambda: self.phase is Phase.IDLE and not controller.runner.busy, "the drafts")
        record = controller.session.rounds[-1]
        assert record.status in ("complete", "stopped"), record.message
        self.report.waits["training in a round"].append(Wait(record.seconds, float("nan")))
        self.report.counts[f"steps of round {record.number}"] = record.steps
        self.report.counts[f"masks round {record.number} learned from"] = len(record.labeled)

    def resume(self) -> None:
        """Go on with the round that was stopped by closing."""
        session = self.widget.controller.session
        assert session.rounds[-1].status == "stopped"
        steps = session.rounds[-1].steps
        self.widget.sections["Train"].expand(animate=False)
        self.annotator.click(self.widget.train_panel.resume)
        self.annotator.wait(lambda: self.widget.controller.progress.steps > steps, "the round to go on")
        self.annotator.picture("resumed")
        self.end_round()
        assert session.rounds[-1].steps > steps

    # Closing and exporting ---------------------------------------------------------------------

    def close_in_a_round(self) -> None:
        """Close napari while a round runs and a mask is half painted: first think better of it."""
        controller = self.widget.controller
        self.begin_round()
        self._stroke()
        self._left_at, self._left = self.annotator.item.id, self.annotator.mask.data.copy()
        self._close("Cancel")
        steps = controller.progress.steps
        self.annotator.wait(lambda: controller.progress.steps > steps, "the round to go on")
        _assert_same(self.annotator.mask.data, self._left)
        self._close("Close")
        assert controller.session is None

    @contextmanager
    def _answering(self, answer: str, name: str) -> Iterator[list[Wait]]:
        """Give the questions that come meanwhile an answer; yields the times at which it was given."""
        pressed: list[Wait] = []

        def press() -> None:
            dialog = QApplication.activeModalWidget()
            if isinstance(dialog, QDialog):
                self.annotator.picture(f"{name}_{len(self.report.questions)}", dialog)
                button = next(b for b in dialog.findChildren(QPushButton) if b.text() == answer)
                text = max((label.text() for label in dialog.findChildren(QLabel)), key=len)
                self.report.questions.append(text)
                pressed.append(Wait(time.perf_counter(), time.process_time()))
                QTest.mouseClick(button, Qt.MouseButton.LeftButton)

        look = QTimer()
        look.setInterval(300)
        look.timeout.connect(press)
        look.start()
        yield pressed
        look.stop()

    def _close(self, answer: str) -> None:
        """Close the window as File › Close Window does, and give napari's questions an answer."""
        with self._answering(answer, "closing") as pressed:
            self.annotator.viewer.window._qt_window.close(quit_app=False, confirm_need=True)
        assert pressed, "napari did not ask"
        if answer == "Close":
            since = pressed[-1]
            now = Wait(time.perf_counter() - since.clock, time.process_time() - since.processor)
            self.report.waits["closing napari in a round"].append(now)
            del self.annotator.viewer.window._qt_window  # as napari's own Window.close does: it is gone

    def export(self) -> None:
        """Export what is accepted, and compare the files."""
        section, session = self.widget.export_panel, self.widget.controller.session
        folder = self.report.folder.with_name("masks-out")
        self.widget.sections["Export"].expand(animate=False)
        section.folder.set_text(str(folder))
        with self.report.waiting("exporting"):
            section.export.click()
            self.annotator.wait(lambda: not section.running, "the export")
        self.annotator.picture("exported")
        for item in session.items:
            path = folder / f"{Path(item.name).stem}_mask.tif"
            assert path.exists() == (item.id in self.accepted), item.name
            if path.exists():
                _assert_same(imread(path), self.accepted[item.id])
                self.report.counts["masks exported as accepted"] += 1


def _assert_same(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> None:
    assert first.dtype == second.dtype
    np.testing.assert_array_equal(first, second)


def open_napari() -> tuple[napari.Viewer, SemiGDAWidget]:
    """Open napari with the dock."""
    viewer = napari.Viewer(show=False)
    viewer.window.show()
    viewer.window._qt_window.resize(*WINDOW)
    _, widget = viewer.window.add_plugin_dock_widget("napari-semigda", "Annotate and train")
    settle(1)
    return viewer, widget


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask_for_pictures(parser, 60)
    parser.add_argument("--seconds", type=float, default=60, help="length of a round")
    parser.add_argument("--meanwhile", type=int, default=20, help="images accepted during the first round")
    parser.add_argument("--working-size", type=int, default=128, help="of the network")
    parser.add_argument("--name", default="lesion", help="of the class")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the window on the way")
    arguments = parser.parse_args()
    if arguments.pictures is not None:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="semigda-") as home:
        images = Path(home) / "images"
        plan = Plan(
            images,
            collect(chosen_pairs(arguments), images),
            name=arguments.name,
            working_size=arguments.working_size,
            seconds=arguments.seconds,
            patience=2 * arguments.seconds,
            meanwhile=arguments.meanwhile,
            output=arguments.pictures,
        )
        afternoon = Afternoon(plan, open_napari)
        try:
            print(afternoon.run().table())
        finally:
            afternoon.widget.close_down()
            afternoon.annotator.viewer.close()


if __name__ == "__main__":
    main()
