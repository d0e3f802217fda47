"""Images as layers: one for a gray or color image, else one a channel; large ones are read in parts."""

from typing import Any

import dask.array as da
import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from napari.utils.notifications import show_warning
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.bands import LargePicture
from napari_semigda.io.pictures import Picture
from napari_semigda.io.planes import StoredPixels

CHANNEL_COLORS = ("green", "magenta", "cyan", "yellow", "red", "blue")
READ_AT_ONCE = 512  # pixels: sides of the smallest part read of a large image

Levels = list[Any]
"""Arrays of one image, the one at full resolution first; only large images have more than one."""


def channels_of(picture: Picture | LargePicture) -> list[Levels]:
    """Return what each layer shows."""
    levels = _levels(picture)
    if levels[0].ndim == 2:
        return [levels]
    if levels[0].shape[2] in (3, 4):
        return [_displayable_colors(levels)]
    return [[level[..., channel] for level in levels] for channel in range(levels[0].shape[2])]


def fits(layers: list[Layer], channels: list[Levels]) -> bool:
    """Return whether these layers can show these channels."""
    return [(layer.multiscale, layer.data.ndim) for layer in layers] == [
        (len(channel) > 1, channel[0].ndim) for channel in channels
    ]


def add_layers(viewer: ViewerModel, channels: list[Levels]) -> list[Image]:
    """Add a layer for each channel; several are blended, each in its color."""
    layers = [
        viewer.add_image(
            channel if len(channel) > 1 else channel[0], rgb=channel[0].ndim == 3, multiscale=len(channel) > 1
        )
        for channel in channels
    ]
    if len(layers) > 1:
        for number, layer in enumerate(layers):
            layer.colormap = CHANNEL_COLORS[number % len(CHANNEL_COLORS)]
            layer.blending = "additive" if number else layer.blending
    return layers


def fill_layer(layer: Layer, levels: Levels) -> None:
    """Show other pixels in a layer, with their own contrast unless all images have the same range."""
    layer.data = levels if len(levels) > 1 else levels[0]
    if levels[0].ndim == 2 and levels[0].dtype != np.uint8:
        layer.reset_contrast_limits_range()
        layer.reset_contrast_limits()


def _levels(picture: Picture | LargePicture) -> Levels:
    if isinstance(picture, Picture):
        return [picture.pixels]
    stored = [
        da.from_array(_Viewed(level), chunks=level.blocks(READ_AT_ONCE), name=False, asarray=False)
        for level in picture.levels
    ]
    return [*stored, *picture.overviews]


class _Viewed:
    """A stored plane that is black where it is damaged: napari breaks when reading fails."""

    def __init__(self, stored: StoredPixels) -> None:
        self._stored = stored
        self._warned = False
        self.shape, self.dtype, self.ndim = stored.shape, stored.dtype, stored.ndim

    def __getitem__(self, key: Any) -> NDArray[Any]:
        try:
            return self._stored[key]
        except SemiGDAError as error:
            if not self._warned:
                self._warned = True
                show_warning(f"{error} Parts that cannot be read are shown black.")
            black: NDArray[Any] = np.broadcast_to(np.zeros((), self.dtype), self.shape)
            return np.asarray(black[key])


def _displayable_colors(levels: Levels) -> Levels:
    """Color images as napari shows them: uint8 unchanged, others stretched to floats in [0, 1]."""
    if levels[0].dtype == np.uint8:
        return levels
    low, high = np.percentile(_finite(levels[-1])[..., :3], (0.3, 99.7))

    def stretched(pixels: NDArray) -> NDArray[np.float32]:
        shown: NDArray[np.float32] = np.clip((_finite(pixels) - low) / max(high - low, 1e-20), 0, 1)
        return shown.astype(np.float32, copy=False)

    return [
        da.map_blocks(stretched, level, dtype=np.float32) if isinstance(level, da.Array) else stretched(level)
        for level in levels
    ]


def _finite(pixels: NDArray) -> NDArray[np.float32]:
    return np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
