"""What the files and folders of a session are called, and making them fit to be written into."""

import os
from collections.abc import Iterator
from pathlib import Path

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import cannot_read, flush_folder, remove_abandoned
from napari_semigda.io.files import check_own, is_link

LABELS, EDITS, PREDICTIONS, ROUNDS, IMAGES = "labels", "edits", "predictions", "rounds", "images"
JOURNAL, SKIPPED, VIEW = "journal.jsonl", "skipped.json", "view.json"
LOCK, OWNER = "session.lock", "in-use.json"
LATENTS = f"{PREDICTIONS}/latents.safetensors"

MODEL, STATE = "model.safetensors", "state.safetensors"  # in the folder of a round, as the next two
CURVES, RECORD = "curves.jsonl", "round.json"

MOST_ROUNDS = 10**9  # rounds have lower numbers
OWN_FOLDERS = (LABELS, EDITS, PREDICTIONS, ROUNDS)  # that only the session writes into


def make_folder(folder: Path) -> None:
    """Create a folder where there is none, and wait until the disk has it; raises `SemiGDAError`."""
    try:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for one in missing:
            flush_folder(one.parent)
    except OSError as error:
        raise SemiGDAError(
            f"The folder “{folder}” could not be created: {error.strerror or error}. Free disk space, or "
            "give write permission, then try again."
        ) from error
    _refuse_link(folder)


def check_folders(folder: Path) -> None:
    """Raise a `SemiGDAError` if one of a session's folders is a link to another place."""
    for name in OWN_FOLDERS:
        _refuse_link(folder / name)
    for number in round_numbers(folder / ROUNDS):
        _refuse_link(folder / ROUNDS / f"{number:03d}")


def round_numbers(rounds: Path) -> list[int]:
    """Return the numbers of the rounds that have a folder (or a link in its place), in order."""
    try:
        names = [entry.name for entry in os.scandir(rounds) if entry.is_dir() or entry.is_symlink()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise cannot_read(rounds, error) from error
    numbers = {int(name) for name in names if name.isascii() and name.isdigit() and 3 <= len(name) <= 9}
    return sorted(number for number in numbers if f"{number:03d}" in names)


def left_alone(folder: Path) -> Iterator[str]:
    """Yield why some files of a session are neither read nor written: links, and what is no regular file."""
    names = [JOURNAL, SKIPPED, VIEW, OWNER, LATENTS]
    for number in round_numbers(folder / ROUNDS):
        names += [f"{ROUNDS}/{number:03d}/{name}" for name in (RECORD, MODEL, STATE, CURVES)]
    for name in names:
        try:
            check_own(folder / name, folder)
        except SemiGDAError as error:
            yield str(error)


def clean_up(folder: Path) -> None:
    """Remove what a killed program left half-written in a session's folders."""
    for name in ("", *OWN_FOLDERS):
        remove_abandoned(folder / name)


def _refuse_link(folder: Path) -> None:
    if is_link(folder):
        raise SemiGDAError(
            f"“{folder}” is a link to another location, and a session does not write there. "
            "Replace it with a real folder."
        )
