"""What was predicted for the items of a session: the label maps, and what is remembered beside them."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.class_masks import one_object
from napari_semigda.io.atomic import write_json
from napari_semigda.io.files import json_or_none
from napari_semigda.session.items import Item
from napari_semigda.session.layout import MOST_ROUNDS
from napari_semigda.session.mask_files import MaskFolder

if TYPE_CHECKING:
    from napari_semigda.inference.predictor import Draft, Prediction

_MOST_BYTES = 2**16


@dataclass(frozen=True)
class DraftInfo:
    """What the queue and the annotator need to know of a draft.

    Parameters
    ----------
    score
        Acquisition score in [0, 1]; higher means: look at it sooner.
    round
        The round whose weights made it; 0 where they came from elsewhere.
    uncertainty
        Mean over the image, in [0, 1].
    """

    score: float
    round: int
    uncertainty: float = 0.0


def draft_in_words(info: DraftInfo) -> str:
    """Say which weights made a draft: ``"draft of round 3"``, or ``"draft of the imported model"``."""
    return f"draft of round {info.round}" if info.round else "draft of the imported model"


class DraftStore:
    """The drafts of a session: for each item the label map last predicted, and what is known of it.

    Parameters
    ----------
    masks
        The label maps.
    lock
        The session's.
    one_object
        Tells whether there is at most one object in an image. A draft then has no more, whoever made it, also
        one that was stored before somebody said so.
    """

    def __init__(
        self, masks: MaskFolder, lock: threading.RLock, one_object: Callable[[], bool] = bool
    ) -> None:
        self._masks = masks
        self._lock = lock
        self._one_object = one_object
        self._infos: dict[str, DraftInfo | None] = {}

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._masks

    def read(self, item: Item) -> NDArray[np.uint8] | None:
        """Read the label map last predicted for an item: (H, W) uint8; None without a sound one."""
        try:
            mask = self._masks.read(item)
        except SemiGDAError:
            return None
        return mask if mask is None else self._obeying(mask)

    def info(self, item: Item) -> DraftInfo | None:
        """Tell what is known of the prediction of an item; None without one."""
        self._read_infos([item])
        with self._lock:
            return self._infos.get(item.id) if item.id in self._masks else None

    def ids(self) -> set[str]:
        """Return the ids of all items that have a prediction."""
        return self._masks.ids()

    def scores(self, items: Iterable[Item]) -> NDArray[np.float32]:
        """Return the acquisition score of each of these items, NaN where there is no prediction."""
        items = list(items)
        self._read_infos(items)
        with self._lock:
            drafted = self._masks.ids()
            infos = [self._infos.get(item.id) if item.id in drafted else None for item in items]
        return np.array([np.nan if info is None else info.score for info in infos], np.float32)

    def store(self, item: Item, prediction: "Prediction | Draft", round_number: int) -> DraftInfo:
        """Keep a prediction as the draft of an item.

        Parameters
        ----------
        prediction
            Its labels, score and mean uncertainty are kept; the probabilities are not.
        round_number
            The round whose weights made it, 0 if none.

        Raises
        ------
        SemiGDAError
            When it does not fit the item, or cannot be written.
        """
        mask = self._obeying(self._masks.checked(item, prediction.labels))
        info = DraftInfo(
            score=float(np.clip(np.nan_to_num(prediction.score), 0, 1)),
            round=round_number,
            uncertainty=float(np.clip(np.nan_to_num(np.mean(prediction.uncertainty)), 0, 1)),
        )
        with self._masks.staged(item, mask) as put, self._lock:
            put()
            write_info(self._info_file(item), info)
            self._infos[item.id] = info
        return info

    def _obeying(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return one_object(mask) if self._one_object() else mask

    def _read_infos(self, items: Iterable[Item]) -> None:
        """Read what is known of drafts and was not read yet; of thousands, while others go on."""
        with self._lock:
            unread = [item for item in items if item.id not in self._infos and item.id in self._masks]
        for item in unread:
            info = read_info(self._info_file(item))
            with self._lock:
                self._infos.setdefault(item.id, info)

    def _info_file(self, item: Item) -> Path:
        return self._masks.file(item.id).with_suffix(".json")


def write_info(path: Path, info: DraftInfo) -> None:
    """Write beside the label map; it can be computed again, so nobody waits for the disk."""
    write_json(path, asdict(info), durable=False)


def read_info(path: Path) -> DraftInfo | None:
    """Read what `write_info` wrote; None where it is missing or damaged."""
    values = json_or_none(path, path.parents[1], most=_MOST_BYTES)
    if not isinstance(values, dict):
        return None
    known: dict[str, Any] = {"uncertainty": 0.0, **values}
    score, number, uncertainty = (known.get(name) for name in ("score", "round", "uncertainty"))
    if not isinstance(number, int) or not 0 <= number < MOST_ROUNDS:
        return None
    if not _is_fraction(score) or not _is_fraction(uncertainty):
        return None
    return DraftInfo(float(score), int(number), float(uncertainty))


def _is_fraction(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and 0 <= value <= 1
