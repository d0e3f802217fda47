"""The rounds of a session, a folder each: weights, the state to resume from, curves, and a record."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import append_line, flush_folder, write_bytes, write_json
from napari_semigda.io.files import check_own, is_own_file, json_or_none, opened_tensors, read_json_lines
from napari_semigda.model.checkpoint import needs_encoder
from napari_semigda.session.folder import SessionFolder
from napari_semigda.session.items import Item
from napari_semigda.session.journal import Fraction, now
from napari_semigda.session.layout import CURVES, MOST_ROUNDS, RECORD, ROUNDS, make_folder, round_numbers
from napari_semigda.session.layout import MODEL as MODEL
from napari_semigda.session.layout import STATE as STATE
from napari_semigda.session.live import LiveSequence
from napari_semigda.training.recipe import Budget, Recipe, from_disk, to_disk

RoundStatus = Literal["running", "stopped", "complete", "failed"]

COMPLETE_KEPT = 2  # complete rounds whose weights are kept; those of fifty would fill the disk
_MOST = 10**12
_ENDED_WITH_PROGRAM = "The program ended while this round was running."

_Count = Annotated[int, Field(strict=True, ge=0, le=_MOST)]
_Number = Annotated[int, Field(strict=True, ge=0, le=MOST_ROUNDS)]
_Seconds = Annotated[float, Field(strict=True, ge=0, le=_MOST)]
_Seed = Annotated[int, Field(strict=True, gt=-(2**64), lt=2**64)]
_Stages = Annotated[tuple[Literal[1, 2], ...], Field(min_length=1, max_length=2)]


@dataclass(frozen=True)
class Validation:
    """Mean Dice, in [0, 1], of a round's drafts on the images kept for validation, and their number."""

    dice: float
    images: int


@dataclass(frozen=True)
class RoundRecord:
    """What is known of one round; a round that was ``"stopped"`` early can be resumed."""

    number: _Number  # from 1 on; the folder is `rounds/NNN`
    status: RoundStatus
    stages: _Stages  # that it trains, (1, 2) or (2,)
    recipe: dict[str, Any]  # as `Recipe.to_dict` returns it
    budget: dict[str, Any]  # as `Budget.to_dict` returns it
    seed: _Seed
    warm: Annotated[bool, Field(strict=True)]  # whether it started from earlier weights
    started_from: str  # which these were, such as "round 2"; else empty
    labeled: tuple[str, ...]  # ids of items accepted when it began, then of those accepted while it ran
    unlabeled: _Count  # number of other images that took part
    steps: _Count = 0
    seconds: _Seconds = 0.0
    message: str = ""  # why it failed, or another word to the annotator
    started: str = ""  # in UTC, ISO 8601, as the next
    ended: str | None = None  # None while it runs
    validation_dice: Fraction | None = None  # see `Validation`; None without images kept for validation
    validation_images: _Count = 0


_RECORD = TypeAdapter(RoundRecord)


class RoundStore(LiveSequence[RoundRecord]):
    """The rounds of a session: a sequence of their records, oldest first, as they are on the disk now.

    Unreadable records are left out. A round that was running when its program ended counts as stopped if it
    left a state to resume from, and as failed if not. What cannot be written raises a `SemiGDAError`.
    """

    def __init__(
        self,
        folder: SessionFolder,
        for_training: Callable[[], tuple[Sequence[Item], Sequence[Item]]],
        starts_trained: Callable[[], bool],
    ) -> None:
        self._folder, self._path = folder, folder.path / ROUNDS
        self._for_training, self._starts_trained = for_training, starts_trained
        self._running_here: set[int] = set()
        self._whole: dict[Path, tuple[int, int]] = {}

    def _now(self) -> tuple[RoundRecord, ...]:
        with self._folder.lock:
            records = (read_record(self.folder(number)) for number in round_numbers(self._path))
            return tuple(self._as_it_is(record) for record in records if record is not None)

    def folder(self, number: int) -> Path:
        """Return the folder of one round."""
        return self._path / f"{number:03d}"

    def begin(
        self, recipe: Recipe, budget: Budget, seed: int, warm: bool, *, started_from: str = ""
    ) -> RoundRecord:
        """Create the folder and the record of the next round, with the items accepted now."""
        self._folder.check_writable()
        with self._folder.lock:
            labeled, unlabeled = self._for_training()
            number = max(round_numbers(self._path), default=0) + 1
            record = RoundRecord(
                number=number,
                status="running",
                stages=(2,) if warm or self._starts_trained() else (1, 2),
                recipe=recipe.to_dict(),
                budget=budget.to_dict(),
                seed=seed,
                warm=warm,
                started_from=started_from,
                labeled=tuple(item.id for item in labeled),
                unlabeled=len(unlabeled),
                started=now(),
            )
            make_folder(self._path)
            try:
                self.folder(number).mkdir()
                flush_folder(self._path)
            except OSError as error:
                raise SemiGDAError(
                    f"The folder “{self.folder(number)}” for the next round could not be created: "
                    f"{error.strerror or error}."
                ) from error
            self._write(record)
            self._running_here.add(number)
            return record

    def resume(self, number: int) -> RoundRecord:
        """Resume a stopped round that left a state."""
        self._folder.check_writable()
        with self._folder.lock:
            record = next((one for one in self if one.number == number), None)
            if record is None:
                raise SemiGDAError(f"There is no round {number} to resume.")
            if record.status != "stopped" or not self._has_state(number):
                raise SemiGDAError(
                    f"Round {number} cannot be resumed: it is {record.status}. Start a new one."
                )
            resumed = self._write(replace(record, status="running", message="", ended=None))
            self._running_here.add(number)
            return resumed

    def extend(self, record: RoundRecord, items: Sequence[Item]) -> RoundRecord:
        """Record that a running round learns from more items."""
        self._folder.check_writable()
        with self._folder.lock:
            return self._write(replace(record, labeled=(*record.labeled, *(item.id for item in items))))

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
        """Record how a round ended."""
        self._folder.check_writable()
        ended = replace(
            record, status=status, steps=steps, seconds=round(seconds, 3), message=message, ended=now()
        )
        if validation is not None:
            ended = replace(
                ended, validation_dice=round(validation.dice, 6), validation_images=validation.images
            )
        with self._folder.lock:
            self._running_here.discard(record.number)
            self._write(ended)
            self._remove_old_weights()
            return ended

    def leave(self, number: int) -> None:
        """Count a round as no longer running, where its end could not be recorded."""
        with self._folder.lock:
            self._running_here.discard(number)

    def last_model(self) -> Path | None:
        """Return the newest weights whose file is whole and that this version can use, if any.

        A round that failed after being resumed does not make the weights worse that it wrote when it was
        stopped.
        """
        with self._folder.lock:
            return newest_model(self._folder.path, self._whole)

    def _remove_old_weights(self) -> None:
        """Remove the weights and states of old rounds that nothing goes back to.

        Weights stay of the newest round that has any, which are in use, and of the last two complete ones.
        The state stays of the newest round, if it was stopped. All records and curves stay.
        """
        records = [record for record in self if record.status != "running"]
        models = ((one, self.folder(one.number) / MODEL) for one in reversed(records))
        whole = [one for one, path in models if _is_whole(path, self._folder.path, self._whole)]
        complete = [one for one in whole if one.status == "complete"]
        kept = {one.number for one in (*whole[:1], *complete[:COMPLETE_KEPT])}
        resumable = max(round_numbers(self._path), default=0)
        for record in records:
            folder = self.folder(record.number)
            with suppress(OSError):  # room that cannot be freed today will be another time
                if kept and record.number < max(kept) and record.number not in kept:
                    (folder / MODEL).unlink(missing_ok=True)
                if record.number != resumable or record.status != "stopped":
                    (folder / STATE).unlink(missing_ok=True)

    def _as_it_is(self, record: RoundRecord) -> RoundRecord:
        if record.status != "running" or record.number in self._running_here:
            return record
        resumable = self._has_state(record.number)
        return replace(record, status="stopped" if resumable else "failed", message=_ENDED_WITH_PROGRAM)

    def _has_state(self, number: int) -> bool:
        return is_own_file(self.folder(number) / STATE, self._folder.path)

    def _write(self, record: RoundRecord) -> RoundRecord:
        write_json(self.folder(record.number) / RECORD, to_disk(asdict(record)))
        return record


def newest_model(session: Path, whole: dict[Path, tuple[int, int]] | None = None) -> Path | None:
    """Return the newest whole and usable weights in a session's folder, if any.

    `whole` remembers files that were whole, so that they are not opened again until they change.
    """
    rounds = session / ROUNDS
    paths = (rounds / f"{number:03d}" / MODEL for number in reversed(round_numbers(rounds)))
    return next((path for path in paths if _is_whole(path, session, {} if whole is None else whole)), None)


def _is_whole(path: Path, session: Path, whole: dict[Path, tuple[int, int]]) -> bool:
    """Return whether a file of weights can be read and used."""
    try:
        check_own(path, session)
        stamp = (path.stat().st_mtime_ns, path.stat().st_size)
        if whole.get(path) != stamp:
            with opened_tensors(path, "numpy") as tensors:
                if not tensors.keys() or needs_encoder(tensors.metadata()):
                    return False
    except (OSError, SafetensorError, SemiGDAError):
        return False
    whole[path] = stamp
    return True


def read_record(folder: Path) -> RoundRecord | None:
    """Read the record in a round's folder; None where it is missing or damaged."""
    values = json_or_none(folder / RECORD, folder.parents[1])
    try:
        record = _RECORD.validate_python(from_disk(values) if isinstance(values, dict) else values)
    except ValidationError:
        return None
    return record if f"{record.number:03d}" == folder.name else None


def append_point(folder: Path, point: Mapping[str, Any]) -> None:
    """Add one point (step, losses, …) to the curves of a round."""
    append_line(folder / CURVES, json.dumps(to_disk(point)), durable=False, within=folder.parents[1])


def keep_points(folder: Path, count: int) -> None:
    """Keep the first points of a round's curves; the steps behind them will be repeated."""
    points = read_curves(folder)[:count]
    write_bytes(folder / CURVES, "".join(f"{json.dumps(to_disk(point))}\n" for point in points).encode())


def read_curves(folder: Path) -> list[dict[str, Any]]:
    """Read the curves of a round; a torn line is skipped."""
    try:
        lines = list(read_json_lines(folder / CURVES, folder.parents[1]))
    except (OSError, SemiGDAError):
        return []
    return [from_disk(point) for point in lines if isinstance(point, dict)]
