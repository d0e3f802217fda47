"""Import checkpoints of SemiGDA's authors (github.com/taozh2017/SemiGDA) into the `sd` preset."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from napari_semigda.errors import SemiGDAError
from napari_semigda.model.loading import autoencoder_from, load_autoencoder, read_tensors, renamed
from napari_semigda.model.network import SemiGDANet

AUTOENCODER = "vae_model."
_ADAPTERS = re.compile(r"vae_model\.decoder\.Jump_(?:vae|cnn)\.")

# Heads for deep supervision, a segmentation head and activations that the authors' network never uses.
_UNUSED = re.compile(r"seg_head\.|mapping_model\.convds[123]\.|mapping_model\.\w+\.resblock\.act[12]\.")

# Applied in this order, each to the result of the ones before.
_RULES: tuple[tuple[str, str], ...] = (
    (r"^vae_model\.decoder\.Jump_vae\.", r"image_adapters."),
    (r"^vae_model\.decoder\.Jump_cnn\.", r"mask_adapters."),
    (r"^(\w+_adapters\.\d)\.norm1\.", r"\1.residual.0."),
    (r"^(\w+_adapters\.\d)\.conv1\.", r"\1.residual.2."),
    (r"^(\w+_adapters\.\d)\.norm2\.", r"\1.residual.3."),
    (r"^(\w+_adapters\.\d)\.conv2\.", r"\1.residual.5."),
    (r"^(\w+_adapters\.\d)\.nin_shortcut\.", r"\1.shortcut."),
    (r"^resnet\.conv1\.", r"encoder.stem.0."),
    (r"^resnet\.bn1\.", r"encoder.stem.1."),
    (r"^resnet\.layer1\.", r"encoder.stages.0."),
    (r"^resnet\.layer2\.", r"encoder.stages.1."),
    (r"^resnet\.layer3\.", r"encoder.stages.2."),
    (r"^resnet\.conv_out\.conv_conv\.", r"encoder.head."),
    (r"^(encoder\.stages\.\d\.\d+)\.bn", r"\1.norm"),
    (r"^(encoder\.stages\.\d\.\d+)\.downsample\.", r"\1.shortcut."),
    (r"^mapping_model\.input_blocks\.", r"mapping.stem."),
    (r"^mapping_model\.conv1_0\.", r"mapping.down.0."),
    (r"^mapping_model\.conv2_0\.", r"mapping.down.1."),
    (r"^mapping_model\.conv3_0\.", r"mapping.down.2."),
    (r"^mapping_model\.conv4_0\.", r"mapping.down.3."),
    (r"^mapping_model\.conv3_1\.", r"mapping.up.0."),
    (r"^mapping_model\.conv2_2\.", r"mapping.up.1."),
    (r"^mapping_model\.conv1_3\.", r"mapping.up.2."),
    (r"^mapping_model\.conv0_4\.", r"mapping.up.3."),
    (r"^mapping_model\.convds0\.", r"mapping.head."),
    (r"\.resblock\.conv1\.", r".residual."),
    (r"\.resblock\.conv2\.0\.", r".residual.3."),
    (r"\.resblock\.conv2\.1\.", r".residual.4."),
    (r"\.resblock\.conv2\.2\.", r".residual.5."),
    (r"\.resblock\.skip_connection\.", r".shortcut."),
    (r"\.attention\.q\.", r".attention.query."),
    (r"\.attention\.k\.", r".attention.key."),
    (r"\.attention\.v\.", r".attention.value."),
    (r"\.attention\.proj_out\.", r".attention.project."),
)


def import_released(
    source: Path | str | Mapping[str, Any],
    classes: int = 2,
    *,
    weights: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> SemiGDANet:
    """Build the `sd` network from a checkpoint of the authors' training, on the CPU and in evaluation mode.

    `source` is the checkpoint's file, opened without executing code in it, or what it holds. A stage 2
    checkpoint is `{"model": weights}` (or the weights alone) and complete; a stage 1 checkpoint is
    `{"resnet": …, "mapping_model": …}`: its skip adapters start untrained, and its autoencoder is Stable
    Diffusion's, loaded with the other arguments as by `load_autoencoder`. The authors' code trains two
    classes.

    Raises a `SemiGDAError` if the file cannot be read, or weights are missing, unknown or of another shape.
    """
    content = source if isinstance(source, Mapping) else read_tensors(Path(source))
    where = "The checkpoint" if isinstance(source, Mapping) else f"“{source}”"
    if content.keys() >= {"resnet", "mapping_model"}:
        state = {f"resnet.{name}": tensor for name, tensor in content["resnet"].items()}
        state |= {f"mapping_model.{name}": tensor for name, tensor in content["mapping_model"].items()}
        autoencoder = load_autoencoder("sd", weights, progress, cancelled)
    else:
        state = dict(content.get("model", content))
        frozen = {name: tensor for name, tensor in state.items() if _belongs_to_autoencoder(name)}
        autoencoder = autoencoder_from("sd", frozen, "file", where)
    model = SemiGDANet("sd", classes, autoencoder=autoencoder)
    fill_from_released(model, state, where)
    return model.eval()


def fill_from_released(model: SemiGDANet, state: Mapping[str, Tensor], where: str = "The checkpoint") -> None:
    """Fill a network's learning parts with weights under the authors' names; the autoencoder's are left out.

    Without any skip adapters (stage 1), the network's are left as they are. Raises a `SemiGDAError`, in which
    `where` is the checkpoint, if weights are missing, unknown or of another shape; nothing is changed then.
    """
    learnt = {name: state[name] for name in state if not _belongs_to_autoencoder(name)}
    named = {renamed(name, _RULES): tensor for name, tensor in learnt.items() if not _UNUSED.match(name)}
    own = model.trainable_state()
    if not any(_ADAPTERS.match(name) for name in learnt):
        named |= {name: tensor for name, tensor in own.items() if "_adapters." in name}
    if missing := sorted(own.keys() - named.keys()):
        raise SemiGDAError(f"{where} lacks {len(missing)} weights of the network: {', '.join(missing[:4])} …")
    if unknown := sorted(named.keys() - own.keys()):
        raise SemiGDAError(f"{where} has {len(unknown)} weights too many: {', '.join(unknown[:4])} …")
    try:
        model.load_trainable_state(named)
    except ValueError as error:
        raise SemiGDAError(f"{where} does not fit: {error}") from error


def _belongs_to_autoencoder(name: str) -> bool:
    return name.startswith(AUTOENCODER) and not _ADAPTERS.match(name)
