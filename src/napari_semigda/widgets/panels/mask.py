"""Panel 4: accept, reset and correct the mask on screen."""

from collections.abc import Callable

import numpy as np
from napari.utils.notifications import show_info
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QMenu, QSpinBox, QWidget, QWidgetAction
from superqt import QLabeledDoubleSlider
from superqt.utils import signals_blocked

from napari_semigda.inference.correction import (
    fill_holes,
    keep_largest,
    mark_unlabeled,
    remove_small_objects,
    smooth_outlines,
)
from napari_semigda.inference.predictor import DRAFT_THRESHOLD
from napari_semigda.pace import counted
from napari_semigda.widgets.annotation import Annotation, Mask
from napari_semigda.widgets.controller import NO_SESSION, Controller
from napari_semigda.widgets.corrections import Corrections
from napari_semigda.widgets.keys import Key
from napari_semigda.widgets.keys_window import show_keys
from napari_semigda.widgets.panels.parts import (
    ActionButton,
    MenuAction,
    MenuButton,
    Rows,
    errors_shown,
    set_up_number,
    wrapped,
    wrapping_label,
)
from napari_semigda.widgets.panels.status import DRAW, MaskStatus

LOWEST, HIGHEST, STEP = 0.05, 0.95, 0.01
THRESHOLD_TIP = (
    "Draft pixels above this probability belong to an object: lower values give larger "
    "objects. Painted pixels stay."
)
SMALL, SMALLEST, LARGEST = 50, 2, 100_000  # pixels
SMALL_TIP = "Connected objects with fewer pixels are removed. Each class has its own number."
RADIUS = 2.0
TOO_SOON = "This image was shown just now. Check it first."

Region = NDArray[np.bool_]


class MaskPanel(QWidget):
    """Buttons and menus for the mask on screen; those used all the time are placed below the panels."""

    def __init__(self, controller: Controller, find_moved: Callable[[], object]) -> None:
        super().__init__()
        self._controller = controller
        self._small: dict[int, int] = {}
        self._use_region: tuple[Callable[[Corrections, Mask, Region], Mask], str] | None = None
        self._create_main_buttons(find_moved)
        self.reset = ActionButton(
            "Use draft", "Replace the mask with the newest draft.", self._reset_to_draft, Key.RESET
        )
        self.to_accepted = ActionButton(
            "Use accepted",
            "Replace the mask with the accepted one.",
            lambda: self._do(Annotation.reset_to_accepted),
        )
        self.clear = ActionButton(
            "Clear", "Empty the mask; Ctrl+Z restores it.", lambda: self._do(Annotation.clear_mask)
        )
        self.threshold = self._slider()
        self.correct = MenuButton("Correct…", "Tools that change the mask; each use is one undo step.")
        self.view = MenuButton("View…", "Draft, outlines and uncertainty; all keys.")
        self._fill_correct_menu(self.correct.entries)
        self._fill_view_menu(self.view.entries)
        self.cancel_region = ActionButton(
            "Cancel region  (Esc)", "Stop drawing, and change nothing.", controller.canvas.region.cancel
        )
        self.notice = wrapping_label()
        rows = Rows(self)
        rows.add(self.reset, self.to_accepted, self.clear, shares=(4, 5, 3))
        rows.add(QLabel("Threshold"), self.threshold, shares=(4, 8))
        rows.add(self.correct, self.view)
        rows.add(self.cancel_region)
        controller.opened.connect(self._on_opened)
        controller.closed.connect(self._refresh)
        controller.states_changed.connect(self._refresh)
        controller.canvas.region.drawn.connect(self._on_region)
        controller.canvas.region.ended.connect(self._refresh)
        self._refresh()

    # Parts -------------------------------------------------------------------------------------

    def _create_main_buttons(self, find_moved: Callable[[], object]) -> None:
        self.accept_and_go_on = ActionButton(
            "Accept & next",
            "Save the mask as correct, and show the next suggested image.",
            self._accept_and_next,
            Key.ACCEPT_AND_NEXT,
        )
        self.accept = ActionButton(
            "Accept",
            "Save the mask as correct, and stay on this image.",
            lambda: self._do(Annotation.accept),
            Key.ACCEPT,
        )
        self.no_object = ActionButton(
            "No object here",
            "Accept an empty mask, and show the next suggested image.",
            lambda: self._accept_and_next(no_object=True),
            Key.NO_OBJECT,
        )
        for button in (self.accept_and_go_on, self.accept, self.no_object):
            button.too_soon = self.is_too_soon
        self.undo_accept = ActionButton(
            "Undo accept",
            "Show the image accepted last, with its mask as before.",
            lambda: self._do(Annotation.undo_accept),
            Key.UNDO_ACCEPT,
        )
        self.show_again = ActionButton("Show layers again", "Add the deleted layers again.", self._show_again)
        self.find_moved = ActionButton(
            "Find moved images…", "Search a folder for missing images by their names.", find_moved
        )
        self.use_layer = ActionButton(
            "Use layer",
            "Add what you drew in that layer to the mask, and hide the layer.",
            lambda: self._do(Annotation.use_layer),
        )
        self.ignore_layer = ActionButton(
            "Ignore layer",
            "Accept the mask without what you drew in that layer.",
            lambda: self._do(Annotation.ignore_layer),
        )

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

    def _fill_correct_menu(self, menu: QMenu) -> None:
        self.fill_holes = MenuAction(
            menu,
            "Fill holes",
            "Fill background enclosed by a class with that class.",
            lambda: self._apply(lambda mask: fill_holes(mask, self._values()), "There are no holes."),
            Key.FILL_HOLES,
        )
        self.remove_small = MenuAction(
            menu,
            "Remove small objects",
            "Remove connected objects with fewer pixels than the number below.",
            lambda: self._apply(
                lambda mask: remove_small_objects(mask, self._limits()), "No object is that small."
            ),
            Key.REMOVE_SMALL,
        )
        self.smallest = QSpinBox()
        set_up_number(self.smallest, SMALL, SMALLEST, LARGEST, 10, SMALL_TIP)
        self.smallest.setSuffix(" pixels")
        self.smallest.setButtonSymbols(QSpinBox.ButtonSymbols.UpDownArrows)
        self.smallest.valueChanged.connect(self._remember_limit)
        entry = QWidgetAction(menu)
        entry.setDefaultWidget(_labeled("Small: fewer than", self.smallest))
        menu.addAction(entry)
        self.keep_largest = MenuAction(
            menu,
            "Keep largest object",
            "Remove all but the largest connected object of the class.",
            lambda: self._apply(lambda mask: keep_largest(mask, self._values()), "There is only one object."),
            Key.KEEP_LARGEST,
        )
        self.smooth = MenuAction(
            menu,
            "Smooth outlines",
            "Make outlines smoother; repeat for more.",
            lambda: self._apply(
                lambda mask: smooth_outlines(mask, RADIUS, self._values()), "The outlines are already smooth."
            ),
            Key.SMOOTH,
        )
        menu.addSeparator()
        self.draft_in_region = MenuAction(
            menu,
            "Use draft in region",
            "Draw around a region to replace the mask there with the newest draft.",
            lambda: self._draw_region(
                "Use draft", Corrections.use_draft_inside, "The mask already equals the draft there."
            ),
            Key.DRAFT_IN_REGION,
        )
        self.mark_unlabeled = MenuAction(
            menu,
            "Mark region unlabeled",
            "Draw around a region to leave it out of training.",
            lambda: self._draw_region(
                "Unlabeled",
                lambda _, mask, region: mark_unlabeled(mask, region),
                "The region is already unlabeled.",
            ),
            Key.MARK_UNLABELED,
        )
        menu.aboutToShow.connect(self._name_class)

    def _fill_view_menu(self, menu: QMenu) -> None:
        self.show_draft = MenuAction(
            menu,
            "Show draft",
            "Show the draft in place of your mask, to compare them.",
            lambda: self._correct(Corrections.toggle_draft),
            Key.SHOW_DRAFT,
        )
        self.contour = MenuAction(
            menu, "Show outlines only", "Show masks without their fill.", self._toggle_contour, Key.CONTOUR
        )
        self.uncertainty = MenuAction(
            menu,
            "Show uncertainty",
            "Overlay where the network is unsure.",
            lambda: self._correct(Corrections.toggle_uncertainty),
            Key.UNCERTAINTY,
        )
        for action in (self.show_draft, self.contour, self.uncertainty):
            action.setCheckable(True)
        menu.addSeparator()
        self.help = MenuAction(
            menu, "List keys…", "Show all keys in a window.", lambda: show_keys(self), Key.HELP
        )
        menu.aboutToShow.connect(self._refresh)

    # What the buttons do -----------------------------------------------------------------------

    def is_too_soon(self) -> bool:
        """Return whether a key or click was meant for the image before, such as an impatient second one."""
        annotation = self._controller.annotation
        if annotation is None or not annotation.just_shown:
            return False
        self._controller.canvas.show_status(TOO_SOON)
        return True

    def _accept_and_next(self, *, no_object: bool = False) -> None:
        annotation, navigation = self._controller.annotation, self._controller.navigation
        if annotation is None or navigation is None:
            return
        annotation.accept(no_object=no_object)
        if not navigation.show_next():
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

    def _apply(self, correct: Callable[[Mask], Mask], unchanged: str) -> None:
        """Correct the mask, and show how many pixels changed, or why none did."""
        if self._controller.corrections is not None:
            changed = self._controller.corrections.apply(correct)
            self._controller.canvas.show_status(
                f"{counted(changed, 'pixel')} changed." if changed else unchanged
            )

    def _turn_threshold(self, threshold: float) -> None:
        with errors_shown():
            self._correct(lambda on: on.set_threshold(threshold, more_follow=self.threshold.isSliderDown()))

    def _toggle_contour(self) -> None:
        self._controller.canvas.contour_only = not self._controller.canvas.contour_only
        self._refresh()

    def _draw_region(
        self, name: str, use: Callable[[Corrections, Mask, Region], Mask], unchanged: str
    ) -> None:
        self._use_region = use, unchanged
        self._controller.canvas.draw_region(name)
        self._controller.canvas.show_status(DRAW)  # the notice may be scrolled away
        self._refresh()

    def _on_region(self, region: Region) -> None:
        corrections = self._controller.corrections
        if corrections is not None and self._use_region is not None:
            use, unchanged = self._use_region
            self._apply(lambda mask: use(corrections, mask, region), unchanged)

    def _show_again(self) -> None:
        annotation = self._controller.annotation
        if annotation is not None and annotation.item is not None:
            annotation.show(annotation.item)

    # Which class a correction is about ---------------------------------------------------------

    def _values(self) -> list[int] | None:
        """The class being painted; None, which means all, for background and unlabeled."""
        session, picked = self._controller.session, self._controller.canvas.selected_label
        known = session is not None and any(info.value == picked for info in session.classes)
        return [picked] if known else None

    def _limits(self) -> dict[int, int]:
        """By class, how many pixels an object has to have."""
        session = self._controller.session
        assert session is not None
        values = self._values() or [info.value for info in session.classes]
        return {value: self._small.get(value, SMALL) for value in values}

    def _remember_limit(self, pixels: int) -> None:
        if self._controller.session is not None:
            self._small |= dict.fromkeys(self._limits(), pixels)

    def _name_class(self) -> None:
        """Name the class in the entries of the menu."""
        session, values = self._controller.session, self._values()
        if session is None:
            return
        name = "" if len(session.classes) < 2 else " of all classes"
        if values is not None and name:
            name = " of " + next(info.name for info in session.classes if info.value in values)
        for entry, words in (
            (self.fill_holes, "Fill holes"),
            (self.remove_small, "Remove small objects"),
            (self.keep_largest, "Keep largest object"),
            (self.smooth, "Smooth outlines"),
        ):
            entry.say(words + name)
        with signals_blocked(self.smallest):
            self.smallest.setValue(max(self._limits().values()))

    # What is allowed ---------------------------------------------------------------------------

    def _on_opened(self) -> None:
        assert self._controller.annotation is not None
        assert self._controller.corrections is not None
        self._controller.annotation.changed.connect(self._refresh)
        self._controller.corrections.changed.connect(self._refresh)
        self._refresh()

    def _refresh(self) -> None:
        words, _, key = self.show_draft.text().partition("\t")
        status = MaskStatus(self._controller, key or f"View… › {words}")
        changing = (
            *(self.accept_and_go_on, self.accept, self.no_object, self.clear, self.use_layer),
            *(self.fill_holes, self.remove_small, self.keep_largest, self.smooth),
            *(self.mark_unlabeled, self.ignore_layer),
        )
        for part in changing:
            part.allow(status.changing)
        self.contour.allow(status.viewing)
        for part in (self.reset, self.draft_in_region):
            part.allow(status.using_draft)
        self.show_draft.allow(status.showing_draft)
        self.to_accepted.allow(status.using_accepted)
        self.uncertainty.allow(status.using_weights)
        no_threshold = status.changing or status.using_weights
        self.threshold.setEnabled(no_threshold is None)
        self.threshold.setToolTip(wrapped(no_threshold or THRESHOLD_TIP))
        session, annotation = self._controller.session, self._controller.annotation
        self.smallest.setEnabled(session is not None)
        self.smallest.setToolTip(wrapped(NO_SESSION if session is None else SMALL_TIP))
        self.undo_accept.allow(status.undoing)
        if session is not None and status.undoing is None:
            self.undo_accept.setToolTip(wrapped(f"Undo accepting {session.labels.undoable[-1].name}."))
        self.show_again.setVisible(status.deleted and not status.missing)
        failed = annotation is not None and annotation.failure is not None
        self.show_again.say("Try again" if failed else "Show layers again")
        self.find_moved.setVisible(status.missing)
        self.find_moved.allow(None if session is None else session.read_only)
        for button in (self.use_layer, self.ignore_layer):
            button.setVisible(status.drawn_elsewhere is not None)
        self.cancel_region.setVisible(self._controller.canvas.region.active)
        self._check_shown(self._controller.corrections)
        self.notice.setText(status.notice)
        self.notice.setVisible(bool(status.notice))

    def _check_shown(self, corrections: Corrections | None) -> None:
        self.contour.setChecked(self._controller.canvas.contour_only)
        self.show_draft.setChecked(corrections is not None and corrections.shows_draft)
        self.uncertainty.setChecked(corrections is not None and corrections.shows_uncertainty)
        if not self.threshold.isSliderDown():
            with signals_blocked(self.threshold):
                self.threshold.setValue(DRAFT_THRESHOLD if corrections is None else corrections.threshold)


def _labeled(words: str, part: QWidget) -> QWidget:
    """A row of a menu: words and a part to work with."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(12, 2, 8, 2)  # where Qt begins the words of the other entries
    layout.addWidget(QLabel(words))
    layout.addWidget(part)
    return row
