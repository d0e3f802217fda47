"""One image and its mask as layers of a napari viewer."""

import gc
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TypeVar

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from napari.utils.notifications import show_info
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication

from napari_semigda.io.bands import LargePicture
from napari_semigda.io.pictures import Picture
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.classes import ClassInfo
from napari_semigda.widgets.canvas.colors import class_colors
from napari_semigda.widgets.canvas.drawn_elsewhere import DrawnElsewhere
from napari_semigda.widgets.canvas.images import Levels, add_layers, channels_of, fill_layer, fits
from napari_semigda.widgets.canvas.overlays import MASK, LinkedLayers, Overlays, unmoved
from napari_semigda.widgets.canvas.regions import RegionTool
from napari_semigda.widgets.layer_files import known_unit
from napari_semigda.widgets.panels.parts import errors_shown

OPACITY = 0.5
KEPT = ("brush_size", "opacity", "contour")  # settings that a new mask layer takes over from the last
PLAIN_BRUSH = {  # settings of napari's that would make strokes end up elsewhere than they seem to
    "mode": "paint",
    "preserve_labels": False,
    "contiguous": True,
    "n_edit_dimensions": 2,
    "show_selected_label": False,
}
FAINT = 0.05  # a mask less opaque than this cannot be seen
BRUSH_SHARE = 24  # a new brush is the image's short side divided by this
CONTOUR_SHARE = 150  # and so is the width of a contour

ViewerLike = TypeVar("ViewerLike", bound=ViewerModel)


def without_proxy(viewer: ViewerLike) -> ViewerLike:
    """Return the viewer itself where napari passed a proxy of it, as it does to menu commands and docks.

    Qt accepts no proxy as a window or an icon, and layers got through one differ from the real ones by
    identity.
    """
    found: ViewerLike = getattr(viewer, "__wrapped__", viewer)
    return found


class NapariCanvas:
    """Shows one image with one mask, in layers that stay from image to image.

    Adding and removing layers takes napari half a second, so the layers are filled again. napari's undo
    history is cleared each time: undo cannot bring back another image's pixels. Masks are label maps of
    shape (H, W), uint8, in the image's own pixels.
    """

    painted = Signal()
    stepped = Signal()
    mask_removed = Signal()
    label_picked = Signal(int)
    label_changed = Signal(int)
    hidden_changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self.read_only = False
        self._viewer = viewer
        self._images: list[Layer] = []
        self._mask: Labels | None = None
        self._linked = LinkedLayers(self._layers)
        self._overlays = Overlays(viewer, self._linked)
        self.region = RegionTool(viewer, self._linked)
        self.elsewhere = DrawnElsewhere(viewer, self.owns)
        self._before_preview: NDArray[np.uint8] | None = None
        self._classes: Sequence[ClassInfo] = ()
        self._hidden: frozenset[int] = frozenset()
        self._colors = class_colors((), ())
        self._kept: dict[str, Any] = {}
        self._label = 1
        self._extent: tuple[float, float] | None = None
        self._filling = False
        viewer.layers.events.removed.connect(self._on_removed)

    def close(self, *, layers_stay: bool = False) -> None:
        """Disconnect from the viewer, and remove the layers unless they are to stay."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self.elsewhere.close()
        if not layers_stay:
            self.clear()

    def owns(self, layer: Layer) -> bool:
        return layer in self._layers()

    def _layers(self) -> list[Layer]:
        """All layers of this canvas, the uppermost first."""
        above = [layer for layer in (self.region.layer, self._mask) if layer is not None]
        return [*above, *self._overlays.layers, *self._images]

    def show_status(self, text: str) -> None:
        self._viewer.status = text

    # Image and mask ----------------------------------------------------------------------------

    def show(self, picture: Picture | LargePicture, mask: NDArray[np.uint8], name: str) -> None:
        """Show an image and a copy of its mask; of a large image only what is in view is read."""
        _freeze_imports()
        transforms = {"scale": picture.pixel_size, "units": (known_unit(picture.unit),) * 2, **unmoved()}
        self.region.cancel()
        self._overlays.remove()
        self._show_image(channels_of(picture), name, transforms)
        if self._mask is None:
            self._mask = self._new_mask(mask)
        else:
            self._fill(self._mask, mask)
        self._linked.put(self._mask, transforms, f"{name}{MASK}")
        self._begin_painting(self._mask)
        self.elsewhere.begin(self._mask)
        extent = (mask.shape[0] * picture.pixel_size[0], mask.shape[1] * picture.pixel_size[1])
        if extent != self._extent:
            self._extent = extent
            self._viewer.reset_view()
        self.show_status(name)  # until the mouse moves napari would name the image before

    def clear(self) -> None:
        self.region.cancel()
        # The mask goes first: napari 0.9 draws the brush of a mask that went after its image, and crashes.
        outgoing = self._layers()
        if self._mask is not None:
            self._mask.mode = "pan_zoom"  # no brush is drawn any more
            _draw_at_once()
        if self._mask is not None:  # drawing may have removed it
            self._kept = {name: getattr(self._mask, name) for name in KEPT}
        self._images = []
        self._mask = self._before_preview = None
        self.elsewhere.begin(None)
        for layer in outgoing:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._overlays.remove()

    def _show_image(self, channels: list[Levels], name: str, transforms: dict[str, Any]) -> None:
        if fits(self._images, channels):
            for layer, channel in zip(self._images, channels, strict=True):
                fill_layer(layer, channel)
        else:
            if self._images:
                self.clear()
            self._images = [self._linked.link(layer) for layer in add_layers(self._viewer, channels)]
        for number, layer in enumerate(self._images, start=1):
            self._linked.put(layer, transforms, name if number == 1 else f"{name} channel {number}")
            if layer.mode != "pan_zoom":
                layer.mode = "pan_zoom"  # napari's transform tool stays switched on otherwise

    def _new_mask(self, mask: NDArray[np.uint8]) -> Labels:
        layer = self._linked.link(self._viewer.add_labels(mask.copy(), colormap=self._colors))
        settings = {"brush_size": max(4, min(mask.shape) // BRUSH_SHARE), "opacity": OPACITY}
        for name, value in (settings | self._kept).items():
            setattr(layer, name, value)
        layer.editable = not self.read_only
        layer.selected_label = self._label
        layer.events.paint.connect(self._on_painted)
        layer.events.set_data.connect(self._on_stepped)
        layer.events.selected_label.connect(self._on_label_picked)
        return layer

    def _fill(self, layer: Labels, mask: NDArray[np.uint8]) -> None:
        """Give the layer another mask, and a new undo history."""
        self._before_preview = None
        with self._quietly():
            _drop_polygon(layer)
            if layer.editable:
                _clear_history(layer)
            layer.data = mask.copy()  # makes it editable
            layer.editable = not self.read_only

    def _begin_painting(self, mask: Labels) -> None:
        """Make the brush paint the first class, where the user sees it, whatever was chosen before."""
        dims, layers = self._viewer.dims, self._viewer.layers
        if dims.ndisplay != 2:
            dims.ndisplay = 2
        if dims.order != (usual := tuple(range(dims.ndim))):
            dims.order = usual  # otherwise a stack beside the image would show a line of it
        if not any(layer.visible for layer in self._images):
            for layer in self._images:
                layer.visible = True
        self.uncover_mask()
        self.selected_label = self._classes[0].value if self._classes else 1
        brush = PLAIN_BRUSH if mask.editable else PLAIN_BRUSH | {"mode": "pan_zoom"}
        for name, value in brush.items():
            if getattr(mask, name) != value:
                setattr(mask, name, value)
        if mask.colormap is not self._colors:
            self._color()
        layers.selection.active = mask
        uppermost = max((layers.index(layer) for layer in self._images), default=-1)
        if layers.index(mask) < uppermost:
            layers.move(layers.index(mask), uppermost + 1)

    # Changing the mask -------------------------------------------------------------------------

    def mask(self) -> NDArray[np.uint8] | None:
        """Return the mask as it is now; None if its layer is gone."""
        return None if self._mask is None else np.asarray(self._mask.data)

    def replace_mask(self, mask: NDArray[np.uint8]) -> None:
        """Show another mask of the same image, and clear the undo history."""
        if self._mask is not None:
            self._fill(self._mask, mask)

    def edit_mask(self, mask: NDArray[np.uint8]) -> None:
        """Change the mask as one step of undo."""
        self.commit_preview()
        if self._mask is not None:
            different = np.nonzero(self._mask.data != mask)
            self._mask.data_setitem(different, mask[different])

    def preview_mask(self, mask: NDArray[np.uint8]) -> None:
        """Show another mask, which becomes a step of undo with `commit_preview`."""
        if self._mask is not None:
            if self._before_preview is None:
                self._before_preview = self._mask.data.copy()
            self._fill_in_place(self._mask, mask)

    def commit_preview(self) -> None:
        """Make one step of undo of all that was previewed."""
        if self._mask is None or self._before_preview is None:
            return
        shown, before = self._mask.data.copy(), self._before_preview
        self._fill_in_place(self._mask, before)
        self._before_preview = None
        self.edit_mask(shown)

    def _fill_in_place(self, layer: Labels, mask: NDArray[np.uint8]) -> None:
        with self._quietly():
            layer.data[...] = mask
            layer.refresh()

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Change the mask without reporting strokes."""
        self._filling = True
        try:
            yield
        finally:
            self._filling = False

    # How it is shown ---------------------------------------------------------------------------

    @property
    def selected_label(self) -> int:
        return self._label

    @selected_label.setter
    def selected_label(self, value: int) -> None:
        changes, self._label = value != self._label, value
        if self._mask is not None:
            self._mask.selected_label = value
        if changes:
            self.label_changed.emit(value)

    def show_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Show labels in the colors of these classes from now on."""
        self._classes = classes
        self._color()

    @property
    def hidden_classes(self) -> frozenset[int]:
        """Values of the classes that are hidden; can be set."""
        return self._hidden

    @hidden_classes.setter
    def hidden_classes(self, values: Collection[int]) -> None:
        self._hidden = frozenset(values)
        self._color()
        self.hidden_changed.emit()

    @property
    def contour_only(self) -> bool:
        """Whether only the outlines of masks are shown; can be set."""
        return self._mask is not None and self._mask.contour > 0

    @contour_only.setter
    def contour_only(self, only: bool) -> None:
        for layer in self._label_layers():
            layer.contour = max(1, round(min(layer.data.shape) / CONTOUR_SHARE)) if only else 0

    def _color(self) -> None:
        self._colors = class_colors(self._classes, self._hidden)
        for layer in self._label_layers():
            layer.colormap = self._colors

    def _label_layers(self) -> list[Labels]:
        return [layer for layer in (self._mask, self._overlays.draft) if layer is not None]

    def uncover_mask(self) -> bool:
        """Make the mask and all its classes visible; return False if they were."""
        mask = self._mask
        if mask is None or self._overlays.hides_mask:
            return False
        hidden = [value for value in self._hidden if (mask.data == value).any()]
        if hidden:
            self.hidden_classes = self._hidden.difference(hidden)
        faint = not mask.visible or mask.opacity < FAINT
        if faint:
            mask.visible, mask.opacity = True, max(mask.opacity, OPACITY)
        return faint or bool(hidden)

    def show_draft(self, draft: NDArray[np.uint8] | None) -> None:
        """Show a draft in place of the mask, in a layer that cannot be painted on; None shows the mask."""
        if self._mask is not None:
            self._overlays.show_draft(self._mask, draft)

    def show_uncertainty(self, uncertainty: NDArray[np.float32] | None) -> None:
        """Show a map of values in [0, 1] over the image; None hides it."""
        self._overlays.show_uncertainty(self._mask, uncertainty)

    def draw_region(self, name: str) -> None:
        """Let the user draw a region over the mask; see `region`."""
        if self._mask is not None:
            self.region.draw(self._mask, name)

    def take_from_elsewhere(self) -> NDArray[np.uint8] | None:
        """Return the mask with what was drawn in another layer, and hide that layer; None without."""
        if self._mask is None:
            return None
        values = [one.value for one in self._classes]
        value = self._label if self._label in values else values[0] if values else 1
        combined = self.elsewhere.take(value, values)
        self._viewer.layers.selection.active = self._mask
        return combined

    # Events ------------------------------------------------------------------------------------

    def _on_painted(self) -> None:
        if not self._filling:
            with errors_shown():
                self.painted.emit()

    def _on_stepped(self) -> None:
        """Report undo and redo, for which napari emits no other event."""
        self._on_painted()
        if not self._filling:
            with errors_shown():
                self.stepped.emit()

    def _on_label_picked(self) -> None:
        """Report which class was picked in napari's own controls; refuse labels that are no class."""
        assert self._mask is not None
        label = int(self._mask.selected_label)
        if label == self._label:
            return
        if self._classes and label not in (0, UNKNOWN, *(one.value for one in self._classes)):
            self._mask.selected_label = self._label
            show_info(f"Label {label} is not a class of this session. Add a class to paint it.")
            return
        self._label = label
        with errors_shown():
            self.label_picked.emit(label)

    def _on_removed(self, event: Any) -> None:
        """Note that the user removed a layer; a mask is handed on before it is gone."""
        layer = event.value
        if self._mask is not None and layer == self._mask:  # napari passes a proxy: not "is"
            with errors_shown():
                self.mask_removed.emit()
            self._mask = self._before_preview = None
            self.elsewhere.begin(None)
            self._on_painted()
        elif layer in self._images:
            self._images.remove(layer)
        else:
            self.region.on_removed(layer)
            self._overlays.on_removed(layer, self._mask)


@cache
def _freeze_imports() -> None:
    """Leave what is imported out of this process's garbage collections.

    napari collects whenever a layer is removed, which takes half a second with torch in memory. Only once:
    asking whether anything is frozen means counting it.
    """
    if not gc.get_freeze_count():
        gc.freeze()


def _clear_history(layer: Labels) -> None:
    """Clear the undo history, as napari does with a layer that is not editable for a moment.

    Events are blocked meanwhile: buttons and cursor that follow them would take a third of the time.
    """
    with layer.events.blocker_all():
        mode = layer.mode
        layer.editable = False
        layer.editable = True
        layer.mode = mode


def _drop_polygon(layer: Labels) -> None:
    """Drop an unfinished polygon, as the Escape key does."""
    with suppress(ImportError):  # it is private to napari: should it go, the polygon stays
        from napari.layers.labels._labels_key_bindings import reset_polygon

        reset_polygon(layer)


def _draw_at_once() -> None:
    """Draw the canvas: napari crashes in OpenGL if an overlay and then all other layers go undrawn."""
    for widget in QApplication.allWidgets():
        if isinstance(widget, QOpenGLWidget) and widget.isVisible():
            widget.repaint()
