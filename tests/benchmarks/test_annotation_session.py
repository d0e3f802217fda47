import json

import numpy as np
import pytest

pytest.importorskip("monai")
pytest.importorskip("matplotlib")

import curves
from annotation_session import comparisons, main, needed_table, parse, tasks
from napari_semigda.session.ranking import ORDERS
from tables import read_results

QUICK = ["--budget", "0.2", "--device", "cpu", "--working-size", "32", "--accepts", "2", "2"]


def run(pack, output, *more):
    return main(["--data", str(pack), "--output", str(output), "--test", "3", *QUICK, *more])


def made_up(strategy, dice, changed=0.1, seed=0, **more):
    """A run that accepted 4 images a round and came to these Dice."""
    return {
        "pack": "busi",
        "split": "grouped",
        "pool": 100,
        "strategy": strategy,
        "preset": None if strategy == "unet-random" else "compact",
        "recipe": None if strategy == "unet-random" else "default",
        "name": "",
        "one_object": True,
        "accepts": [4] * len(dice),
        "budget": 60.0,
        "working_size": 128,
        "device": "CPU",
        "threads": 1,
        "clock": "wall",
        "seed": seed,
        "test": 130,
        "torch": "2.13",
        "date": "2026-11-23",
        "rounds": [{"accepted": 4 * number, "dice": value} for number, value in enumerate(dice, start=1)],
        "accepted": [{"changed": changed} for _ in range(4 * len(dice))],
    } | more


MAIN = ("mixed", "unet-random")
REST = sorted({*ORDERS} - {*MAIN})


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [*MAIN, *(pytest.param(one, marks=pytest.mark.nightly) for one in REST)])
def test_an_annotator_works_through_a_pack(make_pack, tmp_path, strategy):
    output = tmp_path / "results"
    assert run(make_pack([""] * 12), output, "--strategies", strategy, "--rest") == 0

    (result,) = read_results(output)
    assert [point["accepted"] for point in result["rounds"]] == [2, 4]
    for point in result["rounds"]:
        assert 0 <= point["dice"] <= 1
        assert 0 <= point["rest"] <= 1
        assert point["steps"] > 0
    images = [one["image"] for one in result["accepted"]]
    assert len(set(images)) == 4
    assert [one["learned"] for one in result["accepted"]] == [0, 0, 2, 2]
    # without a draft everything is drawn: all of the object, which the generated masks never lack
    assert [one["dice"] for one in result["accepted"][:2]] == [0, 0]
    assert all(0 < one["changed"] < 1 for one in result["accepted"][:2])


@pytest.mark.slow
def test_a_run_that_is_there_is_not_made_again(make_pack, tmp_path, capsys):
    pack, output = make_pack([""] * 8), tmp_path / "results"
    arguments = ("--strategies", "in order", "--accepts", "2")
    assert run(pack, output, *arguments) == 0
    (file,) = output.iterdir()
    kept = json.loads(file.read_text()) | {"date": "2020-01-01"}
    file.write_text(json.dumps(kept))

    assert run(pack, output, *arguments) == 0
    assert "is there already" in capsys.readouterr().err
    assert json.loads(file.read_text())["date"] == "2020-01-01"
    assert run(pack, output, *arguments, "--again") == 0
    assert json.loads(file.read_text())["date"] != "2020-01-01"


def test_more_images_than_there_are_cannot_be_accepted(make_pack, tmp_path, capsys):
    assert run(make_pack([""] * 6), tmp_path / "results", "--strategies", "random", "--accepts", "9") == 1
    assert "9 images cannot be accepted of 3" in capsys.readouterr().err


def test_an_absent_pack_is_skipped_in_a_sentence(tmp_path, capsys):
    assert run(tmp_path / "absent", tmp_path / "results") == 0
    assert capsys.readouterr().out.startswith("skipped: there is no pack in")


def test_each_run_has_a_file_of_its_own(make_pack):
    pack = make_pack([""] * 12)

    def names(*more):
        given = parse(["--data", str(pack), "--strategies", "mixed", "random", "--seeds", "2", *more])
        return [task.file_name for task in tasks(given)]

    variants = (
        ["--one-object"],
        ["--clock", "processor"],
        ["--pool", "5"],
        ["--budget", "2"],
        ["--accepts", "3"],
    )
    every = names() + [name for more in variants for name in names(*more)]
    assert len(set(every)) == len(every) == 2 * 2 * 6


def test_the_pool_and_the_test_share_nothing(make_pack):
    pack = make_pack([""] * 12)
    (task, *_) = tasks(parse(["--data", str(pack), "--pool", "5", "--test", "4"]))
    assert len(task.pool) == 5
    assert len(task.split.test) == 4
    assert not {pair.stem for pair in task.pool} & {pair.stem for pair in task.split.test}


def test_images_needed_are_read_off_the_mean_curve():
    runs = [made_up("mixed", [0.2, 0.4, 0.6], seed=0), made_up("mixed", [0.4, 0.6, 0.8], seed=1)]
    ((mixed,),) = comparisons(runs)
    assert mixed.dice.mean(axis=0).tolist() == pytest.approx([0.3, 0.5, 0.7])
    assert mixed.needed(0.3) == mixed.needed(0.1) == 4
    assert mixed.needed(0.4) == pytest.approx(6)
    assert mixed.needed(0.7) == pytest.approx(12)
    assert mixed.needed(0.71) is None


def test_effort_is_the_share_changed_in_the_drafts_of_the_round_before():
    shares = [0.5] * 4 + [0.2] * 4 + [0.1, 0.1, 0.1, 0.5]
    run_ = made_up("mixed", [0.2, 0.4, 0.6]) | {"accepted": [{"changed": share} for share in shares]}
    ((mixed,),) = comparisons([run_])
    np.testing.assert_allclose(mixed.effort, [[0.5, 0.2, 0.2]])


def test_the_table_sets_each_strategy_beside_the_unet():
    table = needed_table([made_up("mixed", [0.3, 0.5, 0.7]), made_up("unet-random", [0.1, 0.3, 0.5])])
    mixed, unet = table.splitlines()[-2:]
    assert mixed.startswith("| mixed | 1 |")
    assert unet.startswith("| random order, supervised U-Net | 1 |")
    head = table.splitlines()[2].split(" | ")
    at = head.index("Dice 0.50")
    assert mixed.split(" | ")[at] == "8 (0.67 ×)"
    assert unet.split(" | ")[at] == "12"
    assert unet.split(" | ")[head.index("Dice 0.55")] == "—"


def test_runs_under_other_conditions_are_not_compared():
    runs = [
        made_up("mixed", [0.3, 0.5]),
        made_up("mixed", [0.4, 0.6], budget=120.0),
        made_up("random", [0.2, 0.3]),
    ]
    strategies = [[one.strategy for one in group] for group in comparisons(runs)]
    assert sorted(strategies) == [["mixed"], ["mixed", "random"]]


def test_curves_are_drawn_from_the_files(tmp_path, capsys):
    results = tmp_path / "results"
    results.mkdir()
    for seed in range(3):
        for strategy in (*ORDERS, "unet-random"):
            run_ = made_up(strategy, [0.3, 0.5 + seed / 20, 0.7], seed=seed)
            (results / f"{strategy}{seed}.json").write_text(json.dumps(run_))
    assert curves.main(["--results", str(results), "--pictures", str(tmp_path / "pictures")]) == 0
    (picture,) = (tmp_path / "pictures").iterdir()
    assert picture.name == "annotation_busi.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "| mixed | 3 |" in capsys.readouterr().out


def test_a_drawing_names_its_axes():
    ((*runs,),) = comparisons([made_up("mixed", [0.3, 0.5]), made_up("unet-random", [0.2, 0.4])])
    quality, work = curves.draw(runs).axes
    assert (quality.get_xlabel(), quality.get_ylabel()) == ("images accepted", "Dice on test images")
    assert "pixels changed" in work.get_ylabel()
    assert [text.get_text() for text in quality.get_legend().get_texts()] == [one.strategy for one in runs]


def test_nothing_to_draw_is_said(tmp_path, capsys):
    assert curves.main(["--results", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out.startswith("skipped: there is no result in")
