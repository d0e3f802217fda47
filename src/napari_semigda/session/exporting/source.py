"""Where an export takes from what it writes: masks, pictures and probabilities, one item after the other."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.inference.class_masks import one_object
from napari_semigda.inference.preparation import normalize
from napari_semigda.io.masks import Legend, LegendEntry
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.pace import Progress
from napari_semigda.session.items import Item, ItemState
from napari_semigda.session.session import Session

if TYPE_CHECKING:
    from napari_semigda.inference.predictor import Predictor


class NotExported(SemiGDAError):
    """An item that cannot be exported, and why; the others can."""


class Source:
    """What an export reads.

    Parameters
    ----------
    session
        Whose items.
    include_predicted
        Whether drafts stand in for what nobody accepted.
    progress, cancelled
        Told after each item, and asked before it.
    device
        Where probabilities are predicted; see `napari_semigda.model.device.choose_device`.
    weights
        Of the autoencoder on this machine, if elsewhere than the session says.

    Attributes
    ----------
    legend : Legend
        The session's classes.
    left_out : list of (Item, str)
        Items that turned out to be unreadable, and why.
    total : int
        So many items there will be, for the progress.
    """

    def __init__(
        self,
        session: Session,
        *,
        include_predicted: bool,
        progress: Progress | None,
        cancelled: Callable[[], bool] | None,
        device: str = "auto",
        weights: Path | None = None,
    ) -> None:
        self.session = session
        self.legend = legend_of(session)
        self.left_out: list[tuple[Item, str]] = []
        self.total = 0
        self._done = 0
        self._include_predicted = include_predicted
        self._progress = progress
        self._cancelled = cancelled
        self._device, self._weights = device, weights
        self._predictor: Predictor | None = None

    def mask(self, item: Item) -> NDArray[np.uint8]:
        """Read the mask of an item: (H, W) uint8.

        Raises
        ------
        NotExported
            When there is none that can be read.
        """
        try:
            mask = self._mask(item)
        except SemiGDAError as error:
            raise NotExported(str(error)) from error
        if mask is None:
            raise NotExported("its draft cannot be read; predict it again")
        return mask

    def masks(self, items: Iterable[Item]) -> Iterator[tuple[Item, NDArray[np.uint8]]]:
        """Read the masks of some items, leaving out those that cannot be read.

        Raises
        ------
        Cancelled
            When the person cancelled.
        """
        for item in items:
            self.check()
            try:
                mask = self.mask(item)
            except NotExported as error:
                self.leave_out(item, str(error))
            else:
                yield item, mask
            self.step()

    def origin(self, item: Item) -> str:
        """Say where the mask of an item comes from: ``"accepted"`` or ``"draft"``."""
        return "accepted" if self.session.state(item) is ItemState.ACCEPTED else "draft"

    def picture(self, item: Item) -> NDArray[np.uint8]:
        """Read the picture of an item as the network sees it: (H, W, 3) uint8.

        Raises
        ------
        NotExported
            When it cannot be read.
        """
        try:
            seen = normalize(self.session.picture(item).pixels, self.session.settings)
        except SemiGDAError as error:
            raise NotExported(str(error)) from error
        shown: NDArray[np.uint8] = ((seen.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
        return shown

    def probabilities(self, item: Item) -> dict[str, NDArray[np.float32]]:
        """Predict the probabilities (H, W), in [0, 1], of the classes that the network knows, by their names.

        Raises
        ------
        NotExported
            When the picture cannot be read or predicted.
        SemiGDAError
            When there is no network to predict with.
        Cancelled
            When the person cancelled.
        """
        predictor = self._ready_predictor()
        try:
            with self.session.opened_picture(item) as pixels:
                predicted = predictor.predict(pixels, cancelled=self._cancelled).probabilities
        except SemiGDAError as error:
            raise NotExported(str(error)) from error
        return {one.name: predicted[one.value] for one in self.legend.classes if one.value < len(predicted)}

    def leave_out(self, item: Item, reason: str) -> None:
        """Note that an item is not exported; the first reason counts."""
        if item not in (known for known, _ in self.left_out):
            self.left_out.append((item, reason))

    def step(self, count: int = 1) -> None:
        """Tell that items are done."""
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self.total)

    def check(self) -> None:
        """Ask whether to go on.

        Raises
        ------
        Cancelled
            When the person cancelled.
        """
        if self._cancelled is not None and self._cancelled():
            raise Cancelled

    def _mask(self, item: Item) -> NDArray[np.uint8] | None:
        accepted = self.session.labels(item)
        if accepted is None:
            return self.session.prediction(item)
        fill = self._include_predicted and (accepted == UNKNOWN).any()
        draft = self.session.prediction(item) if fill else None
        if draft is None:
            return accepted
        mask = np.where(accepted == UNKNOWN, draft, accepted)
        return one_object(mask, certain=accepted != UNKNOWN) if self.session.one_object else mask

    def _ready_predictor(self) -> "Predictor":
        if self._predictor is None:
            from napari_semigda.session.trained_model import TrainedModel

            path = self.session.last_model()
            if path is None:
                raise SemiGDAError(NO_MODEL)
            self._predictor = TrainedModel.find(path).load(
                self._device, self.session.settings, weights=self._weights, cancelled=self._cancelled
            )
        return self._predictor


NO_MODEL = "Probabilities need a network that was trained: train a round first."


def legend_of(session: Session) -> Legend:
    """Return the classes of a session as they are written into files."""
    return Legend(tuple(LegendEntry(one.value, one.name, one.color) for one in session.classes))
