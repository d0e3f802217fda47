"""Accepting masks that were made elsewhere."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.io.legend import read_legend
from napari_semigda.io.masks import read_labels
from napari_semigda.io.pictures import find_pictures, list_planes
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.creation import Progress, file_stem, plane_suffixes
from napari_semigda.session.items import Item, ItemState

if TYPE_CHECKING:
    from napari_semigda.session.session import Session

_ENDINGS = ("", "_mask", "-mask", "_label", "_labels", "_segmentation")


@dataclass(frozen=True)
class ImportReport:
    """What `import_masks` did.

    Parameters
    ----------
    accepted
        Items that have a mask now.
    left_out
        Items that a mask file was found for, but not accepted, and why.
    """

    accepted: tuple[Item, ...]
    left_out: tuple[tuple[Item, str], ...]


def import_masks(
    session: "Session",
    folder: Path,
    *,
    count: int | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ImportReport:
    """Accept, for each item that has none, the mask that a folder holds for it.

    A mask belongs to the image of the same name; it may end in ``_mask``, ``_label``, ``_labels`` or
    ``_segmentation``. Images in sub-folders find their masks in the same sub-folders, or by name alone
    where that is unique. The pages of a multi-page mask belong to those of the multi-page image; or each has
    a file of its own, named as an export names it (`stack_p0002_mask.tif`).

    Parameters
    ----------
    session
        Whose items; accepted ones stay as they are.
    folder
        Holds TIFF or PNG files with the values 0 … K-1 and 255 for unknown. With one class, a file that
        holds 0 and 255 only means background and object, unless this program wrote it.
    count
        Take so many of the masks only, as if somebody had labelled a part; None takes all.
    seed
        Draw those at random; None spreads them evenly over the list.

    Raises
    ------
    SemiGDAError
        When the folder cannot be read.
    Cancelled
        When the person cancelled; masks accepted so far stay.
    """
    masks = _MaskFiles(folder)
    accepted, left_out = [], []
    items = session.items
    pages = _pages(items)
    suffixes = plane_suffixes([(item.path, item.series, item.index) for item in items])
    found = [
        _Found(item, *place)
        for item, suffix in zip(items, suffixes, strict=True)
        if (place := masks.of(item, suffix, pages[item.id])) is not None
    ]
    chosen = _chosen(found, count, seed)
    for done, (item, path, page) in enumerate(chosen, start=1):
        if cancelled is not None and cancelled():
            raise Cancelled
        try:
            accepted.append(_import(session, item, path, page))
        except SemiGDAError as error:
            left_out.append((item, str(error)))
        if progress is not None:
            progress(done, len(chosen))
    return ImportReport(tuple(accepted), tuple(left_out))


class _Found(NamedTuple):
    """The mask of an item: a page of a file, counted from 0."""

    item: Item
    path: Path
    page: int


def _chosen(found: list[_Found], count: int | None, seed: int | None) -> list[_Found]:
    if count is None or count >= len(found):
        return found
    if seed is None:
        places = [(2 * number + 1) * len(found) // (2 * count) for number in range(count)]
    else:
        places = sorted(random.Random(seed).sample(range(len(found)), count))
    return [found[place] for place in places]


def _import(session: "Session", item: Item, path: Path, page: int) -> Item:
    if session.state(item) is ItemState.ACCEPTED:
        raise SemiGDAError(f"{item.name} has an accepted mask already; it is kept.")
    planes = list_planes(path)
    if page >= len(planes):
        raise SemiGDAError(f"“{path}” has {len(planes)} pages; there is none for {item.name}.")
    labels = read_labels(planes[page])
    legend = read_legend(path)
    if legend is None:
        labels = as_classes(labels, session.class_count)
    elif legend.objects:
        raise SemiGDAError(f"“{path}” numbers objects. Import the label map of the classes instead.")
    elif (labels == UNKNOWN).all():
        raise SemiGDAError(f"Nobody has looked at {item.name} in “{path}”.")
    session.accept(item, labels, event="imported")
    return session.item(item)


def as_classes(labels: NDArray[np.integer], class_count: int) -> NDArray[np.integer]:
    """Read another program's 255 as the object, where there is one class and only 0 and 255 in the mask."""
    if class_count == 2 and np.isin(labels, (0, 255)).all():
        return np.where(labels == 255, np.uint8(1), np.uint8(0))
    return labels


def _pages(items: Sequence[Item]) -> dict[str, int]:
    """Count, for each item's id, which of its file's planes it is."""
    so_far: Counter[str] = Counter()
    pages = {}
    for item in items:
        pages[item.id] = so_far[item.path]
        so_far[item.path] += 1
    return pages


class _MaskFiles:
    """The mask files of a folder, found by the name of the image."""

    def __init__(self, folder: Path) -> None:
        self._by_place: dict[str, Path] = {}
        self._by_stem: Mapping[str, list[Path]] = defaultdict(list)
        for path in find_pictures(folder):
            within = path.relative_to(folder).parent
            self._by_place[(within / file_stem(path)).as_posix()] = path
            self._by_stem[file_stem(path)].append(path)

    def of(self, item: Item, suffix: str, page: int) -> tuple[Path, int] | None:
        """Return the file and page of an item's mask, if there is one and no other could be meant.

        Parameters
        ----------
        item
            Whose mask.
        suffix
            What the name of a file of its own would have behind the image's.
        page
            Where it would be in a file for all planes of the image file.
        """
        stem = file_stem(item.path)
        alone = self._named(item, stem + suffix) if suffix else None
        if alone is not None:
            return alone, 0
        shared = self._named(item, stem)
        return None if shared is None else (shared, page)

    def _named(self, item: Item, stem: str) -> Path | None:
        within = PurePosixPath(item.name).parent
        for name in (stem + ending for ending in _ENDINGS):
            place = (within / name).as_posix()
            if place in self._by_place:
                return self._by_place[place]
            if len(self._by_stem.get(name, ())) == 1:
                return self._by_stem[name][0]
        return None
