"""What a step minimizes: the terms of SemiGDA's loss for one batch of each stream."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_semigda.model.network import Latents, SemiGDANet
from napari_semigda.training.augmentation import mix, random_boxes
from napari_semigda.training.data import Batch
from napari_semigda.training.losses import (
    alignment_loss,
    latent_weights,
    one_hot,
    pseudo_labels,
    segmentation_loss,
)
from napari_semigda.training.recipe import Recipe, unlabeled_weight

#: Name of a term → its weight in the sum and its value.
Terms = dict[str, tuple[float, Tensor]]


class Objective:
    """The loss of one step, ``L = L_sup + λ·L_unsup`` (SemiGDA, schedule), as named terms.

    The model is in training mode; the generator, for noise and boxes, on the CPU.
    """

    def __init__(self, model: SemiGDANet, recipe: Recipe, generator: torch.Generator) -> None:
        self.model, self.recipe, self.generator = model, recipe, generator

    def terms(self, stage: int, fraction: float, labeled: Batch, unlabeled: Batch | None) -> Terms:
        """Compute all terms of a step, of which `fraction` of the stage is finished; both batches are on the
        model's device.

        Stage 1 has latents only; stage 2 decoded masks, and the latents if the recipe says so.
        """
        images = labeled.images if unlabeled is None else torch.cat([labeled.images, unlabeled.images])
        weight = unlabeled_weight(fraction, self.recipe.unlabeled_peak)
        if stage == 1:
            return self._alignment(self.model.latents(images), labeled, unlabeled, weight)
        noise = self._noise(images)
        mixture = None
        if unlabeled is not None and fraction >= self.recipe.mixing_from:
            count, size = min(len(labeled.images), len(unlabeled.images)), images.shape[-1]
            boxes = random_boxes(count, size, self.recipe.mixing_side, self.generator)
            mixture = _Mixture(labeled, unlabeled, boxes.to(images.device))
            # one pass for all: neither the mixed images nor their noise depend on what the others come to
            images = torch.cat([images, mixture.images])
            noise = torch.cat([noise, self._noise(mixture.images)])
        latents = self.model.latents(images, noise)
        terms = self._segmentation(latents, labeled, unlabeled, mixture, weight)
        if self.recipe.align_in_stage_two:
            terms |= self._alignment(latents, labeled, unlabeled, weight)
        return terms

    def _alignment(self, latents: Latents, labeled: Batch, unlabeled: Batch | None, weight: float) -> Terms:
        """Align both latents with the mask's, and with each other where there is no mask.

        A mask's latent depends on all of the mask, however faintly, so that a mask with unlabeled pixels has
        none to align with. Pixels outside the image are background; only latents next to them are left out.
        """
        count = len(labeled.images)
        without_mask = slice(count, count if unlabeled is None else count + len(unlabeled.images))
        target = self.model.mask_latent(labeled.labels.masked_fill(~labeled.known, 0))
        mapped, encoded = latents.mapped, latents.encoded
        weights = latent_weights(labeled.known) * labeled.fully_known[:, None, None, None]
        supervised = alignment_loss(mapped[:count], target, weights)
        supervised = supervised + alignment_loss(encoded[:count], target, weights)
        terms = {"alignment": (1.0, supervised)}
        if unlabeled is not None:
            weights = latent_weights(unlabeled.valid)
            unsupervised = alignment_loss(mapped[without_mask], encoded[without_mask], weights)
            unsupervised = unsupervised + alignment_loss(encoded[without_mask], mapped[without_mask], weights)
            terms["unlabeled alignment"] = (weight, unsupervised)
        return terms

    def _segmentation(
        self,
        latents: Latents,
        labeled: Batch,
        unlabeled: Batch | None,
        mixture: _Mixture | None,
        weight: float,
    ) -> Terms:
        """Compare both branches with the truth, and each with the other's pseudo labels."""
        count, recipe = len(labeled.images), self.recipe
        branches = [self.model.decode_image_branch(latents), self.model.decode_mask_branch(latents)]
        truth = one_hot(labeled.labels, self.model.classes)
        supervised = [segmentation_loss(branch[:count], truth, labeled.known) for branch in branches]
        terms: Terms = {"dice": (1.0, supervised[0] + supervised[1])}
        if unlabeled is not None:
            alone = count + len(unlabeled.images)
            pseudo = [
                pseudo_labels(branch[:alone], recipe.pseudo_label, recipe.temperature, recipe.one_object)
                for branch in branches
            ]
            of_unlabeled = [branch[count:alone] for branch in branches]
            unsupervised = _crosswise(of_unlabeled, [labels[count:] for labels in pseudo], unlabeled.valid)
            terms["unlabeled dice"] = (weight, unsupervised)
            if mixture is not None:
                mixed = [mixture.mix(labels[:count], labels[count:]) for labels in pseudo]
                crossed = _crosswise([branch[alone:] for branch in branches], mixed, mixture.counted)
                terms["mixed dice"] = (weight, crossed)
        return terms

    def _noise(self, images: Tensor) -> Tensor:
        """Noise for the image latents; 0, that is the mean, for images that are not sampled."""
        height, width = (side // 8 for side in images.shape[-2:])
        channels = self.model.autoencoder.latent_channels
        noise = torch.randn(len(images), channels, height, width, generator=self.generator)
        sampled = torch.rand(len(images), 1, 1, 1, generator=self.generator) < self.recipe.noise_probability
        return (noise * sampled).to(images.device)


class _Mixture:
    """CutMix between both halves of a batch (SemiGDA, skip adapters); `counted` pixels train."""

    def __init__(self, labeled: Batch, unlabeled: Batch, boxes: Tensor) -> None:
        self._boxes = boxes
        self.images = self.mix(labeled.images, unlabeled.images)
        self.counted = self.mix(labeled.known, unlabeled.valid)

    def mix(self, labeled: Tensor, unlabeled: Tensor) -> Tensor:
        """Swap the boxes between tensors of the two halves."""
        count = len(self._boxes)
        return mix(labeled[:count], unlabeled[:count], self._boxes)


def _crosswise(branches: Sequence[Tensor], pseudo: Sequence[Tensor], counted: Tensor) -> Tensor:
    """Compare each branch with the other branch's pseudo labels."""
    return segmentation_loss(branches[0], pseudo[1], counted) + segmentation_loss(
        branches[1], pseudo[0], counted
    )
