"""Pictures of all kinds are read plane by plane, with their pixel size; bad files are named."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import ome_types
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.pictures import Picture, Plane, find_pictures, list_planes, read_plane, write_picture

RANDOM = np.random.default_rng(0)


def numbers(*shape: int, dtype: Any = np.uint8) -> NDArray[Any]:
    return RANDOM.integers(0, 255, shape).astype(dtype)


def read_all(path: Path) -> list[NDArray[Any]]:
    return [read_plane(plane).pixels for plane in list_planes(path)]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", [{"imagej": True}, {"ome": True}, {}], ids=["imagej", "ome", "plain"])
def test_a_time_stack_with_channels_gives_one_plane_a_time(
    tmp_path: Path, kind: dict[str, bool], compression: str | None
) -> None:
    stack = numbers(4, 2, 10, 9, dtype=np.uint16)
    path = tmp_path / "stack.tif"
    tifffile.imwrite(
        path, stack, metadata={"axes": "TCYX"}, photometric="minisblack", compression=compression, **kind
    )
    planes = list_planes(path)
    assert [plane.name for plane in planes] == ["t 1", "t 2", "t 3", "t 4"]
    assert {plane.shape for plane in planes} == {(10, 9)}
    for time, plane in enumerate(planes):
        np.testing.assert_array_equal(read_plane(plane).pixels, np.moveaxis(stack[time], 0, -1))


def test_stacks_over_time_and_depth_are_counted_over_both(tmp_path: Path) -> None:
    stack = numbers(2, 3, 10, 9)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TZYX"})
    planes = list_planes(tmp_path / "a.tif")
    assert [plane.name for plane in planes][2:4] == ["t 1, z 3", "t 2, z 1"]
    np.testing.assert_array_equal(read_plane(planes[3]).pixels, stack[1, 0])


def test_volumes_stored_as_blocks_give_their_planes(tmp_path: Path) -> None:
    volume = numbers(5, 20, 30, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", volume, volumetric=True, tile=(16, 16, 16), photometric="minisblack")
    for read, plane in zip(read_all(tmp_path / "a.tif"), volume, strict=True):
        np.testing.assert_array_equal(read, plane)


def test_pages_of_different_sizes_are_planes_of_their_own(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(numbers(10, 9))
        file.write(numbers(20, 9))
    planes = list_planes(tmp_path / "a.tif")
    assert [(plane.name, plane.shape) for plane in planes] == [("image 1", (10, 9)), ("image 2", (20, 9))]
    assert [pixels.shape for pixels in read_all(tmp_path / "a.tif")] == [(10, 9), (20, 9)]


@pytest.mark.parametrize("planar", [False, True])
def test_color_is_one_plane_with_its_colors_last(tmp_path: Path, planar: bool) -> None:
    pixels = numbers(10, 9, 3)
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.moveaxis(pixels, -1, 0) if planar else pixels,
        photometric="rgb",
        planarconfig="separate" if planar else "contig",
    )
    (read,) = read_all(tmp_path / "a.tif")
    np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1000), (1000, 1)])
def test_thin_pictures_keep_both_dimensions(tmp_path: Path, shape: tuple[int, int]) -> None:
    for number, kind in enumerate(({}, {"imagej": True}, {"ome": True})):
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(path, numbers(*shape), **kind)
        assert [plane.shape for plane in list_planes(path)] == [shape]
        assert [pixels.shape for pixels in read_all(path)] == [shape]


def test_only_the_page_asked_for_is_read(tmp_path: Path) -> None:
    """The other pages may even be damaged."""
    path = tmp_path / "a.tif"
    stack = numbers(3, 40, 40)
    tifffile.imwrite(path, stack, photometric="minisblack", compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as tif:
        place, length = tif.pages[2].dataoffsets[0], tif.pages[2].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[place : place + length] = b"\0" * length
    path.write_bytes(content)
    planes = list_planes(path)
    np.testing.assert_array_equal(read_plane(planes[1]).pixels, stack[1])
    with pytest.raises(SemiGDAError, match=r"a\.tif” could not be read .* damaged"):
        read_plane(planes[2])


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "packbits"])
def test_common_compressions_need_no_further_package(tmp_path: Path, compression: str) -> None:
    smooth = np.add.outer(np.arange(32), np.arange(48)).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.tif", compression=compression)
    (read,) = read_all(tmp_path / "a.tif")
    np.testing.assert_allclose(read.astype(int), smooth, atol=4 if compression == "jpeg" else 0)


def test_photographs_are_turned_the_way_up_that_they_say(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # rotate by 90° to show
    path = tmp_path / "phone.jpg"
    half_white = np.repeat([[0], [255]], [8, 8], axis=0).repeat(32, axis=1).astype(np.uint8)
    Image.fromarray(half_white).save(path, exif=exif)
    (plane,) = list_planes(path)
    pixels = read_plane(plane).pixels
    assert plane.shape == pixels.shape == (32, 16)
    assert pixels[:, :7].min() > 240
    assert pixels[:, 9:].max() < 15


@pytest.mark.parametrize(
    ("mode", "shape", "dtype"),
    [
        ("L", (8, 9), np.uint8),
        ("LA", (8, 9), np.uint8),
        ("RGB", (8, 9, 3), np.uint8),
        ("RGBA", (8, 9, 4), np.uint8),
        ("P", (8, 9, 3), np.uint8),
        ("1", (8, 9), np.bool_),
        ("I;16", (8, 9), np.uint16),
    ],
)
def test_png_of_each_kind(tmp_path: Path, mode: str, shape: tuple[int, ...], dtype: Any) -> None:
    image = Image.fromarray(numbers(8, 9, dtype=np.uint16)) if mode == "I;16" else Image.new(mode, (9, 8))
    image.save(tmp_path / "a.png")
    (pixels,) = read_all(tmp_path / "a.png")
    assert pixels.shape == shape
    assert pixels.dtype == dtype


def test_sixteen_bits_of_a_png_are_kept(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 65536, (8, 9)).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_all(tmp_path / "a.png")[0], pixels)


def test_palettes_become_the_colors_they_stand_for(tmp_path: Path) -> None:
    image = Image.new("RGB", (9, 8), (200, 30, 60)).quantize(4)
    for name in ("a.png", "a.tif", "a.bmp"):
        image.save(tmp_path / name)
        (pixels,) = read_all(tmp_path / name)
        np.testing.assert_array_equal(pixels, np.full((8, 9, 3), (200, 30, 60)))


def test_a_file_is_what_it_is_whatever_its_name(tmp_path: Path) -> None:
    pixels = numbers(8, 9)
    Image.fromarray(pixels).save(tmp_path / "png.tif", format="PNG")
    tifffile.imwrite(tmp_path / "tif.png", pixels)
    np.testing.assert_array_equal(read_all(tmp_path / "png.tif")[0], pixels)
    np.testing.assert_array_equal(read_all(tmp_path / "tif.png")[0], pixels)


@pytest.mark.parametrize("dots", [72, 72.009, 96, 100, 150, 300, 600, 1200, 2400])
@pytest.mark.parametrize("unit", ["INCH", "CENTIMETER"])
def test_how_large_to_print_it_is_no_pixel_size(tmp_path: Path, dots: float, unit: str) -> None:
    density = dots if unit == "INCH" else dots / 2.54
    tifffile.imwrite(tmp_path / "a.tif", numbers(8, 9), resolution=(density, density), resolutionunit=unit)
    Image.fromarray(numbers(8, 9)).save(tmp_path / "a.png", dpi=(dots, dots))
    for name in ("a.tif", "a.png"):
        (plane,) = list_planes(tmp_path / name)
        assert (plane.pixel_size, plane.unit) == ((1, 1), "pixel")


@pytest.mark.parametrize(
    ("unit", "read"),
    [
        ("x\nimages=7\nframes=7", "x images=7 frames=7"),
        ("u" * 1_000_000, "u" * 32),
        ("\t \r\n", "pixel"),
        ("a\u2028b\x85c", "a b c"),
        ("\u202e\u200bm\u03bcm", "mµm"),
    ],
)
def test_a_unit_is_a_short_line_whatever_the_file_says(tmp_path: Path, unit: str, read: str) -> None:
    path = tmp_path / "a.ome.tif"
    sized = {f"PhysicalSize{axis}": 0.5 for axis in "XY"} | {f"PhysicalSize{axis}Unit": "@@" for axis in "XY"}
    tifffile.imwrite(path, numbers(8, 9), ome=True, metadata=sized)
    xml = tifffile.TiffFile(path).ome_metadata
    assert xml is not None
    escaped = "".join(f"&#{ord(letter)};" if ord(letter) < 32 else letter for letter in unit)
    tifffile.imwrite(path, numbers(8, 9), description=xml.replace("@@", escaped).encode(), metadata=None)
    (plane,) = list_planes(path)
    assert plane.unit == read


@pytest.mark.parametrize(
    ("given", "size", "unit"),
    [
        ({"imagej": True, "resolution": (5, 10), "metadata": {"unit": "um"}}, (0.1, 0.2), "µm"),
        ({"imagej": True, "resolution": (5, 10), "metadata": {"unit": "\\u00B5m"}}, (0.1, 0.2), "µm"),
        ({"imagej": True, "resolution": (4, 8), "metadata": {"unit": "mm"}}, (125, 250), "µm"),
        ({"imagej": True, "resolution": (4, 8), "metadata": {"unit": "lines"}}, (0.125, 0.25), "lines"),
        ({"imagej": True}, (1, 1), "pixel"),
        ({"resolution": (5000, 20_000), "resolutionunit": "CENTIMETER"}, (0.5, 2), "µm"),
        ({"resolution": (25_400, 25_400), "resolutionunit": "INCH"}, (1, 1), "µm"),
        ({"imagej": True, "resolution": (10, 10), "metadata": {"unit": "cm"}}, (1000, 1000), "µm"),
        ({"imagej": True, "resolution": (300, 300), "metadata": {"unit": "inch"}}, (1, 1), "pixel"),
        ({"imagej": True, "resolution": (1000, 1000), "metadata": {"unit": "inch"}}, (25.4, 25.4), "µm"),
        ({"resolution": (0, 0), "resolutionunit": "CENTIMETER"}, (1, 1), "pixel"),
        ({}, (1, 1), "pixel"),
        (
            {
                "ome": True,
                "metadata": {
                    "PhysicalSizeX": 500,
                    "PhysicalSizeXUnit": "nm",
                    "PhysicalSizeY": 0.7,
                    "PhysicalSizeYUnit": "µm",
                },
            },
            (0.7, 0.5),
            "µm",
        ),
        ({"ome": True}, (1, 1), "pixel"),
    ],
)
def test_the_size_of_a_pixel(
    tmp_path: Path, given: dict[str, Any], size: tuple[float, float], unit: str
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, numbers(8, 9), **given)
    (plane,) = list_planes(path)
    picture = read_plane(plane)
    assert picture.pixel_size == plane.pixel_size == pytest.approx(size)
    assert picture.unit == plane.unit == unit


def test_a_damaged_description_does_not_make_the_pixels_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    write_picture(path, Picture(pixels := numbers(8, 9), (0.5, 0.5), "µm"))
    path.write_bytes(path.read_bytes().replace(b"</OME>", b"</EMO>"))
    (plane,) = list_planes(path)
    np.testing.assert_array_equal(read_plane(plane).pixels, pixels)
    assert plane.unit == "pixel"


def test_pictures_are_found_in_the_order_a_person_expects(tmp_path: Path) -> None:
    names = ["b/1.png", "image 10.png", "Image 9.TIF", "image 1.jpeg", "notes.txt", ".hidden.png", ".x/1.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "session").mkdir()
    (tmp_path / "session" / "semigda.json").touch()
    (tmp_path / "session" / "mask.tif").touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_pictures(tmp_path)]
    assert found == ["b/1.png", "image 1.jpeg", "Image 9.TIF", "image 10.png"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SemiGDAError, match=r"no folder .*nowhere"):
        find_pictures(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.tif", b"", r"empty \(0 bytes\)"),
        ("empty.png", b"", r"empty \(0 bytes\)"),
        ("text.png", b"just some text", "format is not supported"),
        ("short.tif", b"II*\0", "damaged"),
        ("loop.tif", b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 0) + struct.pack("<I", 8), "tif”"),
    ],
)
def test_what_is_no_picture_is_named_with_the_reason(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SemiGDAError, match=reason) as caught:
        list_planes(tmp_path / name)
    assert name in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SemiGDAError, match=r"gone\.tif” could not be found"):
        read_plane(Plane(tmp_path / "gone.tif"))


def test_a_plane_that_is_not_there_any_more_is_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbers(8, 9))
    with pytest.raises(SemiGDAError, match="no longer has a page number 3"):
        read_plane(Plane(tmp_path / "a.tif", index=2))
    with pytest.raises(SemiGDAError, match="no longer has an image number 2"):
        read_plane(Plane(tmp_path / "a.tif", series=1))


@pytest.mark.timeout(30)
def test_a_file_whose_pages_lead_back_to_themselves_comes_to_an_end(tmp_path: Path) -> None:
    path, pixels = tmp_path / "circle.tif", numbers(8, 9)
    tifffile.imwrite(path, pixels, metadata=None)
    content = bytearray(path.read_bytes())
    end_of_first = 8 + 2 + 12 * int.from_bytes(content[8:10], "little")
    circle = len(content)
    content[end_of_first : end_of_first + 4] = circle.to_bytes(4, "little")
    content += (0).to_bytes(2, "little") + circle.to_bytes(4, "little")
    path.write_bytes(content)

    (plane,) = list_planes(path)

    np.testing.assert_array_equal(read_plane(plane).pixels, pixels)


@pytest.mark.parametrize("name", ["raw.tif", "zlib.tif", "a.png", "a.jpg", "a.bmp", "stack.ome.tif"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_read_or_named_but_never_crash(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    original = tmp_path / name
    if not original.exists():
        pixels = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)
        if name == "stack.ome.tif":
            tifffile.imwrite(original, np.stack([pixels] * 3), ome=True, metadata={"axes": "ZYX"})
        elif name.endswith(".tif"):
            tifffile.imwrite(original, pixels, compression="zlib" if "zlib" in name else None)
        else:
            Image.fromarray(pixels).save(original)
    content = bytearray(original.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    kept = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    damaged = tmp_path / f"damaged-{name}"
    damaged.write_bytes(content[:kept])
    try:
        pictures = [read_plane(plane) for plane in list_planes(damaged)[:3]]
    except SemiGDAError as refusal:
        message = str(refusal)
    else:
        message = damaged.name
        assert all(picture.pixels.ndim in (2, 3) for picture in pictures)
    assert damaged.name in message


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pixels=arrays.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.int32, np.int64, np.float32, np.float64]),
        st.tuples(st.integers(1, 9), st.integers(1, 9))
        | st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(2, 5)),
        elements=st.integers(0, 100),
    ),
    size=st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)),
)
def test_a_written_picture_comes_back(
    tmp_path: Path, pixels: NDArray[Any], size: tuple[float, float]
) -> None:
    path = tmp_path / "a.ome.tif"
    write_picture(path, Picture(pixels, size, "µm"))
    (plane,) = list_planes(path)
    picture = read_plane(plane)
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.pixel_size == pytest.approx(size)
    assert picture.unit == "µm"


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 2, 2, 2)), np.zeros(5), np.zeros((0, 5)), np.zeros((2, 2), complex)]
)
def test_what_is_no_picture_is_not_written(tmp_path: Path, pixels: NDArray[Any]) -> None:
    with pytest.raises(SemiGDAError, match="are not an image"):
        write_picture(tmp_path / "a.tif", Picture(pixels))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "size", "unit"),
    [
        ("µm", 0.5, "µm"),
        ("micrometer", 0.5, "µm"),
        ("nanometer", 0.0005, "µm"),
        ("millimeter", 500, "µm"),
        ("pixel", 0.5, "reference frame"),
        ("second", 0.5, "reference frame"),
    ],
)
def test_units_are_written_as_ome_knows_them(tmp_path: Path, given: str, size: float, unit: str) -> None:
    path = tmp_path / "a.ome.tif"
    write_picture(path, Picture(numbers(8, 9), (0.5, 0.5), given))
    assert ome_types.from_tiff(path, validate=True).images[0].pixels.size_x == 9
    (plane,) = list_planes(path)
    assert (plane.pixel_size, plane.unit) == (pytest.approx((size, size)), unit)


def test_a_pixel_of_no_size_and_no_unit_stays_one_pixel(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    write_picture(path, Picture(numbers(8, 9)))
    (plane,) = list_planes(path)
    assert (plane.pixel_size, plane.unit) == ((1, 1), "pixel")
