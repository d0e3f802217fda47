"""Open napari on a session, from outside of napari; and tell which session is open in it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import napari
from napari.components import ViewerModel

from napari_semigda.session.session import Session

PLUGIN, WIDGET = "napari-semigda", "Annotate and train"

ViewerLike = TypeVar("ViewerLike", bound=ViewerModel)


def open_in_napari(session: Path, *, run: bool = True) -> napari.Viewer:
    """Open a napari window with the dock widget on a session.

    Parameters
    ----------
    session : Path
        Folder of the session.
    run : bool
        Whether to stay until the window is closed.
    """
    viewer = napari.Viewer()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    widget.open_session(session)
    if run:
        napari.run()
    return viewer


def without_proxy(viewer: ViewerLike) -> ViewerLike:
    """Give the viewer itself where napari handed out a proxy of it, as it does to menu commands and docks.

    A proxy hands out proxies in turn: Qt takes none for a window or an icon, and comparing a layer by
    identity fails.
    """
    found: ViewerLike = getattr(viewer, "__wrapped__", viewer)
    return found


def session_in(viewer: ViewerModel) -> Session | None:
    """Give the session that is open in the dock of a viewer's window, if there is one."""
    from napari_semigda.widgets.start import Dock

    window = getattr(viewer, "window", None)
    for widget in () if window is None else window.dock_widgets.values():
        if isinstance(widget, Dock) and widget.ready and widget.whole.controller.session is not None:
            return widget.whole.controller.session
    return None
