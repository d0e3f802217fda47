"""Accepted images kept for validation: not trained on, and compared with in a round's record."""

import json

import numpy as np
import pytest

from napari_semigda.errors import SemiGDAError
from napari_semigda.session.items import Status
from napari_semigda.session.rounds import Validation
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget, Recipe


@pytest.fixture
def accepted(session: Session) -> Session:
    """A session whose first three items are accepted."""
    for item in session.items[:3]:
        session.accept(item, np.zeros(item.shape, np.uint8))
    return session


def test_neither_stream_of_training_sees_it(accepted: Session) -> None:
    first, *others = accepted.items
    accepted.labels.keep_for_validation(first)
    labeled, unlabeled = accepted.examples()
    assert [item.id for item in labeled.items] == [item.id for item in others[:2]]
    assert first not in unlabeled.items
    assert accepted.labels.validation == [first]
    assert accepted.status(first) is Status.VALIDATION
    accepted.labels.keep_for_validation(first, False)
    assert first in accepted.examples()[0].items
    assert accepted.status(first) is Status.ACCEPTED


def test_it_is_in_the_manifest_and_remembered(accepted: Session) -> None:
    second = accepted.items[1]
    accepted.labels.keep_for_validation(second)
    accepted.close()
    assert json.loads((accepted.folder / "semigda.json").read_bytes())["validation"] == [second.id]
    with Session.open(accepted.folder) as again:
        assert again.labels.validation == [second]


def test_only_what_is_accepted_can_be_compared_with(accepted: Session) -> None:
    with pytest.raises(SemiGDAError, match="accept it first"):
        accepted.labels.keep_for_validation(accepted.items[3])
    assert accepted.labels.validation == []


def test_a_round_begun_before_goes_on_with_what_it_began_with(accepted: Session) -> None:
    record = accepted.rounds.begin(Recipe(), Budget(steps=4), 0, False)
    accepted.labels.keep_for_validation(accepted.items[0])
    assert accepted.items[0] in accepted.examples(record.labeled)[0].items
    assert accepted.items[0].id not in accepted.rounds.begin(Recipe(), Budget(steps=4), 0, False).labeled


def test_there_is_something_to_learn_while_not_all_is_kept(accepted: Session) -> None:
    for item in accepted.items[:3]:
        assert accepted.labels.to_learn_from()
        accepted.labels.keep_for_validation(item)
    assert not accepted.labels.to_learn_from()


def test_the_record_of_a_round_tells_how_it_did(accepted: Session) -> None:
    record = accepted.rounds.begin(Recipe(), Budget(steps=4), 0, False)
    assert (record.validation_dice, record.validation_images) == (None, 0)
    accepted.rounds.finish(record, "complete", steps=4, seconds=1, validation=Validation(0.75, 2))
    again = Session.open(accepted.folder).rounds[0]
    assert (again.validation_dice, again.validation_images) == (0.75, 2)
