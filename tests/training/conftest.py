import pytest
import torch

from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.model.loading import random_autoencoder
from napari_semigda.model.network import SemiGDANet
from napari_semigda.training.data import Example

SIZE = 32


def disc_example(seed: int, *, labeled: bool = True, size: int = SIZE) -> Example:
    """A bright disc on a dark, noisy ground."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.randint(size // 4, 3 * size // 4, (2,), generator=generator)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    disc = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 < (size / 5) ** 2
    image = 0.1 * torch.randn(3, size, size, generator=generator) - 0.5 + disc
    labels = disc.to(torch.uint8) if labeled else torch.full_like(disc, UNKNOWN, dtype=torch.uint8)
    return Example(image.clamp(-1, 1), labels, torch.ones_like(disc))


@pytest.fixture
def labeled() -> list[Example]:
    return [disc_example(seed) for seed in range(3)]


@pytest.fixture
def unlabeled() -> list[Example]:
    return [disc_example(seed, labeled=False) for seed in range(10, 15)]


@pytest.fixture
def model() -> SemiGDANet:
    return SemiGDANet("compact", 2, autoencoder=random_autoencoder("compact"))
