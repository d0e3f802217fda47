"""Ctrl-C on the command line: one line and exit code 130, also while modules are still being imported.

Only the standard library is imported here, because this is imported first.
"""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

MESSAGE = "Interrupted."

_AGAIN_SECONDS = 0.05
_COMMANDS = ("cli", "__main__", "interrupt")


def watch_imports() -> Any:
    """Let Ctrl-C end the program at once, until `stop_watching` gets what this returns: nothing has begun."""
    if not _is_main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return None
    return signal.signal(signal.SIGINT, _leave)


def stop_watching(before: Any) -> None:
    """Restore what Ctrl-C did before `watch_imports`."""
    if before is not None:
        signal.signal(signal.SIGINT, before)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C where that is safe; a second Ctrl-C ends the program at once."""
    if not _is_main_thread():  # signals are the main thread's
        yield
        return
    interrupts = _Interrupts()
    before, hook = signal.signal(signal.SIGINT, interrupts), sys.unraisablehook
    sys.unraisablehook = interrupts.unraisable
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = hook


def leave_on_interrupt(code: int) -> None:
    """Let Ctrl-C end the program with its exit code from now on: Python only cleans up."""
    if _is_main_thread():
        sys.stdout.flush()
        signal.signal(signal.SIGINT, lambda *_: os._exit(code))
        # Python's last steps would restore the system's handler, which ends the program with another code.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


class _Interrupts:
    """Handles Ctrl-C while a command runs."""

    def __init__(self) -> None:
        self._raised = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._raised:
            os._exit(INTERRUPTED)
        if any(one.f_code.co_filename.startswith("<frozen importlib") for one in _frames(frame)):
            # An interrupted import leaves half a module, or is swallowed by one that tries several.
            if not _has_begun(frame):
                _leave(number, frame)
            self._again()
            return
        self._raised = True
        raise KeyboardInterrupt

    def unraisable(self, error: Any) -> None:
        """Interrupt again where Python had to swallow it: in a destructor or a callback."""
        if isinstance(error.exc_value, KeyboardInterrupt):
            self._raised = False
            self._again()
        else:
            sys.__unraisablehook__(error)

    def _again(self) -> None:
        timer = threading.Timer(_AGAIN_SECONDS, signal.raise_signal, (signal.SIGINT,))
        timer.daemon = True
        timer.start()


def _leave(*_: Any) -> None:
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(INTERRUPTED)


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _has_begun(frame: FrameType | None) -> bool:
    """Return whether a function of this package is at work; commands import what they need first."""
    for one in _frames(frame):
        package, _, module = str(one.f_globals.get("__name__", "")).partition(".")
        own = package == __package__ and module.partition(".")[0] not in _COMMANDS
        if own and one.f_code.co_name != "<module>":
            return True
    return False


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
