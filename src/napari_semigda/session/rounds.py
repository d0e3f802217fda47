"""The rounds of a session, a folder each: weights, the state to go on from, curves, and a record."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from safetensors import SafetensorError

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import append_line, flush_folder, write_bytes, write_json
from napari_semigda.io.files import check_own, is_own_file, json_or_none, opened_tensors, read_json_lines
from napari_semigda.model.checkpoint import needs_encoder
from napari_semigda.session.journal import now
from napari_semigda.session.layout import CURVES, MOST_ROUNDS, RECORD, make_folder, round_numbers
from napari_semigda.session.layout import MODEL as MODEL
from napari_semigda.session.layout import STATE as STATE
from napari_semigda.training.recipe import Budget, Recipe, from_disk, to_disk

RoundStatus = Literal["running", "stopped", "complete", "failed"]

COMPLETE_KEPT = 2
"""Of so many complete rounds the weights are kept; in a session of fifty they would fill the disk."""

_MOST = 10**12
_ENDED_WITH_PROGRAM = "The program ended while this round was running."


@dataclass(frozen=True)
class Validation:
    """How the weights of a round do on images that were kept from it.

    Parameters
    ----------
    dice
        Mean Dice of drafts and accepted masks, in [0, 1].
    images
        Over so many.
    """

    dice: float
    images: int


@dataclass(frozen=True)
class RoundRecord:
    """What is known of one round.

    Parameters
    ----------
    number
        From 1 on; the folder is `rounds/NNN`.
    status
        ``"running"``; ``"stopped"`` early, to be resumed; ``"complete"``; ``"failed"``.
    stages
        The stages that it trains, (1, 2) or (2,).
    recipe, budget
        As `Recipe.to_dict` and `Budget.to_dict` give them.
    seed
        Of its random choices.
    warm
        Whether it started from the weights of an earlier round.
    started_from
        Those weights, in words for people, such as ``"round 2"``; empty for a fresh start.
    labeled
        Ids of the items accepted when it began, then of those accepted while it ran, as they joined.
    unlabeled
        How many other images took part.
    steps, seconds
        Done so far.
    message
        Why it failed, or another word to the annotator.
    started, ended
        In UTC, ISO 8601; `ended` is None while it runs.
    validation_dice, validation_images
        See `Validation`; None and 0 where no image was kept for validation.
    """

    number: int
    status: RoundStatus
    stages: tuple[int, ...]
    recipe: dict[str, Any]
    budget: dict[str, Any]
    seed: int
    warm: bool
    started_from: str
    labeled: tuple[str, ...]
    unlabeled: int
    steps: int = 0
    seconds: float = 0.0
    message: str = ""
    started: str = ""
    ended: str | None = None
    validation_dice: float | None = None
    validation_images: int = 0


class RoundStore:
    """The folder `rounds/` of a session. Not thread-safe by itself: the session guards it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running_here: set[int] = set()
        self._whole: dict[Path, tuple[int, int]] = {}

    def folder_of(self, number: int) -> Path:
        """Return the folder of one round."""
        return self.folder / f"{number:03d}"

    def records(self) -> tuple[RoundRecord, ...]:
        """Read all records, oldest first; unreadable ones are left out.

        A round that was running when its program ended is told as stopped if it left a state to resume
        from, and as failed if not.
        """
        records = (read_record(self.folder_of(number)) for number in self._numbers())
        return tuple(self._as_it_is(record) for record in records if record is not None)

    def begin(
        self,
        recipe: Recipe,
        budget: Budget,
        seed: int,
        warm: bool,
        *,
        stages: tuple[int, ...],
        labeled: Sequence[str],
        unlabeled: int,
        started_from: str = "",
    ) -> RoundRecord:
        """Make the folder and the record of the next round.

        Raises
        ------
        SemiGDAError
            When they cannot be written.
        """
        number = max(self._numbers(), default=0) + 1
        record = RoundRecord(
            number=number,
            status="running",
            stages=stages,
            recipe=recipe.to_dict(),
            budget=budget.to_dict(),
            seed=seed,
            warm=warm,
            started_from=started_from,
            labeled=tuple(labeled),
            unlabeled=unlabeled,
            started=now(),
        )
        make_folder(self.folder)
        try:
            self.folder_of(number).mkdir()
            flush_folder(self.folder)
        except OSError as error:
            raise SemiGDAError(
                f"The folder “{self.folder_of(number)}” for the next round cannot be made: "
                f"{error.strerror or error}."
            ) from error
        self._write(record)
        self._running_here.add(number)
        return record

    def resume(self, number: int) -> RoundRecord:
        """Take up a stopped round again.

        Raises
        ------
        SemiGDAError
            When there is no such round, or it left no state to go on from.
        """
        record = next((one for one in self.records() if one.number == number), None)
        if record is None:
            raise SemiGDAError(f"There is no round {number} to resume.")
        if record.status != "stopped" or not self._has_state(number):
            raise SemiGDAError(f"Round {number} cannot be resumed: it is {record.status}. Start a new one.")
        resumed = replace(record, status="running", message="", ended=None)
        self._write(resumed)
        self._running_here.add(number)
        return resumed

    def extend(self, record: RoundRecord, ids: Sequence[str]) -> RoundRecord:
        """Write down that a running round learns from more items.

        Raises
        ------
        SemiGDAError
            When the record cannot be written.
        """
        extended = replace(record, labeled=(*record.labeled, *ids))
        self._write(extended)
        return extended

    def finish(
        self,
        record: RoundRecord,
        status: RoundStatus,
        *,
        steps: int,
        seconds: float,
        message: str = "",
        validation: Validation | None = None,
    ) -> RoundRecord:
        """Write down how a round ended.

        Raises
        ------
        SemiGDAError
            When the record cannot be written.
        """
        ended = replace(
            record, status=status, steps=steps, seconds=round(seconds, 3), message=message, ended=now()
        )
        if validation is not None:
            ended = replace(
                ended, validation_dice=round(validation.dice, 6), validation_images=validation.images
            )
        self._running_here.discard(record.number)
        self._write(ended)
        self._clear_out()
        return ended

    def leave(self, number: int) -> None:
        """Count a round as one that runs no more, where how it ended cannot be written down."""
        self._running_here.discard(number)

    def _clear_out(self) -> None:
        """Remove the weights and states of old rounds that nothing goes back to.

        Weights stay of the newest round that has any, which are in use, and of the last two complete ones.
        The state stays of the newest round, if it was stopped. All records and curves stay.
        """
        records = [record for record in self.records() if record.status != "running"]
        whole = [one for one in reversed(records) if self._is_whole(self.folder_of(one.number) / MODEL)]
        complete = [one for one in whole if one.status == "complete"]
        kept = {one.number for one in (*whole[:1], *complete[:COMPLETE_KEPT])}
        resumable = max(self._numbers(), default=0)
        for record in records:
            folder = self.folder_of(record.number)
            with suppress(OSError):  # room that cannot be given back today will be another time
                if kept and record.number < max(kept) and record.number not in kept:
                    (folder / MODEL).unlink(missing_ok=True)
                if record.number != resumable or record.status != "stopped":
                    (folder / STATE).unlink(missing_ok=True)

    def last_model(self) -> Path | None:
        """Return the newest weights whose file is whole and that this version can use, if any.

        A round writes its weights when it ends well or is stopped; that it failed after being resumed does
        not make them worse.
        """
        paths = (self.folder_of(number) / MODEL for number in reversed(self._numbers()))
        return next((path for path in paths if self._is_whole(path)), None)

    def _is_whole(self, path: Path) -> bool:
        """Whether a file of weights can be read; a file that has not changed is not opened again."""
        try:
            check_own(path, self.folder.parent)
            stamp = (path.stat().st_mtime_ns, path.stat().st_size)
            if self._whole.get(path) != stamp:
                with opened_tensors(path, "numpy") as tensors:
                    if not tensors.keys() or needs_encoder(tensors.metadata()):
                        return False
        except (OSError, SafetensorError, SemiGDAError):
            return False
        self._whole[path] = stamp
        return True

    def _numbers(self) -> list[int]:
        return round_numbers(self.folder)

    def _as_it_is(self, record: RoundRecord) -> RoundRecord:
        if record.status != "running" or record.number in self._running_here:
            return record
        resumable = self._has_state(record.number)
        return replace(record, status="stopped" if resumable else "failed", message=_ENDED_WITH_PROGRAM)

    def _has_state(self, number: int) -> bool:
        return is_own_file(self.folder_of(number) / STATE, self.folder.parent)

    def _write(self, record: RoundRecord) -> None:
        write_json(self.folder_of(record.number) / RECORD, to_disk(asdict(record)))


def read_record(folder: Path) -> RoundRecord | None:
    """Read the record in a round's folder; None where it is missing or damaged."""
    values = json_or_none(folder / RECORD, folder.parents[1])
    if not isinstance(values, dict):
        return None
    values = from_disk(values)
    known = {one.name: values[one.name] for one in fields(RoundRecord) if one.name in values}
    if _REQUIRED - known.keys() or not all(_CHECKS[name](value) for name, value in known.items()):
        return None
    if f"{known['number']:03d}" != folder.name:
        return None
    return RoundRecord(**known | {name: tuple(known[name]) for name in ("stages", "labeled")})


def _is_number(value: Any, most: float, kind: Any = int) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and 0 <= value <= most


def _are(values: Any, sound: Callable[[Any], bool]) -> bool:
    return isinstance(values, list) and all(map(sound, values))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_REQUIRED = frozenset(one.name for one in fields(RoundRecord) if one.default is MISSING)
_CHECKS: dict[str, Callable[[Any], bool]] = {
    "number": lambda value: _is_number(value, MOST_ROUNDS),
    "status": lambda value: _is_text(value) and value in get_args(RoundStatus),
    "stages": lambda values: _are(values, lambda one: one in (1, 2)) and 1 <= len(values) <= 2,
    "recipe": lambda value: isinstance(value, dict),
    "budget": lambda value: isinstance(value, dict),
    "seed": lambda value: isinstance(value, int) and abs(value) < 2**64,
    "warm": lambda value: isinstance(value, bool),
    "started_from": _is_text,
    "labeled": lambda values: _are(values, _is_text),
    "unlabeled": lambda value: _is_number(value, _MOST),
    "steps": lambda value: _is_number(value, _MOST),
    "seconds": lambda value: _is_number(value, _MOST, int | float),
    "message": _is_text,
    "started": _is_text,
    "ended": lambda value: value is None or _is_text(value),
    "validation_dice": lambda value: value is None or _is_number(value, 1, int | float),
    "validation_images": lambda value: _is_number(value, _MOST),
}


def append_point(folder: Path, point: Mapping[str, Any]) -> None:
    """Add one point (step, losses, …) to the curves of a round."""
    append_line(folder / CURVES, json.dumps(to_disk(point)), durable=False, within=folder.parents[1])


def keep_points(folder: Path, count: int) -> None:
    """Cut the curves of a round down to their first points: steps that will be made again.

    Raises
    ------
    SemiGDAError
        When they cannot be written.
    """
    points = read_curves(folder)[:count]
    write_bytes(folder / CURVES, "".join(f"{json.dumps(to_disk(point))}\n" for point in points).encode())


def read_curves(folder: Path) -> list[dict[str, Any]]:
    """Read the curves of a round; a torn line is passed over."""
    try:
        lines = list(read_json_lines(folder / CURVES, folder.parents[1]))
    except (OSError, SemiGDAError):
        return []
    return [from_disk(point) for point in lines if isinstance(point, dict)]
