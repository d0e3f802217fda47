"""What the values of a label map mean, written into the file itself and read back from it.

ImageJ shows it under *Image › Show Info…* and keeps it when it saves the file; in an OME-TIFF it stands in a
map annotation.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import tifffile

from napari_semigda.io.files import check_regular, parse_json
from napari_semigda.io.tags import opened_tiff

NOT_LOOKED_AT = 255
"""The value of pixels that nobody has looked at."""

NAMESPACE = "napari-semigda/legend"
"""Of the map annotation in an OME-TIFF that holds a legend."""

_HEADING = "SemiGDA label map"
_LONGEST = 2**20  # characters; a legend of 253 classes with the longest names takes a thirtieth of it


@dataclass(frozen=True)
class LegendEntry:
    """One class of a label map.

    Parameters
    ----------
    value
        In the label map, from 1.
    name
        What people call it.
    color
        As ``"#rrggbb"``.
    """

    value: int
    name: str
    color: str


@dataclass(frozen=True)
class Legend:
    """What the values of a label map of ours mean, apart from 0, the background.

    Parameters
    ----------
    classes
        As far as they are known.
    objects
        Whether the values number objects; `classes` then says nothing about them.
    """

    classes: tuple[LegendEntry, ...] = ()
    objects: bool = False

    def to_text(self) -> str:
        """Write the legend in a line for people and programs, with nothing but ASCII in it."""
        return f"{_HEADING} {json.dumps(self._to_dict())}"

    def to_map(self) -> dict[str, str]:
        """Write the legend as keys and values for people, the line of `to_text` among them."""
        names = {"0": "background"} | {str(one.value): one.name for one in self.classes}
        if not self.objects:
            names[str(NOT_LOOKED_AT)] = "not looked at"
        return names | {"legend": self.to_text()}

    def _to_dict(self) -> dict[str, Any]:
        classes = [{"value": one.value, "name": one.name, "color": one.color} for one in self.classes]
        if self.objects:
            return {"objects": True, "classes": classes}
        return {"classes": classes, "not_looked_at": NOT_LOOKED_AT}


def read_legend(path: Path | str) -> Legend | None:
    """Read what the values of a label map mean.

    Returns
    -------
    Legend or None
        None for files that are no TIFF, that were written by other programs, or that are damaged.
    """
    try:
        check_regular(Path(path))
        with opened_tiff(Path(path)) as tif:
            return parse_legend(_text(tif))
    except Exception:  # tifffile raises nearly anything, and the pixels tell what is wrong with the file
        return None


def parse_legend(text: str) -> Legend | None:
    """Read what `Legend.to_text` wrote, among what other programs may have added; None if it is not there."""
    line = re.search(rf"^{_HEADING} (\{{.*\}})\s*$", text[:_LONGEST], re.MULTILINE)
    if line is None:
        return None
    try:
        values = parse_json(line[1])
        entries = [_entry(one) for one in values.get("classes", ())]
    except (AttributeError, ValueError, TypeError):
        return None
    return Legend(tuple(one for one in entries if one is not None), objects=bool(values.get("objects")))


def _text(tif: tifffile.TiffFile) -> str:
    if tif.is_ome and tif.ome_metadata:
        annotations = ElementTree.fromstring(tif.ome_metadata).iterfind(".//{*}M")
        return next((one.text or "" for one in annotations if one.get("K") == "legend"), "")
    return str((tif.imagej_metadata or {}).get("Info", ""))


def _entry(values: Any) -> LegendEntry | None:
    """Read one class; None where it is not what we wrote."""
    if not isinstance(values, Mapping):
        return None
    value, name, color = values.get("value"), values.get("name"), values.get("color")
    if not isinstance(value, int) or not isinstance(name, str) or not isinstance(color, str):
        return None
    if not re.fullmatch("#[0-9a-f]{6}", color):
        return None
    return LegendEntry(value, name, color)
