"""The log: a file for what only a programmer understands. People are told its place."""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from platformdirs import user_log_path

_LARGEST = 2**20
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_file() -> Path:
    """Where the log is, whether anything was written yet or not."""
    return user_log_path("napari-semigda") / "semigda.log"


def keep_log() -> None:
    """Write the warnings and errors of this package, with their traces, to the log file from now on.

    The file keeps the last megabyte, and the one before it beside it. Where it cannot be written things go
    on without it.
    """
    path, logger = log_file(), logging.getLogger("napari_semigda")
    for handler in logger.handlers:
        if isinstance(handler, RotatingFileHandler):
            if Path(handler.baseFilename) == path:
                return
            logger.removeHandler(handler)
            handler.close()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(path, maxBytes=_LARGEST, backupCount=1, encoding="utf-8", delay=True)
    except OSError as error:
        logger.warning("there is no log file: %s", error)
        return
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter(_FORMAT))
    logger.addHandler(handler)
