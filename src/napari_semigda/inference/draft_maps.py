"""What lies behind a draft: how probable the foreground is at each pixel, and how sure the network is."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_semigda.inference.class_masks import one_object
from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import Pixels

DRAFT_THRESHOLD = 0.5
"""Foreground is what is more probable than background."""


@dataclass(frozen=True)
class DraftMaps:
    """Maps of one picture of which drafts of any threshold are made at once.

    Parameters
    ----------
    foreground
        (H, W) float32 in [0, 1]: probability of the most probable class against background, of these two
        (for two classes: the foreground's probability).
    best
        (H, W) uint8: the most probable class besides background.
    uncertainty
        (H, W) float32 in [0, 1], see `uncertainty_map`.
    one_object
        Whether a draft has at most one object, see `class_masks.one_object`.
    """

    foreground: NDArray[np.float32]
    best: NDArray[np.uint8]
    uncertainty: NDArray[np.float32]
    one_object: bool = False

    def labels(self, threshold: float = DRAFT_THRESHOLD) -> NDArray[np.uint8]:
        """Make the draft of which foreground is what is more probable than `threshold`; (H, W) uint8.

        The lower the threshold, the more foreground. At one half it is the draft the predictor makes.
        """
        labels = np.where(self.foreground > threshold, self.best, np.uint8(0))
        return one_object(labels) if self.one_object else labels


def draft_maps(
    predictor: Predictor,
    pixels: Pixels,
    classes: Collection[int] | None = None,
    *,
    cancelled: Callable[[], bool] | None = None,
) -> DraftMaps:
    """Predict a picture, strip by strip, and keep what thresholds need.

    Parameters
    ----------
    predictor
        The network and how it sees pictures.
    pixels
        As for `Predictor.predict`.
    classes
        Values the network may choose; None lets it choose all it knows.
    cancelled
        Asked before each batch of tiles.

    Raises
    ------
    SemiGDAError, Cancelled
        As `Predictor.predict`.
    """
    height, width = pixels.shape[:2]
    foreground, uncertainty = np.zeros((2, height, width), np.float32)
    best = np.zeros((height, width), np.uint8)
    for strip in predictor.fill(np.empty((height, width), np.uint8), pixels, cancelled=cancelled):
        rows = slice(strip.top, strip.top + len(strip.labels))
        values = [
            value for value in range(1, len(strip.probabilities)) if classes is None or value in classes
        ]
        uncertainty[rows] = strip.uncertainty
        if values:
            of_classes = strip.probabilities[values]
            most = of_classes.max(axis=0)
            best[rows] = np.array(values, np.uint8)[of_classes.argmax(axis=0)]
            foreground[rows] = most / np.maximum(most + strip.probabilities[0], np.finfo(np.float32).tiny)
    return DraftMaps(foreground, best, uncertainty, predictor.one_object)
