"""Layers › Segment › Segment a layer with a model…: the dialog, and the work behind the scenes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import napari.viewer
from napari.layers import Image
from napari.qt.threading import create_worker
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDialog,
    QFormLayout,
    QLabel,
    QPushButton,
    QRadioButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_semigda.errors import SemiGDAError
from napari_semigda.session.trained_model import TrainedModel
from napari_semigda.widgets.activity import WHOLE, Activity
from napari_semigda.widgets.input_guard import InputGuard
from napari_semigda.widgets.opening import session_in
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
from napari_semigda.widgets.preferences import chosen_device, heed_cache_folder
from napari_semigda.widgets.segmentation import Segmentation
from napari_semigda.widgets.viewer import without_proxy

WIDTH = 520
NO_CHANNEL = "none"
CHANNELS_TIP = "Only for models that were trained on several channels: the layers, in the order of training."
LINES = 4  # of what is said about a model


def segment_layer(viewer: napari.viewer.Viewer) -> None:
    """Ask which layer and which model, and segment; what napari's menu calls."""
    viewer = without_proxy(viewer)
    with errors_shown():
        layers = [layer for layer in viewer.layers if isinstance(layer, Image)]
        if not layers:
            raise SemiGDAError("There is no image to segment. Open one first.")
        active = viewer.layers.selection.active
        chosen = active if isinstance(active, Image) else layers[0]
        dialog = SegmentDialog(layers, chosen, _open_session(viewer), QApplication.activeWindow())
        if dialog.exec() == QDialog.DialogCode.Accepted:
            begin(viewer, dialog.segmentation())
        dialog.deleteLater()


def begin(viewer: napari.viewer.Viewer, segmentation: Segmentation) -> Any:
    """Segment in a worker, with progress and cancel in the activity dock; adds one layer at the end."""
    heed_cache_folder()
    worker = create_worker(segmentation.work, _ignore_errors=True, _start_thread=False)
    bar = Activity(f"SemiGDA: segmenting {segmentation.layers[0].name}", worker.quit)
    worker.yielded.connect(lambda share: bar.report(round(share * WHOLE), WHOLE))
    worker.finished.connect(bar.close)
    worker.errored.connect(show_failure)
    worker.aborted.connect(lambda: show_info("Segmenting was cancelled; nothing was added."))
    worker.returned.connect(lambda data: viewer.add_layer(napari.layers.Layer.create(*data)))
    worker.start()
    return worker


class SegmentDialog(QDialog):
    """Asks for a layer, more channels where the model needs them, and a model.

    Parameters
    ----------
    layers : sequence of napari.layers.Image
        Those to choose from.
    layer : napari.layers.Image
        The one chosen at first.
    session : Path or None
        Folder of a session whose weights are suggested.
    parent : QWidget, optional
        As Qt has it.
    """

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
        self.layer = self._choice(())
        self.layer.setCurrentIndex(self._layers.index(layer))
        self.channels = [self._choice((NO_CHANNEL,)) for _ in range(2)]
        self.from_session = QRadioButton("The last weights of a session")
        self.from_file = QRadioButton("A checkpoint file")
        self.session = PathLine("Session folder", for_folders=True, start=start)
        self.file = PathLine("Checkpoint (.safetensors)", for_folders=False, start=start)
        self.words = wrapping_label()
        self.words.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.words.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.segment = QPushButton("Segment")
        self.buttons = dialog_buttons(self, self.segment)
        self.from_session.setChecked(True)
        self.session.set_text("" if session is None else str(session))
        self._lay_out()
        self._connect()
        self._find_model()
        self._guard = InputGuard(self)

    def segmentation(self) -> Segmentation:
        """What was asked for."""
        more = [box.currentIndex() - 1 for box in self.channels if box.currentIndex() > 0]
        chosen = [self.layer.currentIndex(), *more]
        return Segmentation(tuple(self._layers[place] for place in chosen), self._model, chosen_device())

    def _choice(self, before: tuple[str, ...]) -> QComboBox:
        box = QComboBox()
        box.addItems([*before, *(layer.name for layer in self._layers)])
        return box

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Image layer", self.layer)
        for number, box in enumerate(self.channels, start=2):
            box.setToolTip(wrapped(CHANNELS_TIP))
            label = QLabel(f"Channel {number}")
            label.setToolTip(wrapped(CHANNELS_TIP))
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
        self._model, self._why_no_model = model_at((self.session if by_session else self.file).path())
        self._check()

    def _check(self) -> None:
        """Say what is missing, or what the model is."""
        missing = self._why_no_model or self.segmentation().missing()
        self.segment.setEnabled(missing is None)
        self.segment.setToolTip(wrapped(missing or "Add a layer of labels."))
        self.words.setText(missing or ("" if self._model is None else self._model.in_words()))
        reserve_lines(self.words, LINES)
        fit_to_text(self)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Make room in the letters that napari has now."""
        super().showEvent(event)
        self._check()


def _open_session(viewer: napari.viewer.Viewer) -> Path | None:
    """The folder of the session that is open in the dock, if it has weights."""
    session = session_in(viewer)
    return None if session is None or session.last_model() is None else session.folder
