"""The rounds of a session, a folder each: weights, the state to go on from, curves, and a record."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from safetensors import SafetensorError, safe_open

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import append_line, cannot_read, write_bytes, write_json
from napari_semigda.session.journal import now
from napari_semigda.training.recipe import Budget, Recipe

RoundStatus = Literal["running", "stopped", "complete", "failed"]

MODEL = "model.safetensors"
STATE = "state.safetensors"
CURVES = "curves.jsonl"
RECORD = "round.json"

COMPLETE_KEPT = 2
"""Of so many complete rounds the weights are kept; in a session of fifty they would fill the disk."""

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
    labelled
        Ids of the items accepted when it began, then of those accepted while it ran, as they joined.
    unlabelled
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
    labelled: tuple[str, ...]
    unlabelled: int
    steps: int = 0
    seconds: float = 0.0
    message: str = ""
    started: str = ""
    ended: str | None = None
    validation_dice: float | None = None
    validation_images: int = 0


class Rounds:
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
        labelled: Sequence[str],
        unlabelled: int,
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
            labelled=tuple(labelled),
            unlabelled=unlabelled,
            started=now(),
        )
        try:
            self.folder_of(number).mkdir(parents=True)
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
        if record.status != "stopped" or not (self.folder_of(number) / STATE).is_file():
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
        extended = replace(record, labelled=(*record.labelled, *ids))
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
        """Return the newest weights whose file is whole, if any.

        A round writes its weights when it ends well or is stopped; that it failed after being resumed does
        not make them worse.
        """
        paths = (self.folder_of(number) / MODEL for number in reversed(self._numbers()))
        return next((path for path in paths if self._is_whole(path)), None)

    def _is_whole(self, path: Path) -> bool:
        """Whether a file of weights can be read; a file that has not changed is not opened again."""
        try:
            stamp = (path.stat().st_mtime_ns, path.stat().st_size)
            if self._whole.get(path) != stamp:
                with safe_open(path, framework="numpy") as tensors:
                    if not tensors.keys():
                        return False
        except (OSError, SafetensorError):
            return False
        self._whole[path] = stamp
        return True

    def _numbers(self) -> list[int]:
        try:
            names = [entry.name for entry in self.folder.iterdir() if entry.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise cannot_read(self.folder, error) from error
        return sorted(int(name) for name in names if name.isascii() and name.isdigit() and len(name) >= 3)

    def _as_it_is(self, record: RoundRecord) -> RoundRecord:
        if record.status != "running" or record.number in self._running_here:
            return record
        resumable = (self.folder_of(record.number) / STATE).is_file()
        return replace(record, status="stopped" if resumable else "failed", message=_ENDED_WITH_PROGRAM)

    def _write(self, record: RoundRecord) -> None:
        write_json(self.folder_of(record.number) / RECORD, asdict(record))


def read_record(folder: Path) -> RoundRecord | None:
    """Read the record in a round's folder; None where it is missing or damaged."""
    try:
        values = json.loads((folder / RECORD).read_bytes())
        record = RoundRecord(
            **{one.name: values[one.name] for one in fields(RoundRecord) if one.name in values}
        )
        sound = record.number == int(folder.name) and record.status in get_args(RoundStatus)
        return (
            replace(record, stages=tuple(record.stages), labelled=tuple(record.labelled)) if sound else None
        )
    except (OSError, ValueError, TypeError):
        return None


def append_point(folder: Path, point: Mapping[str, Any]) -> None:
    """Add one point (step, losses, …) to the curves of a round."""
    append_line(folder / CURVES, json.dumps(point), durable=False)


def keep_points(folder: Path, count: int) -> None:
    """Cut the curves of a round down to their first points: steps that will be made again.

    Raises
    ------
    SemiGDAError
        When they cannot be written.
    """
    points = read_curves(folder)[:count]
    write_bytes(folder / CURVES, "".join(f"{json.dumps(point)}\n" for point in points).encode())


def read_curves(folder: Path) -> list[dict[str, Any]]:
    """Read the curves of a round; a torn line is passed over."""
    try:
        lines = (folder / CURVES).read_bytes().splitlines()
    except OSError:
        return []
    points = []
    for line in lines:
        try:
            point = json.loads(line)
        except ValueError:
            continue
        if isinstance(point, dict):
            points.append(point)
    return points
