"""Record the loop as a moving picture: outline, train, correct.

    python docs/make_recording.py --output docs/pictures/loop.webp

Does with mouse and keys, on the sample lesions bundled with the package, what `make_screenshots.py` takes
still pictures of, and watches the window meanwhile. It is shown faster, and a wait shorter still.
Without a display, run it under `xvfb-run -s "-screen 0 1400x900x24"`.
"""

import argparse
import tempfile
import time
from pathlib import Path

from make_screenshots import annotate_first_images, close_napari, correct_drafts, open_napari, train
from PIL import Image
from qtpy.QtCore import QTimer
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QWidget

from annotator import settle
from napari_semigda import Session
from truths import collect, drawn_lesions

SECONDS_BETWEEN = 0.8  # two looks at the window
SPEED = 4.0  # how much faster it is shown
LONGEST = 0.4  # seconds that one picture stays
LAST = 2.0
WIDTH = 900
QUALITY = 50


class Recorder:
    """Watches a window, and keeps each picture of it that differs from the one before.

    Parameters
    ----------
    window : QWidget
        What is watched, as long as Qt's events are processed.
    """

    def __init__(self, window: QWidget) -> None:
        self._window = window
        self._frames: list[Image.Image] = []
        self._shown: list[float] = []
        self._timer = QTimer(window)
        self._timer.timeout.connect(self._look)
        self._timer.start(round(SECONDS_BETWEEN * 1000))

    def save(self, path: Path) -> None:
        """Stop watching, and write the pictures as an animated WebP or GIF that repeats for ever."""
        self._timer.stop()
        ends = [*self._shown[1:], self._shown[-1] + LAST]
        seconds = [min((end - start) / SPEED, LONGEST) for start, end in zip(self._shown, ends, strict=True)]
        seconds[-1] = LAST
        first, *others = self._frames
        first.save(
            path,
            save_all=True,
            append_images=others,
            duration=[round(second * 1000) for second in seconds],
            loop=0,
            quality=QUALITY,
            method=2,
        )
        megabytes = path.stat().st_size / 1e6
        print(f"{path.name}: {len(self._frames)} pictures, {sum(seconds):.0f} s, {megabytes:.1f} MB")

    def _look(self) -> None:
        frame = _picture(self._window)
        if self._frames and frame.tobytes() == self._frames[-1].tobytes():
            return
        self._frames.append(frame)
        self._shown.append(time.monotonic())


def _picture(window: QWidget) -> Image.Image:
    """What a window shows, at the recording's width."""
    grabbed = window.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = grabbed.constBits().asstring(grabbed.sizeInBytes())
    size = (grabbed.width(), grabbed.height())
    picture = Image.frombytes("RGB", size, rows, "raw", "RGB", grabbed.bytesPerLine())
    return picture.resize((WIDTH, round(WIDTH * size[1] / size[0])), Image.Resampling.LANCZOS)


def main() -> None:
    """Read the arguments, open napari, work, and save what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="file to write, .webp or .gif")
    parser.add_argument("--minutes", type=float, default=1.0, help="length of the round")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="semigda-") as home:
        images = Path(home) / "lesions"
        annotator = open_napari(collect(drawn_lesions(), images), None)
        try:
            folder = Path(home) / "session"
            with Session.create(folder, images, classes=("lesion",), one_object=True):
                pass
            annotator.widget.open_session(folder)
            settle(2)  # the canvas is narrower once the dock is laid out, which would move the first stroke
            recorder = Recorder(annotator.viewer.window._qt_window)
            annotate_first_images(annotator)
            train(annotator, arguments.minutes)
            correct_drafts(annotator)
            recorder.save(arguments.output)
        finally:
            close_napari(annotator)


if __name__ == "__main__":
    main()
