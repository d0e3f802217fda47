"""The items of a session, one per image plane, and names for them that are safe as file names everywhere."""

import hashlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path, PurePath, PurePosixPath

from napari_semigda.io.pictures import Plane

LONGEST_ID = 100  # bytes of an id in UTF-8, so that `<id>.tif` fits every file system

_RESERVED_BY_WINDOWS = frozenset(
    {"con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in "0123456789")}
)
_STEPS_UP = 2
_NO_NAMES = ("/", "\\", "..")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class ItemState(Enum):
    """How far the labeling of an item is, derived from the files of the session."""

    UNLABELED = "unlabeled"
    DRAFT = "draft"
    ACCEPTED = "accepted"
    SKIPPED = "skipped"

    @property
    def waits(self) -> bool:
        """Whether such an item is neither accepted nor skipped."""
        return self in (ItemState.UNLABELED, ItemState.DRAFT)


class Status(Enum):
    """An item's state as a list of all items shows it: with what is painted and not accepted."""

    UNLABELED = "unlabeled"
    DRAFT = "draft"
    PAINTED = "painted"
    ACCEPTED = "accepted"
    VALIDATION = "validation"
    CHANGED = "changed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Item:
    """One plane of an image file, to be labeled.

    The `id` names its files in the session, see `unique_ids`; the `name` is shown to people: the path below
    the folder of images, and the plane where there are several. The image file's `path` is posix: relative to
    the session folder where it lies near it, else absolute. For the others see `io.pictures.Plane`.
    """

    id: str
    name: str
    path: str
    shape: tuple[int, int]  # (height, width) in pixels when the session was created
    series: int = 0
    index: int = 0
    pixel_size: tuple[float, float] = (1.0, 1.0)  # (y, x) in `unit`
    unit: str = "pixel"
    upright: bool = True
    skipped: bool = field(default=False, compare=False)  # by the annotator when this object was returned


def id_of(item: Item | str) -> str:
    """Return the id of an item, or the id itself."""
    return item if isinstance(item, str) else item.id


def plane_of(item: Item, path: Path) -> Plane:
    """Return the plane that an item was made of, given the path of its image file."""
    return Plane(
        path, item.series, item.index, item.name, item.shape, item.pixel_size, item.unit, item.upright
    )


def unique_ids(names: Iterable[str], others: Iterable[str] = ()) -> list[str]:
    """Make one id of each name: a short file stem, safe on every file system, no two alike.

    An id consists of letters and digits (of any script), ``_`` and ``-``. Ids that differ only in case
    or in the way of writing an accent count as alike; later ones get a number.

    >>> unique_ids(["scan 1", "Scan_1", "../é*?"])
    ['scan_1', 'Scan_1-2', 'é']
    """
    taken = {identity(other) for other in others}
    next_number: dict[str, int] = {}
    ids = []
    for name in names:
        stem = _safe_stem(name)
        candidate = stem
        while identity(candidate) in taken:
            number = next_number.get(identity(stem), 1) + 1
            next_number[identity(stem)] = number
            candidate = f"{stem}-{number}"
        taken.add(identity(candidate))
        ids.append(candidate)
    return ids


def folded(name: str) -> str:
    """Return what two file names share that look the same, or differ in the case of their letters only."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def file_stem(path: Path | str) -> str:
    """Return the name of an image file without its endings.

    >>> file_stem("folder/cells.ome.tif"), file_stem("v1.2.png")
    ('cells', 'v1.2')
    """
    stem = os.path.splitext(os.path.basename(path))[0]
    return stem[: -len(".ome")] if stem.lower().endswith(".ome") else stem


def looks(name: str) -> str:
    """Return what two names share that look the same, in whatever form their accents are."""
    return unicodedata.normalize("NFC", name)


def for_people(name: str) -> str:
    """Return a name that can be shown in one line: a sign stands for each control character."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", name)


def tell_apart(names: Sequence[str], paths: Sequence[PurePath], taken: Collection[str] = ()) -> list[str]:
    """Make equal names of files different, by the names of the folders above, as many as needed.

    A name is the end of the file's path; `taken` are names that others have, see `looks`.

    >>> tell_apart(["f1.png", "f1.png"], [PurePath("/data/p1/f1.png"), PurePath("/data/p2/f1.png")])
    ['p1/f1.png', 'p2/f1.png']
    """
    tops = []  # the folders above that the names do not hold
    for path, name in zip(paths, names, strict=True):
        above = path.parts[: len(path.parts) - len(PurePosixPath(name).parts)]
        tops.append(tuple(part for part in above if part not in _NO_NAMES))
    alike = _alike(names, tops, taken)
    for depth in range(1, max(map(len, alike), default=0) + 1):
        longer = [
            "/".join([*top[-depth:], name]) if top in alike else name
            for top, name in zip(tops, names, strict=True)
        ]
        if not _alike(longer, tops, taken):
            return numbered(longer, taken)
    return numbered(names, taken)


def _alike(
    names: Sequence[str], tops: Sequence[tuple[str, ...]], taken: Collection[str]
) -> set[tuple[str, ...]]:
    """Return the folders with files that are named as files of other folders are."""
    folders: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for name, top in zip(names, tops, strict=True):
        folders[looks(name)].add(top)
    return {top for name, of_name in folders.items() if len(of_name) > 1 or name in taken for top in of_name}


def items_told_apart(items: Sequence[Item]) -> tuple[Item, ...]:
    """Give items other names where two have the same, as earlier versions made them; see `tell_apart`."""
    if len({looks(item.name) for item in items}) == len(items):
        return tuple(items)
    files = {item.path: image_name(item) for item in items}
    longer = tell_apart(list(files.values()), [PurePath(path) for path in files])
    before = {
        path: new[: -len(name)] if new.endswith(name) else ""
        for new, (path, name) in zip(longer, files.items(), strict=True)
    }
    names = numbered(before[item.path] + item.name for item in items)
    return tuple(replace(item, name=name) for item, name in zip(items, names, strict=True))


def numbered(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Put a number behind names that are alike, such as ``scan.png (2)``."""
    seen, result = set(taken), []
    last: dict[str, int] = {}
    for name in names:
        file, dot, plane = name.partition(" · ")
        number, candidate = last.get(looks(name), 1), name
        while looks(candidate) in seen:
            number += 1
            candidate = f"{file} ({number}){dot}{plane}"
        last[looks(name)] = number
        seen.add(looks(candidate))
        result.append(candidate)
    return result


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return what all names of one file share, links of any kind among them; None where it is not there."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None


def image_name(item: Item) -> str:
    """Return the name of an item's image file, below the folder of the images; posix."""
    return (PurePosixPath(item.name).parent / PurePosixPath(item.path).name).as_posix()


def is_safe_id(text: str) -> bool:
    """Whether `unique_ids` could have made this id; nothing else is ever used as a file name."""
    return (
        0 < len(text.encode("utf-8", errors="replace")) <= LONGEST_ID + 12
        and unicodedata.is_normalized("NFC", text)
        and re.fullmatch(r"\w[\w-]*", text) is not None
        and identity(text) not in _RESERVED_BY_WINDOWS
    )


def identity(item_id: str) -> str:
    """Return what two ids must not share, for file systems that ignore case and the form of accents."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", item_id).casefold())


def size_for_people(shape: tuple[int, ...]) -> str:
    """Write width × height of what has the shape (height, width)."""
    return f"{shape[1]} × {shape[0]}"


def stored_path(file: Path, folder: Path) -> str:
    """Return the stored path of an image: relative to the session folder if near it, else absolute; posix."""
    file, folder = real_place(file), folder.resolve()
    try:
        relative = Path(os.path.relpath(file, folder))
    except ValueError:  # another drive
        return file.as_posix()
    return (file if relative.parts[: _STEPS_UP + 1].count("..") > _STEPS_UP else relative).as_posix()


def real_place(file: Path) -> Path:
    """Return the absolute path with links in the folders followed, but the file's own name kept."""
    file = Path(os.path.abspath(file))
    return file.parent.resolve() / file.name


def _safe_stem(name: str) -> str:
    text = unicodedata.normalize("NFC", name.encode("utf-8", errors="replace").decode("utf-8"))
    stem = re.sub(r"[^\w-]+", "_", text).strip("_-")
    stem = unicodedata.normalize("NFC", stem) or "image"
    if identity(stem) in _RESERVED_BY_WINDOWS:
        stem += "_"
    if len(stem.encode("utf-8")) <= LONGEST_ID:
        return stem
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()[:8]
    kept = stem.encode("utf-8")[: LONGEST_ID - len(digest) - 1].decode("utf-8", errors="ignore")
    return unicodedata.normalize("NFC", f"{kept}-{digest}")
