"""Image features: a few numbers whose distance measures how different two images look. Nothing is learned."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_semigda.errors import Cancelled
from napari_semigda.inference.preparation import (
    ImageSettings,
    Pixels,
    check_pixels,
    frame,
    intensity_limits,
    normalize,
)
from napari_semigda.model.autoencoder import Autoencoder

CELLS = 4
"""Rows and columns of cells that features are pooled in."""


class FeatureExtractor:
    """Extract image features with nothing but the frozen autoencoder: pooled latents."""

    def __init__(
        self, autoencoder: Autoencoder, settings: ImageSettings, device: str | torch.device = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self.autoencoder = autoencoder.to(self.device)
        self.settings = settings

    def extract(self, pixels: Pixels, *, cancelled: Callable[[], bool] | None = None) -> NDArray[np.float32]:
        """Pool the latent of an image: all means, then all deviations, of each channel in each of 4 × 4
        cells.

        The result is (2 · channels · 16,) float32 of order 1; the Euclidean distance of two measures how
        different the images, (H, W) or (H, W, C), are. With the framing ``"whole"`` the cells divide the
        image, without its padding. With ``"tiles"`` one tile in the middle of each cell is used, so that a
        large image costs at most sixteen tiles, before each of which `cancelled` is asked. Raises
        `Cancelled`, and as `check_pixels`.
        """
        check_pixels(pixels, self.settings)
        if self.settings.framing == "whole":
            features = self._pooled(normalize(pixels, self.settings), CELLS)
        else:
            features = self._tiles(pixels, cancelled)
        return features.flatten().numpy()

    def signature(self) -> dict[str, Any]:
        """Return what features depend on besides the image, as JSON values; see `are_comparable`."""
        return {
            "cells": CELLS,
            "settings": self.settings.to_dict(),
            "autoencoder": self.autoencoder.signature(),
        }

    def _tiles(self, pixels: Pixels, cancelled: Callable[[], bool] | None) -> Tensor:
        limits = intensity_limits(pixels, self.settings, cancelled=cancelled)
        rows, columns = (_middle_tiles(length, self.settings.tile_size) for length in pixels.shape[:2])
        tiles = []
        for row, column in product(rows, columns):
            if cancelled is not None and cancelled():
                raise Cancelled
            part = np.asarray(pixels[row, column])
            tiles.append(self._pooled(normalize(part, self.settings, limits), 1))
        grid = torch.stack(tiles).reshape(len(rows), len(columns), -1).permute(2, 0, 1)
        return functional.adaptive_avg_pool2d(grid, CELLS)  # repeats where there is one row or column

    def _pooled(self, image: Tensor, cells: int) -> Tensor:
        """Means and deviations (2·C, cells, cells) of the latent of an image (3, H, W), without padding."""
        framed = frame(image, None, self.settings)
        with torch.inference_mode():
            latent = self.autoencoder.encode(framed.image[None].to(self.device)).mean[0].float().cpu()
        side, size = latent.shape[-1], framed.image.shape[-1]
        rows = -(-framed.geometry.framed_height * side // size)
        columns = -(-framed.geometry.framed_width * side // size)
        content = latent[:, :rows, :columns]
        mean = functional.adaptive_avg_pool2d(content, cells)
        square = functional.adaptive_avg_pool2d(content**2, cells)
        return torch.cat([mean, (square - mean**2).clamp(min=0).sqrt()])


def are_comparable(one: Any, other: Any) -> bool:
    """Return whether features with these two signatures can be compared.

    The autoencoder's numbers need not be equal to the last digit: another device rounds differently.
    """
    try:
        numbers = [np.asarray(signature["autoencoder"], np.float64) for signature in (one, other)]
        return bool(
            all(one[key] == other[key] for key in ("cells", "settings"))
            and numbers[0].shape == numbers[1].shape
            and np.abs(numbers[0] - numbers[1]).max() < 0.05
        )
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
        return False


def _middle_tiles(length: int, tile: int) -> list[slice]:
    """One tile in the middle of each cell of an axis; a single one if the axis is no longer than a tile."""
    if length <= tile:
        return [slice(0, length)]
    middles = (np.arange(CELLS) + 0.5) * length / CELLS
    starts = np.clip(np.round(middles - tile / 2), 0, length - tile).astype(int)
    return [slice(int(start), int(start) + tile) for start in starts]
