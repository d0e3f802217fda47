"""Encode and decode the ground-truth masks of image packs, and say how much of them comes back.

    python benchmarks/mask_round_trip.py --data ../shared/data/busi ../shared/data/isic2017 --preset compact

A mask is shrunk to the working size (nearest neighbor, aspect kept, the rest background), turned into
an image of -1 and +1, encoded, decoded and cut at 0. Prints a Markdown table: mean Dice over the
masks of each pack, the worst twentieth, and seconds an image.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

RoundTrip = Callable[[torch.Tensor], torch.Tensor]


class PackResult(NamedTuple):
    """How well the masks of one pack came back."""

    pack: str
    masks: int
    mean_dice: float
    fifth_percentile: float
    seconds: float


def load_masks(folder: Path, size: int, limit: int | None = None) -> torch.Tensor:
    """Read a pack's masks at the working size, evenly spread over the pack when limited.

    Returns
    -------
    Tensor
        (N, size, size) bool.
    """
    paths = sorted((folder / "masks").glob("*.png"))
    if limit is not None and len(paths) > limit:
        paths = [paths[round(i)] for i in np.linspace(0, len(paths) - 1, limit)]
    masks = np.zeros((len(paths), size, size), dtype=bool)
    for mask, path in zip(masks, paths, strict=True):
        with Image.open(path) as picture:
            scale = size / max(picture.size)
            width, height = (max(1, round(side * scale)) for side in picture.size)
            pixels = np.asarray(picture.convert("L").resize((width, height), Image.Resampling.NEAREST))
        mask[:height, :width] = pixels > 127
    return torch.from_numpy(masks)


def dice(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Dice of each pair of (N, H, W) bool masks; 1 where both are empty."""
    both = (first & second).sum(dim=(1, 2)).double()
    total = first.sum(dim=(1, 2)) + second.sum(dim=(1, 2))
    return torch.where(total > 0, 2 * both / total.clamp(min=1), 1.0)


@torch.inference_mode()
def measure(round_trip: RoundTrip, folder: Path, size: int, limit: int | None = None) -> PackResult:
    """Send a pack's masks through ``round_trip``, (B, 3, H, W) to the same, one at a time."""
    masks = load_masks(folder, size, limit)
    started = time.process_time()
    returned = torch.cat([round_trip(as_image(mask[None])).mean(dim=1) > 0 for mask in masks])
    seconds = (time.process_time() - started) / len(masks)
    scores = dice(returned, masks)
    return PackResult(folder.name, len(masks), scores.mean().item(), scores.quantile(0.05).item(), seconds)


def as_image(masks: torch.Tensor) -> torch.Tensor:
    """Turn (B, H, W) bool masks into (B, 3, H, W) images of -1 and +1."""
    return (2.0 * masks[:, None].float() - 1.0).expand(-1, 3, -1, -1).contiguous()


def as_markdown(results: Sequence[PackResult]) -> str:
    lines = ["| pack | masks | mean Dice | 5th percentile | seconds an image |", "|---|---|---|---|---|"]
    lines += [
        f"| {result.pack} | {result.masks} | {result.mean_dice:.4f} | {result.fifth_percentile:.4f} "
        f"| {result.seconds:.3f} |"
        for result in results
    ]
    return "\n".join(lines)


def main() -> None:
    from napari_semigda.model.loading import load_autoencoder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="pack folders (each with masks/)")
    parser.add_argument("--preset", default="compact")
    parser.add_argument("--weights", type=Path, help="local weights of the autoencoder")
    parser.add_argument("--size", type=int, default=224, help="working size in pixels")
    parser.add_argument("--noise", type=float, default=0, help="noise on the latents, in their spreads")
    parser.add_argument("--limit", type=int, help="at most this many masks a pack")
    options = parser.parse_args()

    autoencoder = load_autoencoder(options.preset, options.weights)
    generator = torch.Generator().manual_seed(0)

    def round_trip(image: torch.Tensor) -> torch.Tensor:
        latent = autoencoder.encode(image).mean
        noise = torch.randn(latent.shape, generator=generator)
        return autoencoder.decode(latent + options.noise * latent.std() * noise)

    results = []
    for folder in options.data:
        if (folder / "masks").is_dir():
            results.append(measure(round_trip, folder, options.size, options.limit))
        else:
            print(f"{folder} left out: it has no folder 'masks'")
    print(
        f"preset {options.preset}, working size {options.size}, latent noise {options.noise}, "
        f"threads {torch.get_num_threads()}\n"
    )
    print(as_markdown(results))


if __name__ == "__main__":
    main()
