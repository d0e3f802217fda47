"""A session: a folder of pictures being labelled, and everything that is known about them.

The files are the truth. An item is accepted if and only if its label file exists; memory holds only what
the folders held when the session was opened and what happened since.
"""

import json
import os
import shutil
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.atomic import cannot_write, remove_abandoned, write_json
from napari_semigda.io.masks import read_labels, write_labels
from napari_semigda.io.pictures import MANIFEST_NAME, Picture, Plane, read_plane, write_picture
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session import classes as class_lists
from napari_semigda.session.classes import ClassInfo
from napari_semigda.session.creation import (
    LeftOut,
    Progress,
    choose_settings,
    find_files,
    make_items,
    read_headers,
)
from napari_semigda.session.examples import ExampleCache, SessionExamples
from napari_semigda.session.importing import ImportReport, import_masks
from napari_semigda.session.items import Item, ItemState, unique_ids
from napari_semigda.session.journal import JournalEntry, append_entry, effort, now, read_entries
from napari_semigda.session.manifest import Manifest, read_manifest, write_manifest
from napari_semigda.session.predictions import PredictionInfo, read_info, rounded, write_info
from napari_semigda.session.rounds import RoundRecord, Rounds, RoundStatus
from napari_semigda.training.recipe import Budget, Recipe

if TYPE_CHECKING:
    from napari_semigda.inference.predictor import Prediction

LABELS, EDITS, PREDICTIONS, ROUNDS, IMAGES = "labels", "edits", "predictions", "rounds", "images"
JOURNAL, SKIPPED, VIEW = "journal.jsonl", "skipped.json", "view.json"

OWN_FOLDERS = (LABELS, EDITS, PREDICTIONS, ROUNDS)


class Session:
    """A session folder, opened. Make one with `create` or `from_arrays`, or `open` it again.

    All methods may be called from several threads at once: the annotator accepts masks in one while
    another stores predictions. Wherever an item is asked for, its id serves as well.

    Attributes
    ----------
    folder : Path
        The session's folder, absolute.
    left_out : list of (Path, str)
        Files that `create` could not take as pictures, and why. Empty for an opened session.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.left_out: list[LeftOut] = []
        self._lock = threading.RLock()
        self._manifest = manifest
        self._items = {item.id: item for item in manifest.items}
        self._rounds = Rounds(folder / ROUNDS)
        self._examples = ExampleCache()
        self._infos: dict[str, PredictionInfo | None] = {}
        self._accepts: Counter[str] = Counter()
        self._warnings: dict[str, None] = {}
        self._scan()

    # Making, opening, closing

    @classmethod
    def create(
        cls,
        folder: Path | str,
        images: Path | str | Sequence[Path | str],
        *,
        classes: Sequence[str] = ("object",),
        preset: str = "compact",
        settings: ImageSettings | None = None,
        one_object: bool = False,
        weights: Path | str | None = None,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Self:
        """Make a session of picture files; they are referred to, never moved or changed.

        Parameters
        ----------
        folder
            Where the session shall live; made if it is not there.
        images
            A folder of pictures (with its sub-folders), or files and folders.
        classes
            Names of what is outlined, without the background.
        preset
            A key of `napari_semigda.model.presets.PRESETS`.
        settings
            How pictures are seen; None chooses by their size.
        one_object
            Whether there is one object an image.
        weights
            The autoencoder's file or folder, where it is not the preset's own.
        progress, cancelled
            Told and asked after each file.

        Returns
        -------
        Session
            With `left_out` telling which files could not be read.

        Raises
        ------
        SemiGDAError
            When the folder holds a session or remains of one, no picture can be read, or it cannot be
            written.
        Cancelled
            When the person cancelled; nothing was written.
        """
        folder = Path(folder).resolve()
        _refuse_occupied(folder)
        planes, left_out = read_headers(find_files(images, folder), progress, cancelled)
        if not planes:
            reasons = " ".join(reason for _, reason in left_out[:3])
            raise SemiGDAError(f"No image was found that can be read in {_told(images)}. {reasons}".strip())
        items = make_items(planes, folder)
        session = cls._begin(folder, items, classes, preset, settings, one_object, weights)
        session.left_out = left_out
        return session

    @classmethod
    def from_arrays(
        cls,
        folder: Path | str,
        arrays: Mapping[str, tuple[NDArray[Any], tuple[float, float], str]],
        *,
        classes: Sequence[str] = ("object",),
        preset: str = "compact",
        settings: ImageSettings | None = None,
        one_object: bool = False,
        weights: Path | str | None = None,
    ) -> Self:
        """Make a session of pictures in memory; they are written as OME-TIFF into its folder `images`.

        Parameters
        ----------
        arrays
            For each name the pixels (H, W) or (H, W, C), the pixel size (y, x) and its unit.
        folder, classes, preset, settings, one_object, weights
            As for `create`.

        Raises
        ------
        SemiGDAError
            As for `create`, and when an array is no picture.
        """
        folder = Path(folder).resolve()
        _refuse_occupied(folder)
        if not arrays:
            raise SemiGDAError("There is no image to make a session of; open one first.")
        ids = unique_ids(arrays)
        files = [folder / IMAGES / f"{item_id}.ome.tif" for item_id in ids]
        _make_folder(folder / IMAGES)
        _refuse_existing(files)
        try:
            for file, (pixels, pixel_size, unit) in zip(files, arrays.values(), strict=True):
                write_picture(file, Picture(np.asarray(pixels), pixel_size, unit))
            planes, _ = read_headers([(file, name) for file, name in zip(files, arrays, strict=True)])
            items = make_items(planes, folder)
            return cls._begin(folder, items, classes, preset, settings, one_object, weights)
        except BaseException:
            for file in files:
                file.unlink(missing_ok=True)
            raise

    @classmethod
    def _begin(
        cls,
        folder: Path,
        items: tuple[Item, ...],
        classes: Sequence[str],
        preset: str,
        settings: ImageSettings | None,
        one_object: bool,
        weights: Path | str | None,
    ) -> Self:
        chosen = choose_settings(preset, items)
        manifest = Manifest(
            classes=class_lists.named_classes(classes),
            preset=preset,
            settings=settings or chosen,
            items=items,
            one_object=one_object,
            weights=None if weights is None else Path(os.path.abspath(weights)),
            created=now(),
        )
        for name in OWN_FOLDERS:
            _make_folder(folder / name)
        write_manifest(folder, manifest)
        return cls(folder, manifest)

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """Open a session as it was left; the pictures are not touched.

        Parameters
        ----------
        folder
            The session's folder, or the `semigda.json` in it.

        Raises
        ------
        SemiGDAError
            When the folder is no session, a newer version made it, or its manifest is damaged.
        """
        folder = Path(folder)
        folder = (folder.parent if folder.name == MANIFEST_NAME else folder).resolve()
        manifest = read_manifest(folder)
        for name in OWN_FOLDERS:
            if (folder / name).is_symlink():
                raise SemiGDAError(
                    f"“{folder / name}” is a link to another place, where a session writes nothing. "
                    "Replace it by a real folder."
                )
            remove_abandoned(folder / name)
        remove_abandoned(folder)
        return cls(folder, manifest)

    def close(self) -> None:
        """Let go of the memory; everything is on the disk already."""
        self._examples.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _scan(self) -> None:
        """Look once which items have which files."""
        self._accepted = self._found(LABELS)
        self._edited = self._found(EDITS)
        self._predicted = self._found(PREDICTIONS)
        skipped = _read_json(self.folder / SKIPPED)
        self._skipped = self._known(skipped if isinstance(skipped, list) else [])
        for item_id in self._skipped:
            self._items[item_id] = replace(self._items[item_id], skipped=True)
        view = _read_json(self.folder / VIEW)
        self._current = next(iter(self._known([view.get("current")] if isinstance(view, dict) else [])), None)

    def _known(self, ids: Sequence[Any]) -> set[str]:
        return {one for one in ids if isinstance(one, str) and one in self._items}

    def _found(self, name: str) -> set[str]:
        try:
            files = [entry.name for entry in os.scandir(self.folder / name)]
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise SemiGDAError(f"“{self.folder / name}” cannot be read: {error.strerror}.") from error
        stems = {unicodedata.normalize("NFC", file[:-4]) for file in files if file.endswith(".tif")}
        return stems & self._items.keys()

    # What the session is about

    @property
    def classes(self) -> list[ClassInfo]:
        """The classes, without the background, in the order of their values 1, 2, …"""
        return list(self._manifest.classes)

    @property
    def class_count(self) -> int:
        """How many values a mask can have: the classes and the background."""
        return len(self._manifest.classes) + 1

    def add_class(self, name: str, color: str | None = None) -> ClassInfo:
        """Add a class with the next value, and save.

        Raises
        ------
        SemiGDAError
            When the name is taken or no name, or it cannot be saved.
        """
        with self._lock:
            self._save(classes=class_lists.with_class(self._manifest.classes, name, color))
            return self._manifest.classes[-1]

    def rename_class(self, value: int, name: str) -> None:
        """Give the class with this value another name, and save; masks are not touched."""
        self._change_class(value, name=name)

    def recolor_class(self, value: int, color: str) -> None:
        """Give the class with this value another colour (``"#rrggbb"``), and save."""
        self._change_class(value, color=color)

    def _change_class(self, value: int, *, name: str | None = None, color: str | None = None) -> None:
        with self._lock:
            self._save(classes=class_lists.with_changed_class(self._manifest.classes, value, name, color))

    @property
    def preset(self) -> str:
        """Which autoencoder and sizes; setting it saves."""
        return self._manifest.preset

    @preset.setter
    def preset(self, preset: str) -> None:
        choose_settings(preset, self._manifest.items)
        self._save(preset=preset)

    @property
    def settings(self) -> ImageSettings:
        """How pictures become what the network sees; setting it saves."""
        return self._manifest.settings

    @settings.setter
    def settings(self, settings: ImageSettings) -> None:
        self._save(settings=settings)
        self._examples.clear()

    @property
    def one_object(self) -> bool:
        """Whether there is one object an image; setting it saves."""
        return self._manifest.one_object

    @one_object.setter
    def one_object(self, one_object: bool) -> None:
        self._save(one_object=bool(one_object))

    @property
    def weights(self) -> Path | None:
        """The autoencoder's file or folder, where it is not the preset's own; setting it saves."""
        return self._manifest.weights

    @weights.setter
    def weights(self, weights: Path | str | None) -> None:
        self._save(weights=None if weights is None else Path(os.path.abspath(weights)))

    @property
    def created(self) -> str:
        """When the session was made: UTC, ISO 8601."""
        return self._manifest.created

    def _save(self, **changes: Any) -> None:
        with self._lock:
            changed = replace(self._manifest, **changes)
            write_manifest(self.folder, changed)
            self._manifest = changed

    # Items

    @property
    def items(self) -> tuple[Item, ...]:
        """All items, in the order of the list."""
        with self._lock:
            return tuple(self._items.values())

    def item(self, item: Item | str) -> Item:
        """Return the item with this id (or the present form of an item handed out earlier).

        Raises
        ------
        SemiGDAError
            When the session has no such item.
        """
        item_id = item if isinstance(item, str) else item.id
        with self._lock:
            if item_id not in self._items:
                raise SemiGDAError(f"The session “{self.folder}” has no item “{item_id}”.")
            return self._items[item_id]

    def state(self, item: Item | str) -> ItemState:
        """Tell how far the labelling of an item is.

        Accepted is what has a label file; else what the annotator skipped is skipped; else what has a
        prediction or an unfinished edit is a draft.
        """
        item_id = item if isinstance(item, str) else item.id
        with self._lock:
            if item_id in self._accepted:
                return ItemState.ACCEPTED
            if item_id in self._skipped:
                return ItemState.SKIPPED
            if item_id in self._predicted or item_id in self._edited:
                return ItemState.DRAFT
            return ItemState.UNLABELLED

    def counts(self) -> dict[ItemState, int]:
        """Count the items in each state; every state is a key."""
        with self._lock:
            counts = dict.fromkeys(ItemState, 0)
            for item_id in self._items:
                counts[self.state(item_id)] += 1
            return counts

    @property
    def current_item(self) -> Item | None:
        """The item on screen, remembered from one opening to the next; setting it saves."""
        with self._lock:
            return None if self._current is None else self._items[self._current]

    @current_item.setter
    def current_item(self, item: Item | str | None) -> None:
        item_id = None if item is None else self.item(item).id
        with self._lock:
            if item_id == self._current:
                return
            self._current = item_id
            try:
                write_json(self.folder / VIEW, {"current": item_id}, durable=False)
            except SemiGDAError as error:  # a convenience; looking through a read-only session goes on
                self.warn(str(error))

    # Pictures and masks

    def picture_path(self, item: Item | str) -> Path:
        """Return where the picture file of an item is."""
        return self.folder / self.item(item).path

    def picture(self, item: Item | str) -> Picture:
        """Read the pixels of an item.

        Raises
        ------
        SemiGDAError
            When the file is missing, damaged, or of another size than when the session was made.
        """
        item = self.item(item)
        path = self.picture_path(item)
        picture = read_plane(Plane(path, item.series, item.index))
        if picture.pixels.shape[:2] != item.shape:
            raise SemiGDAError(
                f"“{path}” is not the picture it was when the session was made: it had "
                f"{_size(item.shape)} pixels and has {_size(picture.pixels.shape)}. "
                "Bring the old file back, or make a new session for the new one."
            )
        return picture

    def labels(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read the accepted mask of an item: (H, W) uint8, `UNKNOWN` where nobody looked; None without.

        Raises
        ------
        SemiGDAError
            When its label file is damaged or does not fit the picture.
        """
        return self._read_mask(LABELS, self._accepted, self.item(item))

    def edit(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read what was painted on an item since it was accepted, or at all: (H, W) uint8; None without.

        Raises
        ------
        SemiGDAError
            When the file is damaged or does not fit the picture.
        """
        return self._read_mask(EDITS, self._edited, self.item(item))

    def prediction(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read the label map last predicted for an item: (H, W) uint8; None without a sound one."""
        try:
            return self._read_mask(PREDICTIONS, self._predicted, self.item(item))
        except SemiGDAError:
            return None

    def prediction_info(self, item: Item | str) -> PredictionInfo | None:
        """Tell what is known of the prediction of an item; None without one."""
        item_id = self.item(item).id
        with self._lock:
            if item_id not in self._predicted:
                return None
            if item_id not in self._infos:
                self._infos[item_id] = read_info(self._file(PREDICTIONS, item_id, ".json"))
            return self._infos[item_id]

    def starting_mask(self, item: Item | str) -> NDArray[np.uint8]:
        """Return what the annotator goes on from: the edit, else the accepted mask, else the draft.

        An edit beside an accepted mask is the newer of the two, because accepting removes it.

        Returns
        -------
        ndarray
            (H, W) uint8; background everywhere if there is none of these.

        Raises
        ------
        SemiGDAError
            When what the annotator did cannot be read; the file is named, and left as it is.
        """
        item = self.item(item)
        for read in (self.edit, self.labels, self.prediction):
            mask = read(item)
            if mask is not None:
                return mask
        return np.zeros(item.shape, np.uint8)

    def label_stamp(self, item: Item | str) -> tuple[int, int]:
        """Return what changes whenever the label file of an item does, here or by another program."""
        item_id = self.item(item).id
        try:
            modified = self._file(LABELS, item_id).stat().st_mtime_ns
        except OSError:
            modified = 0
        with self._lock:
            return modified, self._accepts[item_id]

    # What the annotator does

    def accept(self, item: Item | str, labels: NDArray[Any], *, event: str | None = None) -> JournalEntry:
        """Save a mask for good: when this returns, it is on the disk.

        The label file is written first, then the journal, then an unfinished edit is removed (which was
        brought up to date before, so that a crash between leaves nothing stale). A label file that is
        in the way and is no mask of this item is kept as `labels/<id>.replaced-N.tif`.

        Parameters
        ----------
        labels
            (H, W) integer or boolean: 0 background, 1 … K-1 classes, `UNKNOWN` (255) not looked at.
        event
            For the journal; None says ``"accepted"``, or ``"corrected"`` where it was accepted before.

        Returns
        -------
        JournalEntry
            With how much was changed against the draft.

        Raises
        ------
        SemiGDAError
            When the mask does not fit the item, or cannot be saved; what was accepted before still is.
        """
        item = self.item(item)
        mask = self._checked(item, labels)
        with self._lock:
            path = self._file(LABELS, item.id)
            event = event or ("corrected" if item.id in self._accepted else "accepted")
            note = self._keep_foreign(item, path)
            dice, changed, round_number = self._effort(item, mask)
            if item.id in self._edited:
                self._write_mask(EDITS, self._edited, item, mask)
            self._write_mask(LABELS, self._accepted, item, mask)
            self._accepts[item.id] += 1
            entry = JournalEntry(now(), item.id, event, dice, changed, round_number, note)
            self._note(entry)
            self.discard_edit(item)
            with suppress(SemiGDAError):  # accepted counts before skipped anyway
                self._set_skipped(item, False)
        return entry

    def keep_edit(self, item: Item | str, labels: NDArray[Any]) -> None:
        """Save what is painted so far, without accepting it.

        Raises
        ------
        SemiGDAError
            When the mask does not fit the item, or cannot be saved.
        """
        item = self.item(item)
        mask = self._checked(item, labels)
        with self._lock:
            self._write_mask(EDITS, self._edited, item, mask)

    def discard_edit(self, item: Item | str) -> None:
        """Forget what is painted on an item but not accepted."""
        item_id = self.item(item).id
        with self._lock:
            with suppress(OSError):
                self._file(EDITS, item_id).unlink(missing_ok=True)
            self._edited.discard(item_id)

    def skip(self, item: Item | str) -> None:
        """Leave an item aside: not asked for, not trained on, not exported. Accepted ones stay accepted."""
        item = self.item(item)
        with self._lock:
            if item.id not in self._accepted and item.id not in self._skipped:
                self._set_skipped(item, True)
                self._note(JournalEntry(now(), item.id, "skipped"))

    def unskip(self, item: Item | str) -> None:
        """Take an item up again."""
        item = self.item(item)
        with self._lock:
            if item.id in self._skipped:
                self._set_skipped(item, False)
                self._note(JournalEntry(now(), item.id, "unskipped"))

    def journal(self) -> list[JournalEntry]:
        """Read what happened so far, oldest first."""
        return read_entries(self.folder / JOURNAL)

    def import_masks(
        self,
        folder: Path | str,
        *,
        count: int | None = None,
        seed: int | None = None,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> ImportReport:
        """Accept masks made elsewhere; see `napari_semigda.session.importing.import_masks`."""
        return import_masks(
            self, Path(folder), count=count, seed=seed, progress=progress, cancelled=cancelled
        )

    # Predictions, rounds, training

    def store_prediction(
        self, item: Item | str, prediction: "Prediction", round_number: int
    ) -> PredictionInfo:
        """Keep a prediction as the draft of an item.

        Parameters
        ----------
        prediction
            Its labels, score, uncertainty and latent are kept; the probabilities are not.
        round_number
            The round whose weights made it, 0 if none.

        Raises
        ------
        SemiGDAError
            When it does not fit the item, or cannot be written.
        """
        item = self.item(item)
        mask = self._checked(item, prediction.labels)
        info = PredictionInfo(
            score=float(np.clip(np.nan_to_num(prediction.score), 0, 1)),
            round=round_number,
            uncertainty=float(np.clip(np.nan_to_num(np.mean(prediction.uncertainty)), 0, 1)),
            latent=rounded(np.nan_to_num(np.asarray(prediction.latent, np.float64))),
        )
        with self._lock:
            self._write_mask(PREDICTIONS, self._predicted, item, mask, durable=False)
            write_info(self._file(PREDICTIONS, item.id, ".json"), info)
            self._infos[item.id] = info
        return info

    def examples(
        self, labelled_ids: Collection[str] | None = None
    ) -> tuple[SessionExamples, SessionExamples]:
        """Return what a round learns from: labelled and unlabelled examples.

        Parameters
        ----------
        labelled_ids
            The items that count as labelled, as the record of a resumed round has them; None takes all that
            are accepted now. What was accepted since is among the unlabelled ones then.

        Returns
        -------
        labelled, unlabelled
            Sequences of `Example`, read and prepared when drawn. Skipped items are in neither; items that
            turn out to be unreadable are replaced by others and named in `warnings`.
        """
        with self._lock:
            chosen = self._accepted if labelled_ids is None else self._accepted.intersection(labelled_ids)
            labelled = [item for item in self._items.values() if item.id in chosen]
            unlabelled = [
                item
                for item in self._items.values()
                if item.id not in chosen and (item.id in self._accepted or item.id not in self._skipped)
            ]
        return (
            SessionExamples(self, labelled, self._examples, labelled=True),
            SessionExamples(self, unlabelled, self._examples, labelled=False),
        )

    @property
    def rounds(self) -> tuple[RoundRecord, ...]:
        """The records of all rounds, oldest first."""
        with self._lock:
            return self._rounds.records()

    def begin_round(
        self, recipe: Recipe, budget: Budget, seed: int, warm: bool, *, started_from: str = ""
    ) -> RoundRecord:
        """Make the folder and the record of the next round, with the items accepted now.

        Raises
        ------
        SemiGDAError
            When they cannot be written.
        """
        with self._lock:
            counts = self.counts()
            return self._rounds.begin(
                recipe,
                budget,
                seed,
                warm,
                labelled=[item_id for item_id in self._items if item_id in self._accepted],
                unlabelled=counts[ItemState.UNLABELLED] + counts[ItemState.DRAFT],
                started_from=started_from,
            )

    def resume_round(self, number: int) -> RoundRecord:
        """Take up a stopped round again; see `Rounds.resume`."""
        with self._lock:
            return self._rounds.resume(number)

    def finish_round(
        self, record: RoundRecord, status: RoundStatus, *, steps: int, seconds: float, message: str = ""
    ) -> RoundRecord:
        """Write down how a round ended, and return the record as it is now."""
        with self._lock:
            return self._rounds.finish(record, status, steps=steps, seconds=seconds, message=message)

    def round_folder(self, number: int) -> Path:
        """Return the folder of one round."""
        return self._rounds.folder_of(number)

    def last_model(self) -> Path | None:
        """Return the weights of the newest complete or stopped round whose file is whole, if any."""
        with self._lock:
            return self._rounds.last_model()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What went wrong without stopping anything, since the session was opened; each once."""
        with self._lock:
            return tuple(self._warnings)

    def warn(self, message: str) -> None:
        """Remember a warning for the annotator."""
        with self._lock:
            self._warnings[message] = None

    # Files

    def _file(self, folder: str, item_id: str, suffix: str = ".tif") -> Path:
        return self.folder / folder / f"{item_id}{suffix}"

    def _read_mask(self, folder: str, present: set[str], item: Item) -> NDArray[np.uint8] | None:
        with self._lock:
            if item.id not in present:
                return None
        path = self._file(folder, item.id)
        try:
            return self._checked(item, read_labels(path))
        except SemiGDAError as error:
            if not path.exists():
                with self._lock:
                    present.discard(item.id)
                return None
            raise SemiGDAError(
                f"“{path}” cannot be used as a mask of {item.name}: {error} "
                "Bring back a copy of it, or move it away to label the image again."
            ) from error

    def _write_mask(
        self,
        folder: str,
        present: set[str],
        item: Item,
        mask: NDArray[np.uint8],
        *,
        durable: bool = True,
    ) -> None:
        _make_folder(self.folder / folder)
        path = self._file(folder, item.id)
        write_labels(path, mask, item.pixel_size, item.unit, durable=durable)
        present.add(item.id)

    def _checked(self, item: Item, labels: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the mask as uint8 if it is one for this item."""
        mask = np.asarray(labels)
        if mask.ndim != 2 or mask.dtype.kind not in "bui":
            raise SemiGDAError(
                f"The mask of {item.name} should have two dimensions and whole numbers, but it has "
                f"the shape {mask.shape} and the type {mask.dtype}."
            )
        if mask.shape != item.shape:
            raise SemiGDAError(
                f"The mask of {item.name} has {_size(mask.shape)} pixels, "
                f"but the image has {_size(item.shape)}."
            )
        known = (mask >= 0) & (mask < self.class_count)
        foreign = mask[~known & (mask != UNKNOWN)]
        if foreign.size:
            raise SemiGDAError(
                f"The mask of {item.name} holds the value {int(foreign[0])}, but the classes of this session "
                f"have the values 0 to {self.class_count - 1} (and {UNKNOWN} where nobody looked)."
            )
        return mask.astype(np.uint8, copy=False)

    def _keep_foreign(self, item: Item, path: Path) -> str:
        """Set a copy aside of a label file that is no mask of this item; say so for the journal."""
        if not path.exists():
            return ""
        try:
            self._checked(item, read_labels(path))
            return ""
        except SemiGDAError:
            pass
        number = 1
        while (kept := path.with_name(f"{item.id}.replaced-{number}.tif")).exists():
            number += 1
        try:
            shutil.copy2(path, kept)
        except OSError as error:
            raise cannot_write(kept, error) from error
        self.warn(f"The label file of {item.name} was no mask of it; it was kept as “{kept}”.")
        return f"the file that was there is kept as {kept.name}"

    def _effort(self, item: Item, mask: NDArray[np.uint8]) -> tuple[float | None, float | None, int | None]:
        draft, info = self.prediction(item), self.prediction_info(item)
        if draft is None:
            return None, None, None
        return (*effort(draft, mask, self.class_count), None if info is None else info.round)

    def _note(self, entry: JournalEntry) -> None:
        """Add to the journal; what it tells of has happened, whether or not that can be written."""
        try:
            append_entry(self.folder / JOURNAL, entry)
        except SemiGDAError as error:
            self.warn(str(error))

    def _set_skipped(self, item: Item, skipped: bool) -> None:
        ids = self._skipped | {item.id} if skipped else self._skipped - {item.id}
        if ids == self._skipped:
            return
        write_json(self.folder / SKIPPED, [one for one in self._items if one in ids])
        self._skipped = ids
        self._items[item.id] = replace(self._items[item.id], skipped=skipped)


def _refuse_occupied(folder: Path) -> None:
    if (folder / MANIFEST_NAME).exists():
        raise SemiGDAError(f"“{folder}” is a session already. Open it, or choose another folder.")
    for name in (*OWN_FOLDERS, JOURNAL):
        if _is_in_the_way(folder / name):
            raise SemiGDAError(
                f"“{folder}” cannot become a session: “{name}” is there already. Choose another folder."
            )


def _is_in_the_way(place: Path) -> bool:
    try:
        return place.is_symlink() or place.is_file() or (place.is_dir() and any(place.iterdir()))
    except OSError as error:
        raise SemiGDAError(f"“{place}” cannot be read: {error.strerror or error}.") from error


def _refuse_existing(files: Sequence[Path]) -> None:
    there = next((file for file in files if file.exists()), None)
    if there is not None:
        raise SemiGDAError(f"“{there}” exists already and is not overwritten. Choose another folder.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SemiGDAError(f"The folder “{folder}” cannot be made: {error.strerror or error}.") from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} × {shape[0]}"


def _told(images: Path | str | Sequence[Path | str]) -> str:
    return f"“{images}”" if isinstance(images, Path | str) else f"the {len(images)} files given"
