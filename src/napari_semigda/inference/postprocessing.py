"""From class probabilities to a label map, an uncertainty map and a score."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

_PIXELS_AT_ONCE = 2**22
"""Components of a large label map are numbered in bands of this many pixels: numbers take 4 bytes each."""

CERTAIN_SHARE = 0.01
"""Share of an image that counts as certain, whatever was predicted: it keeps a few doubtful pixels in an
otherwise empty image from looking as urgent as an object with a doubtful outline."""

_DIAGONALS_TOO = np.ones((3, 3), bool)


def label_map(probabilities: Tensor) -> Tensor:
    """Choose each pixel's most probable class: (K, H, W) to (H, W) uint8; for K = 2, 1 where p > 0.5."""
    if len(probabilities) == 2:
        return (probabilities[1] > 0.5).byte()
    return probabilities.argmax(dim=0).byte()


def one_object(labels: NDArray[np.uint8], certain: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """Keep the largest object of a label map (H, W); everything else becomes background, in a new array if
    need be.

    An object is a connected piece of foreground, of whatever classes: a nucleus inside its cytoplasm is one
    object. Pixels that touch at a corner are connected. Objects that reach into `certain`, where labels were
    accepted, are kept instead of the largest.
    """
    components = _Components(labels)
    if components.count < 2:
        return labels
    stay = np.zeros(components.count, bool)
    if certain is not None:
        stay = components.holding(certain)
    if not stay.any():
        stay[components.sizes.argmax()] = True
    if stay.all():
        return labels
    kept = labels.copy()
    for rows, numbers in components.bands():
        kept[rows][~np.append(stay, True)[numbers]] = 0
    return kept


def uncertainty_map(mean: Tensor, image_branch: Tensor, mask_branch: Tensor) -> Tensor:
    """Compute how unsure the two branches are at each pixel, and how much they contradict each other: (B, H,
    W).

    With *m* the (weighted) mean of both branches' probabilities *a* and *b* of K ≥ 2 classes, each (B, K, H,
    W)::

        uncertainty = (entropy(m) / log K  +  ½ Σ |a − b|) / 2

    Both halves are in [0, 1]. A pixel on a blurred edge, where both branches say ½, reaches 0.5; only a pixel
    where each is sure of something else reaches 1.
    """
    entropy: Tensor = torch.special.entr(mean).sum(dim=1) / math.log(mean.shape[1])
    disagreement = (image_branch - mask_branch).abs().sum(dim=1) / 2
    return ((entropy + disagreement) / 2).clamp(0, 1)


class ImageScore:
    """The score of one image, added up piece by piece: how much it is worth labeling.

    The mean uncertainty near what was predicted: each pixel weighs as much as its probability of not being
    background, or its uncertainty where that is larger. So a large certain background dilutes nothing. One
    hundredth of the image's area (`CERTAIN_SHARE`) is added as certain, so an empty, certain prediction
    scores close to 0.
    """

    def __init__(self) -> None:
        self._weighted = 0.0
        self._weights = 0.0
        self._pixels = 0

    def add(self, probabilities: Tensor, uncertainty: Tensor) -> None:
        """Add a piece: probabilities (K, h, w), background first, and uncertainty (h, w) in [0, 1]."""
        weights = torch.maximum(1 - probabilities[0], uncertainty).clamp(0, 1)
        self._weighted += float((weights * uncertainty).sum(dtype=torch.float64))
        self._weights += float(weights.sum(dtype=torch.float64))
        self._pixels += uncertainty.numel()

    @property
    def value(self) -> float:
        """Score in [0, 1]; higher: label this image sooner. 0 before anything was added."""
        if not self._pixels:
            return 0.0
        return self._weighted / (self._weights + CERTAIN_SHARE * self._pixels)


class _Components:
    """The connected pieces of foreground of a label map, found without a number for each of its pixels."""

    def __init__(self, labels: NDArray[np.uint8]) -> None:
        self._labels = labels
        self._height = max(1, _PIXELS_AT_ONCE // max(1, labels.shape[1]))
        sizes: list[NDArray[np.intp]] = []
        seams: list[NDArray[np.intp]] = []
        above = None
        for _, numbered, first in self._numbered():
            sizes.append(np.bincount(numbered.ravel())[1:])
            seams += [] if above is None else _touching(above, numbered[0], first)
            above = np.where(numbered[-1] > 0, numbered[-1] + first - 1, -1)
        of_pieces = np.concatenate(sizes) if sizes else np.zeros(0, np.intp)
        pairs = np.concatenate(seams, axis=1) if seams else np.zeros((2, 0), np.intp)
        graph = coo_array((np.ones(pairs.shape[1]), pairs), shape=(len(of_pieces),) * 2)
        self.count, self._of_piece = connected_components(graph, directed=False)
        self.sizes = np.bincount(self._of_piece, of_pieces, self.count)

    def bands(self) -> Iterator[tuple[slice, NDArray[np.intp]]]:
        """Yield rows and the number of each of their pixels; background has the number `count`."""
        for rows, numbered, first in self._numbered():
            pieces = self._of_piece[first : first + int(numbered.max(initial=0))]
            yield rows, np.concatenate([[self.count], pieces])[numbered]

    def holding(self, region: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which components have a pixel in a region."""
        found = np.zeros(self.count + 1, bool)
        for rows, numbers in self.bands():
            found[numbers[region[rows]]] = True
        return found[:-1]

    def _numbered(self) -> Iterator[tuple[slice, NDArray[np.int32], int]]:
        """Yield the rows of each band, its pieces numbered from 1, and how many pieces came before."""
        first = 0
        for top in range(0, len(self._labels), self._height):
            rows = slice(top, top + self._height)
            numbered, count = ndimage.label(self._labels[rows] > 0, _DIAGONALS_TOO)
            yield rows, numbered, first
            first += count


def _touching(above: NDArray[np.intp], below: NDArray[np.int32], first: int) -> list[NDArray[np.intp]]:
    """Which pieces of two bands touch: pairs of numbers (2, n), straight down and to both sides."""
    width, found = len(above), []
    for aside in (-1, 0, 1):
        upper = above[max(0, -aside) : width - max(0, aside)]
        lower = below[max(0, aside) : width + min(0, aside)]
        both = (upper >= 0) & (lower > 0)
        found.append(np.unique(np.stack([upper[both], lower[both] + first - 1]), axis=1))
    return found
