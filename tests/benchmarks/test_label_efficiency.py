import json

import pytest
import torch

pytest.importorskip("monai")

import label_efficiency
from label_efficiency import changed, examples, main, parse, tasks
from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.framing import settings_for_objects
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.model.checkpoint import save_checkpoint
from napari_semigda.model.network import SemiGDANet
from napari_semigda.training.recipe import Recipe
from packs import split_pack, truth
from tables import read_results

QUICK = ["--budget", "0.5", "--device", "cpu", "--threads", "1", "--working-size", "32"]


def run(pack, output, *more):
    return main(["--data", str(pack), "--labeled", "4", "--output", str(output), *QUICK, *more])


def test_an_absent_pack_is_skipped_in_a_sentence(tmp_path, capsys):
    assert run(tmp_path / "absent", tmp_path / "results") == 0

    assert capsys.readouterr().out.startswith("skipped: there is no pack in")
    assert not (tmp_path / "results").exists()


def test_changes_reach_into_a_recipe():
    recipe = changed(
        Recipe(),
        [
            "stage_two_optimizer.learning_rate=1e-4",
            "pseudo_label=hard",
            "one_object=true",
            "stage_one_share=null",
        ],
    )

    assert recipe.stage_two_optimizer.learning_rate == 1e-4
    assert recipe.stage_two_optimizer.kind == Recipe().stage_two_optimizer.kind
    assert (recipe.pseudo_label, recipe.one_object, recipe.stage_one_share) == ("hard", True, None)


@pytest.mark.parametrize("change", ["speed=9", "averaging.decay=1", "stage_two_optimizer.speed=9"])
def test_a_change_of_nothing_there_is_refused(change):
    with pytest.raises(SemiGDAError, match=change):
        changed(Recipe(), [change])


def test_each_run_has_a_file_of_its_own(make_pack, tmp_path):
    def names(*more):
        given = parse(["--data", str(pack), "--labeled", "3", "50%", "--budget", "1", "2.5", *more])
        return [task.file_name for task in tasks(given)]

    pack = make_pack([""] * 12)
    every = ["--method", *label_efficiency.METHODS, "--seeds", "2"]
    variants = [
        [],
        ["--recipe", "paper"],
        ["--recipe-change", "averaging=0.9"],
        ["--recipe-change", "averaging=0.9", "--name", "short memory"],
        ["--fresh-weights"],
        ["--one-object"],
        ["--adapt-decoder"],
        ["--random-split"],
        ["--framing", "tiles"],
        ["--working-size", "64"],
        ["--threads", "7"],
    ]
    ours = [name for variant in variants for name in names("--method", "ours", *variant)]

    assert len(set(names(*every))) == 2 * 2 * 2 * len(label_efficiency.METHODS)
    assert len(set(ours)) == 2 * 2 * len(variants)
    assert names(*every) == names(*every)


def test_examples_are_prepared_as_in_a_session(make_pack):
    split = split_pack(make_pack([""] * 5), "2", seed=0)
    settings = ImageSettings(working_size=32)

    known, unknown = (examples(split.labeled, settings, labeled=labeled) for labeled in (True, False))

    assert known[0].image.shape == (3, 32, 32)
    assert set(known[0].labels.unique().tolist()) == {0, 1}
    assert (unknown[0].labels == UNKNOWN).all()


def test_images_are_seen_as_a_session_would_see_them_unless_it_is_said(make_pack):
    pack = make_pack([""] * 6)

    def framing(*more):
        given = parse(["--data", str(pack), "--labeled", "3", "--working-size", "32", *more])
        return [task.conditions["framing"] for task in tasks(given)]

    objects = [truth(pair) for pair in split_pack(pack, "3", seed=0).labeled]
    fitting = settings_for_objects(objects, ImageSettings(working_size=32))
    assert framing() == [label_efficiency.framing_in_words(fitting)]
    assert framing("--framing", "tiles") == ["tiles"]
    assert label_efficiency.framing_in_words(ImageSettings(framing="tiles", zoom=0.5)) == "tiles at 0.5"


@pytest.mark.slow
def test_a_decoder_that_learns_is_told_apart_and_moves(make_pack, tmp_path):
    pack, output = make_pack([""] * 11 + ["1", "1"]), tmp_path / "results"
    assert run(pack, output, "--method", "ours", "--adapt-decoder") == 0
    (result,) = read_results(output)
    assert (result["name"], result["start"]) == ("adapted decoder", "shipped")

    model = SemiGDANet("compact")
    before = [tensor.clone() for tensor in model.autoencoder.decoder.parameters()]
    adapted = label_efficiency.AdaptedDecoder.of(model)
    optimizer = torch.optim.SGD([one for part in adapted.parts().values() for one in part.parameters()], lr=1)
    adapted.branches(torch.rand(1, 3, 32, 32))[1][:, 1].mean().backward()
    optimizer.step()
    after = list(model.autoencoder.decoder.parameters())
    assert any(not one.equal(other) for one, other in zip(before, after, strict=True))


@pytest.mark.slow
def test_every_method_leaves_its_result_in_a_file_and_in_the_table(make_pack, tmp_path, capsys):
    pack, output = make_pack([""] * 11 + ["1", "1"]), tmp_path / "results"

    assert run(pack, output, "--method", *label_efficiency.METHODS, "--at", "0.1", "9") == 0

    table = capsys.readouterr().out.splitlines()
    results = {result["method"]: result for result in read_results(output)}
    assert set(results) == set(label_efficiency.METHODS)
    assert len(table) == 2 + len(results)
    for method, result in results.items():
        assert len(result["images"]) == len(result["scores"]["dice"]) == result["test"] == 2
        assert result["mean"]["dice"] == pytest.approx(sum(result["scores"]["dice"]) / 2, abs=1e-3)
        assert 0 <= result["mean"]["iou"] <= result["mean"]["dice"] <= 1
        assert result["steps"] >= 1
        assert result["seconds"] >= 0.5
        assert [point["seconds"] >= 0.1 for point in result["curve"]] == [True]
        assert result["unlabeled"] == (0 if method in ("unet", "ours-labeled-only") else 7)
        assert any(f"{result['mean']['dice']:.3f}" in line for line in table)
    assert set(results["ours"]["also"]) == {"image branch", "mask branch"}
    assert results["ours"]["start"] in ("random", "shipped")
    assert set(results["unet"]["also"]) == {"averaged weights"}
    for method in ("carried", "afresh"):
        counts = [(one["labeled"], one["unlabeled"]) for one in results[method]["rounds"]]
        assert counts == [(1, 10), (2, 9), (4, 7)]


@pytest.mark.slow
def test_a_run_tells_which_weights_it_started_from(make_pack, tmp_path):
    pack, output = make_pack([""] * 8), tmp_path / "results"
    save_checkpoint(tmp_path / "tried.safetensors", SemiGDANet("compact", seed=9), {})

    run(pack, output, "--fresh-weights")
    run(pack, output, "--start", str(tmp_path / "tried.safetensors"))

    assert sorted(result["start"] for result in read_results(output)) == ["random", "tried"]


@pytest.mark.slow
def test_a_run_that_is_there_is_not_repeated_unless_asked_for(make_pack, tmp_path):
    pack, output = make_pack([""] * 8), tmp_path / "results"
    run(pack, output, "--method", "unet")
    (file,) = output.iterdir()
    marked = json.loads(file.read_text()) | {"steps": -1}
    file.write_text(json.dumps(marked))

    run(pack, output, "--method", "unet")
    assert json.loads(file.read_text())["steps"] == -1

    run(pack, output, "--method", "unet", "--again")
    assert json.loads(file.read_text())["steps"] > 0


@pytest.mark.slow
def test_a_run_that_fails_does_not_cost_the_others(make_pack, tmp_path, capsys):
    pack, output = make_pack([""] * 8), tmp_path / "results"

    # no size for a U-Net, which halves it four times
    assert run(pack, output, "--method", "unet", "ours-labeled-only", "--working-size", "40") == 1

    assert [result["method"] for result in read_results(output)] == ["ours-labeled-only"]
    assert "failed: " in capsys.readouterr().err
