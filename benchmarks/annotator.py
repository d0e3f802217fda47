"""Somebody at napari's window who knows the truth: for scripts that work as an annotator does, and for tests.

The mouse goes to the canvas and to buttons, keys to the canvas; nothing is called that a person could not do.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import napari
import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QEventLoop, QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget
from scipy.ndimage import distance_transform_edt, label
from skimage.measure import find_contours

from napari_semigda.session.items import Item
from napari_semigda.widgets.dock import SemiGDAWidget
from napari_semigda.widgets.panels.parts import ActionButton, MenuAction
from truths import true_mask

POINTS = 80  # of a stroke round an object
ALIKE = 0.9  # a draft whose Dice with the truth is above this is accepted as it is
PATIENCE = 900.0


@dataclass
class Annotator:
    """Somebody who knows the truth, at the window: paints with the mouse, clicks buttons, takes pictures.

    Attributes
    ----------
    viewer : napari.Viewer
        The window.
    widget : SemiGDAWidget
        The plugin's dock.
    truths : dict of str to Path
        True mask of each image, by the image's stem.
    output : Path or None
        Folder of the pictures; None takes none.
    points : int
        How many points the mouse passes on its way round an object.
    """

    viewer: napari.Viewer
    widget: SemiGDAWidget
    truths: dict[str, Path]
    output: Path | None = None
    points: int = POINTS

    # The window --------------------------------------------------------------------------------

    def picture(self, name: str, of: QWidget | None = None) -> None:
        """Take a picture of the window."""
        if self.output is None:
            return
        settle(0.5)
        (of or self.viewer.window._qt_window).grab().save(str(self.output / f"{name}.png"))
        print(f"{name}: {self.widget.train_panel.state.text()}")

    def click(self, button: QWidget) -> None:
        """Click a button with the mouse."""
        settle()
        assert button.isEnabled(), button.toolTip()
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        settle()

    def unfold(self, *titles: str) -> None:
        """Unfold these sections of the dock and fold the others away, so that all are in the picture."""
        for title, section in self.widget.sections.items():
            (section.expand if title in titles else section.collapse)(animate=False)
        settle()

    def press(self, button: ActionButton | MenuAction) -> None:
        """Press the key that stands on a button, over the canvas."""
        self.press_at_once(button)
        settle()

    def press_at_once(self, button: ActionButton | MenuAction) -> None:
        """Press the key that stands on a button, and return before the window has caught up."""
        key = next(key for key, one in self.widget.buttons.items() if one is button)
        *held, letter = key.label.split("+")
        shift = Qt.KeyboardModifier.ShiftModifier if held == ["Shift"] else Qt.KeyboardModifier.NoModifier
        QTest.keyClick(self.canvas, getattr(Qt.Key, f"Key_{letter}"), shift)

    def undo(self) -> None:
        """Press Ctrl+Z over the canvas."""
        QTest.keyClick(self.canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        settle()

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait, with the window alive, until something is true."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited in vain for {what}")
            settle(0.05)

    # Painting ----------------------------------------------------------------------------------

    @property
    def canvas(self) -> QWidget:
        """The widget that takes the mouse."""
        return self.viewer.window._qt_viewer.canvas.native

    @property
    def mask(self) -> Labels:
        """The mask on the screen."""
        return next(layer for layer in self.viewer.layers if isinstance(layer, Labels))

    @property
    def item(self) -> Item:
        """The image on the screen."""
        item = self.widget.controller.annotation.item
        assert item is not None
        return item

    def truth(self) -> np.ndarray:
        """The true mask of the image on the screen, (H, W) of 0 and 1."""
        return true_mask(self.truths[Path(self.item.name).stem])

    def place(self, point: tuple[float, float]) -> QPoint:
        """Where a point (y, x) of the image is on the canvas."""
        size = np.array([self.canvas.height(), self.canvas.width()])
        world = np.array(point) * np.array(self.mask.scale)
        camera = self.viewer.scene.camera
        y, x = (world - camera.center[-2:]) * camera.zoom + size / 2
        return QPoint(round(x), round(y))

    def drag(self, points: np.ndarray) -> None:
        """Draw one stroke through these points (y, x)."""
        places = [self.place((y, x)) for y, x in points]
        QTest.mousePress(self.canvas, Qt.MouseButton.LeftButton, pos=places[0])
        for place in places[1:]:
            QTest.mouseMove(self.canvas, place)
            QApplication.processEvents()
        QTest.mouseRelease(self.canvas, Qt.MouseButton.LeftButton, pos=places[-1])
        settle()

    def outline(self, truth: np.ndarray) -> None:
        """Go round every object with the brush."""
        self.mask.mode, self.mask.brush_size = "paint", max(2, min(truth.shape) // 60)
        for contour in contours(truth, self.points):
            self.drag(contour)

    def fill(self, truth: np.ndarray) -> None:
        """Fill every outlined object with the bucket."""
        self.mask.mode = "fill"
        for point in inner_points(truth):
            if not self.mask.data[round(point[0]), round(point[1])]:
                QTest.mouseClick(self.canvas, Qt.MouseButton.LeftButton, pos=self.place(point))
                settle()
                if np.count_nonzero(self.mask.data) > 2 * truth.sum() + 100:  # it ran out through a gap
                    self.undo()
        self.mask.mode = "paint"

    def erase(self, wrong: np.ndarray) -> None:
        """Rub out with the eraser, row by row, what is painted too much."""
        self.mask.mode, self.mask.brush_size = "erase", 3
        for y in range(1, wrong.shape[0], 3):
            places = np.flatnonzero(wrong[max(y - 1, 0) : y + 2].any(axis=0))
            if places.size > 1:
                self.drag(np.array([(y, places[0]), (y, places[-1])]))
        self.mask.mode = "paint"

    def correct(self) -> None:
        """Make the mask on the screen right: leave a good draft, else clear it and draw."""
        truth = self.truth()
        if dice(self.mask.data == 1, truth) >= ALIKE:
            return
        if self.mask.data.any():
            self.click(self.widget.mask_panel.clear)
        self.outline(truth)
        self.fill(truth)


def settle(seconds: float = 0.1) -> None:
    """Let the window go on by itself, as it does between what a person does."""
    loop = QEventLoop()
    QTimer.singleShot(round(1000 * seconds), Qt.TimerType.PreciseTimer, loop.quit)
    loop.exec()


def contours(truth: np.ndarray, points: int) -> Iterator[np.ndarray]:
    """The outlines of the objects, as points (y, x) a pixel or two inside, closed."""
    for contour in find_contours(np.pad(truth, 1).astype(float), 0.5):
        if len(contour) > 12:
            inside = np.clip(contour - 1, 1, np.array(truth.shape) - 2)
            yield np.vstack([inside[:: max(1, len(inside) // points)], inside[:1]])


def inner_points(truth: np.ndarray) -> Iterator[tuple[float, float]]:
    """The point of each object that is farthest from its edge, where that is far enough to need filling."""
    numbered, count = label(truth)
    depth = distance_transform_edt(np.pad(truth, 1))[1:-1, 1:-1]
    for number in range(1, count + 1):
        inside = np.where(numbered == number, depth, 0)
        if inside.max() > 3:
            yield np.unravel_index(inside.argmax(), inside.shape)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice of two binary masks; 1 if both are empty."""
    total = first.sum() + second.sum()
    return 2 * float((first & (second > 0)).sum()) / total if total else 1.0
