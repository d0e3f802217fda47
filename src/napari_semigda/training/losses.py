"""The losses of SemiGDA; unlabeled pixels take part in none of them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from skimage.measure import label
from torch import Tensor

LATENT_STRIDE = 8

SMALLEST_PROBABILITY = 1e-30
"""Far below what a softmax of colors gives a wrong class: with a larger one, a class that starts as very
unlikely would have no gradient."""


def dice_loss(probabilities: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Soft Dice, ``1 − 2Σ(p·y)/(Σp + Σy)``, of the foreground classes (SemiGDA, skip adapters): a scalar in
    [0, 1].

    `probabilities` and `targets` are (B, K, H, W) with the background first; pixels whose `weights`, (B, H,
    W), are 0 train nothing. One pixel is added to numerator and denominator, so that an empty target has a
    gradient towards an empty prediction instead of a constant loss of 1. Each image counts alike, and so does
    each of its classes; of several foreground classes only those that are in the target, or wrongly win a
    pixel: the faint traces that a palette leaves of every other class would otherwise outweigh the rest.
    """
    # Background pixels of weight 0 count in neither sum, so one product with the weights serves both.
    predicted = probabilities[:, 1:].float() * weights[:, None]
    wanted = targets[:, 1:].float() * weights[:, None]
    overlap = (predicted * wanted).sum(dim=(-2, -1))
    total = predicted.sum(dim=(-2, -1)) + wanted.sum(dim=(-2, -1))
    losses = 1 - (2 * overlap + 1) / (total + 1)
    taking_part = _classes_taking_part(probabilities, wanted, weights)
    per_image = (losses * taking_part).sum(dim=1) / taking_part.sum(dim=1).clamp(min=1)
    counted = (weights.flatten(1) > 0).any(dim=1).float()
    return (per_image * counted).sum() / counted.sum().clamp(min=1)


def segmentation_loss(probabilities: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Soft Dice as in the paper; with more than one foreground class, plus cross-entropy; arguments of
    `dice_loss`.

    Dice of the foreground classes does not say which class a wrong pixel should have been: it pushes class 1
    out of the background, wherever to, while its push against a class that an image does not show falls with
    the square of the area that this class wins. So the color of a class that was added later, or that few
    masks show, stayed the nearest one in the transitions between others: a rim around every object. Classes
    whose colors are far from what the network paints at first had no gradient at all. Cross-entropy pushes
    each pixel towards its own class.
    """
    loss = dice_loss(probabilities, targets, weights)
    if probabilities.shape[1] == 2:
        return loss
    return loss + cross_entropy_loss(probabilities, targets, weights)


def cross_entropy_loss(probabilities: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Mean of ``−Σ y·log p`` over the weighted pixels; 0 without gradient where all weights are 0."""
    logarithms = probabilities.float().clamp_min(SMALLEST_PROBABILITY).log()
    of_pixels = -(targets.float() * logarithms).sum(dim=1) * weights
    return of_pixels.sum() / weights.float().sum().clamp(min=1)


def _classes_taking_part(probabilities: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Which foreground classes count in which image: float (B, K − 1)."""
    classes = probabilities.shape[1]
    if classes == 2:
        return torch.ones_like(wanted[:, :, 0, 0])
    winners = F.one_hot(probabilities.detach().argmax(dim=1), classes).movedim(-1, 1)[:, 1:]
    wins = (winners * weights[:, None]).sum(dim=(-2, -1)) > 0
    return (wins | (wanted.sum(dim=(-2, -1)) >= 0.5)).float()


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Convert a label map (B, H, W) to float (B, K, H, W); values outside 0 … K − 1 become background."""
    inside = torch.where(labels < classes, labels, torch.zeros_like(labels)).long()
    return F.one_hot(inside, classes).movedim(-1, 1).float()


def latent_weights(counted: Tensor) -> Tensor:
    """Return 1 for latent positions, (B, 1, H/8, W/8), that depend on `counted` pixels, (B, H, W) bool, only,
    else 0.

    A position is 0 when its own 8 × 8 pixels or those of a neighbor hold a pixel that does not count: the
    autoencoder looks beyond its own block.
    """
    left_out = (~counted).float()[:, None]
    stride = LATENT_STRIDE
    return 1 - F.max_pool2d(left_out, 3 * stride, stride=stride, padding=stride)


def alignment_loss(latent: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Mean squared distance of two latents (B, C, h, w) (SemiGDA, alignment); the target is detached.

    `weights`, (B, 1, h, w), are those of `latent_weights`.
    """
    squares = (latent.float() - target.detach().float()) ** 2 * weights
    return squares.sum() / (weights.sum() * latent.shape[1]).clamp(min=1)


def pseudo_labels(probabilities: Tensor, kind: str, temperature: float, largest_only: bool) -> Tensor:
    """Turn one branch's output, (B, K, H, W), into targets for the other, on images without labels; no
    gradient.

    The kind ``"soft"``: the probabilities themselves, as in the paper. ``"hard"``: a foreground class where
    its probability, sharpened by the temperature T to ``p^(1/T)``, reaches ½ (p ≥ 0.933 for T = 0.1),
    background elsewhere, as in the authors' code. `largest_only` keeps only the largest connected component
    (p ≥ ½) of the foreground, of whatever classes: right where there is one object per image, and wrong
    everywhere else.
    """
    foreground = probabilities.detach()[:, 1:].float()
    if kind == "hard":
        foreground = (foreground >= 0.5**temperature).float()
    if largest_only:
        foreground = foreground * ~_smaller_components(foreground.sum(dim=1, keepdim=True) >= 0.5)
    return torch.cat([1 - foreground.sum(dim=1, keepdim=True), foreground], dim=1)


def _smaller_components(masks: Tensor) -> Tensor:
    """Everything of each mask but its largest connected component; bool like ``masks`` (B, C, H, W)."""
    smaller = np.zeros(masks.shape, bool)
    for index, mask in zip(np.ndindex(*masks.shape[:2]), masks.flatten(0, 1).cpu().numpy(), strict=True):
        components = label(mask)
        sizes = np.bincount(components.ravel())
        if len(sizes) > 2:
            smaller[index] = (components > 0) & (components != 1 + sizes[1:].argmax())
    return torch.from_numpy(smaller).to(masks.device)
