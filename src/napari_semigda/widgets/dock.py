"""The dock: the panels in the order of work, the keys, and what happens at closing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.utils.key_bindings import KeyBinding
from napari.utils.notifications import show_warning
from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QKeyEvent, QShowEvent
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QLineEdit, QMainWindow, QVBoxLayout, QWidget

from napari_semigda.widgets import keys
from napari_semigda.widgets.canvas.layers import NapariCanvas, without_proxy
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

KEPT_AFTER = 3000  # milliseconds after the last stroke, in case the program is killed
KEYS_AFTER = 800  # milliseconds after the last change of a key in the preferences: users may still be typing
USUAL_SIZE = QSize(330, 700)
ENDS_TYPING = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape)
ALL_SPACE = 100  # stretch of a panel, beside 1 of the empty space below


class SemiGDAWidget(QWidget):
    """All panels of the dock, for one viewer; see `napari_semigda.widgets.start.Dock`."""

    def __init__(self, napari_viewer: ViewerModel, device: str | None = None) -> None:
        super().__init__()
        self._viewer = napari_viewer = without_proxy(napari_viewer)
        self._window: QMainWindow | None = None
        self._closed = self._closing = False
        self.canvas = NapariCanvas(napari_viewer)
        self.controller = Controller(self.canvas, device)
        self.controller.opened.connect(self._watch_window)  # one that is never shown can be closed as well
        self.session_panel = SessionPanel(self.controller, napari_viewer)
        self.classes_panel = ClassesPanel(self.controller)
        self.table_panel = TablePanel(self.controller)
        self.image_panel = ImagePanel(self.controller)
        self.mask_panel = MaskPanel(self.controller, self.session_panel.find_moved.press)
        self.image_panel.skip.too_soon = self.mask_panel.is_too_soon
        self.train_panel = TrainPanel(self.controller)
        self.export_panel = ExportPanel(self.controller)
        self._lay_out()
        self.controller.opened.connect(self._show_sections)
        self.controller.closed.connect(self._show_sections)
        self._show_sections()
        self._keeping = timer(self, KEPT_AFTER, self._keep)
        self.canvas.painted.connect(self._keep_soon)
        self._held_keys = HeldKeys(self)
        self._bound: list[KeyBinding] = []
        self._rebinding = timer(self, KEYS_AFTER, self._bind_keys)
        self._bind_keys()
        keys.changes().connect(self._rebind_keys)
        napari_viewer.events.theme.connect(self._on_theme)
        self._on_theme()
        self._guard = InputGuard(self)

    def open_session(self, folder: Path | str) -> None:
        """Open a session folder; errors are shown as notifications."""
        with errors_shown():
            self.controller.open(Path(folder))

    def sizeHint(self) -> QSize:
        """Return a size wide enough for two buttons side by side."""
        return USUAL_SIZE.expandedTo(self.minimumSizeHint())

    def minimumSizeHint(self) -> QSize:
        """Return a width at which no button is cut off, at any font size."""
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
            section.toggled.connect(self._remember_folded)
            section.toggleButton().clicked.connect(lambda _, part=section: self._column.reveal(part))
        stack.addStretch(1)
        images = self.sections["Images"]
        stack.setStretchFactor(images, ALL_SPACE)  # its table can use whatever room there is
        self.table_panel.narrowed.connect(images.note)
        self.session_panel.summed_up.connect(self.sections["Session"].note)
        images.toggled.connect(lambda unfolded: stack.setStretchFactor(images, ALL_SPACE * unfolded))
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
        """Show only what can be used, folded as it was when the session was closed."""
        session = self.controller.session
        folded = () if session is None else session.view.folded  # folding changes it
        for title, section in self.sections.items():
            section.setVisible(title == "Session" or session is not None)
            (section.collapse if title in folded else section.expand)(animate=False)
        self.main_actions.setVisible(session is not None)

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
        """The button or menu entry that each key presses."""
        found: list[ActionButton | MenuAction] = self.findChildren(ActionButton)
        found += self.findChildren(MenuAction)
        return {one.key: one for one in found if one.key is not None}

    def _bind_keys(self) -> None:
        """Bind the keys of the preferences, and warn of those that cannot be used."""
        self._unbind_keys()
        keys.read_again()
        for key, button in self.buttons.items():
            button.say()
            if key.binding is not None:
                self._viewer.bind_key(key.binding, self._presser(button), overwrite=True)
                self._bound.append(key.binding)
        for words in keys.complaints():
            show_warning(words)

    def _rebind_keys(self) -> None:
        self._rebinding.start()

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
        """Return the focus to the canvas when Return or Escape is pressed in a box or a line."""
        typing = QApplication.focusWidget()
        if event is None or event.key() not in ENDS_TYPING:
            self._pass_on(event)
        elif isinstance(typing, QAbstractSpinBox | QLineEdit):
            typing.clearFocus()
        else:
            event.ignore()

    def keyReleaseEvent(self, event: QKeyEvent | None) -> None:
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
        """Watch the window, whose closing must not lose strokes."""
        super().showEvent(event)
        self._watch_window()
        self._held_keys.watch(self.window() or self)  # another one where the dock floats

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Save strokes when napari is about to close, and close the session when it does.

        If they cannot be saved, the user decides. In between napari may ask whether to close; if not, the
        window is not hidden.
        """
        if self._window is not None and watched is self._window and event is not None:
            if event.type() == QEvent.Type.Close:
                self._keep()
                if not self._may_close():
                    event.ignore()
                    return True
                self._closing = True
                if not self._window.isVisible():  # then napari does not ask, and nothing will be hidden
                    self.close_down(window_closes=True)
            elif event.type() == QEvent.Type.Hide and self._closing and not event.spontaneous():
                self.close_down(window_closes=True)
        return False

    def close_down(self, *, window_closes: bool = False) -> None:
        """Close the session, and disconnect from the viewer.

        When the window closes its layers stay: removing them one by one takes long.
        """
        if self._closed:
            return
        self._closed = True
        if self._window is not None:
            self._window.removeEventFilter(self)
            self._window = None
        self._viewer.events.theme.disconnect(self._on_theme)
        keys.changes().disconnect(self._rebind_keys)
        self._rebinding.stop()
        self._unbind_keys()
        kept = self.controller.close(layers_stay=window_closes)
        self.canvas.close(layers_stay=window_closes or not kept)

    def _watch_window(self) -> None:
        if self._window is None and not self._closed:  # Qt shows it once more when a window closes
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
        """Ask if strokes would be lost."""
        annotation = self.controller.annotation
        if annotation is None or annotation.item is None or annotation.why_unsaved is None:
            return True
        answer = ask(
            self,
            "Unsaved strokes",
            f"What you painted on {annotation.item.name} could not be saved.\n\n{annotation.why_unsaved}",
            ("Close and lose them",),
            more="Close napari anyway? Accepted masks are not affected.",
        )
        return answer is not None


def _main_window(widget: QWidget) -> QMainWindow | None:
    ancestor = widget.parentWidget()
    while ancestor is not None and not isinstance(ancestor, QMainWindow):
        ancestor = ancestor.parentWidget()
    return ancestor
