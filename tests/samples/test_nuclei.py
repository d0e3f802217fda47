"""Nuclei are fetched once, whole and unchanged, or the words say why not and what to do."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from tests.archives import Server, nuclei_archive, serving, some_nuclei

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.samples.nuclei import NUCLEI, Archive, fetch_nuclei


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(nuclei_archive(some_nuclei())) as server:
        yield server


def test_images_and_masks_are_unpacked(server: Server, tmp_path: Path) -> None:
    pairs = fetch_nuclei(tmp_path / "cache" / "nuclei", archive=server.archive)
    assert [image.name for image, _ in pairs] == ["aa.png", "bb.png", "cc.png"]
    for (image, mask), (pixels, nuclei) in zip(pairs, some_nuclei().values(), strict=True):
        assert mask.name == image.name
        np.testing.assert_array_equal(iio.imread(mask), np.maximum(*nuclei))
        colors = pixels[..., 0] if image.stem != "cc" else pixels[..., :3]
        np.testing.assert_array_equal(iio.imread(image), colors)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["nuclei"]


def test_they_are_fetched_once_and_progress_is_told(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    first = fetch_nuclei(
        tmp_path / "nuclei", lambda done, total: seen.append((done, total)), archive=server.archive
    )
    assert seen == sorted(seen)
    assert seen[0][0] < seen[-1][0] < seen[-1][1]
    server.close()
    assert fetch_nuclei(tmp_path / "nuclei", archive=server.archive) == first
    assert server.requests == 1


def test_a_folder_without_images_of_nuclei_in_it_is_skipped(tmp_path: Path) -> None:
    images = {**some_nuclei(), "without masks": (some_nuclei()["aa"][0], [])}
    with serving(nuclei_archive(images)) as server:
        assert len(fetch_nuclei(tmp_path / "nuclei", archive=server.archive)) == 3


def test_a_download_that_is_cancelled_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        fetch_nuclei(tmp_path / "nuclei", cancelled=lambda: True, archive=server.archive)
    assert list(tmp_path.iterdir()) == []


def test_unpacking_that_is_cancelled_leaves_nothing(server: Server, tmp_path: Path) -> None:
    seen = [0]
    with pytest.raises(Cancelled):
        fetch_nuclei(
            tmp_path / "nuclei",
            lambda done, total: seen.append(done),
            lambda: seen[-1] > 500,
            archive=server.archive,
        )
    assert list(tmp_path.iterdir()) == []


def test_another_file_in_its_place_is_not_used(server: Server, tmp_path: Path) -> None:
    expected = server.archive
    server.content = b"<html>Please sign in to the guest network.</html>"
    with pytest.raises(SemiGDAError, match="its checksum differs"):
        fetch_nuclei(tmp_path / "nuclei", archive=Archive(server.archive.url, expected.sha256))
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_words_say_what_to_bring_where(server: Server, tmp_path: Path) -> None:
    content, archive = server.content, server.archive
    server.close()
    with pytest.raises(SemiGDAError, match="Check the network") as told:
        fetch_nuclei(tmp_path / "nuclei", archive=archive)
    assert f"“{tmp_path}”" in str(told.value)
    assert archive.url in str(told.value)

    brought = tmp_path / archive.name
    brought.write_bytes(content)
    assert len(fetch_nuclei(tmp_path / "nuclei", archive=archive)) == 3
    assert brought.read_bytes() == content


def test_a_place_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SemiGDAError, match=r"could not be saved in “.*nuclei”"):
        fetch_nuclei(tmp_path / "file" / "nuclei", archive=server.archive)


def test_the_real_archive_has_a_checksum() -> None:
    assert NUCLEI.name == "stage1_train.zip"
    assert len(bytes.fromhex(NUCLEI.sha256)) == hashlib.sha256().digest_size
