"""Label maps to images an autoencoder can encode, and back (SemiGDA, annotation conversion and reversion).

For two classes this is the paper's conversion: background black, foreground white. The paper's gray levels
break for more classes, because a blurred edge between class 0 and class 2 decodes as class 1; so there each
class has a color, and all colors are as far apart in the color cube as a lattice allows.
"""

from collections.abc import Callable, Collection
from functools import cache

import torch
from torch import Tensor

UNKNOWN = 255
"""Label of unlabeled pixels, which train nothing."""

MOST_CLASSES = 254
"""Label maps are 8 bit, and 255 means unlabeled."""

SHARPNESS = 8.0
"""Squared distances are divided by (smallest palette distance)² / 8: an exact color gets p > 0.995."""


def class_palette(classes: int) -> Tensor:
    """Return the classes' colors, (classes, 3) float32 in [-1, 1], as far apart as a lattice in the color
    cube allows.

    Two classes are black and white. More are points of the coarsest simple, body-centered or face-centered
    cubic lattice with enough points (3 and 4 classes: a regular tetrahedron; 5 to 8: the cube's corners; 9:
    with its center; 10 to 14: with the faces' centers; and so on), taken farthest-first from black, the
    background's color. Raises a ValueError for fewer than 2 or more than 254 classes.
    """
    if not 2 <= classes <= MOST_CLASSES:
        raise ValueError(
            f"A segmentation has 2 to {MOST_CLASSES} classes with the background, not {classes}."
        )
    if classes == 2:
        return torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    return _lattice_palette(classes).clone()


def smallest_distance(palette: Tensor) -> float:
    """Smallest distance between two colors of a palette (classes, 3)."""
    return float(torch.pdist(palette.double()).min())


def labels_to_image(labels: Tensor, classes: int) -> Tensor:
    """Paint labels (B, H, W), 0 to classes - 1, in the classes' colors: (B, 3, H, W) float32 in [-1, 1]."""
    if labels.numel() and int(labels.max()) >= classes:
        raise ValueError(
            f"The label map has the value {int(labels.max())}, but classes are 0 to {classes - 1}."
        )
    palette = class_palette(classes).to(labels.device)
    return palette[labels.long()].permute(0, 3, 1, 2).contiguous()


def image_to_probabilities(image: Tensor, classes: int, only: Collection[int] | None = None) -> Tensor:
    """Read class probabilities, (B, classes, H, W) float32, off a decoded image, (B, 3, H, W) in about [-1,
    1].

    For two classes the foreground probability is the mean of the channels, shifted to [0, 1] and clamped, as
    in the paper. For more it is a softmax of negative squared distances to the classes' colors, with
    probability 0 for foreground classes that are not in `only`, if it is given.
    """
    image = image.float()
    if classes == 2:
        foreground = ((image.mean(dim=1, keepdim=True) + 1) / 2).clamp(0, 1)
        return torch.cat([1 - foreground, foreground], dim=1)
    palette = class_palette(classes)
    scale = SHARPNESS / smallest_distance(palette) ** 2
    palette = palette.to(image.device)
    # |y - c|² without its |y|², which is the same for all classes and drops out of the softmax
    with torch.autocast(
        image.device.type, enabled=False
    ):  # 16 bits would confuse neighbors in a large palette
        products = torch.einsum("bchw,kc->bkhw", image, palette)
    closeness = 2 * products - palette.square().sum(dim=1)[:, None, None]
    closeness = closeness * scale
    if only is not None:
        left_out = [value for value in range(1, classes) if value not in only]
        closeness[:, left_out] = -torch.inf
    return closeness.softmax(dim=1)


@cache
def _lattice_palette(classes: int) -> Tensor:
    """Choose from the cubic lattice in [-1, 1]³ with enough points that lie farthest apart."""
    candidates = []
    for belongs in _LATTICES:
        steps = 1
        while len(lattice := _lattice(steps, belongs)) < classes:
            steps += 1
        candidates.append(lattice)
    points = max(candidates, key=smallest_distance)
    # The first, then always the one farthest from those chosen.
    chosen = [0]
    nearest = (points - points[0]).square().sum(dim=1)
    while len(chosen) < classes:
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).square().sum(dim=1))
    return points[chosen]


_LATTICES: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda grid: torch.ones(len(grid), dtype=torch.bool),  # simple
    lambda grid: (grid % 2 == grid[:, :1] % 2).all(dim=1),  # body-centered
    lambda grid: grid.sum(dim=1) % 2 == 0,  # face-centered
)


def _lattice(steps: int, belongs: Callable[[Tensor], Tensor]) -> Tensor:
    """Grid points of the cube, `steps` intervals an edge, that belong to a lattice: (n, 3) in [-1, 1]."""
    axis = torch.arange(steps + 1)
    grid = torch.cartesian_prod(axis, axis, axis)
    return grid[belongs(grid)].float() * (2 / steps) - 1
