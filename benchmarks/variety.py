"""Endless varied label maps and pictures, for training on generated data alone.

Where `generator` draws two consistent kinds of sample a person can label, this module draws as
much variety as it can: what an autoencoder needs to have seen so that it can carry any mask.
Everything is drawn from the `numpy.random.Generator` that is handed in, so a seed gives the same
pictures on the same machine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage import draw

from lesions_and_cells import fractal_noise

Shape = NDArray[np.bool_]
Field = NDArray[np.float32]


# --- shapes: one boolean (size, size) array each -----------------------------------------------


def lesions(rng: np.random.Generator, size: int) -> Shape:
    """Draw one to three large outlines given by harmonics of the angle, rough or smooth."""
    shape = np.zeros((size, size), dtype=bool)
    roughness = rng.choice([0.0, 0.03, 0.08]) * fractal_noise(rng, size, rng.uniform(1.6, 2.6), cutoff=8)
    for _ in range(rng.integers(1, 4)):
        _add_outline(shape, rng, size * np.exp(rng.uniform(np.log(0.04), np.log(0.42))), roughness)
    return shape


def _add_outline(shape: Shape, rng: np.random.Generator, radius: float, roughness: Field) -> None:
    size = len(shape)
    center = rng.uniform(0.0, size, 2)
    turn, stretch = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(-0.5, 0.5))
    reach = int(radius * 2.8) + 3
    top, left = (max(0, int(c) - reach) for c in center)
    bottom, right = (min(size, int(c) + reach) for c in center)
    y, x = np.ogrid[top:bottom, left:right]
    y, x = y - center[0], x - center[1]
    u = (np.cos(turn) * x + np.sin(turn) * y) * stretch
    v = (np.cos(turn) * y - np.sin(turn) * x) / stretch
    angle = np.arctan2(v, u)
    outline = np.ones_like(angle)
    strength = rng.uniform(0, 0.25)
    for harmonic in range(2, 7):
        phase = rng.uniform(0, 2 * np.pi)
        outline += strength / (harmonic - 1) * rng.standard_normal() * np.cos(harmonic * angle + phase)
    window = slice(top, bottom), slice(left, right)
    shape[window] |= np.hypot(u, v) < radius * (outline + roughness[window])


def nuclei(rng: np.random.Generator, size: int) -> Shape:
    """Draw five to 250 ellipses of 2 to 15 pixels radius, alike in size, at times with gaps between them."""
    shape = np.zeros((size, size), dtype=bool)
    typical = np.exp(rng.uniform(np.log(1.8), np.log(14)))
    most = max(8, int(0.5 * size**2 / (np.pi * typical**2)))
    gap = rng.random() < 0.5
    for _ in range(rng.integers(5, min(most, 250) + 1)):
        radii = typical * np.exp(rng.normal(0, 0.25, 2))
        center, turn = rng.uniform(0, size, 2), rng.uniform(-np.pi, np.pi)
        if gap:
            _fill_ellipse(shape, center, radii + rng.uniform(1, 2.2), turn, False)
        _fill_ellipse(shape, center, radii, turn, True)
    return shape


def _fill_ellipse(shape: Shape, center: NDArray, radii: NDArray, turn: float, value: bool) -> None:
    rows, columns = draw.ellipse(center[0], center[1], radii[0], radii[1], shape=shape.shape, rotation=turn)
    shape[rows, columns] = value


def clouds(rng: np.random.Generator, size: int) -> Shape:
    """Threshold fractal noise: islands and lakes of every size."""
    field = fractal_noise(rng, size, rng.uniform(2.0, 4.0), cutoff=rng.uniform(0, 24))
    return np.asarray(field > np.quantile(field, rng.uniform(0.2, 0.95)), dtype=bool)


def membranes(rng: np.random.Generator, size: int) -> Shape:
    """Draw thin walls between the cells of a bent Voronoi diagram."""
    spacing = np.exp(rng.uniform(np.log(9), np.log(60)))
    count = max(4, int(size**2 / spacing**2))
    tree = cKDTree(rng.uniform(-0.1 * size, 1.1 * size, (int(count * 1.44), 2)))
    grid = np.moveaxis(np.mgrid[:size, :size], 0, -1).astype(np.float32)
    for axis in range(2):
        bend = fractal_noise(rng, size, 3.5, cutoff=size / spacing)
        grid[..., axis] += spacing * rng.uniform(0, 0.3) * bend
    distance, _ = tree.query(grid.reshape(-1, 2), k=2)
    wall = (distance[:, 1] - distance[:, 0]).reshape(size, size)
    width = rng.uniform(1.5, 6.0) * (1 + rng.uniform(0, 0.4) * fractal_noise(rng, size, 2.5, cutoff=12))
    return np.asarray(wall < width, dtype=bool)


def strokes(rng: np.random.Generator, size: int) -> Shape:
    """Draw bent lines one to eight pixels wide: filaments, vessels, letters."""
    canvas = np.zeros((size, size), dtype=bool)
    step = rng.uniform(2, 14)
    bend = rng.choice([0.1, 0.4, 1.2])
    for _ in range(rng.integers(2, 30)):
        turns = rng.uniform(0, 6.3) + np.cumsum(rng.normal(0, bend, rng.integers(3, 40)))
        path = rng.uniform(0, size, 2) + np.cumsum(step * np.stack([np.sin(turns), np.cos(turns)], 1), 0)
        for start, end in zip(path[:-1].astype(int), path[1:].astype(int), strict=True):
            rows, columns = draw.line(*start, *end)
            inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
            canvas[rows[inside], columns[inside]] = True
    thickness = rng.uniform(0.6, 4.0)
    return np.asarray(ndimage.distance_transform_edt(~canvas) < thickness, dtype=bool)


def polygons(rng: np.random.Generator, size: int) -> Shape:
    """Draw a few straight-edged shapes, as clicked by hand."""
    shape = np.zeros((size, size), dtype=bool)
    for _ in range(rng.integers(1, 12)):
        corners = rng.integers(3, 12)
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radius = size * np.exp(rng.uniform(np.log(0.02), np.log(0.3))) * rng.uniform(0.5, 1.2, corners)
        center = rng.uniform(0, size, 2)
        rows, columns = draw.polygon(
            center[0] + radius * np.sin(angle), center[1] + radius * np.cos(angle), shape=shape.shape
        )
        shape[rows, columns] = rng.random() < 0.85
    return shape


SHAPES: tuple[tuple[Callable[[np.random.Generator, int], Shape], float], ...] = (
    (lesions, 0.22),
    (nuclei, 0.34),
    (membranes, 0.16),
    (clouds, 0.12),
    (strokes, 0.08),
    (polygons, 0.08),
)
_CHANCES = np.array([chance for _, chance in SHAPES])


def random_shape(rng: np.random.Generator, size: int) -> Shape:
    """Draw one shape of any kind, at times two kinds combined.

    Parameters
    ----------
    rng
        Source of randomness.
    size
        Height and width in pixels.

    Returns
    -------
    ndarray
        (size, size) bool, foreground True.
    """
    draw_shape = SHAPES[rng.choice(len(SHAPES), p=_CHANCES)][0]
    shape = draw_shape(rng, size)
    chance = rng.random()
    if chance < 0.06:
        return shape ^ lesions(rng, size)
    if chance < 0.12:
        return shape & lesions(rng, size)
    return shape


def random_labels(rng: np.random.Generator, size: int, classes: int = 2) -> NDArray[np.uint8]:
    """Draw a label map: shapes of class 1, 2, … painted over one another on class 0.

    Parameters
    ----------
    rng
        Source of randomness.
    size
        Height and width in pixels.
    classes
        Number of classes K, background included.

    Returns
    -------
    ndarray
        (size, size) uint8, values 0 … K-1.
    """
    labels = np.zeros((size, size), dtype=np.uint8)
    for value in range(1, classes):
        labels[random_shape(rng, size)] = value
    return labels


# --- pictures ------------------------------------------------------------------------------------


def random_image(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Draw a picture with objects on a background: textures, tints, blur, shading, speckle, noise.

    Parameters
    ----------
    rng
        Source of randomness.
    size
        Height and width in pixels.

    Returns
    -------
    ndarray
        (size, size, 3) uint8; a little more than half are gray.
    """
    sharp = random_shape(rng, size).astype(np.float32)
    inside = ndimage.gaussian_filter(sharp, rng.choice([0.3, 0.8, 1.5, 4.0]))
    colored = rng.random() < 0.45
    picture = np.empty((size, size, 3), dtype=np.float32)
    background, foreground = (surface(rng, size, colored) for _ in range(2))
    picture[:] = background + inside[..., None] * (foreground - background)
    if rng.random() < 0.4:
        picture *= np.exp(0.35 * fractal_noise(rng, size, 2.5))[..., None]
    if rng.random() < 0.3:
        picture *= _speckle(rng, size)[..., None]
    if rng.random() < 0.5:
        noise = rng.standard_normal((size, size, 3 if colored else 1), dtype=np.float32)
        picture += np.exp(rng.uniform(np.log(0.003), np.log(0.08))) * noise
    return np.asarray(np.clip(picture, 0, 1) * 255, dtype=np.uint8)


def surface(rng: np.random.Generator, size: int, colored: bool) -> Field:
    """Give a textured surface, (size, size, 3) about [0, 1], running from one color to another."""
    channels = 3 if colored else 1
    field = fractal_noise(rng, size, rng.uniform(0.8, 3.0), cutoff=rng.choice([0, 4, 20]))
    level = np.clip(0.5 + rng.uniform(0.02, 0.3) * field, 0, 1)[..., None]
    first = rng.random(channels) ** rng.choice([1, 3])
    second = np.clip(first + rng.normal(0, 0.3, channels), 0, 1)
    return np.asarray(np.broadcast_to(first + level * (second - first), (size, size, 3)), dtype=np.float32)


def _speckle(rng: np.random.Generator, size: int) -> Field:
    """Give multiplicative Rayleigh speckle of mean one, grains longer across than along."""
    grain = rng.uniform(0.6, 2.0)
    parts = rng.standard_normal((2, size, size), dtype=np.float32)
    parts = ndimage.gaussian_filter(parts, (0, grain, grain * rng.uniform(1, 2)))
    amplitude = np.hypot(parts[0], parts[1])
    return np.asarray((amplitude / amplitude.mean()) ** rng.uniform(0.4, 1.0), dtype=np.float32)
