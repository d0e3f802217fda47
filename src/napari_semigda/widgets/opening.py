"""Open napari on a session, from outside of napari; and tell which session is open in it."""

from __future__ import annotations

from pathlib import Path

import napari
from napari.components import ViewerModel

from napari_semigda.session.session import Session

PLUGIN, WIDGET = "napari-semigda", "Annotate and train"


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


def session_in(viewer: ViewerModel) -> Session | None:
    """Give the session that is open in the dock of a viewer's window, if there is one."""
    from napari_semigda.widgets.dock import SemiGDAWidget

    window = getattr(viewer, "window", None)
    for widget in () if window is None else window.dock_widgets.values():
        if isinstance(widget, SemiGDAWidget) and widget.workbench.session is not None:
            return widget.workbench.session
    return None
