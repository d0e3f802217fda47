"""The right mask comes to the right image, or none does and both are listed."""

import csv
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_semigda.cli import main
from napari_semigda.errors import SemiGDAError
from napari_semigda.session.export import export_masks
from napari_semigda.session.importing import ImportReport
from napari_semigda.session.mask_names import ImageName, NearestNames, masks_beside
from napari_semigda.session.matching import Target, match
from napari_semigda.session.session import Session

SHAPE = (6, 7)


def image(path: Path, gray: int = 90, shape: tuple[int, int] = SHAPE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, gray, np.uint8)).save(path)


def mask(path: Path, number: int = 1, shape: tuple[int, int] = SHAPE) -> None:
    """Write a mask that has so many object pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(shape, np.uint8)
    pixels.ravel()[:number] = 1
    Image.fromarray(pixels).save(path)


def taken(
    tmp_path: Path, images: Sequence[str], masks: Sequence[str], classes: Sequence[str] = ("x",)
) -> tuple[dict[str, str], ImportReport]:
    """Import masks, and tell for each image which file its accepted mask is."""
    for name in images:
        image(tmp_path / "images" / name)
    for number, name in enumerate(masks, start=1):
        mask(tmp_path / "masks" / name, number)
    session = Session.create(tmp_path / "session", tmp_path / "images", classes=classes)
    report = session.import_masks(tmp_path / "masks")
    found = {}
    for item in session.items:
        labels = session.labels.get(item)
        if labels is not None:
            found[item.name] = masks[int((labels == 1).sum()) - 1]
    assert {item.name for item in report.accepted} == found.keys()
    told = {row.image for row in report.rows} - {""}
    assert told == {item.name for item in session.items}
    listed = {row.mask for row in report.rows} - {""}
    assert listed == {unicodedata.normalize("NFC", name) for name in masks} or listed == set(masks)
    return found, report


def nfd(name: str) -> str:
    return unicodedata.normalize("NFD", name)


@pytest.mark.parametrize(
    ("images", "masks", "expected"),
    [
        # the relative path decides
        (["p1/f1.png", "p2/f1.png"], ["p1/f1.png"], {"p1/f1.png": "p1/f1.png"}),
        (
            ["a/p1/f1.png", "a/p2/f1.png", "b/p1/f1.png"],
            ["b/p1/f1_mask.png"],
            {"b/p1/f1.png": "b/p1/f1_mask.png"},
        ),
        (["p1/f1.png", "p2/f1.png"], ["f1_mask.png"], {}),
        (["p1/f1.png", "p2/f2.png"], ["p2/f1.png"], {}),
        (["p1/f1.png"], ["p1/f2.png", "p2/f1.png"], {}),
        (["p1/f1.png"], ["f1.png"], {"p1/f1.png": "f1.png"}),
        (["f1.png"], ["deep/er/F1_mask.png"], {"f1.png": "deep/er/F1_mask.png"}),
        (["f1.png"], ["a/f1.png", "b/f1.png"], {}),
        (["images/p1/f1.png", "images/p2/f1.png"], ["p2/f1.png"], {"images/p2/f1.png": "p2/f1.png"}),
        # names that differ in their ending or case only
        (["c.png", "c.tif"], ["c.png"], {"c.png": "c.png"}),
        (["c.png", "c.tif"], ["c.tif", "c.png"], {"c.png": "c.png", "c.tif": "c.tif"}),
        (["c.png", "c.tif"], ["c_mask.png"], {}),
        (["c.png", "c.tif"], ["c.tif_mask.png"], {"c.tif": "c.tif_mask.png"}),
        (["I.png", "i.png"], ["i.png"], {"i.png": "i.png"}),
        (["I.png", "i.png"], ["i_MASK.png", "I_mask.png"], {"i.png": "i_MASK.png", "I.png": "I_mask.png"}),
        (["IMG.png"], ["img.png"], {"IMG.png": "img.png"}),
        (["IMG.png"], ["img.png", "IMG.png"], {"IMG.png": "IMG.png"}),
        # two candidates: none is taken
        (["a.png"], ["a.png", "a.tif"], {}),
        (["a.png"], ["a.png", "a_mask.png"], {}),
        (["a.png"], ["a-label.png", "a_mask.png"], {}),
        (["a.png", "b.png"], ["a_mask.png", "a_mask_1.png", "b_mask.png"], {"b.png": "b_mask.png"}),
        (["a.png"], ["a_mask_1.png"], {}),
        # other suffixes
        *[
            (["a.png"], [f"a{suffix}.png"], {"a.png": f"a{suffix}.png"})
            for suffix in (
                *("_masks", "-masks", ".mask", "_cp_masks", "_CP_Masks", "-label", "_labels", "_seg", ".seg"),
                *("_Segmentation", "_gt", "-GT", "_annotation", ".annotations", "_cp-masks"),
            )
        ],
        (["a.png"], ["a_masked.png"], {}),
        (["a.png"], ["a_outline.png"], {}),
        # nnU-Net: the channel's number is on the image alone
        (["case_0000.png"], ["case.png"], {"case_0000.png": "case.png"}),
        (["case_0000.png", "case_0001.png"], ["case.png"], {}),
        (["case_0000.png", "case_0001.png"], ["case_0001.png"], {"case_0001.png": "case_0001.png"}),
    ],
)
def test_a_mask_is_taken_where_only_one_image_can_be_meant(
    tmp_path: Path, images: list[str], masks: list[str], expected: dict[str, str]
) -> None:
    if tmp_path.joinpath("CASE").mkdir() or tmp_path.joinpath("case").exists():
        pytest.skip("this file system does not tell the case of letters apart")
    found, report = taken(tmp_path, images, masks)
    assert found == expected
    unused = set(masks) - set(expected.values())
    told = " ".join(row.in_words() for row in report.attention)
    assert all(name in told for name in unused)


@pytest.mark.parametrize("of_image", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["é/zélle.png", "é/zélle_mask.png"])
def test_accents_may_be_written_in_two_ways(tmp_path: Path, of_image: str, name: str) -> None:
    of_mask = "NFC" if of_image == "NFD" else "NFD"
    written = unicodedata.normalize(of_image, "é/zélle.png")
    found, _ = taken(tmp_path, [written], [unicodedata.normalize(of_mask, name)])
    assert len(found) == 1


def test_the_accent_that_is_written_as_in_the_images_name_is_preferred(tmp_path: Path) -> None:
    names = [nfd("é.png"), "é.png"]
    found, _ = taken(tmp_path, names, [f"{nfd('é')}_mask.png", "é_mask.png"])
    assert sorted(found.values()) == sorted([f"{nfd('é')}_mask.png", "é_mask.png"])


def test_a_folder_of_masks_of_one_class_is_not_taken_for_all_classes(tmp_path: Path) -> None:
    found, report = taken(
        tmp_path, ["a.png", "b.png"], ["nucleus/a.png", "rim/a.png", "rim/b.png"], ["nucleus", "rim"]
    )
    assert found == {}
    assert "one class" in " ".join(row.reason for row in report.attention)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_one_file_is_not_the_mask_of_two_images(tmp_path: Path, link: object) -> None:
    for name in ("a.png", "b.png"):
        image(tmp_path / "images" / name)
    mask(tmp_path / "masks/a.png")
    link(tmp_path / "masks/a.png", tmp_path / "masks/b.png")  # type: ignore[operator]
    session = Session.create(tmp_path / "session", tmp_path / "images")
    report = session.import_masks(tmp_path / "masks")
    assert report.accepted == ()
    assert {item.name for item, _ in report.left_out} == {"a.png", "b.png"}
    assert "are one file" in report.left_out[0][1]


def test_an_image_of_the_session_is_no_mask(tmp_path: Path) -> None:
    image(tmp_path / "data/a.png", 0)
    image(tmp_path / "data/b.png", 1)
    session = Session.create(tmp_path / "session", tmp_path / "data", masks=tmp_path / "data")
    report = session.import_masks(tmp_path / "data")
    assert report.accepted == ()
    assert [row.result for row in report.rows if row.mask] == ["image", "image"]


def test_masks_beside_images_are_no_images_and_are_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("a.png", "p/b.png", "images/c.png"):
        image(data / name)
    for name in ("a_mask.png", "p/b_GT.png", "masks/c.png"):
        mask(data / name)
    for number, masks in enumerate((data, None)):
        session = Session.create(tmp_path / f"session{number}", data, masks=masks)
        assert {item.name for item in session.items} == {"a.png", "p/b.png", "images/c.png"}
        assert session.notices[0].startswith("3 files were skipped because they are named like masks")
        assert len(session.import_masks(data).accepted) == 3


def test_what_is_named_as_a_mask_of_another_size_or_of_no_image_is_an_image(tmp_path: Path) -> None:
    image(tmp_path / "data/slide.png")
    image(tmp_path / "data/slide_label.png", shape=(3, 3))
    image(tmp_path / "data/lonely_mask.png")
    session = Session.create(tmp_path / "session", tmp_path / "data")
    assert len(session.items) == 3
    assert session.notices == []


def test_an_image_that_is_named_as_a_mask_gets_the_mask_of_its_whole_name(tmp_path: Path) -> None:
    for number, (name, shape) in enumerate((("a.png", SHAPE), ("a_seg.png", (3, 3))), start=1):
        image(tmp_path / "images" / name, shape=shape)
        mask(tmp_path / "masks" / name, number, shape)
    session = Session.create(tmp_path / "session", tmp_path / "images")
    assert len(session.import_masks(tmp_path / "masks").accepted) == 2
    assert [int(session.labels.get(item).sum()) for item in session.items] == [1, 2]


def test_a_folder_of_masks_within_the_images_or_around_them(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        image(tmp_path / f"within/{patient}/f.png")
        mask(tmp_path / f"within/masks/{patient}/f.png", 1 + (patient == "p2"))
        image(tmp_path / f"around/images/{patient}/f.png")
        mask(tmp_path / f"around/masks/{patient}/f.png", 1 + (patient == "p2"))
    for images, masks in (
        ("within", "within/masks"),
        ("around/images", "around"),
        ("around", "around/masks"),
    ):
        folder = tmp_path / f"session {images} {masks}".replace("/", " ")
        session = Session.create(folder, tmp_path / images, masks=tmp_path / masks)
        assert len(session.items) == 2
        session.import_masks(tmp_path / masks)
        assert [int(session.labels.get(item).sum()) for item in session.items] == [1, 2]


def test_a_linked_folder_of_masks_within_the_images_is_no_folder_to_complain_of(tmp_path: Path) -> None:
    image(tmp_path / "data/a.png")
    mask(tmp_path / "elsewhere/a.png")
    (tmp_path / "data/masks").symlink_to(tmp_path / "elsewhere")
    words = ["new", str(tmp_path / "s"), "--images", str(tmp_path / "data")]
    words += ["--masks", str(tmp_path / "data/masks")]
    assert main(words) == 0


def test_pages_of_a_mask_are_as_many_as_those_of_the_image(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("three", "lone"):
        stack = np.zeros(((3,) if name == "three" else ()) + SHAPE, np.uint8)
        tifffile.imwrite(tmp_path / f"images/{name}.tif", stack, photometric="minisblack")
    for folder, pages in (("fewer", 2), ("more", 4), ("as many", 3)):
        (tmp_path / folder).mkdir()
        for name in ("three", "lone"):
            tifffile.imwrite(
                tmp_path / folder / f"{name}_mask.tif",
                np.ones((pages, *SHAPE), np.uint8),
                photometric="minisblack",
            )
    session = Session.create(tmp_path / "session", tmp_path / "images")
    for folder in ("fewer", "more"):
        report = session.import_masks(tmp_path / folder)
        assert report.accepted == ()
        assert len(report.left_out) == 4
        assert all("page" in why for _, why in report.left_out)
    assert [item.name for item in session.import_masks(tmp_path / "as many").accepted] == [
        *(f"three.tif · page {page}" for page in (1, 2, 3))
    ]


def test_a_file_for_all_pages_beside_one_for_each_is_ambiguous(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    tifffile.imwrite(tmp_path / "images/s.tif", np.zeros((2, *SHAPE), np.uint8), photometric="minisblack")
    tifffile.imwrite(tmp_path / "masks/s.tif", np.ones((2, *SHAPE), np.uint8), photometric="minisblack")
    mask(tmp_path / "masks/s_p0002_mask.png")
    session = Session.create(tmp_path / "session", tmp_path / "images")
    report = session.import_masks(tmp_path / "masks")
    assert report.accepted == ()
    assert len(report.left_out) == 2
    (tmp_path / "masks/s.tif").unlink()
    assert [item.name for item in session.import_masks(tmp_path / "masks").accepted] == ["s.tif · page 2"]


def test_exported_masks_come_back_to_their_images(tmp_path: Path) -> None:
    names = ("c.png", "c.tif", "c-2.png", "C.bmp", "a:b.png", "a_b.png", "p/c.png", "s_p0001.png")
    for name in names:
        image(tmp_path / "images" / name)
    tifffile.imwrite(tmp_path / "images/s.tif", np.zeros((2, *SHAPE), np.uint8), photometric="minisblack")
    session = Session.create(tmp_path / "session", tmp_path / "images")
    for number, item in enumerate(session.items, start=1):
        labels = np.zeros(SHAPE, np.uint8)
        labels.ravel()[:number] = 1
        session.accept(item, labels)
    export_masks(session, tmp_path / "out")
    again = Session.create(tmp_path / "again", tmp_path / "images")
    again.import_masks(tmp_path / "out")
    for number, item in enumerate(again.items, start=1):
        labels = again.labels.get(item)
        assert labels is None or int(labels.sum()) == number
        assert labels is not None or item.name == "a:b.png"


def test_masks_that_are_linked_or_not_read_are_counted(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png")
    mask(tmp_path / "elsewhere/a.png")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/a.nii.gz").write_bytes(b"x")
    (tmp_path / "masks/linked").symlink_to(tmp_path / "elsewhere")
    session = Session.create(tmp_path / "session", tmp_path / "images")
    told = " ".join(session.import_masks(tmp_path / "masks").skipped)
    assert "1 .nii.gz" in told
    assert "linked" in told


def test_the_table_is_written_and_the_rows_to_look_at_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ("a.png", "b.png", "scan_07.png", "d.png"):
        image(tmp_path / "images" / name)
    for name in ("a_mask.png", "b.png", "b_mask.png", "scan_7.png"):
        mask(tmp_path / "masks" / name)
    words = ["new", str(tmp_path / "s"), "--images", str(tmp_path / "images")]
    words += ["--masks", str(tmp_path / "masks"), "--table", str(tmp_path / "table.csv")]
    assert main(words) == 3
    said = capsys.readouterr()
    assert (
        "1 mask accepted (1 by path and “_mask”); 1 not accepted; 2 images without a mask; 3 mask files"
        in said.out
    )
    assert "scan_7.png: no image has its name. Nearest name: “scan_07.png”." in said.err
    assert "b.png: several masks match: “b.png”, “b_mask.png”" in said.err
    with open(tmp_path / "table.csv", newline="", encoding="utf-8-sig") as file:
        rows = {
            (row["image"], row["mask"]): (row["result"], row["nearest_name"]) for row in csv.DictReader(file)
        }
    assert rows == {
        ("a.png", "a_mask.png"): ("accepted", ""),
        ("b.png", ""): ("not accepted", ""),
        ("d.png", ""): ("no mask", ""),
        ("scan_07.png", ""): ("no mask", "scan_7.png"),
        ("", "b.png"): ("not used", ""),
        ("", "b_mask.png"): ("not used", ""),
        ("", "scan_7.png"): ("not used", "scan_07.png"),
    }
    (tmp_path / "masks/b.png").unlink()
    assert main(["import", str(tmp_path / "s"), str(tmp_path / "masks")]) == 3
    assert "a.png already has an accepted mask" in capsys.readouterr().err
    with Session.open(tmp_path / "s") as session:
        assert session.labels.get("b") is not None


def test_no_mask_of_several_classes_is_guessed_from_0_and_255(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png")
    image(tmp_path / "masks/a.png", 255)
    session = Session.create(tmp_path / "session", tmp_path / "images", classes=["x", "y"])
    ((_, why),) = session.import_masks(tmp_path / "masks").left_out
    assert "With 2 classes, 255 means unlabeled" in why
    session.classes.remove(1)
    session.import_masks(tmp_path / "masks")
    assert set(np.unique(session.labels.get("a"))) == {2}


def test_smoothed_masks_are_explained(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png", shape=(20, 20))
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20).clip(0, 255).astype(np.uint8)).save(
        tmp_path / "masks/a.png"
    )
    session = Session.create(tmp_path / "session", tmp_path / "images")
    ((_, why),) = session.import_masks(tmp_path / "masks").left_out
    assert "smoothed" in why


def test_matching_calls_as_many_functions_for_each_file() -> None:
    from tests.session.test_flat_cost import calls

    def cost(number: int) -> int:
        images = [ImageName(f"p{one}/f.png") for one in range(number)]
        masks = [[f"q{one}/f_mask.png"] for one in range(number)]
        names = [image.name for image in images]
        beside = [f"{folder}/{folder[0]}{one}.png" for folder in ("images", "masks") for one in range(number)]

        def work() -> None:
            match(images, masks, root="masks")
            match(images, [[name] for name in names], root="masks")
            masks_beside(names)
            masks_beside(beside, [(5, 5)] * number + [(6, 6)] * number)
            nearest = NearestNames(names)
            for name, *_ in masks:
                nearest.of(name)

        return calls(work)

    few, many = cost(200), cost(2000)
    assert many < 12 * few


def test_the_nearest_name_is_one_that_differs_little() -> None:
    nearest = NearestNames(["p/scan_07.png", "p/scan_08.png", "other.png"])
    assert nearest.of("scan_7_mask.png") == "p/scan_07.png"
    assert nearest.of("sc_08.png") == "p/scan_08.png"
    assert nearest.of("nothing alike.png") == ""


def test_a_single_target_is_told_by_its_index() -> None:
    found = match([ImageName("a.tif", ("_p0001", "_p0002"))], [["a_p0002_mask.png"]])
    assert found.taken == {Target(0, 1): 0}


def test_items_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for patient in ("p1", "p2", "p3"):
        image(tmp_path / patient / "images/f.png")
    folders = [tmp_path / patient / "images" for patient in ("p1", "p2")]
    session = Session.create(tmp_path / "session", [*folders, tmp_path / "p1/images/f.png"])
    assert [item.name for item in session.items] == ["p1/images/f.png", "p2/images/f.png"]
    session.add_images(tmp_path / "p3/images")
    session.close()
    again = Session.open(session.folder)
    assert len({item.name for item in again.items}) == 3
    for item in again.items:
        again.accept(item, np.ones(SHAPE, np.uint8))
    written = export_masks(again, tmp_path / "out").written
    assert len(written) == 3


def test_the_same_file_is_added_once_whatever_its_path(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png")
    (tmp_path / "linked").symlink_to(tmp_path / "images")
    os.link(tmp_path / "images/a.png", tmp_path / "images/b.png")
    (tmp_path / "images/c.png").symlink_to(tmp_path / "images/a.png")
    session = Session.create(tmp_path / "session", tmp_path / "images")
    assert [item.name for item in session.items] == ["a.png"]
    assert session.notices[0].startswith("2 files were skipped because they are links to an image")
    (tmp_path / "more").mkdir()
    os.link(tmp_path / "images/a.png", tmp_path / "more/d.png")
    for again in (tmp_path / "linked/a.png", tmp_path / "linked", tmp_path / "more"):
        with pytest.raises(SemiGDAError, match="No new image"):
            session.add_images(again)


def test_names_are_shown_in_one_line(tmp_path: Path) -> None:
    image(tmp_path / "images/a\nb\x1b[31m.png")
    image(tmp_path / "images/a\tb\x1b[31m.png")
    mask(tmp_path / "masks/a\nb\x1b[31m_mask.png")
    session = Session.create(tmp_path / "session", tmp_path / "images")
    assert all(item.name.isprintable() for item in session.items)
    assert len({item.name for item in session.items}) == 2
    report = session.import_masks(tmp_path / "masks")
    assert len(report.accepted) == 1
    assert all(row.in_words().isprintable() for row in report.rows)


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["p1/f1.png", "p2/f2.png"], ["p3/f1.png", "p4/f2.png"]),
        (["p1/f1.png", "p2/f2.png"], ["p2/f1.png"]),
    ],
)
def test_where_both_sides_are_sorted_by_folders_no_name_crosses_them(
    tmp_path: Path, images: list[str], masks: list[str]
) -> None:
    found, report = taken(tmp_path, images, masks)
    assert found == {}
    assert {row.mask for row in report.attention if row.result == "not used"} == set(masks)


@pytest.mark.parametrize("folder", ["masks/p2", "p2/masks"])
def test_the_masks_of_one_folder_of_images_are_not_taken_for_another_ones(
    tmp_path: Path, folder: str
) -> None:
    for name in ("p1/f1.png", "p2/f2.png"):
        image(tmp_path / "images" / name)
    for name in ("f1.png", "f2.png"):
        mask(tmp_path / folder / name)
    session = Session.create(tmp_path / "session", tmp_path / "images")
    report = session.import_masks(tmp_path / folder)
    assert [item.name for item in report.accepted] == ["p2/f2.png"]
    assert [item.name for item, _ in report.left_out] == ["p1/f1.png"]


def test_a_file_for_each_object_becomes_no_image_and_is_not_guessed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("a1", "b2"):
        image(data / name / "images" / f"{name}.png")
        for number in range(3):
            mask(data / name / "masks" / f"{name[::-1]}{number}.png")
    session = Session.create(tmp_path / "session", data, masks=data)
    assert [item.name for item in session.items] == ["a1/images/a1.png", "b2/images/b2.png"]
    report = session.import_masks(data)
    assert report.accepted == ()
    assert [why.startswith("its folder has several masks") for _, why in report.left_out] == [True, True]
    assert sum("one of several" in row.reason for row in report.rows) == 6


def test_in_a_folder_of_masks_beside_images_nothing_is_an_image_whatever_its_name(tmp_path: Path) -> None:
    image(tmp_path / "data/images/a.png")
    mask(tmp_path / "data/masks/GT_a.png")
    image(tmp_path / "data/masks/overview.png", shape=(3, 3))
    session = Session.create(tmp_path / "session", tmp_path / "data")
    assert [item.name for item in session.items] == ["images/a.png", "masks/overview.png"]


@pytest.mark.parametrize("name", ["GT_a1.png", "mask_a1.png", "label-a1.tif", "a1_labels.png"])
def test_a_word_before_the_name_does_not_hide_the_nearest_one(name: str) -> None:
    assert NearestNames(["b1.png", "img_a1.png", "c1.png"]).of(name) == "img_a1.png"


def test_an_import_takes_nothing_away_that_is_painted_and_not_accepted(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        image(tmp_path / "images" / name)
        mask(tmp_path / "masks" / name)
    session = Session.create(tmp_path / "session", tmp_path / "images")
    painted = np.ones(SHAPE, np.uint8)
    session.labels.keep_edit("a", painted)
    report = session.import_masks(tmp_path / "masks")
    assert [item.id for item in report.accepted] == ["b"]
    assert "painted" in report.left_out[0][1]
    np.testing.assert_array_equal(session.labels.edit("a"), painted)


@pytest.mark.parametrize("inside", ["", "images"])
def test_folders_of_images_that_were_given_one_by_one_count_as_well(tmp_path: Path, inside: str) -> None:
    image(tmp_path / "p1" / inside / "f1.png")
    image(tmp_path / "p2" / inside / "f2.png")
    folders = [tmp_path / name / inside for name in ("p1", "p2")]
    session = Session.create(tmp_path / "session", folders)
    assert [item.name for item in session.items] == ["f1.png", "f2.png"]
    mask(tmp_path / "masks/p1/f2.png")
    assert session.import_masks(tmp_path / "masks").accepted == ()
    mask(tmp_path / "masks/p1/f1.png")
    mask(tmp_path / "flat/f2.png")
    assert [item.name for item in session.import_masks(tmp_path / "masks").accepted] == ["f1.png"]
    assert [item.name for item in session.import_masks(tmp_path / "flat").accepted] == ["f2.png"]


def test_a_mask_whose_image_has_another_one_by_its_path_is_told_so(tmp_path: Path) -> None:
    found, report = taken(tmp_path, ["p1/case_0000.png"], ["p1/case.png", "case_0000.png"])
    assert found == {"p1/case_0000.png": "p1/case.png"}
    assert [row.reason for row in report.rows if row.result == "not used"] == [
        "“p1/case_0000.png” has another mask by its path"
    ]
