import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import resources
from itertools import count
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import torch
from skimage.measure import label

from napari_semigda.engine.engine import Engine
from napari_semigda.engine.events import (
    Event,
    FramingFitted,
    Mapped,
    MappingFailed,
    Predicted,
    PredictionFailed,
    RoundEnded,
    RoundFailed,
    RoundNotSaved,
    RoundPaused,
    RoundStarted,
    Stepped,
)
from napari_semigda.engine.rounds import REFRESH_SHARE
from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings, Pixels
from napari_semigda.model.checkpoint import read_metadata
from napari_semigda.model.network import SemiGDANetwork
from napari_semigda.samples import sample_pairs
from napari_semigda.session.items import Item, ItemState
from napari_semigda.session.journal import effort
from napari_semigda.session.rounds import read_curves
from napari_semigda.session.session import Session
from napari_semigda.session.trained_model import TrainedModel
from napari_semigda.training.recipe import Budget

#: Each trains a real round or two; the quick part of the suite meets the engine in the command line's tests.
pytestmark = pytest.mark.slow

STEPS = 4


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Six bundled samples, seen small; the first two are accepted."""
    pairs = sample_pairs()[:6]
    made = Session.create(
        tmp_path / "session", [image for image, _ in pairs], settings=ImageSettings(working_size=32)
    )
    for item, (_, mask) in list(zip(made.items, pairs, strict=True))[:2]:
        made.accept(item, (iio.imread(mask) > 0).astype(np.uint8))
    return made


@pytest.fixture
def untrained(session: Session, tmp_path: Path) -> Session:
    """The session with an autoencoder of its own: nothing that was trained for another fits beside it."""
    shipped = resources.files("napari_semigda.model") / "weights" / "compact.safetensors"
    own = tmp_path / "own.safetensors"
    own.write_bytes(shipped.read_bytes())
    session.weights = own
    return session


@pytest.fixture
def engine(session: Session) -> Engine:
    return Engine(session, "cpu")


def drain(engine: Engine, react: Callable[[Event], None] = lambda _: None) -> list[Event]:
    """Let the engine work in this thread until nothing is left to do."""
    events = []
    while engine.start_work():
        for event in engine.work():
            events.append(event)
            react(event)
    return events


def of(kind: type, events: list[Event]) -> list:
    return [event for event in events if isinstance(event, kind)]


def is_step_of(stage: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Stepped) and event.report.stage == stage


def tensors_alive() -> int:
    """Elements of all tensors that anything still refers to."""
    gc.collect()
    return sum(thing.nelement() for thing in gc.get_objects() if isinstance(thing, torch.Tensor))


def train(engine: Engine, **options: object) -> list[Event]:
    engine.request_round(budget=Budget(steps=STEPS), **options)  # type: ignore[arg-type]
    return drain(engine)


def test_an_engine_without_requests_has_nothing_to_do(engine: Engine) -> None:
    assert not engine.start_work()


def test_a_first_round_sees_thin_objects_in_windows_where_that_was_left_open(tmp_path: Path) -> None:
    picture = np.tile(np.arange(600) // 8 % 2 * 200, (600, 1)).astype(np.uint8)
    made = Session.from_arrays(tmp_path / "session", {"bars": (picture, (1.0, 1.0), "pixel")})
    made.accept(made.items[0], (picture > 0).astype(np.uint8))
    engine = Engine(made, "cpu")
    (fitted,) = of(FramingFitted, train(engine))
    assert "in windows of 128 pixels" in fitted.message
    assert made.settings.framing == "tiles"
    made.close()
    again = Session.open(made.folder)
    assert again.settings.framing == "tiles"
    again.accept(again.items[0], np.pad(np.ones((400, 400), np.uint8), 100))
    later = Engine(again, "cpu")
    assert not of(FramingFitted, train(later)), "weights are used to objects of this size"
    assert of(FramingFitted, train(later, fresh=True))
    assert again.settings.framing == "whole"


def test_weights_go_on_seeing_as_they_were_trained_when_the_framing_was_fitted_anew(tmp_path: Path) -> None:
    bars = np.tile(np.arange(600) // 8 % 2 * 200, (600, 1)).astype(np.uint8)
    pictures = dict.fromkeys(("first", "second"), (bars, (1.0, 1.0), "pixel"))
    session = Session.from_arrays(tmp_path / "session", pictures)
    first, second = session.items
    session.accept(first, (bars > 0).astype(np.uint8))
    train(Engine(session, "cpu"))
    before = session.prediction(second)
    session.accept(first, np.pad(np.ones((400, 400), np.uint8), 100))
    assert session.fit_framing() is not None, "a round started afresh that came to nothing"
    engine = Engine(session, "cpu")
    engine.request_drafts([second])
    assert of(Predicted, drain(engine))
    np.testing.assert_array_equal(session.prediction(second), before)


def test_a_framing_that_the_annotator_chose_stays(engine: Engine, session: Session) -> None:
    chosen = session.settings
    assert not session.framing_by_objects
    assert not of(FramingFitted, train(engine))
    assert session.settings == chosen


def test_a_round_trains_then_drafts_everything_not_accepted(engine: Engine, session: Session) -> None:
    events = train(engine)
    assert isinstance(events[0], RoundStarted)
    assert [event.report.step for event in of(Stepped, events)] == [1, 2, 3, 4]
    (ended,) = of(RoundEnded, events)
    assert (ended.record.status, ended.record.steps) == ("complete", STEPS)
    assert {event.item.id for event in of(Predicted, events)} == {item.id for item in session.items[2:]}
    assert session.counts()[ItemState.DRAFT] == 4
    assert session.prediction(session.items[2]).shape == session.items[2].shape


def test_the_weights_of_a_round_know_what_they_are_for(engine: Engine, session: Session) -> None:
    train(engine)
    metadata = read_metadata(session.last_model())
    assert metadata["class_names"] == ["object"]
    assert metadata["settings"] == session.settings.to_dict()


def test_a_round_tells_how_it_does_on_images_kept_for_validation(engine: Engine, session: Session) -> None:
    first, second = session.items[:2]
    session.keep_for_validation(second)
    engine.request_round(budget=Budget(steps=STEPS))
    (ended,) = of(RoundEnded, drain(engine))
    assert ended.record.labeled == (first.id,)
    assert ended.record.validation_images == 1
    session.keep_for_validation(second, False)
    engine.request_drafts([second])
    drain(engine)
    dice, _ = effort(session.prediction(second), session.labels(second), session.class_count)
    assert ended.record.validation_dice == pytest.approx(dice, abs=1e-6)


def test_a_draft_asked_for_while_a_round_is_validated_does_not_wait_for_the_end(
    engine: Engine, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, (_, second, third, fourth) = session.labels, session.items[:4]
    session.accept(third, np.ones(third.shape, np.uint8))
    for item in (second, third):
        session.keep_for_validation(item)

    def ask_and_read(item):
        if item == second:  # the first that is compared
            engine.request_drafts([fourth], urgent=True)
        return read(item)

    monkeypatch.setattr(session, "labels", ask_and_read)
    engine.request_round(budget=Budget(steps=STEPS))
    events = drain(engine)
    assert of(Predicted, events)[0].item == fourth
    assert events.index(of(Predicted, events)[0]) < events.index(of(RoundEnded, events)[0])
    assert of(RoundEnded, events)[0].record.validation_images == 2


def test_a_round_needs_a_mask_that_is_not_kept_for_validation(engine: Engine, session: Session) -> None:
    for item in session.items[:2]:
        session.keep_for_validation(item)
    with pytest.raises(SemiGDAError, match="not kept for validation"):
        engine.request_round(budget=Budget(steps=STEPS))


def test_a_second_round_goes_on_from_the_first(engine: Engine, session: Session) -> None:
    train(engine)
    events = train(engine)
    assert {event.report.stage for event in of(Stepped, events)} == {2}
    assert session.rounds[-1].started_from == "round 1"
    train(engine, fresh=True)
    assert session.rounds[-1].started_from == ""


def test_a_network_that_was_never_trained_begins_with_stage_one(engine: Engine, untrained: Session) -> None:
    stages = [(event.report.stage, event.report.step) for event in of(Stepped, train(engine))]
    assert stages == [(1, 1), (2, 1), (2, 2), (2, 3)]


def test_without_an_accepted_mask_a_round_is_refused(tmp_path: Path) -> None:
    images = [image for image, _ in sample_pairs()[:2]]
    engine = Engine(Session.create(tmp_path / "empty", images), "cpu")
    with pytest.raises(SemiGDAError, match="accept"):
        engine.request_round()


def test_two_rounds_at_once_are_refused(engine: Engine) -> None:
    engine.request_round(budget=Budget(steps=STEPS))
    with pytest.raises(SemiGDAError, match="running"):
        engine.request_round(budget=Budget(steps=STEPS))


def test_an_urgent_draft_is_served_between_two_steps(engine: Engine, session: Session) -> None:
    train(engine)
    engine.request_round(budget=Budget(steps=STEPS))
    wanted = session.items[3]

    def ask(event: Event) -> None:
        if isinstance(event, Stepped) and event.report.step == 2:
            engine.request_drafts([wanted], urgent=True)

    events = drain(engine, ask)
    after = events[[isinstance(e, Stepped) and e.report.step == 2 for e in events].index(True) + 1]
    assert isinstance(after, Predicted)
    assert after.item.id == wanted.id


def test_the_maps_behind_a_draft_are_handed_out_between_two_steps(engine: Engine, session: Session) -> None:
    train(engine)
    engine.request_round(budget=Budget(steps=STEPS))
    wanted = session.items[3]
    draft = session.prediction(wanted)

    def ask(event: Event) -> None:
        if isinstance(event, RoundStarted):
            engine.request_maps(session.items[2])
            engine.request_maps(wanted)  # the newest question is the one that counts

    events = drain(engine, ask)
    (mapped,) = of(Mapped, events)
    assert mapped.item.id == wanted.id
    assert isinstance(events[events.index(mapped) + 1], Stepped)
    np.testing.assert_array_equal(mapped.maps.labels(), draft)


def test_why_there_are_no_maps_is_told(engine: Engine, session: Session, tmp_path: Path) -> None:
    train(engine)
    picture = tmp_path / "gone.png"
    picture.write_bytes(session.picture_path(session.items[0]).read_bytes())
    with Session.create(tmp_path / "other", [picture], settings=session.settings) as other:
        TrainedModel.find(session.folder).bring_along(other.folder)
        picture.unlink()
        lost = Engine(other, "cpu")
        lost.request_maps(other.items[0])
        (failed,) = of(MappingFailed, drain(lost))
    assert "gone.png" in failed.message


def test_accepting_goes_on_during_a_round(engine: Engine, session: Session) -> None:
    item = session.items[4]

    def accept(event: Event) -> None:
        if isinstance(event, Stepped) and event.report.step == 1:
            session.accept(item, np.ones(item.shape, np.uint8))

    engine.request_round(budget=Budget(steps=STEPS))
    events = drain(engine, accept)
    assert item.id not in {event.item.id for event in of(Predicted, events)}
    assert session.labels(item).all()


def test_what_is_accepted_during_a_round_joins_it(engine: Engine, session: Session) -> None:
    third, fourth = session.items[2:4]

    def accept(event: Event) -> None:
        if isinstance(event, Stepped) and event.report.step == 1:
            session.accept(fourth, np.ones(fourth.shape, np.uint8))
        elif isinstance(event, Stepped) and event.report.step == 2:
            session.accept(third, np.ones(third.shape, np.uint8))

    engine.request_round(budget=Budget(steps=STEPS))
    (ended,) = of(RoundEnded, drain(engine, accept))
    begun = [item.id for item in session.items[:2]]
    assert list(ended.record.labeled) == [*begun, fourth.id, third.id]
    assert session.rounds[-1].labeled == ended.record.labeled
    assert session.new_masks(ended.record) == []


def test_what_is_accepted_too_late_for_a_round_is_left_to_the_next(engine: Engine, session: Session) -> None:
    item = session.items[4]

    def accept(event: Event) -> None:
        if isinstance(event, Stepped) and event.report.step == STEPS:
            session.accept(item, np.ones(item.shape, np.uint8))

    engine.request_round(budget=Budget(steps=STEPS))
    (ended,) = of(RoundEnded, drain(engine, accept))
    assert item.id not in ended.record.labeled
    assert session.new_masks(ended.record) == [item]


def test_a_round_that_others_joined_can_be_resumed_by_another_program(
    engine: Engine, session: Session
) -> None:
    item = session.items[4]

    def accept_then_stop(event: Event) -> None:
        if isinstance(event, Stepped) and event.report.step == 1:
            session.accept(item, np.ones(item.shape, np.uint8))
        elif isinstance(event, Stepped) and event.report.step == 2:
            engine.stop_round()

    engine.request_round(budget=Budget(steps=STEPS))
    drain(engine, accept_then_stop)
    session.close()
    with Session.open(session.folder) as again:
        other = Engine(again, "cpu")
        other.request_round(resume=True)
        (ended,) = of(RoundEnded, drain(other))
    assert (ended.record.status, ended.record.steps) == ("complete", STEPS)
    assert ended.record.labeled[-1] == item.id


def test_what_an_annotator_sees_next_is_drafted_anew_while_a_round_runs(
    engine: Engine, session: Session
) -> None:
    shown, *others = session.items[2:]
    session.current_item = shown
    engine.request_round(budget=Budget(steps=STEPS))
    events = drain(engine)
    meanwhile = events[: events.index(*of(RoundEnded, events))]
    drafted = [event.item.id for event in of(Predicted, meanwhile)]
    assert drafted
    assert set(drafted) <= {item.id for item in others}


def test_a_held_round_leaves_time_to_draft_anew_all_that_comes_next(engine: Engine, session: Session) -> None:
    shown, *others = session.items[2:]
    session.current_item = shown
    engine.request_round(budget=Budget(steps=STEPS))

    def hold(event: Event) -> None:
        if isinstance(event, Predicted):
            engine.pause()

    assert {event.item.id for event in of(Predicted, drain(engine, hold))} == {item.id for item in others}


def test_what_was_accepted_or_is_shown_since_is_not_drafted_anew(engine: Engine, session: Session) -> None:
    shown, *others = session.items[2:]
    session.current_item = shown
    engine.request_round(budget=Budget(steps=STEPS))
    first: list[Item] = []

    def go_on(event: Event) -> None:
        if isinstance(event, Predicted) and not first:
            first.append(event.item)
            left = [item for item in others if item != event.item]
            session.accept(left[0], session.prediction(event.item))
            session.current_item = left[1]
            engine.pause()

    drafted = {event.item.id for event in of(Predicted, drain(engine, go_on))}
    assert drafted == {first[0].id}  # of three: one was accepted, and one is on screen now


def test_a_draft_made_anew_is_given_up_for_one_that_somebody_waits_for(
    engine: Engine, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, *others = session.items[2:]
    session.current_item = wanted
    opened = session.opened_picture

    def ask_meanwhile(item: Item) -> AbstractContextManager[Pixels]:
        if item in others:
            engine.request_drafts([wanted], urgent=True)
        return opened(item)

    monkeypatch.setattr(session, "opened_picture", ask_meanwhile)
    engine.request_round(budget=Budget(steps=STEPS))
    events = drain(engine)
    meanwhile = events[: events.index(*of(RoundEnded, events))]
    assert {event.item.id for event in of(Predicted, meanwhile)} == {wanted.id}


def test_drafts_made_anew_meanwhile_take_little_of_a_rounds_time(session: Session) -> None:
    ticks = count()
    engine = Engine(session, "cpu", clock=lambda: float(next(ticks)))  # every look at it takes a second
    session.current_item = session.items[2]
    engine.request_round(budget=Budget(steps=5 * STEPS))
    events = drain(engine)
    meanwhile = events[: events.index(*of(RoundEnded, events))]
    of_training = max(event.report.seconds for event in of(Stepped, meanwhile)) * 5 * STEPS
    drafted = len(of(Predicted, meanwhile))
    assert 1 <= drafted <= 1 + REFRESH_SHARE * of_training


def test_a_paused_round_waits_and_still_serves_drafts(engine: Engine, session: Session) -> None:
    train(engine)
    engine.request_round(budget=Budget(steps=STEPS))

    def pause(event: Event) -> None:
        if isinstance(event, Stepped):
            engine.pause()

    paused = drain(engine, pause)
    assert len(of(Stepped, paused)) == 1
    assert of(RoundPaused, paused)
    engine.request_drafts([session.items[5]], urgent=True)
    assert [event.item.id for event in of(Predicted, drain(engine))] == [session.items[5].id]
    engine.unpause()
    assert len(of(Stepped, drain(engine))) == STEPS - 1
    assert session.rounds[-1].status == "complete"


def test_who_asks_last_for_an_urgent_draft_waits_least(engine: Engine, session: Session) -> None:
    train(engine)
    *others, shown = session.items[2:]
    engine.request_drafts(others, urgent=True)
    engine.request_drafts([shown], urgent=True)
    drafted = [event.item.id for event in of(Predicted, drain(engine))]
    assert drafted == [item.id for item in (shown, *others)]


def test_a_pause_does_not_wait_for_drafts(engine: Engine, session: Session) -> None:
    train(engine)
    engine.request_round(budget=Budget(steps=STEPS))

    def ask_then_pause(event: Event) -> None:
        if isinstance(event, Stepped) and event.report.step == 1:
            engine.request_drafts(session.items[2:], urgent=True)
        if isinstance(event, Predicted):
            engine.pause()

    events = drain(engine, ask_then_pause)
    kinds = [type(event) for event in events if isinstance(event, Predicted | RoundPaused)]
    assert kinds == [Predicted, RoundPaused, Predicted, Predicted, Predicted]


def test_a_stopped_round_can_be_resumed_by_another_program(engine: Engine, session: Session) -> None:
    engine.request_round(budget=Budget(steps=STEPS))

    def stop(event: Event) -> None:
        if isinstance(event, Stepped) and event.report.stage == 2:
            engine.stop_round()

    (ended,) = of(RoundEnded, drain(engine, stop))
    assert ended.record.status == "stopped"
    assert engine.has_model
    session.close()
    later = Engine(Session.open(session.folder), "cpu")
    later.request_round(resume=True)
    events = drain(later)
    assert [event.report.step for event in of(Stepped, events)] == [2, 3, 4]
    (ended,) = of(RoundEnded, events)
    assert (ended.record.number, ended.record.status, ended.record.steps) == (1, "complete", STEPS)
    with pytest.raises(SemiGDAError, match="no stopped round"):
        later.request_round(resume=True)


def test_a_resumed_round_ends_with_the_weights_of_one_that_never_stopped(
    engine: Engine, session: Session
) -> None:
    train(engine)
    whole = session.last_model().read_bytes()
    engine.request_round(budget=Budget(steps=STEPS), fresh=True)
    drain(engine, lambda event: engine.stop_round() if isinstance(event, Stepped) else None)
    engine.request_round(resume=True)
    drain(engine)
    resumed = session.last_model()
    assert resumed.parent.name == "002"
    header = int.from_bytes(whole[:8], "little") + 8
    assert resumed.read_bytes()[-(len(whole) - header) :] == whole[header:]


def test_a_stop_in_the_first_stage_leaves_no_useless_drafts(engine: Engine, untrained: Session) -> None:
    engine.request_round(budget=Budget(steps=STEPS))
    events = drain(engine, lambda event: engine.stop_round() if isinstance(event, Stepped) else None)
    assert of(RoundEnded, events)[0].record.status == "stopped"
    assert not engine.has_model
    assert not of(Predicted, events)


def test_closing_stops_a_round_so_that_it_can_go_on_tomorrow(engine: Engine, session: Session) -> None:
    engine.request_round(budget=Budget(steps=STEPS))
    events = drain(engine, lambda event: engine.close() if isinstance(event, Stepped) else None)
    assert len(of(Stepped, events)) == 1
    assert Session.open(session.folder).rounds[-1].status == "stopped"
    assert not engine.start_work()


def test_closing_a_paused_round_keeps_it_too(engine: Engine, session: Session) -> None:
    engine.request_round(budget=Budget(steps=STEPS))
    drain(engine, lambda event: engine.pause() if isinstance(event, Stepped) else None)
    engine.close()
    drain(engine)
    assert session.rounds[-1].status == "stopped"


def test_a_failed_round_changes_nothing_and_says_why(engine: Engine, session: Session) -> None:
    train(engine)
    before = session.last_model().read_bytes()
    # The folder of the next round is taken by a file: it can be neither made nor written.
    session.round_folder(2).write_text("in the way")
    engine.request_round(budget=Budget(steps=STEPS))
    (failed,) = of(RoundFailed, drain(engine))
    assert "002" in failed.message
    assert not engine.round_is_active
    assert session.last_model().read_bytes() == before
    engine.request_drafts([session.items[2]])
    assert of(Predicted, drain(engine))


def test_a_stopped_round_that_cannot_be_taken_up_again_stays_stopped(
    engine: Engine, session: Session, tmp_path: Path
) -> None:
    engine.request_round(budget=Budget(steps=STEPS))
    drain(engine, lambda event: engine.stop_round() if is_step_of(2)(event) else None)
    stopped, weights = session.rounds[-1], session.last_model()
    state = session.round_folder(1) / "state.safetensors"
    kept = state.read_bytes()
    state.write_bytes(kept[:100])
    engine.request_round(resume=True)
    (failed,) = of(RoundFailed, drain(engine))
    assert "state.safetensors" in failed.message
    assert (session.rounds[-1].status, session.rounds[-1].steps) == ("stopped", stopped.steps)
    assert session.last_model() == weights
    state.write_bytes(kept)
    engine.request_round(resume=True)
    assert of(RoundEnded, drain(engine))[0].record.status == "complete"


def test_a_round_killed_and_resumed_counts_each_step_once(
    engine: Engine, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_semigda.engine.rounds.STATE_INTERVAL", 0.0)
    engine.request_round(budget=Budget(steps=2 * STEPS))
    assert engine.start_work()
    work = engine.work()
    for event in work:
        if isinstance(event, Stepped) and event.report.stage == 2 and event.report.step == 2:
            break
    folder = session.round_folder(1)
    state = (folder / "state.safetensors").read_bytes()
    next(work)  # a step more than what the state on disk knows of
    (folder / "state.safetensors").write_bytes(state)
    session.close()  # as the system does for a program that was killed
    tomorrow = Session.open(session.folder)
    later = Engine(tomorrow, "cpu")
    later.request_round(resume=True)
    (ended,) = of(RoundEnded, drain(later))
    assert ended.record.steps == 2 * STEPS
    points = read_curves(folder)
    assert [(point["stage"], point["step"]) for point in points] == [
        (2, step + 1) for step in range(2 * STEPS)
    ]
    assert ended.record.seconds == pytest.approx(sum(point["seconds"] for point in points), abs=0.01)


def test_what_was_learned_is_held_until_it_can_be_written(engine: Engine, session: Session) -> None:
    obstacle = session.round_folder(1) / "model.safetensors"

    def obstruct(event: Event) -> None:
        if isinstance(event, RoundStarted):
            obstacle.mkdir()  # no file can be written in its place

    engine.request_round(budget=Budget(steps=STEPS))
    events = drain(engine, obstruct)
    (unsaved,) = of(RoundNotSaved, events)
    assert "model.safetensors" in unsaved.message
    assert isinstance(events[-1], RoundPaused)
    assert engine.round_is_active
    obstacle.rmdir()
    engine.unpause()
    (ended,) = of(RoundEnded, drain(engine))
    assert (ended.record.status, ended.record.steps) == ("complete", STEPS)
    assert session.last_model() == obstacle


def test_a_round_that_is_over_leaves_nothing_behind(engine: Engine, session: Session) -> None:
    train(engine)
    before = tensors_alive()
    train(engine)
    assert tensors_alive() <= before * 1.1


def start_and_stop(engine: Engine, rounds: int) -> None:
    """Start so many rounds, and stop every other one at its first step."""
    for number in range(rounds):
        engine.request_round(budget=Budget(steps=2), fresh=number % 4 == 3)
        stop = number % 2 == 1
        drain(engine, lambda event, stop=stop: engine.stop_round() if stop and is_step_of(2)(event) else None)


def networks_alive() -> int:
    gc.collect()
    return sum(isinstance(thing, SemiGDANetwork) for thing in gc.get_objects())


def test_rounds_started_and_stopped_leave_the_network_that_drafts_and_nothing_else(
    engine: Engine, session: Session
) -> None:
    for item in session.items[2:]:
        session.skip(item)  # what drafts take is measured elsewhere
    others = networks_alive()
    start_and_stop(engine, 2)
    before = tensors_alive()
    assert networks_alive() == others + 1
    start_and_stop(engine, 6)
    assert networks_alive() == others + 1
    assert tensors_alive() <= before * 1.1
    assert len(session.rounds) == 8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card with CUDA here")
def test_twenty_rounds_started_and_stopped_give_the_memory_of_the_card_back(session: Session) -> None:
    engine = Engine(session, "cuda")
    start_and_stop(engine, 4)
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    start_and_stop(engine, 20)
    assert torch.cuda.memory_allocated() <= allocated * 1.1
    assert torch.cuda.memory_reserved() <= reserved * 1.1


@pytest.mark.parametrize(
    "values", [(0, 0), (1, 1), (0, 1), (255, 1), (1,)],
    ids=["all empty", "all full", "contradicting", "one not looked at", "one labeled image"],
)  # fmt: skip
def test_masks_that_teach_little_train_and_draft_all_the_same(
    tmp_path: Path, values: tuple[int, ...]
) -> None:
    picture = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)
    pictures = {f"i{number}": picture for number in range(4)}  # all the same: labels that differ contradict
    session = Session.from_arrays(tmp_path / "s", pictures, settings=ImageSettings(working_size=32))
    for item, value in zip(session.items, values, strict=False):
        session.accept(item, np.full(item.shape, value, np.uint8))
    events = train(Engine(session, "cpu"))
    (ended,) = of(RoundEnded, events)
    assert (ended.record.status, ended.record.steps) == ("complete", STEPS)
    assert len(of(Predicted, events)) == 4 - len(values)
    for point in read_curves(session.round_folder(1)):
        assert np.isfinite(list(point["losses"].values())).all()
    for item, value in zip(session.items, values, strict=False):
        assert (session.labels(item) == value).all()


def test_whoever_iterates_is_alone(engine: Engine, session: Session) -> None:
    train(engine)
    engine.request_drafts(session.items[2:4])
    assert engine.start_work()
    assert not engine.start_work()
    first = engine.work()
    assert list(first)
    engine.request_drafts(session.items[2:3])
    assert engine.start_work()
    first.close()  # the first one's end must not end the second one's turn
    assert not engine.start_work()
    assert list(engine.work())


def test_an_image_that_is_gone_fails_alone(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        tifffile.imwrite(folder / f"{number}.tif", np.full((40, 50), number * 20, np.uint8))
    session = Session.create(tmp_path / "session", folder, settings=ImageSettings(working_size=32))
    session.accept(session.items[0], np.ones((40, 50), np.uint8))
    (folder / "2.tif").unlink()
    engine = Engine(session, "cpu")
    events = train(engine)
    (failed,) = of(PredictionFailed, events)
    assert "2.tif" in failed.message
    assert len(of(Predicted, events)) == 2
    assert session.rounds[-1].status == "complete"


def test_a_class_added_between_rounds_is_learned_from_the_old_weights(
    engine: Engine, session: Session
) -> None:
    train(engine)
    session.add_class("second")
    mask = np.zeros(session.items[2].shape, np.uint8)
    mask[10:40, 10:40] = 2
    session.accept(session.items[2], mask)
    events = train(engine)
    assert of(RoundEnded, events)[0].record.started_from == "round 1"
    assert read_metadata(session.last_model())["classes"] == 3


def test_requests_from_another_thread_are_taken_up(engine: Engine, session: Session) -> None:
    """One thread works while another asks; whoever finds nobody at work starts anew."""
    train(engine)
    done: list[str] = []

    def work() -> None:
        for event in engine.work():
            if isinstance(event, Predicted):
                done.append(event.item.id)

    threads = []
    for item in session.items[2:]:
        engine.request_drafts([item], urgent=True)
        if engine.start_work():
            threads.append(threading.Thread(target=work))
            threads[-1].start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == sorted(item.id for item in session.items[2:])


def test_a_long_first_round_gives_drafts_before_it_ends(engine: Engine, session: Session) -> None:
    engine.request_drafts([session.items[3]], urgent=True)
    assert not engine.start_work()  # nothing has been learned yet
    events = train(engine)
    kinds = [type(event) for event in events]
    assert kinds.index(Predicted) < kinds.index(RoundEnded)


@pytest.fixture
def faulty_card() -> Iterator[Callable[[Exception, int], None]]:
    """Lets every module that is given more than so many images at once raise an error."""
    raised: list[tuple[Exception, int]] = []

    def check(module: torch.nn.Module, inputs: tuple[object, ...]) -> None:
        for error, most in raised:
            if inputs and isinstance(inputs[0], torch.Tensor) and inputs[0].shape[0] > most:
                raise error

    handle = torch.nn.modules.module.register_module_forward_pre_hook(check)
    yield lambda error, most: raised.append((error, most))
    handle.remove()


def test_with_too_little_memory_the_round_goes_on_with_fewer_images_a_step_and_says_so(
    engine: Engine, session: Session, faulty_card: Callable[[Exception, int], None]
) -> None:
    faulty_card(torch.OutOfMemoryError("CUDA out of memory."), 4)
    (ended,) = of(RoundEnded, train(engine))
    assert (ended.record.status, ended.record.steps) == ("complete", STEPS)
    assert any("half of them" in warning for warning in session.warnings)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "too little memory"),
        (RuntimeError("MPS backend out of memory"), "too little memory"),
        (RuntimeError("CUDA error: device-side assert triggered"), "stopped responding"),
    ],
)
def test_a_card_that_gives_up_ends_the_round_in_words_and_the_weights_from_before_stay(
    engine: Engine,
    session: Session,
    faulty_card: Callable[[Exception, int], None],
    error: Exception,
    words: str,
) -> None:
    train(engine)
    before = session.last_model()
    faulty_card(error, 0)
    (failed,) = of(RoundFailed, train(engine))
    assert words in failed.message
    assert session.last_model() == before
    assert session.rounds[-1].status == "failed"


def test_a_class_that_no_mask_shows_yet_is_in_no_draft(session: Session, engine: Engine) -> None:
    """By the engine's own predictor, one read from the disk, and at any threshold."""
    train(engine)
    session.add_class("rim")
    events = train(engine)
    assert read_metadata(session.last_model())["shown"] == [1]
    drafts = [session.prediction(event.item) for event in of(Predicted, events)]
    assert drafts
    assert all(set(np.unique(draft)) <= {0, 1} for draft in drafts)
    reread = TrainedModel.find(session.folder).load("cpu")
    engine.request_maps(session.items[-1])
    (mapped,) = of(Mapped, drain(engine))
    assert not (mapped.maps.labels(0.01) == 2).any()
    with session.opened_picture(session.items[-1]) as pixels:
        assert not reread.predict(pixels).probabilities[2].any()

    mask = np.zeros(session.items[2].shape, np.uint8)
    mask[10:40, 10:40] = 2
    session.accept(session.items[2], mask)
    train(engine)
    assert read_metadata(session.last_model())["shown"] == [1, 2]


def test_drafts_obey_what_the_session_says_of_objects_now(session: Session, engine: Engine) -> None:
    """Also where it says so after the predictor was made, and in what goes with the file."""
    train(engine)
    cells = session.items[5]
    assert label(session.prediction(cells), connectivity=2).max() > 1
    session.one_object = True
    engine.request_drafts([cells], urgent=True)
    engine.request_maps(cells)
    (mapped,) = of(Mapped, drain(engine))
    for threshold in (0.2, 0.5, 0.8):
        assert label(mapped.maps.labels(threshold), connectivity=2).max() == 1
    stored = tifffile.imread(session.folder / "predictions" / f"{cells.id}.tif")
    assert label(stored, connectivity=2).max() == 1
    train(engine)
    assert read_metadata(session.last_model())["one_object"] is True
