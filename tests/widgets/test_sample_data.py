"""Sample data opens through napari's own ways; what is fetched, with progress, Cancel and plain words."""

import napari
import numpy as np
import pytest
from qtpy.QtCore import QTimer

from napari_semigda.errors import SemiGDAError
from tests.archives import nuclei_archive, serving, some_nuclei
from tests.widgets.conftest import activity

PLUGIN = "napari-semigda"


@pytest.fixture
def server(tmp_path, preferences):
    preferences().computing.cache_folder = str(tmp_path / "cache")
    with serving(nuclei_archive(some_nuclei())) as server:
        yield server


@pytest.mark.parametrize("name", ["lesions", "cells"])
def test_drawn_samples_open_with_their_masks(viewer, name):
    pictures, masks = viewer.open_sample(PLUGIN, name)
    assert pictures.data.shape == masks.data.shape == (22, 128, 128)
    assert set(np.unique(masks.data)) == {0, 1}


def test_nuclei_are_fetched_into_the_chosen_folder(viewer, server, tmp_path, notices):
    pictures, masks = viewer.open_sample(PLUGIN, "nuclei", archive=server.archive)
    assert pictures.data.shape == masks.data.shape == (2, 24, 32)
    assert masks.data.sum() == 2 * (36 + 32)
    assert len(list((tmp_path / "cache" / "nuclei" / "images").iterdir())) == 3
    assert any("2 of 3 images" in words and str(tmp_path) in words for words in notices())


def test_napari_answers_while_nuclei_are_fetched_and_the_share_is_shown(viewer, server):
    server.release.clear()
    seen = []

    def look():
        line = activity("downloading nuclei")
        if line.n:
            seen.append((line.n, line.total))
            viewer.add_image(np.zeros((4, 4)), name="meanwhile")
            server.release.set()
        else:
            QTimer.singleShot(10, look)

    QTimer.singleShot(10, look)
    viewer.open_sample(PLUGIN, "nuclei", archive=server.archive)
    assert [layer.name for layer in viewer.layers] == ["meanwhile", "nuclei", "nuclei masks"]
    ((done, total),) = seen
    assert 0 < done < total


def test_cancelling_ends_at_once_even_where_the_network_hangs(viewer, server, tmp_path, qtbot):
    server.release.clear()
    QTimer.singleShot(50, lambda: activity("downloading nuclei").cancel())
    with pytest.raises(SemiGDAError, match="was canceled"):
        viewer.open_sample(PLUGIN, "nuclei", archive=server.archive)
    assert not server.release.is_set()
    assert not list(viewer.layers)
    server.release.set()
    qtbot.waitUntil(lambda: list((tmp_path / "cache").iterdir()) == [])


def test_what_went_wrong_is_told(viewer, server):
    server.close()
    with pytest.raises(SemiGDAError, match="could not be downloaded"):
        viewer.open_sample(PLUGIN, "nuclei", archive=server.archive)


def test_without_a_window_nuclei_open_as_well(server):
    pictures, _ = napari.components.ViewerModel().open_sample(PLUGIN, "nuclei", archive=server.archive)
    assert pictures.data.shape == (2, 24, 32)
