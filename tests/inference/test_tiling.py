"""Tiles cover a picture, and their weights add up to one."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_semigda.inference.tiling import OVERLAP, Axis, RowBlender

LENGTHS = st.integers(1, 700)
TILES = st.integers(1, 256)


@given(length=LENGTHS, tile=TILES)
def test_tiles_cover_the_axis_and_overlap(length, tile):
    axis = Axis(length, tile)
    assert axis.starts[0] == 0
    assert axis.starts[-1] + axis.tile == length
    for left, right in zip(axis.starts, axis.starts[1:], strict=False):
        assert left < right
        assert left + axis.tile - right >= int(OVERLAP * axis.tile)


@given(length=LENGTHS, tile=TILES)
def test_there_are_no_more_tiles_than_needed(length, tile):
    axis = Axis(length, tile)
    step = max(1, axis.tile - int(OVERLAP * axis.tile))
    assert (len(axis.starts) - 2) * step < length - axis.tile or len(axis.starts) == 1


@settings(deadline=None)
@given(length=LENGTHS, tile=TILES)
def test_weights_add_up_to_one(length, tile):
    axis = Axis(length, tile)
    total = torch.zeros(length)
    for index, start in enumerate(axis.starts):
        assert (axis.weights(index) > 0).all()
        total[start : start + axis.tile] += axis.weights(index)
    torch.testing.assert_close(total, torch.ones(length))


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 200), width=st.integers(1, 200), tile=st.integers(1, 90))
def test_cutting_and_blending_gives_the_picture_back(height, width, tile):
    picture = torch.rand(3, height, width)
    rows, columns = Axis(height, tile), Axis(width, tile)
    tiles = (
        (picture[:, top : top + rows.tile, left : left + columns.tile] for left in columns.starts)
        for top in rows.starts
    )
    strips = list(RowBlender(rows, columns, 3).blend(tiles))
    assert [top for top, _ in strips] == rows.starts
    torch.testing.assert_close(torch.cat([strip for _, strip in strips], dim=1), picture)
