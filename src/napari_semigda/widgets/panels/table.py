"""The table of all images: find one, see its status, go there."""

from qtpy.QtCore import QEvent, QModelIndex, QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLineEdit,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from napari_semigda.session.items import Item, Status
from napari_semigda.session.overview import STATUSES, Overview
from napari_semigda.session.session import Session
from napari_semigda.widgets.background import TaskThread
from napari_semigda.widgets.controller import NO_SESSION, Controller
from napari_semigda.widgets.panels.image_model import (
    EFFORT,
    MEANINGS,
    NAME,
    SCORE,
    SIDE,
    STATE,
    WORDS,
    ImageModel,
    Thumbnails,
)
from napari_semigda.widgets.panels.parts import Rows, choice, elided, errors_shown, wrapped

ROW, LOW_ROW = SIDE + 2, 28
FEWEST_ROWS = 5  # the dock has other panels, too; where it has room, the table takes it
ENOUGH_ROWS = 8  # with as many rows visible, thumbnails have their full size
WIDEST = {STATE: "accepted", SCORE: "Score", EFFORT: "Effort"}
MARGIN, TEXT_MARGIN = 10, 3  # pixels beside the text of a cell, and those that Qt leaves free itself
ARROW = 14  # pixels beside the title of the column sorted by
SEARCH_TIP = "Show only images whose name contains this."


class NameDelegate(QStyledItemDelegate):
    """Elides names in a table."""

    def initStyleOption(self, option: QStyleOptionViewItem | None, index: QModelIndex) -> None:
        super().initStyleOption(option, index)
        view = self.parent()
        if option is None or not isinstance(view, QWidget):
            return
        style = view.style()
        assert style is not None  # every widget has one
        room = style.subElementRect(QStyle.SubElement.SE_ItemViewItemText, option, view).width()
        option.text = elided(option.text or "", option.fontMetrics, room - 2 * TEXT_MARGIN)


class ImageTable(QTableView):
    """A table whose rows are as high as a thumbnail; a click leaves the keys to the canvas."""

    left = Signal()

    def __init__(self, model: ImageModel) -> None:
        super().__init__()
        self._columns = QHeaderView(Qt.Orientation.Horizontal)
        self._rows = QHeaderView(Qt.Orientation.Vertical)
        self.setHorizontalHeader(self._columns)
        self.setVerticalHeader(self._rows)
        self.setModel(model)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setTabKeyNavigation(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerItem)
        self._names = NameDelegate(self)
        self.setItemDelegateForColumn(NAME, self._names)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self._rows.setVisible(False)
        self._rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self._rows.setMinimumSectionSize(LOW_ROW)
        self._fit_rows()
        self._fit_columns()
        self._columns.sortIndicatorChanged.connect(self._on_sorted)
        self.sortByColumn(NAME, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)

    def sizeHint(self) -> QSize:
        """Return the minimal height; the layout gives more where there is room."""
        return QSize(super().sizeHint().width(), self.minimumHeight())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._fit_rows()
        self.scrollTo(self.currentIndex())

    def leaveEvent(self, event: QEvent | None) -> None:
        super().leaveEvent(event)
        self.left.emit()

    def show_row(self, index: QModelIndex | None) -> None:
        if index is None:
            self.clearSelection()
        else:
            self.setCurrentIndex(index)
            self.scrollTo(index)

    def _fit_rows(self) -> None:
        viewport = self.viewport()
        height = 0 if viewport is None else viewport.height()
        lowest = max(ROW if height >= ENOUGH_ROWS * ROW else LOW_ROW, self.fontMetrics().height() + 4)
        row = max(height // max(height // lowest, 1), lowest)
        self._rows.setDefaultSectionSize(row)
        side = min(row - 2, SIDE)
        self.setIconSize(QSize(side, side))
        self.setMinimumHeight(FEWEST_ROWS * lowest + self._columns.sizeHint().height() + 4)

    def _on_sorted(self) -> None:
        self._fit_columns()
        self.scrollToTop()

    def _fit_columns(self) -> None:
        self._columns.setSectionsClickable(True)
        self._columns.setMinimumSectionSize(10)
        self._columns.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self._columns.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        for column, text in WIDEST.items():
            arrow = ARROW if column == self._columns.sortIndicatorSection() else 0
            self._columns.resizeSection(column, self.fontMetrics().horizontalAdvance(text) + MARGIN + arrow)


class TablePanel(QWidget):
    """The table of images, a search field, a choice of states; `narrowed` carries how many are shown."""

    narrowed = Signal(str)

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._tasks: TaskThread | None = None
        self._thumbnails: Thumbnails | None = None
        self._shown: Item | None = None
        self.model = ImageModel(self)
        self.table = ImageTable(self.model)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Find by name")
        self.search.setClearButtonEnabled(True)
        states = ((WORDS[status], (status,), MEANINGS[status]) for status in Status)
        self.states = choice([("Any status", STATUSES, ""), *states])
        rows = Rows(self)
        rows.add(self.search, self.states, shares=(7, 5))
        rows.add(self.table)
        self.search.textChanged.connect(self._filter)
        self.states.currentIndexChanged.connect(self._filter)
        self.table.clicked.connect(self._go)
        self.table.activated.connect(self._go)
        self.table.left.connect(self._rearrange)
        controller.opened.connect(self._on_opened)
        controller.states_changed.connect(self._update)
        controller.closed.connect(self._on_closed)
        self._on_closed()

    def _on_opened(self) -> None:
        session, annotation = self._controller.session, self._controller.annotation
        assert session is not None
        assert annotation is not None
        self._tasks = TaskThread(self)
        self._tasks.run(session.overview, lambda overview: self._begin(session, overview))
        annotation.changed.connect(self._follow)
        self._enable(True)

    def _begin(self, session: Session, overview: Overview) -> None:
        self._thumbnails = Thumbnails(session, self)
        self.model.begin(overview, self._thumbnails)
        self._update()
        self._mark_shown()

    def _on_closed(self) -> None:
        for part in (self._tasks, self._thumbnails):
            if part is not None:
                part.close()
                part.deleteLater()
        self._tasks = self._thumbnails = self._shown = None
        self.model.clear()
        self._enable(False)
        self._count()

    def _enable(self, is_open: bool) -> None:
        for part, tip in ((self.search, SEARCH_TIP), (self.states, "")):
            part.setEnabled(is_open)
            part.setToolTip(wrapped(tip if is_open else NO_SESSION))

    def _go(self, index: QModelIndex) -> None:
        with errors_shown():
            if self._controller.annotation is not None:
                self._controller.annotation.show(self.model.item(index))

    def _update(self) -> None:
        self.model.update()
        if not self.table.underMouse():  # a click must not hit another image than the one aimed at
            self._rearrange()

    def _rearrange(self) -> None:
        self.model.rearrange()
        self._count()

    def _filter(self) -> None:
        self.model.filter(self.search.text(), self.states.currentData())
        self._mark_shown()
        self._count()

    def _follow(self) -> None:
        """Select the row of the image on screen when it has changed."""
        annotation = self._controller.annotation
        item = None if annotation is None else annotation.item
        if item != self._shown:
            self._shown = item
            self._mark_shown()

    def _mark_shown(self) -> None:
        self.table.show_row(self.model.row(None if self._shown is None else self._shown.id))

    def _count(self) -> None:
        shown, total = self.model.rowCount(), self.model.total
        self.narrowed.emit("" if shown == total else f"{shown} of {total}" if shown else f"none of {total}")
