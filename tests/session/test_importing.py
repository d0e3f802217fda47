"""Masks made elsewhere become accepted masks, where it is clear what they mean."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.io.masks import Legend, write_labels
from napari_semigda.session.export import export_masks
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session

DATA = Path(os.environ.get("SEMIGDA_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture
def masks(tmp_path: Path, session: Session) -> Path:
    folder = tmp_path / "masks"
    (folder / "more").mkdir(parents=True)
    for number in (1, 2, 3):
        mask = np.zeros(session.item(f"image_{number}").shape, np.uint8)
        mask[number : number + 10, :10] = 255
        Image.fromarray(mask).save(folder / f"image {number}{'' if number == 1 else '_mask'}.png")
    stack = np.zeros((3, 24, 32), np.uint8)
    stack[[0, 1, 2], [3, 4, 5]] = 1
    tifffile.imwrite(folder / "more" / "stack_labels.tif", stack, photometric="minisblack")
    return folder


def test_masks_are_found_by_the_names_of_the_images(session: Session, masks: Path) -> None:
    report = session.import_masks(masks)
    assert report.accepted == session.items
    assert report.left_out == ()
    for number in (1, 2, 3):
        labels = session.labels.get(f"image_{number}")
        assert labels is not None
        assert labels.max() == 1
        assert labels[number : number + 10, :10].all()
        assert labels.sum() == 100
    for page in (1, 2, 3):
        np.testing.assert_array_equal(
            np.flatnonzero(session.labels.get(f"stack_p000{page}").any(axis=1)), [page + 2]
        )
    assert {entry.event for entry in session.labels.journal()} == {"imported"}


def test_what_is_accepted_already_stays(session: Session, masks: Path) -> None:
    mine = np.zeros(session.item("image_1").shape, np.uint8)
    session.accept("image_1", mine)
    report = session.import_masks(masks)
    assert [item.id for item, _ in report.left_out] == ["image_1"]
    np.testing.assert_array_equal(session.labels.get("image_1"), mine)


def test_images_without_a_mask_are_left_as_they_are(session: Session, masks: Path) -> None:
    (masks / "image 2_mask.png").unlink()
    report = session.import_masks(masks)
    assert session.state("image_2") is ItemState.UNLABELED
    assert len(report.accepted) == 5
    assert report.left_out == ()


def test_masks_that_do_not_fit_are_reported_and_the_others_go_on(session: Session, masks: Path) -> None:
    Image.new("L", (5, 5)).save(masks / "image 1.png")
    (masks / "image 2_mask.png").write_bytes(b"damaged")
    Image.fromarray(np.full((40, 33), 128, np.uint8)).save(masks / "image 3_mask.png")
    tifffile.imwrite(masks / "more" / "stack_labels.tif", np.zeros((24, 32), np.uint8))
    report = session.import_masks(masks)
    reasons = {item.id: reason for item, reason in report.left_out}
    assert "5 × 5" in reasons["image_1"]
    assert "image 2_mask.png" in reasons["image_2"]
    assert "the value 128" in reasons["image_3"]
    for page in (1, 2, 3):
        assert "has 1 page, but the image file has 3" in reasons[f"stack_p000{page}"]
    assert report.accepted == ()


def test_with_more_classes_a_mask_of_0_and_255_is_not_accepted_but_explained(
    session: Session, masks: Path
) -> None:
    session.classes.add("border")
    reasons = {item.id: reason for item, reason in session.import_masks(masks).left_out}
    assert session.labels.get("image_1") is None
    assert "With 2 classes, 255 means unlabeled" in reasons["image_1"]


def test_with_one_class_255_beside_1_means_unknown(session: Session, masks: Path) -> None:
    mask = np.zeros(session.item("image_1").shape, np.uint8)
    mask[0], mask[1] = 1, 255
    Image.fromarray(mask).save(masks / "image 1.png")
    session.import_masks(masks)
    np.testing.assert_array_equal(session.labels.get("image_1"), mask)


def test_255_in_masks_of_this_program_means_unknown_whatever_else_they_hold(
    tmp_path: Path, pictures: Path, session: Session
) -> None:
    mask = np.zeros(session.item("image_1").shape, np.uint8)
    mask[:10] = 255
    session.accept("image_1", mask)
    export_masks(session, tmp_path / "exported")
    again, copied = (Session.create(tmp_path / name, pictures) for name in ("again", "copied"))
    again.import_masks(tmp_path / "exported")
    np.testing.assert_array_equal(again.labels.get("image_1"), mask)
    (session.folder / "labels" / "image_1.tif").rename(tmp_path / "exported" / "image 1_mask.tif")
    copied.import_masks(tmp_path / "exported")
    np.testing.assert_array_equal(copied.labels.get("image_1"), mask)


def test_numbered_objects_are_not_taken_for_classes(session: Session, masks: Path) -> None:
    objects = np.ones(session.item("image_1").shape, np.uint8)
    write_labels(masks / "image 1_mask.tif", objects, legend=Legend(objects=True))
    (masks / "image 1.png").unlink()
    reasons = {item.id: reason for item, reason in session.import_masks(masks).left_out}
    assert "numbers objects" in reasons["image_1"]


def test_a_name_that_two_masks_share_is_not_guessed(tmp_path: Path, session: Session) -> None:
    for folder in ("a", "b"):
        (tmp_path / "masks" / folder).mkdir(parents=True)
        Image.fromarray(np.zeros((40, 31), np.uint8)).save(tmp_path / "masks" / folder / "image 1.png")
    assert session.import_masks(tmp_path / "masks").accepted == ()


def test_a_part_of_the_masks_can_be_taken(session: Session, masks: Path) -> None:
    assert [item.id for item in session.import_masks(masks, count=2).accepted] == ["image_2", "stack_p0002"]


def test_a_part_drawn_at_random_is_the_same_for_one_seed(tmp_path: Path, pictures: Path, masks: Path) -> None:
    drawn = [
        Session.create(tmp_path / f"{number}", pictures).import_masks(masks, count=3, seed=seed).accepted
        for number, seed in enumerate((1, 1, 2))
    ]
    assert [len(items) for items in drawn] == [3, 3, 3]
    assert [item.id for item in drawn[0]] == [item.id for item in drawn[1]] != [item.id for item in drawn[2]]


def test_importing_can_be_cancelled_and_keeps_what_it_has(session: Session, masks: Path) -> None:
    done: list[int] = []
    with pytest.raises(Cancelled):
        session.import_masks(
            masks, progress=lambda number, _total: done.append(number), cancelled=lambda: len(done) == 2
        )
    assert session.counts()[ItemState.ACCEPTED] == 2


def test_a_missing_folder_is_told(session: Session, tmp_path: Path) -> None:
    with pytest.raises(SemiGDAError, match="no folder"):
        session.import_masks(tmp_path / "nowhere")


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize("pack", ["busi", "isic2017", "dsb2018", "isbi2012_em", "usiigaci_phase"])
def test_real_packs_become_sessions(tmp_path: Path, pack: str) -> None:
    if not (DATA / pack).is_dir():
        pytest.skip(f"there is no folder {DATA / pack}; name the image packs' folder by SEMIGDA_DATA")
    session = Session.create(tmp_path / "session", DATA / pack / "images")
    report = session.import_masks(DATA / pack / "masks")
    assert session.left_out == []
    assert report.left_out == ()
    assert len(report.accepted) == len(session.items) == len(list((DATA / pack / "images").iterdir()))
    assert session.examples()[0][0].labels.max() <= 255
