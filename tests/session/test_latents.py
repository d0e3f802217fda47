"""Pooled latents outlast the program, and are never worth more than the time to compute them again."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.session.layout import LATENTS
from napari_semigda.session.session import Session

DESCRIBER = {"cells": 4, "settings": ImageSettings().to_dict(), "autoencoder": [0.5, -0.25]}


@pytest.fixture
def described(session: Session) -> Session:
    """Image features (1, 1, 1), (2, 2, 2), … of the first four of six items."""
    session.features.begin(DESCRIBER)
    for number, item in enumerate(session.items[:4], start=1):
        session.features.store(item.id, np.full(3, number))
    return session


def known(session: Session) -> list[float]:
    vectors, are_known = session.features.vectors()
    return [float(row[0]) for row in vectors[are_known]]


def test_a_latent_is_there_again_after_opening(described: Session) -> None:
    described.close()
    again = Session.open(described.folder)
    assert known(again) == [1, 2, 3, 4]
    assert [item.id in again.features for item in again.items] == [True] * 4 + [False] * 2


def test_latents_are_written_now_and_then_without_being_asked(tmp_path: Path) -> None:
    arrays = {f"i{number:03}": (np.zeros((2, 2), np.uint8), (1.0, 1.0), "pixel") for number in range(100)}
    session = Session.from_arrays(tmp_path / "session", arrays)
    session.features.begin(DESCRIBER)
    file, written = session.folder / LATENTS, set()
    for item in session.items:
        session.features.store(item.id, np.ones(3))
        if file.exists():
            written.add(len(load_file(file)["latents"]))
    assert len(known(Session.open(session.folder))) >= 64
    assert len(written) <= 4


def test_another_describer_begins_anew(described: Session) -> None:
    assert not described.features.begin(DESCRIBER | {"autoencoder": [0.5001, -0.25]})
    assert len(known(described)) == 4
    assert described.features.begin(DESCRIBER | {"autoencoder": [0.9, -0.25]})
    assert known(described) == []
    described.features.store(described.items[0].id, np.full(5, 7.0))
    assert known(described) == [7]


def test_seeing_pictures_in_another_way_forgets_what_they_looked_like(described: Session) -> None:
    described.features.save()
    described.update(settings=ImageSettings(working_size=64))
    assert known(described) == []
    assert known(Session.open(described.folder)) == []


@pytest.mark.parametrize("what", ["gone", "half", "no latents", "fewer ids", "ids of no kind", "not finite"])
def test_a_file_of_no_use_counts_as_none(described: Session, what: str) -> None:
    described.close()
    file = described.folder / LATENTS
    header = {
        "signature": json.dumps(DESCRIBER),
        "ids": json.dumps([item.id for item in described.items[:4]]),
    }
    match what:
        case "gone":
            file.unlink()
        case "half":
            file.write_bytes(file.read_bytes()[:100])
        case "no latents":
            save_file({"others": np.zeros((4, 3), np.float16)}, file, metadata=header)
        case "fewer ids":
            save_file({"latents": np.zeros((5, 3), np.float16)}, file, metadata=header)
        case "ids of no kind":
            save_file(
                {"latents": np.zeros((4, 3), np.float16)}, file, metadata=header | {"ids": "[[1], 2, 3, 4]"}
            )
        case "not finite":
            save_file({"latents": np.full((4, 3), np.nan, np.float16)}, file, metadata=header)
    again = Session.open(described.folder)
    assert known(again) == []
    again.features.begin(DESCRIBER)
    again.features.store(again.items[0].id, np.full(3, 2.0))
    again.close()
    assert known(Session.open(described.folder)) == [2]


def test_latents_of_items_that_are_gone_are_passed_over(described: Session) -> None:
    header = {"signature": json.dumps(DESCRIBER), "ids": json.dumps(["elsewhere", described.items[1].id])}
    save_file({"latents": np.array([[1], [5]], np.float16)}, described.folder / LATENTS, metadata=header)
    assert known(Session.open(described.folder)) == [5]


def test_what_is_no_number_does_no_harm(described: Session) -> None:
    described.features.store(described.items[0].id, np.array([np.nan, np.inf, 1e9]))
    vectors, _ = described.features.vectors()
    assert np.isfinite(vectors).all()


def test_distances_are_those_to_the_nearest_of_what_was_seen(described: Session) -> None:
    """Image features are (1, 1, 1) … (4, 4, 4): their squared distance is 3 times that of the numbers."""
    ask = described.features.distance_to

    def seen(*places: int) -> np.ndarray:
        return np.isin(np.arange(6), places)

    assert np.isinf(ask(seen())).all()
    assert ask(seen(1))[:4].tolist() == [3, 0, 3, 12]
    assert ask(seen(1, 3))[:4].tolist() == [3, 0, 3, 0]
    assert ask(seen(0))[:4].tolist() == [0, 3, 12, 27]
    assert np.isinf(ask(seen(5))).all()  # its latent is not known
    described.features.store(described.items[2].id, np.full(3, 9.0))
    assert ask(seen(1))[:4].tolist() == [3, 0, 147, 12]
