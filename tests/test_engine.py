"""What the engine does when: order, urgency, pause, stop. Nothing is trained."""

import threading
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_semigda.engine.engine import Engine
from napari_semigda.engine.events import (
    Event,
    FramingFitted,
    Mapped,
    Predicted,
    PredictionFailed,
    RoundEnded,
    RoundFailed,
    RoundPaused,
    RoundStarted,
    Stepped,
)
from napari_semigda.engine.rounds import REFRESH_SHARE
from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings, Pixels
from napari_semigda.samples import sample_pairs
from napari_semigda.session.efforts import measure as effort
from napari_semigda.session.items import Item
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget
from tests.engines import STEPS, FakeModels, drain, of, sample_session, train


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return sample_session(tmp_path / "session")


@pytest.fixture
def engine(session: Session) -> Engine:
    return engine_of(session)


def engine_of(session: Session, **options: object) -> Engine:
    return Engine(session, "cpu", models=FakeModels, **options)  # type: ignore[arg-type]


def test_an_engine_without_requests_has_nothing_to_do(engine: Engine) -> None:
    assert not engine.start_work()


def test_a_first_round_fits_the_framing_to_thin_objects_unless_it_was_chosen(tmp_path: Path) -> None:
    picture = np.tile(np.arange(600) // 8 % 2 * 200, (600, 1)).astype(np.uint8)
    made = Session.from_arrays(tmp_path / "session", {"bars": (picture, (1.0, 1.0), "pixel")})
    made.accept(made.items[0], (picture > 0).astype(np.uint8))
    engine = engine_of(made)
    (fitted,) = of(FramingFitted, train(engine))
    assert "tiles of 128 pixels" in fitted.message
    assert made.settings.framing == "tiles"
    made.close()
    again = Session.open(made.folder)
    assert again.settings.framing == "tiles"
    again.accept(again.items[0], np.pad(np.ones((400, 400), np.uint8), 100))
    later = engine_of(again)
    assert not of(FramingFitted, train(later)), "weights are used to objects of this size"
    assert of(FramingFitted, train(later, fresh=True))
    assert again.settings.framing == "whole"


def test_a_chosen_framing_stays(engine: Engine, session: Session) -> None:
    chosen = session.settings
    assert not session.framing_by_objects
    assert not of(FramingFitted, train(engine))
    assert session.settings == chosen


def test_a_round_tells_how_it_does_on_images_kept_for_validation(engine: Engine, session: Session) -> None:
    first, second = session.items[:2]
    session.labels.keep_for_validation(second)
    engine.request_round(budget=Budget(steps=STEPS))
    (ended,) = of(RoundEnded, drain(engine))
    assert ended.record.labeled == (first.id,)
    assert ended.record.validation_images == 1
    session.labels.keep_for_validation(second, False)
    engine.request_drafts([second])
    drain(engine)
    dice, _ = effort(session.prediction(second), session.labels.get(second), session.classes.channels)
    assert ended.record.validation_dice == pytest.approx(dice, abs=1e-6)


def test_a_draft_asked_for_while_a_round_is_validated_does_not_wait_for_the_end(
    engine: Engine, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, (_, second, third, fourth) = session.labels.get, session.items[:4]
    session.accept(third, np.ones(third.shape, np.uint8))
    for item in (second, third):
        session.labels.keep_for_validation(item)

    def ask_and_read(item):
        if item == second:  # the first that is compared
            engine.request_drafts([fourth], urgent=True)
        return read(item)

    monkeypatch.setattr(session.labels, "get", ask_and_read)
    engine.request_round(budget=Budget(steps=STEPS))
    events = drain(engine)
    assert of(Predicted, events)[0].item == fourth
    assert events.index(of(Predicted, events)[0]) < events.index(of(RoundEnded, events)[0])
    assert of(RoundEnded, events)[0].record.validation_images == 2


def test_a_round_needs_a_mask_that_is_not_kept_for_validation(engine: Engine, session: Session) -> None:
    for item in session.items[:2]:
        session.labels.keep_for_validation(item)
    with pytest.raises(SemiGDAError, match="not kept for validation"):
        engine.request_round(budget=Budget(steps=STEPS))


def test_without_an_accepted_mask_a_round_is_refused(tmp_path: Path) -> None:
    images = [image for image, _ in sample_pairs()[:2]]
    engine = engine_of(Session.create(tmp_path / "empty", images))
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


def test_accepting_goes_on_during_a_round(engine: Engine, session: Session) -> None:
    item = session.items[4]

    def accept(event: Event) -> None:
        if isinstance(event, Stepped) and event.report.step == 1:
            session.accept(item, np.ones(item.shape, np.uint8))

    engine.request_round(budget=Budget(steps=STEPS))
    events = drain(engine, accept)
    assert item.id not in {event.item.id for event in of(Predicted, events)}
    assert session.labels.get(item).all()


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
    assert session.labels.to_learn_from(ended.record.labeled) == []


def test_what_is_accepted_too_late_for_a_round_is_left_to_the_next(engine: Engine, session: Session) -> None:
    item = session.items[4]

    def accept(event: Event) -> None:
        if isinstance(event, Stepped) and event.report.step == STEPS:
            session.accept(item, np.ones(item.shape, np.uint8))

    engine.request_round(budget=Budget(steps=STEPS))
    (ended,) = of(RoundEnded, drain(engine, accept))
    assert item.id not in ended.record.labeled
    assert session.labels.to_learn_from(ended.record.labeled) == [item]


def test_what_an_annotator_sees_next_is_drafted_again_while_a_round_runs(
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


def test_a_paused_round_leaves_time_to_draft_all_that_comes_next(engine: Engine, session: Session) -> None:
    shown, *others = session.items[2:]
    session.current_item = shown
    engine.request_round(budget=Budget(steps=STEPS))

    def hold(event: Event) -> None:
        if isinstance(event, Predicted):
            engine.pause()

    assert {event.item.id for event in of(Predicted, drain(engine, hold))} == {item.id for item in others}


def test_what_was_accepted_or_is_shown_since_is_not_drafted_again(engine: Engine, session: Session) -> None:
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


def test_a_refreshed_draft_is_dropped_for_one_that_somebody_waits_for(
    engine: Engine, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, *others = session.items[2:]
    session.current_item = wanted
    opened = session.images.open

    def ask_meanwhile(item: Item) -> AbstractContextManager[Pixels]:
        if item in others:
            engine.request_drafts([wanted], urgent=True)
        return opened(item)

    monkeypatch.setattr(session.images, "open", ask_meanwhile)
    engine.request_round(budget=Budget(steps=STEPS))
    events = drain(engine)
    meanwhile = events[: events.index(*of(RoundEnded, events))]
    assert {event.item.id for event in of(Predicted, meanwhile)} == {wanted.id}


def test_refreshed_drafts_take_little_of_a_rounds_time(session: Session) -> None:
    ticks = count()
    engine = engine_of(session, clock=lambda: float(next(ticks)))  # every look at it takes a second
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


def test_closing_stops_a_round_so_that_it_can_be_resumed_tomorrow(engine: Engine, session: Session) -> None:
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
    before = session.rounds.last_model().read_bytes()
    # The folder of the next round is taken by a file: it can be neither made nor written.
    session.rounds.folder(2).write_text("in the way")
    engine.request_round(budget=Budget(steps=STEPS))
    (failed,) = of(RoundFailed, drain(engine))
    assert "002" in failed.message
    assert not engine.round_is_active
    assert session.rounds.last_model().read_bytes() == before
    engine.request_drafts([session.items[2]])
    assert of(Predicted, drain(engine))


def test_only_one_thread_works_at_a_time(engine: Engine, session: Session) -> None:
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
    engine = engine_of(session)
    events = train(engine)
    (failed,) = of(PredictionFailed, events)
    assert "2.tif" in failed.message
    assert len(of(Predicted, events)) == 2
    assert session.rounds[-1].status == "complete"


def test_requests_from_another_thread_are_taken_up(engine: Engine, session: Session) -> None:
    """One thread works while another asks; whoever finds nobody at work starts again."""
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
