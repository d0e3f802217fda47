"""Whatever moment the program is killed at: a mask whose accept returned is on the disk, whole."""

import subprocess
import sys

import numpy as np
import pytest

from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session

WORK = """
import sys
import numpy as np
from napari_semigda.session.session import Session

session = Session.open(sys.argv[1])
for number in range(1000):
    for item in session.items:
        mask = np.zeros(item.shape, np.uint8)
        mask.ravel()[: number % mask.size] = 1
        session.labels.keep_edit(item, mask)
        session.accept(item, mask)
        print(item.id, number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "lines", [7, *(pytest.param(more, marks=pytest.mark.nightly) for more in (1, 40, 100))]
)
def test_accepted_masks_survive_being_killed(session: Session, lines: int) -> None:
    session.close()
    command = [sys.executable, "-c", WORK, str(session.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        told += child.stdout.readlines()
    accepted = {line.split()[0]: int(line.split()[1]) for line in told if line.endswith("\n")}

    again = Session.open(session.folder)
    assert len(accepted) >= min(lines, 6)
    for item_id, number in accepted.items():
        labels = again.labels.get(item_id)
        assert labels is not None
        assert again.state(item_id) is ItemState.ACCEPTED
        # the next accept of this item may have been on its way
        assert int(labels.sum()) in (number, number + 1)
        np.testing.assert_array_equal(labels.ravel()[: labels.sum()], 1)
        assert again.labels.starting_mask(item_id).shape == again.item(item_id).shape
        again.accept(item_id, labels)
    visible = [path for path in (session.folder / "labels").iterdir() if not path.name.startswith(".")]
    assert {path.stem for path in visible} <= {item.id for item in again.items}
    assert len(again.labels.journal()) >= 2 * len(accepted)
