"""Sessions that were open lately, and where they are: known from one start of napari to the next."""

import json
import os
from contextlib import suppress
from pathlib import Path

from platformdirs import user_data_path

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import write_json
from napari_semigda.io.pictures import MANIFEST_NAME

MOST = 10
LARGEST = 2**16  # bytes: a file that is larger is none of ours


def recent_sessions() -> list[Path]:
    """The folders of sessions that were open, the last one first; only those that are still there."""
    return [folder for folder in _remembered() if os.path.isfile(folder / MANIFEST_NAME)]


def last_folder() -> Path:
    """Where a person most likely looks for a session: beside the last one, else in the own folder."""
    beside = (folder.parent for folder in _remembered())
    return next((folder for folder in beside if os.path.isdir(folder)), Path.home())


def remember_session(folder: Path) -> None:
    """Put a session before all others. A convenience: where it cannot be saved, it is forgotten."""
    folders = [folder, *(one for one in _remembered() if one != folder)]
    with suppress(SemiGDAError, OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_json(_file(), {"sessions": [str(one) for one in folders[:MOST]]}, durable=False)


def _file() -> Path:
    return user_data_path("napari-semigda") / "recent.json"


def _remembered() -> list[Path]:
    try:
        with _file().open("rb") as file:
            found = json.loads(file.read(LARGEST))["sessions"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []
    known = found if isinstance(found, list) else []
    return [Path(one) for one in known if isinstance(one, str) and os.path.isabs(one)][:MOST]
