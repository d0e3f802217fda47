"""The queue shows what is worth looking at next, and in the end everything."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.predictor import Prediction
from napari_semigda.session.items import Item, ItemState
from napari_semigda.session.layout import LATENTS
from napari_semigda.session.ranking import DEFAULT_ORDER, EXPLANATIONS, ORDERS, Order, spread_order
from napari_semigda.session.session import Session

Predict = Callable[..., Prediction]


@pytest.fixture
def eight(tmp_path: Path) -> Session:
    arrays = {f"i{number}": (np.zeros((8, 8), np.uint8), (1.0, 1.0), "pixel") for number in range(8)}
    return Session.from_arrays(tmp_path / "session", arrays)


def ids(items: list[Item]) -> list[str]:
    return [item.id for item in items]


def describe(session: Session, latents: dict[str, tuple[float, ...]]) -> None:
    """Say where some pictures lie among all that there could be."""
    for item_id, latent in latents.items():
        session.features.store(item_id, np.array(latent))


def draft(session: Session, predict: Predict, scores: dict[str, float]) -> None:
    """Have drafts made with these acquisition scores."""
    for item_id, score in scores.items():
        session.drafts.store(item_id, predict(empty(session.item(item_id)), score), 1)


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


@pytest.mark.parametrize("strategy", ["mixed", "uncertainty", "diversity"])
def test_with_nothing_to_rank_by_neighbors_are_far_apart(eight: Session, strategy: Order) -> None:
    assert ids(eight.queue(None, strategy)) == ["i0", "i5", "i2", "i7", "i4", "i1", "i6", "i3"]
    eight.accept("i5", empty(eight.item("i5")))
    eight.skip("i7")
    assert ids(eight.queue(None, strategy)) == ["i0", "i2", "i4", "i1", "i6", "i3"]
    assert eight.next_item(eight.item("i5"), strategy) == eight.item("i2")


@given(st.integers(2, 4), st.integers(30, 300))
def test_a_regular_pattern_in_the_list_does_not_hide_a_kind(period: int, count: int) -> None:
    beginning = spread_order(count)[: 4 * period]
    assert {place % period for place in beginning} == set(range(period))


def test_the_most_uncertain_draft_comes_first(eight: Session, predict: Predict) -> None:
    draft(eight, predict, {"i1": 0.2, "i5": 0.9, "i3": 0.9, "i7": 0.5})
    assert ids(eight.queue(None, "uncertainty")) == ["i3", "i5", "i7", "i1", "i0", "i2", "i4", "i6"]
    eight.accept("i3", empty(eight.item("i3")))
    assert eight.next_item(eight.item("i3"), "uncertainty") == eight.item("i5")


def test_the_most_different_is_the_farthest_from_all_seen_and_all_before_it(eight: Session) -> None:
    describe(eight, {"i1": (0, 0), "i2": (1, 0), "i3": (5, 0), "i4": (9, 0), "i5": (0, 4), "i6": (9, 1)})
    eight.accept("i1", empty(eight.item("i1")))
    # (9, 1); then (5, 0) is 4.1 from that and (0, 4) is 4 from (0, 0); i0 and i7 were never described
    assert ids(eight.queue(None, "diversity")) == ["i6", "i3", "i5", "i2", "i4", "i0", "i7"]
    eight.skip("i6")  # looked at and left aside: what is like it is nothing new
    assert eight.next_item(eight.item("i6"), "diversity") == eight.item("i3")


def test_the_first_of_the_most_different_is_an_ordinary_one(eight: Session) -> None:
    describe(eight, {"i1": (0.0,), "i2": (4.0,), "i3": (5.0,), "i4": (20.0,), "i5": (6.0,)})
    assert ids(eight.queue(None, "diversity"))[:3] == ["i5", "i4", "i1"]


def two_kinds(session: Session) -> None:
    """Five pictures are much alike, two are of another kind, one is a curiosity."""
    many = {f"i{number}": (number / 10, 0.0) for number in range(5)}
    describe(session, many | {"i5": (0.0, 3.0), "i6": (0.1, 3.0), "i7": (9.0, 9.0)})


def test_before_drafts_the_mix_shows_what_stands_for_the_most(eight: Session) -> None:
    two_kinds(eight)
    assert ids(eight.queue())[0] == "i2"  # in the middle of the many
    eight.accept("i2", empty(eight.item("i2")))
    first, second, *_ = ids(eight.queue(eight.item("i2")))
    assert {first, second} == {"i7", "i5"} or {first, second} == {"i7", "i6"}


def test_the_mix_weighs_what_is_uncertain(eight: Session, predict: Predict) -> None:
    two_kinds(eight)
    draft(eight, predict, {f"i{number}": 0.1 for number in range(8)} | {"i5": 0.9, "i6": 0.8, "i7": 0.02})
    assert ids(eight.queue())[0] == "i5"  # uncertain, and so is what it stands for
    eight.accept("i5", empty(eight.item("i5")))
    # uncertain as it may be, i6 would teach little that i5 does not
    assert ids(eight.queue())[0] == "i2"


def test_the_mix_makes_do_with_scores_alone(eight: Session, predict: Predict) -> None:
    draft(eight, predict, {"i1": 0.2, "i5": 0.9, "i3": 0.4})
    assert ids(eight.queue()) == ids(eight.queue(None, "uncertainty"))


@pytest.mark.parametrize("strategy", ["uncertainty", "diversity", "mixed"])
def test_leaving_an_item_without_accepting_goes_on_to_the_next(
    eight: Session, predict: Predict, strategy: Order
) -> None:
    two_kinds(eight)
    draft(eight, predict, {f"i{number}": number / 10 for number in range(8)})
    shown = [eight.next_item(None, strategy)]
    for _ in range(8):
        shown.append(eight.next_item(shown[-1], strategy))
    assert [item and item.id for item in shown[:8]] == ids(eight.queue(None, strategy))
    assert shown[8] == shown[0]
    assert len({item and item.id for item in shown}) == 8


def test_in_order_goes_on_behind_the_item_on_screen(eight: Session) -> None:
    assert ids(eight.queue(None, "list order")) == [f"i{number}" for number in range(8)]
    eight.accept("i3", empty(eight.item("i3")))
    assert ids(eight.queue(eight.item("i3"), "list order")) == ["i4", "i5", "i6", "i7", "i0", "i1", "i2"]
    assert ids(eight.queue(eight.item("i6"), "list order")) == ["i7", "i0", "i1", "i2", "i4", "i5"]


def test_random_is_an_order_of_its_own_for_each_seed(eight: Session) -> None:
    first, again, other = (ids(eight.queue(None, "random", seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)


def test_in_the_end_there_is_nothing_left(eight: Session) -> None:
    for item in eight.items[:7]:
        eight.skip(item)
    assert eight.next_item() == eight.items[7]
    assert eight.next_item(eight.items[7]) is None
    eight.accept("i7", empty(eight.item("i7")))
    for strategy in ORDERS:
        assert eight.next_item(None, strategy) is None


def test_former_names_of_orders_still_work(eight: Session, predict: Predict) -> None:
    draft(eight, predict, {"i1": 0.2, "i5": 0.9})
    for former, now in (("uncertain", "uncertainty"), ("different", "diversity"), ("in order", "list order")):
        assert eight.queue(None, former) == eight.queue(None, now)  # type: ignore[arg-type]
        (eight.folder / "view.json").write_text(json.dumps({"order": former}))
        assert Session.open(eight.folder).view.order == now


def test_an_unknown_order_is_told(eight: Session) -> None:
    with pytest.raises(
        SemiGDAError, match=r"no queue order “best”.*mixed, uncertainty, diversity, list order"
    ):
        eight.next_item(None, "best")  # type: ignore[arg-type]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scores=st.dictionaries(st.integers(0, 7), st.floats(0, 1), max_size=8),
    latents=st.dictionaries(st.integers(0, 7), st.tuples(st.floats(-2, 2), st.floats(-2, 2)), max_size=8),
    strategy=st.sampled_from(ORDERS),
    how=st.lists(st.sampled_from(["accept", "skip", "leave"]), max_size=20),
)
def test_every_item_is_shown_whatever_is_done_with_it(
    tmp_path_factory: pytest.TempPathFactory,
    predict: Predict,
    scores: dict[int, float],
    latents: dict[int, tuple[float, float]],
    strategy: Order,
    how: list[str],
) -> None:
    arrays = {f"i{number}": (np.zeros((2, 2), np.uint8), (1.0, 1.0), "pixel") for number in range(8)}
    session = Session.from_arrays(tmp_path_factory.mktemp("queue") / "session", arrays)
    for number, score in scores.items():
        session.drafts.store(f"i{number}", predict(np.zeros((2, 2), np.uint8), score), 1)
    describe(session, {f"i{number}": latent for number, latent in latents.items()})
    item, waiting = session.next_item(None, strategy), {one.id for one in session.items}
    for action in how:
        if item is None:
            break
        assert session.state(item) in (ItemState.UNLABELED, ItemState.DRAFT)
        if action == "accept":
            session.accept(item, empty(item))
        elif action == "skip":
            session.skip(item)
        if action != "leave":
            waiting.discard(item.id)
        others = waiting - {item.id}
        item = session.next_item(item, strategy)
        assert (item.id in others) if item is not None else not others
        assert set(ids(session.queue(None, strategy))) == waiting


def test_each_strategy_is_explained_and_one_is_the_default() -> None:
    assert set(EXPLANATIONS) == set(ORDERS)
    assert DEFAULT_ORDER in ORDERS


def test_twenty_thousand_items_are_ranked_in_a_moment(tmp_path: Path) -> None:
    """Time that grew with the square of their number would be minutes, and memory gigabytes."""
    arrays = {"first": (np.zeros((2, 2), np.uint8), (1.0, 1.0), "pixel")}
    folder = Session.from_arrays(tmp_path / "session", arrays).folder
    manifest = json.loads((folder / "semigda.json").read_text())
    names = [f"i{number}" for number in range(20_000)]
    manifest["items"] = [manifest["items"][0] | {"id": name, "name": name} for name in names]
    (folder / "semigda.json").write_text(json.dumps(manifest))
    latents = np.random.default_rng(0).normal(size=(20_000, 128)).astype(np.float16)
    header = {"ids": json.dumps(names), "signature": "{}"}
    save_file({"latents": latents}, folder / LATENTS, metadata=header)
    session = Session.open(folder)
    for name in names[:5]:
        session.accept(name, np.zeros((2, 2), np.uint8))
    for strategy in ORDERS:
        started = time.process_time()
        first = session.next_item(session.item("i4"), strategy)
        second = session.next_item(first, strategy)
        assert time.process_time() - started < 1
        assert first != second


def test_the_former_keyword_of_the_order_still_works(eight: Session) -> None:
    with pytest.warns(DeprecationWarning, match=r"queue\(order") as warned:
        assert eight.queue(strategy="in order") == eight.queue(order="list order")  # type: ignore[call-arg]
    assert warned[0].filename == __file__
    with pytest.warns(DeprecationWarning, match=r"next_item\(order"):
        assert eight.next_item(None, strategy="random", seed=3) == eight.next_item(order="random", seed=3)  # type: ignore[call-arg]
