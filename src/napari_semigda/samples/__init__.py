"""Images bundled with the package, made by its own generator, with exact truth.

Lesions (even numbers) and cells (odd numbers) alternate.
``python -m napari_semigda.samples`` writes them anew.
"""

from __future__ import annotations

from pathlib import Path

from napari_semigda.samples.generator import KINDS, generate

__all__ = ["KINDS", "SAMPLE_COUNT", "generate", "sample_pairs", "write_samples"]

SAMPLE_COUNT = 44
SAMPLE_SIZE = 128
_HOME = Path(__file__).parent


def sample_pairs() -> list[tuple[Path, Path]]:
    """Give the bundled samples.

    Returns
    -------
    list of (image path, mask path)
        44 pairs of PNG files of 128 × 128 pixels, 8 bit gray; masks hold 0 and 255.
    """
    names = [f"sample_{number:02d}.png" for number in range(SAMPLE_COUNT)]
    return [(_HOME / "images" / name, _HOME / "masks" / name) for name in names]


def write_samples(folder: Path) -> None:
    """Write all samples into ``folder/images`` and ``folder/masks``, over what is there.

    Parameters
    ----------
    folder
        Created if needed.
    """
    import imageio.v3 as iio

    for subfolder in ("images", "masks"):
        (folder / subfolder).mkdir(parents=True, exist_ok=True)
    for number, (image_path, mask_path) in enumerate(sample_pairs()):
        image, truth = generate(number, KINDS[number % len(KINDS)], SAMPLE_SIZE)
        iio.imwrite(folder / "images" / image_path.name, image)
        iio.imwrite(folder / "masks" / mask_path.name, truth * 255)
