"""The table of all images for Qt: an overview of the session, sorted and filtered, with thumbnails."""

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt
from qtpy.QtGui import QIcon, QPixmap

from napari_semigda.session.items import Item, Status, size_for_people
from napari_semigda.session.overview import ORDER_OF_STANDINGS, Key, Overview, Places
from napari_semigda.widgets.panels.image import SCORE_MEANS
from napari_semigda.widgets.panels.parts import wrapped
from napari_semigda.widgets.panels.thumbnails import SIDE, Thumbnails

NOWHERE = QModelIndex()
FEW = 200  # rows that come or go one run at a time; of more the view is better told to begin anew


class Column(NamedTuple):
    """A column: what it is called, what it means, and what sorting by it sorts by."""

    title: str
    meaning: str
    key: Key


COLUMNS = (
    Column("Image", "The image, at its place in the list.", "place"),
    Column("State", "How far the image is.", "standing"),
    Column(
        "Score",
        SCORE_MEANS,
        "score",
    ),
    Column(
        "Effort",
        "Share of the draft's pixels that you changed before you accepted it.",
        "effort",
    ),
)
NAME, STATE, SCORE, EFFORT = range(len(COLUMNS))

WORDS = {standing: standing.value for standing in Status} | {Status.UNLABELED: "no mask"}
"""Standings as short as a narrow column needs them."""

MEANINGS = {
    Status.UNLABELED: "no mask yet",
    Status.DRAFT: "has a draft that nobody has accepted",
    Status.PAINTED: "painted by you, not accepted",
    Status.ACCEPTED: "accepted",
    Status.VALIDATION: "accepted, and kept for validation: not trained on",
    Status.CHANGED: "accepted, and painted again since",
    Status.SKIPPED: "skipped: neither trained on nor asked for",
}


class QueueModel(QAbstractTableModel):
    """The rows of the table: sorted here, since Qt's own sorting asks Python for every value.

    The order stays while values change, until `rearrange`, so that rows do not run away under the mouse.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._overview: Overview | None = None
        self._thumbnails: Thumbnails | None = None
        self._text = ""
        self._standings: Collection[Status] = ORDER_OF_STANDINGS
        self._column, self._descending = NAME, False
        self._order: Places = np.zeros(0, np.intp)
        self._rows: Places = np.zeros(0, np.intp)
        blank = QPixmap(SIDE, SIDE)
        blank.fill(Qt.GlobalColor.transparent)
        self._blank = QIcon(blank)  # so that names stand below each other

    # What is shown -----------------------------------------------------------------------------

    def begin(self, overview: Overview, thumbnails: Thumbnails) -> None:
        """Show the items of a session."""
        self.beginResetModel()
        self._overview, self._thumbnails = overview, thumbnails
        thumbnails.made.connect(self._on_thumbnail)
        self._put(self._arranged())
        self.endResetModel()

    def clear(self) -> None:
        """Show nothing."""
        self.beginResetModel()
        self._overview = self._thumbnails = None
        self._put(np.zeros(0, np.intp))
        self.endResetModel()

    def filter(self, text: str, standings: Collection[Status]) -> None:
        """Show only items whose name holds a text and that are that far."""
        self.beginResetModel()
        self._text, self._standings = text, standings
        self._put(self._arranged())
        self.endResetModel()

    def update(self) -> None:
        """Show what changed in the session since the last time; every row stays where it is."""
        if self._overview is None:
            return
        for place in self._overview.refresh():
            self._tell(place)

    def rearrange(self) -> None:
        """Take away the rows that the filter shows no longer, add those it shows now, and sort."""
        target = self._arranged()
        if np.array_equal(target, self._order):
            return
        if abs(len(target) - len(self._order)) > FEW:
            self.beginResetModel()
            self._put(target)
            self.endResetModel()
            return
        self._take_away(target)
        self._add(target)
        self._permute(target)

    def item(self, index: QModelIndex) -> Item:
        """Return the item of a row."""
        assert self._overview is not None
        return self._overview.items[int(self._order[index.row()])]

    def row(self, item_id: str | None) -> QModelIndex | None:
        """Return the row of an item, None where the filter hides it."""
        if self._overview is None or item_id is None:
            return None
        row = int(self._rows[self._overview.place(item_id)])
        return None if row < 0 else self.index(row, NAME)

    @property
    def total(self) -> int:
        """How many items there are, with those that the filter hides."""
        return 0 if self._overview is None else len(self._overview.items)

    # For Qt ------------------------------------------------------------------------------------

    def rowCount(self, parent: QModelIndex = NOWHERE) -> int:
        """How many items are shown."""
        return 0 if parent.isValid() else len(self._order)

    def columnCount(self, parent: QModelIndex = NOWHERE) -> int:
        """How many columns there are."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Titles of the columns, and what they mean."""
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return COLUMNS[section].title
            if role == Qt.ItemDataRole.ToolTipRole:
                return wrapped(f"{COLUMNS[section].meaning} A click sorts by it.")
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What one cell shows."""
        if self._overview is None or not index.isValid():
            return None
        place, column = int(self._order[index.row()]), index.column()
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self._text_of(place, column)
            case Qt.ItemDataRole.DecorationRole if column == NAME:
                return self._thumbnail_of(self._overview.items[place])
            case Qt.ItemDataRole.ToolTipRole:
                return wrapped(self._tip_of(place))
            case Qt.ItemDataRole.TextAlignmentRole if column in (SCORE, EFFORT):
                return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column."""
        self._column, self._descending = column, order == Qt.SortOrder.DescendingOrder
        self.rearrange()

    # -------------------------------------------------------------------------------------------

    def _arranged(self) -> Places:
        if self._overview is None:
            return np.zeros(0, np.intp)
        return self._overview.arranged(
            COLUMNS[self._column].key,
            descending=self._descending,
            text=self._text,
            standings=self._standings,
        )

    def _put(self, order: Places) -> None:
        self._order = order
        self._rows = np.full(self.total, -1, np.intp)
        self._rows[order] = np.arange(len(order))

    def _take_away(self, target: Places) -> None:
        gone = np.flatnonzero(~np.isin(self._order, target))
        for run in reversed(np.split(gone, np.flatnonzero(np.diff(gone) > 1) + 1)):
            if len(run):
                self.beginRemoveRows(NOWHERE, int(run[0]), int(run[-1]))
                self._put(np.delete(self._order, run))
                self.endRemoveRows()

    def _add(self, target: Places) -> None:
        new = target[self._rows[target] < 0]
        if len(new):
            self.beginInsertRows(NOWHERE, len(self._order), len(self._order) + len(new) - 1)
            self._put(np.concatenate([self._order, new]))
            self.endInsertRows()

    def _permute(self, target: Places) -> None:
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        places = [int(self._order[index.row()]) for index in before]
        self._put(target)
        after = [
            self.index(int(self._rows[place]), index.column())
            for place, index in zip(places, before, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _tell(self, place: int) -> None:
        row = int(self._rows[place])
        if row >= 0:
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))

    def _on_thumbnail(self, item_id: str) -> None:
        index = self.row(item_id)
        if index is not None:
            self.dataChanged.emit(index, index, [Qt.ItemDataRole.DecorationRole])

    def _text_of(self, place: int, column: int) -> str:
        assert self._overview is not None
        match column:
            case 0:
                return self._overview.titles[place]
            case 1:
                return WORDS[self._overview.standings[place]]
            case 2:
                return _score(float(self._overview.scores[place]))
        return _share(float(self._overview.efforts[place]))

    def _thumbnail_of(self, item: Item) -> QIcon:
        found = None if self._thumbnails is None else self._thumbnails.of(item)
        return self._blank if found is None or found.isNull() else found

    def _tip_of(self, place: int) -> str:
        assert self._overview is not None
        item, effort = self._overview.items[place], float(self._overview.efforts[place])
        lines = [
            f"{item.name} ({place + 1} of {self.total}), {size_for_people(item.shape)} pixels",
            MEANINGS[self._overview.standings[place]],
        ]
        if not math.isnan(effort):
            lines.append(f"{_share(effort)} of the draft's pixels were changed before it was accepted")
        return "\n".join(lines)


def _score(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def _share(value: float) -> str:
    """A share as people read it: ``"0 %"``, ``"2.4 %"``, ``"38 %"``; empty where there is none."""
    if math.isnan(value):
        return ""
    return f"{100 * value:.{1 if 0 < value < 0.1 else 0}f} %"
