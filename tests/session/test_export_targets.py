"""An export writes nothing where the session has its own files, and over no picture, whatever names say."""

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_semigda.cli import main
from napari_semigda.errors import SemiGDAError
from napari_semigda.io.masks import read_labels
from napari_semigda.session.export import Existing, Export, export_masks
from napari_semigda.session.exporting.formats import Overlays
from napari_semigda.session.session import Session


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A closed session in `session` of the pictures `a.tif` and `a_mask.tif`; both are accepted."""
    (tmp_path / "pictures").mkdir()
    for name in ("a.tif", "a_mask.tif"):
        tifffile.imwrite(tmp_path / "pictures" / name, np.zeros((8, 9), np.uint8))
    files = [tmp_path / "pictures" / "a.tif", tmp_path / "pictures" / "a_mask.tif"]
    with Session.create(tmp_path / "session", files) as session:
        for item in session.items:
            session.accept(item, np.ones(item.shape, np.uint8))
    return tmp_path / "session"


def renamed(folder: Path, lead: str) -> None:
    """Have the items called after another place, as the maker of a session can."""
    manifest = json.loads((folder / "semigda.json").read_text("utf-8"))
    for item in manifest["items"]:
        item["name"] = f"{lead}/{item['name']}"
    (folder / "semigda.json").write_text(json.dumps(manifest), "utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("lead", ["labels", "LABELS", "edits", "predictions", "rounds/001", "images"])
def test_names_do_not_lead_into_the_folders_of_the_session(folder: Path, lead: str) -> None:
    renamed(folder, lead)
    with Session.open(folder) as session:
        before = contents(folder)
        for overwrite in (False, True):
            with pytest.raises(SemiGDAError, match="session itself"):
                export_masks(session, folder, overwrite=overwrite)
        assert contents(folder) == before


def test_neither_from_the_folder_around_nor_by_a_link(folder: Path, tmp_path: Path) -> None:
    renamed(folder, "session/labels")
    (tmp_path / "around").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "out" / "session").mkdir(parents=True)
    (tmp_path / "out" / "session" / "labels").symlink_to(folder / "labels", target_is_directory=True)
    with Session.open(folder) as session:
        before = contents(folder)
        for target in (tmp_path, tmp_path / "around", tmp_path / "out", folder / "labels", folder / "Labels"):
            with pytest.raises(SemiGDAError):
                export_masks(session, target, overwrite=True)
        assert contents(folder) == before


def test_no_picture_is_overwritten_under_any_of_its_names(tmp_path: Path) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    for each in (pictures, out):
        each.mkdir()
    for name in ("a.png", "contact_sheet.png"):
        Image.fromarray(np.zeros((8, 9), np.uint8)).save(pictures / name)
    os.link(pictures / "a.png", out / "a_overlay.png")
    before = contents(pictures)
    with Session.create(tmp_path / "session", pictures) as session:
        for item in session.items:
            session.accept(item, np.ones(item.shape, np.uint8))
        for target in (pictures, out):
            with pytest.raises(SemiGDAError, match="image of this session"):
                export_masks(session, target, Overlays(), overwrite=True)
    assert contents(pictures) == before


@pytest.mark.parametrize("inside", ["labels", "labels/p", "edits", "predictions", "rounds/001", "images"])
def test_no_file_becomes_one_of_another_session(folder: Path, tmp_path: Path, inside: str) -> None:
    images = [tmp_path / "pictures" / "a_mask.tif"]
    with Session.create(tmp_path / "other", images) as other:
        other.accept(other.items[0], np.zeros((8, 9), np.uint8))
    before = contents(tmp_path / "other")
    with Session.open(folder) as session, pytest.raises(SemiGDAError, match=r"of the session .*other"):
        export_masks(session, tmp_path / "other" / inside, overwrite=True)
    assert contents(tmp_path / "other") == before


@pytest.mark.parametrize("place", ["semigda.json", "journal.jsonl", "labels/a_mask.tif", "labels/new.csv"])
def test_no_table_takes_the_place_of_a_file_of_a_session(folder: Path, tmp_path: Path, place: str) -> None:
    before = contents(folder)
    assert main(["import", str(folder), str(tmp_path / "pictures"), "--table", str(folder / place)]) == 1
    assert contents(folder) == before


def test_a_folder_of_its_own_in_the_session_is_fine(folder: Path) -> None:
    with Session.open(folder) as session:
        report = export_masks(session, folder / "masks")
    assert {path.parent for path in report.written} == {folder / "masks"}


def test_a_second_export_sees_that_a_mask_with_a_decomposed_name_was_changed(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "pictures/é.png")
    with Session.create(tmp_path / "session", tmp_path / "pictures") as session:
        session.accept("é", np.zeros((8, 9), np.uint8))
    label = tmp_path / "session/labels/é.tif"
    label.rename(label.with_name(unicodedata.normalize("NFD", label.name)))  # as a copy by macOS has it
    with Session.open(tmp_path / "session") as session:
        export_masks(session, tmp_path / "out")
        session.accept("é", np.ones((8, 9), np.uint8))
        report = Export(session, tmp_path / "out").run(Existing.UPDATE)
        assert len(report.written) == 1
        assert read_labels(report.written[0]).all()
