import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from napari_semigda.model.autoencoder import KLAutoencoder, KLConfig
from napari_semigda.model.network import SemiGDANet
from napari_semigda.model.presets import Preset

REPOSITORY = Path(__file__).parents[2]

SMALL_CONFIG = {
    "block_out_channels": [8, 8, 16, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "norm_num_groups": 4,
}


def shared_folder(variable: str, name: str) -> Path:
    folder = Path(os.environ.get(variable, REPOSITORY.parent / "shared" / name))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} (set {variable})")
    return folder


def small_kl(seed: int = 0) -> KLAutoencoder:
    """Stable Diffusion's architecture, attention included, a few channels wide."""
    torch.manual_seed(seed)
    return KLAutoencoder(KLConfig.model_validate(SMALL_CONFIG), "random:0")


def small_paper_model() -> SemiGDANet:
    """The paper's network with the `sd` preset's depth, a few channels wide."""
    preset = Preset(
        name="sd",
        description="",
        encoder_stem=8,
        encoder_widths=(8, 16, 16),
        encoder_blocks=(3, 4, 6),
        linear_head=False,
        mapping_width=8,
        adapter_hidden=(8, 8, 16, 16),
        default_working_size=32,
    )
    return SemiGDANet(preset, autoencoder=small_kl())


def pictures(count: int = 2, height: int = 32, width: int = 32) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def drawn_mask(size: int = 128) -> Tensor:
    """An ellipse and a bar, (1, size, size) of 0 and 1."""
    rows, columns = torch.meshgrid(torch.arange(size) / size, torch.arange(size) / size, indexing="ij")
    ellipse = ((rows - 0.4) / 0.25) ** 2 + ((columns - 0.55) / 0.15) ** 2 < 1
    bar = (rows > 0.75) & (rows < 0.85) & (columns > 0.1) & (columns < 0.6)
    return (ellipse | bar).long()[None]


def dice(one: Tensor, other: Tensor) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def learn_something(model: SemiGDANet) -> None:
    """Move every learning weight a little, as training would."""
    generator = torch.Generator().manual_seed(7)
    for name, tensor in model.trainable_state().items():
        if tensor.is_floating_point() and "running" not in name:
            tensor.add_(0.02 * torch.randn(tensor.shape, generator=generator))
