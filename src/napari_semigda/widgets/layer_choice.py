"""Which image layers open in napari become images of a session."""

from collections.abc import Sequence
from itertools import compress

from napari.layers import Image
from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_semigda.widgets.panels.parts import dialog_buttons, fit_to_text, wrapped, wrapping_label
from napari_semigda.widgets.panels.session_plan import LayerSource

ROW, MOST_ROWS = 20, 6
WIDTH = 420
AS_CHANNELS_TIP = "Then every plane is one image to label, instead of one for each layer."
EXPLANATION = (
    "Every plane of a ticked layer becomes an image to label; it is copied into the session's folder, with "
    "its pixel size. Images the session has already are passed over."
)


class LayerChoice(QWidget):
    """A list of layers to tick, and whether they are channels of the same images.

    Parameters
    ----------
    layers : sequence of napari.layers.Image
        Those to choose from; all are ticked at first.

    Attributes
    ----------
    changed : Signal
        Emitted when another choice was made.
    """

    changed = Signal()

    def __init__(self, layers: Sequence[Image]) -> None:
        super().__init__()
        self._layers = list(layers)
        self.list = QListWidget()
        self.list.setToolTip(wrapped("The layers that are ticked become images of the session."))
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # the size is at the end
        for layer in self._layers:
            row = QListWidgetItem(f"{layer.name}  ({' × '.join(map(str, layer.data.shape))})")
            row.setFlags(row.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            row.setCheckState(Qt.CheckState.Checked)
            row.setSizeHint(QSize(0, ROW))
            self.list.addItem(row)
        shown = min(max(self.list.count(), 1), MOST_ROWS)
        self.list.setFixedHeight(shown * ROW + 2 * self.list.frameWidth() + 4)
        self.as_channels = QCheckBox("The ticked layers are channels of the same images")
        self.as_channels.setToolTip(wrapped(AS_CHANNELS_TIP))
        self.as_channels.setVisible(len(self._layers) > 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.list)
        layout.addWidget(self.as_channels)
        self.list.itemChanged.connect(self.changed)
        self.as_channels.toggled.connect(self.changed)

    def source(self) -> LayerSource:
        """What was chosen."""
        rows = (self.list.item(place) for place in range(self.list.count()))
        ticked = [row is not None and row.checkState() == Qt.CheckState.Checked for row in rows]
        return LayerSource(tuple(compress(self._layers, ticked)), self.as_channels.isChecked())


class AddLayersDialog(QDialog):
    """Asks which layers to add to the session that is open.

    Parameters
    ----------
    layers : sequence of napari.layers.Image
        Those to choose from.
    parent : QWidget, optional
        As Qt has it.
    """

    def __init__(self, layers: Sequence[Image], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Add layers to the session")
        self.setMinimumWidth(WIDTH)
        self.layers = LayerChoice(layers)
        self.why_not = wrapping_label()
        self.add = QPushButton("Add")
        self.buttons = dialog_buttons(self, self.add)
        explanation = wrapping_label()
        explanation.setText(EXPLANATION)
        layout = QVBoxLayout(self)
        for part in (explanation, self.layers, self.why_not, self.buttons):
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
