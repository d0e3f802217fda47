"""What people chose in napari's preferences for this plugin, besides its keys."""

from pathlib import Path
from typing import Any

from napari_semigda.downloads import keep_downloads_in
from napari_semigda.widgets.settings import get_plugin_settings

PLUGIN = "napari-semigda"


def chosen_device() -> str:
    """Where to train and predict: ``"auto"``, or a device by torch's name."""
    return str(_computing().device)


def chosen_preset() -> str:
    """The network that a new session is suggested."""
    return str(_computing().preset)


def accepts_empty() -> bool:
    """Whether an empty mask that nobody painted on is accepted without *No object here*."""
    return bool(get_plugin_settings(PLUGIN).accepting.accept_empty)


def heed_cache_folder() -> None:
    """Have what is fetched from the network kept in the folder that was chosen, if one was."""
    named = str(_computing().cache_folder).strip()
    keep_downloads_in(Path(named).expanduser() if named else None)


def _computing() -> Any:
    return get_plugin_settings(PLUGIN).computing
