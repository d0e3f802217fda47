"""Write the bundled samples anew: ``python -m napari_semigda.samples``."""

from pathlib import Path

from napari_semigda.samples import write_samples

if __name__ == "__main__":
    write_samples(Path(__file__).parent)
