"""The log file, with what only a programmer understands; messages name its path."""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from platformdirs import user_log_path

_LARGEST = 2**20
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_file() -> Path:
    """Return the path of the log, whether anything was written yet or not."""
    return user_log_path("napari-semigda") / "semigda.log"


def keep_log() -> None:
    """Write the warnings and errors of this package to the log file from now on.

    The file and the one before it have at most a megabyte. If it cannot be written, work continues without.
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
        logger.warning("The log file could not be created: %s", error)
        return
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter(_FORMAT))
    logger.addHandler(handler)
