"""What correcting drafts costs, from the journal: a learning curve on real data without extra labels."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.files import MOST_OF_LINES, check_own
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.folder import SessionFolder
from napari_semigda.session.journal import JournalEntry, append_entry, read_entries
from napari_semigda.session.layout import JOURNAL

ACCEPTING = ("accepted", "corrected", "imported")  # events that leave an item with an accepted mask
UNDONE = "accept undone"
RECENT = 10  # accepted drafts in the summary
LITTLE = 0.02  # a draft of which less than this share of pixels was changed was nearly right


@dataclass(frozen=True)
class AcceptedDraft:
    """A draft that was accepted, corrected or as it was, for the first time.

    `changed` is the share of the labeled pixels that the annotator changed, in [0, 1]. In an `empty` draft
    was no object: then few changed pixels do not mean that it was good.
    """

    round: int
    changed: float
    empty: bool = False


class Efforts:
    """What correcting has cost; in `drafts`, images accepted a second time do not count again."""

    def __init__(self, entries: Iterable[JournalEntry]) -> None:
        self.drafts: list[AcceptedDraft] = []
        self._accepts: dict[str, list[tuple[float | None, AcceptedDraft | None]]] = {}
        for entry in entries:
            self.add(entry)

    def add(self, entry: JournalEntry) -> None:
        """Take one more event into account."""
        if entry.event == UNDONE and (accepts := self._accepts.get(entry.item)):
            _, undone = accepts.pop()
            self.drafts = [draft for draft in self.drafts if draft is not undone]  # others may be equal
        if entry.event not in ACCEPTING:
            return
        draft = None
        if entry.event == "accepted" and entry.round is not None and entry.changed is not None:
            # Earlier versions did not note it; a draft that overlaps with nothing is as bad as an empty one.
            empty = entry.dice == 0 if entry.empty is None else entry.empty
            draft = AcceptedDraft(entry.round, entry.changed, empty)
            self.drafts.append(draft)
        self._accepts.setdefault(entry.item, []).append((entry.changed, draft))

    def of(self, item_id: str) -> float | None:
        """Return the share of pixels changed when an item was accepted last; None without a draft."""
        accepts = self._accepts.get(item_id)
        return accepts[-1][0] if accepts else None


class Journal:
    """The journal of an opened session. Called under the session's lock."""

    def __init__(self, folder: SessionFolder) -> None:
        self._folder = folder
        self._path = folder.path / JOURNAL
        self._efforts: Efforts | None = None

    def entries(self) -> list[JournalEntry]:
        """Read what happened so far, oldest first."""
        return read_entries(self._path)

    def efforts(self) -> Efforts:
        """Return what correcting took so far; the file is read at the first call."""
        if self._efforts is None:
            try:
                check_own(self._path, most=MOST_OF_LINES)
            except SemiGDAError as error:
                self._folder.warn(str(error))
                self._efforts = Efforts(())
            else:
                self._efforts = Efforts(self.entries())
        return self._efforts

    def add(self, entry: JournalEntry) -> None:
        """Add an event, which has happened whether or not it can be written."""
        if self._efforts is not None:
            self._efforts.add(entry)
        try:
            append_entry(self._path, entry)
        except SemiGDAError as error:
            self._folder.warn(str(error))


def measure(
    draft: NDArray[np.integer], accepted: NDArray[np.integer], classes: int
) -> tuple[float | None, float | None]:
    """Compare a draft (H, W) with the accepted mask (H, W), where that is not `UNKNOWN`.

    Returns the mean Dice of the classes that occur in either (1 where none occurs), and the share of the
    pixels that differ, both in [0, 1]; None where no pixel is labeled, or the sizes differ.
    """
    if draft.shape != accepted.shape:
        return None, None
    labeled = accepted != UNKNOWN
    before, after = draft[labeled].astype(np.intp), accepted[labeled].astype(np.intp)
    if not before.size:
        return None, None
    in_draft, in_accepted = (np.bincount(part, minlength=classes)[1:classes] for part in (before, after))
    in_both = np.bincount(after[before == after], minlength=classes)[1:classes]
    occurring = in_draft + in_accepted > 0
    dice = 2 * in_both[occurring] / (in_draft + in_accepted)[occurring]
    mean_dice = float(dice.mean()) if dice.size else 1.0
    return round(mean_dice, 6), round(float((before != after).mean()), 6)


def mean_by_round(drafts: Sequence[AcceptedDraft]) -> dict[int, float]:
    """Return the mean share of pixels changed in the accepted drafts of each round, by its number."""
    changed: dict[int, list[float]] = defaultdict(list)
    for draft in drafts:
        changed[draft.round].append(draft.changed)
    return {number: sum(shares) / len(shares) for number, shares in sorted(changed.items())}


def in_words(drafts: Sequence[AcceptedDraft]) -> str:
    """Summarize the last drafts that had an object; empty where none was accepted yet.

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
