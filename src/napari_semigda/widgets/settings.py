"""The plugin's settings in napari's preferences. Before 0.9 napari has none for plugins: defaults apply."""

from functools import cache
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

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


__all__ = ["get_plugin_settings"]
