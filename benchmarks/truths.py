"""Pictures whose true masks are known, for the scripts that work as an annotator does."""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.io import imread

from napari_semigda.samples import sample_pairs

Pairs = list[tuple[Path, Path]]


def ask_for_pictures(parser: argparse.ArgumentParser, count: int | None) -> None:
    """Let a command line say which pictures, and how many of them; None is all."""
    parser.add_argument("--samples", action="store_true", help="the drawn lesions bundled with the package")
    parser.add_argument("--images", type=Path, help="folder of images")
    parser.add_argument("--masks", type=Path, help="folder of their true masks, with the same names")
    parser.add_argument("--count", type=int, default=count, help="use so many of them, evenly over the list")


def chosen_pairs(arguments: argparse.Namespace) -> Pairs:
    """The pictures that a command line asks for, each with its mask."""
    if arguments.samples:
        pairs = drawn_lesions()
    elif arguments.images and arguments.masks:
        paths = sorted(path for path in arguments.images.iterdir() if path.is_file())
        pairs = [(path, arguments.masks / path.name) for path in paths]
    else:
        raise SystemExit("Say --samples, or --images and --masks.")
    places = np.linspace(0, len(pairs) - 1, min(arguments.count or len(pairs), len(pairs))).astype(int)
    return [pairs[place] for place in places]


def drawn_lesions() -> Pairs:
    """The lesions among the bundled samples, which alternate with cells."""
    return list(sample_pairs()[::2])


def collect(pairs: Pairs, images: Path) -> dict[str, Path]:
    """Copy the pictures into one new folder; return the true mask of each, by the picture's stem."""
    images.mkdir()
    for image, _ in pairs:
        (images / image.name).write_bytes(image.read_bytes())
    return {image.stem: mask for image, mask in pairs}


def true_mask(path: Path) -> NDArray[np.uint8]:
    """Read a true mask, (H, W) of 0 and 1."""
    mask = imread(path)
    return ((mask if mask.ndim == 2 else mask[..., 0]) > 0).astype(np.uint8)
