"""Small sessions of real files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_semigda.inference.predictor import Prediction
from napari_semigda.session.session import Session


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with six pictures of different kinds and sizes."""
    random = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for number in range(1, 4):
        pixels = random.integers(0, 255, (40, 30 + number), np.uint8)
        Image.fromarray(pixels).save(folder / f"image {number}.png")
    tifffile.imwrite(
        folder / "more" / "stack.tif",
        random.integers(0, 4000, (3, 24, 32)).astype(np.uint16),
        imagej=True,
        resolution=(4, 2),
        metadata={"axes": "ZYX", "unit": "um"},
    )
    return folder


@pytest.fixture
def session(tmp_path: Path, pictures: Path) -> Session:
    """A session of these pictures: image_1 … image_3, stack_p0001 … stack_p0003."""
    return Session.create(tmp_path / "session", pictures)


@pytest.fixture
def predict() -> Callable[..., Prediction]:
    """Make a prediction out of a label map and a score."""

    def made(labels: NDArray[np.integer], score: float = 0.5) -> Prediction:
        foreground = labels.astype(np.float32)
        return Prediction(
            probabilities=np.stack([1 - foreground, foreground]),
            labels=labels.astype(np.uint8),
            uncertainty=np.full(labels.shape, 0.25, np.float32),
            score=score,
        )

    return made


@pytest.fixture
def labeled(session: Session, predict: Callable[..., Prediction]) -> Session:
    """image_1 and stack_p0002 accepted, image_2 predicted, image_3 skipped, the rest untouched."""
    for item_id in ("image_1", "stack_p0002"):
        mask = np.zeros(session.item(item_id).shape, np.uint8)
        mask[5:15, 5:15] = 1
        mask[20:] = 255
        session.accept(item_id, mask)
        session.drafts.store(item_id, predict(np.ones(mask.shape, np.uint8)), 1)
    for item_id in ("image_2", "image_3"):
        session.drafts.store(item_id, predict(np.ones(session.item(item_id).shape, np.uint8)), 1)
    session.skip("image_3")
    return session
