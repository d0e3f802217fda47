"""Files from elsewhere, taken from the import of an image to its export."""

import csv
import json
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import tifffile
import torch
from safetensors import safe_open

from napari_semigda import SemiGDA, SemiGDAError, Session, export_masks, train_round
from napari_semigda.cli import main
from napari_semigda.io.pictures import list_planes
from napari_semigda.session.exporting.formats import FORMATS, Coco, Measurements
from tests.cases.conftest import MakeSession, square, stored_mask, write_images

UNITS = {
    "imagej's own lines": "x\nimages=7\nframes=7",
    "a second unit": "u\nunit=\nspacing=nan",
    "a hyperstack": "q\nhyperstack=true\nslices=3\nimages=3",
    "very long": "u" * 200_000,
    "a null": "a\0b",
    "half a pair": "\ud800",
    "an escape": "\x1b[31m",
}


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_whatever_the_unit_of_a_pixel_the_mask_comes_back_and_is_exported(
    make_session: MakeSession, tmp_path: Path, unit: str
) -> None:
    folder = make_session(accepted=0)
    manifest = json.loads((folder / "semigda.json").read_text())
    for item in manifest["items"]:
        item |= {"unit": unit, "pixel_size": [0.5, 0.5]}
    (folder / "semigda.json").write_text(json.dumps(manifest))
    try:
        session = Session.open(folder)
    except SemiGDAError:
        return
    with session:
        item = session.items[0]
        session.accept(item, square(0))
        np.testing.assert_array_equal(stored_mask(folder, item.id), square(0))
        for name, exporter in FORMATS.items():
            if name != "probabilities":  # for these a network is needed
                assert export_masks(session, tmp_path / name, exporter()).written


def test_no_cell_of_a_table_is_run_by_a_spreadsheet(make_session: MakeSession, tmp_path: Path) -> None:
    folder = make_session(names=['=HYPERLINK("x").tif', "b.tif"], classes=["@SUM(1+1)"])
    assert main(["export", str(folder), str(tmp_path / "out"), "--format", "measurements"]) == 0
    for table in (tmp_path / "out").glob("*.csv"):
        cells = [cell for row in csv.reader(table.open(encoding="utf-8-sig")) for cell in row]
        assert not [cell for cell in cells if re.match(r"[=+@]", cell)]


def test_images_of_one_name_are_told_apart_in_tables_and_in_coco(tmp_path: Path) -> None:
    folders = [write_images(tmp_path / patient, ["f1.tif"]) for patient in ("p1", "p2")]
    with Session.create(tmp_path / "session", folders) as session:
        for item in session.items:
            session.accept(item, square(0))
        (coco,) = export_masks(session, tmp_path / "coco", Coco()).written
        tables = export_masks(session, tmp_path / "tables", Measurements()).written
    images = json.loads(coco.read_text("utf-8"))["images"]
    assert len({image["file_name"] for image in images}) == 2
    (images_table,) = (table for table in tables if table.name == "images.csv")
    assert len({row["image"] for row in csv.DictReader(images_table.open(encoding="utf-8-sig"))}) == 2


def test_a_slide_scanner_says_how_large_a_pixel_is(tmp_path: Path) -> None:
    pixels = np.zeros((256, 256, 3), np.uint8)
    name = "Aperio Image Library v11\n256x256 |AppMag = 20|MPP = 0.4990"
    with tifffile.TiffWriter(tmp_path / "slide.tif") as tif:
        tif.write(pixels, tile=(128, 128), photometric="rgb", description=name, metadata=None)
        small = {"photometric": "rgb", "description": "Aperio Image Library v11\nthumbnail", "metadata": None}
        tif.write(pixels[::4, ::4], rowsperstrip=64, **small)
    (plane,) = list_planes(tmp_path / "slide.tif")
    assert plane.pixel_size == pytest.approx((0.499, 0.499))
    assert plane.unit == "µm"


# Weights -----------------------------------------------------------------------------------------


def tensors_file(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


class _Weights:
    """The weights of a trained session, to be written with something changed."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, "pt") as file:
            self.metadata = file.metadata()
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def of_each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> bytes:
        return safetensors.torch.save({k: change(v) for k, v in self.tensors.items()}, self.metadata)

    def saying(self, **changes: object) -> bytes:
        said = json.loads(self.metadata["semigda"]) | changes
        return safetensors.torch.save(self.tensors, {"semigda": json.dumps(said)})


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open, ("executed",)


WEIGHTS: dict[str, Callable[[_Weights], bytes]] = {
    "nothing": lambda _: b"",
    "a pickle": lambda _: pickle.dumps(_Evil()),
    "a header without end": lambda _: struct.pack("<Q", 2**62) + b"{}",
    "a deep header": lambda _: tensors_file(b'{"a":' + b"[" * 100_000),
    "no description": lambda weights: safetensors.torch.save(weights.tensors),
    "no numbers": lambda weights: weights.of_each(lambda v: v * float("nan") if v.is_floating_point() else v),
    "other shapes": lambda weights: weights.of_each(lambda v: v[:1].clone() if v.ndim else v),
    "a few weights": lambda weights: safetensors.torch.save(
        dict(list(weights.tensors.items())[:5]), weights.metadata
    ),
    "a billion classes": lambda weights: weights.saying(classes=10**9),
    "a preset in a list": lambda weights: weights.saying(preset=["compact"]),
    "a huge working size": lambda weights: weights.saying(settings={"working_size": 10**9}),
    "an autoencoder to be made up": lambda weights: weights.saying(
        autoencoder={"source": "random:99999999999999999999", "signature": [0] * 8}
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_are_none_are_refused_in_words_wherever_they_are_used(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = trained / "session"
    model = folder / "rounds" / "001" / "model.safetensors"
    model.write_bytes(WEIGHTS[kind](_Weights(model)))
    with pytest.raises(SemiGDAError):
        SemiGDA.from_pretrained(folder, device="cpu")
    for command in (
        ["info", model],
        ["predict", folder, "--all"],
        ["export", folder, "out", "--format", "probabilities"],
    ):
        assert main([str(word) for word in command]) in (0, 1, 3)
    said = capsys.readouterr()
    assert "unexpected" not in said.out + said.err
    with Session.open(folder) as session:
        try:  # it goes on from weights that can be used, or says that there are none
            assert len(list(train_round(session, steps=1, drafts=False, device="cpu"))) == 1
        except SemiGDAError:
            assert session.rounds[-1].status == "failed"
    assert not (tmp_path / "executed").exists()
