"""The dock as napari opens it: it is there at once, and PyTorch and the rest are imported in the background.

Nothing here may import the panels, the engine or the session at its top: that takes seconds.
"""

from __future__ import annotations

import ctypes
import gc
import re
import sys
import threading
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_semigda.errors import SemiGDAError
from napari_semigda.log import keep_log
from napari_semigda.widgets.background import TaskThread
from napari_semigda.widgets.panels.parts import ActionButton, Rows, ThinBar, show_failure, wrapping_label
from napari_semigda.widgets.preferences import PLUGIN

if TYPE_CHECKING:
    from napari_semigda.session.session import Session
    from napari_semigda.widgets.dock import SemiGDAWidget

WIDGET = "Annotate and train"
WHOLE = "napari_semigda.widgets.dock"
ALL_SPACE = 100_000  # stretch, beside that of the empty space below, which grows with each dock opened
USUAL_SIZE = QSize(330, 700)
LOADING_NOTE = "Loading PyTorch, which takes a few seconds. You can keep using napari."
FAILED = "SemiGDA could not be loaded ({}). Install it again, then restart napari."
OLDEST_NAPARI = (0, 6, 6)
OUTDATED = "SemiGDA needs napari {}.{}.{} or newer, and this is napari {}. Update napari, then restart it."
SWITCH_INTERVAL = 0.0005  # seconds for which the importing thread may keep the window waiting

_RENAMED = {
    "workbench": "controller",
    "queue_section": "table_panel",
    **{
        f"{name}_section": f"{name}_panel"
        for name in ("session", "classes", "image", "mask", "train", "export")
    },
}
"""Names of version 0.1, for one more release."""

_PARTS = {"buttons", "canvas", "main_actions", "sections", *_RENAMED.values()}
"""Attributes of the whole dock: asking for one of these waits until it is there."""


class Dock(QWidget):
    """Segment a folder of images in rounds of annotating and training.

    The panels appear as soon as what they need is imported. Asking for a part of them before, as a script
    may, waits for that: see `whole`.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer to show images in.
    device : str, optional
        Where to train: ``"auto"``, or torch's name of a device; None: that of napari's preferences.
    """

    def __init__(self, napari_viewer: ViewerModel, device: str | None = None) -> None:
        super().__init__()
        keep_log()
        self._viewer, self._device = napari_viewer, device
        self._whole: SemiGDAWidget | None = None
        self._docked = False
        self._imported = threading.Event()
        self._tasks = TaskThread(self)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._waiting: _WaitingPage | None = None
        if WHOLE in sys.modules:
            self._imported.set()
            self._build()
        else:
            self._waiting = _WaitingPage()
            self._layout.addWidget(self._waiting)
            self.setCursor(Qt.CursorShape.BusyCursor)
            self._tasks.run(self._import, self._on_imported)

    @property
    def ready(self) -> bool:
        """Whether the panels are there."""
        return self._whole is not None

    @property
    def whole(self) -> SemiGDAWidget:
        """The dock with its panels; waits until they can be created.

        Raises
        ------
        ImportError
            If something they need cannot be imported.
        """
        self._imported.wait()
        return self._whole or self._build()

    def __getattr__(self, name: str) -> Any:
        """Return a part of the whole dock."""
        name = _RENAMED.get(name, name)
        if name in _PARTS:
            return getattr(self.whole, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name}")

    def open_session(self, folder: Path | str) -> None:
        """Open a session folder once that can be done; errors are shown as notifications."""
        self.whole.open_session(folder)

    def close_down(self, *, window_closes: bool = False) -> None:
        """Close the session, and disconnect from the viewer."""
        if self._whole is not None:
            self._whole.close_down(window_closes=window_closes)
        self._tasks.close()

    def sizeHint(self) -> QSize:
        """Return a size wide enough for two buttons side by side."""
        return USUAL_SIZE.expandedTo(super().sizeHint())

    def event(self, event: QEvent | None) -> bool:
        """Close the session when the dock is removed: napari then leaves this widget without a parent."""
        handled = super().event(event)
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                self.close_down()
        return bool(handled)

    def _import(self) -> Exception | None:
        """Import what the panels and the first image need, without freezing the window.

        Threads switch often, and no garbage is collected: that would look at all objects, three quarters of
        which come with these imports, and stop all threads for a quarter of a second. napari asks for it with
        each layer removed, so what was imported is left out of later collections, too; not if layers are
        open, for what is left out may never be freed.
        """
        enabled = gc.isenabled()
        gc.disable()
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL))
        try:
            if tuple(map(int, re.findall(r"\d+", napari.__version__)[:3])) < OLDEST_NAPARI:
                raise SemiGDAError(OUTDATED.format(*OLDEST_NAPARI, napari.__version__))
            _load_libraries()
            import_module(WHOLE)
            import_module("napari_semigda.widgets.canvas.colors").warm_up()
        except Exception as error:
            return error
        finally:
            if not self._viewer.layers:
                gc.freeze()
            if enabled:
                gc.enable()
            self._imported.set()
        return None

    def _on_imported(self, error: Exception | None) -> None:
        if error is not None and self._waiting is not None:
            self.unsetCursor()
            self._waiting.fail(str(error) if isinstance(error, SemiGDAError) else FAILED.format(error))
            show_failure(error)
        elif self._whole is None:
            self._build()

    def _build(self) -> SemiGDAWidget:
        from napari_semigda.widgets.dock import SemiGDAWidget

        self._whole = SemiGDAWidget(self._viewer, self._device)
        if self._waiting is not None:
            while self._layout.count():  # napari has put a stretch below the page
                self._layout.takeAt(0)
            self._waiting.hide()
            self._waiting.deleteLater()
            self._waiting = None
        self._layout.addWidget(self._whole, ALL_SPACE)  # napari puts a stretch below
        self.unsetCursor()
        return self._whole


class _WaitingPage(QWidget):
    """What the dock shows until its panels are there."""

    def __init__(self) -> None:
        super().__init__()
        self._text = wrapping_label(LOADING_NOTE)
        self._bar = ThinBar()
        self._bar.setMaximum(0)
        rows = Rows(self)
        rows.add(self._text)
        rows.add(self._bar)
        buttons = [ActionButton(text, "", lambda: None) for text in ("Open…", "New…")]
        rows.add(*buttons)
        for button in buttons:
            button.allow(LOADING_NOTE)
        rows.setRowStretch(rows.rowCount(), 1)

    def fail(self, text: str) -> None:
        self._text.setText(text)
        self._bar.hide()


def open_in_napari(session: Path, *, run: bool = True) -> napari.Viewer:
    """Open a napari window with the dock widget on a session folder."""
    viewer = napari.Viewer()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    widget.open_session(session)
    if run:
        napari.run()
    return viewer


def session_in(viewer: ViewerModel) -> Session | None:
    """Return the session open in the dock of a viewer's window; None without."""
    window = getattr(viewer, "window", None)
    for widget in () if window is None else window.dock_widgets.values():
        if isinstance(widget, Dock) and widget.ready and widget.whole.controller.session is not None:
            return widget.whole.controller.session
    return None


def _load_libraries() -> None:
    """Load PyTorch's libraries: Python would stop all other threads while it loads them, `ctypes` does not.

    If their names are different, they are loaded later.
    """
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent / "lib"
    for pattern in ("libc10.*", "libtorch_cpu.*"):
        for library in folder.glob(pattern):
            with suppress(OSError):
                ctypes.CDLL(str(library))
