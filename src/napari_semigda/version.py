"""The version of this program."""

try:
    from napari_semigda._version import __version__ as __version__
except ImportError:  # a source tree that was never built
    __version__ = "0.1.0.dev0"
