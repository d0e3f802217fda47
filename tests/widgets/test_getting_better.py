"""Is it getting better? Images kept for validation, the effort of each round, and a plain sentence."""

import numpy as np
import pytest

from napari_semigda.inference.predictor import Prediction
from napari_semigda.session.items import Status
from napari_semigda.session.rounds import Validation
from napari_semigda.training.recipe import Budget, Recipe
from tests.widgets.conftest import paint


@pytest.fixture
def opened(widget, make_session):
    widget.controller.adopt(make_session())
    return widget


def store(session, place, round_number):
    item = session.items[place]
    draft = np.zeros(item.shape, np.uint8)
    draft[:8, :8] = 1
    nothing = np.zeros((2, 1, 1), np.float32)
    session.drafts.store(item, Prediction(nothing, draft, draft, 0.5), round_number)
    return draft


def test_an_accepted_image_is_kept_for_validation_at_the_press_of_a_button(opened, viewer, click):
    section, session = opened.image_panel, opened.controller.session
    section.jump.setValue(2)
    assert not section.validation.isEnabled()
    assert "Accept the mask first" in section.validation.toolTip()
    paint(viewer)
    click(opened.mask_panel.accept)
    section.validation.click()
    assert session.labels.validation == [session.items[1]]
    assert session.status(session.items[1]) is Status.VALIDATION
    assert not opened.train_panel.train.isEnabled()
    assert "not kept for validation" in opened.train_panel.train.toolTip()
    click(section.next)
    assert not section.validation.isChecked()
    click(section.previous)
    assert section.validation.isChecked()
    section.validation.click()
    assert session.labels.validation == []
    assert opened.train_panel.train.isEnabled()


def test_the_drafts_of_each_round_are_told_in_points_and_words(opened, viewer, click):
    session, rounds = opened.controller.session, opened.train_panel.rounds
    assert rounds.isHidden()
    opened.image_panel.jump.setValue(3)
    draft, _ = (store(session, place, round_number) for place, round_number in ((0, 1), (1, 2)))
    opened.image_panel.jump.setValue(1)
    painted = paint(viewer)
    click(opened.mask_panel.accept)
    assert rounds.words.text() == "The one draft you accepted so far needed more than 2 % changed."
    opened.image_panel.jump.setValue(2)
    click(opened.mask_panel.accept)
    assert rounds.words.text() == "Of the 2 drafts you accepted so far, 1 needed less than 2 % changed."
    assert rounds.effort.points == pytest.approx({1: 100 * (painted != draft).mean(), 2: 0}, abs=1e-3)
    assert not rounds.isHidden()
    assert rounds.dice.isHidden()


def test_validation_dice_is_drawn_round_by_round(opened, click):
    session, rounds = opened.controller.session, opened.train_panel.rounds
    click(opened.mask_panel.no_object)
    for dice in (0.5, 0.75):
        record = session.rounds.begin(Recipe(), Budget(steps=1), 0, False)
        session.rounds.finish(record, "complete", steps=1, seconds=1, validation=Validation(dice, 1))
    opened.controller.states_changed.emit()
    assert rounds.dice.points == {1: 50, 2: 75}
    assert "round 2: 75.0" in rounds.dice.toolTip()
