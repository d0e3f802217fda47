"""A trained network in one safetensors file: the parts that learn, and what they were trained for."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import write_bytes
from napari_semigda.io.files import load_tensors, opened_tensors, parse_json
from napari_semigda.model.annotation import MOST_CLASSES
from napari_semigda.model.autoencoder import Autoencoder
from napari_semigda.model.loading import load_autoencoder, random_autoencoder_of
from napari_semigda.model.network import SemiGDANetwork
from napari_semigda.model.presets import PRESETS, assemble

FORMAT = 1
_KEY = "semigda"
_SAME_AUTOENCODER = 0.02
_LARGEST_NUMBER = 1e6  # of a signature, whose numbers are of order 1


def save_checkpoint(path: Path | str, model: SemiGDANetwork, metadata: dict[str, Any] | None = None) -> None:
    """Write the parts that learn, float32, atomically; the frozen autoencoder is not in the file.

    Parameters
    ----------
    path
        The `.safetensors` file.
    model
        The network, on any device.
    metadata
        Anything JSON has a notation for: names of the classes, settings, where it was trained. "format",
        "preset", "classes", "shown" and "autoencoder" are taken from the model.

    Raises
    ------
    SemiGDAError
        If the file cannot be written; what stood there is unchanged then.
    """
    header = {
        **(metadata or {}),
        "format": FORMAT,
        "preset": model.preset,
        "classes": model.classes,
        "shown": sorted(model.shown),
        "autoencoder": {"source": model.autoencoder.source, "signature": model.autoencoder.signature()},
    }
    tensors = {name: _stored(tensor) for name, tensor in model.trainable_state().items()}
    write_bytes(path, safetensors.torch.save(tensors, {_KEY: json.dumps(header, ensure_ascii=False)}))


def load_checkpoint(
    path: Path | str,
    weights: Path | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[SemiGDANetwork, dict[str, Any]]:
    """Read a network, on the CPU and in evaluation mode; no code in the file is executed.

    Parameters
    ----------
    path
        A file of `save_checkpoint`.
    weights, progress, cancelled
        For the frozen autoencoder, as for `build_model`.

    Returns
    -------
    model, metadata

    Raises
    ------
    SemiGDAError
        If the file is missing, damaged, from a newer version or no network of ours, or if the autoencoder
        cannot be had or is another than the network was trained with.
    Cancelled
        If `cancelled` said so during a download.
    """
    path = Path(path)
    metadata = read_metadata(path)
    autoencoder = _autoencoder(path, metadata, weights, progress, cancelled)
    model = assemble(PRESETS[metadata["preset"]], autoencoder, metadata["classes"])
    try:
        model.load_trainable_state(load_tensors(path))
    except (ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise SemiGDAError(f"“{path}” does not hold a whole “{model.preset}” network: {error}") from error
    if not all(bool(tensor.isfinite().all()) for tensor in model.trainable_state().values()):
        raise SemiGDAError(
            f"“{path}” holds weights that are no finite numbers. Choose another round's model, or train "
            "from scratch."
        )
    model.shown = _shown(path, metadata)
    return model.eval(), metadata


def read_metadata(path: Path | str) -> dict[str, Any]:
    """Read what a checkpoint says about itself, without its weights.

    Returns
    -------
    dict
        At least "format", "preset", "classes" and "autoencoder", and what `save_checkpoint` was given.

    Raises
    ------
    SemiGDAError
        If the file is missing, damaged, from a newer version or no network of ours.
    """
    path = Path(path)
    try:
        with opened_tensors(path, "pt") as file:
            header = (file.metadata() or {}).get(_KEY)
    except FileNotFoundError as error:
        raise SemiGDAError(f"There is no file “{path}”.") from error
    except (OSError, SafetensorError) as error:
        raise SemiGDAError(
            f"“{path}” is damaged or no safetensors file ({error}). Choose another round's model."
        ) from error
    return _checked(path, header)


def needs_encoder(file_metadata: dict[str, str] | None) -> bool:
    """Return whether a checkpoint stands on a pre-trained encoder, which no version supports any more."""
    try:
        return parse_json((file_metadata or {})[_KEY]).get("encoder") is not None
    except (AttributeError, LookupError, ValueError):
        return False


def _checked(path: Path, header: str | None) -> dict[str, Any]:
    if header is None:
        raise SemiGDAError(f"“{path}” is a safetensors file, but no model of this program.")
    try:
        metadata = parse_json(header)
    except ValueError as error:
        raise SemiGDAError(f"The header of “{path}” is damaged.") from error
    if not isinstance(metadata, dict) or not _is_count(metadata.get("format"), 2**31):
        raise SemiGDAError(f"The header of “{path}” is damaged.")
    if metadata["format"] > FORMAT:
        raise SemiGDAError(f"“{path}” was written by a newer version of napari-semigda: update this one.")
    if not all(is_sound(metadata.get(name)) for name, is_sound in _FIELDS.items()):
        raise SemiGDAError(f"The header of “{path}” is damaged: it does not say what was trained.")
    if metadata["preset"] not in PRESETS:
        raise SemiGDAError(
            f"“{path}” has the preset “{metadata['preset']:.40}”, which this version does not know."
        )
    if metadata.get("encoder") is not None:
        raise SemiGDAError(
            f"“{path}” was trained with a pre-trained encoder, which is no longer supported. Choose another "
            "model, or train from scratch."
        )
    return metadata


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _is_autoencoder(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(source := value.get("source"), str)
        and (not source.startswith("random") or re.fullmatch("random:[0-9]{1,18}", source) is not None)
        and isinstance(numbers := value.get("signature"), list)
        and all(type(one) in (int, float) and abs(one) < _LARGEST_NUMBER for one in numbers)
    )


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "preset": lambda value: isinstance(value, str),
    "classes": lambda value: _is_count(value, MOST_CLASSES) and value > 1,
    "autoencoder": _is_autoencoder,
}


def _autoencoder(
    path: Path,
    metadata: dict[str, Any],
    weights: Path | None,
    progress: Callable[[int, int], None] | None,
    cancelled: Callable[[], bool] | None,
) -> Autoencoder:
    stored = metadata["autoencoder"]
    kind, _, seed = stored["source"].partition(":")
    if kind == "random" and weights is None:
        autoencoder = random_autoencoder_of(metadata["preset"], int(seed))
    else:
        autoencoder = load_autoencoder(metadata["preset"], weights, progress, cancelled)
    own, other = (torch.tensor(numbers) for numbers in (autoencoder.signature(), stored["signature"]))
    same = own.shape == other.shape and bool((own - other).abs().max() <= _SAME_AUTOENCODER)
    if not same:
        raise SemiGDAError(
            f"“{path}” was trained with another “{metadata['preset']}” autoencoder than the one given here"
            f" ({weights or autoencoder.source}). Give the file or folder it was trained with."
        )
    return autoencoder


def _shown(path: Path, metadata: dict[str, Any]) -> set[int]:
    """Which classes a mask has shown to the network; all of them in files that do not tell yet."""
    every = range(1, metadata["classes"])
    shown = metadata.get("shown", list(every))
    if not isinstance(shown, list) or not all(type(value) is int and value in every for value in shown):
        raise SemiGDAError(f"The header of “{path}” is damaged: it does not say what was trained.")
    return set(shown)


def _stored(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.float() if tensor.is_floating_point() else tensor
