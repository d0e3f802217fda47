"""Networks are built by a preset's name."""

import numpy as np
import pytest
import torch

from napari_semigda.errors import SemiGDAError
from napari_semigda.model.annotation import image_to_probabilities
from napari_semigda.model.loading import random_autoencoder
from napari_semigda.model.network import SemiGDANet
from napari_semigda.model.presets import PRESETS
from scenes import draw_scene

from .conftest import dice, drawn_mask


def test_the_same_seed_builds_the_same_network() -> None:
    one, two, other = (
        SemiGDANet("compact", seed=seed, pretrained=False).trainable_state() for seed in (3, 3, 4)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_building_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    SemiGDANet("compact", seed=8, autoencoder=random_autoencoder("compact", 8))
    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_preset_is_answered_with_those_there_are() -> None:
    with pytest.raises(SemiGDAError, match=", ".join(PRESETS)):
        SemiGDANet("huge")


def test_classes_are_counted_before_anything_is_loaded() -> None:
    with pytest.raises(ValueError, match="2 to 254"):
        SemiGDANet("sd", classes=1)


def test_the_packages_own_autoencoder_carries_a_drawn_mask() -> None:
    model = SemiGDANet("compact")
    mask = drawn_mask()
    decoded = model.autoencoder.decode(model.mask_latent(mask))
    assert dice(image_to_probabilities(decoded, 2)[:, 1] > 0.5, mask > 0) > 0.95


def test_compact_starts_from_what_tells_objects_from_background() -> None:
    fresh, random = SemiGDANet("compact"), SemiGDANet("compact", pretrained=False)
    scenes = [draw_scene(np.random.default_rng(seed), 128) for seed in range(900, 930)]
    pictures = torch.from_numpy(np.stack([picture for picture, _ in scenes])).movedim(-1, 1) / 127.5 - 1
    truth = torch.from_numpy(np.stack([labels for _, labels in scenes])) > 0

    def found_by(model: SemiGDANet) -> float:
        with torch.inference_mode():
            image_branch, mask_branch = model.eval().branches(pictures)
        return dice(image_branch[:, 1] + mask_branch[:, 1] > 1, truth)

    assert found_by(fresh) > 0.7 > found_by(random)


def test_another_number_of_classes_has_the_same_start() -> None:
    two, five = SemiGDANet("compact").trainable_state(), SemiGDANet("compact", 5).trainable_state()
    assert all(torch.equal(two[name], five[name]) for name in two)


def test_the_papers_network_has_the_papers_size() -> None:
    with torch.device("meta"):
        model = SemiGDANet("sd", autoencoder=random_autoencoder("sd"))
    millions = {
        name: round(sum(p.numel() for p in part.parameters()) / 1e6, 1)
        for name, part in model.named_children()
    }
    assert millions == {
        "autoencoder": 83.7,
        "encoder": 49.7,
        "mapping": 1.6,
        "image_adapters": 17.6,
        "mask_adapters": 17.6,
    }
