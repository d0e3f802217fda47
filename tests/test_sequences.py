"""Whatever an annotator does, and in whatever order: nothing is lost, nothing hangs."""

import pytest

import sequences


@pytest.mark.slow
def test_a_few_random_actions_leave_the_session_as_the_annotator_left_it() -> None:
    sequences.run(2)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_random_sequences_of_actions_leave_the_session_as_the_annotator_left_it() -> None:
    sequences.run(200)
