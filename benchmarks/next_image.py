"""How long does the annotator wait for the next image after accepting? From the key to the drawn canvas.

    python benchmarks/next_image.py --images FOLDER --count 200
    python benchmarks/next_image.py --drawn 1024 --count 200

Opens napari with the plugin on a new session in a temporary folder, gives every image a draft of random
score, and accepts image after image with the real button: paint a stroke, wait, accept. The clock runs
until the canvas has drawn the next image and its mask. Once with reading ahead, as it is, and once
without. The processor's time, of all threads, is told beside it for machines that are shared. Without a
display, run it under `xvfb-run -s "-screen 0 1400x900x24"`.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import napari
import numpy as np
from napari.layers import Labels
from PIL import Image
from qtpy.QtWidgets import QApplication

from annotator import settle
from lesions_and_cells import generate
from napari_semigda.inference.predictor import Prediction
from napari_semigda.io.pictures import find_pictures
from napari_semigda.session.prefetch import Prefetch
from napari_semigda.session.session import Session
from napari_semigda.widgets.dock import SemiGDAWidget

WINDOW = (1280, 800)
WARM_UP = 3
PAUSE = 1.0  # seconds between two images: people take longer
TARGET = 150  # milliseconds


def drawn_pictures(folder: Path, count: int, size: int) -> list[Path]:
    """Draw so many lesions of this size into a folder."""
    paths = []
    for number in range(count):
        pixels, _ = generate(number, "lesion", size=128)
        paths.append(folder / f"{number:05d}.png")
        Image.fromarray(pixels).resize((size, size)).save(paths[-1])
    return paths


def session_with_drafts(folder: Path, pictures: list[Path]) -> Session:
    """Make a session in which everything has a draft, a disc, of a random score."""
    session = Session.create(folder, pictures, classes=["lesion"])
    random = np.random.default_rng(0)
    for item in session.items:
        rows, columns = np.ogrid[: item.shape[0], : item.shape[1]]
        radius = min(item.shape) / 4
        disc = np.hypot(rows - item.shape[0] / 2, columns - item.shape[1] / 2) < radius
        nothing = np.zeros((1, 1), np.float32)
        drafted = Prediction(nothing[None], disc.astype(np.uint8), nothing, float(random.random()))
        session.drafts.store(item, drafted, 1)
    return session


def waits(viewer: napari.Viewer, widget: SemiGDAWidget, count: int) -> Iterator[tuple[float, float]]:
    """Accept image after image; yield the milliseconds until the next is drawn, and the processor's."""
    drawn = []
    canvas = viewer.window._qt_viewer.canvas._scene_canvas
    canvas.events.draw.connect(lambda event: drawn.append(time.perf_counter()), position="last")
    annotation = widget.controller.annotation
    for _ in range(count):
        layer = next(layer for layer in viewer.layers if isinstance(layer, Labels))
        layer.paint(tuple(side // 2 for side in layer.data.shape), 1)
        settle(PAUSE)
        before = annotation.item
        started, worked = time.perf_counter(), time.process_time()
        widget.mask_panel.accept_and_go_on.click()
        assert annotation.item != before
        drawn.clear()
        while not drawn:
            QApplication.processEvents()
        yield 1000 * (time.perf_counter() - started), 1000 * (time.process_time() - worked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="a folder of pictures; else some are drawn")
    parser.add_argument("--drawn", type=int, default=512, metavar="SIDE", help="side of drawn pictures")
    parser.add_argument("--count", type=int, default=200, help="images in the session")
    parser.add_argument("--accept", type=int, default=20, help="how many are accepted")
    arguments = parser.parse_args()
    print("| ahead | images | size | accepted | median, ms | 90 %, ms | worst, ms | in time | CPU, ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for is_ahead in (True, False):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if arguments.images is not None:
                pictures = find_pictures(arguments.images)[: arguments.count]
            else:
                pictures = drawn_pictures(folder, arguments.count, arguments.drawn)
            session = session_with_drafts(folder / "session", pictures)
            shape = session.items[0].shape
            session.close()
            viewer = napari.Viewer(show=False)
            _, widget = viewer.window.add_plugin_dock_widget("napari-semigda", "Annotate and train")
            viewer.window._qt_window.resize(*WINDOW)
            viewer.window._qt_window.show()
            widget.open_session(folder / "session")
            if not is_ahead:
                widget.controller.training.prefetch_soon.cancel()
                widget.controller.annotation.prefetch = _Nothing(widget.controller.session)
            while widget.controller.runner.busy:  # it looks the pictures through for the queue
                settle(0.5)
            measured = list(waits(viewer, widget, WARM_UP + arguments.accept))[WARM_UP:]
            taken = sorted(wall for wall, _ in measured)
            cells = (
                "yes" if is_ahead else "no",
                len(pictures),
                f"{shape[1]} × {shape[0]}",
                len(taken),
                f"{statistics.median(taken):.0f}",
                f"{taken[int(0.9 * (len(taken) - 1))]:.0f}",
                f"{taken[-1]:.0f}",
                f"{sum(one <= TARGET for one in taken)} of {len(taken)}",
                f"{statistics.median(worked for _, worked in measured):.0f}",
            )
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
            widget.close_down()
            viewer.close()
            settle(0.5)


class _Nothing(Prefetch):
    """Looks at nothing ahead."""

    def prepare(self, item, strategy):
        return None


if __name__ == "__main__":
    main()
