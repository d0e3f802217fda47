"""Open napari on a session, and find the session that is open in a viewer."""

from __future__ import annotations

from pathlib import Path

import napari
from napari.components import ViewerModel

from napari_semigda.session.session import Session
from napari_semigda.widgets.preferences import PLUGIN
from napari_semigda.widgets.start import Dock

WIDGET = "Annotate and train"


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
