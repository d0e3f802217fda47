"""Random changes of a batch on its device, and CutMix; labels and validity always move with the image."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.training.data import Batch


def augment(batch: Batch, generator: torch.Generator) -> Batch:
    """Flip, turn, shift, scale, rotate and jitter each example on its own (SemiGDA, schedule).

    Flips and quarter turns have probability ½ each; shift (0.15 of the side), scale (0.1) and rotation (20°)
    come together with probability 0.4; color jitter (0.1) with probability 0.2. Pixels from outside the image
    become unlabeled and not valid. The generator is on the CPU, so that a seed gives the same augmentation on
    every device.
    """
    batch = _flip_and_turn(batch, generator)
    batch = _warp(batch, generator)
    return batch._replace(images=_jitter(batch.images, generator))


def _chance(generator: torch.Generator, probability: float) -> bool:
    return bool(torch.rand((), generator=generator) < probability)


def _uniform(generator: torch.Generator, limit: float) -> float:
    return float(torch.rand((), generator=generator) * 2 - 1) * limit


def _flip_and_turn(batch: Batch, generator: torch.Generator) -> Batch:
    moved = []
    for parts in zip(*batch, strict=True):
        flips = [axis for axis in (-2, -1) if _chance(generator, 0.5)]
        turns = int(torch.randint(1, 4, (), generator=generator)) if _chance(generator, 0.5) else 0
        moved.append([torch.rot90(torch.flip(part, flips), turns, (-2, -1)) for part in parts])
    return Batch(*(torch.stack(parts) for parts in zip(*moved, strict=True)))


def _warp(batch: Batch, generator: torch.Generator) -> Batch:
    matrices = [_affine(generator) if _chance(generator, 0.4) else None for _ in batch.images]
    chosen = [index for index, matrix in enumerate(matrices) if matrix is not None]
    if not chosen:
        return batch
    images, labels, valid = (part.clone() for part in batch)
    theta = torch.stack([matrix for matrix in matrices if matrix is not None]).to(images.device)
    grid = F.affine_grid(theta, list(images[chosen].shape), align_corners=False)
    # Clamped to the outermost pixels' centers: like padding with the border, which not every device can.
    edge = 1 - 1 / images.shape[-1]
    images[chosen] = F.grid_sample(images[chosen], grid.clamp(-edge, edge), align_corners=False)
    # Shifted by one, so that what lies outside (0) can be told from the background class.
    codes = torch.stack([labels[chosen] + 1.0, valid[chosen].float()], dim=1)
    codes = F.grid_sample(codes, grid, mode="nearest", align_corners=False)
    valid[chosen] = codes[:, 1] > 0.5
    moved = (codes[:, 0].round() - 1).clamp(min=0).to(labels.dtype)
    labels[chosen] = torch.where(valid[chosen], moved, torch.full_like(moved, UNKNOWN))
    return Batch(images, labels, valid)


def _affine(generator: torch.Generator) -> Tensor:
    angle = math.radians(_uniform(generator, 20.0))
    scale = 1.0 + _uniform(generator, 0.1)
    # A shift by 0.15 of the side is 0.3 in coordinates that run from -1 to 1.
    right, down = _uniform(generator, 0.3), _uniform(generator, 0.3)
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    return torch.tensor([[cosine, -sine, right], [sine, cosine, down]])


def _jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation by up to a tenth."""
    factors = torch.ones(len(images), 3)
    for index in range(len(images)):
        if _chance(generator, 0.2):
            factors[index] += torch.tensor([_uniform(generator, 0.1) for _ in range(3)])
    brightness, contrast, saturation = factors.to(images.device)[:, :, None, None, None].unbind(1)
    bright = (images + 1) / 2 * brightness
    mean = bright.mean(dim=(1, 2, 3), keepdim=True)
    contrasted = (bright - mean) * contrast + mean
    gray = contrasted.mean(dim=1, keepdim=True)
    return ((contrasted - gray) * saturation + gray).clamp(0, 1) * 2 - 1


def random_boxes(count: int, size: int, side: float, generator: torch.Generator) -> Tensor:
    """Return a random square for each pair of images, bool (count, size, size); `side` is a share."""
    length = max(1, round(size * side))
    corners = torch.randint(size - length + 1, (count, 2), generator=generator)
    positions = torch.arange(size)
    inside = (positions >= corners[..., None]) & (positions < corners[..., None] + length)
    return inside[:, 0, :, None] & inside[:, 1, None, :]


def mix(first: Tensor, second: Tensor, boxes: Tensor) -> Tensor:
    """Swap the boxes' contents, (B, S, S), between both images of each pair: twice (B, …, S, S) to (2B, …, S,
    S).
    """
    inside = boxes if first.dim() == 3 else boxes[:, None]
    return torch.cat([torch.where(inside, second, first), torch.where(inside, first, second)])
