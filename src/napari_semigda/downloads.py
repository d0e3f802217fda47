"""Where downloads are kept: one folder for the whole program."""

import os
from pathlib import Path

from platformdirs import user_cache_path

VARIABLE = "SEMIGDA_CACHE"
"""Environment variable that names the folder, unless one was chosen in the program."""

_chosen: Path | None = None


def keep_downloads_in(folder: Path | None) -> None:
    """Choose the folder for downloads from now on; None leaves it to the environment."""
    global _chosen
    _chosen = folder


def chosen_folder() -> Path | None:
    """Return the folder chosen in the program or in the environment, if any."""
    named = os.environ.get(VARIABLE, "").strip()
    return _chosen or (Path(named).expanduser() if named else None)


def download_folder() -> Path:
    """Return the chosen folder, or the system's cache folder."""
    return chosen_folder() or user_cache_path("napari-semigda")
