"""Opening a TIFF of unknown origin: its tags fit into memory, and its pages come to an end."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tifffile

from napari_semigda.errors import SemiGDAError

MOST_PLANES = 100_000
"""A file that says it holds more planes than this is taken for a broken one."""

_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_TAGS, _MOST_OF_A_TAG = 4096, 2**26
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 11: 4, 13: 4}  # bytes; of other kinds of values 8
_SUBIFDS = 330


def is_tiff(path: Path) -> bool:
    """Whether a file begins as TIFFs do."""
    with path.open("rb") as file:
        return file.read(4) in _STARTS


@contextmanager
def opened_tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF whose pages come to an end, and whose tags fit into memory."""
    _check_tags(path)
    with tifffile.TiffFile(path) as tif:
        # Counting follows the chain of pages to its end and notices where a damaged one bites its own tail;
        # looking for series without it would never end then.
        if len(tif.pages) > MOST_PLANES:
            raise SemiGDAError(f"“{path}” says that it holds {len(tif.pages)} pages; it seems damaged.")
        yield tif


def _check_tags(path: Path) -> None:
    """Refuse a file with a tag that tifffile would read into memory, however many values it claims.

    A file may be as large as it likes and take no room on the disk.
    """
    with path.open("rb") as file:
        head = file.read(16)
        order, is_big = "<" if head[:2] == b"II" else ">", b"+" in head[2:4]
        count, tag, link = ("Q", "HHQQ", "Q") if is_big else ("H", "HHII", "I")
        sizes = {name: struct.calcsize(order + name) for name in (count, tag, link)}
        waiting = [struct.unpack_from(order + link, head, 8 if is_big else 4)[0]]
        seen: set[int] = set()
        while waiting and len(seen) <= MOST_PLANES:
            place = waiting.pop()
            if place in seen or place < 8:
                continue
            seen.add(place)
            file.seek(place)
            start = file.read(sizes[count])
            number = struct.unpack(order + count, start)[0] if len(start) == sizes[count] else _MOST_TAGS + 1
            if number > _MOST_TAGS:
                continue
            directory = file.read(number * sizes[tag] + sizes[link])
            if len(directory) < number * sizes[tag] + sizes[link]:
                continue
            waiting.append(struct.unpack_from(order + link, directory, number * sizes[tag])[0])
            for code, kind, values, value in struct.iter_unpack(
                order + tag, directory[: number * sizes[tag]]
            ):
                if code in tifffile.TIFF.TAG_LOAD and values * _SIZES.get(kind, 8) > _MOST_OF_A_TAG:
                    raise SemiGDAError(
                        f"“{path}” claims {values} values for its tag {code}; it seems damaged. "
                        "Bring back a sound copy of it."
                    )
                if code == _SUBIFDS and values == 1:
                    waiting.append(value)
