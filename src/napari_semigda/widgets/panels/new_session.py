"""The dialog for a new session: what is asked for, and nothing of what is done with it."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent, QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFormLayout,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.model.presets import PRESETS
from napari_semigda.session.finding import find_files
from napari_semigda.session.mask_names import masks_beside
from napari_semigda.session.trained_model import TrainedModel
from napari_semigda.widgets.background import Background
from napari_semigda.widgets.input_guard import InputGuard
from napari_semigda.widgets.layer_choice import LayerChoice
from napari_semigda.widgets.panels.parts import (
    HEADING,
    PathLine,
    dialog_buttons,
    fit_to_text,
    reserve_lines,
    set_up_number,
    timer,
    wrapped,
    wrapping_label,
)
from napari_semigda.widgets.panels.session_plan import LayerSource, SessionPlan, model_at, session_folder_for
from napari_semigda.widgets.preferences import chosen_preset

FRAMINGS = {
    "As suits the size of the objects": None,
    "Whole (each image seen as one, scaled down)": "whole",
    "In tiles (full resolution, window by window)": "tiles",
}
WORKING_SIZE_TIP = (
    "Side in pixels of what the network sees: twice as large shows finer detail and takes four times as long."
)
START_TIP = (
    "Weights to start from: another session's semigda.json (its newest weights are taken), or a checkpoint "
    "(.safetensors). They are copied into the new session."
)
CHANNELS_TIP = "Numbers of the channels the network looks at, from 0 on, at most three, such as 0, 2."
OF_THE_MODEL = "As the model was trained: it would see something else otherwise."
CLASSES_TIP = "Names of what you outline, separated by commas. Background needs none."
CLASSES_OF_MODEL = (
    "The model's classes, in its order. They may have other names here; classes behind them are new to it."
)
WIDTH = 560
LINES, LINES_OF_MODEL = 2, 4  # of what is said about a network
COUNTED_AFTER = 300  # milliseconds after the last letter
COUNTED_FOR = 5.0  # seconds: a whole disk is not looked through before the person asks for it


class NewSessionDialog(QDialog):
    """Asks for images, folder, classes and network of a new session.

    Parameters
    ----------
    layers : sequence of napari.layers.Image
        Image layers that a session could be made from.
    place : Path
        Folder in which to begin looking for images, and for the session of layers.
    parent : QWidget, optional
        As Qt has it.
    """

    def __init__(self, layers: Sequence[Image], place: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("New session")
        self.setMinimumWidth(WIDTH)
        self._place = place
        self._folder_was_chosen = False
        self.from_folder = QRadioButton("A folder of images")
        self.from_layers = QRadioButton("Layers open in napari")
        self.images = PathLine("Folder of images", for_folders=True, start=place)
        self.found = wrapping_label()
        self.layers = LayerChoice(layers)
        self.channels = QLineEdit()
        self.folder = PathLine("Session folder", for_folders=True, start=place)
        self.start = PathLine("Model to start from", for_folders=False, start=place)
        self._model: TrainedModel | None = None
        self._why_no_model: str | None = None
        self.classes = QLineEdit("object")
        self.one_object = QCheckBox("There is at most one object in an image")
        self.preset = QComboBox()
        self.preset_words = wrapping_label()
        self.preset_words.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.preset_words.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.weights = PathLine("Autoencoder weights", for_folders=False, start=place)
        self.working_size = QSpinBox()
        set_up_number(self.working_size, 128, 32, 1024, 8, WORKING_SIZE_TIP)
        self.framing = QComboBox()
        self.more = QPushButton()
        self.more.setCheckable(True)
        self.more.setStyleSheet(HEADING)
        self.more.setToolTip(wrapped("What most sessions leave as it is."))
        self.why_not = wrapping_label()
        self.make = QPushButton("Create session")
        self.buttons = dialog_buttons(self, self.make)
        self._fill(layers)
        self._counted = Path()
        self._counting = timer(self, COUNTED_AFTER, self._count)
        self._background = Background(self)
        self._tips = {part: part.toolTip() for part in self._of_the_model()}
        self._lay_out()
        self._connect()
        self._fold()
        self._check()
        self._guard = InputGuard(self)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Make room in the letters that napari has now."""
        super().showEvent(event)
        fit_to_text(self)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Wrap what is said of the network."""
        super().resizeEvent(event)
        reserve_lines(self.preset_words, self._lines)

    def done(self, result: int) -> None:
        """Stop counting."""
        self._counting.stop()
        self._counted = Path()
        self._background.close()
        super().done(result)

    def plan(self) -> SessionPlan:
        """What was asked for."""
        return SessionPlan(
            source=self._source(),
            folder=self.folder.path(),
            classes=tuple(name.strip() for name in self.classes.text().split(",") if name.strip()),
            preset=self.preset.currentData(),
            weights=self.weights.path() if self.weights.text() else None,
            working_size=self.working_size.value(),
            framing=self.framing.currentData(),
            one_object=self.one_object.isChecked(),
            channels=self._channels(),
            start=self._model,
        )

    def _channels(self) -> tuple[int, ...] | None:
        """The channels that were named; what cannot be read is none, which the plan tells."""
        text = self.channels.text().strip()
        parts = [part.strip() for part in text.split(",")]
        if not text:
            return None
        return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()

    def _fill(self, layers: Sequence[Image]) -> None:
        self.from_folder.setChecked(not layers)
        self.from_layers.setChecked(bool(layers))
        if not layers:
            self.from_layers.setEnabled(False)
            self.from_layers.setToolTip(wrapped("No image layer is open in napari."))
        for preset in PRESETS.values():
            self.preset.addItem(preset.name, preset.name)
        self.preset.setCurrentIndex(self.preset.findData(chosen_preset()))
        for words, framing in FRAMINGS.items():
            self.framing.addItem(words, framing)
        self.classes.setToolTip(wrapped(CLASSES_TIP))
        self.start.setToolTip(wrapped(START_TIP))
        self.start.line.setPlaceholderText("none: begin anew")
        self.channels.setToolTip(wrapped(CHANNELS_TIP))
        self.channels.setPlaceholderText("of images with more than one: the first three")
        self.one_object.setToolTip(
            wrapped("Drafts then keep the largest object only, of whatever classes it consists.")
        )
        self.weights.setToolTip(wrapped("Only if you have the autoencoder's weights in a file."))
        self._on_preset()
        self._suggest_folder()

    def _lay_out(self) -> None:
        form = self._form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Images", self.from_folder)
        form.addRow("", self.images)
        form.addRow("", self.from_layers)
        form.addRow("", self.layers)
        form.addRow("", self.found)
        form.addRow("Session folder", self.folder)
        form.addRow("Classes", self.classes)
        form.addRow("", self.one_object)
        form.addRow(self.more)
        first = form.rowCount()
        form.addRow("Start from a model", self.start)
        form.addRow("Network", self.preset)
        form.addRow("", self.preset_words)
        form.addRow("Weights file", self.weights)
        form.addRow("Working size", self.working_size)
        form.addRow("Images are seen", self.framing)
        form.addRow("Channels", self.channels)
        self._folded_rows = range(first, form.rowCount())
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.why_not)
        layout.addWidget(self.buttons)

    def _connect(self) -> None:
        self.from_folder.toggled.connect(self._suggest_folder)
        self.images.text_changed.connect(self._suggest_folder)
        self.folder.line.textEdited.connect(self._on_folder_chosen)
        self.preset.currentIndexChanged.connect(self._on_preset)
        self.start.text_changed.connect(self._find_model)
        self.more.toggled.connect(self._fold)
        for signal in (self.from_folder.toggled, self.images.text_changed, self.layers.changed):
            signal.connect(self._begin_counting)
        for signal in (
            self.from_folder.toggled,
            self.images.text_changed,
            self.layers.changed,
            self.folder.text_changed,
            self.start.text_changed,
            self.weights.text_changed,
            self.classes.textChanged,
            self.channels.textChanged,
            self.working_size.valueChanged,
        ):
            signal.connect(self._check)

    def _source(self) -> Path | LayerSource:
        if self.from_folder.isChecked():
            return self.images.path()
        return self.layers.source()

    def _on_folder_chosen(self) -> None:
        self._folder_was_chosen = True

    def _suggest_folder(self) -> None:
        by_folder = self.from_folder.isChecked()
        self.images.setVisible(by_folder)
        self.layers.setVisible(not by_folder)
        if not self._folder_was_chosen and (self.images.text() or not by_folder):
            self.folder.set_text(str(session_folder_for(self._source(), self._place)))

    def _fold(self) -> None:
        """Show or hide what most sessions leave as it is."""
        unfolded = self.more.isChecked()
        self.more.setText(f"{'▾' if unfolded else '▸'}  More settings")
        for row in self._folded_rows:
            self._form.setRowVisible(row, unfolded)
        fit_to_text(self)

    def _begin_counting(self) -> None:
        """Count the images, soon: people type."""
        if self.from_folder.isChecked():
            self.found.setText("")
            self._counting.start()
        else:
            self._counting.stop()
            self.found.setText(_images(self.layers.source().count))

    def _count(self) -> None:
        """Count the image files in a folder and below behind the scenes, for a while."""
        images, folder = self.images.path(), self.folder.path()
        if not images.is_absolute() or not os.path.isdir(images):
            return
        self.found.setText("Looking for images…")
        until = time.monotonic() + COUNTED_FOR

        def is_over() -> bool:
            return time.monotonic() > until or images != self._counted

        def show(words: str) -> None:
            if images == self._counted:
                self.found.setText(words)
                self._check()

        self._counted = images
        self._background.do(lambda: _found(images, folder, is_over), show)

    def _find_model(self) -> None:
        """Take over what a model was trained for, and show it."""
        self._model, self._why_no_model = model_at(self.start.path())
        if self._model is not None:
            self._show_model(self._model)
        free = self._model is None
        for part in self._of_the_model():
            part.setEnabled(free)
            part.setToolTip(self._tips[part] if free else OF_THE_MODEL)
        self.classes.setToolTip(wrapped(CLASSES_TIP if free else CLASSES_OF_MODEL))
        if free:
            self._on_preset()

    def _of_the_model(self) -> tuple[QWidget, ...]:
        """What a model decides."""
        return self.preset, self.working_size, self.framing, self.channels

    def _show_model(self, model: TrainedModel) -> None:
        self.classes.setText(", ".join(name for name in model.class_names if name))
        self.preset.setCurrentIndex(self.preset.findData(model.preset))
        self.working_size.setValue(model.settings.working_size)
        self.framing.setCurrentIndex(self.framing.findData(model.settings.framing))
        self.channels.setText(", ".join(map(str, model.settings.channels or ())))
        self.weights.set_text("" if model.weights is None else str(model.weights))
        self._say_of_network(model.in_words(), LINES_OF_MODEL)

    def _on_preset(self) -> None:
        if self._model is not None:
            return
        preset = PRESETS[self.preset.currentData()]
        self._say_of_network(f"{preset.description}.", LINES)
        self.working_size.setValue(preset.default_working_size)

    def _say_of_network(self, words: str, lines: int) -> None:
        self._lines = lines
        self.preset_words.setText(words)
        reserve_lines(self.preset_words, lines)

    def _check(self) -> None:
        """Say what is missing, and let the session be made only when nothing is."""
        missing = self._why_no_model or self.plan().missing()
        self.make.setEnabled(missing is None)
        self.make.setToolTip(wrapped(missing or "Make the session and open it."))
        self.why_not.setText(missing or "")
        fit_to_text(self)


def _found(images: Path, folder: Path, is_over: Callable[[], bool]) -> str:
    """Say how many image files there are, or why that cannot be said."""
    try:
        files = find_files(images, folder, cancelled=is_over)
    except Cancelled:
        return "A large folder: its images are counted when the session is made."
    except SemiGDAError as error:
        return str(error)
    masks = len(masks_beside([name for _, name in files.named]))
    count = len(files.named) - masks
    beside = f" {masks} more are named as their masks." if masks else ""
    skipped = " ".join(files.skipped(everything=not count))
    return f"{_images(count) if count else 'No image was found.'}{beside} {skipped}".strip()


def _images(count: int) -> str:
    return "1 image found." if count == 1 else f"{count} images found."
