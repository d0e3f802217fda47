"""What a round learns from: pictures of one working size, with what is known about each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_semigda.model.annotation import UNKNOWN


class Example(NamedTuple):
    """One picture as the network sees it.

    Attributes
    ----------
    image : Tensor, float32 or float16, shape (3, H, W)
        Values in [-1, 1].
    labels : Tensor, uint8, shape (H, W)
        Class of each pixel, ``UNKNOWN`` (255) where nobody has looked, and in padding.
    valid : Tensor, bool, shape (H, W)
        False in padding: there is no picture there to learn from.
    """

    image: Tensor
    labels: Tensor
    valid: Tensor


class Batch(NamedTuple):
    """Examples of equal size, stacked: images (B, 3, S, S), labels and valid (B, S, S)."""

    images: Tensor
    labels: Tensor
    valid: Tensor

    @property
    def fully_known(self) -> Tensor:
        """Which examples have no pixel inside the picture that nobody has looked at: bool, shape (B,)."""
        return (self.known | ~self.valid).flatten(1).all(dim=1)

    @property
    def known(self) -> Tensor:
        """Where an annotator has looked: bool, shape (B, S, S)."""
        return self.valid & (self.labels != UNKNOWN)


def cut_window(example: Example, size: int, generator: torch.Generator) -> Example:
    """Take a random window of ``size`` × ``size`` pixels; an example of that size is returned as it is.

    Half of the windows of a picture with objects are laid around a random object pixel, so that small
    objects in a large picture are seen; a window in which nothing is known is drawn again a few times.

    Parameters
    ----------
    example : Example
        At least ``size`` pixels high and wide.
    size : int
        Side of the window in pixels.
    generator : torch.Generator
        Source of the randomness (on the CPU).
    """
    height, width = example.labels.shape
    if (height, width) == (size, size):
        return example
    anything_known = bool((example.labels != UNKNOWN).any())
    for _ in range(10):
        top, left = _window_corner(example.labels, size, generator)
        window = Example(*(part[..., top : top + size, left : left + size] for part in example))
        if not anything_known or bool((window.labels != UNKNOWN).any()):
            break
    return window


def _window_corner(labels: Tensor, size: int, generator: torch.Generator) -> tuple[int, int]:
    height, width = labels.shape
    objects = labels.numpy() - np.uint8(1) < UNKNOWN - 1  # 0 becomes 255: two passes instead of three
    up_to_row = np.count_nonzero(objects, axis=1).cumsum()
    count = int(up_to_row[-1])
    if count and torch.rand((), generator=generator) < 0.5:
        place = int(torch.randint(count, (), generator=generator))
        row = int(np.searchsorted(up_to_row, place, side="right"))
        column = int(np.flatnonzero(objects[row])[place - up_to_row[row]])
        row -= int(torch.randint(size, (), generator=generator))
        column -= int(torch.randint(size, (), generator=generator))
        return min(max(row, 0), height - size), min(max(column, 0), width - size)
    return (
        int(torch.randint(height - size + 1, (), generator=generator)),
        int(torch.randint(width - size + 1, (), generator=generator)),
    )


def draw_batch(
    examples: Sequence[Example], indices: Sequence[int], size: int, generator: torch.Generator
) -> Batch:
    """Stack windows of the examples with these indices, on the CPU; images become float32."""
    windows = [cut_window(examples[index], size, generator) for index in indices]
    images, labels, valid = (torch.stack(parts) for parts in zip(*windows, strict=True))
    return Batch(images.float(), labels, valid)
