import tempfile
from collections import Counter
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_semigda.errors import SemiGDAError
from packs import Pair, Split, class_names, is_pack, split_pack, truth

seeds = st.integers(0, 1000)
#: For each image the group of near-duplicates it belongs to; "" for most of them.
groups = st.lists(st.sampled_from(["", "", "", "1", "2", "3"]), min_size=8, max_size=40)


def written(groups: list[str], name: str = "drawn") -> Path:
    """A pack's table; splitting opens no image."""
    pack = Path(tempfile.mkdtemp()) / name
    pack.mkdir()
    lines = [f"{number:03},{group}" for number, group in enumerate(groups)]
    (pack / "meta.csv").write_text("\n".join(["stem,near_dup_group", *lines]), encoding="utf-8")
    return pack


def stems(split: Split) -> tuple[list[str], list[str], list[str]]:
    return tuple([pair.stem for pair in part] for part in (split.labeled, split.unlabeled, split.test))


@given(groups, seeds, st.booleans())
def test_each_image_is_in_exactly_one_part(groups, seed, random_split):
    split = split_pack(written(groups), "3", test=3, seed=seed, random_split=random_split)

    labeled, unlabeled, test = stems(split)
    assert Counter(labeled + unlabeled + test) == Counter(f"{n:03}" for n in range(len(groups)))
    assert len(labeled) == 3


@given(groups, seeds)
def test_near_duplicates_of_a_test_image_are_test_images(groups, seed):
    split = split_pack(written(groups), "1", test=4, seed=seed)

    tested = {int(stem) for stem in stems(split)[2]}
    for group in set(groups) - {""}:
        members = {number for number, own in enumerate(groups) if own == group}
        assert members <= tested or not members & tested
    assert split.kind == "grouped"


@given(groups, seeds)
def test_the_test_has_as_many_images_as_asked_for_as_far_as_groups_allow(groups, seed):
    asked = 4
    tested = len(split_pack(written(groups), "1", test=asked, seed=seed).test)

    left_over = Counter(group for group in groups if group)
    singles = groups.count("")
    assert tested <= asked
    assert tested == asked or singles < asked
    assert asked - tested < max(left_over.values(), default=1)


@given(groups, seeds)
def test_a_random_split_has_exactly_the_test_images_asked_for(groups, seed):
    split = split_pack(written(groups), "2", test=5, seed=seed, random_split=True)

    assert (len(split.test), split.kind) == (5, "random")


@given(groups, seeds, st.booleans())
def test_the_same_seed_gives_the_same_split_and_more_labels_add_to_fewer(groups, seed, random_split):
    pack = written(groups)

    def split(count):
        return split_pack(pack, count, test=2, seed=seed, random_split=random_split)

    few, more = split("2"), split("4")

    assert split("2") == few
    assert few.test == more.test
    assert few.labeled == more.labeled[:2]


def test_other_seeds_give_other_splits():
    pack = written([""] * 40)

    tests = {tuple(stems(split_pack(pack, "3", seed=seed))[2]) for seed in range(5)}

    assert len(tests) == 5


@given(seeds)
def test_the_test_of_a_stack_is_one_of_its_ends(seed):
    split = split_pack(written([""] * 30, "isbi2012_em"), "3", seed=seed)

    tested = [int(stem) for stem in stems(split)[2]]
    assert tested in (list(range(10)), list(range(20, 30)))
    assert split.kind == "contiguous"


@pytest.mark.parametrize(("asked", "count"), [("10%", 5), ("30%", 16), ("100%", 52), ("7", 7)])
def test_labels_are_asked_for_as_a_number_or_as_a_share_of_what_is_not_tested(asked, count):
    split = split_pack(written([""] * 65), asked, seed=0)

    assert (len(split.labeled), len(split.unlabeled), len(split.test)) == (count, 52 - count, 13)


@pytest.mark.parametrize("asked", ["0", "53", "some", "0%", "nan%", "200%"])
def test_a_number_of_labels_that_cannot_be_is_refused(asked):
    with pytest.raises(SemiGDAError, match=asked):
        split_pack(written([""] * 65), asked, seed=0)


def test_a_folder_that_is_no_pack_is_told_apart(tmp_path, make_pack):
    assert is_pack(make_pack(["", ""]))
    assert not is_pack(tmp_path / "nothing")
    with pytest.raises(SemiGDAError, match=r"meta\.csv"):
        split_pack(tmp_path / "nothing", "1", seed=0)


def test_the_truth_is_the_mask_file_as_zeros_and_ones(make_pack):
    pair = split_pack(make_pack([""] * 3), "1", seed=0).labeled[0]

    mask = truth(pair)

    np.testing.assert_array_equal(mask, iio.imread(pair.mask) // 255)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1}


def test_the_masks_of_a_pack_of_several_classes_are_label_maps(tmp_path):
    mask = np.array([[0, 1], [2, 2]], np.uint8)
    (tmp_path / "wbc" / "masks").mkdir(parents=True)
    iio.imwrite(tmp_path / "wbc" / "masks" / "000.png", mask)

    assert class_names(tmp_path / "wbc") == ("cytoplasm", "nucleus")
    assert class_names(tmp_path / "busi") == ("object",)
    pair = Pair("000", tmp_path / "wbc" / "images" / "000.png", tmp_path / "wbc" / "masks" / "000.png")
    np.testing.assert_array_equal(truth(pair), mask)
