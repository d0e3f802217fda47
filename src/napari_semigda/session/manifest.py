"""`semigda.json`: what a session is about. It may come from a stranger, and is written as a whole."""

import json
import math
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    NonNegativeInt,
    PositiveInt,
    Strict,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.atomic import MayNotLast, cannot_read, cannot_write, write_bytes
from napari_semigda.io.files import read_json, read_own
from napari_semigda.io.pictures import MANIFEST_NAME
from napari_semigda.io.units import clean_unit
from napari_semigda.session.classes import MOST_NAMED, ClassInfo
from napari_semigda.session.items import Item, for_people, identity, is_safe_id, items_told_apart
from napari_semigda.session.transaction import current_manifest

SCHEMA_VERSION = 2
"""Of the manifests written here. Older ones are converted; newer ones are refused, untouched."""

_LARGEST_FILE = 128 * 2**20
_MOST_PIXELS = 10**11


@dataclass(frozen=True)
class Manifest:
    """The choices that define a session, and its items.

    Classes are in the order of their values, without removed ones. Items of `validation` (ids) are compared
    with once accepted, not trained on. `framing_by_objects`: training from scratch chooses framing and zoom
    by the size of the accepted objects. `encoder` names a pre-trained encoder of earlier versions, kept but
    not used. `created` is in UTC, ISO 8601; `schema_version` that of the file that was read.
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
    """The `manifest` of an opened session, as it is on the disk: a change counts once it is there."""

    def __init__(self, folder: Path, manifest: Manifest, lock: threading.RLock) -> None:
        self.folder = folder
        self.manifest = manifest
        self._lock = lock
        self._items_text: tuple[tuple[Item, ...], str] | None = None

    def change(self, **changes: Any) -> None:
        """Give fields of the manifest other values, and save.

        A manifest of an older version is kept beside it, as `semigda.v1.json`, `semigda.v2.json`, … Nothing
        is changed when it cannot be written; `MayNotLast` says that it is written, but the disk failed then.
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
        """Return the manifest with other values in some fields, and the content of its file."""
        with self._lock:
            if self.manifest.schema_version < SCHEMA_VERSION:
                _keep_older(self.folder, self.manifest.schema_version)
            changed = replace(self.manifest, **changes, schema_version=SCHEMA_VERSION)
            if self._items_text is None or self._items_text[0] is not changed.items:
                self._items_text = changed.items, _text_of(changed.items)
            return changed, _content(changed, self._items_text[1])

    def take(self, manifest: Manifest) -> None:
        """Take over a manifest that is on the disk now."""
        with self._lock:
            self.manifest = manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the `semigda.json` of a new session; one that already exists is never replaced."""
    write_bytes(folder / MANIFEST_NAME, _content(manifest, _text_of(manifest.items)), new=True)


def _content(manifest: Manifest, items: str) -> bytes:
    value = {
        "schema_version": SCHEMA_VERSION,
        "created": manifest.created,
        "classes": [asdict(one) for one in manifest.classes],
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


def _text_of(items: Iterable[Item]) -> str:
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    names = ("id", "name", "path", "series", "index", "shape", "pixel_size", "unit")
    values = (
        {name: getattr(item, name) for name in names} | ({"upright": True} if item.upright else {})
        for item in items
    )
    return ",\n".join(f"  {encode(one)}" for one in values)


def _keep_older(folder: Path, version: int) -> None:
    path, number = folder / MANIFEST_NAME, 1
    try:
        content, kept = read_own(path), path.with_suffix(f".v{version}.json")
        while os.path.lexists(kept) and read_own(kept) != content:
            number += 1
            kept = path.with_suffix(f".v{version}-{number}.json")
    except OSError as error:
        raise cannot_write(path, error) from error
    write_bytes(kept, content)


def read_manifest(folder: Path) -> Manifest:
    """Read `semigda.json` from a session folder.

    Raises a `SemiGDAError` when the folder is no session, a newer version wrote it, or a field is wrong.
    """
    path = current = folder / MANIFEST_NAME
    with suppress(SemiGDAError):  # a damaged record is reported where the session is opened
        current = current_manifest(folder)
    values = _read_json(current if current.exists() else path)  # it may be renamed in this moment
    try:
        version = _Version.model_validate(values).schema_version
        if version > SCHEMA_VERSION:
            raise SemiGDAError(
                f"“{folder}” was made by a newer version of napari-semigda (its schema version is {version}, "
                f"this one knows {SCHEMA_VERSION}). Update napari-semigda to open it; nothing was changed."
            )
        for older in range(version, SCHEMA_VERSION):
            values = MIGRATIONS[older](values)
        return _manifest(_OnDisk.model_validate(values), version, path)
    except ValidationError as error:
        raise _damaged(path, *_in_words(error.errors(include_url=False)[0])) from error


MIGRATIONS: dict[int, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    # Programs that know version 1 alone would lose what is added here on saving: hence version 2.
    1: lambda values: {"encoder": None, "validation": [], "framing_by_objects": False, **values},
}
"""By the version that they read; each gives the form of the next."""


class _Fields(BaseModel):
    """An object of JSON with fields of exactly these types; null counts as missing."""

    model_config = ConfigDict(strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None}


def _only(sound: Callable[[Any], bool], wrong: str) -> AfterValidator:
    """Refuse other values, saying what is wrong with them; `{}` is the value."""

    def checked(value: Any) -> Any:
        if not sound(value):
            raise PydanticCustomError("refused", "It {what}", {"what": wrong.format(_shown(value))})
        return value

    return AfterValidator(checked)


_Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Version(_Fields):
    schema_version: PositiveInt


class _Class(_Fields):
    value: int
    name: str
    color: str


class _Item(_Fields):
    id: Annotated[str, _only(is_safe_id, "is {}, which is unsafe as a file name")]
    name: Annotated[str, AfterValidator(for_people)]
    path: Annotated[str, _only(lambda path: path and "\0" not in path, "is {}, which names no file")]
    shape: Annotated[
        tuple[PositiveInt, PositiveInt],
        Strict(False),
        _only(lambda shape: math.prod(shape) <= _MOST_PIXELS, "is larger than any image"),
    ]
    series: NonNegativeInt = 0
    index: NonNegativeInt = 0
    pixel_size: Annotated[tuple[_Length, _Length], Strict(False)] = (1.0, 1.0)
    unit: Annotated[str, AfterValidator(clean_unit)] = "pixel"
    upright: bool = False


class _OnDisk(_Fields):
    classes: Annotated[list[_Class], FailFast(), Field(min_length=1, max_length=MOST_NAMED)]
    preset: str
    settings: dict[str, Any]
    items: Annotated[list[_Item], FailFast()]
    one_object: bool = False
    weights: str = ""
    encoder: str | None = None
    created: str = ""
    validation: list[Any]
    framing_by_objects: bool


def _manifest(read: _OnDisk, version: int, path: Path) -> Manifest:
    seen: set[str] = set()
    for index, one in enumerate(read.items):
        if (same := identity(one.id)) in seen:
            raise _damaged(path, f"items[{index}].id", f"is {_shown(one.id)}, which is used twice")
        seen.add(same)
    try:
        settings = ImageSettings.from_dict(read.settings)
    except (SemiGDAError, TypeError, ValueError) as error:
        raise _damaged(path, "settings", f"could not be used: {error}") from error
    fields = dict(read) | {
        "classes": tuple(_classes(read.classes, path)),
        "settings": settings,
        "items": items_told_apart([Item(**dict(one)) for one in read.items]),
        "weights": Path(read.weights) if read.weights else None,
        "validation": tuple(one for one in read.validation if isinstance(one, str)),
    }
    return Manifest(**fields, schema_version=version)


def _classes(found: list[_Class], path: Path) -> Iterable[ClassInfo]:
    before = 0
    for index, one in enumerate(found):
        if one.value <= before:
            what = f"should be above {before}, because values rise from 1 on"
            raise _damaged(path, f"classes[{index}].value", what)
        before = one.value
        try:
            yield ClassInfo(**dict(one))
        except SemiGDAError as error:
            raise _damaged(path, f"classes[{index}]", f"is no class ({error})") from error


def _damaged(path: Path, field: str, what: str) -> SemiGDAError:
    return SemiGDAError(
        f"“{path}” is damaged: {f'the field “{field}”' if field else 'its content'} {what}. "
        "Repair it or restore a copy; the masks are not affected."
    )


def _in_words(error: ErrorDetails) -> tuple[str, str]:
    """Return the name of a wrong field, and what is wrong with it."""
    loc, kind = error["loc"], error["type"]
    if len(loc) > 1 and loc[-2] in ("shape", "pixel_size"):
        loc = loc[:-1]  # the pair is named, not its half
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    if kind in ("missing", "model_type"):
        return field, "is missing" if kind == "missing" else "is not an object with named fields"
    what = error["msg"].partition(" ")[2]  # such as: Input should be a valid string
    return field, what if kind == "refused" else f"{what}, but is {_shown(error['input'])}"


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "nested too deeply"
    text = text.encode(errors="backslashreplace").decode()  # pydantic takes no half of a pair
    return text if len(text) <= 60 else text[:57] + "…"


def _read_json(path: Path) -> Any:
    try:
        return read_json(path, most=_LARGEST_FILE)
    except FileNotFoundError as error:
        raise SemiGDAError(
            f"“{path.parent}” is not a session: it has no {path.name}. Choose another folder, or create "
            "a new session."
        ) from error
    except OSError as error:
        raise cannot_read(path, error) from error
    except ValueError as error:
        raise _damaged(path, "", f"is not valid JSON ({error})") from error
