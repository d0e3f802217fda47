"""A session: a folder of images being labeled, and everything that is known about them."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.pictures import MANIFEST_NAME, Picture
from napari_semigda.pace import Cancel, Progress
from napari_semigda.session.class_list import ClassList
from napari_semigda.session.creation import Arrays, Choices, NewItems, create, new_items
from napari_semigda.session.drafts import DraftStore, SeenDrafts
from napari_semigda.session.examples import ExampleCache, SessionExamples
from napari_semigda.session.features import ImageFeatures
from napari_semigda.session.finding import Images, LeftOut
from napari_semigda.session.folder import SessionFolder
from napari_semigda.session.images import ImageFiles
from napari_semigda.session.importing import ImportReport, import_masks
from napari_semigda.session.item_list import ItemList
from napari_semigda.session.items import Item
from napari_semigda.session.journal import JournalEntry
from napari_semigda.session.labels import LabelFiles, LabelStore
from napari_semigda.session.layout import (
    EDITS,
    LABELS,
    LATENTS,
    PREDICTIONS,
    VIEW,
    check_folders,
    clean_up,
    left_alone,
)
from napari_semigda.session.manifest import Manifest, ManifestFile, read_manifest
from napari_semigda.session.mask_changes import MaskChanges
from napari_semigda.session.mask_files import MaskFolder
from napari_semigda.session.renamed import SETTABLE, assign, renamed
from napari_semigda.session.rounds import RoundStore
from napari_semigda.session.settings import SessionSettings
from napari_semigda.session.view import read_view


class Session(SessionSettings):
    """A session folder, opened. Make one with `create` or `from_arrays`, or `open` it again.

    All methods may be called from several threads at once: the annotator accepts masks in one while
    another stores predictions. Wherever an item is asked for, its id serves as well.

    Attributes
    ----------
    folder : Path
        The session's folder, absolute.
    labels : LabelStore
        Accepted masks, unfinished edits, skipped items and the journal.
    drafts : DraftStore
        Predicted masks.
    rounds : RoundStore
        The records of all rounds, oldest first.
    classes : ClassList
        The classes, without the background, in the order of their values.
    images : ImageFiles
        The image files.
    features : ImageFeatures
        Image features, as far as they were computed.
    left_out : list of (Path, str)
        Files that `create` or `add_images` could not read, and why.
    notices : list of str
        What else they did not take as images to label.
    """

    def __init__(self, folder: Path, manifest: Manifest | None = None) -> None:
        self.folder = folder
        self.left_out: list[LeftOut] = []
        self.notices: list[str] = []
        self._base = SessionFolder(folder)
        try:
            # Before the session was this program's, another one may have changed or finished something.
            self._open_stores(read_manifest(folder) if manifest is None else manifest)
        except BaseException:
            self._base.release()
            raise

    def _open_stores(self, manifest: Manifest) -> None:
        base, file = self._base, ManifestFile(self.folder, manifest, self._base.lock)
        self._file, self._items = file, ItemList(base, manifest.items)

        def masks(name: str, forgiving: bool = False) -> MaskFolder:
            return MaskFolder(
                self.folder / name,
                self._items.ids(),
                lambda: [one.value for one in file.manifest.classes],
                base.lock,
                self._items.note_change,
                base.transactions,
                forgiving=forgiving,
            )

        labels, edits, seen = LabelFiles(base, masks(LABELS)), masks(EDITS), SeenDrafts(self.folder / EDITS)
        self.drafts = DraftStore(
            base, self._items, masks(PREDICTIONS, True), seen, lambda: file.manifest.one_object
        )
        self.labels = LabelStore(base, self._items, file, self.drafts, labels, edits, seen)
        self._mask_changes = MaskChanges(base, self._items, labels, edits)
        self.classes = ClassList(base, file, self._mask_changes)
        self.images = ImageFiles(base, self._items, file)
        self.features = ImageFeatures(self.folder / LATENTS, list(self._items.ids()), base.lock)
        self.rounds = RoundStore(base, self.labels.for_training, lambda: self.starts_trained)
        self._view = read_view(self.folder / VIEW)
        self._examples = ExampleCache()

    if not TYPE_CHECKING:  # type checkers know today's names only

        def __getattr__(self, name: str) -> Any:
            return renamed(self, name)

        def __setattr__(self, name: str, value: Any) -> None:
            if name in SETTABLE:
                assign(self, name, value)
            else:
                super().__setattr__(name, value)

    # Creating, opening, closing

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
        cancelled: Cancel | None = None,
    ) -> Self:
        """Create a session of image files; they are referred to, never moved or changed.

        Parameters
        ----------
        folder
            Of the session; created if it is not there.
        images
            A folder of images (with its sub-folders), or files and folders.
        classes
            Names of what is outlined, without the background.
        preset
            A key of `napari_semigda.model.presets.PRESETS`.
        settings
            How images are normalized and framed; None chooses by their size, and again, when the first round
            begins, by the size of the objects.
        one_object
            Whether there is at most one object in an image.
        weights
            The autoencoder's file or folder, where it is not the preset's own.
        masks
            The folder that `import_masks` is given afterwards: the masks in it are no images to label.
        progress, cancelled
            Told after each file how many are done, and asked.

        Returns
        -------
        Session
            See `left_out` and `notices` for files that became no image.

        Raises
        ------
        SemiGDAError
            When the folder holds a session or remains of one, no image can be read, or it cannot be written.
        Cancelled
            When the person canceled; nothing was written.
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
        cancelled: Cancel | None = None,
    ) -> Self:
        """Create a session of images in memory; they are written as OME-TIFF into its folder `images`.

        Parameters
        ----------
        arrays
            For each name a `Picture`; or the pixels (H, W) or (H, W, C), of NumPy, dask, zarr or xarray.
        folder, classes, preset, settings, one_object, weights, progress, cancelled
            As for `create`, which raises the same errors.
        """
        folder = Path(folder).resolve()
        choices = Choices(classes, preset, settings, one_object, weights)
        return cls(folder, create(folder, arrays, choices, progress=progress, cancelled=cancelled)[0])

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """Open a session as it was left; the images are not touched.

        Parameters
        ----------
        folder
            The session's folder, or the `semigda.json` in it.

        Raises
        ------
        SemiGDAError
            When the folder is no session, a newer version created it, or its manifest is damaged.
        """
        folder = Path(folder)
        folder = (folder.parent if folder.name == MANIFEST_NAME else folder).resolve()
        read_manifest(folder)  # in what is no session nothing is written
        check_folders(folder)
        session = cls(folder)
        if session.read_only is None:
            clean_up(folder)
            with suppress(SemiGDAError, OSError):  # then nothing is changed
                written = (folder / MANIFEST_NAME).stat().st_mtime_ns
                session._mask_changes.undo_interrupted_removal(session.classes.values, written)
        for sentence in left_alone(folder):
            session.warn(sentence)
        encoder = session._file.manifest.encoder
        if encoder is not None and session.rounds.last_model() is None:
            session.warn(
                f"The pre-trained encoder “{encoder}” of this session is no longer supported. The next round "
                "starts with the preset's own encoder; accepted masks are not affected."
            )
        return session

    def close(self) -> None:
        """Free the memory; everything that cannot be computed again is on the disk already."""
        self._examples.clear()
        try:
            if self.read_only is None:
                with suppress(SemiGDAError):
                    self.features.save()
        finally:
            self._base.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def read_only(self) -> str | None:
        """Why nothing can be saved, as a sentence; None where everything can.

        Another program may have the session open, or the folder cannot be written. Everything can be read
        then, and what would change something raises a `SemiGDAError` with that sentence.
        """
        return self._base.read_only

    @property
    def warnings(self) -> tuple[str, ...]:
        """What went wrong without stopping anything, since the session was opened; each once."""
        return self._base.warnings

    def warn(self, message: str) -> None:
        """Remember a warning for the annotator."""
        self._base.warn(message)

    # Adding images

    def add_images(
        self,
        images: Images,
        *,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> int:
        """Add image files behind the others, and save: they are items when the session is opened again.

        Parameters
        ----------
        images, progress, cancelled
            As for `create`; images that the session has already are skipped.

        Returns
        -------
        int
            The number of images added; see `left_out` and `notices` for the others.

        Raises
        ------
        SemiGDAError
            When there is nothing to add, or it cannot be saved.
        Cancelled
            When the person canceled; nothing was added.
        """
        new = self._add(images, progress, cancelled)
        self.left_out, self.notices = new.left_out, new.notices
        return len(new.items)

    def add_arrays(
        self, arrays: Arrays, *, progress: Progress | None = None, cancelled: Cancel | None = None
    ) -> int:
        """Add images in memory, as OME-TIFF in the session's folder `images`; as `add_images`.

        Those that the session has already, with the same name and pixels, are skipped. Where one cannot be
        saved, none is added.
        """
        return len(self._add(arrays, progress, cancelled).items)

    def _add(self, images: Images | Arrays, progress: Progress | None, cancelled: Cancel | None) -> NewItems:
        self._base.check_writable()
        with (
            self._base.lock,
            new_items(
                self.folder, images, self._file.manifest.items, progress=progress, cancelled=cancelled
            ) as new,
        ):
            self._file.change(items=(*self._file.manifest.items, *new.items))
        return new

    # Masks, and what rounds learn from them

    def picture(self, item: Item | str) -> Picture:
        """Read the pixels of an item; see `ImageFiles.read`."""
        return self.images.read(item)

    def prediction(self, item: Item | str) -> NDArray[np.uint8] | None:
        """Read the draft of an item: (H, W) uint8; None without one that can be read."""
        return self.drafts.get(item)

    def accept(self, item: Item | str, labels: NDArray[Any], *, event: str | None = None) -> JournalEntry:
        """Save a mask for good: when this returns, it is on the disk; see `LabelStore.accept`."""
        return self.labels.accept(item, labels, event=event)

    def skip(self, item: Item | str) -> None:
        """Skip an item: not suggested, not trained on, not exported; see `LabelStore.skip`."""
        self.labels.skip(item)

    def import_masks(
        self,
        folder: Path | str,
        *,
        count: int | None = None,
        seed: int | None = None,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> ImportReport:
        """Accept masks made elsewhere; see `napari_semigda.session.importing.import_masks`."""
        self._base.check_writable()
        return import_masks(
            self.labels,
            self.items,
            self.classes,
            self.folder,
            Path(folder),
            count=count,
            seed=seed,
            progress=progress,
            cancelled=cancelled,
        )

    def examples(self, labeled_ids: Collection[str] | None = None) -> tuple[SessionExamples, SessionExamples]:
        """Return the labeled and the unlabeled examples of a round; see `LabelStore.for_training`.

        They are read and prepared when drawn. Items that turn out to be unreadable are replaced by others
        and named in `warnings`.
        """
        labeled, unlabeled = self.labels.for_training(labeled_ids)
        return self.examples_of(labeled, self.labels), self.examples_of(unlabeled, None)

    def examples_of(self, items: Sequence[Item], labels: LabelStore | None) -> SessionExamples:
        """Return these items as examples, labeled ones with the store of their masks."""
        return SessionExamples(items, self.images, labels, self.settings, self._examples, self.warn)
