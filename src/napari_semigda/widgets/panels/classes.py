"""Panel 2: the classes, their colors and names, and which one the brush paints."""

from collections.abc import Callable
from typing import Any, TypeVar

from qtpy.QtCore import QPoint, QSize, Qt, QTimer
from qtpy.QtGui import QColor, QIcon, QKeyEvent, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QListWidget,
    QListWidgetItem,
    QProgressDialog,
    QVBoxLayout,
    QWidget,
)

from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.classes import MOST_NAMED, ClassInfo
from napari_semigda.session.items import ItemState
from napari_semigda.session.mask_changes import ChangedMask, ClassUse
from napari_semigda.session.session import Session
from napari_semigda.widgets.controller import Controller
from napari_semigda.widgets.keys import Key
from napari_semigda.widgets.panels.parts import (
    ActionButton,
    MenuAction,
    MenuButton,
    Rows,
    ask,
    errors_shown,
    wrapped,
)
from napari_semigda.widgets.panels.status import NO_SESSION

T = TypeVar("T")

BACKGROUND = 0
MOST_ROWS = 6
SWATCH = 14
ROW = 21  # high enough to be hit
PATIENCE = 500  # milliseconds before looking through the masks shows its progress
VALUE = Qt.ItemDataRole.UserRole
TIP = (
    "Click: the brush paints this. Double-click: rename the class. "
    "What is painted as not looked at trains nothing."
)
TICKS = " The tick shows and hides a class."
DELETE = "Delete the class"
OF_DELETED = (
    "If it is deleted, these pixels become “not looked at”: they train nothing, and you can paint them over. "
    "The masks as they are now stay in the session's folder as copies (….replaced-1.tif); other masks are "
    "not touched."
)
UNLABEL, KEEP = "Unlabel background", "Keep background"
OF_BACKGROUND = (
    "Nobody painted it there, so it counts as background, and training would learn that. Unlabeled "
    "pixels train nothing; what is painted stays. Change… › Restore background takes this back."
)
NO_MASKS = "No mask is accepted yet."
NOT_CHANGED = "The background of no mask was made unlabeled since the session was opened."
NO_CLASS = "Choose a class in the list first."


class ClassList(QListWidget):
    """A list that leaves letters to the canvas, whose keys they are, instead of searching for them.

    The space bar ticks a row, as in all lists.
    """

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Take the keys that move in a list, and no others."""
        if event is not None and event.text().isprintable() and event.text().strip():
            event.ignore()
        else:
            super().keyPressEvent(event)


class ClassesPanel(QWidget):
    """A list of what the brush can paint: each class, background, and “not looked at”."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.list = ClassList()
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.setEditTriggers(
            QAbstractItemView.EditTrigger.DoubleClicked | QAbstractItemView.EditTrigger.EditKeyPressed
        )
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.next = ActionButton(
            "Next class", "Let the brush paint the next entry of the list.", self._pick_next, Key.NEXT_CLASS
        )
        self.add = ActionButton("Add class", "Add a class; the next round learns it.", self._add)
        self.change = MenuButton("Change…", "Name, color, or removal of the class chosen in the list.")
        menu = self.change.entries
        self.rename = MenuAction(menu, "Rename", "Give the class another name.", self._edit_name)
        self.recolor = MenuAction(menu, "Color…", "Show the class in another color.", self._recolor)
        self.delete = MenuAction(
            menu,
            "Delete…",
            "Remove the class. You are told in how many images it is, and asked first.",
            self._delete,
        )
        self.unlabel = MenuAction(
            menu,
            "Unlabel background…",
            "Make the background of the accepted masks unlabeled, where the class may occur in them.",
            self._offer_to_unlabel,
        )
        self.restore = MenuAction(
            menu, "Restore background", "Put back the masks whose background became unlabeled.", self._restore
        )
        self._added: int | None = None  # a class that is being named
        self._unlabeled: list[ChangedMask] = []
        self._buttons = QWidget()
        self._lay_out()
        self._connect()
        self._fill()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self._buttons)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for button in (self.next, self.add, self.change):
            column.addWidget(button)
        column.addStretch()
        Rows(self).add(self.list, self._buttons, shares=(7, 5))

    def _connect(self) -> None:
        self.list.currentItemChanged.connect(self._pick)
        self.list.itemChanged.connect(self._on_row_changed)
        self.list.customContextMenuRequested.connect(self._show_menu)
        delegate = self.list.itemDelegate()
        assert delegate is not None
        delegate.closeEditor.connect(lambda: QTimer.singleShot(0, self._ask_about_added))
        self._controller.opened.connect(self._on_opened)
        self._controller.classes_changed.connect(self._fill)
        self._controller.closed.connect(self._fill)
        self._controller.canvas.label_picked.connect(self._follow)
        self._controller.canvas.label_changed.connect(self._mark)
        self._controller.canvas.hidden_changed.connect(self._on_hidden)
        self._controller.canvas.painted.connect(self._show_painted)

    # The list ----------------------------------------------------------------------------------

    def _on_opened(self) -> None:
        self._controller.canvas.hidden_classes = ()
        self._added, self._unlabeled = None, []
        self._fill()

    def _fill(self) -> None:
        session = self._controller.session
        classes = [] if session is None else session.classes
        self.list.blockSignals(True)
        self.list.clear()
        for info in classes:
            self._add_row(info.value, info.name, QColor(info.color)).setFlags(_flags(classes))
        self._show_ticks(classes)
        if session is not None:
            self._add_row(BACKGROUND, "Background", QColor("black"))
            self._add_row(UNKNOWN, "Not looked at", QColor("gray"))
        self.list.blockSignals(False)
        self.list.setToolTip(wrapped(TIP + (TICKS if len(classes) > 1 else "")))
        self.list.setVisible(session is not None)
        self.list.setFixedHeight(self._fitting_height())
        self._follow(self._controller.canvas.selected_label)

    def _add_row(self, value: int, name: str, color: QColor) -> QListWidgetItem:
        row = QListWidgetItem(_swatch(color), name)
        row.setData(VALUE, value)
        row.setSizeHint(QSize(0, self._row_height()))
        self.list.addItem(row)
        return row

    def _on_hidden(self) -> None:
        session = self._controller.session
        self.list.blockSignals(True)
        self._show_ticks([] if session is None else session.classes)
        self.list.blockSignals(False)

    def _show_ticks(self, classes: list[ClassInfo]) -> None:
        """Tick what is to be seen; a class alone is shown and hidden with its layer."""
        hidden = self._controller.canvas.hidden_classes
        shown = min(len(classes), self.list.count())  # while a session is opened there are no rows yet
        for place in range(shown if len(classes) > 1 else 0):
            row = self.list.item(place)
            assert row is not None
            seen = row.data(VALUE) not in hidden
            row.setCheckState(Qt.CheckState.Checked if seen else Qt.CheckState.Unchecked)

    def _row_height(self) -> int:
        return max(ROW, self.list.fontMetrics().height() + 4)

    def _fitting_height(self) -> int:
        """As high as its rows, up to a number of them, and at least as the buttons beside it."""
        rows = min(self.list.count(), MOST_ROWS)
        return max(
            rows * self._row_height() + 2 * self.list.frameWidth() + 4, self._buttons.sizeHint().height()
        )

    def _allow(self) -> None:
        session, info = self._controller.session, self._chosen()
        none = NO_SESSION if session is None else session.read_only
        full = session is not None and len(session.classes) >= MOST_NAMED
        self.next.allow(NO_SESSION if session is None else None)
        self.add.allow(none or (f"A session can have {MOST_NAMED} classes." if full else None))
        for entry in (self.rename, self.recolor):
            entry.allow(none or (NO_CLASS if info is None else None))
        accepted = _accepted(session)
        self.unlabel.allow(none or (NO_CLASS if info is None else None) or (None if accepted else NO_MASKS))
        self.restore.allow(none or (None if self._unlabeled else NOT_CHANGED))
        alone = session is not None and len(session.classes) == 1
        self.delete.allow(
            none
            or (NO_CLASS if info is None else None)
            or (
                "A session needs at least one class. Rename this one, or add another first."
                if alone
                else None
            )
        )

    def _show_menu(self, place: QPoint) -> None:
        viewport = self.list.viewport()
        if viewport is not None:
            self.change.entries.popup(viewport.mapToGlobal(place))

    # What the brush paints ---------------------------------------------------------------------

    def _pick(self, row: QListWidgetItem | None) -> None:
        if row is not None:
            self._controller.canvas.selected_label = row.data(VALUE)
            self._show_picked(row.data(VALUE))
        self._allow()

    def _pick_next(self) -> None:
        self.list.setCurrentRow((self.list.currentRow() + 1) % self.list.count())

    def _follow(self, value: int) -> None:
        """Mark the label that the brush paints, however it was picked, and let it be seen."""
        self._mark(value)
        self._show_picked(value)

    def _mark(self, value: int) -> None:
        """Mark the label that the brush paints, in the list."""
        rows = [self.list.item(place) for place in range(self.list.count())]
        values = [None if row is None else row.data(VALUE) for row in rows]
        place = values.index(value) if value in values else -1
        if place != self.list.currentRow():
            self.list.blockSignals(True)
            self.list.setCurrentRow(place)
            self.list.blockSignals(False)
        self._allow()

    def _show_painted(self) -> None:
        self._show_picked(self._controller.canvas.selected_label)

    def _show_picked(self, value: int) -> None:
        """What is painted is to be seen."""
        canvas = self._controller.canvas
        if value in canvas.hidden_classes:
            canvas.hidden_classes -= {value}
            self._tick_again()

    def _tick_again(self) -> None:
        session = self._controller.session
        self.list.blockSignals(True)
        self._show_ticks([] if session is None else session.classes)
        self.list.blockSignals(False)

    # Names, colors, removal -------------------------------------------------------------------

    def _chosen(self) -> ClassInfo | None:
        session, row = self._controller.session, self.list.currentItem()
        if session is None or row is None:
            return None
        return next((info for info in session.classes if info.value == row.data(VALUE)), None)

    def _on_row_changed(self, row: QListWidgetItem) -> None:
        """Rename the class, or show or hide it: Qt does not say which of the two it was."""
        session, value = self._controller.session, row.data(VALUE)
        if session is None:
            return
        if any(info.value == value and info.name == row.text() for info in session.classes):
            self._show_or_hide(value, row.checkState() == Qt.CheckState.Checked)
            return
        with errors_shown():
            self._controller.rename_class(value, row.text())
        QTimer.singleShot(0, self._fill)  # after the editor is done: the name that holds, if one was refused

    def _show_or_hide(self, value: int, seen: bool) -> None:
        canvas = self._controller.canvas
        canvas.hidden_classes = canvas.hidden_classes - {value} if seen else canvas.hidden_classes | {value}

    def _add(self) -> None:
        session = self._controller.session
        if session is None:
            return
        names = {info.name for info in session.classes}
        number = next(n for n in range(len(names) + 1, 2 * len(names) + 3) if f"class {n}" not in names)
        self._controller.add_class(f"class {number}")
        info = self._chosen()
        self._added = None if info is None else info.value
        self._edit_name()

    def _ask_about_added(self) -> None:
        """Ask, once a new class has its name, whether it occurs in what is accepted already."""
        added, self._added = self._added, None
        if added is not None:
            with errors_shown():
                self._ask_to_unlabel(added)

    def _offer_to_unlabel(self) -> None:
        info = self._chosen()
        if info is not None:
            self._ask_to_unlabel(info.value)

    def _ask_to_unlabel(self, value: int) -> None:
        session = self._controller.session
        info = next((one for one in ([] if session is None else session.classes) if one.value == value), None)
        count = _accepted(session)
        if info is None or not count:
            return
        where = "the one image" if count == 1 else f"any of the {count} images"
        words = f"Does “{info.name}” occur in {where} whose mask is accepted already?"
        if ask(self, "New class", words, (UNLABEL, KEEP), more=OF_BACKGROUND, by_enter=KEEP) == UNLABEL:
            self._unlabeled = self._watched(
                "Making the background unlabeled…",
                lambda **watched: self._controller.unlabel_background(value, **watched),
            )
            self._allow()

    def _restore(self) -> None:
        self._controller.restore_masks(self._unlabeled)
        self._unlabeled = []
        self._allow()

    def _edit_name(self) -> None:
        self.list.editItem(self.list.currentItem())

    def _recolor(self) -> None:
        info = self._chosen()
        if info is not None:
            color = QColorDialog.getColor(QColor(info.color), self, f"Color of {info.name}")
            if color.isValid():
                self._controller.recolor_class(info.value, color.name())

    def _delete(self) -> None:
        info = self._chosen()
        if info is not None:
            use = self._look_for(info)
            if not use.images or self._is_sure(info, use):
                value = info.value
                self._watched(
                    f"Removing “{info.name}” from the masks…",
                    lambda **watched: self._controller.remove_class(value, **watched),
                )

    def _look_for(self, info: ClassInfo) -> ClassUse:
        """Find the masks that hold a class, those on the disk and the one on the screen."""
        session, annotation = self._controller.session, self._controller.annotation
        assert session is not None
        assert annotation is not None
        annotation.keep()
        return self._watched(
            f"Looking for “{info.name}” in the masks…",
            lambda **watched: session.class_use(info.value, **watched),
        )

    def _watched(self, words: str, work: Callable[..., T]) -> T:
        """Do work that tells its progress and can be cancelled, in front of the window."""
        dialog = QProgressDialog(words, "Cancel", 0, 0, self)
        dialog.setWindowModality(Qt.WindowModality.WindowModal)
        dialog.setMinimumDuration(PATIENCE)

        def show(done: int, total: int) -> None:
            dialog.setMaximum(total)
            dialog.setValue(done)

        try:
            return work(progress=show, cancelled=dialog.wasCanceled)
        finally:
            dialog.close()
            dialog.deleteLater()

    def _is_sure(self, info: ClassInfo, use: ClassUse) -> bool:
        count = len(use.accepted)
        accepted = f"accepted in {_images(count)}" if count else "accepted in none"
        words = f"“{info.name}” is painted in {_images(use.images)}, and {accepted}."
        return ask(self, "Delete a class", words, (DELETE,), more=OF_DELETED) == DELETE


def _accepted(session: Session | None) -> int:
    return 0 if session is None else session.counts()[ItemState.ACCEPTED]


def _flags(classes: list[ClassInfo]) -> Any:
    flags = Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsEditable
    return flags | Qt.ItemFlag.ItemIsUserCheckable if len(classes) > 1 else flags


def _images(count: int) -> str:
    return "one image" if count == 1 else f"{count} images"


def _swatch(color: QColor) -> QIcon:
    pixmap = QPixmap(SWATCH, SWATCH)
    pixmap.fill(color)
    icon = QIcon()
    for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected, QIcon.Mode.Active):
        icon.addPixmap(pixmap, mode)  # else Qt tints the chosen row's color
    return icon
