"""The size of a pixel: lengths in a file's own units, converted to µm, and units that are safe to write."""

import math
import unicodedata
from typing import Any

MICROMETERS = {
    **dict.fromkeys(("m", "meter"), 1e6),
    **dict.fromkeys(("dm", "decimeter"), 1e5),
    **dict.fromkeys(("cm", "centimeter"), 1e4),
    **dict.fromkeys(("mm", "millimeter"), 1e3),
    **dict.fromkeys(("µm", "um", "micron", "microns", "micrometer"), 1.0),
    **dict.fromkeys(("nm", "nanometer"), 1e-3),
    **dict.fromkeys(("å", "angstrom"), 1e-4),
    **dict.fromkeys(("pm", "picometer"), 1e-6),
    **dict.fromkeys(("in", "inch"), 25_400.0),
}
"""Micrometers in a unit, by its name in lower case."""

_LONGEST_UNIT = 32  # characters

PixelSize = tuple[tuple[float, float], str]
"""(y, x) and their unit."""

NO_SIZE: PixelSize = ((1.0, 1.0), "pixel")
"""An unknown size."""

OTHER_UNIT = "reference frame"
"""OME's word for a length without a unit, or in one that it does not know."""

_PRINTED_FROM = 10.0  # µm: where only TIFF's resolution is given, larger pixels are those of a print
_PRINT_DENSITIES = (
    *(72, 75, 96, 100, 120, 144, 150, 180, 200, 220, 240, 254, 266, 300),
    *(350, 360, 400, 480, 600, 720, 800, 1200, 1440, 2400),
)


_OME_UNITS = frozenset(
    {f"{prefix}m" for prefix in ("Y", "Z", "E", "P", "T", "G", "M", "k", "h", "da", "", "d", "c", "m", "µ")}
    | {"nm", "pm", "fm", "am", "zm", "ym", "Å", "thou", "li", "in", "ft", "yd", "mi", "pt", "pixel"}
)
_LONG_NAMES = {"meter": "m", "centimeter": "cm", "millimeter": "mm", "micrometer": "µm", "nanometer": "nm"}
_LONG_NAMES |= {"angstrom": "Å", "inch": "in"}


def clean_unit(unit: str) -> str:
    """Return a unit as one short line of printable text, that any file can hold; ``"pixel"`` for none.

    Examples
    --------
    >>> clean_unit(" µm"), clean_unit("x" + chr(10) + "images=7"), clean_unit(chr(0))
    ('µm', 'x images=7', 'pixel')
    """
    # Normalizing makes text longer, and a file may hold millions of letters.
    start = unit[: 8 * _LONGEST_UNIT]
    text = unicodedata.normalize("NFKC", start).replace("\u03bc", "µ")
    words = "".join(letter if letter.isprintable() else " " for letter in text).split()
    short = " ".join(words)[:_LONGEST_UNIT].strip()
    return "pixel" if short in ("", "pixels") else short


def size_of_pixel(y: tuple[float, str], x: tuple[float, str]) -> PixelSize:
    """Convert a pixel's height and width, each with its unit, to one unit."""
    (height, unit_y), (width, unit) = y, x
    sizes = (height * MICROMETERS.get(unit_y, 1.0) / MICROMETERS.get(unit, 1.0), width)
    return from_density(tuple(1 / size if size else 0.0 for size in sizes), unit)


def from_density(per_unit: tuple[float, ...], unit: str) -> PixelSize:
    """Turn pixels per unit (y, x) into the size of a pixel; one pixel where they make no sense."""
    unit = clean_unit(unit)
    known = MICROMETERS.get(unit.lower())
    sizes = tuple((known or 1.0) / ratio if ratio > 0 else 0.0 for ratio in per_unit)
    if unit == "pixel" or not all(0 < size < math.inf for size in sizes):
        return NO_SIZE
    return (sizes[0], sizes[1]), "µm" if known else unit


def unless_printed(size: PixelSize) -> PixelSize:
    """Drop a size that comes from TIFF's resolution alone and only says how large to print the image."""
    (height, width), unit = size
    return NO_SIZE if unit == "µm" and max(height, width) >= _PRINTED_FROM else size


def unless_dots_per_inch(per_inch: float, size: PixelSize) -> PixelSize:
    """Drop a size in inches whose density is one that printers and screens have."""
    near = any(abs(per_inch - density) <= 0.005 * density for density in _PRINT_DENSITIES)
    return NO_SIZE if near else size


def number_in(value: Any) -> float:
    """Return the finite number that metadata hold, 0 where they hold none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) else 0.0


def ome_unit(unit: str) -> str:
    """Return a unit (``"µm"``, ``"micrometer"``) as OME writes it; others are its "reference frame"."""
    short = _LONG_NAMES.get(unit, unit)
    return short if short in _OME_UNITS else OTHER_UNIT
