import imageio.v3 as iio
import numpy as np
import pytest

from lesions_and_cells import write_samples
from napari_semigda.samples import sample_pairs


@pytest.fixture(scope="module")
def rewritten(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder)
    return folder


def test_at_least_forty_pairs_are_bundled_and_small():
    pairs = sample_pairs()

    assert len(pairs) >= 40
    assert all(path.is_file() for pair in pairs for path in pair)
    assert sum(path.stat().st_size for pair in pairs for path in pair) < 1_000_000


def test_image_and_mask_share_name_and_size():
    for image_path, mask_path in sample_pairs():
        image, mask = iio.imread(image_path), iio.imread(mask_path)
        assert image_path.name == mask_path.name
        assert image.shape == mask.shape == (128, 128)
        assert set(np.unique(mask)) == {0, 255}


def test_the_bundled_files_are_what_the_generator_writes(rewritten):
    for image_path, mask_path in sample_pairs():
        np.testing.assert_array_equal(iio.imread(mask_path), iio.imread(rewritten / "masks" / mask_path.name))
        image, again = iio.imread(image_path), iio.imread(rewritten / "images" / image_path.name)
        # Another processor's last bit may round one gray level up or down.
        assert np.abs(image.astype(int) - again).max() <= 1
