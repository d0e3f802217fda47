"""Which pictures to choose of many, told from how unlike they are: orders that begin well, wherever they end.

Arithmetic on latents, without a session. Of many thousand pictures samples are weighed against each other,
so that the first choice takes a few hundredths of a second, and memory does not grow with their square.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ONE_BY_ONE = 2 * 10**8
"""Multiplications spent on choosing pictures one after the other; the rest is sorted once."""

CANDIDATES, REPRESENTED = 2000, 1000
"""So many pictures at most may come first as representatives, and so many at most are to be represented."""

_GOLDEN_RATIO = (1 + 5**0.5) / 2


def spread_order(count: int) -> list[int]:
    """Order 0 … count - 1 so that each beginning of the order is spread evenly over the whole.

    Sorted by the fractional part of their multiples of the golden ratio, which keeps in step with no regular
    pattern in the list: of images that alternate between two kinds, both kinds come early.

    Examples
    --------
    >>> spread_order(8)
    [0, 5, 2, 7, 4, 1, 6, 3]
    """
    return [int(place) for place in np.argsort(np.arange(count) * _GOLDEN_RATIO % 1, kind="stable")]


def nearest(latents: Floats, seen: Floats) -> Floats:
    """Squared distance (n,) of each row of (n, D) to the nearest row of (m, D); infinite if there is none."""
    found = np.full(len(latents), np.inf, np.float32)
    for start in range(0, len(seen), 256):
        block = _squared_distances(latents, seen[start : start + 256])
        np.minimum(found, block.min(axis=1), out=found)
    return found


def farthest_first(latents: Floats, near: Floats) -> Iterator[int]:
    """Order pictures so that each is the farthest from what was seen and from all before it.

    As many as `ONE_BY_ONE` allows are chosen one after the other (all of a thousand, eighty of twenty
    thousand); the others follow by their distance from these.

    Parameters
    ----------
    latents
        (n, D).
    near
        (n,) squared distance of each to the nearest picture seen, from `nearest`. Infinite where none was
        seen: the first is then the one nearest to the middle of all.

    Yields
    ------
    int
        Rows, each once.
    """
    if not len(latents):
        return
    squares, near = (latents**2).sum(axis=1), near.copy()
    if np.isinf(near).any():
        near[:] = np.finfo(np.float32).max
        near[_squared_distances(latents, latents.mean(axis=0, keepdims=True)).argmin()] = np.inf
    for _ in range(min(len(latents), max(1, ONE_BY_ONE // latents.size))):
        row = int(near.argmax())
        yield row
        distances = squares + squares[row] - 2 * (latents @ latents[row])
        np.minimum(near, np.maximum(distances, 0), out=near)
        near[row] = -1
    yield from (int(row) for row in np.argsort(-near, kind="stable") if near[row] >= 0)


def representatives_first(latents: Floats, near: Floats, weights: Floats) -> Iterator[int]:
    """Order pictures so that each stands for as much as possible that nothing seen or before it resembles.

    A picture is worth the sum, over all pictures, of their weight times how much nearer it is to them than
    what they were nearest to so far: greedy facility location. So one of many that are alike comes before
    a curiosity, which stands for itself alone, and a second of them is worth little.

    Parameters
    ----------
    latents
        (n, D).
    near
        As for `farthest_first`.
    weights
        (n,) how much it matters that a picture is represented, 0 or more.

    Yields
    ------
    int
        Rows, each once. Of more than `CANDIDATES` an even sample comes first.
    """
    spread = np.array(spread_order(len(latents)), dtype=np.intp)
    if not len(spread):
        return
    rows, others = np.sort(spread[:CANDIDATES]), np.sort(spread[CANDIDATES:])
    represented = np.sort(spread[:REPRESENTED])
    distances = np.sqrt(_squared_distances(latents[rows], latents[represented]))
    nearer, weights = np.sqrt(near[represented]), weights[represented]
    nearer[np.isinf(nearer)] = distances.max()
    left = np.ones(len(rows), bool)
    gains = _gains(nearer, distances, weights)
    for _ in range(min(len(rows), max(1, ONE_BY_ONE // distances.size))):
        chosen = int(np.where(left, gains, -1).argmax())
        yield int(rows[chosen])
        left[chosen] = False
        np.minimum(nearer, distances[chosen], out=nearer)
        gains = _gains(nearer, distances, weights)
    rest = np.argsort(-gains, kind="stable")
    yield from (int(rows[place]) for place in rest if left[place])
    yield from (int(row) for row in others)


def _gains(nearer: Floats, distances: Floats, weights: Floats) -> Floats:
    gains: Floats = np.maximum(nearer - distances, 0) @ weights
    return gains


def _squared_distances(one: Floats, other: Floats) -> Floats:
    """Squared Euclidean distances (n, m) of the rows of (n, D) and (m, D)."""
    squares: Floats = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * (one @ other.T)
    return squares.clip(min=0)
