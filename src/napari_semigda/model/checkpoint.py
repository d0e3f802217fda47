"""The one place where a file becomes a network, and a network a file.

A checkpoint is one safetensors file: the parts that learn, and a header that says what they were trained for.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import write_bytes
from napari_semigda.io.files import load_tensors, opened_tensors, parse_json
from napari_semigda.model.annotation import MOST_CLASSES
from napari_semigda.model.autoencoder import Autoencoder
from napari_semigda.model.loading import load_autoencoder, random_autoencoder
from napari_semigda.model.network import SemiGDANet
from napari_semigda.model.presets import PRESETS

FORMAT = 1
_KEY = "semigda"
_SAME_AUTOENCODER = 0.02


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, regex_engine="python-re")


class _Autoencoder(_Strict):
    source: Annotated[str, Field(pattern=r"^(?:random:[0-9]{1,18}|(?!random).*)$")]
    signature: list[Annotated[float, Field(gt=-1e6, lt=1e6, allow_inf_nan=False)]]  # numbers of order 1


class _Header(_Strict):
    format: Annotated[int, Field(ge=1, le=2**31)]
    preset: str
    classes: Annotated[int, Field(ge=2, le=MOST_CLASSES)]
    autoencoder: _Autoencoder
    shown: list[Annotated[int, Field(ge=1)]] = []


def save_checkpoint(path: Path | str, model: SemiGDANet, metadata: dict[str, Any] | None = None) -> None:
    """Write the parts that learn, float32, atomically; the frozen autoencoder is not in the file.

    `metadata` is anything that JSON can hold: names of the classes, settings, where it was trained. "format",
    "preset", "classes", "shown" and "autoencoder" are taken from the model. Raises a `SemiGDAError` if the
    file cannot be written.
    """
    header = {
        **(metadata or {}),
        "format": FORMAT,
        "preset": model.preset,
        "classes": model.classes,
        "shown": sorted(model.shown),
        "autoencoder": {"source": model.autoencoder.source, "signature": model.autoencoder.signature()},
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.trainable_state().items()}
    tensors = {name: one.float() if one.is_floating_point() else one for name, one in tensors.items()}
    write_bytes(path, safetensors.torch.save(tensors, {_KEY: json.dumps(header, ensure_ascii=False)}))


def load_checkpoint(
    path: Path | str,
    weights: Path | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[SemiGDANet, dict[str, Any]]:
    """Read a network, on the CPU and in evaluation mode, and its metadata; no code in the file is executed.

    The other arguments are those of `load_autoencoder`. Raises a `SemiGDAError` if the file is missing,
    damaged, from a newer version or not a checkpoint of this program, or if the autoencoder cannot be loaded
    or is not the one that the network was trained with; `Cancelled` if `cancelled` returned True during a
    download.
    """
    path = Path(path)
    metadata = read_metadata(path)
    autoencoder = _autoencoder(path, metadata, weights, progress, cancelled)
    model = SemiGDANet(metadata["preset"], metadata["classes"], pretrained=False, autoencoder=autoencoder)
    try:
        model.load_trainable_state(load_tensors(path))
    except (ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise SemiGDAError(f"“{path}” does not hold a whole “{model.preset}” network: {error}") from error
    if not all(bool(tensor.isfinite().all()) for tensor in model.trainable_state().values()):
        raise SemiGDAError(
            f"“{path}” holds weights that are not finite numbers. Choose another round's model, or train "
            "from scratch."
        )
    model.shown = set(metadata.get("shown", range(1, model.classes)))
    return model.eval(), metadata


def read_metadata(path: Path | str) -> dict[str, Any]:
    """Read the header of a checkpoint, without its weights; a `SemiGDAError` if it is missing or damaged.

    It has at least "format", "preset", "classes" and "autoencoder", and what `save_checkpoint` was given.
    """
    path = Path(path)
    try:
        with opened_tensors(path, "pt") as file:
            header = (file.metadata() or {}).get(_KEY)
    except FileNotFoundError as error:
        raise SemiGDAError(f"There is no file “{path}”.") from error
    except (OSError, SafetensorError) as error:
        raise SemiGDAError(
            f"“{path}” is damaged or not a safetensors file ({error}). Choose another round's model."
        ) from error
    if header is None:
        raise SemiGDAError(f"“{path}” is a safetensors file, but not a model of this program.")
    return _checked(path, header)


def needs_encoder(file_metadata: dict[str, str] | None) -> bool:
    """Return whether a checkpoint stands on a pre-trained encoder, which is no longer supported."""
    try:
        return parse_json((file_metadata or {})[_KEY]).get("encoder") is not None
    except (AttributeError, LookupError, ValueError):
        return False


def _checked(path: Path, header: str) -> dict[str, Any]:
    try:
        metadata: dict[str, Any] = parse_json(header)
        if metadata["format"] > FORMAT and type(metadata["format"]) is int:
            raise SemiGDAError(f"“{path}” was written by a newer version of napari-semigda: update this one.")
        known = _Header.model_validate(metadata)
        if max(known.shown, default=0) >= known.classes:
            raise ValueError("shown")
    except ValidationError as error:
        field = error.errors()[0]["loc"][0] if error.errors()[0]["loc"] else "no fields"
        raise SemiGDAError(f"The header of “{path}” is damaged ({field}).") from error
    except (LookupError, TypeError, ValueError) as error:
        raise SemiGDAError(f"The header of “{path}” is damaged.") from error
    if known.preset not in PRESETS:
        raise SemiGDAError(f"“{path}” has the preset “{known.preset:.40}”, which this version does not know.")
    if metadata.get("encoder") is not None:
        raise SemiGDAError(
            f"“{path}” was trained with a pre-trained encoder, which is no longer supported. Choose another "
            "model, or train from scratch."
        )
    return metadata


def _autoencoder(
    path: Path,
    metadata: dict[str, Any],
    weights: Path | None,
    progress: Callable[[int, int], None] | None,
    cancelled: Callable[[], bool] | None,
) -> Autoencoder:
    preset, stored = metadata["preset"], metadata["autoencoder"]
    kind, _, seed = stored["source"].partition(":")
    if kind == "random" and weights is None:
        autoencoder = random_autoencoder(preset, int(seed))
    else:
        autoencoder = load_autoencoder(preset, weights, progress, cancelled)
    own, other = (torch.tensor(numbers) for numbers in (autoencoder.signature(), stored["signature"]))
    if own.shape != other.shape or bool((own - other).abs().max() > _SAME_AUTOENCODER):
        raise SemiGDAError(
            f"“{path}” was trained with another “{preset}” autoencoder than the one given here"
            f" ({weights or autoencoder.source}). Give the file or folder it was trained with."
        )
    return autoencoder
