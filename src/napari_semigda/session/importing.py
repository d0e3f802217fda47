"""Accepting masks that were made elsewhere, and telling what became of every image and every mask file."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.io.atomic import write_table
from napari_semigda.io.masks import Legend, read_labels, read_legend
from napari_semigda.io.pictures import Plane, list_folder, list_planes
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.pace import Progress
from napari_semigda.session.finding import item_files, plane_suffixes
from napari_semigda.session.items import (
    Item,
    ItemState,
    file_identity,
    file_stem,
    for_people,
    image_name,
)
from napari_semigda.session.mask_names import ImageName, NearestNames
from napari_semigda.session.matching import Matching, Target, match

if TYPE_CHECKING:
    from napari_semigda.session.session import Session

COLUMNS = ("image", "mask", "result", "reason", "nearest_name")

Result = Literal["accepted", "not accepted", "no mask", "not used", "not chosen", "image"]
"""What became of an image's mask; or that a mask file was not used, or is an image of the session."""

_MANY_VALUES = 20
"""A mask of so many values that are no classes was smoothed or compressed, or numbers objects."""


class ImportRow(NamedTuple):
    """What became of one image, with its mask if it has one, or of one mask file that belongs to no image.

    Parameters
    ----------
    image
        Name of the item; empty for a mask file alone.
    mask
        The mask file below its folder; posix; empty where there is none.
    result
        What became of it.
    reason
        Why, in words.
    nearest
        The most similar name, of a mask file for an image without one, of an image for a mask file.
    """

    image: str
    mask: str
    result: Result
    reason: str
    nearest: str = ""

    def in_words(self) -> str:
        """Return one line for people."""
        subject = self.image or self.mask
        nearest = f" Nearest name: “{self.nearest}”." if self.nearest else ""
        return f"{subject}: {self.reason.rstrip('.')}.{nearest}"


@dataclass(frozen=True)
class ImportReport:
    """What `import_masks` did.

    Parameters
    ----------
    accepted
        Items that have a mask now.
    left_out
        Items that a mask file was found for, but not accepted, and why.
    rows
        Every image and every mask file, and what became of it.
    recognized
        How the masks were found (such as “by path and “_mask””), with how many each.
    skipped
        What in the folder of masks cannot be read, in sentences.
    """

    accepted: tuple[Item, ...]
    left_out: tuple[tuple[Item, str], ...]
    rows: tuple[ImportRow, ...] = ()
    recognized: tuple[tuple[str, int], ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def attention(self) -> list[ImportRow]:
        """The rows to look at: masks that were not accepted or used, and images that could have one."""
        return [
            row
            for row in self.rows
            if row.result in ("not accepted", "not used") or (row.result == "no mask" and row.nearest)
        ]

    def in_words(self) -> str:
        """Return a sentence on what was done."""
        parts = [f"{len(self.accepted)} {'mask' if len(self.accepted) == 1 else 'masks'} accepted"]
        if self.recognized:
            parts[0] += f" ({', '.join(f'{count} {how}' for how, count in self.recognized)})"
        counts = Counter(row.result for row in self.rows)
        words: tuple[tuple[Result, str, str], ...] = (
            ("not accepted", "not accepted", "not accepted"),
            ("no mask", "image without a mask", "images without a mask"),
            ("not used", "mask file not used", "mask files not used"),
            ("image", "file is an image of the session", "files are images of the session"),
        )
        parts += [
            f"{counts[result]} {one if counts[result] == 1 else many}"
            for result, one, many in words
            if counts[result]
        ]
        return "; ".join(parts)

    def write(self, path: Path | str) -> None:
        """Write all rows as CSV.

        Raises
        ------
        SemiGDAError
            When the file cannot be written.
        """
        write_table(path, COLUMNS, self.rows)


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

    A mask belongs to the image of the same path below its folder; it may end in a suffix such as ``_mask``
    (see `SUFFIXES_OF_MASKS`), in any case. By its name alone it is found where no other image and no other
    mask has that name. What could be meant twice is not accepted, and no file is used twice. The pages of a
    multi-page mask belong to those of the multi-page image, if there are as many; or each has a file of its
    own, named as an export names it (`stack_p0002_mask.tif`).

    Parameters
    ----------
    session
        Whose items; accepted ones, and those that somebody paints, stay as they are.
    folder
        Holds TIFF or PNG files with the values 0 … K-1 and 255 for unlabeled. With one class, a file that
        holds 0 and 255 only means background and object, unless this program wrote it.
    count
        Take so many of the masks only, as if somebody had labeled a part; None takes all.
    seed
        Draw those at random; None spreads them evenly over the list.

    Returns
    -------
    ImportReport
        With a row for every image and every mask file.

    Raises
    ------
    SemiGDAError
        When the folder cannot be read.
    Cancelled
        When the person cancelled; masks accepted so far stay.
    """
    listing = list_folder(folder)
    images = _Images(session)
    masks = _MaskFiles(listing.pictures, folder, images.identities)
    names = [one.name for one in session.classes]
    found = match(images.names, masks.names, root=_last_folders(folder.resolve()), class_names=names)
    chosen = set(_chosen([item.id for item in images.with_mask(found)], count, seed))
    results: dict[str, tuple[Result, str]] = {}
    accepted, left_out, how = [], [], Counter[str]()
    done = 0
    for target, number in sorted(found.taken.items(), key=lambda one: images.place(one[0])):
        wanted = [(item, page) for page, item in enumerate(images.items_of(target)) if item.id in chosen]
        file: _MaskFile | SemiGDAError | None = None
        for item, page in wanted:
            if cancelled is not None and cancelled():
                raise Cancelled
            try:
                if session.state(item) is ItemState.ACCEPTED:
                    raise SemiGDAError(f"{item.name} has an accepted mask already; it is kept.")
                if session.edit(item) is not None:
                    raise SemiGDAError(
                        f"{item.name} has something painted that is not accepted yet; it is kept. Accept or "
                        "discard it, then import again."
                    )
                file = file or _MaskFile.opened(masks.paths[number], images.items_of(target))
                if isinstance(file, SemiGDAError):
                    raise file
                session.accept(item, file.read(page, session), event="imported")
                accepted.append(session.item(item))
                how[found.how[number]] += 1
                results[item.id] = "accepted", found.how[number]
            except SemiGDAError as error:
                left_out.append((item, str(error)))
                results[item.id] = "not accepted", str(error)
            done += 1
            if progress is not None:
                progress(done, len(chosen))
    ambiguous = [(item, why) for item, why in images.ambiguous(found) if item.id not in results]
    return ImportReport(
        images.in_order(accepted),
        tuple(sorted([*left_out, *ambiguous], key=lambda one: session.place(one[0]))),
        tuple(_rows(images, masks, found, results)),
        tuple(how.most_common()),
        tuple(listing.skipped(everything=not listing.pictures)),
    )


class _Images:
    """The image files of a session, with the items of each in the order of its planes."""

    def __init__(self, session: "Session") -> None:
        self.items = session.items
        self._place = {item.id: place for place, item in enumerate(self.items)}
        by_file: dict[str, list[Item]] = defaultdict(list)
        for item in self.items:
            by_file[item.path].append(item)
        self._planes = [sorted(items, key=lambda one: (one.series, one.index)) for items in by_file.values()]
        suffixes = plane_suffixes(
            [(item.path, item.series, item.index) for one in self._planes for item in one]
        )
        ends = iter(suffixes)
        self.names = [
            ImageName(
                image_name(items[0]),
                tuple(end for end in [next(ends) for _ in items] if end),
                file_stem(items[0].name) if len(items) == 1 else "",
                _last_folders(PurePosixPath(items[0].path).parent),
            )
            for items in self._planes
        ]
        self.identities = {
            identity: item
            for path, item in item_files(self.items, session.folder).items()
            if (identity := file_identity(path)) is not None
        }

    def items_of(self, target: Target) -> list[Item]:
        """Return the items that a mask file of the target is for, one a page."""
        items = self._planes[target.image]
        return items if target.plane is None else [items[target.plane]]

    def place(self, target: Target) -> int:
        """Return the place in the list of a target's first item."""
        return self._place[self.items_of(target)[0].id]

    def with_mask(self, found: Matching) -> list[Item]:
        """Return the items that a mask file was found for, in the order of the list."""
        return list(self.in_order([item for target in found.taken for item in self.items_of(target)]))

    def ambiguous(self, found: Matching) -> list[tuple[Item, str]]:
        """Return the items that have mask files none of which is taken, and why."""
        return [
            (item, f"{why.rstrip('.')}.")
            for number, why in found.why_no_mask.items()
            for plane, item in enumerate(self._planes[number])
            if Target(number) not in found.taken and Target(number, plane) not in found.taken
        ]

    def masks_of(self, found: Matching) -> dict[str, int]:
        """Return the number of the mask file of each item, by its id."""
        return {item.id: mask for target, mask in found.taken.items() for item in self.items_of(target)}

    def in_order(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """Bring items into the order of the list."""
        return tuple(sorted(items, key=lambda item: self._place[item.id]))


class _MaskFiles:
    """The files of a folder of masks: those that are images of the session are none.

    Attributes
    ----------
    paths
        Of each mask file, one.
    names
        Of each mask file its paths below the folder; several where links lead to it.
    images
        Files that are images of the session, with the name of the item.
    """

    def __init__(self, files: Sequence[Path], folder: Path, images: dict[tuple[int, int], Item]) -> None:
        by_file: dict[object, list[Path]] = defaultdict(list)
        self.images: dict[str, str] = {}
        for path in files:
            identity = file_identity(path)
            if identity in images:
                self.images[path.relative_to(folder).as_posix()] = images[identity].name
            else:
                by_file[path if identity is None else identity].append(path)
        self.paths = [paths[0] for paths in by_file.values()]
        self.names = [[path.relative_to(folder).as_posix() for path in paths] for paths in by_file.values()]


class _MaskFile(NamedTuple):
    """A mask file with as many pages as there are items."""

    path: Path
    planes: Sequence[Plane]
    legend: Legend | None

    @classmethod
    def opened(cls, path: Path, items: Sequence[Item]) -> "_MaskFile | SemiGDAError":
        """Look into a file; what is wrong with it counts for all of its items."""
        try:
            planes = list_planes(path)
            if len(planes) != len(items):
                whole = f"the image {items[0].name}" if len(items) == 1 else "the image file"
                raise SemiGDAError(
                    f"“{path}” has {_counted(planes)}, but {whole} has {_counted(items)}: which belong "
                    "together is not guessed. Save a mask with as many pages."
                )
            axes = [_axes(names) for names in ([one.name for one in planes], [one.name for one in items])]
            if all(axes) and axes[0] != axes[1]:
                raise SemiGDAError(
                    f"The pages of “{path}” are counted along other axes than those of the image file. Save "
                    "them in the same order."
                )
            return cls(path, planes, read_legend(path))
        except SemiGDAError as error:
            return error

    def read(self, page: int, session: "Session") -> NDArray[np.integer]:
        """Read a page as a mask of a session's classes."""
        labels = read_labels(self.planes[page])
        if self.legend is None:
            return as_classes(labels, [one.value for one in session.classes], self.path)
        if self.legend.objects:
            raise SemiGDAError(f"“{self.path}” numbers objects. Import the label map of the classes instead.")
        if (labels == UNKNOWN).all():
            raise SemiGDAError(f"Every pixel of “{self.path}” is unlabeled; there is nothing to accept.")
        return labels


def _last_folders(folder: PurePath) -> str:
    return "/".join([part for part in folder.parts if part != ".." and part != folder.anchor][-2:])


def _counted(pages: Sequence[object]) -> str:
    return f"{len(pages)} page{'' if len(pages) == 1 else 's'}"


def _axes(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the places on the axes along which pages are counted; nothing where that is one axis or none."""
    places = [tuple(re.findall(r"\d+", name.rpartition(" · ")[2])) for name in names]
    return places if all(len(one) > 1 for one in places) else []


def _chosen(found: list[str], count: int | None, seed: int | None) -> list[str]:
    if count is None or count >= len(found):
        return found
    if seed is None:
        places = [(2 * number + 1) * len(found) // (2 * count) for number in range(count)]
    else:
        places = sorted(random.Random(seed).sample(range(len(found)), count))
    return [found[place] for place in places]


def _rows(
    images: _Images, masks: _MaskFiles, found: Matching, results: dict[str, tuple[Result, str]]
) -> list[ImportRow]:
    """Tell of every image, then of every mask file that no image has."""
    mask_of = images.masks_of(found)
    unclear = {item.id: why for item, why in images.ambiguous(found)}
    taken = set(found.taken.values())
    unused = [number for number in range(len(masks.paths)) if number not in taken]
    nearest_mask = NearestNames(masks.names[number][0] for number in unused)
    nearest_image = NearestNames(name.name for name in images.names)
    rows = []
    for item in images.items:
        mask = for_people(masks.names[mask_of[item.id]][0]) if item.id in mask_of else ""
        if item.id in results:
            rows.append(ImportRow(item.name, mask, *results[item.id]))
        elif mask:
            rows.append(ImportRow(item.name, mask, "not chosen", "only a part of the masks was asked for"))
        elif item.id in unclear:
            rows.append(ImportRow(item.name, "", "not accepted", unclear[item.id]))
        else:
            nearest = nearest_mask.of(image_name(item))
            rows.append(ImportRow(item.name, "", "no mask", "no mask file has its name", for_people(nearest)))
    for number in unused:
        name = masks.names[number][0]
        why = found.why_not_used.get(number)
        nearest = "" if why else nearest_image.of(name)
        rows.append(
            ImportRow("", for_people(name), "not used", why or "no image has its name", for_people(nearest))
        )
    rows += [
        ImportRow("", for_people(name), "image", f"it is the image {image} of the session")
        for name, image in masks.images.items()
    ]
    return rows


def as_classes(labels: NDArray[np.integer], values: Collection[int], path: Path) -> NDArray[np.integer]:
    """Read another program's mask as one of classes: with one class, 255 beside 0 alone is the object.

    Parameters
    ----------
    labels
        (H, W), as in the file.
    values
        Of the classes.
    path
        The file, for the message.

    Raises
    ------
    SemiGDAError
        When it holds 0 and 255 only, and there are several classes, or when its values cannot be classes.
    """
    present = np.unique(labels)
    if not set(present.tolist()) - {0, UNKNOWN} and UNKNOWN in present:
        if len(values) == 1:
            return np.where(labels == UNKNOWN, np.uint8(*values), np.uint8(0))
        raise SemiGDAError(
            f"“{path}” holds no values but 0 and 255, or 255 alone. With {len(values)} classes, 255 means "
            "unlabeled, and which class the object is of is not known: give it the value of its class."
        )
    foreign = np.setdiff1d(present, [0, UNKNOWN, *values])
    if len(foreign) >= _MANY_VALUES:
        raise SemiGDAError(
            f"“{path}” holds {len(present)} different values up to {int(present[-1])}: it numbers objects, "
            "or its edges were smoothed, as by scaling or JPEG. Save a mask with the classes' values, as PNG "
            "or TIFF."
        )
    return labels
