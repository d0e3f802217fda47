"""Each format of an export holds what is in the session, by the word of readers that are not ours."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3
import numpy as np
import ome_types
import pytest
import skimage.io
import tifffile
from pycocotools.coco import COCO

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.inference.predictor import Prediction, Predictor
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.masks import read_legend
from napari_semigda.model.checkpoint import save_checkpoint
from napari_semigda.model.loading import random_autoencoder
from napari_semigda.model.network import SemiGDANet
from napari_semigda.session.export import RECORD_NAME, Existing, Export, export_masks
from napari_semigda.session.exporting.formats import (
    FORMATS,
    Coco,
    ImageJTiff,
    Measurements,
    ObjectTiff,
    OmeTiff,
    Overlays,
    PlainTiff,
    Probabilities,
)
from napari_semigda.session.exporting.measuring import number_objects
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget, Recipe

METADATA = {"settings": ImageSettings().to_dict()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def trained(labeled: Session) -> Session:
    """The same, after a round that left a network of random weights."""
    labeled.update(settings=ImageSettings(working_size=32))
    record = labeled.rounds.begin(Recipe(), Budget(steps=1), 0, warm=False)
    model = SemiGDANet("compact", autoencoder=random_autoencoder("compact"))
    save_checkpoint(labeled.rounds.folder(record.number) / "model.safetensors", model, METADATA)
    labeled.rounds.finish(record, "complete", steps=1, seconds=1.0)
    return labeled


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def names(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != RECORD_NAME)
    return sorted(path.relative_to(folder).as_posix() for path in files)


# --- label maps ---------------------------------------------------------------------------------


def test_imagej_shows_the_classes_in_their_colors(labeled: Session, out: Path) -> None:
    labeled.classes.recolor(1, "#123456")
    export_masks(labeled, out, ImageJTiff())
    assert names(out) == ["image 1_mask.tif", "more/stack_p0002_mask.tif"]
    with tifffile.TiffFile(out / "more" / "stack_p0002_mask.tif") as tif:
        np.testing.assert_array_equal(tif.asarray(), labeled.labels.get("stack_p0002"))
        table = np.array(tif.pages[0].tags["ColorMap"].value).reshape(3, 256) >> 8
        assert tif.pages[0].tags["XResolution"].value == (4, 1)
        assert tif.imagej_metadata is not None
        assert tif.imagej_metadata["unit"] == "\\u00B5m"
    assert tuple(table[:, 1]) == (0x12, 0x34, 0x56)


def test_ome_names_the_classes_and_gives_the_sizes(labeled: Session, out: Path) -> None:
    labeled.classes.rename(1, "Läsion")
    export_masks(labeled, out, OmeTiff())
    assert names(out) == ["image 1_mask.ome.tif", "more/stack_p0002_mask.ome.tif"]
    path = out / "more" / "stack_p0002_mask.ome.tif"
    ome = ome_types.from_tiff(path, validate=True)
    assert (ome.images[0].pixels.physical_size_x, ome.images[0].pixels.physical_size_y) == (0.25, 0.5)
    assert "Läsion" in ome.to_xml()
    np.testing.assert_array_equal(skimage.io.imread(path), labeled.labels.get("stack_p0002"))


@pytest.mark.parametrize(("format", "ending"), [(ImageJTiff("file"), ".tif"), (OmeTiff("file"), ".ome.tif")])
def test_planes_of_one_file_can_go_into_one_file_again(
    labeled: Session, out: Path, format: Any, ending: str
) -> None:
    export_masks(labeled, out, format)
    assert names(out) == [f"image 1_mask{ending}", f"more/stack_mask{ending}"]
    with tifffile.TiffFile(out / "more" / f"stack_mask{ending}") as tif:
        assert tif.series[0].axes == "ZYX"
        stack = tif.asarray()
    assert (stack[[0, 2]] == 255).all()
    np.testing.assert_array_equal(stack[1], labeled.labels.get("stack_p0002"))
    assert tifffile.imread(out / f"image 1_mask{ending}").shape == (40, 31)


def test_planes_can_be_stacked_without_their_pictures(labeled: Session, out: Path, pictures: Path) -> None:
    (pictures / "more" / "stack.tif").unlink()
    export_masks(labeled, out, ImageJTiff("file"))
    assert tifffile.imread(out / "more" / "stack_mask.tif").shape == (3, 24, 32)


def test_images_of_one_size_can_be_one_stack(labeled: Session, out: Path) -> None:
    for number in (1, 3):
        labeled.accept(f"stack_p000{number}", np.full((24, 32), 1, np.uint8))
    labeled.skip("image_1")
    with pytest.raises(SemiGDAError, match=r"differ in size: 31 × 40, 32 × 24"):
        export_masks(labeled, out, OmeTiff("session"))
    assert names(out) == []
    (labeled.folder / "labels" / "image_1.tif").unlink()
    with Session.open(copy_of(labeled)) as session:
        export_masks(session, out, OmeTiff("session"))
    with tifffile.TiffFile(out / "copy_masks.ome.tif") as tif:
        assert (tif.series[0].axes, tif.series[0].shape) == ("TYX", (3, 24, 32))
        assert (tif.asarray()[0] == 1).all()


def copy_of(session: Session) -> Path:
    """A session folder that is looked at anew, beside the old one."""
    folder = session.folder.with_name("copy")
    session.folder.rename(folder)
    return folder


def test_a_damaged_plane_does_not_spoil_its_stack(labeled: Session, out: Path) -> None:
    labeled.accept("stack_p0001", np.full((24, 32), 1, np.uint8))
    (labeled.folder / "labels" / "stack_p0001.tif").write_bytes(b"damaged")
    report = export_masks(labeled, out, ImageJTiff("file"))
    stack = tifffile.imread(out / "more" / "stack_mask.tif")
    assert (stack[0] == 255).all()
    np.testing.assert_array_equal(stack[1], labeled.labels.get("stack_p0002"))
    assert "stack_p0001.tif" in {item.id: reason for item, reason in report.left_out}["stack_p0001"]


@pytest.mark.parametrize(
    "format", [PlainTiff(), ImageJTiff(), OmeTiff(), ImageJTiff("file"), OmeTiff("file")]
)
def test_exported_masks_come_back_as_they_were(
    labeled: Session, out: Path, pictures: Path, tmp_path: Path, format: Any
) -> None:
    export_masks(labeled, out, format)
    with Session.create(tmp_path / "again", pictures) as again:
        report = again.import_masks(out)
        assert [item.id for item in report.accepted] == ["image_1", "stack_p0002"]
        for item_id in ("image_1", "stack_p0002"):
            np.testing.assert_array_equal(again.labels.get(item_id), labeled.labels.get(item_id))


# --- objects ------------------------------------------------------------------------------------


@pytest.fixture
def with_objects(labeled: Session) -> Session:
    """image_1: two lesions of 25 and 4 pixels, a border of 8 that touches itself at a corner only."""
    labeled.classes.add("border")
    mask = np.zeros(labeled.item("image_1").shape, np.uint8)
    mask[2:7, 2:7], mask[10:12, 10:12] = 1, 1
    mask[20:22, 20:22], mask[22:24, 22:24], mask[30:] = 2, 2, 255
    labeled.accept("image_1", mask)
    return labeled


def test_objects_are_numbered_class_by_class() -> None:
    mask = np.array([[1, 0, 2], [0, 1, 0], [2, 0, 0], [255, 255, 3]], np.uint8)
    objects = number_objects(mask, [1, 2])
    np.testing.assert_array_equal(objects.numbers, [[1, 0, 2], [0, 1, 0], [3, 0, 0], [0, 0, 0]])
    assert objects.classes == [1, 2, 2]
    assert number_objects(mask, [1, 2], minimum_size=2).classes == [1]


def test_numbered_objects_are_written(with_objects: Session, out: Path) -> None:
    export_masks(with_objects, out, ObjectTiff())
    numbers = tifffile.imread(out / "image 1_objects.tif")
    np.testing.assert_array_equal(np.unique(numbers), [0, 1, 2, 3])
    assert [(numbers == number).sum() for number in (1, 2, 3)] == [25, 4, 8]
    legend = read_legend(out / "image 1_objects.tif")
    assert legend is not None
    assert legend.objects
    export_masks(with_objects, out, ObjectTiff(minimum_size=5), overwrite=True)
    assert tifffile.imread(out / "image 1_objects.tif").max() == 2


def test_measurements_are_in_physical_units(with_objects: Session, out: Path) -> None:
    export_masks(with_objects, out, Measurements())
    objects = [row for row in table(out / "objects.csv") if row["image"] == "image 1.png"]
    assert [(row["class"], float(row["area"]), row["unit"]) for row in objects] == [
        ("object", 25, "pixel"),
        ("object", 4, "pixel"),
        ("border", 8, "pixel"),
    ]
    assert (float(objects[0]["perimeter"]), float(objects[0]["centroid_y"])) == (16, 4)
    (plane,) = (row for row in table(out / "objects.csv") if "stack" in row["image"])
    assert plane["image"] == "more/stack.tif · z 2"
    assert (float(plane["area"]), plane["unit"], plane["perimeter"]) == (100 * 0.5 * 0.25, "µm", "")
    assert (plane["top"], plane["left"], plane["area_pixels"]) == ("5", "5", "100")
    assert float(plane["feret_diameter_max"]) == pytest.approx(np.hypot(5, 2.5), rel=0.15)
    images = {(row["image"], row["class"]): row for row in table(out / "images.csv")}
    lesions = images["image 1.png", "object"]
    assert (lesions["objects"], float(lesions["mean_object_area"])) == ("2", 14.5)
    assert (lesions["pixels"], lesions["pixels_not_looked_at"]) == ("1240", "310")
    assert float(lesions["share_of_image"]) == pytest.approx(29 / 930, rel=1e-4)
    none = images["more/stack.tif · z 2", "border"]
    assert (none["objects"], none["area"], none["mean_object_area"]) == ("0", "0", "")


def test_drafts_are_told_from_accepted_masks(labeled: Session, out: Path) -> None:
    export_masks(labeled, out, Measurements(), include_predicted=True)
    sources = {row["image"]: row["source"] for row in table(out / "images.csv")}
    assert (sources["image 1.png"], sources["image 2.png"]) == ("accepted", "draft")


def test_tiny_objects_are_measured(labeled: Session, out: Path) -> None:
    mask = np.zeros(labeled.item("image_1").shape, np.uint8)
    mask[::3, ::3] = 1
    labeled.accept("image_1", mask)
    export_masks(labeled, out, Measurements())
    rows = [row for row in table(out / "objects.csv") if row["image"] == "image 1.png"]
    assert len(rows) == 14 * 11
    assert {row["area"] for row in rows} == {"1"}


def test_coco_holds_every_object(with_objects: Session, out: Path) -> None:
    export_masks(with_objects, out, Coco())
    coco = COCO(str(out / "annotations.json"))
    images = {one["file_name"]: one for one in coco.loadImgs(coco.getImgIds())}
    assert images.keys() == {"image 1.png", "more/stack.tif"}
    assert images["more/stack.tif"]["page"] == 2
    mask = with_objects.labels.get("image_1")
    for value in (1, 2):
        found = coco.loadAnns(coco.getAnnIds(imgIds=images["image 1.png"]["id"], catIds=[value]))
        np.testing.assert_array_equal(sum(coco.annToMask(one) for one in found), mask == value)


# --- pictures -----------------------------------------------------------------------------------


def test_overlays_and_one_sheet(labeled: Session, out: Path) -> None:
    report = export_masks(labeled, out, Overlays())
    assert names(out) == ["contact_sheet.png", "image 1_overlay.png", "more/stack_p0002_overlay.png"]
    assert len(report.written) == 3
    drawn = imageio.v3.imread(out / "image 1_overlay.png")
    picture = labeled.picture("image_1").pixels
    np.testing.assert_array_equal(drawn[17:19], np.stack([picture[17:19]] * 3, axis=-1))
    assert tuple(drawn[5, 10]) == (0xE6, 0x9F, 0x00)
    export_masks(labeled, out, Overlays(contact_sheet=False), overwrite=True)


def test_an_unreadable_picture_is_left_out_and_named_once(
    labeled: Session, out: Path, pictures: Path
) -> None:
    (pictures / "image 1.png").unlink()
    report = export_masks(labeled, out, Overlays())
    assert names(out) == ["contact_sheet.png", "more/stack_p0002_overlay.png"]
    assert [item.id == "image_1" for item, _ in report.left_out].count(True) == 1


def test_probabilities_are_those_of_the_newest_network(trained: Session, out: Path) -> None:
    report = Export(trained, out, Probabilities()).run(device="cpu")
    assert names(out) == [
        "image 1_probability.tif",
        "image 2_probability.tif",
        *(f"more/stack_p000{number}_probability.tif" for number in (1, 2, 3)),
    ]
    assert [(item.id, reason) for item, reason in report.left_out] == [("image_3", "skipped")]
    written = tifffile.imread(out / "image 2_probability.tif")
    assert written.dtype == np.float32
    predictor = Predictor(SemiGDANet("compact", autoencoder=random_autoencoder("compact")), trained.settings)
    expected = predictor.predict(trained.picture("image_2").pixels).probabilities[1]
    np.testing.assert_allclose(written, expected, atol=1e-5)
    with tifffile.TiffFile(out / "more" / "stack_p0001_probability.tif") as tif:
        assert tif.pages[0].tags["XResolution"].value == (4, 1)


def test_probabilities_are_told_by_class_and_not_of_removed_ones(trained: Session, out: Path) -> None:
    trained.classes.add("second")
    trained.classes.add("third")
    record = trained.rounds.begin(Recipe(), Budget(steps=1), 0, warm=False)
    model = SemiGDANet("compact", classes=4, autoencoder=random_autoencoder("compact"))
    save_checkpoint(trained.rounds.folder(record.number) / "model.safetensors", model, METADATA)
    trained.rounds.finish(record, "complete", steps=1, seconds=1.0)
    trained.classes.remove(1)
    trained.classes.add("too new")
    Export(trained, out, Probabilities()).run(device="cpu")
    with tifffile.TiffFile(out / "image 2_probability.tif") as tif:
        assert tif.imagej_metadata is not None
        assert tif.imagej_metadata["Labels"] == ["second", "third"]
        written = tif.asarray()
    predicted = Predictor(model, trained.settings).predict(trained.picture("image_2").pixels)
    np.testing.assert_allclose(written, predicted.probabilities[2:4], atol=1e-5)


def test_probabilities_need_a_network(labeled: Session, out: Path) -> None:
    with pytest.raises(SemiGDAError, match="train a round first"):
        export_masks(labeled, out, Probabilities())


def test_probabilities_are_up_to_date_until_the_next_round(trained: Session, out: Path) -> None:
    first = Export(trained, out, Probabilities()).run(device="cpu")
    trained.accept("image_2", np.zeros((40, 32), np.uint8))
    assert Export(trained, out, Probabilities()).run(Existing.UPDATE).kept == first.written
    model = trained.rounds.last_model()
    assert model is not None
    other = SemiGDANet("compact", seed=1, autoencoder=random_autoencoder("compact", 1))
    save_checkpoint(model, other, METADATA)
    again = Export(trained, out, Probabilities()).run(Existing.UPDATE, device="cpu")
    assert again.written == first.written


def test_predicting_can_be_cancelled(trained: Session, out: Path) -> None:
    seen: list[int] = []
    with pytest.raises(Cancelled):
        Export(trained, out, Probabilities()).run(
            device="cpu", progress=lambda done, _: seen.append(done), cancelled=lambda: len(seen) == 2
        )
    assert len(names(out)) == 2


# --- again --------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", [one() for one in FORMATS.values() if not one.predicts])
def test_a_second_run_writes_only_what_changed(labeled: Session, out: Path, format: Any) -> None:
    first = Export(labeled, out, format).run()
    before = {path: path.stat().st_mtime_ns for path in first.written}
    again = Export(labeled, out, format).run(Existing.UPDATE)
    assert (again.written, again.kept) == ([], first.written)
    mask = np.zeros((40, 31), np.uint8)
    mask[3:9, 3:9] = 1
    labeled.accept("image_1", mask)
    changed = Export(labeled, out, format).run(Existing.UPDATE)
    assert first.written[0] in changed.written
    assert sorted(changed.written + changed.kept) == sorted(first.written)
    assert all(path.stat().st_mtime_ns == before[path] for path in changed.kept)
    assert not any("stack_p0002" in path.name for path in changed.written)


def test_what_is_missing_is_written_again(labeled: Session, out: Path) -> None:
    first = export_masks(labeled, out)
    first.written[1].unlink()
    assert Export(labeled, out).run(Existing.UPDATE).written == first.written[1:]


def test_a_cancelled_export_goes_on_where_it_ended(labeled: Session, out: Path) -> None:
    seen: list[int] = []
    with pytest.raises(Cancelled):
        Export(labeled, out).run(progress=lambda done, _: seen.append(done), cancelled=lambda: bool(seen))
    report = Export(labeled, out).run(Existing.UPDATE)
    assert [path.name for path in report.written] == ["stack_p0002_mask.tif"]
    assert [path.name for path in report.kept] == ["image 1_mask.tif"]


@pytest.mark.parametrize("change", ["options", "classes", "drafts"])
def test_other_choices_make_files_out_of_date(
    labeled: Session, out: Path, change: str, predict: Callable[..., Prediction]
) -> None:
    export_masks(labeled, out, ObjectTiff(), include_predicted=True)
    format = ObjectTiff(minimum_size=3) if change == "options" else ObjectTiff()
    if change == "classes":
        labeled.classes.rename(1, "lesion")
    elif change == "drafts":
        labeled.drafts.store("image_2", predict(np.zeros((40, 32), np.uint8)), 2)
    report = Export(labeled, out, format, include_predicted=True).run(Existing.UPDATE)
    assert "image 2_objects.tif" in [path.name for path in report.written]


@pytest.mark.parametrize("spoil", ["before", "after"])
def test_files_of_others_are_not_replaced_by_an_update(labeled: Session, out: Path, spoil: str) -> None:
    if spoil == "after":
        export_masks(labeled, out)
    out.mkdir(exist_ok=True)
    (out / "image 1_mask.tif").write_bytes(b"somebody's")
    with pytest.raises(SemiGDAError, match=r"1 of 2 files already exist.*image 1_mask\.tif"):
        Export(labeled, out).run(Existing.UPDATE)
    assert (out / "image 1_mask.tif").read_bytes() == b"somebody's"


def test_a_torn_record_is_passed_over(labeled: Session, out: Path) -> None:
    first = export_masks(labeled, out)
    with (out / RECORD_NAME).open("ab") as record:
        record.write(b'{"name": "image 1_mask.tif"}\n{"name"')
    assert Export(labeled, out).run(Existing.UPDATE).kept == first.written


def test_files_in_the_way_are_known_beforehand(labeled: Session, out: Path) -> None:
    assert Export(labeled, out).existing() == []
    report = export_masks(labeled, out)
    assert Export(labeled, out).existing() == report.written
    assert Export(labeled, out, OmeTiff()).existing() == []
