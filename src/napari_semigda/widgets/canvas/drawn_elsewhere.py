"""What the user drew in a layer of their own, where it was meant for the mask."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer, Points, Shapes
from numpy.typing import NDArray
from scipy import ndimage

from napari_semigda.model.annotation import UNKNOWN

DRAWABLE = (Labels, Points, Shapes)
LARGEST = 2**28  # bytes of a Labels layer that is copied, to see what is drawn in it


class DrawnElsewhere:
    """Compares labels, shapes and points of other layers with those there when an image appeared."""

    def __init__(self, viewer: ViewerModel, is_ours: Callable[[Layer], bool]) -> None:
        self._viewer = viewer
        self._is_ours = is_ours
        self._before: dict[Any, Any] = {}
        self._mask: Labels | None = None
        viewer.layers.events.inserted.connect(self._on_inserted)

    def close(self) -> None:
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)

    def begin(self, mask: Labels | None) -> None:
        """Compare with what is drawn now, for this mask."""
        self._mask = mask
        self._before = {layer.unique_id: _content(layer) for layer in self._drawable()}

    def ignore(self) -> None:
        """Ignore what was drawn so far."""
        self.begin(self._mask)

    def find(self) -> Layer | None:
        """Return the uppermost layer in which something was drawn since; None without."""
        return next((layer for layer in reversed(self._drawable()) if self._is_drawn(layer)), None)

    def take(self, value: int, values: Collection[int]) -> NDArray[np.uint8] | None:
        """Return the mask with what was drawn in that layer, (H, W), and hide the layer; None without."""
        layer, mask = self.find(), self._mask
        if layer is None or mask is None:
            return None
        combined = np.array(mask.data)
        before = self._before.get(layer.unique_id)
        if isinstance(layer, Labels):
            labels, drawn = self._in_pixels_of(mask, layer, before)
            known = np.isin(labels, (0, UNKNOWN, *values))
            combined[drawn] = np.where(known, labels, value)[drawn]
        else:
            combined[_shapes_inside(mask, layer, before or [])] = value
        layer.visible = False
        self._before[layer.unique_id] = _content(layer)
        return combined

    def _drawable(self) -> list[Layer]:
        return [one for one in self._viewer.layers if isinstance(one, DRAWABLE) and not self._is_ours(one)]

    def _on_inserted(self, event: Any) -> None:
        """Compare a copy of the mask with the mask: also what is erased in it counts."""
        layer, mask = event.value, self._mask
        if mask is not None and isinstance(layer, Labels) and not self._is_ours(layer):
            with suppress(TypeError, ValueError):  # labels that are computed when they are shown
                if np.array_equal(layer.data, mask.data):
                    self._before[layer.unique_id] = _content(layer)

    def _is_drawn(self, layer: Layer) -> bool:
        before = self._before.get(layer.unique_id)
        if not isinstance(layer, Labels):
            return any(one not in (before or []) for one in _content(layer))
        if not _is_copied(layer):
            return False
        return bool(layer.data.any() if before is None else not np.array_equal(layer.data, before))

    def _in_pixels_of(
        self, mask: Labels, layer: Labels, before: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A layer's labels in the mask's pixels, and where they were drawn."""
        drawn = layer.data != (0 if before is None or before.shape != layer.data.shape else before)
        plane, drawn = (_plane(self._viewer, layer, data) for data in (layer.data, drawn))
        points = [_through(mask, layer, point) for point in ((0, 0), (1, 0), (0, 1))]
        matrix = np.transpose([points[1] - points[0], points[2] - points[0]])
        is_aligned = np.allclose(matrix, np.eye(2)) and np.allclose(points[0], 0)
        if is_aligned and plane.shape == mask.data.shape:
            return plane, drawn

        def moved(data: NDArray[Any]) -> NDArray[Any]:
            found: NDArray[Any] = ndimage.affine_transform(
                data, matrix, points[0], output_shape=mask.data.shape, order=0, cval=0
            )
            return found

        return moved(plane), moved(drawn.astype(np.uint8)).astype(bool)


def _is_copied(layer: Labels) -> bool:
    return isinstance(layer.data, np.ndarray) and layer.data.nbytes <= LARGEST


def _content(layer: Layer) -> Any:
    """What is drawn in a layer; of shapes and points as bytes, for `in`."""
    if isinstance(layer, Labels):
        return layer.data.copy() if _is_copied(layer) else None
    return [np.asarray(drawn).tobytes() for drawn in layer.data]


def _plane(viewer: ViewerModel, layer: Labels, data: NDArray[Any]) -> NDArray[Any]:
    """The plane of a layer's data that is on screen."""
    if data.ndim == 2:
        return data
    index = np.round(layer.world_to_data(viewer.dims.point[-layer.ndim :])).astype(int)
    plane: NDArray[Any] = data[tuple(np.clip(index[:-2], 0, np.array(data.shape[:-2]) - 1))]
    return plane


def _through(source: Layer, target: Layer, point: Any) -> NDArray[np.float64]:
    """Where a point of one layer is in another, in the last two axes of both."""
    world = np.zeros(max(source.ndim, target.ndim))
    world[-2:] = source.data_to_world((*(0.0,) * (source.ndim - 2), *point))[-2:]
    return np.asarray(target.world_to_data(world[-target.ndim :]))[-2:]


def _shapes_inside(mask: Labels, layer: Layer, before: list[bytes]) -> NDArray[np.bool_]:
    """The mask's pixels inside of shapes, or under points, that were not there before."""
    new = [index for index, content in enumerate(_content(layer)) if content not in before]
    if isinstance(layer, Points):
        corners = [_around(np.asarray(layer.data[one])[-2:], float(layer.size[one])) for one in new]
        kinds = ["ellipse"] * len(new)
    else:
        corners = [np.asarray(layer.data[one])[:, -2:] for one in new]
        kinds = [layer.shape_type[one] for one in new]
    moved = [np.array([_through(layer, mask, corner) for corner in shape]) for shape in corners]
    inside: NDArray[np.bool_] = Shapes(moved, shape_type=kinds).to_masks(mask.data.shape).any(axis=0)
    return inside


def _around(point: NDArray[Any], size: float) -> NDArray[Any]:
    """The corners of the square around a point."""
    return point + np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * size / 2
