"""What drafts of several classes look like where two classes meet: Dice of each class, and a third one's rim.

Trains on generated scenes and predicts others. A *rim* pixel is predicted as a class that the truth does not
have within two pixels, and lies within four pixels of an outline between two others; the table tells how many
there are for 100 pixels of such outlines.

    python benchmarks/between_classes.py --loss dice default
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from lesions_and_cells import fractal_noise
from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import ImageSettings, frame, normalize
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.model.network import SemiGDANet
from napari_semigda.training import objective
from napari_semigda.training.data import Example
from napari_semigda.training.losses import dice_loss, segmentation_loss
from napari_semigda.training.recipe import Budget, Recipe
from napari_semigda.training.round import Round

SIZE = 128
SETTINGS = ImageSettings(working_size=SIZE, framing="whole")
SEEDS = {"nested": 1, "touching": 2, "apart": 3, "alone": 4, "five": 5}
CLASSES = {"five": 6}
COLORS = [
    (0.88, 0.85, 0.85),
    (0.80, 0.58, 0.70),
    (0.45, 0.28, 0.58),
    (0.55, 0.70, 0.50),
    (0.70, 0.75, 0.35),
    (0.30, 0.50, 0.75),
]
LOSSES = {"dice": dice_loss, "default": segmentation_loss}

Scene = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", nargs="+", default=list(TRAINED), choices=list(TRAINED))
    parser.add_argument("--loss", nargs="+", default=["default"], choices=list(LOSSES))
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", type=int, default=24, help="number of scenes to predict")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| scenes | loss | Dice of each class | rim pixels for 100 of outline, each class |")
    print("| --- | --- | --- | --- |")
    for kind in given.scenes:
        for loss in given.loss:
            objective.segmentation_loss = LOSSES[loss]
            model, shown = TRAINED[kind](kind, given.steps, given.seed)
            dice, rims = scored(model, shown, given.test)
            print(f"| {kind} | {loss} | {in_words(dice, 3)} | {in_words(rims, 1)} |", flush=True)


def in_words(values: Sequence[float], digits: int) -> str:
    return ", ".join("—" if np.isnan(value) else f"{value:.{digits}f}" for value in values)


# Scenes ----------------------------------------------------------------------------------------------------


def scene(seed: int, kind: str) -> Scene:
    """An image (SIZE, SIZE, 3) and its label map: objects of two parts, or of one class each."""
    rng = np.random.default_rng([seed, SEEDS[kind]])
    labels = np.zeros((SIZE, SIZE), np.uint8)
    {"nested": _nested, "touching": _touching, "five": _touching}.get(kind, _apart)(rng, labels, kind)
    shift = rng.normal(0, 0.04, 3)
    image = np.zeros((SIZE, SIZE, 3), np.float32)
    for value, color in enumerate(COLORS):
        share = ndimage.gaussian_filter((labels == value).astype(np.float32), rng.uniform(0.8, 1.8))
        image += share[..., None] * (np.array(color, np.float32) + shift)
    texture = fractal_noise(rng, SIZE, 1.5, cutoff=4)
    image = image * (1 + 0.06 * texture[..., None]) + rng.normal(0, 0.03, image.shape)
    return (np.clip(image, 0, 1) * 255).astype(np.uint8), labels


def _nested(rng: np.random.Generator, labels: NDArray[np.uint8], _: str) -> None:
    for _ in range(rng.integers(1, 4)):
        (y, x), radius = rng.uniform(0.2, 0.8, 2) * SIZE, rng.uniform(0.12, 0.2) * SIZE
        cell = _blob(rng, y, x, radius)
        if _is_free(cell, labels):
            labels[cell] = 1
            y, x = y + rng.normal(0, 0.2 * radius), x + rng.normal(0, 0.2 * radius)
            labels[_blob(rng, y, x, radius * rng.uniform(0.45, 0.7)) & cell] = 2


def _touching(rng: np.random.Generator, labels: NDArray[np.uint8], kind: str) -> None:
    many = kind == "five"
    least = 0.15 if many else 0.2
    for _ in range(rng.integers(2, 5) if many else rng.integers(1, 4)):
        (y, x), radius = rng.uniform(least, 1 - least, 2) * SIZE, rng.uniform(0.12, 0.22) * SIZE
        cell = _blob(rng, y, x, radius)
        if _is_free(cell, labels):
            turn = rng.uniform(0, 6.3)
            rows, columns = np.mgrid[:SIZE, :SIZE]
            across = np.cos(turn) * (rows - y) + np.sin(turn) * (columns - x)
            half = across > rng.normal(0, 0.2) * radius
            one, other = rng.permutation(5)[:2] + 1 if many else (1, 2)
            labels[cell] = one
            labels[cell & half] = other


def _apart(rng: np.random.Generator, labels: NDArray[np.uint8], kind: str) -> None:
    for _ in range(rng.integers(3, 7)):
        (y, x), radius = rng.uniform(0.1, 0.9, 2) * SIZE, rng.uniform(0.07, 0.15) * SIZE
        cell = _blob(rng, y, x, radius)
        if _is_free(cell, labels):
            labels[cell] = 1 if rng.random() < 0.5 or kind == "alone" else 2


def _blob(rng: np.random.Generator, y: float, x: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    angle = np.arctan2(rows - y, columns - x)
    outline = np.ones_like(angle)
    for harmonic in range(2, 6):
        outline += rng.normal(0, 0.12 / harmonic) * np.cos(harmonic * angle + rng.uniform(0, 6.3))
    stretch = rng.uniform(0.85, 1.2)
    return np.asarray(np.hypot((rows - y) * stretch, (columns - x) / stretch) < radius * outline)


def _is_free(cell: NDArray[np.bool_], labels: NDArray[np.uint8]) -> bool:
    return not (ndimage.binary_dilation(cell, iterations=2) & (labels > 0)).any()


# Training --------------------------------------------------------------------------------------------------


def trained(kind: str, steps: int, seed: int) -> tuple[SemiGDANet, str]:
    """A first round that knows all classes from the start."""
    model = SemiGDANet("compact", CLASSES.get(kind, 3), seed=seed)
    train(model, examples(kind, range(14 if kind == "five" else 8)), kind, steps, seed)
    return model, kind


def with_added_class(kind: str, steps: int, seed: int) -> tuple[SemiGDANet, str]:
    """One round with one class, then one with another that was added: in no mask, or in three new ones."""
    shown = "alone" if kind == "added, in no mask" else "apart"
    model = SemiGDANet("compact", 2, seed=seed)
    train(model, examples(shown, range(8), 0), shown, steps, seed)
    model.classes = 3
    if shown == "alone":
        again = examples(shown, range(8))
    else:
        again = examples(shown, range(6), UNKNOWN) + examples(shown, range(6, 9))
    train(model, again, shown, steps, seed + 1)
    return model, shown


TRAINED = {"nested": trained, "touching": trained, "apart": trained, "five": trained}
TRAINED |= {"added, in no mask": with_added_class, "added, in three masks": with_added_class}


def examples(kind: str, seeds: range, others: int | None = None) -> list[Example]:
    """Scenes for training; `others`: what everything that is not class 1 becomes."""
    made = []
    for seed in seeds:
        image, labels = scene(seed, kind)
        if others is not None:
            left_out = labels != 1 if others == UNKNOWN else labels == 2
            labels = np.where(left_out, others, labels).astype(np.uint8)
        framed = frame(normalize(image, SETTINGS), labels, SETTINGS)
        made.append(Example(framed.image, framed.labels, framed.valid))
    return made


def train(model: SemiGDANet, labeled: list[Example], kind: str, steps: int, seed: int) -> None:
    unlabeled = []
    for number in range(100, 130):
        framed = frame(normalize(scene(number, kind)[0], SETTINGS), None, SETTINGS)
        unlabeled.append(Example(framed.image, framed.labels, framed.valid))
    budget = Budget(steps=steps)
    training = Round(
        model, labeled, unlabeled, recipe=Recipe(), budget=budget, working_size=SIZE, seed=seed, warm=True
    )
    list(training.run())
    model.load_trainable_state(training.averaged_state())


# Scores ----------------------------------------------------------------------------------------------------


def scored(model: SemiGDANet, kind: str, count: int) -> tuple[list[float], list[float]]:
    """Dice over all pixels of the test scenes, and rim pixels for 100 of outline, of each class."""
    predictor = Predictor(model, SETTINGS)
    both, either, rims, outlines = np.zeros((4, model.classes))
    for seed in range(10_000, 10_000 + count):
        image, truth = scene(seed, kind)
        found = predictor.predict(image).labels
        for value in range(1, model.classes):
            both[value] += 2 * ((found == value) & (truth == value)).sum()
            either[value] += (found == value).sum() + (truth == value).sum()
            rim, outline = rim_of(value, found, truth)
            rims[value], outlines[value] = rims[value] + rim, outlines[value] + outline
    with np.errstate(invalid="ignore"):
        return (both / either)[1:].tolist(), (100 * rims / np.maximum(outlines, 1))[1:].tolist()


def rim_of(value: int, found: NDArray[np.uint8], truth: NDArray[np.uint8]) -> tuple[int, int]:
    """Pixels of a class's rim, and the length of the outlines that it could lie along."""
    own = truth == value
    far = ~ndimage.binary_dilation(own, iterations=2) if own.any() else np.ones_like(own)
    edge = np.zeros_like(own)
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = truth[here] != truth[there]
        edge[here] |= differs
        edge[there] |= differs
    near = ndimage.binary_dilation(edge, iterations=4)
    return int(((found == value) & far & near).sum()), int((edge & far).sum() // 2)


if __name__ == "__main__":
    main()
