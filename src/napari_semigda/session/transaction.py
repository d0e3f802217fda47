"""Changing many files of a session as one: all of them or none, wherever the program or the disk stops.

The new files are written beside those that they replace (`<id>.pending-<token>.tif`) and flushed to the disk.
Then one record, `transaction.json`, names them: with it the change is made. What follows needs no disk space
and can be repeated: the files are renamed, the journal gets its lines, the record is removed. Whoever opens
the session to write finishes what is recorded, and removes new files that no record names; whoever only reads
uses the recorded new files instead of those that they replace.
"""

import hashlib
import os
import re
import secrets
import threading
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import cannot_read, cannot_write, flush_file, flush_folder, put, write_json
from napari_semigda.io.files import MOST_BYTES, MOST_OF_LINES, check_own, read_json, read_own
from napari_semigda.io.pictures import MANIFEST_NAME
from napari_semigda.session.items import is_safe_id
from napari_semigda.session.journal import JournalEntry, append_missing, entry_of
from napari_semigda.session.layout import EDITS, JOURNAL, LABELS

TRANSACTION = "transaction.json"
_VERSION = 1
_PENDING = re.compile(r"(?P<stem>[^./\\]+)\.pending-[0-9a-f]{8}(?P<ending>\.tif|\.json)")
_KEPT = re.compile(r"(?P<stem>[^./\\]+)\.replaced-[1-9][0-9]{0,8}(?P<ending>\.tif)")
_TARGET = re.compile(r"(?P<stem>[^./\\]+)(?P<ending>\.tif|\.json)")


class Step(BaseModel):
    """One file of a transaction; names are relative to the session's folder, posix.

    The file `new` replaces `target`, which is kept by the name `kept`, if there is one. `before` and `after`
    are digests of the content of `target`.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", populate_by_name=True)

    new: str
    target: str = Field(validation_alias="place", serialization_alias="place")
    before: str
    after: str
    kept: str | None = None


@dataclass(frozen=True)
class _Record:
    what: str
    steps: tuple[Step, ...]
    entries: tuple[JournalEntry, ...]


def pending_name(target: Path) -> Path:
    """Return a name for a new file, beside the one that it will replace."""
    return target.with_name(f"{target.stem}.pending-{secrets.token_hex(4)}{target.suffix}")


def digest(path: Path) -> str:
    """Return a digest of a file's content; empty where there is no regular file."""
    try:
        check_own(path)
        return hashlib.sha256(read_own(path)).hexdigest()
    except (SemiGDAError, FileNotFoundError):
        return ""
    except OSError as error:
        raise cannot_read(path, error) from error


def current_manifest(folder: Path) -> Path:
    """Return the file that holds the manifest of a session now, for reading."""
    record = _read_record(folder)
    for step in () if record is None else record.steps:
        if step.target == MANIFEST_NAME and (folder / step.new).exists():
            return folder / step.new
    return folder / MANIFEST_NAME


class Transactions:
    """The transactions of an opened session, one at a time.

    `warn` is called with what went wrong without stopping anything, and what opening had to finish.
    """

    def __init__(self, folder: Path, lock: threading.RLock, warn: Callable[[str], None]) -> None:
        self.folder = folder
        self._path = folder / TRANSACTION
        self._lock = lock
        self._warn = warn
        self._writes = False
        self._record: _Record | None = None
        self._renamed = False  # whether all files of the record are renamed
        self._withdrawn = False  # whether a record that does not count still has to be removed
        self._stamp: tuple[int, int, int] | None = None

    # Reading

    def current(self, target: Path) -> Path:
        """Return the file to read instead of this one: the recorded new one, if there is one."""
        for step in self._steps_to_come():
            if self.folder / step.target == target and (new := self.folder / step.new).exists():
                return new
        return target

    def stems(self, folder: Path) -> dict[str, str]:
        """Return the stems of the recorded files of a folder, by their NFC."""
        targets = [self.folder / step.target for step in self._steps_to_come()]
        stems = [target.stem for target in targets if target.parent == folder]
        return {unicodedata.normalize("NFC", stem): stem for stem in stems}

    def _steps_to_come(self) -> Sequence[Step]:
        with self._lock:
            if not self._writes:
                self._look()
            return () if self._record is None or self._renamed else self._record.steps

    def _look(self) -> None:
        """Read the record of the program that writes, if it changed."""
        try:
            found = os.lstat(self._path)
            stamp = found.st_ino, found.st_mtime_ns, found.st_size
        except OSError:
            self._record = self._stamp = None
            return
        if stamp != self._stamp:
            self._record, self._stamp = None, stamp
            with suppress(SemiGDAError):
                self._record = _read_record(self.folder)

    # Writing

    def recover(self) -> None:
        """Finish what a killed program left, or undo what it had not recorded; from now on this one writes.

        Raises a `SemiGDAError` when the record is damaged, or comes from a newer version.
        """
        self._writes = True
        record = _read_record(self.folder)
        if record is not None and not _is_whole(self.folder, record):
            with suppress(OSError):
                self._remove_record()
            record = None
        self._record = record
        if record is not None:
            try:
                self.finish()
            except SemiGDAError as error:
                self._warn(str(error))
            else:
                self._warn(f"{record.what}: the program had ended before this was complete; now it is.")
        if _remove_pending(self.folder, () if self._record is None else self._record.steps):
            self._warn(
                "The program had ended, or the disk was full, before a change to several masks took effect: "
                "all masks are as they were before."
            )

    def commit(
        self, what: str, steps: Sequence[tuple[Path, Path, Path | None]], entries: Iterable[JournalEntry]
    ) -> None:
        """Replace files by new ones, all of them or none, and add entries to the journal.

        `what` names the change for a warning after a crash, as in "Removing the class “cell” from 3 masks". A
        step is a new file, the one that it replaces, and another name to keep that one by; a manifest first.
        """
        with self._lock:
            self.finish()
            if self._record is not None:
                raise SemiGDAError(
                    f"“{self.folder / JOURNAL}” could not be written. Free disk space, then try again."
                )
            try:
                record = _Record(what, tuple(self._step(*step) for step in steps), tuple(entries))
                for new, _, _ in steps:
                    flush_file(new)
                for folder in {new.parent for new, _, _ in steps}:
                    flush_folder(folder)
            except OSError as error:
                raise cannot_write(self._path, error) from error
            try:
                on_disk = {
                    "version": _VERSION,
                    "what": what,
                    "steps": [step.model_dump(by_alias=True) for step in record.steps],
                    "entries": [asdict(entry) for entry in record.entries],
                }
                write_json(self._path, on_disk)
            except BaseException:
                self._withdraw()
                raise
            self._record, self._renamed = record, False
            try:
                self.finish()
            except SemiGDAError as error:  # it is recorded: from here on it can only be completed
                self._warn(str(error))

    def finish(self) -> None:
        """Complete what is recorded, where the disk had failed.

        Raises a `SemiGDAError` when files still cannot be renamed; then nothing else may be written, either.
        """
        with self._lock:
            if self._withdrawn:
                self._withdraw()
            if self._withdrawn:
                raise SemiGDAError(f"“{self._path}” could not be removed. Check the disk, then try again.")
            if self._record is None:
                return
            if not self._renamed:
                try:
                    self._rename(self._record)
                except (OSError, SemiGDAError) as error:
                    raise SemiGDAError(
                        f"{self._record.what}: this is not complete yet, because the disk failed. "
                        f"Nothing else can be saved until it is: check the disk. ({error})"
                    ) from error
                self._renamed = True
            try:
                self._write_journal(self._record.entries)
                self._remove_record()
            except OSError as error:
                self._warn(str(cannot_write(self._path, error)))
            except SemiGDAError as error:
                self._warn(str(error))
            else:
                self._record = None

    def _step(self, new: Path, target: Path, kept: Path | None) -> Step:
        def named(path: Path) -> str:
            return path.relative_to(self.folder).as_posix()

        return Step(
            new=named(new),
            target=named(target),
            before=digest(target),
            after=digest(new),
            kept=None if kept is None else named(kept),
        )

    def _rename(self, record: _Record) -> None:
        for step in record.steps:
            new, target = self.folder / step.new, self.folder / step.target
            if not new.exists():
                continue
            if target.exists() and digest(target) != step.before:
                self._warn(f"“{target}” was changed by another program, and was left as it is.")
                if _PENDING.fullmatch(new.name):
                    new.unlink()
                continue
            put(new, target, None if step.kept is None else self.folder / step.kept)
        for folder in {(self.folder / step.target).parent for step in record.steps}:
            flush_folder(folder)

    def _write_journal(self, entries: Iterable[JournalEntry]) -> None:
        journal = self.folder / JOURNAL
        try:
            check_own(journal, self.folder, most=MOST_OF_LINES)
        except SemiGDAError as error:  # a link or a pipe: trying again later will not help
            self._warn(str(error))
            return
        append_missing(journal, entries)

    def _withdraw(self) -> None:
        """Remove a record that could not be flushed, so that it does not count later."""
        try:
            if self._withdrawn or os.path.lexists(self._path):
                self._remove_record()
            self._withdrawn = False
        except OSError:
            self._withdrawn = True

    @property
    def unfinished(self) -> bool:
        """Whether there is a record whose new files must stay."""
        return self._withdrawn or (self._record is not None and not self._renamed)

    def _remove_record(self) -> None:
        self._path.unlink(missing_ok=True)
        flush_folder(self.folder)


def _is_whole(folder: Path, record: _Record) -> bool:
    """Whether a record can be carried out, or has been: each new file is there, or was renamed."""
    in_place = [digest(folder / step.target) == step.after for step in record.steps]
    waiting = [(folder / step.new).exists() for step in record.steps]
    if any(in_place):
        return True
    manifest = next((step for step in record.steps if step.target == MANIFEST_NAME), None)
    if manifest is not None and digest(folder / MANIFEST_NAME) != manifest.before:
        return False  # somebody wrote another one since
    return all(waiting)


def _remove_pending(folder: Path, recorded: Iterable[Step]) -> int:
    """Remove new files that no record names, and count those of masks."""
    named = {step.new for step in recorded}
    count = 0
    for within in ("", LABELS, EDITS):
        with suppress(OSError):
            for entry in os.scandir(folder / within):
                found = _PENDING.fullmatch(entry.name)
                if found is not None and f"{within}/{entry.name}".lstrip("/") not in named:
                    os.unlink(entry.path)
                    count += bool(within)
    return count


def _read_record(folder: Path) -> _Record | None:
    """Read the record of a session, which may come from a stranger.

    Raises a `SemiGDAError` when it is damaged, names other files, or comes from a newer version.
    """
    path = folder / TRANSACTION
    try:
        values = read_json(path, folder, most=MOST_BYTES)
        if (
            isinstance(values, dict)
            and isinstance(values.get("version"), int)
            and values["version"] > _VERSION
        ):
            raise SemiGDAError(
                f"“{folder}” was left in the middle of a change by a newer version of napari-semigda. "
                "Open it with that version; until then you can view everything here, but cannot save."
            )
        steps = tuple(_checked_step(folder, one) for one in values["steps"])
        entries = tuple(entry for one in values["entries"] if (entry := entry_of(one)) is not None)
        what = values["what"]
        if not isinstance(what, str) or not what.isprintable() or len(what) > 500:
            raise ValueError("it does not name a change")
        return _Record(what, steps, entries)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot_read(path, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SemiGDAError(
            f"“{path}” is damaged: it should name the files of a change that was not finished. Restore a "
            "copy of the session, or remove this file and review the accepted masks. Until then you can view "
            "everything here, but cannot save."
        ) from error


def _checked_step(folder: Path, values: Any) -> Step:
    """Return a step if it could be one of ours: it names a mask or the manifest, and files beside it."""
    step = Step.model_validate(values)
    within, _, name = step.target.rpartition("/")
    stems = {_stem(_TARGET, name), _stem(_PENDING, step.new, within) or _stem(_KEPT, step.new, within)}
    if step.kept is not None:
        stems.add(_stem(_KEPT, step.kept, within))
    stem = stems.pop()
    sound = is_safe_id(stem) if within in (LABELS, EDITS) else step.target == MANIFEST_NAME
    if stems or not sound or Path(name).suffix != Path(step.new).suffix:
        raise ValueError("it names other files")
    for file in (step.new, step.target, step.kept):
        if file is not None:
            check_own(folder / file, folder)
    return step


def _stem(kind: re.Pattern[str], path: str, within: str | None = None) -> str:
    folder, _, name = path.rpartition("/")
    found = kind.fullmatch(name)
    if found is None or (within is not None and folder != within):
        return ""
    return unicodedata.normalize("NFC", found["stem"])
