"""Progress: how much is done, how long the rest takes, and whether it was canceled."""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

from napari_semigda.errors import Cancelled

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

Cancel = Callable[[], bool]
"""Asked between two steps whether the user canceled."""

_Thing = TypeVar("_Thing")


def check(cancelled: Cancel | None) -> None:
    """Raise `Cancelled` if the user canceled."""
    if cancelled is not None and cancelled():
        raise Cancelled


def tracked(
    things: Collection[_Thing], progress: Progress | None = None, cancelled: Cancel | None = None
) -> Iterator[_Thing]:
    """Iterate over things: raise `Cancelled` before one if the user canceled, report progress after each."""
    for done, thing in enumerate(things, start=1):
        check(cancelled)
        yield thing
        if progress is not None:
            progress(done, len(things))


WINDOW = 60.0  # seconds over which the pace is measured
SHORTEST = 2.0  # seconds before the pace is known


class Pace:
    """How fast a count grows; ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Count from 0 again, from now on."""
        self._points = deque([(self._clock(), 0.0)])

    def reach(self, count: float) -> None:
        """Note the count of now."""
        now = self._clock()
        self._points.append((now, count))
        while len(self._points) > 2 and now - self._points[1][0] > WINDOW:
            self._points.popleft()

    def remaining(self, total: float) -> float | None:
        """Return the seconds until the count is ``total``; None while unknown."""
        (since, first), (now, last) = self._points[0], self._points[-1]
        if now - since < SHORTEST or last <= first:
            return None
        return max(0.0, total - last) * (now - since) / (last - first)


def time_left(seconds: float) -> str:
    """Return how long something still takes in words, roughly.

    >>> time_left(170), time_left(42), time_left(5000)
    ('about 3 minutes left', 'about 40 seconds left', 'about 1 hour 25 minutes left')
    """
    if seconds < 10:
        return "a few seconds left"
    if seconds < 55:
        return f"about {round(seconds / 10) * 10} seconds left"
    minutes = max(1, round(seconds / 60))
    if minutes >= 60:
        minutes = round(minutes / 5) * 5
    hours, minutes = divmod(minutes, 60)
    parts = [counted(number, word) for number, word in ((hours, "hour"), (minutes, "minute")) if number]
    return f"about {' '.join(parts)} left"


def counted(number: int, word: str, words: str = "") -> str:
    """Return a number with its word: ``"1 image"``, ``"2 images"``."""
    return f"{number} {word if number == 1 else words or f'{word}s'}"
