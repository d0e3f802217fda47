"""What earlier exports wrote into a folder, so that a later one need not write it again."""

import json
from pathlib import Path
from typing import Any

from napari_semigda.io.atomic import append_line, cannot_read
from napari_semigda.io.files import read_json_lines

RECORD_NAME = ".semigda_export.jsonl"


class ExportRecord:
    """One line a file written: of what it was made, and what it looked like then. The last line counts.

    Parameters
    ----------
    folder
        The one exported to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / RECORD_NAME
        self._lines = _read(self._path)

    def is_ours(self, name: str) -> bool:
        """Whether the file is as an earlier export left it."""
        known = self._lines.get(name)
        return known is not None and known["file"] == _stamp(self._folder / name)

    def is_current(self, name: str, made_of: str) -> bool:
        """Whether the file is as an earlier export left it, made of the same."""
        return self.is_ours(name) and self._lines[name]["made_of"] == made_of

    def note(self, name: str, made_of: str) -> None:
        """Write down that the file was just written."""
        line = {"name": name, "made_of": made_of, "file": _stamp(self._folder / name)}
        self._lines[name] = line
        append_line(self._path, json.dumps(line), durable=False)


def _stamp(path: Path) -> list[int]:
    """Return what changes when a file does."""
    try:
        found = path.lstat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Read the record; lines that are none (torn by a crash, say) are passed over."""
    found = {}
    try:
        for values in read_json_lines(path):
            kinds = {"name": str, "made_of": str, "file": list}
            if isinstance(values, dict) and all(isinstance(values.get(k), kinds[k]) for k in kinds):
                found[values["name"]] = values
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise cannot_read(path, error) from error
    return found
