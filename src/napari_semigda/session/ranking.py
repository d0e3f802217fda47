"""Which images to label next: orders of images from what is known of them; arrays in, indices out.

Of many thousand images, samples are weighed against each other, so that the first choice takes a few
hundredths of a second, and memory does not grow with their square.
"""

import random
from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError

Order = Literal["mixed", "uncertainty", "diversity", "list order", "random"]

ORDERS: tuple[Order, ...] = get_args(Order)

DEFAULT_ORDER: Order = "mixed"

# Each order in a sentence.
EXPLANATIONS: dict[Order, str] = {
    "mixed": "Images that represent many others with uncertain drafts, unlike any accepted image; "
    "before there are drafts, images that represent many others.",
    "uncertainty": "Images with the least certain drafts; before there are drafts, spread over the list.",
    "diversity": "Images least similar to any accepted one: rare kinds and outliers come early.",
    "list order": "In the order of the table.",
    "random": "In random order.",
}

_FORMER_NAMES = {"uncertain": "uncertainty", "different": "diversity", "in order": "list order"}

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Multiplications spent on choosing images one after the other; the rest is sorted once.
ONE_BY_ONE = 2 * 10**8

# Numbers of images, at most, that may come first as representatives, and that are to be represented.
CANDIDATES, REPRESENTED = 2000, 1000

_GOLDEN_RATIO = (1 + 5**0.5) / 2


def current_name(name: str) -> str:
    """Return today's name of an order, given that or a former one; other texts as they are."""
    return _FORMER_NAMES.get(name, name)


def order_named(name: str) -> Order:
    """Return the order with this name or former name; raises a `SemiGDAError` without one.

    >>> order_named("uncertain")
    'uncertainty'
    """
    for order in ORDERS:
        if order == current_name(name):
            return order
    raise SemiGDAError(f"There is no queue order “{name}”; choose one of: {', '.join(ORDERS)}.")


def ranked(
    order: Order,
    waiting: Mask,
    scores: Floats,
    features: Floats,
    known: Mask,
    near: Floats,
    *,
    after: int | None = None,
    seed: int = 0,
) -> Iterator[int]:
    """Yield the indices of the images that wait for the annotator, in order.

    ``"uncertainty"``: highest score first. ``"diversity"``: the farthest, by features, from all that do not
    wait and from those before it. ``"mixed"``: those that represent the most uncertainty not yet represented,
    see `representatives_first`; before there is any score all count alike. Where what these rank by is not
    known yet, the order is spread evenly over the list, because neighbors are often alike.

    Of N images, `waiting` (N,) are neither accepted nor skipped; `scores` (N,) are NaN where there is none;
    `features` (N, D) are known of some (N,); `near` (N,) is the squared distance to the nearest that does not
    wait, from `nearest`; `seed` is of ``"random"``. `after` is the index of the image on screen: it is left
    out, and the order goes on behind it, so that asking again and again shows every image; except that
    behind an image that no longer waits a ranking begins with its best.
    """
    ranking: Iterator[int] | None = None
    if order == "mixed":
        ranking = _mixed(waiting, scores, features, known, near)
    elif order == "uncertainty":
        ranking = _by_uncertainty(waiting, scores)
    elif order == "diversity":
        best = np.flatnonzero(waiting & known)
        if len(best):
            ranking = _with_others(best, farthest_first(features[best], near[best]), waiting)
    if ranking is None:
        ranking = _behind(iter(_listed(order, len(waiting), seed)), after)
    elif after is not None and waiting[after]:
        ranking = _behind(ranking, after)
    yield from (index for index in ranking if waiting[index] and index != after)


def _mixed(
    waiting: Mask, scores: Floats, features: Floats, known: Mask, near: Floats
) -> Iterator[int] | None:
    scored = waiting & ~np.isnan(scores)
    best = np.flatnonzero(waiting & known & (scored | ~scored.any()))
    if not len(best):
        return _by_uncertainty(waiting, scores)
    weights = scores[best] if scored.any() else np.ones(len(best), np.float32)
    return _with_others(best, representatives_first(features[best], near[best], weights), waiting)


def _by_uncertainty(waiting: Mask, scores: Floats) -> Iterator[int] | None:
    best = np.flatnonzero(waiting & ~np.isnan(scores))
    order = np.argsort(-scores[best], kind="stable")
    return _with_others(best, iter(order), waiting) if len(best) else None


def _with_others(best: NDArray[np.intp], order: Iterator[int], waiting: Mask) -> Iterator[int]:
    """Yield the ranked indices in their order, then the others that wait, as listed."""
    yield from (int(best[row]) for row in order)
    others = waiting.copy()
    others[best] = False
    yield from (int(index) for index in np.flatnonzero(others))


def _listed(order: Order, count: int, seed: int) -> list[int]:
    """Order all images, whether they wait or not, so that the order does not depend on that."""
    if order not in ("list order", "random"):
        return spread_order(count)
    indices = list(range(count))
    if order == "random":
        random.Random(seed).shuffle(indices)
    return indices


def _behind(order: Iterator[int], after: int | None) -> Iterator[int]:
    """Begin an order behind an index, with what was before it at the end."""
    passed = []
    for index in order:
        if index == after:
            break
        passed.append(index)
    yield from order
    yield from passed


def spread_order(count: int) -> list[int]:
    """Order 0 … count - 1 so that each beginning of the order is spread evenly over the whole.

    Multiples of the golden ratio keep in step with no regular pattern in the list.

    >>> spread_order(8)
    [0, 5, 2, 7, 4, 1, 6, 3]
    """
    return [int(index) for index in np.argsort(np.arange(count) * _GOLDEN_RATIO % 1, kind="stable")]


def nearest(features: Floats, seen: Floats) -> Floats:
    """Squared distance (n,) of each row of (n, D) to the nearest row of (m, D); infinite if there is none."""
    found = np.full(len(features), np.inf, np.float32)
    for start in range(0, len(seen), 256):
        block = _squared_distances(features, seen[start : start + 256])
        np.minimum(found, block.min(axis=1), out=found)
    return found


def farthest_first(features: Floats, near: Floats) -> Iterator[int]:
    """Order rows of (n, D) so that each is the farthest from what was seen and from all before it.

    As many as `ONE_BY_ONE` allows are chosen one after the other (all of a thousand, eighty of twenty
    thousand); the others follow by their distance from these. `near` (n,) is each row's squared distance to
    the nearest one seen; where it is infinite nothing was seen, and the row nearest to the middle comes
    first.
    """
    if not len(features):
        return
    squares, near = (features**2).sum(axis=1), near.copy()
    if np.isinf(near).any():
        near[:] = np.finfo(np.float32).max
        near[_squared_distances(features, features.mean(axis=0, keepdims=True)).argmin()] = np.inf
    for _ in range(min(len(features), max(1, ONE_BY_ONE // features.size))):
        row = int(near.argmax())
        yield row
        distances = squares + squares[row] - 2 * (features @ features[row])
        np.minimum(near, np.maximum(distances, 0), out=near)
        near[row] = -1
    yield from (int(row) for row in np.argsort(-near, kind="stable") if near[row] >= 0)


def representatives_first(features: Floats, near: Floats, weights: Floats) -> Iterator[int]:
    """Order rows of (n, D) so that each represents as much as possible that nothing before it resembles.

    A row is worth the sum, over all rows, of their weight (n,) times how much nearer it is to them than what
    they were nearest to so far: greedy facility location. So one of many that are alike comes before an
    outlier, which represents itself alone, and a second of them is worth little. `near` is as for
    `farthest_first`. Of more than `CANDIDATES` an even sample comes first.
    """
    spread = np.array(spread_order(len(features)), dtype=np.intp)
    if not len(spread):
        return
    rows, others = np.sort(spread[:CANDIDATES]), np.sort(spread[CANDIDATES:])
    represented = np.sort(spread[:REPRESENTED])
    distances = np.sqrt(_squared_distances(features[rows], features[represented]))
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
    yield from (int(rows[row]) for row in rest if left[row])
    yield from (int(row) for row in others)


def _gains(nearer: Floats, distances: Floats, weights: Floats) -> Floats:
    gains: Floats = np.maximum(nearer - distances, 0) @ weights
    return gains


def _squared_distances(one: Floats, other: Floats) -> Floats:
    """Squared Euclidean distances (n, m) of the rows of (n, D) and (m, D)."""
    squares: Floats = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * (one @ other.T)
    return squares.clip(min=0)
