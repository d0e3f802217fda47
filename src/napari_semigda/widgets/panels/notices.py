"""What goes wrong in the window, as napari's own notifications."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from napari.utils.notifications import show_error
from psygnal import EmitLoopError

from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.log import log_file

logger = logging.getLogger(__name__)


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show an error raised inside as a notification, and go on working.

    A `SemiGDAError` is shown as it stands, for its message is written for the person; a `Cancelled` is
    nobody's fault and passes in silence; anything else is told in a sentence or two, and its trace is logged.
    """
    try:
        yield
    except Exception as error:
        show_failure(error)


def show_failure(error: BaseException) -> None:
    """Show one error as a notification (see `errors_shown`)."""
    cause = _cause(error)
    if isinstance(cause, Cancelled):
        return
    if isinstance(cause, SemiGDAError):
        show_error(str(cause))
        return
    logger.error("unexpected error in the SemiGDA widget", exc_info=cause)
    if isinstance(cause, OSError):
        show_error(
            f"A file could not be read or written ({cause}). What you painted stays on the screen: check the "
            f"disk or network share, then try again. Details: {log_file()}"
        )
        return
    show_error(
        f"Something unexpected went wrong ({type(cause).__name__}: {cause}). "
        f"Accepted masks are safe on disk; you can go on. Details: {log_file()}"
    )


def _cause(error: BaseException) -> BaseException:
    """The error a signal's listener raised, without psygnal's wrapping."""
    while isinstance(error, EmitLoopError) and error.__cause__ is not None:
        error = error.__cause__
    return error
