"""`semigda.json`: what a session is about. Read with suspicion, written as a whole."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.atomic import MayNotLast, cannot_read, cannot_write, write_bytes
from napari_semigda.io.files import read_json, read_own
from napari_semigda.io.pictures import MANIFEST_NAME
from napari_semigda.io.units import clean_unit
from napari_semigda.session.classes import (
    MOST_NAMED,
    ClassInfo,
    with_changed_class,
    with_class,
)
from napari_semigda.session.items import Item, for_people, identity, is_safe_id, items_told_apart
from napari_semigda.session.transaction import current_manifest

SCHEMA_VERSION = 2
"""Of the manifests written here. Older ones are brought into its form; newer ones are refused, untouched."""

_LARGEST_FILE = 128 * 2**20
_MOST_PIXELS = 10**11


@dataclass(frozen=True)
class Manifest:
    """The choices that make a session, and its items.

    Parameters
    ----------
    classes
        In the order of their values; those of classes that were removed are left out.
    preset
        Which autoencoder and sizes; a key of `napari_semigda.model.presets.PRESETS`.
    settings
        How pictures become what the network sees.
    items
        What is to be labeled.
    one_object
        Whether the annotator said that there is one object an image.
    weights
        The autoencoder's file or folder, where it is not the preset's own.
    encoder
        Name of a pre-trained encoder that an earlier version used. No longer supported: kept, but not used.
    created
        When, in UTC, ISO 8601.
    validation
        Ids of the items kept for validation: once accepted they are compared with, not trained on.
    framing_by_objects
        Whether a round that begins anew chooses framing and zoom by the size of the accepted objects.
    schema_version
        Of the file that it was read from.
    """

    classes: tuple[ClassInfo, ...]
    preset: str
    settings: ImageSettings
    items: tuple[Item, ...]
    one_object: bool = False
    weights: Path | None = None
    encoder: str | None = None
    created: str = ""
    validation: tuple[str, ...] = ()
    framing_by_objects: bool = False
    schema_version: int = SCHEMA_VERSION


class ManifestFile:
    """The manifest of an opened session: a change counts once it is on the disk.

    Parameters
    ----------
    folder
        The session's.
    manifest
        As it is on the disk.
    lock
        The session's.

    Attributes
    ----------
    manifest : Manifest
        As it is on the disk now.
    """

    def __init__(self, folder: Path, manifest: Manifest, lock: threading.RLock) -> None:
        self.folder = folder
        self.manifest = manifest
        self._lock = lock
        self._items_text: tuple[tuple[Item, ...], str] | None = None

    def class_count(self) -> int:
        """Count the values up to the highest of a class, with the background and those of removed classes."""
        return self.manifest.classes[-1].value + 1

    def class_values(self) -> tuple[int, ...]:
        """Return the values of the classes, in order."""
        return tuple(one.value for one in self.manifest.classes)

    def change(self, **changes: Any) -> None:
        """Give fields of the manifest other values, and save.

        A manifest of an older version is kept beside it, as `semigda.v1.json`, `semigda.v2.json`, …

        Raises
        ------
        SemiGDAError
            When it cannot be written; then nothing is changed.
        MayNotLast
            When it is written, but the disk failed then.
        """
        with self._lock:
            changed, content = self.changed(**changes)
            try:
                write_bytes(self.folder / MANIFEST_NAME, content)
            except MayNotLast:
                self.manifest = changed
                raise
            self.manifest = changed

    def changed(self, **changes: Any) -> tuple[Manifest, bytes]:
        """Return the manifest with other values in some fields, and what its file would hold.

        Raises
        ------
        SemiGDAError
            When a manifest of an older version cannot be kept beside it.
        """
        with self._lock:
            if self.manifest.schema_version < SCHEMA_VERSION:
                _keep_older(self.folder, self.manifest.schema_version)
            changed = replace(self.manifest, **changes, schema_version=SCHEMA_VERSION)
            if self._items_text is None or self._items_text[0] is not changed.items:
                self._items_text = changed.items, _text_of(changed.items)
            return changed, _content(changed, self._items_text[1])

    def take(self, manifest: Manifest) -> None:
        """Take note of a manifest that is in its place now."""
        with self._lock:
            self.manifest = manifest

    def keep_for_validation(self, item_id: str, keep: bool) -> None:
        """Keep an item for validation, or no longer, and save."""
        with self._lock:
            others = tuple(one for one in self.manifest.validation if one != item_id)
            self.change(validation=(*others, item_id) if keep else others)

    def add_class(self, name: str, color: str | None) -> ClassInfo:
        """Add a class with the next value, and save."""
        with self._lock:
            before = self.manifest.classes
            self.change(classes=with_class(before, name, color))
            return next(one for one in self.manifest.classes if one not in before)

    def change_class(self, value: int, *, name: str | None = None, color: str | None = None) -> None:
        """Give the class with this value another name or color, and save."""
        with self._lock:
            self.change(classes=with_changed_class(self.manifest.classes, value, name, color))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the `semigda.json` of a new session, atomically; one that is there already is never replaced.

    Raises
    ------
    SemiGDAError
        When it cannot be written, or another program made a session there in this moment.
    """
    write_bytes(folder / MANIFEST_NAME, _content(manifest, _text_of(manifest.items)), new=True)


def _content(manifest: Manifest, items: str) -> bytes:
    """Return a manifest as JSON, with that of its items, which is nearly all of it and seldom changes."""
    value = {
        "schema_version": SCHEMA_VERSION,
        "created": manifest.created,
        "classes": [{"value": one.value, "name": one.name, "color": one.color} for one in manifest.classes],
        "preset": manifest.preset,
        "weights": None if manifest.weights is None else manifest.weights.as_posix(),
        "encoder": manifest.encoder,
        "one_object": manifest.one_object,
        "settings": manifest.settings.to_dict(),
        "framing_by_objects": manifest.framing_by_objects,
        "validation": list(manifest.validation),
    }
    head = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    text = f'{head},\n "items": [\n{items}\n ]\n}}\n'
    return text.encode("utf-8", errors="surrogatepass")


def _keep_older(folder: Path, version: int) -> None:
    """Copy a manifest before it is written in a newer form; a copy that is there already stays."""
    path, number = folder / MANIFEST_NAME, 1
    try:
        content = read_own(path)
        while os.path.lexists(kept := _kept_name(path, version, number)) and read_own(kept) != content:
            number += 1
    except OSError as error:
        raise cannot_write(path, error) from error
    write_bytes(kept, content)


def _kept_name(path: Path, version: int, number: int) -> Path:
    return path.with_suffix(f".v{version}{'' if number == 1 else f'-{number}'}{path.suffix}")


def _text_of(items: Iterable[Item]) -> str:
    """Write items as JSON, one a line."""
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    return ",\n".join(f"  {encode(_item_values(item))}" for item in items)


def read_manifest(folder: Path) -> Manifest:
    """Read `semigda.json` from a session folder.

    Raises
    ------
    SemiGDAError
        When the folder is no session, a newer version made it, or a field is not what it should be; the
        message names the file and the field.
    """
    path = folder / MANIFEST_NAME
    current = path
    with suppress(SemiGDAError):  # a damaged record is told where the session is opened
        current = current_manifest(folder)
    if current != path and not current.exists():
        current = path  # it has taken its place in this moment
    fields = _Fields(_read_json(current), path)
    version = fields.take("schema_version", int)
    if version > SCHEMA_VERSION:
        raise SemiGDAError(
            f"“{folder}” was made by a newer version of napari-semigda (its schema version is {version}, "
            f"this one knows {SCHEMA_VERSION}). Update napari-semigda to open it; nothing was changed."
        )
    if version < 1:
        raise fields.wrong("schema_version", f"is {version}, but versions start at 1")
    fields = _Fields(migrated(fields.values, version), path)
    return Manifest(
        classes=tuple(_read_classes(fields)),
        preset=fields.take("preset", str),
        settings=_read_settings(fields),
        items=items_told_apart(list(_read_items(fields))),
        one_object=fields.take("one_object", bool, default=False),
        weights=Path(weights) if (weights := fields.take("weights", str, default=None)) else None,
        encoder=fields.take("encoder", str, default=None),
        created=fields.take("created", str, default=""),
        validation=tuple(one for one in fields.take("validation", list) if isinstance(one, str)),
        framing_by_objects=fields.take("framing_by_objects", bool),
        schema_version=version,
    )


def migrated(values: Mapping[str, Any], version: int) -> Mapping[str, Any]:
    """Bring the fields of an older manifest, step by step, into the form of today."""
    for older in range(version, SCHEMA_VERSION):
        values = MIGRATIONS[older](values)
    return values


def _from_1(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add what came later. Programs that know version 1 alone would lose it on saving: hence version 2."""
    return {"encoder": None, "validation": [], "framing_by_objects": False, **values}


MIGRATIONS: dict[int, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {1: _from_1}
"""By the version that they read; each gives the form of the next."""


class _Fields:
    """The fields of one JSON object, handed out only where they are of the right type."""

    def __init__(self, values: Any, path: Path, within: str = "") -> None:
        self.path, self.within = path, within
        if not isinstance(values, Mapping):
            raise self.wrong("", "is not an object with named fields")
        self.values = values

    def take(self, name: str, kind: type, **default: Any) -> Any:
        """Return the field; `default` stands in where it is missing (or null, if the default is None)."""
        value = self.values.get(name, default.get("default"))
        if value is None and "default" in default:
            return default["default"]
        if name not in self.values and "default" not in default:
            raise self.wrong(name, "is missing")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(name, f"should be {_KINDS[kind]}, but is {_shown(value)}")
        return value

    def objects(self, name: str) -> list["_Fields"]:
        """Return the objects in a list."""
        return [
            _Fields(value, self.path, f"{self.within}{name}[{index}].")
            for index, value in enumerate(self.take(name, list))
        ]

    def pair(self, name: str, *, default: list[float] | None = None, whole: bool = False) -> list[float]:
        """Return two positive numbers, whole ones if asked."""
        values: list[float] = (
            self.take(name, list) if default is None else self.take(name, list, default=default)
        )
        if len(values) != 2 or not all(_is_positive(value, whole) for value in values):
            kind = "whole numbers" if whole else "numbers"
            raise self.wrong(name, f"should be two positive {kind}, but is {_shown(values)}")
        return values

    def wrong(self, name: str, what: str) -> SemiGDAError:
        """Return the error that names the file and the field."""
        field = f"{self.within}{name}".strip(".")
        return SemiGDAError(
            f"“{self.path}” is damaged: {f'the field “{field}”' if field else 'its content'} {what}. "
            "Mend it by hand or bring back a copy; the masks beside it are not touched."
        )


_KINDS = {int: "a whole number", str: "a text", bool: "true or false", list: "a list", dict: "an object"}


def _is_positive(value: Any, whole: bool) -> bool:
    kinds = (int,) if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 < value <= sys.float_info.max


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "nested too deeply"
    return text if len(text) <= 60 else text[:57] + "…"


def _read_json(path: Path) -> Any:
    try:
        return read_json(path, most=_LARGEST_FILE)
    except FileNotFoundError as error:
        raise SemiGDAError(
            f"“{path.parent}” is no session: it has no {path.name}. Choose another folder, "
            "or make a new session."
        ) from error
    except OSError as error:
        raise cannot_read(path, error) from error
    except ValueError as error:
        raise SemiGDAError(
            f"“{path}” is damaged: it is not valid JSON ({error}). "
            "Mend it by hand or bring back a copy; the masks beside it are not touched."
        ) from error


def _read_classes(fields: _Fields) -> Iterable[ClassInfo]:
    found = fields.objects("classes")
    if not 1 <= len(found) <= MOST_NAMED:
        raise fields.wrong("classes", f"should hold 1 to {MOST_NAMED} classes, but holds {len(found)}")
    before = 0
    for one in found:
        value = one.take("value", int)
        if value <= before:
            raise one.wrong("value", f"should be above {before}, because values rise from 1 on")
        before = value
        name, color = one.take("name", str), one.take("color", str)
        try:
            yield ClassInfo(value, name, color)
        except SemiGDAError as error:
            raise one.wrong("", f"is no class ({error})") from error


def _read_settings(fields: _Fields) -> ImageSettings:
    try:
        return ImageSettings.from_dict(fields.take("settings", dict))
    except (SemiGDAError, TypeError, ValueError) as error:
        raise fields.wrong("settings", f"cannot be used: {error}") from error


def _read_items(fields: _Fields) -> Iterable[Item]:
    seen: set[str] = set()
    for one in fields.objects("items"):
        item_id = one.take("id", str)
        if not is_safe_id(item_id) or identity(item_id) in seen:
            raise one.wrong("id", f"is {_shown(item_id)}, which is unsafe as a file name or there twice")
        seen.add(identity(item_id))
        path = one.take("path", str)
        if not path or "\0" in path:
            raise one.wrong("path", f"is {_shown(path)}, which names no file")
        series, index = one.take("series", int, default=0), one.take("index", int, default=0)
        if min(series, index) < 0:
            raise one.wrong("index", "is below 0")
        height, width = one.pair("shape", whole=True)
        if height * width > _MOST_PIXELS:
            raise one.wrong("shape", "is larger than any picture")
        pixel_size = one.pair("pixel_size", default=[1.0, 1.0])
        yield Item(
            id=item_id,
            name=for_people(one.take("name", str)),
            path=path,
            shape=(int(height), int(width)),
            series=series,
            index=index,
            pixel_size=(float(pixel_size[0]), float(pixel_size[1])),
            unit=clean_unit(one.take("unit", str, default="pixel")),
            upright=one.take("upright", bool, default=False),
        )


def _item_values(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "name": item.name,
        "path": item.path,
        "series": item.series,
        "index": item.index,
        "shape": list(item.shape),
        "pixel_size": list(item.pixel_size),
        "unit": item.unit,
        **({"upright": True} if item.upright else {}),
    }
