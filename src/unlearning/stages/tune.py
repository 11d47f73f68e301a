"""tune: which candidate of each method has the highest mean AUS on held-out training images."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unlearning.config import RunConfig, parse
from unlearning.files import canonical_json, write_text
from unlearning.stages.collect import collect

KEYS = ("experiment", "dataset", "arch", "scenario", "base_method")
COLUMNS = [
    *("dataset", "arch", "scenario", "method", "candidate", "settings", "cells", "status"),
    *("aus_mean", "aus_sd", "seconds_mean", "rank", "chosen"),
]


def main(argv: list[str]) -> None:
    """Write the trace of a search: one row a candidate, dataset, architecture and scenario."""
    parser = argparse.ArgumentParser(prog="unlearning tune", description=__doc__)
    parser.add_argument("--config", required=True, help="the search as a config, as JSON")
    parser.add_argument("--root", required=True, help="the run's folder")
    parser.add_argument("--out", required=True)
    options = parser.parse_args(argv)
    config = parse(json.loads(options.config), "--config")
    write_text(options.out, as_csv(trace(collect(config, Path(options.root)), config)))


def trace(rows: Iterable[Mapping[str, Any]], config: RunConfig) -> list[dict[str, Any]]:
    """The candidates, ranked by mean AUS over their cells within each method and scenario.

    rows: as `collect` gives them. A candidate with a cell that is not ok, or without AUS, has no
    rank; of equal means the one declared first is chosen.
    """
    settings = {v.name: v.settings for e in config.experiments for v in e.variants}
    cells: dict[tuple, dict[str, list]] = {}
    for row in rows:
        if settings[row["method"]] and row["status"] != "not_defined":
            group = cells.setdefault(tuple(row[key] for key in KEYS), {})
            group.setdefault(row["method"], []).append(row)
    found = []
    for (_, dataset, arch, scenario, method), group in cells.items():
        candidates = [
            {"dataset": dataset, "arch": arch, "scenario": scenario, "method": method}
            | {"candidate": name, "settings": canonical_json(settings[name])}
            | _summary(members)
            for name, members in group.items()
        ]
        done = [c for c in candidates if c["status"] == "ok"]
        for rank, candidate in enumerate(sorted(done, key=lambda c: -c["aus_mean"]), start=1):
            candidate |= {"rank": rank, "chosen": "yes" if rank == 1 else ""}
        found += candidates
    return found


def _summary(cells: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and spread of one candidate, or the first status that is not ok.

    `not_measured`: the cells are ok, and one has no AUS, as where the original's is not ok.
    """
    failed = [cell["status"] for cell in cells if cell["status"] != "ok"]
    if failed:
        return {"cells": len(cells), "status": failed[0]}
    scores = [cell["aus"] for cell in cells]
    if None in scores:
        return {"cells": len(cells), "status": "not_measured"}
    return {
        "cells": len(cells),
        "status": "ok",
        "aus_mean": statistics.fmean(scores),
        "aus_sd": statistics.stdev(scores) if len(scores) > 1 else math.nan,
        "seconds_mean": statistics.fmean(cell["unlearning_seconds"] for cell in cells),
    }


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """The trace as CSV text; a candidate without a rank has empty fields."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
