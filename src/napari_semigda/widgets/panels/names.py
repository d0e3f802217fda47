"""Names of images where there is not enough room: what tells them apart, mostly a number, is at the end."""

import re

from qtpy.QtCore import QModelIndex, QSize, Qt
from qtpy.QtGui import QFontMetrics, QResizeEvent
from qtpy.QtWidgets import QLabel, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

MARGIN = 3  # pixels that Qt leaves free at either side of the text of a cell

_NUMBER = re.compile(r"[\W_]?[^\W\d_]?\d+\D{0,8}$")
"""The last number of a name, with what stands right before it, and what follows, such as an ending."""


def elided(name: str, metrics: QFontMetrics, width: int) -> str:
    """Shorten a name in its midst so that it is no wider, and keep the number at its end whole.

    Parameters
    ----------
    name
        The whole name.
    metrics
        Of the letters that it is written in.
    width
        In pixels.
    """
    if metrics.horizontalAdvance(name) <= width:
        return name
    number = _NUMBER.search(name)
    tail = "" if number is None else name[number.start() :]
    room = width - metrics.horizontalAdvance(tail)
    if not tail or room < metrics.horizontalAdvance("m…"):
        return metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, width)
    return metrics.elidedText(name[: -len(tail)], Qt.TextElideMode.ElideRight, room) + tail


class NameLabel(QLabel):
    """A line for a name, shortened where there is no room for it; `text` is the whole name."""

    def __init__(self) -> None:
        super().__init__()
        self._name = ""

    def text(self) -> str:
        """The whole name."""
        return self._name

    def setText(self, name: str | None) -> None:
        """Show another name."""
        self._name = name or ""
        self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Show as much of the name as there is room for."""
        super().resizeEvent(event)
        self._fit()

    def minimumSizeHint(self) -> QSize:
        """It can be as narrow as one likes."""
        return QSize(0, super().minimumSizeHint().height())

    def _fit(self) -> None:
        super().setText(elided(self._name, self.fontMetrics(), self.width()))


class NameDelegate(QStyledItemDelegate):
    """Shortens names in a table."""

    def initStyleOption(self, option: QStyleOptionViewItem | None, index: QModelIndex) -> None:
        """Tell Qt what to paint."""
        super().initStyleOption(option, index)
        view = self.parent()
        if option is None or not isinstance(view, QWidget):
            return
        style = view.style()
        assert style is not None  # every widget has one
        room = style.subElementRect(QStyle.SubElement.SE_ItemViewItemText, option, view).width()
        option.text = elided(option.text or "", option.fontMetrics, room - 2 * MARGIN)
