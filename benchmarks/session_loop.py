"""The loop on a real pack: label some images, train rounds, predict images that took part in nothing.

Uses real sessions and the real engine, as the plugin and the command line do, and prints a Markdown table.
Test images are drawn first; images of one near-duplicate group stay on one side unless --random-split.

    python benchmarks/session_loop.py --data FOLDER --labelled 52 --preset compact taesd --seconds 600
"""

import argparse
import csv
import platform
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch

from napari_semigda.engine import Engine, PredictionFailed, RoundFailed
from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.checkpoint import load_checkpoint
from napari_semigda.session.journal import effort
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget, Recipe


@dataclass(frozen=True)
class Row:
    """What one round came to."""

    preset: str
    round: int
    labelled: int
    unlabelled: int
    steps: int
    training_seconds: float
    dice: float
    draft_milliseconds: float


def main() -> int:
    given = _arguments()
    if not (given.data / "images").is_dir():
        print(f"skipped: there is no pack in {given.data}")
        return 0
    torch.set_num_threads(given.threads)
    pool, test = split(given.data, given.test, given.seed, given.random_split)
    rows = [row for preset in given.preset for row in run(preset, pool, test, given)]
    report(rows, given, len(test))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with images/, masks/ and meta.csv")
    parser.add_argument("--labelled", type=int, nargs="+", default=[52], help="labelled images at each round")
    parser.add_argument("--test", type=int, default=130)
    parser.add_argument("--preset", nargs="+", default=["compact"])
    parser.add_argument("--weights", type=Path, help="local weights of the autoencoder (taesd, sd)")
    parser.add_argument("--working-size", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=600.0, help="training time of each round")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--one-object", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--random-split", action="store_true", help="ignore near-duplicates, as published")
    return parser.parse_args()


def split(pack: Path, test_count: int, seed: int, ignore_groups: bool) -> tuple[list[Path], list[Path]]:
    """Images to work with, and images for the test; a near-duplicate group is on one side only."""
    with (pack / "meta.csv").open() as file:
        rows = list(csv.DictReader(file))
    groups: dict[str, list[Path]] = {}
    for row in rows:
        group = "" if ignore_groups else row.get("near_dup_group", "")
        groups.setdefault(group or row["stem"], []).append(pack / "images" / f"{row['stem']}.png")
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    test: list[Path] = []
    while len(test) < test_count:
        test += groups[order.pop()]
    return [image for name in order for image in groups[name]], test


def run(preset: str, pool: list[Path], test: list[Path], given: argparse.Namespace) -> list[Row]:
    """A session of the pool, with a round at each number of labelled images."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        session = Session.create(
            Path(folder) / "session",
            pool,
            preset=preset,
            settings=ImageSettings(working_size=given.working_size),
            one_object=given.one_object,
            weights=None if preset == "compact" else given.weights,
        )
        engine = Engine(session, given.device)
        waiting = list(session.items)
        random.Random(given.seed).shuffle(waiting)
        done = 0
        for count in given.labelled:
            for item in waiting[done:count]:
                session.accept(item, truth_of(session.picture_path(item)))
            done = count
            _train(engine, given)
            rows.append(_row(session, test, given))
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def truth_of(image: Path) -> np.ndarray:
    """The mask beside an image, as 0 and 1."""
    return (iio.imread(image.parent.parent / "masks" / image.name) > 127).astype(np.uint8)


def _train(engine: Engine, given: argparse.Namespace) -> None:
    recipe = Recipe.named(given.recipe).with_one_object(given.one_object)
    engine.request_round(recipe=recipe, budget=Budget(seconds=given.seconds), seed=given.seed)
    while engine.start_work():
        for event in engine.work():
            if isinstance(event, RoundFailed | PredictionFailed):
                raise SystemExit(event.message)
            if not engine.round_is_active:
                engine.cancel_predictions()  # drafts of the pool are not what is measured


def _row(session: Session, test: list[Path], given: argparse.Namespace) -> Row:
    record = session.rounds[-1]
    model, _ = load_checkpoint(session.last_model(), weights=session.weights)
    predictor = Predictor(model, session.settings, given.device)
    scores, times = [], []
    for image in test:
        pixels = iio.imread(image)
        started = time.perf_counter()
        labels = predictor.predict(pixels).labels
        times.append(time.perf_counter() - started)
        scores.append(effort(labels, truth_of(image), 2)[0])
    return Row(
        session.preset,
        record.number,
        len(record.labelled),
        record.unlabelled,
        record.steps,
        record.seconds,
        float(np.mean(scores)),
        1000 * float(np.median(times)),
    )


def report(rows: list[Row], given: argparse.Namespace, tested: int) -> None:
    """Print the conditions and the table."""
    device = (
        torch.cuda.get_device_name() if given.device.startswith("cuda") else f"{given.threads} CPU threads"
    )
    kind = "random split" if given.random_split else "near-duplicates kept on one side"
    print(
        f"\n{given.data.name}, {kind}, {tested} test images, working size {given.working_size}, recipe "
        f"{given.recipe}, seed {given.seed}; {device} ({platform.machine()}), torch {torch.__version__}, "
        f"{date.today()}\n"
    )
    print("| preset | round | labelled | unlabelled | steps | training, s | Dice | ms a predicted image |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.preset} | {row.round} | {row.labelled} | {row.unlabelled} | {row.steps} "
            f"| {row.training_seconds:.0f} | {row.dice:.3f} | {row.draft_milliseconds:.0f} |"
        )


if __name__ == "__main__":
    sys.exit(main())
