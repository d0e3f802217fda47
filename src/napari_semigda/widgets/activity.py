"""Long work as a line in napari's activity dock, with its share and a button to cancel it."""

from collections.abc import Callable

from napari.utils import cancelable_progress
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

WHOLE = 100


class _Reports(QObject):
    """Hands over to the main thread what another one reports."""

    made = Signal(int, int)


class Activity(cancelable_progress):
    """A line in the activity dock; made and closed in the main thread.

    napari asks whether a line was cancelled only in a loop over it. Work in another thread asks
    `is_canceled`, or is told at once by `cancelled`.

    Parameters
    ----------
    words : str
        What is being done.
    cancelled : callable, optional
        Called in the main thread when the person presses *Cancel*.
    """

    def __init__(self, words: str, cancelled: Callable[[], object] | None = None) -> None:
        super().__init__(desc=words, total=0, cancel_callback=cancelled)
        self._share = 0
        self._reports = _Reports()
        self._reports.made.connect(self._show)

    def cancel(self) -> None:
        """Cancel the work."""
        super().cancel()
        if self.cancel_callback is not None:
            self.cancel_callback()

    def report(self, done: int, total: int) -> None:
        """Show that so many steps of all are done; from any thread."""
        self._reports.made.emit(done, total)

    def _show(self, done: int, total: int) -> None:
        share = round(WHOLE * done / max(total, 1))
        if share != self._share:
            self.total = WHOLE
            self.update(share - self._share)
            self._share = share
