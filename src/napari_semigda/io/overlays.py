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
            drawn[inside & ~binary_erosion(inside, _CROSS, iterations=width, border_value=1)] = table[
                one.value
            ]
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


class ContactSheet:
    """Small images in rows, each with its outlines and name, below a title and the colors of the classes.

    The larger the `count` of images, the smaller they are; very small ones have no names.
    """

    def __init__(self, title: str, legend: Legend, count: int) -> None:
        self._legend = legend
        self._columns = max(1, math.ceil(math.sqrt(count * 1.3)))
        self._side = min(_LARGEST_SIDE, max(16, _LONGEST_SHEET // self._columns - _MARGIN))
        self._with_names = self._side >= _SMALLEST_WITH_NAME
        self._height = self._side + _MARGIN + (_TEXT + 4 if self._with_names else 0)
        self._name_font, self._title_font = (ImageFont.load_default(size) for size in (_TEXT, _TITLE))
        self._top = 2 * _MARGIN + _TITLE + (_TEXT + _MARGIN if legend.classes else 0)
        rows = math.ceil(count / self._columns)
        size = (_MARGIN + self._columns * (self._side + _MARGIN), self._top + rows * self._height + _MARGIN)
        self._sheet = Image.new("RGB", (max(size[0], 400), size[1]), _PAPER)
        self._pen = ImageDraw.Draw(self._sheet)
        self._write((_MARGIN, _MARGIN), title, self._sheet.width - 2 * _MARGIN, self._title_font)
        self._explain_colors()
        self._count = 0

    def add(self, picture: Colors, mask: NDArray[np.uint8], name: str) -> None:
        """Put an image into the next cell."""
        row, column = divmod(self._count, self._columns)
        self._count += 1
        scale = self._side / max(mask.shape)
        size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
        small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0))
        small_mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        drawn = Image.fromarray(draw_outlines(small, small_mask, self._legend))
        left, top = _MARGIN + column * (self._side + _MARGIN), self._top + row * self._height
        self._sheet.paste(drawn, (left + (self._side - size[0]) // 2, top + self._side - size[1]))
        if self._with_names:
            self._write((left, top + self._side + 2), name, self._side, self._name_font)

    def picture(self) -> Colors:
        """Return the sheet."""
        return np.asarray(self._sheet)

    def _explain_colors(self) -> None:
        left, top = _MARGIN, 2 * _MARGIN + _TITLE
        for one in self._legend.classes:
            width = math.ceil(self._pen.textlength(_written(one.name), self._name_font))
            if left + width > self._sheet.width - 3 * _MARGIN:
                break
            self._pen.rectangle((left, top + 1, left + _TEXT, top + 1 + _TEXT), one.color, _INK)
            self._write((left + _TEXT + 5, top), one.name, width, self._name_font)
            left += width + _TEXT + 5 + 2 * _MARGIN

    def _write(
        self,
        at: tuple[int, int],
        text: str,
        width: int,
        font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    ) -> None:
        """Write a line, without its beginning where it is too long: names differ at their ends."""
        shown = _written(text)
        while self._pen.textlength(shown, font) > width and len(shown) > 1:
            shown = "…" + shown[2:]
        self._pen.text(at, shown, _INK, font)


def _written(text: str) -> str:
    """Return what a font can draw on one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def write_contact_sheet(
    path: Path | str,
    title: str,
    legend: Legend,
    count: int,
    pictures: Iterable[tuple[Colors, NDArray[np.uint8], str]],
) -> None:
    """Write images, label maps and names as one PNG; see `ContactSheet`."""
    sheet = ContactSheet(title, legend, count)
    for picture, mask, name in pictures:
        sheet.add(picture, mask, name)
    write_png(path, sheet.picture())
