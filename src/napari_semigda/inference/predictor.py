"""From an image's pixels to class probabilities, a label map, an uncertainty map and a score."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_semigda.errors import Cancelled
from napari_semigda.inference.postprocessing import ImageScore, label_map, one_object, uncertainty_map
from napari_semigda.inference.preparation import (
    Framed,
    ImageSettings,
    Limits,
    Pixels,
    check_pixels,
    frame,
    in_picture_order,
    intensity_limits,
    normalize,
    unframe,
)
from napari_semigda.inference.tiling import Axis, RowBlender
from napari_semigda.model.device import autocast

Progress = Callable[[int, int], None]
"""Called with the number of tiles done and of all tiles."""
Asked = Callable[[], bool]
"""Returns True to cancel."""

PIXELS_AT_ONCE = {"cuda": 2**19}
"""Pixels of tiles that go through the network together, by type of device."""

FEWER_PIXELS_AT_ONCE = 2**16
"""The same on devices that gain nothing from large batches; small enough to cancel within a second."""


DRAFT_THRESHOLD = 0.5
"""Foreground is what is more probable than background."""


class Network(Protocol):
    """What a predictor needs of a network; `napari_semigda.model.network.SemiGDANet` has it."""

    classes: int
    image_branch_share: float

    def latents(self, image: Tensor, /) -> Any:
        """Latents of both branches, of images (B, 3, S, S)."""

    def decode_image_branch(self, latents: Any, /) -> Tensor:
        """Class probabilities (B, K, S, S) of the image branch."""

    def decode_mask_branch(self, latents: Any, /) -> Tensor:
        """Class probabilities (B, K, S, S) of the mask branch."""


@dataclass(frozen=True)
class Prediction:
    """The prediction of one image, in the image's own pixels.

    Parameters
    ----------
    probabilities
        (K, H, W) float32 in [0, 1], adding up to one: the weighted mean of both branches.
    labels
        (H, W) uint8, the most probable class; for two classes 1 where the foreground's probability is above
        one half.
    uncertainty
        (H, W) float32 in [0, 1], see `uncertainty_map`.
    score
        In [0, 1], see `ImageScore`: the higher, the sooner the image should be labeled.
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.uint8]
    uncertainty: NDArray[np.float32]
    score: float


@dataclass(frozen=True)
class Draft:
    """What is kept of a prediction for an annotator; `uncertainty` is the mean over the image, in [0, 1]."""

    labels: NDArray[np.uint8]
    score: float
    uncertainty: float


@dataclass(frozen=True)
class DraftMaps:
    """Maps (H, W) of one image from which drafts with any threshold are computed at once.

    `foreground` is the probability of the most probable class, `best`, against background, of these two (for
    two classes: the foreground's probability). With `one_object` a draft has at most one object.
    """

    foreground: NDArray[np.float32]
    best: NDArray[np.uint8]
    uncertainty: NDArray[np.float32]
    one_object: bool = False

    def labels(self, threshold: float = DRAFT_THRESHOLD) -> NDArray[np.uint8]:
        """Return the draft, uint8: foreground above `threshold`; at one half, what the predictor drafts."""
        labels = np.where(self.foreground > threshold, self.best, np.uint8(0))
        return one_object(labels) if self.one_object else labels


class Strip(NamedTuple):
    """Some whole rows of a prediction, from row `top` on: (K, n, W), (n, W) uint8 and (n, W) float32."""

    top: int
    probabilities: NDArray[np.float32]
    labels: NDArray[np.uint8]
    uncertainty: NDArray[np.float32]


class Predictor:
    """Predict images of any size and type with one network.

    The model, a `SemiGDANet` or anything with its `Network` interface, is moved to the device; its training
    mode is restored afterwards. CUDA computes in bfloat16 where the card supports it. With `one_object` only
    the largest predicted object is kept, but probabilities and uncertainty are not changed. Classes in
    `removed` become background where they are the most probable ones.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: ImageSettings,
        device: str | torch.device = "cpu",
        *,
        one_object: bool = False,
        removed: Collection[int] = (),
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.settings = settings
        self.one_object = one_object
        self.removed = tuple(removed)

    def predict(
        self, pixels: Pixels, *, progress: Progress | None = None, cancelled: Asked | None = None
    ) -> Prediction:
        """Predict one image.

        Parameters
        ----------
        pixels
            (H, W) or (H, W, C), any integer, floating or boolean type. The order of axes named "y" and "x"
            (as in xarray) does not matter.
        progress
            Called with the number of tiles done and of all tiles, after each batch of tiles.
        cancelled
            Asked several times per tile.

        Raises
        ------
        SemiGDAError
            If the array is not an image, or lacks a chosen channel.
        Cancelled
            If `cancelled` returned True.
        """
        pixels = in_picture_order(pixels)
        check_pixels(pixels, self.settings)
        height, width = pixels.shape[:2]
        probabilities = np.empty((self._network.classes, height, width), np.float32)
        labels = np.empty((height, width), np.uint8)
        uncertainty = np.empty((height, width), np.float32)
        summary = ImageScore()
        strips = self.fill(labels, pixels, progress=progress, cancelled=cancelled, summary=summary)
        for strip in strips:
            rows = slice(strip.top, strip.top + len(strip.labels))
            probabilities[:, rows] = strip.probabilities
            uncertainty[rows] = strip.uncertainty
        return Prediction(probabilities, labels, uncertainty, summary.value)

    def draft(
        self, pixels: Pixels, *, progress: Progress | None = None, cancelled: Asked | None = None
    ) -> Draft:
        """Predict one image, keeping labels only, one byte per pixel; arguments and errors as `predict`."""
        pixels = in_picture_order(pixels)
        check_pixels(pixels, self.settings)
        labels = np.empty(pixels.shape[:2], np.uint8)
        summary, uncertainty = ImageScore(), 0.0
        strips = self.fill(labels, pixels, progress=progress, cancelled=cancelled, summary=summary)
        for strip in strips:
            uncertainty += float(strip.uncertainty.sum(dtype=np.float64))
        return Draft(labels, summary.value, uncertainty / labels.size)

    def fill(
        self,
        labels: NDArray[np.uint8],
        pixels: Pixels,
        *,
        progress: Progress | None = None,
        cancelled: Asked | None = None,
        summary: ImageScore | None = None,
    ) -> Iterator[Strip]:
        """Predict one image into a label map (H, W) uint8, strip by strip; arguments and errors as in
        `stream`.

        The label map is complete when the iteration has ended. Only then is the largest of several objects
        known: with `one_object` the strips may have more of them.
        """
        for strip in self._strips(pixels, progress, cancelled, summary):
            labels[strip.top : strip.top + len(strip.labels)] = strip.labels
            yield strip
        if self.one_object:
            labels[:] = one_object(labels)

    def stream(
        self,
        pixels: Pixels,
        *,
        progress: Progress | None = None,
        cancelled: Asked | None = None,
        summary: ImageScore | None = None,
    ) -> Iterator[Strip]:
        """Predict one image from top to bottom, strip by strip.

        With the framing ``"tiles"`` neither the image nor the prediction is ever whole in memory: memory
        grows with the image's width, not with its height. With ``"whole"`` there is one strip. With
        `one_object` all strips are in memory before the first is yielded; where labels are enough, `draft`
        and `fill` need less.

        Parameters
        ----------
        pixels
            As in `predict`; only ever sliced, so a memory map, a zarr or a dask array is read piece by piece.
        progress, cancelled
            As in `predict`.
        summary
            A new `ImageScore`, complete once all strips were yielded.

        Yields
        ------
        Strip
            One after the other without a gap; together they cover the image.

        Raises
        ------
        SemiGDAError, Cancelled
            As in `predict`.
        """
        strips = self._strips(pixels, progress, cancelled, summary)
        if not self.one_object:
            yield from strips
            return
        held = list(strips)
        labels = one_object(np.concatenate([strip.labels for strip in held]))
        for strip in held:
            yield strip._replace(labels=labels[strip.top : strip.top + len(strip.labels)])

    def _strips(
        self, pixels: Pixels, progress: Progress | None, cancelled: Asked | None, summary: ImageScore | None
    ) -> Iterator[Strip]:
        """Predict strip by strip; `one_object` is not applied yet."""
        summary = ImageScore() if summary is None else summary
        pixels = in_picture_order(pixels)
        limits = intensity_limits(pixels, self.settings, cancelled=cancelled)
        work = _Work(progress, cancelled)
        strips = self._whole if self.settings.framing == "whole" else self._tiles
        for top, layers in strips(pixels, limits, work):
            probabilities, uncertainty = layers[:-1], layers[-1].clamp(0, 1)
            summary.add(probabilities, uncertainty)
            labels = label_map(probabilities).numpy()
            labels[np.isin(labels, self.removed)] = 0
            yield Strip(top, probabilities.numpy(), labels, uncertainty.numpy())

    @property
    def _network(self) -> Network:
        return cast(Network, self.model)

    def _whole(self, pixels: Pixels, limits: Limits, work: _Work) -> Iterator[tuple[int, Tensor]]:
        work.expect(1)
        framed = frame(normalize(pixels, self.settings, limits), None, self.settings)
        layers = self._infer([framed], work)[0]
        yield 0, unframe(layers, framed.geometry)

    def _tiles(self, pixels: Pixels, limits: Limits, work: _Work) -> Iterator[tuple[int, Tensor]]:
        rows, columns = (Axis(length, self.settings.tile_size) for length in pixels.shape[:2])
        work.expect(len(rows.starts) * len(columns.starts))
        blender = RowBlender(rows, columns, self._network.classes + 1)
        at_once = PIXELS_AT_ONCE.get(self.device.type, FEWER_PIXELS_AT_ONCE)
        size = max(1, at_once // self.settings.working_size**2)

        def tiles_of_row(top: int) -> Iterator[Tensor]:
            # read once for all tiles of the row: stored chunks are not decoded again for each of them
            band = np.asarray(pixels[top : top + rows.tile])
            for first in range(0, len(columns.starts), size):
                framed = []
                for left in columns.starts[first : first + size]:
                    work.check()  # large tiles take as long to resize as to infer
                    colors = normalize(band[:, left : left + columns.tile], self.settings, limits)
                    framed.append(frame(colors, None, self.settings))
                for layers, tile in zip(self._infer(framed, work), framed, strict=True):
                    work.check()
                    yield unframe(layers, tile.geometry)

        yield from blender.blend(tiles_of_row(top) for top in rows.starts)

    def _infer(self, tiles: list[Framed], work: _Work) -> Tensor:
        """Return probabilities and, as the last layer, uncertainty of tiles: (B, K + 1, S, S) on the CPU."""
        work.check()
        with _predicting(self.model), autocast(self.device):
            latents = self._network.latents(torch.stack([tile.image for tile in tiles]).to(self.device))
            image_branch = self._network.decode_image_branch(latents).float()
            mask_branch = self._network.decode_mask_branch(latents).float()
            mean = mask_branch.lerp(image_branch, self._network.image_branch_share)
            uncertainty = uncertainty_map(mean, image_branch, mask_branch)
            layers = torch.cat([mean, uncertainty[:, None]], dim=1).cpu()
        work.done(len(tiles))
        return layers


def draft_maps(
    predictor: Predictor,
    pixels: Pixels,
    classes: Collection[int] | None = None,
    *,
    cancelled: Asked | None = None,
) -> DraftMaps:
    """Predict an image strip by strip, with these class values or all, and keep what any threshold needs."""
    height, width = pixels.shape[:2]
    foreground, uncertainty = np.zeros((2, height, width), np.float32)
    best = np.zeros((height, width), np.uint8)
    for strip in predictor.fill(np.empty((height, width), np.uint8), pixels, cancelled=cancelled):
        rows = slice(strip.top, strip.top + len(strip.labels))
        values = [
            value for value in range(1, len(strip.probabilities)) if classes is None or value in classes
        ]
        uncertainty[rows] = strip.uncertainty
        if values:
            of_classes = strip.probabilities[values]
            most = of_classes.max(axis=0)
            best[rows] = np.array(values, np.uint8)[of_classes.argmax(axis=0)]
            foreground[rows] = most / np.maximum(most + strip.probabilities[0], np.finfo(np.float32).tiny)
    return DraftMaps(foreground, best, uncertainty, predictor.one_object)


class _Work:
    """Progress of one image, and whether it was canceled."""

    def __init__(self, progress: Progress | None, cancelled: Asked | None) -> None:
        self._progress = progress
        self._cancelled = cancelled
        self._done = self._total = 0

    def expect(self, total: int) -> None:
        self._total = total

    def check(self) -> None:
        if self._cancelled is not None and self._cancelled():
            raise Cancelled

    def done(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


@contextmanager
def _predicting(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards each part is back in its own mode."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True
