"""What to look at next."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.session.features import ImageFeatures
from napari_semigda.session.items import Item
from napari_semigda.session.selection import Floats, farthest_first, representatives_first, spread_order

if TYPE_CHECKING:
    from napari_semigda.session.session import Session

Strategy = Literal["mixed", "uncertain", "different", "in order", "random"]

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

DEFAULT_STRATEGY: Strategy = "mixed"

EXPLANATIONS: dict[Strategy, str] = {
    "mixed": "Images that stand for many others whose drafts are uncertain and unlike anything accepted; "
    "before there are drafts, images that stand for many others.",
    "uncertain": "Images whose drafts are the least certain; before there are drafts, spread over the list.",
    "different": "Images that look the least like any accepted one: rare kinds and curiosities come early.",
    "in order": "As listed.",
    "random": "Shuffled.",
}
"""Each strategy in a sentence for people."""


Places = NDArray[np.bool_]
"""For each item of a session, in the order of the list, whether it belongs to something."""


def next_item(
    session: Session,
    after: Item | None = None,
    strategy: Strategy = DEFAULT_STRATEGY,
    *,
    seed: int = 0,
    dealt_with: bool = False,
) -> Item | None:
    """Say which item to look at next: the first of `queue`.

    Parameters
    ----------
    session, after, strategy, seed
        As for `queue`.
    dealt_with
        Say what it would be if `after` were accepted or skipped already.

    Returns
    -------
    Item or None
        None where every other item is accepted or skipped.
    """
    return next(_in_order(session, after, strategy, seed, dealt_with), None)


def queue(
    session: Session,
    after: Item | None = None,
    strategy: Strategy = DEFAULT_STRATEGY,
    *,
    seed: int = 0,
    count: int | None = None,
) -> list[Item]:
    """Put all items that wait for the annotator (neither accepted nor skipped) in order.

    Parameters
    ----------
    session
        Whose items.
    after
        The item on screen. It is left out, and the order goes on behind it, so that asking again and
        again shows every item; except that after an item dealt with a ranking begins with its best.
    strategy
        ``"uncertain"``: highest acquisition score first, items without a draft last. ``"different"``: the
        farthest, in pooled latents, from all that was accepted or skipped and from those before it.
        ``"mixed"``: those that stand for the most uncertainty not yet represented, see
        `representatives_first`; before there is any draft all count alike. ``"in order"``: as listed.
        ``"random"``: shuffled, always in the same way for one seed.
        The first three are rankings. Where what they rank by is not known yet (scores, or latents) the order
        is spread evenly over the list, because neighbors are often alike.
    seed
        Of ``"random"``.
    count
        So many from the front; None gives all of them.

    Raises
    ------
    SemiGDAError
        When there is no such strategy.
    """
    return list(islice(_in_order(session, after, strategy, seed, False), count))


def _in_order(
    session: Session, after: Item | None, strategy: Strategy, seed: int, dealt_with: bool
) -> Iterator[Item]:
    if strategy not in STRATEGIES:
        raise SemiGDAError(f"There is no strategy “{strategy}”; choose one of: {', '.join(STRATEGIES)}.")
    items = session.items
    waits = np.array([state.waits for state in session.states()], bool)
    place = None if after is None else session.place(after)
    if place is not None and dealt_with:
        waits[place] = False
    order = _ranking(session, waits, strategy)
    if order is None:
        order = _behind(iter(_listing(len(items), strategy, seed)), place)
    elif place is not None and waits[place]:
        order = _behind(order, place)
    return (items[one] for one in order if waits[one] and one != place)


def _ranking(session: Session, waits: Places, strategy: Strategy) -> Iterator[int] | None:
    """Places of all items that wait, best first; None where there is nothing to rank them by."""
    match strategy:
        case "mixed":
            return _mixed(session, waits)
        case "uncertain":
            return _uncertain(session.scores(), waits)
        case "different":
            return _different(session.latents, waits)
    return None


def _mixed(session: Session, waits: Places) -> Iterator[int] | None:
    scores, (latents, known) = session.scores(), session.latents.vectors()
    scored = waits & ~np.isnan(scores)
    ranked = waits & known & (scored | ~scored.any())
    if not ranked.any():
        return _uncertain(scores, waits)
    best = np.flatnonzero(ranked)
    weights = scores[best] if scored.any() else np.ones(len(best), np.float32)
    near = session.latents.distance_to(~waits)[best]
    return _and_the_others(best, representatives_first(latents[best], near, weights), waits)


def _uncertain(scores: Floats, waits: Places) -> Iterator[int] | None:
    best = np.flatnonzero(waits & ~np.isnan(scores))
    order = np.argsort(-scores[best], kind="stable")
    return _and_the_others(best, iter(order), waits) if len(best) else None


def _different(known_latents: ImageFeatures, waits: Places) -> Iterator[int] | None:
    latents, known = known_latents.vectors()
    best = np.flatnonzero(waits & known)
    order = farthest_first(latents[best], known_latents.distance_to(~waits)[best])
    return _and_the_others(best, order, waits) if len(best) else None


def _and_the_others(best: NDArray[np.intp], order: Iterator[int], waits: Places) -> Iterator[int]:
    """The ranked places in their order, then the others that wait, as listed."""
    yield from (int(best[row]) for row in order)
    others = waits.copy()
    others[best] = False
    yield from (int(place) for place in np.flatnonzero(others))


def _listing(count: int, strategy: Strategy, seed: int) -> list[int]:
    """Places of all items, whatever became of them, in an order that does not depend on that."""
    if strategy == "in order":
        return list(range(count))
    if strategy == "random":
        places = list(range(count))
        random.Random(seed).shuffle(places)
        return places
    return spread_order(count)


def _behind(order: Iterator[int], place: int | None) -> Iterator[int]:
    """The same order, begun behind a place, and what was before it at the end."""
    passed = []
    for one in order:
        if one == place:
            break
        passed.append(one)
    yield from order
    yield from passed
