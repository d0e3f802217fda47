"""Curves of the train panel: losses by step, and what correcting took and validation gave by round.

Without pyqtgraph there are numbers in place of plots.
"""

import math
from importlib.util import find_spec
from typing import Any

from napari.utils.theme import get_theme
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_semigda.session.efforts import in_words, mean_by_round
from napari_semigda.widgets.controller import Controller
from napari_semigda.widgets.panels.parts import timer, wrapped, wrapping_label
from napari_semigda.widgets.panels.round_progress import RoundProgress

REDRAWN_EVERY = 200  # milliseconds
HEIGHT, LOW_HEIGHT = 110, 90
FEWEST_ROUNDS = 5  # on the axis, so that the first points are not in its middle
COLORS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#f0e442", "#0072b2")
TOTAL = "total"
WORDS = {
    TOTAL: "sum",
    "dice": "masks",
    "alignment": "features",
    "unlabeled dice": "masks, unlabeled images",
    "unlabeled alignment": "features, unlabeled images",
    "mixed dice": "masks, mixed images",
}
MEANINGS = {
    TOTAL: "what training minimizes: the sum of the others, in which unlabeled images count less",
    "dice": "how far the network's masks are from the masks you accepted; 0 is perfect",
    "alignment": "how far the features of an accepted image are from those of your mask",
    "unlabeled dice": "how far the masks of its two branches are apart on images without an accepted mask",
    "unlabeled alignment": "how far the features of its two branches are apart on such images",
    "mixed dice": "the same on images combined from an accepted one and another",
}
LEGEND = "Losses by step: how wrong the network still is. They should fall."
EFFORT = "Pixels changed, %"
EFFORT_MEANS = "Share of pixels you changed in each accepted draft, by the round it is from; and the mean."
DICE = "Validation Dice, %"
DICE_MEANS = "Dice of each round's drafts and your masks of the validation images; 100 is perfect."


class Curves(QWidget):
    """The losses of the current round, redrawn a few times a second at most."""

    def __init__(self, progress: RoundProgress) -> None:
        super().__init__()
        self._progress = progress
        self._plot = _new_plot(HEIGHT)
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
        _paint(self._plot, theme)

    def draw(self) -> None:
        curves = self._progress.curves
        self.setVisible(bool(curves))
        self._show_numbers(curves)
        if self._plot is None:
            return
        if set(curves) != set(self._lines):
            self._plot.clear()
            self._lines = {
                name: self._plot.plot(
                    pen={"color": color, "width": 2 if name == TOTAL else 1}, connect="finite"
                )
                for name, color in _colors(list(curves)).items()
            }
        for name, values in curves.items():
            self._lines[name].setData(values)

    def _show_numbers(self, curves: dict[str, list[float]]) -> None:
        report = self._progress.report
        if report is None:
            self.numbers.setText("")
            return
        last = {name: values[-1] for name, values in curves.items() if not math.isnan(values[-1])}
        legend = " ".join(
            f'<span style="color: {color}">■</span>&nbsp;{WORDS.get(name, name).replace(" ", "&nbsp;")}'
            for name, color in _colors(list(curves)).items()
        )
        loss = last.get(TOTAL, math.nan)
        self.numbers.setText(f"Loss {loss:.3f}, learning rate {report.learning_rate:.1e}<br>{legend}")
        self.numbers.setToolTip(wrapped("\n".join([LEGEND, *(_line(*item) for item in last.items())])))

    def _draw_soon(self) -> None:
        if not self._timer.isActive():
            self._timer.start()


class RoundCurves(QWidget):
    """Two small plots over the rounds, and a sentence; hidden where there is nothing to show."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.words = wrapping_label()
        self.effort, self.dice = _Plot(EFFORT, EFFORT_MEANS), _Plot(DICE, DICE_MEANS)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.words, 0, 0, 1, 2)
        layout.addWidget(self.effort, 1, 0)
        layout.addWidget(self.dice, 1, 1)
        for signal in (controller.opened, controller.states_changed, controller.closed):
            signal.connect(self._refresh)
        self._refresh()

    def set_theme(self, theme: str) -> None:
        for plot in (self.effort, self.dice):
            plot.set_theme(theme)

    def _refresh(self) -> None:
        session = self._controller.session
        drafts = [] if session is None else session.labels.accepted_drafts()
        rounds = () if session is None else session.rounds
        self.words.setText(in_words(drafts))
        self.words.setVisible(bool(self.words.text()))
        self.effort.show_points(mean_by_round(drafts), [(one.round, one.changed) for one in drafts])
        self.dice.show_points(
            {one.number: one.validation_dice for one in rounds if one.validation_dice is not None}, []
        )
        self.setVisible(bool(drafts) or bool(self.dice.points))


class _Plot(QWidget):
    """Percentages over the rounds: a line, and single dots."""

    def __init__(self, title: str, meaning: str) -> None:
        super().__init__()
        self._meaning = meaning
        self.points: dict[int, float] = {}
        self._plot = _new_plot(LOW_HEIGHT)
        self.numbers = wrapping_label()
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(QLabel(title))
        layout.addWidget(self.numbers if self._plot is None else self._plot)
        if self._plot is not None:
            self._plot.getAxis("bottom").setTickSpacing(5, 1)
            self._plot.setLimits(yMin=-0.5, minYRange=5)  # of percentages; room for a dot at 0
            self._dots = self._plot.plot(pen=None, symbol="o", symbolSize=4, symbolPen=None)
            self._dots.setSymbolBrush(COLORS[1])
            self._line = self._plot.plot(pen={"color": COLORS[0], "width": 2}, symbol="o", symbolSize=5)
            self._line.setSymbolBrush(COLORS[0])
            self._line.setSymbolPen(None)

    def set_theme(self, theme: str) -> None:
        _paint(self._plot, theme)

    def show_points(self, line: dict[int, float], dots: list[tuple[int, float]]) -> None:
        """Show shares in [0, 1] by the number of their round."""
        self.points = {number: 100 * share for number, share in line.items()}
        words = ", ".join(f"round {number}: {share:.1f}" for number, share in self.points.items())
        self.numbers.setText(words)
        self.setToolTip(wrapped(f"{self._meaning}\n{words}"))
        self.setVisible(bool(self.points))
        if self._plot is not None:
            self._line.setData(list(self.points), list(self.points.values()))
            self._dots.setData([number for number, _ in dots], [100 * share for _, share in dots])
            self._plot.setXRange(0.5, max([FEWEST_ROUNDS, *self.points]) + 0.5, padding=0)


def _colors(names: list[str]) -> dict[str, str]:
    """A color for each loss, the sum's first."""
    ordered = sorted(names, key=lambda name: name != TOTAL)
    return {name: COLORS[index % len(COLORS)] for index, name in enumerate(ordered)}


def _line(name: str, value: float) -> str:
    words = WORDS.get(name, name)
    return f"{words[0].upper()}{words[1:]}, {value:.4f}: {MEANINGS.get(name, 'a part of the loss')}."


def _new_plot(height: int) -> Any:
    """An empty plot that only shows; None without pyqtgraph."""
    if find_spec("pyqtgraph") is None:
        return None
    import pyqtgraph

    plot = pyqtgraph.PlotWidget()
    plot.setFixedHeight(height)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    plot.setMenuEnabled(False)
    plot.plotItem.setContentsMargins(0, 6, 4, 0)
    return plot


def _paint(plot: Any, theme: str) -> None:
    if plot is not None:
        colors = get_theme(theme)
        plot.setBackground(colors.background.as_hex())
        for side in ("left", "bottom"):
            plot.getAxis(side).setPen(colors.secondary.as_hex())
            plot.getAxis(side).setTextPen(colors.text.as_hex())
