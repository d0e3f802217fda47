"""What is done again and again, at the foot of the dock where it never scrolls away."""

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QFrame, QStackedLayout, QWidget

from napari_semigda.widgets.panels.export import ExportPanel
from napari_semigda.widgets.panels.mask import MaskPanel
from napari_semigda.widgets.panels.panel import Rows
from napari_semigda.widgets.panels.train import TrainPanel

LINES = 2  # always kept free, so that nothing moves when something is said


class MainActions(QWidget):
    """The main buttons of the sections, and one place for what the dock has to say.

    What has to be known about the mask on screen takes the place of the sentence on training meanwhile.
    """

    def __init__(self, mask: MaskPanel, train: TrainPanel, export: ExportPanel) -> None:
        super().__init__()
        self._notice, self._state = mask.notice, train.state
        said = QWidget()
        said.setMinimumHeight(LINES * self.fontMetrics().lineSpacing() + 4)
        self._said = QStackedLayout(said)  # as high as the longer of both, whichever is seen
        for label in (self._state, self._notice):
            self._said.addWidget(label)
        room = train.bar.sizePolicy()
        room.setRetainSizeWhenHidden(True)  # the buttons below must not move when work begins or ends
        train.bar.setSizePolicy(room)
        rule = QFrame()
        rule.setFrameShape(QFrame.Shape.HLine)
        rule.setFixedHeight(1)
        rows = Rows(self)
        rows.setContentsMargins(8, 0, 8, 4)
        rows.add(rule)
        rows.add(said)
        rows.add(mask.use_layer, mask.ignore_layer)
        rows.add(mask.show_again)
        rows.add(mask.find_moved)
        rows.add(train.bar)
        rows.add(mask.accept_and_go_on, mask.accept)
        rows.add(mask.no_object, mask.undo_accept)
        rows.add(train.train, train.pause, train.stop, export.export)
        self._notice.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Let the notice and the sentence take turns."""
        if event is not None and event.type() in (QEvent.Type.ShowToParent, QEvent.Type.HideToParent):
            self._said.setCurrentWidget(self._notice if self._notice.text() else self._state)
        return False
