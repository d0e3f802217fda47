"""Clocks go back, and files come from computers with wrong clocks: nothing that counts depends on them."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_semigda.io.masks import write_labels
from napari_semigda.model.checkpoint import save_checkpoint
from napari_semigda.model.network import SemiGDANet
from napari_semigda.session.export import Existing, Export
from napari_semigda.session.journal import JournalEntry
from napari_semigda.session.rounds import MODEL
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget, Recipe

YEARS = 10 * 365 * 24 * 3600


@pytest.fixture(params=[-YEARS, YEARS], ids=["long ago", "in the future"])
def moved(request: pytest.FixtureRequest):
    """Sets the time of a file as a clock that is ten years wrong would have."""

    def set_time(path: Path) -> None:
        os.utime(path, (time.time() + request.param,) * 2)

    return set_time


def mask_of(session: Session, item: str, value: int = 1) -> NDArray[np.uint8]:
    return np.full(session.item(item).shape, value, np.uint8)


def test_a_session_opens_as_it_was_whatever_the_times_of_its_files(labeled: Session, moved) -> None:
    labeled.labels.keep_edit("image_2", mask_of(labeled, "image_2"))
    labeled.close()
    for path in labeled.folder.rglob("*"):
        if path.is_file():
            moved(path)
    with Session.open(labeled.folder) as again:
        assert again.states() == labeled.states()
        for item in again.items:
            np.testing.assert_array_equal(again.labels.get(item), labeled.labels.get(item))
            np.testing.assert_array_equal(
                again.labels.starting_mask(item), labeled.labels.starting_mask(item)
            )
        assert again.warnings == ()


def test_a_mask_of_another_program_is_taken_over_whatever_its_time(session: Session, moved) -> None:
    path = session.folder / "labels" / "image_1.tif"
    session.accept("image_1", mask_of(session, "image_1"))
    session.labels.starting_mask("image_1")
    write_labels(path, theirs := mask_of(session, "image_1", 0), (1.0, 1.0), "pixel")
    moved(path)
    np.testing.assert_array_equal(session.labels.starting_mask("image_1"), theirs)
    assert "changed by another program" in session.warnings[-1]


def test_an_export_writes_what_changed_whatever_the_times(session: Session, tmp_path: Path, moved) -> None:
    for item in ("image_1", "image_2"):
        session.accept(item, mask_of(session, item))
        moved(session.folder / "labels" / f"{item}.tif")
    Export(session, tmp_path / "out").run()
    session.accept("image_1", mask_of(session, "image_1", 0))
    moved(session.folder / "labels" / "image_1.tif")
    report = Export(session, tmp_path / "out").run(Existing.UPDATE)
    assert [path.name for path in report.written] == ["image 1_mask.tif"]
    assert [path.name for path in report.kept] == ["image 2_mask.tif"]


def test_the_newest_weights_are_those_of_the_last_round_whatever_their_time(session: Session, moved) -> None:
    session.accept("image_1", mask_of(session, "image_1"))
    for _ in range(2):
        record = session.rounds.begin(Recipe(), Budget(steps=1), 0, warm=False)
        save_checkpoint(session.rounds.folder(record.number) / MODEL, SemiGDANet("compact", 2), {})
        session.rounds.finish(record, "complete", steps=1, seconds=1.0)
        assert session.rounds.last_model() == session.rounds.folder(record.number) / MODEL
    moved(session.rounds.folder(2) / MODEL)
    assert session.rounds.last_model() == session.rounds.folder(2) / MODEL


def test_what_happened_last_stands_last_in_the_journal_whatever_its_time(session: Session) -> None:
    tomorrow = JournalEntry("2099-01-01T00:00:00.000+00:00", "image_1", "accepted", 0.5, 0.25, 1)
    (session.folder / "journal.jsonl").write_text(json.dumps(asdict(tomorrow)) + "\n")
    session.accept("image_1", mask_of(session, "image_1"))
    assert [entry.time > "2090" for entry in session.labels.journal()] == [True, False]
    assert session.labels.effort("image_1") is None, "accepted again, without a draft"
    assert [draft.round for draft in session.labels.accepted_drafts()] == [1]
