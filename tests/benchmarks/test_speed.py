import pytest
import torch
from imageio.v3 import imread

from napari_semigda.model.loading import random_autoencoder
from napari_semigda.model.network import SemiGDANet
from speed import BATCH, HEAD, SeparatePasses, main


def test_separate_passes_say_what_one_pass_says():
    whole = SemiGDANet("compact", autoencoder=random_autoencoder("compact")).eval()
    apart = SeparatePasses.of(whole).eval()
    images = torch.rand(2 * BATCH, 3, 32, 32) * 2 - 1
    noise = torch.randn(2 * BATCH, 4, 4, 4)
    with torch.no_grad():
        expected, found = whole.latents(images, noise), apart.latents(images, noise)
        pairs = [
            *zip(
                expected.image_skips + expected.mask_skips, found.image_skips + found.mask_skips, strict=True
            ),
            (whole.decode_image_branch(expected), apart.decode_image_branch(found)),
            (whole.decode_mask_branch(expected), apart.decode_mask_branch(found)),
        ]
    for one, other in pairs:
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


WAYS = {"plain": "plain", "shipped": "as shipped", "bf16": "in bf16", "channels-last": "channels last"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "ways", [["plain", "shipped"], pytest.param(list(WAYS), marks=pytest.mark.nightly)], ids=["two", "all"]
)
def test_the_table_has_the_first_way_as_its_measure(capsys, tmp_path, ways):
    arguments = ["--device", "cpu", "--threads", "1", "--working-size", "32", "--steps", "5"]
    drawn = ["--curves", str(tmp_path / "losses.png")]
    assert main([*arguments, "--preset", "compact", "--ways", *ways, *drawn]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index(HEAD)
    rows = [line.split(" | ") for line in lines[start + 2 :]]
    assert len(lines[start + 1].split("|")) == len(lines[start].split("|"))
    assert [row[2] for row in rows] == [WAYS[way] for way in ways]
    assert rows[0][3].endswith("(1.00 ×)")
    assert float(rows[1][3].split()[0]) > 0
    first = [float(row[-1].split()[0]) for row in rows]
    assert first == pytest.approx(
        [first[0]] * len(ways), rel=0.02
    )  # the same network and images, whatever the way
    assert imread(tmp_path / "losses.png").ndim == 3
