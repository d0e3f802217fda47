"""Draw what simulated annotators came to: Dice and effort against the images accepted so far.

Reads the JSON files of `annotation_session.py`, writes one picture for each pack and set of conditions, with
the mean and the spread over seeds of each strategy, and prints the table of images needed to reach a Dice.

    python benchmarks/curves.py
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from annotation_session import BASELINE, RESULTS, Curves, comparisons, conditions, needed_table
from napari_semigda.io.atomic import atomic_file
from napari_semigda.session.ranking import DEFAULT_ORDER, ORDERS, current_name
from tables import read_results

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"

COLORS = dict(zip(ORDERS, ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"), strict=True))
COLORS[BASELINE] = "#222222"
"""Told apart by people who see colors in another way, too (Okabe and Ito)."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON files")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="folder that the pictures go to")
    given = parser.parse_args(arguments)
    results = read_results(given.results)
    if not results:
        print(f"skipped: there is no result in {given.results}")
        return 0
    given.pictures.mkdir(parents=True, exist_ok=True)
    groups = comparisons(results)
    for name, curves in zip(_names(groups), groups, strict=True):
        with atomic_file(given.pictures / f"{name}.png") as temporary:
            draw(curves).savefig(temporary)
        print(f"{name}.png: {conditions(curves)}")
    print(f"\n{needed_table(results)}")
    return 0


def draw(curves: Sequence[Curves]) -> Figure:
    """Draw one comparison: Dice at the left, effort at the right."""
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(8, 3.4), dpi=120, layout="constrained")
        quality, work = figure.subplots(1, 2)
        for one in curves:
            _line(quality, one, one.accepted, one.dice)
            _line(work, one, np.concatenate([[0], one.accepted[:-1]]), 100 * one.effort)
        _name_axes(quality, "images accepted", "Dice on test images")
        _name_axes(work, "images accepted that the draft learned from", "pixels changed in a draft, %")
        work.set_ylim(bottom=0)
        first = curves[0].results[0]
        title = f"{first['pack']}: rounds of {first['budget']:g} s, {first['pool']} images"
        figure.suptitle(f"{title}, mean and spread of {max(len(one.results) for one in curves)} seeds")
        quality.legend(frameon=False, loc="lower right")
    return figure


def _line(axes: Axes, one: Curves, accepted: NDArray[np.int_], values: NDArray[np.float64]) -> None:
    strategy = current_name(one.results[0]["strategy"])
    color = COLORS[strategy]
    bold = strategy in (DEFAULT_ORDER, BASELINE)
    mean = values.mean(axis=0)
    style = "--" if strategy == BASELINE else "-"
    width = 2.0 if bold else 1.0
    axes.plot(
        accepted, mean, style, color=color, linewidth=width, marker="o", markersize=3, label=one.strategy
    )
    if len(values) > 1:
        spread = values.std(axis=0, ddof=1)
        axes.fill_between(
            accepted, mean - spread, mean + spread, color=color, alpha=0.15 if bold else 0.06, linewidth=0
        )


def _name_axes(axes: Axes, horizontal: str, vertical: str) -> None:
    axes.set_xlabel(horizontal)
    axes.set_ylabel(vertical)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.set_xlim(left=0)


def _names(groups: Sequence[Sequence[Curves]]) -> list[str]:
    """A file name for each comparison: the pack, and a number where it has several."""
    names: list[str] = []
    for curves in groups:
        pack = re.sub(r"[^\w-]+", "-", f"annotation_{curves[0].results[0]['pack']}")
        number = sum(name == pack or name.startswith(f"{pack}-") for name in names) + 1
        names.append(pack if number == 1 else f"{pack}-{number}")
    return names


if __name__ == "__main__":
    sys.exit(main())
