"""Sample images bundled with the package, with exact masks: lesions and cells by turns.

`benchmarks/lesions_and_cells.py` generates them.
"""

from pathlib import Path

__all__ = ["SAMPLE_COUNT", "sample_pairs"]

SAMPLE_COUNT = 44
_HOME = Path(__file__).parent


def sample_pairs() -> list[tuple[Path, Path]]:
    """Return the paths of the bundled images and masks.

    44 pairs of PNG files of 128 × 128 pixels, 8 bit gray; masks hold 0 and 255. Lesions have even indices,
    cells odd ones.

    Examples
    --------
    >>> image, mask = sample_pairs()[0]
    >>> image.name
    'sample_00.png'
    """
    names = [f"sample_{number:02d}.png" for number in range(SAMPLE_COUNT)]
    return [(_HOME / "images" / name, _HOME / "masks" / name) for name in names]
