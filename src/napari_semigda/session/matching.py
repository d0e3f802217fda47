"""Which mask file belongs to which image, told from names alone: what could be meant twice is never guessed.

The path below the folder decides; the bare name counts only where one image and one mask file have it.
Names are compared whatever the case of their letters and the form of their accents; exact spelling wins.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from napari_semigda.session.items import file_stem, folded

SUFFIXES_OF_MASKS = (
    *("_mask", "_masks", "_cp_masks", "_label", "_labels", "_seg", "_segmentation", "_gt"),
    *("_annotation", "_annotations"),
)
"""What people put behind the image's name to name its mask; also with a hyphen or a dot, in any case."""

_MASK_WORDS = r"cp[-_]masks?|masks?|labels?|seg|segmentations?|gt|annotations?"
_MASK_SUFFIX = re.compile(rf"(?P<word>[-_.](?:{_MASK_WORDS}))(?P<number>[-_]?\d{{1,3}})?", re.IGNORECASE)
_SEPARATOR = re.compile(r"[-_.]")
_MASK_FOLDER_WORDS = re.compile(rf"({_MASK_WORDS}|ground[-_ ]?truth)(tr|ts)?", re.IGNORECASE)
_IMAGE_FOLDER_WORDS = re.compile(r"(images?|imgs?)(tr|ts)?", re.IGNORECASE)
_BEFORE_NAME = re.compile(rf"({_MASK_WORDS}|images?|imgs?)[-_. ]+(?=.)", re.IGNORECASE)
_CHANNEL = re.compile(r"(?P<base>.+)_(?P<channel>\d{4})")
_ALIKE = 0.6
"""Names at least so alike, of 1, are worth showing as the nearest name."""
_NAMED = 3
"""So many names are told in one reason."""


class ImageName(NamedTuple):
    """An image file, as masks are matched with it.

    Parameters
    ----------
    name
        Its path below the folder of images; posix.
    suffixes
        What the name of a mask file for one plane has behind the image's name, for each plane in order;
        empty where the file holds one plane.
    title
        Another name without endings that it goes by; empty for none.
    folder
        The last folders that hold the file, where its name has none; posix.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    title: str = ""
    folder: str = ""


class Target(NamedTuple):
    """What one mask file is the mask of: an image file, or one plane of it, counted from 0."""

    image: int
    plane: int | None = None


@dataclass
class Matching:
    """What was found out about image and mask files; both are told by their index in what was given.

    Parameters
    ----------
    taken
        The mask file of each target that has one.
    how
        For each mask file that was taken, how it was recognized.
    why_no_mask
        For image files with candidates none of which is taken, why.
    why_not_used
        For mask files that are not taken, why.
    """

    taken: dict[Target, int] = field(default_factory=dict)
    how: dict[int, str] = field(default_factory=dict)
    why_no_mask: dict[int, str] = field(default_factory=dict)
    why_not_used: dict[int, str] = field(default_factory=dict)


class _Reading(NamedTuple):
    """One way to read a file's name: what it names, and how sure that is (0 is surest)."""

    base: str
    rank: int
    word: str = ""
    part: bool = False  # one of several masks of an image: never taken alone


class _Edge(NamedTuple):
    target: Target
    mask: int
    name: str
    rank: int
    exact: bool
    how: str
    part: bool


def match(
    images: Sequence[ImageName],
    masks: Sequence[Sequence[str]],
    *,
    root: str = "",
    class_names: Collection[str] = (),
) -> Matching:
    """Find the mask file of each image.

    Parameters
    ----------
    images
        All image files.
    masks
        For each mask file its path below the folder of masks; several where links lead to one file.
    root
        Name of the folder of masks, after that of the folder above it: ``scan/masks``.
    class_names
        Where there are several classes: a folder of such a name holds the masks of one class only.

    Notes
    -----
    The time grows with the number of files, not with its square.
    """
    return _Matcher(images, masks, root, class_names).match()


class _Matcher:
    def __init__(
        self,
        images: Sequence[ImageName],
        masks: Sequence[Sequence[str]],
        root: str,
        class_names: Collection[str],
    ) -> None:
        self._images, self._masks = images, masks
        self._root = root
        self._class_folders = {folded(name) for name in class_names} if len(class_names) > 1 else set()
        self._targets = list(_targets_of(images))
        self._readings = [[(name, _readings_of_mask(name)) for name in names] for names in masks]
        self._edges_of_mask: dict[int, list[_Edge]] = defaultdict(list)
        self._edges_of_target: dict[Target, list[_Edge]] = defaultdict(list)
        self._found = Matching()

    def match(self) -> Matching:
        self._join_by_path(lambda name, _is_mask: folded(_parent(name)))
        self._join_by_path(self._plain_parent)
        self._join_by_name()
        self._tell_parts()
        self._prefer_exact()
        self._resolve()
        return self._found

    def _join_by_path(self, folder_of: Callable[[str, bool], str | None]) -> None:
        """Join what has the same folder and the same name."""
        by_path: dict[tuple[str, str], list[tuple[Target, _Reading]]] = defaultdict(list)
        for target, readings in self._targets:
            if target in self._edges_of_target:
                continue
            folder = folder_of(self._images[target.image].name, False)
            if folder is not None:
                for reading in readings:
                    by_path[folder, folded(reading.base)].append((target, reading))
        joined = []
        for number, names in enumerate(self._readings):
            if number in self._edges_of_mask:
                continue
            for name, readings in names:
                folder = folder_of(name, True)
                for reading in readings if folder is not None else ():
                    for target, of_image in by_path.get((folder or "", folded(reading.base)), ()):
                        joined.append(self._edge(target, of_image, number, name, reading, "path"))
        self._add(joined)

    def _plain_parent(self, name: str, is_mask: bool) -> str | None:
        """Return a file's folder without the words for masks and images; None where that leaves nothing."""
        parent = _parent(name)
        if is_mask:
            whole = f"{_file(self._root)}/{parent}"
            if not any(_is_mask_folder(part) for part in whole.split("/")):
                return None
        return _plain_folder(parent) or None

    def _join_by_name(self) -> None:
        """Join what has a name that one image and one mask file have, wherever they are."""
        of_images: dict[str, dict[int, list[tuple[Target, _Reading]]]] = defaultdict(dict)
        for target, readings in self._targets:
            for reading in readings:
                of_images[folded(reading.base)].setdefault(target.image, []).append((target, reading))
        of_masks: dict[str, dict[int, list[tuple[str, _Reading]]]] = defaultdict(dict)
        for number, names in enumerate(self._readings):
            for name, readings in names:
                for reading in readings:
                    of_masks[folded(reading.base)].setdefault(number, []).append((name, reading))
        homes = [_plain_folder(_parent(image.name)) for image in self._images]
        if len({image.folder for image in self._images}) > 1:
            homes = [home or _home(image.folder) for home, image in zip(homes, self._images, strict=True)]
        folders_of_images = set(homes) - {""}
        folders_of_masks = {_plain_folder(_parent(name)) for names in self._masks for name in names} - {""}
        root = _home(self._root)
        is_sorted = min(len(folders_of_images), len(folders_of_masks)) > 1
        joined = []
        for base, candidates in of_masks.items():
            named = of_images.get(base)
            if named is None:
                continue
            if len(named) > 1 or len(candidates) > 1:
                self._tell_not_unique(named, candidates)
                continue
            ((number, ways),) = candidates.items()
            (targets,) = named.values()
            for target, of_image in targets:
                if number in self._edges_of_mask:
                    continue
                if target in self._edges_of_target:
                    image = self._images[target.image].name
                    self._found.why_not_used.setdefault(number, f"“{image}” has another mask by its path")
                    continue
                for name, reading in ways:
                    image = self._images[target.image].name
                    here, there = _plain_folder(_parent(name)), homes[target.image]
                    if not here and root in folders_of_images:
                        here = root
                    other = here in folders_of_images or there in folders_of_masks or is_sorted
                    if here == there or not (other and here and there):
                        joined.append(self._edge(target, of_image, number, name, reading, "name"))
                    else:
                        self._found.why_no_mask.setdefault(
                            target.image, f"“{name}” has its name, but is in another image's folder"
                        )
                        self._found.why_not_used.setdefault(
                            number, f"it is in another folder than “{image}”, the only image of its name"
                        )
        self._add(joined)

    def _tell_parts(self) -> None:
        """Tell of masks in the place of the only image of a folder, as of one object each."""
        images, masks = defaultdict(list), defaultdict(list)
        for number, one in enumerate(self._images):
            images[_plain_folder(_parent(one.name))].append(number)
        for number, names in enumerate(self._masks):
            if number not in self._edges_of_mask and in_mask_folder(names[0]):
                masks[_plain_folder(_parent(names[0]))].append(number)
        for folder, parts in masks.items():
            if folder and len(images[folder]) == 1 and len(parts) > 1:
                (only,) = images[folder]
                several = _listed((self._masks[number][0] for number in parts), len(parts))
                self._found.why_no_mask[only] = (
                    f"its folder has several masks: {several}. Join them in one file"
                )
                image = self._images[only].name
                why = f"it is one of several in the folder of “{image}”; join them in one file"
                self._found.why_not_used.update(dict.fromkeys(parts, why))

    def _tell_not_unique(self, named: Collection[int], candidates: Collection[int]) -> None:
        candidates = [number for number in candidates if number not in self._edges_of_mask]
        if not candidates:
            return
        images = _listed((self._images[number].name for number in named), len(named))
        masks = _listed((self._masks[number][0] for number in candidates), len(candidates))
        for number in candidates:
            self._found.why_not_used.setdefault(number, _could_be(images, len(named), masks, "image"))
        for image in named:
            self._found.why_no_mask.setdefault(image, _could_be(masks, len(candidates), images, "mask"))

    def _edge(
        self, target: Target, of_image: _Reading, number: int, name: str, reading: _Reading, by: str
    ) -> _Edge:
        image = self._images[target.image].name
        same_file = not reading.word and _file(name) == _file(image)
        part = reading.part
        if by == "name" and folded(_file(_parent(name))) in self._class_folders:
            part = True
        here, there = _parent(name), _parent(image)
        exact = reading.base == of_image.base and (here == there or folded(here) != folded(there))
        how = f"by {by}" + (f" and “{reading.word}”" if reading.word else "")
        rank = 0 if same_file else 1 + reading.rank + of_image.rank
        return _Edge(target, number, name, rank, exact, how, part)

    def _add(self, edges: Iterable[_Edge]) -> None:
        best: dict[tuple[Target, int, str], _Edge] = {}
        for edge in edges:
            before = best.get((edge.target, edge.mask, edge.name))
            if before is None or (not edge.exact, edge.rank) < (not before.exact, before.rank):
                best[edge.target, edge.mask, edge.name] = edge
        for edge in best.values():
            self._edges_of_mask[edge.mask].append(edge)
            self._edges_of_target[edge.target].append(edge)

    def _prefer_exact(self) -> None:
        """Drop what another reading of the same name makes unlikely."""
        kept: dict[Target, dict[int, _Edge]] = defaultdict(dict)
        for edges in self._edges_of_mask.values():
            by_name: dict[str, list[_Edge]] = defaultdict(list)
            for edge in edges:
                by_name[edge.name].append(edge)
            for of_name in by_name.values():
                sure = _exact_ones(of_name)
                first = min(edge.rank for edge in sure)
                for edge in sure:
                    if edge.rank == first:
                        kept[edge.target].setdefault(edge.mask, edge)
        self._edges_of_mask, self._edges_of_target = defaultdict(list), defaultdict(list)
        for target, by_mask in kept.items():
            exact = _exact_ones(list(by_mask.values()))
            for edge in by_mask.values():
                if edge in exact:
                    self._edges_of_target[target].append(edge)
                    self._edges_of_mask[edge.mask].append(edge)
                else:
                    self._found.why_not_used[edge.mask] = f"“{exact[0].name}” is spelled as the image is"

    def _resolve(self) -> None:
        by_image: dict[int, list[_Edge]] = defaultdict(list)
        for edges in self._edges_of_target.values():
            for edge in edges:
                by_image[edge.target.image].append(edge)
        for image, edges in by_image.items():
            for_planes = any(edge.target.plane is not None for edge in edges)
            both = for_planes and any(edge.target.plane is None for edge in edges)
            for edge in edges:
                rivals = edges if both else self._edges_of_target[edge.target]
                others = self._edges_of_mask[edge.mask]
                if len(rivals) == 1 and len(others) == 1 and not edge.part:
                    self._found.taken[edge.target] = edge.mask
                    self._found.how[edge.mask] = edge.how
                    self._found.why_not_used.pop(edge.mask, None)
                else:
                    self._tell_ambiguous(image, edge, rivals, others)
        for image in {target.image for target in self._found.taken}:
            if all(edge.target in self._found.taken for edge in by_image[image]):
                self._found.why_no_mask.pop(image, None)

    def _tell_ambiguous(
        self, image: int, edge: _Edge, rivals: Sequence[_Edge], others: Sequence[_Edge]
    ) -> None:
        name, mask = self._images[image].name, self._masks[edge.mask][0]
        if len(rivals) > 1:
            several = _listed((self._masks[one.mask][0] for one in rivals), len(rivals))
            self._found.why_no_mask[image] = f"several masks could be meant: {several}. Keep one of them"
            self._found.why_not_used[edge.mask] = f"several masks could be meant for “{name}”: {several}"
        elif len(others) > 1:
            several = _listed((self._images[one.target.image].name for one in others), len(others))
            names = self._masks[edge.mask]
            file = f"{_listed(names, len(names))} are one file, which" if len(names) > 1 else f"“{mask}”"
            self._found.why_no_mask[image] = f"{file} could be meant for several images: {several}"
            self._found.why_not_used[edge.mask] = f"several images could be meant: {several}"
        else:
            why = "holds one class or one object only; join the masks of an image in one file"
            self._found.why_no_mask[image] = f"“{mask}” {why}"
            self._found.why_not_used[edge.mask] = f"it {why}"


def masks_beside(names: Sequence[str], shapes: Sequence[tuple[int, int]] | None = None) -> dict[int, int]:
    """Tell which of some image files are masks of others, by their names.

    A file is the mask of another in the same folder that has its name without a suffix such as ``_mask``, or
    it is in a folder such as ``masks`` and the other, in its place, in none such. Where no name fits, a file
    in ``masks`` is the mask of some image in ``images`` beside it.

    Parameters
    ----------
    names
        Paths below the folder of images; posix.
    shapes
        (height, width) of each; a mask has the size of its image. None leaves that aside.

    Returns
    -------
    dict
        Index of the mask to index of its image.

    Examples
    --------
    >>> masks_beside(["a.png", "a_Mask.png", "b_mask.png", "images/c.png", "masks/c.png"])
    {1: 0, 4: 3}
    """
    at_place: dict[tuple[str, str], list[int]] = defaultdict(list)
    in_images: dict[tuple[str, tuple[int, int]], int] = {}
    sizes = [(0, 0)] * len(names) if shapes is None else shapes
    stems = {(folded(_parent(name)), folded(file_stem(name))) for name in names}
    for number, name in enumerate(names):
        if not in_mask_folder(name):
            if any(_IMAGE_FOLDER_WORDS.fullmatch(part) for part in _parent(name).split("/")):
                in_images.setdefault((_plain_folder(_parent(name)), sizes[number]), number)
            for reading in _readings_of_image(ImageName(name), {}):
                at_place[_plain_folder(_parent(name)), folded(reading.base)].append(number)
    found = {}
    for number, name in enumerate(names):
        for reading in _readings_of_mask(name):
            first = (
                folded(_parent(name)),
                folded(reading.base + reading.word.rstrip("0123456789").rstrip("-_")),
            )
            if not (reading.word or in_mask_folder(name)) or (reading.part and first not in stems):
                continue
            images = at_place.get((_plain_folder(_parent(name)), folded(reading.base)), ())
            image = next((one for one in images if one != number and sizes[one] == sizes[number]), None)
            if image is not None:
                found[number] = image
                break
        else:
            image = in_images.get((_plain_folder(_parent(name)), sizes[number]))
            if image is not None and in_mask_folder(name):
                found[number] = image
    return found


def has_mask_suffix(name: str) -> bool:
    """Whether a file is named as a mask is, such as ``a_mask.png``."""
    return any(reading.word for reading in _readings_of_mask(name))


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
        alike, best = max(((_alike(base, one), other) for _, one, other in near), default=(0.0, ""))
        return best if alike >= _ALIKE else ""


def _shortest(name: str) -> str:
    return folded(_BEFORE_NAME.sub("", _readings_of_mask(name)[-1].base, count=1))


def _around(ordered: Sequence[tuple[str, str, str]], text: str) -> Sequence[tuple[str, str, str]]:
    index = bisect_left(ordered, (text, "", ""))
    return ordered[max(index - 2, 0) : index + 3]


def _alike(one: str, other: str) -> float:
    """Tell how much of the longer name stands at both ends of the other."""
    start = _in_common(one, other)
    end = _in_common(one[start:][::-1], other[start:][::-1])
    return (start + end) / max(len(one), len(other), 1)


def _in_common(one: str, other: str) -> int:
    """Count the letters with which both begin."""
    length = min(len(one), len(other))
    return next((count for count in range(length) if one[count] != other[count]), length)


def _targets_of(images: Sequence[ImageName]) -> Iterator[tuple[Target, list[_Reading]]]:
    """List all targets with the names that a mask of theirs may have."""
    channels: dict[tuple[str, str], set[str]] = defaultdict(set)
    for image in images:
        found = _CHANNEL.fullmatch(file_stem(image.name))
        if found:
            channels[_parent(image.name), found["base"]].add(found["channel"])
    for number, image in enumerate(images):
        readings = _readings_of_image(image, channels)
        yield Target(number), readings
        for plane, suffix in enumerate(image.suffixes):
            yield (
                Target(number, plane),
                [reading._replace(base=reading.base + suffix) for reading in readings if reading.rank < 2],
            )


def _readings_of_image(image: ImageName, channels: Mapping[tuple[str, str], set[str]]) -> list[_Reading]:
    """List the names without suffix that a mask of an image file may have."""
    stem, file = file_stem(image.name), _file(image.name)
    bases = dict.fromkeys((stem, file, image.title or stem))
    readings = [_Reading(base, 0) for base in bases]
    found = _CHANNEL.fullmatch(stem)  # nnU-Net's images end in the number of their channel, its masks do not
    if found and (
        found["channel"] == "0000" or "0000" in channels.get((_parent(image.name), found["base"]), ())
    ):
        readings.append(_Reading(found["base"], 2))
    return readings


def _readings_of_mask(name: str) -> list[_Reading]:
    """List what a mask file's name may mean: with all of it, and without a suffix for masks."""
    stem = file_stem(name)
    readings = [_Reading(stem, 0)]
    for separator in _SEPARATOR.finditer(stem):
        found = _MASK_SUFFIX.fullmatch(stem, separator.start())
        if found and separator.start():
            base, word = stem[: separator.start()], found["word"] + (found["number"] or "")
            readings.append(_Reading(base, 1, word, part=found["number"] is not None))
    return readings


def _exact_ones(edges: Sequence[_Edge]) -> list[_Edge]:
    return [edge for edge in edges if edge.exact] or list(edges)


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _file(name: str) -> str:
    return name.rpartition("/")[2]


def _home(folders: str) -> str:
    """Return the last folder without the words for masks and images; where it is one, the folder above."""
    return _plain_folder(_file(folders)) or _plain_folder(folders)


@lru_cache(maxsize=10_000)
def _plain_folder(folder: str) -> str:
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
    return any(_is_mask_folder(part) for part in _parent(name).split("/"))


@lru_cache(maxsize=10_000)
def _is_mask_folder(part: str) -> bool:
    return any(_MASK_FOLDER_WORDS.fullmatch(word) for word in (part, *re.split(r"[-_ .]", part)))


def _could_be(others: str, count: int, own: str, what: str) -> str:
    if count > 1:
        return f"several {what}s have this name: {others}. Give masks the folders and names of the images"
    return f"several files have this name: {own}. Give masks the folders and names of the images"


def _listed(names: Iterable[str], count: int) -> str:
    """Write the first names, and how many more there are."""
    first = [f"“{name}”" for name, _ in zip(names, range(_NAMED), strict=False)]
    more = f" and {count - len(first)} more" if count > len(first) else ""
    return ", ".join(first) + more
