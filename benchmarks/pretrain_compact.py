"""Train what the preset `compact` starts from: parts that tell objects from background.

    OMP_NUM_THREADS=1 python benchmarks/pretrain_compact.py OUTPUT --seconds 3600 --evaluate PACK ...

Everything it learns from is drawn by `scenes`: no real image takes part, the packs
named by `--evaluate` are only looked at. The loss is a round's own (SemiGDA, stage 2, labeled images), the
autoencoder stays frozen. The moving average of the weights is written to
OUTPUT/compact_start.safetensors (float16) at every evaluation; OUTPUT/checkpoint.pt lets a stopped run go on
(`--resume`).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from safetensors.torch import save_file

from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.device import autocast
from napari_semigda.model.network import SemiGDANet
from napari_semigda.training.augmentation import augment
from napari_semigda.training.data import Batch
from napari_semigda.training.objective import Objective
from napari_semigda.training.recipe import Recipe, averaging_decay
from scenes import draw_scene
from train_compact import Muon

CANVAS = 160
WINDOWS = ((96, 8, 0.5), (128, 6, 0.5))
"""Side of a window in pixels, windows a step, share of the steps."""


class Pool:
    """Generated scenes to take windows from; every step some are replaced by new ones.

    Parameters
    ----------
    rng
        Source of randomness.
    count
        Scenes held at a time.
    """

    def __init__(self, rng: np.random.Generator, count: int) -> None:
        self._rng = rng
        self._scenes = [draw_scene(rng, CANVAS) for _ in range(count)]

    def refresh(self) -> None:
        """Replace one scene."""
        self._scenes[self._rng.integers(len(self._scenes))] = draw_scene(self._rng, CANVAS)

    def batch(self, count: int, side: int) -> Batch:
        """Draw windows, zoomed a little; images (count, 3, side, side) in [-1, 1]."""
        windows = [self._window(int(index), side) for index in self._rng.choice(len(self._scenes), count)]
        images, labels = (torch.stack(parts) for parts in zip(*windows, strict=True))
        return Batch(images, labels, torch.ones_like(labels, dtype=torch.bool))

    def _window(self, index: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
        picture, mask = self._scenes[index]
        cut = int(min(CANVAS, side * np.exp(self._rng.uniform(-0.2, 0.5))))
        top, left = self._rng.integers(0, CANVAS - cut + 1, 2)
        window = np.s_[top : top + cut, left : left + cut]
        image = torch.from_numpy(picture[window]).movedim(-1, 0).float() / 127.5 - 1
        labels = torch.from_numpy(mask[window])
        size = (side, side)
        image = torch.nn.functional.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
        labels = torch.nn.functional.interpolate(labels[None, None].float(), size, mode="nearest")[
            0, 0
        ].byte()
        return image, labels


def learning_rate(progress: float, highest: float) -> float:
    """Warm up over the first fiftieth of the run, then fall along a cosine to a hundredth."""
    if progress < 0.02:
        return highest * (0.05 + 0.95 * progress / 0.02)
    return highest * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def optimizers(parameters: Sequence[torch.nn.Parameter], rate: float) -> list[torch.optim.Optimizer]:
    """Muon for convolution kernels, Adam for everything else."""
    kernels = [parameter for parameter in parameters if parameter.ndim == 4]
    others = [parameter for parameter in parameters if parameter.ndim != 4]
    return [Muon(kernels, rate), torch.optim.Adam(others, rate, betas=(0.9, 0.98))]


class Training:
    """A run that can be stopped at any evaluation and taken up again.

    Parameters
    ----------
    options
        As on the command line; with `resume`, the state in the output folder is taken up.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.model = SemiGDANet("compact", seed=options.seed, pretrained=False)
        self.average = {name: value.clone() for name, value in self.model.trainable_state().items()}
        parameters = [parameter for part in self.model.parts().values() for parameter in part.parameters()]
        self.optimizers = optimizers(parameters, options.rate)
        self.step, self.elapsed = 0, 0.0
        if options.resume:
            self._restore()
        self.rng = np.random.default_rng([options.seed, self.step])
        self.generator = torch.Generator().manual_seed(options.seed + self.step)
        self.pool = Pool(self.rng, options.pool)
        self._running: dict[str, float] = {}

    def run(self) -> None:
        """Train until the time is over, with an evaluation now and then and one at the end."""
        next_evaluation = self.elapsed + self.options.every
        while self.elapsed < self.options.seconds:
            started = time.perf_counter()
            self._advance()
            self.elapsed += time.perf_counter() - started
            if next_evaluation <= self.elapsed < self.options.seconds:
                next_evaluation += self.options.every
                self._evaluate()
        self._evaluate()

    def _advance(self) -> None:
        """Take one optimizer step."""
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = learning_rate(
                self.elapsed / self.options.seconds, self.options.rate
            )
        for _ in range(self.options.refresh):
            self.pool.refresh()
        side, count, _ = WINDOWS[self.rng.choice(len(WINDOWS), p=[share for *_, share in WINDOWS])]
        batch = augment(self.pool.batch(count, side), self.generator)
        self.model.train()
        with autocast("cpu"):
            terms = Objective(self.model, Recipe(), self.generator).terms(2, 0.0, batch, None)
        self.model.zero_grad(set_to_none=True)
        sum((weight * value for weight, value in terms.values()), torch.zeros(())).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self._update_average()
        for name, (_, value) in terms.items():
            self._running[name] = 0.98 * self._running.get(name, value.item()) + 0.02 * value.item()

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = averaging_decay(self.step, 0.998)
        for name, value in self.model.trainable_state().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def _evaluate(self) -> None:
        """Write weights and state; print step, seconds, losses, and Dice of untrained-for packs."""
        output = self.options.output
        stored = {name: value.half().contiguous() for name, value in self.average.items()}
        save_file(stored, output / "compact_start.safetensors")
        self._save()
        averaged = SemiGDANet("compact", pretrained=False)
        averaged.load_trainable_state(self.average)
        line: dict[str, float] = {"step": self.step, "seconds": round(self.elapsed)}
        line |= {name: round(value, 4) for name, value in self._running.items()}
        for folder in self.options.evaluate:
            line[folder.name] = round(dice_without_training(averaged, folder), 4)
        with (output / "curve.jsonl").open("a", encoding="utf-8") as curve:
            curve.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def _save(self) -> None:
        state = {
            "model": self.model.trainable_state(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": self.average,
            "step": self.step,
            "elapsed": self.elapsed,
        }
        torch.save(state, self.options.output / "checkpoint.pt")

    def _restore(self) -> None:
        state = torch.load(self.options.output / "checkpoint.pt", weights_only=True)
        self.model.load_trainable_state(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.average = state["average"]
        self.step, self.elapsed = state["step"], state["elapsed"]


def dice_without_training(model: SemiGDANet, pack: Path, limit: int = 20) -> float:
    """Mean Dice of what the network takes for objects in a pack's images, never having seen one of them."""
    paths = sorted((pack / "images").glob("*.png"))
    predictor = Predictor(model, ImageSettings(working_size=128))
    scores = []
    for index in np.linspace(0, len(paths) - 1, min(limit, len(paths))):
        image = paths[round(index)]
        predicted = predictor.predict(iio.imread(image)).labels > 0
        truth = iio.imread(pack / "masks" / image.name) > 127
        scores.append(2 * (predicted & truth).sum() / max(1, predicted.sum() + truth.sum()))
    return float(np.mean(scores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("output", type=Path, help="folder for weights, checkpoint and curve")
    parser.add_argument("--seconds", type=float, default=3600, help="length, evaluations not counted")
    parser.add_argument("--every", type=float, default=300, help="seconds between evaluations")
    parser.add_argument("--evaluate", type=Path, nargs="*", default=[], help="packs that are tried")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--pool", type=int, default=500, help="scenes held at a time")
    parser.add_argument("--refresh", type=int, default=1, help="scenes replaced at each step")
    parser.add_argument("--resume", action="store_true", help="go on from OUTPUT/checkpoint.pt")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    Training(options).run()


if __name__ == "__main__":
    main()
