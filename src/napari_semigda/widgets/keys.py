"""Keys of the dock: none that napari or its Labels layers use.

Their titles and defaults are in the plugin's manifest, under `configurations`: napari shows them in its
preferences, and stores what users choose there.
"""

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

from napari_semigda.widgets.preferences import settings

REPEATED_WITHIN = 20  # milliseconds between a release and a press; no finger is as fast
NO_KEY = "there is no such key. Write it like A, Shift+A or Alt+F2."

_NO_KEYS = {None, KeyCode.UNKNOWN, KeyCode.Shift, KeyCode.Ctrl, KeyCode.Alt, KeyCode.Meta}


class Key(StrEnum):
    """What keys do. The values are names in users' settings, so they stay as they are."""

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
        """The key as napari binds it; None without."""
        return _chosen()[0][self]

    @property
    def label(self) -> str:
        """The key as text; empty without."""
        return "" if self.binding is None else str(self.binding)

    @property
    def meaning(self) -> str:
        """What it does, as in the preferences."""
        return str(_field(self).title)


class HeldKeys(QObject):
    """Drops repeated presses of a held key that Qt takes for new ones.

    On X11 a held key is released and pressed again and again, which Qt takes for a repetition only if it
    already has the press when it reads the release.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._released: dict[int, int] = {}

    def watch(self, window: QWidget) -> None:
        """Watch a window, if it is on screen."""
        handle = window.windowHandle()
        if handle is not None:
            handle.installEventFilter(self)  # a second time changes nothing

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if not isinstance(event, QKeyEvent):
            return False
        key, at = event.key(), event.timestamp()
        if event.type() == QEvent.Type.KeyRelease:
            self._released[key] = at
            return False
        is_new = event.type() == QEvent.Type.KeyPress and not event.isAutoRepeat()
        return is_new and 0 < at <= self._released.get(key, -REPEATED_WITHIN) + REPEATED_WITHIN


def complaints() -> tuple[str, ...]:
    """Return which keys of the preferences cannot be used, and why."""
    return _chosen()[1]


def changes() -> Any:
    """Return the events of keys changed in the preferences."""
    return settings().keys.events


def read_again() -> None:
    """Read the preferences again."""
    _chosen.cache_clear()


@cache
def _chosen() -> tuple[dict[Key, KeyBinding | None], tuple[str, ...]]:
    """The key for each action, and what is wrong with the preferences.

    An invalid key, or one in use, is replaced by the default.
    """
    taken = _keys_of_napari()
    chosen: dict[Key, KeyBinding | None] = {}
    wrong = []
    for key in sorted(Key, key=lambda key: _text(key) != _default(key)):  # unchanged ones first
        binding, why_not = _read(_text(key), taken)
        if why_not is not None:
            wrong.append(f"“{_text(key)}” cannot be the key for “{key.meaning}”: {why_not}")
            binding, _ = _read(_default(key), taken)
        chosen[key] = binding
        if binding is not None:
            taken[binding] = f"it is the key for “{key.meaning}”."
    return chosen, tuple(wrong)


def _read(text: str, taken: dict[KeyBinding, str]) -> tuple[KeyBinding | None, str | None]:
    """The key, or why it cannot be used."""
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
    """Keys that napari uses: in the viewer, in image and label layers, and in its menus."""
    taken = {
        binding: "napari uses it."
        for kind in (Image, Labels, *ViewerModel.__mro__)
        for binding in getattr(kind, "class_keymap", ())
    }
    with suppress(ImportError):  # private to napari: should it go, its menus are not checked
        from napari._app_model import get_app_model

        taken |= {rule.keybinding: "it is used in napari's menus." for rule in get_app_model().keybindings}
    return taken


def _text(key: Key) -> str:
    return str(getattr(settings().keys, key.value))


def _default(key: Key) -> str:
    return str(_field(key).default)


def _field(key: Key) -> Any:
    return type(settings().keys).model_fields[key.value]
