"""How a session starts: which planes it will label, what they are called, how they will be seen."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.pictures import Plane, find_pictures, list_planes
from napari_semigda.model.presets import PRESETS
from napari_semigda.session.items import Item, real_place, stored_path, unique_ids

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

LeftOut = tuple[Path, str]
"""A file that did not become an item, and why."""

_TILES_FROM = 4
"""Pictures whose long side is more working sizes than this are seen tile by tile."""


class NamedPlane(NamedTuple):
    """A plane, and what people call its file."""

    plane: Plane
    name: str


def find_files(images: Path | str | Sequence[Path | str], folder: Path) -> list[tuple[Path, str]]:
    """List the picture files meant by `images`, each once, with their names for people.

    Parameters
    ----------
    images
        A folder (searched with its sub-folders), a file, or several of either.
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
        if not one.is_dir():
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


def make_items(planes: Sequence[NamedPlane], folder: Path) -> tuple[Item, ...]:
    """Make one item of each plane."""
    suffixes = plane_suffixes([(str(plane.path), plane.series, plane.index) for plane, _ in planes])
    ids = unique_ids(
        file_stem(plane.path) + suffix for (plane, _), suffix in zip(planes, suffixes, strict=True)
    )
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
