"""The data of a round: images with what is known about each pixel, and which of them each step sees."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from napari_semigda.model.annotation import UNKNOWN


class Windows(Protocol):
    """A large image, (3, H, W), of which only windows are ever read."""

    def __getitem__(self, key: Any, /) -> Tensor:
        """Read the window ``[..., top : bottom, left : right]``."""


class Example(NamedTuple):
    """One image as the network sees it, (3, H, W) in [-1, 1], and labels and validity of its pixels, (H, W).

    Labels are uint8, ``UNKNOWN`` (255) where unlabeled and in padding, where `valid` is False.
    """

    image: Tensor | Windows
    labels: Tensor
    valid: Tensor


class Batch(NamedTuple):
    """Examples of equal size, stacked: images (B, 3, S, S), labels and valid (B, S, S)."""

    images: Tensor
    labels: Tensor
    valid: Tensor

    @property
    def fully_known(self) -> Tensor:
        """Which examples have no unlabeled pixel inside the image: bool, shape (B,)."""
        return (self.known | ~self.valid).flatten(1).all(dim=1)

    @property
    def known(self) -> Tensor:
        """Which pixels are labeled: bool, shape (B, S, S)."""
        return self.valid & (self.labels != UNKNOWN)


def cut_window(example: Example, size: int, generator: torch.Generator) -> Example:
    """Cut out a random window of ``size`` × ``size`` pixels; an example of that size is returned as it is.

    Half of the windows of an image with objects lie around a random object pixel, so that small objects in a
    large image are seen; a window without any labeled pixel is drawn again a few times.
    """
    height, width = example.labels.shape
    if (height, width) == (size, size):
        return example
    anything_known = not _is_one_value(example.labels) and bool((example.labels != UNKNOWN).any())
    for _ in range(10):
        top, left = _window_corner(example.labels, size, generator)
        window = (..., slice(top, top + size), slice(left, left + size))
        if not anything_known or bool((example.labels[window] != UNKNOWN).any()):
            break
    return Example(*(part[window] for part in example))


def _is_one_value(labels: Tensor) -> bool:
    """Whether it is one expanded value, as for a large image without labels."""
    return labels.stride() == (0, 0)


def _window_corner(labels: Tensor, size: int, generator: torch.Generator) -> tuple[int, int]:
    def below(limit: int) -> int:
        return int(torch.randint(limit, (), generator=generator))

    height, width = labels.shape
    if not _is_one_value(labels):
        objects = labels.numpy() - np.uint8(1) < UNKNOWN - 1  # 0 becomes 255: two passes instead of three
        up_to_row = np.count_nonzero(objects, axis=1).cumsum()
        count = int(up_to_row[-1])
        if count and torch.rand((), generator=generator) < 0.5:
            index = below(count)
            row = int(np.searchsorted(up_to_row, index, side="right"))
            column = int(np.flatnonzero(objects[row])[index - up_to_row[row]])
            row, column = row - below(size), column - below(size)
            return min(max(row, 0), height - size), min(max(column, 0), width - size)
    return below(height - size + 1), below(width - size + 1)


def draw_batch(
    examples: Sequence[Example], indices: Sequence[int], size: int, generator: torch.Generator
) -> Batch:
    """Stack windows of the examples with these indices, on the CPU; images become float32."""
    windows = [cut_window(examples[index], size, generator) for index in indices]
    images, labels, valid = (torch.stack(parts) for parts in zip(*windows, strict=True))
    return Batch(images.float(), labels, valid)


class Stream:
    """An endless walk through ``count`` examples, shuffled for each epoch; `draw` returns ``batch`` of them.

    The draw of a step depends on the seed and the step only, so a resumed round continues exactly. A batch
    larger than the number of examples runs into the next epoch; with ``count`` 0 every draw is empty.
    """

    def __init__(self, count: int, batch: int, seed: int) -> None:
        self.count = count
        self.batch = batch if count else 0

        @lru_cache(maxsize=2)
        def order(epoch: int) -> list[int]:
            generator = torch.Generator().manual_seed(mixed_seed(seed, epoch))
            return torch.randperm(count, generator=generator).tolist()

        self._order = order

    def draw(self, step: int) -> list[int]:
        """Return the indices of the examples that this step sees."""
        positions = range(step * self.batch, (step + 1) * self.batch)
        return [self._order(position // self.count)[position % self.count] for position in positions]

    def begins_epoch(self, step: int) -> bool:
        """Return whether a new epoch begins in the draw of this step."""
        return self.batch == 0 or -step * self.batch % self.count < self.batch


def mixed_seed(*parts: int) -> int:
    """Return one 63-bit seed from several small numbers, the same on every machine."""
    value = 0x9E3779B97F4A7C15
    for part in parts:
        value ^= part & 0xFFFFFFFFFFFFFFFF
        value = (value * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        value ^= value >> 31
    return value >> 1
