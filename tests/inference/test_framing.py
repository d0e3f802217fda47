"""Pictures are seen as suits the objects in them: whole where these are thick enough, else in windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.draw import disk

from napari_semigda.inference.framing import LEAST_THICKNESS, object_thickness, settings_for_objects
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.annotation import UNKNOWN

SETTINGS = ImageSettings(working_size=64, channels=(1,))


def bars(side: int, thickness: int) -> np.ndarray:
    """Bars of a thickness, as far apart as they are thick, in a square picture."""
    return np.tile(np.arange(side) // thickness % 2, (side, 1)).astype(np.uint8)


def blob(side: int, radius: int) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[disk((side // 2, side // 2), radius)] = 1
    return mask


@given(thickness=st.integers(1, 40), value=st.integers(1, 254), unknown=st.booleans())
def test_bars_are_as_thick_as_they_were_drawn(thickness, value, unknown):
    mask = bars(200, thickness) * np.uint8(value)
    if unknown:
        mask[mask == 0] = UNKNOWN
    assert object_thickness(mask) == pytest.approx(thickness, abs=1)


@pytest.mark.parametrize("mask", [np.zeros((50, 40), np.uint8), np.full((50, 40), UNKNOWN, np.uint8)])
def test_a_mask_without_objects_has_no_thickness_and_changes_nothing(mask):
    assert object_thickness(mask) is None
    chosen = ImageSettings(framing="tiles", zoom=0.5)
    assert settings_for_objects([mask], chosen) == chosen


def test_one_large_object_is_seen_whole_however_large_the_picture():
    photograph = blob(3000, 900)
    assert settings_for_objects([photograph], SETTINGS).framing == "whole"


def test_thin_objects_are_seen_in_windows():
    seen = settings_for_objects([bars(256, 5)], SETTINGS)
    assert (seen.framing, seen.zoom) == ("tiles", 1.0)
    assert (seen.working_size, seen.channels) == (64, (1,))


def test_windows_show_no_more_resolution_than_objects_need():
    seen = settings_for_objects([bars(2000, 24)], SETTINGS)
    assert seen.framing == "tiles"
    assert seen.zoom * 24 == pytest.approx(LEAST_THICKNESS, rel=0.1)


def test_a_picture_no_larger_than_the_network_s_view_is_seen_whole():
    assert settings_for_objects([bars(64, 2)], SETTINGS).framing == "whole"


def test_most_masks_decide():
    masks = [blob(256, 80), blob(256, 70), bars(256, 3)]
    assert settings_for_objects(masks, SETTINGS).framing == "whole"


def test_objects_in_a_corner_of_a_large_picture_are_found():
    slide = np.zeros((5000, 3000), np.uint8)
    slide[4800:4990, 2700:2990] = bars(290, 10)[:190]
    assert object_thickness(slide) == pytest.approx(10, abs=1)
