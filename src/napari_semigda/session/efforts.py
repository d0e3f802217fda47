"""What correcting drafts costs, from the journal: a learning curve on real data without extra labels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from napari_semigda.session.journal import JournalEntry

ACCEPTING = ("accepted", "corrected", "imported")
"""Events by which an item has an accepted mask."""

UNDONE = "accept undone"
"""Event by which the last accept of an item never was."""

RECENT = 10
"""So many accepted drafts are told of."""

LITTLE = 0.02
"""A draft of which less than this share of pixels was changed was nearly right."""


@dataclass(frozen=True)
class AcceptedDraft:
    """A draft that was accepted, corrected or as it was, for the first time.

    Parameters
    ----------
    round
        The round whose weights made it.
    changed
        Share of the looked-at pixels that the annotator changed, in [0, 1].
    empty
        Whether no object was in it: then few changed pixels say nothing of how good it was.
    """

    round: int
    changed: float
    empty: bool = False


class Efforts:
    """What correcting has cost so far.

    Parameters
    ----------
    entries
        Of the journal, oldest first.

    Attributes
    ----------
    drafts : list of AcceptedDraft
        Oldest first. Images accepted a second time do not count again.
    """

    def __init__(self, entries: Iterable[JournalEntry]) -> None:
        self.drafts: list[AcceptedDraft] = []
        self._accepts: dict[str, list[tuple[float | None, AcceptedDraft | None]]] = {}
        for entry in entries:
            self.add(entry)

    def add(self, entry: JournalEntry) -> None:
        """Take one more event into account."""
        if entry.event == UNDONE:
            self._take_back(entry.item)
        if entry.event not in ACCEPTING:
            return
        draft = None
        if entry.event == "accepted" and entry.round is not None and entry.changed is not None:
            # Earlier versions did not note it; a draft that overlaps with nothing is as bad as an empty one.
            empty = entry.dice == 0 if entry.empty is None else entry.empty
            draft = AcceptedDraft(entry.round, entry.changed, empty)
            self.drafts.append(draft)
        self._accepts.setdefault(entry.item, []).append((entry.changed, draft))

    def _take_back(self, item_id: str) -> None:
        accepts = self._accepts.get(item_id)
        _, draft = accepts.pop() if accepts else (None, None)
        if draft is not None:
            last = max(place for place, one in enumerate(self.drafts) if one is draft)
            del self.drafts[last]

    def of(self, item_id: str) -> float | None:
        """Return the share of pixels changed when an item was accepted last; None without a draft."""
        accepts = self._accepts.get(item_id)
        return accepts[-1][0] if accepts else None


def mean_by_round(drafts: Sequence[AcceptedDraft]) -> dict[int, float]:
    """Return the mean share of pixels changed in the accepted drafts of each round, by its number."""
    ordered = sorted(drafts, key=lambda draft: draft.round)
    groups = ((number, [draft.changed for draft in group]) for number, group in groupby(ordered, _round))
    return {number: sum(shares) / len(shares) for number, shares in groups}


def in_words(drafts: Sequence[AcceptedDraft]) -> str:
    """Say how the last drafts did in which there was an object; nothing where none was accepted yet.

    Examples
    --------
    >>> in_words([AcceptedDraft(1, 0.3), AcceptedDraft(1, 0.01), AcceptedDraft(2, 0.001)])
    'Of the 3 drafts you accepted so far, 2 needed less than 2 % changed.'
    """
    recent = [draft for draft in drafts if not draft.empty][-RECENT:]
    good, little = sum(draft.changed < LITTLE for draft in recent), f"{100 * LITTLE:.0f} %"
    if not recent:
        return ""
    if len(recent) == 1:
        return f"The one draft you accepted so far needed {'less' if good else 'more'} than {little} changed."
    which = f"last {RECENT} drafts you accepted"
    if len(recent) < RECENT:
        which = f"{len(recent)} drafts you accepted so far"
    how_many = "all" if good == len(recent) else good or "none"
    return f"Of the {which}, {how_many} needed less than {little} changed."


def _round(draft: AcceptedDraft) -> int:
    return draft.round
