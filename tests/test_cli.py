"""The command line, run as people run it: on real files, by its arguments, judged by exit code and output."""

import json
import os
import re
import signal
import subprocess
import sys

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from napari_semigda import SemiGDA
from napari_semigda.cli import main
from napari_semigda.cli.outputs import EXPORT_FORMATS
from napari_semigda.io.masks import read_labels
from napari_semigda.model.network import SemiGDANet
from napari_semigda.session.exporting.formats import FORMATS
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session
from tests.conftest import disc, write_discs

COMMANDS = ("new", "import", "train", "predict", "export", "relocate", "info", "import-checkpoint", "demo")
COUNT = 6
TINY = ["--working-size", "32"]


@pytest.fixture
def pictures(tmp_path):
    """Folders with images and masks of the same names."""
    write_discs(tmp_path, COUNT)
    return tmp_path


@pytest.fixture
def folder(pictures):
    """A session with two accepted masks."""
    images, masks = str(pictures / "images"), str(pictures / "masks")
    made = main(
        ["new", str(pictures / "s"), "--images", images, *TINY, "--masks", masks, "--label-count", "2"]
    )
    assert made == 0
    return pictures / "s"


def states(folder):
    with Session.open(folder) as session:
        return {item.name: session.state(item) for item in session.items}


def said(capsys):
    """What was written, on one line each for output and errors."""
    return tuple(re.sub(r"\s+", " ", text) for text in capsys.readouterr())


# --- help and usage -----------------------------------------------------------------------------


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n    {command}" in out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"semigda {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["train"],
        ["new", "somewhere"],
        ["train", "somewhere", "--steps", "0"],
        ["train", "somewhere", "--seconds", "-1"],
        ["train", "somewhere", "--seconds", "nan"],
        ["train", "somewhere", "--fresh", "--resume"],
        ["train", "somewhere", "--resume", "--steps", "3"],
        ["predict", "one", "two"],
        ["predict", "one.png", "--model", "m.safetensors"],
        ["new", "s", "--images", "i", "--channels", "red"],
    ],
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    assert main(arguments) == 2
    assert "usage: semigda" in capsys.readouterr().err


def test_the_module_runs_without_importing_anything_heavy():
    program = (
        "import sys; from napari_semigda.cli import main; code = main(['--help']); "
        "heavy = {'torch', 'diffusers', 'numpy', 'scipy', 'napari'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "COMMAND" in ended.stdout


def test_python_dash_m_is_the_command_line():
    ended = subprocess.run(
        [sys.executable, "-m", "napari_semigda", "--version"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0
    assert ended.stdout.startswith("napari-semigda ")


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [["train", "{}"], ["predict", "{}"], ["export", "{}", "{}/out"], ["info", "{}"], ["info", "{}/none"]],
)
def test_a_folder_that_is_no_session_is_an_error_in_one_sentence(arguments, tmp_path, capsys):
    assert main([part.format(tmp_path) for part in arguments]) == 1
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert str(tmp_path) in err
    assert err.strip().count("\n") == 0


def test_debug_shows_where_an_error_comes_from(tmp_path):
    with pytest.raises(Exception, match=re.escape(str(tmp_path))):
        main(["info", str(tmp_path), "--debug"])


def test_a_device_that_is_not_there(folder, capsys):
    assert main(["train", str(folder), "--device", "abacus"]) == 1
    assert "abacus" in said(capsys)[1]


def test_training_without_masks(pictures, capsys):
    assert main(["new", str(pictures / "s"), "--images", str(pictures / "images"), *TINY]) == 0
    assert main(["train", str(pictures / "s"), "--steps", "1"]) == 1
    assert "accept" in said(capsys)[1]


def test_predicting_before_training(folder, capsys):
    assert main(["predict", str(folder)]) == 1
    assert "train" in said(capsys)[1]


# --- new ----------------------------------------------------------------------------------------


def test_new_makes_a_session_of_a_folder(pictures, capsys):
    arguments = ["--classes", "nucleus, cell", "--framing", "tiles", "--zoom", "0.5", "--channels", "0"]
    code = main(
        ["new", str(pictures / "s"), "--images", str(pictures / "images"), "--one-object", *arguments]
    )
    assert code == 0
    assert "6 images" in said(capsys)[0]
    with Session.open(pictures / "s") as session:
        assert [one.name for one in session.classes] == ["nucleus", "cell"]
        assert len(session.items) == COUNT
        assert session.one_object
        assert (session.settings.framing, session.settings.zoom, session.settings.channels) == (
            "tiles",
            0.5,
            (0,),
        )
        assert session.settings.working_size == 128
        assert not session.framing_by_objects


def test_new_takes_single_files(pictures):
    files = [str(pictures / "images" / f"scan {number}.png") for number in (1, 4)]
    assert main(["new", str(pictures / "s"), "--images", *files]) == 0
    assert list(states(pictures / "s")) == ["scan 1.png", "scan 4.png"]


@pytest.mark.parametrize(("working_size", "framing"), [("32", "tiles"), ("64", "whole")])
def test_the_framing_fits_the_images_and_the_working_size(pictures, working_size, framing):
    iio.imwrite(pictures / "wide.png", np.zeros((30, 200), np.uint8))
    arguments = ["--images", str(pictures / "wide.png"), "--working-size", working_size]
    assert main(["new", str(pictures / "s"), *arguments]) == 0
    with Session.open(pictures / "s") as session:
        assert session.settings.framing == framing
        assert session.framing_by_objects, "the first round may fit it to the objects"


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (["--working-size", "33"], "working size"),
        (["--zoom", "0"], "zoom"),
        (["--preset", "huge"], "huge"),
        (["--classes", ""], "class"),
    ],
)
def test_wrong_settings_leave_nothing_behind(pictures, wrong, word, capsys):
    assert main(["new", str(pictures / "s"), "--images", str(pictures / "images"), *wrong]) == 1
    assert word in said(capsys)[1]
    assert not (pictures / "s" / "semigda.json").exists()


def test_new_refuses_a_number_of_masks_without_a_folder_of_them(pictures, tmp_path, capsys):
    made = tmp_path / "without masks"
    assert main(["new", str(made), "--images", str(pictures / "images"), "--label-count", "2"]) == 1
    assert "name their folder with --masks" in capsys.readouterr().err
    assert not made.exists()


def test_new_does_not_touch_a_session_that_is_there(folder, pictures, capsys):
    before = (folder / "semigda.json").read_bytes()
    assert main(["new", str(folder), "--images", str(pictures / "images")]) == 1
    assert (folder / "semigda.json").read_bytes() == before


def test_a_damaged_image_is_left_out_and_the_others_are_taken(pictures, capsys):
    (pictures / "images" / "torn.png").write_bytes(b"\x89PNG\r\n")
    assert main(["new", str(pictures / "s"), "--images", str(pictures / "images")]) == 3
    assert "torn.png" in said(capsys)[1]
    assert len(states(pictures / "s")) == COUNT


def test_masks_are_accepted(folder):
    accepted = [name for name, state in states(folder).items() if state is ItemState.ACCEPTED]
    assert len(accepted) == 2
    with Session.open(folder) as session:
        item = next(one for one in session.items if one.name == accepted[0])
        truth = iio.imread(folder.parent / "masks" / item.name)
        np.testing.assert_array_equal(session.labels.get(item), truth > 0)


def test_all_masks_are_accepted_if_no_number_is_given(pictures):
    arguments = ["--images", str(pictures / "images"), "--masks", str(pictures / "masks")]
    assert main(["new", str(pictures / "s"), *arguments]) == 0
    assert set(states(pictures / "s").values()) == {ItemState.ACCEPTED}


def test_a_seed_draws_other_masks(pictures):
    chosen = []
    for seed in ("0", "0", "1", "2", "3"):
        folder = pictures / f"s{len(chosen)}"
        arguments = ["--images", str(pictures / "images"), "--masks", str(pictures / "masks")]
        assert main(["new", str(folder), *arguments, "--label-count", "3", "--seed", seed]) == 0
        chosen.append({name for name, state in states(folder).items() if state is ItemState.ACCEPTED})
    assert all(len(names) == 3 for names in chosen)
    assert chosen[0] == chosen[1]
    assert len({frozenset(names) for names in chosen}) > 1


def test_a_mask_that_does_not_fit_is_named(pictures, capsys):
    iio.imwrite(pictures / "masks" / "scan 3.png", np.zeros((5, 5), np.uint8))
    arguments = ["--images", str(pictures / "images"), "--masks", str(pictures / "masks")]
    assert main(["new", str(pictures / "s"), *arguments]) == 3
    assert "scan 3.png" in said(capsys)[1]
    assert list(states(pictures / "s").values()).count(ItemState.ACCEPTED) == COUNT - 1


# --- train --------------------------------------------------------------------------------------


def test_training_leaves_a_model_and_drafts(trained_once):
    folder = trained_once / "session"
    with Session.open(folder) as session:
        (record,) = session.rounds
        assert (record.status, record.steps, len(record.labeled)) == ("complete", 3, 2)
        assert session.rounds.last_model() is not None
    assert sorted(state.value for state in states(folder).values()) == ["accepted"] * 2 + ["draft"] * 4


def test_training_tells_what_it_does(folder, capsys):
    assert main(["train", str(folder), "--steps", "2", "--no-drafts", "--seed", "3"]) == 0
    out, err = said(capsys)
    assert "2 labeled and 4 unlabeled" in out
    assert re.search(r"Stage 2, step 1/2, loss \d", out)
    assert "Round 1 is complete: 2 steps" in out
    assert err == ""
    assert ItemState.DRAFT not in states(folder).values()
    with Session.open(folder) as session:
        assert session.rounds[0].seed == 3


def test_a_second_round_goes_on_from_the_first_unless_fresh(trained, capsys):
    folder = trained / "session"
    assert main(["train", str(folder), "--steps", "1", "--no-drafts"]) == 0
    assert main(["train", str(folder), "--steps", "2", "--no-drafts", "--fresh"]) == 0
    with Session.open(folder) as session:
        assert [record.warm for record in session.rounds] == [False, True, False]


def test_seconds_limit_a_round(trained):
    assert main(["train", str(trained / "session"), "--seconds", "0.01", "--no-drafts"]) == 0
    with Session.open(trained / "session") as session:
        assert session.rounds[-1].steps == 1


def test_resuming_without_a_stopped_round(trained, capsys):
    assert main(["train", str(trained / "session"), "--resume"]) == 1
    assert "no stopped round" in said(capsys)[1]


def test_images_that_disappeared_do_not_end_a_round(folder, capsys):
    gone = next(name for name, state in states(folder).items() if state is ItemState.UNLABELED)
    (folder.parent / "images" / gone).unlink()
    assert main(["train", str(folder), "--steps", "2"]) == 3
    assert gone in said(capsys)[1]
    assert list(states(folder).values()).count(ItemState.DRAFT) == 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="another process cannot press Ctrl-C for it")
def test_ctrl_c_stops_between_two_steps_and_the_round_can_be_resumed(folder, capsys):
    command = [sys.executable, "-u", "-m", "napari_semigda", "train", str(folder), "--steps", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "step 1/" in line:
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "train --resume" in out
    with Session.open(folder) as session:
        stopped = session.rounds[-1]
        assert stopped.status == "stopped"
        assert 0 < stopped.steps < 20

    assert main(["train", str(folder), "--resume", "--no-drafts"]) == 0
    with Session.open(folder) as session:
        (resumed,) = session.rounds
        assert (resumed.status, resumed.steps) == ("complete", 20)


# --- predict ------------------------------------------------------------------------------------


def test_only_missing_drafts_are_made_unless_all_are_asked_for(trained, capsys):
    folder = trained / "session"
    assert main(["predict", str(folder)]) == 0
    assert "has a draft" in said(capsys)[0]
    with Session.open(folder) as session:
        missing = next(item for item in session.items if session.state(item) is ItemState.DRAFT)
    (folder / "predictions" / f"{missing.id}.tif").unlink()
    assert main(["predict", str(folder)]) == 0
    assert "1 image predicted" in said(capsys)[0]
    assert main(["predict", str(folder), "--all"]) == 0
    assert f"{COUNT} images predicted" in said(capsys)[0]


def test_predicting_again_after_a_further_round(trained, capsys):
    assert main(["train", str(trained / "session"), "--steps", "1", "--no-drafts"]) == 0
    assert main(["predict", str(trained / "session")]) == 0
    assert "4 images predicted" in said(capsys)[0]


def test_an_image_that_disappeared_is_named_and_the_others_are_predicted(trained, capsys):
    (trained / "images" / "scan 2.png").unlink()
    assert main(["predict", str(trained / "session"), "--all"]) == 3
    out, err = said(capsys)
    assert "scan 2.png" in err
    assert f"{COUNT - 1} images predicted" in out


def test_any_images_with_a_model(trained, capsys):
    stack = np.stack([disc(20)[0], disc(21)[0]])
    tifffile.imwrite(
        trained / "stack.tif", stack, imagej=True, resolution=(2, 4), metadata={"unit": "um", "axes": "TYX"}
    )
    (trained / "more" / "below").mkdir(parents=True)
    iio.imwrite(trained / "more" / "below" / "scan.png", disc(22)[0])
    model = trained / "session" / "rounds" / "001" / "model.safetensors"
    arguments = [str(trained / "stack.tif"), str(trained / "more"), "--model", str(model)]
    assert main(["predict", *arguments, "--output", str(trained / "out")]) == 0
    written = sorted(
        path.relative_to(trained / "out").as_posix() for path in (trained / "out").rglob("*.tif")
    )
    assert written == ["below/scan_mask.tif", "stack_p0001_mask.tif", "stack_p0002_mask.tif"]
    for path in written:
        labels = read_labels(trained / "out" / path)
        assert labels.shape == (48, 48)
        assert labels.max() <= 1
    with tifffile.TiffFile(trained / "out" / "stack_p0001_mask.tif") as tif:
        assert tif.pages[0].tags.valueof("XResolution") == (2, 1)
        assert tif.pages[0].tags.valueof("YResolution") == (4, 1)


def predict_images(trained, *arguments, model="session/rounds/001/model.safetensors"):
    model = trained / model
    paths = ["--model", str(model), "--output", str(trained / "out")]
    return main(["predict", str(trained / "images"), *paths, *arguments])


@pytest.mark.parametrize("model", ["session", "session/rounds/001/model.safetensors"])
def test_masks_outside_a_session_are_those_within_it(trained, model):
    assert predict_images(trained, model=model) == 0
    with Session.open(trained / "session") as session:
        for item in session.items:
            if session.state(item) is ItemState.DRAFT:
                written = read_labels(trained / "out" / item.name.replace(".png", "_mask.tif"))
                np.testing.assert_array_equal(written, session.prediction(item))


def test_existing_masks_are_only_overwritten_if_allowed(trained, capsys):
    assert predict_images(trained) == 0
    (kept := trained / "out" / "scan 0_mask.tif").write_bytes(b"precious")
    assert predict_images(trained) == 1
    assert "scan 0_mask.tif" in said(capsys)[1]
    assert kept.read_bytes() == b"precious"
    assert predict_images(trained, "--overwrite") == 0
    assert read_labels(kept).shape == (48, 48)


def test_an_image_is_never_overwritten_by_its_neighbors_mask(trained, capsys):
    picture = trained / "images" / "scan 0_mask.tif"
    tifffile.imwrite(picture, disc(3)[0])
    before = picture.read_bytes()
    model = trained / "session" / "rounds" / "001" / "model.safetensors"
    arguments = ["--model", str(model), "--output", str(trained / "images"), "--overwrite"]
    assert main(["predict", str(trained / "images"), *arguments]) == 1
    assert picture.read_bytes() == before


def test_no_prediction_becomes_an_accepted_mask(trained, capsys):
    labels = trained / "session" / "labels"
    before = {file.name: file.read_bytes() for file in labels.iterdir()}
    model = trained / "session" / "rounds" / "001" / "model.safetensors"
    arguments = ["--model", str(model), "--output", str(labels), "--overwrite"]
    assert main(["predict", str(trained / "images"), *arguments]) == 1
    assert "part of the session" in said(capsys)[1]
    assert {file.name: file.read_bytes() for file in labels.iterdir()} == before


def test_a_damaged_image_beside_sound_ones(trained, capsys):
    (trained / "images" / "torn.png").write_bytes(b"\x89PNG\r\n")
    assert predict_images(trained) == 3
    out, err = said(capsys)
    assert "torn.png" in err
    assert f"{COUNT} masks written" in out


def test_a_model_that_is_none(trained, capsys):
    (trained / "other.safetensors").write_bytes(b"not a model at all")
    arguments = ["--model", str(trained / "other.safetensors"), "--output", str(trained / "out")]
    assert main(["predict", str(trained / "images"), *arguments]) == 1
    assert "other.safetensors" in said(capsys)[1]


# --- export -------------------------------------------------------------------------------------


def test_export_writes_accepted_masks(trained, capsys):
    assert main(["export", str(trained / "session"), str(trained / "out")]) == 0
    assert "2 files written" in said(capsys)[0]
    for path in (trained / "out").glob("*.tif"):
        truth = iio.imread(trained / "masks" / path.name.replace("_mask.tif", ".png"))
        np.testing.assert_array_equal(tifffile.imread(path), truth > 0)


def test_export_writes_drafts_if_asked(trained, capsys):
    assert main(["export", str(trained / "session"), str(trained / "out"), "--predicted"]) == 0
    assert len(list((trained / "out").glob("*.tif"))) == COUNT


@pytest.mark.parametrize(
    ("options", "files"),
    [
        (["imagej", "--stack", "session"], ["session_masks.tif"]),
        (["ome-tiff"], ["*_mask.ome.tif"] * 2),
        (["objects", "--minimum-size", "5"], ["*_objects.tif"] * 2),
        (["probabilities", "--device", "cpu"], ["*_probability.tif"] * COUNT),
        (["overlays", "--no-contact-sheet"], ["*_overlay.png"] * 2),
        (["coco", "--polygons", "--predicted"], ["annotations.json"]),
        (["measurements"], ["images.csv", "objects.csv"]),
    ],
)
def test_export_in_other_formats(trained, options, files):
    assert main(["export", str(trained / "session"), str(trained / "out"), "--format", *options]) == 0
    written = sorted(path for path in (trained / "out").iterdir() if not path.name.startswith("."))
    assert all(path.match(file) for path, file in zip(written, files, strict=True))


def test_every_format_can_be_chosen():
    assert tuple(FORMATS) == EXPORT_FORMATS


@pytest.mark.parametrize(
    "options",
    [
        ["--stack", "file"],
        ["--format", "coco", "--no-contact-sheet"],
        ["--format", "imagej", "--minimum-size", "3"],
        ["--format", "objects", "--minimum-size", "0"],
        ["--format", "jpeg"],
        ["--update", "--overwrite"],
    ],
)
def test_options_that_mean_nothing_are_wrong_usage(trained, capsys, options):
    assert main(["export", str(trained / "session"), str(trained / "out"), *options]) == 2
    errors = said(capsys)[1]
    assert options[-1] in errors or "has no option" in errors
    assert not (trained / "out").exists()


def test_export_can_go_on_where_it_ended(trained, capsys):
    arguments = ["export", str(trained / "session"), str(trained / "out"), "--update"]
    assert main(arguments) == 0
    next((trained / "out").glob("*.tif")).unlink()
    assert main(arguments) == 0
    assert "1 file written" in (out := said(capsys)[0])
    assert "1 already up to date" in out


def test_export_overwrites_only_if_allowed(trained, capsys):
    arguments = ["export", str(trained / "session"), str(trained / "out")]
    assert [main(arguments), main(arguments), main([*arguments, "--overwrite"])] == [0, 1, 0]


def test_nothing_to_export(pictures, capsys):
    assert main(["new", str(pictures / "s"), "--images", str(pictures / "images")]) == 0
    assert main(["export", str(pictures / "s"), str(pictures / "out")]) == 1
    assert "nothing to export" in said(capsys)[1]


def test_an_accepted_mask_that_cannot_be_read_is_named(trained, capsys):
    damaged = next((trained / "session" / "labels").iterdir())
    damaged.write_bytes(b"II*\0 and nothing else")
    assert main(["export", str(trained / "session"), str(trained / "out")]) == 3
    assert damaged.name in said(capsys)[1]
    assert len(list((trained / "out").glob("*.tif"))) == 1


# --- relocate -----------------------------------------------------------------------------------


def test_moved_images_are_found_again(folder, pictures, capsys):
    (pictures / "late").mkdir()
    (pictures / "images" / "scan 0.png").rename(pictures / "late" / "scan 0.png")
    (pictures / "images").rename(pictures / "moved")

    assert main(["relocate", str(folder), str(pictures / "moved")]) == 3

    out, err = said(capsys)
    assert f"{COUNT - 1} images found." in out
    assert "scan 0.png is still missing. There is no file “scan 0.png” there." in err
    assert main(["relocate", str(folder), str(pictures / "late")]) == 0
    assert main(["relocate", str(folder), str(pictures / "late")]) == 0
    assert "No image is missing." in said(capsys)[0]
    with Session.open(folder) as session:
        assert [session.images.read(item).pixels.shape for item in session.items] == [(48, 48)] * COUNT


# --- info ---------------------------------------------------------------------------------------


def test_info_about_a_session_as_json(trained, capsys):
    with Session.open(trained / "session") as session:
        item = next(item for item in session.items if session.state(item) is ItemState.DRAFT)
        session.accept(item, session.prediction(item))
    assert main(["info", str(trained / "session"), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["images"] == COUNT
    assert about["states"] == {"unlabeled": 0, "unlabelled": 0, "draft": 3, "accepted": 3, "skipped": 0}
    assert about["classes"] == {"1": "object"}
    assert about["settings"]["working_size"] == 32
    (one,) = about["rounds"]
    assert (one["number"], one["status"], one["steps"]) == (1, "complete", 3)
    assert (one["drafts_corrected"], one["draft_dice"]) == (1, 1.0)
    assert (one["labeled"], one["unlabeled"]) == (one["labelled"], one["unlabelled"]) == (2, 4)


def test_info_for_people(trained, capsys):
    assert main(["info", str(trained / "session")]) == 0
    out = said(capsys)[0]
    for word in ("compact", "object", "accepted: 2", "complete"):
        assert word in out


def test_info_about_a_model(trained, capsys):
    model = trained / "session" / "rounds" / "001" / "model.safetensors"
    assert main(["info", str(model), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["preset"], about["classes"], about["round"]) == ("compact", 2, 1)


def test_markup_in_names_is_only_text(pictures, capsys):
    (pictures / "[red]odd[/]").mkdir(parents=True)
    iio.imwrite(pictures / "[red]odd[/]" / "a[b].png", disc(0)[0])
    images = ["--images", str(pictures / "[red]odd[/]")]
    assert main(["new", str(pictures / "[bold]s"), *images, "--classes", "[x]"]) == 0
    assert main(["info", str(pictures / "[bold]s")]) == 0
    assert "[x]" in said(capsys)[0]
    assert main(["export", str(pictures / "[bold]s"), str(pictures / "out")]) == 1


# --- import-checkpoint --------------------------------------------------------------------------


def test_a_checkpoint_of_the_authors_becomes_a_model(tmp_path, monkeypatch, capsys):
    """Their network is large: a small one stands for it here; `tests/model/test_released.py` has theirs."""

    def small(source, classes, **_):
        assert (source, classes) == (tmp_path / "stage2.pth", 3)
        return SemiGDANet("compact", classes)

    monkeypatch.setattr("napari_semigda.model.released.import_released", small)
    written = tmp_path / "model.safetensors"
    command = ["import-checkpoint", str(tmp_path / "stage2.pth"), str(written), "--classes", "lesion, rim"]
    assert main(command) == 0
    model = SemiGDA.from_pretrained(written, device="cpu")
    assert (model.class_names, model.settings.working_size) == (("lesion", "rim"), 224)
    assert main(command) == 1
    assert "already exists" in said(capsys)[1]
    assert main([*command, "--overwrite"]) == 0


def test_a_checkpoint_that_is_none_is_named(tmp_path, capsys):
    (tmp_path / "other.pth").write_bytes(b"nothing")
    assert main(["import-checkpoint", str(tmp_path / "other.pth"), str(tmp_path / "m.safetensors")]) == 1
    assert "other.pth" in said(capsys)[1]
    assert not (tmp_path / "m.safetensors").exists()


# --- what people and their files can do to it ----------------------------------------------------


def run_program(*arguments, **environment):
    """Run it as a program of its own."""
    command = [sys.executable, "-m", "napari_semigda", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env=os.environ | environment, timeout=120)


@pytest.fixture
def renamed(folder):
    """The session with a class whose name not every output can show."""
    manifest = json.loads((folder / "semigda.json").read_text(encoding="utf-8"))
    manifest["classes"][0]["name"] = "Läsion µ “[/bold]:bug:"
    (folder / "semigda.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_every_output_can_show_every_name(renamed, encoding):
    done = run_program("info", renamed, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    said_of_it = done.stdout.decode(encoding)
    assert "[/bold]:bug:" in said_of_it
    done = run_program("info", renamed, "--json", PYTHONIOENCODING=encoding)
    assert json.loads(done.stdout)["classes"]["1"] == "Läsion µ “[/bold]:bug:"


def test_names_do_not_steer_the_terminal(folder, tmp_path, capsys):
    manifest = json.loads((folder / "semigda.json").read_text())
    manifest["items"][0] |= {"name": "\x1b]0;title\x07 [/red]\x9b31m\u202e", "path": "\x1b[2Jgone.png"}
    (folder / "semigda.json").write_text(json.dumps(manifest))
    (tmp_path / "empty").mkdir()
    assert main(["relocate", str(folder), str(tmp_path / "empty")]) == 3
    out, err = said(capsys)
    assert "title" in err
    assert "\\x1b[2Jgone.png" in err
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(out + err)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_argument_is_unexpected(folder, capsys, command, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # an odd argument may name a folder to write to
    first = {
        "new": ["x", "--images"],
        "relocate": [str(folder)],
        "demo": ["--steps"],
        "export": [str(folder)],
        "import": [str(folder)],
        "import-checkpoint": ["x"],
    }
    for odd in ("", "9" * 5000, "\udce9", "a\0b", "nan", "-1"):
        code = main([command, *first.get(command, []), odd])
        out, err = said(capsys)
        assert code in (0, 1, 2, 3)
        assert "Something unexpected" not in out + err


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "0", "1e400", "x"])
def test_the_demo_takes_no_time_that_is_none(seconds, capsys):
    assert main(["demo", "--seconds", seconds]) == 2
    assert "above 0" in said(capsys)[1]


SLOW_IMPORT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
class Slow:
    def find_spec(self, name, *_):
        if name == module:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.01)
module, sys.argv = sys.argv[1], ["semigda", *sys.argv[2:]]
sys.meta_path.insert(0, Slow())
from napari_semigda.cli import main
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@pytest.mark.parametrize("module", ["argparse", "rich.table", "napari_semigda.cli.display", "numpy", "torch"])
def test_ctrl_c_while_modules_are_imported_is_one_line(folder, module):
    command = [sys.executable, "-c", SLOW_IMPORT, module, "info", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


INTERRUPTED_AT = """
import signal, sys
from napari_semigda import cli
from napari_semigda.io import files
from napari_semigda.session import item_list
place, sys.argv = sys.argv[1], ["semigda", *sys.argv[2:]]

class Loud:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def interrupt(*_, **__):
    if place == "destructor":
        Loud()
        while True:
            pass
    if place == "late import":
        sys.modules.pop("colorsys", None)
        sys.meta_path.insert(0, Late())
        import colorsys
        while True:
            pass
    signal.raise_signal(signal.SIGINT)

class Late:
    def find_spec(self, name, *_):
        sys.meta_path.remove(self)
        signal.raise_signal(signal.SIGINT)

item_list.json_or_none = interrupt
interrupt.__globals__["__name__"] = "napari_semigda.session.somewhere"
sys.exit(cli.main())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@pytest.mark.parametrize("place", ["anywhere", "destructor", "late import"])
def test_ctrl_c_is_one_line_wherever_it_comes(folder, place):
    command = [sys.executable, "-c", INTERRUPTED_AT, place, "info", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")
    with Session.open(folder) as session:
        assert session.read_only is None


CTRL_C_AT_THE_VERY_END = """
import os, signal, sys
class Late:
    def __del__(self, send=os.kill, me=os.getpid()):
        send(me, signal.SIGINT)
late, sys.argv = Late(), ["semigda", "--help"]
from napari_semigda.cli import main
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_ctrl_c_while_python_ends_changes_no_exit_code():
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C_AT_THE_VERY_END], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
