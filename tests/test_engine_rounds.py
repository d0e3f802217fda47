"""Rounds that the engine really trains: what they learn, resume, keep and free."""

import gc
import shutil
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from skimage.measure import label

from napari_semigda.engine.engine import Engine
from napari_semigda.engine.events import (
    Event,
    Mapped,
    MappingFailed,
    Predicted,
    RoundEnded,
    RoundFailed,
    RoundNotSaved,
    RoundPaused,
    RoundStarted,
    Stepped,
)
from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.checkpoint import read_metadata
from napari_semigda.model.network import SemiGDANet
from napari_semigda.session.items import ItemState
from napari_semigda.session.rounds import read_curves
from napari_semigda.session.session import Session
from napari_semigda.session.trained_model import TrainedModel
from napari_semigda.training.recipe import Budget
from tests.engines import STEPS, drain, of, sample_session, train

pytestmark = pytest.mark.slow


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return sample_session(tmp_path / "session")


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with sample_session(tmp_path_factory.mktemp("trained") / "session") as session:
        train(Engine(session, "cpu"))
        return session.folder


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Session:
    """A copy of the session after one round, with drafts."""
    return Session.open(shutil.copytree(trained_once, tmp_path / "session"))


@pytest.fixture
def trained_engine(trained: Session) -> Engine:
    return Engine(trained, "cpu")


@pytest.fixture
def untrained(session: Session, tmp_path: Path) -> Session:
    """The session with an autoencoder of its own: nothing that was trained for another fits beside it."""
    shipped = resources.files("napari_semigda.model") / "weights" / "compact.safetensors"
    own = tmp_path / "own.safetensors"
    own.write_bytes(shipped.read_bytes())
    session.update(weights=own)
    return session


@pytest.fixture
def engine(session: Session) -> Engine:
    return Engine(session, "cpu")


def is_step_of(stage: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Stepped) and event.report.stage == stage


def tensors_alive() -> int:
    """Elements of all tensors that anything still refers to."""
    gc.collect()
    return sum(thing.nelement() for thing in gc.get_objects() if isinstance(thing, torch.Tensor))


def start_and_stop(engine: Engine, rounds: int) -> None:
    """Start so many rounds, and stop every other one at its first step."""
    for number in range(rounds):
        engine.request_round(budget=Budget(steps=2), fresh=number % 4 == 3)
        stop = number % 2 == 1
        drain(engine, lambda event, stop=stop: engine.stop_round() if stop and is_step_of(2)(event) else None)


def networks_alive() -> int:
    gc.collect()
    return sum(isinstance(thing, SemiGDANet) for thing in gc.get_objects())


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


def test_weights_keep_the_framing_they_were_trained_with(tmp_path: Path) -> None:
    bars = np.tile(np.arange(300) // 4 % 2 * 200, (300, 1)).astype(np.uint8)
    pictures = dict.fromkeys(("first", "second"), (bars, (1.0, 1.0), "pixel"))
    session = Session.from_arrays(tmp_path / "session", pictures)
    first, second = session.items
    session.accept(first, (bars > 0).astype(np.uint8))
    train(Engine(session, "cpu"), steps=1)
    before = session.prediction(second)
    session.accept(first, np.pad(np.ones((200, 200), np.uint8), 50))
    assert session.fit_framing() is not None, "a round from scratch that came to nothing"
    engine = Engine(session, "cpu")
    engine.request_drafts([second])
    assert of(Predicted, drain(engine))
    np.testing.assert_array_equal(session.prediction(second), before)


def test_a_round_trains_then_drafts_everything_not_accepted(engine: Engine, session: Session) -> None:
    events = train(engine)
    assert isinstance(events[0], RoundStarted)
    assert [event.report.step for event in of(Stepped, events)] == [1, 2, 3, 4]
    (ended,) = of(RoundEnded, events)
    assert (ended.record.status, ended.record.steps) == ("complete", STEPS)
    assert {event.item.id for event in of(Predicted, events)} == {item.id for item in session.items[2:]}
    assert session.counts()[ItemState.DRAFT] == 4
    assert session.prediction(session.items[2]).shape == session.items[2].shape


def test_the_weights_of_a_round_know_what_they_are_for(trained: Session) -> None:
    metadata = read_metadata(trained.rounds.last_model())
    assert metadata["class_names"] == ["object"]
    assert metadata["settings"] == trained.settings.to_dict()


def test_a_second_round_starts_from_the_first(trained_engine: Engine, trained: Session) -> None:
    events = train(trained_engine)
    assert {event.report.stage for event in of(Stepped, events)} == {2}
    assert trained.rounds[-1].started_from == "round 1"
    train(trained_engine, steps=1, fresh=True)
    assert trained.rounds[-1].started_from == ""


def test_a_network_that_was_never_trained_begins_with_stage_one(engine: Engine, untrained: Session) -> None:
    stages = [(event.report.stage, event.report.step) for event in of(Stepped, train(engine))]
    assert stages == [(1, 1), (2, 1), (2, 2), (2, 3)]


def test_why_there_are_no_maps_is_told(trained_engine: Engine, trained: Session, tmp_path: Path) -> None:
    picture = tmp_path / "gone.png"
    picture.write_bytes(trained.images.path(trained.items[0]).read_bytes())
    with Session.create(tmp_path / "other", [picture], settings=trained.settings) as other:
        TrainedModel.find(trained.folder).import_into(other.folder)
        picture.unlink()
        lost = Engine(other, "cpu")
        lost.request_maps(other.items[0])
        (failed,) = of(MappingFailed, drain(lost))
    assert "gone.png" in failed.message


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
    trained_engine: Engine, trained: Session
) -> None:
    whole = trained.rounds.last_model().read_bytes()
    engine = trained_engine
    engine.request_round(budget=Budget(steps=STEPS), fresh=True)
    drain(engine, lambda event: engine.stop_round() if isinstance(event, Stepped) else None)
    engine.request_round(resume=True)
    drain(engine)
    resumed = trained.rounds.last_model()
    assert resumed.parent.name == "002"
    header = int.from_bytes(whole[:8], "little") + 8
    assert resumed.read_bytes()[-(len(whole) - header) :] == whole[header:]


def test_a_stop_in_the_first_stage_leaves_no_useless_drafts(engine: Engine, untrained: Session) -> None:
    engine.request_round(budget=Budget(steps=STEPS))
    events = drain(engine, lambda event: engine.stop_round() if isinstance(event, Stepped) else None)
    assert of(RoundEnded, events)[0].record.status == "stopped"
    assert not engine.has_model
    assert not of(Predicted, events)


def test_a_stopped_round_that_cannot_be_resumed_stays_stopped(
    engine: Engine, session: Session, tmp_path: Path
) -> None:
    engine.request_round(budget=Budget(steps=STEPS))
    drain(engine, lambda event: engine.stop_round() if is_step_of(2)(event) else None)
    stopped, weights = session.rounds[-1], session.rounds.last_model()
    state = session.rounds.folder(1) / "state.safetensors"
    kept = state.read_bytes()
    state.write_bytes(kept[:100])
    engine.request_round(resume=True)
    (failed,) = of(RoundFailed, drain(engine))
    assert "state.safetensors" in failed.message
    assert (session.rounds[-1].status, session.rounds[-1].steps) == ("stopped", stopped.steps)
    assert session.rounds.last_model() == weights
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
    folder = session.rounds.folder(1)
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


def test_what_was_learned_is_kept_until_it_can_be_written(engine: Engine, session: Session) -> None:
    obstacle = session.rounds.folder(1) / "model.safetensors"

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
    assert session.rounds.last_model() == obstacle


def test_a_round_that_is_over_leaves_nothing_behind(trained_engine: Engine, trained: Session) -> None:
    trained_engine.request_drafts(trained.items[2:3])
    drain(trained_engine)  # now the network that drafts is in memory
    before = tensors_alive()
    train(trained_engine)
    assert tensors_alive() <= before * 1.1


def test_rounds_started_and_stopped_leave_the_network_that_drafts_and_nothing_else(
    engine: Engine, session: Session
) -> None:
    for item in session.items[2:]:
        session.skip(item)  # what drafts take is measured elsewhere
    others = networks_alive()
    start_and_stop(engine, 2)
    before = tensors_alive()
    assert networks_alive() == others + 1
    start_and_stop(engine, 4)
    assert networks_alive() == others + 1
    assert tensors_alive() <= before * 1.1
    assert len(session.rounds) == 6


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
    ids=["all empty", "all full", "contradicting", "one unlabeled", "one labeled image"],
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
    for point in read_curves(session.rounds.folder(1)):
        assert np.isfinite(list(point["losses"].values())).all()
    for item, value in zip(session.items, values, strict=False):
        assert (session.labels.get(item) == value).all()


def test_a_class_added_between_rounds_is_learned_from_the_old_weights(
    trained_engine: Engine, trained: Session
) -> None:
    trained.classes.add("second")
    mask = np.zeros(trained.items[2].shape, np.uint8)
    mask[10:40, 10:40] = 2
    trained.accept(trained.items[2], mask)
    events = train(trained_engine)
    assert of(RoundEnded, events)[0].record.started_from == "round 1"
    assert read_metadata(trained.rounds.last_model())["classes"] == 3


def test_with_too_little_memory_the_round_continues_with_fewer_images_a_step_and_says_so(
    engine: Engine, session: Session, faulty_card: Callable[[Exception, int], None]
) -> None:
    faulty_card(torch.OutOfMemoryError("CUDA out of memory."), 4)
    (ended,) = of(RoundEnded, train(engine))
    assert (ended.record.status, ended.record.steps) == ("complete", STEPS)
    assert any("half as many" in warning for warning in session.warnings)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "not enough memory"),
        (RuntimeError("MPS backend out of memory"), "not enough memory"),
        (RuntimeError("CUDA error: device-side assert triggered"), "stopped responding"),
    ],
)
def test_a_failing_card_ends_the_round_with_a_message_and_the_previous_weights_stay(
    trained_engine: Engine,
    trained: Session,
    faulty_card: Callable[[Exception, int], None],
    error: Exception,
    words: str,
) -> None:
    before = trained.rounds.last_model()
    faulty_card(error, 0)
    (failed,) = of(RoundFailed, train(trained_engine))
    assert words in failed.message
    assert trained.rounds.last_model() == before
    assert trained.rounds[-1].status == "failed"


def test_a_class_that_no_mask_shows_yet_is_in_no_draft(trained: Session, trained_engine: Engine) -> None:
    """By the engine's own predictor, one read from the disk, and at any threshold."""
    trained.classes.add("rim")
    events = train(trained_engine)
    assert read_metadata(trained.rounds.last_model())["shown"] == [1]
    drafts = [trained.prediction(event.item) for event in of(Predicted, events)]
    assert drafts
    assert all(set(np.unique(draft)) <= {0, 1} for draft in drafts)
    reread = TrainedModel.find(trained.folder).load("cpu")
    trained_engine.request_maps(trained.items[-1])
    (mapped,) = of(Mapped, drain(trained_engine))
    assert not (mapped.maps.labels(0.01) == 2).any()
    with trained.images.open(trained.items[-1]) as pixels:
        assert not reread.predict(pixels).probabilities[2].any()

    mask = np.zeros(trained.items[2].shape, np.uint8)
    mask[10:40, 10:40] = 2
    trained.accept(trained.items[2], mask)
    train(trained_engine)
    assert read_metadata(trained.rounds.last_model())["shown"] == [1, 2]


def test_drafts_obey_what_the_session_says_of_objects_now(trained: Session, trained_engine: Engine) -> None:
    """Also where it says so after the predictor was made, and in what goes with the file."""
    cells = trained.items[5]
    trained_engine.request_drafts([cells])
    drain(trained_engine)
    assert label(trained.prediction(cells), connectivity=2).max() > 1
    trained.update(one_object=True)
    trained_engine.request_drafts([cells], urgent=True)
    trained_engine.request_maps(cells)
    (mapped,) = of(Mapped, drain(trained_engine))
    for threshold in (0.2, 0.5, 0.8):
        assert label(mapped.maps.labels(threshold), connectivity=2).max() == 1
    stored = tifffile.imread(trained.folder / "predictions" / f"{cells.id}.tif")
    assert label(stored, connectivity=2).max() == 1
    train(trained_engine)
    assert read_metadata(trained.rounds.last_model())["one_object"] is True
