"""The dock widget: the sections in the order of work, the keys, and what happens at closing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.utils.key_bindings import KeyBinding
from napari.utils.notifications import show_warning
from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QKeyEvent, QShowEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QLineEdit,
    QMainWindow,
    QVBoxLayout,
    QWidget,
)

from napari_semigda.widgets import keys
from napari_semigda.widgets.canvas.layers import NapariCanvas
from napari_semigda.widgets.controller import Controller
from napari_semigda.widgets.input_guard import InputGuard
from napari_semigda.widgets.keys import HeldKeys, Key
from napari_semigda.widgets.panels.classes import ClassesPanel
from napari_semigda.widgets.panels.export import ExportPanel
from napari_semigda.widgets.panels.image import ImagePanel
from napari_semigda.widgets.panels.layout import Column, MainActions
from napari_semigda.widgets.panels.mask import MaskPanel
from napari_semigda.widgets.panels.parts import (
    ActionButton,
    MenuAction,
    Panel,
    Rows,
    ask,
    errors_shown,
    timer,
)
from napari_semigda.widgets.panels.session import SessionPanel
from napari_semigda.widgets.panels.table import TablePanel
from napari_semigda.widgets.panels.train import TrainPanel
from napari_semigda.widgets.viewer import without_proxy

KEPT_AFTER = 3000  # milliseconds after the last stroke, in case the program is killed
KEYS_AFTER = 800  # milliseconds after the last change of a key in the preferences, for people type
USUAL_SIZE = QSize(330, 700)
ENDS_TYPING = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape)
ALL_ROOM = 100  # as a share, beside the one of the empty space below


class SemiGDAWidget(QWidget):
    """Segment a folder of images in rounds of annotating and training.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer to show images in.
    device : str, optional
        Where to train: ``"auto"``, or a device by torch's name; None takes the one of napari's preferences.
    """

    def __init__(self, napari_viewer: ViewerModel, device: str | None = None) -> None:
        super().__init__()
        self._viewer = napari_viewer = without_proxy(napari_viewer)
        self._window: QMainWindow | None = None
        self._docked = self._closing = False
        self.canvas = NapariCanvas(napari_viewer)
        self.controller = Controller(self.canvas, device)
        self.controller.opened.connect(self._watch_window)  # one that is never shown can be closed, too
        self.session_panel = SessionPanel(self.controller, napari_viewer)
        self.classes_panel = ClassesPanel(self.controller)
        self.table_panel = TablePanel(self.controller)
        self.image_panel = ImagePanel(self.controller)
        self.mask_panel = MaskPanel(self.controller, self.session_panel.find_moved.press)
        self.image_panel.skip.too_soon = self.mask_panel.is_too_soon
        self.train_panel = TrainPanel(self.controller)
        self.export_panel = ExportPanel(self.controller)
        self._lay_out()
        for signal in (self.controller.opened, self.controller.closed):
            signal.connect(self._show_sections)
        self.controller.opened.connect(self._fold_sections)
        self._show_sections()
        self._keeping = timer(self, KEPT_AFTER, self._keep)
        self.canvas.painted.connect(self._keep_soon)
        self._held_keys = HeldKeys(self)
        self._bound: list[KeyBinding] = []
        self._new_keys = timer(self, KEYS_AFTER, self._bind_keys)
        self._bind_keys()
        keys.on_change(self._bind_keys_soon)
        napari_viewer.events.theme.connect(self._on_theme)
        self._on_theme()
        self._guard = InputGuard(self)

    def open_session(self, folder: Path | str) -> None:
        """Open a session folder; errors are shown as notifications."""
        with errors_shown():
            self.controller.open(Path(folder))

    def sizeHint(self) -> QSize:
        """Wide enough for two buttons side by side."""
        return USUAL_SIZE.expandedTo(self.minimumSizeHint())

    def minimumSizeHint(self) -> QSize:
        """So wide that no button is cut off, in letters of any size."""
        rows = (rows for part in self.sections.values() for rows in part.content().findChildren(Rows))
        widths = [rows.needed_width() for rows in (*rows, *self.main_actions.findChildren(Rows))]
        return QSize(max(widths) + self._column.room_beside(), super().minimumSizeHint().height())

    # Layout ------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.sections = {
            title: Panel(title, content)
            for title, content in (
                ("Session", self.session_panel),
                ("Classes", self.classes_panel),
                ("Images", self.table_panel),
                ("Image", self.image_panel),
                ("Mask", self.mask_panel),
                ("Train", self.train_panel),
                ("Export", self.export_panel),
            )
        }
        column = QWidget()
        stack = QVBoxLayout(column)
        stack.setContentsMargins(2, 2, 2, 2)
        stack.setSpacing(3)
        for section in self.sections.values():
            stack.addWidget(section)
        stack.addStretch(1)
        images = self.sections["Images"]
        stack.setStretchFactor(images, ALL_ROOM)  # its table can use whatever room there is
        self.table_panel.narrowed.connect(images.note)
        self.session_panel.summed_up.connect(self.sections["Session"].note)
        images.toggled.connect(lambda unfolded: stack.setStretchFactor(images, ALL_ROOM * unfolded))
        for section in self.sections.values():
            section.toggled.connect(self._remember_folded)
            section.toggleButton().clicked.connect(lambda _, part=section: self._column.reveal(part))
        self._column = Column(column)
        self.main_actions = MainActions(self.mask_panel, self.train_panel, self.export_panel)
        self.export_panel.ended.connect(self._show_exported)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._column, stretch=1)
        layout.addWidget(self.main_actions)

    def _show_exported(self) -> None:
        self.sections["Export"].expand(animate=False)
        self._column.reveal(self.export_panel.outcome)

    def _show_sections(self) -> None:
        """Show only what can be used: without a session that is where to get one."""
        for title, section in self.sections.items():
            section.setVisible(title == "Session" or self.controller.session is not None)
        self.main_actions.setVisible(self.controller.session is not None)
        if self.controller.session is None:
            self.sections["Session"].expand(animate=False)

    def _fold_sections(self) -> None:
        """Fold the sections that were folded when the session was on the screen the last time."""
        session = self.controller.session
        if session is None:
            return
        folded = session.view.folded  # it changes on the way, section by section
        for title, section in self.sections.items():
            (section.collapse if title in folded else section.expand)(animate=False)

    def _remember_folded(self) -> None:
        session = self.controller.session
        if session is not None:
            session.remember(
                folded=tuple(title for title, one in self.sections.items() if not one.isExpanded())
            )

    def _on_theme(self) -> None:
        for curves in (self.train_panel.curves, self.train_panel.rounds):
            curves.set_theme(self._viewer.theme)

    # Keys --------------------------------------------------------------------------------------

    @property
    def buttons(self) -> dict[Key, ActionButton | MenuAction]:
        """The button or entry of a menu that each key presses."""
        mask = self.mask_panel
        return {
            Key.ACCEPT_AND_NEXT: self.mask_panel.accept_and_go_on,
            Key.ACCEPT: self.mask_panel.accept,
            Key.NO_OBJECT: mask.no_object,
            Key.UNDO_ACCEPT: mask.undo_accept,
            Key.PREVIOUS: self.image_panel.previous,
            Key.NEXT: self.image_panel.next,
            Key.NEXT_SUGGESTED: self.image_panel.next_suggested,
            Key.SKIP: self.image_panel.skip,
            Key.RESET: self.mask_panel.reset,
            Key.NEXT_CLASS: self.classes_panel.next,
            Key.SHOW_DRAFT: mask.show_draft,
            Key.CONTOUR: mask.contour,
            Key.UNCERTAINTY: mask.uncertainty,
            Key.FILL_HOLES: mask.fill_holes,
            Key.REMOVE_SMALL: mask.remove_small,
            Key.KEEP_LARGEST: mask.keep_largest,
            Key.SMOOTH: mask.smooth,
            Key.DRAFT_IN_REGION: mask.draft_in_region,
            Key.MARK_UNLABELED: mask.mark_unlabeled,
            Key.HELP: mask.help,
        }

    def _bind_keys(self) -> None:
        """Bind the keys of the preferences, and say so where one cannot be had."""
        self._unbind_keys()
        keys.look_again()
        for key, button in self.buttons.items():
            button.say()
            if key.binding is not None:
                self._viewer.bind_key(key.binding, self._presser(button), overwrite=True)
                self._bound.append(key.binding)
        for words in keys.complaints():
            show_warning(words)

    def _bind_keys_soon(self) -> None:
        self._new_keys.start()

    def _unbind_keys(self) -> None:
        for binding in self._bound:
            self._viewer.bind_key(binding, None)
        self._bound.clear()

    def _presser(self, button: ActionButton | MenuAction) -> Any:
        def press(viewer: ViewerModel) -> None:
            if QApplication.mouseButtons() != Qt.MouseButton.NoButton:
                viewer.status = "Finish the stroke first."
            elif not button.isEnabled():
                viewer.status = button.why_not
            elif not button.too_soon():
                button.press()

        return press

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Give the keys back to the canvas when Return or Escape was pressed in a box or a line."""
        typing = QApplication.focusWidget()
        if event is None or event.key() not in ENDS_TYPING:
            self._pass_on(event)
        elif isinstance(typing, QAbstractSpinBox | QLineEdit):
            typing.clearFocus()
        else:
            event.ignore()

    def keyReleaseEvent(self, event: QKeyEvent | None) -> None:
        """End what a key that is held down does."""
        self._pass_on(event)

    def _pass_on(self, event: QKeyEvent | None) -> None:
        """Give a key to napari's window, which the keys of a dock that floats do not reach by themselves."""
        if event is None:
            return
        event.ignore()
        if self._window is not None and self.window() is not self._window:
            QApplication.sendEvent(self._window, event)

    # Closing -----------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent | None) -> None:
        """Find the window, whose closing must not lose what was painted."""
        super().showEvent(event)
        self._watch_window()
        self._held_keys.watch(self.window() or self)  # another one where the dock floats

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Keep what was painted when napari is about to close, and close the session when it does.

        Where it cannot be kept, the person decides. Between the two napari asks whether it may close; if not,
        the window is not hidden.
        """
        if self._window is not None and watched is self._window and event is not None:
            if event.type() == QEvent.Type.Close:
                self._keep()
                if not self._may_close():
                    event.ignore()
                    return True
                self._closing = True
                if not self._window.isVisible():  # then nothing asks, and nothing will be hidden
                    self.close_down(window_closes=True)
            elif event.type() == QEvent.Type.Hide and self._closing and not event.spontaneous():
                self.close_down(window_closes=True)
        return False

    def event(self, event: QEvent | None) -> bool:
        """Close the session when the dock is taken away (napari then leaves this widget without a parent)."""
        handled = super().event(event)
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                self.close_down()
        return bool(handled)

    def close_down(self, *, window_closes: bool = False) -> None:
        """Close the session and leave the viewer as if this widget had never been there.

        Where the window closes its layers stay: taking them away one by one would keep people waiting.
        """
        if not self._docked:
            return
        self._docked = False
        if self._window is not None:
            self._window.removeEventFilter(self)
            self._window = None
        self._viewer.events.theme.disconnect(self._on_theme)
        keys.no_more_on_change(self._bind_keys_soon)
        self._new_keys.stop()
        self._unbind_keys()
        kept = self.controller.close(layers_stay=window_closes)
        self.canvas.close(layers_stay=window_closes or not kept)

    def _watch_window(self) -> None:
        if self._window is None and self._docked:  # Qt shows it once more when a window closes
            self._window = _main_window(self)
            if self._window is not None:
                self._window.installEventFilter(self)
                self._held_keys.watch(self._window)

    def _keep_soon(self) -> None:
        self._keeping.start()

    def _keep(self) -> None:
        with errors_shown():
            if self.controller.annotation is not None:
                self.controller.annotation.keep()

    def _may_close(self) -> bool:
        """Ask, where something painted would be lost."""
        annotation = self.controller.annotation
        if annotation is None or annotation.item is None or annotation.why_unsaved is None:
            return True
        answer = ask(
            self,
            "Strokes that are not saved",
            f"What you painted on {annotation.item.name} could not be saved.\n\n{annotation.why_unsaved}",
            ("Close and lose them",),
            more="Close napari all the same? What you accepted before stays as it is.",
        )
        return answer is not None


def _main_window(widget: QWidget) -> QMainWindow | None:
    ancestor = widget.parentWidget()
    while ancestor is not None and not isinstance(ancestor, QMainWindow):
        ancestor = ancestor.parentWidget()
    return ancestor
