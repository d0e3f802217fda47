"""The files that nothing may be written over: those of a session, this one or another, and its images."""

import os
from collections.abc import Iterable
from pathlib import Path

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.pictures import MANIFEST_NAME
from napari_semigda.session.items import identity, real_place
from napari_semigda.session.layout import IMAGES, JOURNAL, LOCK, OWN_FOLDERS, OWNER, SKIPPED, VIEW
from napari_semigda.session.transaction import TRANSACTION

_FOLDERS = frozenset((*OWN_FOLDERS, IMAGES))
_FILES = frozenset((MANIFEST_NAME, JOURNAL, SKIPPED, VIEW, LOCK, OWNER, TRANSACTION))


class Guard:
    """Refuses targets of an export by where they really are, whatever their names and links say.

    `session` is the folder of the session that is exported, `images` its image files (or folders of
    OME-Zarr).
    """

    def __init__(self, session: Path, images: Iterable[Path]) -> None:
        self._session = _parts(session)
        images = list(dict.fromkeys(images))
        self._images = {_parts(path) for path in images}
        self._numbers = {number for path in images if (number := _number(path)) is not None}

    def check(self, target: Path, named: Path | None = None) -> None:
        """Refuse a file that belongs to a session or is one of its images; the message shows `named`."""
        if reason := self._reason_against(target):
            raise SemiGDAError(f"“{named or target}” {reason}. Choose another folder to export to.")

    def _reason_against(self, target: Path) -> str:
        parts = _parts(target)
        is_within = parts[: len(self._session)] == self._session
        if is_within and (reason := _reason_within(parts[len(self._session) :])):
            return f"{reason} of the session itself"
        if any(parts[:length] in self._images for length in range(1, len(parts) + 1)):
            return "is an image of this session"
        if _number(target) in self._numbers:
            return "is an image of this session under another name"
        return _reason_of_sessions(target)


def refuse_files_of_sessions(target: Path) -> None:
    """Refuse a file that a session keeps: a mask there would count as accepted."""
    if reason := _reason_of_sessions(target):
        raise SemiGDAError(f"“{target}” {reason}. Choose another folder or name.")


def _reason_of_sessions(target: Path) -> str:
    path = real_place(target)
    for folder in path.parents:
        if os.path.lexists(folder / MANIFEST_NAME):
            within = tuple(identity(part) for part in path.relative_to(folder).parts)
            if reason := _reason_within(within):
                return f"{reason} of the session “{folder}”"
    return ""


def _reason_within(parts: tuple[str, ...]) -> str:
    """Return what a path below a session's folder is, if nothing else may be written there; else nothing."""
    if not parts or (len(parts) == 1 and (parts[0] in _FILES | _FOLDERS or parts[0].startswith("semigda."))):
        return "is a file"
    return "is part" if parts[0] in _FOLDERS else ""


def _parts(path: Path) -> tuple[str, ...]:
    """Return the parts of where a path really is, as file systems that ignore case compare them."""
    return tuple(identity(part) for part in real_place(path).parts)


def _number(path: Path) -> tuple[int, int] | None:
    """Return what the names of one file (hard links) have in common; None where there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_ino else None
