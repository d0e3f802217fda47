"""Scores of one or several networks on images in their original size, through the project's own predictor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import imageio.v3 as iio
import torch
from torch import Tensor, nn

from napari_semigda.inference.postprocessing import label_map
from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import ImageSettings
from packs import Pair, class_names, truth
from scores import class_scores

Scores = dict[str, list[float]]
"""Name of a score → its value for each image."""


class SideBySide(nn.Module):
    """Several answers to the same images as classes of one network, so that one prediction frames them all.

    Parameters
    ----------
    networks
        Those that answer: they are moved to the predictor's device and put into evaluation mode with it.
    answers
        From images (B, 3, S, S) to one (B, K, S, S) of probabilities for each name.
    names
        What the answers are called.
    classes_each
        K: how many classes an answer tells apart, with the background.
    """

    image_branch_share = 0.5

    def __init__(
        self,
        networks: Sequence[nn.Module],
        answers: Callable[[Tensor], Sequence[Tensor]],
        names: Sequence[str],
        classes_each: int = 2,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.answers = answers
        self.names = tuple(names)
        self.classes_each = classes_each
        self.classes = classes_each * len(self.names)

    def latents(self, image: Tensor) -> Tensor:
        """All answers to images (B, 3, S, S): (B, K·names, S, S)."""
        return torch.cat([answer.float() for answer in self.answers(image)], dim=1)

    def decode_image_branch(self, latents: Tensor) -> Tensor:
        """All answers."""
        return latents

    def decode_mask_branch(self, latents: Tensor) -> Tensor:
        """All answers again."""
        return latents


class Judge:
    """Scores each answer of a network on test images.

    Parameters
    ----------
    network
        With one or several answers.
    pairs
        Images and masks that took part in nothing.
    settings
        How pictures are framed.
    device
        Where to predict.
    """

    def __init__(
        self, network: SideBySide, pairs: Sequence[Pair], settings: ImageSettings, device: torch.device
    ) -> None:
        self._network, self._pairs = network, pairs
        self._predictor = Predictor(network, settings, device)

    def scores(self, wanted: Sequence[str] = ("dice", "iou", "hd95")) -> dict[str, Scores]:
        """Name of an answer → its scores, in the order of the pairs."""
        judged: dict[str, Scores] = {name: {} for name in self._network.names}
        for pair in self._pairs:
            wanted_mask = truth(pair)
            predicted = torch.from_numpy(self._predictor.predict(iio.imread(pair.image)).probabilities)
            answers = predicted.split(self._network.classes_each)
            for values, probabilities in zip(judged.values(), answers, strict=True):
                classes = class_names(pair.mask.parents[1])
                found = class_scores(label_map(probabilities).numpy(), wanted_mask, classes, wanted)
                for score, value in found.items():
                    values.setdefault(score, []).append(value)
        return judged
