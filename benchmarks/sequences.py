"""Random sequences of what an annotator does, against a simple model of what must come of it.

A real session with its real engine, which works in a thread of its own as in the window: accept, paint, skip,
go on in the queue, train, pause, stop, resume, draft, export, close and open again, in any order. After every
action each accepted mask is there bit by bit, and states and drafts fit together; nothing may raise, and no
thread may fail to come to its end.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from numpy.typing import NDArray

from lesions_and_cells import generate
from napari_semigda.engine.engine import Engine
from napari_semigda.engine.events import Event, PredictionFailed, RoundFailed, RoundNotSaved
from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.io.masks import read_labels
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.export import export_masks
from napari_semigda.session.items import ItemState
from napari_semigda.session.ranking import ORDERS
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Budget

IMAGES, SIZE = 5, 32
PATIENCE = 120.0
"""Seconds after which a thread that has not come to its end is a deadlock; a step takes a fraction of one."""

PLACES = st.integers(0, IMAGES - 1)
MASKS = st.integers(0, 10**6)


def drawn(seed: int) -> NDArray[np.uint8]:
    """A mask that no other seed has, with some pixels that nobody looked at."""
    return np.random.default_rng(seed).choice(
        np.array([0, 1, 255], np.uint8), (SIZE, SIZE), p=[0.6, 0.3, 0.1]
    )


class Desk(RuleBasedStateMachine):
    """An annotator at work, and what they know of it.

    Attributes
    ----------
    accepted : dict of int to array
        By place in the session, what was accepted last.
    edits : dict of int to array
        What was painted since, and not accepted.
    skipped : set of int
        Places of skipped items.
    """

    masks_checked: ClassVar[int] = 0
    """Accepted masks that were looked at when all was over, in all sequences so far."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="semigda-sequences-"))
        self.accepted: dict[int, NDArray[np.uint8]] = {}
        self.edits: dict[int, NDArray[np.uint8]] = {}
        self.skipped: set[int] = set()
        self.happened: list[Event] = []
        self.broken: list[BaseException] = []
        self.thread: threading.Thread | None = None

    @initialize()
    def sit_down(self) -> None:
        arrays = {
            f"i{number}": (generate(number, "lesion", size=SIZE)[0], (1.0, 1.0), "pixel")
            for number in range(IMAGES)
        }
        Session.from_arrays(self.home / "session", arrays, settings=ImageSettings(working_size=SIZE)).close()
        self._open()

    # What the annotator does

    @rule(place=PLACES, mask=MASKS)
    def accept(self, place: int, mask: int) -> None:
        self.session.accept(self.session.items[place], drawn(mask))
        self.accepted[place] = drawn(mask)
        self.edits.pop(place, None)
        self.skipped.discard(place)

    @rule(place=PLACES, mask=MASKS)
    def paint(self, place: int, mask: int) -> None:
        self.session.labels.keep_edit(self.session.items[place], drawn(mask))
        self.edits[place] = drawn(mask)

    @rule(place=PLACES)
    def discard_what_was_painted(self, place: int) -> None:
        self.session.labels.discard_edit(self.session.items[place])
        self.edits.pop(place, None)

    @rule(place=PLACES)
    def skip(self, place: int) -> None:
        self.session.skip(self.session.items[place])
        if place not in self.accepted:
            self.skipped.add(place)

    @rule(place=PLACES)
    def look_at_it_after_all(self, place: int) -> None:
        self.session.labels.unskip(self.session.items[place])
        self.skipped.discard(place)

    @rule(place=PLACES, strategy=st.sampled_from(sorted(ORDERS)))
    def go_on(self, place: int, strategy: str) -> None:
        item = self.session.next_item(self.session.items[place], strategy)  # type: ignore[arg-type]
        if item is not None:
            assert self.session.state(item).waits
            assert self.session.labels.starting_mask(item).shape == (SIZE, SIZE)

    @precondition(lambda self: self.accepted)
    @rule(steps=st.integers(1, 4), fresh=st.booleans(), seed=st.integers(0, 9))
    def train(self, steps: int, fresh: bool, seed: int) -> None:
        if not self.engine.round_is_active:
            with suppress(SemiGDAError):  # all that was accepted may have been skipped since
                self.engine.request_round(budget=Budget(steps=steps), fresh=fresh, seed=seed)
            self._wake()

    @rule()
    def resume(self) -> None:
        if self.engine.resumable_round() is not None and not self.engine.round_is_active:
            with suppress(SemiGDAError):
                self.engine.request_round(resume=True)
            self._wake()

    @rule()
    def pause(self) -> None:
        if self.engine.round_is_active:
            self.engine.pause()

    @rule()
    def unpause(self) -> None:
        self.engine.unpause()
        self._wake()

    @rule()
    def stop(self) -> None:
        self.engine.stop_round()
        self._wake()

    @rule(place=PLACES, urgent=st.booleans())
    def ask_for_a_draft(self, place: int, urgent: bool) -> None:
        if self.engine.has_model:
            self.engine.request_drafts([self.session.items[place]], urgent=urgent)
            self._wake()

    @rule()
    def ask_for_latents(self) -> None:
        self.engine.request_features()
        self._wake()

    @rule(predicted=st.booleans())
    def export(self, predicted: bool) -> None:
        report = export_masks(self.session, self.home / "export", include_predicted=predicted, overwrite=True)
        written = {path.name: path for path in report.written}
        for place, mask in self.accepted.items():
            exported = read_labels(written[f"{self.session.items[place].name}_mask.tif"])
            looked_at = mask != UNKNOWN
            np.testing.assert_array_equal(exported[looked_at], mask[looked_at])
            assert predicted or (exported[~looked_at] == UNKNOWN).all()

    @rule()
    def wait(self) -> None:
        if not (self.engine.round_is_active and self.engine.paused):
            self._wait()

    @rule()
    def close_and_open_again(self) -> None:
        self._close()
        self._open()

    # What must hold

    @invariant()
    def nothing_is_lost(self) -> None:
        for place, item in enumerate(self.session.items):
            labels, edit = self.session.labels.get(item), self.session.labels.edit(item)
            np.testing.assert_equal(labels, self.accepted.get(place))
            np.testing.assert_equal(edit, self.edits.get(place))
            state = self.session.state(item)
            assert (state is ItemState.SKIPPED) == (place in self.skipped)
            assert (state is ItemState.ACCEPTED) == (place in self.accepted)
        assert sum(self.session.counts().values()) == IMAGES

    @invariant()
    def nothing_broke(self) -> None:
        assert not self.broken, self.broken
        troubles = [event for event in self.happened if isinstance(event, RoundNotSaved | PredictionFailed)]
        troubles += [event for event in self.happened if _is_unexpected(event)]
        assert not troubles, troubles

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self._close()
            self._check_the_disk()
        shutil.rmtree(self.home)

    def _check_the_disk(self) -> None:
        with Session.open(self.home / "session") as session:
            for place, mask in self.accepted.items():
                np.testing.assert_array_equal(session.labels.get(session.items[place]), mask)
                Desk.masks_checked += 1
            assert all(record.status != "running" for record in session.rounds)

    # The desk itself

    def _open(self) -> None:
        self.session = Session.open(self.home / "session")
        assert self.session.read_only is None
        self.engine = Engine(self.session, "cpu")

    def _close(self) -> None:
        self.engine.close()
        self._wake()
        self._wait()
        self.session.close()

    def _wake(self) -> None:
        if self.engine.start_work():
            before = self.thread
            self.thread = threading.Thread(target=self._work, args=(self.engine, before), daemon=True)
            self.thread.start()

    def _work(self, engine: Engine, before: threading.Thread | None) -> None:
        try:
            if before is not None:
                before.join(PATIENCE)
            self.happened.extend(engine.work())
        except BaseException as error:
            self.broken.append(error)

    def _wait(self) -> None:
        if self.thread is not None:
            self.thread.join(PATIENCE)
            assert not self.thread.is_alive(), "the engine's thread does not come to its end"


def _is_unexpected(event: Event) -> bool:
    """Whether a round failed for a reason other than that it was closed before it began."""
    return isinstance(event, RoundFailed) and "before it began" not in event.message


def run(count: int, actions: int = 25, seed: int | None = None) -> None:
    """Run so many sequences of up to so many actions; raises what the first broken one came to."""
    run_state_machine_as_test(
        Desk if seed is None else with_seed(seed)(type("Desk", (Desk,), {})),
        settings=settings(
            max_examples=count,
            stateful_step_count=actions,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # a shorter sequence that breaks, too, would take minutes to find
            database=None,
        ),
    )
