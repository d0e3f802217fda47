"""The classes of an opened session: adding, changing and removing them, with the masks that hold them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from napari_semigda.io.atomic import write_bytes
from napari_semigda.io.pictures import MANIFEST_NAME
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.pace import Cancel, Progress
from napari_semigda.session.classes import ClassInfo, class_of, with_changed_class, with_class, without_class
from napari_semigda.session.folder import SessionFolder
from napari_semigda.session.items import Item
from napari_semigda.session.live import LiveSequence
from napari_semigda.session.manifest import ManifestFile
from napari_semigda.session.mask_changes import Change, ChangedMask, MaskChanges, NewManifest, replaced
from napari_semigda.session.transaction import pending_name


class ClassUse(NamedTuple):
    """The items on which a class is painted: in accepted masks, and in masks not accepted yet."""

    accepted: tuple[Item, ...]
    painted: tuple[Item, ...]

    @property
    def images(self) -> int:
        """The number of images that hold it."""
        return len({item.id for item in (*self.accepted, *self.painted)})


class ClassList(LiveSequence[ClassInfo]):
    """The classes of a session, without the background, in the order of their values; a live sequence.

    Every change is saved, or raises a `SemiGDAError` and changes nothing. What takes long can be canceled
    before anything is changed, and then raises `Cancelled`.
    """

    def __init__(self, folder: SessionFolder, manifest: ManifestFile, masks: MaskChanges) -> None:
        self._folder, self._manifest, self._masks = folder, manifest, masks

    def _now(self) -> tuple[ClassInfo, ...]:
        return self._manifest.manifest.classes

    @property
    def values(self) -> tuple[int, ...]:
        """The values of the classes in masks, in order."""
        return tuple(info.value for info in self._now())

    @property
    def names(self) -> list[str]:
        """The classes' names by value, from 1 on; empty texts stand for removed classes."""
        names = {info.value: info.name for info in self._now()}
        return [names.get(value, "") for value in range(1, self.channels)]

    @property
    def channels(self) -> int:
        """Number of outputs of the network: the background, and all values up to the highest of a class."""
        return self._now()[-1].value + 1

    def add(
        self,
        name: str,
        color: str | None = None,
        *,
        occurs_in_accepted: bool = False,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> ClassInfo:
        """Add a class with the next value; color is ``"#rrggbb"``, or None for the next one.

        Where the class `occurs_in_accepted` images, in which nobody painted it, the background of their masks
        becomes unlabeled, see `unlabel_background`. Else it stays, and training takes it for background that
        is not of the new class.
        """
        self._folder.check_writable()
        with self._folder.lock:
            before = self._now()
            added = with_class(before, name, color)
            if not occurs_in_accepted:
                self._manifest.change(classes=added)
        if occurs_in_accepted:
            self._unlabel_background(
                name,
                replaced(0, UNKNOWN),
                progress,
                cancelled,
                lambda: self._new_manifest(with_class(self._now(), name, color)),
            )
        return next(info for info in self._now() if info not in before)

    def rename(self, value: int, name: str) -> None:
        """Give the class with this value another name; masks are not touched."""
        self._change(value, name, None)

    def recolor(self, value: int, color: str) -> None:
        """Give the class with this value another color, ``"#rrggbb"``."""
        self._change(value, None, color)

    def _change(self, value: int, name: str | None, color: str | None) -> None:
        self._folder.check_writable()
        with self._folder.lock:
            self._manifest.change(classes=with_changed_class(self._now(), value, name, color))

    def use(
        self, value: int, *, progress: Progress | None = None, cancelled: Cancel | None = None
    ) -> ClassUse:
        """Return the items on which the class with this value is painted; raises `Cancelled`."""
        accepted = self._masks.holding(self._masks.accepted, value, progress, cancelled)
        return ClassUse(accepted, self._masks.holding(self._masks.edits, value))

    def remove(
        self, value: int, *, progress: Progress | None = None, cancelled: Cancel | None = None
    ) -> ClassUse:
        """Remove a class; its pixels become unlabeled, in all masks or, where that fails, in none.

        The other classes keep their values, and masks without this one are not touched. The masks as they
        were are kept as `labels/<id>.replaced-N.tif` (and in `edits`), and the journal says so.
        """
        self._folder.check_writable()
        without_class(self._now(), value)
        name = class_of(self._now(), value).name
        changed = self._masks.change(
            replaced(value, UNKNOWN),
            f"Removing the class “{name}” from",
            "class removed",
            f"the pixels of “{name}” are unlabeled",
            manifest=lambda: self._new_manifest(without_class(self._now(), value)),
            progress=progress,
            cancelled=cancelled,
        )
        accepted = tuple(one.item for one in changed if one.masks is self._masks.accepted)
        return ClassUse(accepted, tuple(one.item for one in changed if one.masks is self._masks.edits))

    def unlabel_background(
        self, value: int, *, progress: Progress | None = None, cancelled: Cancel | None = None
    ) -> list[ChangedMask]:
        """Make the background of the accepted masks unlabeled, for a class that was added later.

        Nobody painted the class in images accepted before; their background would teach that it does not
        occur. Masks on which the class is painted stay, and so do all that are accepted from now on. The
        masks as they were are kept as `labels/<id>.replaced-N.tif`, and can be restored by `restore_masks`.
        """
        self._folder.check_writable()
        unlabel = replaced(0, UNKNOWN)
        return self._unlabel_background(
            class_of(self._now(), value).name,
            lambda mask: mask if (mask == value).any() else unlabel(mask),
            progress,
            cancelled,
        )

    def restore_masks(self, changed: Sequence[ChangedMask]) -> list[Item]:
        """Restore the masks that `unlabel_background` changed, but for those accepted again since.

        Returns the items whose accepted mask was restored.
        """
        self._folder.check_writable()
        return self._masks.restore(changed, "Restoring", "as it was before its background became unlabeled")

    def _unlabel_background(
        self,
        name: str,
        change: Change,
        progress: Progress | None,
        cancelled: Cancel | None,
        manifest: NewManifest | None = None,
    ) -> list[ChangedMask]:
        return self._masks.change(
            change,
            f"Making the background unlabeled for “{name}” in",
            "background unlabeled",
            f"“{name}” was added later and may be there",
            manifest=manifest,
            among=self._masks.accepted.ids(),
            progress=progress,
            cancelled=cancelled,
        )

    def _new_manifest(self, classes: tuple[ClassInfo, ...]) -> tuple[Path, Callable[[], Any]]:
        """Write a changed manifest beside the present one; return the file, and what to call later."""
        manifest, content = self._manifest.changed(classes=classes)
        path = pending_name(self._folder.path / MANIFEST_NAME)
        write_bytes(path, content, durable=False)
        return path, lambda: self._manifest.take(manifest)
