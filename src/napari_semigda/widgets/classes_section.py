"""Section 2: the classes, their colours and names, and which one the brush paints."""

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.widgets.image_section import NO_SESSION
from napari_semigda.widgets.keys import Key
from napari_semigda.widgets.notices import errors_shown
from napari_semigda.widgets.section import ActionButton, Rows
from napari_semigda.widgets.workbench import Workbench

BACKGROUND = 0
MOST_ROWS = 6
SWATCH = 14
VALUE = Qt.ItemDataRole.UserRole


class ClassesSection(QWidget):
    """A list of what the brush can paint: each class, background, and “not looked at”."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._workbench = workbench
        self.list = QListWidget()
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.list.setToolTip(
            "Click: the brush paints this. Double-click: rename the class. "
            "What is painted as not looked at trains nothing."
        )
        self.list.currentItemChanged.connect(self._pick)
        self.list.itemChanged.connect(self._rename)
        self.add = ActionButton("Add class", "Add a class; the next round learns it.", self._add)
        self.next = ActionButton(
            "Next class", "Let the brush paint the next entry of the list.", self._pick_next, Key.NEXT_CLASS
        )
        buttons = QWidget()
        column = QVBoxLayout(buttons)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.next)
        column.addWidget(self.add)
        column.addStretch()
        Rows(self).add(self.list, buttons, shares=(7, 5))
        workbench.opened.connect(self._fill)
        workbench.reclassed.connect(self._fill)
        workbench.closed.connect(self._fill)
        workbench.canvas.label_picked.connect(self._follow)
        self._fill()

    def _fill(self) -> None:
        session = self._workbench.session
        self.list.blockSignals(True)
        self.list.clear()
        for info in () if session is None else session.classes:
            self._add_row(info.value, info.name, QColor(info.color), editable=True)
        if session is not None:
            self._add_row(BACKGROUND, "Background", QColor("black"))
            self._add_row(UNKNOWN, "Not looked at", QColor("grey"))
        self.list.blockSignals(False)
        self.list.setVisible(session is not None)
        self.list.setFixedHeight(self._fitting_height())
        self._allow()
        self._follow(self._workbench.canvas.selected_label)

    def _add_row(self, value: int, name: str, colour: QColor, editable: bool = False) -> None:
        row = QListWidgetItem(_swatch(colour), name)
        row.setData(VALUE, value)
        if editable:
            row.setFlags(row.flags() | Qt.ItemFlag.ItemIsEditable)
        self.list.addItem(row)

    def _fitting_height(self) -> int:
        rows = min(self.list.count(), MOST_ROWS)
        return rows * max(self.list.sizeHintForRow(0), SWATCH) + 2 * self.list.frameWidth() + 4

    def _allow(self) -> None:
        session = self._workbench.session
        self.next.allow(NO_SESSION if session is None else None)
        self.add.allow(NO_SESSION if session is None else None)

    def _pick(self, row: QListWidgetItem | None) -> None:
        if row is not None:
            self._workbench.canvas.selected_label = row.data(VALUE)

    def _pick_next(self) -> None:
        self.list.setCurrentRow((self.list.currentRow() + 1) % self.list.count())

    def _follow(self, value: int) -> None:
        """Mark the label that the brush paints, however it was picked."""
        self.list.blockSignals(True)
        self.list.setCurrentRow(-1)
        for place in range(self.list.count()):
            row = self.list.item(place)
            if row is not None and row.data(VALUE) == value:
                self.list.setCurrentRow(place)
        self.list.blockSignals(False)

    def _rename(self, row: QListWidgetItem) -> None:
        with errors_shown():
            self._workbench.rename_class(row.data(VALUE), row.text())
        QTimer.singleShot(0, self._fill)  # after the editor is done: the name that holds, if one was refused

    def _add(self) -> None:
        session = self._workbench.session
        if session is None:
            return
        names = {info.name for info in session.classes}
        number = next(n for n in range(len(names) + 1, 2 * len(names) + 3) if f"class {n}" not in names)
        self._workbench.add_class(f"class {number}")
        self.list.setCurrentRow(len(names))
        self.list.editItem(self.list.item(len(names)))


def _swatch(colour: QColor) -> QIcon:
    pixmap = QPixmap(SWATCH, SWATCH)
    pixmap.fill(colour)
    icon = QIcon()
    for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected, QIcon.Mode.Active):
        icon.addPixmap(pixmap, mode)  # else Qt tints the chosen row's colour
    return icon
