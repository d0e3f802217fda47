"""What to look at next."""

import random
from typing import Literal, get_args

from napari_semigda.errors import SemiGDAError
from napari_semigda.session.items import Item, ItemState
from napari_semigda.session.session import Session

Strategy = Literal["uncertain", "in order", "random"]

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

_GOLDEN_RATIO = (1 + 5**0.5) / 2


def next_item(
    session: Session, after: Item | None = None, strategy: Strategy = "uncertain", *, seed: int = 0
) -> Item | None:
    """Say which item to look at next: the first of `queue`.

    Returns
    -------
    Item or None
        None where every other item is accepted or skipped.
    """
    return next(iter(queue(session, after, strategy, seed=seed)), None)


def queue(
    session: Session, after: Item | None = None, strategy: Strategy = "uncertain", *, seed: int = 0
) -> list[Item]:
    """Put all items that wait for the annotator (neither accepted nor skipped) in order.

    Parameters
    ----------
    session
        Whose items.
    after
        The item on screen. It is left out, and the order goes on behind it, so that asking again and
        again shows every item; except that after an accepted one the most uncertain comes first.
    strategy
        ``"uncertain"``: highest acquisition score first, items without a draft last; before there is any
        draft, spread evenly over the list, because neighbours are often alike. ``"in order"``: as listed.
        ``"random"``: shuffled, always in the same way for one seed.
    seed
        Of ``"random"``.

    Raises
    ------
    SemiGDAError
        When there is no such strategy.
    """
    if strategy not in STRATEGIES:
        raise SemiGDAError(f"There is no strategy “{strategy}”; choose one of: {', '.join(STRATEGIES)}.")
    items = session.items
    waiting = {item.id for item in items if session.state(item) in (ItemState.UNLABELLED, ItemState.DRAFT)}
    scores = _scores(session, waiting) if strategy == "uncertain" else {}
    if scores:
        places = sorted(range(len(items)), key=lambda place: (-scores.get(items[place].id, -1.0), place))
    elif strategy == "uncertain":
        places = spread_order(len(items))
    else:
        places = list(range(len(items)))
        if strategy == "random":
            random.Random(seed).shuffle(places)
    ordered = [items[place] for place in places]
    if after is not None and not (scores and after.id not in waiting):
        ordered = _behind(ordered, after)
    return [item for item in ordered if item.id in waiting and (after is None or item.id != after.id)]


def spread_order(count: int) -> list[int]:
    """Order 0 … count - 1 so that each beginning of the order is spread evenly over the whole.

    Sorted by the fractional part of their multiples of the golden ratio, which keeps in step with no regular
    pattern in the list: of images that alternate between two kinds, both kinds come early.

    Examples
    --------
    >>> spread_order(8)
    [0, 5, 2, 7, 4, 1, 6, 3]
    """
    return sorted(range(count), key=lambda place: place * _GOLDEN_RATIO % 1)


def _scores(session: Session, waiting: set[str]) -> dict[str, float]:
    infos = ((item_id, session.prediction_info(item_id)) for item_id in waiting)
    return {item_id: info.score for item_id, info in infos if info is not None}


def _behind(ordered: list[Item], after: Item) -> list[Item]:
    ids = [item.id for item in ordered]
    start = ids.index(after.id) + 1 if after.id in ids else 0
    return ordered[start:] + ordered[:start]
