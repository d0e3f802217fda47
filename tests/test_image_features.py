"""The engine extracts the image features that the queue compares images by, without training."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_semigda.engine.engine import Engine
from napari_semigda.engine.events import Predicted, RoundEnded
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.samples import sample_pairs
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget
from tests.engines import drain, sample_session


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return sample_session(tmp_path / "session", accepted=0)


def has_features(session: Session) -> list[bool]:
    return [item.id in session.features for item in session.items]


def test_features_are_extracted_before_anything_is_trained(session: Session) -> None:
    engine = Engine(session, "cpu")
    engine.request_features()
    assert drain(engine) == []
    assert all(has_features(session))
    assert all(has_features(Session.open(session.folder)))  # written without being asked
    vectors, _ = session.features.vectors()
    assert len(np.unique(vectors, axis=0)) == 6


def test_no_features_are_extracted_twice(session: Session) -> None:
    engine = Engine(session, "cpu")
    engine.request_features()
    drain(engine)
    for opened in (session, Session.open(session.folder)):
        engine = Engine(opened, "cpu")
        engine.request_features()
        assert not engine.start_work()


def test_an_unreadable_image_goes_without_features(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        tifffile.imwrite(folder / f"{number}.tif", np.full((40, 50), number * 20, np.uint8))
    session = Session.create(tmp_path / "session", folder, settings=ImageSettings(working_size=32))
    (folder / "2.tif").unlink()
    engine = Engine(session, "cpu")
    for _ in range(2):  # nor is it tried again and again
        engine.request_features()
        drain(engine)
    assert has_features(session) == [True, True, False, True]
    assert session.next_item() is not None


def test_nobody_downloads_an_autoencoder_by_looking_at_images(tmp_path: Path) -> None:
    images = [image for image, _ in sample_pairs()[:2]]
    engine = Engine(Session.create(tmp_path / "session", images, preset="taesd"), "cpu")
    engine.request_features()
    assert not engine.start_work()


def test_extraction_ends_when_the_engine_is_closed(session: Session) -> None:
    engine = Engine(session, "cpu")
    engine.request_features()
    engine.close()
    assert drain(engine) == []
    assert not any(has_features(session))


def test_other_settings_need_other_features(session: Session) -> None:
    engine = Engine(session, "cpu")
    engine.request_features()
    drain(engine)
    before, _ = session.features.vectors()
    session.update(settings=ImageSettings(working_size=64))
    engine.request_features()
    drain(engine)
    after, known = session.features.vectors()
    assert known.all()
    assert np.abs(before - after).max(axis=1).min() > 0.01


@pytest.mark.slow
def test_drafts_and_accepted_images_get_features_with_a_round(session: Session) -> None:
    session.accept(session.items[0], np.ones(session.items[0].shape, np.uint8))
    engine = Engine(session, "cpu")
    engine.request_round(budget=Budget(steps=3))
    events = drain(engine)
    assert [type(event) for event in events].index(RoundEnded) < len(events) - 1
    assert len([event for event in events if isinstance(event, Predicted)]) == 5
    assert all(has_features(session))
