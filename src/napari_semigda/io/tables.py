"""Tables in files."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from napari_semigda.io.atomic import write_bytes


def write_table(
    path: Path | str, columns: Sequence[str], rows: Iterable[Sequence[str | int | float | None]]
) -> None:
    """Write a table as CSV: UTF-8, commas, points in numbers, nothing where a value is None. Atomic.

    Parameters
    ----------
    path
        The file; its folder must exist.
    columns
        Their names.
    rows
        One value a column; numbers are written with six digits.

    Raises
    ------
    SemiGDAError
        When the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    write_bytes(path, text.getvalue().encode("utf-8", errors="replace"))
