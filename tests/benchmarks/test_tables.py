import json
import random

import pytest

from napari_semigda.errors import SemiGDAError
from tables import DOCS, RESULTS, main, read_results, run_table, with_tables

PAGE = "Before.\n\n<!-- results: {} -->\nanything\n<!-- end -->\n\nAfter, by hand.\n"


def result(method="ours", seed=0, dice=0.5, **changes):
    ours = method not in ("unet", "mean-teacher")
    also = {"image branch": dice - 0.1, "mask branch": dice} if ours else {"averaged weights": dice}
    return {
        "pack": "busi",
        "labeled": 52,
        "unlabeled": 465,
        "split": "grouped",
        "method": method,
        "preset": "compact" if ours else None,
        "recipe": "default" if ours else None,
        "recipe_values": {"averaging": 0.98} if ours else None,
        "one_object": False,
        "name": "",
        "start": "random" if ours else None,
        "budget": 600.0,
        "working_size": 128,
        "framing": "whole",
        "device": "CPU Abacus",
        "threads": 1,
        "clock": "wall",
        "seed": seed,
        "steps": 100,
        "seconds": 601.0,
        "processor_seconds": 590.0,
        "torch": "2.13.0",
        "date": "2026-11-23",
        "mean": {"dice": dice, "iou": dice / 2, "hd95": 20.0},
        "spread": {"dice": 0.25, "iou": 0.2, "hd95": 9.0},
        "also": {name: {"dice": value} for name, value in also.items()},
        "rounds": [],
    } | changes


def table(name, results):
    """Lines of the section that a page gets."""
    page = with_tables(PAGE.format(name), results)
    assert page.startswith(f"Before.\n\n<!-- results: {name} -->\n")
    assert page.endswith("<!-- end -->\n\nAfter, by hand.\n")
    return [line for line in page.splitlines()[3:-3] if line]


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("name", ["comparison", "classes", "budget", "ablation", "carried"])
def test_a_section_without_runs_says_so(name):
    assert table(name, []) == ["Not run yet."]


def test_seeds_are_averaged_and_their_spread_is_told():
    conditions, _, _, ours, unet = table(
        "comparison",
        [result(dice=0.5), result(dice=0.7, seed=1), result("unet", dice=0.4, unlabeled=0)],
    )

    assert conditions == (
        "10 min of training; CPU Abacus, 1 thread; working size 128; near-duplicates and neighbors on one "
        "side; torch 2.13.0; 2026-11-23."
    )
    assert cells(ours)[:6] == ["busi", "52", "465", "whole", "ours (compact)", "2"]
    assert cells(ours)[6:11] == ["0.600 ± 0.141", "0.250", "0.300", "20.0", "100"]
    assert cells(ours)[11] == "image branch 0.500, mask branch 0.600"
    assert cells(unet)[4:7] == ["U-Net", "1", "0.400"]


def test_the_same_runs_give_the_same_page_in_whatever_order():
    runs = [
        result(method, seed, pack=pack, labeled=labeled, budget=budget, name=name)
        for method in ("mean-teacher", "ours")
        for seed in (0, 1)
        for pack in ("isic2017", "busi")
        for labeled in (10, 9)
        for budget in (600.0, 60.0)
        for name in (["", "λ = 1"] if method == "ours" else [""])
    ]
    page = "".join(PAGE.format(name) for name in ("comparison", "budget", "ablation", "carried"))
    shuffled = random.Random(0).sample(runs, len(runs))

    assert with_tables(page, shuffled) == with_tables(page, runs)
    assert with_tables(with_tables(page, runs), runs) == with_tables(page, runs)


def test_runs_under_other_conditions_are_in_another_table():
    lines = table("comparison", [result(), result(split="random"), result(device="GPU"), result(threads=2)])

    assert sum(line.startswith("10 min of training") for line in lines) == 4


def test_a_run_that_had_to_share_its_processor_is_named():
    starved = {"processor_seconds": 300.5}
    runs = [result(), result("unet", seed=1, **starved), result(device="GPU", **starved)]
    runs += [result(clock="processor", **starved)]

    warnings = [line for line in table("comparison", runs) if line.startswith("Got too little")]

    assert warnings == [
        "Got too little of the processor to be compared: U-Net on busi, 52 labeled, 10 min, seed 1 (50%)."
    ]


def test_conditions_say_whose_seconds_were_counted():
    lines = table("comparison", [result(clock="processor")])

    assert lines[0].startswith("10 min of training; seconds of the processor; CPU Abacus, 1 thread")


def test_patterns_choose_runs():
    runs = [result(), result(pack="isic2017"), result(pack="dsb2018"), result(budget=60.0)]

    lines = table("comparison pack=busi,isic* budget=600", runs)

    assert [cells(line)[0] for line in lines[3:]] == ["busi", "isic2017"]


def test_budgets_stand_side_by_side():
    runs = [result(budget=120.0, dice=0.4), result(budget=600.0), result("unet", budget=600.0, dice=0.3)]

    _, head, _, ours, unet = table("budget", runs)

    assert cells(head)[2:] == ["framing", "method", "2 min", "10 min"]
    assert cells(ours)[4:] == ["0.400", "0.500"]
    assert cells(unet)[4:] == ["—", "0.300"]


def test_variants_are_set_against_the_default_of_the_same_seeds():
    runs = [result(dice=0.5), result(seed=1, dice=0.6), result(seed=1, dice=0.63, name="cutmix off")]

    conditions, _, _, default, variant = table("ablation", runs)

    assert conditions.startswith("busi; 52 labeled; ours (compact); framing whole; 10 min of training;")
    assert cells(default)[:4] == ["default", "2", "0.550 ± 0.071", "—"]
    assert cells(variant)[:4] == ["cutmix off", "1", "0.630", "+0.030"]


def test_variants_from_other_weights_are_in_another_table():
    runs = [result(), result(name="a"), result(start="shipped"), result(start="shipped", name="a")]

    lines = table("ablation", runs)

    assert [line.split(";")[2] for line in lines if line.startswith("busi")] == [
        " ours (compact)",
        " ours (compact, pre-trained)",
    ]


def test_variants_stay_out_of_the_comparison():
    assert len(table("comparison", [result(), result(name="cutmix off")])) == 4


def test_rounds_are_listed_one_by_one():
    rounds = [
        {"labeled": count, "unlabeled": 517 - count, "steps": 50, "mean": {"dice": count / 100}}
        for count in (13, 26, 52)
    ]

    lines = table("carried", [result("carried", rounds=rounds), result("afresh", rounds=rounds)])

    assert [cells(line)[1:4] for line in lines[3:]] == [
        [network, str(number), str(labeled)]
        for network in ("carried over rounds (compact)", "afresh each round (compact)")
        for number, labeled in ((1, 13), (2, 26), (3, 52))
    ]


def test_runs_of_different_recipes_are_not_averaged():
    other = result(seed=1, recipe_values={"averaging": 0.5})

    with pytest.raises(SemiGDAError, match="different recipes"):
        run_table([result(), other])


def test_a_recipe_that_has_learnt_a_new_setting_is_still_the_same():
    newer = result(seed=1, recipe_values={"averaging": 0.98, "color": "red"})

    assert len(run_table([result(), newer]).splitlines()) == 3


def test_the_check_tells_whether_the_page_is_what_the_files_say(tmp_path):
    page, folder = tmp_path / "page.md", tmp_path / "results"
    folder.mkdir()
    (folder / "one.json").write_text(json.dumps(result()), encoding="utf-8")
    page.write_text(PAGE.format("comparison"), encoding="utf-8")
    given = ["--docs", str(page), "--results", str(folder)]

    assert main([*given, "--check"]) == 1
    assert "anything" in page.read_text(encoding="utf-8")
    assert main(given) == 0
    assert main([*given, "--check"]) == 0


def test_an_unknown_table_and_a_broken_file_are_refused_in_words(tmp_path):
    with pytest.raises(SemiGDAError, match="no table “totals”"):
        with_tables(PAGE.format("totals"), [])
    (tmp_path / "torn.json").write_text('{"pack"', encoding="utf-8")
    with pytest.raises(SemiGDAError, match=r"torn\.json"):
        read_results(tmp_path)


def test_the_documentation_shows_the_results_of_the_repository():
    text = DOCS.read_text(encoding="utf-8")

    assert with_tables(text, read_results(RESULTS)) == text


def test_dice_of_each_class_is_told_where_there_are_several():
    means = {"dice": 0.8, "iou": 0.7, "hd95": 5.0, "dice cytoplasm": 0.7, "dice nucleus": 0.9}
    runs = [result(pack="wbc", mean=means), result(pack="wbc", mean=means, seed=1), result()]

    conditions, head, _, row = table("classes", runs)

    assert conditions.startswith("wbc; 10 min of training")
    assert cells(head)[4:9] == ["seeds", "Dice, mean", "Dice, cytoplasm", "Dice, nucleus", "HD95, pixels"]
    assert cells(row)[3:] == [
        "ours (compact)",
        "2",
        "0.800 ± 0.000",
        "0.700 ± 0.000",
        "0.900 ± 0.000",
        "5.0",
        "100",
    ]
