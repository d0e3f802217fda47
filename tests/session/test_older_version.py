"""A session of an older version opens as it was left; its manifest is kept before a newer one is written.

`version_1` was written by the first program that had sessions.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from napari_semigda.errors import SemiGDAError
from napari_semigda.session.items import ItemState
from napari_semigda.session.manifest import MIGRATIONS, SCHEMA_VERSION
from napari_semigda.session.session import Session


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The folder of a session of version 1, beside its pictures."""
    shutil.copytree(Path(__file__).with_name("version_1"), tmp_path, dirs_exist_ok=True)
    return tmp_path / "session"


def square(start: int, value: int = 1) -> NDArray[np.uint8]:
    mask = np.zeros((24, 32), np.uint8)
    mask[start : start + 6, start : start + 6] = value
    return mask


def version_of(file: Path) -> int:
    return json.loads(file.read_bytes())["schema_version"]


def test_it_opens_as_it_was_left(older: Path) -> None:
    first = square(4)
    first[20:] = 255
    with Session.open(older) as session:
        np.testing.assert_array_equal(session.labels.get("image_1"), first)
        np.testing.assert_array_equal(session.labels.get("image_2"), square(8, 2))
        np.testing.assert_array_equal(session.labels.edit("image_3"), square(2))
        np.testing.assert_array_equal(session.prediction("image_2"), square(3))
        assert session.state("image_4") is ItemState.SKIPPED
        assert session.classes.names == ["cell", "border"]
        assert session.one_object
        assert session.settings.working_size == 32
        assert [entry.event for entry in session.labels.journal()] == ["accepted", "accepted", "skipped"]
        assert [record.status for record in session.rounds] == ["failed"]
        assert session.current_item == session.item("image_3")
        assert session.warnings == ()
        assert all(session.picture(item).pixels.shape == (24, 32) for item in session.items)


def test_its_manifest_is_kept_before_a_newer_one_is_written(older: Path) -> None:
    original = (older / "semigda.json").read_bytes()
    with Session.open(older) as session:
        session.accept("image_4", square(1))
        assert (older / "semigda.json").read_bytes() == original, "nothing of it had to be written"
        session.classes.rename(1, "nucleus")
        session.labels.keep_for_validation("image_4")
    assert (older / "semigda.v1.json").read_bytes() == original
    assert version_of(older / "semigda.json") == SCHEMA_VERSION
    with Session.open(older) as again:
        assert again.classes.names == ["nucleus", "border"]
        assert [item.id for item in again.labels.validation] == ["image_4"]
        assert again.counts()[ItemState.ACCEPTED] == 3
        again.update(one_object=False)
    assert [file.name for file in older.glob("*.v*.json")] == ["semigda.v1.json"]


def test_a_copy_kept_earlier_is_not_replaced(older: Path) -> None:
    original = (older / "semigda.json").read_bytes()
    (older / "semigda.v1.json").write_bytes(b"of another day")
    with Session.open(older) as session:
        session.update(one_object=False)
    assert (older / "semigda.v1.json").read_bytes() == b"of another day"
    assert (older / "semigda.v1-2.json").read_bytes() == original


def test_without_room_for_the_copy_it_stays_as_it_is(older: Path) -> None:
    original = (older / "semigda.json").read_bytes()
    (older / "semigda.v1.json").mkdir()  # no file can be written in its place
    with Session.open(older) as session:
        with pytest.raises(SemiGDAError, match="a folder where a file should be"):
            session.update(one_object=False)
        assert session.one_object
    assert (older / "semigda.json").read_bytes() == original


def test_whoever_only_looks_sees_everything_and_changes_nothing(older: Path) -> None:
    with Session.open(older), Session.open(older) as looking:
        assert looking.read_only is not None
        assert not looking.framing_by_objects
        np.testing.assert_array_equal(looking.labels.get("image_2"), square(8, 2))
    assert version_of(older / "semigda.json") == 1
    assert not list(older.glob("*.v*.json"))


def test_every_older_version_is_known() -> None:
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


def test_images_of_earlier_sessions_stay_as_their_masks_were_painted(tmp_path: Path) -> None:
    """Versions that did not write “upright” turned only what Pillow read for them."""
    pixels = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32).astype(np.uint8)
    (tmp_path / "images").mkdir()
    for name, compression in (("plain", None), ("zlib", "tiff_adobe_deflate"), ("lzw", "tiff_lzw")):
        given = {"compression": compression, "tiffinfo": {274: 3}}
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.tif", **given)
    Session.create(tmp_path / "session", tmp_path / "images").close()

    def shown() -> dict[str, bool]:
        with Session.open(tmp_path / "session") as session:
            return {
                item.name: np.array_equal(session.picture(item).pixels, pixels[::-1, ::-1])
                for item in session.items
            }

    assert shown() == {"lzw.tif": True, "plain.tif": True, "zlib.tif": True}
    manifest = tmp_path / "session" / "semigda.json"
    values = json.loads(manifest.read_bytes())
    for item in values["items"]:
        del item["upright"]
    manifest.write_text(json.dumps(values), encoding="utf-8")
    assert shown() == {"lzw.tif": True, "plain.tif": False, "zlib.tif": False}
