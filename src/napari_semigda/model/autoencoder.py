"""The frozen autoencoders: encode to a latent and skips, decode through adapters.

Their layers have the names of those in diffusers' `AutoencoderKL` and `AutoencoderTiny`: they take the same
weights and compute the same numbers, bit by bit.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

Channels = Annotated[int, Field(ge=1, le=8192)]
Blocks = Annotated[int, Field(ge=0, le=64)]
Widths = Annotated[tuple[Channels, ...], Field(min_length=1, max_length=16)]
Scale = Annotated[float, Field(gt=0, lt=1e4, allow_inf_nan=False)]


class KLConfig(BaseModel):
    """Architecture of a `KLAutoencoder`, by the names and with the defaults of diffusers' `config.json`."""

    model_config = ConfigDict(frozen=True)

    in_channels: Channels = 3
    out_channels: Channels = 3
    block_out_channels: Widths = (64,)
    down_block_types: tuple[Literal["DownEncoderBlock2D"], ...] = ()
    up_block_types: tuple[Literal["UpDecoderBlock2D"], ...] = ()
    layers_per_block: Blocks = 1
    act_fn: Literal["silu"] = "silu"
    latent_channels: Channels = 4
    norm_num_groups: Channels = 32
    scaling_factor: Scale = 0.18215
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True


class TinyConfig(BaseModel):
    """Architecture of a `TinyAutoencoder`, by the names in diffusers' `config.json`; by default TAESD's."""

    model_config = ConfigDict(frozen=True)

    encoder_block_out_channels: Widths = (64, 64, 64, 64)
    decoder_block_out_channels: Widths = (64, 64, 64, 64)
    num_encoder_blocks: tuple[Blocks, ...] = (1, 3, 3, 3)
    num_decoder_blocks: tuple[Blocks, ...] = (3, 3, 3, 1)
    act_fn: Literal["relu"] = "relu"
    latent_channels: Channels = 4
    scaling_factor: Scale = 1.0


@dataclass(frozen=True)
class Encoding:
    """An encoded batch of images.

    `mean`, (B, 4, H/8, W/8) float32, is that of the posterior times the scaling factor; `log_variance` is as
    encoded (not scaled), None if the autoencoder has none; `skips` are the last residual block's output of
    each level, finest first.
    """

    mean: Tensor
    log_variance: Tensor | None
    skips: tuple[Tensor, ...]


class Autoencoder(nn.Module, ABC):
    """A frozen autoencoder: no parameter learns, no layer is ever in training mode."""

    encoder: Any
    decoder: Any
    source: str  # of its weights: "package", "hub", "file" or "random:<seed>"
    latent_channels: int
    scaling_factor: float  # the mean is multiplied by it, for latents of about unit variance
    patch: int  # side in pixels of one position of the finest level: 2 where that has half the image's size
    level_channels: tuple[int, ...]  # of the encoder's skips, finest first
    decoder_channels: tuple[int, ...]  # after the first residual block of each decoder level, finest first
    moment_channels: int  # that `latent_from_moments` takes

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever is asked."""
        return super().train(False)

    @torch.no_grad()
    def signature(self) -> list[float]:
        """Encode a fixed image and decode a fixed latent, to recognize the weights: 28 numbers of order 1,
        which change by less than 0.02 when the weights are rounded to 16 bit.
        """
        device = next(self.parameters()).device
        image = torch.sin(torch.arange(3 * 16 * 16.0) / 7).reshape(1, 3, 16, 16)
        latent = torch.sin(torch.arange(self.latent_channels * 4.0)).reshape(1, self.latent_channels, 2, 2)
        decoded = self.decode(latent.to(device)).float()[..., ::8, ::8]
        numbers = torch.cat([self.encode(image.to(device)).mean.flatten(), decoded.flatten()])
        return [round(float(number), 5) for number in numbers]

    @abstractmethod
    def encode(self, image: Tensor) -> Encoding:
        """Encode images (B, 3, H, W) in [-1, 1], H and W multiples of 8; no gradients."""

    @abstractmethod
    def latent_from_moments(self, moments: Tensor) -> Tensor:
        """Turn the output of E, (B, moment_channels, h, w), into scaled latents (B, 4, h, w)."""

    @abstractmethod
    def decode(
        self, latent: Tensor, adapters: nn.ModuleList | None = None, skips: Sequence[Tensor] = ()
    ) -> Tensor:
        """Decode scaled latents (B, 4, h, w) to (B, 3, 8h, 8w), about [-1, 1], not clamped.

        Each level's adapter, if there are any, is applied to the level's skip after its first residual block;
        both are in order, finest first. Gradients flow to latent, adapters and skips.
        """


class KLAutoencoder(Autoencoder):
    """Stable Diffusion's kind of autoencoder, or a smaller one.

    With more than three input channels it sees squares of 2 × 2 (or more) pixels as channels, so that its
    finest level has half the image's size.
    """

    def __init__(self, config: KLConfig, source: str) -> None:
        super().__init__()
        self.source = source
        self.patch = math.isqrt(config.in_channels // 3)
        self.latent_channels, self.scaling_factor = config.latent_channels, config.scaling_factor
        self.level_channels = self.decoder_channels = config.block_out_channels
        self.moment_channels = moments = 2 * config.latent_channels
        self.encoder = _KLEncoder(config)
        self.decoder = _KLDecoder(config)
        self.quant_conv = nn.Conv2d(moments, moments, 1) if config.use_quant_conv else nn.Identity()
        latent = config.latent_channels
        self.post_quant_conv = nn.Conv2d(latent, latent, 1) if config.use_post_quant_conv else nn.Identity()
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def encode(self, image: Tensor) -> Encoding:
        """Encode images; the log-variance is clamped to [-30, 20], as diffusers does."""
        moments, skips = self.encoder(F.pixel_unshuffle(image, self.patch))
        mean, log_variance = self.quant_conv(moments).float().chunk(2, dim=1)
        return Encoding(mean * self.scaling_factor, log_variance.clamp(-30, 20), skips)

    def latent_from_moments(self, moments: Tensor) -> Tensor:
        """Apply the frozen quant_conv and take the scaled mean."""
        mean: Tensor = self.quant_conv(moments).float()[:, : self.latent_channels]
        return mean * self.scaling_factor

    def decode(
        self, latent: Tensor, adapters: nn.ModuleList | None = None, skips: Sequence[Tensor] = ()
    ) -> Tensor:
        """Decode scaled latents through the adapters."""
        decoded = self.decoder(self.post_quant_conv(latent / self.scaling_factor), adapters, skips)
        return F.pixel_shuffle(decoded, self.patch)


class TinyAutoencoder(Autoencoder):
    """TAESD: gives the mean only, already scaled; the output of E is the latent itself."""

    def __init__(self, config: TinyConfig, source: str) -> None:
        super().__init__()
        self.source, self.patch = source, 1
        self.latent_channels, self.scaling_factor = config.latent_channels, config.scaling_factor
        self.level_channels = config.encoder_block_out_channels
        self.decoder_channels = config.decoder_block_out_channels[::-1]
        self.moment_channels = config.latent_channels
        self.encoder = _Layers(_tiny_encoder_layers(config))
        self.decoder = _Layers(_tiny_decoder_layers(config))
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def encode(self, image: Tensor) -> Encoding:
        """Encode images; there is no log-variance."""
        x = (image + 1) / 2  # its layers take and give values in [0, 1]
        skips = []
        *layers, last = self.encoder.layers
        for layer in layers:
            if getattr(layer, "stride", None) == (2, 2):
                skips.append(x)
            x = layer(x)
        return Encoding(last(x).float() * self.scaling_factor, None, (*skips, x))

    def latent_from_moments(self, moments: Tensor) -> Tensor:
        """Take the moments as the latent."""
        return moments.float()

    def decode(
        self, latent: Tensor, adapters: nn.ModuleList | None = None, skips: Sequence[Tensor] = ()
    ) -> Tensor:
        """Decode scaled latents through the adapters."""
        x = torch.tanh(latent / self.scaling_factor / 3) * 3
        level = len(self.decoder_channels) - 1
        adapted = False
        for layer in self.decoder.layers:
            x = layer(x)
            if isinstance(layer, nn.Upsample):
                level, adapted = level - 1, False
            elif isinstance(layer, _TinyBlock) and not adapted:
                x, adapted = _adapt(x, level, adapters, skips), True
        return x * 2 - 1


class _KLEncoder(nn.Module):
    down_blocks: Any

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        widths, groups = config.block_out_channels, config.norm_num_groups
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for index, width in enumerate(widths):
            level = nn.Module()
            level.resnets = _residuals(widths[max(0, index - 1)], width, config.layers_per_block, groups)
            level.downsamplers = nn.ModuleList([_Downsample(width)] if index < len(widths) - 1 else [])
            self.down_blocks.append(level)
        self.mid_block = _Middle(widths[-1], groups, config.mid_block_add_attention)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the moments and each level's skip, finest first."""
        x, skips = self.conv_in(x), []
        for level in self.down_blocks:
            for resnet in level.resnets:
                x = resnet(x)
            skips.append(x)
            for downsample in level.downsamplers:
                x = downsample(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x)))), tuple(skips)


class _KLDecoder(nn.Module):
    up_blocks: Any

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        widths, groups = config.block_out_channels[::-1], config.norm_num_groups
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.mid_block = _Middle(widths[0], groups, config.mid_block_add_attention)
        self.up_blocks = nn.ModuleList()
        for index, width in enumerate(widths):
            level = nn.Module()
            level.resnets = _residuals(widths[max(0, index - 1)], width, config.layers_per_block + 1, groups)
            level.upsamplers = nn.ModuleList([_Upsample(width)] if index < len(widths) - 1 else [])
            self.up_blocks.append(level)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[-1], config.out_channels, 3, padding=1)

    def forward(self, latent: Tensor, adapters: nn.ModuleList | None, skips: Sequence[Tensor]) -> Tensor:
        x = self.mid_block(self.conv_in(latent))
        for index, level in enumerate(self.up_blocks, start=1):
            first, *others = level.resnets
            x = _adapt(first(x), len(self.up_blocks) - index, adapters, skips)
            for resnet in others:
                x = resnet(x)
            for upsample in level.upsamplers:
                x = upsample(x)
        decoded: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return decoded


class _Middle(nn.Module):
    def __init__(self, channels: int, groups: int, attention: bool) -> None:
        super().__init__()
        first = _Residual(channels, channels, groups)
        self.attentions = nn.ModuleList([_Attention(channels, groups)] if attention else [])
        self.resnets = nn.ModuleList([first, _Residual(channels, channels, groups)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.resnets[0](x)
        for attention in self.attentions:
            x = attention(x)
        last: Tensor = self.resnets[1](x)
        return last


class _Residual(nn.Module):
    def __init__(self, channels: int, width: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels, eps=1e-6)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, width, eps=1e-6)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(channels, width, 1) if channels != width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        added: Tensor = self.conv_shortcut(x) + hidden
        return added


def _residuals(channels: int, width: int, count: int, groups: int) -> nn.ModuleList:
    return nn.ModuleList(_Residual(width if index else channels, width, groups) for index in range(count))


class _Attention(nn.Module):
    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.group_norm(x.flatten(2)).mT
        query, key, value = (part(normed)[:, None] for part in (self.to_q, self.to_k, self.to_v))
        attended = F.scaled_dot_product_attention(query, key, value)[:, 0]
        added: Tensor = self.to_out(attended).mT.reshape(x.shape) + x
        return added


class _Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        smaller: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return smaller


class _Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        larger: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return larger


class _Layers(nn.Module):
    """A sequence under the name `layers`, as diffusers has it."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)


class _TinyBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


def _tiny_encoder_layers(config: TinyConfig) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for index, (width, blocks) in enumerate(
        zip(config.encoder_block_out_channels, config.num_encoder_blocks, strict=True)
    ):
        if index:
            layers.append(nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False))
        else:
            layers.append(nn.Conv2d(3, width, 3, padding=1))
        layers += [_TinyBlock(width) for _ in range(blocks)]
    return [*layers, nn.Conv2d(width, config.latent_channels, 3, padding=1)]


def _tiny_decoder_layers(config: TinyConfig) -> list[nn.Module]:
    widths = config.decoder_block_out_channels
    layers: list[nn.Module] = [nn.Conv2d(config.latent_channels, widths[0], 3, padding=1), nn.ReLU()]
    for index, (width, blocks) in enumerate(zip(widths, config.num_decoder_blocks, strict=True), start=1):
        layers += [_TinyBlock(width) for _ in range(blocks)]
        if index < len(widths):
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1, bias=False)]
    return [*layers, nn.Conv2d(width, 3, 3, padding=1)]


def _adapt(features: Tensor, level: int, adapters: nn.ModuleList | None, skips: Sequence[Tensor]) -> Tensor:
    """Apply the adapter of one level, counted from the finest, if there are any."""
    if adapters is not None:
        features = adapters[level](features, skips[level])
    return features
