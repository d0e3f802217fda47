import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from napari_semigda.errors import SemiGDAError
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.model.loading import random_autoencoder
from napari_semigda.model.network import SemiGDANet
from napari_semigda.training.data import Batch, Example
from napari_semigda.training.losses import dice_loss
from napari_semigda.training.objective import Objective
from napari_semigda.training.recipe import Budget, Recipe
from napari_semigda.training.round import Round
from tests.training.conftest import SIZE, disc_example

#: Everything takes part from the first step on.
FULL = Recipe(unlabeled_from=0.0, mixing_from=0.0, stage_one_share=0.4)


def new_round(
    labeled: list[Example],
    unlabeled: list[Example],
    *,
    steps: int = 5,
    warm: bool = False,
    recipe: Recipe = FULL,
) -> Round:
    return Round(
        SemiGDANet("compact", 2, autoencoder=random_autoencoder("compact")),
        labeled,
        unlabeled,
        recipe=recipe,
        budget=Budget(steps=steps),
        working_size=SIZE,
        seed=3,
        warm=warm,
    )


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_first_round_aligns_then_segments(labeled: list[Example], unlabeled: list[Example]) -> None:
    reports = list(new_round(labeled, unlabeled).run())
    assert [(r.stage, r.step, r.steps) for r in reports] == [
        (1, 1, 2),
        (1, 2, 2),
        (2, 1, 3),
        (2, 2, 3),
        (2, 3, 3),
    ]
    assert set(reports[0].losses) == {"alignment", "unlabeled alignment", "total"}
    assert {"dice", "unlabeled dice", "mixed dice", "alignment"} <= set(reports[-1].losses)
    fractions = [r.fraction for r in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert all(r.seconds > 0 and r.learning_rate > 0 for r in reports)


def test_a_later_round_only_segments(labeled: list[Example], unlabeled: list[Example]) -> None:
    assert {r.stage for r in new_round(labeled, unlabeled, warm=True).run()} == {2}


def test_a_step_changes_what_learns_and_leaves_the_autoencoder(labeled: list[Example]) -> None:
    training = new_round(labeled, [], steps=2, warm=True)
    before = {name: value.clone() for name, value in training.model.state_dict().items()}
    list(training.run())
    changed = {
        name.split(".")[0]
        for name, value in training.model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"mapping", "encoder", "image_adapters", "mask_adapters"}


@pytest.mark.parametrize(("labeled_count", "unlabeled_count"), [(1, 0), (1, 4), (5, 1)])
def test_any_mixture_of_labeled_and_unlabeled_trains(labeled_count: int, unlabeled_count: int) -> None:
    reports = list(
        new_round(
            [disc_example(seed) for seed in range(labeled_count)],
            [disc_example(seed, labeled=False) for seed in range(unlabeled_count)],
        ).run()
    )
    assert len(reports) == 5
    assert ("unlabeled dice" in reports[-1].losses) == (unlabeled_count > 0)


def test_without_a_mask_there_is_no_round(unlabeled: list[Example]) -> None:
    with pytest.raises(SemiGDAError, match="accept one"):
        new_round([], unlabeled)


def test_the_same_seed_gives_the_same_curve(labeled: list[Example], unlabeled: list[Example]) -> None:
    curves = [[r.losses for r in new_round(labeled, unlabeled).run()] for _ in range(2)]
    assert curves[0] == curves[1]


class Watched(list[Example]):
    """Examples that remember which of them were drawn."""

    def __init__(self, examples: list[Example], drawn: list[int]) -> None:
        super().__init__(examples)
        self.drawn = drawn

    def __getitem__(self, index: Any) -> Any:
        self.drawn.append(index)
        return super().__getitem__(index)


def test_labeled_examples_that_come_later_join_where_an_epoch_begins(unlabeled: list[Example]) -> None:
    drawn: list[int] = []
    discs = [disc_example(seed) for seed in range(6)]
    training = new_round(Watched(discs[:4], drawn), unlabeled, steps=6, warm=True)
    steps = training.run()
    next(steps)
    training.add_labeled(Watched(discs, drawn))
    list(steps)
    epochs = [sorted(drawn[:4]), sorted(drawn[4:10])]
    assert epochs == [[0, 1, 2, 3], [0, 1, 2, 3, 4, 5]]
    with pytest.raises(ValueError, match="not taken away"):
        training.add_labeled(discs[:5])


@pytest.mark.slow
@pytest.mark.parametrize("stopped_after", [3, *(pytest.param(n, marks=pytest.mark.nightly) for n in (2, 5))])
def test_a_round_that_others_joined_is_resumed_as_exactly(
    stopped_after: int, unlabeled: list[Example], tmp_path: Path
) -> None:
    discs = [disc_example(seed) for seed in range(5)]

    def with_late_ones(count: int) -> tuple[Round, list[float]]:
        training, losses = new_round(discs[:3], unlabeled, steps=7, warm=True), []
        for number, report in enumerate(training.run(), start=1):
            losses.append(report.losses["total"])
            if number == 2:
                training.add_labeled(discs)
            if number == count:
                break
        return training, losses

    whole, losses = with_late_ones(7)
    stopped, _ = with_late_ones(stopped_after)
    stopped.save_state(tmp_path / "state.safetensors")
    resumed = new_round(discs, unlabeled, steps=7, warm=True)
    resumed.load_state(tmp_path / "state.safetensors")
    assert [report.losses["total"] for report in resumed.run()] == losses[stopped_after:]
    assert same(resumed.averaged_state(), whole.averaged_state())


def test_a_round_of_some_epochs_is_no_longer_for_those_that_joined(tmp_path: Path) -> None:
    discs = [disc_example(seed) for seed in range(6)]

    def of_two_epochs(count: int) -> Round:
        return Round(
            SemiGDANet("compact", 2, autoencoder=random_autoencoder("compact")),
            discs[:count],
            [],
            recipe=Recipe(stage_two_epochs=2),
            budget=Budget(),
            working_size=SIZE,
            warm=True,
        )

    stopped = of_two_epochs(3)
    steps = stopped.run()
    next(steps)
    stopped.add_labeled(discs)
    next(steps)
    stopped.save_state(tmp_path / "state.safetensors")
    resumed = of_two_epochs(6)
    resumed.load_state(tmp_path / "state.safetensors")
    assert len(list(resumed.run())) == len(list(steps)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("stopped_after", [2, *(pytest.param(n, marks=pytest.mark.nightly) for n in (1, 3))])
def test_a_resumed_round_ends_as_if_it_had_never_stopped(
    stopped_after: int, labeled: list[Example], unlabeled: list[Example], tmp_path: Path
) -> None:
    whole = new_round(labeled, unlabeled)
    list(whole.run())
    stopped = new_round(labeled, unlabeled)
    steps = stopped.run()
    for _ in range(stopped_after):
        next(steps)
    stopped.save_state(tmp_path / "state.safetensors")
    torch.rand(7)  # what the program draws in between must not matter
    resumed = new_round(labeled, unlabeled)
    resumed.load_state(tmp_path / "state.safetensors")
    assert len(list(resumed.run())) == 5 - stopped_after
    assert same(resumed.averaged_state(), whole.averaged_state())
    assert same(resumed.model.trainable_state(), whole.model.trainable_state())


def test_a_damaged_state_is_refused_with_words(labeled: list[Example], tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    training = new_round(labeled, [])
    training.save_state(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SemiGDAError, match=r"state\.safetensors"):
        training.load_state(path)


def test_a_state_of_another_kind_of_round_is_refused(labeled: list[Example], tmp_path: Path) -> None:
    new_round(labeled, [], warm=True).save_state(tmp_path / "state.safetensors")
    with pytest.raises(SemiGDAError, match="cannot be resumed"):
        new_round(labeled, []).load_state(tmp_path / "state.safetensors")


def test_time_can_end_a_round(labeled: list[Example], model: SemiGDANet) -> None:
    training = Round(model, labeled, [], recipe=Recipe(), budget=Budget(seconds=0.5), working_size=SIZE)
    reports = list(training.run())
    spent = sum(report.seconds for report in reports)
    assert reports[-1].fraction == 1
    assert spent - 2 * max(report.seconds for report in reports) < 0.5 <= spent


def test_a_diverged_round_says_so(model: SemiGDANet) -> None:
    broken = disc_example(0)._replace(image=torch.full((3, SIZE, SIZE), torch.nan))
    training = Round(model, [broken], [], recipe=Recipe(), budget=Budget(steps=3), working_size=SIZE)
    with pytest.raises(SemiGDAError, match="diverged"):
        list(training.run())


@pytest.mark.parametrize("stage", [1, 2])
def test_what_nobody_has_looked_at_trains_nothing(stage: int, model: SemiGDANet) -> None:
    examples = [disc_example(0), disc_example(1)]
    batch = Batch(*(torch.stack(parts) for parts in zip(*examples, strict=True)))
    batch = batch._replace(labels=torch.full_like(batch.labels, UNKNOWN))
    recipe = Recipe(mixing_from=1.0)
    terms = Objective(model.train(), recipe, torch.Generator()).terms(stage, 0.9, batch, None)
    sum(value for _, value in terms.values()).backward()
    gradients = [p.grad for part in model.parts().values() for p in part.parameters() if p.grad is not None]
    assert gradients
    assert not any(gradient.any() for gradient in gradients)


def partly_known(*, fill: int) -> Batch:
    """Two examples of which nobody has looked at the right part; ``fill`` is what a disc there would be."""
    examples = [disc_example(0), disc_example(1)]
    images, labels, valid = (torch.stack(parts) for parts in zip(*examples, strict=True))
    labels[:, :, 20:] = fill
    return Batch(images, labels, valid)


def test_a_partly_known_mask_trains_by_its_known_part_alone(model: SemiGDANet) -> None:
    def terms(batch: Batch) -> dict[str, float]:
        objective = Objective(model.eval(), Recipe(noise_probability=0.0), torch.Generator())
        return {
            name: float(value.detach()) for name, (_, value) in objective.terms(2, 0.9, batch, None).items()
        }

    unknown = terms(partly_known(fill=UNKNOWN))
    assert unknown["alignment"] == 0
    assert unknown["dice"] > 0
    # Were anything filled in and counted, one of these two would come out the same.
    assert unknown["dice"] not in (terms(partly_known(fill=0))["dice"], terms(partly_known(fill=1))["dice"])


@pytest.mark.parametrize("stage", [1, 2])
def test_the_total_is_the_weighted_sum_of_its_terms(
    stage: int, labeled: list[Example], unlabeled: list[Example], model: SemiGDANet
) -> None:
    known = Batch(*(torch.stack(parts) for parts in zip(*labeled[:2], strict=True)))
    other = Batch(*(torch.stack(parts) for parts in zip(*unlabeled[:2], strict=True)))
    terms = Objective(model.train(), Recipe(), torch.Generator()).terms(stage, 0.9, known, other)
    weights = {name: weight for name, (weight, _) in terms.items()}
    ramp = pytest.approx(0.1 * math.exp(-5 * 0.1**2))
    assert weights.pop("alignment") == 1
    assert weights.pop("dice", 1) == 1
    assert weights
    assert all(weight == ramp for weight in weights.values())


def test_each_branch_learns_from_the_other(unlabeled: list[Example], model: SemiGDANet) -> None:
    """The gradient of the unlabeled Dice reaches each branch through the other's detached output."""
    known = Batch(*(torch.stack(parts) for parts in zip(disc_example(0), strict=True)))
    other = Batch(*(torch.stack(parts) for parts in zip(*unlabeled[:2], strict=True)))
    recipe = Recipe(noise_probability=0.0, mixing_from=1.0)
    _, loss = Objective(model.eval(), recipe, torch.Generator()).terms(2, 0.9, known, other)["unlabeled dice"]
    image, mask = (branch.detach() for branch in model.branches(other.images))
    expected = dice_loss(image, mask, other.valid) + dice_loss(mask, image, other.valid)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_learning_rate_of_a_stage_decays(labeled: list[Example]) -> None:
    rates = [report.learning_rate for report in new_round(labeled, [], steps=6, warm=True).run()]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0] / 3


def test_the_averaged_weights_lag_behind_the_trained_ones(labeled: list[Example]) -> None:
    training = new_round(labeled, [], steps=6, warm=True)
    list(training.run())
    average, trained = training.averaged_state(), training.model.trainable_state()
    assert average.keys() == trained.keys()
    assert not same(average, dict(trained))
    assert all(average[name].isfinite().all() for name in average)


@pytest.mark.slow
def test_a_round_learns_to_find_the_disc() -> None:
    model = SemiGDANet("compact", 2)
    training = Round(
        model,
        [disc_example(seed, size=64) for seed in range(4)],
        [disc_example(seed, labeled=False, size=64) for seed in range(20, 28)],
        recipe=Recipe(),
        budget=Budget(steps=60),
        working_size=64,
    )
    list(training.run())
    model.load_trainable_state(training.averaged_state())
    test = [disc_example(seed, size=64) for seed in range(50, 58)]
    with torch.no_grad():
        branches = model.eval().branches(torch.stack([example.image for example in test]))
    predicted = (branches[0] + branches[1])[:, 1] / 2 > 0.5
    truth = torch.stack([example.labels for example in test]) == 1
    dice = 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum())
    assert dice > 0.8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_a_round_and_its_resumption_run_on_a_graphics_card(
    labeled: list[Example], unlabeled: list[Example], tmp_path: Path
) -> None:
    def on_card() -> Round:
        model = SemiGDANet("compact", 2, autoencoder=random_autoencoder("compact"))
        return Round(
            model,
            labeled,
            unlabeled,
            recipe=FULL,
            budget=Budget(steps=5),
            working_size=SIZE,
            device="cuda",
        )

    stopped = on_card()
    steps = stopped.run()
    for _ in range(3):
        next(steps)
    stopped.save_state(tmp_path / "state.safetensors")
    resumed = on_card()
    resumed.load_state(tmp_path / "state.safetensors")
    assert len(list(resumed.run())) == 2
    assert next(resumed.model.parameters()).is_cuda
    assert not any(value.is_cuda for value in resumed.averaged_state().values())


@pytest.fixture
def little_memory() -> Iterator[Callable[[int], None]]:
    """Lets modules run out of memory that are given more than so many images at once."""
    most = [10**6]

    def check(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], torch.Tensor) and inputs[0].shape[0] > most[0]:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    handle = torch.nn.modules.module.register_module_forward_pre_hook(check)
    yield lambda images: most.__setitem__(0, images)
    handle.remove()


def test_with_too_little_memory_a_round_goes_on_with_half_the_batch(
    labeled: list[Example], unlabeled: list[Example], little_memory: Callable[[int], None], tmp_path: Path
) -> None:
    training = new_round(labeled, unlabeled, steps=3, warm=True)
    steps = training.run()
    next(steps)
    assert training.batch_divisor == 1
    little_memory(4)
    next(steps)
    assert training.batch_divisor == 2
    training.save_state(tmp_path / "state.safetensors")
    resumed = new_round(labeled, unlabeled, steps=3, warm=True)
    resumed.load_state(tmp_path / "state.safetensors")
    assert resumed.batch_divisor == 2
    assert len(list(steps)) == len(list(resumed.run())) == 1
    assert same(training.averaged_state(), resumed.averaged_state())
    assert training.steps_done == 3


def test_with_too_little_memory_for_one_image_a_round_breaks_off(
    labeled: list[Example], unlabeled: list[Example], little_memory: Callable[[int], None]
) -> None:
    training = new_round(labeled, unlabeled, warm=True)
    little_memory(0)
    with pytest.raises(torch.OutOfMemoryError):
        next(training.run())


def test_a_round_notes_which_classes_masks_showed(tmp_path: Path) -> None:
    """Also one that is resumed, and a warm one beside what earlier rounds were shown."""
    first, second = disc_example(0), disc_example(1)
    second.labels[second.labels == 1] = 3
    second.labels[:4] = UNKNOWN

    def round_of(examples: list[Example], shown: set[int]) -> Round:
        model = SemiGDANet("compact", 5, autoencoder=random_autoencoder("compact"))
        model.shown = shown
        return Round(model, examples, [], recipe=FULL, budget=Budget(steps=2), working_size=SIZE, warm=True)

    round_ = round_of([first], {4})
    next(round_.run())
    assert round_.model.shown == {1, 4}
    round_.save_state(tmp_path / "state.safetensors")
    resumed = round_of([second], set())
    resumed.load_state(tmp_path / "state.safetensors")
    list(resumed.run())
    assert resumed.model.shown == {1, 3, 4}


@pytest.mark.slow
def test_a_class_added_later_draws_no_rim() -> None:
    """Neither while no mask shows it, nor, but for a few pixels, once one does."""
    examples = [disc_example(seed, size=64) for seed in range(4)]
    model = SemiGDANet("compact", 2)

    def train(labeled: list[Example], steps: int) -> None:
        budget = Budget(steps=steps)
        round_ = Round(model, labeled, [], recipe=Recipe(), budget=budget, working_size=64, warm=True)
        list(round_.run())
        model.load_trainable_state(round_.averaged_state())

    train(examples, 15)
    model.classes = 3
    train(examples, 5)
    seen = torch.stack([disc_example(seed, size=64).image for seed in range(20, 26)])
    truth = torch.stack([disc_example(seed, size=64).labels for seed in range(20, 26)])
    with torch.inference_mode():
        found = torch.stack(model.eval().branches(seen)).mean(dim=0).argmax(dim=1)
    assert not (found == 2).any()

    other = disc_example(9, size=64)
    other.labels[other.labels == 1] = 2
    other.image[0] = -other.image[0]  # the other class has another color
    train([*examples, other], 60)
    with torch.inference_mode():
        found = torch.stack(model.eval().branches(seen)).mean(dim=0).argmax(dim=1)
    assert ((found == 1) & (truth == 1)).sum() > 0.8 * (truth == 1).sum()
    assert (found == 2).sum() < 0.02 * (truth == 1).sum()


ODD = [None, -1, 1.5, True, "1", float("nan"), float("inf"), 10**400, [[1]], {"a": 1}]
POSITION = ["stages", "plan", "stage_index", "step", "seconds", "steps_done", "seconds_done", "labeled"]


@pytest.mark.parametrize("name", [*POSITION, "batch_divisor"])
def test_a_state_with_an_odd_position_is_refused_in_words(
    tmp_path: Path, labeled: list[Example], unlabeled: list[Example], name: str
) -> None:
    stopped = new_round(labeled, unlabeled)
    stopped.save_state(tmp_path / "state.safetensors")
    with safe_open(tmp_path / "state.safetensors", framework="pt") as file:
        position = json.loads(file.metadata()["semigda-round"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    resumed = new_round(labeled, unlabeled)
    for odd in ODD:
        header = {"semigda-round": json.dumps({**position, name: odd})}
        save_file(tensors, tmp_path / "odd.safetensors", metadata=header)
        with suppress(SemiGDAError):  # 1.5 seconds are no less than others
            resumed.load_state(tmp_path / "odd.safetensors")
            assert (name, odd) in (("seconds", 1.5), ("seconds_done", 1.5))
    save_file(tensors, tmp_path / "deep.safetensors", metadata={"semigda-round": "[" * 100_000})
    with pytest.raises(SemiGDAError, match="cannot be resumed"):
        resumed.load_state(tmp_path / "deep.safetensors")
