"""The plugin's settings in napari's preferences, besides its keys."""

from pathlib import Path
from typing import Any

from napari_semigda.downloads import keep_downloads_in
from napari_semigda.widgets.settings import get_plugin_settings

PLUGIN = "napari-semigda"


def chosen_device() -> str:
    """Return where to train and predict: ``"auto"``, or torch's name of a device."""
    return str(_computing().device)


def chosen_preset() -> str:
    """Return the default network of new sessions."""
    return str(_computing().preset)


def accepts_empty() -> bool:
    """Return whether an empty mask that nobody painted on is accepted without *No object here*."""
    return bool(get_plugin_settings(PLUGIN).accepting.accept_empty)


def use_cache_folder() -> None:
    """Keep downloads in the chosen folder, if there is one."""
    named = str(_computing().cache_folder).strip()
    keep_downloads_in(Path(named).expanduser() if named else None)


def _computing() -> Any:
    return get_plugin_settings(PLUGIN).computing
