"""Tables hold text that no spreadsheet runs, and numbers that stay numbers."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from napari_semigda.io.atomic import as_text, write_table

STARTS = "=+-@\t\r＝＋－＠"


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    "before", ["", " ", "\u00a0", '"', ' "', "\ufeff", "a;", "a\n", "a\t", "a,", 'a;"', "\n"]
)
def test_a_formula_is_written_as_text(tmp_path: Path, start: str, before: str) -> None:
    write_table(tmp_path / "t.csv", ["image", "@x"], [(f"{before}{start}HYPERLINK(1)", -2)])
    text = (tmp_path / "t.csv").read_text(encoding="utf-8")
    for separator in ",;\t":
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            for cell in row:
                bare = cell.strip(' "\u00a0\ufeff\n')
                assert not bare.startswith(tuple("=+@＝＋－＠")), text
                assert bare[:1] != "-" or bare == "-2", text


def test_numbers_stay_numbers_and_names_stay_names(tmp_path: Path) -> None:
    rows = [("a-1.tif", -1, -0.25, None), ("b/=c (2).tif", 3, 1e-7, "x@y.org")]
    write_table(tmp_path / "t.csv", ["image", "count", "share", "note"], rows)
    assert (tmp_path / "t.csv").read_text().splitlines()[1:] == [
        "a-1.tif,-1,-0.25,",
        "b/=c (2).tif,3,1e-07,x@y.org",
    ]


@given(st.text())
@example("\t@")
@example("\r=1")
def test_no_text_begins_as_a_formula(text: str) -> None:
    shown = as_text(text)
    assert not shown.lstrip(' "\n').startswith(tuple(STARTS))
    assert shown.replace("'", "") == text.replace("'", "")
