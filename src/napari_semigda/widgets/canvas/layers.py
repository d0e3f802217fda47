"""The canvas of `annotation.Canvas` as layers of a napari viewer."""

import gc
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import dask.array as da
import numpy as np
import pint
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Shapes
from napari.layers.base import ActionType
from napari.utils.colormaps import Colormap, DirectLabelColormap, ensure_colormap
from napari.utils.notifications import show_info, show_warning
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QTimer
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.bands import LargePicture
from napari_semigda.io.pictures import Picture
from napari_semigda.io.planes import StoredPixels
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.classes import ClassInfo
from napari_semigda.widgets.canvas.drawn_elsewhere import DrawnElsewhere
from napari_semigda.widgets.panels.parts import errors_shown

_Levels = list[Any]
"""Arrays of one picture, the one in full resolution first; only large pictures have more than one."""

UNKNOWN_COLOR = (0.5, 0.5, 0.5, 0.75)
STRAY_COLOR = "magenta"  # a label that is no class: to be seen, for such a mask is not accepted
COLORS_OF_CHANNELS = ("green", "magenta", "cyan", "yellow", "red", "blue")
OPACITY = 0.5
UNCERTAINTY_COLORS = "plasma"  # ordered for the eye: blue, pink, yellow
CERTAIN = 0.05  # up to here uncertainty is not shown
DENSEST = 0.7  # of uncertainty: the image stays visible below it
DENSEST_FROM = 0.5  # where both branches of the network are undecided
MANNER = ("brush_size", "opacity", "contour")  # of a layer that has to go, given to the next one
PLAIN_BRUSH = {  # what napari's controls can change, so that strokes go elsewhere than they seem to
    "mode": "paint",
    "preserve_labels": False,
    "contiguous": True,
    "n_edit_dimensions": 2,
    "show_selected_label": False,
}
FAINT = 0.05  # a mask less opaque than this cannot be seen
MOVED_BY = ("scale", "translate", "rotate", "shear", "affine", "units")  # events of napari's layers
BRUSH_SHARE = 24  # a new brush is the image's short side divided by this
SEEN_AT_ONCE = 512  # pixels: sides of the least that is read of a large picture
MASK = " mask"  # behind the picture's name
CONTOUR_SHARE = 150  # so is the width of a contour


class NapariCanvas:
    """One picture and one mask as layers of a viewer, which stay from picture to picture.

    Adding and removing layers takes napari half a second, so the layers are filled anew, and how the person
    likes to see and paint stays as it is. napari's undo history is cleared with each filling: undo cannot
    bring back another image's pixels.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer; layers that are not of this canvas are left alone.

    Attributes
    ----------
    read_only : bool
        Whether masks shown from now on can only be looked at.
    """

    painted = Signal()
    stepped = Signal()
    mask_removed = Signal()
    label_picked = Signal(int)
    label_changed = Signal(int)
    hidden_changed = Signal()
    region_drawn = Signal(object)
    region_ended = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._pictures: list[Layer] = []
        self._mask: Labels | None = None
        self._draft: Labels | None = None
        self._uncertainty: Image | None = None
        self._region: Shapes | None = None
        self._before_preview: NDArray[np.uint8] | None = None
        self._elsewhere = DrawnElsewhere(viewer, self.owns)
        self._classes: Sequence[ClassInfo] = ()
        self._hidden: frozenset[int] = frozenset()
        self._manner: dict[str, Any] = {}
        self._picked = 1
        self._extent: tuple[float, float] | None = None
        self._colors = self._colormap()
        self._filling = self._placing = False
        self.read_only = False
        viewer.layers.events.removed.connect(self._on_removed)

    def close(self, *, layers_stay: bool = False) -> None:
        """Listen no longer, and take the layers away, unless they go with the window."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._elsewhere.close()
        if not layers_stay:
            self.clear()

    @property
    def selected_label(self) -> int:
        """The label the brush paints."""
        return self._picked

    @selected_label.setter
    def selected_label(self, value: int) -> None:
        changes, self._picked = value != self._picked, value
        if self._mask is not None:
            self._mask.selected_label = value
        if changes:
            self.label_changed.emit(value)

    def show_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Paint labels in the colors of these classes, from now on."""
        self._classes = classes
        self._color()

    @property
    def hidden_classes(self) -> frozenset[int]:
        """Values of the classes that are not shown; setting it shows and hides them."""
        return self._hidden

    @hidden_classes.setter
    def hidden_classes(self, values: Collection[int]) -> None:
        self._hidden = frozenset(values)
        self._color()
        self.hidden_changed.emit()

    @property
    def contour_only(self) -> bool:
        """Whether masks are shown by their outlines only; setting it changes how they are shown."""
        return self._mask is not None and self._mask.contour > 0

    @contour_only.setter
    def contour_only(self, only: bool) -> None:
        for layer in (self._mask, self._draft):
            if layer is not None:
                layer.contour = max(1, round(min(layer.data.shape) / CONTOUR_SHARE)) if only else 0

    def _color(self) -> None:
        colors = self._colormap()
        for layer in (self._mask, self._draft):
            if layer is not None:
                layer.colormap = colors

    def show(self, picture: Picture | LargePicture, mask: NDArray[np.uint8], name: str) -> None:
        """Show a picture and its mask in place of the ones before.

        Parameters
        ----------
        picture : Picture or LargePicture
            Pixels (H, W) or (H, W, C), with pixel size and unit; of a large one only what is in view is read.
        mask : ndarray
            (H, W), uint8, label values; copied.
        name : str
            Name of the picture's layer.
        """
        _spare_collections()
        place = {"scale": picture.pixel_size, "units": _units(picture), **_unmoved()}
        self.cancel_region()
        self._remove_overlays()
        self._show_channels(_channels(picture), name, place)
        self._show_mask(mask, f"{name}{MASK}", place)
        self._raise_mask()
        self._elsewhere.begin(self._mask)
        self._fit_view((mask.shape[0] * picture.pixel_size[0], mask.shape[1] * picture.pixel_size[1]))
        self.say(name)  # until the mouse moves napari would name the picture before

    def replace_mask(self, mask: NDArray[np.uint8]) -> None:
        """Show another mask of the picture on screen; undo does not lead back to the one before."""
        if self._mask is not None:
            self._fill_mask(self._mask, mask)

    def edit_mask(self, mask: NDArray[np.uint8]) -> None:
        """Change the mask's pixels as one step in napari's undo history."""
        self.commit_preview()
        if self._mask is not None:
            different = np.nonzero(self._mask.data != mask)
            self._mask.data_setitem(different, mask[different])

    def preview_mask(self, mask: NDArray[np.uint8]) -> None:
        """Show another mask, which becomes a step in napari's undo history with `commit_preview`."""
        if self._mask is None:
            return
        if self._before_preview is None:
            self._before_preview = self._mask.data.copy()
        self._fill_in_place(mask)

    def commit_preview(self) -> None:
        """Make one step in napari's undo history of everything that was previewed."""
        if self._mask is None or self._before_preview is None:
            return
        shown, before = self._mask.data.copy(), self._before_preview
        self._fill_in_place(before)
        self._before_preview = None
        self.edit_mask(shown)

    def _fill_in_place(self, mask: NDArray[np.uint8]) -> None:
        assert self._mask is not None
        self._filling = True
        try:
            self._mask.data[...] = mask
            self._mask.refresh()
        finally:
            self._filling = False

    def mask(self) -> NDArray[np.uint8] | None:
        """The mask as it stands, (H, W); None where its layer is gone."""
        return None if self._mask is None else np.asarray(self._mask.data)

    def owns(self, layer: Layer) -> bool:
        """Whether a layer is one of this canvas."""
        return layer in self._layers()

    def _layers(self) -> list[Layer]:
        """All layers of this canvas, the uppermost first."""
        above = (self._region, self._mask, self._draft, self._uncertainty)
        return [*(layer for layer in above if layer is not None), *self._pictures]

    def uncover_mask(self) -> bool:
        """Make the mask visible, and all its classes; False where they were."""
        mask = self._mask
        if mask is None or (self._draft is not None and self._draft.visible):
            return False
        hidden = [value for value in self._hidden if (mask.data == value).any()]
        if hidden:
            self.hidden_classes = self._hidden.difference(hidden)
        faint = not mask.visible or mask.opacity < FAINT
        if faint:
            mask.visible, mask.opacity = True, max(mask.opacity, OPACITY)
        return faint or bool(hidden)

    def drawn_elsewhere(self) -> str | None:
        """Name of a layer of the person's own in which something was drawn since the image is shown."""
        layer = self._elsewhere.find()
        return None if layer is None else str(layer.name)

    def take_from_elsewhere(self) -> NDArray[np.uint8] | None:
        """The mask with what was drawn in that layer; None without. The layer is hidden."""
        if self._mask is None:
            return None
        values = [one.value for one in self._classes]
        value = self._picked if self._picked in values else values[0] if values else 1
        taken = self._elsewhere.take(value, values)
        self._viewer.layers.selection.active = self._mask
        return taken

    def ignore_elsewhere(self) -> None:
        """Ask no more about what was drawn in other layers so far."""
        self._elsewhere.begin(self._mask)

    def clear(self) -> None:
        """Take the layers of this canvas away."""
        # The mask goes first: napari 0.9 draws the brush of a mask that went after its picture, and crashes.
        outgoing = self._layers()
        if self._mask is not None:
            self._mask.mode = "pan_zoom"  # no brush is drawn any more
            _draw_at_once()
        if self._mask is not None:
            self._manner = {name: getattr(self._mask, name) for name in MANNER}
        self._pictures = []
        self._mask = self._draft = self._uncertainty = self._before_preview = None
        self._elsewhere.begin(None)
        self._region_is_over()
        for layer in outgoing:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def _remove_overlays(self) -> None:
        """Remove what belongs to one image only: hidden, it could be shown over the next."""
        overlays = [layer for layer in (self._draft, self._uncertainty) if layer is not None]
        self._draft = self._uncertainty = None
        for layer in overlays:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    # What else is seen -------------------------------------------------------------------------

    def show_draft(self, draft: NDArray[np.uint8] | None) -> None:
        """Show a draft in place of the mask, in a layer that cannot be painted on; None shows the mask."""
        if self._mask is None:
            return
        if draft is not None:
            self._fill_draft(self._mask, draft)
        elif self._draft is None or not self._draft.visible:
            return
        assert self._draft is not None
        self._draft.visible, self._mask.visible = draft is not None, draft is None
        self._viewer.layers.selection.active = self._mask if draft is None else self._draft

    def _fill_draft(self, mask: Labels, draft: NDArray[np.uint8]) -> None:
        if self._draft is None:
            self._draft = self._added(self._viewer.add_labels(draft.copy(), colormap=self._colormap()))
        else:
            self._draft.data = draft.copy()
        self._draft.opacity, self._draft.contour = mask.opacity, mask.contour
        self._put(self._draft, _place(mask), mask.name.removesuffix(MASK) + " draft")
        self._draft.mode, self._draft.editable = "pan_zoom", False

    def show_uncertainty(self, uncertainty: NDArray[np.float32] | None) -> None:
        """Lay a map of values in [0, 1] over the picture; None takes it away."""
        if uncertainty is None or self._mask is None or uncertainty.shape != self._mask.data.shape:
            if self._uncertainty is not None:
                self._uncertainty.visible = False
            return
        if self._uncertainty is None:
            self._uncertainty = self._added(
                self._viewer.add_image(
                    uncertainty, colormap=uncertainty_colors(), blending="translucent", contrast_limits=(0, 1)
                )
            )
            self._uncertainty.colorbar.visible = True
            layers = self._viewer.layers
            layers.move(layers.index(self._uncertainty), layers.index(self._mask))
            layers.selection.active = self._mask if self._mask.visible else self._draft
        else:
            self._uncertainty.data = uncertainty
        self._put(self._uncertainty, _place(self._mask), self._mask.name.removesuffix(MASK) + " uncertainty")
        self._uncertainty.visible = True

    def say(self, words: str) -> None:
        """Say something in passing, at the lower edge of the window."""
        self._viewer.status = words

    # Regions -----------------------------------------------------------------------------------

    @property
    def drawing_region(self) -> bool:
        """Whether a region is being drawn."""
        return self._region is not None

    def draw_region(self, name: str) -> None:
        """Let the person draw around a region, in a shapes layer that goes away afterwards.

        The lasso is at hand; all of napari's other shapes can be used as well. `region_drawn` is emitted with
        the pixels, (H, W) bool, unless the drawing is given up; `region_ended` in either case.
        """
        self.cancel_region()
        if self._mask is None:
            return
        self._region = self._added(
            self._viewer.add_shapes(name=name, face_color="#ffffff40", edge_color="white")
        )
        self._put(self._region, _place(self._mask), name)
        self._region.mode = "add_polygon_lasso"
        self._region.bind_key("Escape", lambda _: self.cancel_region(), overwrite=True)
        self._region.events.data.connect(self._on_shape)

    def cancel_region(self) -> None:
        """Give the drawing of a region up."""
        region = self._region
        if region is not None:
            self._region_is_over()
            if region in self._viewer.layers:
                self._viewer.layers.remove(region)
            self._viewer.layers.selection.active = self._mask

    def _on_shape(self, event: Any) -> None:
        if event.action == ActionType.ADDED:
            QTimer.singleShot(0, self._take_region)  # napari is still busy with the mouse

    def _take_region(self) -> None:
        region, mask = self._region, self._mask
        if region is None or mask is None or not region.nshapes:
            return
        inside = region.to_masks(mask.data.shape).any(axis=0)
        self.cancel_region()
        with errors_shown():
            if not inside.any():
                raise SemiGDAError("The region covers no pixel of the image. Draw a larger one.")
            self.region_drawn.emit(inside)

    def _region_is_over(self) -> None:
        if self._region is not None:
            self._region.events.data.disconnect(self._on_shape)
            self._region = None
            self.region_ended.emit()

    # Layers ------------------------------------------------------------------------------------

    def _show_channels(self, channels: list[_Levels], name: str, place: dict[str, Any]) -> None:
        """Fill one image layer a channel, or make new ones where the old ones do not fit."""
        fitting = [(layer.multiscale, layer.data.ndim) for layer in self._pictures] == [
            (len(channel) > 1, channel[0].ndim) for channel in channels
        ]
        if not fitting:
            if self._pictures:
                self.clear()
            self._pictures = self._new_pictures(channels)
        for number, (layer, channel) in enumerate(zip(self._pictures, channels, strict=True)):
            if fitting:
                _fill_picture(layer, channel)
            self._put(layer, place, name if number == 0 else f"{name} channel {number + 1}")
            if layer.mode != "pan_zoom":
                layer.mode = "pan_zoom"  # napari's transform tool stays switched on otherwise

    def _new_pictures(self, channels: list[_Levels]) -> list[Layer]:
        layers = [
            self._added(
                self._viewer.add_image(
                    channel if len(channel) > 1 else channel[0],
                    rgb=channel[0].ndim == 3,
                    multiscale=len(channel) > 1,
                )
            )
            for channel in channels
        ]
        if len(layers) > 1:
            for number, layer in enumerate(layers):
                layer.colormap = COLORS_OF_CHANNELS[number % len(COLORS_OF_CHANNELS)]
                layer.blending = "additive" if number else layer.blending
        return layers

    def _show_mask(self, mask: NDArray[np.uint8], name: str, place: dict[str, Any]) -> None:
        if self._mask is None:
            self._mask = self._new_mask(mask)
        else:
            self._fill_mask(self._mask, mask)
        self._put(self._mask, place, name)
        self._begin_painting(self._mask)
        self._viewer.layers.selection.active = self._mask

    def _begin_painting(self, mask: Labels) -> None:
        """Have the brush paint the first class, where the person sees it, whatever was chosen before."""
        dims = self._viewer.dims
        if dims.ndisplay != 2:
            dims.ndisplay = 2
        if dims.order != (usual := tuple(range(dims.ndim))):
            dims.order = usual  # turned, a stack beside the image would show a line of it
        if not any(one.visible for one in self._pictures):
            for one in self._pictures:
                one.visible = True
        self.uncover_mask()
        self.selected_label = self._classes[0].value if self._classes else 1
        brush = PLAIN_BRUSH if mask.editable else PLAIN_BRUSH | {"mode": "pan_zoom"}
        for name, value in brush.items():
            if getattr(mask, name) != value:
                setattr(mask, name, value)
        if mask.colormap is not self._colors:
            self._color()

    def _raise_mask(self) -> None:
        """Put the mask above the picture, where the person changed their order or there is a new picture."""
        layers = self._viewer.layers
        uppermost = max((layers.index(one) for one in self._pictures), default=-1)
        if self._mask is not None and layers.index(self._mask) < uppermost:
            layers.move(layers.index(self._mask), uppermost + 1)

    def _new_mask(self, mask: NDArray[np.uint8]) -> Labels:
        layer = self._added(self._viewer.add_labels(mask.copy(), colormap=self._colormap()))
        manner = {"brush_size": max(4, min(mask.shape) // BRUSH_SHARE), "opacity": OPACITY}
        for name, value in (manner | self._manner).items():
            setattr(layer, name, value)
        layer.editable = not self.read_only
        layer.selected_label = self._picked
        layer.events.paint.connect(self._on_painted)
        layer.events.set_data.connect(self._on_stepped)
        layer.events.selected_label.connect(self._on_label_picked)
        return layer

    def _fill_mask(self, layer: Labels, mask: NDArray[np.uint8]) -> None:
        """Give the layer another mask, and a new undo history."""
        self._before_preview = None
        self._filling = True
        try:
            _drop_polygon(layer)
            if layer.editable:
                _forget_history(layer)
            layer.data = mask.copy()  # lets it be edited
            layer.editable = not self.read_only
        finally:
            self._filling = False

    def _added(self, layer: Any) -> Any:
        """Have a new layer of this canvas take the others along where the person moves it."""
        for name in MOVED_BY:
            getattr(layer.events, name).connect(self._on_moved)
        return layer

    def _put(self, layer: Layer, place: dict[str, Any], name: str) -> None:
        """Give a layer its name and its place."""
        layer.name = name
        self._placing = True
        try:
            _put(layer, place)
        finally:
            self._placing = False

    def _on_moved(self, event: Any) -> None:
        """Move, turn and scale all layers as one: else strokes go elsewhere than they seem to."""
        if self._placing:
            return
        self._placing = True
        try:
            for layer in self._layers():
                if layer != event.source:
                    _put(layer, _place(event.source))
        finally:
            self._placing = False

    def _fit_view(self, extent: tuple[float, float]) -> None:
        if extent != self._extent:
            self._extent = extent
            self._viewer.reset_view()

    def _colormap(self) -> DirectLabelColormap:
        colors = {None: STRAY_COLOR, 0: "transparent", UNKNOWN: UNKNOWN_COLOR}
        of_classes = {
            one.value: "transparent" if one.value in self._hidden else one.color for one in self._classes
        }
        self._colors = DirectLabelColormap(color_dict=colors | of_classes)
        return self._colors

    # Events ------------------------------------------------------------------------------------

    def _on_painted(self) -> None:
        if not self._filling:
            with errors_shown():
                self.painted.emit()

    def _on_stepped(self) -> None:
        """Tell of undo and redo, which emit no more than this."""
        self._on_painted()
        if not self._filling:
            with errors_shown():
                self.stepped.emit()

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
            self._mask = self._before_preview = None
            self._elsewhere.begin(None)
            self._on_painted()
        elif self._region is not None and event.value == self._region:
            self._region_is_over()
        elif self._draft is not None and event.value == self._draft:
            self._draft = None
            if self._mask is not None:
                self._mask.visible = True
        elif self._uncertainty is not None and event.value == self._uncertainty:
            self._uncertainty = None
        elif event.value in self._pictures:
            self._pictures.remove(event.value)


def _put(layer: Layer, place: dict[str, Any]) -> None:
    """Give a layer its place; what is right already is not told napari again."""
    for name, value in place.items():
        if name == "units":
            if tuple(map(str, layer.units)) != value:
                layer.units = value
        elif not np.array_equal(np.asarray(getattr(layer, name)), value):
            setattr(layer, name, value)


@cache
def _spare_collections() -> None:
    """Keep what is imported for good out of the garbage collections of this process.

    napari collects whenever a layer is removed, which takes half a second with torch in memory. Once a
    process: to ask whether anything is left out means to count it, which is felt at each image.
    """
    if not gc.get_freeze_count():
        gc.freeze()


def warm_up() -> None:
    """Color a mask that nobody sees, and name a unit: napari compiles and pint reads for seconds, once."""
    pint.get_application_registry().Unit("pixel")
    DirectLabelColormap(color_dict={None: STRAY_COLOR, 0: "transparent"}).map(np.zeros((1, 1), np.uint8))


def uncertainty_colors() -> Colormap:
    """Colors of uncertainty: ordered for the eye, and nothing over what is certain."""
    levels = np.linspace(0, 1, 256)
    colors = np.array(ensure_colormap(UNCERTAINTY_COLORS).map(levels))
    colors[:, 3] = np.clip((levels - CERTAIN) / (DENSEST_FROM - CERTAIN), 0, 1) * DENSEST
    return Colormap(colors, name="uncertainty")


def _unmoved() -> dict[str, Any]:
    """Where a layer lies that nobody has moved, turned or sheared."""
    return {"translate": np.zeros(2), "rotate": np.eye(2), "shear": np.zeros(1), "affine": np.eye(3)}


def _place(layer: Layer) -> dict[str, Any]:
    moved = {name: np.array(getattr(layer, name)) for name in _unmoved()}
    return {"scale": tuple(layer.scale), "units": tuple(map(str, layer.units)), **moved}


def _forget_history(layer: Labels) -> None:
    """Clear the undo history, which is what napari does with a layer that cannot be edited for a moment.

    Nobody is told of that moment: buttons and cursor that follow it would take a third of the time.
    """
    with layer.events.blocker_all():
        mode = layer.mode
        layer.editable = False
        layer.editable = True
        layer.mode = mode


def _drop_polygon(layer: Labels) -> None:
    """Forget a polygon that is half drawn, as the Escape key does."""
    with suppress(ImportError):  # napari has no public name for it: should this one go, the polygon stays
        from napari.layers.labels._labels_key_bindings import reset_polygon

        reset_polygon(layer)


def _draw_at_once() -> None:
    """Draw what napari shows: it crashes in OpenGL where an overlay and then all other layers go undrawn."""
    for widget in QApplication.allWidgets():
        if isinstance(widget, QOpenGLWidget) and widget.isVisible():
            widget.repaint()


def _fill_picture(layer: Layer, levels: _Levels) -> None:
    """Give an image layer other pixels; contrast is found anew unless all images have the same range."""
    layer.data = levels if len(levels) > 1 else levels[0]
    if levels[0].ndim == 2 and levels[0].dtype != np.uint8:
        layer.reset_contrast_limits_range()
        layer.reset_contrast_limits()


def _channels(picture: Picture | LargePicture) -> list[_Levels]:
    """What is shown as one layer each: a gray or color picture as a whole, else every channel."""
    levels = _levels(picture)
    if levels[0].ndim == 2:
        return [levels]
    if levels[0].shape[2] in (3, 4):
        return [_displayable_colors(levels)]
    return [[level[..., channel] for level in levels] for channel in range(levels[0].shape[2])]


def _levels(picture: Picture | LargePicture) -> _Levels:
    """A picture as napari shows it at different zooms; of a large one, parts are read when they are seen."""
    if isinstance(picture, Picture):
        return [picture.pixels]
    stored = [
        da.from_array(_Viewed(level), chunks=level.blocks(SEEN_AT_ONCE), name=False, asarray=False)
        for level in picture.levels
    ]
    return [*stored, *picture.overviews]


def _units(picture: Picture | LargePicture) -> tuple[str, str]:
    """Units napari knows (it asks pint); any other becomes pixels rather than an error."""
    try:
        unit = str(pint.get_application_registry().Unit(picture.unit))
    except Exception:  # whatever a file's header holds
        unit = "pixel"
    return unit, unit


class _Viewed:
    """A stored plane that is black where it is damaged: napari breaks when reading fails in its midst."""

    def __init__(self, stored: StoredPixels) -> None:
        self._stored = stored
        self._told = False
        self.shape, self.dtype, self.ndim = stored.shape, stored.dtype, stored.ndim

    def __getitem__(self, key: Any) -> NDArray[Any]:
        try:
            return self._stored[key]
        except SemiGDAError as error:
            if not self._told:
                self._told = True
                show_warning(f"{error} What cannot be read is shown black.")
            black: NDArray[Any] = np.broadcast_to(np.zeros((), self.dtype), self.shape)
            return np.asarray(black[key])


def _displayable_colors(levels: _Levels) -> _Levels:
    """Color pictures as napari shows them: uint8 as they are, others stretched to floats in [0, 1]."""
    if levels[0].dtype == np.uint8:
        return levels
    low, high = np.percentile(_finite(levels[-1])[..., :3], (0.3, 99.7))

    def stretched(pixels: NDArray) -> NDArray[np.float32]:
        shown: NDArray[np.float32] = np.clip((_finite(pixels) - low) / max(high - low, 1e-20), 0, 1)
        return shown.astype(np.float32, copy=False)

    return [
        da.map_blocks(stretched, level, dtype=np.float32) if isinstance(level, da.Array) else stretched(level)
        for level in levels
    ]


def _finite(pixels: NDArray) -> NDArray[np.float32]:
    return np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
