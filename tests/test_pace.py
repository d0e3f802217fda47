"""How long something still takes, told from how it went so far."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_semigda.pace import Pace, time_left


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(rate=st.floats(0.01, 100), done=st.integers(1, 500), more=st.integers(0, 10_000))
def test_a_steady_pace_goes_on(rate: float, done: int, more: int) -> None:
    clock = Clock()
    pace = Pace(clock)
    for number in range(1, done + 1):
        clock.now += 1 / rate
        pace.reach(number)
    remaining = pace.remaining(done + more)
    if done / rate < 1.9:
        assert remaining is None
    elif done / rate > 2.1:
        assert remaining == pytest.approx(more / rate, rel=1e-3, abs=1e-6)


def test_only_the_last_minute_counts() -> None:
    clock = Clock()
    pace = Pace(clock)
    for number in range(1, 101):  # a second each, then ten
        clock.now += 1
        pace.reach(number)
    for number in range(101, 120):
        clock.now += 10
        pace.reach(number)
    assert pace.remaining(129) == pytest.approx(100)


def test_nothing_is_known_before_anything_is_done_and_after_a_new_beginning() -> None:
    clock = Clock()
    pace = Pace(clock)
    clock.now += 100
    assert pace.remaining(5) is None
    pace.reach(1)
    assert pace.remaining(5) == pytest.approx(400)
    pace.begin()
    clock.now += 100
    assert pace.remaining(5) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "a few seconds left"),
        (9.9, "a few seconds left"),
        (14, "about 10 seconds left"),
        (54, "about 50 seconds left"),
        (56, "about 1 minute left"),
        (170, "about 3 minutes left"),
        (3540, "about 59 minutes left"),
        (3600, "about 1 hour left"),
        (5000, "about 1 hour 25 minutes left"),
        (36_000, "about 10 hours left"),
    ],
)
def test_it_is_said_no_finer_than_anybody_can_know(seconds: float, words: str) -> None:
    assert time_left(seconds) == words
