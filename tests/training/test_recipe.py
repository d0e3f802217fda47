import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_semigda.errors import SemiGDAError
from napari_semigda.training.recipe import Budget, Recipe, averaging_decay, polynomial_decay, unlabeled_weight


@pytest.mark.parametrize("name", ["default", "paper"])
def test_a_recipe_survives_json(name: str) -> None:
    recipe = Recipe.named(name).with_one_object(True)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_an_unknown_recipe_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SemiGDAError, match=r"default.*paper"):
        Recipe.named("soup")


def test_the_paper_recipe_is_the_published_one() -> None:
    recipe = Recipe.paper()
    assert (recipe.stage_one_epochs, recipe.stage_two_epochs) == (200, 350)
    assert (recipe.stage_one_batch, recipe.stage_two_batch) == (12, 2)
    assert (recipe.mapping_optimizer.kind, recipe.mapping_optimizer.learning_rate) == ("adamw", 2e-3)
    assert recipe.encoder_optimizer == recipe.stage_two_optimizer
    assert (recipe.stage_two_optimizer.kind, recipe.stage_two_optimizer.learning_rate) == ("sgd", 0.01)
    assert recipe.unlabeled_peak == 0.1


@given(st.integers(2, 1000), st.floats(0.01, 0.99))
def test_a_split_budget_loses_no_step(steps: int, share: float) -> None:
    first, second = Budget(steps=steps).split(share)
    assert first.steps is not None
    assert second.steps is not None
    assert first.steps + second.steps == steps
    assert min(first.steps, second.steps) >= 1


def test_the_first_limit_reached_ends_the_budget() -> None:
    budget = Budget(steps=10, seconds=100)
    assert budget.used(5, 10) == 0.5
    assert budget.used(1, 80) == 0.8
    assert budget.used(99, 0) == 1
    assert Budget().used(10**6, 1e9) == 0


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"seconds": 0}, {"seconds": -1}])
def test_an_empty_budget_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SemiGDAError):
        Budget(**wrong)  # type: ignore[arg-type]


def test_the_ramp_reaches_its_peak_at_the_end() -> None:
    assert unlabeled_weight(1.0, 0.1) == pytest.approx(0.1)
    assert unlabeled_weight(0.0, 0.1) == pytest.approx(0.1 * math.exp(-5))
    weights = [unlabeled_weight(t / 20, 0.1) for t in range(21)]
    assert weights == sorted(weights)


def test_the_learning_rate_falls_to_nothing_without_restarts() -> None:
    factors = [polynomial_decay(t / 50) for t in range(51)]
    assert factors[0] == 1
    assert factors[-1] == 0
    assert factors == sorted(factors, reverse=True)


def test_the_average_forgets_the_start_of_a_short_round() -> None:
    kept = 1.0
    for step in range(1, 60):
        kept *= averaging_decay(step, 0.99)
    assert kept < 0.01
    assert averaging_decay(10_000, 0.99) == 0.99


@pytest.mark.parametrize("odd", [-1, float("nan"), float("inf"), 10**400, [1], {"a": 1}])
def test_a_stored_recipe_with_an_odd_value_is_refused_in_words(odd: object) -> None:
    whole = Recipe().to_dict()
    for name, usual in whole.items():
        values = [odd, {**usual, "momentum": odd}] if isinstance(usual, dict) else [odd]
        for value in values:
            with pytest.raises(SemiGDAError, match="damaged"):
                Recipe.from_dict({**whole, name: value})
    for name in ("steps", "seconds"):
        with pytest.raises(SemiGDAError, match="damaged"):
            Budget.from_dict({name: odd})


def test_a_stored_recipe_has_no_other_fields_and_no_batches_beyond_memory() -> None:
    for odd in ({"unknown": 1}, {"stage_two_batch": 10**6}, {"pseudo_label": "x"}, {"one_object": 1}):
        with pytest.raises(SemiGDAError, match="damaged"):
            Recipe.from_dict({**Recipe().to_dict(), **odd})
