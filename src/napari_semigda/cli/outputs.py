"""The commands that write files for other programs; what is heavy is imported when one runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semigda.cli.display import (
    DONE,
    PARTLY_DONE,
    EngineDisplay,
    SafeConsole,
    follow,
    progress_bar,
    warn,
)
from napari_semigda.cli.parser import DEVICE, SESSION, WEIGHTS, command, option, positive_integer
from napari_semigda.errors import SemiGDAError
from napari_semigda.pace import counted, tracked

if TYPE_CHECKING:
    from napari_semigda.io.pictures import Plane
    from napari_semigda.session.exporting.formats import Format
    from napari_semigda.session.items import Item
    from napari_semigda.session.trained_model import Segmenter

EXPORT_FORMATS = (
    *("tiff", "imagej", "ome-tiff", "objects", "probabilities", "overlays", "coco", "measurements"),
)
"""Keys of `napari_semigda.session.exporting.formats.FORMATS`, known before anything heavy is imported."""


# --- predict ------------------------------------------------------------------------------------


@command(
    "predict",
    "predict the images of a session, or any images with a model",
    option("paths", type=Path, nargs="+", metavar="PATH", help="a session; with --model, images or folders"),
    option("--all", action="store_true", help="session: also accepted, skipped and already drafted images"),
    option("--model", type=Path, metavar="PATH", help="a session, or a model.safetensors"),
    option("--output", type=Path, metavar="FOLDER", help="with --model: folder to write the masks to"),
    option("--overwrite", action="store_true", help="with --model: replace existing files"),
    DEVICE,
    WEIGHTS,
)
def predict(given: argparse.Namespace, console: SafeConsole) -> int:
    """Draft the images of a session, or write masks of any images."""
    if given.model is not None:
        if given.output is None:
            given.usage_error("--model needs --output, the folder to write the masks to")
        return _predict_images(given, console)
    if given.output is not None or len(given.paths) > 1:
        given.usage_error("name one session, or images with --model and --output")
    return _predict_session(given, console)


def _predict_session(given: argparse.Namespace, console: SafeConsole) -> int:
    from napari_semigda.engine.engine import Engine
    from napari_semigda.session.session import Session

    with Session.open(given.paths[0]) as session, EngineDisplay(console) as display:
        engine = Engine(session, given.device, on_progress=display.progress, weights=given.weights)
        model = session.rounds.last_model()
        if model is None:
            raise SemiGDAError(
                f"“{session.folder}” has no trained model yet. Train a round first (semigda train)."
            )
        items: Sequence[Item] = session.items
        if not given.all:
            infos = ((item, session.drafts.info(item)) for item in session.queue())
            items = [item for item, info in infos if info is None or info.round != int(model.parent.name)]
        if not items:
            console.say("Every image already has a draft of the last round (--all predicts again).")
        engine.request_drafts(items)
        return follow(engine, display)


def _predict_images(given: argparse.Namespace, console: SafeConsole) -> int:
    from napari_semigda.session.creation import make_items
    from napari_semigda.session.exporting.names import export_names
    from napari_semigda.session.finding import find_files, read_headers
    from napari_semigda.session.trained_model import Segmenter

    model = Segmenter.from_pretrained(given.model, device=given.device, weights=given.weights)
    files = find_files(given.paths, given.output)
    planes, left_out = read_headers(files.named)
    left_out = [*files.left_out(), *left_out]
    targets = [given.output / name for name in export_names(make_items(planes, given.output))]
    _refuse_conflicts(targets, [file for file, _ in files.named], given.overwrite)
    failed = []
    with progress_bar(console, "Predicting") as progress:
        for (plane, name), target in tracked(list(zip(planes, targets, strict=True)), progress):
            try:
                _predict_plane(model, plane, target)
            except SemiGDAError as error:
                failed.append(f"{name}: {error}")
    warn(*(reason for _, reason in left_out), *failed)
    if len(failed) == len(planes):
        raise SemiGDAError("No image could be predicted.")
    console.say(f"{counted(len(planes) - len(failed), 'mask')} written to {given.output}")
    return PARTLY_DONE if left_out or failed else DONE


def _refuse_conflicts(targets: Sequence[Path], images: Sequence[Path], overwrite: bool) -> None:
    from napari_semigda.session.export import refuse_files_of_sessions

    originals = {str(path.resolve()).casefold() for path in images}
    for target in targets:
        refuse_files_of_sessions(target)
        if str(target.resolve()).casefold() in originals:
            raise SemiGDAError(f"“{target}” is one of the images. Choose another output folder.")
        if target.exists() and not overwrite:
            raise SemiGDAError(
                f"“{target}” already exists, and nothing was written. Choose another folder, "
                "or allow --overwrite."
            )


def _predict_plane(model: Segmenter, plane: Plane, target: Path) -> None:
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
        raise SemiGDAError(f"The folder “{target.parent}” could not be created: {error.strerror}.") from error
    write_labels(target, labels, plane.pixel_size, plane.unit)


# --- export -------------------------------------------------------------------------------------


@command(
    "export",
    "write the masks of a session in formats that other programs read",
    SESSION,
    option("output", type=Path, help="folder to write the files to"),
    option("--format", choices=EXPORT_FORMATS, default=EXPORT_FORMATS[0], help="default: tiff"),
    option("--predicted", action="store_true", help="include unaccepted drafts"),
    option(
        "--stack",
        dest="stacks",
        choices=("image", "file", "session"),
        help="imagej, ome-tiff: one file for each image (default), for each image file, or for all",
    ),
    option(
        "--minimum-size",
        type=positive_integer,
        metavar="N",
        help="objects, coco, measurements: omit smaller objects, in pixels",
    ),
    option("--polygons", action="store_true", default=None, help="coco: polygons instead of run lengths"),
    option(
        "--no-contact-sheet",
        dest="contact_sheet",
        action="store_false",
        default=None,
        help="overlays: omit the sheet of all images",
    ),
    [
        option("--overwrite", action="store_true", help="replace existing files"),
        option("--update", action="store_true", help="write only what changed since the last export"),
    ],
    DEVICE,
    WEIGHTS,
)
def export(given: argparse.Namespace, console: SafeConsole) -> int:
    """Write the masks of a session."""
    from napari_semigda.session.export import Existing, Export
    from napari_semigda.session.session import Session

    format = _chosen_format(given)
    existing = Existing.UPDATE if given.update else Existing.OVERWRITE if given.overwrite else Existing.REFUSE
    with Session.open(given.folder) as session:
        job = Export(session, given.output, format, include_predicted=given.predicted)
        with progress_bar(console, "Exporting") as progress:
            report = job.run(existing, progress=progress, device=given.device, weights=given.weights)
    warn(*(f"{item.name}: {reason}" for item, reason in report.failed))
    if not report.written and not report.kept:
        raise SemiGDAError(
            "There is nothing to export: no mask is accepted"
            + (" or predicted yet." if given.predicted else " yet (--predicted includes drafts).")
        )
    parts = [f"{counted(len(report.written), 'file')} written to {given.output}"]
    if report.kept:
        parts.append(f"{len(report.kept)} already up to date")
    if report.not_due:
        parts.append(f"{counted(len(report.not_due), 'image')} without a mask or skipped")
    console.say("; ".join(parts))
    return PARTLY_DONE if report.failed else DONE


def _chosen_format(given: argparse.Namespace) -> Format:
    """Return the format with its options; those of other formats are wrong usage."""
    from napari_semigda.session.exporting.formats import FORMATS

    format = FORMATS[given.format]
    named = {name: getattr(given, name) for name in ("stacks", "minimum_size", "polygons", "contact_sheet")}
    chosen = {name: value for name, value in named.items() if value is not None}
    for name in chosen.keys() - {field.name for field in fields(format)}:
        flag = {"stacks": "stack", "contact_sheet": "no-contact-sheet"}.get(name, name.replace("_", "-"))
        given.usage_error(f"the format {given.format} has no option --{flag}")
    return format(**chosen)


# --- import-checkpoint --------------------------------------------------------------------------


@command(
    "import-checkpoint",
    "convert a checkpoint of SemiGDA's authors to a model file",
    option("checkpoint", type=Path, help="file of the authors' stage 1 or stage 2 training"),
    option("output", type=Path, metavar="MODEL.safetensors", help="file to write"),
    option("--classes", default="object", metavar="A,B", help="names of the classes (default: object)"),
    option("--working-size", type=int, metavar="N", help="side of the network's input, in pixels"),
    option("--overwrite", action="store_true", help="replace an existing file"),
    option("--weights", type=Path, help="stage 1: weights of Stable Diffusion's autoencoder on this machine"),
)
def import_checkpoint(given: argparse.Namespace, console: SafeConsole) -> int:
    """Write a model file with the weights of the authors' checkpoint."""
    from napari_semigda.inference.preparation import ImageSettings
    from napari_semigda.model.presets import PRESETS
    from napari_semigda.model.released import import_released
    from napari_semigda.session.trained_model import Segmenter

    if given.output.exists() and not given.overwrite:
        raise SemiGDAError(f"“{given.output}” already exists. Choose another file, or allow --overwrite.")
    names = [name.strip() for name in given.classes.split(",")]
    settings = ImageSettings(working_size=given.working_size or PRESETS["sd"].default_working_size)
    with progress_bar(console, "Loading weights") as progress:
        network = import_released(given.checkpoint, len(names) + 1, weights=given.weights, progress=progress)
    Segmenter(network, settings, names).save_pretrained(given.output)
    console.say(f"The model is in {given.output}")
    return DONE
