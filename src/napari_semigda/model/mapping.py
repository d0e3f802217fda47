"""The latent mapping model 𝓜 (SemiGDA, dual-distribution alignment)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_semigda.model.normalization import group_norm


class LatentMapping(nn.Module):
    """Map an image's latent to its mask's latent, without ever changing the resolution.

    Eight residual-attention blocks in the shape of a U with skip concatenations, widths 1, 2, 4 and 4 times
    `width`.

    Parameters
    ----------
    width
        Channels of the outermost blocks; the paper's is 32.
    channels
        Channels of a latent.
    """

    def __init__(self, width: int, channels: int = 4) -> None:
        super().__init__()
        outer, middle, inner = width, 2 * width, 4 * width
        self.stem = nn.Conv2d(channels, outer, 3, padding=1)
        self.down = nn.ModuleList(
            ResidualAttention(before, after)
            for before, after in [(outer, outer), (outer, middle), (middle, inner), (inner, inner)]
        )
        self.up = nn.ModuleList(
            ResidualAttention(before + skip, after)
            for before, skip, after in [
                (inner, inner, inner),
                (inner, middle, middle),
                (middle, outer, outer),
                (outer, outer, outer),
            ]
        )
        self.head = nn.Sequential(
            _norm(outer), nn.SiLU(), nn.Conv2d(outer, channels, 3, padding=1, bias=False)
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Map scaled latents (B, channels, h, w) to scaled latents of the same shape."""
        x = self.stem(latent)
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(x)
        for block in self.up:
            x = block(torch.cat([skips.pop(), x], dim=1))
        mapped: Tensor = self.head(x)
        return mapped


class ResidualAttention(nn.Module):
    """Twice GroupNorm-PReLU-3×3 with a shortcut, then single-head self-attention over all positions."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _norm(channels),
            nn.PReLU(),
            nn.Conv2d(channels, width, 3, padding=1),
            _norm(width),
            nn.PReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.shortcut = nn.Conv2d(channels, width, 1, bias=False) if channels != width else nn.Identity()
        self.attention = SelfAttention(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, h, w) to (B, width, h, w)."""
        x = self.residual(x) + self.shortcut(x)
        return self.attention.forward(x)


class SelfAttention(nn.Module):
    """Single-head self-attention over all positions of a feature map, added to it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, h, w) to the same shape."""
        normed = self.norm(x)
        query, key, value = (part(normed).flatten(2).mT for part in (self.query, self.key, self.value))
        attended = F.scaled_dot_product_attention(query, key, value)
        x = x + self.project(attended.mT.unflatten(2, x.shape[2:]))
        return x


def _norm(channels: int) -> nn.GroupNorm:
    return group_norm(channels, most_groups=16, least_width=2)
