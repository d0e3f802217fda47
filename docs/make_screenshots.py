"""Drive the plugin like an annotator, with a mouse and keys, and take the pictures of the documentation.

    python docs/make_screenshots.py --samples --output docs/pictures
    python docs/make_screenshots.py --images FOLDER --masks FOLDER --output FOLDER

Opens napari on a new session, outlines and fills the objects of five images along their true masks with
the real brush, trains a round, corrects drafts, trains again, exports, closes and opens again, and takes a
picture of the window at each step. Without a display, run it under `xvfb-run -s "-screen 0 1400x900x24"`.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import napari
import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget
from scipy.ndimage import distance_transform_edt, label
from skimage.io import imread
from skimage.measure import find_contours

from napari_semigda.samples import sample_pairs
from napari_semigda.session.items import Item, ItemState
from napari_semigda.widgets.dock import SemiGDAWidget
from napari_semigda.widgets.new_session import NewSessionDialog
from napari_semigda.widgets.round_progress import Phase
from napari_semigda.widgets.section import ActionButton

WINDOW = (1280, 800)
FIRST_IMAGES = 5
CORRECTED_IMAGES = 3
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
    output : Path
        Folder of the pictures.
    """

    viewer: napari.Viewer
    widget: SemiGDAWidget
    truths: dict[str, Path]
    output: Path

    # The window --------------------------------------------------------------------------------

    def picture(self, name: str, of: QWidget | None = None) -> None:
        """Take a picture of the window."""
        settle(0.5)
        (of or self.viewer.window._qt_window).grab().save(str(self.output / f"{name}.png"))
        print(f"{name}: {self.widget.train_section.state.text()}")

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

    def press(self, button: ActionButton) -> None:
        """Press the key that stands on a button, over the canvas."""
        key = next(key for key, one in self.widget.buttons.items() if one is button)
        QTest.keyClick(self.canvas, getattr(Qt.Key, f"Key_{key.label[-1]}"))
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
        item = self.widget.workbench.annotation.item
        assert item is not None
        return item

    def truth(self) -> np.ndarray:
        """The true mask of the image on the screen, (H, W) of 0 and 1."""
        mask = imread(self.truths[Path(self.item.name).stem])
        return ((mask if mask.ndim == 2 else mask[..., 0]) > 0).astype(np.uint8)

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
        for contour in contours(truth):
            self.drag(contour)

    def fill(self, truth: np.ndarray) -> None:
        """Fill every outlined object with the bucket."""
        self.mask.mode = "fill"
        for point in inner_points(truth):
            if not self.mask.data[round(point[0]), round(point[1])]:
                QTest.mouseClick(self.canvas, Qt.MouseButton.LeftButton, pos=self.place(point))
                settle()
                if np.count_nonzero(self.mask.data) > 2 * truth.sum() + 100:  # it ran out through a gap
                    QTest.keyClick(self.canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
                    settle()
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
            self.click(self.widget.mask_section.clear)
        self.outline(truth)
        self.fill(truth)


def settle(seconds: float = 0.1) -> None:
    """Let the window catch up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)


def contours(truth: np.ndarray) -> Iterator[np.ndarray]:
    """The outlines of the objects, as points (y, x) a pixel or two inside, closed."""
    for contour in find_contours(np.pad(truth, 1).astype(float), 0.5):
        if len(contour) > 12:
            inside = np.clip(contour - 1, 1, np.array(truth.shape) - 2)
            yield np.vstack([inside[:: max(1, len(inside) // 80)], inside[:1]])


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


def mean_dice(annotator: Annotator) -> float:
    """Mean Dice of the drafts of images nobody accepted."""
    session = annotator.widget.workbench.session
    drafts = [item for item in session.items if session.state(item) is ItemState.DRAFT]
    scores = []
    for item in drafts:
        truth = imread(annotator.truths[Path(item.name).stem])
        truth = (truth if truth.ndim == 2 else truth[..., 0]) > 0
        scores.append(dice(session.prediction(item) == 1, truth))
    return float(np.mean(scores)) if scores else float("nan")


def new_session(annotator: Annotator, images: Path, working_size: int) -> Path:
    """Fill in the dialog for a new session, take its picture, and make the session; returns its folder."""
    dialog = NewSessionDialog([], images.parent, annotator.widget)
    dialog.images.set_text(str(images))
    dialog.classes.setText("lesion")
    dialog.working_size.setValue(working_size)
    dialog.show()
    annotator.picture("new_session", dialog)
    dialog.make.click()
    annotator.widget.workbench.make(dialog.plan().make)
    annotator.wait(lambda: annotator.widget.workbench.session is not None, "the session")
    return dialog.plan().folder


def annotate_first_images(annotator: Annotator) -> None:
    """Outline, fill and accept the objects of the first images the queue asks for."""
    mask = annotator.widget.mask_section
    for number in range(FIRST_IMAGES):
        truth = annotator.truth()
        annotator.outline(truth)
        if number == 0:
            annotator.picture("outlined")
        annotator.fill(truth)
        if number == 0:
            annotator.picture("filled")
        print(f"painted {annotator.item.name}: Dice {dice(annotator.mask.data == 1, truth):.2f}")
        annotator.press(mask.accept_and_go_on)
    annotator.picture("accepted")


def train(annotator: Annotator, minutes: float, name: str) -> None:
    """Train a round, with a picture in its midst, and wait for the drafts."""
    progress = annotator.widget.workbench.progress
    section = annotator.widget.train_section
    section.minutes.setValue(minutes)
    annotator.unfold("Session", "Image", "Mask", "Train")
    annotator.click(section.train)
    annotator.wait(lambda: progress.fraction > 0.6 or not progress.active, "the round")
    annotator.picture(name)
    runner = annotator.widget.workbench.runner
    annotator.wait(lambda: progress.phase is Phase.IDLE and not runner.busy, "the drafts")
    annotator.unfold(*(title for title in annotator.widget.sections if title != "Export"))
    print(f"mean Dice of the drafts: {mean_dice(annotator):.3f}")


def correct_drafts(annotator: Annotator) -> None:
    """Look at the drafts the queue asks for, and correct and accept them."""
    annotator.press(annotator.widget.image_section.to_queue)
    for number in range(CORRECTED_IMAGES):
        if number == 0:
            annotator.picture("uncertain")
        annotator.correct()
        if number == 0:
            annotator.picture("corrected")
        annotator.press(annotator.widget.mask_section.accept_and_go_on)


def export(annotator: Annotator, folder: Path) -> None:
    """Export accepted masks and drafts."""
    widget = annotator.widget
    annotator.unfold("Session", "Image", "Mask", "Export")
    widget.export_section.folder.set_text(str(folder))
    widget.export_section.choice.with_drafts.setChecked(True)
    annotator.click(widget.export_section.export)
    annotator.wait(lambda: not widget.export_section.exporter.running, "the export")
    annotator.picture("export")
    annotator.unfold(*(title for title in widget.sections if title != "Export"))


def afternoon(annotator: Annotator, images: Path, minutes: float, working_size: int) -> None:
    """The whole loop."""
    widget, viewer = annotator.widget, annotator.viewer
    annotator.picture("start")
    folder = new_session(annotator, images, working_size)
    annotator.picture("session")
    annotate_first_images(annotator)
    train(annotator, minutes, "train")
    annotator.picture("drafts")
    correct_drafts(annotator)
    train(annotator, minutes, "train_again")
    annotator.picture("correct")
    export(annotator, folder.with_name("masks"))
    place = widget.workbench.annotation.position
    annotator.click(widget.session_section.close_session)
    annotator.picture("closed")
    widget.open_session(folder)
    assert widget.workbench.annotation.position == place
    annotator.picture("reopened")
    viewer.theme = "light"
    annotator.picture("light_theme")


def main() -> None:
    """Read the arguments, open napari, and go."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", action="store_true", help="the drawn lesions bundled with the package")
    parser.add_argument("--images", type=Path, help="folder of images")
    parser.add_argument("--masks", type=Path, help="folder of their true masks, with the same names")
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--minutes", type=float, default=1.0, help="length of a round")
    parser.add_argument("--working-size", type=int, default=128, help="of the network")
    parser.add_argument("--most", type=int, help="use only so many images")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="semigda-") as home:
        images = Path(home) / "lesions"
        truths = _collect(arguments, images)
        viewer = napari.Viewer(show=False)
        viewer.window.show()
        viewer.window._qt_window.resize(*WINDOW)
        _, widget = viewer.window.add_plugin_dock_widget("napari-semigda", "Annotate and train")
        annotator = Annotator(viewer, widget, truths, arguments.output)
        try:
            afternoon(annotator, images, arguments.minutes, arguments.working_size)
        finally:
            widget.close_down()
            viewer.close()


def _collect(arguments: argparse.Namespace, images: Path) -> dict[str, Path]:
    """Put the images into one folder, and tell the true mask of each."""
    if arguments.samples:
        pairs = sample_pairs()[::2]  # the lesions
    elif arguments.images and arguments.masks:
        paths = sorted(path for path in arguments.images.iterdir() if path.is_file())
        pairs = [(path, arguments.masks / path.name) for path in paths]
    else:
        raise SystemExit("Say --samples, or --images and --masks.")
    pairs = pairs[:: max(1, len(pairs) // arguments.most)] if arguments.most else pairs
    images.mkdir()
    for image, _ in pairs:
        (images / image.name).write_bytes(image.read_bytes())
    return {image.stem: mask for image, mask in pairs}


if __name__ == "__main__":
    main()
