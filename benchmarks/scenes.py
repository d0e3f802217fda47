"""Endless generated pictures with their truth: what a network learns to tell objects from background on.

Seven families look like the kinds of picture people segment (ultrasound, skin, fluorescence and stained
cells, electron microscopy, phase contrast, spread cells), each over a far wider range than any one study
shows, and an eighth is any shape on any texture. What counts as object is always what stands out as one;
shadows, hairs, debris, organelles and lesser blobs are there to be told from it. No real image takes part.
Everything is drawn from the `numpy.random.Generator` that is handed in, so a seed gives the same pictures on
the same machine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesions_and_cells import fractal_noise
from variety import (
    membranes,
    nuclei,
    random_shape,
    surface,
)

Mask = NDArray[np.bool_]
Field = NDArray[np.float32]

#: A picture (size, size) or (size, size, 3) of about [0, 1], and where its objects are.
Scene = tuple[Field, Mask]


def draw_scene(rng: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one picture and its label map.

    Parameters
    ----------
    rng
        Source of randomness.
    size
        Height and width in pixels, at least 48.

    Returns
    -------
    image
        (size, size, 3) uint8.
    labels
        (size, size) uint8, 1 inside objects, 0 elsewhere.
    """
    draw = FAMILIES[rng.choice(len(FAMILIES), p=_CHANCES)][0]
    picture, mask = draw(rng, size)
    return _developed(picture, rng), mask.astype(np.uint8)


# --- the families --------------------------------------------------------------------------------


def ultrasound(rng: np.random.Generator, size: int) -> Scene:
    """Layered, speckled tissue with one lesion (at times two), mostly dark, and shadows that are none."""
    mask = _blobs(rng, size, 1 if rng.random() < 0.93 else 2, smallest=0.035, largest=0.3, flat=1.5)
    echo = _layers(rng, size)
    for _ in range(rng.integers(0, 4)):
        lesser = _blobs(rng, size, 1, smallest=0.03, largest=0.15, flat=2.5)
        echo *= np.exp(rng.uniform(-0.6, 0.5) * _soft(lesser, size * rng.uniform(0.01, 0.04)))
    inside = _soft(mask, size * np.exp(rng.uniform(np.log(0.003), np.log(0.03))))
    inside *= np.clip(1 - rng.uniform(0, 0.35) * np.abs(fractal_noise(rng, size, 2.0, cutoff=3)), 0, 1)
    level = np.exp(rng.uniform(-3.2, -0.7)) if rng.random() < 0.9 else np.exp(rng.uniform(0.5, 1.2))
    texture = np.exp(rng.uniform(0.05, 0.5) * fractal_noise(rng, size, 1.5, cutoff=4))
    echo = echo + inside * (level * np.median(echo) * texture - echo)
    if rng.random() < 0.3:
        echo *= 1 + rng.uniform(0.5, 2.0) * _rim(mask, size * rng.uniform(0.006, 0.02))
    echo *= np.exp(rng.uniform(-1.6, 0.6) * _below(mask, size))
    for _ in range(rng.integers(0, 3)):
        echo *= _column_shadow(rng, size)
    echo *= np.exp(-rng.uniform(-0.3, 1.8) * np.linspace(0, 1, size, dtype=np.float32)[:, None] ** 2)
    picture = np.clip(echo * _speckle(rng, size), 1e-4, None) ** rng.uniform(0.35, 0.9)
    return _with_marks(_in_margins(picture, rng), rng), mask


def skin(rng: np.random.Generator, size: int) -> Scene:
    """Skin with one lesion of another color; hairs, bubbles, dark corners and rulers above it."""
    mask = _blobs(rng, size, 1, smallest=0.06, largest=0.5, flat=1.3)
    base = np.array([0.85, 0.65, 0.55]) + rng.normal(0, 0.1, 3)
    grain = fractal_noise(rng, size, rng.uniform(0.6, 1.6), cutoff=8)
    shade = fractal_noise(rng, size, 3.0)
    picture = base + (rng.uniform(0.005, 0.05) * grain + rng.uniform(0, 0.08) * shade)[..., None]
    darker = -rng.uniform(0.08, 0.65) * np.array([0.8, 1.0, 0.9]) * rng.uniform(0.7, 1.3, 3)
    mottle = np.clip(1 + rng.uniform(0.1, 0.6) * fractal_noise(rng, size, 1.8, cutoff=4), 0.15, 2)
    soft = _soft(mask, size * np.exp(rng.uniform(np.log(0.004), np.log(0.05))))
    picture = picture + (soft * mottle)[..., None] * darker
    if rng.random() < 0.35:
        halo = _soft(mask, size * rng.uniform(0.06, 0.15))
        picture = picture + halo[..., None] * np.array([rng.uniform(0, 0.1), -0.08, -0.06])
    for _ in range(rng.integers(0, 4)):
        spot = _blobs(rng, size, 1, smallest=0.008, largest=0.03, flat=1.2)
        picture = picture + _soft(spot, 1.0)[..., None] * rng.choice([-0.25, 0.3])
    if rng.random() < 0.45:
        hairs = _soft(_hairs(rng, size), 0.5)
        color = rng.uniform(0, 0.35) if rng.random() < 0.85 else 0.95
        picture = picture + hairs[..., None] * rng.uniform(0.4, 1.0) * (color - picture)
    if rng.random() < 0.4:
        picture = picture * _vignette(rng, size)[..., None]
    return np.asarray(ndimage.gaussian_filter(picture, (*[rng.uniform(0, 1.2)] * 2, 0)), np.float32), mask


def fluorescence(rng: np.random.Generator, size: int) -> Scene:
    """Bright cells or nuclei of unequal brightness on a dark ground, with blur, debris and camera noise."""
    mask = nuclei(rng, size)
    signal = _by_object(mask, rng, 0.2, 1.0) * np.exp(rng.uniform(0, 0.3) * fractal_noise(rng, size, 1.3, 8))
    if rng.random() < 0.5:
        signal *= _domed(mask, rng.uniform(1.5, 6))
    debris = _soft(rng.random((size, size)) < rng.uniform(0, 0.002), rng.uniform(0.6, 1.2))
    signal = ndimage.gaussian_filter(signal, rng.uniform(0.3, 1.8)) + rng.uniform(0.5, 4) * debris
    ground = rng.uniform(0.0, 0.25) + rng.uniform(0, 0.08) * fractal_noise(rng, size, 2.5)
    glow = rng.uniform(0, 0.3) * ndimage.gaussian_filter(signal, rng.uniform(4, 12))
    picture = (ground + signal * rng.uniform(0.15, 0.9) + glow) * _light(rng, size, 0.3)
    return np.asarray(picture, np.float32), mask


def stained(rng: np.random.Generator, size: int) -> Scene:
    """Dark colored nuclei in colored, structured tissue; or cells in transmitted light."""
    mask = nuclei(rng, size)
    ground = np.array([0.9, 0.72, 0.85]) + rng.normal(0, 0.1, 3)
    second = ground - np.abs(rng.normal(0, 0.18, 3))
    fibres = np.clip(0.5 + 0.35 * fractal_noise(rng, size, rng.uniform(1.0, 2.2), cutoff=3), 0, 1)[..., None]
    picture = ground + fibres * (second - ground)
    ink = ground * np.array([0.5, 0.4, 0.75]) * rng.uniform(0.5, 1.3, 3)
    grain = np.clip(1 + 0.3 * fractal_noise(rng, size, 1.0, cutoff=8), 0.3, 1.3)
    strength = _by_object(mask, rng, 0.45, 1.0) * grain
    strength = ndimage.gaussian_filter(strength, rng.uniform(0.4, 1.2))[..., None]
    return np.asarray(picture + strength * (ink - picture), np.float32), mask


def electron_microscopy(rng: np.random.Generator, size: int) -> Scene:
    """Dark walls between cells, with organelles inside the cells that are no walls."""
    mask = membranes(rng, size)
    picture = rng.uniform(0.55, 0.8) + rng.uniform(0.02, 0.1) * fractal_noise(rng, size, 1.2, cutoff=10)
    picture = picture * _light(rng, size, 0.1)
    for _ in range(rng.integers(0, 12)):
        body = _blobs(rng, size, 1, smallest=0.012, largest=0.06, flat=1.8)
        picture -= rng.uniform(0.05, 0.35) * _soft(body, 1.0) * (1 + 0.4 * fractal_noise(rng, size, 0.6))
    if rng.random() < 0.6:
        specks = _soft(rng.random((size, size)) < rng.uniform(0.002, 0.02), rng.uniform(0.5, 1.0))
        picture -= rng.uniform(0.3, 1.5) * specks
    depth = rng.uniform(0.2, 0.6) * np.clip(1 + 0.3 * fractal_noise(rng, size, 2.0, cutoff=6), 0.2, 1.5)
    picture = picture - depth * _soft(mask, rng.uniform(0.4, 1.4))
    return np.asarray(picture, np.float32), mask


def phase_contrast(rng: np.random.Generator, size: int) -> Scene:
    """Cells hardly brighter or darker than the ground, with a halo and a textured body."""
    count = int(np.exp(rng.uniform(np.log(4), np.log(45))))
    reach = 0.45 / np.sqrt(count)
    mask = _blobs(rng, size, count, smallest=0.25 * reach, largest=0.7 * reach, flat=2.5)
    ground = rng.uniform(0.35, 0.65) + rng.uniform(0, 0.05) * fractal_noise(rng, size, 3.0)
    width = rng.uniform(0.8, 2.5)
    halo = _rim(mask, width) * ~mask
    body = rng.uniform(-0.15, 0.15) + rng.uniform(0.03, 0.2) * fractal_noise(rng, size, 0.8, cutoff=16)
    edge = rng.uniform(-0.2, 0.1) * _rim(mask, width) * mask
    picture = ground + rng.uniform(0.05, 0.4) * halo + _soft(mask, 0.7) * body + edge
    return np.asarray(picture, np.float32), mask


def adherent_cells(rng: np.random.Generator, size: int) -> Scene:
    """Small spread cells with pointed ends, of the ground's own gray, told by their thin outlines.

    A few are round and shine, as cells do that divide or die. Specks, drops and scratches are not cells.
    Drawn at twice the size, so that outlines may be thinner than a pixel.
    """
    fine = 2 * size
    mask, round_ones = np.zeros((fine, fine), dtype=bool), np.zeros((fine, fine), dtype=bool)
    drawn = np.zeros((fine, fine), np.float32)
    width = np.exp(rng.uniform(np.log(0.7), np.log(2.0)))
    bright, dark, body, core = rng.uniform([0.06, 0.04, -0.06, -0.15], [0.4, 0.3, 0.06, 0.15])
    for center in _places(rng, fine):
        radius = fine * np.exp(rng.uniform(np.log(0.02), np.log(0.07)))
        here, y, x = _surroundings(fine, center, 2.2 * radius + 4)
        away = np.hypot(y, x)
        is_round = rng.random() < 0.08
        cell = away < 0.4 * radius if is_round else _pointed(rng, y, x, radius)
        cell &= ~ndimage.binary_dilation(mask[here], iterations=2)
        round_ones[here] |= cell & is_round
        rim = _rim(cell, width) * np.where(cell, -dark, bright) if cell.any() else 0.0
        heart = core * np.exp(-((away / (0.25 * radius)) ** 2))
        drawn[here] += rng.uniform(0.4, 1.0) * (rim + cell * body + heart)
        mask[here] |= cell
    texture = rng.uniform(0, 0.08) * fractal_noise(rng, fine, rng.uniform(0.4, 1.2), cutoff=30)
    ripple = 1 + 0.6 * np.clip(fractal_noise(rng, fine, 1.0, cutoff=20), -1.5, 1.5)
    ground = rng.uniform(0.35, 0.6) + rng.uniform(0, 0.06) * fractal_noise(rng, fine, 3.0)
    picture = ground + drawn * ripple + texture * _soft(mask, 1.0)
    picture += rng.uniform(0.1, 0.6) * (_soft(round_ones, 1.5) + 0.5 * _rim(round_ones, 2.0))
    specks = _soft(rng.random((fine, fine)) < rng.uniform(0, 0.003), rng.uniform(0.7, 1.5))
    picture += rng.uniform(-1.0, 1.0) * specks
    if rng.random() < 0.3:
        drop = _blobs(rng, fine, 1, smallest=0.03, largest=0.25, flat=1.5)
        picture += rng.uniform(-0.1, 0.1) * _soft(drop, fine / 50)
    if rng.random() < 0.2:
        picture += rng.uniform(-0.1, 0.15) * _soft(_hairs(rng, fine), 1.0)
    return _halved(np.asarray(picture, np.float32)), _halved(mask.astype(np.float32)) >= 0.5


def anything(rng: np.random.Generator, size: int) -> Scene:
    """Any shape of one surface on another, at any contrast, with a second shape that is not wanted."""
    mask = random_shape(rng, size)
    if mask.mean() > 0.6:
        mask = ~mask
    colored = rng.random() < 0.5
    ground, body = surface(rng, size, colored), surface(rng, size, colored)
    if rng.random() < 0.5:
        other = _blobs(rng, size, 2, smallest=0.02, largest=0.12, flat=2)
        ground = ground + 0.4 * _soft(other, 1.0)[..., None] * (surface(rng, size, colored) - ground)
    inside = _soft(mask, np.exp(rng.uniform(np.log(0.3), np.log(0.03 * size))))[..., None]
    return np.asarray(ground + inside * (body - ground), np.float32), mask


FAMILIES: tuple[tuple[Callable[[np.random.Generator, int], Scene], float], ...] = (
    (ultrasound, 0.24),
    (skin, 0.20),
    (fluorescence, 0.12),
    (stained, 0.07),
    (electron_microscopy, 0.10),
    (phase_contrast, 0.06),
    (adherent_cells, 0.12),
    (anything, 0.09),
)
_CHANCES = np.array([chance for _, chance in FAMILIES])


# --- objects -------------------------------------------------------------------------------------


def _blobs(
    rng: np.random.Generator, size: int, count: int, *, smallest: float, largest: float, flat: float
) -> Mask:
    """Draw irregular outlines; radii are fractions of the side, ``flat`` is the most they are stretched."""
    shape = np.zeros((size, size), dtype=bool)
    rough = rng.choice([0.0, 0.0, 0.04, 0.1]) * fractal_noise(rng, size, rng.uniform(1.6, 2.6), cutoff=8)
    strength = rng.uniform(0, 0.3)
    for _ in range(count):
        radius = size * np.exp(rng.uniform(np.log(smallest), np.log(largest)))
        center = rng.uniform(0.02, 0.98, 2) if count > 2 else np.clip(rng.normal(0.5, 0.18, 2), 0.08, 0.92)
        stretch = np.exp(rng.uniform(0, np.log(flat)))
        shape |= _outline(rng, size, center * size, radius, stretch, strength, rough)
    return shape


def _outline(
    rng: np.random.Generator,
    size: int,
    center: NDArray[np.float64],
    radius: float,
    stretch: float,
    strength: float,
    rough: Field,
) -> Mask:
    turn = rng.normal(0, 0.5) if stretch < 2 else rng.uniform(0, np.pi)
    y, x = np.ogrid[:size, :size]
    y, x = y - center[0], x - center[1]
    u = (np.cos(turn) * x + np.sin(turn) * y) / np.sqrt(stretch)
    v = (np.cos(turn) * y - np.sin(turn) * x) * np.sqrt(stretch)
    angle = np.arctan2(v, u)
    outline = np.ones_like(angle)
    for harmonic in range(2, 9):
        phase = rng.uniform(0, 2 * np.pi)
        outline += strength / harmonic**0.8 * rng.standard_normal() * np.cos(harmonic * angle + phase)
    return np.asarray(np.hypot(u, v) < radius * (np.clip(outline, 0.35, 2) + rough), dtype=bool)


def _places(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Draw 6 to 70 centers, at times in clusters: (count, 2) rows and columns."""
    count = int(np.exp(rng.uniform(np.log(6), np.log(70))))
    centers = rng.uniform(0, size, (count, 2))
    if rng.random() < 0.5:
        near = centers[rng.integers(0, max(1, count // 6), count)]
        centers = near + rng.normal(0, 0.1 * size, (count, 2))
    return centers


def _surroundings(
    size: int, center: NDArray[np.float64], reach: float
) -> tuple[tuple[slice, slice], NDArray[np.float64], NDArray[np.float64]]:
    """Give the square about a center, cut off at the borders, and the distances of its rows and columns."""
    top, left = np.clip(np.floor(center - reach), 0, size - 8).astype(int)
    bottom, right = np.clip(np.ceil(center + reach), (top + 8, left + 8), size).astype(int)
    y, x = np.ogrid[top:bottom, left:right]
    return (slice(top, bottom), slice(left, right)), y - center[0], x - center[1]


def _pointed(rng: np.random.Generator, y: NDArray[np.float64], x: NDArray[np.float64], radius: float) -> Mask:
    """Draw a cell with two to five pointed ends and hollow sides, stretched a little."""
    turn, stretch = rng.uniform(0, np.pi), np.exp(rng.uniform(0, np.log(2.2)))
    u = (np.cos(turn) * x + np.sin(turn) * y) / np.sqrt(stretch)
    v = (np.cos(turn) * y - np.sin(turn) * x) * np.sqrt(stretch)
    angle = np.arctan2(v, u)
    ends, sharp, waist = rng.integers(2, 6), rng.uniform(1, 3), rng.uniform(0.4, 0.8)
    lobes = np.abs(np.cos(ends * angle / 2 + rng.uniform(0, np.pi))) ** sharp
    uneven = 1 + rng.uniform(0, 0.4) * np.cos(angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.hypot(u, v) < radius * (waist + (1.3 - waist) * lobes * uneven), dtype=bool)


def _halved(field: Field) -> Field:
    """Average squares of 2 x 2 pixels."""
    rows, columns = field.shape
    squares = field.reshape(rows // 2, 2, columns // 2, 2)
    return np.asarray(squares.mean(axis=(1, 3)), np.float32)


def _soft(mask: Mask, blur: float) -> Field:
    return np.asarray(ndimage.gaussian_filter(mask.astype(np.float32), blur), np.float32)


def _rim(mask: Mask, width: float) -> Field:
    """Give both sides of the outline, 1 on it and falling off within about ``width`` pixels."""
    away = ndimage.distance_transform_edt(~mask) + ndimage.distance_transform_edt(mask) - 1
    return np.asarray(np.exp(-((away / width) ** 2)), np.float32)


def _domed(mask: Mask, reach: float) -> Field:
    return np.asarray(np.minimum(ndimage.distance_transform_edt(mask) / reach, 1.0), np.float32)


def _by_object(mask: Mask, rng: np.random.Generator, least: float, most: float) -> Field:
    """Give each object its own level; the spread is drawn, too."""
    labels, count = ndimage.label(mask)
    least = rng.uniform(least, most)
    levels = np.concatenate([[0.0], rng.uniform(least, most, count)]).astype(np.float32)
    return np.asarray(levels[labels], np.float32)


def _hairs(rng: np.random.Generator, size: int) -> Mask:
    """Draw long, slightly bent lines one or two pixels wide."""
    canvas = np.zeros((size, size), dtype=bool)
    along = np.linspace(-0.2, 1.2, 3 * size)
    for _ in range(rng.integers(1, 25)):
        turn, bend = rng.uniform(0, np.pi), rng.normal(0, 0.25)
        offset = rng.uniform(-0.7, 0.7)
        s = along - 0.5
        t = offset + bend * s**2
        rows = ((0.5 + np.sin(turn) * s + np.cos(turn) * t) * size).astype(int)
        columns = ((0.5 + np.cos(turn) * s - np.sin(turn) * t) * size).astype(int)
        inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
        canvas[rows[inside], columns[inside]] = True
    return canvas if rng.random() < 0.6 else np.asarray(ndimage.binary_dilation(canvas), dtype=bool)


# --- tissue and light ----------------------------------------------------------------------------


def _layers(rng: np.random.Generator, size: int) -> Field:
    """Echo of layers that lie one below the other, with bright lines between them and fibres along them."""
    depth = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    depth = depth + rng.uniform(0.01, 0.1) * fractal_noise(rng, size, 2.8)
    echo = np.full((size, size), rng.uniform(0.1, 0.5), dtype=np.float32)
    for border in np.sort(rng.uniform(0.02, 0.98, rng.integers(1, 6))):
        step = 1 / (1 + np.exp(-(depth - border) / rng.uniform(0.004, 0.05)))
        echo = echo + step * (rng.uniform(0.06, 0.6) - echo)
        if rng.random() < 0.6:
            line = np.exp(-(((depth - border) / rng.uniform(0.006, 0.03)) ** 2))
            echo = echo + rng.uniform(0.05, 0.5) * line
    fibres = fractal_noise(rng, size, rng.uniform(0.7, 1.6))
    fibres = ndimage.gaussian_filter(fibres, (0, size * rng.uniform(0.01, 0.08)), mode="wrap")
    lumps = fractal_noise(rng, size, 2.2, cutoff=5)
    strength = rng.uniform(0.1, 0.5), rng.uniform(0, 0.4)
    return np.asarray(echo * np.exp(strength[0] * fibres / fibres.std() + strength[1] * lumps), np.float32)


def _below(mask: Mask, size: int) -> Field:
    """Give the column below each object, fading out sideways: (size, size) in [0, 1]."""
    thickness = np.cumsum(mask, axis=0) * ~mask
    shadow = np.minimum(thickness / (0.2 * size), 1.0)
    return np.asarray(ndimage.gaussian_filter(shadow, size / 40), np.float32)


def _column_shadow(rng: np.random.Generator, size: int) -> Field:
    columns = np.linspace(0, 1, size, dtype=np.float32)[None, :]
    rows = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    width = np.exp(rng.uniform(np.log(0.02), np.log(0.2)))
    place = rng.uniform(0, 1) + rng.normal(0, 0.15) * rows
    start = 1 / (1 + np.exp(-(rows - rng.uniform(-0.5, 0.9)) / 0.05))
    across = np.exp(-(((columns - place) / width) ** 2))
    return np.asarray(np.exp(-rng.uniform(0.2, 1.8) * start * across), np.float32)


def _speckle(rng: np.random.Generator, size: int) -> Field:
    """Multiplicative speckle of mean 1, from hardly any to fully developed, its grains wider than deep."""
    grain = np.exp(rng.uniform(np.log(0.3), np.log(1.6)))
    waves = rng.standard_normal((2, size, size), dtype=np.float32)
    waves = ndimage.gaussian_filter(waves, (0, grain * rng.uniform(0.5, 1.0), grain * rng.uniform(1.0, 1.8)))
    amplitude = np.hypot(waves[0], waves[1])
    return np.asarray((amplitude / amplitude.mean()) ** rng.uniform(0.15, 1.0), np.float32)


def _light(rng: np.random.Generator, size: int, most: float) -> Field:
    return np.asarray(np.clip(1 + rng.uniform(0, most) * fractal_noise(rng, size, 3.0), 0.3, 1.8), np.float32)


def _vignette(rng: np.random.Generator, size: int) -> Field:
    """Dark corners: 1 in a disk about the middle, a drawn level outside."""
    y, x = np.ogrid[:size, :size]
    center = size * (0.5 + rng.normal(0, 0.03, 2))
    away = np.hypot(y - center[0], x - center[1]) / size
    outside = 1 / (1 + np.exp(-(away - rng.uniform(0.48, 0.7)) / rng.uniform(0.005, 0.06)))
    return np.asarray(1 - outside * rng.uniform(0.4, 1.0), np.float32)


def _in_margins(picture: Field, rng: np.random.Generator) -> Field:
    """Blacken the sides or a fan's corners at times, as scanners do."""
    size = len(picture)
    if rng.random() < 0.15:
        left, right = rng.integers(0, size // 8, 2)
        picture = picture.copy()
        picture[:, :left] = 0
        picture[:, size - right :] = 0
    return picture


def _with_marks(picture: Field, rng: np.random.Generator) -> Field:
    """Put small bright crosses on it at times, as left by people who measured something."""
    size = len(picture)
    if rng.random() < 0.15:
        picture = picture.copy()
        for _ in range(rng.integers(2, 6)):
            row, column = rng.integers(2, size - 2, 2)
            picture[row - 2 : row + 3, column] = 1.0
            picture[row, column - 2 : column + 3] = 1.0
    return picture


# --- what a camera makes of it -------------------------------------------------------------------


def _developed(picture: Field, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Noise, contrast, polarity and tint, then 8 bits in three channels."""
    colors = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    noise = rng.standard_normal((*colors.shape[:2], 1), dtype=np.float32)
    colors = colors + np.exp(rng.uniform(np.log(0.002), np.log(0.07))) * noise
    low, high = np.percentile(colors, [rng.uniform(0, 2), rng.uniform(98, 100)])
    stretch = rng.uniform(0.0, 1.0)
    colors = colors + stretch * ((colors - low) / (high - low + 1e-3) - colors)
    if rng.random() < 0.1:
        colors = 1 - colors
    colors = np.clip(colors, 0, 1) ** np.exp(rng.normal(0, 0.25))
    if picture.ndim == 2 and rng.random() < 0.2:
        colors = colors * rng.uniform(0.3, 1.0, 3)
    return np.asarray(np.clip(colors, 0, 1) * 255, dtype=np.uint8)
