"""A simulated annotator works through a pack: how good drafts become, and how much is left to correct.

The annotator asks the session's queue what to look at, accepts the truth, and trains a round whenever enough
was accepted, with the real session, engine, queue and rounds. Each strategy of the queue is a run; so is
`unet-random`: a supervised U-Net that goes on from its own last weights on randomly chosen images.

    python benchmarks/annotation_session.py --data BUSI --one-object --budget 60 --seeds 3

Each run is one JSON file; a Markdown table of all runs asked for is printed at the end, and `curves.py` draws
them. Dice is that of test images, which take part in nothing; effort is the share of pixels that had to be
changed in each draft. Only seconds spent in training steps count: the processor's with --clock processor, for
machines that others use, too.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch
from numpy.typing import NDArray

from baselines import SupervisedUNet, UNet
from label_efficiency import changed, device_name
from napari_semigda.engine.engine import Engine
from napari_semigda.engine.events import PredictionFailed, RoundFailed, RoundNotSaved, Stepped
from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.atomic import write_bytes
from napari_semigda.model.checkpoint import load_checkpoint
from napari_semigda.model.device import choose_device
from napari_semigda.model.presets import PRESETS
from napari_semigda.session.efforts import measure as effort
from napari_semigda.session.items import Item
from napari_semigda.session.ranking import ORDERS, current_name
from napari_semigda.session.session import Session
from napari_semigda.training.data import mixed_seed
from napari_semigda.training.recipe import Budget, Recipe
from packs import Pair, Split, is_pack, split_pack, truth
from scores import scores
from tables import SPLITS, read_result

RESULTS = Path(__file__).parent / "results" / "annotation"

BASELINE = "unet-random"

LOOKS_AT_SCORES = ("mixed", "uncertainty")
"""Strategies that want drafts of all images after a round; the others have one made when its turn comes."""

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}

Result = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    if not is_pack(given.data):
        print(f"skipped: there is no pack in {given.data}")
        return 0
    torch.set_num_threads(given.threads)
    given.output.mkdir(parents=True, exist_ok=True)
    results, failed = [], False
    for task in tasks(given):
        try:
            results.append(result_of(task, again=given.again))
        except SemiGDAError as error:
            failed = True
            print(f"failed: {task.file_name}: {error}", file=sys.stderr, flush=True)
    print(needed_table(results))
    return int(failed)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of a pack: images/, masks/ and meta.csv")
    known = [*ORDERS, BASELINE]
    add("--strategies", nargs="+", default=known, choices=known, type=current_name)
    add("--accepts", type=int, nargs="+", default=[4, 4, 8, 8, 16], help="images accepted before each round")
    add("--budget", type=float, default=60.0, help="seconds of training steps a round")
    add("--pool", type=int, help="how many images the annotator has; default: all that do not test")
    add("--test", type=int, help="test images; default: the pack's own number")
    add("--rest", action="store_true", help="also score drafts of all images not yet accepted (takes longer)")
    add("--preset", default="compact", choices=list(PRESETS))
    add("--recipe", default="default", help="default or paper")
    add("--recipe-change", nargs="+", default=[], metavar="KEY=VALUE", help="stage_two_optimizer.kind=sgd")
    add("--name", help="what tables call these changes; default: the changes themselves")
    add("--one-object", action="store_true", help="the annotator says that there is at most one an image")
    add("--weights", type=Path, help="local weights of the autoencoder (taesd, sd)")
    add("--device", default="auto")
    add("--seeds", type=int, default=1, help="how many runs with different seeds and splits")
    add("--threads", type=int, default=1)
    add("--clock", default="wall", choices=list(CLOCKS), help="whose seconds the budget counts")
    add("--working-size", type=int, default=128)
    add("--random-split", action="store_true", help="ignore near-duplicates, as published results do")
    add("--output", type=Path, default=RESULTS)
    add("--again", action="store_true", help="run even where there is a result already")
    given = parser.parse_args(arguments)
    try:
        given.recipe = changed(Recipe.named(given.recipe), given.recipe_change)
    except SemiGDAError as error:
        parser.error(str(error))
    if min(given.accepts) < 1:
        parser.error("a round needs at least one image more")
    if given.name is None:
        given.name = " ".join(given.recipe_change)
    return given


@dataclass(frozen=True)
class Task:
    """One run: a strategy, a split and a seed."""

    given: argparse.Namespace
    split: Split
    strategy: str
    seed: int

    @property
    def pool(self) -> tuple[Pair, ...]:
        """What the annotator has to work through."""
        return (*self.split.labeled, *self.split.unlabeled)[: self.given.pool]

    @property
    def settings(self) -> ImageSettings:
        """How pictures are framed."""
        return ImageSettings(working_size=self.given.working_size)

    @property
    def device(self) -> torch.device:
        """Where to train and to predict."""
        return choose_device(self.given.device)

    @property
    def conditions(self) -> dict[str, Any]:
        """What a run is told apart by."""
        given, ours = self.given, self.strategy != BASELINE
        return {
            "pack": given.data.resolve().name,
            "split": self.split.kind,
            "pool": len(self.pool),
            "strategy": self.strategy,
            "preset": given.preset if ours else None,
            "recipe": given.recipe.name if ours else None,
            "name": given.name if ours else "",
            "one_object": given.one_object if ours else None,
            "accepts": list(given.accepts),
            "budget": given.budget,
            "working_size": given.working_size,
            "device": device_name(self.device),
            "threads": given.threads,
            "clock": given.clock,
            "seed": self.seed,
        }

    @property
    def file_name(self) -> str:
        """Where the result goes: the same for the same conditions."""
        told = self.conditions | {
            "pool": f"{len(self.pool)}-images",
            "one_object": "one-object" if self.conditions["one_object"] else "",
            "accepts": "+".join(map(str, self.given.accepts)),
            "budget": f"{self.given.budget:g}s",
            "threads": f"{self.given.threads}-threads",
            "clock": "processor" if self.given.clock == "processor" else "",
            "seed": f"seed{self.seed}",
        }
        words = (str(value) for value in told.values() if value not in (None, ""))
        return re.sub(r"[^\w.+=-]+", "-", "_".join(words).lower()) + ".json"


def tasks(given: argparse.Namespace) -> Iterator[Task]:
    for seed in range(given.seeds):
        split = split_pack(given.data, "1", test=given.test, seed=seed, random_split=given.random_split)
        for strategy in given.strategies:
            yield Task(given, split, strategy, seed)


def result_of(task: Task, *, again: bool) -> Result:
    """Run, or read what an earlier run came to."""
    path = task.given.output / task.file_name
    if path.exists() and not again:
        print(f"{path.name} is there already", file=sys.stderr, flush=True)
        return read_result(path)
    result = as_result(task, annotate(task))
    lines = (f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in result.items())
    write_bytes(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
    curve = ", ".join(f"{point['accepted']}: {point['dice']:.3f}" for point in result["rounds"])
    print(f"{path.name}: {curve}", file=sys.stderr, flush=True)
    return result


def as_result(task: Task, outcome: Outcome) -> Result:
    """Everything about a run that is worth keeping, as JSON values."""
    ours = task.strategy != BASELINE
    return task.conditions | {
        "test": len(task.split.test),
        "recipe_values": task.given.recipe.to_dict() if ours else None,
        "changes": list(task.given.recipe_change) if ours else [],
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "rounds": outcome.rounds,
        "accepted": outcome.accepted,
    }


# The annotator's work --------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What a run came to.

    Attributes
    ----------
    rounds
        For each round: images accepted so far, Dice on the test and perhaps on the rest, steps, seconds.
    accepted
        For each image in the order of accepting: its stem, what the draft it was corrected from had learned
        from (0: there was none), the share of pixels changed, and Dice of draft and truth.
    """

    rounds: list[dict[str, Any]]
    accepted: list[dict[str, Any]]


def annotate(task: Task) -> Outcome:
    """Accept and train in turns.

    Raises
    ------
    SemiGDAError
        If there are fewer images than are to be accepted, or a round fails.
    """
    if sum(task.given.accepts) > len(task.pool):
        raise SemiGDAError(f"{sum(task.given.accepts)} images cannot be accepted of {len(task.pool)}.")
    outcome = Outcome([], [])
    with tempfile.TemporaryDirectory() as folder, _session(task, Path(folder)) as session:
        pairs = dict(zip((item.id for item in session.items), task.pool, strict=True))
        learner = (UNetLearner if task.strategy == BASELINE else EngineLearner)(task, session)
        strategy = "random" if task.strategy == BASELINE else task.strategy
        item = None
        for number, count in enumerate(task.given.accepts, start=1):
            learned = len(outcome.accepted) if number > 1 else 0
            for _ in range(count):
                item = session.next_item(item, strategy, seed=task.seed)
                assert item is not None
                outcome.accepted.append(_accept(session, item, pairs[item.id], learner, learned))
            spent = learner.train(number)
            quality = {"accepted": len(outcome.accepted), "dice": _dice(learner, task.split.test)}
            if task.given.rest:
                quality["rest"] = _rest(session, pairs, learner)
            outcome.rounds.append(quality | spent)
    return outcome


def _session(task: Task, folder: Path) -> Session:
    return Session.create(
        folder / "session",
        [pair.image for pair in task.pool],
        preset=task.given.preset,
        settings=task.settings,
        one_object=task.given.one_object,
        weights=task.given.weights,
    )


def _accept(session: Session, item: Item, pair: Pair, learner: Learner, learned: int) -> dict[str, Any]:
    """Bring the draft of an item to the truth, and say how much that took."""
    draft, wanted = learner.draft(item), truth(pair)
    dice, share = effort(np.zeros_like(wanted) if draft is None else draft, wanted, 2)
    session.accept(item, wanted)
    return {"image": pair.stem, "learned": learned, "changed": share, "dice": dice}


def _dice(learner: Learner, pairs: Iterable[Pair]) -> float:
    predictor = learner.predictor()
    found = ((predictor.predict(iio.imread(pair.image)).labels, truth(pair)) for pair in pairs)
    return round(fmean(scores(labels, wanted, ("dice",))["dice"] for labels, wanted in found), 4)


def _rest(session: Session, pairs: dict[str, Pair], learner: Learner) -> float:
    waiting = (item for item, state in zip(session.items, session.states(), strict=True) if state.waits)
    drafts = ((learner.draft(item), truth(pairs[item.id])) for item in waiting)
    return round(fmean(scores(draft, wanted, ("dice",))["dice"] for draft, wanted in drafts), 4)


# Who learns ------------------------------------------------------------------------------------------------


class Learner(ABC):
    """Learns from what is accepted in a session."""

    def __init__(self, task: Task, session: Session) -> None:
        self.task, self.session = task, session

    @abstractmethod
    def train(self, number: int) -> dict[str, Any]:
        """Train round `number` (1, 2, …) on all that is accepted; returns the steps and seconds it took."""

    @abstractmethod
    def draft(self, item: Item) -> NDArray[np.uint8] | None:
        """Predict an item with the last round's weights; None before the first."""

    @abstractmethod
    def predictor(self) -> Predictor:
        """Predict any picture with the last round's weights."""


class EngineLearner(Learner):
    """The real engine, as the plugin drives it."""

    def __init__(self, task: Task, session: Session) -> None:
        super().__init__(task, session)
        self._engine = Engine(
            session, task.given.device, weights=task.given.weights, clock=CLOCKS[task.given.clock]
        )
        self._engine.request_features()
        self._work()

    def train(self, number: int) -> dict[str, Any]:
        """Train a round."""
        given = self.task.given
        recipe = given.recipe if given.recipe.one_object else given.recipe.with_one_object(given.one_object)
        self._engine.request_round(recipe=recipe, budget=Budget(seconds=given.budget), seed=self.task.seed)
        everything = self.task.strategy in LOOKS_AT_SCORES or given.rest
        processor_seconds = self._work(drafts=everything)
        record = self.session.rounds[-1]
        return _spent(record.steps, record.seconds, processor_seconds)

    def draft(self, item: Item) -> NDArray[np.uint8] | None:
        """Have a draft made, unless there is one of this round."""
        if self._engine.wants_draft(item):
            self._engine.request_drafts([item], urgent=True)
            self._work()
        return self.session.prediction(item)

    def predictor(self) -> Predictor:
        """Load the weights that the last round left."""
        path = self.session.rounds.last_model()
        assert path is not None
        model, _ = load_checkpoint(path, weights=self.session.weights)
        return Predictor(model, self.session.settings, self.task.device)

    def _work(self, *, drafts: bool = True) -> float:
        """Let the engine do what was asked for; returns the processor's seconds in training steps."""
        spent = 0.0
        while self._engine.start_work():
            before = time.process_time()
            for event in self._engine.work():
                if isinstance(event, RoundFailed | RoundNotSaved | PredictionFailed):
                    raise SemiGDAError(event.message)
                if isinstance(event, Stepped):
                    spent += time.process_time() - before
                elif not drafts and not self._engine.round_is_active:
                    self._engine.cancel_drafts()
                before = time.process_time()
        return spent


class UNetLearner(Learner):
    """A supervised U-Net that goes on from its last weights in each round."""

    def __init__(self, task: Task, session: Session) -> None:
        super().__init__(task, session)
        self._network: UNet | None = None

    def train(self, number: int) -> dict[str, Any]:
        """Train for as long as a round would."""
        training = SupervisedUNet(
            self.session.examples()[0],
            budget=Budget(seconds=self.task.given.budget),
            working_size=self.task.given.working_size,
            seed=mixed_seed(self.task.seed, number) if self._network else self.task.seed,
            device=self.task.device,
            network=self._network,
        )
        clock, spent = CLOCKS[self.task.given.clock], 0.0
        before, started = clock(), time.process_time()
        for _ in training.run():
            spent += clock() - before
            training.seconds_done = spent  # what it goes by, whichever clock that is
            before = clock()
        self._network = training.predicting
        return _spent(training.steps_done, spent, time.process_time() - started)

    def draft(self, item: Item) -> NDArray[np.uint8] | None:
        """Predict the picture of an item."""
        if self._network is None:
            return None
        return self.predictor().predict(self.session.picture(item).pixels).labels

    def predictor(self) -> Predictor:
        """Predict with the present weights."""
        assert self._network is not None
        return Predictor(self._network, self.session.settings, self.task.device)


def _spent(steps: int, seconds: float, processor_seconds: float) -> dict[str, Any]:
    return {
        "steps": steps,
        "seconds": round(seconds, 2),
        "processor_seconds": round(processor_seconds, 2),
    }


# What it came to -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curves:
    """Runs of one strategy that differ in nothing but the seed.

    Attributes
    ----------
    strategy
        Which.
    accepted
        (R,) images accepted before the end of each round.
    dice
        (S, R) on the test images, for each seed and round.
    effort
        (S, R) mean share of pixels changed in the drafts that round r - 1 left (of the first: all that was
        drawn), for each seed.
    results
        The runs.
    """

    strategy: str
    accepted: NDArray[np.int_]
    dice: NDArray[np.float64]
    effort: NDArray[np.float64]
    results: tuple[Result, ...]

    def needed(self, dice: float) -> float | None:
        """Accepted images at which the mean over seeds first reaches a Dice; None if it never does.

        Between two rounds the curve is taken as straight. Where the first round is good enough already, its
        number of images.
        """
        mean = self.dice.mean(axis=0)
        reached = np.flatnonzero(mean >= dice)
        if not reached.size:
            return None
        after = int(reached[0])
        if after == 0:
            return float(self.accepted[0])
        share = (dice - mean[after - 1]) / (mean[after] - mean[after - 1])
        return float(self.accepted[after - 1] + share * (self.accepted[after] - self.accepted[after - 1]))


SHARED = ("pack", "split", "pool", "test", "accepts", "budget", "working_size", "device", "threads", "clock")
"""What runs have in common that are compared."""


def comparisons(results: Iterable[Result]) -> list[list[Curves]]:
    """Runs under the same conditions, and of these, runs of the same strategy, in the strategies' order."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(json.dumps([result[key] for key in SHARED]), []).append(result)
    return [_by_strategy(group) for _, group in sorted(groups.items())]


def _by_strategy(results: Iterable[Result]) -> list[Curves]:
    runs: dict[str, list[Result]] = {}
    for result in results:
        runs.setdefault(label(result), []).append(result)
    order = [*ORDERS, BASELINE]

    def place(run: tuple[str, list[Result]]) -> tuple[int, str]:
        return order.index(current_name(run[1][0]["strategy"])), run[0]

    return [
        _curves(name, sorted(group, key=lambda result: result["seed"]))
        for name, group in sorted(runs.items(), key=place)
    ]


def label(result: Result) -> str:
    """What a run is called beside others: its strategy, and whatever is not as usual."""
    preset = result["preset"] if result["preset"] != "compact" else None
    recipe = f"recipe {result['recipe']}" if result["recipe"] not in (None, "default") else None
    names = {BASELINE: "random order, supervised U-Net"}
    words = (names.get(result["strategy"], result["strategy"]), preset, recipe, result["name"])
    return ", ".join(word for word in words if word)


def _curves(name: str, group: Sequence[Result]) -> Curves:
    counts = group[0]["accepts"]
    ends = np.cumsum(counts)
    changed_shares = [[one["changed"] for one in result["accepted"]] for result in group]
    means = [[float(np.mean(part)) for part in np.split(shares, ends[:-1])] for shares in changed_shares]
    dice = [[point["dice"] for point in result["rounds"]] for result in group]
    return Curves(name, ends, np.array(dice), np.array(means), tuple(group))


def needed_table(results: Iterable[Result]) -> str:
    """Accepted images needed to reach a Dice, for each strategy, beside what the supervised U-Net needs."""
    return "\n\n".join(_needed(curves) for curves in comparisons(results))


def _needed(curves: Sequence[Curves]) -> str:
    levels = _levels(curves)
    baseline = next((one for one in curves if one.results[0]["strategy"] == BASELINE), None)
    head = ("order of images", "seeds", *(f"Dice {level:.2f}" for level in levels), "Dice at the end")
    rows = [head, ("---",) * len(head)]
    for one in curves:
        cells = (_needed_in_words(one, level, baseline) for level in levels)
        end = one.dice[:, -1]
        spread = f" ± {end.std(ddof=1):.3f}" if len(end) > 1 else ""
        rows.append((one.strategy, str(len(end)), *cells, f"{end.mean():.3f}{spread}"))
    lines = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"{conditions(curves)}\n\n{lines}"


def _levels(curves: Sequence[Curves]) -> list[float]:
    """Multiples of 0.05 that at least one strategy reaches later than with its first round."""
    means = np.concatenate([one.dice.mean(axis=0) for one in curves])
    reached = np.round(np.arange(1, 20) * 0.05, 2)
    return [float(level) for level in reached if means.min() < level <= means.max()][-6:]


def _needed_in_words(one: Curves, level: float, baseline: Curves | None) -> str:
    needed = one.needed(level)
    if needed is None:
        return "—"
    other = None if baseline is None or baseline is one else baseline.needed(level)
    most = "≤ " if needed == one.accepted[0] else ""
    return f"{most}{needed:.0f}" + (f" ({needed / other:.2f} ×)" if other else "")


def conditions(curves: Sequence[Curves]) -> str:
    """Under which conditions these runs were made, in a line."""
    results = [result for one in curves for result in one.results]
    first = results[0]
    dates = sorted({result["date"] for result in results})
    threads = f"{first['threads']} thread{'s' if first['threads'] != 1 else ''}"
    clock = " of the processor" if first["clock"] == "processor" else ""
    parts = [
        f"{first['pack']}, {first['pool']} images to annotate and {first['test']} that only test",
        f"rounds of {first['budget']:g} s{clock} after {', '.join(map(str, first['accepts']))} images more",
        f"working size {first['working_size']}",
        SPLITS[first["split"]],
        f"{first['device']}, {threads}",
        "torch " + ", ".join(sorted({result["torch"] for result in results})),
        " to ".join(dict.fromkeys([dates[0], dates[-1]])),
    ]
    return "; ".join(parts) + "."


if __name__ == "__main__":
    sys.exit(main())
