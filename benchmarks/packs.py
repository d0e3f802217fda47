"""Image packs and how they are split: which images have labels, which have none, which only test.

A pack is a folder with `images/STEM.png`, `masks/STEM.png` (above 127: object; label maps in the packs of
`CLASSES`) and `meta.csv`, whose column `stem` names the pairs and whose column `near_dup_group`, where there
is one, the groups of near-duplicates.
"""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError

TEST_COUNTS = {
    "busi": 130,
    "isic2017": 100,
    "dsb2018": 200,
    "isbi2012_em": 10,
    "usiigaci_phase": 20,
    "wbc": 100,
}
"""Test images of the packs that the tables name; of any other pack a fifth."""

CLASSES = {"wbc": ("cytoplasm", "nucleus")}
"""Packs of several classes, whose masks are label maps, with the names of the values 1, 2, …"""

STACKS = {"isbi2012_em"}
"""Packs that are one stack of sections, so that neighbors in the list look alike."""


@dataclass(frozen=True)
class Pair:
    """An image file and its mask file."""

    stem: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Split:
    """Which pairs of a pack do what.

    Attributes
    ----------
    labeled
        Train with their masks.
    unlabeled
        Train without them.
    test
        Take part in nothing.
    kind
        ``"grouped"``: near-duplicates are all in the test or none is. ``"random"``: as drawn, near-duplicates
        or not, as in the literature. ``"contiguous"``: the test is one end of a stack.
    """

    labeled: tuple[Pair, ...]
    unlabeled: tuple[Pair, ...]
    test: tuple[Pair, ...]
    kind: str


def is_pack(folder: Path) -> bool:
    """Whether there is a pack in this folder."""
    return (folder / "meta.csv").is_file() and (folder / "images").is_dir() and (folder / "masks").is_dir()


def split_pack(
    pack: Path, labeled: str, *, test: int | None = None, seed: int, random_split: bool = False
) -> Split:
    """Split a pack. With the same seed the test is the same, and fewer labeled images are some of the more.

    Parameters
    ----------
    pack
        Folder of the pack.
    labeled
        How many images have labels: a number, or a share of what is not in the test, such as ``"10%"``.
    test
        How many images test; None takes the pack's number in `TEST_COUNTS`. Where groups do not fit, the
        test is smaller by less than the smallest group that was left over.
    seed
        Of every choice.
    random_split
        Ignore near-duplicates and neighbors, as published results mostly do.

    Raises
    ------
    SemiGDAError
        If the pack cannot be read, or has too few images.
    """
    rows = _rows(pack)
    count = TEST_COUNTS.get(pack.name, max(1, len(rows) // 5)) if test is None else test
    if not 0 <= count < len(rows):
        raise SemiGDAError(f"{pack} has {len(rows)} images: {count} cannot be kept for the test.")
    kind = "random" if random_split else "contiguous" if pack.name in STACKS else "grouped"
    tested = _tested(rows, count, kind, random.Random(f"test {seed}"))
    pool = [row["stem"] for row in rows if row["stem"] not in tested]
    random.Random(f"labeled {seed}").shuffle(pool)
    number = _labeled_count(labeled, len(pool))
    pairs = [_pair(pack, stem) for stem in pool]
    test_pairs = tuple(_pair(pack, row["stem"]) for row in rows if row["stem"] in tested)
    return Split(tuple(pairs[:number]), tuple(pairs[number:]), test_pairs, kind)


def class_names(pack: Path) -> tuple[str, ...]:
    """The names of a pack's classes, by value, from 1 on."""
    return CLASSES.get(pack.resolve().name, ("object",))


def truth(pair: Pair) -> NDArray[np.uint8]:
    """The mask of a pair: (H, W), 0 and 1, or the values of its classes, in its original size."""
    mask = iio.imread(pair.mask)
    if len(class_names(pair.mask.parents[1])) > 1:
        return mask.astype(np.uint8)
    return ((mask if mask.ndim == 2 else mask[..., :3].max(axis=-1)) > 127).astype(np.uint8)


def _rows(pack: Path) -> list[dict[str, str]]:
    try:
        with (pack / "meta.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return sorted(rows, key=lambda row: row["stem"])
    except (OSError, KeyError) as error:
        raise SemiGDAError(f"{pack} is no image pack: meta.csv with a column “stem” is missing.") from error


def _tested(rows: list[dict[str, str]], count: int, kind: str, choice: random.Random) -> set[str]:
    stems = [row["stem"] for row in rows]
    if kind == "random":
        return set(choice.sample(stems, count))
    if kind == "contiguous":
        return set(choice.choice((stems[:count], stems[len(stems) - count :])))
    groups: dict[str, list[str]] = {}
    for row in rows:
        group = row.get("near_dup_group")
        groups.setdefault(f"group {group}" if group else f"single {row['stem']}", []).append(row["stem"])
    order = sorted(groups)
    choice.shuffle(order)
    tested: set[str] = set()
    for name in order:
        if len(tested) + len(groups[name]) <= count:
            tested.update(groups[name])
    return tested


def _labeled_count(labeled: str, pool: int) -> int:
    try:
        share = labeled.endswith("%")
        number = round(pool * float(labeled[:-1]) / 100) if share else int(labeled)
    except (ValueError, OverflowError) as error:
        raise SemiGDAError(f"“{labeled}” is neither a number of images nor a share such as 10%.") from error
    if not 1 <= number <= pool:
        raise SemiGDAError(f"{labeled} labeled images were asked for, but there are {pool} for training.")
    return number


def _pair(pack: Path, stem: str) -> Pair:
    return Pair(stem, pack / "images" / f"{stem}.png", pack / "masks" / f"{stem}.png")
