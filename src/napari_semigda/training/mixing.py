"""CutMix: swap a box between two images, and between whatever belongs to them."""

from __future__ import annotations

import torch
from torch import Tensor


def random_boxes(count: int, size: int, side: float, generator: torch.Generator) -> Tensor:
    """One random square a pair of images, each at its own place.

    Parameters
    ----------
    count : int
        Number of pairs B.
    size : int
        Side S of the images in pixels.
    side : float
        Side of the box as a fraction of S, in (0, 1].
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    Tensor, bool, shape (B, S, S)
        True inside the box.
    """
    length = max(1, round(size * side))
    corners = torch.randint(size - length + 1, (count, 2), generator=generator)
    positions = torch.arange(size)
    inside = (positions >= corners[..., None]) & (positions < corners[..., None] + length)
    return inside[:, 0, :, None] & inside[:, 1, None, :]


def mix(first: Tensor, second: Tensor, boxes: Tensor) -> Tensor:
    """Both images of each pair with the contents of the box swapped.

    Parameters
    ----------
    first, second : Tensor, shape (B, …, S, S)
        Images, probabilities or maps, equal in shape.
    boxes : Tensor, bool, shape (B, S, S)
        From `random_boxes`.

    Returns
    -------
    Tensor, shape (2B, …, S, S)
        The first images with boxes of the second, then the second ones with boxes of the first.
    """
    inside = boxes if first.dim() == 3 else boxes[:, None]
    return torch.cat([torch.where(inside, second, first), torch.where(inside, first, second)])
