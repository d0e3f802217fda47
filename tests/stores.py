"""OME-Zarr stores for tests, as other programs write them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

KINDS = {"t": "time", "c": "channel"}


def write_store(
    folder: Path,
    pixels: NDArray[Any],
    axes: str,
    *,
    version: str = "0.4",
    scale: Sequence[float] | None = None,
    units: dict[str, str] | None = None,
    chunks: Sequence[int] | None = None,
    levels: int = 1,
    **given: Any,
) -> Path:
    """Write an image with its smaller copies (every second pixel), in version 0.4 (zarr 2) or 0.5 (zarr 3).

    Parameters
    ----------
    pixels, axes
        An array and the letters of its axes.
    scale, units
        Size of a pixel along each axis; units by letter.
    given
        More for zarr's `create_array`, such as shards and compressors.
    """
    group = zarr.open_group(folder, mode="w", zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for level in range(levels):
        part = pixels[tuple(slice(None, None, 2**level if axis in "yx" else 1) for axis in axes)]
        array = group.create_array(
            str(level), shape=part.shape, dtype=part.dtype, chunks=tuple(chunks or part.shape), **given
        )
        array[...] = part
        datasets.append({"path": str(level)})
        if scale is not None:
            sizes = [
                size * 2**level if axis in "yx" else size for axis, size in zip(axes, scale, strict=True)
            ]
            datasets[-1]["coordinateTransformations"] = [{"type": "scale", "scale": sizes}]
    described = [
        {"name": axis, "type": KINDS.get(axis, "space"), **({"unit": units[axis]} if units else {})}
        for axis in axes
    ]
    multiscales = [{"name": "image", "axes": described, "datasets": datasets}]
    if version == "0.4":
        group.attrs["multiscales"] = [{"version": version, **multiscales[0]}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": multiscales}
    return folder


def plane_of(pixels: NDArray[Any], axes: str, place: dict[str, int]) -> NDArray[Any]:
    """Take a plane out of an array by names of axes: (H, W) or (H, W, C)."""
    part = pixels[tuple(place.get(axis, slice(None)) for axis in axes)]
    left = [axis for axis in axes if axis not in place]
    moved = part.transpose([left.index(axis) for axis in ("y", "x", "c") if axis in left])
    return moved[..., 0] if moved.ndim == 3 and moved.shape[2] == 1 else moved


def noise(shape: Sequence[int], dtype: Any = np.uint8) -> NDArray[Any]:
    """Random values that every type of pixels can hold."""
    return np.random.default_rng(0).integers(0, 100, tuple(shape)).astype(dtype)
