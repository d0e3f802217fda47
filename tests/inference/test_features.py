"""What describes a picture: alike for pictures that look alike, and the same however they are stored."""

import csv
import os
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from lesions_and_cells import generate
from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.inference.features import FeatureExtractor, are_comparable
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.loading import load_autoencoder

WHOLE = ImageSettings(working_size=64)
TILES = ImageSettings(working_size=64, framing="tiles")
PACKS = Path(os.environ.get("SEMIGDA_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="module")
def autoencoder():
    return load_autoencoder("compact")


@pytest.mark.parametrize("settings", [WHOLE, TILES])
@pytest.mark.parametrize(
    "shape", [(64, 64), (200, 150), (30, 300), (20, 16, 3), (1, 1), (300, 3), (500, 700)]
)
def test_every_picture_has_the_same_number_of_numbers(autoencoder, settings, shape):
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    latent = FeatureExtractor(autoencoder, settings).extract(pixels)
    assert (latent.shape, latent.dtype) == ((128,), np.float32)
    assert np.isfinite(latent).all()
    assert (latent[64:] >= 0).all()  # the second half are deviations


@pytest.mark.parametrize("settings", [WHOLE, TILES])
def test_pictures_that_look_alike_have_close_latents(autoencoder, settings):
    describer = FeatureExtractor(autoencoder, settings)
    lesion, _ = generate(1, "lesion", size=200)
    noise = np.random.default_rng(0).integers(-8, 9, lesion.shape)
    retaken = (lesion.astype(int) + noise).clip(0, 255).astype(np.uint8)
    cells, _ = generate(1, "cells", size=200)
    one, alike, other = (describer.extract(pixels) for pixels in (lesion, retaken, cells))
    assert np.linalg.norm(one - alike) < 0.4 * np.linalg.norm(one - other)


def test_a_latent_knows_where_in_the_picture_something_is(autoencoder):
    picture = np.zeros((64, 64), np.uint8)
    picture[:20, :20] = 255
    here, there = (
        FeatureExtractor(autoencoder, WHOLE).extract(pixels) for pixels in (picture, picture[::-1])
    )
    assert np.linalg.norm(here - there) > 1


def test_a_latent_knows_little_of_padding(autoencoder):
    """A strip of a uniform picture is described much like the whole of it."""
    white, black = np.full((64, 64), 255, np.uint8), np.zeros((64, 64), np.uint8)
    describer = FeatureExtractor(autoencoder, WHOLE)
    strip, whole, other = (describer.extract(pixels) for pixels in (white[:20], white, black))
    assert np.linalg.norm(strip - whole) < 0.2 * np.linalg.norm(whole - other)


def test_sixteen_tiles_stand_for_a_large_picture(autoencoder):
    """What lies between them is not even read."""

    class Counting:
        shape, dtype = (5000, 3000), np.dtype(np.uint8)
        pixels = 0

        def __getitem__(self, key):
            rows, columns = (
                range(*part.indices(length)) for part, length in zip(key, self.shape, strict=True)
            )
            self.pixels += len(rows) * len(columns)
            return np.full((len(rows), len(columns)), 7, np.uint8)

    picture = Counting()
    FeatureExtractor(autoencoder, TILES).extract(picture)
    assert picture.pixels == 16 * 64 * 64


def test_describing_can_be_cancelled_and_refuses_what_is_no_picture(autoencoder):
    describer = FeatureExtractor(autoencoder, TILES)
    with pytest.raises(Cancelled):
        describer.extract(np.zeros((300, 300), np.uint8), cancelled=lambda: True)
    with pytest.raises(SemiGDAError, match="dimensions"):
        describer.extract(np.zeros((3, 4, 5, 6), np.uint8))


def test_descriptions_are_compared_only_where_they_were_made_alike(autoencoder):
    signature = FeatureExtractor(autoencoder, WHOLE).signature()
    nearly = signature | {"autoencoder": [number + 1e-4 for number in signature["autoencoder"]]}
    assert are_comparable(signature, nearly)
    other = signature | {"autoencoder": [number + 1 for number in signature["autoencoder"]]}
    assert not are_comparable(signature, other)
    assert not are_comparable(signature, FeatureExtractor(autoencoder, TILES).signature())
    for nonsense in (None, [], {}, signature | {"autoencoder": "of another kind"}):
        assert not are_comparable(signature, nonsense)


@pytest.mark.slow
@pytest.mark.realdata
def test_the_nearest_picture_is_a_near_duplicate_where_there_is_one(autoencoder):
    """Ultrasound images: thirty groups that the pack calls near-duplicates among sixty single images."""
    pack = PACKS / "busi"
    if not pack.is_dir():
        pytest.skip(f"no pack in {pack}")
    groups: dict[str, list[str]] = {}
    with (pack / "meta.csv").open() as file:
        for row in csv.DictReader(file):
            groups.setdefault(row["near_dup_group"], []).append(row["stem"])
    single = [[stem] for stem in groups.pop("")[:60]]
    several = list(groups.values())[:30]
    group = np.repeat(np.arange(90), [len(stems) for stems in several + single])
    describer = FeatureExtractor(autoencoder, ImageSettings(working_size=128))
    pictures = (iio.imread(pack / "images" / f"{stem}.png") for stems in several + single for stem in stems)
    latents = np.stack([describer.extract(pixels) for pixels in pictures])
    distances = ((latents[:, None] - latents) ** 2).sum(axis=-1)
    np.fill_diagonal(distances, np.inf)
    repeated = group < len(several)
    assert (group[distances.argmin(axis=1)] == group)[repeated].mean() > 0.95
