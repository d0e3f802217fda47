"""What happened in a session, one JSON line an event, only ever added to."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from napari_semigda.io.atomic import append_line, cannot_read
from napari_semigda.io.files import read_json_lines
from napari_semigda.session.layout import MOST_ROUNDS

Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
RoundNumber = Annotated[int, Field(strict=True, ge=0, lt=MOST_ROUNDS)]


@dataclass(frozen=True)
class JournalEntry:
    """One event.

    It is ``"accepted"``, ``"corrected"`` (accepted before, and again), ``"accept undone"``, ``"imported"``,
    ``"skipped"``, ``"unskipped"``, ``"class removed"``, ``"background unlabeled"`` or ``"mask restored"``.
    """

    time: str  # in UTC, ISO 8601
    item: str  # its id
    event: str
    dice: Fraction | None = None  # see `napari_semigda.session.efforts.measure`; None without a draft
    changed: Fraction | None = None  # likewise
    round: RoundNumber | None = None  # whose weights made the draft
    note: str = ""  # what else is worth knowing
    empty: Annotated[bool, Field(strict=True)] | None = None  # no object in the draft; None: not noted


_ENTRY = TypeAdapter(JournalEntry)


def now() -> str:
    """Return the time in UTC as ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def append_entry(path: Path, entry: JournalEntry) -> None:
    """Add an event and wait until the disk has it; raises `SemiGDAError`."""
    append_line(path, _line(entry))


def append_missing(path: Path, entries: Iterable[JournalEntry]) -> None:
    """Add the events that the journal does not hold yet, and wait for the disk; raises `SemiGDAError`."""
    known = set(read_entries(path))
    missing = [_line(entry) for entry in entries if entry not in known]
    if missing:
        append_line(path, "\n".join(missing))


def read_entries(path: Path) -> list[JournalEntry]:
    """Read the journal; torn lines and those of no event are skipped; raises `SemiGDAError`."""
    try:
        return [entry for values in read_json_lines(path) if (entry := entry_of(values)) is not None]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise cannot_read(path, error) from error


def entry_of(values: Any) -> JournalEntry | None:
    """Return the event in a line of the journal; None if there is none."""
    try:
        return _ENTRY.validate_python(values)
    except ValidationError:
        return None


def _line(entry: JournalEntry) -> str:
    return json.dumps(asdict(entry), ensure_ascii=False)
