"""napari's viewer, as code outside of napari gets it."""

from typing import TypeVar

from napari.components import ViewerModel

ViewerLike = TypeVar("ViewerLike", bound=ViewerModel)


def without_proxy(viewer: ViewerLike) -> ViewerLike:
    """Return the viewer itself where napari passed a proxy of it, as it does to menu commands and docks.

    Qt accepts no proxy as a window or an icon, and layers got through one differ from the real ones by
    identity.
    """
    found: ViewerLike = getattr(viewer, "__wrapped__", viewer)
    return found
