"""Networks are built by a preset's name."""

import pytest
import torch

from napari_semigda.errors import SemiGDAError
from napari_semigda.model.annotation import image_to_probabilities
from napari_semigda.model.presets import PRESETS, build_model

from .conftest import dice, drawn_mask


def test_the_same_seed_builds_the_same_network() -> None:
    one, two, other = (build_model("compact", seed=seed).trainable_state() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_building_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    build_model("compact", seed=8, random_autoencoder=True)
    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_preset_is_answered_with_those_there_are() -> None:
    with pytest.raises(SemiGDAError, match=", ".join(PRESETS)):
        build_model("huge")


def test_classes_are_counted_before_anything_is_loaded() -> None:
    with pytest.raises(ValueError, match="2 to 254"):
        build_model("sd", classes=1)


def test_the_packages_own_autoencoder_carries_a_drawn_mask() -> None:
    model = build_model("compact")
    mask = drawn_mask()
    decoded = model.autoencoder.decode(model.mask_latent(mask))
    assert dice(image_to_probabilities(decoded, 2)[:, 1] > 0.5, mask > 0) > 0.95


@pytest.mark.slow
def test_the_papers_network_has_the_papers_size() -> None:
    model = build_model("sd", random_autoencoder=True)
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
