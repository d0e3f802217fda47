"""Does it cost more with more images? Sessions of many items, and one picture of 20,000 × 20,000 pixels.

    python benchmarks/scale.py --items 100 2000 20000
    python benchmarks/scale.py --picture 20000 --zoom 0.125 --format tiff zarr

All data is generated: the items of a session share one small picture by hard links, half of them have a
draft and a tenth an accepted mask. Prints Markdown tables: medians, in milliseconds of the clock and (in
brackets) of the processor. On a machine that other programs use as well the clock also measures them: the
processor's time is the honest figure.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import tifffile
import torch
import zarr

from napari_semigda.engine.engine import Engine
from napari_semigda.engine.events import Event, Predicted, PredictionFailed, RoundEnded, RoundFailed, Stepped
from napari_semigda.inference.predictor import Draft
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.checkpoint import save_checkpoint
from napari_semigda.model.network import SemiGDANet
from napari_semigda.session.classes import named_classes
from napari_semigda.session.items import Item, ItemState
from napari_semigda.session.journal import JournalEntry, append_entry, now
from napari_semigda.session.layout import JOURNAL, LABELS, PREDICTIONS
from napari_semigda.session.manifest import Manifest, write_manifest
from napari_semigda.session.rounds import MODEL
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget, Recipe

SIDE = 64
BLOCK = 512  # pixels: sides of the tiles of a large picture
ACCEPTED, DRAFTED = 10, 2  # every tenth is accepted, of the others every second has a draft
Taken = tuple[float, float]
"""Milliseconds of the clock and of the processor."""
Work = tuple[str, Callable[[], object]]


def many_items(folder: Path, count: int) -> None:
    """Write a session of so many items, which share one picture, one mask and one draft by hard links."""
    random = np.random.default_rng(0)
    pictures = folder.parent / "pictures"
    pictures.mkdir()
    picture = random.integers(0, 255, (SIDE, SIDE), np.uint8)
    picture[16:48, 16:48] //= 4
    tifffile.imwrite(pictures / "0.tif", picture)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[16:48, 16:48] = 1
    with Session.create(folder, [pictures / "0.tif"], settings=ImageSettings(working_size=SIDE)) as session:
        session.accept(session.items[0], mask)
        session.drafts.store(session.items[0], Draft(mask, 0.5, 0.1), 1)
    items = tuple(Item(f"{n}", f"{n}.tif", f"../pictures/{n}.tif", (SIDE, SIDE)) for n in range(count))
    write_manifest(
        folder,
        Manifest(
            named_classes(["object"]), "compact", ImageSettings(working_size=SIDE), items, created=now()
        ),
    )
    for number in range(1, count):
        os.link(pictures / "0.tif", pictures / f"{number}.tif")
        if number % ACCEPTED == 0:
            os.link(folder / LABELS / "0.tif", folder / LABELS / f"{number}.tif")
        elif number % DRAFTED == 0:
            for suffix in ("tif", "json"):
                file = folder / PREDICTIONS / f"{number}.{suffix}"
                os.link(file.with_name(f"0.{suffix}"), file)
    entry = JournalEntry(now(), "0", "accepted", 0.9, 0.05, 1)
    append_entry(folder / JOURNAL, entry)
    line = (folder / JOURNAL).read_text().splitlines()[-1]
    (folder / JOURNAL).write_text("".join(f"{line}\n" for _ in range(0, count, ACCEPTED)))
    with Session.open(folder) as session:
        session.features.begin({"cells": 4, "settings": {}, "autoencoder": [1.0]})
        for item, latent in zip(items, random.normal(size=(count, 128)), strict=True):
            session.features.store(item.id, latent)


def taken(work: Callable[[], object]) -> Taken:
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return 1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - processor)


def waits(folder: Path, repeats: int) -> dict[str, list[Taken]]:
    """Measure what an annotator waits for; each several times."""
    found: dict[str, list[Taken]] = defaultdict(list)
    for _ in range(repeats):
        found["open"].append(taken(lambda: Session.open(folder).close()))
        with Session.open(folder) as session:
            for name, work in at_the_beginning(session):
                found[name].append(taken(work))
            waiting = [item for item in session.items if session.state(item).waits][: repeats + 1]
            for one, other in pairwise(waiting):
                for name, work in at_an_image(session, one, other):
                    found[name].append(taken(work))
    return found


def at_the_beginning(session: Session) -> Iterator[Work]:
    yield "read all scores (first)", session.drafts.scores
    yield "read the journal", session.labels.accepted_drafts
    yield "make the table of images", lambda: session.overview()
    yield "rank all", session.queue


def at_an_image(session: Session, one: Item, other: Item) -> Iterator[Work]:
    yield "accept", lambda: session.accept(other, np.ones((SIDE, SIDE), np.uint8))
    yield "next image", lambda: session.next_item(other)
    yield "count", session.counts
    yield "keep for validation", lambda: session.labels.keep_for_validation(other)
    yield "train on it again", lambda: session.labels.keep_for_validation(other, False)
    yield "skip", lambda: session.skip(one)


def events(engine: Engine) -> Iterator[Event]:
    while engine.start_work():
        yield from engine.work()


def a_round(folder: Path, steps: int) -> tuple[float, Taken]:
    """Train so many steps: MiB above the idle process at the most, and milliseconds a step."""
    with Session.open(folder) as session, peak_memory() as peak:
        engine = Engine(session, "cpu")
        engine.request_round(recipe=Recipe(), budget=Budget(steps=steps))
        clock = processor = 0.0
        for event in events(engine):
            if isinstance(event, RoundFailed):
                raise SystemExit(event.message)
            if isinstance(event, Stepped) and event.report.step <= 1 and not clock:
                clock, processor = time.perf_counter(), time.process_time()
            if isinstance(event, RoundEnded):
                step = [
                    1000 * (now - since) / steps
                    for now, since in ((time.perf_counter(), clock), (time.process_time(), processor))
                ]
                engine.close()
        return peak.mebibytes, (step[0], step[1])


def drafts(folder: Path, count: int) -> tuple[int, Taken]:
    """Draft so many items in the background: how many wait, and milliseconds for each."""
    with Session.open(folder) as session:
        engine = Engine(session, "cpu")
        asked = [item for item in session.items if session.state(item) is not ItemState.ACCEPTED]
        engine.request_drafts(asked)
        made, clock, processor = -1, 0.0, 0.0
        for event in events(engine):
            if isinstance(event, PredictionFailed):
                raise SystemExit(event.message)
            if isinstance(event, Predicted):
                made += 1
                if made == 0:
                    clock, processor = time.perf_counter(), time.process_time()
                if made == min(count, len(asked) - 1):
                    break
        ended = time.perf_counter(), time.process_time()
        return len(asked), (1000 * (ended[0] - clock) / made, 1000 * (ended[1] - processor) / made)


class Peak:
    """The most memory that this process had at once, above what it had at first."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._idle = self._most = self._process.memory_info().rss

    def look(self) -> None:
        """Take the memory of this moment into account."""
        self._most = max(self._most, self._process.memory_info().rss)

    @property
    def mebibytes(self) -> float:
        """Above the idle process."""
        return (self._most - self._idle) / 2**20


@contextlib.contextmanager
def peak_memory() -> Iterator[Peak]:
    """Watch the memory of this process, a hundred times a second."""
    peak, over = Peak(), threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            peak.look()

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield peak
    finally:
        over.set()
        watching.join()
        peak.look()


def write_tiff(folder: Path, side: int) -> Path:
    """Write a picture in tiles, all of them alike, deflated."""
    block = np.random.default_rng(0).integers(0, 255, (BLOCK, BLOCK), np.uint8)
    across = -(-side // BLOCK)
    tifffile.imwrite(
        folder / "large.tif",
        (block for _ in range(across * across)),
        shape=(side, side),
        dtype=np.uint8,
        tile=(BLOCK, BLOCK),
        compression="zlib",
        bigtiff=True,
    )
    return folder / "large.tif"


def write_zarr(folder: Path, side: int) -> Path:
    """Write the same picture as OME-Zarr 0.5, compressed as zarr does by itself, without smaller copies."""
    block = np.random.default_rng(0).integers(0, 255, (BLOCK, BLOCK), np.uint8)
    row = np.tile(block, (1, -(-side // BLOCK)))[:, :side]
    group = zarr.open_group(folder / "large.ome.zarr", mode="w", zarr_format=3)
    array = group.create_array("0", shape=(side, side), chunks=(BLOCK, BLOCK), dtype=np.uint8)
    for top in range(0, side, BLOCK):
        array[top : top + BLOCK] = row[: side - top]
    axes = [{"name": name, "type": "space"} for name in "yx"]
    multiscales = [{"name": "large", "axes": axes, "datasets": [{"path": "0"}]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    return folder / "large.ome.zarr"


WRITERS = {"tiff": write_tiff, "zarr": write_zarr}


def large_picture(folder: Path, form: str, side: int, zoom: float, cancel_after: float) -> list[str]:
    """Draft a tiled picture with weights that are not trained, and cancel a second attempt."""
    picture = WRITERS[form](folder, side)
    settings = ImageSettings(framing="tiles", zoom=zoom)
    session = Session.create(folder / "session", [picture], settings=settings)
    model = session.rounds.folder(1) / MODEL
    model.parent.mkdir(parents=True)
    save_checkpoint(model, SemiGDANet("compact", seed=0), {"settings": settings.to_dict(), "round": 1})
    engine = Engine(session, "cpu")
    engine._drafter.ready_predictor()  # the model is part of the idle process
    engine.request_drafts(session.items)
    with peak_memory() as peak:
        clock, processor = taken(lambda: [_sound(event) for event in events(engine)])
    asked: list[Taken] = []

    def cancel() -> None:
        asked.append((time.perf_counter(), time.process_time()))
        engine.close()

    engine.request_drafts(session.items)
    timer = threading.Timer(cancel_after, cancel)
    timer.start()
    for event in events(engine):
        _sound(event)
    ended = time.perf_counter(), time.process_time()
    waited = [1000 * (now - since) for since, now in zip(*asked, ended, strict=True)] if asked else []
    session.close()
    drafted = f"{clock / 1000:.0f} ({processor / 1000:.0f})"
    size = f"{side} × {side}, {form}"
    answered = f"{waited[0]:.0f} ({waited[1]:.0f})" if waited else "ended before"
    return [size, f"{zoom:g}", f"{peak.mebibytes:.0f}", drafted, answered]


def _sound(event: Event) -> Event:
    if isinstance(event, PredictionFailed):
        raise SystemExit(event.message)
    return event


def table(head: list[str], rows: list[list[str]]) -> None:
    for cells in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(cells)} |", flush=True)


def cell(one: Taken) -> str:
    return f"{one[0]:.1f} ({one[1]:.1f})"


def median(values: list[Taken]) -> Taken:
    return statistics.median(wall for wall, _ in values), statistics.median(own for _, own in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="*", default=[], metavar="N")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="of the round; 0 leaves training and drafts out")
    parser.add_argument("--drafts", type=int, default=20, help="so many tell the rate")
    parser.add_argument("--picture", type=int, metavar="SIDE", help="draft a tiled picture of this size")
    parser.add_argument("--format", nargs="+", choices=WRITERS, default=["tiff"], help="of that picture")
    parser.add_argument("--zoom", type=float, default=0.125)
    parser.add_argument("--cancel-after", type=float, default=3.0, metavar="SECONDS")
    given = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, {os.cpu_count()} cores, torch {torch.__version__}\n")
    columns: list[dict[str, str]] = []
    for count in given.items:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "session"
            many_items(folder, count)
            column = {what: cell(median(all_)) for what, all_ in waits(folder, given.repeats).items()}
            if given.steps:
                memory, step = a_round(folder, given.steps)
                waiting, draft = drafts(folder, given.drafts)
                column["a step of a round"] = cell(step)
                column["memory of the round, MiB"] = f"{memory:.0f}"
                column["a draft in the background"] = cell(draft)
                column["drafts a second"] = f"{1000 / draft[1]:.0f}"
                column["all drafts, minutes of the processor"] = f"{waiting * draft[1] / 60_000:.1f}"
            columns.append(column)
            shutil.rmtree(folder)
    if columns:
        table(
            ["ms (of the processor)", *(f"{count} items" for count in given.items)],
            [[what, *(column[what] for column in columns)] for what in columns[0]],
        )
    if given.picture:
        rows = []
        for form in given.format:  # each in a process of its own: what one leaves behind is not idle
            with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(1, get_context("spawn")) as pool:
                asked = (Path(name), form, given.picture, given.zoom, given.cancel_after)
                rows.append(pool.submit(large_picture, *asked).result())
        head = ["picture", "zoom", "MiB above idle", "s (of the processor)"]
        table([*head, "cancelled after, ms (of the processor)"], rows)


if __name__ == "__main__":
    main()
