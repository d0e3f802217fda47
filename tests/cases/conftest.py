"""Small sessions of images with any names, and what lies of them on the disk."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_semigda import ImageSettings, Session
from napari_semigda.io.masks import read_labels

SIZE = 40
NAMES = tuple(f"scan {number}.tif" for number in range(4))

MakeSession = Callable[..., Path]


def square(seed: int, value: int = 1) -> NDArray[np.uint8]:
    """A mask with a square, elsewhere for each seed."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    row, column = np.random.default_rng(seed).integers(2, SIZE // 2, 2)
    mask[row : row + SIZE // 3, column : column + SIZE // 3] = value
    return mask


def write_images(folder: Path, names: Sequence[str] = NAMES) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (SIZE, SIZE), np.uint8)
        tifffile.imwrite(folder / name, pixels)
    return folder


def stored_mask(session: Path, item_id: str) -> NDArray[np.uint8]:
    """The accepted mask as it lies on the disk."""
    return read_labels(session / "labels" / f"{item_id}.tif")


@pytest.fixture
def make_session(tmp_path: Path) -> MakeSession:
    """Make a session, accept a square in its first images, close it and return its folder."""

    def make(
        names: Sequence[str] = NAMES,
        classes: Sequence[str] = ("cell",),
        accepted: int = 2,
    ) -> Path:
        folder = tmp_path / "session"
        images = write_images(tmp_path / "images", names)
        settings = ImageSettings(working_size=32)
        with Session.create(folder, images, classes=classes, settings=settings) as session:
            for number, item in enumerate(session.items[:accepted]):
                session.accept(item, square(number))
        return folder

    return make
