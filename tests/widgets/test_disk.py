"""A disk that does not take what was painted: it is told, and the strokes stay until they can be saved."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from failing_disk import TROUBLES, FailingDisk, why_not
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.log import log_file
from napari_semigda.samples import sample_pairs
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session
from napari_semigda.widgets.panels.parts import errors_shown
from tests.widgets.conftest import mask_layer, paint


@contextmanager
def obstructed(session: Session) -> Iterator[None]:
    """Files stand where the folders of masks should: nobody, not even root, can write into them."""
    folders = [session.folder / name for name in ("labels", "edits")]
    for folder in folders:
        folder.rename(folder.with_suffix(".away"))
        folder.touch()
    try:
        yield
    finally:
        for folder in folders:
            folder.unlink()
            folder.with_suffix(".away").rename(folder)


@contextmanager
def away(session: Session) -> Iterator[None]:
    """The folder is away, as when a network share is."""
    if os.name == "nt":
        pytest.skip("Windows does not rename a folder with an open file in it")
    elsewhere = session.folder.with_name("away")
    session.folder.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(session.folder)


@pytest.fixture(params=["obstructed", "away", *TROUBLES])
def folder_and_trouble(request, tmp_path):
    """A folder on a disk, and what can happen to a session there while a block lasts."""
    if request.param not in TROUBLES:
        yield tmp_path, {"obstructed": obstructed, "away": away}[request.param]
    elif reason := why_not():
        pytest.skip(reason)
    else:
        with FailingDisk(tmp_path) as disk:
            yield disk.folder, lambda session: disk.failing(request.param)


def test_a_mask_that_cannot_be_saved_stays_on_the_screen_until_it_can(
    folder_and_trouble, widget, viewer, click, notices
):
    folder, trouble = folder_and_trouble
    pictures = [picture for picture, _ in sample_pairs()[:3]]
    session = Session.create(folder / "session", pictures, settings=ImageSettings(working_size=32))
    session.current_item = session.items[0]  # else it begins with a typical one
    widget.controller.adopt(session)
    annotation, state = widget.controller.annotation, widget.image_panel.state
    item = annotation.item
    before = paint(viewer)
    click(widget.mask_panel.accept)
    assert state.text() == "accepted"
    painted = paint(viewer, (20, 20), (90, 90))

    with trouble(session):
        for button in (widget.mask_panel.accept, widget.mask_panel.accept_and_go_on):
            click(button)
            assert str(session.folder) in notices()[-1]
            assert "try again" in notices()[-1]
            assert annotation.item == item
            np.testing.assert_array_equal(mask_layer(viewer).data, painted)
            assert state.text() == "painted by you, NOT SAVED"
        click(widget.image_panel.next)
        assert annotation.item == item, "leaving the image would lose what was painted"
        np.testing.assert_array_equal(mask_layer(viewer).data, painted)

    np.testing.assert_array_equal(session.labels.get(item), before)
    click(widget.mask_panel.accept)
    assert state.text() == "accepted"
    np.testing.assert_array_equal(session.labels.get(item), painted)
    click(widget.image_panel.next)
    assert annotation.item != item
    widget.controller.close()
    with Session.open(session.folder) as again:
        assert again.state(item) is ItemState.ACCEPTED
        np.testing.assert_array_equal(again.labels.get(item), painted)
        assert not list((session.folder / "labels").glob("*replaced*"))


def test_what_the_system_says_of_a_file_is_told_with_what_to_do(widget, notices):
    with errors_shown():
        raise OSError(5, "Input/output error", "/share/a.tif")
    assert "Input/output error" in notices()[-1]
    assert "/share/a.tif" in notices()[-1]
    assert "try again" in notices()[-1]
    assert str(log_file()) in notices()[-1]
