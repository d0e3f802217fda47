"""Reading ahead changes nothing but the time it takes: the next item is the one the queue would choose."""

import numpy as np
import pytest

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.predictor import Prediction
from napari_semigda.session.prefetch import Prefetch
from napari_semigda.session.ranking import ORDERS
from napari_semigda.session.session import Session


def store(session, item, score):
    blank = np.zeros(item.shape, np.uint8)
    nothing = np.zeros((2, 1, 1), np.float32)
    session.drafts.store(item, Prediction(nothing, blank, blank, score), 1)


@pytest.fixture
def scored(session: Session) -> Session:
    """A session whose items have drafts, the later ones surer."""
    for place, item in enumerate(session.items):
        store(session, item, 0.9 - place / 10)
    return session


@pytest.mark.parametrize("strategy", ORDERS)
@pytest.mark.parametrize("act", [Session.accept, Session.skip, None])
def test_what_was_found_ahead_is_what_comes(scored: Session, strategy, act) -> None:
    item, ahead = scored.items[1], Prefetch(scored)
    found = ahead.prepare(item, strategy)
    if act is Session.accept:
        scored.accept(item, np.zeros(item.shape, np.uint8))
    elif act is Session.skip:
        scored.skip(item)
    assert ahead.next_item(item, strategy) == scored.next_item(item, strategy)
    if act is not None:
        assert ahead.next_item(item, strategy) == found


def test_what_was_dealt_with_meanwhile_is_not_next(scored: Session) -> None:
    item, ahead = scored.items[1], Prefetch(scored)
    found = ahead.prepare(item, "uncertainty")
    assert found == scored.items[0]
    scored.accept(found, np.zeros(found.shape, np.uint8))
    scored.accept(item, np.zeros(item.shape, np.uint8))
    assert ahead.next_item(item, "uncertainty") == scored.items[2]


def test_the_picture_is_in_memory(scored: Session) -> None:
    ahead = Prefetch(scored)
    found = ahead.prepare(scored.items[1], "uncertainty")
    pixels = scored.picture(found).pixels
    scored.images.path(found).unlink()
    np.testing.assert_array_equal(ahead.picture(found).pixels, pixels)
    with pytest.raises(SemiGDAError):
        scored.picture(found)


def test_a_picture_that_cannot_be_read_is_told_when_it_is_shown(scored: Session) -> None:
    scored.images.path(scored.items[0]).unlink()
    ahead = Prefetch(scored)
    assert ahead.prepare(scored.items[1], "uncertainty") == scored.items[0]
    with pytest.raises(SemiGDAError):
        ahead.picture(scored.items[0])


def test_when_all_is_done_nothing_is_next(scored: Session) -> None:
    for item in scored.items[1:]:
        scored.skip(item)
    ahead = Prefetch(scored)
    assert ahead.prepare(scored.items[0], "mixed") is None
    assert ahead.next_item(scored.items[0], "mixed") is None
