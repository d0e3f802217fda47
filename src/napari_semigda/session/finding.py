"""Which image files are meant, what people call them, and which planes they hold."""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.omezarr import is_zarr
from napari_semigda.io.pictures import FileContent, Listing, Plane, list_file, list_folder
from napari_semigda.pace import Cancel, Progress, check, counted, tracked
from napari_semigda.session.items import (
    Item,
    file_identity,
    for_people,
    image_name,
    looks,
    real_place,
    tell_apart,
)
from napari_semigda.session.mask_names import has_mask_suffix, listed, masks_beside

Images = Path | str | Sequence[Path | str]
"""A folder (searched with its subfolders), a file (or the folder of an OME-Zarr), or several of these."""

LeftOut = tuple[Path, str]
"""A file that did not become an item, and why."""


class NamedPlane(NamedTuple):
    """A plane, and what people call its file."""

    plane: Plane
    name: str


@dataclass(frozen=True)
class Files:
    """Image files, each once with its name for people; other names (links) of them; listings of folders."""

    named: list[tuple[Path, str]]
    repeated: list[tuple[Path, Path]]
    listings: list[tuple[Path, Listing]]

    def skipped(self, *, everything: bool = False) -> list[str]:
        """Describe files of kinds that are not read and linked folders, with their numbers."""
        return [one for _, listing in self.listings for one in listing.skipped(everything=everything)]

    def left_out(self) -> list[LeftOut]:
        """Describe the same, each with the folder."""
        return [(folder, one) for folder, listing in self.listings for one in listing.skipped()]

    def links(self) -> list[str]:
        """Describe files that were found under two names."""
        if not self.repeated:
            return []
        (link, file), count = self.repeated[0], len(self.repeated)
        skipped = _skipped(count, "it is a link", "they are links")
        more = f", and {count - 1} more" if count > 1 else ""
        return [f"{skipped} to an image that is already included: “{link}” is “{file}”{more}."]


def paths_of(images: Images) -> list[Path]:
    """Return the files and folders that are meant, as a list."""
    return [Path(images)] if isinstance(images, Path | str) else [Path(one) for one in images]


def find_files(
    images: Images,
    folder: Path,
    known: Iterable[Item] = (),
    *,
    masks: Path | None = None,
    cancelled: Cancel | None = None,
) -> Files:
    """List the image files meant by `images`, each once, with names for people that tell them apart.

    A name is the path below the folder that was given. Where files of several folders have the same name, the
    names of the folders above come before it, as many as needed; the files of `known` items keep their names.

    Files in the session's own `folder` are left out, unless `images` lie in it; a link to the folder of
    `masks` is not reported. Raises a `SemiGDAError` when a folder cannot be read.
    """
    given = paths_of(images)
    named_by_person = {os.path.abspath(path) for path in (*given, *([] if masks is None else [masks]))}
    found: dict[Path, str] = {}
    listings = []
    for one in given:
        if is_zarr(one) or not os.path.isdir(one):  # Path.is_dir raises for names that are too long
            found.setdefault(real_place(one), for_people(one.name))
            continue
        inside = real_place(one).is_relative_to(folder)
        listing = list_folder(one, cancelled)
        links = [link for link in listing.links if os.path.abspath(link) not in named_by_person]
        listings.append((one, replace(listing, links=links)))
        for file in listing.pictures:
            check(cancelled)
            path = real_place(file)
            if inside or not path.is_relative_to(folder):
                found.setdefault(path, for_people(file.relative_to(one).as_posix()))
    known_files = item_files(known, folder)
    named, repeated = _without_links(found, known_files)
    return Files(_told_apart(named, known_files), repeated, listings)


def _without_links(
    found: Mapping[Path, str], known: Mapping[Path, Item]
) -> tuple[list[tuple[Path, str]], list[tuple[Path, Path]]]:
    """Separate files from other names of the same files; a file that is known by this very name stays."""
    first: dict[tuple[int, int], Path] = {}
    for path in known:
        if (identity := file_identity(path)) is not None:
            first.setdefault(identity, path)
    named, repeated = [], []
    for path, name in found.items():
        identity = file_identity(path)
        same = path if identity is None or path in known else first.setdefault(identity, path)
        if same == path:
            named.append((path, name))
        else:
            repeated.append((path, same))
    return named, repeated


def _told_apart(named: Sequence[tuple[Path, str]], known: Mapping[Path, Item]) -> list[tuple[Path, str]]:
    """Put the names of folders before the names of files from different folders that are alike."""
    own_names = {path: image_name(item) for path, item in known.items()}
    new = [(path, name) for path, name in named if path not in own_names]
    paths = [path for path, _ in new]
    told = tell_apart([name for _, name in new], paths, {looks(name) for name in own_names.values()})
    names = own_names | dict(zip(paths, told, strict=True))
    return [(path, names[path]) for path, _ in named]


def item_files(items: Iterable[Item], folder: Path) -> dict[Path, Item]:
    """Return the image files of a session's items, with one item of each."""
    files: dict[str, Item] = {}
    for item in items:
        files.setdefault(item.path, item)
    return {real_place(folder / path): item for path, item in files.items()}


def read_headers(
    files: Sequence[tuple[Path, str]], progress: Progress | None = None, cancelled: Cancel | None = None
) -> tuple[list[NamedPlane], list[LeftOut]]:
    """List the planes of all files; those that cannot be read are reported, and the others go on."""
    planes: list[NamedPlane] = []
    left_out: list[LeftOut] = []
    read: list[tuple[Path, FileContent]] = []
    for file, name in tracked(files, progress, cancelled):
        try:
            content = list_file(file)
        except SemiGDAError as error:
            left_out.append((file, str(error)))
        else:
            planes += [NamedPlane(plane, name) for plane in content.planes]
            read.append((file, content))
    return planes, [*left_out, *_missing_of_sets(read)]


def _missing_of_sets(read: Sequence[tuple[Path, FileContent]]) -> Iterator[LeftOut]:
    """Report files that others name as part of their set and that are not there, under any name."""
    there = {content.identifier for _, content in read}
    reported: set[tuple[Path, str]] = set()
    for file, content in read:
        for identifier, name in content.missing:
            if identifier not in there and (file.parent, name) not in reported:
                reported.add((file.parent, name))
                yield (
                    file.with_name(Path(name).name or file.name),
                    f"“{name[:100]}”, which “{file}” names as part of its set (OME-TIFF), is missing, so its "
                    "images were skipped. Restore it, then add the folder again.",
                )


def without_masks(
    planes: Sequence[NamedPlane], images: Images, masks: Path | None, known: Collection[Path] = ()
) -> tuple[list[NamedPlane], list[str]]:
    """Leave out files that are masks of others, and say which.

    What is named as the mask of an image beside it is one if it has the image's size. In the folder of
    `masks` everything is one; where that is a folder of `images`, too, what is named as a mask. Known files
    stay images.
    """
    files: dict[str, NamedPlane] = {}
    for named in planes:
        files.setdefault(named.name, named)
    names = list(files)
    paths = [files[name].plane.path for name in names]
    beside = masks_beside(names, [files[name].plane.shape for name in names])
    found = set(beside)
    if masks is not None:
        masks = masks.resolve()
        within = {number for number, path in enumerate(paths) if path.is_relative_to(masks)}
        tops = [path.resolve() for path in paths_of(images) if os.path.isdir(path)]
        if not any(masks != top and masks.is_relative_to(top) for top in tops):
            within = {number for number in within if number in beside or has_mask_suffix(names[number])}
        found |= within
    left_out = [names[number] for number in sorted(found) if paths[number] not in known]
    if not left_out or len(found) == len(names):
        return list(planes), []
    notice = f"{_skipped(len(left_out), 'it is', 'they are')} named like masks: {listed(left_out)}."
    if masks is None:
        notice += " Import masks with “semigda import”; to label these files as images, rename them."
    skipped = set(left_out)
    return [named for named in planes if named.name not in skipped], [notice]


def _skipped(count: int, it_is: str, they_are: str) -> str:
    return counted(count, f"file was skipped because {it_is}", f"files were skipped because {they_are}")


def plane_suffixes(planes: Sequence[tuple[str, int, int]]) -> list[str]:
    """Return what tells planes of one file apart in file names, such as ``_p0003`` or ``_s2_p0003``.

    Planes are given as (file, series, index); the only plane of a file gets no suffix.
    """
    in_file = Counter(file for file, _, _ in planes)
    series_of = defaultdict(set)
    for file, series, _ in planes:
        series_of[file].add(series)
    return [
        ""
        if in_file[file] == 1
        else (f"_s{series + 1}" if len(series_of[file]) > 1 else "") + f"_p{index + 1:04d}"
        for file, series, index in planes
    ]
