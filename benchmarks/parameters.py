"""Print how many parameters each part of each preset has, as a Markdown table.

Run: python benchmarks/parameters.py
"""

from torch import nn

from napari_semigda.model.loading import random_autoencoder
from napari_semigda.model.network import SemiGDANet
from napari_semigda.model.presets import PRESETS

PARTS = {
    "autoencoder": "autoencoder (frozen)",
    "encoder": "E",
    "mapping": "𝓜",
    "image_adapters": "image adapters",
    "mask_adapters": "mask adapters",
}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def row(name: str) -> list[str]:
    model = SemiGDANet(name, autoencoder=random_autoencoder(name))
    parts = [count(getattr(model, part)) for part in PARTS]
    stage_one = count(model.mapping) + count(model.encoder)
    return [f"`{name}`", *(f"{number:,}" for number in [*parts, sum(parts), stage_one, sum(parts[1:])])]


def main() -> None:
    header = ["preset", *PARTS.values(), "all", "learn in stage 1", "learn in stage 2"]
    print(f"| {' | '.join(header)} |")
    print(f"|---|{'--:|' * (len(header) - 1)}")
    for name in PRESETS:
        print(f"| {' | '.join(row(name))} |")


if __name__ == "__main__":
    main()
