"""The rows of the table of images: a sorted and filtered overview of the session, with thumbnails."""

import math
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QIcon, QImage, QPixmap

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import normalize
from napari_semigda.io.bands import opened_copy
from napari_semigda.session.items import Item, Status, size_for_people
from napari_semigda.session.overview import STATUSES, Indices, Key, Overview
from napari_semigda.session.session import Session
from napari_semigda.widgets.background import TaskThread
from napari_semigda.widgets.panels.image import SCORE_MEANS
from napari_semigda.widgets.panels.parts import wrapped

NOWHERE = QModelIndex()
FEW = 200  # rows inserted or removed one run at a time; with more, resetting the view is quicker
SIDE = 32  # pixels of a thumbnail
MOST_KEPT = 2000  # thumbnails: 8 MiB
MOST_WANTED = 40  # more rows than a table shows: those asked for before have been scrolled away
FINER = 4  # a large image is thinned out to this many times the side before it is averaged


class Column(NamedTuple):
    """A column: its title, what it means, and what it is sorted by."""

    title: str
    meaning: str
    key: Key


COLUMNS = (
    Column("Image", "The image's name; sorts in list order.", "index"),
    Column("Status", "The image's status.", "status"),
    Column("Score", SCORE_MEANS, "score"),
    Column("Effort", "Share of the draft's pixels that you changed before you accepted it.", "effort"),
)
NAME, STATE, SCORE, EFFORT = range(len(COLUMNS))
WORDS = {status: status.value for status in Status} | {Status.UNLABELED: "no mask"}
MEANINGS = {
    Status.UNLABELED: "no mask yet",
    Status.DRAFT: "has an unaccepted draft",
    Status.PAINTED: "painted by you, not accepted",
    Status.ACCEPTED: "accepted",
    Status.VALIDATION: "accepted, and kept for validation: not trained on",
    Status.CHANGED: "accepted, then painted again",
    Status.SKIPPED: "skipped: neither trained on nor suggested",
}


class Thumbnails(QObject):
    """Thumbnails of a session's items, made in the background; `made` carries the id of an item."""

    made = Signal(str)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._tasks = TaskThread(self)
        self._kept: OrderedDict[str, QIcon] = OrderedDict()
        self._wanted: OrderedDict[str, Item] = OrderedDict()
        self._busy = False

    def of(self, item: Item) -> QIcon | None:
        """Return an item's thumbnail; None until it is made, an empty icon if it cannot be."""
        kept = self._kept.get(item.id)
        if kept is not None:
            self._kept.move_to_end(item.id)
            return kept
        self._wanted[item.id] = item
        self._wanted.move_to_end(item.id)  # the last is made first, for it is on screen
        while len(self._wanted) > MOST_WANTED:
            self._wanted.popitem(last=False)
        self._make_next()
        return None

    def close(self) -> None:
        self._wanted.clear()
        self._tasks.close()

    def _make_next(self) -> None:
        if self._busy or not self._wanted:
            return
        item_id, item = self._wanted.popitem()
        self._busy = True
        self._tasks.run(lambda: thumbnail(self._session, item), lambda pixels: self._take(item_id, pixels))

    def _take(self, item_id: str, pixels: NDArray[np.uint8] | None) -> None:
        self._busy = False
        self._kept[item_id] = _icon(pixels)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        self.made.emit(item_id)
        self._make_next()


def thumbnail(session: Session, item: Item, side: int = SIDE) -> NDArray[np.uint8] | None:
    """Return the middle of an image as the network sees its colors, (side, side, 3); None if unreadable."""
    try:
        with opened_copy(session.images.plane(item), FINER * side) as pixels:
            step = max(1, max(pixels.shape[:2]) // (FINER * side))
            colors = normalize(pixels[::step, ::step], session.settings)
    except SemiGDAError:
        return None
    image = Image.fromarray(np.uint8((np.moveaxis(np.asarray(colors), 0, -1) + 1) * 127.5))
    return np.asarray(ImageOps.fit(image, (side, side)))


def _icon(pixels: NDArray[np.uint8] | None) -> QIcon:
    icon = QIcon()
    if pixels is not None:
        height, width, _ = pixels.shape
        image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):  # a selected row's is not to be tinted
            icon.addPixmap(QPixmap.fromImage(image), mode)
    return icon


class ImageModel(QAbstractTableModel):
    """The rows of the table, sorted here, since Qt's own sorting asks Python for every value.

    The order stays while values change, until `rearrange`, so that rows do not move away from the mouse.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._overview: Overview | None = None
        self._thumbnails: Thumbnails | None = None
        self._text = ""
        self._statuses: Collection[Status] = STATUSES
        self._column, self._descending = NAME, False
        self._order: Indices = np.zeros(0, np.intp)
        self._rows: Indices = np.zeros(0, np.intp)
        blank = QPixmap(SIDE, SIDE)
        blank.fill(Qt.GlobalColor.transparent)
        self._blank = QIcon(blank)  # so that names are aligned

    # What is shown -----------------------------------------------------------------------------

    def begin(self, overview: Overview, thumbnails: Thumbnails) -> None:
        with self._resetting():
            self._overview, self._thumbnails = overview, thumbnails
            thumbnails.made.connect(self._on_thumbnail)

    def clear(self) -> None:
        with self._resetting():
            self._overview = self._thumbnails = None

    def filter(self, text: str, statuses: Collection[Status]) -> None:
        """Show only items whose name contains a text, with one of these states."""
        with self._resetting():
            self._text, self._statuses = text, statuses

    def update(self) -> None:
        """Show what changed in the session since the last time; every row stays where it is."""
        if self._overview is None:
            return
        for index in self._overview.refresh():
            row = int(self._rows[index])
            if row >= 0:
                self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))

    def rearrange(self) -> None:
        """Remove the rows that no longer match the filter, add those that do now, and sort."""
        target = self._arranged()
        if np.array_equal(target, self._order):
            return
        if abs(len(target) - len(self._order)) > FEW:
            with self._resetting():
                pass
            return
        self._remove_rows(target)
        self._add_rows(target)
        self._permute(target)

    def item(self, index: QModelIndex) -> Item:
        """Return the item of a row."""
        assert self._overview is not None
        return self._overview.items[int(self._order[index.row()])]

    def row(self, item_id: str | None) -> QModelIndex | None:
        """Return the row of an item, None where the filter hides it."""
        if self._overview is None or item_id is None:
            return None
        row = int(self._rows[self._overview.index(item_id)])
        return None if row < 0 else self.index(row, NAME)

    @property
    def total(self) -> int:
        """Number of items, including those that the filter hides."""
        return 0 if self._overview is None else len(self._overview.items)

    # For Qt ------------------------------------------------------------------------------------

    def rowCount(self, parent: QModelIndex = NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._order)

    def columnCount(self, parent: QModelIndex = NOWHERE) -> int:
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return COLUMNS[section].title
            if role == Qt.ItemDataRole.ToolTipRole:
                return wrapped(f"{COLUMNS[section].meaning} Click to sort.")
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if self._overview is None or not index.isValid():
            return None
        number, column = int(self._order[index.row()]), index.column()
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self._text_of(self._overview, number, column)
            case Qt.ItemDataRole.DecorationRole if column == NAME:
                icon = None if self._thumbnails is None else self._thumbnails.of(self._overview.items[number])
                return self._blank if icon is None or icon.isNull() else icon
            case Qt.ItemDataRole.ToolTipRole:
                return wrapped(self._tip_of(self._overview, number))
            case Qt.ItemDataRole.TextAlignmentRole if column in (SCORE, EFFORT):
                return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._column, self._descending = column, order == Qt.SortOrder.DescendingOrder
        self.rearrange()

    # -------------------------------------------------------------------------------------------

    def _arranged(self) -> Indices:
        if self._overview is None:
            return np.zeros(0, np.intp)
        key = COLUMNS[self._column].key
        return self._overview.arranged(
            key, descending=self._descending, text=self._text, statuses=self._statuses
        )

    @contextmanager
    def _resetting(self) -> Iterator[None]:
        self.beginResetModel()
        yield
        self._put(self._arranged())
        self.endResetModel()

    def _put(self, order: Indices) -> None:
        self._order = order
        self._rows = np.full(self.total, -1, np.intp)
        self._rows[order] = np.arange(len(order))

    def _remove_rows(self, target: Indices) -> None:
        gone = np.flatnonzero(~np.isin(self._order, target))
        for run in reversed(np.split(gone, np.flatnonzero(np.diff(gone) > 1) + 1)):
            if len(run):
                self.beginRemoveRows(NOWHERE, int(run[0]), int(run[-1]))
                self._put(np.delete(self._order, run))
                self.endRemoveRows()

    def _add_rows(self, target: Indices) -> None:
        new = target[self._rows[target] < 0]
        if len(new):
            self.beginInsertRows(NOWHERE, len(self._order), len(self._order) + len(new) - 1)
            self._put(np.concatenate([self._order, new]))
            self.endInsertRows()

    def _permute(self, target: Indices) -> None:
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        items = [int(self._order[index.row()]) for index in before]
        self._put(target)
        after = [
            self.index(int(self._rows[item]), index.column())
            for item, index in zip(items, before, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _on_thumbnail(self, item_id: str) -> None:
        index = self.row(item_id)
        if index is not None:
            self.dataChanged.emit(index, index, [Qt.ItemDataRole.DecorationRole])

    def _text_of(self, overview: Overview, number: int, column: int) -> str:
        match column:
            case 0:
                return overview.titles[number]
            case 1:
                return WORDS[overview.statuses[number]]
            case 2:
                score = float(overview.scores[number])
                return "" if math.isnan(score) else f"{score:.2f}"
        return _percent(float(overview.efforts[number]))

    def _tip_of(self, overview: Overview, number: int) -> str:
        item, effort = overview.items[number], float(overview.efforts[number])
        lines = [
            f"{item.name} ({number + 1} of {self.total}), {size_for_people(item.shape)} pixels",
            MEANINGS[overview.statuses[number]],
        ]
        if not math.isnan(effort):
            lines.append(f"{_percent(effort)} of the draft's pixels were changed before it was accepted")
        return "\n".join(lines)


def _percent(share: float) -> str:
    """A share in words: ``"0 %"``, ``"2.4 %"``, ``"38 %"``; empty for nan."""
    if math.isnan(share):
        return ""
    return f"{100 * share:.{1 if 0 < share < 0.1 else 0}f} %"
