"""Open napari on a session, from outside of napari."""

from __future__ import annotations

from pathlib import Path

import napari

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
