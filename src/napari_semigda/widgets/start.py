"""The dock as napari opens it: it is there at once, and PyTorch and the rest are imported behind the scenes.

Nothing here may import the sections, the engine or the session at its top: that takes seconds.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from napari_semigda.log import keep_log
from napari_semigda.widgets.background import Background
from napari_semigda.widgets.panels.parts import ActionButton, Rows, ThinBar, show_failure, wrapping_label

if TYPE_CHECKING:
    from napari_semigda.widgets.dock import SemiGDAWidget

SECTIONS = "napari_semigda.widgets.dock"
ALL_ROOM = 100_000  # as a share, beside that of the empty space below, which grows with each dock opened
USUAL_SIZE = QSize(330, 700)
GETTING_READY = (
    "Getting ready: PyTorch is being loaded, which takes some seconds. napari can be used meanwhile."
)
FAILED = "SemiGDA could not be loaded ({}). Install it again, then restart napari."
TURN = 0.0005  # seconds for which the thread that imports may keep the window waiting

_WHOLE = {
    "buttons",
    "canvas",
    "classes_panel",
    "export_panel",
    "image_panel",
    "main_actions",
    "mask_panel",
    "table_panel",
    "sections",
    "session_panel",
    "train_panel",
    "controller",
}
"""What only the whole dock has: whoever asks for one of these waits until it is there."""

_RENAMED = {
    "workbench": "controller",
    "session_section": "session_panel",
    "classes_section": "classes_panel",
    "image_section": "image_panel",
    "mask_section": "mask_panel",
    "train_section": "train_panel",
    "queue_section": "table_panel",
    "export_section": "export_panel",
}
"""Names of version 0.1, for one more release."""


class Dock(QWidget):
    """Segment a folder of images in rounds of annotating and training.

    It is shown at once; its sections come as soon as what they need is imported. Who asks for a part of it
    before, as a script may, waits for that: see `whole`.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer to show images in.
    device : str, optional
        Where to train: ``"auto"``, or a device by torch's name; None takes the one of napari's preferences.
    """

    def __init__(self, napari_viewer: ViewerModel, device: str | None = None) -> None:
        super().__init__()
        keep_log()
        self._viewer, self._device = napari_viewer, device
        self._whole: SemiGDAWidget | None = None
        self._docked = self._closed = False
        self._imported = threading.Event()
        self._background = Background(self)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._waiting: _WaitingPage | None = None
        if SECTIONS in sys.modules:
            self._imported.set()
            self._build()
        else:
            self._waiting = _WaitingPage()
            self._layout.addWidget(self._waiting)
            self.setCursor(Qt.CursorShape.BusyCursor)
            self._background.do(self._import, self._on_imported)

    @property
    def ready(self) -> bool:
        """Whether the sections are there."""
        return self._whole is not None

    @property
    def whole(self) -> SemiGDAWidget:
        """The dock with its sections; waits until they can be made.

        Raises
        ------
        ImportError
            If something they need cannot be imported.
        """
        self._imported.wait()
        return self._whole or self._build()

    def __getattr__(self, name: str) -> Any:
        """Give a part of the whole dock."""
        name = _RENAMED.get(name, name)
        if name in _WHOLE:
            return getattr(self.whole, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name}")

    def open_session(self, folder: Path | str) -> None:
        """Open a session folder, waiting until that can be done; errors are shown as notifications."""
        self.whole.open_session(folder)

    def close_down(self, *, window_closes: bool = False) -> None:
        """Close the session and leave the viewer as if this widget had never been there."""
        self._closed = True
        if self._whole is not None:
            self._whole.close_down(window_closes=window_closes)
        self._background.close()

    def sizeHint(self) -> QSize:
        """Wide enough for two buttons side by side."""
        return USUAL_SIZE.expandedTo(super().sizeHint())

    def event(self, event: QEvent | None) -> bool:
        """Close the session when the dock is taken away (napari then leaves this widget without a parent)."""
        handled = super().event(event)
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                self.close_down()
        return bool(handled)

    def _import(self) -> Exception | None:
        """Import what the sections and the first image need; in the thread behind the scenes."""
        try:
            with self._quietly():
                _load_libraries()
                import_module(SECTIONS)
                _warm_up()
        except Exception as error:
            return error
        finally:
            self._imported.set()
        return None

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Import beside a window: take short turns, and keep collections of garbage short.

        A full one looks at every object there is, three quarters of which come with these imports, and holds
        all threads for a quarter of a second; napari asks for one with each layer that goes. So there is none
        meanwhile, and what was imported is left out of all later ones. Not so where layers are open: what is
        left out once may never be freed.
        """
        enabled = gc.isenabled()
        gc.disable()
        sys.setswitchinterval(min(sys.getswitchinterval(), TURN))
        try:
            yield
        finally:
            if not self._viewer.layers:
                gc.freeze()
            if enabled:
                gc.enable()

    def _on_imported(self, error: Exception | None) -> None:
        if error is not None and self._waiting is not None:
            self.unsetCursor()
            self._waiting.say(FAILED.format(error))
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
        self._layout.addWidget(self._whole, ALL_ROOM)  # napari puts a stretch below
        self.unsetCursor()
        return self._whole


class _WaitingPage(QWidget):
    """What the dock shows until its sections are there."""

    def __init__(self) -> None:
        super().__init__()
        self._words = wrapping_label()
        self._words.setText(GETTING_READY)
        self._bar: QProgressBar = ThinBar()
        self._bar.setMaximum(0)
        rows = Rows(self)
        rows.add(self._words)
        rows.add(self._bar)
        buttons = [ActionButton(words, "", lambda: None) for words in ("Open…", "New…")]
        rows.add(*buttons)
        for button in buttons:
            button.allow(GETTING_READY)
        rows.setRowStretch(rows.rowCount(), 1)

    def say(self, words: str) -> None:
        """Say that it will not come to more than this."""
        self._words.setText(words)
        self._bar.hide()


def _warm_up() -> None:
    """Do once what the first image would keep people waiting for; in any thread."""
    from napari_semigda.widgets.canvas.layers import warm_up

    warm_up()


def _load_libraries() -> None:
    """Have the system load PyTorch's libraries.

    Python would load them while it holds all other threads; `ctypes` lets them go on. Where the names are
    others nothing is loaded here, and everything later.
    """
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent / "lib"
    for pattern in ("libc10.*", "libtorch_cpu.*"):
        for library in folder.glob(pattern):
            with suppress(OSError):
                ctypes.CDLL(str(library))
