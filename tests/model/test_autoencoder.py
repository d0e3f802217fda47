"""Every preset's frozen autoencoder is diffusers' own, seen level by level."""

import pytest
import torch
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from napari_semigda.model.adapters import SkipAdapters
from napari_semigda.model.autoencoder import Autoencoder, KLAutoencoder
from napari_semigda.model.loading import random_autoencoder_of

from .conftest import pictures, small_kl

KINDS = ["compact", "taesd", "small"]


@pytest.fixture(params=KINDS)
def autoencoder(request: pytest.FixtureRequest) -> Autoencoder:
    if request.param == "small":
        return KLAutoencoder(small_kl(), "random:0")
    return random_autoencoder_of(request.param, seed=0)


def fresh_adapters(autoencoder: Autoencoder) -> SkipAdapters:
    hidden = [4] * len(autoencoder.level_channels)
    return SkipAdapters(autoencoder.decoder_channels, autoencoder.level_channels, hidden)


def test_encoding_is_what_diffusers_encodes(autoencoder: Autoencoder) -> None:
    image = pictures()
    encoding = autoencoder.encode(image)
    encoded = autoencoder.network.encode(pixel_unshuffle(image, autoencoder.patch))
    if hasattr(encoded, "latent_dist"):
        torch.testing.assert_close(encoding.mean, encoded.latent_dist.mean * autoencoder.scaling_factor)
        torch.testing.assert_close(encoding.log_variance, encoded.latent_dist.logvar)
    else:
        torch.testing.assert_close(encoding.mean, encoded.latents)
        assert encoding.log_variance is None


def test_plain_decoding_is_what_diffusers_decodes(autoencoder: Autoencoder) -> None:
    latent = autoencoder.encode(pictures()).mean
    decoded = autoencoder.network.decode(latent / autoencoder.scaling_factor).sample
    torch.testing.assert_close(autoencoder.decode(latent), pixel_shuffle(decoded, autoencoder.patch))


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

    original, rounded, another = (random_autoencoder_of("compact", seed) for seed in (0, 0, 1))
    rounded.half().float()
    assert difference(original, rounded) < 0.02 < difference(original, another)
