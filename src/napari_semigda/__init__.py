"""Semi-supervised segmentation in active-labelling rounds, inside napari.

The way data takes, which is also the order of imports: ``io`` reads a picture, ``model`` is the
network, ``training`` and ``inference`` use it, ``session`` is the folder being labelled, ``engine``
owns the device, and ``widgets``, ``cli`` and ``demo`` are what people see.
"""

try:
    from napari_semigda._version import version as __version__
except ImportError:  # a source tree that was never built
    __version__ = "0.1.0.dev0"

__all__ = ["__version__"]
