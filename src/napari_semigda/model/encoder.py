"""The learnable residual encoder E (SemiGDA, dual-distribution alignment)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class ResidualEncoder(nn.Module):
    """Residual network of basic blocks with batch norm, in place of the autoencoder's encoder.

    A 3×3 stem at full size, then stages that each halve it, then a head of two 3×3-BatchNorm-LeakyReLU with
    dropout between. The paper's: stem 128, widths (256, 512, 512), blocks (3, 4, 6), 8 moment channels.

    Parameters
    ----------
    stem
        Channels at full size.
    widths, blocks
        Channels and number of basic blocks of each stage.
    moment_channels
        Channels the autoencoder's `latent_from_moments` takes.
    dropout
        Probability of dropping an element in the head.
    linear_head
        End in a 1×1 convolution after the last LeakyReLU. Not in the paper, where the autoencoder's wide
        quant_conv follows; without one, a LeakyReLU cannot give latents of both signs.
    """

    def __init__(
        self,
        stem: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        moment_channels: int,
        dropout: float = 0.1,
        linear_head: bool = False,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, stem, 3, padding=1), nn.BatchNorm2d(stem), nn.ReLU())
        inputs = (stem, *widths[:-1])
        self.stages = nn.ModuleList(
            _stage(before, width, count) for before, width, count in zip(inputs, widths, blocks, strict=True)
        )
        self.head = _head(widths[-1], moment_channels, dropout, linear_head)
        self.channels = (stem, *widths)

    def forward(self, image: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Encode images.

        Parameters
        ----------
        image
            (B, 3, H, W) in [-1, 1], H and W multiples of 2 ** number of stages.

        Returns
        -------
        features
            One feature map a level, finest first: (B, stem, H, W), (B, widths[0], H/2, W/2), …
        moments
            (B, moment_channels, H/8, W/8) for three stages.
        """
        features = [self.stem(image)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return tuple(features), self.head(features[-1])


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch norm and a shortcut, which is 1×1 where size or width changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to (B, width, H / stride, W / stride)."""
        residual = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(residual + self.shortcut(x))


def _stage(channels: int, width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(
        BasicBlock(channels, width, stride=2),
        *(BasicBlock(width, width, stride=1) for _ in range(blocks - 1)),
    )


def _head(channels: int, moment_channels: int, dropout: float, linear: bool) -> nn.Sequential:
    hidden = max(moment_channels, 8)
    layers = [
        nn.Conv2d(channels, hidden, 3, padding=1),
        nn.BatchNorm2d(hidden),
        nn.LeakyReLU(),
        nn.Dropout(dropout),
        nn.Conv2d(hidden, hidden if linear else moment_channels, 3, padding=1),
        nn.BatchNorm2d(hidden if linear else moment_channels),
        nn.LeakyReLU(),
    ]
    return nn.Sequential(*layers, nn.Conv2d(hidden, moment_channels, 1)) if linear else nn.Sequential(*layers)
