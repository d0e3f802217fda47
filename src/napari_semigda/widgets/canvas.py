"""The canvas of `annotation.Canvas` as layers of a napari viewer."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pint
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from napari.utils.notifications import show_info
from numpy.typing import NDArray
from psygnal import Signal

from napari_semigda.io.pictures import Picture
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.classes import ClassInfo
from napari_semigda.widgets.notices import errors_shown

UNKNOWN_COLOUR = (0.5, 0.5, 0.5, 0.75)
STRAY_COLOUR = "magenta"  # a label that is no class: to be seen, for such a mask is not accepted
COLOURS_OF_CHANNELS = ("green", "magenta", "cyan", "yellow", "red", "blue")
OPACITY = 0.5
MANNER = ("brush_size", "opacity", "contour", "mode")  # of a layer that has to go, given to the next one
BRUSH_SHARE = 24  # a new brush is the image's short side divided by this


class NapariCanvas:
    """One picture and one mask as layers of a viewer, which stay from picture to picture.

    Adding and removing layers takes napari half a second, so the layers are filled anew, and how the person
    likes to see and paint stays as it is. napari's undo history is cleared with each filling: undo cannot
    bring back another image's pixels.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer; layers that are not of this canvas are left alone.
    """

    painted = Signal()
    mask_removed = Signal()
    label_picked = Signal(int)

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._pictures: list[Layer] = []
        self._mask: Labels | None = None
        self._classes: Sequence[ClassInfo] = ()
        self._manner: dict[str, Any] = {}
        self._picked = 1
        self._extent: tuple[float, float] | None = None
        self._filling = False
        viewer.layers.events.removed.connect(self._on_removed)

    def close(self) -> None:
        """Take the layers away and listen no longer."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self.clear()

    @property
    def selected_label(self) -> int:
        """The label the brush paints."""
        return self._picked

    @selected_label.setter
    def selected_label(self, value: int) -> None:
        self._picked = value
        if self._mask is not None:
            self._mask.selected_label = value

    def show_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Paint labels in the colours of these classes, from now on."""
        self._classes = classes
        if self._mask is not None:
            self._mask.colormap = self._colormap()

    def show(self, picture: Picture, mask: NDArray[np.uint8], name: str) -> None:
        """Show a picture and its mask in place of the ones before.

        Parameters
        ----------
        picture : Picture
            Pixels (H, W) or (H, W, C), with pixel size and unit.
        mask : ndarray
            (H, W), uint8, label values; copied.
        name : str
            Name of the picture's layer.
        """
        place = {"scale": picture.pixel_size, "units": _units(picture)}
        self._show_channels(_channels(picture.pixels), name, place)
        self._show_mask(mask, f"{name} mask", place)
        self._fit_view((mask.shape[0] * picture.pixel_size[0], mask.shape[1] * picture.pixel_size[1]))

    def replace_mask(self, mask: NDArray[np.uint8]) -> None:
        """Show another mask of the picture on screen; undo does not lead back to the one before."""
        if self._mask is not None:
            self._fill_mask(self._mask, mask)

    def edit_mask(self, mask: NDArray[np.uint8]) -> None:
        """Change the mask's pixels as one step in napari's undo history."""
        if self._mask is not None:
            different = np.nonzero(self._mask.data != mask)
            self._mask.data_setitem(different, mask[different])

    def mask(self) -> NDArray[np.uint8] | None:
        """The mask as it stands, (H, W); None where its layer is gone."""
        return None if self._mask is None else np.asarray(self._mask.data)

    def clear(self) -> None:
        """Take the layers of this canvas away."""
        # The mask goes first: napari 0.9 draws the brush of a mask that went after its picture, and crashes.
        outgoing = [*([] if self._mask is None else [self._mask]), *self._pictures]
        if self._mask is not None:
            self._manner = {name: getattr(self._mask, name) for name in MANNER}
        self._pictures, self._mask = [], None
        for layer in outgoing:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    # Layers ------------------------------------------------------------------------------------

    def _show_channels(self, channels: list[NDArray], name: str, place: dict[str, Any]) -> None:
        """Fill one image layer a channel, or make new ones where the old ones do not fit."""
        fitting = [layer.data.ndim for layer in self._pictures] == [channel.ndim for channel in channels]
        if not fitting:
            if self._pictures:
                self.clear()
            self._pictures = self._new_pictures(channels)
        for number, (layer, channel) in enumerate(zip(self._pictures, channels, strict=True)):
            if fitting:
                _fill_picture(layer, channel)
            _put(layer, place, name if number == 0 else f"{name} channel {number + 1}")

    def _new_pictures(self, channels: list[NDArray]) -> list[Layer]:
        layers = [self._viewer.add_image(channel, rgb=channel.ndim == 3) for channel in channels]
        if len(layers) > 1:
            for number, layer in enumerate(layers):
                layer.colormap = COLOURS_OF_CHANNELS[number % len(COLOURS_OF_CHANNELS)]
                layer.blending = "additive" if number else layer.blending
        if self._mask is not None:
            self._viewer.layers.move(self._viewer.layers.index(self._mask), len(self._viewer.layers))
        return layers

    def _show_mask(self, mask: NDArray[np.uint8], name: str, place: dict[str, Any]) -> None:
        if self._mask is None:
            self._mask = self._new_mask(mask)
        else:
            self._fill_mask(self._mask, mask)
        _put(self._mask, place, name)
        self._viewer.layers.selection.active = self._mask

    def _new_mask(self, mask: NDArray[np.uint8]) -> Labels:
        layer = self._viewer.add_labels(mask.copy(), colormap=self._colormap())
        manner = {"brush_size": max(4, min(mask.shape) // BRUSH_SHARE), "opacity": OPACITY, "mode": "paint"}
        for name, value in (manner | self._manner).items():
            setattr(layer, name, value)
        layer.selected_label = self._picked
        layer.events.paint.connect(self._on_painted)
        layer.events.set_data.connect(self._on_painted)  # undo and redo emit only this one
        layer.events.selected_label.connect(self._on_label_picked)
        return layer

    def _fill_mask(self, layer: Labels, mask: NDArray[np.uint8]) -> None:
        """Give the layer another mask, and a new undo history."""
        self._filling = True
        try:
            mode = layer.mode
            _drop_polygon(layer)
            layer.editable = False  # this is what clears the history
            layer.data = mask.copy()
            layer.editable = True
            layer.mode = mode
        finally:
            self._filling = False

    def _fit_view(self, extent: tuple[float, float]) -> None:
        if extent != self._extent:
            self._extent = extent
            self._viewer.reset_view()

    def _colormap(self) -> DirectLabelColormap:
        colours = {None: STRAY_COLOUR, 0: "transparent", UNKNOWN: UNKNOWN_COLOUR}
        return DirectLabelColormap(color_dict=colours | {one.value: one.color for one in self._classes})

    # Events ------------------------------------------------------------------------------------

    def _on_painted(self) -> None:
        if not self._filling:
            with errors_shown():
                self.painted.emit()

    def _on_label_picked(self) -> None:
        """Tell which class was picked in napari's own controls; a label that is no class is not picked."""
        assert self._mask is not None
        label = int(self._mask.selected_label)
        if label == self._picked:
            return
        if self._classes and label not in (0, UNKNOWN, *(one.value for one in self._classes)):
            self._mask.selected_label = self._picked
            show_info(f"Label {label} is no class of this session. Add a class to paint it.")
            return
        self._picked = label
        with errors_shown():
            self.label_picked.emit(label)

    def _on_removed(self, event: Any) -> None:
        """A layer of ours that the person deleted: the mask is handed on before it is gone."""
        if self._mask is not None and event.value == self._mask:  # napari hands us a proxy: not "is"
            with errors_shown():
                self.mask_removed.emit()
            self._mask = None
            self._on_painted()
        elif event.value in self._pictures:
            self._pictures.remove(event.value)


def _put(layer: Layer, place: dict[str, Any], name: str) -> None:
    """Give a layer its name and its pixels their size; what is right already is not told napari again."""
    layer.name = name
    if tuple(layer.scale) != tuple(place["scale"]):
        layer.scale = place["scale"]
    if tuple(map(str, layer.units)) != place["units"]:
        layer.units = place["units"]


def _drop_polygon(layer: Labels) -> None:
    """Forget a polygon that is half drawn, as the Escape key does."""
    with suppress(ImportError):  # napari has no public name for it: should this one go, the polygon stays
        from napari.layers.labels._labels_key_bindings import reset_polygon

        reset_polygon(layer)


def _fill_picture(layer: Layer, pixels: NDArray) -> None:
    """Give an image layer other pixels; contrast is found anew unless all images have the same range."""
    layer.data = pixels
    if pixels.ndim == 2 and pixels.dtype != np.uint8:
        layer.reset_contrast_limits_range()
        layer.reset_contrast_limits()


def _channels(pixels: NDArray) -> list[NDArray]:
    """What is shown as one layer each: a grey or colour picture as a whole, else every channel."""
    if pixels.ndim == 2:
        return [pixels]
    if pixels.shape[2] in (3, 4):
        return [_displayable_colours(pixels)]
    return [pixels[..., channel] for channel in range(pixels.shape[2])]


def _units(picture: Picture) -> tuple[str, str]:
    """Units napari knows (it asks pint); any other becomes pixels rather than an error."""
    try:
        unit = str(pint.get_application_registry().Unit(picture.unit))
    except Exception:  # whatever a file's header holds
        unit = "pixel"
    return unit, unit


def _displayable_colours(pixels: NDArray) -> NDArray:
    """Colour pictures as napari shows them: uint8 as they are, others stretched to floats in [0, 1]."""
    if pixels.dtype == np.uint8:
        return pixels
    values = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.percentile(values[..., :3], (0.3, 99.7))
    shown: NDArray[np.float32] = np.clip((values - low) / max(high - low, 1e-20), 0, 1)
    return shown
