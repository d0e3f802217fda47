"""Weights of the autoencoders, from the package, the model hub or local files, in all common namings."""

import json
import pickle
import re
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.files import load_tensors, read_json
from napari_semigda.model.autoencoder import Autoencoder, KLAutoencoder, KLConfig, TinyAutoencoder, TinyConfig
from napari_semigda.model.hub import fetch

REPOSITORIES = {"sd": "stabilityai/sd-vae-ft-mse", "taesd": "madebyollin/taesd"}
"""Where the hub has the presets' weights; both are under the MIT license."""

_SD = KLConfig(block_out_channels=(128, 256, 512, 512), layers_per_block=2)
_LARGEST_CONFIG = 2**20
_MOST_WEIGHTS = 10**9  # Stable Diffusion has 84 million
_HUB_FILES = ("config.json", "diffusion_pytorch_model.safetensors")
_PACKAGE_FILES = resources.files("napari_semigda.model") / "weights"

Rules = tuple[tuple[str, str], ...]

# The decoder's levels are numbered finest first in latent diffusion, coarsest first in diffusers.
_LATENT_DIFFUSION: Rules = (
    (r"mid\.block_1\.", r"mid_block.resnets.0."),
    (r"mid\.block_2\.", r"mid_block.resnets.1."),
    (r"mid\.attn_1\.norm\.", r"mid_block.attentions.0.group_norm."),
    (r"mid\.attn_1\.([qkv])\.", r"mid_block.attentions.0.to_\1."),
    (r"mid\.attn_1\.proj_out\.", r"mid_block.attentions.0.to_out.0."),
    (r"down\.(\d)\.block\.(\d)\.", r"down_blocks.\1.resnets.\2."),
    (r"down\.(\d)\.downsample\.", r"down_blocks.\1.downsamplers.0."),
    (r"\bup\.(\d)\.block\.(\d)\.", r"up_blocks.\1.resnets.\2."),
    (r"\bup\.(\d)\.upsample\.", r"up_blocks.\1.upsamplers.0."),
    (r"nin_shortcut", r"conv_shortcut"),
    (r"\bnorm_out\.", r"conv_norm_out."),
    *((rf"up_blocks\.{level}\.", rf"up_blocks.<{3 - level}>.") for level in range(4)),
    (r"<(\d)>", r"\1"),
)

# Names that diffusers itself used before 0.17, and still distributes.
_OLD_DIFFUSERS: Rules = (
    (r"attentions\.0\.query\.", r"attentions.0.to_q."),
    (r"attentions\.0\.key\.", r"attentions.0.to_k."),
    (r"attentions\.0\.value\.", r"attentions.0.to_v."),
    (r"attentions\.0\.proj_attn\.", r"attentions.0.to_out.0."),
)

# What precedes an autoencoder's names in whole checkpoints: latent diffusion's, and SemiGDA's authors'.
_WHOLE_MODELS = ("first_stage_model.", "vae_model.")

# The autoencoder's own weights: not a discriminator's, nor the skip adapters in the authors' checkpoints.
_OWN = re.compile(r"(?:encoder|decoder(?!\.Jump_)|quant_conv|post_quant_conv)\.")


def load_autoencoder(
    preset: str,
    weights: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Autoencoder:
    """Load a preset's trained autoencoder, float32 on the CPU; no code in any file is executed.

    `weights` None is the package's for "compact", the hub's (downloaded on first use) for "taesd" and "sd".
    Or it is a diffusers folder (or one with a `vae` folder in it); or a file in diffusers' or latent
    diffusion's naming (`.safetensors`, `.ckpt`, `.pt`, `.bin`); or, for "taesd", the folder with
    `taesd_encoder.safetensors` and `taesd_decoder.safetensors` (or `.pth`). A `config.json` beside the
    weights is used. For `progress` and `cancelled` see `fetch`.

    Raises a `SemiGDAError` if the weights cannot be found, read or downloaded, or belong to another kind of
    autoencoder.
    """
    if weights is not None:
        return _from_folder(preset, weights, "file") if weights.is_dir() else _from_file(preset, weights)
    if preset in REPOSITORIES:
        return _from_folder(preset, fetch(REPOSITORIES[preset], _HUB_FILES, progress, cancelled), "hub")
    tensors = safetensors.torch.load((_PACKAGE_FILES / "compact.safetensors").read_bytes())
    return autoencoder_from(preset, tensors, "package", "the package")


def load_start() -> dict[str, Tensor]:
    """Return the trainable state (float32) that fresh networks of the preset "compact" start from.

    It was trained on generated images alone, by `benchmarks/pretrain_compact.py`.
    """
    tensors = safetensors.torch.load((_PACKAGE_FILES / "compact_start.safetensors").read_bytes())
    return {name: tensor.float() for name, tensor in tensors.items()}


def random_autoencoder(preset: str, seed: int = 0) -> Autoencoder:
    """Return a preset's autoencoder with random weights, for tests and speed measurements."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _build(_default_config(preset), f"random:{seed}")


def read_tensors(path: Path) -> dict[str, Any]:
    """Read a file of weights without executing code in it: tensors by name, or whatever dictionary a pickled
    checkpoint holds, mapped from the disk.

    Raises a `SemiGDAError` if the file is missing or damaged, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise SemiGDAError(f"There is no file “{path}”.")
    try:
        if path.suffix == ".safetensors":
            return load_tensors(path)
        with path.open("rb") as file:
            is_zip = (
                file.read(2) == b"PK"
            )  # PyTorch's format since 1.6, which alone can be mapped from the disk
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        raise SemiGDAError(
            f"“{path}” is damaged or holds Python objects besides weights, and is not opened because such a "
            "file can execute code. Use a .safetensors version of it."
        ) from error
    except (OSError, RuntimeError, EOFError, SafetensorError) as error:
        raise SemiGDAError(f"“{path}” could not be read as weights: {_first_line(error)}.") from error
    if not isinstance(content, dict):
        raise SemiGDAError(f"“{path}” holds no weights by name.")
    return content


def autoencoder_from(
    preset: str,
    tensors: Mapping[str, Tensor],
    source: str,
    where: str,
    config: KLConfig | TinyConfig | None = None,
) -> Autoencoder:
    """Build an autoencoder around copies of weights of any floating type, under any of the names `kl_weights`
    knows.

    `where` is what to call them in messages; `config` None takes the preset's architecture. Raises a
    `SemiGDAError` if the weights do not fit the architecture, or the architecture does not fit the network.
    """
    if preset != "taesd":
        tensors = kl_weights(tensors)
    try:
        with torch.device("meta"):
            autoencoder = _build(config or _default_config(preset), source)
        # Names and shapes first: a copy of what does not fit may be larger than the memory.
        on_meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
        autoencoder.load_state_dict(on_meta, assign=True)
        if sum(tensor.numel() for tensor in autoencoder.parameters()) > _MOST_WEIGHTS:
            raise SemiGDAError(f"{where} is larger than any known autoencoder.")
        copies = {name: tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}
        autoencoder.load_state_dict(copies, assign=True)
    except (ArithmeticError, AttributeError, LookupError, NotImplementedError) as error:
        raise SemiGDAError(f"{where} does not hold the weights of a “{preset}” autoencoder.") from error
    except (RuntimeError, TypeError, ValueError) as error:
        raise SemiGDAError(
            f"{where} does not hold the weights of a “{preset}” autoencoder: {_first_line(error)}"
        ) from error
    downsampling = autoencoder.patch * 2 ** (len(autoencoder.level_channels) - 1)
    if autoencoder.latent_channels != 4 or downsampling != 8:
        raise SemiGDAError(
            f"The autoencoder in {where} has no latents of 4 channels at an eighth of the size."
        )
    return autoencoder.requires_grad_(False)


def kl_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring a KL autoencoder's weights to diffusers' names and shapes.

    They come in diffusers' naming, old or new, or in latent diffusion's, alone or inside a whole checkpoint
    of latent diffusion or of SemiGDA's authors; what does not belong to the autoencoder is left out.
    """
    for prefix in _WHOLE_MODELS:
        inside = [name for name in weights if name.startswith(prefix)]
        if inside:
            weights = {name.removeprefix(prefix): weights[name] for name in inside}
    own = {name: tensor for name, tensor in weights.items() if _OWN.match(name)}
    if any(name.startswith("encoder.down.") for name in own):
        own = {renamed(name, _LATENT_DIFFUSION): tensor for name, tensor in own.items()}
    own = {renamed(name, _OLD_DIFFUSERS): tensor for name, tensor in own.items()}
    # An attention's 1×1 convolutions become the linear layers that diffusers has in their place.
    return {
        name: tensor.flatten(1) if ".attentions." in name and tensor.ndim == 4 else tensor
        for name, tensor in own.items()
    }


def renamed(name: str, rules: Rules) -> str:
    """Apply regular expressions and their replacements to a name, one after the other."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _tiny_weights(encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring TAESD's two files, named by position in one sequence of layers, to diffusers' names."""
    weights = {f"encoder.layers.{name}": tensor for name, tensor in encoder.items()}
    for name, tensor in decoder.items():
        index, _, rest = name.partition(".")
        # The original decoder counts the clamp of its input as layer 0.
        weights[f"decoder.layers.{int(index) - 1}.{rest}"] = tensor
    return weights


def _from_folder(preset: str, folder: Path, source: str) -> Autoencoder:
    if (folder / "vae" / "config.json").is_file():
        folder = folder / "vae"
    if preset == "taesd" and (originals := _original_pair(folder)):
        tensors = _tiny_weights(*map(read_tensors, originals))
        return autoencoder_from(preset, tensors, source, f"“{folder}”")
    file = _weights_in(folder)
    return autoencoder_from(preset, read_tensors(file), source, f"“{file}”", _config_beside(file, preset))


def _from_file(preset: str, file: Path) -> Autoencoder:
    if preset == "taesd" and (originals := _original_pair(file.parent)) and file in originals:
        return _from_folder(preset, file.parent, "file")
    tensors = read_tensors(file)
    tensors = tensors.get("state_dict", tensors.get("model", tensors))
    return autoencoder_from(preset, tensors, "file", f"“{file}”", _config_beside(file, preset))


def _build(config: KLConfig | TinyConfig, source: str) -> Autoencoder:
    if isinstance(config, TinyConfig):
        return TinyAutoencoder(config, source)
    return KLAutoencoder(config, source)


def _default_config(preset: str) -> KLConfig | TinyConfig:
    if preset == "compact":
        return KLConfig(**json.loads((_PACKAGE_FILES / "compact.json").read_text(encoding="utf-8")))
    return TinyConfig() if preset == "taesd" else _SD


def _config_beside(file: Path, preset: str) -> KLConfig | TinyConfig:
    """Read `config.json` in the weights' folder, or take the preset's architecture if there is none."""
    config_file = file.with_name("config.json")
    if not config_file.is_file():
        return _default_config(preset)
    try:
        values = read_json(config_file, most=_LARGEST_CONFIG, links=True)
        return (TinyConfig if preset == "taesd" else KLConfig).model_validate(values)
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise SemiGDAError(
            f"“{config_file}” is not a configuration of a “{preset}” autoencoder ({field})."
        ) from error
    except (OSError, ValueError) as error:
        raise SemiGDAError(f"“{config_file}” could not be read: {_first_line(error)}.") from error


def _original_pair(folder: Path) -> tuple[Path, Path] | None:
    for suffix in (".safetensors", ".pth"):
        pair = folder / f"taesd_encoder{suffix}", folder / f"taesd_decoder{suffix}"
        if all(file.is_file() for file in pair):
            return pair
    return None


def _weights_in(folder: Path) -> Path:
    names = [f"diffusion_pytorch_model{suffix}" for suffix in (".safetensors", ".fp16.safetensors", ".bin")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise SemiGDAError(f"The folder “{folder}” has no autoencoder's weights: no {' and no '.join(names)}.")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__
