"""What happened in a session, one JSON line an event, only ever added to."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_semigda.io.atomic import append_line, cannot_read
from napari_semigda.io.files import read_json_lines
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.layout import MOST_ROUNDS


@dataclass(frozen=True)
class JournalEntry:
    """One event.

    Parameters
    ----------
    time
        When, in UTC, ISO 8601.
    item
        The item's id.
    event
        ``"accepted"``, ``"corrected"`` (accepted before, and again), ``"accept undone"``, ``"imported"``,
        ``"skipped"``, ``"unskipped"``, ``"class removed"``, ``"background unlabeled"``, ``"mask restored"``.
    dice
        Dice between the draft and what was accepted, in [0, 1]; None without a draft.
    changed
        Share of the looked-at pixels that were changed in the draft, in [0, 1]; None without a draft.
    round
        The round whose weights made the draft; None without a draft.
    note
        What else is worth knowing; mostly empty.
    empty
        Whether there was no object in the draft; None without a draft, and in journals of earlier versions.
    """

    time: str
    item: str
    event: str
    dice: float | None = None
    changed: float | None = None
    round: int | None = None
    note: str = ""
    empty: bool | None = None


def now() -> str:
    """Return the time in UTC as ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def append_entry(path: Path, entry: JournalEntry) -> None:
    """Add an event to the journal and wait until the disk has it.

    Raises
    ------
    SemiGDAError
        When the journal cannot be written.
    """
    append_line(path, _line(entry))


def append_missing(path: Path, entries: Iterable[JournalEntry]) -> None:
    """Add those of some events that the journal does not hold yet, and wait until the disk has them.

    Raises
    ------
    SemiGDAError
        When the journal cannot be written.
    """
    known = set(read_entries(path))
    missing = [_line(entry) for entry in entries if entry not in known]
    if missing:
        append_line(path, "\n".join(missing))


def read_entries(path: Path) -> list[JournalEntry]:
    """Read the journal; lines that are no events (torn by a crash, say) are passed over.

    Raises
    ------
    SemiGDAError
        When it cannot be read.
    """
    try:
        return [entry for values in read_json_lines(path) if (entry := entry_of(values)) is not None]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise cannot_read(path, error) from error


def effort(
    draft: NDArray[np.integer], accepted: NDArray[np.integer], classes: int
) -> tuple[float | None, float | None]:
    """Measure how far a draft was from what was accepted.

    Parameters
    ----------
    draft, accepted
        (H, W) values 0 … classes - 1; `UNKNOWN` pixels of `accepted` do not count.
    classes
        Number of classes with the background.

    Returns
    -------
    dice
        Mean Dice of the classes that occur in either, in [0, 1]; 1 where none occurs.
    changed
        Share of the looked-at pixels that differ, in [0, 1].
        Both are None where nobody looked at any pixel, or the sizes differ.
    """
    if draft.shape != accepted.shape:
        return None, None
    looked = accepted != UNKNOWN
    before, after = draft[looked].astype(np.intp), accepted[looked].astype(np.intp)
    if not before.size:
        return None, None
    in_draft, in_accepted = (np.bincount(part, minlength=classes)[1:classes] for part in (before, after))
    in_both = np.bincount(after[before == after], minlength=classes)[1:classes]
    occurring = in_draft + in_accepted > 0
    dice = 2 * in_both[occurring] / (in_draft + in_accepted)[occurring]
    mean_dice = float(dice.mean()) if dice.size else 1.0
    return round(mean_dice, 6), round(float((before != after).mean()), 6)


def entry_of(values: Any) -> JournalEntry | None:
    """Return the event in a line of the journal; None if there is none."""
    if not isinstance(values, Mapping) or not _is_event(values):
        return None
    known = {name: values[name] for name in JournalEntry.__dataclass_fields__ if name in values}
    return JournalEntry(**known)


def _line(entry: JournalEntry) -> str:
    return json.dumps(asdict(entry), ensure_ascii=False)


def _is_event(values: Mapping[str, Any]) -> bool:
    return (
        all(isinstance(values.get(name), str) for name in ("time", "item", "event"))
        and all(_is_fraction(values.get(name)) for name in ("dice", "changed"))
        and isinstance(number := values.get("round"), int | None)
        and 0 <= (number or 0) < MOST_ROUNDS
        and isinstance(values.get("note", ""), str)
        and isinstance(values.get("empty"), bool | None)
    )


def _is_fraction(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and 0 <= value <= 1)
