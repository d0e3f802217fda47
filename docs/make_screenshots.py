"""Drive the plugin like an annotator, with a mouse and keys, and take the pictures of the documentation.

    python docs/make_screenshots.py --samples --output docs/pictures
    python docs/make_screenshots.py --images FOLDER --masks FOLDER --output FOLDER

Opens napari on a new session, outlines and fills the objects of five images along their true masks with
the real brush, trains a round, corrects drafts, trains again, exports, closes and opens again, and takes a
picture of the window at each step. Without a display, run it under `xvfb-run -s "-screen 0 1400x900x24"`.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import napari
import numpy as np
from skimage.io import imread

from napari_semigda.samples import sample_pairs
from napari_semigda.session.items import ItemState
from napari_semigda.widgets.new_session import NewSessionDialog
from napari_semigda.widgets.round_progress import Phase

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from annotator import Annotator, dice

WINDOW = (1280, 800)
FIRST_IMAGES = 5
CORRECTED_IMAGES = 3


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
