"""Small backbones with random weights, in folders as the hub's repositories are."""

import json
from pathlib import Path
from typing import Any

import torch

SMALL: dict[str, dict[str, Any]] = {
    "resnet": {
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 2, 1, 1],
        "layer_type": "basic",
    },
    "convnext": {"num_stages": 4, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]},
    "convnextv2": {"num_stages": 3, "hidden_sizes": [8, 16, 24], "depths": [1, 2, 1]},
}
CLASSIFIERS = {
    "resnet": "ResNetForImageClassification",
    "convnext": "ConvNextForImageClassification",
    "convnextv2": "ConvNextV2ForImageClassification",
}


def classifier(kind: str, seed: int = 0) -> Any:
    """A whole classification network, statistics and scales unlike a fresh one's, in evaluation mode."""
    import transformers

    torch.manual_seed(seed)
    config = transformers.AutoConfig.for_model(kind, **SMALL[kind])
    network = getattr(transformers, CLASSIFIERS[kind])(config)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and tensor.dim() <= 1:
            tensor.add_(0.1 * torch.rand(tensor.shape) + 0.2 * ("running_var" in name))
    return network.eval()


def repository(folder: Path, kind: str = "resnet", seed: int = 0) -> Path:
    """A folder with `config.json` and `model.safetensors`."""
    classifier(kind, seed).save_pretrained(folder)
    return folder


def change_config(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
