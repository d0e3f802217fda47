"""The authors' checkpoints are taken over, and the network computes what the authors' does."""

import json
import re
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_semigda.errors import SemiGDAError
from napari_semigda.model.checkpoint import load_checkpoint, save_checkpoint
from napari_semigda.model.network import SemiGDANet
from napari_semigda.model.released import fill_from_released, import_released

from .conftest import learn_something, pictures, shared_folder, small_paper_model

# From our names back to the authors', written apart from the importer's own rules.
TO_AUTHORS = (
    (r"^image_adapters", "vae_model.decoder.Jump_vae"),
    (r"^mask_adapters", "vae_model.decoder.Jump_cnn"),
    (r"(Jump_\w+\.\d)\.shortcut", r"\1.nin_shortcut"),
    (r"(Jump_\w+\.\d)\.residual\.0", r"\1.norm1"),
    (r"(Jump_\w+\.\d)\.residual\.2", r"\1.conv1"),
    (r"(Jump_\w+\.\d)\.residual\.3", r"\1.norm2"),
    (r"(Jump_\w+\.\d)\.residual\.5", r"\1.conv2"),
    (r"^encoder\.stem\.0", "resnet.conv1"),
    (r"^encoder\.stem\.1", "resnet.bn1"),
    (r"^encoder\.head", "resnet.conv_out.conv_conv"),
    (r"^encoder\.stages\.0", "resnet.layer1"),
    (r"^encoder\.stages\.1", "resnet.layer2"),
    (r"^encoder\.stages\.2", "resnet.layer3"),
    (r"^(resnet\.layer.*)\.shortcut", r"\1.downsample"),
    (r"^(resnet\.layer.*)\.norm", r"\1.bn"),
    (r"^mapping\.stem", "mapping_model.input_blocks"),
    (r"^mapping\.head", "mapping_model.convds0"),
    (r"^mapping\.down\.0", "mapping_model.conv1_0"),
    (r"^mapping\.down\.1", "mapping_model.conv2_0"),
    (r"^mapping\.down\.2", "mapping_model.conv3_0"),
    (r"^mapping\.down\.3", "mapping_model.conv4_0"),
    (r"^mapping\.up\.0", "mapping_model.conv3_1"),
    (r"^mapping\.up\.1", "mapping_model.conv2_2"),
    (r"^mapping\.up\.2", "mapping_model.conv1_3"),
    (r"^mapping\.up\.3", "mapping_model.conv0_4"),
    (r"(mapping_model.*)\.residual\.([012])\.", r"\1.resblock.conv1.\2."),
    (r"(mapping_model.*)\.residual\.3\.", r"\1.resblock.conv2.0."),
    (r"(mapping_model.*)\.residual\.4\.", r"\1.resblock.conv2.1."),
    (r"(mapping_model.*)\.residual\.5\.", r"\1.resblock.conv2.2."),
    (r"(mapping_model.*)\.shortcut", r"\1.resblock.skip_connection"),
    (r"attention\.query", "attention.q"),
    (r"attention\.key", "attention.k"),
    (r"attention\.value", "attention.v"),
    (r"attention\.project", "attention.proj_out"),
)
UNUSED = {
    "seg_head.0.bias": torch.zeros(16),
    "mapping_model.convds2.0.bias": torch.zeros(8),
    "mapping_model.conv1_0.resblock.act1.weight": torch.zeros(1),
}


def authors_state(model: SemiGDANet) -> dict[str, Tensor]:
    state = {}
    for name, tensor in model.trainable_state().items():
        for pattern, replacement in TO_AUTHORS:
            name = re.sub(pattern, replacement, name)
        state[name] = tensor.clone()
    return {**state, **UNUSED}


@pytest.fixture
def released() -> SemiGDANet:
    model = small_paper_model()
    learn_something(model)
    return model.eval()


def test_learning_parts_are_filled_under_the_authors_names(released: SemiGDANet) -> None:
    state = authors_state(released)
    assert all(
        name.startswith(("vae_model.decoder.Jump", "resnet.", "mapping_", "seg_head.")) for name in state
    )
    model = small_paper_model().eval()
    fill_from_released(model, state)
    for one, two in zip(model.branches(pictures()), released.branches(pictures()), strict=True):
        assert torch.equal(one, two)


def test_a_stage_one_state_leaves_the_adapters_fresh(released: SemiGDANet) -> None:
    state = {name: tensor for name, tensor in authors_state(released).items() if "Jump" not in name}
    model, fresh = small_paper_model(), small_paper_model()
    fill_from_released(model, state)
    for name, tensor in model.trainable_state().items():
        expected = fresh if "_adapters" in name else released
        assert torch.equal(tensor, expected.trainable_state()[name])


def refused_states(state: dict[str, Tensor]) -> Iterator[tuple[dict[str, Tensor], str]]:
    without = dict(state)
    del without["resnet.layer2.1.bn2.weight"]
    yield without, "lacks 1 weight"
    yield {**state, "resnet.layer4.0.conv1.weight": torch.zeros(1)}, "1 weights too many: resnet.layer4"
    yield {**state, "resnet.bn1.weight": torch.zeros(3)}, "another shape: encoder.stem.1.weight"
    yield {}, "lacks"


def test_what_does_not_fit_is_refused_whole(released: SemiGDANet) -> None:
    for state, message in refused_states(authors_state(released)):
        model = small_paper_model()
        before = {name: tensor.clone() for name, tensor in model.trainable_state().items()}
        with pytest.raises(SemiGDAError, match=message):
            fill_from_released(model, state, "model.pth")
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.trainable_state().items())


def test_a_file_without_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"weight": torch.zeros(2)}}, tmp_path / "other.pth")
    with pytest.raises(SemiGDAError, match=r"other\.pth"):
        import_released(tmp_path / "other.pth")


def filled(name: str, shape: list[int]) -> Tensor:
    """The rule by which the parity arrays' network was filled."""
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
    values = random.standard_normal(prod(shape)).astype(np.float32).reshape(shape)
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    if last == "running_mean":
        values = 0.1 * values
    elif last == "running_var":
        values = 1 + 0.1 * np.abs(values)
    elif len(shape) >= 2:
        values = values / np.float32(np.sqrt(prod(shape[1:])))
    elif last == "weight":
        values = 1 + 0.1 * values if values.size > 1 else 0.25 + 0.01 * values
    else:
        values = 0.1 * values
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def channel_statistics(skip: Tensor) -> Tensor:
    per_channel = skip.transpose(0, 1).flatten(1)
    return torch.stack([per_channel.mean(dim=1), per_channel.std(dim=1)])


def computed_arrays(model: SemiGDANet, image: Tensor, mask: Tensor) -> dict[str, Tensor]:
    latents = model.latents(image * 2 - 1)
    encoding = model.autoencoder.encode(image * 2 - 1)
    assert encoding.log_variance is not None
    arrays = {
        "image_latent_mean": latents.image,
        "image_latent_logvar": encoding.log_variance,
        "mapped_latent": latents.mapped,
        "encoder_latent": latents.encoded,
        "mask_latent": model.mask_latent(mask),
        "probability_image_branch": model.decode_image_branch(latents)[:, 1:],
        "probability_mask_branch": model.decode_mask_branch(latents)[:, 1:],
    }
    for branch, skips in (("autoencoder", latents.image_skips), ("encoder", latents.mask_skips)):
        for level, skip in enumerate(skips):
            arrays[f"{branch}_skip_{level}_mean_std"] = channel_statistics(skip)
    return arrays


@pytest.fixture(scope="module")
def stage_two_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkpoint with the names, shapes and size of the authors', filled by the rule."""
    keys = json.loads((shared_folder("SEMIGDA_PARITY", "parity") / "state_dict_keys.json").read_text())
    path = tmp_path_factory.mktemp("released") / "stage2.pth"
    torch.save({"model": {name: filled(name, shape) for name, shape in keys.items()}}, path)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def stage_two(stage_two_file: Path) -> SemiGDANet:
    return import_released(stage_two_file)


@pytest.mark.slow
def test_the_network_is_the_same_function_as_the_authors(stage_two: SemiGDANet) -> None:
    expected = np.load(shared_folder("SEMIGDA_PARITY", "parity") / "forward.npz")
    image, mask = torch.from_numpy(expected["image"]), torch.from_numpy(expected["mask"]).long()
    with torch.no_grad():
        arrays = computed_arrays(stage_two, image, mask)
    differences = {
        name: float((array - torch.from_numpy(expected[name])).abs().max()) for name, array in arrays.items()
    }
    print("\n".join(f"{name}: {difference:.1e}" for name, difference in differences.items()))
    assert arrays.keys() | {"image", "mask"} == set(expected.files)
    assert max(differences.values()) <= 1e-4


@pytest.mark.nightly
def test_a_stage_one_file_gets_its_autoencoder_from_beside(
    stage_two_file: Path, stage_two: SemiGDANet, tmp_path: Path
) -> None:
    state = torch.load(stage_two_file, weights_only=True, mmap=True)["model"]
    parts = {
        part: {
            name.removeprefix(f"{part}."): tensor
            for name, tensor in state.items()
            if name.startswith(f"{part}.")
        }
        for part in ("resnet", "mapping_model")
    }
    torch.save(parts, tmp_path / "stage1.pth")
    model = import_released(tmp_path / "stage1.pth", weights=stage_two_file)
    (tmp_path / "stage1.pth").unlink()
    assert model.autoencoder.signature() == stage_two.autoencoder.signature()
    for name, tensor in model.trainable_state().items():
        if "_adapters" not in name:
            assert torch.equal(tensor, stage_two.trainable_state()[name])


@pytest.mark.nightly
def test_an_import_is_saved_and_loaded_with_its_own_autoencoder(
    stage_two_file: Path, stage_two: SemiGDANet, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "imported.safetensors", stage_two)
    loaded, metadata = load_checkpoint(tmp_path / "imported.safetensors", stage_two_file)
    (tmp_path / "imported.safetensors").unlink()
    assert metadata["preset"] == "sd"
    with torch.no_grad():
        for one, two in zip(loaded.branches(pictures(1)), stage_two.branches(pictures(1)), strict=True):
            assert torch.equal(one, two)
