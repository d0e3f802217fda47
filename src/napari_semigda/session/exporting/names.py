"""What exported files are called: as the images are, in the same sub-folders."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from napari_semigda.session.creation import file_stem, plane_suffixes
from napari_semigda.session.items import Item, identity

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


def image_name(item: Item) -> str:
    """Return the name of an item's picture file, below the folder of the images; posix."""
    return (PurePosixPath(item.name).parent / PurePosixPath(item.path).name).as_posix()


def safe_part(part: str) -> str:
    """Return a name that every file system takes for a file or a folder."""
    clean = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]', "_", part).rstrip(". ") or "image"
    return clean.encode("utf-8", errors="replace")[:_LONGEST_PART].decode("utf-8", errors="ignore")


def _unique(items: Iterable[tuple[Item, str]], ending: str) -> list[str]:
    taken: set[str] = set()
    names = []
    for item, suffix in items:
        within = [
            safe_part(part) for part in PurePosixPath(item.name).parent.parts if part not in ("/", "..")
        ]
        stem = safe_part(file_stem(item.path)) + suffix
        number = 1
        while identity(name := "/".join([*within, _numbered(stem, number) + ending])) in taken:
            number += 1
        taken.add(identity(name))
        names.append(name)
    return names


def _numbered(stem: str, number: int) -> str:
    return stem if number == 1 else f"{stem}-{number}"
