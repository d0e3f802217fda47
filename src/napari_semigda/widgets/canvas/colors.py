"""Colors of masks and of uncertainty."""

from collections.abc import Collection, Sequence

import numpy as np
import pint
from napari.utils.colormaps import Colormap, DirectLabelColormap, ensure_colormap

from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.session.classes import ClassInfo

UNLABELED_COLOR = (0.5, 0.5, 0.5, 0.75)
STRAY_COLOR = "magenta"  # of labels that are no class: it stands out, for such a mask is not accepted
UNCERTAINTY_COLORS = "plasma"  # ordered for the eye: blue, pink, yellow
CERTAIN = 0.05  # up to here uncertainty is not shown
DENSEST = 0.7  # of uncertainty: the image stays visible below it
DENSEST_FROM = 0.5  # where both branches of the network are undecided


def class_colors(classes: Sequence[ClassInfo], hidden: Collection[int]) -> DirectLabelColormap:
    """Colors of a mask's labels; hidden classes are transparent."""
    colors = {None: STRAY_COLOR, 0: "transparent", UNKNOWN: UNLABELED_COLOR}
    of_classes = {one.value: "transparent" if one.value in hidden else one.color for one in classes}
    return DirectLabelColormap(color_dict=colors | of_classes)


def uncertainty_colors() -> Colormap:
    """Colors of uncertainty: ordered for the eye, and transparent where the network is certain."""
    levels = np.linspace(0, 1, 256)
    colors = np.array(ensure_colormap(UNCERTAINTY_COLORS).map(levels))
    colors[:, 3] = np.clip((levels - CERTAIN) / (DENSEST_FROM - CERTAIN), 0, 1) * DENSEST
    return Colormap(colors, name="uncertainty")


def warm_up() -> None:
    """Color a hidden mask and read the units, for which napari compiles and pint reads for seconds, once.

    Pint's own registry reads them when it is first used, and until then fails in every other thread.
    """
    units = pint.get_application_registry()
    registry: pint.UnitRegistry[float] = pint.UnitRegistry()
    registry.Unit("pixel")
    if isinstance(units.get(), pint.registry.LazyRegistry):
        pint.set_application_registry(registry)
    class_colors((), ()).map(np.zeros((1, 1), np.uint8))
