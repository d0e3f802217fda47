"""Training and prediction as shipped beside the plain way, in one run: images a second, memory, agreement.

The plain way is what the authors' code does: the same network and losses in eager float32, a step of 2 + 2
images whose mixed images go through the network in a pass of their own, one image a prediction. The other
ways are the shipped one and what might be added to it: bf16 also where a processor has no units for it (for
its losses, not its speed), another layout of memory, compiled networks. Needs torch, diffusers, safetensors,
scikit-image and imageio, no data and no weights: images are generated and frozen autoencoders random. Prints
a Markdown table; `--curves FILE` also draws the loss curves of all ways (that needs matplotlib).

    python benchmarks/speed.py --device cuda --preset sd taesd compact --ways plain shipped compiled
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NamedTuple, cast
from unittest.mock import patch

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from device_round import FULL, example
from lesions_and_cells import generate
from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.device import choose_device
from napari_semigda.model.loading import random_autoencoder
from napari_semigda.model.network import Latents, SemiGDANet
from napari_semigda.model.presets import PRESETS
from napari_semigda.training.recipe import Budget
from napari_semigda.training.round import Round

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
BATCH = 4
"""Images a step, without the mixed ones."""

SMOOTHED = 10
WARM_UP = 3
PREDICTIONS = 12


HEAD = (
    "| preset | working size | way | training, images/s | prediction, images/s | first step after, s "
    "| operations a step, GFLOP | of the bf16 rate | peak memory, MiB | loss, first → last quarter |"
)


@dataclass(frozen=True)
class Way:
    """One way to compute.

    Parameters
    ----------
    name
        As the table has it.
    prepare
        Makes the network one that computes in this way.
    precision
        While it lasts forward passes compute as they should; None as they do by themselves.
    """

    name: str
    prepare: Callable[[SemiGDANet], SemiGDANet] = lambda model: model
    precision: Callable[[], AbstractContextManager[object]] | None = None

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Training and predicting are done in this precision while this lasts."""
        if self.precision is None:
            yield
            return
        with (
            patch("napari_semigda.training.round.autocast", lambda device: self.precision()),
            patch("napari_semigda.inference.predictor.autocast", lambda device: self.precision()),
        ):
            yield


class SeparatePasses(SemiGDANet):
    """The network with a pass for the images and another for the mixed ones."""

    @classmethod
    def of(cls, model: SemiGDANet) -> SeparatePasses:
        """The same network, all parts shared."""
        other = copy.copy(model)
        other.__class__ = cls
        return cast(SeparatePasses, other)

    def latents(self, image: Tensor, noise: Tensor | None = None) -> Latents:
        """Both branches' latents, computed pass by pass."""
        parts = image.split(BATCH)
        noises = [None] * len(parts) if noise is None else noise.split(BATCH)
        passes = [super(SeparatePasses, self).latents(*one) for one in zip(parts, noises, strict=True)]
        return Latents(
            *(torch.cat([getattr(one, name) for one in passes]) for name in ("image", "mapped", "encoded")),
            *(
                tuple(map(torch.cat, zip(*(getattr(one, name) for one in passes), strict=True)))
                for name in ("image_skips", "mask_skips")
            ),
        )

    def decode_image_branch(self, latents: Latents) -> Tensor:
        """Decode pass by pass."""
        return torch.cat([super(SeparatePasses, self).decode_image_branch(one) for one in _passes(latents)])

    def decode_mask_branch(self, latents: Latents) -> Tensor:
        """Decode pass by pass."""
        return torch.cat([super(SeparatePasses, self).decode_mask_branch(one) for one in _passes(latents)])


def channels_last(model: SemiGDANet) -> SemiGDANet:
    """The same network with its weights, and so all that it computes, laid out channel by channel."""
    return model.to(memory_format=torch.channels_last)


def compiled(model: SemiGDANet) -> SemiGDANet:
    """The same network with all that a step sends through it compiled."""
    for name in ("latents", "mask_latent", "decode_image_branch", "decode_mask_branch"):
        setattr(model, name, torch.compile(getattr(model, name)))
    return model


def _passes(latents: Latents) -> Iterator[Latents]:
    for start in range(0, len(latents.image), BATCH):
        of_pass = slice(start, start + BATCH)
        yield Latents(
            latents.image[of_pass],
            latents.mapped[of_pass],
            latents.encoded[of_pass],
            tuple(skip[of_pass] for skip in latents.image_skips),
            tuple(skip[of_pass] for skip in latents.mask_skips),
        )


WAYS = {
    "plain": Way("plain", SeparatePasses.of, nullcontext),
    "shipped": Way("as shipped"),
    "bf16": Way("in bf16", precision=lambda: torch.autocast("cpu", torch.bfloat16)),
    "channels-last": Way("channels last", channels_last),
    "compiled": Way("compiled", compiled),
}
"""The first one asked for is the measure of the others."""


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    torch.set_num_threads(given.threads)
    device, clock = choose_device(given.device), CLOCKS[given.clock]
    card = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device}, {given.threads} threads"
    )
    rate = bf16_rate(device, clock)
    print(
        f"\n{card}, torch {torch.__version__}, {given.steps} steps of 2 + 2 images, "
        f"seconds of the {given.clock}; a large bf16 product reaches {rate / 1e12:.2f} TFLOP/s, "
        f"{date.today()}\n"
    )
    print(HEAD)
    print("|---" * HEAD.count(" | ") + "|---|")
    curves: dict[str, dict[str, list[float]]] = {}
    for preset in given.preset:
        size = given.working_size or PRESETS[preset].default_working_size
        measured = [measure(WAYS[way], preset, size, given.steps, device, clock) for way in given.ways]
        for one in measured:
            print(row(preset, size, one, measured[0], rate), flush=True)
        curves[preset] = {one.way: one.losses for one in measured}
    if given.curves is not None:
        draw(curves, given.curves)
    return 0


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--preset", nargs="+", default=["compact"], choices=list(PRESETS))
    parser.add_argument("--working-size", type=int, help="default: the preset's")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--ways", nargs="+", default=["plain", "shipped"], choices=list(WAYS))
    parser.add_argument("--curves", type=Path, help="where to draw the loss curves, as a picture")
    return parser.parse_args(arguments)


def bf16_rate(device: torch.device, clock: Callable[[], float]) -> float:
    """Floating-point operations a second of a large bf16 matrix product, the best of five."""
    side = 8192 if device.type == "cuda" else 1024
    matrix = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    seconds = []
    for _ in range(5):
        started = clock()
        matrix @ matrix
        _finish(device)
        seconds.append(clock() - started)
    return 2 * side**3 / min(seconds)


class Measured(NamedTuple):
    """What one way came to.

    Attributes
    ----------
    way
        Which.
    step, prediction
        Median seconds of a training step and of a predicted image.
    first_step
        Seconds from the beginning, with the network not yet built, to the end of the first step.
    operations
        Floating-point operations of a step's products and convolutions, forward and backward.
    memory
        Peak on a card in MiB; None elsewhere.
    losses
        Of each step.
    """

    way: str
    step: float
    prediction: float
    first_step: float
    operations: float
    memory: float | None
    losses: list[float]


def measure(
    way: Way, preset: str, size: int, steps: int, device: torch.device, clock: Callable[[], float]
) -> Measured:
    """Train for so many steps in one way, and predict."""
    on_card = device.type == "cuda"
    if on_card:
        torch.cuda.reset_peak_memory_stats(device)
    started = clock()
    training = _round(way, preset, size, steps, device, clock)
    seconds, losses = [], []
    with way.computing():
        for report in training.run():
            _finish(device)
            seconds.append(report.seconds)
            losses.append(report.losses["total"])
            if len(seconds) == 1:
                first_step = clock() - started
        prediction = _prediction(training.model, size, device, clock)
        memory = torch.cuda.max_memory_allocated(device) / 2**20 if on_card else None
        operations = _operations(way, preset, size, device)
    step = statistics.median(seconds[WARM_UP:])
    return Measured(way.name, step, prediction, first_step, operations, memory, losses)


def row(preset: str, size: int, one: Measured, plain: Measured, rate: float) -> str:
    """One line of the table."""
    last = max(1, len(one.losses) // 4)
    cells = (
        preset,
        str(size),
        one.way,
        f"{BATCH / one.step:.2f} ({plain.step / one.step:.2f} ×)",
        f"{1 / one.prediction:.2f} ({plain.prediction / one.prediction:.2f} ×)",
        f"{one.first_step:.1f}",
        f"{one.operations / 1e9:.0f}",
        f"{100 * one.operations / one.step / rate:.0f} %",
        "—" if one.memory is None else f"{one.memory:.0f}",
        f"{one.losses[0]:.3f} → {statistics.mean(one.losses[-last:]):.3f}",
    )
    return f"| {' | '.join(cells)} |"


def _round(
    way: Way, preset: str, size: int, steps: int, device: torch.device, clock: Callable[[], float]
) -> Round:
    model = SemiGDANet(preset, autoencoder=random_autoencoder(preset))
    examples = [example(number, size, labeled=number < 8) for number in range(24)]
    return Round(
        way.prepare(model),
        examples[:8],
        examples[8:],
        recipe=FULL,
        budget=Budget(steps=steps),
        working_size=size,
        device=device,
        clock=clock,
        warm=True,
    )


def _operations(way: Way, preset: str, size: int, device: torch.device) -> float:
    with FlopCounterMode(display=False) as counter:
        next(_round(way, preset, size, 2, device, time.perf_counter).run())
    return float(counter.get_total_flops())


def _prediction(model: SemiGDANet, size: int, device: torch.device, clock: Callable[[], float]) -> float:
    predictor = Predictor(model, ImageSettings(working_size=size), device)
    image, _ = generate(99, "lesion", size)
    seconds = []
    for _ in range(WARM_UP + PREDICTIONS):
        started = clock()
        predictor.predict(image)
        seconds.append(clock() - started)
    return statistics.median(seconds[WARM_UP:])


def draw(curves: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Draw the losses of all ways, smoothed over `SMOOTHED` steps, a picture for each preset side by side."""
    from matplotlib.figure import Figure  # not needed on a machine that only measures

    figure = Figure(figsize=(6 * len(curves), 4), layout="constrained")
    for axes, (preset, ways) in zip(
        np.atleast_1d(figure.subplots(1, len(curves))), curves.items(), strict=True
    ):
        for way, losses in ways.items():
            smooth = uniform_filter1d(losses, SMOOTHED)
            axes.plot(range(1, len(losses) + 1), smooth, label=way, linewidth=1.2)
        axes.set(xlabel="step", ylabel=f"loss, mean of {SMOOTHED} steps", title=preset)
        axes.legend()
    figure.savefig(path, dpi=110)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(main())
