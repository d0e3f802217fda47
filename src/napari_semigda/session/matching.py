"""Which mask file belongs to which image, decided by names alone: what is ambiguous is never guessed.

The path below the folder decides; the bare name counts only where one image and one mask file have it.
Names are compared regardless of case and of the form of accents; exact spelling wins.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from napari_semigda.session.items import file_stem, folded
from napari_semigda.session.mask_names import (
    CHANNEL,
    ImageName,
    Reading,
    file_of,
    home_of,
    in_mask_folder,
    listed,
    parent_of,
    plain_folder,
    readings_of_image,
    readings_of_mask,
)


class Target(NamedTuple):
    """What one mask file is the mask of: an image file, or one plane of it, counted from 0."""

    image: int
    plane: int | None = None


@dataclass
class Matching:
    """How image and mask files match; both are given by their index in the arguments of `match`.

    `taken` has the mask file of each target; `how` says for each mask file that was taken how it was
    recognized; `why_no_mask` is for image files with candidates none of which is taken; `why_not_used` for
    the other mask files.
    """

    taken: dict[Target, int] = field(default_factory=dict)
    how: dict[int, str] = field(default_factory=dict)
    why_no_mask: dict[int, str] = field(default_factory=dict)
    why_not_used: dict[int, str] = field(default_factory=dict)


class _Edge(NamedTuple):
    """A mask file that may be the mask of a target."""

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
    """Find the mask file of each image, in a time that grows with the number of files, not with its square.

    A mask file is given by its path below the folder of masks, or several where links lead to it; `root` is
    the name of that folder after the one above it, such as ``scan/masks``. Where there are several classes, a
    folder with the name of one holds masks of this class only.
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
        self._readings = [[(name, readings_of_mask(name)) for name in names] for names in masks]
        self._edges_of_mask: dict[int, list[_Edge]] = defaultdict(list)
        self._edges_of_target: dict[Target, list[_Edge]] = defaultdict(list)
        self._found = Matching()

    def match(self) -> Matching:
        self._join_by_path(lambda name, _is_mask: folded(parent_of(name)))
        self._join_by_path(self._plain_parent)
        self._join_by_name()
        self._report_parts()
        self._prefer_exact()
        self._resolve()
        return self._found

    def _join_by_path(self, folder_of: Callable[[str, bool], str | None]) -> None:
        """Join what has the same folder and the same name."""
        by_path: dict[tuple[str | None, str], list[tuple[Target, Reading]]] = defaultdict(list)
        for target, readings in self._targets:
            folder = folder_of(self._images[target.image].name, False)
            if folder is not None and target not in self._edges_of_target:
                for reading in readings:
                    by_path[folder, folded(reading.base)].append((target, reading))
        joined = []
        for number, names in enumerate(self._readings):
            if number in self._edges_of_mask:
                continue
            for name, readings in names:
                folder = folder_of(name, True)
                for reading in readings:
                    for target, of_image in by_path.get((folder, folded(reading.base)), ()):
                        joined.append(self._edge(target, of_image, number, name, reading, "path"))
        self._add(joined)

    def _plain_parent(self, name: str, is_mask: bool) -> str | None:
        """Return a file's folder without the words for masks and images; None where that leaves nothing."""
        if is_mask and not in_mask_folder(f"{file_of(self._root)}/{name}"):
            return None
        return plain_folder(parent_of(name)) or None

    def _join_by_name(self) -> None:
        """Join what has a name that one image and one mask file have, wherever they are."""
        of_images: dict[str, dict[int, list[tuple[Target, Reading]]]] = defaultdict(dict)
        for target, readings in self._targets:
            for reading in readings:
                of_images[folded(reading.base)].setdefault(target.image, []).append((target, reading))
        of_masks: dict[str, dict[int, list[tuple[str, Reading]]]] = defaultdict(dict)
        for number, names in enumerate(self._readings):
            for name, readings in names:
                for reading in readings:
                    of_masks[folded(reading.base)].setdefault(number, []).append((name, reading))
        homes = [plain_folder(parent_of(image.name)) for image in self._images]
        if len({image.folder for image in self._images}) > 1:
            homes = [home or home_of(image.folder) for home, image in zip(homes, self._images, strict=True)]
        folders_of_images = set(homes) - {""}
        folders_of_masks = {plain_folder(parent_of(name)) for names in self._masks for name in names} - {""}
        root = home_of(self._root)
        is_sorted = min(len(folders_of_images), len(folders_of_masks)) > 1
        joined = []
        for base, candidates in of_masks.items():
            named = of_images.get(base)
            if named is None:
                continue
            if len(named) > 1 or len(candidates) > 1:
                self._report_not_unique(named, candidates)
                continue
            ((number, ways),) = candidates.items()
            (targets,) = named.values()
            for target, of_image in targets:
                if number in self._edges_of_mask:
                    continue
                image = self._images[target.image].name
                if target in self._edges_of_target:
                    self._found.why_not_used.setdefault(number, f"“{image}” has another mask by its path")
                    continue
                for name, reading in ways:
                    here, there = plain_folder(parent_of(name)), homes[target.image]
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

    def _report_parts(self) -> None:
        """Report several masks in the folder of a single image, as of one object each."""
        images, masks = defaultdict(list), defaultdict(list)
        for number, one in enumerate(self._images):
            images[plain_folder(parent_of(one.name))].append(number)
        for number, names in enumerate(self._masks):
            if number not in self._edges_of_mask and in_mask_folder(names[0]):
                masks[plain_folder(parent_of(names[0]))].append(number)
        for folder, parts in masks.items():
            if folder and len(images[folder]) == 1 and len(parts) > 1:
                (only,) = images[folder]
                several = self._masks_listed(parts)
                self._found.why_no_mask[only] = (
                    f"its folder has several masks: {several}. Join them in one file"
                )
                image = self._images[only].name
                why = f"it is one of several in the folder of “{image}”; join them in one file"
                self._found.why_not_used.update(dict.fromkeys(parts, why))

    def _report_not_unique(self, named: Collection[int], candidates: Collection[int]) -> None:
        candidates = [number for number in candidates if number not in self._edges_of_mask]
        if not candidates:
            return
        images = listed([self._images[number].name for number in named])
        masks = self._masks_listed(candidates)
        advice = "Give masks the folders and names of the images"
        why_no_mask = f"several files have this name: {images}"
        why_not_used = f"several files have this name: {masks}"
        if len(candidates) > 1:
            why_no_mask = f"several masks have this name: {masks}"
        if len(named) > 1:
            why_not_used = f"several images have this name: {images}"
        for number in candidates:
            self._found.why_not_used.setdefault(number, f"{why_not_used}. {advice}")
        for image in named:
            self._found.why_no_mask.setdefault(image, f"{why_no_mask}. {advice}")

    def _edge(
        self, target: Target, of_image: Reading, number: int, name: str, reading: Reading, by: str
    ) -> _Edge:
        image = self._images[target.image].name
        here, there = parent_of(name), parent_of(image)
        same_file = not reading.word and file_of(name) == file_of(image)
        of_one_class = by == "name" and folded(file_of(here)) in self._class_folders
        exact = reading.base == of_image.base and (here == there or folded(here) != folded(there))
        how = f"by {by}" + (f" and “{reading.word}”" if reading.word else "")
        rank = 0 if same_file else 1 + reading.rank + of_image.rank
        return _Edge(target, number, name, rank, exact, how, reading.part or of_one_class)

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
                likely = _exact_ones(of_name)
                best = min(edge.rank for edge in likely)
                for edge in likely:
                    if edge.rank == best:
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
        """Take each mask file that is the only one of its only target."""
        by_image: dict[int, list[_Edge]] = defaultdict(list)
        for edges in self._edges_of_target.values():
            for edge in edges:
                by_image[edge.target.image].append(edge)
        for image, edges in by_image.items():
            both = len({edge.target.plane is None for edge in edges}) > 1  # a file of all planes and others
            for edge in edges:
                rivals = edges if both else self._edges_of_target[edge.target]
                others = self._edges_of_mask[edge.mask]
                if len(rivals) == 1 and len(others) == 1 and not edge.part:
                    self._found.taken[edge.target] = edge.mask
                    self._found.how[edge.mask] = edge.how
                    self._found.why_not_used.pop(edge.mask, None)
                else:
                    self._report_ambiguous(image, edge, rivals, others)
        for image in {target.image for target in self._found.taken}:
            if all(edge.target in self._found.taken for edge in by_image[image]):
                self._found.why_no_mask.pop(image, None)

    def _report_ambiguous(
        self, image: int, edge: _Edge, rivals: Sequence[_Edge], others: Sequence[_Edge]
    ) -> None:
        names = self._masks[edge.mask]
        if len(rivals) > 1:
            several = self._masks_listed([one.mask for one in rivals])
            why_no_mask = f"several masks match: {several}. Keep one of them"
            why_not_used = f"several masks match “{self._images[image].name}”: {several}"
        elif len(others) > 1:
            several = listed([self._images[one.target.image].name for one in others])
            file = f"{listed(names)} are one file, which" if len(names) > 1 else f"“{names[0]}”"
            why_no_mask = f"{file} matches several images: {several}"
            why_not_used = f"it matches several images: {several}"
        else:
            why = "holds one class or one object only; join the masks of an image in one file"
            why_no_mask, why_not_used = f"“{names[0]}” {why}", f"it {why}"
        self._found.why_no_mask[image], self._found.why_not_used[edge.mask] = why_no_mask, why_not_used

    def _masks_listed(self, numbers: Sequence[int]) -> str:
        return listed([self._masks[number][0] for number in numbers])


def _targets_of(images: Sequence[ImageName]) -> Iterator[tuple[Target, list[Reading]]]:
    """List all targets with the names that a mask of theirs may have."""
    channels: dict[tuple[str, str], set[str]] = defaultdict(set)
    for image in images:
        if found := CHANNEL.fullmatch(file_stem(image.name)):
            channels[parent_of(image.name), found["base"]].add(found["channel"])
    for number, image in enumerate(images):
        readings = readings_of_image(image, channels)
        yield Target(number), readings
        for plane, suffix in enumerate(image.suffixes):
            yield (
                Target(number, plane),
                [reading._replace(base=reading.base + suffix) for reading in readings if reading.rank < 2],
            )


def _exact_ones(edges: Sequence[_Edge]) -> list[_Edge]:
    return [edge for edge in edges if edge.exact] or list(edges)
