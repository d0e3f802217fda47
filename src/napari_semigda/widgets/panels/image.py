"""Panel 3: which image is on screen, and how to get to another."""

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QLabel, QSizePolicy, QSpinBox, QWidget
from superqt import QElidingLabel
from superqt.utils import signals_blocked

from napari_semigda.session.items import Item, ItemState
from napari_semigda.session.ranking import DEFAULT_ORDER, EXPLANATIONS, ORDERS, Order
from napari_semigda.widgets.annotation import Annotation
from napari_semigda.widgets.controller import NO_SESSION, Controller
from napari_semigda.widgets.keys import Key
from napari_semigda.widgets.navigation import Navigation
from napari_semigda.widgets.panels.parts import (
    ActionButton,
    NameLabel,
    Rows,
    choice,
    errors_shown,
    set_up_number,
    wrapped,
)
from napari_semigda.widgets.panels.status import image_status

SCORE_MEANS = (
    "Acquisition score, 0 to 1: how much the two branches of the network contradict each other, or are "
    "unsure, near the objects of the draft. The higher it is, the more an accepted mask would teach."
)
VALIDATION_MEANS = (
    "Keep this image for validation: rounds do not learn from it, but compare their draft with your mask."
)
NOT_FOR_VALIDATION = "Accept the mask first: validation compares drafts with it."


class ImagePanel(QWidget):
    """Name and status of the image on screen; back, next, jump, next suggested image, skip."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self.name = NameLabel()
        self.state = QElidingLabel()  # one line each, so that the buttons stay where they are
        for line in (self.name, self.state):  # a crowded dock would cut off their descenders
            line.setSizePolicy(line.sizePolicy().horizontalPolicy(), QSizePolicy.Policy.Fixed)
        self.previous = ActionButton(
            "◂ Back", "Show the image that was on screen before.", self._do(Navigation.go_back), Key.PREVIOUS
        )
        self.next = ActionButton(
            "Next ▸", "Show the next image in the list.", self._do(lambda on: on.go(1)), Key.NEXT
        )
        self.next_suggested = ActionButton(
            "Next suggested image",
            "Show the first image in the order below; the mask on screen is kept, but not accepted.",
            self._do(Navigation.show_next),
            Key.NEXT_SUGGESTED,
        )
        self.skip = ActionButton(
            "Skip",
            "Exclude this image from training and from the suggestions.",
            self._skip_or_unskip,
            Key.SKIP,
        )
        self.validation = QCheckBox("Validation")
        self.validation.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.validation.clicked.connect(self._keep_for_validation)
        self.order = choice((order, order, EXPLANATIONS[order]) for order in ORDERS)
        self.order.setToolTip(wrapped(EXPLANATIONS[DEFAULT_ORDER]))
        self.order.currentIndexChanged.connect(self._choose_order)
        self.jump = QSpinBox()
        set_up_number(self.jump, 0, 0, 0, 1, "Type an image's number to show it.")
        self.jump.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.jump.setKeyboardTracking(False)
        self.jump.valueChanged.connect(self._jump)
        rows = Rows(self)
        rows.add(self.name)
        rows.add(self.state, self.validation, shares=(8, 4))
        rows.add(self.previous, self.jump, self.next)
        rows.add(self.next_suggested, self.skip, shares=(8, 4))
        rows.add(QLabel("Order"), self.order, shares=(3, 9))
        controller.opened.connect(self._on_opened)
        controller.states_changed.connect(self._refresh)
        controller.closed.connect(self._refresh)
        self._refresh()

    def _do(self, action: Callable[[Navigation], object]) -> Callable[[], None]:
        def act() -> None:
            if self._controller.navigation is not None:
                action(self._controller.navigation)

        return act

    def _skip_or_unskip(self) -> None:
        annotation, navigation = self._controller.annotation, self._controller.navigation
        if annotation is not None and navigation is not None:
            skipped = annotation.state is ItemState.SKIPPED
            (navigation.unskip if skipped else navigation.skip)()

    def _choose_order(self) -> None:
        order: Order = self.order.currentData()
        self.order.setToolTip(wrapped(EXPLANATIONS[order]))
        session, navigation = self._controller.session, self._controller.navigation
        if session is not None and navigation is not None:
            navigation.order = order
            session.remember(order=order)
            self._controller.states_changed.emit()  # another one is next now

    def _keep_for_validation(self, keep: bool) -> None:
        annotation = self._controller.annotation
        with errors_shown():
            if annotation is not None and annotation.item is not None:
                annotation.session.labels.keep_for_validation(annotation.item, keep)
        self._controller.states_changed.emit()  # also after a failure: the box shows what is

    def _jump(self, number: int) -> None:
        with errors_shown():
            if self._controller.annotation is not None and self._controller.session is not None:
                self._controller.annotation.show(self._controller.session.items[number - 1])

    def _on_opened(self) -> None:
        annotation = self._controller.annotation
        assert annotation is not None
        annotation.changed.connect(self._refresh)
        remembered = self.order.findData(annotation.session.view.order or DEFAULT_ORDER)
        with signals_blocked(self.order):
            self.order.setCurrentIndex(max(remembered, 0))
        self._choose_order()
        self._refresh()

    def _refresh(self) -> None:
        annotation, session = self._controller.annotation, self._controller.session
        navigation = self._controller.navigation
        item = None if annotation is None else annotation.item
        for part in (self.name, self.state, self.jump, self.validation):
            part.setVisible(item is not None)
        if annotation is None or navigation is None or session is None or item is None:
            for button in (self.previous, self.next, self.next_suggested, self.skip):
                button.allow(NO_SESSION)
            return
        self.previous.allow(None if navigation.can_go_back else "No image was shown before this one.")
        self._show_number(annotation.position, len(session.items))
        self.name.setText(item.name)
        self.name.setToolTip(wrapped(str(session.images.path(item))))
        self.state.setText(image_status(annotation))
        meaning = SCORE_MEANS if "score" in self.state.text() else ""
        self.state.setToolTip(wrapped(annotation.why_unsaved or meaning))
        self._show_validation(annotation, item)
        counts = session.counts()
        waiting = counts[ItemState.UNLABELED] + counts[ItemState.DRAFT]
        self.next_suggested.allow(None if waiting else "Every image is accepted or skipped.")
        self.skip.allow(session.read_only)
        self.skip.say("Unskip" if annotation.state is ItemState.SKIPPED else "Skip")

    def _show_validation(self, annotation: Annotation, item: Item) -> None:
        accepted = annotation.state is ItemState.ACCEPTED
        self.validation.setChecked(accepted and item in annotation.session.labels.validation)
        why_not = annotation.session.read_only or (None if accepted else NOT_FOR_VALIDATION)
        self.validation.setEnabled(why_not is None)
        self.validation.setToolTip(wrapped(why_not or VALIDATION_MEANS))

    def _show_number(self, index: int, count: int) -> None:
        self.next.allow("This is the last image." if index == count - 1 else None)
        with signals_blocked(self.jump):
            self.jump.setRange(1, count)
            self.jump.setSuffix(f" of {count}")
            self.jump.setValue(index + 1)
