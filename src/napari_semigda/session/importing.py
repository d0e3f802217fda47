"""Accepting masks that were made elsewhere, and reporting the result for every image and every mask file."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import write_table
from napari_semigda.io.masks import Legend, read_labels, read_legend
from napari_semigda.io.pictures import Plane, list_folder, list_planes
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.pace import Cancel, Progress, counted, tracked
from napari_semigda.session.classes import ClassInfo
from napari_semigda.session.finding import item_files, plane_suffixes
from napari_semigda.session.items import Item, file_identity, file_stem, for_people, image_name
from napari_semigda.session.labels import LabelStore
from napari_semigda.session.mask_names import ImageName, NearestNames
from napari_semigda.session.matching import Matching, Target, match

COLUMNS = ("image", "mask", "result", "reason", "nearest_name")

Result = Literal["accepted", "not accepted", "no mask", "not used", "not chosen", "image"]
"""The result for an image; or that a mask file was not used, or is an image of the session."""

_MANY_VALUES = 20
"""A mask with this many values that are no classes was smoothed or compressed, or numbers objects."""


class ImportRow(NamedTuple):
    """The result for one image, or for one mask file that belongs to no image.

    `image` is the name of the item, `mask` the path of the mask file below its folder; one may be empty.
    `nearest` is the most similar name, of a mask file for an image without one, or the other way round.
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

    `accepted` are the items that have a mask now, `left_out` those whose mask file was not accepted, and why;
    `rows` is the result for every image and every mask file; `skipped` says what in the folder of masks
    cannot be read.
    """

    accepted: tuple[Item, ...]
    left_out: tuple[tuple[Item, str], ...]
    rows: tuple[ImportRow, ...] = ()
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
        parts = [f"{counted(len(self.accepted), 'mask')} accepted"]
        how = Counter(row.reason for row in self.rows if row.result == "accepted").most_common()
        if how:
            parts[0] += f" ({', '.join(f'{count} {reason}' for reason, count in how)})"
        counts = Counter(row.result for row in self.rows)
        words: tuple[tuple[Result, str, str], ...] = (
            ("not accepted", "not accepted", "not accepted"),
            ("no mask", "image without a mask", "images without a mask"),
            ("not used", "mask file not used", "mask files not used"),
            ("image", "file is an image of the session", "files are images of the session"),
        )
        parts += [counted(counts[result], one, many) for result, one, many in words if counts[result]]
        return "; ".join(parts)

    def write(self, path: Path | str) -> None:
        """Write all rows as CSV; raises a `SemiGDAError` when that fails."""
        write_table(path, COLUMNS, self.rows)


def import_masks(
    labels: LabelStore,
    items: Sequence[Item],
    classes: Sequence[ClassInfo],
    session_folder: Path,
    folder: Path,
    *,
    count: int | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> ImportReport:
    """Accept, for each item that has none, the mask that a folder holds for it.

    A mask belongs to the image of the same path below its folder; it may end in a suffix such as ``_mask``
    (see `SUFFIXES_OF_MASKS`), in any case. By its name alone it is found where no other image and no other
    mask has that name. What is ambiguous is not accepted, and no file is used twice. The pages of a
    multi-page mask belong to those of the multi-page image, if there are as many; or each has a file of its
    own, named as an export names it (`stack_p0002_mask.tif`).

    The `folder` holds TIFF or PNG files with the values 0 … K-1, and 255 for unlabeled. With one class, a
    file that holds only 0 and 255 means background and object, unless this program wrote it. `count` accepts
    only this many masks, drawn at random with a `seed`, else spread evenly over the list.

    Raises a `SemiGDAError` when the folder cannot be read; after `Cancelled`, masks accepted so far stay.
    """
    listing = list_folder(folder)
    images = _Images(items, session_folder)
    masks = _MaskFiles(listing.pictures, folder, images.identities)
    names = [one.name for one in classes]
    found = match(images.names, masks.names, root=_last_folders(folder.resolve()), class_names=names)
    with_mask = [item for target in found.taken for item in images.items_of(target)]
    chosen = _chosen(sorted(with_mask, key=images.index_of), count, seed)
    wanted = [
        (target, page, item)
        for target in sorted(found.taken, key=lambda one: images.index_of(images.items_of(one)[0]))
        for page, item in enumerate(images.items_of(target))
        if item in chosen
    ]
    results: dict[str, tuple[Result, str]] = {}
    accepted, left_out = [], []
    opened: dict[Target, _MaskFile | SemiGDAError] = {}
    for target, page, item in tracked(wanted, progress, cancelled):
        number = found.taken[target]
        try:
            _refuse_labeled(labels, item)
            if target not in opened:
                opened = {target: _MaskFile.opened(masks.paths[number], images.items_of(target))}
            if isinstance(file := opened[target], SemiGDAError):
                raise file
            labels.accept(item, file.read(page, [one.value for one in classes]), event="imported")
        except SemiGDAError as error:
            left_out.append((item, str(error)))
            results[item.id] = "not accepted", str(error)
        else:
            accepted.append(item)
            results[item.id] = "accepted", found.how[number]
    left_out += [(item, why) for item, why in images.ambiguous(found) if item.id not in results]
    return ImportReport(
        tuple(sorted(accepted, key=images.index_of)),
        tuple(sorted(left_out, key=lambda one: images.index_of(one[0]))),
        tuple(_rows(images, masks, found, results)),
        tuple(listing.skipped(everything=not listing.pictures)),
    )


def _refuse_labeled(labels: LabelStore, item: Item) -> None:
    if item in labels:
        raise SemiGDAError(f"{item.name} already has an accepted mask; it is kept.")
    if labels.edit(item) is not None:
        raise SemiGDAError(
            f"{item.name} has a painted mask that is not accepted yet; it is kept. Accept or discard it, "
            "then import again."
        )


class _Images:
    """The image files of a session, with the items of each in the order of its planes."""

    def __init__(self, items: Sequence[Item], folder: Path) -> None:
        self.items = items
        self._indices = {item.id: index for index, item in enumerate(items)}
        by_file: dict[str, list[Item]] = defaultdict(list)
        for item in items:
            by_file[item.path].append(item)
        self._planes = [
            sorted(planes, key=lambda one: (one.series, one.index)) for planes in by_file.values()
        ]
        every = [(item.path, item.series, item.index) for planes in self._planes for item in planes]
        suffixes = iter(plane_suffixes(every))
        self.names = [
            ImageName(
                image_name(planes[0]),
                tuple(suffix for suffix in [next(suffixes) for _ in planes] if suffix),
                file_stem(planes[0].name) if len(planes) == 1 else "",
                _last_folders(PurePosixPath(planes[0].path).parent),
            )
            for planes in self._planes
        ]
        self.identities = {
            identity: item
            for path, item in item_files(items, folder).items()
            if (identity := file_identity(path)) is not None
        }

    def items_of(self, target: Target) -> list[Item]:
        """Return the items that a mask file of the target is for, one a page."""
        items = self._planes[target.image]
        return items if target.plane is None else [items[target.plane]]

    def index_of(self, item: Item) -> int:
        return self._indices[item.id]

    def ambiguous(self, found: Matching) -> list[tuple[Item, str]]:
        """Return the items that have mask files none of which is taken, and why."""
        return [
            (item, f"{why.rstrip('.')}.")
            for number, why in found.why_no_mask.items()
            for plane, item in enumerate(self._planes[number])
            if Target(number) not in found.taken and Target(number, plane) not in found.taken
        ]


class _MaskFiles:
    """The mask files of a folder, each with its paths below it: several where links lead to it."""

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
                    f"“{path}” has {counted(len(planes), 'page')}, "
                    f"but {whole} has {counted(len(items), 'page')}. "
                    "Save a mask with as many pages as the image."
                )
            axes = [_axes(names) for names in ([one.name for one in planes], [one.name for one in items])]
            if all(axes) and axes[0] != axes[1]:
                raise SemiGDAError(
                    f"The pages of “{path}” have other axes than those of the image file. Save them in the "
                    "same order."
                )
            return cls(path, planes, read_legend(path))
        except SemiGDAError as error:
            return error

    def read(self, page: int, values: Collection[int]) -> NDArray[np.integer]:
        """Read a page as a mask of classes with these values."""
        labels = read_labels(self.planes[page])
        if self.legend is None:
            return as_classes(labels, values, self.path)
        if self.legend.objects:
            raise SemiGDAError(f"“{self.path}” numbers objects. Import the label map of the classes instead.")
        if (labels == UNKNOWN).all():
            raise SemiGDAError(f"Every pixel of “{self.path}” is unlabeled; there is nothing to accept.")
        return labels


def _last_folders(folder: PurePath) -> str:
    return "/".join([part for part in folder.parts if part != ".." and part != folder.anchor][-2:])


def _axes(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the positions of pages along their axes; nothing where there is one axis or none."""
    positions = [tuple(re.findall(r"\d+", name.rpartition(" · ")[2])) for name in names]
    return positions if all(len(one) > 1 for one in positions) else []


def _chosen(found: list[Item], count: int | None, seed: int | None) -> set[Item]:
    if count is None or count >= len(found):
        return set(found)
    if seed is not None:
        return {found[index] for index in random.Random(seed).sample(range(len(found)), count)}
    return {found[(2 * number + 1) * len(found) // (2 * count)] for number in range(count)}


def _rows(
    images: _Images, masks: _MaskFiles, found: Matching, results: dict[str, tuple[Result, str]]
) -> list[ImportRow]:
    """Report on every image, then on every mask file that no image has."""
    mask_of = {item.id: mask for target, mask in found.taken.items() for item in images.items_of(target)}
    unclear = {item.id: why for item, why in images.ambiguous(found)}
    unused = sorted(set(range(len(masks.paths))) - set(found.taken.values()))
    nearest_mask = NearestNames(masks.names[number][0] for number in unused)
    nearest_image = NearestNames(name.name for name in images.names)
    rows = []
    for item in images.items:
        mask = for_people(masks.names[mask_of[item.id]][0]) if item.id in mask_of else ""
        if item.id in results:
            rows.append(ImportRow(item.name, mask, *results[item.id]))
        elif mask:
            rows.append(ImportRow(item.name, mask, "not chosen", "only a part of the masks was requested"))
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
    """Read another program's mask (H, W) as one of classes: with one class, 255 beside 0 alone is the object.

    Raises a `SemiGDAError` if that is unclear because there are several classes, or values cannot be classes.
    """
    present = np.unique(labels)
    if not set(present.tolist()) - {0, UNKNOWN} and UNKNOWN in present:
        if len(values) == 1:
            return np.where(labels == UNKNOWN, np.uint8(*values), np.uint8(0))
        raise SemiGDAError(
            f"“{path}” holds only the values 0 and 255, or 255 alone. With {len(values)} classes, 255 means "
            "unlabeled, and the class of the object is unknown. Give it the value of its class."
        )
    foreign = np.setdiff1d(present, [0, UNKNOWN, *values])
    if len(foreign) >= _MANY_VALUES:
        raise SemiGDAError(
            f"“{path}” holds {len(present)} different values up to {int(present[-1])}: it numbers objects, "
            "or its edges were smoothed, as by scaling or JPEG. Save a mask with the classes' values, as PNG "
            "or TIFF."
        )
    return labels
