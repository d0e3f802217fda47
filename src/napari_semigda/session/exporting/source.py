"""Where an export reads what it writes: masks, images and probabilities, one item after the other."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.postprocessing import one_object
from napari_semigda.inference.preparation import ImageSettings, normalize
from napari_semigda.io.masks import UNLABELED, Legend
from napari_semigda.pace import Cancel, Progress, check
from napari_semigda.session.drafts import DraftStore
from napari_semigda.session.images import ImageFiles
from napari_semigda.session.items import Item
from napari_semigda.session.labels import LabelStore

Mask = NDArray[np.uint8]


class NotExported(SemiGDAError):
    """An item that cannot be exported, and why; the others can."""


@dataclass
class Source:
    """What an export reads: masks and images of a session, and what is to be known of them.

    `include_predicted`: drafts fill what is unlabeled. `predictor` loads the network of the newest round.
    `progress` and `cancelled` are called after and before each of `total` items. `failed` collects items
    that turn out to be unreadable, and why.
    """

    name: str
    items: Sequence[Item]
    legend: Legend
    settings: ImageSettings
    one_object: bool
    include_predicted: bool
    labels: LabelStore
    drafts: DraftStore
    images: ImageFiles
    predictor: Callable[[], Any]
    progress: Progress | None = None
    cancelled: Cancel | None = None
    total: int = 0
    failed: list[tuple[Item, str]] = field(default_factory=list)
    _done: int = 0

    def mask(self, item: Item) -> Mask:
        """Read the mask of an item: (H, W) uint8; raises `NotExported` when there is none."""
        try:
            accepted = self.labels.get(item)
            mask = self.drafts.get(item) if accepted is None else self._filled(item, accepted)
        except SemiGDAError as error:
            raise NotExported(str(error)) from error
        if mask is None:
            raise NotExported("its draft could not be read; predict it again")
        return mask

    def _filled(self, item: Item, accepted: Mask) -> Mask:
        """Fill the unlabeled pixels of an accepted mask with the draft, if that is wanted."""
        unlabeled = accepted == UNLABELED
        draft = self.drafts.get(item) if self.include_predicted and unlabeled.any() else None
        if draft is None:
            return accepted
        mask = np.where(unlabeled, draft, accepted)
        return one_object(mask, certain=~unlabeled) if self.one_object else mask

    def masks(self, items: Iterable[Item]) -> Iterator[tuple[Item, Mask]]:
        """Read the masks of some items, leaving out those that cannot be read."""
        for item in items:
            check(self.cancelled)
            try:
                mask = self.mask(item)
            except NotExported as error:
                self.fail(item, str(error))
            else:
                yield item, mask
            self.step()

    def image(self, item: Item) -> NDArray[np.uint8]:
        """Read the image of an item as the network sees it: (H, W, 3) uint8."""
        try:
            seen = normalize(self.images.read(item).pixels, self.settings)
        except SemiGDAError as error:
            raise NotExported(str(error)) from error
        shown: NDArray[np.uint8] = ((seen.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
        return shown

    def probabilities(self, item: Item) -> dict[str, NDArray[np.float32]]:
        """Predict the probabilities (H, W), in [0, 1], of the classes that the network knows, by name."""
        predictor = self.predictor()
        try:
            with self.images.open(item) as pixels:
                predicted = predictor.predict(pixels, cancelled=self.cancelled).probabilities
        except SemiGDAError as error:
            raise NotExported(str(error)) from error
        return {one.name: predicted[one.value] for one in self.legend.classes if one.value < len(predicted)}

    def fail(self, item: Item, reason: str) -> None:
        """Note that an item could not be exported; the first reason counts."""
        if item not in (known for known, _ in self.failed):
            self.failed.append((item, reason))

    def step(self, count: int = 1) -> None:
        """Report that items are done."""
        self._done += count
        if self.progress is not None:
            self.progress(self._done, self.total)
