"""Tables of the label-efficiency runs, made from their JSON files and put into the documentation.

In the documentation `<!-- results: NAME key=pattern … -->` … `<!-- end -->` encloses what this script writes:
the table NAME (comparison, classes, budget, ablation, carried) of the runs whose values fit the patterns, as
in `<!-- results: comparison budget=600 pack=busi,isic2017 device=CPU* -->`. All other text is left alone.

    python benchmarks/tables.py            writes the tables
    python benchmarks/tables.py --check    exits with 1 where they are not what the JSON files say
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import write_bytes

RESULTS = Path(__file__).parent / "results" / "label_efficiency"
DOCS = Path(__file__).parents[1] / "docs" / "benchmarks.md"

Result = dict[str, Any]
"""One run: what `label_efficiency.py` writes."""

COMPARED = ("ours", "ours-labeled-only", "unet", "mean-teacher")
OVER_ROUNDS = ("carried", "afresh")
METHODS = {
    "ours": "ours",
    "ours-labeled-only": "ours, labeled images only",
    "unet": "U-Net",
    "mean-teacher": "Mean Teacher U-Net",
    "carried": "carried over rounds",
    "afresh": "afresh each round",
}
SPLITS = {
    "random": "random split, near-duplicates on both sides",
    "grouped": "near-duplicates and neighbors on one side",
    "contiguous": "near-duplicates and neighbors on one side",
}
NOT_RUN = "Not run yet."

ENOUGH_PROCESSOR = 0.8
"""Processor time of a run's steps as a share of their time, below which its table warns."""

_RUN_HEAD = ("pack", "labeled", "unlabeled", "framing", "method", "seeds", "Dice", "spread over images")
_RUN_HEAD += ("IoU", "HD95, pixels", "steps", "also measured, Dice")
_VARIANT_HEAD = (
    "variant",
    "seeds",
    "Dice",
    "against the default, same seeds",
    "steps",
    "also measured, Dice",
)

_SECTION = re.compile(r"(<!-- results: (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON files")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the page that holds the tables")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if anything differs")
    given = parser.parse_args(arguments)
    text = given.docs.read_text(encoding="utf-8")
    new = with_tables(text, read_results(given.results))
    if new == text:
        return 0
    if given.check:
        print(f"{given.docs} is not what the results say: run python benchmarks/tables.py", file=sys.stderr)
        return 1
    write_bytes(given.docs, new.encode())
    return 0


def read_results(folder: Path) -> list[Result]:
    """All runs of a folder, in the order of their files' names; none where there is no folder."""
    return [read_result(path) for path in sorted(folder.glob("*.json"))]


def read_result(path: Path) -> Result:
    """Read one run.

    Raises
    ------
    SemiGDAError
        If the file is no JSON.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise SemiGDAError(f"{path} holds no result ({error}): remove it and run it again.") from error


def with_tables(text: str, results: Sequence[Result]) -> str:
    """Return a page with all of its tables written anew."""

    def section(match: re.Match[str]) -> str:
        name, *filters = match[2].split()
        if name not in TABLES:
            raise SemiGDAError(f"There is no table “{name}”: choose {', '.join(TABLES)}.")
        chosen = [result for result in results if _fits(result, filters)]
        return f"{match[1]}\n{TABLES[name](chosen) or NOT_RUN}\n\n{match[4]}"

    return _SECTION.sub(section, text)


def _fits(result: Result, filters: Iterable[str]) -> bool:
    for condition in filters:
        key, _, patterns = condition.partition("=")
        value = result.get(key)
        text = f"{value:g}" if isinstance(value, float) else str(value)
        if not any(fnmatchcase(text, pattern) for pattern in patterns.split(",")):
            return False
    return True


# Tables ----------------------------------------------------------------------------------------------------


def comparison_table(results: Sequence[Result]) -> str:
    """Methods side by side, each with the settings it has by default."""
    plain = [result for result in results if result["method"] in COMPARED and not result["name"]]
    return _by_conditions(plain, "budget", table=run_table)


def run_table(results: Sequence[Result]) -> str:
    """What each run came to, averaged over seeds."""
    return _table(_RUN_HEAD, (_run_row(row) for row in _rows(results)))


def _run_row(row: list[Result]) -> tuple[str, ...]:
    first = row[0]
    also = (f"{name} {_mean(result['also'][name]['dice'] for result in row):.3f}" for name in first["also"])
    return (
        first["pack"],
        str(first["labeled"]),
        _number(result["unlabeled"] for result in row),
        first["framing"],
        _label(first),
        str(len(row)),
        _with_spread([result["mean"]["dice"] for result in row]),
        f"{_mean(result['spread']['dice'] for result in row):.3f}",
        f"{_mean(result['mean']['iou'] for result in row):.3f}",
        f"{_mean(result['mean']['hd95'] for result in row):.1f}",
        _number(result["steps"] for result in row),
        ", ".join(also),
    )


def classes_table(results: Sequence[Result]) -> str:
    """Methods side by side on packs of several classes: Dice of each class, and their mean."""
    several = [
        result
        for result in results
        if result["method"] in COMPARED and not result["name"] and _classes(result)
    ]
    return _by_conditions(several, "budget", "pack", table=_each_class)


def _each_class(results: Sequence[Result]) -> str:
    lines = []
    for row in _rows(results):
        keys = ["dice", *(f"dice {name}" for name in _classes(row[0]))]
        scores = [_with_spread([result["mean"][key] for result in row]) for key in keys]
        pack, labeled, unlabeled, _, method, seeds, *_, hd95, steps, _ = _run_row(row)
        lines.append((pack, labeled, unlabeled, method, seeds, *scores, hd95, steps))
    names = (f"Dice, {name}" for name in _classes(results[0]))
    head = (
        "pack",
        "labeled",
        "unlabeled",
        "method",
        "seeds",
        "Dice, mean",
        *names,
        "HD95, pixels",
        "steps",
    )
    return _table(head, lines)


def _classes(result: Result) -> list[str]:
    """The names of a pack's classes, where there are several."""
    return [key.removeprefix("dice ") for key in result["mean"] if key.startswith("dice ")]


def budget_table(results: Sequence[Result]) -> str:
    """Dice after several budgets, where there is more than one; each cell is a run of its own."""
    plain = [result for result in results if result["method"] in COMPARED and not result["name"]]
    return _by_conditions(plain, table=_budgets)


def _budgets(results: Sequence[Result]) -> str:
    budgets = sorted({result["budget"] for result in results})
    if len(budgets) < 2:
        return ""
    head = ("pack", "labeled", "framing", "method", *(f"{_duration(budget)}" for budget in budgets))
    lines = []
    for row in _rows(results, without="budget"):
        cells = []
        for budget in budgets:
            dice = [result["mean"]["dice"] for result in row if result["budget"] == budget]
            cells.append(_with_spread(dice) if dice else "—")
        first = row[0]
        lines.append((first["pack"], str(first["labeled"]), first["framing"], _label(first), *cells))
    return _table(head, lines)


def ablation_table(results: Sequence[Result]) -> str:
    """Variants of one method beside its default; only where there are variants."""
    keys = ("pack", "labeled", "method", "preset", "one_object", "start", "framing", "budget")
    return _by_conditions(results, *keys, table=_variants)


def _variants(results: Sequence[Result]) -> str:
    rows = _rows(results)
    if len(rows) < 2:
        return ""
    usual = next((row for row in rows if not _variant(row[0])), [])
    default = {result["seed"]: result["mean"]["dice"] for result in usual}
    lines = []
    for row in rows:
        gains = [one["mean"]["dice"] - default[one["seed"]] for one in row if one["seed"] in default]
        *_, seeds, dice, _, _, _, steps, also = _run_row(row)
        gain = f"{_mean(gains):+.3f}" if gains and row is not usual else "—"
        lines.append((_variant(row[0]) or "default", seeds, dice, gain, steps, also))
    return _table(_VARIANT_HEAD, lines)


def rounds_table(results: Sequence[Result]) -> str:
    """A network carried from round to round beside one trained afresh in each."""
    plain = [result for result in results if result["method"] in OVER_ROUNDS and not result["name"]]
    return _by_conditions(plain, "budget", table=_rounds)


def _rounds(results: Sequence[Result]) -> str:
    lines = []
    for row in _rows(results):
        for number, first in enumerate(row[0]["rounds"]):
            rounds = [result["rounds"][number] for result in row]
            lines.append(
                (
                    row[0]["pack"],
                    _label(row[0]),
                    str(number + 1),
                    str(first["labeled"]),
                    _number(one["unlabeled"] for one in rounds),
                    str(len(row)),
                    _with_spread([one["mean"]["dice"] for one in rounds]),
                    _number(one["steps"] for one in rounds),
                )
            )
    head = ("pack", "network", "round", "labeled", "unlabeled", "seeds", "Dice", "steps of the round")
    return _table(head, lines)


TABLES: dict[str, Callable[[Sequence[Result]], str]] = {
    "comparison": comparison_table,
    "classes": classes_table,
    "budget": budget_table,
    "ablation": ablation_table,
    "carried": rounds_table,
}


# Grouping --------------------------------------------------------------------------------------------------


def _by_conditions(results: Sequence[Result], *keys: str, table: Callable[[Sequence[Result]], str]) -> str:
    """One table for each set of conditions, below a line that names them."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        shared = (SPLITS[result["split"]], result["device"], result["threads"], result["clock"])
        shared += (result["working_size"],)
        groups.setdefault((*(result[key] for key in keys), *shared), []).append(result)
    parts = []
    for _, group in sorted(groups.items(), key=lambda item: [_sortable(value) for value in item[0]]):
        if text := table(group):
            parts += [_conditions(group, keys), text, *_starved(group)]
    return "\n\n".join(parts)


def _starved(group: Sequence[Result]) -> list[str]:
    """A warning where others used the processor, so that a run got less done in its time than it might."""
    shares = {
        f"{_label(run)} on {run['pack']}, {run['labeled']} labeled, {_duration(run['budget'])}, "
        f"seed {run['seed']}": run["processor_seconds"] / run["seconds"]
        for run in group
        if run["clock"] == "wall" and run["device"].startswith("CPU")
    }
    told = [f"{name} ({share:.0%})" for name, share in sorted(shares.items()) if share < ENOUGH_PROCESSOR]
    return [f"Got too little of the processor to be compared: {'; '.join(told)}."] if told else []


def _conditions(group: Sequence[Result], keys: Sequence[str]) -> str:
    first = group[0]
    parts = [str(first["pack"])] if "pack" in keys else []
    if "labeled" in keys:
        parts += [f"{first['labeled']} labeled", _label(first | {"name": "", "recipe": "default"})]
        parts += [f"framing {first['framing']}"]
    if "budget" in keys:
        parts += [f"{_duration(first['budget'])} of training"]
    if first["clock"] == "processor":
        parts += ["seconds of the processor"]
    threads = f"{first['threads']} thread{'s' if first['threads'] != 1 else ''}"
    dates = sorted({result["date"] for result in group})
    parts += [
        f"{first['device']}, {threads}",
        f"working size {first['working_size']}",
        SPLITS[first["split"]],
    ]
    parts += ["torch " + ", ".join(sorted({result["torch"] for result in group}))]
    return "; ".join([*parts, " to ".join(dict.fromkeys([dates[0], dates[-1]]))]) + "."


def _rows(results: Sequence[Result], without: str = "seed") -> list[list[Result]]:
    """Runs that differ in nothing but the seed (and in `without`), ordered for a table.

    Raises
    ------
    SemiGDAError
        If a change of the code made runs differ that say they do not.
    """
    rows: dict[tuple[Any, ...], list[Result]] = {}
    keys = ("pack", "labeled", "split", "method", "preset", "recipe", "one_object")
    keys += ("start", "name", "framing", "budget")
    for result in results:
        key = tuple(_sortable(result[key], key) for key in keys if key != without)
        rows.setdefault(key, []).append(result)
    for row in rows.values():
        row.sort(key=lambda result: (result["budget"], result["seed"]))
        _check_recipes(row)
    return [row for _, row in sorted(rows.items())]


def _check_recipes(row: Sequence[Result]) -> None:
    recipes = [result["recipe_values"] or {} for result in row]
    for other in recipes[1:]:
        if any(other[key] != recipes[0][key] for key in other.keys() & recipes[0].keys()):
            raise SemiGDAError(
                f"Runs of {_label(row[0])} on {row[0]['pack']} with {row[0]['labeled']} labeled images "
                "were made with different recipes of one name: run them --again, or give them another --name."
            )


def _sortable(value: Any, key: str = "") -> tuple[float, str]:
    """Numbers by size, methods in the order of tables, nothing and defaults first, other text by itself."""
    if key == "method":
        return list(METHODS).index(value), ""
    if isinstance(value, int | float):
        return float(value), ""
    return (0.0, "") if value in (None, "", "default", "random") else (1.0, str(value))


# Words and numbers -----------------------------------------------------------------------------------------


def _label(result: Result) -> str:
    """Name of a method with whatever is not as usual."""
    one_object = "one object an image" if result["one_object"] else ""
    words = (result["preset"], one_object, _start(result), _variant(result))
    told = ", ".join(word for word in words if word)
    return METHODS[result["method"]] + (f" ({told})" if told else "")


def _start(result: Result) -> str:
    start = result["start"]
    return {None: "", "random": "", "shipped": "pre-trained"}.get(start, f"from {start}")


def _variant(result: Result) -> str:
    recipe = f"recipe {result['recipe']}" if result["recipe"] not in (None, "default") else ""
    return ", ".join(word for word in (recipe, result["name"]) if word)


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)


def _with_spread(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{_mean(values):.3f}{spread}"


def _number(values: Iterable[float]) -> str:
    return f"{_mean(values):.0f}"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 and seconds % 60 == 0 else f"{seconds:g} s"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
