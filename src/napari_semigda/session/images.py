"""The image files of an opened session: where they are, and reading them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.bands import BandedPixels, LargePicture, open_large, open_stored, opened_plane
from napari_semigda.io.pictures import Picture, Plane, read_plane
from napari_semigda.io.planes import StoredPixels
from napari_semigda.pace import Cancel, Progress
from napari_semigda.session.folder import SessionFolder
from napari_semigda.session.item_list import ItemList
from napari_semigda.session.items import Item, plane_of, size_for_people
from napari_semigda.session.manifest import ManifestFile
from napari_semigda.session.relocation import Relocation, look_for_pictures, missing_pictures


class ImageFiles:
    """The images of a session's items. Wherever an item is asked for, its id serves as well.

    Everything that reads raises a `SemiGDAError` when the file is missing, damaged, or of another size than
    when the session was created.
    """

    def __init__(self, folder: SessionFolder, items: ItemList, manifest: ManifestFile) -> None:
        self._folder, self._items, self._manifest = folder, items, manifest

    def path(self, item: Item | str) -> Path:
        """Return the path of an item's image file."""
        return Path(os.path.normpath(self._folder.path / self._items.get(item).path))

    def plane(self, item: Item | str) -> Plane:
        """Return the plane of an image file of an item."""
        return plane_of(self._items.get(item), self.path(item))

    def read(self, item: Item | str) -> Picture:
        """Read the pixels of an item: (H, W) or (H, W, C), of the file's own type."""
        plane = self.plane(item)
        picture = read_plane(plane)
        _check_shape(plane, picture.pixels.shape)
        return picture

    @contextmanager
    def open(self, item: Item | str) -> Iterator[NDArray[Any] | BandedPixels]:
        """Open an image to read it by slices; see `napari_semigda.io.bands.opened_plane`."""
        plane = self.plane(item)
        with opened_plane(plane) as pixels:
            _check_shape(plane, pixels.shape)
            yield pixels

    def stored(self, item: Item | str) -> StoredPixels | None:
        """Open a large image to read parts of it; see `napari_semigda.io.bands.open_stored`."""
        plane = self.plane(item)
        stored = open_stored(plane)
        if stored is not None:
            _check_shape(plane, stored.shape)
        return stored

    def shown(self, item: Item | str) -> Picture | LargePicture:
        """Read an image to show it, or open a large one; see `napari_semigda.io.bands.open_large`."""
        plane = self.plane(item)
        large = open_large(plane)
        if large is None:
            return self.read(item)
        _check_shape(plane, large.levels[0].shape)
        return large

    def missing(self) -> list[Item]:
        """Return the items whose image files are not where they were; asks the disk once for each file."""
        return missing_pictures(self._items.all, self._folder.path)

    def find_moved(
        self, folder: Path | str, *, progress: Progress | None = None, cancelled: Cancel | None = None
    ) -> Relocation:
        """Look for missing image files in another folder and those in it, and save where they are now.

        Raises `Cancelled`, or a `SemiGDAError` when the folder cannot be read or the session cannot be
        saved; nothing is changed then.
        """
        self._folder.check_writable()
        items = self._manifest.manifest.items  # with those that were added since the session was opened
        relocation = look_for_pictures(items, self._folder.path, Path(folder), progress, cancelled)
        if relocation.found:
            paths = {item.id: item.path for item in relocation.found}
            with self._folder.lock:
                items = self._manifest.manifest.items
                self._manifest.change(
                    items=tuple(replace(one, path=paths.get(one.id, one.path)) for one in items)
                )
                self._items.replace(relocation.found)
        return relocation


def _check_shape(plane: Plane, shape: tuple[int, ...]) -> None:
    if shape[:2] != plane.shape:
        raise SemiGDAError(
            f"“{plane.path}” is not the image it was when the session was created: it had "
            f"{size_for_people(plane.shape)} pixels and has {size_for_people(shape)}. "
            "Restore the old file, or create a new session for the new one."
        )
