import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_semigda.cli import main
from napari_semigda.samples import sample_pairs
from napari_semigda.session.session import Session


def table_rows(printed: str) -> list[tuple[float, ...]]:
    """The demo's table: round, labeled images, Dice, seconds."""
    rows = re.findall(r"│\s*(\d+) │\s*(\d+) │\s*([\d.]+) │\s*(\d+) │", printed)
    return [tuple(float(value) for value in row) for row in rows]


@pytest.mark.slow
def test_the_demo_labels_trains_corrects_trains_and_exports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = sample_pairs()[:12]  # all of them at night, see below
    monkeypatch.setattr("napari_semigda.samples.sample_pairs", lambda: few)
    assert main(["demo", "--steps", "3", "--device", "cpu", "--session", str(tmp_path / "demo")]) == 0
    rows = table_rows(capsys.readouterr().out)
    assert [row[:2] for row in rows] == [(1, 4), (2, 8)]
    assert all(0 <= row[2] <= 1 for row in rows)
    with Session.open(tmp_path / "demo" / "session") as session:
        accepted = {Path(entry.item).name: entry for entry in session.labels.journal()}
        assert len(accepted) == 8
        assert [record.status for record in session.rounds] == ["complete", "complete"]
    masks = sorted((tmp_path / "demo" / "masks").glob("*.tif"))
    assert len(masks) == len(few)
    assert all(set(np.unique(tifffile.imread(mask))) <= {0, 1} for mask in masks)


def test_the_demo_does_not_touch_a_folder_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "session" / "labels"
    folder.mkdir(parents=True)
    (folder / "mine.tif").write_bytes(b"precious")
    assert main(["demo", "--steps", "3", "--session", str(tmp_path)]) == 1
    assert "labels" in capsys.readouterr().err
    assert (folder / "mine.tif").read_bytes() == b"precious"


@pytest.mark.nightly
def test_the_demo_segments_what_was_never_labeled(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--device", "cpu"]) == 0
    first, last = table_rows(capsys.readouterr().out)
    assert last[2] >= 0.85
    assert last[2] >= first[2]
    assert first[3] + last[3] < 300
