"""E on a pre-trained backbone of the transformers library: off unless asked for, and an extra to install.

A backbone is a classification network without its head. Its code is the library's own, of the few kinds named
here; from the hub or a folder come sizes and weights only.
"""

import os
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.files import read_json
from napari_semigda.model.encoder import latent_head, normalization, residual_stage
from napari_semigda.model.hub import fetch
from napari_semigda.model.loading import read_tensors

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_LARGEST_CONFIG = 2**24
_MOST_WEIGHTS = 10**8  # in the widest layers alone; ConvNeXt V2 “huge” has 79 million there
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)

_FIRST_STRIDE = 4
"""Of all the kinds below; each later stage halves the size once more."""

_IMAGENET_MEAN, _IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of images in [0, 1]: what the kinds below were trained on."""

_FIELDS: dict[str, tuple[str, ...]] = {
    "resnet": (
        "embedding_size",
        "hidden_sizes",
        "depths",
        "layer_type",
        "hidden_act",
        "downsample_in_bottleneck",
    ),
    "convnext": ("num_stages", "hidden_sizes", "depths", "hidden_act", "layer_scale_init_value"),
    "convnextv2": ("num_stages", "hidden_sizes", "depths", "hidden_act"),
}
"""What makes the architecture, by kind, in the library's terms. Nothing else of a configuration is heeded."""

_FIXED: dict[str, Any] = {"num_channels": 3, "patch_size": 4, "downsample_in_first_stage": False}
"""What a configuration may say, but not otherwise: three channels in, a quarter of the size out."""

_MAY_BE_ABSENT = ("hidden_states_norms.", "num_batches_tracked")
"""Norms that the library puts behind the stages of a ConvNeXt (fresh: no scale), and a count nobody reads."""


class Backbone(nn.Module):
    """A network of transformers without its head: features of an image at strides 4, 8, 16, …

    Its batch norms always use the statistics they were trained with: those of two images say little.

    Parameters
    ----------
    name
        What people call it.
    architecture
        "model_type" and fields of that kind, in the library's terms; those that are missing are the library's
        defaults.

    Attributes
    ----------
    architecture
        With every field: what a checkpoint needs to build it again.
    channels
        Of each feature map, finest first.
    stride
        Of the coarsest: heights and widths must be multiples of it.

    Raises
    ------
    SemiGDAError
        If transformers is not installed, or the architecture is none of the known kinds.
    """

    _scale: Tensor
    _shift: Tensor

    def __init__(self, name: str, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        kind, fields = _checked(architecture, f"“{name}”")
        library = _transformers()
        config = library.AutoConfig.for_model(kind, **fields)
        config.out_features = config.stage_names[1:]
        with torch.random.fork_rng(devices=[]):
            self.network = library.AutoBackbone.from_config(config)
        self.name = name
        self.architecture = {
            "model_type": kind,
            **{name: _plain(getattr(config, name)) for name in _FIELDS[kind]},
        }
        self.channels: tuple[int, ...] = tuple(self.network.channels)
        self.stride = _FIRST_STRIDE * 2 ** (len(self.channels) - 1)
        # [-1, 1] to [0, 1] to zero mean and unit deviation, in one step.
        mean, deviation = (
            torch.tensor(values).view(3, 1, 1) for values in (_IMAGENET_MEAN, _IMAGENET_DEVIATION)
        )
        self.register_buffer("_scale", 0.5 / deviation, persistent=False)
        self.register_buffer("_shift", (0.5 - mean) / deviation, persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Give the feature maps, finest first, of images (B, 3, H, W) in [-1, 1]."""
        return tuple(self.network(image * self._scale + self._shift).feature_maps)

    def train(self, mode: bool = True) -> Self:
        """Change the mode of all but the batch norms, whose weights learn, but not their statistics."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.training = False
        return self

    def fill(self, tensors: Mapping[str, Tensor], where: str) -> None:
        """Copy weights, under the names of the whole classification network or of this one.

        Raises
        ------
        SemiGDAError
            If weights are missing, too many or of another shape; nothing is changed then.
        """
        own = self.network.state_dict()
        prefix = f"{self.network.base_model_prefix}."
        given = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        parts = {name.partition(".")[0] for name in own}  # the head, which is left out, is none of them
        wrong = [name for name in given if name not in own and name.partition(".")[0] in parts]
        wrong += [
            name
            for name, tensor in own.items()
            if (name not in given and not any(part in name for part in _MAY_BE_ABSENT))
            or (name in given and given[name].shape != tensor.shape)
        ]
        if wrong:
            raise SemiGDAError(
                f"{where} does not hold the weights that {_CONFIG} describes: {', '.join(sorted(wrong)[:4])}."
            )
        with torch.no_grad():
            for name in own.keys() & given.keys():
                own[name].copy_(given[name])


class BackboneEncoder(nn.Module):
    """E on a backbone, with the interface and the widths of a `ResidualEncoder`.

    A stem, and stages of basic blocks, see what is finer than the backbone's stride 4. Of the backbone's
    feature maps, 1×1 convolutions make those at stride 4 and 8; all coarser ones are scaled up and added
    to the latter, as context. The head is `ResidualEncoder`'s.

    Parameters
    ----------
    backbone
        With two feature maps or more.
    stem, widths, blocks
        Channels at the finest level, then channels and number of blocks at each coarser one down to stride
        8; the backbone stands in for the last two levels' blocks.
    moment_channels, dropout, linear_head, patch, small_batches
        As for `ResidualEncoder`.

    Attributes
    ----------
    channels
        Of each feature map, finest first.
    """

    def __init__(
        self,
        backbone: Backbone,
        stem: int,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        moment_channels: int,
        dropout: float = 0.1,
        linear_head: bool = False,
        patch: int = 1,
        small_batches: bool = False,
    ) -> None:
        super().__init__()
        self.patch = patch
        norm = normalization(small_batches)
        quarter, eighth = widths[-2:]
        self.stem = nn.Sequential(nn.Conv2d(3 * patch**2, stem, 3, padding=1), norm(stem), nn.ReLU())
        self.stages = nn.ModuleList(
            residual_stage(before, width, count, norm)
            for (before, width), count in zip(pairwise((stem, *widths)[:-2]), blocks, strict=False)
        )
        self.backbone = backbone
        self.laterals = nn.ModuleList(
            nn.Conv2d(channels, eighth if number else quarter, 1, bias=False)
            for number, channels in enumerate(backbone.channels)
        )
        self.norms = nn.ModuleList(nn.Sequential(norm(width), nn.ReLU()) for width in (quarter, eighth))
        self.head = latent_head(eighth, moment_channels, dropout, linear_head, norm)
        self.channels = (stem, *widths)

    def forward(self, image: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Encode images.

        Parameters
        ----------
        image
            (B, 3, H, W) in [-1, 1], H and W multiples of 8.

        Returns
        -------
        features
            One feature map a level, finest first: (B, stem, H/patch, W/patch), then each half as large.
        moments
            (B, moment_channels, H/8, W/8).
        """
        features = [self.stem(F.pixel_unshuffle(image, self.patch))]
        for finer in self.stages:
            features.append(finer(features[-1]))
        features += self._from_backbone(image)
        return tuple(features), self.head(features[-1])

    def _from_backbone(self, image: Tensor) -> list[Tensor]:
        """Give the levels at stride 4 and 8."""
        height, width = image.shape[-2:]
        stride = self.backbone.stride
        padded = F.pad(image, (0, -width % stride, 0, -height % stride), mode="replicate")
        quarter, eighth, *coarser = (
            lateral(features) for lateral, features in zip(self.laterals, self.backbone(padded), strict=True)
        )
        for context in coarser:
            eighth = eighth + F.interpolate(context, size=eighth.shape[-2:], mode="bilinear")
        return [
            norm(level[..., : height // size, : width // size])
            for norm, level, size in zip(self.norms, (quarter, eighth), (4, 8), strict=True)
        ]


def load_backbone(
    encoder: str,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Backbone:
    """Load a trained backbone from a folder or the hub, float32 on the CPU; no code in any file is executed.

    Parameters
    ----------
    encoder
        A folder with `config.json` and `model.safetensors`, or owner and name of a repository on the hub with
        these files, which are downloaded on first use.
    progress, cancelled
        For the download, as for `build_model`.

    Raises
    ------
    SemiGDAError
        If transformers is not installed, the files cannot be had, or they are no backbone of a known kind.
    Cancelled
        If `cancelled` said so.
    """
    place = known_encoder(encoder)
    _transformers()
    if os.path.isabs(place):
        folder = Path(place)
        name = folder.name
    else:
        folder = fetch(place, (_CONFIG, _WEIGHTS), progress, cancelled, purpose="the encoder")
        name = place
    architecture = _read_architecture(folder)
    least_weights(architecture, name)
    backbone = Backbone(name, architecture)
    backbone.fill(read_tensors(folder / _WEIGHTS), f"“{folder / _WEIGHTS}”")
    return backbone


def known_encoder(encoder: str) -> str:
    """Check what can be checked without the hub and without transformers.

    Returns
    -------
    str
        The absolute path of a folder, or a name on the hub.

    Raises
    ------
    SemiGDAError
        If it is neither, or the folder holds no backbone of a known kind.
    """
    folder = Path(encoder)
    if encoder and folder.is_dir():
        _checked(_read_architecture(folder), f"“{folder / _CONFIG}”")
        if not (folder / _WEIGHTS).is_file():
            raise SemiGDAError(
                f"The folder “{folder}” has no {_WEIGHTS}. Weights in another format are not opened, because "
                "they can execute code."
            )
        return os.path.abspath(folder)
    if _HUB_NAME.fullmatch(encoder):
        return encoder
    raise SemiGDAError(
        f"“{encoder}” is no encoder: give a folder that is there, or a name on the hub like "
        "“microsoft/resnet-18”."
    )


def _read_architecture(folder: Path) -> dict[str, Any]:
    """Read the fields that make the architecture; what else the configuration says is left out."""
    path = folder / _CONFIG
    try:
        config = read_json(path, most=_LARGEST_CONFIG, links=True)
    except FileNotFoundError as error:
        raise SemiGDAError(f"The folder “{folder}” holds no encoder: it has no {_CONFIG}.") from error
    except (OSError, ValueError) as error:
        raise SemiGDAError(f"“{path}” could not be read ({error}).") from error
    if not isinstance(config, dict):
        raise SemiGDAError(f"“{path}” is no configuration of a network.")
    kind = config.get("model_type")
    fields = (*_FIELDS.get(kind, ()), *_FIXED) if isinstance(kind, str) else ()
    return {name: config[name] for name in ("model_type", *fields) if name in config}


def _checked(architecture: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """Return kind and fields, if they are what can be built."""
    fields = dict(architecture) if isinstance(architecture, Mapping) else {}
    kind = fields.pop("model_type", None)
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise SemiGDAError(
            f"{where} describes a network of the kind “{kind}”, which cannot serve as encoder: "
            f"choose one of the kinds {', '.join(_FIELDS)}."
        )
    for name, value in fields.items():
        fits = value == _FIXED[name] if name in _FIXED else name in _FIELDS[kind] and _CHECKS[name](value)
        if not fits:
            raise SemiGDAError(
                f"{where} describes a network that cannot serve as encoder: “{name}” is {value!r:.60}."
            )
    stages = [len(fields.get("hidden_sizes", ())), len(fields.get("depths", ()))]
    if "num_stages" in _FIELDS[kind]:
        stages.append(fields.setdefault("num_stages", stages[0]))
    if len(set(stages)) > 1 or not stages[0]:
        raise SemiGDAError(f"{where} does not say how many stages the network has.")
    return kind, {name: value for name, value in fields.items() if name not in _FIXED}


def least_weights(architecture: Mapping[str, Any], where: str) -> int:
    """Count the weights that a backbone has at least, before memory is taken for them.

    Raises
    ------
    SemiGDAError
        If the architecture is none of the known kinds, or larger than any network there is.
    """
    _, fields = _checked(architecture, f"“{where}”")
    count: int = sum(
        depth * width**2 for depth, width in zip(fields["depths"], fields["hidden_sizes"], strict=True)
    )
    if count > _MOST_WEIGHTS:
        raise SemiGDAError(f"“{where}” describes a network that is too large to serve as encoder.")
    return count


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _are_counts(values: Any, most: int) -> bool:
    return (
        isinstance(values, list) and 2 <= len(values) <= 5 and all(_is_count(value, most) for value in values)
    )


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "embedding_size": lambda value: _is_count(value, 4096),
    "hidden_sizes": lambda value: _are_counts(value, 4096),
    "depths": lambda value: _are_counts(value, 100),
    "num_stages": lambda value: _is_count(value, 5),
    "layer_type": lambda value: value in ("basic", "bottleneck"),
    "hidden_act": lambda value: value in ("relu", "gelu", "silu"),
    "downsample_in_bottleneck": lambda value: isinstance(value, bool),
    "layer_scale_init_value": lambda value: isinstance(value, int | float) and 0 <= value <= 1,
}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise SemiGDAError(
            'A pre-trained encoder needs the package transformers: pip install "napari-semigda[backbone]"'
        ) from error
    return transformers
