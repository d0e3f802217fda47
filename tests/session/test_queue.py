"""The queue shows what is worth looking at next, and in the end everything."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.predictor import Prediction
from napari_semigda.session.items import Item, ItemState
from napari_semigda.session.queue import STRATEGIES, Strategy, next_item, queue, spread_order
from napari_semigda.session.session import Session

Predict = Callable[..., Prediction]


@pytest.fixture
def eight(tmp_path: Path) -> Session:
    arrays = {f"i{number}": (np.zeros((8, 8), np.uint8), (1.0, 1.0), "pixel") for number in range(8)}
    return Session.from_arrays(tmp_path / "session", arrays)


def ids(items: list[Item]) -> list[str]:
    return [item.id for item in items]


def empty(item: Item) -> np.ndarray:
    return np.zeros(item.shape, np.uint8)


@given(st.integers(0, 300))
def test_the_spread_order_is_an_order_and_is_spread(count: int) -> None:
    order = spread_order(count)
    assert sorted(order) == list(range(count))
    for length in range(2, count):
        beginning = sorted(order[:length])
        gaps = np.diff([*beginning, count])
        assert gaps.max() <= 4 * count / length + 1


def test_before_any_draft_neighbours_are_far_apart(eight: Session) -> None:
    assert ids(queue(eight)) == ["i0", "i5", "i2", "i7", "i4", "i1", "i6", "i3"]
    eight.accept("i5", empty(eight.item("i5")))
    eight.skip("i7")
    assert ids(queue(eight)) == ["i0", "i2", "i4", "i1", "i6", "i3"]
    assert next_item(eight, eight.item("i5")) == eight.item("i2")


@given(st.integers(2, 4), st.integers(30, 300))
def test_a_regular_pattern_in_the_list_does_not_hide_a_kind(period: int, count: int) -> None:
    beginning = spread_order(count)[: 4 * period]
    assert {place % period for place in beginning} == set(range(period))


def test_the_most_uncertain_draft_comes_first(eight: Session, predict: Predict) -> None:
    for item_id, score in [("i1", 0.2), ("i5", 0.9), ("i3", 0.9), ("i7", 0.5)]:
        eight.store_prediction(item_id, predict(empty(eight.item(item_id)), score), 1)
    assert ids(queue(eight)) == ["i3", "i5", "i7", "i1", "i0", "i2", "i4", "i6"]
    eight.accept("i3", empty(eight.item("i3")))
    assert next_item(eight, eight.item("i3")) == eight.item("i5")


def test_leaving_an_item_without_accepting_goes_on_to_the_next(eight: Session, predict: Predict) -> None:
    for number in range(8):
        eight.store_prediction(f"i{number}", predict(empty(eight.item("i0")), number / 10), 1)
    shown = [next_item(eight)]
    for _ in range(8):
        shown.append(next_item(eight, shown[-1]))
    assert [item and item.id for item in shown] == ["i7", "i6", "i5", "i4", "i3", "i2", "i1", "i0", "i7"]


def test_in_order_goes_on_behind_the_item_on_screen(eight: Session) -> None:
    assert ids(queue(eight, None, "in order")) == [f"i{number}" for number in range(8)]
    eight.accept("i3", empty(eight.item("i3")))
    assert ids(queue(eight, eight.item("i3"), "in order")) == ["i4", "i5", "i6", "i7", "i0", "i1", "i2"]
    assert ids(queue(eight, eight.item("i6"), "in order")) == ["i7", "i0", "i1", "i2", "i4", "i5"]


def test_random_is_an_order_of_its_own_for_each_seed(eight: Session) -> None:
    first, again, other = (ids(queue(eight, None, "random", seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)


def test_in_the_end_there_is_nothing_left(eight: Session) -> None:
    for item in eight.items[:7]:
        eight.skip(item)
    assert next_item(eight) == eight.items[7]
    assert next_item(eight, eight.items[7]) is None
    eight.accept("i7", empty(eight.item("i7")))
    for strategy in STRATEGIES:
        assert next_item(eight, None, strategy) is None


def test_an_unknown_strategy_is_told(eight: Session) -> None:
    with pytest.raises(SemiGDAError, match=r"no strategy “best”.*uncertain, in order, random"):
        next_item(eight, None, "best")  # type: ignore[arg-type]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scores=st.dictionaries(st.integers(0, 7), st.floats(0, 1), max_size=8),
    strategy=st.sampled_from(STRATEGIES),
    how=st.lists(st.sampled_from(["accept", "skip", "leave"]), max_size=20),
)
def test_every_item_is_shown_whatever_is_done_with_it(
    tmp_path_factory: pytest.TempPathFactory,
    predict: Predict,
    scores: dict[int, float],
    strategy: Strategy,
    how: list[str],
) -> None:
    arrays = {f"i{number}": (np.zeros((2, 2), np.uint8), (1.0, 1.0), "pixel") for number in range(8)}
    session = Session.from_arrays(tmp_path_factory.mktemp("queue") / "session", arrays)
    for number, score in scores.items():
        session.store_prediction(f"i{number}", predict(np.zeros((2, 2), np.uint8), score), 1)
    item, waiting = next_item(session, None, strategy), {one.id for one in session.items}
    for action in how:
        if item is None:
            break
        assert session.state(item) in (ItemState.UNLABELLED, ItemState.DRAFT)
        if action == "accept":
            session.accept(item, empty(item))
        elif action == "skip":
            session.skip(item)
        if action != "leave":
            waiting.discard(item.id)
        others = waiting - {item.id}
        item = next_item(session, item, strategy)
        assert (item.id in others) if item is not None else not others
        assert set(ids(queue(session, None, strategy))) == waiting
