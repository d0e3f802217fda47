"""The formats that masks leave a session in: which files each makes, of which items, and how.

A format is its options; two formats that are equal write the same files.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from napari_semigda import __version__
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
from napari_semigda.session.exporting.measuring import (
    IMAGE_COLUMNS,
    OBJECT_COLUMNS,
    Row,
    measure_image,
    measure_objects,
)
from napari_semigda.session.exporting.names import export_names, safe_part, stack_names
from napari_semigda.session.exporting.objects import Objects, number_objects
from napari_semigda.session.exporting.source import NotExported, Source
from napari_semigda.session.items import Item, image_name, size_for_people
from napari_semigda.session.session import Session

Stacks = Literal["image", "file", "session"]
"""One file for each image, for each image file with all its planes, or for all images of the session."""

STACKS: tuple[Stacks, ...] = get_args(Stacks)


@dataclass(frozen=True)
class Output:
    """One file of an export.

    Parameters
    ----------
    name
        Relative to the export folder, posix.
    items
        What it is made of.
    write
        Writes it to the path given; raises `NotExported` if there turns out to be nothing to write.
    """

    name: str
    items: tuple[Item, ...]
    write: Callable[[Path, Source], None]


@dataclass(frozen=True)
class Format(ABC):
    """A format and its options.

    Attributes
    ----------
    key : str
        Names it on the command line.
    title, about : str
        Name it in the window, and say in a sentence what it writes.
    reads_pictures, predicts : bool
        Whether it needs the pictures; whether it needs a trained network and no masks.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    reads_pictures: ClassVar[bool] = False
    predicts: ClassVar[bool] = False

    @abstractmethod
    def outputs(self, session: Session, items: Sequence[Item]) -> list[Output]:
        """Plan the files.

        Parameters
        ----------
        session
            Whose items.
        items
            Those with something to export.

        Raises
        ------
        SemiGDAError
            When the items cannot be written like this.
        """


@dataclass(frozen=True)
class PlainTiff(Format):
    """One gray TIFF an image: 0 background, 1 … K-1 classes, 255 where nobody looked."""

    key: ClassVar[str] = "tiff"
    title: ClassVar[str] = "TIFF, one an image"
    about: ClassVar[str] = "Label maps: 0 is background, 1, 2, … are the classes. Any program reads them."

    def outputs(self, session: Session, items: Sequence[Item]) -> list[Output]:
        """Plan a file for each item."""
        return _one_each(session, items, "_mask.tif", self._write)

    def _write(self, item: Item, path: Path, source: Source) -> None:
        write_labels(path, source.mask(item), item.pixel_size, item.unit, legend=source.legend)


@dataclass(frozen=True)
class _Stackable(Format):
    """A format whose files can hold several planes.

    Parameters
    ----------
    stacks
        What goes into one file. Planes of an image file that are not exported are "not looked at".
    """

    ending: ClassVar[str]
    stacks: Stacks = "image"

    def outputs(self, session: Session, items: Sequence[Item]) -> list[Output]:
        """Plan a file for each item, for each image file, or for all."""
        if self.stacks == "image":
            return _one_each(session, items, f"_mask{self.ending}", self._write_one)
        if self.stacks == "session":
            _refuse_unlike(items)
            name = f"{safe_part(session.folder.name)}_masks{self.ending}"
            return [Output(name, tuple(items), partial(self._write_stack, tuple(items), frozenset(items)))]
        return self._a_file_each(session, items)

    def _a_file_each(self, session: Session, items: Sequence[Item]) -> list[Output]:
        exported = frozenset(items)
        groups = [tuple(group) for _, group in groupby(session.items, key=lambda one: (one.path, one.series))]
        names = stack_names([group[0] for group in groups], f"_mask{self.ending}")
        return [
            Output(
                name,
                tuple(item for item in group if item in exported),
                partial(self._write_stack, group, exported),
            )
            for group, name in zip(groups, names, strict=True)
            if not exported.isdisjoint(group)
        ]

    def _write_one(self, item: Item, path: Path, source: Source) -> None:
        mask = source.mask(item)
        self._write(path, iter([mask]), Grid("YX", item.shape, item.pixel_size, item.unit), source, item.name)

    def _write_stack(
        self, items: tuple[Item, ...], exported: frozenset[Item], path: Path, source: Source
    ) -> None:
        planes = (self._plane(item, item in exported, source) for item in items)
        grid = _frames(items) if self.stacks == "session" else _as_in_file(items, source.session)
        self._write(path, planes, grid, source, path.name, [item.name for item in items])

    @staticmethod
    def _plane(item: Item, exported: bool, source: Source) -> NDArray[np.uint8]:
        """Read the mask of an item; where there is none, nobody has looked."""
        plane = np.full(item.shape, UNLABELED, np.uint8)
        for _, mask in source.masks([item] if exported else []):
            plane = mask
        return plane

    @abstractmethod
    def _write(
        self,
        path: Path,
        planes: Iterator[NDArray[np.uint8]],
        grid: Grid,
        source: Source,
        name: str,
        plane_names: Sequence[str] = (),
    ) -> None: ...


@dataclass(frozen=True)
class ImageJTiff(_Stackable):
    """ImageJ hyperstacks, with a color table that shows the classes in their colors."""

    key: ClassVar[str] = "imagej"
    title: ClassVar[str] = "ImageJ / Fiji"
    about: ClassVar[str] = "Label maps that Fiji opens in the colors of the classes, with the pixel size."
    ending: ClassVar[str] = ".tif"

    def _write(
        self,
        path: Path,
        planes: Iterator[NDArray[np.uint8]],
        grid: Grid,
        source: Source,
        name: str,
        plane_names: Sequence[str] = (),
    ) -> None:
        write_imagej(
            path,
            planes,
            grid,
            np.uint8,
            info=source.legend.to_text(),
            colors=color_table(source.legend),
            plane_names=plane_names,
        )


@dataclass(frozen=True)
class OmeTiff(_Stackable):
    """OME-TIFF with physical sizes and units; the names of the classes are in a map annotation."""

    key: ClassVar[str] = "ome-tiff"
    title: ClassVar[str] = "OME-TIFF"
    about: ClassVar[str] = (
        "Label maps with physical sizes, units and the names of the classes: for OMERO, QuPath."
    )
    ending: ClassVar[str] = ".ome.tif"

    def _write(
        self,
        path: Path,
        planes: Iterator[NDArray[np.uint8]],
        grid: Grid,
        source: Source,
        name: str,
        plane_names: Sequence[str] = (),
    ) -> None:
        write_ome(path, planes, grid, np.uint8, name=name, legend=source.legend, plane_names=plane_names)


@dataclass(frozen=True)
class _OfObjects(Format):
    """A format of objects: the connected parts of each class.

    Parameters
    ----------
    minimum_size
        In pixels; smaller parts are left out.
    """

    minimum_size: int = 1

    def _objects(self, mask: NDArray[np.uint8], legend: Legend) -> Objects:
        return number_objects(mask, [one.value for one in legend.classes], self.minimum_size)


@dataclass(frozen=True)
class ObjectTiff(_OfObjects):
    """One TIFF an image in which each object has a number of its own."""

    key: ClassVar[str] = "objects"
    title: ClassVar[str] = "Numbered objects"
    about: ClassVar[str] = "TIFF, one an image, in which each connected object has a number of its own."

    def outputs(self, session: Session, items: Sequence[Item]) -> list[Output]:
        """Plan a file for each item."""
        return _one_each(session, items, "_objects.tif", self._write)

    def _write(self, item: Item, path: Path, source: Source) -> None:
        numbers = self._objects(source.mask(item), source.legend).numbers
        write_labels(path, numbers, item.pixel_size, item.unit, legend=Legend(objects=True))


@dataclass(frozen=True)
class Probabilities(Format):
    """One float32 TIFF an image: the foreground's probability, or a channel for each class."""

    key: ClassVar[str] = "probabilities"
    title: ClassVar[str] = "Probabilities"
    about: ClassVar[str] = (
        "What the newest network thinks of every image that is not skipped: TIFF of 32 bit, from 0 to 1."
    )
    reads_pictures: ClassVar[bool] = True
    predicts: ClassVar[bool] = True

    def outputs(self, session: Session, items: Sequence[Item]) -> list[Output]:
        """Plan a file for each item."""
        return _one_each(session, items, "_probability.tif", self._write)

    @staticmethod
    def _write(item: Item, path: Path, source: Source) -> None:
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
class Overlays(Format):
    """One PNG an image with the outlines of the classes, and a sheet with all of them.

    Parameters
    ----------
    contact_sheet
        Whether to make the sheet.
    """

    key: ClassVar[str] = "overlays"
    title: ClassVar[str] = "Pictures with outlines"
    about: ClassVar[str] = (
        "PNG for slides and for checking: each image with its outlines in the classes' colors."
    )
    reads_pictures: ClassVar[bool] = True
    contact_sheet: bool = True

    def outputs(self, session: Session, items: Sequence[Item]) -> list[Output]:
        """Plan a file for each item, and the sheet."""
        each = _one_each(session, items, "_overlay.png", self._write)
        sheet = Output("contact_sheet.png", tuple(items), partial(self._write_sheet, tuple(items)))
        return [*each, sheet] if self.contact_sheet else each

    @staticmethod
    def _write(item: Item, path: Path, source: Source) -> None:
        write_png(path, draw_outlines(source.picture(item), source.mask(item), source.legend))

    @staticmethod
    def _write_sheet(items: tuple[Item, ...], path: Path, source: Source) -> None:
        title = f"{source.session.folder.name}: {len(items)} image{'' if len(items) == 1 else 's'}"
        write_contact_sheet(path, title, source.legend, len(items), _small_pictures(items, source))


@dataclass(frozen=True)
class Coco(_OfObjects):
    """One JSON for all images, as COCO has it.

    Parameters
    ----------
    polygons
        Outlines instead of run lengths.
    """

    key: ClassVar[str] = "coco"
    title: ClassVar[str] = "COCO"
    about: ClassVar[str] = "annotations.json with every object of all images, to train other programs with."
    polygons: bool = False

    def outputs(self, session: Session, items: Sequence[Item]) -> list[Output]:
        """Plan the one file."""
        return [Output("annotations.json", tuple(items), partial(self._write, tuple(items)))]

    def _write(self, items: tuple[Item, ...], path: Path, source: Source) -> None:
        about = {
            "description": f"Session {source.session.folder.name}",
            "version": f"napari-semigda {__version__}",
        }
        file = CocoFile(source.legend, about, polygons=self.polygons)
        planes = Counter(item.path for item in source.session.items)
        for item, mask in source.masks(items):
            objects = self._objects(mask, source.legend)
            more = {"page": item.index + 1} if planes[item.path] > 1 else {}
            file.add(image_name(item), objects.numbers, objects.classes, more)
        file.write(path)


@dataclass(frozen=True)
class Measurements(_OfObjects):
    """Two CSV tables: areas, lengths and places of all objects; counts and areas of each class by image."""

    key: ClassVar[str] = "measurements"
    title: ClassVar[str] = "Measurements"
    about: ClassVar[str] = "CSV: areas and lengths of each object, counts and areas of each class by image."

    def outputs(self, session: Session, items: Sequence[Item]) -> list[Output]:
        """Plan the two tables."""
        return [
            Output("objects.csv", tuple(items), partial(self._write, tuple(items), OBJECT_COLUMNS)),
            Output("images.csv", tuple(items), partial(self._write, tuple(items), IMAGE_COLUMNS)),
        ]

    def _write(self, items: tuple[Item, ...], columns: tuple[str, ...], path: Path, source: Source) -> None:
        write_table(path, columns, self._rows(items, source, of_images=columns is IMAGE_COLUMNS))

    def _rows(self, items: tuple[Item, ...], source: Source, *, of_images: bool) -> Iterator[Row]:
        for item, mask in source.masks(items):
            objects = self._objects(mask, source.legend)
            about = item, item.name, source.origin(item), source.legend
            if of_images:
                yield from measure_image(mask, objects, *about)
            else:
                yield from measure_objects(objects, *about)


FORMATS: dict[str, type[Format]] = {
    one.key: one
    for one in (
        PlainTiff,
        ImageJTiff,
        OmeTiff,
        ObjectTiff,
        Probabilities,
        Overlays,
        Coco,
        Measurements,
    )
}
"""By key, in the order people choose from."""


def _one_each(
    session: Session, items: Sequence[Item], ending: str, write: Callable[[Item, Path, Source], None]
) -> list[Output]:
    """Plan a file for each item; names are chosen among all of the session, and so they last."""
    names = dict(zip((one.id for one in session.items), export_names(session.items, ending), strict=True))
    return [Output(names[item.id], (item,), partial(_write_one, item, write)) for item in items]


def _write_one(item: Item, write: Callable[[Item, Path, Source], None], path: Path, source: Source) -> None:
    write(item, path, source)
    source.step()


def _small_pictures(
    items: tuple[Item, ...], source: Source
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8], str]]:
    for item, mask in source.masks(items):
        try:
            picture = source.picture(item)
        except NotExported:
            continue  # told where its own file was to be written
        yield picture, mask, item.name


def _frames(items: Sequence[Item]) -> Grid:
    first = items[0]
    return Grid("TYX", (len(items), *first.shape), first.pixel_size, first.unit)


def _as_in_file(items: Sequence[Item], session: Session) -> Grid:
    """Stack planes along the axes that they have in their image file; along z where it does not say."""
    first = items[0]
    try:
        axes, lengths, spacing = stack_axes(session.picture_path(first), first.series)
    except SemiGDAError:  # the masks can leave without their pictures
        axes, lengths, spacing = "", (), None
    if axes not in ("", "T", "Z", "TZ") or int(np.prod(lengths)) != len(items):
        axes, lengths = ("Z", (len(items),)) if len(items) > 1 else ("", ())
    return Grid(f"{axes}YX", (*lengths, *first.shape), first.pixel_size, first.unit, spacing)


def _refuse_unlike(items: Sequence[Item]) -> None:
    """Refuse to stack images of different sizes: a padded mask would be a mask of no image."""
    sizes = {size_for_people(item.shape) for item in items}
    if len(sizes) > 1:
        raise SemiGDAError(
            f"These images cannot be one stack, for they differ in size: {', '.join(sorted(sizes)[:4])}"
            f"{', …' if len(sizes) > 4 else ''} pixels. Write a file for each image instead."
        )
    if len({(item.pixel_size, item.unit) for item in items}) > 1:
        raise SemiGDAError(
            "These images cannot be one stack, for their pixel sizes differ. "
            "Write a file for each image instead."
        )
