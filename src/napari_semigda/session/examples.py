"""A session's images and masks as training sees them: prepared when drawn, kept while there is room."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import overload

import torch

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import (
    FramedWindows,
    ImageSettings,
    frame,
    has_many_tiles,
    normalize,
)
from napari_semigda.session.images import ImageFiles
from napari_semigda.session.items import Item
from napari_semigda.session.labels import LabelStore
from napari_semigda.training.data import Example

DEFAULT_ROOM = 512 * 2**20  # bytes of prepared examples that a session keeps in memory

# Bytes that a large image counts for, of which only a file is kept open: there cannot be too many.
OPEN_FILE = 8 * 2**20


class ExampleCache:
    """Keeps the examples used last, within a number of bytes (or one that is larger). Thread-safe.

    Images are kept as float16: half the room, with steps of at most 1/2048, finer than those of 8-bit images.
    """

    def __init__(self, room: int = DEFAULT_ROOM) -> None:
        self.room = room
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, Example] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """How much is kept."""
        return self._bytes

    def get(self, key: object, make: Callable[[], Example]) -> Example:
        """Return the example kept under `key`, or make and keep it."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        if kept is not None:
            return kept
        made = make()
        if isinstance(made.image, torch.Tensor):
            made = made._replace(image=made.image.to(torch.float16))
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += _size(made)
                while self._bytes > self.room and len(self._kept) > 1:
                    self._bytes -= _size(self._kept.popitem(last=False)[1])
        return made

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0


class SessionExamples(Sequence[Example]):
    """Some items of a session, prepared for training one at a time as they are drawn.

    An item whose image or mask cannot be read does not end a round: the next readable one takes its place,
    and a warning says which and why. Without `labels`, all pixels are unlabeled.
    """

    def __init__(
        self,
        items: Sequence[Item],
        images: ImageFiles,
        labels: LabelStore | None,
        settings: ImageSettings,
        cache: ExampleCache,
        warn: Callable[[str], None],
    ) -> None:
        self.items = tuple(items)
        self._images, self._labels, self._settings = images, labels, settings
        self._cache, self._warn = cache, warn
        self._unreadable: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        """Prepare one item; raises a `SemiGDAError` when none of the items can be read."""
        if isinstance(index, slice):
            return SessionExamples(
                self.items[index], self._images, self._labels, self._settings, self._cache, self._warn
            )
        start = range(len(self.items))[index]
        for item in (*self.items[start:], *self.items[:start]):
            if item.id in self._unreadable:
                continue
            try:
                stamp = None if self._labels is None else self._labels.stamp(item)
                return self._cache.get((item.id, stamp, self._settings), partial(self._prepare, item))
            except SemiGDAError as error:
                self._unreadable[item.id] = f"{item.name} is left out of training. {error}"
                self._warn(self._unreadable[item.id])
        kind = "unlabeled" if self._labels is None else "labeled"
        last = next(reversed(self._unreadable.values()))
        raise SemiGDAError(f"None of {len(self.items)} {kind} images can be read for training. {last}")

    def _prepare(self, item: Item) -> Example:
        labels = None if self._labels is None else self._labels.get(item)
        if self._labels is not None and labels is None:
            raise SemiGDAError("Its label file is missing.")
        stored = self._images.stored(item) if has_many_tiles(item.shape, self._settings) else None
        if stored is not None:
            windows = FramedWindows(stored, self._settings)
            known = windows.frame_labels(labels)
            return Example(windows, known, torch.ones(1, 1, dtype=torch.bool).expand(known.shape))
        image = normalize(self._images.read(item).pixels, self._settings)
        framed = frame(image, labels, self._settings)
        return Example(framed.image, framed.labels, framed.valid)


def _size(example: Example) -> int:
    parts = [part for part in example if isinstance(part, torch.Tensor)]
    in_memory = sum(part.untyped_storage().nbytes() for part in parts)
    return in_memory + (len(example) - len(parts)) * OPEN_FILE
