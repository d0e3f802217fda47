"""Every preset's frozen autoencoder computes what diffusers' does, bit by bit, level by level."""

import json
from importlib.resources import files
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from napari_semigda.model.autoencoder import Autoencoder
from napari_semigda.model.loading import random_autoencoder
from napari_semigda.model.network import SkipAdapter

from .conftest import SMALL_CONFIG, pictures, small_kl

WEIGHTS = files("napari_semigda.model") / "weights"
KINDS = ["compact", "taesd", "small"]


@pytest.fixture(params=KINDS)
def autoencoder(request: pytest.FixtureRequest) -> Autoencoder:
    if request.param == "small":
        return small_kl()
    return random_autoencoder(request.param, seed=0)


def fresh_adapters(autoencoder: Autoencoder) -> nn.ModuleList:
    widths = zip(autoencoder.decoder_channels, autoencoder.level_channels, strict=True)
    return nn.ModuleList(SkipAdapter(*both, hidden=4) for both in widths)


@pytest.fixture
def reference(request: pytest.FixtureRequest, autoencoder: Autoencoder) -> Any:
    """diffusers' own network, made from the same seed."""
    torch.manual_seed(0)
    made = {
        "compact": lambda: AutoencoderKL.from_config(json.loads((WEIGHTS / "compact.json").read_text())),
        "taesd": AutoencoderTiny,
        "small": lambda: AutoencoderKL.from_config(SMALL_CONFIG),
    }[request.node.callspec.params["autoencoder"]]()
    return made.requires_grad_(False).eval()


def test_the_same_seed_gives_the_weights_that_diffusers_draws(
    autoencoder: Autoencoder, reference: Any
) -> None:
    expected = reference.state_dict()
    assert autoencoder.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in autoencoder.state_dict().items())


def test_encoding_is_what_diffusers_encodes(autoencoder: Autoencoder, reference: Any) -> None:
    image = pictures()
    encoding = autoencoder.encode(image)
    encoded = reference.encode(pixel_unshuffle(image, autoencoder.patch))
    if hasattr(encoded, "latent_dist"):
        assert torch.equal(encoding.mean, encoded.latent_dist.mean * autoencoder.scaling_factor)
        assert torch.equal(encoding.log_variance, encoded.latent_dist.logvar)
    else:
        assert torch.equal(encoding.mean, encoded.latents)
        assert encoding.log_variance is None


def test_plain_decoding_is_what_diffusers_decodes(autoencoder: Autoencoder, reference: Any) -> None:
    latent = autoencoder.encode(pictures()).mean
    decoded = reference.decode(latent / autoencoder.scaling_factor).sample
    assert torch.equal(autoencoder.decode(latent), pixel_shuffle(decoded, autoencoder.patch))


def test_skips_halve_from_level_to_level(autoencoder: Autoencoder) -> None:
    skips = autoencoder.encode(pictures(1, 32, 48)).skips
    sizes = [(32, 48), (16, 24), (8, 12), (4, 6)][autoencoder.patch - 1 :]
    expected = [(1, width, *size) for width, size in zip(autoencoder.level_channels, sizes, strict=True)]
    assert [skip.shape for skip in skips] == expected


def test_fresh_adapters_leave_the_decoder_as_it_is(autoencoder: Autoencoder) -> None:
    encoding = autoencoder.encode(pictures())
    adapted = autoencoder.decode(encoding.mean, fresh_adapters(autoencoder), encoding.skips)
    torch.testing.assert_close(adapted, autoencoder.decode(encoding.mean), atol=1e-4, rtol=1e-4)


def test_each_level_is_adapted_with_its_own_skip(autoencoder: Autoencoder) -> None:
    encoding = autoencoder.encode(pictures())
    plain = autoencoder.decode(encoding.mean)
    for level in range(len(autoencoder.level_channels)):
        adapters = fresh_adapters(autoencoder)
        with torch.no_grad():
            adapters[level].shortcut.weight.mul_(1.5)
        changed = autoencoder.decode(encoding.mean, adapters, encoding.skips) - plain
        assert changed.abs().max() > 1e-3


def test_decoding_leaves_the_callers_skips_alone(autoencoder: Autoencoder) -> None:
    encoding = autoencoder.encode(pictures())
    skips = list(encoding.skips)
    before = [skip.clone() for skip in skips]
    autoencoder.decode(encoding.mean, fresh_adapters(autoencoder), skips)
    assert len(skips) == len(before)
    for skip, copy in zip(skips, before, strict=True):
        assert torch.equal(skip, copy)


def test_gradients_pass_through_the_frozen_decoder_but_do_not_stay(autoencoder: Autoencoder) -> None:
    latent = autoencoder.encode(pictures()).mean.requires_grad_()
    autoencoder.decode(latent).square().mean().backward()
    assert latent.grad is not None
    assert latent.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in autoencoder.parameters())


def test_it_stays_frozen_and_in_evaluation_mode(autoencoder: Autoencoder) -> None:
    autoencoder.train()
    assert not any(module.training for module in autoencoder.modules())
    assert not any(parameter.requires_grad for parameter in autoencoder.parameters())
    assert not autoencoder.encode(pictures()).mean.requires_grad


def test_moments_become_a_latent_of_four_channels(autoencoder: Autoencoder) -> None:
    moments = torch.ones(2, autoencoder.moment_channels, 4, 4, requires_grad=True)
    latent = autoencoder.latent_from_moments(moments)
    assert latent.shape == (2, 4, 4, 4)
    assert latent.requires_grad


def test_the_signature_tells_autoencoders_apart_but_not_their_rounding() -> None:
    def difference(one: Autoencoder, other: Autoencoder) -> float:
        return float((torch.tensor(one.signature()) - torch.tensor(other.signature())).abs().max())

    original, rounded, another = (random_autoencoder("compact", seed) for seed in (0, 0, 1))
    rounded.half().float()
    assert difference(original, rounded) < 0.02 < difference(original, another)
