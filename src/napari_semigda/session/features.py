"""What the images of a session look like: their features, in memory and in one small file."""

import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.features import are_comparable
from napari_semigda.io.atomic import atomic_file
from napari_semigda.io.files import check_own, opened_tensors, parse_json
from napari_semigda.session.ranking import Floats, nearest

# The file is written again when it lacks this share of what it holds (a few dozen times in all), and at least
# this number.
SAVED_AT_GROWTH, SAVED_TOGETHER = 1 / 8, 32

_DAMAGED = (AttributeError, KeyError, TypeError, ValueError)
_LONGEST = 2**14  # numbers of one image
_MOST = 1e4  # no feature is anywhere near; a half-precision number holds it


class ImageFeatures:
    """The image features of a session, a row for each item. Thread-safe by the session's lock.

    They can be computed again, so a file that is missing, damaged or of other items costs time and
    nothing else. They are kept in half precision: 128 numbers, 256 bytes an item.
    """

    def __init__(self, file: Path, ids: Sequence[str], lock: threading.RLock) -> None:
        self._file = file
        self._lock = lock
        self._rows = {item_id: row for row, item_id in enumerate(ids)}
        self._signature: dict[str, Any] | None = None
        self._vectors: NDArray[np.float16] = np.zeros((len(ids), 0), np.float16)
        self._known = np.zeros(len(ids), bool)
        self._saved = 0
        self._single: Floats | None = None
        self._near: tuple[NDArray[np.bool_], Floats] | None = None
        self._read()

    def __contains__(self, item_id: str) -> bool:
        with self._lock:
            return bool(self._known[self._rows[item_id]])

    def begin(self, signature: dict[str, Any]) -> bool:
        """Forget features of another extractor than the one with this signature; return whether any were."""
        with self._lock:
            forgotten = bool(self._known.any()) and not are_comparable(self._signature, signature)
            if forgotten:
                self.clear()
            self._signature = signature
            return forgotten

    def clear(self) -> None:
        """Forget everything, in the file, too: images are normalized and framed differently from now on."""
        with self._lock:
            self._signature = None
            self._known[:] = False
            self._saved = 0
            self._single = self._near = None
            with suppress(OSError):
                self._file.unlink(missing_ok=True)

    def store(self, item_id: str, features: NDArray[np.floating]) -> None:
        """Remember the features (D,) of an item; now and then all are written to the file.

        A `SemiGDAError` says that the file cannot be written; they are remembered all the same.
        """
        features = np.nan_to_num(np.asarray(features, np.float32), posinf=_MOST, neginf=-_MOST)
        with self._lock:
            if features.shape != self._vectors.shape[1:]:
                self._vectors = np.zeros((len(self._rows), features.size), np.float16)
                self._known[:] = False
                self._saved = 0
            self._vectors[self._rows[item_id]] = features.clip(-_MOST, _MOST)
            self._known[self._rows[item_id]] = True
            self._single = self._near = None
            if self._known.sum() - self._saved >= max(SAVED_TOGETHER, self._saved * SAVED_AT_GROWTH):
                self.save()

    def vectors(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the features (N, D), to be read only, and of which items they are known (N,)."""
        with self._lock:
            if self._single is None:
                self._single = self._vectors.astype(np.float32)
            return self._single, self._known.copy()

    def distance_to(self, seen: NDArray[np.bool_]) -> Floats:
        """Return the squared distance (N,) of each item to the nearest of some (N,); infinite without any.

        Asking again with more items than the last time costs only the new ones.
        """
        with self._lock:
            vectors, known = self.vectors()
            seen = seen & known
            before, near = self._near or (np.zeros_like(seen), np.full(len(seen), np.inf, np.float32))
            if (before & ~seen).any():
                before, near = np.zeros_like(seen), np.full_like(near, np.inf)
            near = np.minimum(near, nearest(vectors, vectors[seen & ~before]))
            self._near = seen, near
            return near

    def save(self) -> None:
        """Write the file if there is anything that it lacks; raises `SemiGDAError`."""
        with self._lock:
            count = int(self._known.sum())
            if count == self._saved or self._signature is None:
                return
            ids = [item_id for item_id, row in self._rows.items() if self._known[row]]
            header = {"signature": json.dumps(self._signature), "ids": json.dumps(ids)}
            with atomic_file(self._file, durable=False) as temporary:
                save_file({"latents": self._vectors[self._known]}, temporary, metadata=header)
            self._saved = count

    def _read(self) -> None:
        with suppress(OSError, SafetensorError, SemiGDAError, *_DAMAGED):
            check_own(self._file, self._file.parents[1])
            with opened_tensors(self._file, "numpy") as content:
                header = content.metadata() or {}
                ids, signature = parse_json(header["ids"]), parse_json(header["signature"])
                count, length = content.get_slice("latents").get_shape()
                if count > len(self._rows) or length > _LONGEST:
                    return
                vectors = np.asarray(content.get_tensor("latents"), np.float16)
            if not isinstance(ids, list) or len(vectors) != len(ids) or not np.isfinite(vectors).all():
                return
            found = [index for index, item_id in enumerate(ids) if item_id in self._rows]
            rows = [self._rows[ids[index]] for index in found]
            self._vectors = np.zeros((len(self._rows), vectors.shape[1]), np.float16)
            self._vectors[rows] = vectors[found]
            self._known[rows] = True
            self._signature, self._saved = signature, len(found)
