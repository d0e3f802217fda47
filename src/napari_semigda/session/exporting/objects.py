"""The objects of a label map: connected pixels of one class, numbered."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_EIGHT_NEIGHBORS = np.ones((3, 3), bool)


class Objects(NamedTuple):
    """The objects of one label map.

    Parameters
    ----------
    numbers
        (H, W) int32: 0, and 1 … n for the objects, class by class.
    classes
        The class of each object, in the order of their numbers.
    """

    numbers: NDArray[np.int32]
    classes: list[int]


def number_objects(mask: NDArray[np.uint8], classes: Sequence[int], minimum_size: int = 1) -> Objects:
    """Number the connected parts of each class; pixels that touch at a corner are connected.

    Parameters
    ----------
    mask
        (H, W) label map; values that are not in `classes` belong to no object.
    classes
        Values whose parts are objects.
    minimum_size
        In pixels; smaller parts are no objects.
    """
    numbers = np.zeros(mask.shape, np.int32)
    found: list[int] = []
    for value in classes:
        parts, _ = ndimage.label(mask == value, _EIGHT_NEIGHBORS)
        large = np.bincount(parts.ravel()) >= minimum_size
        large[0] = False
        numbers += np.where(large, len(found) + np.cumsum(large), 0)[parts].astype(np.int32)
        found += [value] * int(large.sum())
    return Objects(numbers, found)
