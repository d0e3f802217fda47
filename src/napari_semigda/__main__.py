"""``python -m napari_semigda`` is ``semigda``."""

import sys

from napari_semigda.cli import main

if __name__ == "__main__":
    sys.exit(main())
