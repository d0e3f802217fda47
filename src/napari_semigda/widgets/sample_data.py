"""File › Open Sample › SemiGDA: sample images with their true masks, as stacks."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.qt.threading import create_worker
from napari.utils.notifications import show_info
from qtpy.QtCore import QCoreApplication, QEventLoop
from skimage.io import imread
from superqt.utils import FunctionWorker

from napari_semigda.downloads import download_folder
from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.samples import sample_pairs
from napari_semigda.samples.nuclei import NUCLEI, Archive, fetch_nuclei
from napari_semigda.widgets.background import Activity
from napari_semigda.widgets.preferences import use_cache_folder

LayerData = tuple[Any, dict[str, Any], str]
Pairs = Sequence[tuple[Path, Path]]


def lesions() -> list[LayerData]:
    """Return sample lesions: a stack of images (N, H, W) uint8 and their masks, as napari layer data."""
    return _stacks("lesions", sample_pairs()[::2])  # the two kinds alternate


def cells() -> list[LayerData]:
    """Return sample cells: a stack of images (N, H, W) uint8 and their masks, as napari layer data."""
    return _stacks("cells", sample_pairs()[1::2])


def nuclei(archive: Archive = NUCLEI) -> list[LayerData]:
    """Return the nuclei of the commonest size as a stack, with their masks, as napari layer data.

    The first time they are downloaded, with progress and *Cancel* in the activity dock. Where they could not
    be, or the person canceled, a `SemiGDAError` is raised, for napari expects layers.
    """
    use_cache_folder()
    folder = download_folder() / "nuclei"
    try:
        pairs = _meanwhile(
            "SemiGDA: downloading nuclei",
            lambda progress, stop: fetch_nuclei(folder, progress, stop, archive),
        )
    except Cancelled as error:
        raise SemiGDAError("Downloading the nuclei was canceled.") from error
    alike = _of_the_commonest_shape(pairs)
    show_info(
        f"{len(alike)} of {len(pairs)} images of nuclei are shown: those of the most common size. For a "
        f"session of all images, press New… in the SemiGDA dock and choose {folder / 'images'}; the masks "
        f"are in {folder / 'masks'}. Image set BBBC038v1, Broad Bioimage Benchmark Collection."
    )
    return _stacks("nuclei", alike)


def _stacks(name: str, pairs: Pairs) -> list[LayerData]:
    images = np.stack([imread(image) for image, _ in pairs])
    masks = np.stack([(imread(mask) > 0).astype(np.uint8) for _, mask in pairs])
    return [(images, {"name": name}, "image"), (masks, {"name": f"{name} masks"}, "labels")]


def _of_the_commonest_shape(pairs: Pairs) -> Pairs:
    shapes = [imread(image).shape for image, _ in pairs]
    ((commonest, _),) = Counter(shapes).most_common(1)
    return [pair for pair, shape in zip(pairs, shapes, strict=True) if shape == commonest]


def _meanwhile(words: str, work: Callable[..., Any]) -> Any:
    """Work in a thread and wait, while the window answers: napari expects a sample as a call's result."""
    if QCoreApplication.instance() is None:
        return work(None, None)
    stop, waiting = threading.Event(), QEventLoop()
    outcome: list[Any] = [Cancelled()]
    bar = Activity(words, waiting.quit)  # at once, even where the network hangs
    worker: Any = create_worker(
        work, bar.report, stop.is_set, _ignore_errors=True, _start_thread=False, _worker_class=FunctionWorker
    )
    for ended in (worker.returned, worker.errored):
        ended.connect(lambda result: outcome.append(result))
    worker.finished.connect(waiting.quit)
    worker.start()
    waiting.exec()
    stop.set()  # if it was canceled, or napari is closing
    bar.close()
    if isinstance(outcome[-1], Exception):
        raise outcome[-1]
    return outcome[-1]
