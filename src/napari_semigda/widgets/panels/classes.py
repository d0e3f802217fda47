"""Panel 2: the classes, their colors and names, and which one the brush paints."""

from collections.abc import Callable, Sequence
from functools import partial
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
from superqt.utils import signals_blocked

from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.pace import counted
from napari_semigda.session.class_list import ClassUse
from napari_semigda.session.classes import MOST_NAMED, ClassInfo
from napari_semigda.session.items import ItemState
from napari_semigda.session.mask_changes import ChangedMask
from napari_semigda.session.session import Session
from napari_semigda.widgets.controller import NO_SESSION, Controller
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

T = TypeVar("T")

BACKGROUND = 0
MOST_ROWS = 6
SWATCH = 14
ROW = 21  # high enough to be hit
PATIENCE = 500  # milliseconds before searching the masks shows its progress
VALUE = Qt.ItemDataRole.UserRole
TIP = "Click an entry to paint it; double-click to rename a class. Unlabeled pixels are left out of training."
CHECKS = " The check box shows or hides a class."
REMOVE = "Remove class"
OF_REMOVED = (
    "If you remove it, its pixels become unlabeled: they are left out of training, and you can paint over "
    "them. Copies of the masks stay in the session's folder (….replaced-1.tif); other masks do not change."
)
UNLABEL, KEEP = "Unlabel background", "Keep background"
OF_BACKGROUND = (
    "Where it was not painted, it counts as background, and training would learn that. Unlabeled "
    "pixels are left out of training; painted pixels do not change. Edit class… › Restore background "
    "undoes this."
)
NO_MASKS = "No mask is accepted yet."
NOT_CHANGED = "No background was made unlabeled since the session was opened."
NO_CLASS = "Select a class in the list first."
ONLY_CLASS = "A session needs at least one class. Rename this one, or add another first."


class ClassList(QListWidget):
    """A list that leaves letters to the canvas, whose keys they are, instead of searching for them."""

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Handle the keys that move in a list, and the space bar that checks a row; no others."""
        if event is not None and event.text().isprintable() and event.text().strip():
            event.ignore()
        else:
            super().keyPressEvent(event)


class ClassesPanel(QWidget):
    """A list of what the brush can paint: each class, background, and unlabeled."""

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
            "Next class", "Paint with the next entry in the list.", self._pick_next, Key.NEXT_CLASS
        )
        self.add = ActionButton("Add class", "The next round learns the new class.", self._add)
        self.change = MenuButton("Edit class…", "Name, color, or removal of the selected class.")
        menu = self.change.entries
        self.rename = MenuAction(menu, "Rename", "Give the class another name.", self._edit_name)
        self.recolor = MenuAction(menu, "Change color…", "Show the class in another color.", self._recolor)
        self.remove = MenuAction(
            menu, "Remove class…", "First shows how many images contain the class.", self._remove
        )
        self.unlabel = MenuAction(
            menu,
            "Unlabel background…",
            "Make the background of accepted masks unlabeled, where the class may occur in them.",
            lambda: self._ask_to_unlabel(self._chosen()),
        )
        self.restore = MenuAction(
            menu, "Restore background", "Undo “Unlabel background” in all masks.", self._restore
        )
        self._added: int | None = None  # a class that is being named
        self._unlabeled: list[ChangedMask] = []
        self._buttons = QWidget()
        column = QVBoxLayout(self._buttons)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for button in (self.next, self.add, self.change):
            column.addWidget(button)
        column.addStretch()
        Rows(self).add(self.list, self._buttons, shares=(7, 5))
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
        self._controller.canvas.hidden_changed.connect(self._show_checks)
        self._controller.canvas.painted.connect(self._show_painted)
        self._fill()

    # The list ----------------------------------------------------------------------------------

    def _on_opened(self) -> None:
        self._controller.canvas.hidden_classes = ()
        self._added, self._unlabeled = None, []
        self._fill()

    @property
    def _classes(self) -> Sequence[ClassInfo]:
        return () if self._controller.session is None else self._controller.session.classes

    def _fill(self) -> None:
        session, classes = self._controller.session, self._classes
        with signals_blocked(self.list):
            self.list.clear()
            for info in classes:
                self._add_row(info.value, info.name, QColor(info.color)).setFlags(_flags(classes))
            if session is not None:
                self._add_row(BACKGROUND, "Background", QColor("black"))
                self._add_row(UNKNOWN, "Unlabeled", QColor("gray"))
        self._show_checks()
        self.list.setToolTip(wrapped(TIP + (CHECKS if len(classes) > 1 else "")))
        self.list.setVisible(session is not None)
        self.list.setFixedHeight(self._fitting_height())
        self._follow(self._controller.canvas.selected_label)

    def _add_row(self, value: int, name: str, color: QColor) -> QListWidgetItem:
        row = QListWidgetItem(_swatch(color), name)
        row.setData(VALUE, value)
        row.setSizeHint(QSize(0, self._row_height()))
        self.list.addItem(row)
        return row

    def _show_checks(self) -> None:
        """Check the classes that are shown; the only class is shown and hidden with its layer."""
        hidden, classes = self._controller.canvas.hidden_classes, self._classes
        rows = [self.list.item(index) for index in range(len(classes) if len(classes) > 1 else 0)]
        with signals_blocked(self.list):
            for row in rows:
                if row is not None:  # while a session is opened there are no rows yet
                    seen = row.data(VALUE) not in hidden
                    row.setCheckState(Qt.CheckState.Checked if seen else Qt.CheckState.Unchecked)

    def _row_height(self) -> int:
        return max(ROW, self.list.fontMetrics().height() + 4)

    def _fitting_height(self) -> int:
        """As high as its rows, up to a number of them, and at least as the buttons beside it."""
        rows = min(self.list.count(), MOST_ROWS) * self._row_height()
        return max(rows + 2 * self.list.frameWidth() + 4, self._buttons.sizeHint().height())

    def _allow(self) -> None:
        session, info = self._controller.session, self._chosen()
        why_not, count = self._controller.why_no_change, len(self._classes)
        no_class = why_not or (NO_CLASS if info is None else None)
        self.next.allow(NO_SESSION if session is None else None)
        self.add.allow(
            why_not or (f"A session can have {MOST_NAMED} classes." if count >= MOST_NAMED else None)
        )
        self.rename.allow(no_class)
        self.recolor.allow(no_class)
        self.unlabel.allow(no_class or (None if _accepted(session) else NO_MASKS))
        self.restore.allow(why_not or (None if self._unlabeled else NOT_CHANGED))
        self.remove.allow(no_class or (ONLY_CLASS if count == 1 else None))

    def _show_menu(self, position: QPoint) -> None:
        viewport = self.list.viewport()
        if viewport is not None:
            self.change.entries.popup(viewport.mapToGlobal(position))

    # What the brush paints ---------------------------------------------------------------------

    def _pick(self, row: QListWidgetItem | None) -> None:
        if row is not None:
            self._controller.canvas.selected_label = row.data(VALUE)
            self._show_picked(row.data(VALUE))
        self._allow()

    def _pick_next(self) -> None:
        self.list.setCurrentRow((self.list.currentRow() + 1) % self.list.count())

    def _follow(self, value: int) -> None:
        """Select what is painted, however it was picked, and show its class."""
        self._mark(value)
        self._show_picked(value)

    def _mark(self, value: int) -> None:
        """Select what is painted in the list."""
        rows = [self.list.item(index) for index in range(self.list.count())]
        values = [None if row is None else row.data(VALUE) for row in rows]
        index = values.index(value) if value in values else -1
        if index != self.list.currentRow():
            with signals_blocked(self.list):
                self.list.setCurrentRow(index)
        self._allow()

    def _show_painted(self) -> None:
        self._show_picked(self._controller.canvas.selected_label)

    def _show_picked(self, value: int) -> None:
        """Show the class that is painted, if it is hidden."""
        if value in self._controller.canvas.hidden_classes:
            self._controller.canvas.hidden_classes -= {value}

    # Names, colors, removal -------------------------------------------------------------------

    def _class(self, value: int | None) -> ClassInfo | None:
        return next((info for info in self._classes if info.value == value), None)

    def _chosen(self) -> ClassInfo | None:
        row = self.list.currentItem()
        return None if row is None else self._class(row.data(VALUE))

    def _on_row_changed(self, row: QListWidgetItem) -> None:
        """Rename the class, or show or hide it: Qt's signal is the same."""
        value, canvas = row.data(VALUE), self._controller.canvas
        info = self._class(value)
        if info is None or info.name != row.text():
            with errors_shown():
                self._controller.rename_class(value, row.text())
            # When the editor is closed: the old name, if the new one was refused.
            QTimer.singleShot(0, self._fill)
        elif row.checkState() == Qt.CheckState.Checked:
            canvas.hidden_classes -= {value}
        else:
            canvas.hidden_classes |= {value}

    def _add(self) -> None:
        names = {info.name for info in self._classes}
        number = next(n for n in range(len(names) + 1, 2 * len(names) + 3) if f"class {n}" not in names)
        self._controller.add_class(f"class {number}")
        info = self._chosen()
        self._added = None if info is None else info.value
        self._edit_name()

    def _ask_about_added(self) -> None:
        """Ask, once a new class has its name, whether it occurs in accepted masks."""
        added, self._added = self._added, None
        if added is not None:
            with errors_shown():
                self._ask_to_unlabel(self._class(added))

    def _ask_to_unlabel(self, info: ClassInfo | None) -> None:
        count = _accepted(self._controller.session)
        if info is None or not count:
            return
        where = "the image that is" if count == 1 else f"any of the {count} images that are"
        words = f"Does “{info.name}” occur in {where} already accepted?"
        if ask(self, UNLABEL, words, (UNLABEL, KEEP), more=OF_BACKGROUND, by_enter=KEEP) == UNLABEL:
            unlabel = partial(self._controller.unlabel_background, info.value)
            self._unlabeled = self._watched("Unlabeling the background…", unlabel)
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

    def _remove(self) -> None:
        info = self._chosen()
        if info is not None:
            use = self._find_use(info)
            if not use.images or self._is_sure(info, use):
                remove = partial(self._controller.remove_class, info.value)
                self._watched(f"Removing “{info.name}” from the masks…", remove)

    def _find_use(self, info: ClassInfo) -> ClassUse:
        """Find the masks that contain a class, on disk and on screen."""
        session, annotation = self._controller.session, self._controller.annotation
        assert session is not None
        assert annotation is not None
        annotation.keep()
        return self._watched(
            f"Searching the masks for “{info.name}”…", partial(session.classes.use, info.value)
        )

    def _watched(self, words: str, work: Callable[..., T]) -> T:
        """Do work with progress and *Cancel* in front of the window."""
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
        accepted = f"{'all' if count == use.images else count or 'none'} of them accepted"
        if use.images == 1:
            accepted = "which is accepted" if use.accepted else "which is not accepted"
        words = f"“{info.name}” is painted in {counted(use.images, 'image')}, {accepted}."
        return ask(self, "Remove class", words, (REMOVE,), more=OF_REMOVED) == REMOVE


def _accepted(session: Session | None) -> int:
    return 0 if session is None else session.counts()[ItemState.ACCEPTED]


def _flags(classes: Sequence[ClassInfo]) -> Any:
    flags = Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsEditable
    return flags | Qt.ItemFlag.ItemIsUserCheckable if len(classes) > 1 else flags


def _swatch(color: QColor) -> QIcon:
    pixmap = QPixmap(SWATCH, SWATCH)
    pixmap.fill(color)
    icon = QIcon()
    for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected, QIcon.Mode.Active):
        icon.addPixmap(pixmap, mode)  # else Qt tints the chosen row's color
    return icon
