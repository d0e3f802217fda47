"""Autoencoders' architectures, and their weights from the package, the hub or local files."""

import json
import pickle
import threading
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.files import load_tensors, read_json
from napari_semigda.model.autoencoder import Autoencoder, KLAutoencoder, TinyAutoencoder
from napari_semigda.model.hub import fetch
from napari_semigda.model.naming import LEVELS, kl_weights, tiny_weights

SD_CONFIG: dict[str, Any] = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * LEVELS,
    "up_block_types": ["UpDecoderBlock2D"] * LEVELS,
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "scaling_factor": 0.18215,
}
"""Stable Diffusion's autoencoder, in diffusers' terms."""

_IMPORTING = threading.Lock()  # diffusers replaces itself while it is imported: another thread finds half

REPOSITORIES = {"sd": "stabilityai/sd-vae-ft-mse", "taesd": "madebyollin/taesd"}
"""Where the hub has the presets' weights; both are under the MIT license."""

_LARGEST_CONFIG = 2**20
_MOST_WEIGHTS = 10**9  # Stable Diffusion has 84 million
_MOST_LEVELS, _MOST_BLOCKS, _MOST_CHANNELS = 16, 64, 8192
_HUB_FILES = ("config.json", "diffusion_pytorch_model.safetensors")
_PACKAGE_FILES = resources.files("napari_semigda.model") / "weights"


def load_autoencoder(
    preset: str,
    weights: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Autoencoder:
    """Load a preset's trained autoencoder, float32 on the CPU; no code in any file is executed.

    Parameters
    ----------
    preset
        "compact", "taesd" or "sd".
    weights
        None: the package's for "compact", the hub's (downloaded on first use) for the others. Or a diffusers
        folder (or one with a `vae` folder in it); or a file in diffusers' or latent diffusion's naming
        (`.safetensors`, `.ckpt`, `.pt`, `.bin`); or, for "taesd", the folder with `taesd_encoder.safetensors`
        and `taesd_decoder.safetensors` (or `.pth`). A `config.json` beside the weights is heeded.
    progress, cancelled
        For the download, as for `build_model`.

    Raises
    ------
    SemiGDAError
        If the weights cannot be found, read or downloaded, or belong to another kind of autoencoder.
    Cancelled
        If `cancelled` said so.
    """
    if weights is not None:
        return _from_folder(preset, weights, "file") if weights.is_dir() else _from_file(preset, weights)
    if preset in REPOSITORIES:
        return _from_folder(preset, fetch(REPOSITORIES[preset], _HUB_FILES, progress, cancelled), "hub")
    tensors = safetensors.torch.load((_PACKAGE_FILES / "compact.safetensors").read_bytes())
    return autoencoder_from(preset, compact_config(), tensors, "package", "the package")


def load_start() -> dict[str, Tensor]:
    """Give the trainable state (float32) that fresh networks of the preset "compact" start from.

    It was trained on generated pictures alone, by `benchmarks/pretrain_compact.py`.
    """
    tensors = safetensors.torch.load((_PACKAGE_FILES / "compact_start.safetensors").read_bytes())
    return {name: tensor.float() for name, tensor in tensors.items()}


def random_autoencoder_of(preset: str, seed: int) -> Autoencoder:
    """Give the preset's autoencoder random weights; the same seed gives the same ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _wrap(preset, _network(preset, _default_config(preset)), f"random:{seed}")


def compact_config() -> dict[str, Any]:
    """Architecture of the package's own autoencoder, in diffusers' terms."""
    config: dict[str, Any] = json.loads((_PACKAGE_FILES / "compact.json").read_text(encoding="utf-8"))
    return config


def read_tensors(path: Path) -> dict[str, Any]:
    """Read a file of weights without executing code in it.

    Returns
    -------
    dict
        Tensors by name; for a pickled checkpoint, whatever dictionary it holds, mapped from the disk.

    Raises
    ------
    SemiGDAError
        If the file is missing or damaged, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise SemiGDAError(f"There is no file “{path}”.")
    try:
        if path.suffix == ".safetensors":
            return load_tensors(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=_can_be_mapped(path))
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


def _from_folder(preset: str, folder: Path, source: str) -> Autoencoder:
    if (folder / "vae" / "config.json").is_file():
        folder = folder / "vae"
    if preset == "taesd" and (originals := _original_pair(folder)):
        tensors = tiny_weights(*map(read_tensors, originals))
        return autoencoder_from(preset, _default_config(preset), tensors, source, f"“{folder}”")
    file = _weights_in(folder)
    return autoencoder_from(preset, _config_beside(file, preset), read_tensors(file), source, f"“{file}”")


def _from_file(preset: str, file: Path) -> Autoencoder:
    if preset == "taesd" and (originals := _original_pair(file.parent)) and file in originals:
        return _from_folder(preset, file.parent, "file")
    tensors = read_tensors(file)
    tensors = tensors.get("state_dict", tensors.get("model", tensors))
    return autoencoder_from(preset, _config_beside(file, preset), tensors, "file", f"“{file}”")


def autoencoder_from(
    preset: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str, where: str
) -> Autoencoder:
    """Build an architecture around given weights.

    Parameters
    ----------
    preset
        Kind of autoencoder.
    config
        Its architecture, in diffusers' terms.
    tensors
        Its weights, of any floating type, under any of the names `kl_weights` knows; copied.
    source, where
        For `Autoencoder.source`, and what to call them in messages.

    Raises
    ------
    SemiGDAError
        If the weights do not fit the architecture, or the architecture not the network.
    """
    if preset != "taesd":
        tensors = kl_weights(tensors)
    try:
        with torch.device("meta"):
            network = _network(preset, config)
        # Names and shapes first: a copy of what does not fit may be larger than the memory.
        network.load_state_dict({name: tensor.to("meta") for name, tensor in tensors.items()}, assign=True)
        if sum(tensor.numel() for tensor in network.state_dict().values()) > _MOST_WEIGHTS:
            raise SemiGDAError(f"{where} is larger than any autoencoder that is known here.")
        copies = {name: tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}
        network.load_state_dict(copies, assign=True)
    except (ArithmeticError, AttributeError, LookupError, NotImplementedError) as error:
        raise SemiGDAError(f"{where} does not hold the weights of a “{preset}” autoencoder.") from error
    except (RuntimeError, TypeError, ValueError) as error:
        raise SemiGDAError(
            f"{where} does not hold the weights of a “{preset}” autoencoder: {_first_line(error)}"
        ) from error
    autoencoder = _wrap(preset, network, source)
    downsampling = autoencoder.patch * 2 ** (len(autoencoder.level_channels) - 1)
    if autoencoder.latent_channels != 4 or downsampling != 8:
        raise SemiGDAError(
            f"The autoencoder in {where} has no latents of 4 channels at an eighth of the size."
        )
    return autoencoder


def network_classes() -> tuple[Any, Any]:
    """Import diffusers' `AutoencoderKL` and `AutoencoderTiny`, which takes seconds; in any thread."""
    with _IMPORTING:
        from diffusers import AutoencoderKL, AutoencoderTiny
    return AutoencoderKL, AutoencoderTiny


def _network(preset: str, config: Mapping[str, Any]) -> Any:
    kind = network_classes()[preset == "taesd"]
    return kind.from_config(dict(config))


def _wrap(preset: str, network: Any, source: str) -> Autoencoder:
    return TinyAutoencoder(network, source) if preset == "taesd" else KLAutoencoder(network, source)


def _default_config(preset: str) -> dict[str, Any]:
    return {"compact": compact_config, "sd": lambda: SD_CONFIG, "taesd": dict}[preset]()


def _config_beside(file: Path, preset: str) -> dict[str, Any]:
    """Read `config.json` in the weights' folder, or take the preset's architecture if there is none."""
    config_file = file.with_name("config.json")
    if not config_file.is_file():
        return _default_config(preset)
    try:
        config: dict[str, Any] = read_json(config_file, most=_LARGEST_CONFIG, links=True)
    except (OSError, ValueError) as error:
        raise SemiGDAError(f"“{config_file}” could not be read: {_first_line(error)}.") from error
    if not isinstance(config, dict) or not all(_is_plausible(*field) for field in config.items()):
        raise SemiGDAError(f"“{config_file}” is no configuration of an autoencoder.")
    return config


def _is_plausible(name: str, value: Any) -> bool:
    """Whether a field of a configuration is of a size that a network can have."""
    if isinstance(value, list):
        return len(value) <= _MOST_LEVELS and all(_is_plausible(name, one) for one in value)
    if isinstance(value, dict) or name.startswith("_"):  # notes of the library
        return name.startswith("_")
    counts_blocks = "layers" in name or ("block" in name and "channels" not in name)
    most = _MOST_BLOCKS if counts_blocks else _MOST_CHANNELS
    return not isinstance(value, int | float) or abs(value) <= most


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


def _can_be_mapped(path: Path) -> bool:
    """Only the format of PyTorch 1.6 and later, a zip archive, can be mapped from the disk."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__
