"""The drafts of a session: predicted masks, what is known of each, and which the annotator was shown."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.postprocessing import one_object
from napari_semigda.io.atomic import write_json
from napari_semigda.io.files import check_own, json_or_none
from napari_semigda.io.masks import read_labels, write_labels
from napari_semigda.session.folder import SessionFolder
from napari_semigda.session.item_list import ItemList
from napari_semigda.session.items import Item, id_of
from napari_semigda.session.journal import Fraction, RoundNumber
from napari_semigda.session.mask_files import MaskFolder

if TYPE_CHECKING:
    from napari_semigda.inference.predictor import Draft, Prediction

_MOST_BYTES = 2**16
_MARK = ".draft-of-round-"  # no id holds a full stop


@dataclass(frozen=True)
class DraftInfo:
    """What is known of a draft."""

    score: Fraction  # acquisition score; higher means: label it sooner
    round: RoundNumber  # whose weights predicted it; 0: imported weights
    uncertainty: Fraction = 0.0  # mean over the image


_INFO = TypeAdapter(DraftInfo)


def draft_in_words(info: DraftInfo) -> str:
    """Return which weights made a draft: ``"draft of round 3"``, or ``"draft of the imported model"``."""
    return f"draft of round {info.round}" if info.round else "draft of the imported model"


@dataclass(frozen=True)
class SeenDraft:
    """The draft that the annotator was shown before painting, and its round; None without one."""

    draft: NDArray[np.uint8] | None = field(default=None, repr=False)
    round: int | None = None


class SeenDrafts:
    """The draft of the item shown last, in memory, and of items with an unfinished edit, beside the edit.

    Called under the session's lock.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._item = ""
        self._seen = SeenDraft()
        self._kept = True

    def see(self, item: Item, seen: SeenDraft) -> None:
        """Remember what the annotator is shown of an item."""
        self._item, self._seen, self._kept = item.id, seen, False

    def of(self, item: Item, *, edited: bool) -> SeenDraft | None:
        """Return what the annotator was shown; None where no annotator was shown the item."""
        if item.id == self._item:
            return self._seen
        return self._read(item) if edited else None

    def keep(self, item: Item) -> None:
        """Save what was shown, for tomorrow: an edit of the item begins or continues."""
        if item.id != self._item or self._kept:
            return
        self.drop(item)
        if self._seen.draft is not None:
            file = self._folder / f"{item.id}{_MARK}{self._seen.round or 0}.tif"
            with suppress(SemiGDAError):  # the effort will not be known: no reason not to keep the strokes
                write_labels(file, self._seen.draft, item.pixel_size, item.unit, durable=False)
        self._kept = True

    def drop(self, item: Item) -> None:
        """Remove what was written down: the edit is over."""
        for file in self._files(item):
            with suppress(OSError):
                file.unlink()
        if item.id == self._item:
            self._kept = False

    def _read(self, item: Item) -> SeenDraft:
        for file in self._files(item):
            number = file.stem.removeprefix(f"{item.id}{_MARK}")
            with suppress(SemiGDAError):
                check_own(file, self._folder.parent)
                draft = read_labels(file).astype(np.uint8)
                return SeenDraft(draft, int(number) if number.isdecimal() else None)
        return SeenDraft()

    def _files(self, item: Item) -> list[Path]:
        with suppress(OSError):
            return sorted(self._folder.glob(f"{item.id}{_MARK}*.tif"))
        return []


class DraftStore:
    """The newest draft of each item. Wherever an item is asked for, its id serves as well.

    Where there is at most one object in an image, a draft has no more, also one that was stored before.
    """

    def __init__(
        self,
        folder: SessionFolder,
        items: ItemList,
        masks: MaskFolder,
        seen: SeenDrafts,
        one_object: Callable[[], bool],
    ) -> None:
        self._folder, self._items, self._masks, self._seen = folder, items, masks, seen
        self._one_object = one_object
        self._infos: dict[str, DraftInfo | None] = {}

    def __contains__(self, item: Item | str) -> bool:
        return id_of(item) in self._masks

    def __getitem__(self, item: Item | str) -> NDArray[np.uint8]:
        draft = self.get(item)
        if draft is None:
            raise KeyError(id_of(item))
        return draft

    def get(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read the draft of an item: (H, W) uint8; None without one that can be read."""
        item = self._items.get(item)
        try:
            mask = self._masks.read(item)
        except SemiGDAError:
            return None
        return None if mask is None else self._limited(mask)

    def info(self, item: Item | str) -> DraftInfo | None:
        """Return what is known of the draft of an item; None without one."""
        item = self._items.get(item)
        self._read_infos([item])
        with self._folder.lock:
            return self._infos.get(item.id) if item.id in self._masks else None

    def ids(self) -> set[str]:
        """Return the ids of all items that have a draft."""
        return self._masks.ids()

    def scores(self) -> NDArray[np.float32]:
        """Return the acquisition score of every item, (N,) in the order of the list; NaN without a draft."""
        items = self._items.all
        self._read_infos(items)
        with self._folder.lock:
            drafted = self._masks.ids()
            infos = [self._infos.get(item.id) if item.id in drafted else None for item in items]
        return np.array([np.nan if info is None else info.score for info in infos], np.float32)

    def store(self, item: Item | str, prediction: "Prediction | Draft", round_number: int) -> DraftInfo:
        """Keep labels, score and mean uncertainty of a prediction as a draft; raises `SemiGDAError`."""
        self._folder.check_writable()
        item = self._items.get(item)
        mask = self._limited(self._masks.checked(item, prediction.labels))
        info = DraftInfo(
            score=float(np.clip(np.nan_to_num(prediction.score), 0, 1)),
            round=round_number,
            uncertainty=float(np.clip(np.nan_to_num(np.mean(prediction.uncertainty)), 0, 1)),
        )
        with self._masks.staged(item, mask) as put, self._folder.lock:
            put()
            write_json(self._info_file(item), asdict(info), durable=False)  # it can be computed again
            self._infos[item.id] = info
        return info

    def see(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read the newest draft of an item for the annotator, whose effort is measured against it now.

        A newer one may be stored before the mask is accepted, but not change what was corrected.
        """
        item = self._items.get(item)
        with self._folder.lock:
            newest = self.newest(item)
            self._seen.see(item, newest)
        return newest.draft

    def newest(self, item: Item) -> SeenDraft:
        """Return the newest draft of an item and its round."""
        draft, info = self.get(item), self.info(item)
        return SeenDraft(draft, None if draft is None or info is None else info.round)

    def _limited(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return one_object(mask) if self._one_object() else mask

    def _read_infos(self, items: Iterable[Item]) -> None:
        """Read what was not read yet; without the lock, so that others go on meanwhile."""
        with self._folder.lock:
            unread = [item for item in items if item.id not in self._infos and item.id in self._masks]
        for item in unread:
            info, path = None, self._info_file(item)
            with suppress(ValidationError):
                info = _INFO.validate_python(json_or_none(path, path.parents[1], most=_MOST_BYTES))
            with self._folder.lock:
                self._infos.setdefault(item.id, info)

    def _info_file(self, item: Item) -> Path:
        return self._masks.file(item.id).with_suffix(".json")
