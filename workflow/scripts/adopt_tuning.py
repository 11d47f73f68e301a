"""Take the trace of a search into paper/reference and its winners into configs/methods.

    python workflow/scripts/adopt_tuning.py mini

Copies results/RUN/tuning.csv, its figure and its table of published beside searched settings to
paper/reference/tuning/RUN.csv, .png and .md, and rewrites the blocks `tuned` and `second` at the
end of each method's file from all traces there: no value is typed. `second` is there where the
winner of the first round lies at an edge of its space: `snakemake tune` then plans as many
candidates again around it. A trace that is too small to choose by is refused.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from unlearning.config import hyperparameters, spaces
from unlearning.plan.tuning import PUBLISHED

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "configs/methods"
MARK = "# Chosen by `snakemake tune`, written by workflow/scripts/adopt_tuning.py:\ntuned:\n"
PLACE = ("dataset", "arch", "scenario")
CANDIDATES, CELLS = 16, 6
"""Fewest of a search that may be adopted: three classes or forget sets, two training seeds."""


def groups(trace: Path) -> list[list[dict[str, str]]]:
    """The rows of a trace, method by method on each data set, architecture and scenario."""
    found: dict[tuple, list] = {}
    with open(trace, newline="", encoding="utf-8-sig") as handle:
        for row in csv.DictReader(handle):
            found.setdefault(tuple(row[key] for key in (*PLACE, "method")), []).append(row)
    return list(found.values())


def winners(traces: list[Path]) -> dict[str, list[str]]:
    """The YAML blocks of each method's best candidates, from the traces of all runs."""
    found: dict[str, list[str]] = {}
    for trace in traces:
        for rows in groups(trace):
            for row in (row for row in rows if row["chosen"]):
                found.setdefault(row["method"], []).append(_block(row, rows, trace))
    return found


def second_rounds(traces: list[Path], folder: Path = FOLDER) -> dict[str, list[str]]:
    """The YAML blocks of the second rounds that the winners of the first ones ask for."""
    found: dict[str, list[str]] = {}
    for trace in traces:
        for rows in groups(trace):
            first = [row for row in rows if row.get("round") == "1" and row["objective"]]
            if not first:
                continue
            best = max(first, key=lambda row: float(row["objective"]))
            method, cell = best["method"], {key: best[key] for key in PLACE}
            published = hyperparameters.around(method, cell, folder)
            space = hyperparameters.searched_space(method, cell, folder)[1][0]
            point = json.loads(best["settings"])
            if edges := spaces.at_edge(space, published, point):
                wider = spaces.around(space, published, point)
                found.setdefault(method, []).append(
                    f"{_when(cell)}"
                    f"    source: around {best['candidate']}, at the edge of {', '.join(edges)}"
                    f" (paper/reference/tuning/{trace.name})\n"
                    f"    space: {_value(wider)}\n"
                )
    return found


def too_small(trace: Path) -> Iterator[str]:
    """Why a trace is no ground to choose settings by; nothing if it is."""
    for rows in groups(trace):
        name = f"{rows[0]['method']}, {rows[0]['scenario']}"
        tried = sum(not row["candidate"].endswith(PUBLISHED) for row in rows)
        if tried < CANDIDATES:
            yield f"{name}: {tried} candidates, needed are {CANDIDATES}"
        if fewest := [row for row in rows if int(row["cells"]) < CELLS]:
            yield f"{name}: {fewest[0]['cells']} cells a candidate, needed are {CELLS}"
        if any(int(row["reported_cells"]) for row in rows):
            yield f"{name}: searched on cells that the run reports: name others under tuning"


def _block(row: dict[str, str], rivals: list[dict[str, str]], trace: Path) -> str:
    tried = sum(not one["candidate"].endswith(PUBLISHED) for one in rivals)
    judged = row.get("judged_on") or "held-out training images"
    objective = "mean AUS less its spread" if row.get("objective") else "mean AUS"
    return (
        f"{_when(row)}"
        f"    source: best {objective} of {tried} on {judged}"
        f" (paper/reference/tuning/{trace.name})\n"
        f"    settings: {_value(json.loads(row['settings']))}\n"
    )


def _when(row: dict[str, str]) -> str:
    return f"  - when: {{{', '.join(f'{key}: {row[key]}' for key in PLACE)}}}\n"


def _value(value: object) -> str:
    """YAML on one line, but never an exponent, which YAML reads as text."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, float):
        text = f"{value:.12f}".rstrip("0")
        return text + "0" if text.endswith(".") else text
    return json.dumps(value)


def with_winners(text: str, blocks: list[str], second: list[str] | None = None) -> str:
    """A method's file with its blocks `tuned` and `second` made anew, or without them."""
    head = text.partition(MARK)[0].rstrip() + "\n"
    tail = MARK + "".join(blocks) if blocks else ""
    return head + tail + ("second:\n" + "".join(second) if second else "")


def main() -> None:
    """Adopt the search of one run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    run = parser.parse_args().run
    trace = PROJECT / "results" / run / "tuning.csv"
    if problems := list(too_small(trace)):
        raise SystemExit("\n".join(f"{trace}: {problem}" for problem in problems))
    folder = PROJECT / "paper/reference/tuning"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(trace, folder / f"{run}.csv")
    shutil.copyfile(trace.with_name("figures") / "tuning.png", folder / f"{run}.png")
    shutil.copyfile(trace.with_name("tables") / "tuning.md", folder / f"{run}.md")
    traces = sorted(folder.glob("*.csv"))
    found, second = winners(traces), second_rounds(traces)
    for method, blocks in second.items():
        print(f"{method}: {len(blocks)} winners at an edge: run `snakemake tune` again")
    for file in FOLDER.glob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        made = with_winners(text, found.get(file.stem, []), second.get(file.stem))
        file.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
