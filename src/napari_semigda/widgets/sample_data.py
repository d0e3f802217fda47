"""File > Open Sample > SemiGDA: the bundled pictures with their true masks, as stacks."""

from typing import Any

import numpy as np
from skimage.io import imread

from napari_semigda.samples import sample_pairs

LayerData = tuple[Any, dict[str, Any], str]


def lesions() -> list[LayerData]:
    """Drawn lesions: a stack of pictures (N, H, W) uint8 and their masks, as napari layer data."""
    return _stacks("lesions", first=0)


def cells() -> list[LayerData]:
    """Drawn cells: a stack of pictures (N, H, W) uint8 and their masks, as napari layer data."""
    return _stacks("cells", first=1)


def _stacks(name: str, first: int) -> list[LayerData]:
    pairs = sample_pairs()[first::2]  # the two kinds alternate
    pictures = np.stack([imread(picture) for picture, _ in pairs])
    masks = np.stack([(imread(mask) > 0).astype(np.uint8) for _, mask in pairs])
    return [(pictures, {"name": name}, "image"), (masks, {"name": f"{name} masks"}, "labels")]
