"""What earlier exports wrote into a folder, so that a later one need not write it again."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_semigda.io.atomic import append_line, cannot_read
from napari_semigda.io.files import read_json_lines

RECORD_NAME = ".semigda_export.jsonl"


class _Line(BaseModel):
    """A file that was written: what it was made of, and its size and time then."""

    model_config = ConfigDict(strict=True)
    name: str
    made_of: str
    file: list[Any]


class ExportRecord:
    """One line for each file that was written into a folder; the last line of a file counts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / RECORD_NAME
        self._lines = _read(self._path)

    def is_ours(self, name: str) -> bool:
        """Whether the file is as an earlier export left it."""
        known = self._lines.get(name)
        return known is not None and known.file == stamp(self._folder / name)

    def is_current(self, name: str, made_of: str) -> bool:
        """Whether the file is as an earlier export left it, made of the same."""
        return self.is_ours(name) and self._lines[name].made_of == made_of

    def note(self, name: str, made_of: str) -> None:
        """Record that the file was just written."""
        line = _Line(name=name, made_of=made_of, file=stamp(self._folder / name))
        self._lines[name] = line
        append_line(self._path, json.dumps(line.model_dump()), durable=False)


def stamp(path: Path, *, follow: bool = False) -> list[int]:
    """Return what changes when a file does; nothing where there is none."""
    try:
        found = path.stat(follow_symlinks=follow)
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _read(path: Path) -> dict[str, _Line]:
    found = {}
    try:
        for values in read_json_lines(path):
            try:
                line = _Line.model_validate(values)
            except ValidationError:  # a line that was torn by a crash, say
                continue
            found[line.name] = line
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise cannot_read(path, error) from error
    return found
