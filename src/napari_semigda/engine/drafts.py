"""Makes drafts, the maps behind them, and image features."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import cast

from napari_semigda.engine import events
from napari_semigda.engine.events import Event
from napari_semigda.engine.models import Models
from napari_semigda.engine.requests import Requests, Waiting
from napari_semigda.errors import Cancelled, user_message
from napari_semigda.inference.features import FeatureExtractor
from napari_semigda.inference.predictor import Network, Predictor, draft_maps
from napari_semigda.inference.preparation import Pixels
from napari_semigda.pace import Pace
from napari_semigda.session.items import Item
from napari_semigda.session.ranking import spread_order
from napari_semigda.session.session import Session

logger = logging.getLogger(__name__)


@dataclass
class Drafter:
    """Owns the network that predicts; only `progress` and `request_features` are for any thread."""

    session: Session
    models: Models
    requests: Requests
    report: Callable[[events.Drafting], None]
    clock: Callable[[], float]
    predictor: Predictor | None = None  # None: that of the last saved weights, when next needed
    round: int = 0  # whose weights the predictor has; 0: imported
    extractor: FeatureExtractor | None = None
    done: float = 0.0  # drafts, and part of one, since nothing was left to do
    failed: set[str] = field(default_factory=set)  # images without features

    def __post_init__(self) -> None:
        self.pace = Pace(self.clock)

    @property
    def has_model(self) -> bool:
        """Whether there are weights to predict with."""
        return self.predictor is not None or self.session.rounds.last_model() is not None

    @property
    def progress(self) -> events.DraftProgress:
        """How many of the requested drafts are made."""
        requests = self.requests
        with requests.lock:
            waiting = len(requests.urgent) + len(requests.refresh) + len(requests.background)
            total = math.ceil(self.done) + waiting
            return events.DraftProgress(self.done, total, self.pace.remaining(total))

    def restart_progress(self) -> None:
        """Count drafts from 0 again."""
        with self.requests.lock:
            self.done = 0.0
            self.pace.begin()

    def use(self, predictor: Predictor | None, number: int = 0) -> None:
        """Draft with the weights of a round from now on; None: with those saved last."""
        self.predictor, self.round = predictor, number

    def ready_predictor(self) -> Predictor:
        """Return the predictor, with the classes and the one-object setting of the session as it is now."""
        if self.predictor is None:
            self.predictor, self.round = self.models.last_predictor()
        known = range(1, cast(Network, self.predictor.model).classes)
        values = {info.value for info in self.session.classes}
        self.predictor.removed = tuple(value for value in known if value not in values)
        self.predictor.one_object = self.session.one_object
        return self.predictor

    def draft(self, waiting: Waiting, unless: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Make the first of these drafts, or drop it as soon as ``unless`` returns True."""
        requests = self.requests
        with requests.lock:
            if not waiting:
                return
            item = self.session.item(waiting.popitem(last=False)[0])
            requests.dropped = False
        try:
            predictor = self.ready_predictor()
        except Cancelled:
            return
        except Exception as error:
            requests.drop_drafts()  # without weights the others would only fail one by one
            yield events.PredictionFailed(item, user_message(error))
            return
        with ExitStack() as opened:
            try:
                pixels = opened.enter_context(self.session.images.open(item))
                draft = predictor.draft(
                    pixels,
                    progress=lambda done, total: self._report_share(item, done / total),
                    cancelled=lambda: requests.closing or requests.dropped or unless(),
                )
                info = self.session.drafts.store(item, draft, self.round)
            except Cancelled:
                self.restart_progress()
                return
            except Exception as error:
                self._reach(math.floor(self.done) + 1)
                yield events.PredictionFailed(item, user_message(error))
                return
            self._reach(math.floor(self.done) + 1)
            yield events.Predicted(item, info)
            if self._lacks_features(item):  # the image and the autoencoder are at hand
                with self._going_without(item):
                    self._extract(item, pixels)

    def maps(self) -> Iterable[Event]:
        """Make the maps that were requested last."""
        with self.requests.lock:
            wanted, self.requests.maps = self.requests.maps, None
        if wanted is None:
            return ()
        item = self.session.item(wanted)
        try:
            predictor, classes = self.ready_predictor(), {info.value for info in self.session.classes}
            with self.session.images.open(item) as pixels:
                maps = draft_maps(predictor, pixels, classes, cancelled=lambda: self.requests.closing)
        except Cancelled:
            return ()
        except Exception as error:
            return (events.MappingFailed(item, user_message(error)),)
        return (events.Mapped(item, maps),)

    def serve_waiting_user(self) -> Iterator[Event]:
        """Make the drafts and maps that the user waits for."""
        while self.requests.urgent and not self.requests.closing:
            yield from self.draft(self.requests.urgent)
        if self.requests.maps is not None and not self.requests.closing:
            yield from self.maps()

    def request_features(self) -> None:
        """Request the features of all images that lack them; see `Engine.request_features`."""
        if self.session.read_only is None and (self.models.at_hand or self.has_model):
            with self.requests.lock:
                self.requests.features = self._items_without_features()

    def features_come_first(self) -> bool:
        """Return whether features are next; those of images to be drafted come with their drafts."""
        requests = self.requests
        return bool(requests.features) and not (
            requests.background and self.has_model and self.session.state(requests.features[0]).waits
        )

    def extract_next(self) -> Iterable[Event]:
        """Extract the features of the next image."""
        with self.requests.lock:
            if not self.requests.features:
                return ()
            item = self.session.item(self.requests.features.pop(0))
            last = not self.requests.features
        with self._going_without(item):
            if item.id not in self.session.features:
                with self.session.images.open(item) as pixels:
                    self._extract(item, pixels)
            if last:
                self.extractor = None
                self.session.features.save()
        return ()

    def _items_without_features(self) -> list[str]:
        """Return accepted and skipped items, then the others, each spread evenly over the list."""
        items, states = self.session.items, self.session.states()
        order = sorted(spread_order(len(items)), key=lambda index: states[index].waits)
        return [items[index].id for index in order if self._lacks_features(items[index])]

    def _lacks_features(self, item: Item) -> bool:
        return item.id not in self.session.features and item.id not in self.failed

    def _extract(self, item: Item, pixels: Pixels) -> None:
        if self.extractor is None:
            self.extractor = self.models.feature_extractor(self.predictor)
            if self.session.features.begin(self.extractor.signature()):
                self.request_features()
        features = self.extractor.extract(pixels, cancelled=lambda: self.requests.closing)
        self.session.features.store(item.id, features)

    @contextmanager
    def _going_without(self, item: Item) -> Iterator[None]:
        """Record images without features; an unreadable image is reported where it is shown or trained on."""
        try:
            yield
        except Cancelled:
            pass
        except Exception as error:
            logger.info("No features of %s: %s", item.name, error)
            self.failed.add(item.id)
            if self.extractor is None:  # there is no autoencoder: the others would only fail one by one
                with self.requests.lock:
                    self.requests.features.clear()

    def _report_share(self, item: Item, share: float) -> None:
        if share < 1:
            self._reach(math.floor(self.done) + share)
            self.report(events.Drafting(item, share))

    def _reach(self, count: float) -> None:
        with self.requests.lock:
            self.done = count
            self.pace.reach(count)
