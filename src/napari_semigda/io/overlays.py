"""Images for people: with the outlines of the classes, and many of them on one sheet."""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, binary_erosion

from napari_semigda.io.atomic import atomic_file
from napari_semigda.io.masks import UNLABELED, Legend, color_table

Colors = NDArray[np.uint8]
"""(H, W, 3)."""
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_PIXELS_A_LINE = 300  # long side of an image whose outlines are one pixel wide
_LARGEST_SIDE, _LONGEST_SHEET = 200, 8000  # pixels of a small image, and of the sheet
_SMALLEST_WITH_NAME = 80
_MARGIN, _TEXT, _TITLE = 8, 12, 18
_PAPER, _INK, _SHADE, _HATCHING = (255, 255, 255), (30, 30, 30), (0, 0, 0), (190, 190, 190)
_HATCH = 8  # line widths from one diagonal to the next
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)


def draw_outlines(picture: Colors, mask: NDArray[np.uint8], legend: Legend) -> Colors:
    """Return an image (H, W, 3) uint8 with the outlines of a label map in the colors of the classes.

    The colored line is inside the object, with a thin dark one around it; what is unlabeled is hatched.
    """
    width = max(1, round(max(mask.shape) / _PIXELS_A_LINE))
    drawn = _hatched(picture, mask == UNLABELED, width)
    table = color_table(legend).T
    for one in legend.classes:
        inside = mask == one.value
        if inside.any():
            around = binary_dilation(inside, _CROSS, iterations=max(1, width // 2)) & ~inside
            drawn[around] = _SHADE
            core = binary_erosion(inside, _CROSS, iterations=width, border_value=1)
            drawn[inside & ~core] = table[one.value]
    return drawn


def _hatched(picture: Colors, where: NDArray[np.bool_], width: int) -> Colors:
    """Draw gray diagonal lines over a part of an image."""
    drawn = picture.copy()
    drawn[where] = drawn[where] // 2 + 64
    rows, columns = np.nonzero(where)
    on_line = (rows + columns) // width % _HATCH == 0
    drawn[rows[on_line], columns[on_line]] = _HATCHING
    return drawn


def write_png(path: Path | str, picture: Colors) -> None:
    """Write an image as PNG; atomic."""
    with atomic_file(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def write_contact_sheet(
    path: Path | str,
    title: str,
    legend: Legend,
    count: int,
    pictures: Iterable[tuple[Colors, NDArray[np.uint8], str]],
) -> None:
    """Write small images in rows as one PNG, each with the outlines of its label map and its name.

    A title and the colors of the classes are on top. The larger the `count` of images, the smaller they are;
    very small ones have no names.
    """
    columns = max(1, math.ceil(math.sqrt(count * 1.3)))
    side = min(_LARGEST_SIDE, max(16, _LONGEST_SHEET // columns - _MARGIN))
    named = side >= _SMALLEST_WITH_NAME
    height = side + _MARGIN + (_TEXT + 4 if named else 0)
    top = 2 * _MARGIN + _TITLE + (_TEXT + _MARGIN if legend.classes else 0)
    size = _MARGIN + columns * (side + _MARGIN), top + math.ceil(count / columns) * height + _MARGIN
    sheet = Image.new("RGB", (max(size[0], 400), size[1]), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT)
    _write(pen, (_MARGIN, _MARGIN), title, sheet.width - 2 * _MARGIN, ImageFont.load_default(_TITLE))
    _write_classes(pen, legend, sheet.width - 3 * _MARGIN, font)
    for number, (picture, mask, name) in enumerate(pictures):
        row, column = divmod(number, columns)
        scale = side / max(mask.shape)
        wide, high = (max(1, round(length * scale)) for length in reversed(mask.shape))
        small = Image.fromarray(picture).resize((wide, high), Image.Resampling.LANCZOS, reducing_gap=2.0)
        small_mask = Image.fromarray(mask).resize((wide, high), Image.Resampling.NEAREST)
        drawn = Image.fromarray(draw_outlines(np.asarray(small), np.asarray(small_mask), legend))
        x, y = _MARGIN + column * (side + _MARGIN), top + row * height + side
        sheet.paste(drawn, (x + (side - wide) // 2, y - high))
        if named:
            _write(pen, (x, y + 2), name, side, font)
    write_png(path, np.asarray(sheet))


def _write_classes(pen: ImageDraw.ImageDraw, legend: Legend, right: int, font: Font) -> None:
    left, top = _MARGIN, 2 * _MARGIN + _TITLE
    for one in legend.classes:
        width = math.ceil(pen.textlength(_printable(one.name), font))
        if left + width > right:
            break
        pen.rectangle((left, top + 1, left + _TEXT, top + 1 + _TEXT), one.color, _INK)
        _write(pen, (left + _TEXT + 5, top), one.name, width, font)
        left += width + _TEXT + 5 + 2 * _MARGIN


def _write(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, width: int, font: Font) -> None:
    """Write a line, without its beginning if it is too long: names differ at their ends."""
    shown = _printable(text)
    while pen.textlength(shown, font) > width and len(shown) > 1:
        shown = "…" + shown[2:]
    pen.text(at, shown, _INK, font)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
