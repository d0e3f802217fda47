"""The two halves of the dock: panels that scroll, and below them the buttons that never scroll away."""

from collections.abc import Iterator

from qtpy.QtCore import QEvent, QMargins, QObject, QPoint, Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractScrollArea,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QFrame,
    QLabel,
    QLineEdit,
    QScrollArea,
    QStackedLayout,
    QWidget,
)

from napari_semigda.widgets.panels.export import ExportPanel
from napari_semigda.widgets.panels.mask import MaskPanel
from napari_semigda.widgets.panels.parts import Rows, timer
from napari_semigda.widgets.panels.train import TrainPanel

PARTS = (
    QAbstractButton,
    QAbstractScrollArea,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QLineEdit,
)
REVEALED_AFTER = 50  # milliseconds: what was just expanded has no position yet, nor has its text wrapped
TALLEST = 112  # pixels: a taller part is shown cut off, for it would leave a large gap
LINES = 2  # always reserved, so that nothing moves when a message appears


class Column(QScrollArea):
    """Scrolls the panels, and hides parts that would be cut off at its upper and lower end."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self._content = content
        self._above, self._below = self._cover(), self._cover()
        self._covering = timer(self, 0, self._cover_ends)
        self._revealing = timer(self, REVEALED_AFTER, self._scroll_to_revealed)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(content)
        content.installEventFilter(self)
        bar = self.verticalScrollBar()
        assert bar is not None  # every scroll area has one
        bar.valueChanged.connect(self._cover_ends)

    def reveal(self, part: QWidget) -> None:
        """Scroll until a part is visible, once its layout is done."""
        self._revealed = part
        self._revealing.start()

    def room_beside(self) -> int:
        """Return how much wider it has to be than what it scrolls."""
        bar, layout = self.verticalScrollBar(), self._content.layout()
        margins = QMargins() if layout is None else layout.contentsMargins()
        return margins.left() + margins.right() + (0 if bar is None else bar.sizeHint().width())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._covering.start()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Find again what is cut off when panels change."""
        if watched is self._content and event is not None:
            if event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Resize):
                self._covering.start()
            return False
        return bool(super().eventFilter(watched, event))

    def _scroll_to_revealed(self) -> None:
        self.ensureWidgetVisible(self._revealed, 0, 0)

    def _cover(self) -> QWidget:
        cover = QWidget(self.viewport())
        cover.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        cover.hide()
        return cover

    def _cover_ends(self) -> None:
        viewport = self.viewport()
        height = 0 if viewport is None else viewport.height()
        spans = list(self._spans(height))
        top, bottom = 0, height
        while cut := [end for start, end in spans if start < top < end]:
            top = max(cut)
        while cut := [start for start, end in spans if start < bottom < end]:
            bottom = min(cut)
        for cover, start, end in ((self._above, 0, top), (self._below, bottom, height)):
            cover.setGeometry(0, start, self.width(), end - start)
            cover.setVisible(start < end)
            cover.raise_()

    def _spans(self, height: int) -> Iterator[tuple[int, int]]:
        """Upper and lower end of each part, in the viewport."""
        tallest = min(TALLEST, height // 3)
        for part in self._content.findChildren(QWidget):
            if part.window() is not self.window():
                continue  # in a menu or a question
            if isinstance(part, PARTS) and part.isVisible() and part.height() <= tallest:
                start = part.mapTo(self._content, QPoint(0, 0)).y() + self._content.y()
                yield start, start + part.height()


class MainActions(QWidget):
    """The main buttons of the panels, and the place for messages: about the mask on screen, else training."""

    def __init__(self, mask: MaskPanel, train: TrainPanel, export: ExportPanel) -> None:
        super().__init__()
        self._notice, self._state = mask.notice, train.state
        messages = QWidget()
        messages.setMinimumHeight(LINES * self.fontMetrics().lineSpacing() + 4)
        self._messages = QStackedLayout(messages)  # as high as the longer of both, whichever is seen
        for label in (self._state, self._notice):
            self._messages.addWidget(label)
        room = train.bar.sizePolicy()
        room.setRetainSizeWhenHidden(True)  # the buttons below must not move when work begins or ends
        train.bar.setSizePolicy(room)
        rule = QFrame()
        rule.setFrameShape(QFrame.Shape.HLine)
        rule.setFixedHeight(1)
        rows = Rows(self)
        rows.setContentsMargins(8, 0, 8, 4)
        rows.add(rule)
        rows.add(messages)
        rows.add(mask.use_layer, mask.ignore_layer)
        rows.add(mask.show_again)
        rows.add(mask.find_moved)
        rows.add(train.bar)
        rows.add(mask.accept_and_go_on, mask.accept)
        rows.add(mask.no_object, mask.undo_accept)
        rows.add(train.train, train.pause, train.stop, export.export)
        self._notice.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Switch between the notice and the state of training."""
        if event is not None and event.type() in (QEvent.Type.ShowToParent, QEvent.Type.HideToParent):
            self._messages.setCurrentWidget(self._notice if self._notice.text() else self._state)
        return False
