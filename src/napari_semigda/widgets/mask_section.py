"""Section 4: what becomes of the mask on screen."""

from napari.utils.notifications import show_info
from qtpy.QtWidgets import QWidget

from napari_semigda.session.items import ItemState
from napari_semigda.widgets.annotation import Annotation
from napari_semigda.widgets.image_section import NO_SESSION
from napari_semigda.widgets.keys import Key
from napari_semigda.widgets.section import ActionButton, Rows, sentence
from napari_semigda.widgets.workbench import Workbench

NO_MASK = "There is no mask on the screen."


class MaskSection(QWidget):
    """Accept, reset, clear; and what to do when the layer is gone or a newer draft waits."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._workbench = workbench
        self.accept_and_go_on = ActionButton(
            "Accept, go on",
            "Save the mask as right, and show the next image to look at.",
            self._accept_and_go_on,
            Key.ACCEPT_AND_GO_ON,
        )
        self.accept = ActionButton(
            "Accept", "Save the mask as right and stay here.", lambda: self._do(Annotation.accept), Key.ACCEPT
        )
        self.reset = ActionButton(
            "To draft",
            "Replace the mask by the newest draft (Ctrl+Z takes it back).",
            lambda: self._do(Annotation.reset_to_draft),
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
        self.notice = sentence()
        self.show_again = ActionButton(
            "Show image and mask again", "Add the layers that were deleted.", self._show_again
        )
        self._lay_out()
        workbench.opened.connect(self._on_opened)
        workbench.closed.connect(self._refresh)
        self._refresh()

    def _lay_out(self) -> None:
        rows = Rows(self)
        rows.add(self.accept_and_go_on, self.accept)
        rows.add(self.reset, self.to_accepted, self.clear)
        rows.add(self.notice)
        rows.add(self.show_again)

    def _accept_and_go_on(self) -> None:
        annotation = self._workbench.annotation
        if annotation is not None and not annotation.accept_and_go_on():
            show_info("Every image is accepted or skipped. The masks can be exported.")

    def _do(self, action: object) -> None:
        if self._workbench.annotation is not None:
            action(self._workbench.annotation)  # type: ignore[operator]

    def _show_again(self) -> None:
        annotation = self._workbench.annotation
        if annotation is not None and annotation.item is not None:
            annotation.show(annotation.item)

    def _on_opened(self) -> None:
        assert self._workbench.annotation is not None
        self._workbench.annotation.changed.connect(self._refresh)
        self._refresh()

    def _refresh(self) -> None:
        annotation = self._workbench.annotation
        gone = annotation is not None and annotation.item is not None and not annotation.visible
        why_not = NO_SESSION if annotation is None else NO_MASK if not annotation.visible else None
        for button in (self.accept_and_go_on, self.accept, self.clear):
            button.allow(why_not)
        self.reset.allow(why_not or self._why_no_draft())
        self.to_accepted.allow(why_not or self._why_not_accepted())
        self.show_again.setVisible(gone)
        self._say(annotation)

    def _say(self, annotation: Annotation | None) -> None:
        text = ""
        if annotation is not None and annotation.item is not None:
            if not annotation.visible:
                text = "The mask's layer is gone. What was painted on it is kept."
            elif annotation.newer_draft:
                text = "A newer draft of this image is there; “To draft” shows it."
        self.notice.setText(text)
        self.notice.setVisible(bool(text))

    def _why_no_draft(self) -> str | None:
        annotation = self._workbench.annotation
        if annotation is None or annotation.item is None:
            return NO_SESSION
        if annotation.session.prediction_info(annotation.item) is None:
            return "There is no draft of this image yet: train a round first."
        return None

    def _why_not_accepted(self) -> str | None:
        annotation = self._workbench.annotation
        if annotation is None or annotation.state is not ItemState.ACCEPTED:
            return "No mask of this image was accepted yet."
        return None
