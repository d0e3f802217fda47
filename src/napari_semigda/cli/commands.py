"""The command line: the same work on the same session folders, without a window.

Nothing heavy is imported before a command runs, so that ``semigda --help`` answers at once.
"""

# ruff: noqa: E402 - Ctrl-C is taken care of before anything that takes time is imported
from __future__ import annotations

from napari_semigda.interrupt import MESSAGE, interruptible, leave_on_interrupt, stop_watching, watch_imports

_before_imports = watch_imports()

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from napari_semigda import __version__, demo
from napari_semigda.cli.display import (
    DONE,
    FAILED,
    INTERRUPTED,
    PARTLY_DONE,
    EngineDisplay,
    SafeConsole,
    follow,
    make_output_safe,
    positive,
    positive_integer,
    progress_bar,
    warn,
)
from napari_semigda.errors import Cancelled, SemiGDAError, user_message
from napari_semigda.log import keep_log
from napari_semigda.training.recipe import DEFAULT_SECONDS, Recipe, chosen_budget

if TYPE_CHECKING:
    from napari_semigda.inference.preparation import ImageSettings
    from napari_semigda.io.pictures import Plane
    from napari_semigda.session.export import Existing
    from napari_semigda.session.exporting.formats import Format
    from napari_semigda.session.importing import ImportReport
    from napari_semigda.session.items import Item
    from napari_semigda.session.session import Session
    from napari_semigda.session.trained_model import SemiGDA

stop_watching(_before_imports)

EXPORT_FORMATS = (
    "tiff",
    "imagej",
    "ome-tiff",
    "objects",
    "probabilities",
    "overlays",
    "coco",
    "measurements",
)
"""Keys of `napari_semigda.session.exporting.formats.FORMATS`, known before anything heavy is imported."""

_ROWS_SHOWN = 20
"""So many images and mask files that need attention are told one by one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        What was typed after ``semigda``; None takes it from the process.

    Returns
    -------
    int
        0 done, 1 failed, 2 wrong usage, 3 done for some images but not for all, 130 interrupted.
    """
    whole_program = arguments is None
    if whole_program:
        make_output_safe()
    try:
        with interruptible():
            code = _run_typed(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
        SafeConsole(stderr=True).print(MESSAGE, style="yellow")
    if whole_program:
        leave_on_interrupt(code)
    return code


def _run_typed(arguments: Sequence[str]) -> int:
    parser = _parser()
    try:
        if any("\0" in one for one in arguments):
            parser.error("an argument holds a null character")
        return _run(parser.parse_args(arguments))
    except SystemExit as end:  # argparse has said what is wrong, or printed the help
        return int(end.code or DONE)


def _run(given: argparse.Namespace) -> int:
    errors = SafeConsole(stderr=True)
    try:
        keep_log()
        code: int = given.run(given, SafeConsole())
        return code
    except (Cancelled, KeyboardInterrupt):
        errors.print(MESSAGE, style="yellow")
        return INTERRUPTED
    except Exception as error:
        if given.debug:
            raise
        errors.print(escape(user_message(error)), style="red", soft_wrap=True, highlight=False)
        return FAILED


# --- arguments ----------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="semigda",
        description="Segment images in active-labeling rounds: outline a few, train, correct the drafts.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done for some images only, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"napari-semigda {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[..., int], summary: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        added.add_argument("--debug", action="store_true", help="show where an error comes from")
        added.set_defaults(run=run, usage_error=added.error)
        return added

    _add_new(command("new", _new, "make a session of a folder of images"))
    _add_import(command("import", _import, "accept masks that were made elsewhere"))
    _add_train(command("train", _train, "train a round on all accepted masks and all other images"))
    _add_predict(command("predict", _predict, "predict the images of a session, or any images with a model"))
    _add_export(command("export", _export, "write the masks of a session in the formats of other programs"))
    _add_relocate(command("relocate", _relocate, "find the images of a session again that were moved"))
    _add_info(command("info", _info, "tell about a session or a model"))
    demo.add_arguments(command("demo", demo.run, "play the whole loop on bundled images"))
    return parser


def _add_new(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder that becomes the session")
    parser.add_argument(
        "--images", type=Path, nargs="+", required=True, metavar="PATH", help="images, or folders of them"
    )
    parser.add_argument(
        "--classes", default="object", metavar="A,B", help="names of what is outlined (default: object)"
    )
    parser.add_argument("--preset", default="compact", help="compact (default), taesd or sd")
    parser.add_argument(
        "--working-size", type=int, metavar="N", help="side of what the network sees, in pixels"
    )
    parser.add_argument("--framing", choices=("whole", "tiles"), help="default: by the size of the objects")
    parser.add_argument("--zoom", type=float, help="with tiles: resample the images by this factor first")
    parser.add_argument(
        "--channels", type=_numbers, metavar="I,J", help="one to three channels, counted from 0"
    )
    parser.add_argument("--one-object", action="store_true", help="there is at most one object in an image")
    parser.add_argument("--weights", type=Path, help="file or folder with the weights of the autoencoder")
    parser.add_argument(
        "--masks", type=Path, metavar="FOLDER", help="accept existing masks of the same paths and names"
    )
    _add_import_options(parser)


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="the session's folder")
    parser.add_argument("masks", type=Path, help="folder of masks with the images' paths and names")
    _add_import_options(parser)


def _add_import_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--label-count", type=positive_integer, metavar="N", help="accept only N of the masks, spread evenly"
    )
    parser.add_argument("--seed", type=int, help="draw the N masks at random instead")
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE.csv",
        help="write what became of every image and every mask file",
    )


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="the session")
    parser.add_argument("--steps", type=positive_integer, help="train so many optimizer steps")
    parser.add_argument("--seconds", type=positive, help=f"train so long (default: {DEFAULT_SECONDS:g})")
    parser.add_argument(
        "--recipe", choices=("default", "paper"), help="the paper's without a limit: its epochs"
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--fresh", action="store_true", help="start from nothing, not from the last round")
    start.add_argument("--resume", action="store_true", help="go on with the round that was stopped")
    parser.add_argument("--seed", type=int, help="seed of the round (default: 0)")
    parser.add_argument("--no-drafts", action="store_true", help="do not predict the other images afterwards")
    _add_device(parser)
    _add_weights(parser)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="a session; with --model, images or folders of them",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="session: also images whose draft is up to date, accepted or skipped",
    )
    parser.add_argument("--model", type=Path, metavar="PATH", help="a session, or a model.safetensors")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="with --model: where to write the masks"
    )
    parser.add_argument("--overwrite", action="store_true", help="with --model: replace existing files")
    _add_device(parser)
    _add_weights(parser)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="the session")
    parser.add_argument("output", type=Path, help="folder to write the files to")
    parser.add_argument("--format", choices=EXPORT_FORMATS, default=EXPORT_FORMATS[0], help="default: tiff")
    parser.add_argument("--predicted", action="store_true", help="also the drafts of images not accepted")
    parser.add_argument(
        "--stack",
        dest="stacks",
        choices=("image", "file", "session"),
        help="imagej, ome-tiff: one file for each image (default), for each image file, or for all",
    )
    parser.add_argument(
        "--minimum-size",
        type=positive_integer,
        metavar="N",
        help="objects, coco, measurements: leave out smaller objects; in pixels",
    )
    parser.add_argument(
        "--polygons", action="store_true", default=None, help="coco: polygons instead of run lengths"
    )
    parser.add_argument(
        "--no-contact-sheet",
        dest="contact_sheet",
        action="store_false",
        default=None,
        help="overlays: without the sheet of all images",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace existing files")
    existing.add_argument(
        "--update", action="store_true", help="write only what is missing or changed since the last export"
    )
    _add_device(parser)
    _add_weights(parser)


def _add_relocate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="the session's folder")
    parser.add_argument("images", type=Path, help="where the images are now, or a folder above")


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="a session's folder, or a model.safetensors")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto (default), cuda, cuda:1, mps or cpu")


def _add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        type=Path,
        help="weights of the autoencoder on this machine, if elsewhere than the session says",
    )


def _numbers(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError("give channels counted from 0, like 0,2")
    return tuple(int(part) for part in text.split(","))


# --- new ----------------------------------------------------------------------------------------


def _new(given: argparse.Namespace, console: Console) -> int:
    from napari_semigda.session.session import Session

    changed = _chosen_settings(given)
    with progress_bar(console, "Looking at images") as progress:
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
        session.settings = _settings(session, changed)
        session.framing_by_objects = not {"framing", "zoom"} & changed.keys()
        settings = session.settings
        console.print(
            f"{len(session.items)} images, classes: {', '.join(c.name for c in session.classes)}; "
            f"preset {session.preset}, seen {settings.framing} at {settings.working_size} pixels.",
            markup=False,
        )
        for reason in (*(reason for _, reason in session.left_out), *session.notices):
            warn(reason)
        complete = _accept_masks(session, given, console) if given.masks else True
        console.print(f"The session is in {session.folder}", markup=False, soft_wrap=True)
    return PARTLY_DONE if session.left_out or not complete else DONE


def _chosen_settings(given: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were named; wrong ones are refused before anything is written."""
    from napari_semigda.inference.preparation import ImageSettings
    from napari_semigda.model.presets import PRESETS

    named = {name: getattr(given, name) for name in ("working_size", "framing", "zoom", "channels")}
    chosen = {name: value for name, value in named.items() if value is not None}
    ImageSettings(**chosen)
    if given.preset not in PRESETS:
        raise SemiGDAError(f"There is no preset “{given.preset}”: choose {', '.join(PRESETS)}.")
    return chosen


def _settings(session: Session, chosen: dict[str, Any]) -> ImageSettings:
    from napari_semigda.session.creation import choose_settings

    fitting = choose_settings(session.preset, session.items, chosen.get("working_size"))
    return replace(fitting, **chosen)


def _accept_masks(session: Session, given: argparse.Namespace, console: Console) -> bool:
    """Import masks, tell what became of them, and return whether nothing needs attention."""
    from napari_semigda.session.export import refuse_files_of_sessions

    if given.table is not None:
        refuse_files_of_sessions(given.table)
    with progress_bar(console, "Accepting masks") as progress:
        report = session.import_masks(
            given.masks, count=given.label_count, seed=given.seed, progress=progress
        )
    if given.table is not None:
        report.write(given.table)
    attention = report.attention
    for row in attention[:_ROWS_SHOWN]:
        warn(row.in_words())
    for reason in report.skipped:
        warn(reason)
    if len(attention) > _ROWS_SHOWN:
        where = "the table has all of them" if given.table else "--table FILE.csv writes all of them"
        warn(f"{len(attention) - _ROWS_SHOWN} more images and mask files need attention; {where}.")
    console.print(f"{report.in_words()}. Masks: {given.masks}", markup=False, soft_wrap=True)
    if not report.accepted:
        raise SemiGDAError(
            f"No mask in “{given.masks}” was accepted. {_why_none(report)} "
            f"The session in “{session.folder}” has no new masks; mend the files, then import them: "
            "semigda import SESSION FOLDER."
        )
    return not report.left_out


def _why_none(report: ImportReport) -> str:
    from napari_semigda.session.mask_names import SUFFIXES_OF_MASKS

    if report.left_out:
        return "The reasons are above."
    return (
        f"A mask has the path and name of its image, or the name and one of {', '.join(SUFFIXES_OF_MASKS)}."
    )


def _import(given: argparse.Namespace, console: Console) -> int:
    from napari_semigda.session.session import Session

    with Session.open(given.folder) as session:
        return DONE if _accept_masks(session, given, console) else PARTLY_DONE


# --- train --------------------------------------------------------------------------------------


def _train(given: argparse.Namespace, console: Console) -> int:
    if given.resume and any(
        value is not None for value in (given.steps, given.seconds, given.recipe, given.seed)
    ):
        given.usage_error("--resume goes on as the round began: without --steps, --seconds, --recipe, --seed")
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
    for warning in session.warnings:
        warn(warning)
    return code


# --- predict ------------------------------------------------------------------------------------


def _predict(given: argparse.Namespace, console: Console) -> int:
    if given.model is not None:
        if given.output is None:
            given.usage_error("--model needs --output, the folder to write the masks to")
        return _predict_images(given, console)
    if given.output is not None or len(given.paths) > 1:
        given.usage_error("name one session, or images with --model and --output")
    return _predict_session(given, console)


def _predict_session(given: argparse.Namespace, console: Console) -> int:
    from napari_semigda.engine.engine import Engine
    from napari_semigda.session.session import Session

    with Session.open(given.paths[0]) as session, EngineDisplay(console) as display:
        engine = Engine(session, given.device, on_progress=display.progress, weights=given.weights)
        if not engine.has_model:
            raise SemiGDAError(
                f"“{session.folder}” has no trained model yet: train a round first (semigda train)."
            )
        items = session.items if given.all else _without_draft(session)
        if not items:
            display.say("Every image has a draft of the last round already (--all predicts again).")
        engine.request_drafts(items)
        return follow(engine, display, with_drafts=True)


def _without_draft(session: Session) -> list[Item]:
    """List the items, neither accepted nor skipped, that the last model has not predicted yet."""
    model = session.last_model()
    newest = 0 if model is None else int(model.parent.name)
    infos = ((item, session.prediction_info(item)) for item in session.queue())
    return [item for item, info in infos if info is None or info.round != newest]


def _predict_images(given: argparse.Namespace, console: Console) -> int:
    from napari_semigda.session.creation import make_items
    from napari_semigda.session.exporting.names import export_names
    from napari_semigda.session.finding import find_files, read_headers
    from napari_semigda.session.trained_model import SemiGDA

    model = SemiGDA.from_pretrained(given.model, device=given.device, weights=given.weights)
    files = find_files(given.paths, given.output)
    planes, left_out = read_headers(files.named)
    left_out = [*files.left_out(), *left_out]
    items = make_items(planes, given.output)
    targets = [given.output / name for name in export_names(items)]
    _refuse_conflicts(targets, [file for file, _ in files.named], given.overwrite)
    problems = [reason for _, reason in left_out]
    with progress_bar(console, "Predicting") as progress:
        for done, ((plane, name), target) in enumerate(zip(planes, targets, strict=True), start=1):
            try:
                _predict_plane(model, plane, target)
            except SemiGDAError as error:
                problems.append(f"{name}: {error}")
            progress(done, len(planes))
    for problem in problems:
        warn(problem)
    written = len(planes) + len(left_out) - len(problems)
    if not written:
        raise SemiGDAError("No image could be predicted.")
    console.print(f"{written} masks written to {given.output}", markup=False, soft_wrap=True)
    return PARTLY_DONE if problems else DONE


def _refuse_conflicts(targets: Sequence[Path], pictures: Sequence[Path], overwrite: bool) -> None:
    from napari_semigda.session.export import refuse_files_of_sessions

    originals = {str(path.resolve()).casefold() for path in pictures}
    for target in targets:
        refuse_files_of_sessions(target)
        if str(target.resolve()).casefold() in originals:
            raise SemiGDAError(f"“{target}” is one of the images: choose another output folder.")
        if target.exists() and not overwrite:
            raise SemiGDAError(
                f"“{target}” is there already, and nothing was written: choose another folder, "
                "or allow --overwrite."
            )


def _predict_plane(model: SemiGDA, plane: Plane, target: Path) -> None:
    import numpy as np

    from napari_semigda.io.bands import opened_plane
    from napari_semigda.io.masks import write_labels

    labels = np.empty(plane.shape, np.uint8)
    with opened_plane(plane) as pixels:
        for _ in model.fill(labels, pixels):
            pass
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SemiGDAError(f"The folder “{target.parent}” cannot be made: {error.strerror}.") from error
    write_labels(target, labels, plane.pixel_size, plane.unit)


# --- export -------------------------------------------------------------------------------------


def _export(given: argparse.Namespace, console: Console) -> int:
    from napari_semigda.session.export import Existing, Export
    from napari_semigda.session.session import Session

    format = _chosen_format(given)
    with Session.open(given.folder) as session:
        export = Export(session, given.output, format, include_predicted=given.predicted)
        with progress_bar(console, "Exporting") as progress:
            report = export.run(
                _existing(given, Existing), progress=progress, device=given.device, weights=given.weights
            )
        expected = [
            (item, why) for item, why in report.left_out if _should_be_exported(session, item, given, format)
        ]
    for item, reason in expected:
        warn(f"{item.name}: {reason}")
    if not report.written and not report.kept:
        raise SemiGDAError(
            "There was nothing to export: no mask is accepted"
            + (" or predicted yet." if given.predicted else " yet (--predicted exports drafts, too).")
        )
    others = len(report.left_out) - len(expected)
    console.print(
        f"{len(report.written)} {'file' if len(report.written) == 1 else 'files'} written to {given.output}"
        + (f"; {len(report.kept)} up to date already" if report.kept else "")
        + (f"; {others} images have no mask or were skipped" if others else ""),
        markup=False,
        soft_wrap=True,
    )
    return PARTLY_DONE if expected else DONE


def _chosen_format(given: argparse.Namespace) -> Format:
    """Make the format with its options; those of other formats are wrong usage."""
    from napari_semigda.session.exporting.formats import FORMATS

    format = FORMATS[given.format]
    named = {name: getattr(given, name) for name in ("stacks", "minimum_size", "polygons", "contact_sheet")}
    chosen = {name: value for name, value in named.items() if value is not None}
    for name in chosen.keys() - {field.name for field in fields(format)}:
        option = {"stacks": "stack", "contact_sheet": "no-contact-sheet"}.get(name, name.replace("_", "-"))
        given.usage_error(f"--{option} means nothing to the format {given.format}")
    return format(**chosen)


def _existing(given: argparse.Namespace, existing: type[Existing]) -> Existing:
    if given.update:
        return existing.UPDATE
    return existing.OVERWRITE if given.overwrite else existing.REFUSE


def _should_be_exported(session: Session, item: Item, given: argparse.Namespace, format: Format) -> bool:
    from napari_semigda.session.items import ItemState

    state = session.state(item)
    if format.predicts:
        return state is not ItemState.SKIPPED
    drafted = state is ItemState.DRAFT and session.prediction_info(item) is not None
    return state is ItemState.ACCEPTED or (given.predicted and drafted)


# --- relocate -----------------------------------------------------------------------------------


def _relocate(given: argparse.Namespace, console: Console) -> int:
    from napari_semigda.session.session import Session

    with Session.open(given.folder) as session:
        relocation = session.find_moved_pictures(given.images)
    for item, reason in relocation.missing:
        warn(f"{item.name} is still missing. {reason}")
    found, missing = len(relocation.found), len(relocation.missing)
    console.print(f"{found} found again." if found or missing else "No image is missing.")
    return PARTLY_DONE if missing else DONE


# --- info ---------------------------------------------------------------------------------------


def _info(given: argparse.Namespace, console: Console) -> int:
    about = _about_model(given.path) if given.path.is_file() else _about_session(given.path)
    if given.json:
        print(json.dumps(about, indent=2))
    else:
        _show(about, console)
    return DONE


def _about_model(path: Path) -> dict[str, Any]:
    if path.name == "semigda.json":
        return _about_session(path.parent)
    from napari_semigda.model.checkpoint import read_metadata

    return {
        "model": str(path),
        **{key: value for key, value in read_metadata(path).items() if key != "autoencoder"},
    }


def _about_session(folder: Path) -> dict[str, Any]:
    from napari_semigda.session.session import Session

    with Session.open(folder) as session:
        model = session.last_model()
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
            "rounds": _about_rounds(session),
        }


def _about_rounds(session: Session) -> list[dict[str, Any]]:
    """Tell of each round, with the Dice between its drafts and what was then accepted."""
    dice: dict[int | None, list[float]] = {}
    for entry in session.journal():
        if entry.dice is not None:
            dice.setdefault(entry.round, []).append(entry.dice)
    return [
        {
            "number": record.number,
            "status": record.status,
            "labeled": len(record.labeled),
            "unlabeled": record.unlabeled,
            "warm": record.warm,
            "steps": record.steps,
            "seconds": record.seconds,
            "message": record.message,
            "drafts_corrected": len(corrected := dice.get(record.number, [])),
            "draft_dice": sum(corrected) / len(corrected) if corrected else None,
        }
        for record in session.rounds
    ]


def _show(about: dict[str, Any], console: Console) -> None:
    facts = Table.grid(padding=(0, 2))
    for name, value in about.items():
        if name != "rounds":
            facts.add_row(name.replace("_", " "), escape(_told(value)))
    console.print(facts)
    if about.get("rounds"):
        console.print(_rounds_table(about["rounds"]))


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_told(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_told(inner) for inner in value)
    if value is None:
        return "—"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _rounds_table(rounds: list[dict[str, Any]]) -> Table:
    table = Table("round", "status", "labeled", "steps", "seconds", "drafts corrected", "Dice of the drafts")
    for one in rounds:
        table.add_row(
            str(one["number"]),
            one["status"],
            str(one["labeled"]),
            str(one["steps"]),
            f"{one['seconds']:.0f}",
            str(one["drafts_corrected"]),
            "—" if one["draft_dice"] is None else f"{one['draft_dice']:.3f}",
        )
    return table
