"""The loop on a real pack: label some images, train rounds, predict images that took part in nothing.

Uses real sessions and the real engine, as the plugin and the command line do, and prints a Markdown table.
Test images are drawn first; images of one near-duplicate group stay on one side unless --random-split.

    python benchmarks/session_loop.py --data FOLDER --labeled 52 --preset compact taesd --seconds 600
"""

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch

from napari_semigda.engine.engine import Engine
from napari_semigda.engine.events import PredictionFailed, RoundFailed
from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.checkpoint import load_checkpoint
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget, Recipe
from packs import Pair, Split, is_pack, split_pack, truth
from scores import scores
from tables import SPLITS


@dataclass(frozen=True)
class Row:
    """What one round came to."""

    preset: str
    round: int
    labeled: int
    unlabeled: int
    steps: int
    training_seconds: float
    dice: float
    draft_milliseconds: float


def main() -> int:
    given = _arguments()
    if not is_pack(given.data):
        print(f"skipped: there is no pack in {given.data}")
        return 0
    torch.set_num_threads(given.threads)
    split = split_pack(
        given.data,
        str(max(given.labeled)),
        test=given.test,
        seed=given.seed,
        random_split=given.random_split,
    )
    rows = [row for preset in given.preset for row in run(preset, split, given)]
    report(rows, given, split)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with images/, masks/ and meta.csv")
    parser.add_argument("--labeled", type=int, nargs="+", default=[52], help="labeled images at each round")
    parser.add_argument("--test", type=int, help="test images; default: the pack's own number")
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


def run(preset: str, split: Split, given: argparse.Namespace) -> list[Row]:
    """A session of the images that are not for the test, with a round at each number of labeled ones."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        session = Session.create(
            Path(folder) / "session",
            sorted(pair.image for pair in (*split.labeled, *split.unlabeled)),
            preset=preset,
            settings=ImageSettings(working_size=given.working_size),
            one_object=given.one_object,
            weights=None if preset == "compact" else given.weights,
        )
        engine = Engine(session, given.device)
        items = {session.images.path(item).stem: item for item in session.items}
        done = 0
        for count in given.labeled:
            for pair in split.labeled[done:count]:
                session.accept(items[pair.stem], truth(pair))
            done = count
            _train(engine, given)
            rows.append(_row(session, split.test, given))
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _train(engine: Engine, given: argparse.Namespace) -> None:
    recipe = Recipe.named(given.recipe).with_one_object(given.one_object)
    engine.request_round(recipe=recipe, budget=Budget(seconds=given.seconds), seed=given.seed)
    while engine.start_work():
        for event in engine.work():
            if isinstance(event, RoundFailed | PredictionFailed):
                raise SystemExit(event.message)
            if not engine.round_is_active:
                engine.cancel_drafts()  # drafts of the pool are not what is measured


def _row(session: Session, test: Sequence[Pair], given: argparse.Namespace) -> Row:
    record = session.rounds[-1]
    model, _ = load_checkpoint(session.rounds.last_model(), weights=session.weights)
    predictor = Predictor(model, session.settings, given.device)
    dice, times = [], []
    for pair in test:
        pixels = iio.imread(pair.image)
        started = time.perf_counter()
        labels = predictor.predict(pixels).labels
        times.append(time.perf_counter() - started)
        dice.append(scores(labels, truth(pair), ("dice",))["dice"])
    return Row(
        session.preset,
        record.number,
        len(record.labeled),
        record.unlabeled,
        record.steps,
        record.seconds,
        float(np.mean(dice)),
        1000 * float(np.median(times)),
    )


def report(rows: list[Row], given: argparse.Namespace, split: Split) -> None:
    """Print the conditions and the table."""
    device = (
        torch.cuda.get_device_name() if given.device.startswith("cuda") else f"{given.threads} CPU threads"
    )
    print(
        f"\n{given.data.name}, {SPLITS[split.kind]}, {len(split.test)} test images, "
        f"working size {given.working_size}, recipe {given.recipe}, seed {given.seed}; "
        f"{device} ({platform.machine()}), torch {torch.__version__}, {date.today()}\n"
    )
    print("| preset | round | labeled | unlabeled | steps | training, s | Dice | ms a predicted image |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.preset} | {row.round} | {row.labeled} | {row.unlabeled} | {row.steps} "
            f"| {row.training_seconds:.0f} | {row.dice:.3f} | {row.draft_milliseconds:.0f} |"
        )


if __name__ == "__main__":
    sys.exit(main())
