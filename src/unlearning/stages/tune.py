"""tune: rank the candidates of each method by mean AUS minus its spread.

The score is the mean of AUS over the cells of a candidate minus their sample standard deviation. A
cell that diverged or failed counts as AUS 0.
"""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from unlearning.config import hyperparameters, spaces
from unlearning.config.experiment import Experiment
from unlearning.config.parsing import read_config
from unlearning.files import METHODS, canonical_json, write_text
from unlearning.plan import grid, tuning
from unlearning.plan.tuning import PUBLISHED
from unlearning.results.collected import collect
from unlearning.runtime.options import asked
from unlearning.tables.fields import SCORE, Field, count, number, text
from unlearning.tables.layout import Layout
from unlearning.tables.render import plus_minus
from unlearning.tables.table import Column, Table, write

KEYS = ("experiment", "dataset", "arch", "scenario", "base_method")
LOST = ("diverged", "failed")
TITLE = "Published settings beside searched ones"
CAPTION = (
    "AUS on the images and cells of the search, which no other table reports: mean ± sample "
    "standard deviation over n cells; a cell that diverged or failed counts as 0. Settings: those "
    "that the search sets. Every method has the same number of candidates a round."
)
BESIDE = [
    *("dataset", "arch", "scenario", "method", "candidates", "cells", "edge"),
    *("published", "published_status", "published_mean", "published_sd"),
    *("searched", "searched_status", "searched_mean", "searched_sd"),
]
COLUMNS = [
    *("dataset", "arch", "scenario", "method", "judged_on", "candidate", "round", "settings"),
    *("cells", "reported_cells", "status", "aus_mean", "aus_sd", "objective", "seconds_mean"),
    *("rank", "chosen", "edge"),
]


def main(argv: list[str]) -> None:
    """Write the trace of a search: one row a candidate, dataset, architecture and scenario."""
    shared = ("config", "root", "methods", "out")
    options = asked(argv, __doc__, *shared, table="stem of the table to write")
    config = read_config(options.config)
    found = []
    for experiment in config.experiments:
        if experiment.tuning:
            search = tuning.search(experiment, options.methods)
            searches = config.model_copy(update={"experiments": [search]})
            rows = collect(searches, Path(options.root), options.methods)
            same = [e for e in config.experiments if home(e) == home(experiment)]
            shown = set().union(*map(reported, same))
            found += trace(rows, search, options.methods, shown)
    write_text(options.out, as_csv(found))
    write(Path(options.table).parent, table(found))


def home(experiment: Experiment) -> str:
    """The experiment whose originals these cells start from."""
    return experiment.models_of or experiment.label


def reported(experiment: Experiment) -> set[tuple]:
    """The forget sets and training seeds, by scenario, that the experiment itself reports."""
    return {(c.scenario, c.split, c.train_seed) for c in grid.cells_of(experiment)}


def trace(
    rows: Iterable[Mapping[str, Any]],
    search: Experiment,
    folder: str | Path = METHODS,
    shown: Iterable[tuple] = (),
) -> list[dict[str, Any]]:
    """The candidates, ranked by their objective within each method and scenario.

    rows: as `collect` gives them; search: as `tuning.search`; shown: cells that the run reports.
    Of equal objectives the candidate declared first is chosen. `edge`: the dimensions of its
    space at whose edge the chosen one lies. The published settings have no round and no rank.
    """
    settings, shown = {v.name: v.settings for v in search.variants}, set(shown)
    judged = "the first half of the test images" if search.test_half else "held-out training images"
    groups: dict[tuple, dict[str, list]] = {}
    for row in rows:
        tried = settings[row["method"]] or row["method"].endswith(PUBLISHED)
        if tried and row["status"] != "not_defined":
            group = groups.setdefault(tuple(row[key] for key in KEYS), {})
            group.setdefault(row["method"], []).append(row)
    found = []
    for (_, dataset, arch, scenario, method), group in groups.items():
        place = {"dataset": dataset, "arch": arch, "scenario": scenario}
        given = group.pop(f"{method}{PUBLISHED}", None)
        rounds = _rounds(method, place, len(group), folder)
        candidates = [
            {**place, "method": method, "judged_on": judged, "candidate": name}
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
        if given:
            published = hyperparameters.resolve(method, place, {}, folder)
            beside = {"candidate": f"{method}{PUBLISHED}", "settings": canonical_json(published)}
            beside |= {**place, "method": method, "judged_on": judged}
            candidates.append(beside | _summary(given, shown))
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


def beside_published(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row (BESIDE) for each method: the settings that were chosen beside the published ones."""
    rows: dict[tuple, dict[str, Any]] = {}
    for one in found:
        key = tuple(one[name] for name in BESIDE[:4])
        row = rows.setdefault(key, dict(zip(BESIDE[:4], key, strict=True)) | {"candidates": 0})
        kind = "published" if one["candidate"].endswith(PUBLISHED) else "searched"
        row["candidates"] += kind == "searched"
        if kind == "published" or one.get("chosen"):
            row |= {kind: one["settings"], f"{kind}_status": one["status"]}
            row |= {f"{kind}_{name}": one.get(f"aus_{name}") for name in ("mean", "sd")}
            row |= {"cells": one["cells"], **({"edge": one["edge"]} if "edge" in one else {})}
    return list(rows.values())


def _settings(kind: str) -> Field:
    """Of the published settings those that the search sets otherwise."""

    def show(row: Mapping[str, Any]) -> str:
        chosen, own = (_loaded(row[name]) for name in ("searched", kind))
        return ", ".join(f"{key} {own[key]}" for key in chosen if key in own) or "–"

    return Field(Column(f"Settings, {kind}"), show)


def _loaded(text: Any) -> dict[str, Any]:
    return json.loads(text) if isinstance(text, str) and text else {}


def _gain(row: Mapping[str, Any]) -> str:
    return plus_minus(row["searched_mean"] - row["published_mean"], math.nan, 3)


def _fields(rows: pd.DataFrame) -> list[Field]:
    def aus(kind: str) -> Field:
        return number(f"AUS, {kind}", SCORE, f"{kind}_mean", f"{kind}_sd", "cells")

    difference = Column("Difference", SCORE.name, value="searched_mean", low="published_mean")
    return [
        text("Method"),
        *(field for kind in ("published", "searched") for field in (_settings(kind), aus(kind))),
        Field(difference, _gain),
        text("At an edge", "edge"),
        count("Candidates", "candidates"),
        count("n", "cells"),
    ]


def table(found: list[dict[str, Any]]) -> Table:
    """The table of the search whose trace is `found`."""
    layout = Layout(
        name="tuning",
        title=TITLE,
        file="tuning",
        frame=lambda _: pd.DataFrame(beside_published(found), columns=BESIDE),
        fields=_fields,
        caption=CAPTION,
        nothing="No search in this run",
        keys=BESIDE[:3],
        by=BESIDE[:4],
        rests=lambda file, row, column: [(file.place(row), ["aus_mean"])],
    )
    return layout.build(pd.DataFrame(found, columns=COLUMNS))


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """The trace as CSV text; a candidate without a rank has empty fields."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
