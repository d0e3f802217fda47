"""The assembled network."""

import pytest
import torch

from napari_semigda.model.loading import random_autoencoder
from napari_semigda.model.network import SemiGDANet
from napari_semigda.model.presets import PRESETS

from .conftest import learn_something, pictures, small_paper_model


@pytest.fixture(params=["compact", "taesd", "small"])
def model(request: pytest.FixtureRequest) -> SemiGDANet:
    if request.param == "small":
        return small_paper_model()
    return SemiGDANet(request.param, autoencoder=random_autoencoder(request.param))


def test_two_branches_predict_class_probabilities(model: SemiGDANet) -> None:
    for branch in model.branches(pictures(2, 32, 48)):
        assert branch.shape == (2, 2, 32, 48)
        assert branch.dtype == torch.float32
        torch.testing.assert_close(branch.sum(dim=1), torch.ones(2, 32, 48))


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_as_many_classes_as_asked_for(classes: int) -> None:
    model = SemiGDANet("compact", classes, autoencoder=random_autoencoder("compact"))
    image_branch, mask_branch = model.branches(pictures(1))
    assert image_branch.shape == mask_branch.shape == (1, classes, 32, 32)


def test_it_predicts_the_weighted_mean_of_its_branches(model: SemiGDANet) -> None:
    """Channels count the background, as in segmentation_models_pytorch."""
    probabilities = model.eval()(pictures(2, 32, 48))
    image_branch, mask_branch = model.branches(pictures(2, 32, 48))
    share = model.image_branch_share
    torch.testing.assert_close(probabilities, share * image_branch + (1 - share) * mask_branch)
    assert probabilities.shape == (2, model.classes, 32, 48)


def test_latents_are_those_of_the_method(model: SemiGDANet) -> None:
    image = pictures()
    model.eval()
    latents = model.latents(image)
    encoding = model.autoencoder.encode(image)
    torch.testing.assert_close(latents.image, encoding.mean)
    torch.testing.assert_close(latents.mapped, model.mapping(encoding.mean))
    _, moments = model.encoder(image)
    torch.testing.assert_close(latents.encoded, model.autoencoder.latent_from_moments(moments))


def test_noise_moves_the_image_latent_by_its_standard_deviation() -> None:
    model, image, noise = small_paper_model(), pictures(), torch.randn(2, 4, 4, 4)
    encoding = model.autoencoder.encode(image)
    assert encoding.log_variance is not None
    expected = encoding.mean + (encoding.log_variance / 2).exp() * noise
    torch.testing.assert_close(model.latents(image, noise).image, expected)


def test_without_log_variance_noise_changes_nothing() -> None:
    model = SemiGDANet("taesd", autoencoder=random_autoencoder("taesd"))
    image, noise = pictures(), torch.randn(2, 4, 4, 4)
    assert torch.equal(model.latents(image, noise).image, model.latents(image).image)


def test_a_masks_latent_is_that_of_its_picture(model: SemiGDANet) -> None:
    labels = torch.zeros(1, 32, 32, dtype=torch.uint8)
    labels[:, 8:20, 8:20] = 1
    latent = model.mask_latent(labels)
    picture = (labels.float() * 2 - 1).expand(3, 32, 32)[None]
    torch.testing.assert_close(latent, model.autoencoder.encode(picture).mean)
    assert not latent.requires_grad


def test_training_reaches_all_parts_and_only_them(model: SemiGDANet) -> None:
    model.train()
    learn_something(model)
    image_branch, mask_branch = model.branches(pictures())
    (image_branch[:, 1].mean() + mask_branch[:, 1].square().mean()).backward()
    for name, part in model.parts().items():
        silent = [key for key, parameter in part.named_parameters() if parameter.grad is None]
        assert not silent, f"{name} got no gradient: {silent}"
    assert all(parameter.grad is None for parameter in model.autoencoder.parameters())


def test_gradients_reach_the_skips_after_the_first_step() -> None:
    """A fresh adapter hides its skip; once it has moved, what made the skip learns through it, too."""
    model = small_paper_model()
    latents = model.latents(pictures())
    skips = [skip.detach().requires_grad_() for skip in latents.mask_skips]
    optimizer = torch.optim.SGD(model.mask_adapters.parameters(), lr=0.1)

    def largest_gradients() -> list[float]:
        decoded = model.autoencoder.decode(latents.encoded.detach(), model.mask_adapters, skips)
        decoded.square().mean().backward()
        return [float(skip.grad.abs().max()) for skip in skips if skip.grad is not None]

    assert largest_gradients() == [0, 0, 0, 0]
    optimizer.step()
    assert min(largest_gradients()) > 0


def test_training_keeps_the_autoencoder_in_evaluation_mode(model: SemiGDANet) -> None:
    model.train()
    assert model.encoder.training
    assert not model.autoencoder.training
    model.eval()
    assert not model.encoder.training


def test_a_single_small_picture_can_be_trained_on(model: SemiGDANet) -> None:
    model.train()
    image_branch, mask_branch = model.branches(pictures(1, 16, 16))
    assert torch.isfinite(image_branch).all()
    assert torch.isfinite(mask_branch).all()


@pytest.mark.parametrize(("height", "width"), [(30, 32), (32, 12)])
def test_sizes_are_multiples_of_eight(height: int, width: int) -> None:
    model = SemiGDANet("compact", autoencoder=random_autoencoder("compact"))
    with pytest.raises(ValueError, match="multiples of 8"):
        model.branches(pictures(1, height, width))
    with pytest.raises(ValueError, match="multiples of 8"):
        model.mask_latent(torch.zeros(1, height, width, dtype=torch.uint8))


def test_the_trainable_state_carries_everything_learnt(model: SemiGDANet) -> None:
    learn_something(model)
    model.train()
    model(pictures())  # moves the batch norms' statistics
    other = (
        small_paper_model()
        if model.preset == "sd"
        else SemiGDANet(model.preset, seed=1, autoencoder=random_autoencoder(model.preset, 1))
    )
    other.autoencoder.load_state_dict(model.autoencoder.state_dict())
    other.load_trainable_state(model.trainable_state())
    for one, two in zip(model.eval().branches(pictures()), other.eval().branches(pictures()), strict=True):
        assert torch.equal(one, two)
    assert not any(name.startswith("autoencoder") for name in model.trainable_state())


def test_a_state_of_another_network_is_refused_and_nothing_changes() -> None:
    compact = SemiGDANet("compact", autoencoder=random_autoencoder("compact"))
    before = {name: tensor.clone() for name, tensor in compact.trainable_state().items()}
    taesd = SemiGDANet("taesd", autoencoder=random_autoencoder("taesd"))
    with pytest.raises(ValueError, match="another shape"):
        compact.load_trainable_state(taesd.trainable_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in compact.trainable_state().items())


def test_half_precision_gives_probabilities_in_float32() -> None:
    model = SemiGDANet("compact", autoencoder=random_autoencoder("compact")).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image_branch, mask_branch = model.branches(pictures(1, 16, 16))
    assert image_branch.dtype == mask_branch.dtype == torch.float32
    (image_branch[:, 1].mean() + mask_branch[:, 1].mean()).backward()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_themselves(name: str) -> None:
    preset = PRESETS[name]
    assert preset.name == name
    assert preset.description
    assert preset.default_working_size % 8 == 0
