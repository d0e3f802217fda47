"""From an image's pixels to the network's input, and back to the image's own pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.model.annotation import UNKNOWN

Framing = Literal["whole", "tiles"]

SAMPLED_PIXELS = 1_000_000
"""Number of evenly spread pixels from which the percentiles of an image are found."""

_MOST_CHANNELS = 10_000

BAND_ROWS = 1024
"""Rows read at a time for the percentiles, of an image that may not fit into memory."""


class Pixels(Protocol):
    """Anything that can be read like an array: a NumPy array, a memory map, a zarr, dask or xarray array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, C)."""

    @property
    def dtype(self) -> Any:
        """Type of the values, as NumPy names it."""

    def __getitem__(self, key: Any, /) -> Any:
        """Part of the image, by slices."""


@dataclass(frozen=True)
class ImageSettings:
    """How a session turns its images into the network's input. Stored in sessions and checkpoints.

    Parameters
    ----------
    working_size
        Side, in pixels, of the network's square input: a multiple of 8 from 32 to 1024.
    framing
        ``"whole"``: the whole image is resized until its long side is the working size.
        ``"tiles"``: the image keeps its resolution (times `zoom`) and is split into overlapping tiles.
    zoom
        Factor by which images are resampled before they are split into tiles, from 0.02 to 50 (no effect on
        ``"whole"``). It is rounded so that a tile is a whole number of the image's own pixels.
    channels
        Indices of one to three channels to use; None takes an image's first three.
    percentiles
        Intensities shown as black and as white in images that are not 8 bit, as percentiles of the image's
        finite values.

    Raises
    ------
    SemiGDAError
        If a value is out of its range.

    Examples
    --------
    >>> settings = ImageSettings(working_size=256, framing="tiles", zoom=0.5)
    >>> settings.tile_size
    512
    """

    working_size: int = 128
    framing: Framing = "whole"
    zoom: float = 1.0
    channels: tuple[int, ...] | None = None
    percentiles: tuple[float, float] = (0.3, 99.7)

    def __post_init__(self) -> None:
        if not _is_whole_number(self.working_size) or self.working_size % 8:
            raise SemiGDAError(f"The working size must be a multiple of 8, but it is {self.working_size!r}.")
        if not 32 <= self.working_size <= 1024:
            raise SemiGDAError(f"The working size must be from 32 to 1024 pixels, not {self.working_size}.")
        if self.framing not in get_args(Framing):
            raise SemiGDAError(f"The framing must be 'whole' or 'tiles', but it is {self.framing!r}.")
        if not _is_number(self.zoom) or not 0.02 <= self.zoom <= 50:
            raise SemiGDAError(f"The zoom must be a number from 0.02 to 50, but it is {self.zoom!r}.")
        if self.channels is not None:
            if not isinstance(self.channels, tuple) or not 1 <= len(self.channels) <= 3:
                raise SemiGDAError(f"Choose one, two or three channels, not {self.channels!r}.")
            if not all(_is_whole_number(one) and 0 <= one < _MOST_CHANNELS for one in self.channels):
                raise SemiGDAError(f"Channels are counted from 0, but {self.channels!r} were chosen.")
        pair = self.percentiles
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(map(_is_number, pair)):
            raise SemiGDAError(f"The percentiles must be two numbers, but they are {pair!r}.")
        if not 0 <= pair[0] < pair[1] <= 100:
            raise SemiGDAError(
                f"The percentiles must rise and be between 0 and 100, but they are {pair[0]} and {pair[1]}."
            )

    @property
    def tile_size(self) -> int:
        """Side of a tile in the image's own pixels."""
        return max(1, round(self.working_size / self.zoom))

    def in_words(self) -> str:
        """Describe framing and size, as part of a sentence."""
        if self.framing == "whole":
            return f"whole images, resized to {self.working_size} pixels"
        scale = "at full resolution" if self.zoom == 1 else f"at {self.zoom:g} × the images' resolution"
        return f"tiles of {self.working_size} pixels, {scale}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImageSettings:
        """Return what `to_dict` wrote; a `SemiGDAError` names an unknown or invalid setting."""
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise SemiGDAError(
                f"The image setting {unknown[0]!r} is not known to this version of napari-semigda; "
                "a newer version may have written it."
            )
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**given)


class Limits(NamedTuple):
    """Intensities shown as black (-1) and as white (+1), one of each per channel used."""

    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Geometry:
    """Position of the image in its frame: it fills the upper left corner, the rest is padding.

    `height` and `width` are its size in its own pixels, `framed_height` and `framed_width` in the frame's.
    """

    height: int
    width: int
    framed_height: int
    framed_width: int


class Framed(NamedTuple):
    """An image as the network sees it: its padding repeats the edge, is unlabeled and not valid."""

    image: Tensor
    labels: Tensor
    valid: Tensor
    geometry: Geometry


def in_picture_order(pixels: Pixels) -> Pixels:
    """Bring the axes of an array with named axes (such as xarray's) into the order y, x, channels.

    Axes of length one are dropped; an array without names "y" and "x" in `dims` is returned as it is. Raises
    a `SemiGDAError` if more than one axis is left besides "y" and "x".
    """
    names = {str(name).lower(): name for name in getattr(pixels, "dims", ())}
    if not names.keys() >= {"y", "x"}:
        return pixels
    array: Any = pixels
    plane = (names["y"], names["x"])
    array = array.squeeze([name for name, size in array.sizes.items() if size == 1 and name not in plane])
    others = [name for name in array.dims if name not in plane]
    if len(others) > 1:
        raise SemiGDAError(
            f"Besides y and x this array has the axes {' and '.join(map(str, others))}: "
            "choose one plane, so that at most the channels are left."
        )
    in_order: Pixels = array.transpose(*plane, *others)
    return in_order


def check_pixels(pixels: Pixels, settings: ImageSettings) -> None:
    """Raise a `SemiGDAError` unless this is an image (H, W) or (H, W, C) with the chosen channels."""
    shape = tuple(pixels.shape)
    if len(shape) not in (2, 3):
        raise SemiGDAError(
            "An image has two dimensions, or three with its channels last, "
            f"but this array has the shape {shape}."
        )
    if 0 in shape:
        raise SemiGDAError(f"The image is empty: its shape is {shape}.")
    dtype = np.dtype(pixels.dtype)
    if dtype.kind not in "buif":
        raise SemiGDAError(f"Pixels must be real numbers, but these are of the type {dtype.name}.")
    channels = shape[2] if len(shape) == 3 else 1
    if settings.channels is not None and max(settings.channels) >= channels:
        raise SemiGDAError(
            f"Channel {max(settings.channels)} was chosen (counted from 0), but the image has {channels}."
        )


def intensity_limits(
    pixels: Pixels, settings: ImageSettings, *, cancelled: Callable[[], bool] | None = None
) -> Limits:
    """Find the intensities that become black and white in an image (H, W) or (H, W, C), read in bands of
    rows.

    0 and 255 for 8-bit images, 0 and 1 for boolean ones; otherwise percentiles per channel of the finite
    values of about a million evenly spread pixels. Raises `Cancelled` if `cancelled`, asked between bands,
    returned True, and as `check_pixels`.
    """
    check_pixels(pixels, settings)
    dtype = np.dtype(pixels.dtype)
    if dtype.kind == "b" or dtype == np.uint8:
        channels = len(_used_channels(pixels.shape, settings))
        return Limits((0.0,) * channels, ((1.0 if dtype.kind == "b" else 255.0),) * channels)
    sample = _sample(pixels, settings, cancelled)
    pairs = [_percentiles(channel, settings.percentiles) for channel in sample]
    return Limits(tuple(low for low, _ in pairs), tuple(high for _, high in pairs))


def normalize(pixels: Pixels, settings: ImageSettings, limits: Limits | None = None) -> Tensor:
    """Turn pixels, (H, W) or (H, W, C), into the network's colors, (3, H, W) float32 in [-1, 1].

    They are read whole: of a large image, pass one window at a time, with the `limits` of the whole, which
    become -1 and +1. One channel is repeated; of two, the mean is added as third. Values that are not finite,
    and constant channels, are -1. Raises as `check_pixels`.
    """
    check_pixels(pixels, settings)
    limits = intensity_limits(pixels, settings) if limits is None else limits
    channels = _channels_first(np.asarray(pixels[:]), settings)
    stretched = np.stack([_stretch(*given) for given in zip(channels, limits.low, limits.high, strict=True)])
    if len(stretched) == 1:
        stretched = np.repeat(stretched, 3, axis=0)
    elif len(stretched) == 2:
        stretched = np.concatenate([stretched, stretched.mean(axis=0, keepdims=True)])
    return torch.from_numpy(stretched)


def frame(image: Tensor, labels: NDArray[np.integer] | Tensor | None, settings: ImageSettings) -> Framed:
    """Resize and pad an image, (3, H, W) from `normalize`, and its labels, (H, W), to the network's input.

    ``"whole"``: resized (antialiased, aspect kept) until the long side is the working size, then padded at
    the right and the bottom to a square. ``"tiles"``: resampled by the zoom, and padded where it is smaller
    than the working size. Labels are resized to the nearest pixel; None is unlabeled. Raises a `SemiGDAError`
    if labels and image differ in size.
    """
    height, width = image.shape[-2:]
    geometry = _geometry(height, width, settings)
    size = (geometry.framed_height, geometry.framed_width)
    resized = _resize(image, size)
    known = _frame_labels(labels, (height, width), size)
    right = max(0, settings.working_size - geometry.framed_width)
    bottom = max(0, settings.working_size - geometry.framed_height)
    padding = (0, right, 0, bottom)
    return Framed(
        image=functional.pad(resized[None], padding, mode="replicate")[0],
        labels=functional.pad(known, padding, value=UNKNOWN),
        valid=functional.pad(torch.ones(size, dtype=torch.bool), padding, value=False),
        geometry=geometry,
    )


class FramedWindows:
    """A large image in the network's resolution, of which each window is read when it is cut out.

    For cutting windows it stands for a framed image, a tensor of the shape (3, h, w); see `has_many_tiles`.
    """

    def __init__(self, pixels: Pixels, settings: ImageSettings) -> None:
        self._pixels, self._settings = pixels, settings
        self._limits = intensity_limits(pixels, settings)
        geometry = _geometry(pixels.shape[0], pixels.shape[1], settings)
        self.shape = (3, geometry.framed_height, geometry.framed_width)

    def __getitem__(self, key: tuple[Any, slice, slice]) -> Tensor:
        """Read the window ``[..., top : top + S, left : left + S]``, S the working size; float16."""
        _, *sides = key
        tile = self._settings.tile_size
        starts = [
            min(round(side.start * own / framed), own - tile)
            for side, own, framed in zip(sides, self._pixels.shape, self.shape[1:], strict=False)
        ]
        part = np.asarray(self._pixels[tuple(slice(start, start + tile) for start in starts)])
        image = normalize(part, self._settings, self._limits)
        return frame(image, None, self._settings).image.to(torch.float16)

    def frame_labels(self, labels: NDArray[np.integer] | None) -> Tensor:
        """Resize labels (H, W) to the frame, (h, w) uint8; `UNKNOWN` everywhere for None."""
        if labels is None:  # one value, wherever one looks
            return torch.full((1, 1), UNKNOWN, dtype=torch.uint8).expand(self.shape[1:])
        return _frame_labels(labels, self._pixels.shape[:2], self.shape[1:])


def has_many_tiles(shape: tuple[int, ...], settings: ImageSettings) -> bool:
    """Return whether an image (H, W, …) is split into several tiles in both directions."""
    return settings.framing == "tiles" and min(shape[:2]) >= 2 * settings.tile_size


def unframe(values: Tensor, geometry: Geometry) -> Tensor:
    """Bring predicted values (K, h, w) in the frame back to the image's own pixels, (K, H, W) float32.

    Pixel centers lie at half pixels in both directions, so that nothing shifts. Values that add up to one in
    the frame do so in the image.
    """
    content = values[..., : geometry.framed_height, : geometry.framed_width]
    return _resize(content.float(), (geometry.height, geometry.width))


def _geometry(height: int, width: int, settings: ImageSettings) -> Geometry:
    if settings.framing == "whole":
        factor = settings.working_size / max(height, width)
    else:
        factor = settings.working_size / settings.tile_size
    return Geometry(height, width, max(1, round(height * factor)), max(1, round(width * factor)))


def _resize(values: Tensor, size: tuple[int, int]) -> Tensor:
    if values.shape[-2:] == size:
        return values
    return functional.interpolate(
        values[None], size=size, mode="bilinear", align_corners=False, antialias=True
    )[0]


def _frame_labels(
    labels: NDArray[np.integer] | Tensor | None, shape: tuple[int, ...], size: tuple[int, ...]
) -> Tensor:
    """Resize the labels of an image of `shape`, None if unlabeled, to `size`, uint8."""
    if labels is None:
        return torch.full(size, UNKNOWN, dtype=torch.uint8)
    if tuple(labels.shape) != shape:
        raise SemiGDAError(f"The labels have the shape {tuple(labels.shape)}, but the image has {shape}.")
    known = torch.as_tensor(
        labels if isinstance(labels, Tensor) else np.ascontiguousarray(labels, dtype=np.uint8),
        dtype=torch.uint8,
    )
    return functional.interpolate(known[None, None], size=size, mode="nearest-exact")[0, 0]


def _used_channels(shape: tuple[int, ...], settings: ImageSettings) -> tuple[int, ...]:
    if settings.channels is not None:
        return settings.channels
    return tuple(range(min(3, shape[2]))) if len(shape) == 3 else (0,)


def _channels_first(pixels: NDArray, settings: ImageSettings) -> NDArray:
    layered = pixels[..., None] if pixels.ndim == 2 else pixels
    return np.moveaxis(layered[..., list(_used_channels(layered.shape, settings))], -1, 0)


def _sample(pixels: Pixels, settings: ImageSettings, cancelled: Callable[[], bool] | None) -> NDArray:
    """Return about a million pixels, evenly spread, channels first, (C, n)."""
    height, width = pixels.shape[:2]
    stride = max(1, math.ceil(math.sqrt(height * width / SAMPLED_PIXELS)))
    band = stride * max(1, BAND_ROWS // stride)
    parts = []
    for top in range(0, height, band):
        if cancelled is not None and cancelled():
            raise Cancelled
        part = np.asarray(pixels[top : top + band : stride, ::stride])
        parts.append(_channels_first(part, settings).reshape(len(_used_channels(pixels.shape, settings)), -1))
    return np.concatenate(parts, axis=1)


def _percentiles(values: NDArray, percentiles: tuple[float, float]) -> tuple[float, float]:
    values = values.astype(np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0.0
    # halved, because the distance between two of the largest numbers is not a number any more
    low, high = 2 * np.percentile(finite / 2, percentiles)
    return float(low), float(high)


def _stretch(channel: NDArray, low: float, high: float) -> NDArray[np.float32]:
    """Map low … high to -1 … 1."""
    values = channel.astype(np.result_type(channel.dtype, np.float32))
    half_range = high / 2 - low / 2
    if not half_range > 0:
        return np.full(values.shape, -1, dtype=np.float32)
    if channel.dtype.kind == "f":
        values[~np.isfinite(values)] = low
    values = np.clip(values, low, high)
    unit: NDArray[np.floating] = (values / 2 - low / 2) / half_range
    return (2 * unit - 1).clip(-1, 1).astype(np.float32)


def _is_whole_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
