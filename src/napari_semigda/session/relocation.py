"""Finding pictures again that were moved since the session was made."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, takewhile
from pathlib import Path, PurePath
from typing import TypeVar

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.io.pictures import find_pictures, list_planes
from napari_semigda.pace import Progress
from napari_semigda.session.items import (
    Item,
    file_identity,
    folded,
    real_place,
    size_for_people,
    stored_path,
)
from napari_semigda.session.mask_names import in_mask_folder

_ENOUGH = 2


@dataclass(frozen=True)
class Relocation:
    """What came of looking for pictures in another place.

    Parameters
    ----------
    found
        The items that were found again, with their new paths.
    missing
        The items whose pictures still are nowhere, and why, as a sentence.
    """

    found: tuple[Item, ...]
    missing: tuple[tuple[Item, str], ...]


def missing_pictures(items: Iterable[Item], session_folder: Path) -> list[Item]:
    """List the items whose picture files are not where the session knows them."""
    items = list(items)
    gone = {path for path in {item.path for item in items} if not (session_folder / path).exists()}
    return [item for item in items if item.path in gone]


def look_for_pictures(
    items: Sequence[Item],
    session_folder: Path,
    folder: Path,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Relocation:
    """Look in a folder, and below, for missing pictures by their names.

    Of several files of one name the one counts that has the most folders above it in common with the old
    place; where two have equally many, neither does. A file that is or could be the picture of another item
    is not taken, nor one in a folder of masks where the old place was in none, and each file is taken once.
    It also has to hold the same plane in the same size.

    Parameters
    ----------
    items
        All of the session; those whose pictures are not there are looked for.
    session_folder
        What the new paths are relative to.
    folder
        Where to look.
    progress, cancelled
        Told and asked after each file.

    Raises
    ------
    SemiGDAError
        When the folder is not there or cannot be read.
    Cancelled
        When the person cancelled.
    """
    missing = missing_pictures(items, session_folder)
    places = _Places(items, missing, session_folder, folder).find()
    shapes: dict[str, dict[tuple[int, int], tuple[int, int]] | str] = {}
    for done, (old, place) in enumerate(places.items(), start=1):
        if cancelled is not None and cancelled():
            raise Cancelled
        if isinstance(place, Path):
            shapes[old] = _shapes(place)
        if progress is not None:
            progress(done, len(places))
    found, still = [], []
    for item in missing:
        place = places[item.path]
        if isinstance(place, str):
            still.append((item, place))
        elif wrong := _wrong(item, place, shapes[item.path]):
            still.append((item, wrong))
        else:
            found.append(replace(item, path=stored_path(place, session_folder)))
    return Relocation(tuple(found), tuple(still))


class _Places:
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
        self._are_masks = any(in_mask_folder(f"{self._old[path].parent.name}/") for path in self._missing)
        self._identities = {path: file_identity(path) for path in alike}
        self._candidates = [
            path
            for path, is_mask in alike.items()
            if self._identities[path] not in self._owners and (self._are_masks or not is_mask)
        ]
        alike_old = {path: old for path, old in self._old.items() if folded(old.name) in wanted}
        self._files_by_end = _by_end(alike_old)
        self._candidates_by_end = _by_end({path: path for path in self._candidates})

    def find(self) -> dict[str, Path | str]:
        """Return for each missing file where it is, or why nobody knows."""
        places = {path: self._place(path) for path in self._missing}
        count = Counter(self._identities[place] for place in places.values() if isinstance(place, Path))
        return {
            path: f"“{place}” is one file with that of another image."
            if isinstance(place, Path) and count[self._identities[place]] > 1
            else place
            for path, place in places.items()
        }

    def _place(self, path: str) -> Path | str:
        old = self._old[path]
        nearest, depth = _nearest(old, self._candidates_by_end)
        if not nearest:
            return self._why_none(old)
        if len(nearest) > 1:
            return f"There are several files “{old.name}” there, and nothing tells which one it is."
        (place,) = nearest
        owners, _ = _nearest(place, self._files_by_end)
        if len(owners) > 1:
            other = next(one for one in owners if one != path)
            return f"“{place}” could be {self._names[other]} as well."
        if path not in owners:
            return f"“{place}” fits {self._names[owners[0]]} better."
        if not depth and self._is_folder_of_others(place, old):
            return (
                f"“{place}” is in a folder of other images. If it is the right one, look in its folder alone."
            )
        return place

    def _why_none(self, old: PurePath) -> str:
        taken = [path for path in self._identities if folded(path.name) == folded(old.name)]
        if not taken:
            return f"There is no file “{old.name}” there."
        owners = (self._owners.get(self._identities[path]) for path in taken)  # type: ignore[arg-type]
        owner = next((owner for owner in owners if owner is not None), None)
        if owner is None:
            return f"“{taken[0]}” is in a folder of masks. If it is the image, look in its folder alone."
        return f"The file “{old.name}” there is the image of {self._names[owner]}."

    def _is_folder_of_others(self, place: Path, old: PurePath) -> bool:
        """Whether a file is below the folder that is searched, where other images of the session were."""
        if place.parent == self._folder:
            return False
        return folded(place.parent.name) in self._folders - {folded(old.parent.name)}

    @cached_property
    def _folders(self) -> set[str]:
        return {folded(path.parent.name) for path in self._old.values()}


_Key = TypeVar("_Key")


def _ends(path: PurePath, *, exact: bool) -> Iterator[int]:
    """Hash a file's name, exact or folded, then the same with one folder above it after the other, folded."""
    end = hash((exact, path.name if exact else folded(path.name)))
    yield end
    for part in reversed(path.parts[:-1]):
        end = hash((end, folded(part)))
        yield end


def _by_end(paths: Mapping[_Key, PurePath]) -> dict[int, list[_Key]]:
    """Find files by the ends of their paths; of each end no more than two, which tells that it is not one."""
    found: dict[int, list[_Key]] = defaultdict(list)
    for key, path in paths.items():
        for end in chain(_ends(path, exact=True), _ends(path, exact=False)):
            if len(found[end]) < _ENOUGH:
                found[end].append(key)
    return found


def _nearest(path: PurePath, by_end: Mapping[int, list[_Key]]) -> tuple[list[_Key], int]:
    """Return the files that have the most folders in common with a path, and how many these are.

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


def _shapes(place: Path) -> dict[tuple[int, int], tuple[int, int]] | str:
    """Return the size (height, width) of each plane by series and index, or why they cannot be read."""
    try:
        return {(plane.series, plane.index): plane.shape for plane in list_planes(place)}
    except SemiGDAError as error:
        return str(error)


def _wrong(item: Item, place: Path, shapes: Mapping[tuple[int, int], tuple[int, int]] | str) -> str | None:
    if isinstance(shapes, str):
        return shapes
    shape = shapes.get((item.series, item.index))
    if shape == item.shape:
        return None
    holds = "lacks the plane" if shape is None else f"has {size_for_people(shape)} pixels"
    return (
        f"“{place}” is another picture: it {holds}, and it should have {size_for_people(item.shape)} pixels."
    )
