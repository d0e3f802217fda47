"""What a script or a notebook uses: `Segmenter`, `Session` and `train_round`, from the package itself."""

import subprocess
import sys
from pathlib import Path

import dask.array
import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import torch
import xarray
from skimage.measure import label

import napari_semigda
from napari_semigda import (
    ImageSettings,
    Segmenter,
    SemiGDAError,
    SemiGDANet,
    Session,
    export_masks,
    train_round,
)
from napari_semigda.cli import main
from napari_semigda.samples import sample_pairs

SETTINGS = ImageSettings(working_size=32)
STEPS = 2


def accepted(folder: Path, count: int = 2, **choices: object) -> Session:
    """A session of six bundled images, some of them with their true masks."""
    pairs = sample_pairs()[:6]
    session = Session.create(folder, [image for image, _ in pairs], settings=SETTINGS, **choices)
    for item, (_, mask) in zip(session.items[:count], pairs, strict=False):
        session.accept(item, iio.imread(mask) > 0)
    return session


@pytest.fixture(scope="module")
def model(trained_once: Path) -> Segmenter:
    return Segmenter.from_pretrained(trained_once / "session", device="cpu")


# --- importing ----------------------------------------------------------------------------------


def imported(program: str) -> set[str]:
    """Names of the modules that a fresh Python has imported after a program."""
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ended.stdout.split())


def test_the_package_alone_imports_nothing_heavy() -> None:
    modules = imported("import napari_semigda; dir(napari_semigda)")
    assert "napari_semigda" in modules
    assert not modules & {"torch", "numpy", "diffusers", "napari", "qtpy"}


@pytest.mark.slow
def test_nothing_of_it_needs_a_window() -> None:
    modules = imported("from napari_semigda import *")
    assert {"napari_semigda.engine.engine", "torch"} <= modules
    assert not modules & {"napari", "qtpy", "PyQt6"}


def test_it_says_what_it_offers() -> None:
    assert {"Segmenter", "SemiGDANet", "Session", "train_round"} <= set(dir(napari_semigda))
    with pytest.raises(AttributeError, match="has no attribute 'semigda'"):
        _ = napari_semigda.semigda


# --- the model ----------------------------------------------------------------------------------


def test_a_model_predicts_what_the_session_drafted(trained: Path, model: Segmenter) -> None:
    with Session.open(trained / "session") as session:
        item = session.items[-1]
        np.testing.assert_array_equal(
            model.predict(session.picture(item).pixels).labels, session.prediction(item)
        )


def test_a_saved_model_is_the_same_elsewhere(model: Segmenter, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "lesions.safetensors")
    again = Segmenter.from_pretrained(tmp_path / "lesions.safetensors", device="cpu")
    assert again.class_names == model.class_names == ("object",)
    assert again.settings == model.settings == SETTINGS
    image = iio.imread(sample_pairs()[9][0])
    np.testing.assert_array_equal(again.predict(image).probabilities, model.predict(image).probabilities)


def test_names_of_earlier_versions_are_the_same_things() -> None:
    assert napari_semigda.SemiGDA is Segmenter
    assert Segmenter.save is Segmenter.save_pretrained


def test_the_network_is_a_module_with_a_channel_per_class() -> None:
    network = SemiGDANet("compact", classes=3).eval()
    probabilities = network(torch.zeros(1, 3, 64, 96))
    assert probabilities.shape == (1, 3, 64, 96)
    assert Segmenter(network, SETTINGS, ["cell", "edge"]).predict(np.zeros((40, 50))).labels.shape == (40, 50)


def test_what_is_no_model_is_refused_in_words(tmp_path: Path, model: Segmenter) -> None:
    with pytest.raises(SemiGDAError, match="no file"):
        Segmenter.from_pretrained(tmp_path / "absent.safetensors")
    with pytest.raises(SemiGDAError, match="no weights yet"), accepted(tmp_path / "untrained") as session:
        Segmenter.from_pretrained(session.folder)
    with pytest.raises(SemiGDAError, match="could not be written"):
        model.save(tmp_path)


def test_a_removed_class_is_not_predicted(model: Segmenter) -> None:
    image = iio.imread(sample_pairs()[9][0])
    assert model.predict(image).labels.any()
    without = Segmenter(model.model, model.settings, [""])
    assert not without.predict(image).labels.any()


def test_any_array_is_predicted_as_its_numbers_are(model: Segmenter) -> None:
    image = np.random.default_rng(0).integers(0, 4000, (40, 56), np.uint16)
    expected = model.predict(image).probabilities
    arrays = [
        dask.array.from_array(image, chunks=16),
        xarray.DataArray(image, dims=("y", "x")),
        xarray.DataArray(image.T, dims=("x", "y")),
        xarray.DataArray(image[None, None], dims=("T", "Z", "Y", "X")),
        xarray.DataArray(dask.array.from_array(image, chunks=16), dims=("y", "x")),
    ]
    for array in arrays:
        np.testing.assert_array_equal(model.predict(array).probabilities, expected)


def test_channels_may_come_first_where_axes_have_names(model: Segmenter) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)
    named = xarray.DataArray(np.moveaxis(image, -1, 0), dims=("c", "y", "x"))
    np.testing.assert_array_equal(model.predict(named).labels, model.predict(image).labels)
    stack = xarray.DataArray(np.zeros((2, 3, 40, 56)), dims=("t", "z", "y", "x"))
    with pytest.raises(SemiGDAError, match="the axes t and z: choose one plane"):
        model.predict(stack)
    assert model.predict(stack.isel(t=0, z=1)).labels.shape == (40, 56)


# --- the round ----------------------------------------------------------------------------------


def test_a_round_is_an_iterator_of_reports_and_leaves_drafts(tmp_path: Path) -> None:
    with accepted(tmp_path / "session") as session:
        reports = list(train_round(session, steps=STEPS, device="cpu"))
        assert [report.fraction for report in reports] == [0.5, 1.0]
        assert all(np.isfinite(report.losses["total"]) for report in reports)
        assert session.rounds[-1].status == "complete"
        waiting = session.queue()
        assert len(waiting) == 4
        assert all(session.prediction(item) is not None for item in waiting)
        assert session.queue(session.items[2], "list order", count=2) == list(session.items[3:5])


def test_a_round_without_drafts(tmp_path: Path) -> None:
    with accepted(tmp_path / "session") as session:
        list(train_round(session, steps=1, drafts=False, device="cpu"))
        assert session.rounds.last_model() is not None
        assert all(session.prediction(item) is None for item in session.items)


def test_leaving_the_loop_stops_a_round_that_can_go_on(tmp_path: Path) -> None:
    with accepted(tmp_path / "session") as session:
        for _ in train_round(session, steps=3, drafts=False, device="cpu"):
            break
        assert (session.rounds[-1].status, session.rounds[-1].steps) == ("stopped", 1)
        assert session.rounds.last_model() is not None
        rest = list(train_round(session, resume=True, drafts=False, device="cpu"))
        assert [report.step for report in rest] == [2, 3]
        assert session.rounds[-1].status == "complete"


def test_an_image_that_cannot_be_predicted_is_a_warning(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        tifffile.imwrite(pictures / f"{number}.tif", iio.imread(sample_pairs()[number][0]))
    with Session.create(tmp_path / "session", pictures, settings=SETTINGS) as session:
        session.accept(session.items[0], iio.imread(sample_pairs()[0][1]) > 0)
        reports = train_round(session, steps=1, device="cpu")
        next(reports)
        (pictures / "2.tif").unlink()
        assert list(reports) == []
        assert session.prediction(session.items[1]) is not None
        assert any("2.tif" in warning for warning in session.warnings)


def test_a_round_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    with accepted(tmp_path / "session", count=0) as session:
        with pytest.raises(SemiGDAError, match="at least one accepted mask"):
            train_round(session)
        session.accept(session.items[0], np.ones(session.items[0].shape, bool))
        with pytest.raises(SemiGDAError, match="no stopped round"):
            train_round(session, resume=True)
        with pytest.raises(SemiGDAError, match="no recipe"):
            train_round(session, recipe="grandmother's")


def test_a_round_that_fails_says_why(tmp_path: Path) -> None:
    with accepted(tmp_path / "session", weights=tmp_path / "nothing") as session:
        with pytest.raises(SemiGDAError, match="nothing"):
            list(train_round(session, steps=1, device="cpu"))
        assert session.rounds[-1].status == "failed"


# --- the session --------------------------------------------------------------------------------


def test_masks_leave_a_session_as_files(trained: Path, tmp_path: Path) -> None:
    with Session.open(trained / "session") as session:
        report = export_masks(session, tmp_path / "masks", include_predicted=True)
    assert [path.name for path in report.written] == [f"scan {n}_mask.tif" for n in range(6)]


def test_a_session_can_be_made_of_any_arrays(tmp_path: Path) -> None:
    image = np.arange(40 * 56, dtype=np.uint16).reshape(40, 56)
    colors = np.stack([image, image + 1], axis=-1)
    arrays = {
        "plain": image,
        "lazy": dask.array.from_array(image, chunks=16),
        "named": xarray.DataArray(np.moveaxis(colors, -1, 0), dims=("c", "y", "x")),
        "with its size": (image, (0.5, 0.25), "µm"),
    }
    with Session.from_arrays(tmp_path / "session", arrays) as session:
        pictures = [session.picture(item) for item in session.items]
    for picture, expected in zip(pictures, (image, image, colors, image), strict=True):
        np.testing.assert_array_equal(picture.pixels, expected)
    assert (pictures[0].pixel_size, pictures[0].unit) == ((1.0, 1.0), "pixel")
    assert (pictures[3].pixel_size, pictures[3].unit) == ((0.5, 0.25), "µm")


def test_at_most_one_object_is_in_whatever_is_predicted(tmp_path: Path) -> None:
    """By the round, a model from the session or from a file, the command line, and an export."""
    image = sample_pairs()[5][0]  # cells, of which the network finds several
    with accepted(tmp_path / "session", one_object=True) as session:
        list(train_round(session, steps=STEPS, device="cpu"))
        item = session.items[5]
        model = Segmenter.from_pretrained(session.folder, device="cpu")
        model.save(tmp_path / "one.safetensors")
        masks = {
            "draft": session.prediction(item),
            "model": model.predict(iio.imread(image)).labels,
            "file": Segmenter.from_pretrained(tmp_path / "one.safetensors", device="cpu")
            .predict(iio.imread(image))
            .labels,
            "stored": tifffile.imread(session.folder / "predictions" / f"{item.id}.tif"),
        }
        export_masks(session, tmp_path / "exported", include_predicted=True)
    masks["exported"] = tifffile.imread(tmp_path / "exported" / f"{image.stem}_mask.tif")
    asked = ["predict", str(image), "--model", str(tmp_path / "session"), "--device", "cpu"]
    assert main([*asked, "--output", str(tmp_path / "written")]) == 0
    masks["written"] = tifffile.imread(next((tmp_path / "written").glob("*.tif")))

    model.one_object = False
    assert label(model.predict(iio.imread(image)).labels, connectivity=2).max() > 1
    for name, mask in masks.items():
        assert label(mask, connectivity=2).max() == 1, name


def test_a_round_without_a_labeled_pixel_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with accepted(tmp_path / "session", count=0) as session:
        for item in session.items[:2]:
            session.accept(item, np.full(item.shape, 255, np.uint8))
        for resume in (False, True):
            with pytest.raises(SemiGDAError, match="is unlabeled" if not resume else "to resume"):
                train_round(session, steps=1, resume=resume)
        assert session.rounds == ()
    assert main(["train", str(tmp_path / "session"), "--steps", "1"]) == 1
    assert "Every pixel of the accepted masks is unlabeled" in capsys.readouterr().err
