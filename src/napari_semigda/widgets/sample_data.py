"""File > Open Sample > SemiGDA: bundled pictures, and nuclei that are fetched, with true masks, as stacks."""

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
from napari_semigda.widgets.activity import Activity
from napari_semigda.widgets.preferences import heed_cache_folder

LayerData = tuple[Any, dict[str, Any], str]
Pairs = Sequence[tuple[Path, Path]]


def lesions() -> list[LayerData]:
    """Drawn lesions: a stack of pictures (N, H, W) uint8 and their masks, as napari layer data."""
    return _stacks("lesions", sample_pairs()[::2])  # the two kinds alternate


def cells() -> list[LayerData]:
    """Drawn cells: a stack of pictures (N, H, W) uint8 and their masks, as napari layer data."""
    return _stacks("cells", sample_pairs()[1::2])


def nuclei(archive: Archive = NUCLEI) -> list[LayerData]:
    """Nuclei under microscopes: those of the commonest size as a stack, with masks, as napari layer data.

    The first time they are fetched, with progress and *Cancel* in the activity dock; napari stays usable.

    Parameters
    ----------
    archive
        Where they come from.

    Raises
    ------
    SemiGDAError
        If they cannot be had, or the person cancelled: napari needs layers, or a reason why there are none.
    """
    heed_cache_folder()
    folder = download_folder() / "nuclei"
    try:
        pairs = _meanwhile(
            "SemiGDA: fetching nuclei", lambda progress, stop: fetch_nuclei(folder, progress, stop, archive)
        )
    except Cancelled as error:
        raise SemiGDAError("Fetching the nuclei was cancelled, and nothing is left of it.") from error
    alike = _of_the_commonest_shape(pairs)
    show_info(
        f"{len(alike)} of {len(pairs)} images of nuclei are shown, all those of one size. For a session "
        f"of all of them, press New… in the SemiGDA dock and choose {folder / 'images'}; their masks are in "
        f"{folder / 'masks'}. Image set BBBC038v1, Broad Bioimage Benchmark Collection."
    )
    return _stacks("nuclei", alike)


def _stacks(name: str, pairs: Pairs) -> list[LayerData]:
    pictures = np.stack([imread(picture) for picture, _ in pairs])
    masks = np.stack([(imread(mask) > 0).astype(np.uint8) for _, mask in pairs])
    return [(pictures, {"name": name}, "image"), (masks, {"name": f"{name} masks"}, "labels")]


def _of_the_commonest_shape(pairs: Pairs) -> Pairs:
    shapes = [imread(picture).shape for picture, _ in pairs]
    ((commonest, _),) = Counter(shapes).most_common(1)
    return [pair for pair, shape in zip(pairs, shapes, strict=True) if shape == commonest]


def _meanwhile(words: str, work: Callable[..., Any]) -> Any:
    """Do long work behind the scenes and wait for it, while the window goes on answering.

    napari wants a sample's layers as the result of a call. Without a window it is done at once.
    """
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
    stop.set()  # if it was cancelled, or napari is closing
    bar.close()
    if isinstance(outcome[-1], Exception):
        raise outcome[-1]
    return outcome[-1]
