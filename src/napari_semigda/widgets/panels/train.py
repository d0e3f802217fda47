"""Panel 5: rounds of training, how far the present one is, and what it says of itself."""

from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QLabel, QSpinBox, QWidget

from napari_semigda.training.recipe import Budget
from napari_semigda.widgets.controller import NO_WEIGHTS, Controller
from napari_semigda.widgets.panels.curves import Curves
from napari_semigda.widgets.panels.parts import (
    ActionButton,
    Rows,
    ThinBar,
    set_up_number,
    timer,
    wrapped,
    wrapping_label,
)
from napari_semigda.widgets.panels.round_curves import RoundCurves
from napari_semigda.widgets.panels.round_progress import Phase, in_words
from napari_semigda.widgets.panels.status import NO_SESSION

REFRESHED_EVERY = 100  # milliseconds
NOTHING_TO_LEARN = (
    "Accept at least one mask first: training learns from accepted masks that are not kept for validation."
)
AFTER_MEANS = (
    "A round begins by itself once so many masks are accepted that no round has learned from. "
    "Type 0 to start rounds only by hand."
)
NOTHING_RUNS = "No round is running."


class TrainPanel(QWidget):
    """Start, pause, go on, stop, resume; time and steps; losses and a sentence on the state."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._progress = controller.progress
        self.minutes = QDoubleSpinBox()
        self.minutes.setDecimals(1)
        self.minutes.setPrefix("for ")
        self.minutes.setSuffix(" min")
        set_up_number(self.minutes, 1, 0.1, 1440, 0.5, "How long the round may take.")
        self.steps = QSpinBox()
        set_up_number(self.steps, 0, 0, 1_000_000, 50, "End after this many steps, if time is left.")
        self.steps.setSpecialValueText("any steps")
        self.steps.setSuffix(" steps")
        self.every = QSpinBox()
        set_up_number(self.every, 0, 0, 1000, 5, AFTER_MEANS)
        self.every.setSpecialValueText("only when I press Train")
        self.every.setPrefix("after ")
        self.every.setSuffix(" new masks")
        for box in (self.minutes, self.steps, self.every):
            box.valueChanged.connect(self._on_plan)
        self.fresh = QCheckBox("Start afresh")
        self.fresh.setToolTip(
            wrapped("Forget what earlier rounds have learned; else a round goes on from the last.")
        )
        self.train = ActionButton(
            "Train", "Train a round on all accepted masks; go on annotating meanwhile.", self._train
        )
        self.pause = ActionButton("Pause", "Hold the round after its present step.", self._pause_or_go_on)
        self.stop = ActionButton(
            "Stop",
            "End the round after its present step. What it learned is used; it can be resumed.",
            self._stop,
        )
        self.resume = ActionButton(
            "Resume the stopped round", "Go on where the round was stopped.", controller.resume_round
        )
        self.draft_all = ActionButton(
            "Draft all",
            "Make drafts of all images that wait, with the newest weights and in the order chosen.",
            controller.draft_all,
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
        rows = Rows(self)
        rows.add(self.minutes, self.steps, self.fresh)
        after = QLabel("Start")
        after.setToolTip(wrapped(AFTER_MEANS))
        rows.add(after, self.every, shares=(4, 8))
        rows.add(self.draft_all, self.resume)
        rows.add(self.curves)
        rows.add(self.rounds)

    def _train(self) -> None:
        self._controller.train(self._budget(), fresh=self.fresh.isChecked())
        self.fresh.setChecked(False)

    def _budget(self) -> Budget:
        return Budget(steps=self.steps.value() or None, seconds=self.minutes.value() * 60)

    def _on_opened(self) -> None:
        """Show what was chosen when the session was open before."""
        assert self._controller.session is not None
        view = self._controller.session.view
        boxes = (self.minutes, self.steps, self.every)
        for box in boxes:
            box.blockSignals(True)
        self.minutes.setValue(view.round_seconds / 60)
        self.steps.setValue(view.round_steps)
        self.every.setValue(view.round_after)
        for box in boxes:
            box.blockSignals(False)
        self._plan()
        self._refresh()

    def _on_plan(self) -> None:
        self._plan()
        if self._controller.session is not None:
            self._controller.session.remember(
                round_after=self.every.value(),
                round_seconds=self.minutes.value() * 60,
                round_steps=self.steps.value(),
            )

    def _plan(self) -> None:
        self._controller.round_after = self.every.value()
        self._controller.round_budget = self._budget()

    def _pause_or_go_on(self) -> None:
        if self._progress.phase is Phase.PAUSED:
            self._controller.unpause()
        else:
            self._controller.pause()

    def _stop(self) -> None:
        self._controller.stop()

    def _follow(self) -> None:
        """Show a new phase at once, and new numbers a few times a second."""
        if self._progress.phase is not self._shown_phase:
            self._refresh()
        elif not self._timer.isActive():
            self._timer.start()

    def _refresh(self) -> None:
        self._shown_phase = self._progress.phase
        progress, session = self._progress, self._controller.session
        paused = progress.phase is Phase.PAUSED
        self.train.allow(self._why_no_round())
        self.pause.setText("Continue" if paused else "Pause")
        self.pause.allow(None if paused or progress.phase is Phase.TRAINING else NOTHING_RUNS)
        self.stop.allow(self._why_no_stop())
        self.resume.setVisible(self._can_resume())
        self.draft_all.allow(self._why_no_drafts())
        self.state.setText(in_words(progress, session))
        self.bar.setVisible(progress.share is not None)
        self._show_fraction()

    def _show_fraction(self) -> None:
        loading = self._progress.loading
        waiting = self._progress.phase is Phase.PREPARING
        if loading is not None and loading.total:
            self.bar.setMaximum(1000)
            self.bar.setValue(round(1000 * loading.done / loading.total))
        else:
            self.bar.setMaximum(0 if waiting else 1000)
            self.bar.setValue(round(1000 * (self._progress.share or 0.0)))

    def _can_resume(self) -> bool:
        runner = self._controller.runner
        return (
            runner is not None and not self._progress.active and runner.engine.resumable_round() is not None
        )

    def _why_no_round(self) -> str | None:
        session = self._controller.session
        if session is None:
            return NO_SESSION
        if session.read_only is not None:
            return session.read_only
        if self._progress.active:
            return "A round is running already."
        if not session.has_something_to_learn:
            return NOTHING_TO_LEARN
        return None

    def _why_no_drafts(self) -> str | None:
        session, runner = self._controller.session, self._controller.runner
        if session is None or runner is None:
            return NO_SESSION
        if session.read_only is not None:
            return session.read_only
        if self._progress.phase in (Phase.DRAFTING, Phase.STOPPING):
            return "Drafts are being made." if self._progress.phase is Phase.DRAFTING else "It stops."
        return None if runner.engine.has_model else NO_WEIGHTS

    def _why_no_stop(self) -> str | None:
        if self._progress.phase is Phase.STOPPING:
            return "It stops after the present step."
        if self._progress.phase is Phase.IDLE:
            return NOTHING_RUNS
        return None
