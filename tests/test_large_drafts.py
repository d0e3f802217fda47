"""Drafts of large images: from a TIFF or an OME-Zarr, with progress, and canceled halfway."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_semigda.engine.engine import Engine
from napari_semigda.engine.events import Drafting, Predicted
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io import bands
from napari_semigda.model.checkpoint import save_checkpoint
from napari_semigda.model.network import SemiGDANet
from napari_semigda.session.rounds import MODEL
from napari_semigda.session.session import Session
from tests.engines import drain
from tests.stores import noise, write_store

SETTINGS = ImageSettings(working_size=32, framing="tiles")
PIXELS = noise((330, 300)) * 2


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "LARGE", 100)


@pytest.fixture
def session_of(tmp_path: Path) -> Callable[..., Session]:
    """Makes a session of picture files with weights that are not trained."""

    def made(*files: Path) -> Session:
        session = Session.create(tmp_path / f"session of {files[0].name}", files, settings=SETTINGS)
        model = session.rounds.folder(1) / MODEL
        model.parent.mkdir(parents=True)
        metadata = {"settings": SETTINGS.to_dict(), "round": 1}
        save_checkpoint(model, SemiGDANet("compact", seed=0), metadata)
        return session

    return made


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "slide.ome.zarr", PIXELS, "yx", version="0.5", chunks=(64, 64))


def test_a_store_is_drafted_like_a_tiff(
    session_of: Callable[..., Session], store: Path, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "slide.tif", PIXELS, tile=(64, 64), compression="zlib")
    drafts = []
    for file in (store, tmp_path / "slide.tif"):
        session = session_of(file)
        engine = Engine(session, "cpu")
        engine.request_drafts(session.items)
        assert [type(event) for event in drain(engine)] == [Predicted]
        drafts.append(session.prediction(session.items[0]))
        assert drafts[-1] is not None
    np.testing.assert_array_equal(*drafts)


def test_the_progress_of_a_large_draft_is_reported(session_of: Callable[..., Session], store: Path) -> None:
    session = session_of(store)
    seconds = iter(range(1_000_000))
    told = []

    def note(event: object) -> None:
        if isinstance(event, Drafting):
            told.append((event.share, engine.drafts))

    engine = Engine(session, "cpu", on_progress=note, clock=lambda: next(seconds))
    engine.request_drafts(session.items)
    assert engine.drafts.total == 1
    drain(engine)
    shares = [share for share, _ in told]
    assert shares == sorted(set(shares))
    assert 0 < shares[0] < shares[-1] < 1
    assert all((drafts.done, drafts.total) == (share, 1) for share, drafts in told)
    left = [drafts.remaining for _, drafts in told if drafts.remaining is not None]
    assert left == sorted(left, reverse=True)
    assert left[-1] < 3  # the clock goes on by one each time it is asked
    assert (engine.drafts.done, engine.drafts.total) == (1, 1)


def test_a_large_draft_can_be_canceled_halfway_and_requested_again(
    session_of: Callable[..., Session], store: Path, tmp_path: Path
) -> None:
    other = write_store(tmp_path / "other.zarr", PIXELS, "yx", chunks=(64, 64))
    session = session_of(store, other)
    shares = []

    def cancel(event: object) -> None:
        if isinstance(event, Drafting):
            shares.append(event.share)
            engine.cancel_drafts()

    engine = Engine(session, "cpu", on_progress=cancel)
    engine.request_drafts(session.items)
    assert drain(engine) == []
    assert len(shares) == 1
    assert engine.drafts.total == 0
    assert session.prediction(session.items[0]) is None
    again = Engine(session, "cpu")
    again.request_drafts(session.items)
    assert [type(event) for event in drain(again)] == [Predicted, Predicted]
