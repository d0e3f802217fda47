"""What file names say: which names a mask may have, which files are masks, which names are alike."""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

from napari_semigda.session.items import file_stem, folded

SUFFIXES_OF_MASKS = (
    *("_mask", "_masks", "_cp_masks", "_label", "_labels", "_seg", "_segmentation", "_gt"),
    *("_annotation", "_annotations"),
)
"""What people append to an image's name to name its mask; also with a hyphen or a dot, in any case."""

_MASK_WORDS = r"cp[-_]masks?|masks?|labels?|seg|segmentations?|gt|annotations?"
_MASK_SUFFIX = re.compile(rf"(?P<word>[-_.](?:{_MASK_WORDS}))(?P<number>[-_]?\d{{1,3}})?", re.IGNORECASE)
_SEPARATOR = re.compile(r"[-_.]")
_MASK_FOLDER_WORDS = re.compile(rf"({_MASK_WORDS}|ground[-_ ]?truth)(tr|ts)?", re.IGNORECASE)
_IMAGE_FOLDER_WORDS = re.compile(r"(images?|imgs?)(tr|ts)?", re.IGNORECASE)
_BEFORE_NAME = re.compile(rf"({_MASK_WORDS}|images?|imgs?)[-_. ]+(?=.)", re.IGNORECASE)
CHANNEL = re.compile(r"(?P<base>.+)_(?P<channel>\d{4})")
_LISTED = 3  # names in one sentence
_SIMILAR = 0.6  # the least similarity, of 1, of a name that is shown as the nearest one


class ImageName(NamedTuple):
    """An image file, as masks are matched with it."""

    name: str  # its path below the folder of images, posix
    suffixes: tuple[
        str, ...
    ] = ()  # what the name of a mask of one plane adds; empty where there is one plane
    title: str = ""  # another name, without endings
    folder: str = ""  # the last folders that hold the file, where its name has none; posix


class Reading(NamedTuple):
    """One way to read a file's name: what it names, and how certain that is (0 is best)."""

    base: str
    rank: int
    word: str = ""
    part: bool = False  # one of several masks of an image: never taken alone


def readings_of_image(image: ImageName, channels: Mapping[tuple[str, str], set[str]]) -> list[Reading]:
    """List the names without suffix that a mask of an image file may have."""
    stem, file = file_stem(image.name), file_of(image.name)
    readings = [Reading(base, 0) for base in dict.fromkeys((stem, file, image.title or stem))]
    found = CHANNEL.fullmatch(stem)  # nnU-Net's images end in the number of their channel, its masks do not
    if found and "0000" in (found["channel"], *channels.get((parent_of(image.name), found["base"]), ())):
        readings.append(Reading(found["base"], 2))
    return readings


def readings_of_mask(name: str) -> list[Reading]:
    """List what a mask file's name may mean: with all of it, and without a suffix for masks."""
    stem = file_stem(name)
    readings = [Reading(stem, 0)]
    for separator in _SEPARATOR.finditer(stem):
        found = _MASK_SUFFIX.fullmatch(stem, separator.start())
        if found and separator.start():
            base, word = stem[: separator.start()], found["word"] + (found["number"] or "")
            readings.append(Reading(base, 1, word, part=found["number"] is not None))
    return readings


def parent_of(name: str) -> str:
    """Return the folder of a posix path; empty without one."""
    return name.rpartition("/")[0]


def file_of(name: str) -> str:
    """Return the last part of a posix path."""
    return name.rpartition("/")[2]


def home_of(folders: str) -> str:
    """Return the last folder without the words for masks and images; where it is one, the folder above."""
    return plain_folder(file_of(folders)) or plain_folder(folders)


@lru_cache(maxsize=10_000)
def plain_folder(folder: str) -> str:
    """Return a folder without the words for masks and images in it; folded."""
    parts = (
        "_".join(
            word
            for word in re.split(r"[-_ .]", part)
            if not (_MASK_FOLDER_WORDS.fullmatch(word) or _IMAGE_FOLDER_WORDS.fullmatch(word))
        )
        for part in folded(folder).split("/")
    )
    return "/".join(part for part in parts if part)


def in_mask_folder(name: str) -> bool:
    """Whether a file, given by its path, is in a folder such as ``masks``."""
    return any(_is_mask_folder(part) for part in parent_of(name).split("/"))


@lru_cache(maxsize=10_000)
def _is_mask_folder(part: str) -> bool:
    return any(_MASK_FOLDER_WORDS.fullmatch(word) for word in (part, *re.split(r"[-_ .]", part)))


def listed(names: Sequence[str]) -> str:
    """Write the first names, and the number of the others."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(f"“{name}”" for name in names[:_LISTED]) + more


def masks_beside(names: Sequence[str], shapes: Sequence[tuple[int, int]] | None = None) -> dict[int, int]:
    """Find image files that are masks of others, by their names (paths below the folder of images; posix).

    A file is the mask of another in the same folder that has its name without a suffix such as ``_mask``, or
    it is in a folder such as ``masks`` and the other, beside it, is not. Where no name fits, a file
    in ``masks`` is the mask of some image in ``images`` beside it. If shapes (height, width) are given, a
    mask has to have the size of its image. Returns the index of each mask with that of its image.

    Examples
    --------
    >>> masks_beside(["a.png", "a_Mask.png", "b_mask.png", "images/c.png", "masks/c.png"])
    {1: 0, 4: 3}
    """
    by_path: dict[tuple[str, str], list[int]] = defaultdict(list)
    in_images: dict[tuple[str, tuple[int, int]], int] = {}
    sizes = [(0, 0)] * len(names) if shapes is None else shapes
    stems = {(folded(parent_of(name)), folded(file_stem(name))) for name in names}
    for number, name in enumerate(names):
        if not in_mask_folder(name):
            folder = plain_folder(parent_of(name))
            if any(_IMAGE_FOLDER_WORDS.fullmatch(part) for part in parent_of(name).split("/")):
                in_images.setdefault((folder, sizes[number]), number)
            for reading in readings_of_image(ImageName(name), {}):
                by_path[folder, folded(reading.base)].append(number)
    found = {}
    for number, name in enumerate(names):
        folder, is_mask = plain_folder(parent_of(name)), in_mask_folder(name)
        for reading in readings_of_mask(name):
            first = reading.base + reading.word.rstrip("0123456789").rstrip("-_")
            if reading.part and (folded(parent_of(name)), folded(first)) not in stems:
                continue
            images = by_path.get((folder, folded(reading.base)), ()) if reading.word or is_mask else ()
            image = next((one for one in images if one != number and sizes[one] == sizes[number]), None)
            if image is not None:
                found[number] = image
                break
        else:
            image = in_images.get((folder, sizes[number]))
            if image is not None and is_mask:
                found[number] = image
    return found


def has_mask_suffix(name: str) -> bool:
    """Whether a file is named as a mask is, such as ``a_mask.png``."""
    return any(reading.word for reading in readings_of_mask(name))


class NearestNames:
    """Finds the name that a person may have meant, in a time that hardly grows with the number of names.

    Endings, and suffixes for masks, do not count.
    """

    def __init__(self, names: Iterable[str]) -> None:
        bases = [(_shortest(name), name) for name in names]
        self._by_start = sorted((base, base, name) for base, name in bases)
        self._by_end = sorted((base[::-1], base, name) for base, name in bases)

    def of(self, name: str) -> str:
        """Return the nearest name; empty if none is near."""
        base = _shortest(name)
        near = [*_around(self._by_start, base), *_around(self._by_end, base[::-1])]
        similarity, best = max(((_similarity(base, one), other) for _, one, other in near), default=(0.0, ""))
        return best if similarity >= _SIMILAR else ""


def _shortest(name: str) -> str:
    return folded(_BEFORE_NAME.sub("", readings_of_mask(name)[-1].base, count=1))


def _around(ordered: Sequence[tuple[str, str, str]], text: str) -> Sequence[tuple[str, str, str]]:
    index = bisect_left(ordered, (text, "", ""))
    return ordered[max(index - 2, 0) : index + 3]


def _similarity(one: str, other: str) -> float:
    """Return which share of the longer name both have in common at their ends."""
    start = _in_common(one, other)
    end = _in_common(one[start:][::-1], other[start:][::-1])
    return (start + end) / max(len(one), len(other), 1)


def _in_common(one: str, other: str) -> int:
    """Count the letters with which both begin."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
