"""How a session starts: which planes it will label, what they are called, how they will be seen."""

import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.inference.preparation import ImageSettings, Pixels, in_picture_order
from napari_semigda.io.atomic import cannot_read
from napari_semigda.io.omezarr import is_zarr
from napari_semigda.io.pictures import (
    MANIFEST_NAME,
    Picture,
    Plane,
    find_pictures,
    list_planes,
    write_picture,
)
from napari_semigda.model.backbone import known_encoder
from napari_semigda.model.presets import PRESETS
from napari_semigda.session.classes import named_classes
from napari_semigda.session.items import Item, read_picture, real_place, stored_path, unique_ids
from napari_semigda.session.journal import now
from napari_semigda.session.layout import IMAGES, JOURNAL, OWN_FOLDERS, make_folder
from napari_semigda.session.manifest import Manifest, write_manifest

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

LeftOut = tuple[Path, str]
"""A file that did not become an item, and why."""

Array = tuple[Pixels, tuple[float, float], str]
"""A picture in memory: pixels (H, W) or (H, W, C), pixel size (y, x) and its unit."""

Arrays = Mapping[str, Array | Pixels]
"""Pictures in memory, by their names for people; an array alone has no pixel size."""

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
    encoder: str | None


def begin_with_files(
    folder: Path,
    images: Path | str | Sequence[Path | str],
    choices: Choices,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[Manifest, list[LeftOut]]:
    """Write a new session of picture files; see `Session.create`.

    Returns
    -------
    manifest, left_out
        What was written, and the files that could not be read.
    """
    _refuse_occupied(folder)
    planes, left_out = read_headers(find_files(images, folder), progress, cancelled)
    if not planes:
        reasons = " ".join(reason for _, reason in left_out[:3])
        raise SemiGDAError(f"No image was found that can be read in {_told(images)}. {reasons}".strip())
    return _begin(folder, make_items(planes, folder), choices), left_out


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
    _refuse_existing([_array_file(folder, item_id) for item_id in ids])
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
        known[item.name].append(item)
    new = [
        (name, array)
        for name, array in ((name, _in_order(array)) for name, array in arrays.items())
        if not any(_shows(item, folder, array[0]) for item in known[name])
    ]
    if not new:
        raise SemiGDAError("The session has these images already.")
    there = [file_stem(file) for file in (folder / IMAGES).glob("*")]
    ids = unique_ids((name for name, _ in new), [*(item.id for item in manifest.items), *there])
    with _written(folder, dict(zip(ids, new, strict=True)), progress, cancelled) as items:
        yield items


@contextmanager
def _written(
    folder: Path,
    arrays: Mapping[str, tuple[str, Array]],
    progress: Progress | None,
    cancelled: Callable[[], bool] | None,
) -> Iterator[tuple[Item, ...]]:
    """Write named arrays under their ids, which no file may have, and give their items these ids."""
    files = {item_id: _array_file(folder, item_id) for item_id in arrays}
    make_folder(folder / IMAGES)
    try:
        for done, (item_id, (_, (pixels, pixel_size, unit))) in enumerate(arrays.items(), start=1):
            if cancelled is not None and cancelled():
                raise Cancelled
            write_picture(files[item_id], Picture(np.asarray(pixels), pixel_size, unit))
            if progress is not None:
                progress(done, len(arrays))
        planes, _ = read_headers([(files[item_id], name) for item_id, (name, _) in arrays.items()])
        items = make_items(planes, folder)
        yield tuple(replace(item, id=item_id) for item_id, item in zip(arrays, items, strict=True))
    except BaseException:
        for file in files.values():
            file.unlink(missing_ok=True)
        raise


def _in_order(given: Array | Pixels) -> Array:
    pixels, pixel_size, unit = given if isinstance(given, tuple) else (given, (1.0, 1.0), "pixel")
    return in_picture_order(pixels), pixel_size, unit


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
        encoder=None if choices.encoder is None else known_encoder(choices.encoder),
        created=now(),
    )
    for name in OWN_FOLDERS:
        make_folder(folder / name)
    write_manifest(folder, manifest)
    return manifest


def find_files(images: Path | str | Sequence[Path | str], folder: Path) -> list[tuple[Path, str]]:
    """List the picture files meant by `images`, each once, with their names for people.

    Parameters
    ----------
    images
        A folder (searched with its sub-folders), a file (or the folder of an OME-Zarr), or several of these.
    folder
        The session's own folder: its files are left out, unless `images` lie in it.

    Raises
    ------
    SemiGDAError
        When a folder cannot be read.
    """
    given = [images] if isinstance(images, Path | str) else list(images)
    found: dict[Path, str] = {}
    for one in (Path(path) for path in given):
        if is_zarr(one) or not one.is_dir():
            found.setdefault(real_place(one), one.name)
            continue
        inside = real_place(one).is_relative_to(folder)
        for file in find_pictures(one):
            place = real_place(file)
            if inside or not place.is_relative_to(folder):
                found.setdefault(place, file.relative_to(one).as_posix())
    return list(found.items())


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
    for done, (file, name) in enumerate(files, start=1):
        if cancelled is not None and cancelled():
            raise Cancelled
        try:
            planes += [NamedPlane(plane, name) for plane in list_planes(file)]
        except SemiGDAError as error:
            left_out.append((file, str(error)))
        if progress is not None:
            progress(done, len(files))
    return planes, left_out


def with_more_files(
    manifest: Manifest,
    folder: Path,
    images: Path | str | Sequence[Path | str],
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[tuple[Item, ...], list[LeftOut]]:
    """Make items of picture files that a session does not have yet; see `Session.add_images`.

    Returns
    -------
    items, left_out
        The new ones, and the files that could not be read.
    """
    planes, left_out = read_headers(find_files(images, folder), progress, cancelled)
    known = {(real_place(folder / item.path), item.series, item.index) for item in manifest.items}
    new = [
        named
        for named in planes
        if (real_place(named.plane.path), named.plane.series, named.plane.index) not in known
    ]
    if not new:
        reasons = " ".join(reason for _, reason in left_out[:3])
        raise SemiGDAError(
            f"No image was found in {_told(images)} that the session does not have yet. {reasons}".strip()
        )
    return make_items(new, folder, [item.id for item in manifest.items]), left_out


def make_items(planes: Sequence[NamedPlane], folder: Path, others: Sequence[str] = ()) -> tuple[Item, ...]:
    """Make one item of each plane, with ids that are none of the others."""
    suffixes = plane_suffixes([(str(plane.path), plane.series, plane.index) for plane, _ in planes])
    stems = (file_stem(plane.path) + suffix for (plane, _), suffix in zip(planes, suffixes, strict=True))
    ids = unique_ids(stems, others)
    return tuple(
        Item(
            id=item_id,
            name=f"{name} · {plane.name}" if plane.name else name,
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


def file_stem(path: Path | str) -> str:
    """Return the name of a picture file without its endings.

    Examples
    --------
    >>> file_stem("folder/cells.ome.tif"), file_stem("v1.2.png")
    ('cells', 'v1.2')
    """
    stem = Path(path).stem
    return stem[: -len(".ome")] if stem.lower().endswith(".ome") else stem


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


def _refuse_existing(files: Sequence[Path]) -> None:
    there = next((file for file in files if file.exists()), None)
    if there is not None:
        raise SemiGDAError(f"“{there}” exists already and is not overwritten. Choose another folder.")


def _told(images: Path | str | Sequence[Path | str]) -> str:
    return f"“{images}”" if isinstance(images, Path | str) else f"the {len(images)} files given"
