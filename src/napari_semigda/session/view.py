"""What the annotator chose in passing and would not like to choose again tomorrow: `view.json`."""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import write_json
from napari_semigda.io.files import json_or_none

_MOST_BYTES = 2**20
_MOST_NUMBER = 10**6  # what a field of the window can show


@dataclass(frozen=True)
class View:
    """What is remembered from one opening of a session to the next.

    Parameters
    ----------
    current
        Id of the item on screen; empty where there was none.
    order
        By what the next item is chosen, see `napari_semigda.session.queue`; empty is the usual way.
    round_after
        A round begins by itself after so many newly accepted masks; 0: only by hand.
    round_seconds, round_steps
        How long such a round, and the next one by hand, may take; 0 steps: any.
    folded
        Titles of the sections of the dock that are folded away.
    """

    current: str = ""
    order: str = ""
    round_after: int = 0
    round_seconds: float = 60.0
    round_steps: int = 0
    folded: tuple[str, ...] = ("Session", "Train", "Export")


class ViewFile:
    """The view of an opened session. A convenience: what cannot be read or saved is no reason to stop.

    Parameters
    ----------
    path
        The file.
    lock
        The session's.
    warn
        Is told when it could not be saved.

    Attributes
    ----------
    view : View
        As it is now.
    """

    def __init__(self, path: Path, lock: threading.RLock, warn: Callable[[str], None]) -> None:
        self._path, self._lock, self._warn = path, lock, warn
        self.view = _read(path)

    def change(self, *, save: bool = True, **changes: Any) -> None:
        """Give fields other values, and save if something changed."""
        with self._lock:
            changed = replace(self.view, **changes)
            if changed == self.view:
                return
            self.view = changed
            if save:
                try:
                    write_json(self._path, asdict(changed), durable=False)
                except SemiGDAError as error:
                    self._warn(str(error))


def _read(path: Path) -> View:
    values = json_or_none(path, most=_MOST_BYTES)
    if not isinstance(values, dict):
        return View()
    usual = {one.name: one.default for one in fields(View)}
    sound: dict[str, Any] = {}
    for name, value in values.items():
        if _is_like(value, usual.get(name)):
            sound[name] = tuple(value) if isinstance(value, list) else value
    return View(**sound)


def _is_like(value: Any, usual: Any) -> bool:
    if isinstance(usual, str):
        return isinstance(value, str)
    if isinstance(usual, tuple):
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    whole = isinstance(usual, int)
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    return usual is not None and number and 0 <= value <= _MOST_NUMBER
