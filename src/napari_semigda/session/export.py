"""Exporting a session: which files will be written, what is in their way, and writing them.

Only this module knows the session: `source_of` hands its masks and images to the formats.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.predictor import Predictor
from napari_semigda.io.atomic import append_line, cannot_read
from napari_semigda.io.files import read_json_lines
from napari_semigda.io.masks import Legend, LegendEntry
from napari_semigda.pace import Cancel, Progress, check
from napari_semigda.session.exporting.formats import Format, Output, PlainTiff
from napari_semigda.session.exporting.guard import Guard
from napari_semigda.session.exporting.guard import refuse_files_of_sessions as refuse_files_of_sessions
from napari_semigda.session.exporting.source import NotExported, Source
from napari_semigda.session.items import Item, ItemState
from napari_semigda.session.layout import PREDICTIONS
from napari_semigda.session.mask_names import listed
from napari_semigda.session.settings import SessionSettings
from napari_semigda.session.trained_model import TrainedModel

_VERSION = 1  # of the files' content; a higher one makes earlier exports out of date
RECORD_NAME = ".semigda_export.jsonl"
_NO_MODEL = "Probabilities need a trained network: train a round first."


class Existing(Enum):
    """What to do about files that already exist."""

    REFUSE = "refuse"  # report them, and write nothing
    OVERWRITE = "overwrite"
    UPDATE = "update"  # keep what an earlier export made of the same masks, replace what it made of others


@dataclass(frozen=True)
class ExportReport:
    """What an export did: the files written, and those of an earlier export that are up to date (`kept`).

    `not_due` are items that were not to be exported, because they were skipped or not accepted, say; `failed`
    those whose mask or image could not be read.
    """

    written: list[Path]
    not_due: list[tuple[Item, str]]
    failed: list[tuple[Item, str]]
    kept: list[Path] = field(default_factory=list)

    @property
    def left_out(self) -> list[tuple[Item, str]]:
        """All items without a file, and why."""
        return [*self.not_due, *self.failed]


def export_masks(
    session: SessionSettings,
    folder: Path | str,
    format: Format | None = None,
    *,
    include_predicted: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> ExportReport:
    """Write the masks of a session, by default as TIFF: `<image>_mask.tif`, in the sub-folders of the images.

    Parameters
    ----------
    session
        Whose masks.
    folder
        Where to; created if needed.
    format
        One of `napari_semigda.session.exporting.formats`; None is `PlainTiff`.
    include_predicted
        Write the drafts of images that are not accepted, too, and fill the unlabeled pixels of accepted masks
        with them.
    overwrite
        Replace files that already exist; without, they are reported and nothing is written.
    progress, cancelled
        Called after and before each item.

    Raises
    ------
    SemiGDAError
        When the folder is part of the session, an image or a file would be overwritten, the format does not
        fit, or a file cannot be written.
    Cancelled
        When the person canceled; files written so far stay, each of them whole.
    """
    export = Export(session, folder, format, include_predicted=include_predicted)
    existing = Existing.OVERWRITE if overwrite else Existing.REFUSE
    return export.run(existing, progress=progress, cancelled=cancelled)


class _Line(BaseModel):
    """A file that was written: what it was made of, and its size and time then."""

    model_config = ConfigDict(strict=True)
    name: str
    made_of: str
    file: list[Any]


class _Record:
    """What earlier exports wrote: a line for each file in a folder; the last line of a file counts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / RECORD_NAME
        self._lines = _read_record(self._path)

    def is_ours(self, name: str) -> bool:
        """Whether the file is as an earlier export left it."""
        known = self._lines.get(name)
        return known is not None and known.file == _stamp(self._folder / name)

    def is_current(self, name: str, made_of: str) -> bool:
        """Whether the file is as an earlier export left it, made of the same."""
        return self.is_ours(name) and self._lines[name].made_of == made_of

    def note(self, name: str, made_of: str) -> None:
        """Record that the file was just written."""
        line = _Line(name=name, made_of=made_of, file=_stamp(self._folder / name))
        self._lines[name] = line
        append_line(self._path, json.dumps(line.model_dump()), durable=False)


def _stamp(path: Path, *, follow: bool = False) -> list[int]:
    """Return what changes when a file does; nothing where there is none."""
    try:
        found = path.stat(follow_symlinks=follow)
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _read_record(path: Path) -> dict[str, _Line]:
    found = {}
    try:
        for values in read_json_lines(path):
            try:
                line = _Line.model_validate(values)
            except ValidationError:  # a line that was torn by a crash, say
                continue
            found[line.name] = line
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise cannot_read(path, error) from error
    return found


class Export:
    """An export that is planned, and can then be run.

    Values in label maps are those of the label files: 0 background, 1 … K-1 classes, 255 unlabeled. The pixel
    size of the image is kept. Each file is written as a whole or not at all.

    Takes what `export_masks` takes. Raises a `SemiGDAError` when the folder is part of the session, an image
    would be overwritten, or the format does not fit.
    """

    def __init__(
        self,
        session: SessionSettings,
        folder: Path | str,
        format: Format | None = None,
        *,
        include_predicted: bool = False,
    ) -> None:
        self._session = session
        self._folder = Path(folder)
        self._format = format or PlainTiff()
        self._include_predicted = include_predicted
        self._guard = Guard(session.folder, (session.images.path(item) for item in session.items))
        self._guard.check(self._folder / "any", named=self._folder)
        if self._folder.exists() and not self._folder.is_dir():
            raise SemiGDAError(f"“{self._folder}” is a file. Choose a folder to export to.")
        reasons = [(item, self._reason_against(item)) for item in session.items]
        self._not_due = [(item, reason) for item, reason in reasons if reason]
        items = [item for item, reason in reasons if not reason]
        if self._format.predicts and items and session.rounds.last_model() is None:
            raise SemiGDAError(_NO_MODEL)
        self._source = source_of(session, include_predicted=include_predicted)
        self._outputs = self._format.outputs(self._source, items) if items else []
        for target in (*map(self._target, self._outputs), self._folder / RECORD_NAME):
            self._guard.check(target)

    def existing(self) -> list[Path]:
        """Return the files of this export that already exist."""
        targets = (self._target(output) for output in self._outputs)
        return [target for target in targets if target.exists() or target.is_symlink()]

    def run(
        self,
        existing: Existing = Existing.REFUSE,
        *,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
        device: str = "auto",
        weights: Path | None = None,
    ) -> ExportReport:
        """Write the files.

        `device` and `weights`, the autoencoder's if elsewhere than the session says, are for formats that
        predict. Raises a `SemiGDAError` when files are in the way, or a file cannot be written; files written
        so far stay, also after `Cancelled`.
        """
        record = _Record(self._folder)
        self._refuse_conflicts(record, existing)
        source = replace(
            self._source,
            predictor=predictor_of(self._session, device, weights, cancelled),
            progress=progress,
            cancelled=cancelled,
            total=sum(len(output.items) for output in self._outputs),
            failed=[],
        )
        report = ExportReport([], self._not_due, source.failed)
        for output in self._outputs:
            check(cancelled)
            target, made_of = self._target(output), self._made_of(output)
            if existing is Existing.UPDATE and record.is_current(output.name, made_of):
                report.kept.append(target)
                source.step(len(output.items))
                continue
            _make_parent(target, self._folder)
            self._guard.check(target)  # again: a link may have come in between
            try:
                output.write(target, source)
            except NotExported as error:
                source.fail(output.items[0], str(error))
                source.step()
            else:
                report.written.append(target)
                record.note(output.name, made_of)
        return report

    def _target(self, output: Output) -> Path:
        return self._folder / output.name

    def _reason_against(self, item: Item) -> str:
        """Return why an item will have no file; empty if it will."""
        state = self._session.state(item)
        if state is ItemState.SKIPPED:
            return "skipped"
        if self._format.predicts or state is ItemState.ACCEPTED:
            return ""
        if not self._include_predicted:
            return "not accepted yet"
        return "" if self._session.drafts.info(item) is not None else "neither accepted nor predicted yet"

    def _made_of(self, output: Output) -> str:
        """Return what changes whenever the content of a file would."""
        session, reads_pictures = self._session, self._format.reads_pictures
        masks = [] if self._format.predicts else output.items
        files = [
            *(session.folder / PREDICTIONS / f"{item.id}.tif" for item in masks),
            *(session.images.path(item) for item in output.items if reads_pictures),
            *([model] if self._format.predicts and (model := session.rounds.last_model()) else []),
        ]
        content = [
            _VERSION,
            repr(self._format),
            self._include_predicted,
            asdict(self._source.legend),
            self._source.settings.to_dict() if reads_pictures else None,
            [(item.id, item.name, item.path, item.pixel_size, item.unit) for item in output.items],
            [session.labels.stamp(item)[0] for item in masks],
            [_stamp(file, follow=True) for file in files],
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def _refuse_conflicts(self, record: _Record, existing: Existing) -> None:
        if existing is Existing.OVERWRITE:
            return
        found = self.existing()
        if existing is Existing.UPDATE:
            found = [one for one in found if not record.is_ours(one.relative_to(self._folder).as_posix())]
        if found:
            raise SemiGDAError(
                f"{len(found)} of {len(self._outputs)} files already exist, and nothing was written: "
                f"{listed([path.name for path in found])}. Choose another folder, or allow overwriting."
            )


def source_of(session: SessionSettings, *, include_predicted: bool = False) -> Source:
    """Return what an export reads from a session."""
    return Source(
        name=session.folder.name,
        items=session.items,
        legend=Legend(tuple(LegendEntry(one.value, one.name, one.color) for one in session.classes)),
        settings=session.settings,
        one_object=session.one_object,
        include_predicted=include_predicted,
        labels=session.labels,
        drafts=session.drafts,
        images=session.images,
        predictor=predictor_of(session),
    )


def predictor_of(
    session: SessionSettings,
    device: str = "auto",
    weights: Path | None = None,
    cancelled: Cancel | None = None,
) -> Callable[[], Predictor]:
    """Return a function that loads the network of the newest round when it is first called."""

    @cache
    def load() -> Predictor:
        path = session.rounds.last_model()
        if path is None:
            raise SemiGDAError(_NO_MODEL)
        return TrainedModel.find(path).load(device, session.settings, weights=weights, cancelled=cancelled)

    return load


def _make_parent(target: Path, folder: Path) -> None:
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise SemiGDAError(
            f"“{target.parent}” is a link that leads out of “{folder}”; nothing is written there."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SemiGDAError(
            f"The folder “{target.parent}” could not be created: {error.strerror or error}."
        ) from error
