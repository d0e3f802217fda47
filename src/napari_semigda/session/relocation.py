"""Finding pictures again that were moved since the session was made."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.io.pictures import find_pictures, list_planes
from napari_semigda.session.creation import Progress
from napari_semigda.session.items import Item, size_for_people, stored_path


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
    missing: Sequence[Item],
    session_folder: Path,
    folder: Path,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Relocation:
    """Look in a folder, and below, for pictures of the same names.

    Of several files of one name the one counts that has the most folders above it in common with the old
    place; where two have equally many, neither does. A file takes the old one's place only if it holds the
    same plane in the same size.

    Parameters
    ----------
    missing
        Items whose pictures are not there, from `missing_pictures`.
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
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in find_pictures(folder):
        by_name[_folded(path.name)].append(path)
    places = {path: _place(PurePath(path), by_name) for path in dict.fromkeys(item.path for item in missing)}
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


def _place(old: PurePath, by_name: Mapping[str, list[Path]]) -> Path | str:
    """Return where the file is now, or why nobody knows."""
    candidates = by_name.get(_folded(old.name), [])
    if not candidates:
        return f"There is no file “{old.name}” there."
    alike = [_folders_in_common(old, candidate) for candidate in candidates]
    if alike.count(max(alike)) > 1:
        return f"There are several files “{old.name}” there, and nothing tells which one it is."
    return candidates[alike.index(max(alike))]


def _folders_in_common(first: PurePath, second: PurePath) -> int:
    """Count the folders right above both that have the same names."""
    count = 0
    for one, other in zip(reversed(first.parts[:-1]), reversed(second.parts[:-1]), strict=False):
        if _folded(one) != _folded(other):
            break
        count += 1
    return count


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


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
