"""The engine describes a session's pictures for the queue, without training and out of the way."""

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


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Six bundled samples, seen small."""
    images = [image for image, _ in sample_pairs()[:6]]
    return Session.create(tmp_path / "session", images, settings=ImageSettings(working_size=32))


def drain(engine: Engine) -> list:
    events = []
    while engine.start_work():
        events += engine.work()
    return events


def described(session: Session) -> list[bool]:
    return [item.id in session.latents for item in session.items]


def test_pictures_are_described_before_anything_is_trained(session: Session) -> None:
    engine = Engine(session, "cpu")
    engine.request_features()
    assert drain(engine) == []
    assert all(described(session))
    assert all(described(Session.open(session.folder)))  # written without being asked
    vectors, _ = session.latents.vectors()
    assert len(np.unique(vectors, axis=0)) == 6


def test_nothing_is_described_twice(session: Session) -> None:
    engine = Engine(session, "cpu")
    engine.request_features()
    drain(engine)
    for opened in (session, Session.open(session.folder)):
        engine = Engine(opened, "cpu")
        engine.request_features()
        assert not engine.start_work()


def test_a_picture_that_cannot_be_read_goes_without(tmp_path: Path) -> None:
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
    assert described(session) == [True, True, False, True]
    assert session.next_item() is not None


def test_nobody_downloads_an_autoencoder_by_looking_at_pictures(tmp_path: Path) -> None:
    images = [image for image, _ in sample_pairs()[:2]]
    engine = Engine(Session.create(tmp_path / "session", images, preset="taesd"), "cpu")
    engine.request_features()
    assert not engine.start_work()


def test_describing_ends_when_the_engine_is_closed(session: Session) -> None:
    engine = Engine(session, "cpu")
    engine.request_features()
    engine.close()
    assert drain(engine) == []
    assert not any(described(session))


def test_pictures_seen_in_another_way_are_described_anew(session: Session) -> None:
    engine = Engine(session, "cpu")
    engine.request_features()
    drain(engine)
    before, _ = session.latents.vectors()
    session.settings = ImageSettings(working_size=64)
    engine.request_features()
    drain(engine)
    after, known = session.latents.vectors()
    assert known.all()
    assert np.abs(before - after).max(axis=1).min() > 0.01


@pytest.mark.slow
def test_drafts_and_accepted_images_are_described_along_with_a_round(session: Session) -> None:
    session.accept(session.items[0], np.ones(session.items[0].shape, np.uint8))
    engine = Engine(session, "cpu")
    engine.request_round(budget=Budget(steps=3))
    events = drain(engine)
    assert [type(event) for event in events].index(RoundEnded) < len(events) - 1
    assert len([event for event in events if isinstance(event, Predicted)]) == 5
    assert all(described(session))
