"""Finding images that were moved since the session was created."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, takewhile
from pathlib import Path, PurePath
from typing import TypeVar

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.pictures import find_pictures, list_planes
from napari_semigda.pace import Cancel, Progress, tracked
from napari_semigda.session.items import Item, file_identity, folded, real_place, size_for_people, stored_path
from napari_semigda.session.mask_names import in_mask_folder

_ENOUGH = 2  # files of one name, to know that the name is ambiguous


@dataclass(frozen=True)
class Relocation:
    """The items that were found again, with their new paths, and those still missing, with a sentence why."""

    found: tuple[Item, ...]
    missing: tuple[tuple[Item, str], ...]


def missing_pictures(items: Iterable[Item], session_folder: Path) -> list[Item]:
    """List the items whose image files are not where the session expects them."""
    items = list(items)
    gone = {path for path in {item.path for item in items} if not (session_folder / path).exists()}
    return [item for item in items if item.path in gone]


def look_for_pictures(
    items: Sequence[Item],
    session_folder: Path,
    folder: Path,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Relocation:
    """Look in a folder, and below, for missing images by their names.

    Of several files of one name the one counts that has the most folders above it in common with the old
    path; where two have equally many, neither does. A file that is or could be the image of another item is
    not taken, nor one in a folder of masks where the old path was in none, and each file is taken once. It
    also has to hold the same plane in the same size.

    `items` are all of the session. Raises a `SemiGDAError` when the folder cannot be read.
    """
    missing = missing_pictures(items, session_folder)
    paths = _Search(items, missing, session_folder, folder).find()
    shapes: dict[str, dict[tuple[int, int], tuple[int, int]] | str] = {}
    for old, path in tracked(paths.items(), progress, cancelled):
        if isinstance(path, Path):
            shapes[old] = _shapes(path)
    found, still = [], []
    for item in missing:
        path = paths[item.path]
        if isinstance(path, str):
            still.append((item, path))
        elif wrong := _wrong(item, path, shapes[item.path]):
            still.append((item, wrong))
        else:
            found.append(replace(item, path=stored_path(path, session_folder)))
    return Relocation(tuple(found), tuple(still))


class _Search:
    """Finds where missing files are now: two files belong together if each is the other's nearest."""

    def __init__(
        self, items: Sequence[Item], missing: Sequence[Item], session_folder: Path, folder: Path
    ) -> None:
        self._folder = real_place(folder)
        self._missing = list(dict.fromkeys(item.path for item in missing))
        self._names: dict[str, str] = {}  # of an item of each file, for people
        for item in items:
            self._names.setdefault(item.path, item.name)
        self._old = {path: PurePath(os.path.normpath(session_folder / path)) for path in self._names}
        self._old_folders = {folded(path.parent.name) for path in self._old.values()}
        gone = set(self._missing)
        self._owners = {
            identity: path
            for path in self._names
            if path not in gone and (identity := file_identity(session_folder / path)) is not None
        }
        wanted = {folded(self._old[path].name) for path in self._missing}
        above = len(folder.parts)
        alike = {
            real_place(path): in_mask_folder(PurePath(*path.parts[above:]).as_posix())
            for path in find_pictures(folder)
            if folded(path.name) in wanted
        }
        are_masks = any(in_mask_folder(f"{self._old[path].parent.name}/") for path in self._missing)
        self._identities = {path: file_identity(path) for path in alike}
        candidates = {
            path: path
            for path, is_mask in alike.items()
            if self._identities[path] not in self._owners and (are_masks or not is_mask)
        }
        self._files_by_end = _by_end(
            {path: old for path, old in self._old.items() if folded(old.name) in wanted}
        )
        self._candidates_by_end = _by_end(candidates)

    def find(self) -> dict[str, Path | str]:
        """Return for each missing file where it is, or why it was not found."""
        paths = {path: self._find_one(path) for path in self._missing}
        count = Counter(self._identities[path] for path in paths.values() if isinstance(path, Path))
        return {
            old: f"“{path}” is one file with that of another image."
            if isinstance(path, Path) and count[self._identities[path]] > 1
            else path
            for old, path in paths.items()
        }

    def _find_one(self, missing: str) -> Path | str:
        old = self._old[missing]
        nearest, depth = _nearest(old, self._candidates_by_end)
        if not nearest:
            return self._why_none(old)
        if len(nearest) > 1:
            return f"There are several files “{old.name}” there, and it is unclear which one is meant."
        (path,) = nearest
        owners, _ = _nearest(path, self._files_by_end)
        if len(owners) > 1:
            other = next(one for one in owners if one != missing)
            return f"“{path}” could be {self._names[other]} as well."
        if missing not in owners:
            return f"“{path}” fits {self._names[owners[0]]} better."
        in_folder_of_others = folded(path.parent.name) in self._old_folders - {folded(old.parent.name)}
        if not depth and path.parent != self._folder and in_folder_of_others:
            return f"“{path}” is in a folder of other images. If it is the right one, choose that folder."
        return path

    def _why_none(self, old: PurePath) -> str:
        alike = [path for path in self._identities if folded(path.name) == folded(old.name)]
        if not alike:
            return f"There is no file “{old.name}” there."
        for path in alike:
            if (identity := self._identities[path]) is not None and identity in self._owners:
                return f"The file “{old.name}” there is the image of {self._names[self._owners[identity]]}."
        return f"“{alike[0]}” is in a folder of masks. If it is the image, choose that folder."


_Key = TypeVar("_Key")


def _ends(path: PurePath, *, exact: bool) -> Iterator[int]:
    """Hash a file's name, exact or folded, then the same with one folder above it after the other, folded."""
    end = hash((exact, path.name if exact else folded(path.name)))
    yield end
    for part in reversed(path.parts[:-1]):
        end = hash((end, folded(part)))
        yield end


def _by_end(paths: Mapping[_Key, PurePath]) -> dict[int, list[_Key]]:
    """Index files by the ends of their paths; two of one end are enough to call it ambiguous."""
    found: dict[int, list[_Key]] = defaultdict(list)
    for key, path in paths.items():
        for end in chain(_ends(path, exact=True), _ends(path, exact=False)):
            if len(found[end]) < _ENOUGH:
                found[end].append(key)
    return found


def _nearest(path: PurePath, by_end: Mapping[int, list[_Key]]) -> tuple[list[_Key], int]:
    """Return the files that have the most folders in common with a path, and the number of these folders.

    Where some of these have exactly its name, only they count.
    """
    nearest: list[_Key] = []
    deepest = -1
    for exact in (False, True):
        ends = takewhile(by_end.__contains__, _ends(path, exact=exact))
        for depth, end in enumerate(ends):
            if depth >= deepest:
                nearest, deepest = by_end[end], depth
    return nearest, deepest


def _shapes(path: Path) -> dict[tuple[int, int], tuple[int, int]] | str:
    """Return the size (height, width) of each plane by series and index, or why they cannot be read."""
    try:
        return {(plane.series, plane.index): plane.shape for plane in list_planes(path)}
    except SemiGDAError as error:
        return str(error)


def _wrong(item: Item, path: Path, shapes: Mapping[tuple[int, int], tuple[int, int]] | str) -> str | None:
    if isinstance(shapes, str):
        return shapes
    shape = shapes.get((item.series, item.index))
    if shape == item.shape:
        return None
    holds = "lacks the plane" if shape is None else f"has {size_for_people(shape)} pixels"
    return f"“{path}” is another image: it {holds}, and it should have {size_for_people(item.shape)} pixels."
