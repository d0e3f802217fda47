"""Masks out of a session: one TIFF an image, named and sized like the image."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.io.masks import write_labels
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.creation import Progress, file_stem, plane_suffixes
from napari_semigda.session.items import Item, ItemState, identity, real_place
from napari_semigda.session.layout import OWN_FOLDERS
from napari_semigda.session.session import Session

_LONGEST_PART = 180  # bytes; leaves room for the ending within the 255 of most file systems


@dataclass(frozen=True)
class ExportReport:
    """What `export_masks` did.

    Parameters
    ----------
    written
        The files, in the order of the items.
    left_out
        Items without a file, and why.
    """

    written: list[Path]
    left_out: list[tuple[Item, str]]


def export_masks(
    session: Session,
    folder: Path | str,
    *,
    include_predicted: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ExportReport:
    """Write the masks of a session as TIFF: `<image>_mask.tif`, in the sub-folders of the images.

    Values are those of the label files: 0 background, 1 … K-1 classes, 255 where nobody looked. The pixel
    size of the image is kept. Each file appears whole or not at all.

    Parameters
    ----------
    session
        Whose masks.
    folder
        Where to; made if it is not there.
    include_predicted
        Write the drafts of images that are not accepted, too, and fill with them what nobody looked at in
        accepted masks.
    overwrite
        Replace files that are there already; without, they are reported and nothing is written.
    progress, cancelled
        Told and asked after each item.

    Raises
    ------
    SemiGDAError
        When files are in the way, the folder is part of the session, or a file cannot be written.
    Cancelled
        When the person cancelled; files written so far stay, each of them whole.
    """
    folder = Path(folder)
    _refuse_own_folders(session, folder)
    items = session.items
    targets = {item.id: folder / name for item, name in zip(items, export_names(items), strict=True)}
    reasons = {item.id: _reason_against(session, item, include_predicted) for item in items}
    _refuse_conflicts(session, [targets[item.id] for item in items if not reasons[item.id]], overwrite)
    report = ExportReport([], [])
    for done, item in enumerate(items, start=1):
        if cancelled is not None and cancelled():
            raise Cancelled
        reason = reasons[item.id] or _export(session, item, targets[item.id], folder, include_predicted)
        if reason:
            report.left_out.append((item, reason))
        else:
            report.written.append(targets[item.id])
        if progress is not None:
            progress(done, len(items))
    return report


def export_names(items: Sequence[Item]) -> list[str]:
    """Name the file of each item, relative to the export folder; posix, safe, no two alike."""
    suffixes = plane_suffixes([(item.path, item.series, item.index) for item in items])
    taken: set[str] = set()
    names = []
    for item, suffix in zip(items, suffixes, strict=True):
        within = [
            _safe_part(part) for part in PurePosixPath(item.name).parent.parts if part not in ("/", "..")
        ]
        stem = _safe_part(file_stem(item.path)) + suffix
        number = 1
        while identity(name := "/".join([*within, _numbered(stem, number)])) in taken:
            number += 1
        taken.add(identity(name))
        names.append(name)
    return names


def _numbered(stem: str, number: int) -> str:
    return f"{stem}_mask.tif" if number == 1 else f"{stem}-{number}_mask.tif"


def _safe_part(part: str) -> str:
    """Return a name that every file system takes for a file or a folder."""
    clean = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]', "_", part).rstrip(". ") or "image"
    return clean.encode("utf-8", errors="replace")[:_LONGEST_PART].decode("utf-8", errors="ignore")


def _reason_against(session: Session, item: Item, include_predicted: bool) -> str:
    """Say why an item will have no file; empty if it will."""
    state = session.state(item)
    if state is ItemState.ACCEPTED:
        return ""
    if state is ItemState.SKIPPED:
        return "skipped"
    if not include_predicted:
        return "not accepted yet"
    return "" if session.prediction_info(item) is not None else "neither accepted nor predicted yet"


def _export(session: Session, item: Item, target: Path, folder: Path, include_predicted: bool) -> str:
    """Write one file; or say why not, if the mask cannot be read."""
    try:
        mask = _mask(session, item, include_predicted)
    except SemiGDAError as error:
        return str(error)
    if mask is None:
        return "its draft cannot be read; predict it again"
    _make_parent(target, folder)
    write_labels(target, mask, item.pixel_size, item.unit)
    return ""


def _mask(session: Session, item: Item, include_predicted: bool) -> NDArray[np.uint8] | None:
    accepted = session.labels(item)
    if accepted is None:
        return session.prediction(item)
    draft = session.prediction(item) if include_predicted and (accepted == UNKNOWN).any() else None
    return accepted if draft is None else np.where(accepted == UNKNOWN, draft, accepted)


def _refuse_own_folders(session: Session, folder: Path) -> None:
    place = folder.resolve()
    for own in OWN_FOLDERS:
        if place.is_relative_to(session.folder / own):
            raise SemiGDAError(
                f"“{folder}” is part of the session itself. Choose another folder to export to."
            )
    if folder.exists() and not folder.is_dir():
        raise SemiGDAError(f"“{folder}” is a file. Choose a folder to export to.")


def _refuse_conflicts(session: Session, targets: Sequence[Path], overwrite: bool) -> None:
    """Make sure that no picture of the session is overwritten, and nothing else without asking."""
    pictures = {str(real_place(session.picture_path(item))).casefold() for item in session.items}
    own = [target for target in targets if str(real_place(target)).casefold() in pictures]
    if own:
        raise SemiGDAError(f"“{own[0]}” is an image of this session. Choose another folder to export to.")
    there = [target for target in targets if target.exists() or target.is_symlink()]
    if there and not overwrite:
        raise SemiGDAError(
            f"{len(there)} of {len(targets)} files exist already, and nothing was written: {_listed(there)}. "
            "Choose another folder, or allow overwriting."
        )


def _listed(paths: Iterable[Path]) -> str:
    names = [path.name for path in paths]
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _make_parent(target: Path, folder: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SemiGDAError(
            f"The folder “{target.parent}” cannot be made: {error.strerror or error}."
        ) from error
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise SemiGDAError(
            f"“{target.parent}” is a link that leads out of “{folder}”; nothing is written there."
        )
