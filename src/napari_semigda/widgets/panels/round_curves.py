"""Is it getting better? What correcting each round's drafts took, and how they do on validation images."""

from importlib.util import find_spec

from napari.utils.theme import get_theme
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from napari_semigda.session.efforts import in_words, mean_by_round
from napari_semigda.session.rounds import RoundRecord
from napari_semigda.widgets.controller import Controller
from napari_semigda.widgets.panels.curves import COLORS, new_plot, paint_plot
from napari_semigda.widgets.panels.parts import wrapped, wrapping_label

HEIGHT = 90
FEWEST_ROUNDS = 5  # on the axis, so that the first points do not stand in its middle
EFFORT = "Pixels changed, %"
EFFORT_MEANS = (
    "Share of the pixels that you changed in each accepted draft, by the round that made it; and the mean."
)
DICE = "Validation Dice, %"
DICE_MEANS = "Dice of each round's drafts and your masks of the images kept for validation; 100 is perfect."


class RoundCurves(QWidget):
    """Two small plots over the rounds, and a sentence; nothing where there is nothing to tell."""

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
        """Take the colors of a napari theme."""
        for plot in (self.effort, self.dice):
            plot.set_theme(theme)

    def _refresh(self) -> None:
        session = self._controller.session
        drafts = [] if session is None else session.accepted_drafts()
        self.words.setText(in_words(drafts))
        self.words.setVisible(bool(self.words.text()))
        self.effort.show_points(mean_by_round(drafts), [(one.round, one.changed) for one in drafts])
        self.dice.show_points(_validation(() if session is None else session.rounds), [])
        self.setVisible(bool(drafts) or self.dice.has_points)


class _Plot(QWidget):
    """Percentages over the rounds: a line, and single dots; numbers where pyqtgraph is not installed."""

    def __init__(self, title: str, meaning: str) -> None:
        super().__init__()
        self._meaning = meaning
        self.points: dict[int, float] = {}
        self._title = QLabel(title)
        self._plot = new_plot(HEIGHT) if find_spec("pyqtgraph") else None
        self.numbers = wrapping_label()
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._title)
        layout.addWidget(self.numbers if self._plot is None else self._plot)
        if self._plot is not None:
            self._plot.getAxis("bottom").setTickSpacing(5, 1)
            self._plot.setLimits(yMin=-0.5, minYRange=5)  # of percentages; room for a dot at 0
            self._dots = self._plot.plot(pen=None, symbol="o", symbolSize=4, symbolPen=None)
            self._dots.setSymbolBrush(COLORS[1])
            self._line = self._plot.plot(pen={"color": COLORS[0], "width": 2}, symbol="o", symbolSize=5)
            self._line.setSymbolBrush(COLORS[0])
            self._line.setSymbolPen(None)

    @property
    def has_points(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.points)

    def set_theme(self, theme: str) -> None:
        """Take the colors of a napari theme."""
        if self._plot is not None:
            paint_plot(self._plot, get_theme(theme))

    def show_points(self, line: dict[int, float], dots: list[tuple[int, float]]) -> None:
        """Show shares in [0, 1] by the number of their round."""
        self.points = {number: 100 * share for number, share in line.items()}
        words = ", ".join(f"round {number}: {share:.1f}" for number, share in self.points.items())
        self.numbers.setText(words)
        self.setToolTip(wrapped(f"{self._meaning}\n{words}"))
        self.setVisible(self.has_points)
        if self._plot is not None:
            self._line.setData(list(self.points), list(self.points.values()))
            self._dots.setData([number for number, _ in dots], [100 * share for _, share in dots])
            self._plot.setXRange(0.5, max([FEWEST_ROUNDS, *self.points]) + 0.5, padding=0)


def _validation(rounds: tuple[RoundRecord, ...]) -> dict[int, float]:
    return {one.number: one.validation_dice for one in rounds if one.validation_dice is not None}
