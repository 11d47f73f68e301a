"""tune: which candidate of each method has the highest mean AUS less its spread.

The objective is the mean of AUS over the cells of a candidate minus their sample standard
deviation. A cell that diverged or failed counts as AUS 0.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unlearning import grid, hyperparameters, plan, spaces
from unlearning.config import Experiment, parse
from unlearning.files import canonical_json, read_json, write_text
from unlearning.stages.collect import collect

KEYS = ("experiment", "dataset", "arch", "scenario", "base_method")
LOST = ("diverged", "failed")
COLUMNS = [
    *("dataset", "arch", "scenario", "method", "candidate", "round", "settings"),
    *("cells", "reported_cells", "status", "aus_mean", "aus_sd", "objective", "seconds_mean"),
    *("rank", "chosen", "edge"),
]


def main(argv: list[str]) -> None:
    """Write the trace of a search: one row a candidate, dataset, architecture and scenario."""
    parser = argparse.ArgumentParser(prog="unlearning tune", description=__doc__)
    parser.add_argument("--config", required=True, help="the run's resolved config (JSON)")
    parser.add_argument("--root", required=True, help="the run's folder")
    parser.add_argument("--methods", default=hyperparameters.FOLDER, help="the settings files")
    parser.add_argument("--out", required=True)
    options = parser.parse_args(argv)
    config = parse(read_json(options.config), options.config)
    found = []
    for experiment in config.experiments:
        if experiment.tuning:
            search = plan.search(experiment, options.methods)
            searches = config.model_copy(update={"experiments": [search]})
            rows = collect(searches, Path(options.root), options.methods)
            found += trace(rows, search, options.methods, reported(experiment))
    write_text(options.out, as_csv(found))


def reported(experiment: Experiment) -> set[tuple]:
    """The forget sets and training seeds, by scenario, that the experiment itself reports."""
    return {(c.scenario, c.split, c.train_seed) for c in grid.cells_of(experiment)}


def trace(
    rows: Iterable[Mapping[str, Any]],
    search: Experiment,
    folder: str | Path = hyperparameters.FOLDER,
    shown: Iterable[tuple] = (),
) -> list[dict[str, Any]]:
    """The candidates, ranked by their objective within each method and scenario.

    rows: as `collect` gives them; search: as `plan.search`; shown: cells that the run reports.
    Of equal objectives the candidate declared first is chosen. `edge`: the dimensions of its
    space at whose edge the chosen one lies.
    """
    settings, shown = {v.name: v.settings for v in search.variants}, set(shown)
    groups: dict[tuple, dict[str, list]] = {}
    for row in rows:
        if settings[row["method"]] and row["status"] != "not_defined":
            group = groups.setdefault(tuple(row[key] for key in KEYS), {})
            group.setdefault(row["method"], []).append(row)
    found = []
    for (_, dataset, arch, scenario, method), group in groups.items():
        place = {"dataset": dataset, "arch": arch, "scenario": scenario}
        rounds = _rounds(method, place, len(group), folder)
        candidates = [
            {**place, "method": method, "candidate": name}
            | {"round": number + 1, "settings": canonical_json(settings[name])}
            | _summary(members, shown)
            for (name, members), (number, _) in zip(group.items(), rounds, strict=True)
        ]
        done = [
            (c, space) for c, (_, space) in zip(candidates, rounds, strict=True) if "objective" in c
        ]
        done.sort(key=lambda pair: -pair[0]["objective"])
        for rank, (candidate, space) in enumerate(done, start=1):
            candidate |= {"rank": rank, "chosen": "yes" if rank == 1 else ""}
            if rank == 1:
                published = hyperparameters.around(method, place, folder)
                point = settings[candidate["candidate"]]
                candidate["edge"] = " ".join(spaces.at_edge(space, published, point))
        found += candidates
    return found


def _rounds(method: str, cell: Mapping[str, str], count: int, folder: str | Path) -> list[tuple]:
    """The round, from 0, and the space of each of a method's `count` candidates."""
    _, rounds = hyperparameters.searched_space(method, cell, folder)
    each = count // len(rounds)
    return [(number, space) for number, space in enumerate(rounds) for _ in range(each)]


def _summary(cells: list[Mapping[str, Any]], shown: set[tuple]) -> dict[str, Any]:
    """Mean, spread and objective of one candidate; the first status that is not ok.

    No objective if a cell was not run, or if it is ok and has no AUS (`not_measured`), as where
    the original's cell is not ok.
    """
    same = [(c["scenario"], c["split"], c["train_seed"]) in shown for c in cells]
    found = {"cells": len(cells), "reported_cells": sum(same)}
    scores = [0.0 if cell["status"] in LOST else cell["aus"] for cell in cells]
    failed = [cell["status"] for cell in cells if cell["status"] != "ok"]
    if None in scores:
        unknown = [s for s in failed if s not in LOST]
        return found | {"status": unknown[0] if unknown else "not_measured"}
    mean = statistics.fmean(scores)
    spread = statistics.stdev(scores) if len(scores) > 1 else math.nan
    seconds = [c["unlearning_seconds"] for c in cells if c["unlearning_seconds"] is not None]
    return found | {
        "status": failed[0] if failed else "ok",
        "aus_mean": mean,
        "aus_sd": spread,
        "objective": mean - (0.0 if math.isnan(spread) else spread),
        **({"seconds_mean": statistics.fmean(seconds)} if seconds else {}),
    }


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """The trace as CSV text; a candidate without a rank has empty fields."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
