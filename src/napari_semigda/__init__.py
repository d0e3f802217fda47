"""Semi-supervised segmentation in active-labeling rounds, inside napari.

The path of the data is also the order of imports: ``io`` reads an image, ``model`` is the
network, ``training`` and ``inference`` use it, ``session`` is the folder being labeled, ``engine``
owns the device, and ``widgets``, ``cli`` and ``train`` are what users see.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_semigda.errors import SemiGDAError
from napari_semigda.version import __version__

if TYPE_CHECKING:
    from napari_semigda.inference.preparation import ImageSettings
    from napari_semigda.io.pictures import Picture
    from napari_semigda.model.network import SemiGDANet
    from napari_semigda.session.export import export_masks
    from napari_semigda.session.session import Session
    from napari_semigda.session.trained_model import Segmenter, SemiGDA
    from napari_semigda.train import train_round

__all__ = [
    "ImageSettings",
    "Picture",
    "Segmenter",
    "SemiGDA",
    "SemiGDAError",
    "SemiGDANet",
    "Session",
    "__version__",
    "export_masks",
    "train_round",
]

_MODULES = {
    "ImageSettings": "inference.preparation",
    "Picture": "io.pictures",
    "Segmenter": "session.trained_model",
    "SemiGDA": "session.trained_model",
    "SemiGDANet": "model.network",
    "Session": "session.session",
    "export_masks": "session.export",
    "train_round": "train",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first asked for: napari and ``semigda --help`` start at once."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
