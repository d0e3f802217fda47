"""Rounds leave a record each; a bad end never costs the weights from before."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from napari_semigda.errors import SemiGDAError
from napari_semigda.session.rounds import append_point, read_curves
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget, Recipe


def begin(session: Session, *, warm: bool = False) -> int:
    return session.rounds.begin(
        Recipe(), Budget(seconds=60), 7, warm, started_from="round 1" if warm else ""
    ).number


def leave_weights(session: Session, number: int, name: str = "model.safetensors") -> Path:
    path = session.rounds.folder(number) / name
    save_file({"weight": np.full(100, number, np.float32)}, path)
    return path


@pytest.fixture
def labeled(session: Session) -> Session:
    session.accept("image_2", np.zeros(session.item("image_2").shape, int))
    session.skip("image_3")
    return session


def test_a_round_is_recorded_from_beginning_to_end(labeled: Session) -> None:
    record = labeled.rounds.begin(Recipe(), Budget(steps=40), 7, False)
    assert (record.number, record.status, record.stages) == (1, "running", (2,))
    assert record.labeled == ("image_2",)
    assert record.unlabeled == 4
    assert Recipe.from_dict(record.recipe) == Recipe()
    assert Budget.from_dict(record.budget) == Budget(steps=40)
    assert labeled.rounds.folder(1) == labeled.folder / "rounds" / "001"
    assert labeled.rounds == (record,)

    ended = labeled.rounds.finish(record, "complete", steps=40, seconds=12.3456)
    assert (ended.status, ended.steps, ended.seconds) == ("complete", 40, 12.346)
    assert ended.ended is not None
    assert ended.ended >= record.started
    assert labeled.rounds == Session.open(labeled.folder).rounds == (ended,)


@pytest.mark.parametrize(
    ("change", "warm", "stages"),
    [
        ({}, False, (2,)),  # compact comes trained before
        ({"preset": "taesd"}, False, (1, 2)),
        ({"preset": "taesd"}, True, (2,)),
        ({"weights": Path("own.safetensors")}, False, (1, 2)),
    ],
)
def test_only_what_was_never_trained_begins_with_stage_one(
    labeled: Session, change: dict[str, Any], warm: bool, stages: tuple[int, ...]
) -> None:
    for name, value in change.items():
        setattr(labeled, name, value)
    assert labeled.rounds.begin(Recipe(), Budget(steps=40), 7, warm).stages == stages


def test_the_newest_whole_weights_are_used(labeled: Session) -> None:
    assert labeled.rounds.last_model() is None
    for status in ("complete", "stopped", "failed", "complete", "complete"):
        begin(labeled)
        labeled.rounds.finish(labeled.rounds[-1], status, steps=1, seconds=1.0)  # type: ignore[arg-type]
    models = {number: leave_weights(labeled, number) for number in range(1, 6)}
    assert labeled.rounds.last_model() == models[5]
    models[5].write_bytes(models[5].read_bytes()[:-10])
    assert labeled.rounds.last_model() == models[4]
    models[4].unlink()
    assert (
        labeled.rounds.last_model() == models[3]
    )  # written when it was stopped; it failed after being resumed
    models[3].unlink()
    assert labeled.rounds.last_model() == models[2]
    models[2].write_bytes(b"")
    assert Session.open(labeled.folder).rounds.last_model() == models[1]


def test_a_round_that_died_with_its_program_is_stopped_or_failed(labeled: Session) -> None:
    leave_weights(labeled, begin(labeled), "state.safetensors")
    begin(labeled)
    assert [record.status for record in labeled.rounds] == ["running", "running"]
    files = [labeled.rounds.folder(number) / "round.json" for number in (1, 2)]
    before = [file.read_bytes() for file in files]
    again = Session.open(labeled.folder)
    assert [record.status for record in again.rounds] == ["stopped", "failed"]
    assert all("program ended" in record.message for record in again.rounds)
    assert [file.read_bytes() for file in files] == before


def test_a_stopped_round_is_taken_up_again(labeled: Session) -> None:
    leave_weights(labeled, begin(labeled), "state.safetensors")
    stopped = labeled.rounds.finish(labeled.rounds[0], "stopped", steps=5, seconds=2.0)
    labeled.close()
    again = Session.open(labeled.folder)
    resumed = again.rounds.resume(1)
    assert (resumed.number, resumed.status, resumed.steps) == (1, "running", 5)
    assert resumed.labeled == stopped.labeled
    assert again.rounds == (resumed,)


def test_what_cannot_be_resumed_is_told(labeled: Session) -> None:
    with pytest.raises(SemiGDAError, match="no round 1"):
        labeled.rounds.resume(1)
    begin(labeled)
    labeled.rounds.finish(labeled.rounds[0], "complete", steps=5, seconds=2.0)
    with pytest.raises(SemiGDAError, match="Round 1 cannot be resumed: it is complete"):
        labeled.rounds.resume(1)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"number": 2}', "null"])
def test_a_damaged_record_leaves_the_other_rounds(labeled: Session, content: str) -> None:
    begin(labeled)
    kept = labeled.rounds.finish(labeled.rounds[0], "complete", steps=5, seconds=2.0)
    begin(labeled)
    (labeled.rounds.folder(2) / "round.json").write_text(content)
    (labeled.folder / "rounds" / "notes").mkdir()
    labeled.close()
    again = Session.open(labeled.folder)
    assert again.rounds == (kept,)
    assert begin(again) == 3


def test_records_can_be_read_by_anyone(labeled: Session) -> None:
    begin(labeled, warm=True)
    values = json.loads((labeled.rounds.folder(1) / "round.json").read_text())
    assert values["started_from"] == "round 1"
    assert values["budget"] == {"steps": None, "seconds": 60}


def test_curves_grow_by_points(labeled: Session) -> None:
    folder = labeled.rounds.folder(begin(labeled))
    assert read_curves(folder) == []
    for step in range(3):
        append_point(folder, {"step": step, "loss": 1 / (step + 1)})
    with (folder / "curves.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    append_point(folder, {"step": 4})
    assert [point["step"] for point in read_curves(folder)] == [0, 1, 2, 4]


def test_old_weights_and_states_go_but_not_what_somebody_may_go_back_to(labeled: Session) -> None:
    statuses = ("complete", "stopped", "complete", "failed", "complete", "stopped")
    for status in statuses:
        number = begin(labeled)
        leave_weights(labeled, number)
        leave_weights(labeled, number, "state.safetensors")
        labeled.rounds.finish(labeled.rounds[-1], status, steps=1, seconds=1.0)  # type: ignore[arg-type]

    def left(name: str) -> list[int]:
        return [
            record.number
            for record in labeled.rounds
            if (labeled.rounds.folder(record.number) / name).exists()
        ]

    assert left("model.safetensors") == [3, 5, 6]
    assert left("state.safetensors") == [6]
    assert left("round.json") == [1, 2, 3, 4, 5, 6]
    assert labeled.rounds.last_model() == labeled.rounds.folder(6) / "model.safetensors"
    assert labeled.labels.get("image_2") is not None
    assert labeled.rounds.resume(6).status == "running"


def test_weights_that_broke_are_no_reason_to_remove_others(labeled: Session) -> None:
    for _ in range(3):
        number = begin(labeled)
        path = leave_weights(labeled, number)
        if number > 1:
            path.write_bytes(b"broken")
        labeled.rounds.finish(labeled.rounds[-1], "complete", steps=1, seconds=1.0)
    assert labeled.rounds.last_model() == labeled.rounds.folder(1) / "model.safetensors"
