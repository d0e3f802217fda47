"""Consistency-driven skip adapters (SemiGDA, CDSA): what carries detail past the latent bottleneck."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_semigda.model.normalization import group_norm


class SkipAdapter(nn.Module):
    """One residual block that works a skip into a feature map of the frozen decoder.

    GroupNorm(32)-SiLU-3×3 twice on the concatenation, with a 1×1 shortcut. A fresh adapter passes the
    decoder's features on untouched: its shortcut is the identity on them and zero on the skip, and its last
    convolution is zero. That is our choice, so that training starts from what the autoencoder can already
    do; the authors start from random weights. Gradients reach the skip as soon as the last convolution has
    moved.

    Parameters
    ----------
    decoder_channels, skip_channels
        Channels of the decoder's feature map and of the skip.
    hidden
        Channels between the two convolutions; the paper's are the decoder's.
    """

    def __init__(self, decoder_channels: int, skip_channels: int, hidden: int) -> None:
        super().__init__()
        channels = decoder_channels + skip_channels
        last = nn.Conv2d(hidden, decoder_channels, 3, padding=1)
        self.residual = nn.Sequential(
            _norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, hidden, 3, padding=1),
            _norm(hidden),
            nn.SiLU(),
            last,
        )
        self.shortcut = nn.Conv2d(channels, decoder_channels, 1)
        for parameter in (*last.parameters(), *self.shortcut.parameters()):
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.shortcut.weight[:, :decoder_channels, 0, 0].fill_diagonal_(1)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Map (B, decoder_channels, H, W) and (B, skip_channels, H, W) to (B, decoder_channels, H, W)."""
        joined = torch.cat([features, skip], dim=1)
        adapted: Tensor = self.residual(joined) + self.shortcut(joined)
        return adapted


class SkipAdapters(nn.ModuleList):
    """One adapter a decoder level, finest first.

    Parameters
    ----------
    decoder_channels, skip_channels, hidden
        Per level, finest first, as for `SkipAdapter`.
    """

    def __init__(
        self, decoder_channels: Sequence[int], skip_channels: Sequence[int], hidden: Sequence[int]
    ) -> None:
        super().__init__(
            SkipAdapter(*widths) for widths in zip(decoder_channels, skip_channels, hidden, strict=True)
        )


def _norm(channels: int) -> nn.GroupNorm:
    return group_norm(channels, most_groups=32, least_width=4)
