"""Tables in files."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from napari_semigda.io.atomic import write_bytes


def write_table(
    path: Path | str, columns: Sequence[str], rows: Iterable[Sequence[str | int | float | None]]
) -> None:
    """Write a table as CSV: UTF-8, commas, points in numbers, nothing where a value is None. Atomic.

    Text that a spreadsheet would run as a formula gets an apostrophe in front; numbers stay numbers.

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
    writer.writerow(map(as_text, columns))
    writer.writerows(map(_cell, row) for row in rows)
    write_bytes(path, text.getvalue().encode("utf-8", errors="replace"))


def as_text(value: str) -> str:
    """Return what a spreadsheet shows as this text, whatever it takes for the separator of cells.

    Examples
    --------
    >>> as_text("=1+1"), as_text("cell-1.tif"), as_text("a;@b")
    ("'=1+1", 'cell-1.tif', "a;'@b")
    """
    return _FORMULA.sub(r"\1'", value)


# Spreadsheets pass over blanks and quotes before a formula, and take full-width signs for the usual ones.
_FORMULA = re.compile(r"((?:^|[\t\r\n,;|])[\s\0\ufeff\"“”«»]*)(?=[=+\-@\t\r＝＋－＠﹢﹣﹦﹫−])")


def _cell(value: str | int | float | None) -> str | int | None:
    if isinstance(value, str):
        return as_text(value)
    return f"{value:.6g}" if isinstance(value, float) else value
