from pathlib import Path

import napari

from napari_semigda.samples import sample_pairs
from napari_semigda.session.session import Session
from napari_semigda.widgets.opening import open_in_napari


def test_napari_opens_on_a_session(tmp_path: Path, make_napari_viewer) -> None:
    make_napari_viewer().close()  # sets napari up, and afterwards looks for windows left open
    images = [image for image, _ in sample_pairs()[:2]]
    Session.create(tmp_path / "session", images).close()
    viewer = open_in_napari(tmp_path / "session", run=False)
    try:
        assert isinstance(viewer, napari.Viewer)
        assert viewer.layers[0].data.shape == (128, 128)
    finally:
        viewer.close()
