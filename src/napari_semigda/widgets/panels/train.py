"""Panel 5: rounds of training: start, pause, stop, resume, draft; losses and progress."""

from typing import Any

from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QLabel, QSpinBox, QWidget
from superqt.utils import signals_blocked

from napari_semigda.training.recipe import Budget
from napari_semigda.widgets.controller import Controller
from napari_semigda.widgets.panels.curves import Curves, RoundCurves
from napari_semigda.widgets.panels.parts import (
    ActionButton,
    Rows,
    ThinBar,
    set_up_number,
    timer,
    wrapped,
    wrapping_label,
)
from napari_semigda.widgets.panels.round_progress import Phase, in_words
from napari_semigda.widgets.training import NO_WEIGHTS

REFRESHED_EVERY = 100  # milliseconds
NOTHING_TO_LEARN = (
    "Accept at least one mask first: training learns from accepted masks that are not kept for validation."
)
AFTER_MEANS = (
    "A round starts automatically after this many newly accepted masks. Enter 0 to start rounds manually."
)
STEPS_MEAN = "A round ends after this many steps, or earlier when its time is up."
NO_ROUND = "No round is running."


class TrainPanel(QWidget):
    """Buttons for rounds and drafts; time and steps; losses, and a sentence on the state."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._progress = controller.progress
        self.minutes = QDoubleSpinBox()
        self.minutes.setDecimals(1)
        self.minutes.setPrefix("for ")
        self.minutes.setSuffix(" min")
        set_up_number(self.minutes, 1, 0.1, 1440, 0.5, "How long a round may take.")
        self.steps = QSpinBox()
        set_up_number(self.steps, 0, 0, 1_000_000, 50, STEPS_MEAN)
        self.steps.setSpecialValueText("any steps")
        self.steps.setSuffix(" steps")
        self.every = QSpinBox()
        set_up_number(self.every, 0, 0, 1000, 5, AFTER_MEANS)
        self.every.setSpecialValueText("manually")
        self.every.setPrefix("after ")
        self.every.setSuffix(" new masks")
        self._boxes: tuple[Any, ...] = (self.minutes, self.steps, self.every)
        for box in self._boxes:
            box.valueChanged.connect(self._on_plan)
        self.fresh = QCheckBox("Train from scratch")
        self.fresh.setToolTip(
            wrapped("The next round starts from untrained weights instead of those of the last round.")
        )
        self.train = ActionButton(
            "Train", "Start a round on all accepted masks; you can keep annotating.", self._train
        )
        self.pause = ActionButton("Pause", "Pause the round after its current step.", self._pause_or_continue)
        self.stop = ActionButton(
            "Stop",
            "End the round after its current step, and use what it learned.",
            lambda: controller.training.stop(),
        )
        self.resume = ActionButton(
            "Resume round",
            "Continue the stopped round where it ended.",
            lambda: controller.training.resume_round(),
        )
        self.draft_all = ActionButton(
            "Draft all",
            "Compute drafts of all images that are not accepted.",
            lambda: controller.training.draft_all(),
        )
        self.bar = ThinBar()
        self.state = wrapping_label()
        self.curves = Curves(self._progress)
        self.rounds = RoundCurves(controller)
        self._lay_out()
        self._shown_phase = self._progress.phase
        self._timer = timer(self, REFRESHED_EVERY, self._refresh)
        self._progress.changed.connect(self._follow)
        controller.opened.connect(self._on_opened)
        controller.states_changed.connect(self._refresh)
        controller.closed.connect(self._refresh)
        self._refresh()

    def _lay_out(self) -> None:
        start = QLabel("Start rounds")
        start.setToolTip(wrapped(AFTER_MEANS))
        rows = Rows(self)
        rows.add(self.minutes, self.steps)
        rows.add(start, self.every, shares=(4, 8))
        rows.add(self.fresh, self.draft_all)
        rows.add(self.resume)
        rows.add(self.curves)
        rows.add(self.rounds)

    def _train(self) -> None:
        self._controller.training.train(self._budget(), fresh=self.fresh.isChecked())
        self.fresh.setChecked(False)

    def _budget(self) -> Budget:
        return Budget(steps=self.steps.value() or None, seconds=self.minutes.value() * 60)

    def _on_opened(self) -> None:
        """Show what was chosen when the session was last open."""
        assert self._controller.session is not None
        view = self._controller.session.view
        values = (view.round_seconds / 60, view.round_steps, view.round_after)
        for box, value in zip(self._boxes, values, strict=True):
            with signals_blocked(box):
                box.setValue(value)
        self._plan()
        self._refresh()

    def _on_plan(self) -> None:
        if self._controller.session is not None:
            self._plan()
            self._controller.session.remember(
                round_after=self.every.value(),
                round_seconds=self.minutes.value() * 60,
                round_steps=self.steps.value(),
            )

    def _plan(self) -> None:
        training = self._controller.training
        training.round_after, training.round_budget = self.every.value(), self._budget()

    def _pause_or_continue(self) -> None:
        if self._progress.phase is Phase.PAUSED:
            self._controller.training.unpause()
        else:
            self._controller.training.pause()

    def _follow(self) -> None:
        """Show a new phase at once, and new numbers a few times a second."""
        if self._progress.phase is not self._shown_phase:
            self._refresh()
        elif not self._timer.isActive():
            self._timer.start()

    def _refresh(self) -> None:
        progress, runner = self._progress, self._controller.runner
        self._shown_phase = progress.phase
        paused = progress.phase is Phase.PAUSED
        self.train.allow(self._why_no_round())
        self.pause.setText("Continue" if paused else "Pause")
        self.pause.allow(None if paused or progress.phase is Phase.TRAINING else NO_ROUND)
        self.stop.allow(self._why_no_stop())
        self.resume.setVisible(
            runner is not None and not progress.active and runner.engine.resumable_round() is not None
        )
        self.draft_all.allow(self._why_no_drafts())
        self.state.setText(in_words(progress, self._controller.session))
        self.bar.setVisible(progress.share is not None)
        loading, maximum = progress.loading, 1000
        if loading is not None and loading.total:
            share = loading.done / loading.total
        else:
            maximum = 0 if progress.phase is Phase.PREPARING else 1000
            share = progress.share or 0.0
        self.bar.setMaximum(maximum)
        self.bar.setValue(round(1000 * share))

    def _why_no_round(self) -> str | None:
        session, why_not = self._controller.session, self._controller.why_no_change
        if session is None or why_not is not None:
            return why_not
        if self._progress.active:
            return "A round is already running."
        return None if session.labels.to_learn_from() else NOTHING_TO_LEARN

    def _why_no_drafts(self) -> str | None:
        runner, why_not = self._controller.runner, self._controller.why_no_change
        if runner is None or why_not is not None:
            return why_not
        match self._progress.phase:
            case Phase.DRAFTING:
                return "Drafts are already being computed."
            case Phase.STOPPING:
                return "Work is stopping."
        return None if runner.engine.has_model else NO_WEIGHTS

    def _why_no_stop(self) -> str | None:
        if self._progress.phase is Phase.STOPPING:
            return "It stops after the current step."
        return NO_ROUND if self._progress.phase is Phase.IDLE else None
