"""What was asked of the engine and is not done yet."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from napari_semigda.session.items import Item
from napari_semigda.training.recipe import Budget, Recipe

Waiting = OrderedDict[str, None]
"""Ids of items in the order in which they are served, each once."""


@dataclass(frozen=True)
class RoundRequest:
    """The round to start; see `Engine.request_round`."""

    recipe: Recipe
    budget: Budget
    fresh: bool
    seed: int
    resume: bool


@dataclass
class Requests:
    """What any thread requests and the working thread takes; `lock` guards what changes together."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    round: RoundRequest | None = None
    stop: bool = False
    paused: bool = False
    closing: bool = False
    dropped: bool = False  # the draft that is being made is no longer wanted
    maps: str | None = None
    urgent: Waiting = field(default_factory=OrderedDict)  # drafts that the user waits for
    refresh: Waiting = field(default_factory=OrderedDict)  # drafts of the next images while a round runs
    background: Waiting = field(default_factory=OrderedDict)  # all other drafts
    features: list[str] = field(default_factory=list)

    def add_drafts(self, items: Iterable[Item]) -> None:
        """Put items at the end of the background drafts, in the order of the newest request."""
        with self.lock:
            for item in items:
                self.background.pop(item.id, None)
                self.background[item.id] = None

    def add_urgent(self, items: Iterable[Item]) -> None:
        """Put items before all other drafts: the user looks at them now."""
        with self.lock:
            for item in reversed(list(items)):
                self.refresh.pop(item.id, None)
                self.urgent[item.id] = None
                self.urgent.move_to_end(item.id, last=False)

    def drop_drafts(self) -> None:
        """Drop all drafts, maps and image features, also the draft that is being made."""
        with self.lock:
            self.dropped = True
            self.maps = None
            self.urgent.clear()
            self.refresh.clear()
            self.background.clear()
            self.features.clear()
