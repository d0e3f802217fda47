"""What a step and a prediction cost in operations and passes: figures that no machine changes."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.network import SemiGDANet
from napari_semigda.training.data import Example
from napari_semigda.training.recipe import Budget, Recipe
from napari_semigda.training.round import Round
from tests.training.conftest import SIZE

#: Two labeled, two unlabeled and two mixed images a step, from the first step on.
FULL = Recipe(unlabeled_from=0.0, mixing_from=0.0, stage_one_share=0.0)
IMAGES_A_STEP = 6
MOST_A_STEP = 3.3
"""Operations of a step as a multiple of those of its images' way forward (3.24 on 2026-11-24): the way back
costs two, without the gradients of what is frozen, and masks are encoded."""

MOST_A_PREDICTION = 1.01
"""Operations of a prediction as a multiple of the way forward."""


def operations(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def way_forward(model: SemiGDANet, images: int) -> int:
    return operations(lambda: model(torch.zeros(images, 3, SIZE, SIZE)))


def step_of(model: SemiGDANet, labeled: list[Example], unlabeled: list[Example]) -> Callable[[], object]:
    budget = Budget(steps=9)
    steps = Round(model, labeled, unlabeled, recipe=FULL, budget=budget, working_size=SIZE, warm=True).run()
    return lambda: next(steps)


def test_a_step_costs_little_more_than_its_way_forward_and_back(
    model: SemiGDANet, labeled: list[Example], unlabeled: list[Example]
) -> None:
    step = operations(step_of(model, labeled, unlabeled))
    forward = way_forward(model, IMAGES_A_STEP)
    assert step <= MOST_A_STEP * forward


def test_a_step_sends_all_images_through_each_part_at_once(
    model: SemiGDANet, labeled: list[Example], unlabeled: list[Example]
) -> None:
    passes: Counter[str] = Counter()
    for name, part in model.parts().items():
        part.register_forward_hook(lambda *_, name=name: passes.update([name]))
    step_of(model, labeled, unlabeled)()
    assert passes["encoder"] == passes["mapping"] == 1


def test_a_prediction_costs_the_way_forward(model: SemiGDANet) -> None:
    predictor = Predictor(model, ImageSettings(working_size=SIZE, framing="whole"))
    picture = np.zeros((SIZE, SIZE), np.uint8)
    assert operations(lambda: predictor.predict(picture)) <= MOST_A_PREDICTION * way_forward(model, 1)
