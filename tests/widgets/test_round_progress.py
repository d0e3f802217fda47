"""What the train section says in words, event by event."""

import numpy as np
import pytest

from napari_semigda.engine.events import (
    Drafting,
    DraftProgress,
    ModelLoading,
    Predicted,
    RoundEnded,
    RoundFailed,
    RoundStarted,
    Stepped,
)
from napari_semigda.session.rounds import RoundRecord
from napari_semigda.session.session import Session
from napari_semigda.training.round import StepReport
from napari_semigda.widgets.panels.round_progress import Phase, RoundProgress, duration, in_words


def record(status="running", **values):
    known = {"recipe": {}, "budget": {}, "seed": 0, "warm": False, "started_from": "", "unlabeled": 9}
    return RoundRecord(number=3, status=status, stages=(1, 2), labeled=("a", "b"), **known, **values)


def step(stage, number, fraction=0.5, **losses):
    return StepReport(stage, number, None, fraction, losses, 1e-3, 0.1)


@pytest.fixture
def session(make_session):
    return make_session(2)


def test_without_a_session_it_says_so():
    assert in_words(RoundProgress(), None) == "Open a session first."


def test_fetching_weights_is_told_in_megabytes(session):
    progress = RoundProgress()
    progress.requested()
    progress.take(ModelLoading("Fetching the autoencoder", 5 * 2**20, 10 * 2**20))
    assert in_words(progress, session) == "Fetching the autoencoder: 5 of 10 MiB."
    progress.take(RoundStarted(record()))
    assert in_words(progress, session) == "Round 3 is starting…"


def test_a_running_round_tells_stage_step_and_what_is_left(session):
    progress = RoundProgress()
    progress.requested()
    progress.take(RoundStarted(record()))
    progress.take(Stepped(record(), step(2, 7), remaining=40.0))
    assert in_words(progress, session) == "Round 3, learning masks: step 7. About 40 seconds left."


def test_curves_go_over_both_stages_with_gaps_where_a_stage_has_no_such_loss():
    progress = RoundProgress()
    progress.take(Stepped(record(), step(1, 1, alignment=2.0, total=2.0), remaining=None))
    progress.take(Stepped(record(), step(2, 1, dice=0.7, total=0.7), remaining=None))
    assert progress.steps == 2
    assert progress.curves["total"] == [2.0, 0.7]
    assert progress.curves["dice"] == [pytest.approx(float("nan"), nan_ok=True), 0.7]


def test_pausing_and_stopping_are_not_taken_back_by_a_step_on_its_way(session):
    progress = RoundProgress()
    progress.take(RoundStarted(record()))
    for ask, phase in ((progress.pausing, Phase.PAUSING), (progress.stopping, Phase.STOPPING)):
        ask()
        progress.take(Stepped(record(), step(2, 8, total=1.0), remaining=3.0))
        assert progress.phase is phase


def test_the_end_tells_what_became_of_the_round(session):
    progress = RoundProgress()
    progress.take(RoundEnded(record("stopped", steps=12, seconds=30.0)))
    progress.rest(paused=False)
    assert in_words(progress, session) == (
        "Round 3 was stopped and can be resumed (12 steps in 30 s, 2 accepted masks)."
    )


def test_a_failure_says_why(session):
    progress = RoundProgress()
    progress.requested()
    progress.take(RoundFailed(record("failed"), "The disk is full."))
    progress.rest(paused=False)
    assert in_words(progress, session) == "The disk is full."
    assert not progress.active


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (119, "119 s"), (150, "2 min"), (3540, "59 min"), (5000, "1 h 23 min")],
)
def test_durations_are_told_as_people_say_them(seconds, words):
    assert duration(seconds) == words


def test_drafts_in_the_background_tell_how_many_there_are_and_what_is_left(session):
    progress = RoundProgress()
    item = session.items[0]
    progress.take(RoundEnded(record("complete", steps=12, seconds=30.0)))
    assert in_words(progress, session).endswith("Drafting…")
    progress.take(Predicted(item, None), DraftProgress(3, 300, None))
    assert in_words(progress, session).endswith("Drafting: 3 of 300.")
    progress.take(Predicted(item, None), DraftProgress(30, 300, 170.0))
    assert in_words(progress, session).endswith("Drafting: 30 of 300. About 3 minutes left.")
    assert progress.share == pytest.approx(0.1)
    progress.rest(paused=False)
    assert progress.share is None


def test_one_large_draft_tells_its_share(session):
    progress = RoundProgress()
    progress.take(Drafting(session.items[0], 0.25), DraftProgress(0.25, 1, 60.0))
    assert in_words(progress, session) == "Drafting: 25 %. About 1 minute left."


def test_before_the_first_round_it_says_how_many_masks_make_a_good_start(make_session):
    session = make_session(6)
    for item in session.items[:4]:
        session.accept(item, np.ones(item.shape, np.uint8))
    assert "4 accepted. Five images as different" in in_words(RoundProgress(), session)
    fifth = session.items[4]
    session.accept(fifth, np.ones(fifth.shape, np.uint8))
    assert in_words(RoundProgress(), session) == "Not trained yet, 5 accepted: enough for a first round."


def test_where_nothing_can_be_saved_nobody_is_told_to_train(make_session):
    with make_session(6) as session, Session.open(session.folder) as second:
        assert in_words(RoundProgress(), second) == "Not trained yet."
