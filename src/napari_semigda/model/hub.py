"""Download weights from the model hub, into its cache or a chosen folder, with progress and cancel."""

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_semigda.downloads import chosen_folder
from napari_semigda.errors import Cancelled, SemiGDAError

_LOOK_AGAIN_SECONDS = 0.1


def fetch(
    repository: str,
    files: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Path:
    """Return a local folder with some files of a repository, downloading those that are not cached.

    The download runs in its own thread, so that `cancelled`, asked ten times a second, is answered at once
    even where the network hangs; the thread ends at the next piece of data. `progress` gets, in this thread,
    bytes done and bytes in all of the file being downloaded. Raises a `SemiGDAError` that says what to put
    where instead, or `Cancelled`.
    """
    folder = _cached(repository, files)
    if folder is not None:
        return folder
    download = _Download(repository, files)
    try:
        return download.wait(progress, cancelled)
    except Cancelled:
        raise
    except Exception as error:  # the hub's library raises some twenty kinds, by version
        raise SemiGDAError(_what_to_do(repository, files, error)) from error


class _Download:
    """A download in its own thread."""

    def __init__(self, repository: str, files: Sequence[str]) -> None:
        self._repository = repository
        self._files = files
        self._cancelled = threading.Event()
        self._bars: list[Any] = []
        self._outcome: queue.Queue[Path | BaseException] = queue.Queue()
        threading.Thread(target=self._run, name="weights download", daemon=True).start()

    def wait(self, progress: Callable[[int, int], None] | None, cancelled: Callable[[], bool] | None) -> Path:
        outcome: Path | BaseException | None = None
        while outcome is None:
            if cancelled is not None and cancelled():
                self._cancelled.set()
                raise Cancelled
            with suppress(queue.Empty):
                outcome = self._outcome.get(timeout=_LOOK_AGAIN_SECONDS)
            if progress is not None:
                progress(*self._so_far())
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _run(self) -> None:
        try:
            from huggingface_hub import hf_hub_download

            bar = _silent_bar(self._bars, self._cancelled)
            for file in reversed(self._files):  # the weights first: progress is that of the largest file
                path = hf_hub_download(self._repository, file, cache_dir=_cache(), tqdm_class=bar)
            self._outcome.put(Path(path).parent)
        except BaseException as error:  # handed to the thread that waits
            self._outcome.put(error)

    def _so_far(self) -> tuple[int, int]:
        """Bytes done and in all, of the largest file: some transfers show one file as two bars."""
        return max(
            ((bar.done, bar.size) for bar in list(self._bars)), key=lambda pair: pair[::-1], default=(0, 0)
        )


def _silent_bar(bars: list[Any], cancelled: threading.Event) -> type:
    """Return a progress bar for the hub's library that shows nothing, counts, and stops when asked."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class SilentBar(tqdm):
        def __init__(self, *_: object, total: float | None = None, initial: float = 0, **__: object) -> None:
            super().__init__(disable=True)
            self.size, self.done = int(total or 0), int(initial)
            bars.append(self)

        def update(self, n: float | None = 1) -> None:
            if cancelled.is_set():
                raise Cancelled
            self.done += int(n or 0)

    return SilentBar


def _cache() -> Path | None:
    """The chosen folder; None for the hub's own cache, shared with other programs."""
    folder = chosen_folder()
    return None if folder is None else folder / "hub"


def _cached(repository: str, files: Sequence[str]) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    paths = [try_to_load_from_cache(repository, file, _cache()) for file in files]
    found = [Path(path) for path in paths if isinstance(path, str)]
    return found[0].parent if len(found) == len(files) else None


def _what_to_do(repository: str, files: Sequence[str], error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return (
        f"The weights “{repository}” could not be downloaded ({reason}). Check the network and try again. "
        f"Or download {' and '.join(files)} from https://huggingface.co/{repository} on another machine, "
        f"put them in one folder, and choose that folder as the autoencoder's weights."
    )
