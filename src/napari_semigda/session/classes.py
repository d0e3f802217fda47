"""The classes of a session, each with its value in the label files, a name and a color."""

import colorsys
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from napari_semigda.errors import SemiGDAError
from napari_semigda.model.annotation import MOST_CLASSES

MOST_NAMED = MOST_CLASSES - 1  # classes that can have a name: the network's, without the background
_LONGEST_NAME = 100
# Okabe and Ito's colors, which people with any color vision can distinguish
_FIRST_COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")


@dataclass(frozen=True)
class ClassInfo:
    """One class: value in label files (1 … 253), name and color, ``"#rrggbb"``; else a `SemiGDAError`."""

    value: int
    name: str
    color: str

    def __post_init__(self) -> None:
        if not 1 <= self.value <= MOST_NAMED:
            raise SemiGDAError(f"A class has a value from 1 to {MOST_NAMED}, not {self.value}.")
        if not self.name.strip() or len(self.name) > _LONGEST_NAME or not self.name.isprintable():
            raise SemiGDAError(
                f"{self.name!r} cannot be the name of a class: "
                f"it needs 1 to {_LONGEST_NAME} visible characters."
            )
        if re.fullmatch("#[0-9a-f]{6}", self.color) is None:
            raise SemiGDAError(f"A color is written like #e69f00, not {self.color!r}.")


def named_classes(names: Iterable[str]) -> tuple[ClassInfo, ...]:
    """Number the classes 1, 2, … in this order and give each its own color."""
    classes: tuple[ClassInfo, ...] = ()
    for name in names:
        classes = with_class(classes, name)
    if not classes:
        raise SemiGDAError("A session needs at least one class; name what is to be outlined.")
    return classes


def with_class(classes: Sequence[ClassInfo], name: str, color: str | None = None) -> tuple[ClassInfo, ...]:
    """Add a class with the next value, or where there is none with a free one; raises `SemiGDAError`."""
    if len(classes) >= MOST_NAMED:
        raise SemiGDAError(f"A session can have {MOST_NAMED} classes; there is no room for “{name}”.")
    _refuse_twin(classes, name)
    used = {one.value for one in classes}
    highest = max(used, default=0)
    value = highest + 1 if highest < MOST_NAMED else min(set(range(1, MOST_NAMED)) - used)
    added = ClassInfo(value, name.strip(), (color or _color(value - 1)).lower())
    return tuple(sorted((*classes, added), key=lambda one: one.value))


def with_changed_class(
    classes: Sequence[ClassInfo], value: int, name: str | None, color: str | None
) -> tuple[ClassInfo, ...]:
    """Give the class with this value another name or color, unless None; raises `SemiGDAError`."""
    old = class_of(classes, value)
    if name is not None:
        _refuse_twin([one for one in classes if one.value != value], name)
    name, color = old.name if name is None else name.strip(), old.color if color is None else color.lower()
    new = ClassInfo(value, name, color)
    return tuple(new if one.value == value else one for one in classes)


def without_class(classes: Sequence[ClassInfo], value: int) -> tuple[ClassInfo, ...]:
    """Remove a class; the others keep their values. Raises a `SemiGDAError` for the only one."""
    class_of(classes, value)
    if len(classes) == 1:
        raise SemiGDAError("A session needs at least one class. Rename this one, or add another first.")
    return tuple(one for one in classes if one.value != value)


def class_of(classes: Iterable[ClassInfo], value: int) -> ClassInfo:
    """Return the class with this value; raises a `SemiGDAError` without one."""
    for one in classes:
        if one.value == value:
            return one
    raise SemiGDAError(f"There is no class with the value {value}.")


def _refuse_twin(classes: Iterable[ClassInfo], name: str) -> None:
    def folded(name: str) -> str:
        return unicodedata.normalize("NFKC", name).casefold().strip()

    if any(folded(one.name) == folded(name) for one in classes):
        raise SemiGDAError(f"There is a class “{name.strip()}” already; choose another name.")


def _color(index: int) -> str:
    """Return the color of the class with this index: well-known colors first, then new hues."""
    if index < len(_FIRST_COLORS):
        return _FIRST_COLORS[index]
    step = index - len(_FIRST_COLORS)
    hue = (0.08 + step * 0.6180339887) % 1
    lightness = (0.62, 0.42, 0.78)[step % 3]
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, lightness, 0.75))
    return f"#{red:02x}{green:02x}{blue:02x}"
