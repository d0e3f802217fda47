"""How a session starts: which planes it will label, what they are called, how they will be seen."""

import os
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.inference.preparation import ImageSettings, Pixels, in_picture_order
from napari_semigda.io.atomic import cannot_read
from napari_semigda.io.omezarr import is_zarr
from napari_semigda.io.pictures import (
    MANIFEST_NAME,
    FileContent,
    Listing,
    Picture,
    Plane,
    list_file,
    list_folder,
    write_picture,
)
from napari_semigda.model.presets import PRESETS
from napari_semigda.session.classes import named_classes
from napari_semigda.session.items import (
    Item,
    file_identity,
    file_stem,
    for_people,
    image_name,
    looks,
    numbered,
    read_picture,
    real_place,
    stored_path,
    tell_apart,
    unique_ids,
)
from napari_semigda.session.journal import now
from napari_semigda.session.layout import IMAGES, JOURNAL, OWN_FOLDERS, make_folder
from napari_semigda.session.manifest import Manifest, write_manifest
from napari_semigda.session.matching import has_mask_suffix, masks_beside

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

LeftOut = tuple[Path, str]
"""A file that did not become an item, and why."""

Arrays = Mapping[str, Picture | Pixels | tuple[Pixels, tuple[float, float], str]]
"""Images in memory, by their names: a `Picture`, its three parts, or an array without a pixel size."""

_TOLD = 3
"""So many files are named in one sentence."""

_NUMBER = re.compile(r" \(\d+\)$")

_TILES_FROM = 4
"""Pictures whose long side is more working sizes than this are seen tile by tile."""


class NamedPlane(NamedTuple):
    """A plane, and what people call its file."""

    plane: Plane
    name: str


class Choices(NamedTuple):
    """What the annotator chose for a new session; see `Session.create`."""

    classes: Sequence[str]
    preset: str
    settings: ImageSettings | None
    one_object: bool
    weights: Path | str | None


def begin_with_files(
    folder: Path,
    images: Path | str | Sequence[Path | str],
    choices: Choices,
    masks: Path | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[Manifest, list[LeftOut], list[str]]:
    """Write a new session of picture files; see `Session.create`.

    Returns
    -------
    manifest, left_out, notices
        What was written, the files that could not be read, and what else became no image.
    """
    _refuse_occupied(folder)
    files = find_files(images, folder, masks=masks, cancelled=cancelled)
    planes, left_out = read_headers(files.named, progress, cancelled)
    planes, of_masks = _without_masks(planes, masks, _folders(images))
    if not planes:
        reasons = " ".join(
            [*files.skipped(everything=True), *(reason for _, reason in left_out[:3]), *of_masks]
        )
        raise SemiGDAError(f"No image was found that can be read in {_told(images)}. {reasons}".strip())
    left_out = [*files.left_out(), *left_out]
    return _begin(folder, make_items(planes, folder), choices), left_out, [*files.twice(), *of_masks]


def begin_with_arrays(
    folder: Path,
    arrays: Arrays,
    choices: Choices,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Manifest:
    """Write a new session of pictures in memory, and the pictures; see `Session.from_arrays`."""
    _refuse_occupied(folder)
    if not arrays:
        raise SemiGDAError("There is no image to make a session of; open one first.")
    ids = unique_ids(arrays)
    named = [(name, _in_order(array)) for name, array in arrays.items()]
    with _written(folder, dict(zip(ids, named, strict=True)), progress, cancelled) as items:
        return _begin(folder, items, choices)


@contextmanager
def with_more_arrays(
    manifest: Manifest,
    folder: Path,
    arrays: Arrays,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[tuple[Item, ...]]:
    """Write pictures in memory that a session does not have yet; see `Session.add_arrays`.

    Yields
    ------
    tuple of Item
        The new ones. If an exception is raised inside, their files are removed again.
    """
    known = defaultdict(list)
    for item in manifest.items:
        known[_NUMBER.sub("", item.name)].append(item)
    new = [
        (name, array)
        for name, array in ((name, _in_order(array)) for name, array in arrays.items())
        if not any(_shows(item, folder, array.pixels) for item in known[name])
    ]
    if not new:
        raise SemiGDAError("The session has these images already.")
    names = numbered((name for name, _ in new), (looks(item.name) for item in manifest.items))
    new = [(name, array) for name, (_, array) in zip(names, new, strict=True)]
    there = [file_stem(file) for file in (folder / IMAGES).glob("*")]
    ids = unique_ids((name for name, _ in new), [*(item.id for item in manifest.items), *there])
    with _written(folder, dict(zip(ids, new, strict=True)), progress, cancelled) as items:
        yield items


@contextmanager
def _written(
    folder: Path,
    pictures: Mapping[str, tuple[str, Picture]],
    progress: Progress | None,
    cancelled: Callable[[], bool] | None,
) -> Iterator[tuple[Item, ...]]:
    """Write named pictures under their ids, which no file may have, and give their items these ids."""
    files: dict[str, Path] = {}
    make_folder(folder / IMAGES)
    try:
        for done, (item_id, (_, picture)) in enumerate(pictures.items(), start=1):
            if cancelled is not None and cancelled():
                raise Cancelled
            file = _array_file(folder, item_id)
            write_picture(file, picture, new=True)
            files[item_id] = file  # only now is it ours to remove again
            if progress is not None:
                progress(done, len(pictures))
        planes, _ = read_headers([(files[item_id], name) for item_id, (name, _) in pictures.items()])
        items = make_items(planes, folder)
        yield tuple(replace(item, id=item_id) for item_id, item in zip(pictures, items, strict=True))
    except BaseException:
        for file in files.values():
            file.unlink(missing_ok=True)
        raise


def _in_order(given: Picture | Pixels | tuple[Pixels, tuple[float, float], str]) -> Picture:
    if not isinstance(given, Picture):
        given = Picture(*given) if isinstance(given, tuple) else Picture(given)
    return replace(given, pixels=in_picture_order(given.pixels))


def _array_file(folder: Path, item_id: str) -> Path:
    return folder / IMAGES / f"{item_id}.ome.tif"


def _shows(item: Item, folder: Path, pixels: Pixels) -> bool:
    """Whether the picture of an item has these pixels."""
    try:
        return item.shape == pixels.shape[:2] and np.array_equal(
            read_picture(item, folder / item.path).pixels, np.asarray(pixels)
        )
    except SemiGDAError:
        return False


def _begin(folder: Path, items: tuple[Item, ...], choices: Choices) -> Manifest:
    chosen = choose_settings(choices.preset, items)
    manifest = Manifest(
        classes=named_classes(choices.classes),
        preset=choices.preset,
        settings=choices.settings or chosen,
        framing_by_objects=choices.settings is None,
        items=items,
        one_object=choices.one_object,
        weights=None if choices.weights is None else Path(os.path.abspath(choices.weights)),
        created=now(),
    )
    _refuse_occupied(folder)  # somebody may have made a session there while the headers were read
    for name in OWN_FOLDERS:
        make_folder(folder / name)
    write_manifest(folder, manifest)
    return manifest


@dataclass(frozen=True)
class Files:
    """The picture files that were found, and what was not taken.

    Parameters
    ----------
    named
        Each file once, with its name for people.
    repeated
        Files that are another name of one of these (links), with that one.
    listings
        What the folders hold that were searched.
    """

    named: list[tuple[Path, str]]
    repeated: list[tuple[Path, Path]]
    listings: list[tuple[Path, Listing]]

    def skipped(self, *, everything: bool = False) -> list[str]:
        """Tell of files of kinds that are not read and of linked folders, with their numbers."""
        return [one for _, listing in self.listings for one in listing.skipped(everything=everything)]

    def left_out(self) -> list[LeftOut]:
        """Tell the same, each with the folder."""
        return [(folder, one) for folder, listing in self.listings for one in listing.skipped()]

    def twice(self) -> list[str]:
        """Tell of files that were found under two names."""
        if not self.repeated:
            return []
        again, first = self.repeated[0]
        more = f", and {len(self.repeated) - 1} more" if len(self.repeated) > 1 else ""
        return [
            f"{len(self.repeated)} {'files are links' if more else 'file is a link'} to an image taken "
            f"already: “{again}” is “{first}”{more}. Each file becomes an image once."
        ]


def find_files(
    images: Path | str | Sequence[Path | str],
    folder: Path,
    known: Iterable[Item] = (),
    *,
    masks: Path | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Files:
    """List the picture files meant by `images`, each once, with names for people that tell them apart.

    A name is the path below the folder that was given. Where files of several folders have one name, the
    folders' own names come before it, as many as needed.

    Parameters
    ----------
    images
        A folder (searched with its sub-folders), a file (or the folder of an OME-Zarr), or several of these.
    folder
        The session's own folder: its files are left out, unless `images` lie in it.
    known
        Items that there are already: names are told apart from theirs, and their files keep their names.
    masks
        A folder of masks, which is not told of where it is linked.
    cancelled
        Asked again and again.

    Raises
    ------
    SemiGDAError
        When a folder cannot be read.
    Cancelled
        When the person cancelled.
    """
    given = [images] if isinstance(images, Path | str) else list(images)
    found: dict[Path, str] = {}
    listings = []
    for one in (Path(path) for path in given):
        if is_zarr(one) or not os.path.isdir(one):  # Path.is_dir raises for names that are too long
            found.setdefault(real_place(one), for_people(one.name))
            continue
        inside = real_place(one).is_relative_to(folder)
        listing = list_folder(one, cancelled)
        listings.append((one, listing))
        for file in listing.pictures:
            if cancelled is not None and cancelled():
                raise Cancelled
            place = real_place(file)
            if inside or not place.is_relative_to(folder):
                found.setdefault(place, for_people(file.relative_to(one).as_posix()))
    files = _Once(item_files(known, folder))
    named = [(place, name) for place, name in found.items() if files.is_new(place)]
    return Files(
        _told_apart(named, folder, known),
        files.repeated,
        _without_given(listings, [*given, *([] if masks is None else [masks])]),
    )


class _Once:
    """Tells which files are another name of a file that was seen before, by links of any kind."""

    def __init__(self, known: Mapping[Path, Item]) -> None:
        self.repeated: list[tuple[Path, Path]] = []
        self._known = known
        self._seen: dict[tuple[int, int], Path] = {}
        for path in known:
            if (identity := file_identity(path)) is not None:
                self._seen.setdefault(identity, path)

    def is_new(self, path: Path) -> bool:
        """Whether no other name of this file was seen; one that is known by this very name counts as new."""
        identity = file_identity(path)
        if identity is None or path in self._known:
            return True
        first = self._seen.setdefault(identity, path)
        if first != path:
            self.repeated.append((path, first))
        return first == path


def item_files(items: Iterable[Item], folder: Path) -> dict[Path, Item]:
    """Return the image files of a session's items, with one item of each."""
    files: dict[str, Item] = {}
    for item in items:
        files.setdefault(item.path, item)
    return {real_place(folder / path): item for path, item in files.items()}


def _without_given(
    listings: list[tuple[Path, Listing]], given: Sequence[Path | str]
) -> list[tuple[Path, Listing]]:
    """Do not tell of linked folders that were named themselves."""
    named = {os.path.abspath(path) for path in given}
    return [
        (
            folder,
            replace(listing, links=[link for link in listing.links if os.path.abspath(link) not in named]),
        )
        for folder, listing in listings
    ]


def _told_apart(
    named: Sequence[tuple[Path, str]], folder: Path, known: Iterable[Item]
) -> list[tuple[Path, str]]:
    """Put the names of folders before the names of files from different folders that are alike."""
    own_names = {place: image_name(item) for place, item in item_files(known, folder).items()}
    taken = {looks(name) for name in own_names.values()}
    new = [(place, name) for place, name in named if place not in own_names]
    places = [place for place, _ in new]
    names = dict(zip(places, tell_apart([name for _, name in new], places, taken), strict=True))
    return [(place, own_names.get(place) or names[place]) for place, _ in named]


def read_headers(
    files: Sequence[tuple[Path, str]],
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[list[NamedPlane], list[LeftOut]]:
    """List the planes of all files; files that cannot be read are reported, and the others go on.

    Raises
    ------
    Cancelled
        When the person cancelled.
    """
    planes: list[NamedPlane] = []
    left_out: list[LeftOut] = []
    read: list[tuple[Path, FileContent]] = []
    for done, (file, name) in enumerate(files, start=1):
        if cancelled is not None and cancelled():
            raise Cancelled
        try:
            listing = list_file(file)
        except SemiGDAError as error:
            left_out.append((file, str(error)))
        else:
            planes += [NamedPlane(plane, name) for plane in listing.planes]
            read.append((file, listing))
        if progress is not None:
            progress(done, len(files))
    return planes, left_out + list(_missing_of_sets(read))


def _missing_of_sets(read: Sequence[tuple[Path, FileContent]]) -> Iterator[LeftOut]:
    """Name the files that others name as part of their set and that are not there, under any name."""
    there = {listing.identifier for _, listing in read}
    told: set[tuple[Path, str]] = set()
    for file, listing in read:
        for identifier, name in listing.missing:
            place = file.parent, name
            if identifier not in there and place not in told:
                told.add(place)
                yield (
                    file.with_name(Path(name).name or file.name),
                    f"“{name[:100]}”, which “{file}” names as part of its set (OME-TIFF), is not "
                    "there, so its images "
                    "are left out. Bring it back, then add the folder again.",
                )


def with_more_files(
    manifest: Manifest,
    folder: Path,
    images: Path | str | Sequence[Path | str],
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[tuple[Item, ...], list[LeftOut], list[str]]:
    """Make items of picture files that a session does not have yet; see `Session.add_images`.

    Returns
    -------
    items, left_out, notices
        The new ones, the files that could not be read, and what else became no image.
    """
    files = find_files(images, folder, manifest.items, cancelled=cancelled)
    planes, left_out = read_headers(files.named, progress, cancelled)
    planes, of_masks = _without_masks(planes, None, (), item_files(manifest.items, folder))
    known = {(real_place(folder / item.path), item.series, item.index) for item in manifest.items}
    new = [
        named
        for named in planes
        if (real_place(named.plane.path), named.plane.series, named.plane.index) not in known
    ]
    notices = [*files.twice(), *of_masks]
    if not new:
        reasons = " ".join(
            [*files.skipped(everything=not planes), *(reason for _, reason in left_out[:3]), *notices]
        )
        raise SemiGDAError(
            f"No image was found in {_told(images)} that the session does not have yet. {reasons}".strip()
        )
    new_items = make_items(new, folder, [item.id for item in manifest.items])
    return new_items, [*files.left_out(), *left_out], notices


def _without_masks(
    planes: Sequence[NamedPlane],
    folder: Path | None,
    folders_of_images: Sequence[Path],
    known: Collection[Path] = (),
) -> tuple[list[NamedPlane], list[str]]:
    """Leave out files that are masks of others, and tell which.

    What is named as the mask of an image beside it is one if it has the image's size. In a folder of masks
    everything is one; where that is a folder of images, too, what is named as a mask.

    Parameters
    ----------
    folder
        Holds masks that are imported afterwards, if it is known.
    folders_of_images
        Where images were looked for.
    known
        Files that are images to label already.
    """
    files: dict[str, NamedPlane] = {}
    for named in planes:
        files.setdefault(named.name, named)
    names = list(files)
    paths = [files[name].plane.path for name in names]
    shapes = [files[name].plane.shape for name in names]
    beside = masks_beside(names, shapes)
    masks = set(beside)
    if folder is not None:
        folder = folder.resolve()
        within = {number for number, path in enumerate(paths) if path.is_relative_to(folder)}
        if any(folder != top and folder.is_relative_to(top) for top in folders_of_images):
            masks |= within
        else:
            masks |= {number for number in within if number in beside or has_mask_suffix(names[number])}
    left_out = [names[number] for number in sorted(masks) if paths[number] not in known]
    if not left_out or len(masks) == len(names):
        return list(planes), []
    told = ", ".join(f"“{name}”" for name in left_out[:_TOLD])
    more = f" and {len(left_out) - _TOLD} more" if len(left_out) > _TOLD else ""
    notice = (
        f"{len(left_out)} files are masks by their names, not images to label: {told}{more}."
        if len(left_out) > 1
        else f"1 file is a mask by its name, not an image to label: {told}."
    )
    if folder is None:
        notice += " Import masks with “semigda import”; to label them as images, rename them."
    skipped = set(left_out)
    return [named for named in planes if named.name not in skipped], [notice]


def _folders(images: Path | str | Sequence[Path | str]) -> list[Path]:
    given = [images] if isinstance(images, Path | str) else images
    return [path.resolve() for path in map(Path, given) if os.path.isdir(path)]


def make_items(planes: Sequence[NamedPlane], folder: Path, others: Sequence[str] = ()) -> tuple[Item, ...]:
    """Make one item of each plane, with ids that are none of the others."""
    suffixes = plane_suffixes([(str(plane.path), plane.series, plane.index) for plane, _ in planes])
    stems = (file_stem(plane.path) + suffix for (plane, _), suffix in zip(planes, suffixes, strict=True))
    ids = unique_ids(stems, others)
    return tuple(
        Item(
            id=item_id,
            name=for_people(f"{name} · {plane.name}" if plane.name else name),
            path=stored_path(plane.path, folder),
            shape=plane.shape,
            series=plane.series,
            index=plane.index,
            pixel_size=plane.pixel_size,
            unit=plane.unit,
        )
        for item_id, (plane, name) in zip(ids, planes, strict=True)
    )


def choose_settings(preset: str, items: Iterable[Item], working_size: int | None = None) -> ImageSettings:
    """Choose how pictures are seen: whole, or tile by tile where most are large.

    Parameters
    ----------
    preset
        A key of `napari_semigda.model.presets.PRESETS`.
    items
        Those of the session; at least one.
    working_size
        Side of what the network sees, in pixels; None takes the preset's.

    Raises
    ------
    SemiGDAError
        When there is no such preset.
    """
    if preset not in PRESETS:
        raise SemiGDAError(f"There is no preset “{preset}”; choose one of: {', '.join(PRESETS)}.")
    working_size = working_size or PRESETS[preset].default_working_size
    long_side = statistics.median(max(item.shape) for item in items)
    return ImageSettings(
        working_size=working_size, framing="tiles" if long_side > _TILES_FROM * working_size else "whole"
    )


def plane_suffixes(planes: Sequence[tuple[str, int, int]]) -> list[str]:
    """Say what tells planes of one file apart in file names, such as ``_p0003`` or ``_s2_p0003``.

    Parameters
    ----------
    planes
        (file, series, index) of each plane; those that are alone in their file get no suffix.
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


def _refuse_occupied(folder: Path) -> None:
    if (folder / MANIFEST_NAME).exists():
        raise SemiGDAError(f"“{folder}” is a session already. Open it, or choose another folder.")
    for name in (*OWN_FOLDERS, JOURNAL):
        if _is_in_the_way(folder / name):
            raise SemiGDAError(
                f"“{folder}” cannot become a session: “{name}” is there already. Choose another folder."
            )


def _is_in_the_way(place: Path) -> bool:
    try:
        return place.is_symlink() or place.is_file() or (place.is_dir() and any(place.iterdir()))
    except OSError as error:
        raise cannot_read(place, error) from error


def _told(images: Path | str | Sequence[Path | str]) -> str:
    given = [images] if isinstance(images, Path | str) else images
    return f"“{given[0]}”" if len(given) == 1 else f"the {len(given)} files and folders given"
