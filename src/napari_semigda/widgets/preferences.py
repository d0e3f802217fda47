"""The plugin's settings in napari's preferences. Before 0.9 napari has none for plugins: defaults apply."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from napari_semigda.downloads import keep_downloads_in

try:
    from napari.settings import get_plugin_settings
except ImportError:
    import yaml
    from pydantic import BaseModel, Field, create_model

    class _Defaults(BaseModel):
        @property
        def events(self) -> Any:
            """Takes and drops listeners, as nothing ever changes."""
            return SimpleNamespace(connect=id, disconnect=id)

    @cache
    def get_plugin_settings(plugin: str) -> Any:
        """Return the defaults from the plugin's manifest, one attribute a section."""
        manifest = yaml.safe_load((files("napari_semigda") / "napari.yaml").read_text("utf-8"))
        sections = {}
        for key, section in manifest["contributions"]["configurations"].items():
            fields: dict[str, Any] = {
                name: (type(one["default"]), Field(one["default"], title=one["title"]))
                for name, one in section["properties"].items()
            }
            sections[key] = create_model(key, __base__=_Defaults, **fields)()
        return SimpleNamespace(**sections)


PLUGIN = "napari-semigda"


def settings() -> Any:
    """Return the settings of the plugin, one attribute a section; see the manifest."""
    return get_plugin_settings(PLUGIN)


def chosen_device() -> str:
    """Return where to train and predict: ``"auto"``, or torch's name of a device."""
    return str(settings().computing.device)


def chosen_preset() -> str:
    """Return the default network of new sessions."""
    return str(settings().computing.preset)


def accepts_empty() -> bool:
    """Return whether an empty mask that nobody painted on is accepted without *No object here*."""
    return bool(settings().accepting.accept_empty)


def use_cache_folder() -> None:
    """Keep downloads in the chosen folder, if there is one."""
    named = str(settings().computing.cache_folder).strip()
    keep_downloads_in(Path(named).expanduser() if named else None)
