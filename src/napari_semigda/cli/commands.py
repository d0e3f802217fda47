"""The commands on sessions, each with its options; what is heavy is imported when a command runs."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from napari_semigda.cli.display import (
    DONE,
    PARTLY_DONE,
    EngineDisplay,
    SafeConsole,
    follow,
    progress_bar,
    warn,
)
from napari_semigda.cli.parser import (
    DEVICE,
    SESSION,
    WEIGHTS,
    channels,
    command,
    option,
    positive,
    positive_integer,
)
from napari_semigda.errors import SemiGDAError
from napari_semigda.pace import counted
from napari_semigda.training.recipe import DEFAULT_SECONDS, Recipe, chosen_budget

if TYPE_CHECKING:
    from napari_semigda.session.rounds import RoundRecord
    from napari_semigda.session.session import Session

_ROWS_SHOWN = 20  # images and mask files that need attention

IMPORT_OPTIONS = (
    option("--label-count", type=positive_integer, metavar="N", help="accept only N masks, spread evenly"),
    option("--seed", type=int, help="choose the N masks at random, with this seed"),
    option("--table", type=Path, metavar="FILE.csv", help="write the result for every image and mask file"),
)


# --- new, import --------------------------------------------------------------------------------


@command(
    "new",
    "create a session from a folder of images",
    option("folder", type=Path, help="folder that becomes the session"),
    option("--images", type=Path, nargs="+", required=True, metavar="PATH", help="images or folders"),
    option("--classes", default="object", metavar="A,B", help="names of the classes (default: object)"),
    option("--preset", default="compact", help="compact (default), taesd or sd"),
    option("--working-size", type=int, metavar="N", help="side of the network's input, in pixels"),
    option("--framing", choices=("whole", "tiles"), help="default: by the size of the objects"),
    option("--zoom", type=float, help="with tiles: resample the images by this factor first"),
    option("--channels", type=channels, metavar="I,J", help="one to three channels, counted from 0"),
    option("--one-object", action="store_true", help="there is at most one object in an image"),
    option("--weights", type=Path, help="file or folder with the weights of the autoencoder"),
    option("--masks", type=Path, metavar="FOLDER", help="accept masks with the images' paths and names"),
    *IMPORT_OPTIONS,
)
def new(given: argparse.Namespace, console: SafeConsole) -> int:
    """Create a session."""
    from napari_semigda.session.creation import choose_settings
    from napari_semigda.session.session import Session

    chosen = _chosen_settings(given)
    with progress_bar(console, "Reading images") as progress:
        session = Session.create(
            given.folder,
            given.images,
            classes=[name.strip() for name in given.classes.split(",")],
            preset=given.preset,
            one_object=given.one_object,
            weights=given.weights,
            masks=given.masks,
            progress=progress,
        )
    with session:
        fitting = choose_settings(session.preset, session.items, chosen.get("working_size"))
        session.update(
            settings=replace(fitting, **chosen), framing_by_objects=not {"framing", "zoom"} & chosen.keys()
        )
        classes = ", ".join(one.name for one in session.classes)
        console.say(
            f"{counted(len(session.items), 'image')}; classes: {classes}; preset {session.preset}; "
            f"{session.settings.in_words()}."
        )
        warn(*(reason for _, reason in session.left_out), *session.notices)
        complete = _accept_masks(session, given, console) if given.masks else True
        console.say(f"The session is in {session.folder}")
    return PARTLY_DONE if session.left_out or not complete else DONE


def _chosen_settings(given: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given; wrong ones are refused before anything is written."""
    from napari_semigda.inference.preparation import ImageSettings
    from napari_semigda.model.presets import PRESETS

    named = {name: getattr(given, name) for name in ("working_size", "framing", "zoom", "channels")}
    chosen = {name: value for name, value in named.items() if value is not None}
    ImageSettings(**chosen)
    if given.masks is None and (given.label_count is not None or given.seed is not None):
        raise SemiGDAError("--label-count and --seed choose among masks: name their folder with --masks.")
    if given.preset not in PRESETS:
        raise SemiGDAError(f"There is no preset “{given.preset}”. Choose {', '.join(PRESETS)}.")
    return chosen


@command(
    "import",
    "accept masks made elsewhere",
    SESSION,
    option("masks", type=Path, help="folder of masks with the images' paths and names"),
    *IMPORT_OPTIONS,
)
def import_masks(given: argparse.Namespace, console: SafeConsole) -> int:
    """Accept masks for the images of a session."""
    from napari_semigda.session.session import Session

    with Session.open(given.folder) as session:
        return DONE if _accept_masks(session, given, console) else PARTLY_DONE


def _accept_masks(session: Session, given: argparse.Namespace, console: SafeConsole) -> bool:
    """Import masks, report the result, and return whether all were accepted."""
    from napari_semigda.session.export import refuse_files_of_sessions
    from napari_semigda.session.mask_names import SUFFIXES_OF_MASKS

    if given.table is not None:
        refuse_files_of_sessions(given.table)
    with progress_bar(console, "Accepting masks") as progress:
        report = session.import_masks(
            given.masks, count=given.label_count, seed=given.seed, progress=progress
        )
    if given.table is not None:
        report.write(given.table)
    attention = report.attention
    warn(*(row.in_words() for row in attention[:_ROWS_SHOWN]), *report.skipped)
    if len(attention) > _ROWS_SHOWN:
        where = "the table lists all" if given.table else "--table FILE.csv lists all"
        warn(f"{len(attention) - _ROWS_SHOWN} more images and mask files need attention; {where}.")
    console.say(f"{report.in_words()}. Masks: {given.masks}")
    if not report.accepted:
        suffixes = ", ".join(SUFFIXES_OF_MASKS)
        reason = f"A mask has the path and name of its image, or the name and one of {suffixes}."
        raise SemiGDAError(
            f"No mask in “{given.masks}” was accepted. {'See above.' if report.left_out else reason} "
            f"The session in “{session.folder}” is unchanged. Correct the files, then import them: "
            "semigda import SESSION FOLDER."
        )
    return not report.left_out


# --- train --------------------------------------------------------------------------------------


@command(
    "train",
    "train a round on all accepted masks and all other images",
    SESSION,
    option("--steps", type=positive_integer, help="number of optimizer steps"),
    option("--seconds", type=positive, help=f"how long to train (default: {DEFAULT_SECONDS:g})"),
    option("--recipe", choices=("default", "paper"), help="paper: all its epochs, unless limited"),
    [
        option("--fresh", action="store_true", help="train from scratch, not from the last round's weights"),
        option("--resume", action="store_true", help="resume the stopped round"),
    ],
    option("--seed", type=int, help="seed of the round (default: 0)"),
    option("--no-drafts", action="store_true", help="do not predict the other images afterwards"),
    DEVICE,
    WEIGHTS,
)
def train(given: argparse.Namespace, console: SafeConsole) -> int:
    """Train a round, then draft all images that are not accepted."""
    if given.resume and {given.steps, given.seconds, given.recipe, given.seed} != {None}:
        given.usage_error(
            "--resume continues the round as it began, without --steps, --seconds, --recipe, --seed"
        )
    from napari_semigda.engine.engine import Engine
    from napari_semigda.session.session import Session

    recipe = given.recipe or "default"
    with Session.open(given.folder) as session, EngineDisplay(console) as display:
        engine = Engine(session, given.device, on_progress=display.progress, weights=given.weights)
        engine.request_round(
            recipe=Recipe.named(recipe).with_one_object(session.one_object),
            budget=chosen_budget(recipe, given.steps, given.seconds),
            fresh=given.fresh,
            resume=given.resume,
            seed=given.seed or 0,
        )
        code = follow(engine, display, with_drafts=not given.no_drafts)
    warn(*session.warnings)
    return code


# --- relocate, info -----------------------------------------------------------------------------


@command(
    "relocate",
    "find moved images of a session",
    SESSION,
    option("images", type=Path, help="folder where the images are now, or one above"),
)
def relocate(given: argparse.Namespace, console: SafeConsole) -> int:
    """Find moved images."""
    from napari_semigda.session.session import Session

    with Session.open(given.folder) as session:
        relocation = session.images.find_moved(given.images)
    warn(*(f"{item.name} is still missing. {reason}" for item, reason in relocation.missing))
    found, missing = len(relocation.found), len(relocation.missing)
    console.say(f"{counted(found, 'image')} found." if found or missing else "No image is missing.")
    return PARTLY_DONE if missing else DONE


@command(
    "info",
    "show what is in a session or a model",
    option("path", type=Path, help="a session, or a model.safetensors"),
    option("--json", action="store_true", help="as JSON, for programs"),
)
def info(given: argparse.Namespace, console: SafeConsole) -> int:
    """Show what is in a session or a model."""
    from napari_semigda.model.checkpoint import read_metadata

    path: Path = given.path
    if path.is_file() and path.name != "semigda.json":
        metadata = {key: value for key, value in read_metadata(path).items() if key != "autoencoder"}
        facts = {"model": str(path), **metadata}
    else:
        facts = _about_session(path.parent if path.is_file() else path)
    if given.json:
        print(json.dumps(_with_old_spelling(facts), indent=2))
    else:
        _show(facts, console)
    return DONE


def _about_session(folder: Path) -> dict[str, Any]:
    from napari_semigda.session.session import Session

    with Session.open(folder) as session:
        model = session.rounds.last_model()
        dice: dict[int | None, list[float]] = {}
        for entry in session.labels.journal():
            if entry.dice is not None:
                dice.setdefault(entry.round, []).append(entry.dice)
        return {
            "session": str(session.folder),
            "created": session.created,
            "preset": session.preset,
            "classes": {str(one.value): one.name for one in session.classes},
            "one_object": session.one_object,
            "settings": session.settings.to_dict(),
            "images": len(session.items),
            "states": {state.value: count for state, count in session.counts().items()},
            "model": None if model is None else str(model),
            "rounds": [_about_round(record, dice.get(record.number, [])) for record in session.rounds],
        }


def _about_round(record: RoundRecord, dice: list[float]) -> dict[str, Any]:
    names = ("number", "status", "unlabeled", "warm", "steps", "seconds", "message")
    return {
        **{name: getattr(record, name) for name in names},
        "labeled": len(record.labeled),
        "drafts_corrected": len(dice),
        "draft_dice": sum(dice) / len(dice) if dice else None,
    }


def _with_old_spelling(value: Any) -> Any:
    """Add the British keys of earlier versions, for one release."""
    if isinstance(value, list):
        return [_with_old_spelling(one) for one in value]
    if not isinstance(value, dict):
        return value
    old = {"labeled": "labelled", "unlabeled": "unlabelled"}
    spelled = {key: _with_old_spelling(inner) for key, inner in value.items()}
    return spelled | {old[key]: inner for key, inner in spelled.items() if key in old}


def _show(facts: dict[str, Any], console: SafeConsole) -> None:
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if name != "rounds":
            grid.add_row(name.replace("_", " "), escape(_as_text(value)))
    console.print(grid)
    if facts.get("rounds"):
        table = Table("round", "status", "labeled", "steps", "seconds", "drafts corrected", "draft Dice")
        for one in facts["rounds"]:
            dice = "—" if one["draft_dice"] is None else f"{one['draft_dice']:.3f}"
            cells = [one[key] for key in ("number", "status", "labeled", "steps")]
            table.add_row(*map(str, cells), f"{one['seconds']:.0f}", str(one["drafts_corrected"]), dice)
        console.print(table)


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_as_text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_as_text, value))
    if value is None:
        return "—"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
