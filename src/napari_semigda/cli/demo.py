"""The whole loop on bundled images, with the known truth in place of an annotator."""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from napari_semigda.cli.display import DONE, INTERRUPTED, EngineDisplay, SafeConsole, follow
from napari_semigda.cli.parser import DEVICE, command, option, positive, positive_integer
from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.pace import counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_semigda.engine.engine import Engine

IMAGES_A_ROUND = 4
ROUNDS = 2
WORKING_SIZE = 96


@command(
    "demo",
    "run the whole loop on bundled images",
    option("--session", type=Path, metavar="FOLDER", help="keep the session and the masks here"),
    option("--gui", action="store_true", help="open napari on the session afterwards"),
    option("--steps", type=positive_integer, default=120, help="optimizer steps of a round (default: 120)"),
    option("--seconds", type=positive, default=110.0, help="limit of a round's training (default: 110)"),
    DEVICE,
)
def demo(given: argparse.Namespace, console: SafeConsole) -> int:
    """Label, train, correct, train again and export; print a table with the Dice of both rounds."""
    kept = given.session
    holder = tempfile.TemporaryDirectory(prefix="semigda-demo-") if kept is None else nullcontext(kept)
    with holder as name:
        folder = Path(name)
        console.say("Two rounds on bundled images (generated lesions and cells with exact truth).")
        console.print(_play(folder, given, console))
        if kept is None:
            console.say("To keep the session and masks, and open them in napari: --session FOLDER --gui")
        else:
            console.say(f"Session: {folder / 'session'}\nMasks:   {folder / 'masks'}")
        if given.gui:
            _show(folder / "session")
    return DONE


def _play(folder: Path, given: argparse.Namespace, console: SafeConsole) -> Table:
    import imageio.v3 as iio

    from napari_semigda.engine.engine import Engine
    from napari_semigda.inference.preparation import ImageSettings
    from napari_semigda.samples import sample_pairs
    from napari_semigda.session.export import export_masks
    from napari_semigda.session.session import Session

    pairs = sample_pairs()
    truth: dict[str, NDArray[np.uint8]] = {
        image.stem: (iio.imread(mask) > 0).astype("uint8") for image, mask in pairs
    }
    settings = ImageSettings(working_size=WORKING_SIZE)
    with Session.create(folder / "session", [image for image, _ in pairs], settings=settings) as session:
        engine = Engine(session, given.device)
        seconds, drafts = [], []
        for number in range(1, ROUNDS + 1):
            names = []
            for _ in range(IMAGES_A_ROUND):
                item = session.next_item()
                if item is None:
                    raise SemiGDAError("The session has no image left to label.")
                session.accept(item, truth[Path(item.path).stem])
                names.append(item.name)
            console.say(f"Round {number}: accepted the truth of {', '.join(names)}")
            seconds.append(_train(engine, given, console))
            drafts.append({item.id: session.prediction(item) for item in session.items})
        report = export_masks(session, folder / "masks", include_predicted=True)
        console.say(f"{counted(len(report.written), 'mask')} written as TIFF.")
        never = [item for item in session.items if item not in session.labels]
    table = Table(title="Dice on the images that were never labeled")
    for column in ("round", "labeled images", "Dice", "seconds"):
        table.add_column(column, justify="right")
    for number in range(1, ROUNDS + 1):
        dice = [_dice(drafts[number - 1][item.id], truth[Path(item.path).stem]) for item in never]
        mean = sum(dice) / len(dice)
        table.add_row(str(number), str(number * IMAGES_A_ROUND), f"{mean:.3f}", f"{seconds[number - 1]:.0f}")
    return table


def _train(engine: Engine, given: argparse.Namespace, console: SafeConsole) -> float:
    """Run a round and make all drafts; return the seconds that both took."""
    from napari_semigda.training.recipe import Budget

    started = time.perf_counter()
    engine.request_round(budget=Budget(steps=given.steps, seconds=given.seconds))
    with EngineDisplay(console) as display:
        if follow(engine, display) == INTERRUPTED:
            raise Cancelled
    if engine.session.rounds[-1].status != "complete":
        raise SemiGDAError("The demo ends here, because its round did not complete.")
    return time.perf_counter() - started


def _dice(draft: NDArray[np.uint8] | None, truth: NDArray[np.uint8]) -> float:
    from napari_semigda.session.efforts import measure

    return 0.0 if draft is None else measure(draft, truth, 2)[0] or 0.0


def _show(session_folder: Path) -> None:
    try:
        from napari_semigda.widgets.start import open_in_napari
    except ImportError as error:
        raise SemiGDAError(
            "napari is not installed. Run pip install 'napari-semigda[all]', then try --gui again."
        ) from error
    open_in_napari(session_folder)
