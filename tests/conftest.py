"""What all tests share, such as a session with a round that is trained once in each process."""

import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

# A deadline for each example says how busy the machine is.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A nightly test is a slow one, too, so that `-m "not slow"` leaves it out."""
    for item in items:
        if item.get_closest_marker("nightly"):
            item.add_marker(pytest.mark.slow)


def disc(seed: int, size: int = 48) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A gray image with a bright disc, and its mask (0 and 255)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    row, column = rng.uniform(15, size - 15, 2)
    truth = (rows - row) ** 2 + (columns - column) ** 2 < 10**2
    image = truth * 120 + 60 + rng.normal(0, 10, truth.shape)
    return image.clip(0, 255).astype(np.uint8), (truth * 255).astype(np.uint8)


def write_discs(folder: Path, count: int = 6) -> None:
    """Write `images/scan 0.png` … below a folder, and masks of the same names into `masks/`."""
    for number in range(count):
        for name, pixels in zip(("images", "masks"), disc(number), strict=True):
            (folder / name).mkdir(exist_ok=True)
            iio.imwrite(folder / name / f"scan {number}.png", pixels)


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six discs, and in `session/` two accepted masks, one round and four drafts; no test may change them."""
    from napari_semigda import ImageSettings, Session, train_round

    folder = tmp_path_factory.mktemp("trained")
    write_discs(folder)
    settings = ImageSettings(working_size=32)
    with Session.create(folder / "session", folder / "images", settings=settings) as session:
        for item in session.items[:2]:
            session.accept(item, iio.imread(folder / "masks" / item.name) > 0)
        list(train_round(session, steps=3, device="cpu"))
    return folder


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Path:
    """A copy of `trained_once` that a test may change."""
    return Path(shutil.copytree(trained_once, tmp_path / "trained"))
