"""Autoencoders' architectures, and their weights from the package, a local file or the hub."""

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from napari_semigda.model.autoencoder import Autoencoder, KLAutoencoder, TinyAutoencoder

SD_CONFIG: dict[str, Any] = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "scaling_factor": 0.18215,
}
"""Stable Diffusion's autoencoder, in diffusers' terms."""


def load_autoencoder(
    preset: str,
    weights: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Autoencoder:
    """Not here yet."""
    raise NotImplementedError


def random_autoencoder_of(preset: str, seed: int) -> Autoencoder:
    """Give the preset's autoencoder random weights; the same seed gives the same ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _untrained(preset, f"random:{seed}")


def _untrained(preset: str, source: str) -> Autoencoder:
    from diffusers import AutoencoderKL, AutoencoderTiny

    if preset == "taesd":
        return TinyAutoencoder(AutoencoderTiny(), source)
    return KLAutoencoder(AutoencoderKL(**(SD_CONFIG if preset == "sd" else compact_config())), source)


def compact_config() -> dict[str, Any]:
    """Architecture of the package's own autoencoder, in diffusers' terms."""
    file = resources.files("napari_semigda.model") / "weights" / "compact.json"
    if not file.is_file():  # until the trained one is in the package
        return {
            **SD_CONFIG,
            "block_out_channels": [16, 32, 64, 128],
            "layers_per_block": 1,
            "norm_num_groups": 8,
        }
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return config
