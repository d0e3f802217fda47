"""What the files and folders of a session are called, and making them fit to be written into."""

from pathlib import Path

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import remove_abandoned

LABELS, EDITS, PREDICTIONS, ROUNDS, IMAGES = "labels", "edits", "predictions", "rounds", "images"
JOURNAL, SKIPPED, VIEW = "journal.jsonl", "skipped.json", "view.json"
LOCK, HOLDER = "session.lock", "in-use.json"
LATENTS = f"{PREDICTIONS}/latents.safetensors"

OWN_FOLDERS = (LABELS, EDITS, PREDICTIONS, ROUNDS)
"""Those that only the session writes into."""


def make_folder(folder: Path) -> None:
    """Make a folder where there is none.

    Raises
    ------
    SemiGDAError
        When it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SemiGDAError(
            f"The folder “{folder}” cannot be made: {error.strerror or error}. Make room there, or give "
            "write permission, then try again."
        ) from error


def check_folders(folder: Path) -> None:
    """Make sure that what a session writes stays within its folder.

    Raises
    ------
    SemiGDAError
        When one of them is a link to another place.
    """
    for name in OWN_FOLDERS:
        if (folder / name).is_symlink():
            raise SemiGDAError(
                f"“{folder / name}” is a link to another place, where a session writes nothing. "
                "Replace it by a real folder."
            )


def clean_up(folder: Path) -> None:
    """Remove what a killed program left half-written in a session's folders."""
    for name in ("", *OWN_FOLDERS):
        remove_abandoned(folder / name)
