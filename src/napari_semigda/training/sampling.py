"""Which examples a step sees: two endless streams, each a function of the step alone."""

from __future__ import annotations

from functools import lru_cache

import torch


class Stream:
    """An endless walk through ``count`` examples, newly shuffled for each epoch.

    The draw of a step depends on the seed and the step only, so a resumed round goes on exactly as if it
    had never stopped. A batch larger than the number of examples simply runs into the next epoch.

    Parameters
    ----------
    count : int
        How many examples there are; with 0 every draw is empty.
    batch : int
        How many are drawn at a step.
    seed : int
        Seed of the shuffling.
    """

    def __init__(self, count: int, batch: int, seed: int) -> None:
        self.count = count
        self.batch = batch if count else 0
        self._order = lru_cache(maxsize=2)(lambda epoch: _shuffled(count, seed, epoch))

    def draw(self, step: int) -> list[int]:
        """Indices of the examples that this step sees, ``batch`` of them."""
        positions = range(step * self.batch, (step + 1) * self.batch)
        return [self._order(position // self.count)[position % self.count] for position in positions]

    def begins_epoch(self, step: int) -> bool:
        """Whether a new epoch begins in the draw of this step."""
        return self.batch == 0 or -step * self.batch % self.count < self.batch


def _shuffled(count: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(mixed_seed(seed, epoch))
    return torch.randperm(count, generator=generator).tolist()


def mixed_seed(*parts: int) -> int:
    """One 63-bit seed from several small numbers, the same on every machine."""
    value = 0x9E3779B97F4A7C15
    for part in parts:
        value ^= part & 0xFFFFFFFFFFFFFFFF
        value = (value * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        value ^= value >> 31
    return value >> 1
