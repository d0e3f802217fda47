"""A round, a resumed round and the predictor on a device: seconds a step and an image, for each preset.

Needs torch, diffusers, safetensors and scikit-image, no data and no weights: images are generated and the
frozen autoencoders random unless --weights. Prints a Markdown table.

    python benchmarks/device_round.py --device cuda --preset sd taesd compact
"""

import argparse
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import torch

from lesions_and_cells import generate
from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import ImageSettings, frame, normalize
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.model.device import choose_device
from napari_semigda.model.loading import random_autoencoder
from napari_semigda.model.network import SemiGDANet
from napari_semigda.model.presets import PRESETS
from napari_semigda.training.data import Example
from napari_semigda.training.recipe import Budget, Recipe
from napari_semigda.training.round import Round

#: Everything takes part from the first step on, so that a step costs what it costs at the end of a round.
FULL = Recipe(unlabeled_from=0.0, mixing_from=0.0, stage_one_share=0.2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--preset", nargs="+", default=["compact"], choices=list(PRESETS))
    parser.add_argument("--working-size", type=int, help="default: the preset's")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = choose_device(given.device)
    name = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device}, {given.threads} threads"
    )
    print(
        f"\n{name}, torch {torch.__version__}, {given.steps} steps, batch 2 + 2 with mixing, {date.today()}\n"
    )
    print(
        "| preset | working size | stage 1, s/step | stage 2, s/step | resumed, s/step | largest difference "
        "after resuming | prediction, ms/image | peak memory, MiB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for preset in given.preset:
        print(_row(preset, given.working_size or PRESETS[preset].default_working_size, given.steps, device))
    return 0


def _row(preset: str, size: int, steps: int, device: torch.device) -> str:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    whole = _round(preset, size, steps, device)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for report in whole.run():
        seconds[report.stage].append(report.seconds)
    resumed, difference = _resume(preset, size, steps, device, whole)
    prediction = _prediction(whole, size, device)
    memory = f"{torch.cuda.max_memory_allocated(device) / 2**20:.0f}" if device.type == "cuda" else "—"
    return (
        f"| {preset} | {size} | {statistics.median(seconds[1]):.3f} | {statistics.median(seconds[2]):.3f} "
        f"| {resumed:.3f} | {difference:.1e} | {1000 * prediction:.1f} | {memory} |"
    )


def _round(preset: str, size: int, steps: int, device: torch.device) -> Round:
    examples = [example(number, size, labeled=number < 8) for number in range(24)]
    return Round(
        SemiGDANet(preset, autoencoder=random_autoencoder(preset)),
        examples[:8],
        examples[8:],
        recipe=FULL,
        budget=Budget(steps=steps),
        working_size=size,
        device=device,
    )


def example(seed: int, size: int, *, labeled: bool) -> Example:
    """A generated picture, with its true labels or without any."""
    image, truth = generate(seed, "lesion" if seed % 2 else "cells", size)
    settings = ImageSettings(working_size=size)
    framed = frame(normalize(image, settings), truth if labeled else np.full_like(truth, UNKNOWN), settings)
    return Example(framed.image, framed.labels, framed.valid)


def _resume(preset: str, size: int, steps: int, device: torch.device, whole: Round) -> tuple[float, float]:
    """Stop a round half-way, go on with another, and compare with the one that never stopped."""
    stopped = _round(preset, size, steps, device)
    for _, _report in zip(range(steps // 2), stopped.run(), strict=False):
        pass
    with tempfile.TemporaryDirectory() as folder:
        stopped.save_state(Path(folder) / "state.safetensors")
        resumed = _round(preset, size, steps, device)
        resumed.load_state(Path(folder) / "state.safetensors")
    seconds = [report.seconds for report in resumed.run()]
    first, second = whole.averaged_state(), resumed.averaged_state()
    difference = max(float((first[n].float() - second[n].float()).abs().max()) for n in first)
    return statistics.median(seconds), difference


def _prediction(trained: Round, size: int, device: torch.device) -> float:
    predictor = Predictor(trained.model, ImageSettings(working_size=size), device)
    image, _ = generate(99, "lesion", size)
    times = []
    for _ in range(7):
        started = time.perf_counter()
        predictor.predict(image)
        times.append(time.perf_counter() - started)
    return statistics.median(times[2:])


if __name__ == "__main__":
    sys.exit(main())
