"""What exported files are called: as the images are, in the same sub-folders."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from napari_semigda.session.finding import plane_suffixes
from napari_semigda.session.items import Item, file_stem, identity

_LONGEST_PART = 180  # bytes; leaves room for the ending within the 255 of most file systems


def export_names(items: Sequence[Item], ending: str = "_mask.tif") -> list[str]:
    """Name the file of each item, relative to the export folder; posix, safe, no two alike."""
    suffixes = plane_suffixes([(item.path, item.series, item.index) for item in items])
    return _unique(zip(items, suffixes, strict=True), ending)


def stack_names(items: Sequence[Item], ending: str) -> list[str]:
    """Name the file of each stack as `export_names` does, by one item of each."""
    stacks = Counter(item.path for item in items)
    suffixes = [f"_s{item.series + 1}" if stacks[item.path] > 1 else "" for item in items]
    return _unique(zip(items, suffixes, strict=True), ending)


def safe_part(part: str) -> str:
    """Return a name that every file system takes for a file or a folder."""
    clean = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]', "_", part).rstrip(". ") or "image"
    return clean.encode("utf-8", errors="replace")[:_LONGEST_PART].decode("utf-8", errors="ignore")


def _unique(items: Iterable[tuple[Item, str]], ending: str) -> list[str]:
    """Name files so that `semigda import` finds the right image for each: no name fits another image too."""
    items = list(items)
    by_stem = [_path(item, file_stem(item.path) + suffix) for item, suffix in items]
    by_file = [_path(item, PurePosixPath(item.path).name + suffix) for item, suffix in items]
    count = Counter(identity(name) for name, _ in by_stem)
    chosen = [
        stem if count[identity(stem[0])] == 1 else file for stem, file in zip(by_stem, by_file, strict=True)
    ]
    taken: set[str] = set()
    names = [""] * len(items)
    reserved = {identity(name) for name, _ in (*by_stem, *by_file)}
    for number in sorted(range(len(items)), key=lambda one: not chosen[one][1]):
        name, count_of_name = chosen[number][0], 1
        while identity(name) in taken or (count_of_name > 1 and identity(name) in reserved):
            count_of_name += 1
            name = f"{chosen[number][0]}-{count_of_name}"
        taken.add(identity(name))
        names[number] = name + ending
    return names


def _path(item: Item, stem: str) -> tuple[str, bool]:
    """Return the name of an item's file without its ending, and whether it is as the image is named."""
    parts = [part for part in PurePosixPath(item.name).parent.parts if part not in ("/", "..")]
    safe = [*map(safe_part, parts), safe_part(stem)]
    return "/".join(safe), safe == [*parts, stem]
