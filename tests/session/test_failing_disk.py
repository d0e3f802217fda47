"""A disk that fails or is full: what is told to be saved is saved, and what is not is told."""

import errno
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import MayNotLast, atomic_file, write_bytes
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session

FlushFails = Callable[[int], None]


@pytest.fixture
def flushing_folders_fails(monkeypatch: pytest.MonkeyPatch) -> FlushFails:
    """Give flushing of a folder this error from now on."""

    def begin(number: int) -> None:
        real = os.fsync

        def fsync(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(number, os.strerror(number))
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)

    return begin


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_an_accepted_mask_that_may_not_last_is_told(
    session: Session, flushing_folders_fails: FlushFails, number: int
) -> None:
    item = session.items[0]
    mask = np.ones(item.shape, np.uint8)
    flushing_folders_fails(number)
    with pytest.raises(MayNotLast, match=r"image_1\.tif.*may lose it"):
        session.accept(item, mask)
    assert session.state(item) is ItemState.ACCEPTED  # as its file stands there
    np.testing.assert_array_equal(session.labels.get(item), mask)


def test_a_changed_manifest_that_may_not_last_is_told(
    session: Session, flushing_folders_fails: FlushFails
) -> None:
    flushing_folders_fails(errno.EIO)
    with pytest.raises(MayNotLast):
        session.classes.rename(1, "cell")
    assert session.classes.names == ["cell"]
    session.close()
    with Session.open(session.folder) as again:
        assert again.classes.names == ["cell"]


def test_a_share_that_flushes_no_folders_is_no_fault(
    session: Session, flushing_folders_fails: FlushFails
) -> None:
    flushing_folders_fails(errno.EINVAL)
    session.accept(session.items[0], np.ones(session.items[0].shape, np.uint8))
    assert session.warnings == ()


def test_the_folders_around_a_new_session_are_flushed(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, real = set(), os.fsync

    def fsync(descriptor: int) -> None:
        flushed.add(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    session = Session.create(tmp_path / "deep" / "session", pictures)
    for folder in (tmp_path, tmp_path / "deep", session.folder):
        assert folder.stat().st_ino in flushed, folder


def test_without_descriptors_left_the_old_mask_stays(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = session.items[0]
    session.accept(item, np.ones(item.shape, np.uint8))
    real = os.open

    def opened(path: object, *rest: int, **more: int) -> int:
        if Path(os.fspath(path)).is_dir():  # type: ignore[call-overload]
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(SemiGDAError):
        session.accept(item, np.zeros(item.shape, np.uint8))
    np.testing.assert_array_equal(session.labels.get(item), 1)


def test_a_full_disk_is_told_when_safetensors_meet_it(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    with (
        pytest.raises(SemiGDAError, match=r"model\.safetensors” could not be written: No such file"),
        atomic_file(tmp_path / "model.safetensors"),
    ):
        save_file({"a": np.zeros(3)}, tmp_path / "gone" / "x")


def test_a_session_closes_on_a_full_disk_and_lets_go_of_its_lock(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise RuntimeError("something nobody thought of")

    monkeypatch.setattr(session.features, "save", fails)
    with pytest.raises(RuntimeError):
        session.close()
    with Session.open(session.folder) as again:
        assert again.read_only is None


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "without hard links"])
def test_a_new_file_replaces_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:

        def link(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", link)
    write_bytes(tmp_path / "one.json", b"1", new=True)
    with pytest.raises(SemiGDAError, match="already exists"):
        write_bytes(tmp_path / "one.json", b"2", new=True)
    assert (tmp_path / "one.json").read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["one.json"]


@pytest.mark.parametrize("of_arrays", [False, True], ids=["files", "arrays"])
def test_a_session_made_meanwhile_in_the_same_folder_is_kept(
    tmp_path: Path, pictures: Path, of_arrays: bool
) -> None:
    folder = tmp_path / "session"
    mask = np.full((8, 9), 2, np.uint8)

    def somebody_else(_done: int, _total: int) -> None:
        if not (folder / "semigda.json").exists():
            others = {"other": np.full(mask.shape, 7, np.uint8)}
            with Session.from_arrays(folder, others, classes=["nucleus", "wall"]) as made:
                made.accept("other", mask)

    mine = {"mine": np.zeros((8, 9), np.uint8), "other": np.zeros((8, 9), np.uint8)}
    make = (
        partial(Session.from_arrays, folder, mine) if of_arrays else partial(Session.create, folder, pictures)
    )
    with pytest.raises(SemiGDAError, match=r"already a session|already exists"):
        make(progress=somebody_else)
    with Session.open(folder) as kept:
        assert kept.classes.names == ["nucleus", "wall"]
        np.testing.assert_array_equal(kept.labels.get("other"), mask)
        assert kept.picture("other").pixels.max() == 7
    assert [file.name for file in (folder / "images").iterdir()] == ["other.ome.tif"]
