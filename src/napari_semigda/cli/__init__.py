"""The command line `semigda`: the same work without a window."""

from napari_semigda.cli.commands import main

__all__ = ["main"]
