"""Live loss curves: drawn where pyqtgraph is installed, else told in numbers."""

import math
from importlib.util import find_spec
from typing import Any

from napari.utils.theme import Theme, get_theme
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_semigda.widgets.panels.parts import timer, wrapped, wrapping_label
from napari_semigda.widgets.panels.round_progress import RoundProgress

REDRAWN_EVERY = 200  # milliseconds
HEIGHT = 110
COLORS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#f0e442", "#0072b2")
TOTAL = "total"
WORDS = {
    TOTAL: "all together",
    "dice": "masks against yours",
    "alignment": "features of accepted images",
    "unlabeled dice": "masks, other images",
    "unlabeled alignment": "features, other images",
    "mixed dice": "masks, mixed images",
}
MEANINGS = {
    TOTAL: "what training makes smaller: the sum of the others, in which other images count for less",
    "dice": "how far the network's masks are from the masks you accepted; 0 is perfect",
    "alignment": "how far its features of an accepted image are from those of your mask",
    "unlabeled dice": "how far its two branches' masks are apart on images without a mask",
    "unlabeled alignment": "how far its two branches' features are apart on images without a mask",
    "mixed dice": "the same on images put together from an accepted one and another",
}
LEGEND = "Losses, step by step: how wrong the network still is. They should fall."


class Curves(QWidget):
    """The losses of the present round over its steps, redrawn a few times a second at most."""

    def __init__(self, progress: RoundProgress) -> None:
        super().__init__()
        self._progress = progress
        self._plot = new_plot(HEIGHT) if find_spec("pyqtgraph") else None
        self._lines: dict[str, Any] = {}
        self.numbers = wrapping_label()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        if self._plot is not None:
            layout.addWidget(self._plot)
        layout.addWidget(self.numbers)
        self._timer = timer(self, REDRAWN_EVERY, self.draw)
        progress.changed.connect(self._draw_soon)
        self.draw()

    def set_theme(self, theme: str) -> None:
        """Take the colors of a napari theme."""
        if self._plot is None:
            return
        paint_plot(self._plot, get_theme(theme))

    def draw(self) -> None:
        """Draw what the round has reported so far."""
        curves = self._progress.curves
        self.setVisible(bool(curves))
        self._say(curves)
        if self._plot is None:
            return
        if set(curves) != set(self._lines):
            self._lines = _new_lines(self._plot, list(curves))
        for name, values in curves.items():
            self._lines[name].setData(values)

    def _say(self, curves: dict[str, list[float]]) -> None:
        report = self._progress.report
        if report is None:
            self.numbers.setText("")
            return
        last = {name: values[-1] for name, values in curves.items() if not math.isnan(values[-1])}
        self.numbers.setText(
            f"Loss {last.get(TOTAL, math.nan):.3f}, learning rate {report.learning_rate:.1e}<br>"
            + " ".join(
                f'<span style="color: {color}">■</span>&nbsp;{WORDS.get(name, name).replace(" ", "&nbsp;")}'
                for name, color in _colors(list(curves)).items()
            )
        )
        self.numbers.setToolTip(
            wrapped("\n".join([LEGEND, *(_in_words(name, value) for name, value in last.items())]))
        )

    def _draw_soon(self) -> None:
        if not self._timer.isActive():
            self._timer.start()


def _colors(names: list[str]) -> dict[str, str]:
    """A color for each loss, the total's first."""
    ordered = sorted(names, key=lambda name: name != TOTAL)
    return {name: COLORS[place % len(COLORS)] for place, name in enumerate(ordered)}


def _in_words(name: str, value: float) -> str:
    """What a loss means, and what it is now."""
    words = WORDS.get(name, name)
    return f"{words[0].upper()}{words[1:]}, {value:.4f}: {MEANINGS.get(name, 'a part of the loss')}."


def _new_lines(plot: Any, names: list[str]) -> dict[str, Any]:
    plot.clear()
    lines = {}
    for name, color in _colors(names).items():
        pen = {"color": color, "width": 2 if name == TOTAL else 1}
        lines[name] = plot.plot(pen=pen, connect="finite")
    return lines


def paint_plot(plot: Any, theme: Theme) -> None:
    """Give a plot the colors of a napari theme."""
    plot.setBackground(theme.background.as_hex())
    for side in ("left", "bottom"):
        plot.getAxis(side).setPen(theme.secondary.as_hex())
        plot.getAxis(side).setTextPen(theme.text.as_hex())


def new_plot(height: int) -> Any:
    """An empty plot, so many pixels high, that only shows; needs pyqtgraph."""
    import pyqtgraph

    plot = pyqtgraph.PlotWidget()
    plot.setFixedHeight(height)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    plot.setMenuEnabled(False)
    plot.plotItem.setContentsMargins(0, 6, 4, 0)
    return plot
