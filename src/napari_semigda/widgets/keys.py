"""Keys of the widget: none that napari or its Labels layers use, and others where the person wants others.

What each key does, in words, and its usual choice stand in the plugin's manifest, under `configurations`:
napari shows them in its preferences, and keeps what was chosen there in its own folder of settings.
"""

from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from functools import cache
from typing import Any

from app_model.types import KeyCode
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.utils.key_bindings import KeyBinding, coerce_keybinding
from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QWidget

from napari_semigda.widgets.preferences import PLUGIN
from napari_semigda.widgets.settings import get_plugin_settings

REPEATED_WITHIN = 20  # milliseconds between a release and a press that no finger makes
NO_KEY = "there is no such key. Write it like A, Shift+A or Alt+F2."

_NO_KEYS = {None, KeyCode.UNKNOWN, KeyCode.Shift, KeyCode.Ctrl, KeyCode.Alt, KeyCode.Meta}


class Key(StrEnum):
    """What can be done with a key, by its name in the preferences."""

    ACCEPT_AND_NEXT = "accept_and_go_on"
    ACCEPT = "accept"
    NO_OBJECT = "no_object"
    UNDO_ACCEPT = "undo_accept"
    NEXT_SUGGESTED = "to_queue"
    PREVIOUS = "previous"
    NEXT = "next"
    SKIP = "skip"
    RESET = "to_draft"
    NEXT_CLASS = "next_class"
    SHOW_DRAFT = "show_draft"
    CONTOUR = "contour"
    UNCERTAINTY = "uncertainty"
    FILL_HOLES = "fill_holes"
    REMOVE_SMALL = "drop_specks"
    KEEP_LARGEST = "keep_largest"
    SMOOTH = "smooth"
    DRAFT_IN_REGION = "draft_inside"
    MARK_UNLABELED = "not_looked_at"
    HELP = "help"

    @property
    def binding(self) -> KeyBinding | None:
        """The key as napari binds it; None where there is none."""
        return _chosen()[0][self]

    @property
    def label(self) -> str:
        """The key as people write it; empty where there is none."""
        return "" if self.binding is None else str(self.binding)

    @property
    def words(self) -> str:
        """What it does, in a sentence without its stop."""
        return str(_field(self).title)


class HeldKeys(QObject):
    """Drops presses of a key that is held, of which Qt says that they are new.

    On X11 a held key is released and pressed again and again. Qt takes the two for a repetition only where it
    has the press already when it reads the release, which is not always so.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._released: dict[int, int] = {}

    def watch(self, window: QWidget) -> None:
        """Watch a window, where it is on the screen."""
        handle = window.windowHandle()
        if handle is not None:
            handle.installEventFilter(self)  # a second time changes nothing

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Drop a press in the moment of a release."""
        if not isinstance(event, QKeyEvent):
            return False
        key, at = event.key(), event.timestamp()
        if event.type() == QEvent.Type.KeyRelease:
            self._released[key] = at
            return False
        is_new = event.type() == QEvent.Type.KeyPress and not event.isAutoRepeat()
        return is_new and 0 < at <= self._released.get(key, -REPEATED_WITHIN) + REPEATED_WITHIN


def complaints() -> tuple[str, ...]:
    """Say which keys of the preferences cannot be used, and why."""
    return _chosen()[1]


def on_change(action: Callable[[], object]) -> None:
    """Have something done after keys were changed in the preferences."""
    _settings().events.connect(action)


def no_more_on_change(action: Callable[[], object]) -> None:
    """Undo `on_change`."""
    _settings().events.disconnect(action)


def look_again() -> None:
    """Read the preferences anew."""
    _chosen.cache_clear()


@cache
def _chosen() -> tuple[dict[Key, KeyBinding | None], tuple[str, ...]]:
    """Which key does what, and what is wrong with the preferences.

    A key that is none, or is taken, gives way to the usual one.
    """
    taken = _keys_of_napari()
    chosen: dict[Key, KeyBinding | None] = {}
    wrong = []
    usual_first = sorted(Key, key=lambda key: _text(key) != _usual(key))
    for key in usual_first:
        binding, why_not = _read(_text(key), taken)
        if why_not is not None:
            wrong.append(f"“{_text(key)}” cannot be the key for “{key.words}”: {why_not}")
            binding, _ = _read(_usual(key), taken)
        chosen[key] = binding
        if binding is not None:
            taken[binding] = f"it is the key for “{key.words}”."
    return chosen, tuple(wrong)


def _read(text: str, taken: dict[KeyBinding, str]) -> tuple[KeyBinding | None, str | None]:
    """The key that is meant, or why it cannot be used."""
    if not text.strip():
        return None, None
    try:
        binding = coerce_keybinding(text.strip())
    except (ValueError, TypeError, KeyError):
        return None, NO_KEY
    if len(binding.parts) > 1 or binding.part0.key in _NO_KEYS:
        return None, NO_KEY
    return (None, taken[binding]) if binding in taken else (binding, None)


def _keys_of_napari() -> dict[KeyBinding, str]:
    """What napari uses itself: in the viewer, in image and label layers, and in its menus."""
    taken = {
        binding: "napari uses it."
        for kind in (Image, Labels, *ViewerModel.__mro__)
        for binding in getattr(kind, "class_keymap", ())
    }
    with suppress(ImportError):  # napari has no public name for it: should this one go, menus go unasked
        from napari._app_model import get_app_model

        taken |= {rule.keybinding: "it is in napari's menus." for rule in get_app_model().keybindings}
    return taken


def _text(key: Key) -> str:
    return str(getattr(_settings(), key.value))


def _usual(key: Key) -> str:
    return str(_field(key).default)


def _field(key: Key) -> Any:
    return type(_settings()).model_fields[key.value]


def _settings() -> Any:
    return get_plugin_settings(PLUGIN).keys
