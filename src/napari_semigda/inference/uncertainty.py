"""How sure a prediction is: pixel by pixel, and for a picture as a whole."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CERTAIN_SHARE = 0.01
"""Share of a picture that counts as certain, whatever was predicted: it keeps a few doubtful specks
in an otherwise empty picture from looking as urgent as an object with a doubtful outline."""


def uncertainty_map(mean: Tensor, image_branch: Tensor, mask_branch: Tensor) -> Tensor:
    """Tell for each pixel how unsure the two branches are, and how much they contradict each other.

    With *m* the (weighted) mean of both branches' probabilities *a* and *b* of K classes::

        uncertainty = (entropy(m) / log K  +  ½ Σ |a − b|) / 2

    Both halves are in [0, 1]. A pixel on a blurred edge, where both branches say ½, reaches 0.5; only a
    pixel where each is sure of something else reaches 1.

    Parameters
    ----------
    mean, image_branch, mask_branch
        (B, K, H, W) float probabilities, adding up to one over K ≥ 2.

    Returns
    -------
    Tensor
        (B, H, W) float in [0, 1].
    """
    entropy: Tensor = torch.special.entr(mean).sum(dim=1) / math.log(mean.shape[1])
    disagreement = (image_branch - mask_branch).abs().sum(dim=1) / 2
    return ((entropy + disagreement) / 2).clamp(0, 1)


class PictureScore:
    """The score of one picture, gathered piece by piece: how much it is worth looking at.

    The mean uncertainty near what was predicted: each pixel weighs as much as its probability of not
    being background, or its uncertainty where that is larger. So a large certain background dilutes
    nothing. One hundredth of the picture's area (`CERTAIN_SHARE`) is added as certain, so an empty,
    certain prediction scores close to 0, with no division by zero.
    """

    def __init__(self) -> None:
        self._weighted = 0.0
        self._weights = 0.0
        self._pixels = 0

    def add(self, probabilities: Tensor, uncertainty: Tensor) -> None:
        """Count a piece of the picture.

        Parameters
        ----------
        probabilities
            (K, h, w) float, background first.
        uncertainty
            (h, w) float in [0, 1], from `uncertainty_map`.
        """
        weights = torch.maximum(1 - probabilities[0], uncertainty).clamp(0, 1)
        self._weighted += float((weights * uncertainty).sum(dtype=torch.float64))
        self._weights += float(weights.sum(dtype=torch.float64))
        self._pixels += uncertainty.numel()

    @property
    def value(self) -> float:
        """Score in [0, 1]; higher means: look at this picture sooner. 0 before anything was added."""
        if not self._pixels:
            return 0.0
        return self._weighted / (self._weights + CERTAIN_SHARE * self._pixels)
