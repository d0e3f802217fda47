"""Pictures for people show outlines in the colors of the classes, and nothing else is changed."""

from pathlib import Path

import imageio.v3
import numpy as np
import pytest

from napari_semigda.io.masks import Legend, LegendEntry
from napari_semigda.io.overlays import draw_outlines, write_contact_sheet, write_png

LEGEND = Legend((LegendEntry(1, "lesion", "#e69f00"), LegendEntry(2, "shadow", "#56b4e9")))
ORANGE, BLUE = (0xE6, 0x9F, 0x00), (0x56, 0xB4, 0xE9)


@pytest.fixture
def picture():
    return np.full((60, 80, 3), 100, np.uint8)


@pytest.fixture
def mask():
    mask = np.zeros((60, 80), np.uint8)
    mask[10:30, 10:30], mask[35:50, 40:70] = 1, 2
    return mask


def test_outlines_lie_inside_and_the_rest_is_as_it_was(picture, mask):
    drawn = draw_outlines(picture, mask, LEGEND)
    assert tuple(drawn[10, 20]) == ORANGE
    assert tuple(drawn[49, 50]) == BLUE
    assert tuple(drawn[9, 20]) == (0, 0, 0)
    assert (drawn[12:28, 12:28] == 100).all()
    assert (drawn[:8, :8] == 100).all()
    assert (picture == 100).all()


def test_what_nobody_looked_at_is_hatched(picture, mask):
    mask[:, 72:] = 255
    drawn = draw_outlines(picture, mask, LEGEND)
    assert len(np.unique(drawn[:, 72:])) == 2
    assert (drawn[52:, :30] == 100).all()


def test_lines_grow_with_the_picture(picture, mask):
    large = draw_outlines(picture.repeat(20, 0).repeat(20, 1), mask.repeat(20, 0).repeat(20, 1), LEGEND)
    assert [tuple(large[300, 200 + step]) == ORANGE for step in (0, 4, 6)] == [True, True, False]


def test_png_is_read_as_it_was_drawn(tmp_path: Path, picture, mask):
    drawn = draw_outlines(picture, mask, LEGEND)
    write_png(tmp_path / "overlay.png", drawn)
    np.testing.assert_array_equal(imageio.v3.imread(tmp_path / "overlay.png"), drawn)


@pytest.mark.parametrize("count", [1, 7, 40])
def test_a_sheet_holds_all_pictures(tmp_path: Path, picture, mask, count):
    pictures = ((picture, mask, f"folder/image {number}.png") for number in range(count))
    write_contact_sheet(tmp_path / "sheet.png", "lésions\n", LEGEND, count, pictures)
    sheet = imageio.v3.imread(tmp_path / "sheet.png")
    gray = (sheet == 100).all(axis=2).sum()
    assert gray > count * 0.5 * 80 * 60
    for color in (ORANGE, BLUE):
        assert (sheet == color).all(axis=2).sum() > count * 20


def test_a_sheet_of_very_many_pictures_is_still_a_picture(tmp_path: Path, picture, mask):
    write_contact_sheet(tmp_path / "sheet.png", "many", LEGEND, 3_000, iter([(picture, mask, "one")]))
    assert max(imageio.v3.improps(tmp_path / "sheet.png").shape) < 9000
