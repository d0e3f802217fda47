"""Masks leave a session as TIFF, named and sized like their images; nothing is overwritten unasked."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.io.pictures import list_planes
from napari_semigda.session.export import RECORD_NAME, export_masks, source_of
from napari_semigda.session.exporting.names import export_names
from napari_semigda.session.items import Item, identity
from napari_semigda.session.session import Session


def written(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != RECORD_NAME)
    return sorted(path.relative_to(folder).as_posix() for path in files)


def test_accepted_masks_are_written_under_the_names_of_the_images(labeled: Session, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = export_masks(labeled, out)
    assert written(out) == ["image 1_mask.tif", "more/stack_p0002_mask.tif"]
    assert report.written == [out / "image 1_mask.tif", out / "more" / "stack_p0002_mask.tif"]
    assert {item.id: reason for item, reason in report.left_out} == {
        "image_2": "not accepted yet",
        "image_3": "skipped",
        "stack_p0001": "not accepted yet",
        "stack_p0003": "not accepted yet",
    }
    np.testing.assert_array_equal(tifffile.imread(out / "image 1_mask.tif"), labeled.labels.get("image_1"))
    (plane,) = list_planes(out / "more" / "stack_p0002_mask.tif")
    assert (plane.pixel_size, plane.unit) == ((0.5, 0.25), "µm")


def test_drafts_are_written_if_asked_and_fill_what_nobody_looked_at(labeled: Session, tmp_path: Path) -> None:
    report = export_masks(labeled, tmp_path / "out", include_predicted=True)
    assert [path.name for path in report.written] == [
        "image 1_mask.tif",
        "image 2_mask.tif",
        "stack_p0002_mask.tif",
    ]
    assert "neither accepted nor predicted yet" in [reason for _, reason in report.left_out]
    assert (tifffile.imread(tmp_path / "out" / "image 2_mask.tif") == 1).all()
    filled = tifffile.imread(tmp_path / "out" / "image 1_mask.tif")
    accepted = labeled.labels.get("image_1")
    assert accepted is not None
    np.testing.assert_array_equal(filled, np.where(accepted == 255, 1, accepted))


def test_files_in_the_way_are_reported_before_anything_is_written(labeled: Session, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "more").mkdir(parents=True)
    (out / "more" / "stack_p0002_mask.tif").write_bytes(b"somebody's")
    with pytest.raises(SemiGDAError, match=r"1 of 2 files already exist.*stack_p0002_mask\.tif"):
        export_masks(labeled, out)
    assert written(out) == ["more/stack_p0002_mask.tif"]
    assert (out / "more" / "stack_p0002_mask.tif").read_bytes() == b"somebody's"
    export_masks(labeled, out, overwrite=True)
    assert tifffile.imread(out / "more" / "stack_p0002_mask.tif").shape == (24, 32)


def test_an_image_of_the_session_is_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, height in (("cell.tif", 8), ("cell_mask.tif", 9)):  # of another size: no mask, but an image
        tifffile.imwrite(folder / name, np.zeros((height, 8), np.uint8))
    before = (folder / "cell_mask.tif").read_bytes()
    session = Session.create(tmp_path / "session", folder)
    session.accept("cell", np.ones((8, 8), int))
    with pytest.raises(SemiGDAError, match=r"cell_mask\.tif” is an image of this session"):
        export_masks(session, folder, overwrite=True)
    assert (folder / "cell_mask.tif").read_bytes() == before


@pytest.mark.parametrize("place", ["labels", "predictions/deeper", "edits", "rounds"])
def test_the_session_is_no_place_to_export_to(labeled: Session, place: str) -> None:
    with pytest.raises(SemiGDAError, match="part of the session itself"):
        export_masks(labeled, labeled.folder / place)


def test_a_file_is_no_place_to_export_to(labeled: Session, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(SemiGDAError, match="is a file"):
        export_masks(labeled, tmp_path / "out")


def test_a_damaged_mask_is_left_out_and_named(labeled: Session, tmp_path: Path) -> None:
    (labeled.folder / "labels" / "image_1.tif").write_bytes(b"damaged")
    report = export_masks(labeled, tmp_path / "out")
    assert written(tmp_path / "out") == ["more/stack_p0002_mask.tif"]
    assert "image_1.tif" in {item.id: reason for item, reason in report.left_out}["image_1"]


def test_exporting_can_be_watched_and_cancelled(labeled: Session, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with pytest.raises(Cancelled):
        export_masks(
            labeled,
            tmp_path / "out",
            progress=lambda done, total: seen.append((done, total)),
            cancelled=lambda: len(seen) == 1,
        )
    assert seen == [(1, 2)]
    assert written(tmp_path / "out") == ["image 1_mask.tif"]


def test_a_link_out_of_the_folder_is_not_followed(labeled: Session, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "more").symlink_to(tmp_path / "outside")
    with pytest.raises(SemiGDAError, match="leads out of"):
        export_masks(labeled, tmp_path / "out")
    assert written(tmp_path / "outside") == []


PARTS = st.text(max_size=20) | st.sampled_from(
    ["..", ".", "a", "A", "a.tif", "con", "x" * 300, "é", "e\u0301"]
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.lists(PARTS, max_size=3), PARTS, st.integers(0, 3)), max_size=8))
def test_names_stay_within_the_folder_and_differ(
    tmp_path_factory: pytest.TempPathFactory, given: list[tuple[list[str], str, int]]
) -> None:
    items = [
        Item(
            id=f"i{number}",
            name="/".join([*folders, file]),
            path="/".join(["..", *folders, file]),
            shape=(1, 1),
            index=index,
        )
        for number, (folders, file, index) in enumerate(given)
    ]
    names = export_names(items)
    assert len({identity(name) for name in names}) == len(items)
    root = tmp_path_factory.getbasetemp() / "export"
    for name in names:
        assert (root / name).resolve().is_relative_to(root.resolve())
        assert name.endswith("_mask.tif")
        assert all(len(part.encode()) < 255 for part in name.split("/"))


def test_images_of_one_name_get_files_of_their_own() -> None:
    shared = {"shape": (1, 1)}
    items = [
        Item(id="1", name="a.png", path="../a.png", **shared),
        Item(id="2", name="a.tif", path="../a.tif", **shared),
        Item(id="3", name="s · image 1", path="../s.tif", series=0, **shared),
        Item(id="4", name="s · image 2, z 1", path="../s.tif", series=1, **shared),
        Item(id="5", name="s · image 2, z 2", path="../s.tif", series=1, index=1, **shared),
    ]
    assert export_names(items) == [
        "a.png_mask.tif",
        "a.tif_mask.tif",
        "s_s1_p0001_mask.tif",
        "s_s2_p0001_mask.tif",
        "s_s2_p0002_mask.tif",
    ]


def test_a_draft_beside_an_accepted_part_adds_no_second_object(
    session: Session, predict, tmp_path: Path
) -> None:
    """Where there is at most one object, the accepted one stays, though the draft's other one is larger."""
    session.update(one_object=True)
    accepted = np.zeros(session.item("image_1").shape, np.uint8)
    accepted[2:6, 2:6], accepted[:, 8:] = 1, 255
    draft = np.zeros_like(accepted)
    draft[15:30, 10:25] = 1
    session.accept("image_1", accepted)
    session.drafts.store("image_1", predict(draft), 1)
    mask = source_of(session, include_predicted=True).mask(session.item("image_1"))
    assert (mask[3, 3], mask[20, 20], mask.sum()) == (1, 0, 16)
    session.update(one_object=False)
    mask = source_of(session, include_predicted=True).mask(session.item("image_1"))
    assert (mask[3, 3], mask[20, 20]) == (1, 1)
