"""What becomes of accepted masks when things go wrong: what was done, how often, and what was lost.

    python benchmarks/faults.py --kills 200
    python benchmarks/faults.py --kills 5 --files 2000 --sequences 1000 --disk FOLDER-ON-A-SMALL-DISK

A process works through a session (accepts, paints, trains, drafts, exports) and is killed at random moments.
After each kill the session is opened: every mask whose accept had returned must be there bit by bit, no file
half-written, the last weights must load, and a round that was under way must go on to its end. With `--disk`,
a folder on a file system of some megabytes, masks are accepted when it is full, and again when there is room.
With `--share`, masks are accepted, read and exported so many times on a file system that answers with errors
(`failing_disk.py`). With `--clock`, processes are killed as with `--kills`, but their clock is set back and
forth by up to ten years all the time (by Debian's `faketime`), and so are the times of all files between two
kills. With `--rounds`, so many rounds are started, every other one is stopped, and the memory is measured.
With `--files`, so many picture files are damaged at random and read: each must be a picture or be refused in
words that name it. With `--sequences`, so many random sequences of what an annotator does (`sequences.py`)
are played with a real session and engine, up to the first one that breaks.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from failing_disk import TROUBLES, FailingDisk, why_not
from lesions_and_cells import generate
from napari_semigda.engine.engine import Engine
from napari_semigda.engine.events import Predicted, RoundEnded, RoundFailed, Stepped
from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings, normalize
from napari_semigda.io.masks import read_labels
from napari_semigda.io.pictures import list_planes, read_plane
from napari_semigda.model.checkpoint import load_checkpoint
from napari_semigda.session.export import export_masks
from napari_semigda.session.items import Item, ItemState
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget
from sequences import Desk
from sequences import run as run_sequences

IMAGES, SIZE = 8, 48
STEPS = 12
READY = "ready"
TEN_YEARS = 10 * 365 * 24 * 3600


@dataclass
class Tally:
    """What was done to sessions, and what was wrong afterwards.

    Attributes
    ----------
    times
        How often it was done.
    masks
        Accepted masks that were looked at afterwards, over all times.
    interrupted
        How often what was interrupted by it was under way: accepting, a round, …
    faults
        Whatever was not as it should be, in words.
    """

    what: str
    times: int = 0
    masks: int = 0
    interrupted: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=0, help="how often to kill a working process")
    parser.add_argument("--longest", type=float, default=6.0, help="seconds of work before a kill, at most")
    parser.add_argument("--clock", type=int, default=0, help="how often to kill one whose clock is wrong")
    parser.add_argument("--share", type=int, default=0, help="how often to let the disk answer with errors")
    parser.add_argument("--rounds", type=int, default=0, help="how many rounds to start and stop")
    parser.add_argument("--device", default="cpu", help="device of these rounds")
    parser.add_argument("--files", type=int, default=0, help="how many picture files to damage")
    parser.add_argument("--sequences", type=int, default=0, help="how many sequences of actions to play")
    parser.add_argument("--disk", type=Path, help="a folder on a small disk that may be filled")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if given.work is not None:
        work(given.work, given.seed)
    tallies = []
    if given.kills:
        tallies.append(killed(given.kills, given.longest, given.seed))
    if given.clock:
        tallies.append(killed(given.clock, given.longest, given.seed, WrongClock()))
    if given.share:
        tallies.append(failing_share(given.share, given.seed))
    if given.rounds:
        tallies.append(started_and_stopped(given.rounds, given.device))
    if given.files:
        tallies.append(damaged(given.files, given.seed))
    if given.sequences:
        tallies.append(played(given.sequences, given.seed))
    if given.disk is not None:
        tallies.append(full_disk(given.disk))
    print(table(tallies))
    return int(any(tally.faults for tally in tallies))


def table(tallies: Sequence[Tally]) -> str:
    """A Markdown table, and below it each fault."""
    lines = ["| what was done | times | accepted masks checked | while | faults |", "|---|---|---|---|---|"]
    for tally in tallies:
        during = ", ".join(f"{what} {times}" for what, times in sorted(tally.interrupted.items()))
        lines.append(
            f"| {tally.what} | {tally.times} | {tally.masks} | {during or '—'} | {len(tally.faults)} |"
        )
    faults = [f"- {tally.what}: {fault}" for tally in tallies for fault in tally.faults]
    return "\n".join([*lines, "", *faults]).rstrip()


def new_session(folder: Path) -> Session:
    """A session of a few small pictures."""
    arrays = {
        f"i{number}": (generate(number, "lesion", size=SIZE)[0], (1.0, 1.0), "pixel")
        for number in range(IMAGES)
    }
    return Session.from_arrays(folder, arrays, settings=ImageSettings(working_size=SIZE))


def drawn(number: int) -> NDArray[np.uint8]:
    """A mask that no other number has."""
    return np.random.default_rng(number).integers(0, 2, (SIZE, SIZE)).astype(np.uint8)


def digest(mask: NDArray[np.uint8]) -> str:
    return hashlib.sha256(np.ascontiguousarray(mask)).hexdigest()[:16]


# Killed ----------------------------------------------------------------------------------------------------


class WrongClock:
    """A clock that is set back and forth, for the processes that are given its environment."""

    library = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")

    def __init__(self) -> None:
        if not self.library.exists():
            raise SystemExit(f"{self.library} is not there: apt-get install libfaketime")
        self._time = Path(tempfile.mkdtemp(prefix="semigda-clock-")) / "time"
        self.environment = os.environ | {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self._time),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",  # a computer's does not go back, either
            "NO_FAKE_STAT": "1",
        }
        self.turn(random.Random())

    def turn(self, rng: random.Random) -> None:
        """Set it to another time."""
        ready = self._time.with_suffix(".new")
        ready.write_text(f"{rng.uniform(-TEN_YEARS, TEN_YEARS):+.0f}\n")
        ready.replace(self._time)

    def turn_files(self, folder: Path, rng: random.Random) -> None:
        """Set the times of all files as such a clock would have."""
        for path in folder.rglob("*"):
            if path.is_file():
                os.utime(path, (time.time() + rng.uniform(-TEN_YEARS, TEN_YEARS),) * 2)


def killed(times: int, longest: float, seed: int, clock: WrongClock | None = None) -> Tally:
    """Kill a process at random moments of its work, and look at what it leaves, over and over."""
    tally = Tally("killed while working (SIGKILL)" + (", the clock set back and forth" if clock else ""))
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="semigda-faults-") as home:
        folder = Path(home) / "session"
        new_session(folder).close()
        known: dict[str, str] = {}
        for number in range(times):
            if clock is not None:
                clock.turn_files(folder, rng)
            told = told_until_killed(folder, seed + number, rng.uniform(0.05, longest), clock)
            tally.times += 1
            under_way = what_was_told(told, known)
            tally.interrupted[under_way[0]] = tally.interrupted.get(under_way[0], 0) + 1
            tally.masks += len(known)
            tally.faults += [f"kill {number + 1}: {fault}" for fault in faults_of(folder, known, under_way)]
    return tally


def told_until_killed(folder: Path, seed: int, seconds: float, clock: WrongClock | None = None) -> list[str]:
    """Let a process work for a while, kill it, and return the whole lines it had written."""
    command = [sys.executable, __file__, "--work", str(folder), "--seed", str(seed)]
    environment = None if clock is None else clock.environment
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        if first.strip() != READY:
            process.kill()
            raise SystemExit(f"the working process did not begin: {first}{process.stdout.read()}")
        until = time.monotonic() + seconds  # the random moment itself; nothing is waited for
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
            if clock is not None:
                clock.turn(random.Random())
        process.kill()
        return [line.strip() for line in process.stdout.readlines() if line.endswith("\n")]


def what_was_told(lines: Sequence[str], known: dict[str, str]) -> tuple[str, str, str]:
    """Bring up to date what is accepted; return what was under way last: its kind, item and digest."""
    under_way = ("nothing", "", "")
    for line in lines:
        kind, item_id, content = (*line.split(), "", "")[:3]
        if kind == "accepted":
            known[item_id] = content
        under_way = ("nothing", "", "") if kind in ("accepted", "done") else (kind, item_id, content)
    return under_way


def faults_of(folder: Path, known: dict[str, str], under_way: tuple[str, str, str]) -> Iterator[str]:
    """Look at a session whose process was killed; afterwards its interrupted round has been finished."""
    try:
        session = Session.open(folder)
    except SemiGDAError as error:
        yield f"it does not open: {error}"
        return
    with session:
        if session.read_only is not None:
            yield f"the dead process keeps it: {session.read_only}"
        yield from _lost_masks(session, known, under_way)
        yield from _half_files(folder)
        yield from _lost_rounds(session)


def _lost_masks(session: Session, known: dict[str, str], under_way: tuple[str, str, str]) -> Iterator[str]:
    for item_id, content in known.items():
        labels = session.labels.get(item_id)
        found = "nothing" if labels is None else digest(labels)
        if found == content:
            continue
        if under_way == ("accepting", item_id, found):  # it was not told any more that it is done
            known[item_id] = found
        else:
            yield f"the mask of {item_id} is {found} instead of {content}"
            known.pop(item_id)
            return


def _half_files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*.tif"):
        if not path.name.startswith(".") and "images" not in path.parts:
            try:
                read_labels(path)
            except SemiGDAError as error:
                yield str(error)
    for path in folder.rglob("*.json"):
        if not path.name.startswith("."):
            try:
                json.loads(path.read_bytes())
            except ValueError as error:
                yield f"{path} is no JSON: {error}"


def _lost_rounds(session: Session) -> Iterator[str]:
    model = session.rounds.last_model()
    ended = [record for record in session.rounds if record.status == "complete"]
    if ended and model is None:
        yield "a round was complete, and there are no weights"
    if model is not None:
        try:
            load_checkpoint(model)
        except SemiGDAError as error:
            yield f"the last weights do not load: {error}"
    engine = Engine(session, "cpu")
    if engine.resumable_round() is not None:
        engine.request_round(resume=True)
        last = [event for event in engine.work() if isinstance(event, RoundEnded | RoundFailed)][-1]
        if isinstance(last, RoundFailed) or last.record.status != "complete":
            yield f"the stopped round does not go on to its end: {last}"
    engine.close()


def work(folder: Path, seed: int) -> None:
    """What is killed: accept, paint, train, draft and export without end, telling what begins and is done."""
    rng = random.Random(seed)
    with Session.open(folder) as session:
        engine = Engine(session, "cpu")
        print(READY, flush=True)
        while True:
            rng.choice((accept_many, paint, train, predict, export))(session, engine, rng)


def accept_many(session: Session, engine: Engine, rng: random.Random) -> None:
    for _ in range(rng.randrange(100)):
        accept(session, rng)


def paint(session: Session, engine: Engine, rng: random.Random) -> None:
    tell("painting")
    session.labels.keep_edit(rng.choice(session.items), drawn(rng.randrange(10**6)))
    tell("done")


def train(session: Session, engine: Engine, rng: random.Random) -> None:
    if not session.labels.to_learn_from():
        return
    engine.request_round(budget=Budget(steps=rng.randint(1, STEPS)), seed=rng.randrange(10**6))
    if engine.start_work():
        tell("training")
        for event in engine.work():
            if isinstance(event, Stepped) and rng.random() < 0.2:
                accept(session, rng)
                tell("training")
            elif isinstance(event, RoundEnded | Predicted):
                tell("predicting")
        tell("done")


def predict(session: Session, engine: Engine, rng: random.Random) -> None:
    engine.request_drafts(session.items)
    if engine.start_work():
        tell("predicting")
        for _ in engine.work():
            pass
        tell("done")


def export(session: Session, engine: Engine, rng: random.Random) -> None:
    tell("exporting")
    for _ in range(rng.randrange(20)):
        export_masks(session, session.folder.with_name("export"), include_predicted=True, overwrite=True)
    tell("done")


def accept(session: Session, rng: random.Random) -> None:
    item, mask = rng.choice(session.items), drawn(rng.randrange(10**6))
    tell("accepting", item.id, digest(mask))
    session.accept(item, mask)
    tell("accepted", item.id, digest(mask))


def tell(*words: str) -> None:
    print(*words, flush=True)


# Failing ---------------------------------------------------------------------------------------------------


def failing_share(times: int, seed: int) -> Tally:
    """Let a disk answer with errors while a session is worked on, and then as it should."""
    tally = Tally("disk answers with errors")
    if reason := why_not():
        raise SystemExit(f"There can be no file system in user space here: {reason}.")
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="semigda-faults-") as home, FailingDisk(Path(home)) as disk:
        known: dict[str, str] = {}
        with new_session(disk.folder / "session") as session:
            for number in range(times):
                trouble = rng.choice(list(TROUBLES))
                tally.times += 1
                tally.interrupted[trouble] = tally.interrupted.get(trouble, 0) + 1
                with disk.failing(trouble):
                    faults = list(_wrong_answers(session, rng, known, Path(home) / "export"))
                item, mask = rng.choice(session.items), drawn(rng.randrange(10**6))
                session.accept(item, mask)  # the disk is back
                known[item.id] = digest(mask)
                tally.masks += len(known)
                faults += _lost_masks(session, known, ("nothing", "", ""))
                faults += session.warnings
                tally.faults += [f"{trouble}, time {number + 1}: {fault}" for fault in faults]
        tally.faults += faults_of(disk.folder / "session", known, ("nothing", "", ""))
    return tally


def _wrong_answers(session: Session, rng: random.Random, known: dict[str, str], out: Path) -> Iterator[str]:
    """Do what an annotator does, in any order: whatever the disk refuses must be told in words."""
    item, mask = rng.choice(session.items), drawn(rng.randrange(10**6))
    actions: dict[str, Callable[[], object]] = {
        "accept": lambda: session.accept(item, mask),
        "paint": lambda: session.labels.keep_edit(item, mask),
        "skip": lambda: session.skip(item),
        "show": lambda: (session.picture(item), session.labels.starting_mask(item)),
        "read": lambda: session.labels.get(item),
        "go on": lambda: session.queue(item, count=1),
        "name a class": lambda: session.classes.rename(1, f"class {rng.randrange(10**6)}"),
        "look at the rounds": lambda: session.rounds,
        "export": lambda: export_masks(session, out, include_predicted=True, overwrite=True),
    }
    for name in rng.sample(list(actions), len(actions)):
        try:
            actions[name]()
        except SemiGDAError as error:
            if str(session.folder) not in str(error):
                yield f"{name}: no file is named in “{error}”"
        except Exception as error:  # whatever it is, nobody expected it: that is what is looked for
            yield f"{name}: {type(error).__name__}: {error}"
        else:
            if name == "accept":
                yield "a mask was accepted"
                known[item.id] = digest(mask)


# Started and stopped ---------------------------------------------------------------------------------------


def started_and_stopped(times: int, device: str) -> Tally:
    """Start rounds and stop every other one; the memory held afterwards is that held after the first two."""
    tally = Tally(f"rounds started and stopped ({device})")
    with (
        tempfile.TemporaryDirectory(prefix="semigda-faults-") as home,
        new_session(Path(home) / "session") as session,
    ):
        known = {item.id: digest(drawn(number)) for number, item in enumerate(session.items)}
        for number, item in enumerate(session.items):
            session.accept(item, drawn(number))
        engine = Engine(session, device)
        held = []
        for number in range(times):
            held.append(memory_held(engine))
            for status in _round(engine, stop=number % 2 == 1):
                tally.times += 1
                tally.interrupted[status] = tally.interrupted.get(status, 0) + 1
        held.append(memory_held(engine))
        engine.close()
        told = [f"{held[number] / 2**20:.1f} MiB after {number}" for number in (2, times)]
        print(f"memory held: {', '.join(told)}")
        if held[-1] > 1.1 * held[2]:
            tally.faults.append(f"more memory is held: {told}")
        tally.masks = len(known)
        tally.faults += _lost_masks(session, known, ("nothing", "", ""))
    return tally


def _round(engine: Engine, *, stop: bool) -> Iterator[str]:
    """Let a round run, or stop it at its first step; tell how it ended."""
    engine.request_round(budget=Budget(steps=STEPS))
    if engine.start_work():
        for event in engine.work():
            if stop and isinstance(event, Stepped):
                engine.stop_round()
            elif isinstance(event, RoundEnded | RoundFailed):
                yield "failed" if event.record is None else event.record.status


def memory_held(engine: Engine) -> int:
    """Bytes of the graphics card that are allocated; without one, of all tensors that anything refers to."""
    gc.collect()
    if engine.device.type == "cuda":
        return torch.cuda.memory_allocated()
    tensors = (thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor))
    return sum(tensor.nelement() * tensor.element_size() for tensor in tensors)


# Played ----------------------------------------------------------------------------------------------------


def played(times: int, seed: int) -> Tally:
    """Play sequences of actions, up to the first that breaks."""
    tally = Tally("random sequences of actions", times)
    try:
        run_sequences(times, seed=seed)
    except Exception as error:  # whatever it is, the sequence and what became of it are in its words
        tally.faults.append(f"{error}\n{'; '.join(getattr(error, '__notes__', ()))}")
    tally.masks = Desk.masks_checked
    return tally


# Full ------------------------------------------------------------------------------------------------------


def full_disk(folder: Path) -> Tally:
    """Fill a small disk, accept masks on it, make room, and accept again."""
    tally = Tally("disk full")
    if shutil.disk_usage(folder).total > 64 * 2**20:
        raise SystemExit(f"{folder} is on a disk of more than 64 MiB: filling it would take long and hurt.")
    session = new_session(folder / "session")
    filler = folder / "filler"
    with session:
        for number, item in enumerate(session.items):
            before = drawn(number)
            session.accept(item, before)
            _fill(filler)
            tally.times += 1
            refused = _accept_refused(session, item, drawn(100 + number))
            tally.interrupted["refused" if refused else "saved"] = (
                tally.interrupted.get("refused" if refused else "saved", 0) + 1
            )
            kept = session.labels.get(item)
            wanted = before if refused else drawn(100 + number)
            if kept is None or digest(kept) != digest(wanted):
                tally.faults.append(f"the mask of {item.id} is not what was accepted last")
            filler.unlink()
            session.accept(item, drawn(200 + number))
    with Session.open(folder / "session") as again:
        for number, item in enumerate(again.items):
            tally.masks += 1
            labels = again.labels.get(item)
            if labels is None or digest(labels) != digest(drawn(200 + number)):
                tally.faults.append(f"the mask of {item.id} accepted after there was room is not there")
            if again.state(item) is not ItemState.ACCEPTED:
                tally.faults.append(f"{item.id} is not accepted any more")
    shutil.rmtree(folder / "session")
    return tally


def _fill(path: Path) -> None:
    """Take all the room there is."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        for size in (2**16, 2**9, 1):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * size)


def _accept_refused(session: Session, item: Item, mask: NDArray[np.uint8]) -> bool:
    try:
        session.accept(item, mask)
    except SemiGDAError as error:
        if "could not be written" not in str(error):
            raise
        return True
    return False


# Damaged ---------------------------------------------------------------------------------------------------


def damaged(times: int, seed: int) -> Tally:
    """Damage picture files of many kinds, and read them."""
    tally = Tally("picture file damaged")
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="semigda-faults-") as home:
        sound = list(sound_pictures(Path(home)))
        for number in range(times):
            original = rng.choice(sound)
            path = original.with_name(f"damaged{original.suffix}")
            path.write_bytes(with_damage(original.read_bytes(), rng))
            tally.times += 1
            try:
                outcome = "a picture" if read_everything(path) else "without a plane"
            except SemiGDAError as error:
                outcome = "refused"
                if path.name not in str(error):
                    tally.faults.append(f"{original.name}, damage {number}: not named in “{error}”")
            except Exception as error:  # whatever it is, nobody expected it: that is what is looked for
                outcome = "broken off"
                tally.faults.append(f"{original.name}, damage {number}: {type(error).__name__}: {error}")
            tally.interrupted[outcome] = tally.interrupted.get(outcome, 0) + 1
    return tally


def sound_pictures(folder: Path) -> Iterator[Path]:
    """Write small pictures of every kind that is read."""
    gray = generate(1, "cells", size=SIZE)[0]
    deep = gray.astype(np.uint16) * 200
    color = np.stack([gray, gray // 2, 255 - gray], axis=-1)
    stack = np.stack([deep, deep // 2, deep // 3])
    photographs = {"gray.png": gray, "deep.png": deep, "color.jpg": color, "color.bmp": color}
    for name, pixels in photographs.items():
        Image.fromarray(pixels).save(folder / name)
        yield folder / name
    tiffs: dict[str, dict[str, Any]] = {
        "plain.tif": {},
        "deflated.tif": {"compression": "zlib", "tile": (16, 16)},
        "imagej.tif": {"imagej": True, "metadata": {"axes": "ZYX", "unit": "um"}},
        "stack.ome.tif": {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.5}},
        "big.tif": {"bigtiff": True},
    }
    for name, options in tiffs.items():
        tifffile.imwrite(folder / name, stack if "axes" in options.get("metadata", {}) else deep, **options)
        yield folder / name


def with_damage(content: bytes, rng: random.Random) -> bytes:
    """Cut off, change, double or drop some bytes; half of the time near the beginning, where headers are."""
    damaged_bytes = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        reach = len(damaged_bytes) if rng.random() < 0.5 else min(len(damaged_bytes), 400)
        place = rng.randrange(max(1, reach))
        match rng.randrange(5):
            case 0:
                del damaged_bytes[place:]
            case 1:
                damaged_bytes[place : place + 1] = bytes([rng.randrange(256)])
            case 2:
                damaged_bytes[place : place + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
            case 3:
                damaged_bytes[place:place] = damaged_bytes[place : place + rng.randrange(64)]
            case 4:
                del damaged_bytes[place : place + rng.randrange(64)]
    return bytes(damaged_bytes)


def read_everything(path: Path) -> bool:
    """Read every plane of a file as a session would; False where it holds none."""
    planes = list_planes(path)
    for plane in planes[:5]:
        normalize(read_plane(plane).pixels, ImageSettings())
    return bool(planes)


if __name__ == "__main__":
    sys.exit(main())
