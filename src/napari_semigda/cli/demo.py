"""The whole loop on bundled images, played by an annotator who knows the truth."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
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
    from napari_semigda.session.items import Item
    from napari_semigda.session.session import Session
    from napari_semigda.training.recipe import Budget

IMAGES_A_ROUND = 4
ROUNDS = 2
WORKING_SIZE = 96


@dataclass(frozen=True)
class DemoRound:
    """One row of the demo's table: ``dice`` is the mean over the images that were never labeled."""

    number: int
    labeled: int
    dice: float
    seconds: float


@command(
    "demo",
    "run the whole loop on bundled images",
    option("--session", type=Path, metavar="FOLDER", help="keep the session and the masks here"),
    option("--gui", action="store_true", help="open napari on the session afterwards"),
    option("--steps", type=positive_integer, default=120, help="optimizer steps of a round (default: 120)"),
    option("--seconds", type=positive, default=110.0, help="limit of a round's training (default: 110)"),
    DEVICE,
)
def run(arguments: argparse.Namespace, console: SafeConsole) -> int:
    """Run the demo, print its table, and return 0.

    Raises
    ------
    SemiGDAError
        If a round fails, the folder is not empty, or napari is requested and missing.
    """
    kept = arguments.session
    holder = tempfile.TemporaryDirectory(prefix="semigda-demo-") if kept is None else nullcontext(kept)
    with holder as given:
        folder = Path(given)
        console.say("Two rounds on bundled images (generated lesions and cells with exact truth).")
        rows = _play(folder, arguments, console)
        console.print(_table(rows))
        if kept is None:
            console.say("To keep the session and masks, and open them in napari: --session FOLDER --gui")
        else:
            console.say(f"Session: {folder / 'session'}\nMasks:   {folder / 'masks'}")
        if arguments.gui:
            _show(folder / "session")
    return DONE


def _play(folder: Path, arguments: argparse.Namespace, console: SafeConsole) -> list[DemoRound]:
    from napari_semigda.engine.engine import Engine
    from napari_semigda.inference.preparation import ImageSettings
    from napari_semigda.samples import sample_pairs
    from napari_semigda.session.export import export_masks
    from napari_semigda.session.session import Session
    from napari_semigda.training.recipe import Budget

    pairs = sample_pairs()
    truth = {image.stem: _truth(mask) for image, mask in pairs}
    images = [image for image, _ in pairs]
    settings = ImageSettings(working_size=WORKING_SIZE)
    with Session.create(folder / "session", images, settings=settings) as session:
        engine = Engine(session, arguments.device)
        budget = Budget(steps=arguments.steps, seconds=arguments.seconds)
        seconds, drafts = [], []
        for number in range(1, ROUNDS + 1):
            names = _accept_next(session, truth)
            console.say(f"Round {number}: accepted the truth of {', '.join(names)}")
            with EngineDisplay(console) as display:
                seconds.append(_train(engine, budget, display))
            drafts.append({item.id: session.prediction(item) for item in session.items})
        report = export_masks(session, folder / "masks", include_predicted=True)
        console.say(f"{counted(len(report.written), 'mask')} written as TIFF.")
        never = [item for item in session.items if session.labels.get(item) is None]
        return [
            DemoRound(
                number=index + 1,
                labeled=(index + 1) * IMAGES_A_ROUND,
                dice=_mean_dice((drafts[index][item.id], truth[_stem(item)]) for item in never),
                seconds=seconds[index],
            )
            for index in range(ROUNDS)
        ]


def _truth(path: Path) -> NDArray[np.uint8]:
    import imageio.v3 as iio

    mask: NDArray[np.uint8] = (iio.imread(path) > 0).astype("uint8")
    return mask


def _stem(item: Item) -> str:
    return Path(item.path).stem


def _accept_next(session: Session, truth: dict[str, NDArray[np.uint8]]) -> list[str]:
    """Accept the truth for the images that the session asks for, one after the other."""
    names = []
    for _ in range(IMAGES_A_ROUND):
        item = session.next_item()
        if item is None:
            raise SemiGDAError("The session has no image left to label.")
        session.accept(item, truth[_stem(item)])
        names.append(item.name)
    return names


def _train(engine: Engine, budget: Budget, display: EngineDisplay) -> float:
    """Run a round and make all drafts; returns the seconds that both took."""
    started = time.perf_counter()
    engine.request_round(budget=budget)
    if follow(engine, display) == INTERRUPTED:
        raise Cancelled
    if engine.session.rounds[-1].status != "complete":
        raise SemiGDAError("The demo ends here, because its round did not.")
    return time.perf_counter() - started


def _mean_dice(pairs: Iterable[tuple[NDArray[np.uint8] | None, NDArray[np.uint8]]]) -> float:
    from napari_semigda.session.efforts import measure as effort

    scores = [0.0 if draft is None else effort(draft, truth, 2)[0] or 0.0 for draft, truth in pairs]
    return sum(scores) / len(scores)


def _table(rows: list[DemoRound]) -> Table:
    table = Table(title="Dice on the images that were never labeled")
    for column in ("round", "labeled images", "Dice", "seconds"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(str(row.number), str(row.labeled), f"{row.dice:.3f}", f"{row.seconds:.0f}")
    return table


def _show(session_folder: Path) -> None:
    try:
        from napari_semigda.widgets.opening import open_in_napari
    except ImportError as error:
        raise SemiGDAError(
            "napari is not installed: pip install 'napari-semigda[all]', then give --gui again."
        ) from error
    open_in_napari(session_folder)
