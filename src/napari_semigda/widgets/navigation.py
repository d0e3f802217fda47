"""From image to image: along the list, back, and to the next suggested one."""

from __future__ import annotations

from napari_semigda.session.items import Item
from napari_semigda.session.ranking import DEFAULT_ORDER, Order
from napari_semigda.widgets.annotation import Annotation


class Navigation:
    """Chooses which image of a session is annotated next.

    All methods save what was painted first, and raise what `Annotation.show` does.
    """

    def __init__(self, annotation: Annotation) -> None:
        self.order: Order = DEFAULT_ORDER  # of suggested images
        self._annotation, self._session = annotation, annotation.session
        self._history: list[str] = []
        annotation.left.connect(self._on_left)

    @property
    def can_go_back(self) -> bool:
        return bool(self._history)

    def go(self, step: int) -> None:
        """Show the item this many positions further in the list, if there is one."""
        index = self._annotation.position + step
        if self._annotation.item is not None and 0 <= index < len(self._session.items):
            self._annotation.show(self._session.items[index])

    def go_back(self) -> None:
        """Show the item that was on screen before this one, if there is one."""
        if not self._history:
            return
        self._annotation.keep()  # if that fails, this image stays on screen, and the history as it is
        before = self._session.item(self._history.pop())
        history = list(self._history)
        try:
            self._annotation.show(before)
        finally:
            self._history = history  # without the image just left
            self._annotation.changed.emit()

    def show_next(self) -> bool:
        """Show the next suggested item; False when there is none."""
        item = self._annotation.prefetch.next_item(self._annotation.item, self.order)
        if item is None:
            self._annotation.changed.emit()
            return False
        self._annotation.show(item)
        return True

    def skip(self) -> bool:
        """Skip the item on screen and show the next suggested one; False when there is none."""
        if self._annotation.item is None:
            return False
        self._annotation.keep()
        self._session.skip(self._annotation.item)
        self._annotation.states_changed.emit()
        return self.show_next()

    def unskip(self) -> None:
        if self._annotation.item is not None:
            self._session.labels.unskip(self._annotation.item)
            self._annotation.states_changed.emit()
            self._annotation.changed.emit()

    def _on_left(self, item: Item) -> None:
        self._history.append(item.id)
