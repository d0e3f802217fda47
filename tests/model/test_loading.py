"""Autoencoders' weights are read from all files people have them in, and nothing in a file is executed."""

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor

from napari_semigda.errors import SemiGDAError
from napari_semigda.model.annotation import image_to_probabilities
from napari_semigda.model.loading import load_autoencoder
from napari_semigda.model.network import SemiGDANet

from .conftest import SMALL_CONFIG, dice, drawn_mask, pictures, shared_folder, small_kl

TO_LATENT_DIFFUSION = (
    (r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.0\.", r"up_blocks.three."),
    (r"up_blocks\.1\.", r"up_blocks.two."),
    (r"up_blocks\.2\.", r"up_blocks.1."),
    (r"up_blocks\.3\.", r"up_blocks.0."),
    (r"up_blocks\.two\.", r"up_blocks.2."),
    (r"up_blocks\.three\.", r"up_blocks.3."),
    (r"up_blocks\.(\d)\.resnets\.(\d)", r"up.\1.block.\2"),
    (r"up_blocks\.(\d)\.upsamplers\.0", r"up.\1.upsample"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
    (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"conv_norm_out", "norm_out"),
)
TO_OLD_DIFFUSERS = (
    (r"to_out\.0", "proj_attn"),
    (r"to_q", "query"),
    (r"to_k", "key"),
    (r"to_v", "value"),
)


def renamed(state: dict[str, Tensor], rules: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    result = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        result[name] = tensor
    return result


def latent_diffusion(state: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """As CompVis' code saves it: attention as 1×1 convolutions, the decoder's levels counted finest first."""
    return {
        prefix + name: tensor[:, :, None, None] if ".attn_1." in name and tensor.ndim == 2 else tensor
        for name, tensor in renamed(state, TO_LATENT_DIFFUSION).items()
    }


@pytest.fixture
def weights() -> dict[str, Tensor]:
    return dict(small_kl(seed=3).state_dict())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(SMALL_CONFIG))
    return tmp_path


def save_as_diffusers(weights: dict[str, Tensor], folder: Path, **options: Any) -> None:
    network = AutoencoderKL.from_config(SMALL_CONFIG)
    network.load_state_dict(weights)
    network.save_pretrained(folder, **options)


def assert_same(path: Path, weights: dict[str, Tensor]) -> None:
    loaded = load_autoencoder("sd", path)
    assert loaded.source == "file"
    state = loaded.state_dict()
    assert state.keys() == weights.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(state[name], tensor.float())


def test_a_diffusers_folder(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    save_as_diffusers(weights, tmp_path / "plain")
    assert_same(tmp_path / "plain", weights)


def test_the_vae_in_a_pipelines_folder(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    save_as_diffusers(weights, tmp_path / "pipeline" / "vae")
    assert_same(tmp_path / "pipeline", weights)


def test_a_pickled_diffusers_folder(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    save_as_diffusers(weights, tmp_path / "old", safe_serialization=False)
    assert_same(tmp_path / "old", weights)


def test_a_single_file_in_diffusers_naming(folder: Path, weights: dict[str, Tensor]) -> None:
    safetensors.torch.save_file(weights, folder / "vae.safetensors")
    assert_same(folder / "vae.safetensors", weights)


def test_attention_under_its_older_names(folder: Path, weights: dict[str, Tensor]) -> None:
    old = renamed(weights, TO_OLD_DIFFUSERS)
    assert old.keys() != weights.keys()
    safetensors.torch.save_file(old, folder / "diffusion_pytorch_model.safetensors")
    assert_same(folder, weights)


def test_half_precision_is_read_as_float32(folder: Path, weights: dict[str, Tensor]) -> None:
    half = {name: tensor.half() for name, tensor in weights.items()}
    safetensors.torch.save_file(half, folder / "vae.safetensors")
    assert_same(folder / "vae.safetensors", half)


def test_a_latent_diffusion_checkpoint(folder: Path, weights: dict[str, Tensor]) -> None:
    state = {**latent_diffusion(weights), "loss.logvar": torch.zeros(())}
    torch.save({"state_dict": state, "epoch": 4}, folder / "kl-f8.ckpt")
    assert_same(folder / "kl-f8.ckpt", weights)


def test_the_autoencoder_of_a_whole_stable_diffusion_checkpoint(
    folder: Path, weights: dict[str, Tensor]
) -> None:
    state = latent_diffusion(weights, "first_stage_model.")
    state["model.diffusion_model.out.0.weight"] = torch.zeros(4)
    safetensors.torch.save_file(state, folder / "sd.safetensors")
    assert_same(folder / "sd.safetensors", weights)


def test_a_checkpoint_in_the_format_before_pytorch_1_6(folder: Path, weights: dict[str, Tensor]) -> None:
    torch.save(weights, folder / "vae.pt", _use_new_zipfile_serialization=False)
    assert_same(folder / "vae.pt", weights)


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("was_executed"),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_not_executed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.chdir(folder)
    torch.save({"state_dict": _Harmful()}, "bad.ckpt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(SemiGDAError, match=r"bad\.ckpt.* can execute code"):
        load_autoencoder("sd", folder / "bad.ckpt")
    assert not Path("was_executed").exists()


@pytest.mark.parametrize("name", ["vae.safetensors", "vae.ckpt"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"<html>404 not found</html>"])
def test_damaged_files_are_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(SemiGDAError, match=name):
        load_autoencoder("sd", folder / name)


def test_a_pickled_list_is_no_autoencoder(folder: Path) -> None:
    (folder / "vae.pt").write_bytes(pickle.dumps([1, 2], protocol=2))
    with pytest.raises(SemiGDAError, match=r"vae\.pt"):
        load_autoencoder("sd", folder / "vae.pt")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SemiGDAError, match="There is no file"):
        load_autoencoder("sd", tmp_path / "absent.safetensors")
    with pytest.raises(SemiGDAError, match=re.escape(str(tmp_path))):
        load_autoencoder("sd", tmp_path)


def test_another_kind_of_autoencoder_is_refused(tmp_path: Path) -> None:
    AutoencoderTiny().save_pretrained(tmp_path / "tiny")
    with pytest.raises(SemiGDAError, match="“sd” autoencoder"):
        load_autoencoder("sd", tmp_path / "tiny" / "diffusion_pytorch_model.safetensors")


def test_latents_of_another_shape_are_refused(tmp_path: Path) -> None:
    AutoencoderKL.from_config({**SMALL_CONFIG, "latent_channels": 16}).save_pretrained(tmp_path / "wide")
    with pytest.raises(SemiGDAError, match="4 channels"):
        load_autoencoder("sd", tmp_path / "wide")


def test_a_broken_config_is_named(folder: Path, weights: dict[str, Tensor]) -> None:
    safetensors.torch.save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    (folder / "config.json").write_text("{")
    with pytest.raises(SemiGDAError, match=r"config\.json"):
        load_autoencoder("sd", folder)


def original_taesd(folder: Path, network: AutoencoderTiny) -> None:
    """Write TAESD's two files as its author names the weights, bfloat16."""
    for part, shift in (("encoder", 0), ("decoder", 1)):
        named = {}
        for name, tensor in network.get_submodule(part).layers.state_dict().items():
            index, _, rest = name.partition(".")
            named[f"{int(index) + shift}.{rest}"] = tensor.bfloat16()
        safetensors.torch.save_file(named, folder / f"taesd_{part}.safetensors")


@pytest.mark.parametrize("chosen", [".", "taesd_decoder.safetensors"])
def test_taesd_in_its_original_naming(tmp_path: Path, chosen: str) -> None:
    network = AutoencoderTiny()
    original_taesd(tmp_path, network)
    loaded = load_autoencoder("taesd", tmp_path / chosen)
    image = pictures()
    rounded = AutoencoderTiny()
    rounded.load_state_dict({k: t.bfloat16().float() for k, t in network.state_dict().items()})
    torch.testing.assert_close(loaded.encode(image).mean, rounded.encode(image).latents)


def test_taesd_in_a_diffusers_folder(tmp_path: Path) -> None:
    network = AutoencoderTiny()
    network.save_pretrained(tmp_path / "taesd")
    image = pictures()
    loaded = load_autoencoder("taesd", tmp_path / "taesd")
    torch.testing.assert_close(loaded.encode(image).mean, network.encode(image).latents)


def test_the_real_taesd_carries_a_drawn_mask() -> None:
    folder = shared_folder("SEMIGDA_WEIGHTS", "weights") / "taesd"
    model = SemiGDANet("taesd", autoencoder=load_autoencoder("taesd", folder))
    mask = drawn_mask()
    decoded = model.autoencoder.decode(model.mask_latent(mask))
    assert dice(image_to_probabilities(decoded, 2)[:, 1] > 0.5, mask > 0) > 0.98
