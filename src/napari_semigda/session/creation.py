"""How a session starts and grows: items of image files or of images in memory, and the first manifest."""

import os
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings, Pixels, in_picture_order
from napari_semigda.io.atomic import cannot_read
from napari_semigda.io.pictures import MANIFEST_NAME, Picture, read_plane, write_picture
from napari_semigda.model.presets import PRESETS
from napari_semigda.pace import Cancel, Progress, tracked
from napari_semigda.session.classes import named_classes
from napari_semigda.session.finding import (
    Images,
    LeftOut,
    NamedPlane,
    find_files,
    item_files,
    paths_of,
    plane_suffixes,
    read_headers,
    without_masks,
)
from napari_semigda.session.items import (
    Item,
    file_stem,
    for_people,
    looks,
    numbered,
    plane_of,
    real_place,
    stored_path,
    unique_ids,
)
from napari_semigda.session.journal import now
from napari_semigda.session.layout import IMAGES, JOURNAL, OWN_FOLDERS, make_folder
from napari_semigda.session.manifest import Manifest, write_manifest

Arrays = Mapping[str, Picture | Pixels | tuple[Pixels, tuple[float, float], str]]
"""Images in memory, by their names: a `Picture`, its three parts, or an array without a pixel size."""

_NUMBER = re.compile(r" \(\d+\)$")

_TILES_FROM = 4  # images whose long side is more working sizes than this are processed in tiles


class Choices(NamedTuple):
    """What the annotator chose for a new session; see `Session.create`."""

    classes: Sequence[str]
    preset: str
    settings: ImageSettings | None
    one_object: bool
    weights: Path | str | None


class NewItems(NamedTuple):
    """Items that a session did not have, files that could not be read and why, and what else was skipped."""

    items: tuple[Item, ...]
    left_out: list[LeftOut]
    notices: list[str]


def create(
    folder: Path,
    images: Images | Arrays,
    choices: Choices,
    *,
    masks: Path | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> tuple[Manifest, NewItems]:
    """Write a new session; see `Session.create` and `Session.from_arrays`."""
    _refuse_occupied(folder)
    with new_items(folder, images, masks=masks, progress=progress, cancelled=cancelled) as new:
        settings = choose_settings(choices.preset, new.items)
        manifest = Manifest(
            classes=named_classes(choices.classes),
            preset=choices.preset,
            settings=choices.settings or settings,
            framing_by_objects=choices.settings is None,
            items=new.items,
            one_object=choices.one_object,
            weights=None if choices.weights is None else Path(os.path.abspath(choices.weights)),
            created=now(),
        )
        _refuse_occupied(folder)  # somebody may have created a session there while the headers were read
        for name in OWN_FOLDERS:
            make_folder(folder / name)
        write_manifest(folder, manifest)
        return manifest, new


@contextmanager
def new_items(
    folder: Path,
    images: Images | Arrays,
    known: Sequence[Item] = (),
    *,
    masks: Path | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Iterator[NewItems]:
    """Make items of images that a session with `known` items does not have yet.

    Images in memory are written into its folder; these files are removed again if an exception is raised
    inside. Raises a `SemiGDAError` when no image is new, or one in memory cannot be written.
    """
    if not isinstance(images, Mapping):
        yield _items_of_files(folder, images, known, masks, progress, cancelled)
        return
    pictures = _new_pictures(folder, images, known)
    written: list[Path] = []
    make_folder(folder / IMAGES)
    try:
        for item_id, (_, picture) in tracked(pictures.items(), progress, cancelled):
            file = folder / IMAGES / f"{item_id}.ome.tif"
            write_picture(file, picture, new=True)
            written.append(file)  # only now is it ours to remove again
        planes, _ = read_headers([*zip(written, (name for name, _ in pictures.values()), strict=True)])
        items = make_items(planes, folder)
        yield NewItems(
            tuple(replace(item, id=item_id) for item_id, item in zip(pictures, items, strict=True)), [], []
        )
    except BaseException:
        for file in written:
            file.unlink(missing_ok=True)
        raise


def _items_of_files(
    folder: Path,
    images: Images,
    known: Sequence[Item],
    masks: Path | None,
    progress: Progress | None,
    cancelled: Cancel | None,
) -> NewItems:
    files = find_files(images, folder, known, masks=masks, cancelled=cancelled)
    planes, left_out = read_headers(files.named, progress, cancelled)
    planes, of_masks = without_masks(planes, images, masks, item_files(known, folder))
    there = {(real_place(folder / item.path), item.series, item.index) for item in known}
    new = [
        one for one in planes if (real_place(one.plane.path), one.plane.series, one.plane.index) not in there
    ]
    notices = [*files.links(), *of_masks]
    if not new:
        given = paths_of(images)
        where = f"“{given[0]}”" if len(given) == 1 else f"the {len(given)} files and folders given"
        reasons = [*files.skipped(everything=not planes), *(reason for _, reason in left_out[:3]), *notices]
        what = "No new image" if known else "No readable image"
        raise SemiGDAError(" ".join([f"{what} was found in {where}.", *reasons]))
    items = make_items(new, folder, [item.id for item in known])
    return NewItems(items, [*files.left_out(), *left_out], notices)


def _new_pictures(folder: Path, arrays: Arrays, known: Sequence[Item]) -> dict[str, tuple[str, Picture]]:
    """Return the names and images that are new, by ids that no file has."""
    by_name = defaultdict(list)
    for item in known:
        by_name[_NUMBER.sub("", item.name)].append(item)
    new = [
        (name, picture)
        for name, picture in ((name, _picture(given)) for name, given in arrays.items())
        if not any(_shows(item, folder, picture.pixels) for item in by_name[name])
    ]
    if not new and known:
        raise SemiGDAError("The session already has these images.")
    if not new:
        raise SemiGDAError("There is no image to create a session from. Open one first.")
    names = numbered((name for name, _ in new), (looks(item.name) for item in known))
    there = [file_stem(file) for file in (folder / IMAGES).glob("*")] if known else []
    ids = unique_ids(names, [*(item.id for item in known), *there])
    return {id: (name, picture) for id, name, (_, picture) in zip(ids, names, new, strict=True)}


def _picture(given: Picture | Pixels | tuple[Pixels, tuple[float, float], str]) -> Picture:
    if not isinstance(given, Picture):
        given = Picture(*given) if isinstance(given, tuple) else Picture(given)
    return replace(given, pixels=in_picture_order(given.pixels))


def _shows(item: Item, folder: Path, pixels: Pixels) -> bool:
    """Whether the image of an item has these pixels."""
    try:
        return item.shape == pixels.shape[:2] and np.array_equal(
            read_plane(plane_of(item, folder / item.path)).pixels, np.asarray(pixels)
        )
    except SemiGDAError:
        return False


def make_items(planes: Sequence[NamedPlane], folder: Path, others: Sequence[str] = ()) -> tuple[Item, ...]:
    """Make one item of each plane, with ids that differ from the others."""
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
    """Choose how images are processed: whole, or in tiles where most are large.

    `working_size` is the side of the network's input in pixels; None takes that of the preset.
    """
    if preset not in PRESETS:
        raise SemiGDAError(f"There is no preset “{preset}”; choose one of: {', '.join(PRESETS)}.")
    working_size = working_size or PRESETS[preset].default_working_size
    long_side = statistics.median(max(item.shape) for item in items)
    return ImageSettings(
        working_size=working_size, framing="tiles" if long_side > _TILES_FROM * working_size else "whole"
    )


def _refuse_occupied(folder: Path) -> None:
    if (folder / MANIFEST_NAME).exists():
        raise SemiGDAError(f"“{folder}” is already a session. Open it, or choose another folder.")
    for name in (*OWN_FOLDERS, JOURNAL):
        path = folder / name
        try:
            occupied = path.is_symlink() or path.is_file() or (path.is_dir() and any(path.iterdir()))
        except OSError as error:
            raise cannot_read(path, error) from error
        if occupied:
            raise SemiGDAError(
                f"“{folder}” cannot become a session: “{name}” already exists there. Choose another folder."
            )
