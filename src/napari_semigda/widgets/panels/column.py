"""What scrolls in the dock: a column of sections, of which nothing is seen by half at its two ends."""

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
    QWidget,
)

from napari_semigda.widgets.panels.panel import timer

PARTS = (
    QAbstractButton,
    QAbstractScrollArea,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QLineEdit,
)
REVEALED_AFTER = 50  # milliseconds: what was just unfolded has no place yet, nor has its text wrapped
TALLEST = 112  # pixels: what is taller is seen in part, for it would leave a large gap


class Column(QScrollArea):
    """Scrolls a widget up and down, and hides what would be cut off in its midst.

    Parameters
    ----------
    content : QWidget
        What is scrolled.
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self._content = content
        self._above, self._below = self._cover(), self._cover()
        self._covering = timer(self, 0, self._cover_halves)
        self._revealing = timer(self, REVEALED_AFTER, self._scroll_to_revealed)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(content)
        content.installEventFilter(self)
        bar = self.verticalScrollBar()
        assert bar is not None  # every scroll area has one
        bar.valueChanged.connect(self._cover_halves)

    def reveal(self, part: QWidget) -> None:
        """Scroll until a part is seen, once its layout is done."""
        self._revealed = part
        self._revealing.start()

    def room_beside(self) -> int:
        """How much wider it has to be than what it scrolls."""
        bar, layout = self.verticalScrollBar(), self._content.layout()
        margins = QMargins() if layout is None else layout.contentsMargins()
        return margins.left() + margins.right() + (0 if bar is None else bar.sizeHint().width())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Look again what is cut off."""
        super().resizeEvent(event)
        self._covering.start()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Look again what is cut off when sections change."""
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

    def _cover_halves(self) -> None:
        spans = list(self._spans())
        height = self._viewport_height()
        top, bottom = 0, height
        while cut := [end for start, end in spans if start < top < end]:
            top = max(cut)
        while cut := [start for start, end in spans if start < bottom < end]:
            bottom = min(cut)
        for cover, start, end in ((self._above, 0, top), (self._below, bottom, height)):
            cover.setGeometry(0, start, self.width(), end - start)
            cover.setVisible(start < end)
            cover.raise_()

    def _viewport_height(self) -> int:
        viewport = self.viewport()
        return 0 if viewport is None else viewport.height()

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Upper and lower end of each part, in the viewport."""
        tallest = min(TALLEST, self._viewport_height() // 3)
        for part in self._content.findChildren(QWidget):
            if part.window() is not self.window():
                continue  # of a menu, or of a question that is asked
            if isinstance(part, PARTS) and part.isVisible() and part.height() <= tallest:
                start = part.mapTo(self._content, QPoint(0, 0)).y() + self._content.y()
                yield start, start + part.height()
