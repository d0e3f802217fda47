import subprocess
import sys
from pathlib import Path

import napari
from qtpy.QtWidgets import QLabel

from napari_semigda.samples import sample_pairs
from napari_semigda.session.session import Session
from napari_semigda.widgets import start
from napari_semigda.widgets.start import open_in_napari


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


def test_an_older_napari_is_named_in_a_sentence(viewer, dock, monkeypatch, qtbot, notices):
    monkeypatch.setattr(start, "WHOLE", "napari_semigda.imported_nowhere")
    monkeypatch.setattr("napari.__version__", "0.5.6")
    opened = dock()
    qtbot.waitUntil(lambda: bool(notices()))
    assert "needs napari 0.6.6 or newer, and this is napari 0.5.6" in notices()[-1]
    assert not opened.ready
    assert any("or newer" in label.text() for label in opened.findChildren(QLabel))


UNITS_MEANWHILE = """
import sys, threading
import pint
from napari_semigda.widgets.canvas.colors import warm_up
sys.setswitchinterval(1e-5)
warming = threading.Thread(target=warm_up)
warming.start()
units = {str(pint.get_application_registry().Unit("pixel"))}
warming.join()
units.add(str(pint.get_application_registry().Unit("pixel")))
print(units)
"""


def test_units_are_known_while_the_dock_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNITS_MEANWHILE], capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("{'pixel'}\n", "")
