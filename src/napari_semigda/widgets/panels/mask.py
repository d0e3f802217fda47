"""Panel 4: what becomes of the mask on screen."""

from collections.abc import Callable

import numpy as np
from napari.utils.notifications import show_info
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSpinBox, QWidget, QWidgetAction
from superqt import QLabeledDoubleSlider

from napari_semigda.inference.draft_maps import DRAFT_THRESHOLD
from napari_semigda.session.items import ItemState
from napari_semigda.widgets.annotation import Annotation
from napari_semigda.widgets.controller import Controller
from napari_semigda.widgets.corrections import Corrections
from napari_semigda.widgets.keys import Key
from napari_semigda.widgets.keys_window import show_keys
from napari_semigda.widgets.panels.parts import (
    NO_SESSION,
    ActionButton,
    MenuAction,
    MenuButton,
    Rows,
    errors_shown,
    set_up_number,
    wrapped,
    wrapping_label,
)

NO_MASK = "There is no mask on the screen."
NO_DRAFT = "There is no draft of this image yet: train a round first."
NO_WEIGHTS = "There are no weights yet: train a round first."
DRAFT_SHOWN = "You are looking at the draft. Back to your mask: {}."
DRAW = "Draw around the region with the mouse (a lasso; rectangles are in the layer's tools)."
LOWEST, HIGHEST, STEP = 0.05, 0.95, 0.01
THRESHOLD_TIP = (
    "What the draft counts as foreground: the lower, the more. Follows while you drag; what you painted "
    "stays. Ctrl+Z takes it back."
)
SPECK, SMALLEST, LARGEST = 50, 2, 100_000
SPECK_TIP = "Connected pieces of fewer pixels are dropped. Each class has a number of its own."
RADIUS = 2.0

NOTHING_TO_UNDO = "No mask was accepted since the session was opened."
TOO_SOON = "The image has just appeared. Look at it first."
GONE = "The mask's layer was deleted. What was painted on it is kept."
UNCERTAINTY_MEANS = (
    "Uncertainty: 0 certain (no color), 0.5 both branches of the network undecided, "
    "1 each sure of something else."
)

RegionUse = Callable[[Corrections, NDArray[np.bool_]], int]


class MaskPanel(QWidget):
    """Accept, reset, correct, look; and what to do when the layer is gone or a newer draft waits."""

    def __init__(self, controller: Controller, find_moved: Callable[[], object]) -> None:
        super().__init__()
        self._controller = controller
        self._smallest: dict[int, int] = {}
        self._use_region: RegionUse | None = None
        self._unchanged = ""
        self.accept_and_go_on = ActionButton(
            "Accept, go on",
            "Save the mask as right, and show the next image to look at.",
            self._accept_and_go_on,
            Key.ACCEPT_AND_NEXT,
        )
        self.accept = ActionButton(
            "Accept", "Save the mask as right and stay here.", lambda: self._do(Annotation.accept), Key.ACCEPT
        )
        self.no_object = ActionButton(
            "No object here",
            "Accept an empty mask, for there is nothing to outline, and show the next image to look at.",
            lambda: self._accept_and_go_on(no_object=True),
            Key.NO_OBJECT,
        )
        self.undo_accept = ActionButton(
            "Undo accept",
            "Show the image that was accepted last, with its mask as it was before.",
            lambda: self._do(Annotation.undo_accept),
            Key.UNDO_ACCEPT,
        )
        for button in (self.accept_and_go_on, self.accept, self.no_object):
            button.too_soon = self.is_too_soon
        self.reset = ActionButton(
            "To draft",
            "Replace the mask by the newest draft (Ctrl+Z takes it back).",
            self._reset_to_draft,
            Key.RESET,
        )
        self.clear = ActionButton(
            "Clear", "Empty the mask (Ctrl+Z takes it back).", lambda: self._do(Annotation.clear_mask)
        )
        self.to_accepted = ActionButton(
            "To accepted",
            "Replace the mask by the one accepted before (Ctrl+Z takes it back).",
            lambda: self._do(Annotation.reset_to_accepted),
        )
        self.threshold = self._slider()
        self.correct = MenuButton("Correct…", "Holes, specks, outlines, regions: each a step for Ctrl+Z.")
        self.look = MenuButton("Look…", "Draft, outlines, uncertainty; and the list of keys.")
        self._fill_correct_menu()
        self._fill_look_menu()
        self.notice = wrapping_label()
        self.give_up_region = ActionButton(
            "Give up  (Esc)", "Draw no region.", controller.canvas.cancel_region
        )
        self.show_again = ActionButton(
            "Show image and mask again", "Add the layers that were deleted.", self._show_again
        )
        self.find_moved = ActionButton(
            "Find moved images…", "Look for missing images by their names, in a folder and below.", find_moved
        )
        self.use_layer = ActionButton(
            "Use layer",
            "Take what you drew in that layer into the mask, and hide the layer (Ctrl+Z takes it back).",
            lambda: self._do(Annotation.use_layer),
        )
        self.ignore_layer = ActionButton(
            "Ignore layer",
            "Leave what you drew in that layer out of the mask.",
            lambda: self._do(Annotation.ignore_layer),
        )
        self._lay_out()
        self._connect()
        self._refresh()

    # Parts -------------------------------------------------------------------------------------

    def _slider(self) -> QLabeledDoubleSlider:
        slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        slider.setRange(LOWEST, HIGHEST)
        slider.setSingleStep(STEP)  # type: ignore[arg-type]
        slider.setDecimals(2)
        slider.setValue(DRAFT_THRESHOLD)
        slider.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        slider.valueChanged.connect(self._turn_threshold)
        slider.sliderReleased.connect(lambda: self._correct(Corrections.commit_threshold))
        return slider

    def _fill_correct_menu(self) -> None:
        menu = self.correct.entries
        self.fill_holes = MenuAction(
            menu,
            "Fill holes",
            "Give background that one class surrounds to that class.",
            lambda: self._count("There is no hole to fill.", lambda on: on.fill_holes(self._values())),
            Key.FILL_HOLES,
        )
        self.drop_specks = MenuAction(
            menu,
            "Drop specks",
            "Remove connected pieces of fewer pixels than the number below.",
            lambda: self._count("There is no speck that small.", lambda on: on.remove_small(self._specks())),
            Key.REMOVE_SMALL,
        )
        self.smallest = QSpinBox()
        set_up_number(self.smallest, SPECK, SMALLEST, LARGEST, 10, SPECK_TIP)
        self.smallest.setSuffix(" pixels")
        self.smallest.setButtonSymbols(QSpinBox.ButtonSymbols.UpDownArrows)
        self.smallest.valueChanged.connect(self._keep_smallest)
        self.keep_largest = MenuAction(
            menu,
            "Keep largest",
            "Keep the largest connected piece of the class, and remove the others.",
            lambda: self._count("There is only one piece.", lambda on: on.keep_largest(self._values())),
            Key.KEEP_LARGEST,
        )
        entry = QWidgetAction(menu)
        entry.setDefaultWidget(_labeled("Specks: fewer than", self.smallest))
        menu.addAction(entry)
        self.smooth = MenuAction(
            menu,
            "Smooth outlines",
            "Take the roughness out of outlines; again for more.",
            lambda: self._count(
                "The outlines are as smooth as that already.", lambda on: on.smooth(RADIUS, self._values())
            ),
            Key.SMOOTH,
        )
        menu.addSeparator()
        self.draft_inside = MenuAction(
            menu,
            "Take the draft inside a region",
            "Draw around a region: the mask becomes the newest draft there, and stays elsewhere.",
            lambda: self._draw_region(
                "Draft inside", Corrections.use_draft_inside, "The mask is like the draft there already."
            ),
            Key.DRAFT_IN_REGION,
        )
        self.not_looked_at = MenuAction(
            menu,
            "Mark a region as not looked at",
            "Draw around a region: it trains nothing.",
            lambda: self._draw_region(
                "Not looked at",
                Corrections.mark_unlabeled,
                "The region is marked as not looked at already.",
            ),
            Key.MARK_UNLABELED,
        )
        menu.aboutToShow.connect(self._name_class)

    def _fill_look_menu(self) -> None:
        menu = self.look.entries
        self.show_draft = MenuAction(
            menu,
            "Draft instead of my mask",
            "Compare: the mask stays as it is meanwhile.",
            lambda: self._correct(Corrections.toggle_draft),
            Key.SHOW_DRAFT,
        )
        self.contour = MenuAction(
            menu, "Outlines only", "Show masks by their outlines.", self._toggle_contour, Key.CONTOUR
        )
        self.uncertainty = MenuAction(
            menu,
            "Uncertainty",
            "Lay over the image where the network is unsure.",
            lambda: self._correct(Corrections.toggle_uncertainty),
            Key.UNCERTAINTY,
        )
        for one in (self.show_draft, self.contour, self.uncertainty):
            one.setCheckable(True)
        menu.addSeparator()
        self.help = MenuAction(menu, "Keys…", "List all keys.", lambda: show_keys(self), Key.HELP)
        menu.aboutToShow.connect(self._refresh)

    def _lay_out(self) -> None:
        rows = Rows(self)
        rows.add(self.reset, self.to_accepted, self.clear)
        rows.add(QLabel("Threshold"), self.threshold, shares=(4, 8))
        rows.add(self.correct, self.look)
        rows.add(self.give_up_region)

    def _connect(self) -> None:
        controller = self._controller
        controller.opened.connect(self._on_opened)
        controller.closed.connect(self._refresh)
        controller.states_changed.connect(self._refresh)
        controller.canvas.region_drawn.connect(self._on_region)
        controller.canvas.region_ended.connect(self._refresh)

    def _on_opened(self) -> None:
        assert self._controller.annotation is not None
        assert self._controller.corrections is not None
        self._controller.annotation.changed.connect(self._refresh)
        self._controller.corrections.changed.connect(self._refresh)
        self._refresh()

    # What the buttons do -----------------------------------------------------------------------

    def is_too_soon(self) -> bool:
        """Refuse a key or a click that was meant for the image before; an impatient second one, say."""
        annotation = self._controller.annotation
        if annotation is None or not annotation.just_shown:
            return False
        self._controller.canvas.say(TOO_SOON)
        return True

    def _accept_and_go_on(self, *, no_object: bool = False) -> None:
        annotation = self._controller.annotation
        if annotation is not None and not annotation.accept_and_next(no_object=no_object):
            show_info("Every image is accepted or skipped. The masks can be exported.")

    def _do(self, action: Callable[[Annotation], object]) -> None:
        if self._controller.annotation is not None:
            action(self._controller.annotation)

    def _reset_to_draft(self) -> None:
        self._do(Annotation.reset_to_draft)
        self._correct(Corrections.find_threshold)

    def _correct(self, action: Callable[[Corrections], object]) -> None:
        if self._controller.corrections is not None:
            action(self._controller.corrections)
            self._refresh()

    def _count(self, nothing: str, action: Callable[[Corrections], int]) -> None:
        """Correct, and say how much of the mask is different, or that there was nothing to correct."""
        if self._controller.corrections is not None:
            changed = action(self._controller.corrections)
            pixels = "1 pixel" if changed == 1 else f"{changed} pixels"
            self._controller.canvas.say(f"{pixels} changed." if changed else nothing)

    def _turn_threshold(self, threshold: float) -> None:
        with errors_shown():
            self._correct(lambda on: on.set_threshold(threshold, more_follow=self.threshold.isSliderDown()))

    def _toggle_contour(self) -> None:
        self._controller.canvas.contour_only = not self._controller.canvas.contour_only
        self._refresh()

    def _draw_region(self, name: str, use: RegionUse, unchanged: str) -> None:
        self._use_region, self._unchanged = use, unchanged
        self._controller.canvas.draw_region(name)
        self._controller.canvas.say(DRAW)  # the notice may be scrolled away
        self._refresh()

    def _on_region(self, region: NDArray[np.bool_]) -> None:
        use = self._use_region
        if use is not None:
            self._count(self._unchanged, lambda on: use(on, region))

    def _show_again(self) -> None:
        annotation = self._controller.annotation
        if annotation is not None and annotation.item is not None:
            annotation.show(annotation.item)

    # Of which class ----------------------------------------------------------------------------

    def _values(self) -> list[int] | None:
        """The class being painted; None, which means all, where that is background or not looked at."""
        session, picked = self._controller.session, self._controller.canvas.selected_label
        classes = [] if session is None else [info.value for info in session.classes]
        return [picked] if picked in classes else None

    def _specks(self) -> dict[int, int]:
        session = self._controller.session
        assert session is not None
        values = self._values() or [info.value for info in session.classes]
        return {value: self._smallest.get(value, SPECK) for value in values}

    def _keep_smallest(self, pixels: int) -> None:
        session = self._controller.session
        if session is not None:
            self._smallest |= dict.fromkeys(self._specks(), pixels)

    def _name_class(self) -> None:
        """Say in the menu of which class it speaks."""
        session, values = self._controller.session, self._values()
        name = "" if session is None or len(session.classes) < 2 else " of all classes"
        if session is not None and values is not None and name:
            name = " of " + next(info.name for info in session.classes if info.value in values)
        for entry, words in (
            (self.fill_holes, "Fill holes"),
            (self.drop_specks, "Drop specks"),
            (self.keep_largest, "Keep largest"),
            (self.smooth, "Smooth outlines"),
        ):
            entry.say(words + name)
        if session is not None:
            self.smallest.blockSignals(True)
            self.smallest.setValue(max(self._specks().values()))
            self.smallest.blockSignals(False)

    # What is allowed ---------------------------------------------------------------------------

    def _why_nothing_saved(self) -> str | None:
        session = self._controller.session
        return None if session is None else session.read_only

    def _refresh(self) -> None:
        annotation, correcting = self._controller.annotation, self._controller.corrections
        gone = annotation is not None and annotation.item is not None and not annotation.visible
        failure = None if annotation is None else annotation.failure
        why_not = NO_SESSION if annotation is None else failure or (NO_MASK if gone else None)
        looking = None
        if correcting is not None and correcting.shows_draft:
            words, _, key = self.show_draft.text().partition("\t")
            looking = DRAFT_SHOWN.format(key or f"Look… › {words}")
        changes = why_not or self._why_nothing_saved() or looking
        for part in (
            self.accept_and_go_on,
            self.accept,
            self.no_object,
            self.clear,
            self.fill_holes,
            self.drop_specks,
            self.keep_largest,
            self.smooth,
            self.not_looked_at,
        ):
            part.allow(changes)
        self.contour.allow(why_not)
        no_draft = self._why_no_draft()
        self.reset.allow(changes or no_draft)
        self.draft_inside.allow(changes or no_draft)
        self.show_draft.allow(why_not or no_draft)
        self.to_accepted.allow(changes or self._why_not_accepted())
        no_weights = self._why_no_weights()
        self.uncertainty.allow(why_not or no_weights)
        self.threshold.setEnabled((changes or no_weights) is None)
        self.threshold.setToolTip(wrapped(changes or no_weights or THRESHOLD_TIP))
        self.smallest.setEnabled(annotation is not None)
        self.smallest.setToolTip(wrapped(SPECK_TIP if annotation is not None else NO_SESSION))
        self._allow_undoing(annotation)
        missing = gone and annotation is not None and annotation.missing
        self.show_again.setVisible(gone and not missing)
        self.show_again.say("Show image and mask again" if failure is None else "Try again")
        self.find_moved.setVisible(missing)
        self.find_moved.allow(self._why_nothing_saved())
        drawn = None if annotation is None else annotation.drawn_elsewhere
        for button in (self.use_layer, self.ignore_layer):
            button.setVisible(drawn is not None)
            button.allow(changes)
        self.give_up_region.setVisible(self._controller.canvas.drawing_region)
        self._show_what_is_on(correcting)
        self._say(annotation, looking, drawn)

    def _allow_undoing(self, annotation: Annotation | None) -> None:
        accepted = () if annotation is None else annotation.session.undoable_accepts
        why_not = NO_SESSION if annotation is None else None if accepted else NOTHING_TO_UNDO
        self.undo_accept.allow(why_not or self._why_nothing_saved())
        if self.undo_accept.isEnabled():
            self.undo_accept.setToolTip(wrapped(f"Undo accepting {accepted[-1].name}, and show it."))

    def _show_what_is_on(self, correcting: Corrections | None) -> None:
        self.contour.setChecked(self._controller.canvas.contour_only)
        self.show_draft.setChecked(correcting is not None and correcting.shows_draft)
        self.uncertainty.setChecked(correcting is not None and correcting.shows_uncertainty)
        if not self.threshold.isSliderDown():
            self.threshold.blockSignals(True)
            self.threshold.setValue(DRAFT_THRESHOLD if correcting is None else correcting.threshold)
            self.threshold.blockSignals(False)

    def _say(self, annotation: Annotation | None, looking: str | None, drawn: str | None) -> None:
        text = ""
        if annotation is not None and annotation.item is not None:
            if not annotation.visible:
                text = annotation.failure or GONE
            elif self._controller.canvas.drawing_region:
                text = DRAW
            elif looking is not None:
                text = looking
            elif drawn is not None:
                text = f"You drew in the layer “{drawn}”, not in the mask."
            elif annotation.newer_draft:
                text = "A newer draft of this image is there; “To draft” shows it."
            elif self.uncertainty.isChecked():
                text = UNCERTAINTY_MEANS
        self.notice.setText(text)
        self.notice.setVisible(bool(text))

    def _why_no_draft(self) -> str | None:
        annotation = self._controller.annotation
        if annotation is None or annotation.item is None:
            return NO_SESSION
        if annotation.session.prediction_info(annotation.item) is None:
            return NO_DRAFT
        return None

    def _why_no_weights(self) -> str | None:
        runner = self._controller.runner
        if runner is None:
            return NO_SESSION
        return None if runner.engine.has_model else NO_WEIGHTS

    def _why_not_accepted(self) -> str | None:
        annotation = self._controller.annotation
        if annotation is None or annotation.state is not ItemState.ACCEPTED:
            return "No mask of this image was accepted yet."
        return None


def _labeled(words: str, part: QWidget) -> QWidget:
    """A row of a menu: words and a part to work with."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(12, 2, 8, 2)  # where Qt begins the words of the other entries
    layout.addWidget(QLabel(words))
    layout.addWidget(part)
    return row
