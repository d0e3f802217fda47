"""Drive the plugin like an annotator, with a mouse and keys, and take the pictures of the documentation.

    python docs/make_screenshots.py --samples --output docs/pictures
    python docs/make_screenshots.py --images FOLDER --masks FOLDER --output FOLDER

Opens napari on a new session, outlines and fills the objects of five images along their true masks with
the real brush, trains a round, corrects drafts, trains again, exports, closes and opens again. Takes pictures
of the window at the steps that the tutorial tells of, one of each section and dialog in both themes, side
by side, and at the end one of the window at 150 % scaling. Without a display, run it under
`xvfb-run -s "-screen 0 2000x1300x24"`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import napari
import numpy as np
from napari._qt.dialogs.preferences_dialog import PreferencesDialog
from PIL import Image
from qtpy.QtWidgets import QDialog, QMenu, QWidget
from skimage.io import imread

from napari_semigda.samples import sample_pairs
from napari_semigda.session.items import ItemState
from napari_semigda.widgets.keys_window import KeysWindow
from napari_semigda.widgets.menus import SegmentDialog
from napari_semigda.widgets.panels.new_session import AddLayersDialog, NewSessionDialog
from napari_semigda.widgets.panels.parts import MenuButton
from napari_semigda.widgets.panels.round_progress import Phase

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from annotator import Annotator, dice, settle
from truths import ask_for_pictures, chosen_pairs, collect, true_mask

WINDOW = (1280, 800)
PREFERENCES = (680, 720)
FIRST_IMAGES = 5
CORRECTED_IMAGES = 3
VALIDATION_IMAGES = 2
THEMES = ("dark", "light")
GAP = 8  # pixels between two pictures side by side
LARGE = 1.5

# Pictures -----------------------------------------------------------------------------------------------


def in_both_themes(annotator: Annotator, name: str, of: QWidget) -> None:
    """Take a picture of a part of the window in both themes, side by side."""
    pictures = []
    for theme in THEMES:
        annotator.viewer.theme = theme
        annotator.picture(name, of)
        with Image.open(annotator.output / f"{name}.png") as picture:
            pictures.append(picture.convert("RGB"))
    annotator.viewer.theme = THEMES[0]
    settle(0.3)
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    beside = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    place = 0
    for picture in pictures:
        beside.paste(picture, (place, 0))
        place += picture.width + GAP
    beside.save(annotator.output / f"{name}.png")


def section(annotator: Annotator, title: str, *others: str) -> None:
    """Take the pictures of one section of the dock, with others unfolded beside it."""
    annotator.unfold(title, *others)
    in_both_themes(annotator, f"section_{title.lower()}", annotator.widget.sections[title])


def dialog(annotator: Annotator, name: str, shown: QDialog) -> None:
    """Take the pictures of a dialog, and close it."""
    shown.show()
    in_both_themes(annotator, name, shown)
    shown.close()
    shown.deleteLater()


def menu(annotator: Annotator, name: str, button: MenuButton) -> None:
    """Take the pictures of a button's menu."""
    entries: QMenu = button.entries
    entries.popup(button.mapToGlobal(button.rect().bottomLeft()))
    in_both_themes(annotator, name, entries)
    entries.close()


def compress(folder: Path) -> None:
    """Make the pictures small, without loss."""
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            opaque = picture.convert("RGB")
        opaque.save(path, optimize=True)


# What the annotator does --------------------------------------------------------------------------------


def mean_dice(annotator: Annotator) -> float:
    """Mean Dice of the drafts of images nobody accepted."""
    session = annotator.widget.controller.session
    drafts = [item for item in session.items if session.state(item) is ItemState.DRAFT]
    scores = []
    for item in drafts:
        truth = true_mask(annotator.truths[Path(item.name).stem])
        scores.append(dice(session.prediction(item) == 1, truth))
    return float(np.mean(scores)) if scores else float("nan")


def new_session(annotator: Annotator, images: Path, working_size: int) -> Path:
    """Fill in the dialog for a new session, take its picture, and make the session; returns its folder."""
    asked = NewSessionDialog([], images.parent, annotator.widget)
    asked.images.set_text(str(images))
    asked.classes.setText("lesion")
    asked.one_object.setChecked(True)
    asked.working_size.setValue(working_size)
    plan = asked.plan()
    dialog(annotator, "new_session", asked)
    annotator.widget.controller.create(plan.make)
    annotator.wait(lambda: annotator.widget.controller.session is not None, "the session")
    return plan.folder


def annotate_first_images(annotator: Annotator) -> None:
    """Outline, fill and accept the objects of the first images the queue asks for."""
    mask = annotator.widget.mask_panel
    for number in range(FIRST_IMAGES):
        truth = annotator.truth()
        annotator.outline(truth)
        if number == 0:
            annotator.picture("outlined")
        annotator.fill(truth)
        print(f"painted {annotator.item.name}: Dice {dice(annotator.mask.data == 1, truth):.2f}")
        annotator.press(mask.accept_and_go_on)


def train(annotator: Annotator, minutes: float, name: str | None = None) -> None:
    """Train a round, with a picture in its midst if it has a name, and wait for the drafts."""
    progress = annotator.widget.controller.progress
    rounds = annotator.widget.train_panel
    rounds.minutes.setValue(minutes)
    annotator.unfold("Session", "Image", "Mask", "Train")
    annotator.click(rounds.train)
    annotator.wait(lambda: progress.fraction > 0.4 or not progress.active, "the round")
    if name is not None:
        annotator.picture(name)
    runner = annotator.widget.controller.runner
    annotator.wait(lambda: progress.phase is Phase.IDLE and not runner.busy, "the drafts")
    unfold_most(annotator)
    print(f"mean Dice of the drafts: {mean_dice(annotator):.3f}")


def correct_drafts(annotator: Annotator) -> None:
    """Look at the drafts the queue asks for, and correct and accept them."""
    annotator.press(annotator.widget.image_panel.next_suggested)
    for _ in range(CORRECTED_IMAGES):
        annotator.correct()
        annotator.press(annotator.widget.mask_panel.accept_and_go_on)


def set_aside(annotator: Annotator) -> None:
    """Keep some of the accepted images for validation."""
    session, image = annotator.widget.controller.session, annotator.widget.image_panel
    accepted = [
        place
        for place, item in enumerate(session.items, start=1)
        if session.state(item) is ItemState.ACCEPTED
    ]
    for place in accepted[-VALIDATION_IMAGES:]:
        image.jump.setValue(place)
        annotator.click(image.validation)


def sections(annotator: Annotator) -> None:
    """Take the pictures of the sections in which an image is found, shown and corrected."""
    widget = annotator.widget
    section(annotator, "Session")
    widget.controller.add_class("vessel")
    section(annotator, "Classes")
    widget.classes_panel.remove.press()
    section(annotator, "Images", "Image", "Mask")
    for title in ("Image", "Mask", "Train"):
        section(annotator, title)
    menu(annotator, "menu_correct", widget.mask_panel.correct)
    menu(annotator, "menu_look", widget.mask_panel.view)


def preferences(annotator: Annotator) -> None:
    """Take the picture of the plugin's page in napari's preferences, too wide to be shown twice."""
    shown = PreferencesDialog(parent=annotator.widget.window())
    pages = [shown._list.item(place).text() for place in range(shown._list.count())]
    shown._list.setCurrentRow(pages.index("SemiGDA"))
    shown.resize(*PREFERENCES)
    shown.show()
    annotator.picture("preferences", shown)
    shown.close()


def dialogs(annotator: Annotator, folder: Path) -> None:
    """Take the pictures of the windows that open beside the dock."""
    dialog(annotator, "keys", KeysWindow(annotator.widget))
    preferences(annotator)
    stack = np.stack([imread(image) for image, _ in sample_pairs()[1:8:2]])
    layer = annotator.viewer.add_image(stack, name="cells")
    dialog(annotator, "segment_layer", SegmentDialog([layer], layer, folder, annotator.widget))
    dialog(annotator, "add_layers", AddLayersDialog([layer], annotator.widget))
    annotator.viewer.layers.remove(layer)


def export(annotator: Annotator, folder: Path) -> None:
    """Export accepted masks and drafts."""
    exporting = annotator.widget.export_panel
    annotator.unfold("Session", "Image", "Mask", "Export")
    exporting.folder.set_text(str(folder))
    exporting.choice.with_drafts.setChecked(True)
    annotator.click(exporting.export)
    annotator.wait(lambda: not exporting.running, "the export")
    annotator.picture("export")
    section(annotator, "Export")
    unfold_most(annotator)


def unfold_most(annotator: Annotator) -> None:
    """Unfold the sections as they are when the dock opens."""
    annotator.unfold(*(title for title in annotator.widget.sections if title != "Export"))


def afternoon(annotator: Annotator, images: Path, minutes: float, working_size: int) -> Path:
    """The whole loop; returns the session's folder."""
    widget = annotator.widget
    annotator.picture("start")
    folder = new_session(annotator, images, working_size)
    annotate_first_images(annotator)
    train(annotator, minutes)
    correct_drafts(annotator)
    set_aside(annotator)
    train(annotator, minutes, "train")
    annotator.press(widget.image_panel.next_suggested)
    annotator.picture("correct")
    sections(annotator)
    export(annotator, folder.with_name("masks"))
    dialogs(annotator, folder)
    place = widget.controller.annotation.position
    annotator.click(widget.session_panel.close_session)
    widget.open_session(folder)
    assert widget.controller.annotation.position == place
    return folder


def enlarged(output: Path, session: Path) -> None:
    """Take the pictures of the window with everything larger, in a napari of its own."""
    command = [sys.executable, __file__, "--session", str(session), "--output", str(output)]
    subprocess.run(command, env=os.environ | {"QT_SCALE_FACTOR": str(LARGE)}, check=True)


def main() -> None:
    """Read the arguments, open napari, and go."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask_for_pictures(parser, None)
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--minutes", type=float, default=1.0, help="length of a round")
    parser.add_argument("--working-size", type=int, default=128, help="of the network")
    parser.add_argument("--session", type=Path, help="only the window with this session, as large as it is")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.session is not None:
        annotator = open_napari({}, arguments.output)
        annotator.widget.open_session(arguments.session)
        settle(3)  # until the thumbnails are there
        in_both_themes(annotator, "window_enlarged", annotator.viewer.window._qt_window)
        close_napari(annotator)
        return
    with tempfile.TemporaryDirectory(prefix="semigda-") as home:
        images = Path(home) / "lesions"
        annotator = open_napari(collect(chosen_pairs(arguments), images), arguments.output)
        try:
            session = afternoon(annotator, images, arguments.minutes, arguments.working_size)
        finally:
            close_napari(annotator)
        enlarged(arguments.output, session)
    compress(arguments.output)


def open_napari(truths: dict[str, Path], output: Path | None) -> Annotator:
    """Open napari with the dock, and an annotator who knows these masks."""
    viewer = napari.Viewer(show=False)
    viewer.window.show()
    viewer.window._qt_window.resize(*WINDOW)
    _, widget = viewer.window.add_plugin_dock_widget("napari-semigda", "Annotate and train")
    return Annotator(viewer, widget, truths, output)


def close_napari(annotator: Annotator) -> None:
    """Close the session and the window."""
    annotator.widget.close_down()
    annotator.viewer.close()


if __name__ == "__main__":
    main()
