"""Errors with a message for the user, and how any other error is put into words."""

import logging
import sys

logger = logging.getLogger(__name__)


class SemiGDAError(Exception):
    """An error the user can act on: the message says what happened to which file, and what to do."""


class Cancelled(Exception):
    """The user canceled the work; nothing is wrong."""


def user_message(error: BaseException) -> str:
    """Return what to tell the user about an error; anything but a `SemiGDAError` is logged with its trace."""
    if isinstance(error, SemiGDAError):
        return str(error)
    from napari_semigda.log import log_file  # not before Ctrl-C is handled on the command line

    logger.error("Unexpected error", exc_info=error)
    if isinstance(error, MemoryError) or is_out_of_memory(error):
        return "There is not enough memory. Choose a smaller preset or working size, or the CPU."
    if isinstance(error, RuntimeError) and "CUDA error" in str(error):
        return (
            "The graphics card stopped responding. Accepted masks are saved and the previous weights stay in "
            f"use. Restart napari, or choose the CPU in its preferences. Details: {log_file()}"
        )
    if isinstance(error, UnicodeEncodeError) and sys.getfilesystemencoding() != "utf-8":
        return (
            f"“{error.object:.200}” could not be read or written: the system's language settings "
            "(LC_ALL, LANG) allow no such letters in file names. Set PYTHONUTF8=1 in the environment, then "
            "try again."
        )
    if isinstance(error, OSError):
        what, why = "A file", str(error)
        if error.filename is not None and error.strerror:
            what, why = f"“{error.filename!s:.200}”", error.strerror
        return (
            f"{what} could not be read or written ({why}). Check the disk or network share, then try again. "
            f"Details: {log_file()}"
        )
    return (
        f"Something unexpected went wrong ({type(error).__name__}: {error}). Accepted masks are saved. "
        f"Details: {log_file()}"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a device ran out of memory; only CUDA has an error class for that."""
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError"
        or any(words in str(error) for words in ("out of memory", "can't allocate memory"))
    )
