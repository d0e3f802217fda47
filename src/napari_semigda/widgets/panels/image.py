"""Panel 3: which image is on screen, and how to get to another."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QSizePolicy, QSpinBox, QWidget
from superqt import QElidingLabel

from napari_semigda.session.drafts import draft_in_words
from napari_semigda.session.items import Item, ItemState
from napari_semigda.session.queue import DEFAULT_STRATEGY, EXPLANATIONS, STRATEGIES, Strategy
from napari_semigda.widgets.annotation import Annotation
from napari_semigda.widgets.controller import Controller
from napari_semigda.widgets.keys import Key
from napari_semigda.widgets.panels.parts import (
    ActionButton,
    NameLabel,
    Rows,
    errors_shown,
    set_up_number,
    wrapped,
)

NO_SESSION = "Open a session first."
FIRST_SHOWN = "No image was shown before this one."
STATES = {
    ItemState.UNLABELED: "no mask yet",
    ItemState.DRAFT: "draft",
    ItemState.ACCEPTED: "accepted",
    ItemState.SKIPPED: "skipped",
}

NOT_SAVED = "painted by you, NOT SAVED"

SCORE_MEANS = (
    "Acquisition score, from 0 to 1: how much the two branches of the network contradict each other, or are "
    "unsure, near the objects of the draft. The higher, the more an accepted mask would teach."
)

VALIDATION_MEANS = (
    "Keep this image for validation: rounds do not learn from it, and at the end of each one its draft of "
    "this image is compared with your mask."
)
NOT_FOR_VALIDATION = "Accept the mask first: only then is there something to compare with."

NAMES: dict[Strategy, str] = {
    "mixed": "most helpful first",
    "uncertain": "most uncertain first",
    "different": "most different first",
    "in order": "as listed",
    "random": "random",
}


class ImagePanel(QWidget):
    """Name and state of the image on screen; previous, next, jump, next to look at, skip."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.name = NameLabel()
        self.state = QElidingLabel()  # one line each, so that the buttons stay where they are
        for line in (self.name, self.state):  # a crowded dock would cut off their descenders
            line.setSizePolicy(line.sizePolicy().horizontalPolicy(), QSizePolicy.Policy.Fixed)
        self.previous = ActionButton(
            "◂ Back", "Show the image that was shown before this one.", self._go_back, Key.PREVIOUS
        )
        self.next = ActionButton(
            "Next ▸", "Show the image after this one in the list.", lambda: self._go(1), Key.NEXT
        )
        self.to_queue = ActionButton(
            "Next to look at",
            "Show the image that comes next in the order chosen below. The mask on screen is kept, not "
            "accepted.",
            self._to_queue,
            Key.NEXT_SUGGESTED,
        )
        self.skip = ActionButton(
            "Skip", "Leave this image out: it is neither trained on nor asked for.", self._skip, Key.SKIP
        )
        self.validation = QCheckBox("validation")
        self.validation.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.validation.clicked.connect(self._keep_for_validation)
        self.order = _choice_of_strategies()
        self.order.currentIndexChanged.connect(self._choose_order)
        self.jump = QSpinBox()
        set_up_number(self.jump, 0, 0, 0, 1, "Type an image's number to jump to it.")
        self.jump.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.jump.setKeyboardTracking(False)
        self.jump.valueChanged.connect(self._jump)
        self._lay_out()
        controller.opened.connect(self._on_opened)
        controller.states_changed.connect(self._refresh)
        controller.closed.connect(self._refresh)
        self._refresh()

    def _lay_out(self) -> None:
        rows = Rows(self)
        rows.add(self.name)
        rows.add(self.state, self.validation, shares=(8, 4))
        rows.add(self.previous, self.jump, self.next)
        rows.add(self.to_queue, self.skip)
        rows.add(QLabel("Order"), self.order, shares=(3, 9))

    @property
    def _annotation(self) -> Annotation | None:
        return self._controller.annotation

    def _go(self, step: int) -> None:
        if self._annotation is not None:
            self._annotation.go(step)

    def _go_back(self) -> None:
        if self._annotation is not None:
            self._annotation.go_back()

    def _to_queue(self) -> None:
        if self._annotation is not None:
            self._annotation.show_next()

    def _choose_order(self) -> None:
        strategy: Strategy = self.order.currentData()
        self.order.setToolTip(wrapped(EXPLANATIONS[strategy]))
        if self._annotation is not None:
            self._annotation.strategy = strategy
            self._annotation.session.remember(order=strategy)
            self._controller.states_changed.emit()  # another one is next now

    def _skip(self) -> None:
        if self._annotation is None:
            return
        if self._annotation.state is ItemState.SKIPPED:
            self._annotation.unskip()
        else:
            self._annotation.skip()

    def _keep_for_validation(self, keep: bool) -> None:
        with errors_shown():
            if self._annotation is not None and self._annotation.item is not None:
                self._annotation.session.keep_for_validation(self._annotation.item, keep)
        self._controller.states_changed.emit()  # also where it was refused: the box shows what is

    def _jump(self, number: int) -> None:
        with errors_shown():
            if self._annotation is not None and self._controller.session is not None:
                self._annotation.show(self._controller.session.items[number - 1])

    def _on_opened(self) -> None:
        assert self._annotation is not None
        self._annotation.changed.connect(self._refresh)
        remembered = self.order.findData(self._annotation.session.view.order or DEFAULT_STRATEGY)
        self.order.blockSignals(True)
        self.order.setCurrentIndex(max(remembered, 0))
        self.order.blockSignals(False)
        self._choose_order()
        self._refresh()

    def _refresh(self) -> None:
        annotation, session = self._annotation, self._controller.session
        item = None if annotation is None else annotation.item
        for part in (self.name, self.state, self.jump, self.validation):
            part.setVisible(item is not None)
        if annotation is None or session is None or item is None:
            for button in (self.previous, self.next, self.to_queue, self.skip):
                button.allow(NO_SESSION)
            return
        self.previous.allow(None if annotation.can_go_back else FIRST_SHOWN)
        self._show_place(annotation.position, len(session.items))
        self.name.setText(item.name)
        self.name.setToolTip(wrapped(str(session.picture_path(item))))
        self.state.setText(_state_in_words(annotation))
        meaning = SCORE_MEANS if "score" in self.state.text() else ""
        self.state.setToolTip(wrapped(annotation.why_unsaved or meaning))
        self._show_validation(annotation, item)
        self.to_queue.allow(self._why_no_queue())
        self.skip.allow(session.read_only)
        skipped = annotation.state is ItemState.SKIPPED
        self.skip.say("Take back" if skipped else "Skip")

    def _show_validation(self, annotation: Annotation, item: Item) -> None:
        accepted = annotation.state is ItemState.ACCEPTED
        self.validation.setChecked(accepted and item in annotation.session.validation)
        why_not = annotation.session.read_only or (None if accepted else NOT_FOR_VALIDATION)
        self.validation.setEnabled(why_not is None)
        self.validation.setToolTip(wrapped(why_not or VALIDATION_MEANS))

    def _show_place(self, place: int, count: int) -> None:
        self.next.allow("This is the last image." if place == count - 1 else None)
        self.jump.blockSignals(True)
        self.jump.setRange(1, count)
        self.jump.setSuffix(f" of {count}")
        self.jump.setValue(place + 1)
        self.jump.blockSignals(False)

    def _why_no_queue(self) -> str | None:
        session = self._controller.session
        assert session is not None
        counts = session.counts()
        if counts[ItemState.UNLABELED] + counts[ItemState.DRAFT]:
            return None
        return "Every image is accepted or skipped."


def _choice_of_strategies() -> QComboBox:
    box = QComboBox()
    box.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # as for buttons: a click leaves the keys to the canvas
    for place, strategy in enumerate(STRATEGIES):
        box.addItem(NAMES[strategy], strategy)
        box.setItemData(place, wrapped(EXPLANATIONS[strategy]), Qt.ItemDataRole.ToolTipRole)
    box.setCurrentIndex(STRATEGIES.index(DEFAULT_STRATEGY))
    box.setToolTip(wrapped(EXPLANATIONS[DEFAULT_STRATEGY]))
    return box


def _state_in_words(annotation: Annotation) -> str:
    assert annotation.item is not None
    assert annotation.state is not None
    if annotation.why_unsaved is not None:
        return NOT_SAVED
    own = annotation.touched or annotation.session.edit(annotation.item) is not None
    if own:
        again = " again since" if annotation.state is ItemState.ACCEPTED else ""
        return f"painted by you, not accepted{again}"
    info = annotation.session.prediction_info(annotation.item)
    if annotation.state is ItemState.DRAFT and info is not None:
        return f"{draft_in_words(info)}, score {info.score:.2f}"
    return STATES[annotation.state]
