"""A session: a folder of pictures being labeled, and everything that is known about them.

Here is what the rest of the program uses; the parts are in modules of their own: `manifest` (what the
session is about), `labeling` (masks, drafts, edits and what was skipped; what can be wrong with them is
told there), `rounds` and `examples`.
"""

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.framing import MASKS_MEASURED, settings_for_objects
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.atomic import write_bytes
from napari_semigda.io.pictures import MANIFEST_NAME, Picture, Plane
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.model.presets import starts_trained
from napari_semigda.pace import Progress
from napari_semigda.session.classes import ClassInfo, with_class, without_class
from napari_semigda.session.creation import (
    Arrays,
    Choices,
    NewItems,
    choose_settings,
    create,
    new_items,
)
from napari_semigda.session.drafts import DraftInfo
from napari_semigda.session.efforts import AcceptedDraft
from napari_semigda.session.examples import ExampleCache, SessionExamples
from napari_semigda.session.features import ImageFeatures
from napari_semigda.session.finding import Images, LeftOut
from napari_semigda.session.importing import ImportReport, import_masks
from napari_semigda.session.items import (
    Item,
    ItemState,
    Status,
    opened_picture,
    plane_of,
    read_picture,
    shown_picture,
    stored_picture,
)
from napari_semigda.session.journal import JournalEntry
from napari_semigda.session.labels import LabelStore
from napari_semigda.session.layout import LABELS, LATENTS, ROUNDS, VIEW, check_folders, clean_up, left_alone
from napari_semigda.session.layout import OWN_FOLDERS as OWN_FOLDERS
from napari_semigda.session.lock import SessionLock
from napari_semigda.session.manifest import Manifest, ManifestFile, read_manifest
from napari_semigda.session.mask_changes import ChangedMask, ClassUse, replaced
from napari_semigda.session.queue import DEFAULT_STRATEGY, Strategy, queue
from napari_semigda.session.relocation import Relocation, look_for_pictures, missing_pictures
from napari_semigda.session.rounds import RoundRecord, RoundStatus, RoundStore, Validation
from napari_semigda.session.selection import spread_order
from napari_semigda.session.transaction import Transactions, pending_name
from napari_semigda.session.view import View, ViewFile
from napari_semigda.training.recipe import Budget, Recipe

if TYPE_CHECKING:
    from napari_semigda.inference.predictor import Draft, Prediction
    from napari_semigda.io.bands import BandedPixels, LargePicture
    from napari_semigda.io.planes import StoredPixels

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _saves(method: Callable[Concatenate["Session", _P], _R]) -> Callable[Concatenate["Session", _P], _R]:
    """Refuse a method that changes something on the disk where this program may only look."""

    @wraps(method)
    def checked(session: "Session", *args: _P.args, **kwargs: _P.kwargs) -> _R:
        session._writing.check()
        session._transactions.finish()
        return method(session, *args, **kwargs)

    return checked  # type: ignore[return-value]


class Session:
    """A session folder, opened. Make one with `create` or `from_arrays`, or `open` it again.

    All methods may be called from several threads at once: the annotator accepts masks in one while
    another stores predictions. Wherever an item is asked for, its id serves as well.

    Attributes
    ----------
    folder : Path
        The session's folder, absolute.
    left_out : list of (Path, str)
        Files that `create` could not take as pictures, and why; for kinds of files that are not read, and for
        linked folders, the folder and their number. Empty for an opened session.
    notices : list of str
        What else `create` or `add_images` did not take as images to label: masks, and links to the same file.
    latents : ImageFeatures
        What the pictures look like, as far as it was computed.
    read_only : str or None
        Why nothing can be saved (another program has the session open, or the folder cannot be written),
        as a sentence. Everything can be read then, and what would change something raises a
        `SemiGDAError` with that sentence. None where everything can be saved.
    """

    def __init__(self, folder: Path, manifest: Manifest | None = None) -> None:
        self.folder = folder
        self.left_out: list[LeftOut] = []
        self.notices: list[str] = []
        self._lock = threading.RLock()
        self._warnings: dict[str, None] = {}
        self._transactions = Transactions(folder, self._lock, self.warn)
        self._writing = SessionLock(folder, self._transactions.recover)
        try:
            # Before the session was this program's, another one may have changed or finished something.
            manifest = read_manifest(folder) if manifest is None else manifest
            self._take_up(manifest)
        except BaseException:
            self._writing.release()
            raise

    def _take_up(self, manifest: Manifest) -> None:
        folder = self.folder
        self._file = ManifestFile(folder, manifest, self._lock)
        if self._writing.unsure is not None:
            self.warn(self._writing.unsure)
        self._labeling = LabelStore(
            folder,
            manifest.items,
            self._file.class_values,
            warn=self.warn,
            lock=self._lock,
            transactions=self._transactions,
            validation=lambda: self._file.manifest.validation,
            one_object=lambda: self._file.manifest.one_object,
        )
        self.latents = ImageFeatures(folder / LATENTS, [item.id for item in manifest.items], self._lock)
        self._rounds = RoundStore(folder / ROUNDS)
        self._view = ViewFile(folder / VIEW, self._lock, self.warn)
        self._examples = ExampleCache()

    # Making, opening, closing

    @classmethod
    def create(
        cls,
        folder: Path | str,
        images: Images,
        *,
        classes: Sequence[str] = ("object",),
        preset: str = "compact",
        settings: ImageSettings | None = None,
        one_object: bool = False,
        weights: Path | str | None = None,
        masks: Path | str | None = None,
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
            How pictures are seen; None chooses by their size, and once more, when the first round begins, by
            the size of the objects.
        one_object
            Whether there is one object an image.
        weights
            The autoencoder's file or folder, where it is not the preset's own.
        masks
            The folder that `import_masks` is given afterwards: the masks in it are no images to label.
        progress
            Told after each file what is done, and how much there is to do.
        cancelled
            Asked after each file.

        Returns
        -------
        Session
            With `left_out` telling which files could not be read, and `notices` what else became no image.

        Raises
        ------
        SemiGDAError
            When the folder holds a session or remains of one, no picture can be read, or it cannot be
            written.
        Cancelled
            When the person cancelled; nothing was written.
        """
        folder = Path(folder).resolve()
        choices = Choices(classes, preset, settings, one_object, weights)
        masks = None if masks is None else Path(masks)
        manifest, new = create(folder, images, choices, masks=masks, progress=progress, cancelled=cancelled)
        session = cls(folder, manifest)
        session.left_out, session.notices = new.left_out, new.notices
        return session

    @classmethod
    def from_arrays(
        cls,
        folder: Path | str,
        arrays: Arrays,
        *,
        classes: Sequence[str] = ("object",),
        preset: str = "compact",
        settings: ImageSettings | None = None,
        one_object: bool = False,
        weights: Path | str | None = None,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Self:
        """Make a session of pictures in memory; they are written as OME-TIFF into its folder `images`.

        What is not named here is as for `create`.

        Parameters
        ----------
        folder
            Where the session shall live; made if it is not there.
        arrays
            For each name a `Picture`: pixels (H, W) or (H, W, C), pixel size (y, x) and its unit. An array
            alone (of NumPy, dask, zarr or xarray) has no pixel size; a tuple of the three parts works, too.

        Raises
        ------
        SemiGDAError
            As for `create`, and when an array is no picture.
        Cancelled
            When the person cancelled; nothing was written.
        """
        folder = Path(folder).resolve()
        choices = Choices(classes, preset, settings, one_object, weights)
        manifest, _ = create(folder, arrays, choices, progress=progress, cancelled=cancelled)
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
        read_manifest(folder)  # in what is no session nothing is written
        check_folders(folder)
        session = cls(folder)
        if session.read_only is None:
            clean_up(folder)
            with suppress(SemiGDAError, OSError):  # then nothing is changed
                session._labeling.undo_interrupted_removal((folder / MANIFEST_NAME).stat().st_mtime_ns)
        for sentence in left_alone(folder):
            session.warn(sentence)
        encoder = session._file.manifest.encoder
        if encoder is not None and session.last_model() is None:
            session.warn(
                f"The pre-trained encoder “{encoder}” of this session is no longer supported. The next round "
                "starts with the preset's own encoder; accepted masks are not affected."
            )
        return session

    def close(self) -> None:
        """Let go of the memory; everything that cannot be computed again is on the disk already."""
        self._examples.clear()
        try:
            if self.read_only is None:
                with suppress(SemiGDAError):
                    self.latents.save()
        finally:
            self._writing.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def read_only(self) -> str | None:
        """Why nothing can be saved, as a sentence; None where everything can."""
        return self._writing.refused

    # What the session is about

    @property
    def classes(self) -> list[ClassInfo]:
        """The classes, without the background, in the order of their values: 1, 2, …, without removed."""
        return list(self._file.manifest.classes)

    @property
    def class_names(self) -> list[str]:
        """The classes' names by value, from 1 on; empty texts stand for removed classes."""
        names = {info.value: info.name for info in self.classes}
        return [names.get(value, "") for value in range(1, self.class_count)]

    @property
    def class_count(self) -> int:
        """Count the values up to the highest of a class, with the background and those of removed classes."""
        return self._file.class_count()

    @_saves
    def add_class(
        self,
        name: str,
        color: str | None = None,
        *,
        occurs_in_accepted: bool = False,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> ClassInfo:
        """Add a class with the next value, and save.

        Parameters
        ----------
        name
            What people call it.
        color
            As ``"#rrggbb"``; None takes the next one.
        occurs_in_accepted
            Whether the class occurs in images that are accepted already, where nobody painted it: the
            background of their masks then becomes unlabeled, see `unlabel_background`. Else it stays, and
            training takes it for background that is not of the new class.
        progress, cancelled
            Told and asked after each of these masks.

        Raises
        ------
        SemiGDAError
            When the name is taken or no name, or it cannot be saved.
        Cancelled
            When the person cancelled; the class is not added.
        """
        if not occurs_in_accepted:
            return self._file.add_class(name, color)
        before = self.classes
        with_class(before, name, color)
        self._unlabel_background(
            name,
            progress,
            cancelled,
            lambda: self._new_manifest(classes=with_class(self.classes, name, color)),
        )
        return next(one for one in self.classes if one not in before)

    @_saves
    def unlabel_background(
        self,
        value: int,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[ChangedMask]:
        """Make the background of the accepted masks unlabeled, for a class that was added later.

        Images were accepted before the class was there, so nobody painted it; their background would teach
        that it does not occur. Masks on which the class is painted stay, and so do all that are accepted
        from now on. All masks are changed or none; those from before are kept as
        `labels/<id>.replaced-N.tif`, and the journal says so.

        Parameters
        ----------
        value
            Of the class.
        progress, cancelled
            Told and asked after each mask.

        Returns
        -------
        list of ChangedMask
            For `restore_masks`.

        Raises
        ------
        SemiGDAError
            When there is no such class, or something cannot be written; then nothing is changed.
        Cancelled
            When the person cancelled; nothing is changed.
        """
        return self._unlabel_background(self._class_of(value).name, progress, cancelled, value=value)

    @_saves
    def restore_masks(self, changed: Sequence[ChangedMask]) -> list[Item]:
        """Put the masks back that `unlabel_background` changed; those accepted again since stay.

        Returns
        -------
        list of Item
            Those whose accepted mask was put back.

        Raises
        ------
        SemiGDAError
            When it cannot be saved; then nothing is changed.
        """
        return self._labeling.restore_masks(
            changed, "Restoring", "as it was before its background became unlabeled"
        )

    def _unlabel_background(
        self,
        name: str,
        progress: Progress | None,
        cancelled: Callable[[], bool] | None,
        manifest: Callable[[], tuple[Path, Callable[[], object]]] | None = None,
        *,
        value: int | None = None,
    ) -> list[ChangedMask]:
        accepted = {item.id for item in self.items if self.state(item) is ItemState.ACCEPTED}
        unlabel = replaced(0, UNKNOWN)

        def change(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
            return mask if value is not None and (mask == value).any() else unlabel(mask)

        return self._labeling.change_masks(
            change,
            ("labels", "edits"),
            f"Making the background unlabeled for “{name}” in",
            "background unlabeled",
            f"“{name}” was added later and may be there",
            manifest=manifest,
            among=accepted.__contains__,
            progress=progress,
            cancelled=cancelled,
        )

    def _new_manifest(self, **changes: Any) -> tuple[Path, Callable[[], object]]:
        """Write a changed manifest beside the present one; gives the file, and what to call later."""
        manifest, content = self._file.changed(**changes)
        path = pending_name(self.folder / MANIFEST_NAME)
        write_bytes(path, content, durable=False)
        return path, lambda: self._file.take(manifest)

    def _class_of(self, value: int) -> ClassInfo:
        found = next((info for info in self.classes if info.value == value), None)
        if found is None:
            raise SemiGDAError(f"There is no class with the value {value}.")
        return found

    @_saves
    def rename_class(self, value: int, name: str) -> None:
        """Give the class with this value another name, and save; masks are not touched."""
        self._file.change_class(value, name=name)

    @_saves
    def recolor_class(self, value: int, color: str) -> None:
        """Give the class with this value another color (``"#rrggbb"``), and save."""
        self._file.change_class(value, color=color)

    def class_use(
        self,
        value: int,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> ClassUse:
        """Find the items on which the class with this value is painted, accepted or not."""
        return self._labeling.class_use(value, progress, cancelled)

    @_saves
    def remove_class(
        self,
        value: int,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> ClassUse:
        """Remove a class; its pixels become unlabeled, in all masks or, where that fails, in none.

        The other classes keep their values, and masks without this one are not touched. The masks as they
        were are kept as `labels/<id>.replaced-N.tif` (and in `edits`), and the journal says so.

        Parameters
        ----------
        value
            Of the class.
        progress, cancelled
            Told and asked after each mask.

        Raises
        ------
        SemiGDAError
            When it is the only class or none, or something cannot be written; then nothing is changed.
        Cancelled
            When the person cancelled; nothing is changed.
        """
        without_class(self.classes, value)
        name = self._class_of(value).name
        changed = self._labeling.change_masks(
            replaced(value, UNKNOWN),
            ("labels", "edits"),
            f"Removing the class “{name}” from",
            "class removed",
            f"the pixels of “{name}” are unlabeled",
            manifest=lambda: self._new_manifest(classes=without_class(self.classes, value)),
            progress=progress,
            cancelled=cancelled,
        )
        accepted = tuple(one.item for one in changed if one.masks.folder.name == LABELS)
        return ClassUse(accepted, tuple(one.item for one in changed if one.masks.folder.name != LABELS))

    @property
    def preset(self) -> str:
        """Which autoencoder and sizes; setting it saves."""
        return self._file.manifest.preset

    @preset.setter
    @_saves
    def preset(self, preset: str) -> None:
        choose_settings(preset, self._file.manifest.items)
        self._file.change(preset=preset)
        self.latents.clear()

    @property
    def settings(self) -> ImageSettings:
        """How pictures become what the network sees; setting it saves."""
        return self._file.manifest.settings

    @settings.setter
    @_saves
    def settings(self, settings: ImageSettings) -> None:
        self._file.change(settings=settings)
        self._examples.clear()
        self.latents.clear()

    @property
    def framing_by_objects(self) -> bool:
        """Whether a round that begins anew fits the framing to the accepted objects; setting it saves."""
        return self._file.manifest.framing_by_objects

    @framing_by_objects.setter
    @_saves
    def framing_by_objects(self, by_objects: bool) -> None:
        self._file.change(framing_by_objects=bool(by_objects))

    def fit_framing(self) -> str | None:
        """See the pictures as suits the accepted objects, where the annotator left that open.

        Returns
        -------
        str or None
            What changed, in a sentence; None if nothing did.

        Raises
        ------
        SemiGDAError
            When it cannot be saved.
        """
        if not self.framing_by_objects:
            return None
        labeled = self._labeling.to_learn_from()
        measured = [labeled[place] for place in spread_order(len(labeled))[:MASKS_MEASURED]]
        fitting = settings_for_objects(self._readable_masks(measured), self.settings)
        if fitting == self.settings:
            return None
        self.settings = fitting
        return f"By the size of the objects that were outlined, {fitting.in_words()}."

    def _readable_masks(self, items: Iterable[Item]) -> Iterator[NDArray[np.uint8]]:
        for item in items:
            with suppress(SemiGDAError):  # training says so of a mask that cannot be read
                labels = self.labels(item)
                if labels is not None:
                    yield labels

    @property
    def one_object(self) -> bool:
        """Whether there is at most one object in an image, so that drafts have no more; setting it saves."""
        return self._file.manifest.one_object

    @one_object.setter
    @_saves
    def one_object(self, one_object: bool) -> None:
        self._file.change(one_object=bool(one_object))

    @property
    def weights(self) -> Path | None:
        """The autoencoder's file or folder, where it is not the preset's own; setting it saves."""
        return self._file.manifest.weights

    @weights.setter
    @_saves
    def weights(self, weights: Path | str | None) -> None:
        self._file.change(weights=None if weights is None else Path(os.path.abspath(weights)))
        self.latents.clear()

    @property
    def created(self) -> str:
        """When the session was made: UTC, ISO 8601."""
        return self._file.manifest.created

    # Items and pictures

    @property
    def items(self) -> tuple[Item, ...]:
        """All items, in the order of the list."""
        return self._labeling.items

    @_saves
    def add_images(
        self,
        images: Images,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> int:
        """Add picture files behind the others, and save: they are items when the session is opened again.

        Parameters
        ----------
        images
            A folder of pictures (with its sub-folders), or files and folders. What the session has already is
            passed over.
        progress
            Told after each file what is done, and how much there is to do.
        cancelled
            Asked after each file.

        Returns
        -------
        int
            How many were added; `left_out` tells which files could not be read, `notices` what else was not
            added.

        Raises
        ------
        SemiGDAError
            When there is nothing to add, or it cannot be saved.
        Cancelled
            When the person cancelled; nothing was added.
        """
        with self._lock:
            new = self._add(images, progress, cancelled)
            self.left_out, self.notices = new.left_out, new.notices
        return len(new.items)

    @_saves
    def add_arrays(
        self,
        arrays: Arrays,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> int:
        """Add pictures in memory behind the others, as OME-TIFF in the session's folder `images`, and save.

        They are items when the session is opened again.

        Parameters
        ----------
        arrays
            As for `from_arrays`. Those that the session has already, with the same name and pixels, are
            passed over.
        progress
            Told after each picture what is done, and how much there is to do.
        cancelled
            Asked after each picture.

        Returns
        -------
        int
            How many were added.

        Raises
        ------
        SemiGDAError
            When there is nothing to add, an array is no picture, or it cannot be saved: nothing is added.
        Cancelled
            When the person cancelled; nothing was added.
        """
        return len(self._add(arrays, progress, cancelled).items)

    def _add(
        self, images: Images | Arrays, progress: Progress | None, cancelled: Callable[[], bool] | None
    ) -> NewItems:
        known = self._file.manifest.items
        with (
            self._lock,
            new_items(self.folder, images, known, progress=progress, cancelled=cancelled) as new,
        ):
            self._file.change(items=(*self._file.manifest.items, *new.items))
        return new

    def item(self, item: Item | str) -> Item:
        """Return the item with this id (or the present form of an item handed out earlier).

        Raises
        ------
        SemiGDAError
            When the session has no such item.
        """
        return self._labeling.item(item)

    def place(self, item: Item | str) -> int:
        """Tell the place of an item in the list, from 0."""
        return self._labeling.place(item)

    def state(self, item: Item | str) -> ItemState:
        """Tell how far the labeling of an item is: accepted, else skipped, else a draft, else unlabeled."""
        return self._labeling.state(item)

    def states(self) -> tuple[ItemState, ...]:
        """Tell the state of every item, in the order of the list."""
        return self._labeling.states()

    def standing(self, item: Item | str) -> Status:
        """Tell the state of an item, and whether something on it is painted and not accepted."""
        return self._labeling.standing(item)

    def effort(self, item: Item | str) -> float | None:
        """Tell how much of an accepted item's draft was changed; see `LabelStore.effort`."""
        return self._labeling.effort(item)

    def accepted_drafts(self) -> list[AcceptedDraft]:
        """Tell what every draft that was accepted had cost, oldest first; see `Efforts`."""
        with self._lock:
            return list(self._labeling.efforts.drafts)

    def changes(self, since: int = 0) -> tuple[set[str], int]:
        """Tell which items changed since an earlier question; see `LabelStore.changes`."""
        return self._labeling.changes(since)

    def counts(self) -> dict[ItemState, int]:
        """Count the items in each state; every state is a key."""
        return self._labeling.counts()

    def queue(
        self,
        after: Item | None = None,
        strategy: Strategy = DEFAULT_STRATEGY,
        *,
        seed: int = 0,
        count: int | None = None,
    ) -> list[Item]:
        """List the items that wait for the annotator (neither accepted nor skipped), in order.

        Parameters
        ----------
        after
            The item on screen: it is left out, and the order goes on behind it.
        strategy
            What comes first: ``"mixed"`` (what stands for the most uncertainty), ``"uncertain"``,
            ``"different"`` (from all that was accepted), ``"in order"`` or ``"random"``.
        seed
            Of ``"random"``.
        count
            So many from the front; None gives all of them.
        """
        return queue(self, after, strategy, seed=seed, count=count)

    @property
    def current_item(self) -> Item | None:
        """The item on screen, remembered from one opening to the next; setting it saves."""
        with suppress(SemiGDAError):
            return self.item(self.view.current)
        return None

    @current_item.setter
    def current_item(self, item: Item | str | None) -> None:
        self.remember(current="" if item is None else self.item(item).id)

    @property
    def view(self) -> View:
        """What the annotator chose in passing, remembered from one opening to the next."""
        return self._view.view

    def remember(self, **choices: Any) -> None:
        """Remember fields of `View`; where nothing can be saved, as long as the session is open."""
        self._view.change(save=self.read_only is None, **choices)

    def picture_path(self, item: Item | str) -> Path:
        """Return where the picture file of an item is."""
        return Path(os.path.normpath(self.folder / self.item(item).path))

    def plane(self, item: Item | str) -> Plane:
        """Return the plane of a picture file that an item was made of."""
        return plane_of(self.item(item), self.picture_path(item))

    def picture(self, item: Item | str) -> Picture:
        """Read the pixels of an item; see `napari_semigda.session.items.read_picture`."""
        return read_picture(self.item(item), self.picture_path(item))

    def opened_picture(self, item: Item | str) -> AbstractContextManager["NDArray[Any] | BandedPixels"]:
        """Open the picture of an item, to be read by slices; see `items.opened_picture`."""
        return opened_picture(self.item(item), self.picture_path(item))

    def stored_picture(self, item: Item | str) -> "StoredPixels | None":
        """Open the picture of an item to read parts of it, where it is large; see `items.stored_picture`."""
        return stored_picture(self.item(item), self.picture_path(item))

    def shown_picture(self, item: Item | str) -> "Picture | LargePicture":
        """Read the picture of an item to be looked at, or open it where it is large; see `items`."""
        return shown_picture(self.item(item), self.picture_path(item))

    def missing_pictures(self) -> list[Item]:
        """List the items whose picture files are not where they were; asks the disk once for each file."""
        return missing_pictures(self.items, self.folder)

    @_saves
    def find_moved_pictures(
        self,
        folder: Path | str,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Relocation:
        """Look for missing pictures in another folder, and save where they are now.

        Parameters
        ----------
        folder
            Where the pictures were moved to, or a folder above.
        progress
            Told after each file what is done, and how much there is to do.
        cancelled
            Asked after each file.

        Returns
        -------
        Relocation
            Which were found; see `napari_semigda.session.relocation.look_for_pictures`.

        Raises
        ------
        SemiGDAError
            When the folder cannot be read, or the session cannot be saved.
        Cancelled
            When the person cancelled; nothing was changed.
        """
        items = self._file.manifest.items  # with those that were added since the session was opened
        relocation = look_for_pictures(items, self.folder, Path(folder), progress, cancelled)
        if relocation.found:
            with self._lock:
                paths = {item.id: item.path for item in relocation.found}
                self._file.change(
                    items=tuple(
                        replace(item, path=paths.get(item.id, item.path))
                        for item in self._file.manifest.items
                    )
                )
                known = {item.id for item in self.items}
                self._labeling.replace_items(item for item in relocation.found if item.id in known)
        return relocation

    # Masks

    def labels(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read the accepted mask of an item: (H, W) uint8, `UNKNOWN` where nobody looked; None without."""
        return self._labeling.labels(item)

    def edit(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read what is painted on an item but not accepted: (H, W) uint8; None without."""
        return self._labeling.edit(item)

    def prediction(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read the label map last predicted for an item: (H, W) uint8; None without a sound one."""
        return self._labeling.predictions.read(self.item(item))

    def prediction_info(self, item: Item | str) -> DraftInfo | None:
        """Tell what is known of the prediction of an item; None without one."""
        return self._labeling.predictions.info(self.item(item))

    def scores(self) -> NDArray[np.float32]:
        """Return the acquisition score of every item, in the order of the list; NaN without a draft."""
        return self._labeling.predictions.scores(self.items)

    @_saves
    def store_prediction(
        self, item: Item | str, prediction: "Prediction | Draft", round_number: int
    ) -> DraftInfo:
        """Keep a prediction as the draft of an item; see `DraftStore.store`."""
        return self._labeling.predictions.store(self.item(item), prediction, round_number)

    def starting_mask(self, item: Item | str) -> NDArray[np.uint8]:
        """Return what the annotator goes on from: the edit, else the accepted mask, else the draft."""
        return self._labeling.starting_mask(item)

    def see_draft(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read the newest draft for the annotator; see `LabelStore.see_draft`."""
        return self._labeling.see_draft(item)

    def label_stamp(self, item: Item | str) -> tuple[tuple[int, int] | None, int]:
        """Return what changes whenever the label file of an item does, here or by another program."""
        return self._labeling.label_stamp(item)

    # What the annotator does

    @_saves
    def accept(self, item: Item | str, labels: NDArray[Any], *, event: str | None = None) -> JournalEntry:
        """Save a mask for good: when this returns, it is on the disk; see `LabelStore.accept`.

        Parameters
        ----------
        item
            An item, or its id.
        labels
            (H, W) integer or boolean: 0 background, 1 and up classes, 255 not looked at.
        event
            For the journal, if not that it was accepted or corrected.

        Returns
        -------
        JournalEntry
            With how much was changed against the draft.

        Raises
        ------
        SemiGDAError
            When the mask does not fit the item, or cannot be saved; what was accepted before still is.
        """
        return self._labeling.accept(item, labels, event=event)

    @property
    def undoable_accepts(self) -> tuple[Item, ...]:
        """The items whose accepts can be undone, the last accept last; the list begins with each opening."""
        return self._labeling.undoable_accepts()

    @_saves
    def undo_accept(self) -> Item:
        """Make of the item that was accepted last what it was before; see `LabelStore.undo_accept`."""
        return self._labeling.undo_accept()

    @_saves
    def keep_edit(self, item: Item | str, labels: NDArray[Any]) -> None:
        """Save what is painted so far, without accepting it; see `LabelStore.keep_edit`."""
        self._labeling.keep_edit(item, labels)

    @_saves
    def discard_edit(self, item: Item | str) -> None:
        """Forget what is painted on an item but not accepted."""
        self._labeling.discard_edit(item)

    @_saves
    def skip(self, item: Item | str) -> None:
        """Leave an item aside: not asked for, not trained on, not exported. Accepted ones stay accepted."""
        self._labeling.skip(item)

    @_saves
    def unskip(self, item: Item | str) -> None:
        """Take an item up again."""
        self._labeling.unskip(item)

    @property
    def validation(self) -> list[Item]:
        """The accepted items that are kept for validation: compared with after each round, not trained on."""
        return self._labeling.for_validation()

    @_saves
    def keep_for_validation(self, item: Item | str, keep: bool = True) -> None:
        """Keep an accepted item for validation from the next round on, or train on it again; saves.

        Raises
        ------
        SemiGDAError
            When it is not accepted, or it cannot be saved.
        """
        item = self.item(item)
        if keep and self.state(item) is not ItemState.ACCEPTED:
            raise SemiGDAError(f"{item.name} has no accepted mask to compare with: accept it first.")
        self._file.keep_for_validation(item.id, keep)
        self._labeling.note_change(item.id)

    def journal(self) -> list[JournalEntry]:
        """Read what happened so far, oldest first."""
        return self._labeling.journal()

    @_saves
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
            self,
            self.classes,
            self.folder,
            Path(folder),
            count=count,
            seed=seed,
            progress=progress,
            cancelled=cancelled,
        )

    # Training

    @property
    def has_something_to_learn(self) -> bool:
        """Whether there is an accepted mask that is not kept for validation."""
        return self.counts()[ItemState.ACCEPTED] > len(self.validation)

    def labels_nothing(self) -> bool:
        """Whether not one pixel is labeled in the accepted masks to learn from; reads until one is found."""
        masks = self._readable_masks(self._labeling.to_learn_from())
        unlabeled = ((mask == UNKNOWN).all() for mask in masks)
        first = next(unlabeled, None)
        return bool(first) and all(unlabeled)

    def examples(self, labeled_ids: Collection[str] | None = None) -> tuple[SessionExamples, SessionExamples]:
        """Return the labeled and the unlabeled examples of a round; see `LabelStore.for_training`.

        They are read and prepared when drawn. Items that turn out to be unreadable are replaced by others
        and named in `warnings`.
        """
        labeled, unlabeled = self._labeling.for_training(labeled_ids)
        return (
            SessionExamples(self, labeled, self._examples, labeled=True),
            SessionExamples(self, unlabeled, self._examples, labeled=False),
        )

    def labeled_examples(self, items: Sequence[Item]) -> SessionExamples:
        """Return the labeled examples of these items, in this order; see `examples`."""
        return SessionExamples(self, items, self._examples, labeled=True)

    @property
    def rounds(self) -> tuple[RoundRecord, ...]:
        """The records of all rounds, oldest first."""
        with self._lock:
            return self._rounds.records()

    @_saves
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
            labeled, unlabeled = self._labeling.for_training()
            return self._rounds.begin(
                recipe,
                budget,
                seed,
                warm,
                stages=(2,) if warm or self.starts_trained else (1, 2),
                labeled=[item.id for item in labeled],
                unlabeled=len(unlabeled),
                started_from=started_from,
            )

    @property
    def starts_trained(self) -> bool:
        """Whether a fresh round begins with weights that were trained before, on drawn pictures."""
        return starts_trained(self.preset, self.weights)

    @_saves
    def resume_round(self, number: int) -> RoundRecord:
        """Take up a stopped round again; see `RoundStore.resume`."""
        with self._lock:
            return self._rounds.resume(number)

    def new_masks(self, record: RoundRecord | None) -> list[Item]:
        """Tell the accepted items that a round did not learn from, and a later one would; all without one."""
        known = set(() if record is None else record.labeled)
        return [item for item in self._labeling.to_learn_from() if item.id not in known]

    @_saves
    def extend_round(self, record: RoundRecord, items: Sequence[Item]) -> RoundRecord:
        """Write down that a running round learns from more items; see `RoundStore.extend`."""
        with self._lock:
            return self._rounds.extend(record, [item.id for item in items])

    @_saves
    def finish_round(
        self,
        record: RoundRecord,
        status: RoundStatus,
        *,
        steps: int,
        seconds: float,
        message: str = "",
        validation: Validation | None = None,
    ) -> RoundRecord:
        """Write down how a round ended, and return the record as it is now."""
        with self._lock:
            return self._rounds.finish(
                record, status, steps=steps, seconds=seconds, message=message, validation=validation
            )

    def leave_round(self, number: int) -> None:
        """Count a round as one that runs no more, where how it ended cannot be written down."""
        with self._lock:
            self._rounds.leave(number)

    def round_folder(self, number: int) -> Path:
        """Return the folder of one round."""
        return self._rounds.folder_of(number)

    def last_model(self) -> Path | None:
        """Return the newest weights whose file is whole, if any; see `RoundStore.last_model`."""
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
