"""Where what is fetched from the network is kept: one folder for the whole program."""

import os
from pathlib import Path

from platformdirs import user_cache_path

VARIABLE = "SEMIGDA_CACHE"
"""Environment variable that names the folder, where nobody has chosen one in the program."""

_chosen: Path | None = None


def keep_downloads_in(folder: Path | None) -> None:
    """Choose the folder for what is fetched from now on; None leaves it to the environment."""
    global _chosen
    _chosen = folder


def chosen_folder() -> Path | None:
    """Give the folder that somebody chose, in the program or in the environment; None if nobody did."""
    named = os.environ.get(VARIABLE, "").strip()
    return _chosen or (Path(named).expanduser() if named else None)


def download_folder() -> Path:
    """Give the folder that somebody chose, or the system's usual place for what can be fetched again."""
    return chosen_folder() or user_cache_path("napari-semigda")
