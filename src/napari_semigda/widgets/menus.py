"""What napari's menus call: segment a layer with a model, and new labels with the classes of a session."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import napari.viewer
import numpy as np
from napari.layers import Image, Labels, Layer
from napari.qt.threading import create_worker
from napari.utils.notifications import show_info
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDialog,
    QFormLayout,
    QLabel,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.masks import Legend, LegendEntry
from napari_semigda.session.classes import named_classes
from napari_semigda.session.trained_model import TrainedModel
from napari_semigda.widgets.background import Activity
from napari_semigda.widgets.canvas.layers import without_proxy
from napari_semigda.widgets.input_guard import InputGuard
from napari_semigda.widgets.layer_files import meaning
from napari_semigda.widgets.panels.parts import (
    PathLine,
    dialog_buttons,
    errors_shown,
    fit_to_text,
    reserve_lines,
    show_failure,
    wrapped,
    wrapping_label,
)
from napari_semigda.widgets.panels.session_plan import model_at
from napari_semigda.widgets.preferences import chosen_device, use_cache_folder
from napari_semigda.widgets.segmentation import Segmentation, layer_data, placement
from napari_semigda.widgets.start import session_in

WIDTH = 520
NO_CHANNEL = "none"
CHANNELS_TIP = "Only for models trained on several channels: choose the layers in the order of training."
LINES = 4  # of text about a model
WITHOUT_SESSION = ("object",)


def new_labels(viewer: napari.viewer.Viewer) -> None:
    """Add an empty layer of labels over the selected image, with its scale and units.

    Its classes are those of the session that is open in the dock, or one, `object`.
    """
    viewer = without_proxy(viewer)
    with errors_shown():
        images = _images(viewer, "There is no image to label. Open one first.")
        image = _selected(viewer) or images[-1]
        session = session_in(viewer)
        classes = named_classes(WITHOUT_SESSION) if session is None else session.classes
        legend = Legend(tuple(LegendEntry(one.value, one.name, one.color) for one in classes))
        labels = np.zeros(layer_data(image).shape[: image.ndim], np.uint8)
        layer = Labels(labels, name=f"{image.name} labels", **placement(image), **meaning(legend))
        layer.selected_label = classes[0].value if classes else 1
        viewer.add_layer(layer)


def segment_layer(viewer: napari.viewer.Viewer) -> None:
    """Ask which layer and which model, and segment."""
    viewer = without_proxy(viewer)
    with errors_shown():
        images = _images(viewer, "There is no image to segment. Open one first.")
        session = session_in(viewer)
        folder = None if session is None or session.rounds.last_model() is None else session.folder
        chosen = _selected(viewer) or images[0]
        dialog = SegmentDialog(images, chosen, folder, QApplication.activeWindow())
        if dialog.exec() == QDialog.DialogCode.Accepted:
            begin(viewer, dialog.segmentation())
        dialog.deleteLater()


def begin(viewer: napari.viewer.Viewer, segmentation: Segmentation) -> Any:
    """Segment in a worker, with progress and *Cancel* in the activity dock; adds a layer at the end."""
    use_cache_folder()
    worker = create_worker(segmentation.work, _ignore_errors=True, _start_thread=False)
    bar = Activity(f"SemiGDA: segmenting {segmentation.layers[0].name}", worker.quit)
    worker.yielded.connect(lambda share: bar.report(share, 1))
    worker.finished.connect(bar.close)
    worker.errored.connect(show_failure)
    worker.aborted.connect(lambda: show_info("Segmenting was canceled; no layer was added."))
    worker.returned.connect(lambda data: viewer.add_layer(Layer.create(*data)))
    worker.start()
    return worker


def _images(viewer: napari.viewer.Viewer, otherwise: str) -> list[Image]:
    images = [layer for layer in viewer.layers if isinstance(layer, Image)]
    if not images:
        raise SemiGDAError(otherwise)
    return images


def _selected(viewer: napari.viewer.Viewer) -> Image | None:
    active = viewer.layers.selection.active
    return active if isinstance(active, Image) else None


class SegmentDialog(QDialog):
    """Asks for a layer, more channels where the model needs them, and a model."""

    def __init__(
        self, layers: Sequence[Image], layer: Image, session: Path | None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Segment a layer with a model")
        self.setMinimumWidth(WIDTH)
        self._layers = list(layers)
        self._model: TrainedModel | None = None
        self._why_no_model: str | None = None
        start = Path.home() if session is None else session
        self.layer = self._choice()
        self.layer.setCurrentIndex(self._layers.index(layer))
        self.channels = [self._choice(NO_CHANNEL) for _ in range(2)]
        self.from_session = QRadioButton("Newest weights of a session")
        self.from_file = QRadioButton("Checkpoint file")
        self.session = PathLine("Session folder", for_folders=True, start=start)
        self.file = PathLine("Checkpoint (.safetensors)", for_folders=False, start=start)
        self.words = wrapping_label()
        self.segment = QPushButton("Segment")
        self.buttons = dialog_buttons(self, self.segment)
        self.from_session.setChecked(True)
        self.session.set_text("" if session is None else str(session))
        self._lay_out()
        self._connect()
        self._find_model()
        self._guard = InputGuard(self)

    def segmentation(self) -> Segmentation:
        more = [box.currentIndex() - 1 for box in self.channels if box.currentIndex() > 0]
        chosen = [self.layer.currentIndex(), *more]
        return Segmentation(tuple(self._layers[index] for index in chosen), self._model, chosen_device())

    def showEvent(self, event: QShowEvent | None) -> None:
        """Make room in the font that napari has now."""
        super().showEvent(event)
        self._check()

    def _choice(self, *before: str) -> QComboBox:
        box = QComboBox()
        box.addItems([*before, *(layer.name for layer in self._layers)])
        return box

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Image layer", self.layer)
        for number, box in enumerate(self.channels, start=2):
            label = QLabel(f"Channel {number}")
            label.setToolTip(wrapped(CHANNELS_TIP))
            box.setToolTip(wrapped(CHANNELS_TIP))
            form.addRow(label, box)
        form.addRow("Model", self.from_session)
        form.addRow("", self.session)
        form.addRow("", self.from_file)
        form.addRow("", self.file)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.words)
        layout.addWidget(self.buttons)

    def _connect(self) -> None:
        self.from_session.toggled.connect(self._find_model)
        for line in (self.session, self.file):
            line.text_changed.connect(self._find_model)
        for box in (self.layer, *self.channels):
            box.currentIndexChanged.connect(self._check)

    def _find_model(self) -> None:
        by_session = self.from_session.isChecked()
        self.session.setVisible(by_session)
        self.file.setVisible(not by_session)
        line = self.session if by_session else self.file
        self._model, self._why_no_model = model_at(line.path())
        self._check()

    def _check(self) -> None:
        """Show what is missing, or which model it is."""
        missing = self._why_no_model or self.segmentation().missing()
        self.segment.setEnabled(missing is None)
        self.segment.setToolTip(wrapped(missing or "Adds a new labels layer."))
        self.words.setText(missing or ("" if self._model is None else self._model.in_words()))
        reserve_lines(self.words, LINES)
        fit_to_text(self)
