"""How pictures are normalized and framed, and that the way back ends where it began."""

import json

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.inference.preparation import (
    ImageSettings,
    frame,
    intensity_limits,
    normalize,
    unframe,
)
from napari_semigda.model.annotation import UNKNOWN

SMALL = ImageSettings(working_size=64)
REAL_DTYPES = st.one_of(
    st.just(np.dtype(bool)),
    arrays.integer_dtypes(endianness="?"),
    arrays.unsigned_integer_dtypes(endianness="?"),
    arrays.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
)


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"working_size": 100}, "multiple of 8"),
        ({"working_size": 16}, "from 32 to 1024"),
        ({"working_size": 2048}, "from 32 to 1024"),
        ({"working_size": 128.0}, "multiple of 8"),
        ({"framing": "square"}, "'whole' or 'tiles'"),
        ({"zoom": 0}, "zoom"),
        ({"zoom": float("nan")}, "zoom"),
        ({"channels": (0, 1, 2, 3)}, "one, two or three channels"),
        ({"channels": ()}, "one, two or three channels"),
        ({"channels": (-1,)}, "counted from 0"),
        ({"percentiles": (99.0, 1.0)}, "rise"),
        ({"percentiles": (0.0, 101.0)}, "between 0 and 100"),
        ({"percentiles": (1.0,)}, "two numbers"),
    ],
)
def test_settings_out_of_range_are_refused_in_words(values, said):
    with pytest.raises(SemiGDAError, match=said):
        ImageSettings(**values)


@given(
    st.builds(
        ImageSettings,
        working_size=st.integers(4, 128).map(lambda n: 8 * n),
        framing=st.sampled_from(["whole", "tiles"]),
        zoom=st.floats(0.02, 50),
        channels=st.none() | st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple),
        percentiles=st.tuples(st.floats(0, 49), st.floats(50, 100)),
    )
)
def test_settings_survive_json(image_settings):
    assert ImageSettings.from_dict(json.loads(json.dumps(image_settings.to_dict()))) == image_settings


def test_a_setting_of_a_newer_version_is_refused():
    with pytest.raises(SemiGDAError, match="newer version"):
        ImageSettings.from_dict({"working_size": 64, "gamma": 2})


# --- normalizing --------------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_real_array_becomes_three_finite_channels(data):
    dtype = data.draw(REAL_DTYPES)
    shape = data.draw(
        st.sampled_from([(5, 7), (1, 1), (4, 3, 1), (4, 3, 2), (4, 3, 3), (2, 3, 4), (2, 2, 6)])
    )
    pixels = data.draw(arrays.arrays(dtype, shape))
    image = normalize(pixels, SMALL)
    assert image.dtype == torch.float32
    assert image.shape == (3, *shape[:2])
    assert torch.isfinite(image).all()
    assert -1 <= image.min() <= image.max() <= 1


def test_eight_bit_keeps_its_range():
    image = normalize(np.array([[0, 51, 255]], np.uint8), SMALL)
    torch.testing.assert_close(image[0], torch.tensor([[-1.0, -0.6, 1.0]]))


def test_boolean_becomes_black_and_white():
    assert normalize(np.array([[False, True]]), SMALL)[0].tolist() == [[-1.0, 1.0]]


@pytest.mark.parametrize("dtype", ["int8", "uint16", ">u2", "int32", "uint32", "int64", "float32", ">f8"])
def test_percentiles_do_not_depend_on_type_and_offset(dtype):
    ramp = np.arange(100).reshape(10, 10)
    expected = normalize(ramp.astype(np.float64), SMALL)
    offset = 20 if dtype == "int8" else 1000
    torch.testing.assert_close(normalize((ramp + offset).astype(dtype), SMALL), expected, atol=1e-5, rtol=0)


def test_large_integers_keep_their_differences():
    ramp = np.arange(100, dtype=np.int64).reshape(10, 10) + 2**40
    assert len(np.unique(normalize(ramp, SMALL)[0])) > 90


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, np.float16, np.float32])
def test_a_constant_picture_is_black(dtype):
    assert (normalize(np.full((4, 5), 7, dtype), SMALL) == -1).all()


def test_a_picture_without_one_finite_value_is_black():
    assert (normalize(np.full((4, 5), np.nan), SMALL) == -1).all()


def test_values_that_are_not_finite_are_black_and_do_not_move_the_others():
    ramp = np.linspace(0, 1, 400).reshape(20, 20)
    broken = ramp.copy()
    broken[:3, 0] = np.nan, np.inf, -np.inf
    expected = ImageSettings(percentiles=(0, 100))
    image = normalize(broken, expected)
    assert (image[:, :3, 0] == -1).all()
    torch.testing.assert_close(image[:, 3:], normalize(ramp, expected)[:, 3:], atol=1e-2, rtol=0)


def test_the_given_array_is_left_alone():
    pixels = np.array([[0.0, np.nan, 1.0]], np.float32)
    before = pixels.copy()
    normalize(pixels, SMALL)
    np.testing.assert_array_equal(pixels, before)


def test_channels():
    pixels = np.zeros((2, 2, 5), np.uint8)
    pixels[...] = [0, 51, 102, 153, 255]
    values = [-1.0, -0.6, -0.2, 0.2, 1.0]

    def seen(count, channels=None):
        image = normalize(pixels[..., :count], ImageSettings(channels=channels))
        return pytest.approx(image[:, 0, 0].tolist())

    assert seen(1) == [values[0]] * 3
    assert seen(2) == [values[0], values[1], (values[0] + values[1]) / 2]
    assert seen(3) == values[:3]
    assert seen(4) == values[:3]  # red, green, blue, and opacity dropped
    assert seen(5, (4,)) == [values[4]] * 3
    assert seen(5, (3, 0)) == [values[3], values[0], (values[3] + values[0]) / 2]
    assert seen(5, (4, 2, 0)) == [values[4], values[2], values[0]]


def test_each_channel_is_stretched_by_itself():
    dim = np.arange(100, dtype=np.uint16).reshape(10, 10)
    image = normalize(np.stack([dim, 300 * dim, dim * 0], axis=-1), SMALL)
    torch.testing.assert_close(image[0], image[1])
    assert (image[2] == -1).all()


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.zeros((4, 4), complex), "real numbers"),
        (np.full((4, 4), "a"), "real numbers"),
        (np.zeros((4, 4), object), "real numbers"),
        (np.zeros(4), "two dimensions"),
        (np.zeros((2, 2, 2, 2)), "two dimensions"),
        (np.zeros((0, 4)), "empty"),
        (np.zeros((4, 4, 0)), "empty"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(pixels, said):
    with pytest.raises(SemiGDAError, match=said):
        normalize(pixels, SMALL)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4)), np.zeros((4, 4, 3))])
def test_a_missing_channel_is_named(pixels):
    with pytest.raises(SemiGDAError, match=r"Channel 3 was chosen.*has [13]"):
        normalize(pixels, ImageSettings(channels=(0, 3)))


def test_windows_normalized_with_the_limits_of_the_whole_join_up(tmp_path):
    pixels = np.random.default_rng(0).gamma(2.0, 500.0, (300, 200)).astype(np.uint16)
    np.save(tmp_path / "huge.npy", pixels)
    stored = np.load(tmp_path / "huge.npy", mmap_mode="r")
    limits = intensity_limits(stored, SMALL)
    whole = normalize(pixels, SMALL)
    windows = [normalize(stored[top : top + 100], SMALL, limits) for top in (0, 100, 200)]
    torch.testing.assert_close(torch.cat(windows, dim=1), whole)


def test_limits_of_a_large_picture_are_those_of_a_sample_and_always_the_same():
    pixels = np.random.default_rng(0).normal(1000, 100, (3000, 2000))
    low, high = intensity_limits(pixels, SMALL)
    exact_low, exact_high = np.percentile(pixels, SMALL.percentiles)
    assert low[0] == pytest.approx(exact_low, abs=5)
    assert high[0] == pytest.approx(exact_high, abs=5)
    assert intensity_limits(pixels, SMALL) == (low, high)


def test_looking_for_limits_can_be_cancelled():
    with pytest.raises(Cancelled):
        intensity_limits(np.zeros((10, 10)), SMALL, cancelled=lambda: True)


# --- framing ------------------------------------------------------------------------------------


@st.composite
def sizes(draw):
    """Heights and widths with aspect ratios from 1:1 to 1:100."""
    short = draw(st.integers(1, 120))
    long = draw(st.integers(short, min(short * 100, 400)))
    return draw(st.sampled_from([(short, long), (long, short)]))


@settings(deadline=None, max_examples=100)
@given(size=sizes(), framing=st.sampled_from(["whole", "tiles"]), zoom=st.floats(0.3, 3))
def test_what_is_framed_comes_back_in_its_own_size(size, framing, zoom):
    image_settings = ImageSettings(working_size=64, framing=framing, zoom=zoom)
    labels = np.ones(size, np.uint8)
    framed = frame(torch.zeros(3, *size), labels, image_settings)
    assert framed.image.shape[1:] == framed.labels.shape == framed.valid.shape
    assert min(framed.image.shape[1:]) >= 64
    if framing == "whole":
        assert framed.image.shape == (3, 64, 64)
        assert framed.valid.any(dim=0).all() or framed.valid.any(dim=1).all()
    assert (framed.labels[framed.valid] == 1).all()
    assert (framed.labels[~framed.valid] == UNKNOWN).all()
    probabilities = torch.rand(2, *framed.image.shape[1:]).softmax(dim=0)
    back = unframe(probabilities, framed.geometry)
    assert back.shape == (2, *size)
    torch.testing.assert_close(back.sum(dim=0), torch.ones(size))


@settings(deadline=None, max_examples=150)
@given(size=sizes(), framing=st.sampled_from(["whole", "tiles"]), zoom=st.floats(0.5, 3), data=st.data())
def test_a_rectangle_comes_back_to_the_same_pixels(size, framing, zoom, data):
    image_settings = ImageSettings(working_size=128, framing=framing, zoom=zoom)
    height, width = size
    geometry = frame(torch.zeros(3, *size), None, image_settings).geometry
    # own pixels per pixel of the frame: a rectangle must be some of them wide for the network to see it
    coarseness = max(1.0, height / geometry.framed_height, width / geometry.framed_width)
    smallest = int(np.ceil(8 * coarseness))
    assume(min(size) >= smallest)
    top = data.draw(st.integers(0, height - smallest))
    bottom = data.draw(st.integers(top + smallest, height))
    left = data.draw(st.integers(0, width - smallest))
    right = data.draw(st.integers(left + smallest, width))
    mask = np.zeros(size, np.float32)
    mask[top:bottom, left:right] = 1

    framed = frame(torch.from_numpy(mask).expand(3, -1, -1), None, image_settings)
    back = unframe(framed.image, framed.geometry)[0].numpy() > 0.5

    # no edge moves by more than half a pixel of the frame
    perimeter = 2 * (bottom - top + right - left)
    assert (back != (mask > 0)).sum() <= 0.5 * coarseness * perimeter
    # the center may move by the rounding of the two edges, which is no more than a part of a frame's pixel
    shift = np.argwhere(back).mean(axis=0) - np.argwhere(mask).mean(axis=0)
    assert np.abs(shift).max() <= 0.5 * coarseness


@settings(deadline=None, max_examples=100)
@given(
    height=st.integers(40, 500),
    width=st.integers(40, 500),
    framing=st.sampled_from(["whole", "tiles"]),
    zoom=st.floats(0.5, 3),
)
def test_there_and_back_shifts_nothing(height, width, framing, zoom):
    """A smooth bump keeps its center of mass, far more exactly than one pixel."""
    image_settings = ImageSettings(working_size=128, framing=framing, zoom=zoom)
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    center = np.array([0.45 * height, 0.55 * width])
    bump = np.exp(-(((rows - center[0]) / (height / 9)) ** 2) - ((columns - center[1]) / (width / 9)) ** 2)
    framed = frame(torch.from_numpy(bump.astype(np.float32)).expand(3, -1, -1), None, image_settings)
    back = unframe(framed.image, framed.geometry)[0].numpy().astype(np.float64)
    coarseness = max(1.0, height / framed.geometry.framed_height, width / framed.geometry.framed_width)
    for axis in (rows, columns):
        shift = (axis * back).sum() / back.sum() - (axis * bump).sum() / bump.sum()
        assert abs(shift) < 0.05 * coarseness


@pytest.mark.parametrize("framing", ["whole", "tiles"])
def test_labels_lie_where_their_picture_lies(framing):
    image_settings = ImageSettings(working_size=96, framing=framing, zoom=0.5)
    truth = np.zeros((150, 220), np.uint8)
    truth[40:91, 120:201] = 1
    image = normalize(truth * np.uint8(255), image_settings)
    framed = frame(image, truth, image_settings)
    seen = framed.image[0] > 0
    assert (seen == (framed.labels == 1))[framed.valid].float().mean() > 0.99
    center_seen, center_known = (torch.nonzero(m).float().mean(0) for m in (seen, framed.labels == 1))
    torch.testing.assert_close(center_seen, center_known, atol=0.5, rtol=0)


def test_unknown_pixels_stay_unknown_and_no_class_is_invented():
    labels = np.zeros((300, 200), np.uint8)
    labels[100:] = 3
    labels[200:] = UNKNOWN
    framed = frame(torch.zeros(3, 300, 200), labels, SMALL)
    assert set(framed.labels.unique().tolist()) == {0, 3, UNKNOWN}
    assert (framed.labels[-10:] == UNKNOWN).all()


def test_without_labels_nothing_is_known():
    assert (frame(torch.zeros(3, 30, 20), None, SMALL).labels == UNKNOWN).all()


def test_labels_of_another_size_are_refused():
    with pytest.raises(SemiGDAError, match=r"\(5, 6\).*\(30, 20\)"):
        frame(torch.zeros(3, 30, 20), np.zeros((5, 6), np.uint8), SMALL)


def test_padding_repeats_the_edge():
    image = torch.linspace(-1, 1, 64).repeat(3, 16, 1)
    framed = frame(image, None, SMALL)
    assert framed.valid.sum() == 16 * 64
    torch.testing.assert_close(framed.image[:, 16:], framed.image[:, 15:16].expand(-1, 48, -1))
