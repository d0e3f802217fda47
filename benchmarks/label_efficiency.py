"""What a method makes of a few labeled images in a given time: Dice, IoU and HD95 on images it never saw.

Each run is one JSON file; a Markdown table of all runs asked for is printed at the end, and `tables.py` puts
all files into the documentation. Only seconds spent in training steps count, for every method alike.

    python benchmarks/label_efficiency.py --data BUSI --labeled 10% --method ours unet --budget 600 --seeds 3
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor, nn

from baselines import MeanTeacherUNet, SupervisedUNet, UNet
from judge import Judge, Scores, SideBySide
from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.framing import MASKS_MEASURED, settings_for_objects
from napari_semigda.inference.preparation import ImageSettings, frame, normalize
from napari_semigda.io.atomic import write_bytes
from napari_semigda.model.checkpoint import load_checkpoint
from napari_semigda.model.device import choose_device, has_bfloat16_units
from napari_semigda.model.loading import load_autoencoder
from napari_semigda.model.network import SemiGDANet
from napari_semigda.model.presets import PRESETS
from napari_semigda.training.data import Example, mixed_seed
from napari_semigda.training.recipe import Budget, Recipe
from napari_semigda.training.round import Round
from packs import Pair, Split, class_names, is_pack, split_pack, truth
from tables import RESULTS, read_result, run_table

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
"""The processor's seconds, with one thread, are what a wall clock shows where nothing else runs."""

ROUND_SHARES = (4, 2, 1)
"""Rounds of a model that is carried on: at a quarter, half and all of the labels."""


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
    print(run_table(results))
    return int(failed)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of a pack: images/, masks/ and meta.csv")
    add("--labeled", nargs="+", required=True, help="how many have labels: numbers, or shares such as 10%%")
    add("--method", nargs="+", default=["ours"], choices=list(METHODS))
    add("--preset", default="compact", choices=list(PRESETS))
    add("--recipe", default="default", help="default or paper")
    add("--recipe-change", nargs="+", default=[], metavar="KEY=VALUE", help="stage_two_optimizer.kind=sgd")
    add("--preset-change", nargs="+", default=[], metavar="KEY=VALUE", help="adapter_hidden=[4,8,16,32]")
    add("--adapt-decoder", action="store_true", help="let the autoencoder's decoder learn, too")
    add(
        "--one-object",
        action="store_true",
        help="each image holds one object: pseudo labels keep the largest",
    )
    add("--name", help="what tables call these changes; default: the changes themselves")
    add("--budget", type=float, nargs="+", default=[600.0], help="seconds of training steps")
    add("--at", type=float, nargs="+", default=[], help="also score after so many seconds of the same run")
    add("--device", default="auto")
    add("--seeds", type=int, default=1, help="how many runs with different seeds and splits")
    add("--first-seed", type=int, default=0)
    add("--clock", default="wall", choices=list(CLOCKS), help="whose seconds the budget counts")
    add("--threads", type=int, default=torch.get_num_threads())
    add("--working-size", type=int, default=128)
    add(
        "--framing",
        default="by-objects",
        choices=["whole", "tiles", "by-objects"],
        help="how images are seen, for every method; as a session would choose by the labeled objects",
    )
    add("--random-split", action="store_true", help="ignore near-duplicates, as published results do")
    add("--fresh-weights", action="store_true", help="random weights even where trained ones are shipped")
    add("--start", type=Path, help="a checkpoint to start from instead")
    add("--weights", type=Path, help="local weights of the autoencoder (taesd, sd)")
    add("--output", type=Path, default=RESULTS)
    add("--again", action="store_true", help="run even where there is a result already")
    given = parser.parse_args(arguments)
    try:
        recipe = Recipe.named(given.recipe).with_one_object(given.one_object)
        given.recipe = changed(recipe, given.recipe_change)
        given.preset = changed(PRESETS[given.preset], given.preset_change)
    except SemiGDAError as error:
        parser.error(str(error))
    if given.name is None:
        adapted = ["adapted decoder"] if given.adapt_decoder else []
        given.name = " ".join([*given.recipe_change, *given.preset_change, *adapted])
    if len(given.name) > 80:
        parser.error("so many changes need a short --name")
    return given


def changed(settings: Any, changes: Sequence[str]) -> Any:
    """A dataclass with some of its values replaced.

    Parameters
    ----------
    settings
        A frozen dataclass, such as a recipe.
    changes
        ``"key=value"``; a dot leads into a dataclass inside, and a value is JSON, or else text.

    Raises
    ------
    SemiGDAError
        If there is no such key.
    """
    for change in changes:
        path, _, text = change.partition("=")
        settings = _replaced(settings, path.split("."), _value(text), change)
    return settings


def _replaced(settings: Any, path: list[str], value: Any, change: str) -> Any:
    if not is_dataclass(settings) or path[0] not in {field.name for field in fields(settings)}:
        raise SemiGDAError(f"“{change}” changes nothing that {type(settings).__name__} has.")
    if path[1:]:
        value = _replaced(getattr(settings, path[0]), path[1:], value, change)
    return replace(settings, **{path[0]: value})


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Task:
    """One run: a method, a split and a budget."""

    given: argparse.Namespace
    split: Split
    settings: ImageSettings
    method: str
    budget: float
    seed: int

    @property
    def device(self) -> torch.device:
        """Where to train and to predict."""
        return choose_device(self.given.device)

    @property
    def classes(self) -> int:
        """How many classes the pack has, with the background."""
        return 1 + len(class_names(self.given.data))

    @property
    def uses_recipe(self) -> bool:
        """Whether preset and recipe matter."""
        return self.method not in BASELINES

    @property
    def conditions(self) -> dict[str, Any]:
        """What a run is told apart by."""
        ours = self.uses_recipe
        return {
            "pack": self.given.data.resolve().name,
            "labeled": len(self.split.labeled),
            "split": self.split.kind,
            "method": self.method,
            "preset": self.given.preset.name if ours else None,
            "recipe": self.given.recipe.name if ours else None,
            "one_object": ours and self.given.one_object,
            "name": self.given.name if ours else "",
            "budget": self.budget,
            "working_size": self.given.working_size,
            "framing": framing_in_words(self.settings),
            "device": device_name(self.device),
            "threads": self.given.threads,
            "clock": self.given.clock,
            "seed": self.seed,
        }

    @property
    def file_name(self) -> str:
        """Where the result goes: the same for the same conditions."""
        told = self.conditions
        words = [told["pack"], f"{told['labeled']}-labeled", told["split"], told["method"], told["preset"]]
        words += [told["recipe"], "one-object" if told["one_object"] else "", told["name"]]
        clock = "-of-processor" if told["clock"] == "processor" else ""
        words += [f"{self.budget:g}s{clock}", told["working_size"], told["framing"], told["device"]]
        words += [f"{told['threads']}-threads", self._asked_start(), f"seed{self.seed}"]
        name = "_".join(str(word) for word in words if word)
        return re.sub(r"[^\w.+=-]+", "-", name.lower()) + ".json"

    def _asked_start(self) -> str:
        if not self.uses_recipe or not (self.given.start or self.given.fresh_weights):
            return ""
        return f"from-{self.given.start.stem}" if self.given.start else "fresh-weights"


def tasks(given: argparse.Namespace) -> Iterator[Task]:
    for labeled in given.labeled:
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            split = split_pack(given.data, labeled, seed=seed, random_split=given.random_split)
            settings = chosen_settings(given, split)
            for budget in given.budget:
                for method in given.method:
                    yield Task(given, split, settings, method, budget, seed)


def chosen_settings(given: argparse.Namespace, split: Split) -> ImageSettings:
    """How pictures are seen: as was said, or as suits the objects of the labeled ones."""
    if given.framing != "by-objects":
        return ImageSettings(working_size=given.working_size, framing=given.framing)
    masks = [truth(pair) for pair in split.labeled[:MASKS_MEASURED]]
    return settings_for_objects(masks, ImageSettings(working_size=given.working_size))


def framing_in_words(settings: ImageSettings) -> str:
    """As tables and names of files tell it."""
    return settings.framing + ("" if settings.zoom == 1 else f" at {settings.zoom:g}")


def result_of(task: Task, *, again: bool) -> dict[str, Any]:
    """Run, or read what an earlier run came to."""
    path = task.given.output / task.file_name
    if path.exists() and not again:
        print(f"{path.name} is there already", file=sys.stderr, flush=True)
        return read_result(path)
    outcome = METHODS[task.method](task)
    result = as_result(task, outcome)
    lines = (f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in result.items())
    write_bytes(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
    print(f"{path.name}: {result['mean']}", file=sys.stderr, flush=True)
    return result


class Course(NamedTuple):
    """How training went.

    Attributes
    ----------
    processor_seconds
        Spent by all threads in steps: much less than threads × seconds where others used the machine.
    curve
        Dice after less time.
    """

    processor_seconds: float
    curve: list[dict[str, float]]


class Outcome(NamedTuple):
    """What a method came to.

    Attributes
    ----------
    scores
        Of each kind of answer; the first is the method's result.
    steps, seconds
        Used for training, of the last round where there are several.
    unlabeled
        How many images without labels took part.
    course
        Of the same training.
    rounds
        What each round came to, where there are several.
    start
        The first weights of ours: ``"random"``, ``"shipped"``, or the name of a file.
    """

    scores: dict[str, Scores]
    steps: int
    seconds: float
    unlabeled: int
    course: Course
    rounds: list[dict[str, Any]]
    start: str | None


def as_result(task: Task, outcome: Outcome) -> dict[str, Any]:
    """Everything about a run that is worth keeping, as JSON values."""
    main_scores, *others = outcome.scores.items()
    ours = task.uses_recipe
    return task.conditions | {
        "start": outcome.start,
        "unlabeled": outcome.unlabeled,
        "test": len(task.split.test),
        "recipe_values": task.given.recipe.to_dict() if ours else None,
        "changes": [*task.given.recipe_change, *task.given.preset_change] if ours else [],
        "steps": outcome.steps,
        "seconds": round(outcome.seconds, 2),
        "processor_seconds": round(outcome.course.processor_seconds, 2),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "mean": _summary(main_scores[1], np.mean),
        "spread": _summary(main_scores[1], np.std),
        "also": {name: _summary(values, np.mean) for name, values in others},
        "curve": outcome.course.curve,
        "rounds": outcome.rounds,
        "images": [pair.stem for pair in task.split.test],
        "scores": {name: [round(value, 4) for value in values] for name, values in main_scores[1].items()},
    }


def _summary(values: Scores, of: Callable[[list[float]], Any]) -> dict[str, float]:
    return {name: round(float(of(values[name])), 4) for name in values}


def device_name(device: torch.device) -> str:
    """What tables call a device: its maker's name, and whether a processor lacks units for bfloat16."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if device.type != "cpu":
        return device.type
    cpus = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", cpus.read_text()) if cpus.is_file() else None
    name = named[1].strip() if named else platform.processor() or platform.machine()
    return f"CPU {name}{'' if has_bfloat16_units('cpu') else ' without bf16'}"


# Methods ---------------------------------------------------------------------------------------------------


class Training(Protocol):
    """What `Round` and the baselines have in common."""

    steps_done: int
    seconds_done: float

    def run(self) -> Iterator[Any]:
        """Train, a step at a time."""


def ours(task: Task) -> Outcome:
    return _one_round(task, task.split.labeled, task.split.unlabeled, _build(task))


def ours_labeled_only(task: Task) -> Outcome:
    return _one_round(task, task.split.labeled, (), _build(task))


def carried(task: Task) -> Outcome:
    return _rounds(task, afresh=False)


def afresh(task: Task) -> Outcome:
    return _rounds(task, afresh=True)


def supervised_unet(task: Task) -> Outcome:
    training = SupervisedUNet(
        examples(task.split.labeled, task.settings), network=_unet(task), **_common(task)
    )
    return _baseline(task, training, {"averaged weights": training.average}, 0)


def mean_teacher(task: Task) -> Outcome:
    unlabeled = examples(task.split.unlabeled, task.settings, labeled=False)
    labeled = examples(task.split.labeled, task.settings)
    training = MeanTeacherUNet(labeled, unlabeled, network=_unet(task), **_common(task))
    return _baseline(task, training, {"student": training.network}, len(unlabeled))


BASELINES = {"unet": supervised_unet, "mean-teacher": mean_teacher}

METHODS: dict[str, Callable[[Task], Outcome]] = {
    "ours": ours,
    "ours-labeled-only": ours_labeled_only,
    "carried": carried,
    "afresh": afresh,
    **BASELINES,
}


def _common(task: Task) -> dict[str, Any]:
    return {
        "budget": Budget(seconds=task.budget),
        "working_size": task.given.working_size,
        "seed": task.seed,
        "device": task.device,
        "clock": CLOCKS[task.given.clock],
    }


def _unet(task: Task) -> UNet:
    return UNet(task.classes, task.seed)


def _baseline(task: Task, training: SupervisedUNet, others: dict[str, UNet], unlabeled: int) -> Outcome:
    networks = {"result": training.predicting, **others}

    def answers(image: Tensor) -> list[Tensor]:
        return [network.latents(image) for network in networks.values()]

    judge = _judge(task, SideBySide(list(networks.values()), answers, list(networks), task.classes))
    course = train(training, task, judge, nullcontext)
    return Outcome(judge.scores(), training.steps_done, training.seconds_done, unlabeled, course, [], None)


def _rounds(task: Task, *, afresh: bool) -> Outcome:
    """Rounds with ever more labels, each with the whole budget."""
    pool = (*task.split.labeled, *task.split.unlabeled)
    counts = [max(1, len(task.split.labeled) // share) for share in ROUND_SHARES]
    outcomes: list[Outcome] = []
    for count in counts:
        if afresh or not outcomes:
            model = _build(task)
        number = 1 if afresh else len(outcomes) + 1
        outcomes.append(_one_round(task, pool[:count], pool[count:], model, number))
    rounds = [
        {
            "labeled": count,
            "unlabeled": outcome.unlabeled,
            "steps": outcome.steps,
            "seconds": round(outcome.seconds, 2),
            "mean": _summary(outcome.scores["result"], np.mean),
        }
        for count, outcome in zip(counts, outcomes, strict=True)
    ]
    return outcomes[-1]._replace(rounds=rounds, start=outcomes[0].start)


def _one_round(
    task: Task, labeled: Sequence[Pair], unlabeled: Sequence[Pair], model: SemiGDANet, number: int = 1
) -> Outcome:
    """Train a round, leave its averaged weights in the model, and score them."""
    later, start = number > 1, _start(task, model)
    training = Round(
        model,
        examples(labeled, task.settings),
        examples(unlabeled, task.settings, labeled=False),
        recipe=task.given.recipe,
        # as in a session: a later round does not see the same augmentations and boxes again
        **_common(task) | {"seed": mixed_seed(task.seed, number) if later else task.seed},
        warm=later or start != "random",
    )

    def answers(image: Tensor) -> list[Tensor]:
        by_image, by_mask = model.branches(image)
        return [by_mask.lerp(by_image, model.image_branch_share), by_image, by_mask]

    judge = _judge(
        task, SideBySide([model], answers, ["result", "image branch", "mask branch"], task.classes)
    )
    course = train(training, task, judge, lambda: averaged_weights(model, training))
    model.load_trainable_state(training.averaged_state())
    used = training.steps_done, training.seconds_done, len(unlabeled)
    return Outcome(judge.scores(), *used, course, [], start)


def _build(task: Task) -> SemiGDANet:
    """A network with the weights that a session's first round would start from, or those asked for."""
    given = task.given
    if given.fresh_weights or given.preset_change:
        autoencoder = load_autoencoder(given.preset.name, given.weights)
        model = SemiGDANet(given.preset, task.classes, False, autoencoder=autoencoder, seed=task.seed)
    else:
        model = SemiGDANet(
            given.preset.name,
            task.classes,
            seed=task.seed,
            autoencoder=load_autoencoder(given.preset.name, given.weights),
        )
    if given.start is not None:
        start, _ = load_checkpoint(given.start, weights=given.weights)
        model.load_trainable_state(start.trainable_state())
    return AdaptedDecoder.of(model) if given.adapt_decoder else model


class AdaptedDecoder(SemiGDANet):
    """A network whose autoencoder has a decoder that learns, to be compared with the frozen one."""

    @classmethod
    def of(cls, model: SemiGDANet) -> AdaptedDecoder:
        """The same network, all parts shared."""
        model.autoencoder.decoder.requires_grad_(True)
        model.__class__ = cls
        return cast(AdaptedDecoder, model)

    def parts(self) -> dict[str, nn.Module]:
        """The parts that learn, by name."""
        return super().parts() | {"decoder": self.autoencoder.decoder}


def _start(task: Task, model: SemiGDANet) -> str:
    """Whether a first round starts with random weights: the package may ship trained ones or not."""
    if task.given.start is not None:
        return str(task.given.start.stem)
    random = SemiGDANet(
        task.given.preset, task.classes, False, autoencoder=model.autoencoder, seed=task.seed
    ).trainable_state()
    own = model.trainable_state()
    alike = own.keys() >= random.keys() and all(own[name].cpu().equal(random[name]) for name in random)
    return "random" if alike else "shipped"


@contextmanager
def averaged_weights(model: SemiGDANet, training: Round) -> Iterator[None]:
    """The model with the averaged weights for a while, then again with those that train."""
    raw = {name: value.clone() for name, value in model.trainable_state().items()}
    model.load_trainable_state(training.averaged_state())
    try:
        yield
    finally:
        model.load_trainable_state(raw)


def train(
    training: Training,
    task: Task,
    judge: Judge,
    predicting: Callable[[], AbstractContextManager[Any]],
) -> Course:
    """Train to the end of the budget, with Dice at each of the times that were asked for before it.

    Parameters
    ----------
    predicting
        While it lasts the judged network has the weights that predict.
    """
    waiting = sorted(seconds for seconds in task.given.at if seconds < task.budget)
    curve: list[dict[str, float]] = []
    processor_seconds = 0.0
    steps = training.run()
    while True:
        before = time.process_time()
        step = next(steps, None)
        processor_seconds += time.process_time() - before
        if step is None:
            return Course(processor_seconds, curve)
        if waiting and training.seconds_done >= waiting[0]:
            with predicting():
                dice = float(np.mean(judge.scores(("dice",))["result"]["dice"]))
            used = {"seconds": round(training.seconds_done, 2), "steps": training.steps_done}
            curve.append(used | {"dice": round(dice, 4)})
            waiting = [seconds for seconds in waiting if seconds > training.seconds_done]


def examples(pairs: Sequence[Pair], settings: ImageSettings, *, labeled: bool = True) -> list[Example]:
    """Pairs as a session would prepare them for training, with their masks or without."""
    prepared = []
    for pair in pairs:
        image = normalize(iio.imread(pair.image), settings)
        framed = frame(image, truth(pair) if labeled else None, settings)
        prepared.append(Example(framed.image, framed.labels, framed.valid))
    return prepared


def _judge(task: Task, network: SideBySide) -> Judge:
    return Judge(network, task.split.test, task.settings, task.device)


if __name__ == "__main__":
    sys.exit(main())
