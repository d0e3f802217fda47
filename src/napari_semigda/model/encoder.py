"""The learnable residual encoder E (SemiGDA, dual-distribution alignment)."""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from napari_semigda.model.mapping import SelfAttention
from napari_semigda.model.normalization import group_norm

Normalization = Callable[[int], nn.Module]


class ResidualEncoder(nn.Module):
    """Residual network of basic blocks, in place of the autoencoder's encoder.

    A 3×3 stem at the finest level's size, then stages that each halve it, then a head of two
    3×3-BatchNorm-LeakyReLU with dropout between. The paper's: stem 128, widths (256, 512, 512), blocks
    (3, 4, 6), 8 moment channels.

    Parameters
    ----------
    stem
        Channels at the finest level's size.
    widths, blocks
        Channels and number of basic blocks of each stage.
    moment_channels
        Channels the autoencoder's `latent_from_moments` takes.
    dropout
        Probability of dropping an element in the head.
    linear_head
        End in a 1×1 convolution after the last LeakyReLU. Not in the paper, where the autoencoder's wide
        quant_conv follows; without one, a LeakyReLU cannot give latents of both signs.
    patch
        Side in pixels of the squares that are one position of the finest level; 1 in the paper.
    small_batches
        Group norm in place of the paper's batch norm, whose statistics of two images say little, and
        attention over all positions of the coarsest level, since few, narrow blocks see little of the image.
    """

    def __init__(
        self,
        stem: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        moment_channels: int,
        dropout: float = 0.1,
        linear_head: bool = False,
        patch: int = 1,
        small_batches: bool = False,
    ) -> None:
        super().__init__()
        self.patch = patch
        norm = normalization(small_batches)
        self.stem = nn.Sequential(nn.Conv2d(3 * patch**2, stem, 3, padding=1), norm(stem), nn.ReLU())
        inputs = (stem, *widths[:-1])
        self.stages = nn.ModuleList(
            residual_stage(before, width, count, norm)
            for before, width, count in zip(inputs, widths, blocks, strict=True)
        )
        self.context = SelfAttention(widths[-1]) if small_batches else nn.Identity()
        self.head = latent_head(widths[-1], moment_channels, dropout, linear_head, norm)
        self.channels = (stem, *widths)

    def forward(self, image: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Encode images.

        Parameters
        ----------
        image
            (B, 3, H, W) in [-1, 1], H and W multiples of patch · 2 ** number of stages.

        Returns
        -------
        features
            One feature map a level, the finest (B, stem, H/patch, W/patch), each half as large as the last.
        moments
            (B, moment_channels, h, w) of the coarsest level's size.
        """
        features = [self.stem(F.pixel_unshuffle(image, self.patch))]
        for stage in self.stages:
            features.append(stage(features[-1]))
        features[-1] = self.context(features[-1])
        return tuple(features), self.head(features[-1])


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with normalization and a shortcut, which is 1×1 where size or width changes."""

    def __init__(self, channels: int, width: int, stride: int, norm: Normalization) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = norm(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), norm(width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, width, H / stride, W / stride)."""
        residual = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(residual + self.shortcut(x))


def residual_stage(channels: int, width: int, blocks: int, norm: Normalization) -> nn.Sequential:
    """Give basic blocks of which the first halves the size."""
    return nn.Sequential(
        BasicBlock(channels, width, 2, norm),
        *(BasicBlock(width, width, 1, norm) for _ in range(blocks - 1)),
    )


def latent_head(
    channels: int, moment_channels: int, dropout: float, linear: bool, norm: Normalization
) -> nn.Sequential:
    """Give what turns the coarsest features into moments: two 3×3-norm-LeakyReLU, dropout between."""
    hidden = max(moment_channels, 8)
    last = hidden if linear else moment_channels
    layers = [
        nn.Conv2d(channels, hidden, 3, padding=1),
        norm(hidden),
        nn.LeakyReLU(),
        nn.Dropout(dropout),
        nn.Conv2d(hidden, last, 3, padding=1),
        norm(last),
        nn.LeakyReLU(),
    ]
    return nn.Sequential(*layers, nn.Conv2d(hidden, moment_channels, 1)) if linear else nn.Sequential(*layers)


def normalization(small_batches: bool) -> Normalization:
    """Choose the paper's batch norm, or group norm."""
    return _group_norm if small_batches else nn.BatchNorm2d


def _group_norm(channels: int) -> nn.Module:
    return group_norm(channels, most_groups=16, least_width=4)
