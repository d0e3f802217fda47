"""The autoencoder shipped with the package carries masks it has never seen."""

import importlib
import json
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import load_file

from napari_semigda.model.annotation import image_to_probabilities, labels_to_image
from napari_semigda.model.loading import load_autoencoder
from napari_semigda.model.network import SemiGDANet
from napari_semigda.samples import sample_pairs
from variety import random_labels

WEIGHTS = resources.files("napari_semigda.model") / "weights"
DATA = Path(os.environ.get("SEMIGDA_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


@pytest.fixture(scope="module")
def autoencoder():
    return load_autoencoder("compact")


def round_trip(autoencoder, labels, classes=2, noise=0.0):
    """Labels (B, H, W) after encoding and decoding."""
    latent = autoencoder.encode(labels_to_image(labels, classes)).mean
    latent = latent + noise * latent.std() * torch.randn(
        latent.shape, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        return image_to_probabilities(autoencoder.decode(latent), classes).argmax(dim=1)


def dice(first, second):
    first, second = first > 0, second > 0
    return (2 * (first & second).sum() / (first.sum() + second.sum())).item()


@pytest.mark.parametrize("name", ["compact.safetensors", "compact_start.safetensors"])
def test_files_are_small_and_half_precision(name):
    with resources.as_file(WEIGHTS / name) as file:
        assert file.stat().st_size <= 6_000_000
        with safetensors.safe_open(file, "pt") as tensors:
            stored = [tensors.get_tensor(name) for name in tensors.keys()]  # noqa: SIM118
    assert {tensor.dtype for tensor in stored} == {torch.float16}


@pytest.mark.parametrize("size", [96, 128, 256])
def test_masks_come_back_at_any_working_size(autoencoder, size):
    masks = torch.from_numpy(
        np.stack([random_labels(np.random.default_rng(seed), size) for seed in range(1000, 1006)])
    )

    scores = [
        dice(*pair) for pair in zip(round_trip(autoencoder, masks), masks, strict=True) if pair[1].any()
    ]

    assert np.mean(scores) > 0.9


def test_demo_masks_come_back_even_from_noisy_latents(autoencoder):
    masks = torch.from_numpy(np.stack([iio.imread(path) // 255 for _, path in sample_pairs()[:6]]))

    assert dice(round_trip(autoencoder, masks), masks) > 0.97
    assert dice(round_trip(autoencoder, masks, noise=0.2), masks) > 0.95


@pytest.mark.parametrize("classes", [3, 5, 8])
def test_label_maps_of_several_classes_come_back(autoencoder, classes):
    rng = np.random.default_rng(classes)
    coarse = torch.from_numpy(rng.integers(0, classes, (2, 5, 5)))
    labels = coarse.repeat_interleave(26, 1).repeat_interleave(26, 2)[:, :128, :128]

    assert (round_trip(autoencoder, labels, classes) == labels).double().mean() > 0.95


@torch.no_grad()
def test_latents_have_about_unit_spread(autoencoder):
    pictures = np.stack([iio.imread(path) for path, _ in sample_pairs()[:6]])
    images = torch.from_numpy(pictures)[:, None].expand(-1, 3, -1, -1) / 127.5 - 1

    assert 0.5 < autoencoder.encode(images).mean.std().item() < 2.0


@pytest.mark.realdata
@pytest.mark.parametrize(("pack", "least"), [("busi", 0.97), ("isic2017", 0.97), ("dsb2018", 0.93)])
def test_real_masks_come_back_at_the_paper_s_working_size(autoencoder, pack, least):
    if not (DATA / pack).is_dir():
        pytest.skip(f"no folder {DATA / pack}: set SEMIGDA_DATA to the folder of image packs")
    scores = []
    for path in sorted((DATA / pack / "masks").glob("*.png"))[::50]:
        pixels = torch.from_numpy(iio.imread(path) > 127)[None, None].float()
        labels = torch.nn.functional.interpolate(pixels, size=(224, 224), mode="nearest")[:, 0].long()
        scores.append(dice(round_trip(autoencoder, labels), labels))

    assert np.mean(scores) >= least


SCRIPTS = {"train_compact": "compact.safetensors", "pretrain_compact": "compact_start.safetensors"}


def check_weights(path):
    """They load where they belong."""
    if path.name == "compact.safetensors":
        assert load_autoencoder("compact", path).source == "file"
    else:
        SemiGDANet("compact").load_trainable_state(load_file(path))


def last_point(folder):
    return json.loads((folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_moment_of_training_writes_weights_that_load(tmp_path, monkeypatch, script):
    monkeypatch.setattr(sys, "argv", [script, str(tmp_path), "--seconds", "0.1", "--pool", "2"])
    importlib.import_module(script).main()

    assert last_point(tmp_path)["step"] > 0
    check_weights(tmp_path / SCRIPTS[script])


@pytest.mark.nightly
@pytest.mark.parametrize("script", SCRIPTS)
def test_training_goes_on_where_it_stopped(tmp_path, script):
    def train(seconds, *more):
        path = Path(__file__).parents[2] / "benchmarks" / f"{script}.py"
        command = [sys.executable, path, tmp_path, "--seconds", seconds, "--pool", 2, *more]
        subprocess.run([str(part) for part in command], check=True, timeout=200)
        return last_point(tmp_path)

    first = train(0.1)
    second = train(first["seconds"] + 1, "--resume")
    assert 0 < first["step"] < second["step"]
    check_weights(tmp_path / SCRIPTS[script])
