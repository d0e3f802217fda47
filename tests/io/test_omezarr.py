"""OME-Zarr: which planes a store holds, their pixels and sizes, and what is refused."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_semigda.errors import SemiGDAError
from napari_semigda.io import bands
from napari_semigda.io.bands import BandedPixels, opened_plane
from napari_semigda.io.pictures import Plane, find_pictures, list_planes, read_plane, stack_axes
from tests.stores import noise, plane_of, write_store

Document = dict[str, Any]
TYPES = ["?", "u1", "i1", ">u2", "<i2", "u4", "i4", "u8", "f2", ">f4", "f8"]

# What a store holds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_planes_over_t_and_z_keep_their_channels(tmp_path: Path, version: str) -> None:
    pixels = noise((2, 3, 4, 30, 20), np.uint16)
    store = write_store(
        tmp_path / "cells.ome.zarr",
        pixels,
        "tczyx",
        version=version,
        scale=(1, 1, 2, 0.5, 0.25),
        units={"t": "second", "c": "", "z": "micrometer", "y": "micrometer", "x": "micrometer"},
        chunks=(1, 1, 1, 16, 16),
    )
    planes = list_planes(store)
    assert len(planes) == 8
    assert [plane.index for plane in planes] == list(range(8))
    assert planes[5].name == "t 2, z 2"
    assert {(plane.shape, plane.pixel_size, plane.unit) for plane in planes} == {
        ((30, 20), (0.5, 0.25), "µm")
    }
    picture = read_plane(planes[5])
    np.testing.assert_array_equal(picture.pixels, plane_of(pixels, "tczyx", {"t": 1, "z": 1}))
    assert (picture.pixel_size, picture.unit) == ((0.5, 0.25), "µm")
    assert stack_axes(store) == ("TZ", (2, 4), 2.0)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_order_of_axes_and_any_type_of_pixels(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    others = data.draw(st.sets(st.sampled_from("tcz")), label="axes beside y and x")
    axes = "".join(data.draw(st.permutations([*sorted(others), "y", "x"]), label="order"))
    lengths = [data.draw(st.integers(1, 4 if axis not in "yx" else 40), label=axis) for axis in axes]
    version = data.draw(st.sampled_from(["0.4", "0.5"]), label="version")
    dtype = data.draw(st.sampled_from(TYPES), label="type")
    chunks = [data.draw(st.integers(1, length + 3), label="chunk") for length in lengths]
    pixels = noise(lengths, dtype)
    store = write_store(
        tmp_path_factory.mktemp("any") / "a.zarr", pixels, axes, version=version, chunks=chunks
    )
    lead = {axis: length for axis, length in zip(axes, lengths, strict=True) if axis in "tz"}
    planes = list_planes(store)
    for plane, place in zip(planes, np.ndindex(*lead.values()), strict=True):
        expected = plane_of(pixels, axes, dict(zip(lead, place, strict=True)))
        read = read_plane(plane).pixels
        assert read.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(read, expected)
        assert plane.shape == expected.shape[:2]


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("micrometer", ((0.5, 0.25), "µm")),
        ("nanometer", ((0.0005, 0.00025), "µm")),
        ("millimeter", ((500.0, 250.0), "µm")),
        ("parsec", ((0.5, 0.25), "parsec")),
        ("", ((1.0, 1.0), "pixel")),
    ],
)
def test_units_of_length_become_micrometers(
    tmp_path: Path, unit: str, expected: tuple[tuple[float, float], str]
) -> None:
    store = write_store(
        tmp_path / "a.zarr", noise((8, 9)), "yx", scale=(0.5, 0.25), units={"y": unit, "x": unit}
    )
    (plane,) = list_planes(store)
    assert (plane.pixel_size, plane.unit) == expected


def test_y_and_x_may_be_told_in_different_units(tmp_path: Path) -> None:
    units = {"y": "nanometer", "x": "micrometer"}
    (plane,) = list_planes(
        write_store(tmp_path / "a.zarr", noise((8, 9)), "yx", scale=(500, 0.5), units=units)
    )
    assert (plane.pixel_size, plane.unit) == ((0.5, 0.5), "µm")


def test_the_scale_of_the_image_is_applied_on_top_of_the_scale_of_its_arrays(tmp_path: Path) -> None:
    store = write_store(
        tmp_path / "a.zarr",
        noise((8, 9)),
        "yx",
        scale=(2, 3),
        units={"y": "micrometer", "x": "micrometer"},
    )
    _change(
        store / ".zattrs",
        lambda it: it["multiscales"][0].update(
            coordinateTransformations=[{"type": "scale", "scale": [10, 100]}]
        ),
    )
    assert list_planes(store)[0].pixel_size == (20.0, 300.0)


@pytest.mark.parametrize("bad", [[0, 1], ["a", 1], [1], [1e999, 1], [True, 1], None, {"y": 1}])
def test_a_scale_that_makes_no_sense_leaves_pixels(tmp_path: Path, bad: Any) -> None:
    store = write_store(
        tmp_path / "a.zarr", noise((8, 9)), "yx", units={"y": "micrometer", "x": "micrometer"}
    )
    _change(
        store / ".zattrs",
        lambda it: it["multiscales"][0]["datasets"][0].update(
            coordinateTransformations=[{"type": "scale", "scale": bad}, {"type": "translation"}]
        ),
    )
    (plane,) = list_planes(store)
    assert (plane.pixel_size, plane.unit) == ((1.0, 1.0), "pixel")


def test_shards_and_other_compressions_are_read(tmp_path: Path) -> None:
    pixels = noise((64, 48))
    for number, given_ in enumerate(
        (
            {"shards": (32, 32)},
            {"compressors": zarr.codecs.GzipCodec()},
            {"compressors": zarr.codecs.ZstdCodec()},
            {"compressors": None},
        )
    ):
        store = write_store(
            tmp_path / f"{number}.zarr", pixels, "yx", version="0.5", chunks=(16, 16), **given_
        )
        np.testing.assert_array_equal(read_plane(list_planes(store)[0]).pixels, pixels)


def test_the_series_of_a_converted_file_are_images_of_their_own(tmp_path: Path) -> None:
    store = tmp_path / "slides.zarr"
    zarr.open_group(store, mode="w", zarr_format=2).attrs["bioformats2raw.layout"] = 3
    for number, shape in enumerate([(8, 9), (10, 11)]):
        write_store(store / str(number), noise(shape), "yx")
    planes = list_planes(store)
    assert [(plane.series, plane.name, plane.shape) for plane in planes] == [
        (0, "image 1", (8, 9)),
        (1, "image 2", (10, 11)),
    ]
    np.testing.assert_array_equal(read_plane(planes[1]).pixels, noise((10, 11)))


def test_the_fields_of_a_plate_are_images_of_their_own(tmp_path: Path) -> None:
    store = tmp_path / "plate.zarr"
    zarr.open_group(store, mode="w", zarr_format=2).attrs["plate"] = {
        "wells": [{"path": "A/1"}, {"path": "B/2"}]
    }
    for well in ("A/1", "B/2"):
        group = zarr.open_group(store / well, mode="w", zarr_format=2)
        group.attrs["well"] = {"images": [{"path": "0"}, {"path": "1"}]}
        for field in ("0", "1"):
            write_store(store / well / field, noise((8, 9)), "yx")
    assert [plane.series for plane in list_planes(store)] == [0, 1, 2, 3]


def test_the_store_is_one_picture_and_nothing_in_it_is_looked_for(tmp_path: Path) -> None:
    for name in ("b 10.zarr", "b 9.ome.zarr"):
        store = write_store(tmp_path / "images" / name, noise((8, 9)), "yx")
        (store / "preview.png").write_bytes(b"no picture of the folder")
    write_store(tmp_path / "images" / ".hidden.zarr", noise((8, 9)), "yx")
    assert [path.name for path in find_pictures(tmp_path)] == ["b 9.ome.zarr", "b 10.zarr"]


# Piece by piece ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axes", "chunks"),
    [
        ((130, 75), "yx", (32, 16)),
        ((3, 130, 75), "cyx", (1, 32, 16)),
        ((130, 75, 3), "yxc", (500, 16, 3)),
        ((2, 3, 70, 40), "zcyx", (1, 1, 16, 40)),
    ],
)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_large_plane_is_read_by_slices_and_is_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    axes: str,
    chunks: tuple[int, ...],
    version: str,
) -> None:
    monkeypatch.setattr(bands, "LARGE", 100)
    store = write_store(
        tmp_path / "a.zarr", noise(shape, ">u2"), axes, version=version, chunks=chunks, levels=2
    )
    for plane in list_planes(store):
        whole = read_plane(plane).pixels
        with opened_plane(plane) as banded:
            assert isinstance(banded, BandedPixels)
            assert (banded.shape, banded.dtype) == (whole.shape, whole.dtype)
            for part in (np.s_[:], np.s_[3:40], np.s_[16:48:5], np.s_[31:70:7, ::3], np.s_[9:9]):
                np.testing.assert_array_equal(banded[part], whole[part])


def test_a_damaged_chunk_is_told_when_it_is_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "LARGE", 100)
    store = write_store(tmp_path / "a.zarr", noise((160, 32)), "yx", chunks=(32, 32))
    (store / "0" / "4.0").write_bytes(b"no chunk")
    with opened_plane(list_planes(store)[0]) as banded:
        np.testing.assert_array_equal(banded[:128], noise((160, 32))[:128])
        with pytest.raises(SemiGDAError, match=r"a\.zarr” could not be read as an image"):
            banded[120:]


# What is refused ---------------------------------------------------------------------------------------


def _change(file: Path, change: Callable[[Document], object]) -> None:
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


def _attributes(change: Callable[[Document], object]) -> Callable[[Path], None]:
    return lambda store: _change(store / ".zattrs", change)


def _array(change: Callable[[Document], object]) -> Callable[[Path], None]:
    return lambda store: _change(store / "0" / ".zarray", change)


def _path(name: Any) -> Callable[[Path], None]:
    return _attributes(lambda it: it["multiscales"][0]["datasets"][0].update(path=name))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no metadata": (lambda store: (store / ".zattrs").unlink(), "has no metadata"),
    "no JSON": (lambda store: (store / ".zattrs").write_text("{"), "“.zattrs” is damaged"),
    "no text": (lambda store: (store / ".zattrs").write_bytes(b"\xff\xfe\x00"), "“.zattrs” is damaged"),
    "a list": (lambda store: (store / ".zattrs").write_text("[1]"), "are damaged"),
    "deep": (lambda store: (store / ".zattrs").write_text("[" * 100_000), "is damaged"),
    "no image": (_attributes(lambda it: it.pop("multiscales")), "names? no image"),
    "empty list of images": (_attributes(lambda it: it.update(multiscales=[])), "name no image"),
    "wrong kind of images": (_attributes(lambda it: it.update(multiscales="x")), "“multiscales” is no list"),
    "wrong kind of image": (_attributes(lambda it: it.update(multiscales=[3])), "“multiscales” is no list"),
    "no arrays": (_attributes(lambda it: it["multiscales"][0].update(datasets=[])), "name no array"),
    "an array without path": (_path(None), "cannot be inside of it"),
    "a number as path": (_path(7), "cannot be inside of it"),
    "a path that leads out": (_path("../other.zarr/0"), "cannot be inside of it"),
    "a path that leads out and in": (_path("0/../../a.zarr/0"), "cannot be inside of it"),
    "an absolute path": (_path("/etc"), "cannot be inside of it"),
    "a drive": (_path("C:\\images"), "cannot be inside of it"),
    "an address": (_path("https://example.org/0"), "cannot be inside of it"),
    "the store itself": (_path("."), "cannot be inside of it"),
    "an array that is not there": (_path("5"), "array “5” is missing"),
    "too few axes": (
        _attributes(lambda it: it["multiscales"][0]["axes"].pop()),
        "name 1 axes, but its array has 2",
    ),
    "no x": (_attributes(lambda it: it["multiscales"][0].update(axes=["y", "z"])), "y and x are needed"),
    "y twice": (_attributes(lambda it: it["multiscales"][0].update(axes=["y", "y"])), "y and x are needed"),
    "axes that are none": (_attributes(lambda it: it["multiscales"][0].update(axes=[None, {}])), "y and x"),
    "axes as text": (_attributes(lambda it: it["multiscales"][0].update(axes="yx")), "“axes” is no list"),
    "absurd size": (_array(lambda it: it.update(shape=[10**9, 10**9])), "seems damaged"),
    "negative size": (_array(lambda it: it.update(shape=[-1, 9])), "“shape” is"),
    "empty": (_array(lambda it: it.update(shape=[0, 9])), "“shape” is"),
    "half a pixel": (_array(lambda it: it.update(shape=[8.5, 9])), "“shape” is"),
    "text as size": (_array(lambda it: it.update(shape="8x9")), "“shape” is no list"),
    "huge chunks": (_array(lambda it: it.update(chunks=[10**6, 10**6])), "chunks have 931 GiB"),
    "empty chunks": (_array(lambda it: it.update(chunks=[0, 0])), "“chunks” is"),
    "chunks of other axes": (_array(lambda it: it.update(chunks=[4])), "have 1 axes, not 2"),
    "objects": (_array(lambda it: it.update(dtype="|O")), "type '|O'"),
    "complex": (_array(lambda it: it.update(dtype="<c8")), "numbers are needed"),
    "records": (_array(lambda it: it.update(dtype=[["a", "<u1"]])), "numbers are needed"),
    "unknown compression": (
        _array(lambda it: it.update(compressor={"id": "jpeg2k"})),
        "“jpeg2k” is not supported",
    ),
    "compression of a wrong kind": (_array(lambda it: it.update(compressor=3)), "“compressor” is no list"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_or_hostile_store_is_refused_with_its_name(tmp_path: Path, name: str) -> None:
    damage, words = DAMAGE[name]
    store = write_store(tmp_path / "a.zarr", noise((8, 9)), "yx", units={"y": "", "x": ""})
    damage(store)
    for read in (list_planes, stack_axes, lambda path: read_plane(Plane(path))):
        with pytest.raises(SemiGDAError, match=words) as refused:
            read(store)
        assert str(refused.value).startswith(f"“{store}” could not be read as an image: ")


def _version_5(change: Callable[[Document], object]) -> Callable[[Path], None]:
    return lambda store: _change(store / "0" / "zarr.json", change)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_version_5(lambda it: it.update(data_type="string")), "numbers are needed"),
        (_version_5(lambda it: it.update(codecs=None)), "“codecs” is missing"),
        (_version_5(lambda it: it["codecs"].append({"name": "vlen-utf8"})), "“vlen-utf8” is not supported"),
        (_version_5(lambda it: it.update(chunk_grid=7)), "“chunk_grid” is no list"),
        (
            _version_5(lambda it: it["chunk_grid"]["configuration"].pop("chunk_shape")),
            "“chunk_shape” is missing",
        ),
        (
            _version_5(lambda it: it.update(codecs=[{"name": "sharding_indexed"}])),
            "“sharding_indexed” is missing",
        ),
        (lambda store: (store / "zarr.json").write_text('{"attributes": 3}'), "“attributes” is no list"),
        (lambda store: (store / "zarr.json").write_text('{"attributes": {"ome": 3}}'), "“ome” is no list"),
        (lambda store: (store / "0" / "zarr.json").unlink(), "array “0” is missing"),
    ],
)
def test_so_is_one_of_zarr_3(tmp_path: Path, damage: Callable[[Path], object], words: str) -> None:
    store = write_store(tmp_path / "a.zarr", noise((8, 9)), "yx", version="0.5")
    damage(store)
    with pytest.raises(SemiGDAError, match=words):
        list_planes(store)


class _Opens:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self._file), "w")


def test_no_code_of_a_store_is_executed(tmp_path: Path) -> None:
    store = write_store(tmp_path / "a.zarr", noise((8, 9)), "yx")
    _change(store / "0" / ".zarray", lambda it: it.update(compressor={"id": "pickle", "protocol": 5}))
    (store / "0" / "0.0").write_bytes(pickle.dumps(_Opens(tmp_path / "made by the store")))
    for read in (list_planes, lambda path: read_plane(Plane(path))):
        with pytest.raises(SemiGDAError, match="“pickle” is not supported"):
            read(store)
    assert not (tmp_path / "made by the store").exists()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
        max_leaves=4,
    ),
    version=st.sampled_from(["0.4", "0.5"]),
)
def test_whatever_the_metadata_hold_there_are_planes_or_a_sentence(
    data: st.DataObject, value: Any, version: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = write_store(tmp_path_factory.mktemp("odd") / "a.zarr", noise((8, 9)), "yx", version=version)
    files = [".zattrs", "0/.zarray"] if version == "0.4" else ["zarr.json", "0/zarr.json"]
    file = store / data.draw(st.sampled_from(files), label="file")
    document = json.loads(file.read_text())
    *way, last = data.draw(st.sampled_from(list(_places(document))), label="place")
    parent = document
    for step in way:
        parent = parent[step]
    parent[last] = value
    file.write_text(json.dumps(document))
    told, shapes = str(store), []
    try:
        shapes = [(plane.shape, read_plane(plane).pixels.shape[:2]) for plane in list_planes(store)]
    except SemiGDAError as error:
        told = str(error)
    assert str(store) in told
    assert all(said == read for said, read in shapes)


def _places(value: Any) -> Any:
    """The ways to all values inside of a document."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (key,)
        yield from ((key, *way) for way in _places(value[key]))


def test_smaller_copies_that_are_missing_are_done_without(tmp_path: Path) -> None:
    store = write_store(tmp_path / "a.zarr", noise((8, 9)), "yx", levels=2)
    (store / "1" / ".zarray").unlink()
    np.testing.assert_array_equal(read_plane(list_planes(store)[0]).pixels, noise((8, 9)))


def test_a_store_that_is_gone_is_said_to_be_gone(tmp_path: Path) -> None:
    with pytest.raises(SemiGDAError, match="could not be found"):
        list_planes(tmp_path / "a.zarr")
    store = write_store(tmp_path / "b.zarr", noise((2, 8, 9)), "zyx")
    with pytest.raises(SemiGDAError, match="no longer has a page number 3"):
        read_plane(Plane(store, index=2))
    with pytest.raises(SemiGDAError, match="no longer has an image number 2"):
        read_plane(Plane(store, series=1))
