"""From pixels to a prediction, through the public predictor."""

import gc
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import nn
from torch.nn import functional

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.inference.postprocessing import ImageScore
from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.loading import random_autoencoder
from napari_semigda.model.network import SemiGDANet

WHOLE = ImageSettings(working_size=64)
TILES = ImageSettings(working_size=64, framing="tiles")


class Brightness(nn.Module):
    """A network whose answer can be foreseen: the brighter a pixel, the likelier each further class.

    The mask branch sees the picture blurred, so that the branches disagree along edges.
    """

    image_branch_share = 0.5

    def __init__(self, classes=2):
        super().__init__()
        self.classes = classes
        self.offsets = nn.Parameter(torch.linspace(0, 1, classes))
        self.dropout = nn.Dropout(0.5)

    def latents(self, image):
        return SimpleNamespace(picture=self.dropout(image))

    def _probabilities(self, picture):
        brightness = (picture.mean(dim=1, keepdim=True) + 1) / 2
        return (-40 * (brightness - self.offsets[None, :, None, None]) ** 2).softmax(dim=1)

    def decode_image_branch(self, latents):
        return self._probabilities(latents.picture)

    def decode_mask_branch(self, latents):
        return self._probabilities(functional.avg_pool2d(latents.picture, 3, 1, 1, count_include_pad=False))

    def forward(self, image):
        latents = self.latents(image)
        return self.decode_image_branch(latents), self.decode_mask_branch(latents)


def discs(height, width, seed=0, count=12):
    """A dark picture with bright discs, and where they are."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    truth = np.zeros((height, width), np.uint8)
    for _ in range(count):
        row, column, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(10, 25)
        truth[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = 1
    return (truth * 200 + 20).astype(np.uint8), truth


def dice(left, right):
    return 2 * (left & right).sum() / max(1, left.sum() + right.sum())


# --- the prediction of a picture ----------------------------------------------------------------


@pytest.mark.parametrize("settings_", [WHOLE, TILES])
@pytest.mark.parametrize("shape", [(64, 64), (200, 150), (30, 300), (20, 16), (1, 1), (300, 3)])
def test_a_prediction_has_the_pictures_own_pixels(settings_, shape):
    pixels, _ = discs(*shape)
    prediction = Predictor(Brightness(), settings_).predict(pixels)
    assert prediction.probabilities.shape == (2, *shape)
    assert prediction.labels.shape == prediction.uncertainty.shape == shape
    assert prediction.probabilities.dtype == prediction.uncertainty.dtype == np.float32
    assert prediction.labels.dtype == np.uint8
    np.testing.assert_allclose(prediction.probabilities.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(prediction.labels, prediction.probabilities[1] > 0.5)
    assert 0 <= prediction.uncertainty.min() <= prediction.uncertainty.max() <= 1
    assert 0 <= prediction.score <= 1


@pytest.mark.parametrize(
    ("settings_", "least"),
    [
        (WHOLE, 0.93),
        (TILES, 0.97),
        (ImageSettings(working_size=64, framing="tiles", zoom=0.5), 0.95),
        (ImageSettings(working_size=64, framing="tiles", zoom=0.7), 0.95),
        (ImageSettings(working_size=64, framing="tiles", zoom=2.0), 0.97),
    ],
)
def test_objects_are_found_where_they_are(settings_, least):
    pixels, truth = discs(190, 250)
    found = Predictor(Brightness(), settings_).predict(pixels).labels
    assert dice(found, truth) > least
    shift = np.argwhere(found).mean(axis=0) - np.argwhere(truth).mean(axis=0)
    own_pixels_seen_as_one = 250 / 64 if settings_ is WHOLE else max(1, 1 / settings_.zoom)
    assert np.abs(shift).max() < 0.3 * own_pixels_seen_as_one


def test_more_classes():
    pixels = np.repeat(np.array([0, 128, 255], np.uint8), 40)[None].repeat(64, axis=0)
    prediction = Predictor(Brightness(classes=3), ImageSettings(working_size=120)).predict(pixels)
    assert prediction.labels[32, [10, 60, 110]].tolist() == [0, 1, 2]
    assert prediction.probabilities.shape == (3, 64, 120)


def test_uncertainty_lies_on_the_edges():
    pixels, truth = discs(64, 64, count=2)
    prediction = Predictor(Brightness(), WHOLE).predict(pixels)
    edge = np.gradient(truth.astype(float))
    on_edge = (np.abs(edge[0]) + np.abs(edge[1])) > 0
    assert prediction.uncertainty[on_edge].mean() > 10 * prediction.uncertainty[~on_edge].mean()


def test_a_doubtful_picture_scores_higher_than_a_clear_one():
    predictor = Predictor(Brightness(), WHOLE)
    clear, truth = discs(64, 64)
    murky = (truth * 40 + 110).astype(np.uint8)
    blank = np.zeros((64, 64), np.uint8)
    scores = [predictor.predict(pixels).score for pixels in (murky, clear, blank)]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("settings_", [WHOLE, TILES])
def test_predicting_twice_gives_the_same(settings_):
    model = Brightness().train()  # its dropout would differ each time
    pixels, _ = discs(100, 80)
    predictor = Predictor(model, settings_)
    first, second = predictor.predict(pixels), predictor.predict(pixels)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    assert first.score == second.score


def test_the_model_is_left_in_the_mode_it_was_found_in():
    model = Brightness().train()
    model.dropout.eval()
    Predictor(model, WHOLE).predict(np.zeros((20, 20), np.uint8))
    assert model.training
    assert not model.dropout.training
    model.eval()
    Predictor(model, WHOLE).predict(np.zeros((20, 20), np.uint8))
    assert not model.training


def test_a_prediction_in_the_middle_of_training_disturbs_no_gradient():
    model = Brightness()
    loss = model(torch.rand(1, 3, 64, 64))[0].square().sum()
    Predictor(model, WHOLE).predict(np.zeros((20, 20), np.uint8))
    loss.backward()
    assert model.offsets.grad.abs().sum() > 0


@settings(deadline=None, max_examples=30)
@given(
    dtype=st.sampled_from(["bool", "int8", "uint16", ">u2", "int32", "uint32", "int64", "f2", "f4", ">f8"]),
    shape=st.sampled_from([(70, 90), (70, 90, 1), (70, 90, 2), (70, 90, 3), (70, 90, 4), (70, 90, 7)]),
    framing=st.sampled_from(["whole", "tiles"]),
)
def test_any_type_and_number_of_channels_is_predicted(dtype, shape, framing):
    pixels = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    prediction = Predictor(Brightness(), ImageSettings(working_size=64, framing=framing)).predict(pixels)
    assert prediction.labels.shape == (70, 90)
    assert np.isfinite(prediction.probabilities).all()


def test_what_is_no_picture_is_refused_in_words():
    with pytest.raises(SemiGDAError, match="real numbers"):
        Predictor(Brightness(), WHOLE).predict(np.zeros((8, 8), complex))


# --- large pictures -----------------------------------------------------------------------------


def test_tiles_leave_no_seam():
    """A network that looks at neighboring pixels only gives the same in tiles as in one piece."""
    rng = np.random.default_rng(0)
    smooth = functional.interpolate(
        torch.rand(1, 1, 12, 15, generator=torch.Generator().manual_seed(0)), (250, 310), mode="bicubic"
    )
    pixels = (
        (smooth[0, 0].numpy().clip(0, 1) * 255 + rng.uniform(0, 1, (250, 310))).clip(0, 255).astype(np.uint8)
    )
    tiled = Predictor(Brightness(), TILES).predict(pixels).probabilities
    in_one_piece = Predictor(Brightness(), ImageSettings(working_size=320, framing="tiles")).predict(pixels)
    np.testing.assert_allclose(tiled, in_one_piece.probabilities, atol=0.02)
    inner = np.s_[:, 2:-2, 2:-2]
    assert np.abs(tiled - in_one_piece.probabilities)[inner].mean() < 1e-3


class Shaded(Brightness):
    """Its answer depends on the place in the tile alone: the worst case for blending."""

    def decode_image_branch(self, latents):
        side = latents.picture.shape[-1]
        shade = torch.linspace(0, 1, side).expand(len(latents.picture), 1, side, side)
        return torch.cat([1 - shade, shade], dim=1)

    decode_mask_branch = decode_image_branch


def test_even_contradicting_tiles_blend_smoothly():
    probabilities = Predictor(Shaded(), TILES).predict(np.zeros((100, 400), np.uint8)).probabilities[1]
    steps = np.abs(np.diff(probabilities, axis=1))
    assert steps.max() < 0.12  # side by side the tiles would jump by 1
    assert np.abs(np.diff(probabilities, axis=0)).max() < 1e-5


@pytest.mark.parametrize(
    "settings_", [WHOLE, TILES, ImageSettings(working_size=64, framing="tiles", zoom=0.6)]
)
def test_streamed_strips_are_the_prediction(settings_):
    pixels, _ = discs(260, 130)
    predictor, summary = Predictor(Brightness(), settings_), ImageScore()
    strips = list(predictor.stream(pixels, summary=summary))
    prediction = predictor.predict(pixels)
    tops = np.cumsum([0] + [len(strip.labels) for strip in strips])
    assert [strip.top for strip in strips] == tops[:-1].tolist()
    assert tops[-1] == 260
    for name, axis in (("probabilities", 1), ("labels", 0), ("uncertainty", 0)):
        joined = np.concatenate([getattr(strip, name) for strip in strips], axis=axis)
        np.testing.assert_array_equal(joined, getattr(prediction, name))
    assert summary.value == prediction.score


class Endless:
    """Rows on demand, like a zarr array: the picture as a whole exists nowhere."""

    def __init__(self, height, width, dtype=np.uint8):
        self.shape = (height, width)
        self.dtype = np.dtype(dtype)
        self.most_pixels = 0

    def __getitem__(self, key):
        keys = key if isinstance(key, tuple) else (key, slice(None))
        rows, columns = (np.arange(length)[part] for length, part in zip(self.shape, keys, strict=True))
        self.most_pixels = max(self.most_pixels, len(rows) * len(columns))
        return ((rows[:, None] * 7 + columns * 13) % 250).astype(self.dtype)


def tensors_alive():
    gc.collect()
    alive = [thing for thing in gc.get_objects() if type(thing) is torch.Tensor]
    return sum({tensor.data_ptr(): tensor.untyped_storage().nbytes() for tensor in alive}.values())


def memory_at_the_end(pixels):
    """Bytes of NumPy at their peak, and of tensors when the last strip comes."""
    tracemalloc.start()
    try:
        for strip in Predictor(Brightness(), TILES).stream(pixels):
            if strip.top + len(strip.labels) == pixels.shape[0]:
                return tracemalloc.get_traced_memory()[1], tensors_alive()
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_height():
    short, tall = memory_at_the_end(Endless(200, 150)), memory_at_the_end(Endless(8000, 150))
    assert tall[0] < short[0] + 2**18  # the picture would be 1.2 MB, its probabilities 10 MB
    assert tall[1] < short[1] + 2**18


def test_a_huge_picture_is_read_piece_by_piece():
    huge = Endless(100_000, 3_000, np.uint16)
    next(Predictor(Brightness(), TILES).stream(huge))
    assert huge.most_pixels <= 64 * 3_000


def test_a_memory_map_gives_what_the_array_gives(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4000, (150, 200)).astype(np.uint16)
    np.save(tmp_path / "picture.npy", pixels)
    predictor = Predictor(Brightness(), TILES)
    stored = predictor.predict(np.load(tmp_path / "picture.npy", mmap_mode="r"))
    np.testing.assert_array_equal(stored.probabilities, predictor.predict(pixels).probabilities)


def test_all_tiles_share_one_normalization():
    """Half of a dim picture is dimmer still; normalized tile by tile it would look like the other."""
    pixels = np.full((64, 400), 100, np.uint16)
    pixels[:, 200:] = 1000
    labels = Predictor(Brightness(), TILES).predict(pixels).labels
    assert not labels[:, :195].any()
    assert labels[:, 205:].all()


# --- progress and cancelling --------------------------------------------------------------------


@pytest.mark.parametrize(("settings_", "total"), [(WHOLE, 1), (TILES, 4 * 3)])
def test_progress_rises_to_the_number_of_tiles(settings_, total):
    seen = []
    Predictor(Brightness(), settings_).predict(
        np.zeros((200, 150), np.uint8), progress=lambda *step: seen.append(step)
    )
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert {of for _, of in seen} == {total}


@pytest.mark.parametrize("settings_", [WHOLE, TILES])
def test_cancelling_before_the_first_tile(settings_):
    seen = []
    with pytest.raises(Cancelled):
        Predictor(Brightness(), settings_).predict(
            np.zeros((200, 150), np.uint8), progress=lambda *step: seen.append(step), cancelled=lambda: True
        )
    assert seen == []


def test_cancelling_takes_effect_before_the_next_batch():
    seen = []
    with pytest.raises(Cancelled):
        Predictor(Brightness(), TILES).predict(
            np.zeros((2000, 150), np.uint8),
            progress=lambda *step: seen.append(step),
            cancelled=lambda: len(seen) >= 2,
        )
    assert len(seen) == 2


# --- with the real network ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    return SemiGDANet("compact", 2, autoencoder=random_autoencoder("compact"))


@pytest.mark.parametrize("framing", ["whole", "tiles"])
def test_the_real_network_predicts(network, framing):
    pixels = np.random.default_rng(0).integers(0, 255, (90, 70, 3)).astype(np.uint8)
    prediction = Predictor(network, ImageSettings(working_size=64, framing=framing)).predict(pixels)
    np.testing.assert_allclose(prediction.probabilities.sum(axis=0), 1, atol=1e-5)


def test_the_real_network_can_be_trained_after_predicting(network):
    network.train()
    Predictor(network, WHOLE).predict(np.zeros((64, 64), np.uint8))
    assert network.training
    branches = network.branches(torch.zeros(2, 3, 64, 64))
    sum(branch.square().sum() for branch in branches).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.encoder.parameters())


@pytest.mark.parametrize("classes", [3])
def test_more_classes_can_be_trained_after_predicting(classes):
    """Colors of classes are made once; made while predicting, they must serve training as well."""
    model = SemiGDANet("compact", classes, autoencoder=random_autoencoder("compact"))
    Predictor(model, WHOLE).predict(np.zeros((64, 64), np.uint8))
    model.train()(torch.zeros(2, 3, 64, 64))[0].square().sum().backward()
    assert any(p.grad is not None for p in model.image_adapters.parameters())


# --- at most one object in a picture -------------------------------------------------------------


def count_objects(labels):
    return ndimage.label(labels > 0, np.ones((3, 3)))[1]


@pytest.mark.parametrize("settings_", [WHOLE, TILES])
@pytest.mark.parametrize("classes", [2, 3])
def test_where_there_is_one_object_no_way_to_a_mask_gives_more(settings_, classes):
    pixels, _ = discs(300, 260, count=7)
    every = Predictor(Brightness(classes), settings_).predict(pixels)
    predictor = Predictor(Brightness(classes), settings_, one_object=True)
    predicted = predictor.predict(pixels)
    streamed = np.concatenate([strip.labels for strip in predictor.stream(pixels)])
    filled = np.empty(pixels.shape, np.uint8)
    assert list(predictor.fill(filled, pixels))

    assert count_objects(every.labels) > 1
    assert count_objects(predicted.labels) == 1
    assert ((predicted.labels == every.labels) | (predicted.labels == 0)).all()
    for labels in (streamed, filled, predictor.draft(pixels).labels):
        np.testing.assert_array_equal(labels, predicted.labels)
    np.testing.assert_array_equal(predicted.probabilities, every.probabilities)
    assert predicted.score == every.score


def test_an_object_across_strips_is_one():
    pixels = np.zeros((400, 100), np.uint8)
    pixels[:, 40:60] = 220
    labels = Predictor(Brightness(), TILES, one_object=True).draft(pixels).labels
    assert labels[:, 50].all()
    assert count_objects(labels) == 1


def test_a_removed_class_is_background_before_the_largest_object_is_chosen():
    pixels = np.zeros((64, 64), np.uint8)
    pixels[5:40, 5:40], pixels[50:60, 50:60] = 255, 127
    found = Predictor(Brightness(3), WHOLE, removed=[2], one_object=True).draft(pixels).labels
    assert found[55, 55] == 1
    assert not (found == 2).any()
