"""The network SemiGDA (arXiv 2604.23274): `SemiGDANet` and its parts, around a frozen autoencoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_semigda.model.annotation import class_palette, image_to_probabilities, labels_to_image
from napari_semigda.model.autoencoder import Autoencoder
from napari_semigda.model.loading import load_autoencoder, load_start
from napari_semigda.model.presets import Preset

Normalization = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Latents:
    """Both branches' latents of images, (B, 4, H/8, W/8), and the skips to decode them with, finest first."""

    image: Tensor  # z_v, the autoencoder's of the image, sampled if noise was given; no gradient
    mapped: Tensor  # z̃_v = 𝓜(z_v): what the image branch decodes
    encoded: Tensor  # z_r, from E: what the mask branch decodes
    image_skips: tuple[Tensor, ...]  # of the autoencoder's encoder; no gradient
    mask_skips: tuple[Tensor, ...]  # of E


class SemiGDANet(nn.Module):
    """SemiGDA: two branches in the latent space of a frozen autoencoder.

    The image branch maps the image's latent to the mask's (𝓜) and decodes it with skips of the autoencoder's
    encoder; the mask branch predicts the mask's latent from the image (E) and decodes it with skips of E.

    Parameters
    ----------
    preset
        ``"compact"``, ``"taesd"`` or ``"sd"``, see `napari_semigda.model.presets.PRESETS`; or a `Preset`.
    classes
        Number of output channels, 2 to 254. The background counts, as in segmentation_models_pytorch's
        multi-class mode: 2 means background and one foreground class.
    pretrained
        Start the parts that learn of ``"compact"`` from weights trained on generated images. False, and with
        every other preset or autoencoder: random weights. The frozen autoencoder is always a trained one.
    autoencoder
        The frozen autoencoder, for example from `load_autoencoder` with a local file. None: the preset's own,
        which is part of the package (``"compact"``) or downloaded on first use.
    seed
        Of the random weights. The global random state is not changed.

    Attributes
    ----------
    classes : int
        As above.
    preset : str
        Name of the preset.
    shown : set of int
        Foreground classes that a mask has shown to it in training. With more than one foreground class no
        other is predicted: the color of a class that was added later and is in no mask yet would still be
        the nearest one here and there between two others. While it is empty, all classes are predicted.

    Raises
    ------
    SemiGDAError
        If there is no such preset, or the autoencoder's weights cannot be loaded.
    ValueError
        If `classes` is out of range.

    Examples
    --------
    >>> import torch
    >>> net = SemiGDANet("compact", classes=3).eval()
    >>> probabilities = net(torch.zeros(1, 3, 64, 96))
    >>> probabilities.shape, probabilities.dtype
    (torch.Size([1, 3, 64, 96]), torch.float32)
    """

    def __init__(
        self,
        preset: str | Preset = "compact",
        classes: int = 2,
        pretrained: bool = True,
        *,
        autoencoder: Autoencoder | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        class_palette(classes)  # refuses a wrong number before anything is downloaded
        given = preset if isinstance(preset, Preset) else Preset.named(preset)
        self.autoencoder = autoencoder = autoencoder or load_autoencoder(given.name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = ResidualEncoder(given, autoencoder.moment_channels, autoencoder.patch)
            self.mapping = LatentMapping(given.mapping_width, autoencoder.latent_channels)
            widths, hidden = autoencoder.decoder_channels, given.adapter_hidden
            self.image_adapters = _adapters(widths, autoencoder.level_channels, hidden)
            self.mask_adapters = _adapters(widths, self.encoder.channels, hidden)
        self.classes = classes
        self.preset = given.name
        self.image_branch_share = given.image_branch_share
        self.shown: set[int] = set()
        if pretrained and autoencoder.source == "package":
            self.load_trainable_state(load_start())

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.parameters()).device

    def forward(self, image: Tensor) -> Tensor:
        """Predict class probabilities: the weighted mean of both branches.

        Parameters
        ----------
        image
            (B, 3, H, W) float in [-1, 1]; H and W multiples of 8.

        Returns
        -------
        Tensor
            (B, classes, H, W) float32 in [0, 1], summing to 1 over the classes: probabilities, not logits.

        Raises
        ------
        ValueError
            If the height or width is no multiple of 8.
        """
        image_branch, mask_branch = self.branches(image)
        return mask_branch.lerp(image_branch, self.image_branch_share)

    def branches(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Predict with the image branch and with the mask branch: probabilities of each, as `forward`'s."""
        latents = self.latents(image)
        return self.decode_image_branch(latents), self.decode_mask_branch(latents)

    def latents(self, image: Tensor, noise: Tensor | None = None) -> Latents:
        """Compute both branches' latents of images (B, 3, H, W) in [-1, 1]; a ValueError unless H and W are
        multiples of 8.

        With `noise`, (B, 4, H/8, W/8) standard normal, z_v is mean + exp(log-variance / 2) · noise, as the
        paper's stage 2 does half of the time. Without, or with an autoencoder without log-variance, z_v is
        the mean.
        """
        _check_size(image)
        encoding = self.autoencoder.encode(image)
        latent = encoding.mean
        if noise is not None and encoding.log_variance is not None:
            latent = latent + (encoding.log_variance / 2).exp() * noise
        features, moments = self.encoder(image)
        return Latents(
            image=latent,
            mapped=self.mapping(latent),
            encoded=self.autoencoder.latent_from_moments(moments),
            image_skips=encoding.skips,
            mask_skips=features,
        )

    @torch.no_grad()
    def mask_latent(self, labels: Tensor) -> Tensor:
        """Encode label maps: z_g (B, 4, H/8, W/8), the anchor of the alignment; no gradient.

        `labels`, (B, H, W) of any integer type, are 0 to classes - 1: unlabeled pixels must have been
        replaced. Raises a ValueError for other values, and for sides that are no multiples of 8.
        """
        _check_size(labels)
        return self.autoencoder.encode(labels_to_image(labels, self.classes)).mean

    def decode_image_branch(self, latents: Latents) -> Tensor:
        """Decode z̃_v with skips of the autoencoder: class probabilities (B, classes, H, W) float32."""
        return self._probabilities(latents.mapped, self.image_adapters, latents.image_skips)

    def decode_mask_branch(self, latents: Latents) -> Tensor:
        """Decode z_r with skips of E: class probabilities (B, classes, H, W) float32."""
        return self._probabilities(latents.encoded, self.mask_adapters, latents.mask_skips)

    def parts(self) -> dict[str, nn.Module]:
        """Return the parts that learn, by name."""
        return {
            "mapping": self.mapping,
            "encoder": self.encoder,
            "image_adapters": self.image_adapters,
            "mask_adapters": self.mask_adapters,
        }

    def trainable_state(self) -> dict[str, Tensor]:
        """Return parameters and buffers (batch norm's) of the four parts: the tensors, not copies."""
        return {
            f"{name}.{key}": value
            for name, part in self.parts().items()
            for key, value in part.state_dict().items()
        }

    def load_trainable_state(self, state: dict[str, Tensor]) -> None:
        """Copy the `trainable_state` of an equal network; a ValueError if names or shapes differ."""
        own = self.trainable_state()
        differing = sorted(
            name
            for name in own.keys() | state.keys()
            if name not in own or name not in state or own[name].shape != state[name].shape
        )
        if differing:
            raise ValueError(
                f"These weights belong to a network of another shape: {', '.join(differing[:4])}."
            )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])

    def _probabilities(self, latent: Tensor, adapters: nn.ModuleList, skips: Sequence[Tensor]) -> Tensor:
        decoded = self.autoencoder.decode(latent, adapters, skips)
        known = None if self.training or not self.shown else self.shown
        return image_to_probabilities(decoded, self.classes, known)


class ResidualEncoder(nn.Module):
    """The learnable encoder E (dual-distribution alignment): a residual network of basic blocks.

    A 3×3 stem at the finest level's size, where one position is `patch` pixels wide (1 in the paper), then
    stages that each halve it, then a head of two 3×3-BatchNorm-LeakyReLU with dropout between. The paper's:
    stem 128, widths (256, 512, 512), blocks (3, 4, 6), 8 moment channels. A preset can differ from it in two
    ways:

    - ``linear_head``: a 1×1 convolution after the last LeakyReLU. In the paper the autoencoder's wide
      quant_conv follows; without one, a LeakyReLU cannot give latents of both signs.
    - ``small_batches``: group norm in place of batch norm, whose statistics of two images say little, and
      attention over all positions of the coarsest level, since few, narrow blocks see little of the image.
    """

    def __init__(self, preset: Preset, moment_channels: int, patch: int = 1) -> None:
        super().__init__()
        self.patch = patch
        self.channels = (preset.encoder_stem, *preset.encoder_widths)
        stem, last = self.channels[0], self.channels[-1]
        norm: Normalization = (
            partial(_group_norm, most_groups=16, least_width=4) if preset.small_batches else nn.BatchNorm2d
        )
        self.stem = nn.Sequential(nn.Conv2d(3 * patch**2, stem, 3, padding=1), norm(stem), nn.ReLU())
        self.stages = nn.ModuleList(
            nn.Sequential(
                BasicBlock(before, width, 2, norm),
                *(BasicBlock(width, width, 1, norm) for _ in range(count - 1)),
            )
            for before, width, count in zip(
                self.channels, preset.encoder_widths, preset.encoder_blocks, strict=False
            )
        )
        self.context = SelfAttention(last) if preset.small_batches else nn.Identity()
        self.head = _latent_head(last, moment_channels, preset.linear_head, norm)

    def forward(self, image: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return one feature map per level, finest first, and moments (B, moment_channels, h, w)."""
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


def _latent_head(channels: int, moment_channels: int, linear: bool, norm: Normalization) -> nn.Sequential:
    hidden = max(moment_channels, 8)
    last = hidden if linear else moment_channels
    layers = [
        nn.Conv2d(channels, hidden, 3, padding=1),
        norm(hidden),
        nn.LeakyReLU(),
        nn.Dropout(0.1),
        nn.Conv2d(hidden, last, 3, padding=1),
        norm(last),
        nn.LeakyReLU(),
    ]
    return nn.Sequential(*layers, nn.Conv2d(hidden, moment_channels, 1)) if linear else nn.Sequential(*layers)


class LatentMapping(nn.Module):
    """The latent mapping 𝓜: an image's latent to its mask's latent, without changing the resolution.

    Eight residual-attention blocks in the shape of a U with skip concatenations, widths 1, 2, 4 and 4 times
    `width`; the paper's `width` is 32.
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
        head = nn.Conv2d(outer, channels, 3, padding=1, bias=False)
        self.head = nn.Sequential(_group_norm(outer, 16, 2), nn.SiLU(), head)

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
            _group_norm(channels, 16, 2),
            nn.PReLU(),
            nn.Conv2d(channels, width, 3, padding=1),
            _group_norm(width, 16, 2),
            nn.PReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.shortcut = nn.Conv2d(channels, width, 1, bias=False) if channels != width else nn.Identity()
        self.attention = SelfAttention(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, h, w) to (B, width, h, w)."""
        return self.attention.forward(self.residual(x) + self.shortcut(x))


class SelfAttention(nn.Module):
    """Single-head self-attention over all positions of a feature map, added to it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _group_norm(channels, 16, 2)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, h, w) to the same shape."""
        normed = self.norm(x)
        query, key, value = (part(normed).flatten(2).mT for part in (self.query, self.key, self.value))
        attended = F.scaled_dot_product_attention(query, key, value)
        added: Tensor = x + self.project(attended.mT.unflatten(2, x.shape[2:]))
        return added


class SkipAdapter(nn.Module):
    """One residual block that adds a skip to a feature map of the frozen decoder (CDSA).

    GroupNorm(32)-SiLU-3×3 twice on the concatenation, with a 1×1 shortcut; in the paper, `hidden` is the
    decoder's width. A new adapter passes the decoder's features on unchanged: its shortcut is the identity on
    them and zero on the skip, and its last convolution is zero. So training starts from what the autoencoder
    can already do; the authors start from random weights. Gradients reach the skip as soon as the last
    convolution has moved.
    """

    def __init__(self, decoder_channels: int, skip_channels: int, hidden: int) -> None:
        super().__init__()
        channels = decoder_channels + skip_channels
        last = nn.Conv2d(hidden, decoder_channels, 3, padding=1)
        self.residual = nn.Sequential(
            _group_norm(channels, 32, 4),
            nn.SiLU(),
            nn.Conv2d(channels, hidden, 3, padding=1),
            _group_norm(hidden, 32, 4),
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


def _adapters(decoder: Sequence[int], skips: Sequence[int], hidden: Sequence[int]) -> nn.ModuleList:
    """One adapter per decoder level, finest first."""
    return nn.ModuleList(SkipAdapter(*widths) for widths in zip(decoder, skips, hidden, strict=True))


def _group_norm(channels: int, most_groups: int, least_width: int) -> nn.GroupNorm:
    """Group norm with as many groups as divide the channels and leave each at least `least_width` wide.

    At the paper's widths this is `most_groups`; narrow networks get fewer.
    """
    fitting = [n for n in range(1, most_groups + 1) if channels % n == 0 and channels // n >= least_width]
    return nn.GroupNorm(max(fitting, default=1), channels, eps=1e-6)


def _check_size(image: Tensor) -> None:
    height, width = image.shape[-2:]
    if height % 8 or width % 8:
        raise ValueError(
            f"The network takes heights and widths that are multiples of 8, not {height} × {width}."
        )
