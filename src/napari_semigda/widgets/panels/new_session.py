"""The dialogs for a new session, and for layers to add to a session."""

import os
import time
from collections.abc import Callable, Sequence
from itertools import compress
from pathlib import Path

from napari.layers import Image
from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QResizeEvent, QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFormLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QRadioButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.model.presets import PRESETS
from napari_semigda.session.finding import find_files
from napari_semigda.session.mask_names import masks_beside
from napari_semigda.session.trained_model import TrainedModel
from napari_semigda.widgets.background import TaskThread
from napari_semigda.widgets.input_guard import InputGuard
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
    "Depends on the size of the objects": None,
    "Scaled down (each image as a whole)": "whole",
    "Tiled (full resolution)": "tiles",
}
WORKING_SIZE_TIP = (
    "Side in pixels of what the network sees: doubling it shows finer detail, and takes four times as long."
)
START_TIP = (
    "A session's semigda.json (for its newest weights), or a checkpoint (.safetensors); they are copied."
)
CHANNELS_TIP = "Channels that the network sees, counted from 0, at most three, such as 0, 2."
OF_THE_MODEL = "Fixed by the model you start from."
CLASSES_TIP = "Names of what you outline, separated by commas; background needs none."
CLASSES_OF_MODEL = "The model's classes, in its order. You can rename them, and add new ones at the end."
LAYERS_TIP = "Checked layers become images of the session."
AS_CHANNELS_TIP = "Each plane is then one image, instead of one per layer."
ADD_LAYERS = (
    "Every plane of a checked layer becomes an image. It is copied into the session's folder with its pixel "
    "size. Images that the session already has are skipped."
)
WIDTH, ADD_WIDTH = 560, 420
ROW, MOST_ROWS = 20, 6
LINES, LINES_OF_MODEL = 2, 4  # of text about a network
COUNTED_AFTER = 300  # milliseconds after the last letter
COUNTED_FOR = 5.0  # seconds: a whole disk is not searched before the person asks for it


class LayerChoice(QWidget):
    """A list of layers to check, and whether they are channels of the same images."""

    changed = Signal()

    def __init__(self, layers: Sequence[Image]) -> None:
        super().__init__()
        self._layers = list(layers)
        self.list = QListWidget()
        self.list.setToolTip(wrapped(LAYERS_TIP))
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # the size is at the end
        for layer in self._layers:
            row = QListWidgetItem(f"{layer.name}  ({' × '.join(map(str, layer.data.shape))})")
            row.setFlags(row.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            row.setCheckState(Qt.CheckState.Checked)
            row.setSizeHint(QSize(0, ROW))
            self.list.addItem(row)
        shown = min(max(self.list.count(), 1), MOST_ROWS)
        self.list.setFixedHeight(shown * ROW + 2 * self.list.frameWidth() + 4)
        self.as_channels = QCheckBox("Layers are channels of the same images")
        self.as_channels.setToolTip(wrapped(AS_CHANNELS_TIP))
        self.as_channels.setVisible(len(self._layers) > 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.list)
        layout.addWidget(self.as_channels)
        self.list.itemChanged.connect(self.changed)
        self.as_channels.toggled.connect(self.changed)

    def source(self) -> LayerSource:
        rows = (self.list.item(index) for index in range(self.list.count()))
        checked = [row is not None and row.checkState() == Qt.CheckState.Checked for row in rows]
        return LayerSource(tuple(compress(self._layers, checked)), self.as_channels.isChecked())


class AddLayersDialog(QDialog):
    """Asks which layers to add to the open session."""

    def __init__(self, layers: Sequence[Image], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Add layers to the session")
        self.setMinimumWidth(ADD_WIDTH)
        self.layers = LayerChoice(layers)
        self.why_not = wrapping_label()
        self.add = QPushButton("Add")
        self.buttons = dialog_buttons(self, self.add)
        layout = QVBoxLayout(self)
        for part in (wrapping_label(ADD_LAYERS), self.layers, self.why_not, self.buttons):
            layout.addWidget(part)
        self.layers.changed.connect(self._check)
        self._check()

    def _check(self) -> None:
        missing = self.layers.source().missing()
        self.add.setEnabled(missing is None)
        self.add.setToolTip(wrapped(missing or "Copy their planes into the session."))
        self.why_not.setText(missing or "")
        self.why_not.setVisible(missing is not None)
        fit_to_text(self)


class NewSessionDialog(QDialog):
    """Asks for images, folder, classes and network of a new session; browsing starts in a usual folder."""

    def __init__(self, layers: Sequence[Image], usual: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("New session")
        self.setMinimumWidth(WIDTH)
        self._usual = usual
        self._folder_was_chosen = False
        self._model: TrainedModel | None = None
        self._why_no_model: str | None = None
        self.from_folder = QRadioButton("A folder of images")
        self.from_layers = QRadioButton("Layers open in napari")
        self.images = PathLine("Folder of images", for_folders=True, start=usual)
        self.found = wrapping_label()
        self.layers = LayerChoice(layers)
        self.folder = PathLine("Session folder", for_folders=True, start=usual)
        self.classes = QLineEdit("object")
        self.one_object = QCheckBox("At most one object per image")
        self.one_object.setToolTip(wrapped("Drafts keep only the largest object, whatever its classes."))
        self._create_more_settings(usual)
        self.why_not = wrapping_label()
        self.make = QPushButton("Create session")
        self.buttons = dialog_buttons(self, self.make)
        self.from_folder.setChecked(not layers)
        self.from_layers.setChecked(bool(layers))
        if not layers:
            self.from_layers.setEnabled(False)
            self.from_layers.setToolTip(wrapped("No image layer is open in napari."))
        self._counted = Path()
        self._counting = timer(self, COUNTED_AFTER, self._count)
        self._tasks = TaskThread(self)
        self._tips = {part: part.toolTip() for part in self._set_by_model()}
        self._lay_out()
        self._suggest_folder()
        self._find_model()
        self._fold()
        self._connect()  # not before: the dialog would grow for what is folded
        self._check()
        self._guard = InputGuard(self)

    def _create_more_settings(self, usual: Path) -> None:
        self.more = QPushButton()
        self.more.setCheckable(True)
        self.more.setStyleSheet(HEADING)
        self.more.setToolTip(wrapped("The defaults suit most sessions."))
        self.start = PathLine("Model to start from", for_folders=False, start=usual)
        self.start.setToolTip(wrapped(START_TIP))
        self.start.line.setPlaceholderText("none: train from scratch")
        self.preset = QComboBox()
        for preset in PRESETS.values():
            self.preset.addItem(preset.name, preset.name)
        self.preset.setCurrentIndex(self.preset.findData(chosen_preset()))
        self.preset_words = wrapping_label()
        self.weights = PathLine("Autoencoder weights", for_folders=False, start=usual)
        self.weights.setToolTip(wrapped("Needed only to use the autoencoder's weights from a local file."))
        self.working_size = QSpinBox()
        set_up_number(self.working_size, 128, 32, 1024, 8, WORKING_SIZE_TIP)
        self.framing = QComboBox()
        for words, framing in FRAMINGS.items():
            self.framing.addItem(words, framing)
        self.channels = QLineEdit()
        self.channels.setToolTip(wrapped(CHANNELS_TIP))
        self.channels.setPlaceholderText("the first three")

    def _lay_out(self) -> None:
        form = self._form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Images", self.from_folder)
        for part in (self.images, self.from_layers, self.layers, self.found):
            form.addRow("", part)
        form.addRow("Session folder", self.folder)
        form.addRow("Classes", self.classes)
        form.addRow("", self.one_object)
        form.addRow(self.more)
        first = form.rowCount()
        form.addRow("Start from model", self.start)
        form.addRow("Network", self.preset)
        form.addRow("", self.preset_words)
        form.addRow("Weights file", self.weights)
        form.addRow("Working size", self.working_size)
        form.addRow("Framing", self.framing)
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
        images = (self.from_folder.toggled, self.images.text_changed, self.layers.changed)
        for signal in images:
            signal.connect(self._begin_counting)
        for signal in (
            *images,
            self.folder.text_changed,
            self.start.text_changed,
            self.weights.text_changed,
            self.classes.textChanged,
            self.channels.textChanged,
            self.working_size.valueChanged,
        ):
            signal.connect(self._check)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Make room in the font that napari has now."""
        super().showEvent(event)
        fit_to_text(self)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        reserve_lines(self.preset_words, self._lines)

    def done(self, result: int) -> None:
        self._counting.stop()
        self._counted = Path()
        self._tasks.close()
        super().done(result)

    def plan(self) -> SessionPlan:
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
        """The channels entered; () where they are no numbers, which the plan reports."""
        text = self.channels.text().strip()
        parts = [part.strip() for part in text.split(",")]
        if not text:
            return None
        return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()

    def _source(self) -> Path | LayerSource:
        return self.images.path() if self.from_folder.isChecked() else self.layers.source()

    def _on_folder_chosen(self) -> None:
        self._folder_was_chosen = True

    def _suggest_folder(self) -> None:
        by_folder = self.from_folder.isChecked()
        self.images.setVisible(by_folder)
        self.layers.setVisible(not by_folder)
        if not self._folder_was_chosen and (self.images.text() or not by_folder):
            self.folder.set_text(str(session_folder_for(self._source(), self._usual)))

    def _fold(self) -> None:
        """Show or hide the settings that most sessions keep."""
        unfolded = self.more.isChecked()
        self.more.setText(f"{'▾' if unfolded else '▸'}  More settings")
        for row in self._folded_rows:
            self._form.setRowVisible(row, unfolded)
        fit_to_text(self)

    def _begin_counting(self) -> None:
        """Count the images soon, for people type."""
        if self.from_folder.isChecked():
            self.found.setText("")
            self._counting.start()
        else:
            self._counting.stop()
            self.found.setText(_images(self.layers.source().count))

    def _count(self) -> None:
        """Count the image files in a folder and its subfolders in the background, for a while."""
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
        self._tasks.run(lambda: _found(images, folder, is_over), show)

    def _find_model(self) -> None:
        """Show the settings of the model to start from, if there is one."""
        self._model, self._why_no_model = model_at(self.start.path())
        if self._model is not None:
            self._show_model(self._model)
        free = self._model is None
        for part in self._set_by_model():
            part.setEnabled(free)
            part.setToolTip(self._tips[part] if free else wrapped(OF_THE_MODEL))
        self.classes.setToolTip(wrapped(CLASSES_TIP if free else CLASSES_OF_MODEL))
        if free:
            self._on_preset()

    def _set_by_model(self) -> tuple[QWidget, ...]:
        return self.preset, self.working_size, self.framing, self.channels

    def _show_model(self, model: TrainedModel) -> None:
        self.classes.setText(", ".join(name for name in model.class_names if name))
        self.preset.setCurrentIndex(self.preset.findData(model.preset))
        self.working_size.setValue(model.settings.working_size)
        self.framing.setCurrentIndex(self.framing.findData(model.settings.framing))
        self.channels.setText(", ".join(map(str, model.settings.channels or ())))
        self.weights.set_text("" if model.weights is None else str(model.weights))
        self._describe_network(model.in_words(), LINES_OF_MODEL)

    def _on_preset(self) -> None:
        if self._model is None:
            preset = PRESETS[self.preset.currentData()]
            self._describe_network(f"{preset.description}.", LINES)
            self.working_size.setValue(preset.default_working_size)

    def _describe_network(self, words: str, lines: int) -> None:
        self._lines = lines
        self.preset_words.setText(words)
        reserve_lines(self.preset_words, lines)

    def _check(self) -> None:
        """Show what is missing, and allow creating the session only if nothing is."""
        missing = self._why_no_model or self.plan().missing()
        self.make.setEnabled(missing is None)
        self.make.setToolTip(wrapped(missing or "The session opens when it is created."))
        self.why_not.setText(missing or "")
        fit_to_text(self)


def _found(images: Path, folder: Path, is_over: Callable[[], bool]) -> str:
    """The number of image files, or why it is not known."""
    try:
        files = find_files(images, folder, cancelled=is_over)
    except Cancelled:
        return "This is a large folder: its images are counted when the session is created."
    except SemiGDAError as error:
        return str(error)
    masks = len(masks_beside([name for _, name in files.named]))
    count = len(files.named) - masks
    beside = f" {masks} more files look like masks." if masks else ""
    skipped = " ".join(files.skipped(everything=not count))
    return f"{_images(count) if count else 'No image was found.'}{beside} {skipped}".strip()


def _images(count: int) -> str:
    return "1 image found." if count == 1 else f"{count} images found."
