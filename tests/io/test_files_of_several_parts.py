"""Files of several parts: sets of OME-TIFF, slides, pages beside images, arrays with their channels last."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_semigda import Session
from napari_semigda.errors import SemiGDAError
from napari_semigda.io.masks import read_labels
from napari_semigda.io.pictures import Plane, list_planes, read_plane

GRAY = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)
OME = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'


def write_set(
    folder: Path, axis: str = "T", count: int = 3, *, identified: bool = True, master: bool = False
) -> list[NDArray[Any]]:
    """Write an OME-TIFF over several files: one plane or channel each, of one value."""
    folder.mkdir()
    ids = [f"urn:uuid:{uuid.uuid4()}" for _ in range(count)]
    parts = "".join(
        f'<TiffData First{axis}="{place}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="part{place}.ome.tif">{ids[place]}</UUID></TiffData>'
        for place in range(count)
    )
    sizes = " ".join(f'Size{one}="{count if one == axis else 1}"' for one in "ZCT")
    channels = "".join(f'<Channel ID="Channel:0:{place}"/>' for place in range(count if axis == "C" else 1))
    body = (
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
        f'SizeX="50" SizeY="40" {sizes} PhysicalSizeX="0.5" PhysicalSizeY="0.5">'
        f"{channels}{parts}</Pixels></Image>"
    )
    pixels = [np.full((40, 50), 10 * (place + 1) % 256, np.uint8) for place in range(count)]
    for place, plane in enumerate(pixels):
        own = f' UUID="{ids[place]}"' if identified else ""
        inner = f'<BinaryOnly MetadataFile="part0.ome.tif" UUID="{ids[0]}"/>' if master and place else body
        text = f'<?xml version="1.0" encoding="UTF-8"?>{OME}{own}>{inner}</OME>'
        tifffile.imwrite(folder / f"part{place}.ome.tif", plane, description=text, metadata=None)
    return pixels


def values(session: Session) -> list[list[int]]:
    """What each image shows at its first pixel."""
    return [np.atleast_1d(session.picture(item).pixels[0, 0]).tolist() for item in session.items]


@pytest.mark.parametrize("given", [{}, {"identified": False}, {"master": True}], ids=str)
@pytest.mark.parametrize("axis", ["T", "Z"])
def test_each_plane_of_a_set_is_listed_once_and_with_its_own_file(
    tmp_path: Path, axis: str, given: dict[str, bool]
) -> None:
    write_set(tmp_path / "images", axis, **given)
    with Session.create(tmp_path / "session", tmp_path / "images") as session:
        assert values(session) == [[10], [20], [30]]
        assert [Path(item.path).name for item in session.items] == [
            f"part{place}.ome.tif" for place in range(3)
        ]
        assert session.left_out == []
        assert {(item.pixel_size, item.unit) for item in session.items} == {((0.5, 0.5), "µm")}


def test_an_item_of_an_earlier_version_that_names_a_plane_of_another_file_gets_that_plane(
    tmp_path: Path,
) -> None:
    write_set(tmp_path / "images")
    for place in range(3):
        plane = Plane(tmp_path / "images" / "part1.ome.tif", index=place)
        assert read_plane(plane).pixels[0, 0] == 10 * (place + 1)


@pytest.mark.parametrize("axis", ["T", "C"])
def test_a_missing_file_of_a_set_is_named_and_shows_nothing_black(tmp_path: Path, axis: str) -> None:
    write_set(tmp_path / "images", axis)
    (tmp_path / "images" / "part1.ome.tif").unlink()
    tifffile.imwrite(tmp_path / "images" / "other.tif", GRAY + 1)
    with Session.create(tmp_path / "session", tmp_path / "images") as session:
        assert values(session) == ([[1], [10], [30]] if axis == "T" else [[1]])
        (told,) = session.left_out
        assert told[0].name == "part1.ome.tif"
        assert "“part1.ome.tif”" in told[1]
    with pytest.raises(SemiGDAError, match=r"part1\.ome\.tif"):
        read_plane(Plane(tmp_path / "images" / "part0.ome.tif", index=1 if axis == "T" else 0))


def test_channels_in_files_of_their_own_are_one_image(tmp_path: Path) -> None:
    write_set(tmp_path / "images", "C")
    with Session.create(tmp_path / "session", tmp_path / "images") as session:
        assert values(session) == [[10, 20, 30]]
    with pytest.raises(SemiGDAError, match="first channels"):
        list_planes(tmp_path / "images" / "part1.ome.tif")


def test_a_renamed_file_of_a_set_is_known_by_its_identifier(tmp_path: Path) -> None:
    write_set(tmp_path / "images")
    (tmp_path / "images" / "part1.ome.tif").rename(tmp_path / "images" / "renamed.tif")
    with Session.create(tmp_path / "session", tmp_path / "images") as session:
        assert sorted(values(session)) == [[10], [20], [30]]
        assert session.left_out == []


def test_files_that_changed_their_names_keep_their_planes(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    write_set(folder)
    (folder / "part0.ome.tif").rename(folder / "x")
    (folder / "part1.ome.tif").rename(folder / "part0.ome.tif")
    (folder / "x").rename(folder / "part1.ome.tif")
    with Session.create(tmp_path / "session", folder) as session:
        assert sorted(values(session)) == [[10], [20], [30]]
    assert list_planes(folder / "part0.ome.tif")[0].name == "t 2"


def test_a_file_that_took_the_name_of_another_is_not_read_for_it(tmp_path: Path) -> None:
    write_set(tmp_path / "images", "C")
    write_set(tmp_path / "others", "C")
    (tmp_path / "others" / "part1.ome.tif").replace(tmp_path / "images" / "part1.ome.tif")
    with pytest.raises(SemiGDAError, match=r"part1\.ome\.tif” is not the file"):
        read_plane(list_planes(tmp_path / "images" / "part0.ome.tif")[0])


@pytest.mark.parametrize("name", ["../outside.ome.tif", "/etc/passwd", "..\\outside.ome.tif"])
def test_a_set_opens_nothing_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    write_set(tmp_path / "images", "C", count=2)
    (tmp_path / "images" / "part1.ome.tif").rename(tmp_path / "outside.ome.tif")
    path = tmp_path / "images" / "part0.ome.tif"
    with tifffile.TiffFile(path) as tif:
        xml = (tif.ome_metadata or "").replace("part1.ome.tif", name)
    tifffile.imwrite(path, GRAY, description=xml.encode(), metadata=None)
    with pytest.raises(SemiGDAError):
        read_plane(list_planes(path)[0])


def test_a_file_without_its_description_names_the_one_that_has_it(tmp_path: Path) -> None:
    write_set(tmp_path / "images", master=True)
    (tmp_path / "images" / "part0.ome.tif").unlink()
    with pytest.raises(SemiGDAError, match=r"part1.* needs the file “part0\.ome\.tif”"):
        list_planes(tmp_path / "images" / "part1.ome.tif")


def test_a_set_may_have_its_description_in_a_companion(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    write_set(folder)
    with tifffile.TiffFile(folder / "part0.ome.tif") as tif:
        (folder / "set.companion.ome").write_text(tif.ome_metadata or "", encoding="utf-8")
    for place in range(3):
        path = folder / f"part{place}.ome.tif"
        text = f'{OME} UUID=""><BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:x"/></OME>'
        tifffile.imwrite(path, tifffile.imread(path, key=0), description=text, metadata=None)
    with Session.create(tmp_path / "session", folder) as session:
        assert values(session) == [[10], [20], [30]]


def test_a_single_file_that_was_renamed_is_read(tmp_path: Path) -> None:
    write_set(tmp_path / "images", count=1, identified=False)
    path = (tmp_path / "images" / "part0.ome.tif").rename(tmp_path / "images" / "new name.tif")
    assert [read_plane(plane).pixels[0, 0] for plane in list_planes(path)] == [10]


def test_planes_that_a_description_leaves_out_are_no_black_images(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.stack([GRAY + 1] * 3), ome=True, metadata={"axes": "ZYX"})
    path.write_bytes(path.read_bytes().replace(b'SizeZ="3"', b'SizeZ="9"'))
    assert len(list_planes(path)) == 3


# Pages that are no images ------------------------------------------------------------------------------


def write_pages(path: Path, pages: Sequence[tuple[NDArray[Any], dict[str, Any]]]) -> Path:
    kinds = [given.get("subfiletype", 0) for _, given in pages]
    with tifffile.TiffWriter(path) as tif:
        for pixels, given in pages:
            tif.write(pixels, **{"metadata": None, **given, "subfiletype": 1})
    with tifffile.TiffFile(path, mode="r+") as tif:  # which writes masks of one bit only
        for page, kind in zip(tif.pages, kinds, strict=True):
            page.tags["NewSubfileType"].overwrite(kind)
    return path


@pytest.mark.parametrize("kind", [1, 4, 5, 9])
@pytest.mark.parametrize("same_size", [False, True])
def test_smaller_copies_and_masks_beside_an_image_are_no_images(
    tmp_path: Path, kind: int, same_size: bool
) -> None:
    beside = 255 - (GRAY if same_size else GRAY[::3, ::3])
    for order in (
        [(GRAY, {}), (beside, {"subfiletype": kind})],
        [(beside, {"subfiletype": kind}), (GRAY, {})],
    ):
        path = write_pages(tmp_path / "a.tif", order)
        (plane,) = list_planes(path)
        np.testing.assert_array_equal(read_plane(plane).pixels, GRAY)


@pytest.mark.parametrize("kind", [1, 4])
def test_what_stands_alone_is_read_whatever_it_is_said_to_be(tmp_path: Path, kind: int) -> None:
    path = write_pages(tmp_path / "a.tif", [((GRAY > 40).astype(np.uint8), {"subfiletype": kind})])
    np.testing.assert_array_equal(read_labels(path), GRAY > 40)


def test_pages_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    numbers = [2, 0, 1]
    pages = [
        (np.full((40, 50), number, np.uint8), {"extratags": [(297, 3, 2, (number, 3), True)]})
        for number in numbers
    ]
    planes = list_planes(write_pages(tmp_path / "a.tif", pages))
    assert [(plane.name, plane.index) for plane in planes] == [("page 1", 1), ("page 2", 2), ("page 3", 0)]
    assert [read_plane(plane).pixels[0, 0] for plane in planes] == [0, 1, 2]


def test_pages_may_be_turned_each_in_its_own_way(tmp_path: Path) -> None:
    pages = [(GRAY, {"extratags": [(274, 3, 1, turn, True)]}) for turn in (1, 3, 6)]
    planes = list_planes(write_pages(tmp_path / "a.tif", pages))
    assert [plane.shape for plane in planes] == [(40, 50), (40, 50), (50, 40)]
    for plane, expected in zip(planes, (GRAY, GRAY[::-1, ::-1], np.rot90(GRAY, -1)), strict=True):
        np.testing.assert_array_equal(read_plane(plane).pixels, expected)


def test_smaller_copies_of_an_ome_tiff_are_no_images(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(GRAY, subifds=1, metadata={"axes": "YX"}, tile=(16, 16))
        tif.write(GRAY[::2, ::2], subfiletype=1, tile=(16, 16))
    assert [plane.shape for plane in list_planes(path)] == [(40, 50)]


# Channels last -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [2, 3, 5, 7])
@pytest.mark.parametrize(
    "given", [{}, {"compression": "zlib"}, {"metadata": None}, {"metadata": {"axes": "YXC"}}], ids=str
)
def test_an_array_with_its_channels_last_is_one_image(
    tmp_path: Path, given: dict[str, Any], channels: int, dtype: Any
) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (40, 50, channels)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **given)
    (plane,) = list_planes(tmp_path / "a.tif")
    assert plane.shape == (40, 50)
    np.testing.assert_array_equal(read_plane(plane).pixels, pixels)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_stack_with_its_channels_last_has_an_image_a_plane(tmp_path: Path, compression: str | None) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (4, 40, 50, 5)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression=compression)
    planes = list_planes(tmp_path / "a.tif")
    assert len(planes) == 4
    for plane, expected in zip(planes, pixels, strict=True):
        np.testing.assert_array_equal(read_plane(plane).pixels, expected)


def test_imagejs_stack_of_an_array_with_its_channels_last_is_one_image(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (40, 50, 5)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True)
    (plane,) = list_planes(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_plane(plane).pixels, pixels)


@pytest.mark.parametrize("shape", [(3, 40, 50), (5, 40, 50), (12, 9, 8), (100, 64, 64)])
def test_a_stack_of_pages_stays_one(tmp_path: Path, shape: tuple[int, ...]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint8), photometric="minisblack")
    assert [plane.shape for plane in list_planes(tmp_path / "a.tif")] == [shape[1:]] * shape[0]
