"""The frozen autoencoder behind one interface: encode to a latent and skips, decode through adapters."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from napari_semigda.model.adapters import SkipAdapters


@dataclass(frozen=True)
class Encoding:
    """What the encoder makes of a batch of pictures.

    Attributes
    ----------
    mean
        (B, 4, H/8, W/8) float32, mean of the posterior times the scaling factor.
    log_variance
        (B, 4, H/8, W/8) float32 as encoded (not scaled), or None if the autoencoder has none.
    skips
        Output of the last residual block of each level, finest first.
    """

    mean: Tensor
    log_variance: Tensor | None
    skips: tuple[Tensor, ...]


class Autoencoder(nn.Module, ABC):
    """A frozen autoencoder: no parameter learns, no layer is ever in training mode.

    Attributes
    ----------
    network
        The diffusers model.
    source
        Where its weights are from: "package", "hub", "file" or "random:<seed>".
    latent_channels
        Channels of a latent.
    scaling_factor
        What the mean is multiplied with, for latents of about unit variance.
    patch
        Side in pixels of what is one position of the finest level: 1, or 2 where that has half the size.
    level_channels
        Channels of the encoder's skips, finest first.
    decoder_channels
        Channels after the first residual block of each decoder stage, finest first.
    moment_channels
        Channels that `latent_from_moments` takes.
    """

    network: Any
    latent_channels: int
    scaling_factor: float
    patch: int
    level_channels: tuple[int, ...]
    decoder_channels: tuple[int, ...]
    moment_channels: int

    def __init__(self, network: Any, source: str) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()
        self.source = source

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever is asked."""
        return super().train(False)

    @torch.no_grad()
    def signature(self) -> list[float]:
        """Compute what the network makes of a fixed picture and a fixed latent, to recognize it again.

        Returns
        -------
        list of float
            28 numbers of order 1; rounding of the weights to 16 bit changes them by less than 0.02.
        """
        device = next(self.parameters()).device
        picture = torch.sin(torch.arange(3 * 16 * 16.0) / 7).reshape(1, 3, 16, 16)
        latent = torch.sin(torch.arange(self.latent_channels * 4.0)).reshape(1, self.latent_channels, 2, 2)
        decoded = self.decode(latent.to(device)).float()[..., ::8, ::8]
        numbers = torch.cat([self.encode(picture.to(device)).mean.flatten(), decoded.flatten()])
        return [round(float(number), 5) for number in numbers]

    @abstractmethod
    def encode(self, image: Tensor) -> Encoding:
        """Encode pictures (B, 3, H, W) in [-1, 1], H and W multiples of 8, without a graph for gradients."""

    @abstractmethod
    def latent_from_moments(self, moments: Tensor) -> Tensor:
        """Turn what E predicts, (B, moment_channels, h, w), into scaled latents (B, 4, h, w)."""

    @abstractmethod
    def decode(
        self, latent: Tensor, adapters: "SkipAdapters | None" = None, skips: Sequence[Tensor] = ()
    ) -> Tensor:
        """Decode scaled latents, each level's adapter applied after that level's first residual block.

        Parameters
        ----------
        latent
            (B, 4, h, w), scaled.
        adapters
            One adapter a level, finest first; None decodes plainly.
        skips
            One skip a level, finest first; left as they are.

        Returns
        -------
        Tensor
            (B, 3, 8h, 8w), about [-1, 1], not clamped; gradients flow to latent, adapters and skips.
        """


class KLAutoencoder(Autoencoder):
    """diffusers' `AutoencoderKL` (Stable Diffusion's, or a smaller one), frozen.

    One whose network takes more than three channels sees squares of 2 × 2 (or more) pixels as channels, so
    that its finest level has half the picture's size.
    """

    def __init__(self, network: Any, source: str) -> None:
        super().__init__(network, source)
        self.patch = math.isqrt(network.config.in_channels // 3)
        self.latent_channels = network.config.latent_channels
        self.scaling_factor = network.config.scaling_factor
        self.level_channels = tuple(_out_channels(block) for block in network.encoder.down_blocks)
        self.decoder_channels = tuple(_out_channels(block) for block in reversed(network.decoder.up_blocks))
        self.moment_channels = 2 * self.latent_channels

    @torch.no_grad()
    def encode(self, image: Tensor) -> Encoding:
        """Encode pictures; the log-variance is clamped to [-30, 20], as diffusers does."""
        encoder = self.network.encoder
        x = encoder.conv_in(F.pixel_unshuffle(image, self.patch))
        skips = []
        for block in encoder.down_blocks:
            for resnet in block.resnets:
                x = resnet(x, temb=None)
            skips.append(x)
            for downsample in block.downsamplers or ():
                x = downsample(x)
        moments = encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(encoder.mid_block(x))))
        mean, log_variance = self._quantise(moments).float().chunk(2, dim=1)
        return Encoding(mean * self.scaling_factor, log_variance.clamp(-30, 20), tuple(skips))

    def latent_from_moments(self, moments: Tensor) -> Tensor:
        """Pass the moments through the frozen quant_conv and take the scaled mean."""
        return self._quantise(moments).float()[:, : self.latent_channels] * self.scaling_factor

    def decode(
        self, latent: Tensor, adapters: "SkipAdapters | None" = None, skips: Sequence[Tensor] = ()
    ) -> Tensor:
        """Decode scaled latents through the adapters."""
        decoder = self.network.decoder
        latent = latent / self.scaling_factor
        if self.network.post_quant_conv is not None:
            latent = self.network.post_quant_conv(latent)
        x = decoder.mid_block(decoder.conv_in(latent))
        adapt = _coarsest_first(adapters, skips)
        for block in decoder.up_blocks:
            first, *others = block.resnets
            x = adapt(first(x, temb=None))
            for resnet in others:
                x = resnet(x, temb=None)
            for upsample in block.upsamplers or ():
                x = upsample(x)
        return F.pixel_shuffle(decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(x))), self.patch)

    def _quantise(self, moments: Tensor) -> Tensor:
        if self.network.quant_conv is not None:
            moments = self.network.quant_conv(moments)
        return moments


class TinyAutoencoder(Autoencoder):
    """diffusers' `AutoencoderTiny` (TAESD), frozen.

    It gives the mean only, already scaled, and has no quant_conv: E's output is the latent. Its layers take
    and give pictures in [0, 1]; the shift from and to [-1, 1], which diffusers does in the parts' forward, is
    done here.
    """

    def __init__(self, network: Any, source: str) -> None:
        super().__init__(network, source)
        self.latent_channels = network.config.latent_channels
        self.scaling_factor = network.config.scaling_factor
        self.level_channels = tuple(network.config.encoder_block_out_channels)
        self.decoder_channels = tuple(reversed(network.config.decoder_block_out_channels))
        self.moment_channels = self.latent_channels
        self.patch = 1

    @torch.no_grad()
    def encode(self, image: Tensor) -> Encoding:
        """Encode pictures; there is no log-variance."""
        x = (image + 1) / 2
        skips = []
        *layers, last = self.network.encoder.layers
        for layer in layers:
            if getattr(layer, "stride", None) == (2, 2):
                skips.append(x)
            x = layer(x)
        return Encoding(last(x).float() * self.scaling_factor, None, (*skips, x))

    def latent_from_moments(self, moments: Tensor) -> Tensor:
        """Take the moments as the latent: they are the mean alone."""
        return moments.float()

    def decode(
        self, latent: Tensor, adapters: "SkipAdapters | None" = None, skips: Sequence[Tensor] = ()
    ) -> Tensor:
        """Decode scaled latents through the adapters."""
        x = torch.tanh(latent / self.scaling_factor / 3) * 3
        adapt = _coarsest_first(adapters, skips)
        stage_begins = True
        for layer in self.network.decoder.layers:
            x = layer(x)
            if stage_begins and hasattr(layer, "fuse"):
                x, stage_begins = adapt(x), False
            stage_begins = stage_begins or isinstance(layer, nn.Upsample)
        return x * 2 - 1


class _Identity:
    def __call__(self, features: Tensor) -> Tensor:
        return features


class _NextAdapter:
    """Apply the next adapter, the coarsest first, at each call."""

    def __init__(self, levels: Iterator[tuple[nn.Module, Tensor]]) -> None:
        self._levels = levels

    def __call__(self, features: Tensor) -> Tensor:
        adapter, skip = next(self._levels)
        features = adapter(features, skip)
        return features


def _coarsest_first(adapters: "SkipAdapters | None", skips: Sequence[Tensor]) -> _Identity | _NextAdapter:
    if adapters is None:
        return _Identity()
    return _NextAdapter(iter(list(zip(adapters, skips, strict=True))[::-1]))


def _out_channels(block: Any) -> int:
    return int(block.resnets[0].out_channels)
