from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import pytest

from lesions_and_cells import generate

MakePack = Callable[..., Path]


@pytest.fixture
def make_pack(tmp_path) -> MakePack:
    """Write a pack of generated images; `groups` has for each its group of near-duplicates ("": none)."""

    def make(groups: list[str], name: str = "drawn", size: int = 40) -> Path:
        pack = tmp_path / name
        for folder in ("images", "masks"):
            (pack / folder).mkdir(parents=True)
        lines = ["stem,near_dup_group"]
        for number, group in enumerate(groups):
            image, truth = generate(number, "lesion", size=size)
            iio.imwrite(pack / "images" / f"{number:03}.png", image)
            iio.imwrite(pack / "masks" / f"{number:03}.png", truth * 255)
            lines.append(f"{number:03},{group}")
        (pack / "meta.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return pack

    return make
