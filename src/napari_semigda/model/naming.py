"""Names of autoencoders' weights: from other programs' to diffusers'."""

import re
from collections.abc import Mapping

from torch import Tensor

LEVELS = 4

# The decoder's levels are numbered finest first in latent diffusion, coarsest first in diffusers.
_LATENT_DIFFUSION: tuple[tuple[str, str], ...] = (
    (r"mid\.block_1\.", r"mid_block.resnets.0."),
    (r"mid\.block_2\.", r"mid_block.resnets.1."),
    (r"mid\.attn_1\.norm\.", r"mid_block.attentions.0.group_norm."),
    (r"mid\.attn_1\.([qkv])\.", r"mid_block.attentions.0.to_\1."),
    (r"mid\.attn_1\.proj_out\.", r"mid_block.attentions.0.to_out.0."),
    (r"down\.(\d)\.block\.(\d)\.", r"down_blocks.\1.resnets.\2."),
    (r"down\.(\d)\.downsample\.", r"down_blocks.\1.downsamplers.0."),
    (r"\bup\.(\d)\.block\.(\d)\.", r"up_blocks.\1.resnets.\2."),
    (r"\bup\.(\d)\.upsample\.", r"up_blocks.\1.upsamplers.0."),
    (r"nin_shortcut", r"conv_shortcut"),
    (r"\bnorm_out\.", r"conv_norm_out."),
)

# Names that diffusers itself used before 0.17, and still distributes.
_OLD_DIFFUSERS: tuple[tuple[str, str], ...] = (
    (r"attentions\.0\.query\.", r"attentions.0.to_q."),
    (r"attentions\.0\.key\.", r"attentions.0.to_k."),
    (r"attentions\.0\.value\.", r"attentions.0.to_v."),
    (r"attentions\.0\.proj_attn\.", r"attentions.0.to_out.0."),
)


# What precedes an autoencoder's names in whole checkpoints: latent diffusion's, and SemiGDA's authors'.
_WHOLE_MODELS = ("first_stage_model.", "vae_model.")

# The autoencoder's own weights: not a discriminator's, nor the skip adapters in the authors' checkpoints.
_OWN = re.compile(r"(?:encoder|decoder(?!\.Jump_)|quant_conv|post_quant_conv)\.")


def from_latent_diffusion(name: str) -> str:
    """Give diffusers' name of a weight in latent diffusion's naming, such as `encoder.norm_out.bias`."""
    renamed = _replace(name, _LATENT_DIFFUSION)
    return re.sub(r"up_blocks\.(\d)", lambda match: f"up_blocks.{LEVELS - 1 - int(match[1])}", renamed)


def kl_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring a KL autoencoder's weights to diffusers' names and shapes.

    Parameters
    ----------
    weights
        In diffusers' naming, old or new, or in latent diffusion's, alone or inside a whole checkpoint of
        latent diffusion or of SemiGDA's authors; what does not belong to the autoencoder is left out.
    """
    for prefix in _WHOLE_MODELS:
        if any(name.startswith(prefix) for name in weights):
            weights = {
                name.removeprefix(prefix): weights[name] for name in weights if name.startswith(prefix)
            }
    own = {name: tensor for name, tensor in weights.items() if _OWN.match(name)}
    if any(name.startswith("encoder.down.") for name in own):
        own = {from_latent_diffusion(name): tensor for name, tensor in own.items()}
    return {_replace(name, _OLD_DIFFUSERS): as_linear(name, tensor) for name, tensor in own.items()}


def as_linear(name: str, tensor: Tensor) -> Tensor:
    """Turn an attention's 1×1 convolution into the linear layer that diffusers has in its place."""
    return tensor.flatten(1) if ".attentions." in name and tensor.ndim == 4 else tensor


def tiny_weights(encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring TAESD's two files, named by position in one sequence of layers, to diffusers' names.

    The original decoder counts the clamp of its input as layer 0; diffusers does not.
    """
    return {
        **{f"encoder.layers.{name}": tensor for name, tensor in encoder.items()},
        **{f"decoder.layers.{_one_less(name)}": tensor for name, tensor in decoder.items()},
    }


def _one_less(name: str) -> str:
    index, _, rest = name.partition(".")
    return f"{int(index) - 1}.{rest}"


def _replace(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
