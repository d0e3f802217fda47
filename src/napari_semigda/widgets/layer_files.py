"""Files that napari opens and saves with this plugin: sessions, label maps with their classes, probabilities.

Reading a label map imports nothing heavy; a session is opened in the dock.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pint
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.masks import (
    UNLABELED,
    UNLABELED_COLOR,
    Grid,
    Legend,
    LegendEntry,
    color_table,
    parse_legend,
    read_labels,
    read_legend,
    write_imagej,
    write_ome,
)
from napari_semigda.io.pictures import MANIFEST_NAME, Plane, list_planes, read_plane, stack_axes
from napari_semigda.io.units import OTHER_UNIT

PLUGIN, WIDGET = "napari-semigda", "Annotate and train"
LEGEND_KEY = "semigda_legend"
"""Where a layer's metadata holds what its values mean, as `Legend.to_text` writes it."""

LayerData = tuple[Any, dict[str, Any], str]
Reader = Callable[[str], list[Any]]

_STRAY_COLOR = "magenta"

# Reading ------------------------------------------------------------------------------------------------


def session_reader(path: str | Sequence[str]) -> Reader | None:
    """Return what opens a session in the dock, given its `semigda.json`; None for others."""
    is_session = isinstance(path, str) and Path(path).name == MANIFEST_NAME
    return _open_session if is_session else None


def label_reader(path: str | Sequence[str]) -> Reader | None:
    """Return what reads a label map as a Labels layer, with its scale, and classes where it has a legend."""
    return _read_labels if isinstance(path, str) else None


def probability_reader(path: str | Sequence[str]) -> Reader | None:
    """Return what reads exported probabilities as an Image layer for each class."""
    return _read_probabilities if isinstance(path, str) else None


def _open_session(path: str) -> list[Any]:
    viewer = napari.current_viewer()
    if viewer is None:
        raise SemiGDAError("A session opens in napari's window: open one first.")
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    widget.open_session(Path(path))
    return [(None,)]  # what napari takes for "read, and there is nothing to add"


def _read_labels(path: str) -> list[LayerData]:
    file = Path(path)
    planes = list_planes(file)
    labels, placement = _stacked([read_labels(plane) for plane in planes], planes[0])
    meta: dict[str, Any] = {"name": file.name, **placement}
    legend = read_legend(file)
    if legend is not None and not legend.objects:
        meta |= meaning(legend)
    return [(labels, meta, "labels")]


def meaning(legend: Legend) -> dict[str, Any]:
    """Return settings with which a Labels layer shows, names and saves these classes."""
    values = {0: "background"} | {one.value: one.name for one in legend.classes} | {UNLABELED: "unlabeled"}
    colors = {None: _STRAY_COLOR, 0: "transparent", UNLABELED: UNLABELED_COLOR}
    colors |= {one.value: one.color for one in legend.classes}
    return {
        "metadata": {LEGEND_KEY: legend.to_text()},
        "colormap": DirectLabelColormap(color_dict=colors),
        "features": {"index": list(values), "class": list(values.values())},
    }


def _read_probabilities(path: str) -> list[LayerData]:
    file = Path(path)
    plane = list_planes(file)[0]
    pixels = read_plane(plane).pixels
    channels = [pixels] if pixels.ndim == 2 else [pixels[..., number] for number in range(pixels.shape[2])]
    names = [file.name] if len(channels) == 1 else [f"{file.name} {n}" for n in range(1, len(channels) + 1)]
    _, placement = _stacked([channels[0]], plane)
    return [
        (channel, {"name": name, "contrast_limits": (0, 1), **placement}, "image")
        for name, channel in zip(names, channels, strict=True)
    ]


def _stacked(planes: Sequence[NDArray[Any]], first: Plane) -> tuple[NDArray[Any], dict[str, Any]]:
    """Stack planes along the axes of their file; with the scale, units and axes of the layer."""
    axes, lengths, spacing = stack_axes(first.path, first.series)
    if math.prod(lengths) != len(planes):
        axes, lengths = "Z", (len(planes),)
    unit = known_unit(first.unit)
    scale = [spacing if axis == "Z" and spacing else 1.0 for axis in axes]
    units = [unit if axis == "Z" and spacing else "pixel" for axis in axes]
    placement = {
        "scale": (*scale, *first.pixel_size),
        "units": (*units, unit, unit),
        "axis_labels": tuple(f"{axes}YX".lower()),
    }
    return np.stack(planes).reshape(*lengths, *planes[0].shape), placement


def known_unit(unit: str) -> str:
    """Return a unit as napari's pint knows it; else pixels."""
    try:
        return str(pint.get_application_registry().Unit(unit))
    except Exception:  # whatever a file's header holds
        return "pixel"


# Writing ------------------------------------------------------------------------------------------------


def write_label_tiff(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Save a Labels layer, (H, W) to (T, Z, H, W), as TIFF for ImageJ, with scale, unit and class colors."""
    labels, grid, legend = _label_map(path, data, meta, highest=2**16 - 1)
    wide = bool(labels.max(initial=0) > 255)
    write_imagej(
        path,
        labels.reshape(-1, *labels.shape[-2:]),
        grid,
        np.uint16 if wide else np.uint8,
        info="" if legend is None else legend.to_text(),
        colors=None if legend is None or wide else color_table(legend),
    )
    return [path]


def write_label_ome(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Save a Labels layer as OME-TIFF, with scale, unit, and names and colors of the classes."""
    labels, grid, legend = _label_map(path, data, meta, highest=2**32 - 1)
    highest = int(labels.max(initial=0))
    write_ome(
        path,
        labels.reshape(-1, *labels.shape[-2:]),
        grid,
        np.uint8 if highest <= 255 else np.uint16 if highest < 2**16 else np.uint32,
        name=str(meta.get("name", "")),
        legend=legend,
    )
    return [path]


def _label_map(
    path: str, data: Any, meta: Mapping[str, Any], *, highest: int
) -> tuple[NDArray[Any], Grid, Legend | None]:
    labels = np.asarray(data)
    if labels.dtype.kind == "b":
        labels = labels.astype(np.uint8)
    if not 2 <= labels.ndim <= 4 or not labels.size:
        raise SemiGDAError(
            f"“{path}” was not written: labels need two to four dimensions (t, z, y, x), not {labels.ndim}."
        )
    lowest, most = int(labels.min()), int(labels.max())
    if lowest < 0 or most > highest:
        advice = " OME-TIFF can hold them." if 0 <= lowest <= most < 2**32 else ""
        raise SemiGDAError(
            f"“{path}” was not written: the format can hold labels from 0 to {highest}, "
            f"but these are {lowest} to {most}.{advice}"
        )
    return labels, _grid(labels, meta), _legend(meta)


def _grid(labels: NDArray[Any], meta: Mapping[str, Any]) -> Grid:
    scale = [float(size) for size in meta.get("scale", (1,) * labels.ndim)]
    units = [str(unit) for unit in meta.get("units", ("pixel",) * labels.ndim)]
    first = str(meta.get("axis_labels", ("z",))[0]).lower()
    stacked = {2: "", 3: "T" if first in ("t", "time") else "Z", 4: "TZ"}[labels.ndim]
    axes = f"{stacked}YX"
    lengths = dict(zip(axes, map(_in_micrometers, scale, units), strict=True))
    named = all(lengths[axis] is not None for axis in "YX")
    if named:
        sizes, unit = (lengths["Y"], lengths["X"]), "µm"
    else:
        sizes, unit = (scale[-2], scale[-1]), "pixel" if scale[-2:] == [1.0, 1.0] else OTHER_UNIT
    spacing = lengths.get("Z") if named else scale[axes.index("Z")] if "Z" in axes else None
    return Grid(axes, labels.shape, (sizes[0] or 1.0, sizes[1] or 1.0), unit, spacing)


def _in_micrometers(size: float, unit: str) -> float | None:
    """A length in µm; None where the unit is no unit of length."""
    try:
        return float(pint.get_application_registry().Quantity(size, unit).to("micrometer").magnitude)
    except (pint.errors.PintError, TypeError, ValueError):
        return None


def _legend(meta: Mapping[str, Any]) -> Legend | None:
    """What a layer's values mean: by its metadata, or by colors like those of the dock's mask."""
    known = parse_legend(str(meta.get("metadata", {}).get(LEGEND_KEY, "")))
    colormap = meta.get("colormap")
    colors = getattr(colormap, "color_dict", {}) if isinstance(colormap, DirectLabelColormap) else {}
    if known is None and UNLABELED not in colors:
        return None
    names = {one.value: one for one in known.classes} if known is not None else {}
    values = sorted({*names, *(value for value in colors if value and 0 < value < UNLABELED)})
    return Legend(
        tuple(
            LegendEntry(
                value,
                names[value].name if value in names else f"class {value}",
                _hex(colors[value]) if value in colors else names[value].color,
            )
            for value in values
        )
    )


def _hex(color: NDArray[Any]) -> str:
    red, green, blue = (round(255 * float(part)) for part in color[:3])
    return f"#{red:02x}{green:02x}{blue:02x}"
