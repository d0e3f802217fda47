"""What people chose in napari's preferences for this plugin, besides its keys."""

from napari.settings import get_plugin_settings

from napari_semigda.widgets.keys import PLUGIN


def chosen_device() -> str:
    """Where to train and predict: ``"auto"``, or a device by torch's name."""
    return str(get_plugin_settings(PLUGIN).computing.device)
