"""The formats that masks are exported in: which files each makes, of which items, and how.

A format is its options; two formats that are equal write the same files. A new one is a class here, and its
name in `FORMATS`.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import write_table
from napari_semigda.io.coco import CocoFile
from napari_semigda.io.masks import (
    UNLABELED,
    Grid,
    Legend,
    color_table,
    write_imagej,
    write_labels,
    write_ome,
)
from napari_semigda.io.overlays import draw_outlines, write_contact_sheet, write_png
from napari_semigda.io.pictures import stack_axes
from napari_semigda.pace import counted
from napari_semigda.session.exporting.measuring import (
    IMAGE_COLUMNS,
    OBJECT_COLUMNS,
    Objects,
    Row,
    measure_image,
    measure_objects,
    number_objects,
)
from napari_semigda.session.exporting.names import export_names, safe_part, stack_names
from napari_semigda.session.exporting.source import Mask, NotExported, Source
from napari_semigda.session.items import Item, image_name, size_for_people
from napari_semigda.version import __version__

Stacks = Literal["image", "file", "session"]
"""One file for each image, for each image file with all its planes, or for all images of the session."""


class Output(NamedTuple):
    """One file of an export: its name below the export folder (posix), what it is made of, and its writer.

    The writer raises `NotExported` if there turns out to be nothing to write.
    """

    name: str
    items: tuple[Item, ...]
    write: Callable[[Path, Source], None]


@dataclass(frozen=True)
class Format(ABC):
    """A format and its options."""

    key: ClassVar[str]  # its name on the command line
    title: ClassVar[str]  # its name in the window
    about: ClassVar[str]  # one sentence on what it writes
    reads_pictures: ClassVar[bool] = False  # whether it needs the images
    predicts: ClassVar[bool] = False  # whether it needs a trained network and no masks

    @abstractmethod
    def outputs(self, source: Source, items: Sequence[Item]) -> list[Output]:
        """Plan the files of these items; raises a `SemiGDAError` if they cannot be written like this."""


class _OneEach(Format):
    """A format with one file for each item."""

    ending: ClassVar[str]

    def outputs(self, source: Source, items: Sequence[Item]) -> list[Output]:
        """Plan a file for each item; names are chosen among all of the session, so they do not change."""
        every = zip(source.items, export_names(source.items, self.ending), strict=True)
        names = {item.id: name for item, name in every}
        return [Output(names[item.id], (item,), partial(self._write_one, item)) for item in items]

    def _write_one(self, item: Item, path: Path, source: Source) -> None:
        self.write(item, path, source)
        source.step()

    @abstractmethod
    def write(self, item: Item, path: Path, source: Source) -> None:
        """Write the file of an item."""


@dataclass(frozen=True)
class PlainTiff(_OneEach):
    """One gray TIFF for each image: 0 background, 1 … K-1 classes, 255 unlabeled."""

    key = "tiff"
    title = "TIFF, one per image"
    about = "Label maps: 0 is background, 1, 2, … are the classes. Any program reads them."
    ending = "_mask.tif"

    def write(self, item: Item, path: Path, source: Source) -> None:
        """Write the mask of an item."""
        write_labels(path, source.mask(item), item.pixel_size, item.unit, legend=source.legend)


class _Stack(NamedTuple):
    """Label maps for one file, with the names of the file and of its planes."""

    planes: Iterator[Mask]
    grid: Grid
    name: str
    plane_names: Sequence[str] = ()


@dataclass(frozen=True)
class _Stackable(_OneEach):
    """A format whose files can hold several planes.

    Parameters
    ----------
    stacks
        What goes into one file. Planes of an image file that are not exported are unlabeled.
    """

    stacks: Stacks = "image"

    def outputs(self, source: Source, items: Sequence[Item]) -> list[Output]:
        """Plan a file for each item, for each image file, or for all."""
        if self.stacks == "image":
            return super().outputs(source, items)
        exported = frozenset(items)
        if self.stacks == "session":
            _refuse_unlike(items)
            name = f"{safe_part(source.name)}_masks{self.ending.removeprefix('_mask')}"
            return [self._stack(name, tuple(items), exported)]
        groups = [tuple(group) for _, group in groupby(source.items, key=lambda one: (one.path, one.series))]
        names = stack_names([group[0] for group in groups], self.ending)
        return [
            self._stack(name, group, exported)
            for group, name in zip(groups, names, strict=True)
            if not exported.isdisjoint(group)
        ]

    def _stack(self, name: str, group: tuple[Item, ...], exported: frozenset[Item]) -> Output:
        def write(path: Path, source: Source) -> None:
            planes = (_plane(item, item in exported, source) for item in group)
            if self.stacks == "session":
                first = group[0]
                grid = Grid("TYX", (len(group), *first.shape), first.pixel_size, first.unit)
            else:
                grid = _as_in_file(group, source)
            self._write(path, _Stack(planes, grid, path.name, [item.name for item in group]), source.legend)

        return Output(name, tuple(item for item in group if item in exported), write)

    def write(self, item: Item, path: Path, source: Source) -> None:
        """Write the mask of an item."""
        grid = Grid("YX", item.shape, item.pixel_size, item.unit)
        self._write(path, _Stack(iter([source.mask(item)]), grid, item.name), source.legend)

    @abstractmethod
    def _write(self, path: Path, stack: _Stack, legend: Legend) -> None: ...


@dataclass(frozen=True)
class ImageJTiff(_Stackable):
    """ImageJ hyperstacks, with a color table that shows the classes in their colors."""

    key = "imagej"
    title = "ImageJ / Fiji"
    about = "Label maps that Fiji opens in the colors of the classes, with the pixel size."
    ending = "_mask.tif"

    def _write(self, path: Path, stack: _Stack, legend: Legend) -> None:
        colors, text = color_table(legend), legend.to_text()
        write_imagej(
            path, stack.planes, stack.grid, np.uint8, info=text, colors=colors, plane_names=stack.plane_names
        )


@dataclass(frozen=True)
class OmeTiff(_Stackable):
    """OME-TIFF with physical sizes and units; the names of the classes are in a map annotation."""

    key = "ome-tiff"
    title = "OME-TIFF"
    about = "Label maps with physical sizes, units and the names of the classes: for OMERO, QuPath."
    ending = "_mask.ome.tif"

    def _write(self, path: Path, stack: _Stack, legend: Legend) -> None:
        names = stack.plane_names
        write_ome(path, stack.planes, stack.grid, np.uint8, name=stack.name, legend=legend, plane_names=names)


@dataclass(frozen=True)
class _OfObjects(Format):
    """A format of objects: the connected parts of each class.

    Parameters
    ----------
    minimum_size
        In pixels; smaller parts are left out.
    """

    minimum_size: int = 1

    def _objects(self, mask: Mask, legend: Legend) -> Objects:
        return number_objects(mask, [one.value for one in legend.classes], self.minimum_size)


@dataclass(frozen=True)
class ObjectTiff(_OfObjects, _OneEach):
    """One TIFF for each image in which each object has its own number."""

    key = "objects"
    title = "Numbered objects"
    about = "TIFF, one per image, in which each connected object has its own number."
    ending = "_objects.tif"

    def write(self, item: Item, path: Path, source: Source) -> None:
        """Write the numbered objects of an item."""
        numbers = self._objects(source.mask(item), source.legend).numbers
        write_labels(path, numbers, item.pixel_size, item.unit, legend=Legend(objects=True))


@dataclass(frozen=True)
class Probabilities(_OneEach):
    """One float32 TIFF for each image: the foreground's probability, or a channel for each class."""

    key = "probabilities"
    title = "Probabilities"
    about = (
        "Probabilities of the newest network for all images that are not skipped: 32-bit TIFF, from 0 to 1."
    )
    reads_pictures = True
    predicts = True
    ending = "_probability.tif"

    def write(self, item: Item, path: Path, source: Source) -> None:
        """Predict an item and write its probabilities."""
        probabilities = source.probabilities(item)
        if not probabilities:
            raise NotExported("the network knows none of the classes yet; train a round")
        names = list(probabilities)
        axes, channels = ("CYX", (len(names),)) if len(names) > 1 else ("YX", ())
        grid = Grid(axes, (*channels, *item.shape), item.pixel_size, item.unit)
        info = f"SemiGDA probabilities: {', '.join(names)}"
        planes = probabilities.values()
        write_imagej(path, planes, grid, np.float32, info=info, plane_names=names, shown=(0, 1))


@dataclass(frozen=True)
class Overlays(_OneEach):
    """One PNG for each image with the outlines of the classes, and a sheet with all of them.

    Parameters
    ----------
    contact_sheet
        Whether to make the sheet.
    """

    key = "overlays"
    title = "Images with outlines"
    about = "PNG for slides and for checking: each image with its outlines in the classes' colors."
    reads_pictures = True
    ending = "_overlay.png"
    contact_sheet: bool = True

    def outputs(self, source: Source, items: Sequence[Item]) -> list[Output]:
        """Plan a file for each item, and the sheet."""
        title = f"{source.name}: {counted(len(items), 'image')}"

        def write_sheet(path: Path, source: Source) -> None:
            write_contact_sheet(path, title, source.legend, len(items), _images(items, source))

        sheet = [Output("contact_sheet.png", tuple(items), write_sheet)] if self.contact_sheet else []
        return [*super().outputs(source, items), *sheet]

    def write(self, item: Item, path: Path, source: Source) -> None:
        """Write the image of an item with outlines."""
        write_png(path, draw_outlines(source.image(item), source.mask(item), source.legend))


@dataclass(frozen=True)
class Coco(_OfObjects):
    """One JSON for all images, in COCO's format.

    Parameters
    ----------
    polygons
        Outlines instead of run lengths.
    """

    key = "coco"
    title = "COCO"
    about = "annotations.json with every object of all images, to train other programs with."
    polygons: bool = False

    def outputs(self, source: Source, items: Sequence[Item]) -> list[Output]:
        """Plan the one file."""

        def write(path: Path, source: Source) -> None:
            about = {"description": f"Session {source.name}", "version": f"napari-semigda {__version__}"}
            file = CocoFile(source.legend, about, polygons=self.polygons)
            planes = Counter(item.path for item in source.items)
            for item, mask in source.masks(items):
                objects = self._objects(mask, source.legend)
                more = {"page": item.index + 1} if planes[item.path] > 1 else {}
                file.add(image_name(item), objects.numbers, objects.classes, more)
            file.write(path)

        return [Output("annotations.json", tuple(items), write)]


@dataclass(frozen=True)
class Measurements(_OfObjects):
    """Two CSV tables: areas, lengths and positions of all objects; counts and areas of each class."""

    key = "measurements"
    title = "Measurements"
    about = "CSV: areas and lengths of each object, counts and areas of each class by image."

    def outputs(self, source: Source, items: Sequence[Item]) -> list[Output]:
        """Plan the two tables."""

        def write(of_images: bool, path: Path, source: Source) -> None:
            columns = IMAGE_COLUMNS if of_images else OBJECT_COLUMNS
            write_table(path, columns, self._rows(items, source, of_images))

        return [
            Output("objects.csv", tuple(items), partial(write, False)),
            Output("images.csv", tuple(items), partial(write, True)),
        ]

    def _rows(self, items: Sequence[Item], source: Source, of_images: bool) -> Iterator[Row]:
        for item, mask in source.masks(items):
            objects = self._objects(mask, source.legend)
            origin = "accepted" if item in source.labels else "draft"
            if of_images:
                yield from measure_image(mask, objects, item, origin, source.legend)
            else:
                yield from measure_objects(objects, item, origin, source.legend)


_ALL = (PlainTiff, ImageJTiff, OmeTiff, ObjectTiff, Probabilities, Overlays, Coco, Measurements)
FORMATS: dict[str, type[Format]] = {one.key: one for one in _ALL}
"""By key, in the order people choose from."""


def _plane(item: Item, exported: bool, source: Source) -> Mask:
    """Read the mask of an item; where there is none, all is unlabeled."""
    plane = np.full(item.shape, UNLABELED, np.uint8)
    for _, mask in source.masks([item] if exported else []):
        plane = mask
    return plane


def _images(items: Sequence[Item], source: Source) -> Iterator[tuple[NDArray[np.uint8], Mask, str]]:
    for item, mask in source.masks(items):
        try:
            image = source.image(item)
        except NotExported:
            continue  # reported where its own file was to be written
        yield image, mask, item.name


def _as_in_file(items: Sequence[Item], source: Source) -> Grid:
    """Stack planes along the axes that they have in their image file; along z where it does not say."""
    first = items[0]
    try:
        axes, lengths, spacing = stack_axes(source.images.path(first), first.series)
    except SemiGDAError:  # masks can be exported without their images
        axes, lengths, spacing = "", (), None
    if axes not in ("", "T", "Z", "TZ") or int(np.prod(lengths)) != len(items):
        axes, lengths = ("Z", (len(items),)) if len(items) > 1 else ("", ())
    return Grid(f"{axes}YX", (*lengths, *first.shape), first.pixel_size, first.unit, spacing)


def _refuse_unlike(items: Sequence[Item]) -> None:
    """Refuse to stack images of different sizes: a padded mask would be a mask of no image."""
    sizes = sorted({size_for_people(item.shape) for item in items})
    if len(sizes) > 1:
        differ = f"differ in size: {', '.join(sizes[:4])}{', …' if len(sizes) > 4 else ''} pixels"
    elif len({(item.pixel_size, item.unit) for item in items}) > 1:
        differ = "have different pixel sizes"
    else:
        return
    raise SemiGDAError(
        f"These images could not be stacked, because they {differ}. Write a file for each image instead."
    )
