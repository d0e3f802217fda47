"""The way out of a session: which files an export will write, what is in their way, and writing them."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.pictures import MANIFEST_NAME
from napari_semigda.pace import Progress
from napari_semigda.session.exporting.formats import Format, Output, PlainTiff
from napari_semigda.session.exporting.record import RECORD_NAME, ExportRecord
from napari_semigda.session.exporting.source import NO_MODEL, NotExported, Source, legend_of
from napari_semigda.session.items import Item, ItemState, identity, real_place
from napari_semigda.session.layout import (
    HOLDER,
    IMAGES,
    JOURNAL,
    LOCK,
    OWN_FOLDERS,
    PREDICTIONS,
    SKIPPED,
    VIEW,
)
from napari_semigda.session.session import Session
from napari_semigda.session.transaction import TRANSACTION

_VERSION = 1  # of the files' content; a higher one makes earlier exports out of date


class Existing(Enum):
    """What to do about files that are there already."""

    REFUSE = "refuse"
    """Report them, and write nothing."""
    OVERWRITE = "overwrite"
    """Replace them."""
    UPDATE = "update"
    """Keep what an earlier export made of the same masks, replace what it made of others; report the rest."""


@dataclass(frozen=True)
class ExportReport:
    """What an export did.

    Parameters
    ----------
    written
        The files, in the order of the items.
    left_out
        Items without a file, and why.
    kept
        Files of an earlier export that are up to date.
    """

    written: list[Path]
    left_out: list[tuple[Item, str]]
    kept: list[Path] = field(default_factory=list)


def export_masks(
    session: Session,
    folder: Path | str,
    format: Format | None = None,
    *,
    include_predicted: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ExportReport:
    """Write the masks of a session, by default as TIFF: `<image>_mask.tif`, in the sub-folders of the images.

    Parameters
    ----------
    session
        Whose masks.
    folder
        Where to; made if it is not there.
    format
        One of `napari_semigda.session.exporting.formats`; None is `PlainTiff`.
    include_predicted
        Write the drafts of images that are not accepted, too, and fill with them what nobody looked at in
        accepted masks.
    overwrite
        Replace files that are there already; without, they are reported and nothing is written.
    progress, cancelled
        Told and asked after each item.

    Raises
    ------
    SemiGDAError, Cancelled
        See `Export`.
    """
    export = Export(session, folder, format, include_predicted=include_predicted)
    existing = Existing.OVERWRITE if overwrite else Existing.REFUSE
    return export.run(existing, progress=progress, cancelled=cancelled)


class Export:
    """An export that is planned, and can then be run.

    Values in label maps are those of the label files: 0 background, 1 … K-1 classes, 255 where nobody
    looked. The pixel size of the image is kept. Each file appears whole or not at all.

    Parameters
    ----------
    session, folder, format, include_predicted
        As for `export_masks`.

    Raises
    ------
    SemiGDAError
        When the folder is part of the session, an image would be overwritten, or the format does not fit.
    """

    def __init__(
        self,
        session: Session,
        folder: Path | str,
        format: Format | None = None,
        *,
        include_predicted: bool = False,
    ) -> None:
        self._session = session
        self._folder = Path(folder)
        self._format = format or PlainTiff()
        self._include_predicted = include_predicted
        _refuse_own_folders(session, self._folder)
        reasons = [(item, self._reason_against(item)) for item in session.items]
        self._left_out = [(item, reason) for item, reason in reasons if reason]
        items = [item for item, reason in reasons if not reason]
        if self._format.predicts and items and session.last_model() is None:
            raise SemiGDAError(NO_MODEL)
        self._outputs = self._format.outputs(session, items) if items else []
        self._guard = _Guard(session.folder, (session.picture_path(item) for item in session.items))
        self._refuse_precious()

    def existing(self) -> list[Path]:
        """Return the files that are there already, in the way of this export."""
        targets = (self._target(output) for output in self._outputs)
        return [target for target in targets if target.exists() or target.is_symlink()]

    def run(
        self,
        existing: Existing = Existing.REFUSE,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
        device: str = "auto",
        weights: Path | None = None,
    ) -> ExportReport:
        """Write the files.

        Parameters
        ----------
        existing
            What to do about files that are there already.
        progress, cancelled
            Told and asked after each item.
        device, weights
            For predicting; see `Source`.

        Raises
        ------
        SemiGDAError
            When files are in the way, or a file cannot be written.
        Cancelled
            When the person cancelled; files written so far stay, each of them whole.
        """
        record = ExportRecord(self._folder)
        self._refuse_conflicts(record, existing)
        source = Source(
            self._session,
            include_predicted=self._include_predicted,
            progress=progress,
            cancelled=cancelled,
            device=device,
            weights=weights,
        )
        source.total = sum(len(output.items) for output in self._outputs)
        report = ExportReport([], source.left_out)
        source.left_out += self._left_out
        for output in self._outputs:
            source.check()
            made_of = self._made_of(output)
            if existing is Existing.UPDATE and record.is_current(output.name, made_of):
                report.kept.append(self._target(output))
                source.step(len(output.items))
            elif self._write(output, source):
                report.written.append(self._target(output))
                record.note(output.name, made_of)
        return report

    def _write(self, output: Output, source: Source) -> bool:
        target = self._target(output)
        _make_parent(target, self._folder)
        self._guard.check(target)  # again: a link may have come in between
        try:
            output.write(target, source)
        except NotExported as error:
            source.leave_out(output.items[0], str(error))
            source.step()
            return False
        return True

    def _target(self, output: Output) -> Path:
        return self._folder / output.name

    def _reason_against(self, item: Item) -> str:
        """Say why an item will have no file; empty if it will."""
        state = self._session.state(item)
        if state is ItemState.SKIPPED:
            return "skipped"
        if self._format.predicts or state is ItemState.ACCEPTED:
            return ""
        if not self._include_predicted:
            return "not accepted yet"
        return "" if self._session.prediction_info(item) is not None else "neither accepted nor predicted yet"

    def _made_of(self, output: Output) -> str:
        """Return what changes whenever the content of a file would."""
        session = self._session
        masks = [] if self._format.predicts else output.items
        files = [
            *(session.folder / PREDICTIONS / f"{item.id}.tif" for item in masks),
            *(session.picture_path(item) for item in output.items if self._format.reads_pictures),
            *([session.last_model()] if self._format.predicts else []),
        ]
        content = [
            _VERSION,
            repr(self._format),
            self._include_predicted,
            asdict(legend_of(session)),
            session.settings.to_dict() if self._format.reads_pictures else None,
            [(item.id, item.name, item.path, item.pixel_size, item.unit) for item in output.items],
            [session.label_stamp(item)[0] for item in masks],
            [_stamp(file) for file in files],
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def _refuse_precious(self) -> None:
        """Make sure that no file is written where the session has its own, and no picture is overwritten.

        What counts is where a target really is, however its name is written and whatever links lead there.
        """
        for target in (*map(self._target, self._outputs), self._folder / RECORD_NAME):
            self._guard.check(target)

    def _refuse_conflicts(self, record: ExportRecord, existing: Existing) -> None:
        if existing is Existing.OVERWRITE:
            return
        there = self.existing()
        if existing is Existing.UPDATE:
            there = [one for one in there if not record.is_ours(one.relative_to(self._folder).as_posix())]
        if there:
            raise SemiGDAError(
                f"{len(there)} of {len(self._outputs)} files exist already, and nothing was written: "
                f"{_listed(there)}. Choose another folder, or allow overwriting."
            )


def _stamp(file: Path | None) -> list[int]:
    """Return what changes when a file does; nothing where there is none."""
    try:
        found = file.stat() if file is not None else None
    except OSError:
        found = None
    return [] if found is None else [found.st_size, found.st_mtime_ns]


class _Guard:
    """The files that an export must never write: those of a session, its own or another, and its pictures.

    Parameters
    ----------
    session
        Its folder.
    pictures
        Files, or folders of OME-Zarr.
    """

    def __init__(self, session: Path, pictures: Iterable[Path]) -> None:
        self._session = _folded(session)
        pictures = list(dict.fromkeys(pictures))
        self._pictures = {_folded(path) for path in pictures}
        self._same = {number for path in pictures if (number := _number(path)) is not None}

    def check(self, target: Path) -> None:
        """Make sure that a file may be written.

        Raises
        ------
        SemiGDAError
            When it may not.
        """
        if reason := self.reason_against(target):
            raise SemiGDAError(f"“{target}” {reason}. Choose another folder to export to.")

    def reason_against(self, target: Path) -> str:
        """Say why a file must not be written; empty if it may be."""
        place = _folded(target)
        if place[: len(self._session)] == self._session:
            own = place[len(self._session) :]
            if reason := _against_own(own):
                return f"{reason} of the session itself"
        if any(place[:length] in self._pictures for length in range(1, len(place) + 1)):
            return "is an image of this session"
        if _number(target) in self._same:
            return "is an image of this session under another name"
        return _reason_of_sessions(target)


def refuse_files_of_sessions(target: Path) -> None:
    """Make sure that a file to write is none that a session keeps: a mask there would count as accepted.

    Raises
    ------
    SemiGDAError
        When it is one.
    """
    if reason := _reason_of_sessions(target):
        raise SemiGDAError(f"“{target}” {reason}. Choose another place to write to.")


def _reason_of_sessions(target: Path) -> str:
    place = real_place(target)
    for folder in place.parents:
        if not os.path.lexists(folder / MANIFEST_NAME):
            continue
        own = tuple(identity(part) for part in place.relative_to(folder).parts)
        if reason := _against_own(own):
            return f"{reason} of the session “{folder}”"
    return ""


def _against_own(own: tuple[str, ...]) -> str:
    """Say what a place below a session's folder is, if nothing else may be written there; else nothing."""
    if len(own) < 2 and not _is_harmless(own):
        return "is a file"
    return "is part" if own and own[0] in _OWN else ""


_OWN = frozenset((*OWN_FOLDERS, IMAGES))
"""Folders below a session in which nothing else is written."""


def _is_harmless(own: tuple[str, ...]) -> bool:
    """Whether a file right in a session's folder is none of the session's, and could not become one."""
    if not own:
        return False
    name = own[0]
    ours = {MANIFEST_NAME, JOURNAL, SKIPPED, VIEW, LOCK, HOLDER, TRANSACTION}
    return name not in ours and name not in _OWN and not name.startswith("semigda.")


def _folded(path: Path) -> tuple[str, ...]:
    """Return the parts of where a path really is, as file systems compare them that know no case."""
    place = real_place(path)
    return tuple(identity(part) for part in place.parts)


def _number(path: Path) -> tuple[int, int] | None:
    """Return what the names of one file (hard links) have in common; None where there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_ino else None


def _refuse_own_folders(session: Session, folder: Path) -> None:
    reason = _Guard(session.folder, ()).reason_against(folder / "any")
    if reason:
        raise SemiGDAError(f"“{folder}” {reason}. Choose another folder to export to.")
    if folder.exists() and not folder.is_dir():
        raise SemiGDAError(f"“{folder}” is a file. Choose a folder to export to.")


def _listed(paths: Iterable[Path]) -> str:
    names = [path.name for path in paths]
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _make_parent(target: Path, folder: Path) -> None:
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise SemiGDAError(
            f"“{target.parent}” is a link that leads out of “{folder}”; nothing is written there."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SemiGDAError(
            f"The folder “{target.parent}” cannot be made: {error.strerror or error}."
        ) from error
