"""A disk or network share that vanishes with a session on it, and comes back."""

import os
from pathlib import Path

import numpy as np
import pytest

from napari_semigda.errors import SemiGDAError
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session


@pytest.mark.skipif(os.name == "nt", reason="Windows does not rename a folder with an open file in it")
@pytest.mark.parametrize("mount_point_stays", [False, True])
def test_a_session_that_vanishes_saves_nowhere_else_and_goes_on_when_it_is_back(
    session: Session, tmp_path: Path, mount_point_stays: bool
) -> None:
    mask = np.zeros(session.item("image_1").shape, np.uint8)
    mask[3:9, 3:9] = 1
    session.accept("image_1", mask)
    away = tmp_path / "away"
    session.folder.rename(away)
    if mount_point_stays:
        session.folder.mkdir()
    for save in (session.accept, session.keep_edit):
        with pytest.raises(SemiGDAError, match=r"is not there any more.*share, then try again"):
            save("image_1", 1 - mask)
    with pytest.raises(SemiGDAError):
        session.labels("image_1")
    assert not session.folder.exists() or not os.listdir(session.folder)
    if mount_point_stays:
        session.folder.rmdir()
    away.rename(session.folder)
    assert session.state("image_1") is ItemState.ACCEPTED
    assert np.array_equal(session.labels("image_1"), mask)
    session.accept("image_1", 1 - mask)
    session.close()
    with Session.open(session.folder) as again:
        assert np.array_equal(again.labels("image_1"), 1 - mask)
