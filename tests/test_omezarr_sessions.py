"""OME-Zarr stands wherever an image file may: sessions, moved images, the command line."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_semigda.cli import main
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.pictures import list_planes
from napari_semigda.model.checkpoint import save_checkpoint
from napari_semigda.model.network import SemiGDANet
from napari_semigda.session.session import Session
from tests.stores import noise, plane_of, write_store

UNITS = {"z": "micrometer", "c": "", "y": "micrometer", "x": "micrometer"}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with a stack of two channels, in OME-Zarr, and a TIFF."""
    folder = tmp_path / "images"
    pixels = noise((3, 2, 40, 50), np.uint16)
    write_store(folder / "stack.ome.zarr", pixels, "zcyx", scale=(2, 1, 0.5, 0.25), units=UNITS)
    tifffile.imwrite(folder / "single.tif", noise((40, 50)))
    return folder


def test_planes_of_a_store_become_items(images: Path, tmp_path: Path) -> None:
    with Session.create(tmp_path / "session", images) as session:
        assert [item.name for item in session.items] == [
            "single.tif",
            *(f"stack.ome.zarr · z {number}" for number in (1, 2, 3)),
        ]
        assert [item.id for item in session.items][1:] == ["stack_p0001", "stack_p0002", "stack_p0003"]
        second = session.items[2]
        assert (second.pixel_size, second.unit) == ((0.5, 0.25), "µm")
        np.testing.assert_array_equal(
            session.picture(second).pixels, plane_of(noise((3, 2, 40, 50), np.uint16), "zcyx", {"z": 1})
        )


@pytest.mark.parametrize("as_list", [False, True])
def test_a_store_may_be_named_like_a_file_and_added_later(
    images: Path, tmp_path: Path, as_list: bool
) -> None:
    store = images / "stack.ome.zarr"
    with Session.create(tmp_path / "session", images / "single.tif") as session:
        session.add_images([store] if as_list else store)
    with Session.open(tmp_path / "session") as session:
        assert len(session.items) == 4
        assert session.items[-1].name == "stack.ome.zarr · z 3"


def test_a_store_that_cannot_be_read_is_named_and_the_others_go_on(images: Path, tmp_path: Path) -> None:
    (images / "stack.ome.zarr" / "0" / ".zarray").unlink()
    with Session.create(tmp_path / "session", images) as session:
        assert [item.name for item in session.items] == ["single.tif"]
        ((path, reason),) = session.left_out
        assert path.name == "stack.ome.zarr"
        assert "array “0” is missing" in reason


def test_a_moved_store_is_found_again(images: Path, tmp_path: Path) -> None:
    with Session.create(tmp_path / "session", images) as session:
        assert session.missing_pictures() == []
        shutil.move(images / "stack.ome.zarr", tmp_path / "elsewhere" / "stack.ome.zarr")
        assert len(session.missing_pictures()) == 3
        assert len(session.find_moved_pictures(tmp_path / "elsewhere").found) == 3
        assert session.picture("stack_p0002").pixels.shape == (40, 50, 2)


def test_the_command_line_takes_stores(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = images / "stack.ome.zarr"
    assert main(["new", str(tmp_path / "session"), "--images", str(store), "--working-size", "32"]) == 0
    assert "3 images" in capsys.readouterr().out
    model = tmp_path / "model.safetensors"
    metadata = {"settings": ImageSettings(working_size=32).to_dict(), "class_names": ["object"]}
    save_checkpoint(model, SemiGDANet("compact", seed=0), metadata)
    masks = tmp_path / "masks"
    assert (
        main(["predict", str(store), "--model", str(model), "--output", str(masks), "--device", "cpu"]) == 0
    )
    assert sorted(path.name for path in masks.iterdir()) == [
        f"stack_p000{number}_mask.tif" for number in (1, 2, 3)
    ]
    (plane,) = list_planes(masks / "stack_p0001_mask.tif")
    assert (plane.shape, plane.unit) == ((40, 50), "µm")
    assert plane.pixel_size == pytest.approx((0.5, 0.25))
