"""Images with exact masks, such as the sample images: ultrasound-like lesions and fluorescence-like cells.

Each kind keeps to one appearance, as the images of a study do, so that a handful of masks tells how to
segment the rest. ``python benchmarks/lesions_and_cells.py`` writes the sample images of the package again.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Literal

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from napari_semigda import samples

Kind = Literal["lesion", "cells"]
KINDS: tuple[Kind, ...] = ("lesion", "cells")
SAMPLE_SIZE = 128

Sample = tuple[NDArray[np.uint8], NDArray[np.uint8]]
Field = NDArray[np.float32]


def generate(seed: int, kind: Kind, size: int = 128) -> Sample:
    """Generate an image and its label map.

    Parameters
    ----------
    seed
        Not negative; the same seed gives the same sample.
    kind
        ``"lesion"``: layered, speckled tissue with one dark lesion, blurred at its edge, a shadow below.
        ``"cells"``: a few bright textured cells out of focus here and there, uneven light, noise, debris.
    size
        Height and width in pixels, at least 32.

    Returns
    -------
    image
        (size, size) uint8, gray.
    truth
        (size, size) uint8, 1 inside lesion or cells, 0 elsewhere.

    Raises
    ------
    ValueError
        For an unknown kind, a negative seed or a size below 32.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if seed < 0 or size < 32:
        raise ValueError(f"seed must not be negative and size at least 32, not {seed} and {size}")
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    intensity, truth = _lesion(rng, size) if kind == "lesion" else _cells(rng, size)
    image = np.clip(np.rint(255 * intensity), 0, 255).astype(np.uint8)
    return image, truth.astype(np.uint8)


# --- lesions -----------------------------------------------------------------------------------


def _lesion(rng: np.random.Generator, size: int) -> tuple[Field, NDArray[np.bool_]]:
    """Tissue as echo strength, with the lesion in it, then speckle and blur over all of it."""
    outside = _outline_distance(rng, size)
    truth = outside < 0
    edge = rng.uniform(0.006, 0.014) * size
    inside = 1 / (1 + np.exp(np.clip(outside / edge, -30, 30)))

    echo = _tissue(rng, size)
    lesion = rng.uniform(0.06, 0.10) * np.exp(0.20 * fractal_noise(rng, size, 1.5, cutoff=4))
    echo = echo + inside * (lesion - echo)
    echo *= 1 - rng.uniform(0.15, 0.45) * _shadow(truth, size)
    compressed = np.clip(echo * _speckle(rng, size), 1e-3, None) ** 0.65
    return np.asarray(compressed, dtype=np.float32), truth


def _outline_distance(rng: np.random.Generator, size: int) -> Field:
    """Signed distance in pixels from an irregular, flat-lying outline; negative inside."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    center_y, center_x = size * rng.uniform(0.38, 0.62), size * rng.uniform(0.3, 0.7)
    radius = size * rng.uniform(0.12, 0.23)
    flatness, turn = rng.uniform(1.1, 1.5), rng.uniform(-0.4, 0.4)
    u = np.cos(turn) * (x - center_x) + np.sin(turn) * (y - center_y)
    v = np.cos(turn) * (y - center_y) - np.sin(turn) * (x - center_x)
    angle = np.arctan2(v * flatness, u)
    outline = np.ones_like(angle)
    for harmonic in range(2, 8):
        outline += rng.normal(0, 0.2 / harmonic**1.3) * np.cos(harmonic * angle + rng.uniform(0, 2 * np.pi))
    shape = np.hypot(u, v * flatness) < radius * np.maximum(outline, 0.4)
    distance = ndimage.distance_transform_edt(~shape) - ndimage.distance_transform_edt(shape)
    return np.asarray(distance, dtype=np.float32)


def _tissue(rng: np.random.Generator, size: int) -> Field:
    """Echo of layers one below the other: bright skin, fat, gland, a dark deep part with bright fascias."""
    depth = np.linspace(0, 1, size, dtype=np.float32)[:, None] + 0.03 * fractal_noise(rng, size, 2.5)
    echo = np.full((size, size), 0.30, dtype=np.float32)
    skin, gland, deep = 0.06, rng.uniform(0.2, 0.3), rng.uniform(0.75, 0.85)
    echo += 0.30 * np.exp(-((depth / skin) ** 2))
    echo += 0.12 * _smooth_step(depth, gland, 0.03) - 0.16 * _smooth_step(depth, deep, 0.05)
    for level in (gland, deep):
        echo += rng.uniform(0.15, 0.3) * np.exp(-(((depth - level) / 0.012) ** 2))
    fibres = ndimage.gaussian_filter(fractal_noise(rng, size, 1.0), (0, size / 24), mode="wrap")
    return np.asarray(echo * np.exp(0.3 * fibres / fibres.std()), dtype=np.float32)


def _smooth_step(value: Field, center: float, width: float) -> Field:
    return np.asarray(0.5 * (1 + np.tanh((value - center) / width)), dtype=np.float32)


def _shadow(truth: NDArray[np.bool_], size: int) -> Field:
    """Dimming below the lesion, (size, size) in [0, 1]: less echo comes back from behind it."""
    thickness = np.cumsum(truth, axis=0) * ~truth
    depth = np.minimum(thickness / (0.25 * size), 1.0)
    return np.asarray(ndimage.gaussian_filter(depth, size / 40), dtype=np.float32)


def _speckle(rng: np.random.Generator, size: int) -> Field:
    """Rayleigh speckle of mean 1, its grains wider than deep."""
    waves = ndimage.gaussian_filter(rng.standard_normal((2, size, size)), (0, 0.7, 1.3))
    amplitude = np.hypot(waves[0], waves[1])
    return np.asarray((amplitude / amplitude.mean()) ** 0.8, dtype=np.float32)


# --- cells -------------------------------------------------------------------------------------


def _cells(rng: np.random.Generator, size: int) -> tuple[Field, NDArray[np.bool_]]:
    """Cells that do not overlap, then light, focus, debris and a camera's noise."""
    truth = np.zeros((size, size), dtype=bool)
    signal = np.zeros((size, size), dtype=np.float32)
    grain = fractal_noise(rng, size, 1.3, cutoff=8)
    for _ in range(rng.integers(6, 13)):
        cell = _cell(rng, size)
        if (ndimage.binary_dilation(cell, iterations=2) & truth).any():
            continue
        truth |= cell
        dome = np.minimum(ndimage.distance_transform_edt(cell) / (0.05 * size), 1.0)
        brightness = rng.uniform(0.45, 0.75)
        signal += cell * brightness * (0.6 + 0.4 * dome) * np.exp(0.18 * grain)
    signal += _debris(rng, size, truth)
    focus = ndimage.gaussian_filter(signal, size * rng.uniform(0.004, 0.009))
    light = 1 + 0.18 * fractal_noise(rng, size, 3.0)
    background = 0.10 + 0.025 * fractal_noise(rng, size, 2.0)
    photons = rng.uniform(120, 220)
    expected = np.clip((background + focus) * np.clip(light, 0.5, 1.5), 0, None)
    image = expected + np.sqrt(expected / photons + 0.015**2) * rng.standard_normal(expected.shape)
    return np.asarray(image, dtype=np.float32), truth


def _cell(rng: np.random.Generator, size: int) -> NDArray[np.bool_]:
    y, x = np.ogrid[:size, :size]
    center_y, center_x = rng.uniform(0.02, 0.98, 2) * size
    radius, stretch = size * rng.uniform(0.055, 0.095), rng.uniform(1.0, 1.35)
    turn = rng.uniform(0, np.pi)
    u = (np.cos(turn) * (x - center_x) + np.sin(turn) * (y - center_y)) / stretch
    v = (np.cos(turn) * (y - center_y) - np.sin(turn) * (x - center_x)) * stretch
    angle = np.arctan2(v, u)
    outline = np.ones_like(angle)
    for harmonic in (2, 3, 4):
        phase = rng.uniform(0, 2 * np.pi)
        outline += rng.normal(0, 0.12 / harmonic) * np.cos(harmonic * angle + phase)
    return np.asarray(np.hypot(u, v) < radius * outline, dtype=bool)


def _debris(rng: np.random.Generator, size: int, truth: NDArray[np.bool_]) -> Field:
    """Small bright specks off the cells that are no objects."""
    specks = np.zeros((size, size), dtype=np.float32)
    free = np.argwhere(~ndimage.binary_dilation(truth, iterations=max(2, size // 32)))
    for row, column in free[rng.choice(len(free), rng.integers(3, 9))]:
        specks[row, column] = rng.uniform(2.0, 5.0) * (size / 128) ** 2
    return np.asarray(ndimage.gaussian_filter(specks, size / 140), dtype=np.float32)


def fractal_noise(rng: np.random.Generator, size: int, exponent: float, cutoff: float = 0.0) -> Field:
    """Return periodic noise whose amplitude falls with spatial frequency as ``f ** -exponent``.

    Parameters
    ----------
    rng
        Source of randomness.
    size
        Height and width in pixels.
    exponent
        0 gives white noise, 1 clouds with fine grain, 3 smooth hills.
    cutoff
        Wavelengths longer than ``size / cutoff`` pixels are damped; 0 keeps all.

    Returns
    -------
    ndarray
        (size, size) float32 of mean 0 and standard deviation 1.
    """
    rows = np.fft.fftfreq(size)[:, None] * size
    columns = np.fft.rfftfreq(size)[None, :] * size
    frequency = np.sqrt(rows**2 + columns**2 + cutoff**2)
    frequency[0, 0] = 1.0
    spectrum = fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    field = fft.irfft2(spectrum * frequency**-exponent, s=(size, size)).astype(np.float32)
    field -= field.mean()
    return np.asarray(field / (field.std() + 1e-6), dtype=np.float32)


def write_samples(folder: Path) -> None:
    """Write all samples into ``folder/images`` and ``folder/masks``, over what is there."""
    for subfolder in ("images", "masks"):
        (folder / subfolder).mkdir(parents=True, exist_ok=True)
    for number, (image_path, mask_path) in enumerate(samples.sample_pairs()):
        image, truth = generate(number, KINDS[number % len(KINDS)], SAMPLE_SIZE)
        iio.imwrite(folder / "images" / image_path.name, image)
        iio.imwrite(folder / "masks" / mask_path.name, truth * 255)


if __name__ == "__main__":
    write_samples(Path(samples.__file__).parent)
