"""runs.csv as a typed frame, and its summary: one row a method, at full precision."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from unlearning.config import hyperparameters
from unlearning.frames import Schema, read_table
from unlearning.methods import REFERENCES
from unlearning.metrics import names
from unlearning.metrics.aus import BY_CLASS, CONVENTION, SCENARIOS, aus_of_means
from unlearning.results.keys import CELLS, GROUP, KEY
from unlearning.stats.summary import Summary, summarise

STATUSES = ("ok", "diverged", "failed", "missing", "not_defined")
CELL = [*CELLS, "split_seed"]
TEXT = [
    *KEY,
    "method",
    "base_method",
    "compared_with",
    "touches",
    "settings_from",
    "test_half",
    *CELL,
    "unlearn_seed",
    "status",
    "reason",
    "capped",
]
LATER = ("capped", "settings_from", "test_half", *names.REWEIGHTED)
"""Columns added later; empty in older runs."""
OPTIONAL = (
    *("experiment", "base_method", "touches", "reason", "official_seconds", "compared_with"),
    *LATER,
    *names.DISTANCES,
    *names.ATTACKS,
)
SCENARIO_METRICS = (*names.ACCURACIES, "aus", *names.COSTS)
OF_CLASSES = ("retain_test_accuracy", "forget_test_accuracy")


def read_runs(runs_csv: str | Path) -> pd.DataFrame:
    """Read runs.csv: identities as text ("" where empty), metrics as floats (NaN where empty).

    A file without one of the columns OPTIONAL is read as if that column were empty.
    Raises ValueError, naming the file and the column or the cell, for a missing column, a
    metric that is no number, an accuracy outside [0, 1], an unknown scenario or status, and
    for a cell given twice, which would count double in every mean.
    """
    schema = Schema(
        [*TEXT, *names.METRICS],
        numbers=names.METRICS,
        later=OPTIONAL,
        key=[*KEY, "method", *CELL, "unlearn_seed"],
        row="cell",
    )
    runs = read_table(runs_csv, schema)
    for name, known in (("scenario", SCENARIOS), ("status", STATUSES)):
        strange = sorted(set(runs[name]) - set(known))
        if strange:
            raise ValueError(f"{runs_csv}: {name} {strange[0]!r} is none of {', '.join(known)}")
    for name in (*names.ACCURACIES, *names.REWEIGHTED):
        if not runs[name].dropna().between(0, 1).all():
            raise ValueError(f"{runs_csv}: {name} has a value that is not a fraction in [0, 1]")
    return runs


def by_method(runs: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each method: original, oracle, then the others as they first appear."""
    found = list(dict.fromkeys(runs["method"]))
    found.sort(key=lambda name: REFERENCES.index(name) if name in REFERENCES else len(REFERENCES))
    return [(name, runs[runs["method"] == name]) for name in found]


def summarise_metric(cells: pd.DataFrame, metric: str) -> Summary:
    """Mean, spread, n and what the spread runs over, of one metric over the `ok` cells."""
    done = cells[cells["status"] == "ok"]
    return summarise(done[metric].tolist(), done)


def status_note(cells: pd.DataFrame) -> str:
    """Summarise the cells that are not `ok`: count, names, reason; "" if all are ok."""
    failed = cells[cells["status"] != "ok"]
    parts = []
    for (status, reason), rows in failed.groupby(["status", "reason"], sort=False):
        count = f"{len(rows)} of {len(cells)} cells" if len(cells) > 1 else "the only cell"
        part = f"{count} {status.replace('_', ' ')}"
        if len(rows) < len(cells):
            part += f": split {_name_cells(rows)}"
        reason = " ".join(reason.split())
        parts.append(f"{part}, reason: {reason}" if reason else part)
    return "; ".join(parts)


def stand_ins(cells: pd.DataFrame) -> dict[str, str]:
    """What stands in for what of a published method, by the method's name among the cells."""
    bases = cells.get("base_method", cells["method"])
    bases = bases.where(bases != "", cells["method"])
    found = {}
    for name, base in dict(zip(cells["method"], bases, strict=True)).items():
        known = hyperparameters.stand_ins(base).items()
        if known:
            found[name] = " and ".join(f"{ours} stands in for {theirs}" for ours, theirs in known)
    return found


def scenario_table(runs: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """One row per (experiment, data set, architecture, method) of `scenario`, full precision.

    Columns: the identity, `touches`, `settings` (`checks.origin`), `flag` (`below original` where
    the mean AUS is lower than that of the originals of the same cells, `stand-ins` for what
    `stand_ins` names), `over`, `n_cells`, `n_ok`, `status` (`ok`, or every other status met),
    `status_note`; per metric `_mean`, `_sd` (ddof 1) and `_n`; `aus_of_means` and
    `aus_of_means_sd` over `aus_of_means_n` cells. Accuracies are fractions, times seconds, memory
    MB. Two experiments never share a mean.
    """
    runs = runs[runs["scenario"] == scenario]
    rows = [
        _method_row(dict(zip(GROUP, key, strict=True)), name, cells, group)
        for key, group in runs.groupby(GROUP, sort=False)
        for name, cells in by_method(group)
    ]
    return pd.DataFrame(rows, columns=_csv_columns(scenario))


def _metrics(scenario: str) -> list[str]:
    if scenario in BY_CLASS:
        return [*SCENARIO_METRICS]
    found = [metric for metric in SCENARIO_METRICS if metric not in OF_CLASSES]
    return [*found, *(names.REWEIGHTED if scenario == "sample_removal" else ())]


def _csv_columns(scenario: str) -> list[str]:
    facts = ["scenario", "test_half", "method", "touches", "settings", "flag"]
    facts += ["over", "n_cells", "n_ok", "status", "status_note"]
    metrics = [f"{m}_{part}" for m in _metrics(scenario) for part in ("mean", "sd", "n")]
    return [*GROUP, *facts, *metrics, "aus_of_means", "aus_of_means_sd", "aus_of_means_n"]


def _method_row(key: dict, name: str, cells: pd.DataFrame, group: pd.DataFrame) -> dict:
    scenario = cells["scenario"].iloc[0]
    done = cells[cells["status"] == "ok"]
    summaries = {metric: summarise_metric(cells, metric) for metric in _metrics(scenario)}
    notes = [status_note(cells)]
    for metric, summary in summaries.items():
        if 0 < summary.n < len(done):
            notes.append(f"{metric} known in {summary.n} of {len(done)} cells")
    score, score_sd, score_n = _aus_of_means(scenario, done, group)
    if 0 < score_n < len(done):
        notes.append(f"AUS of means over the {score_n} of {len(done)} cells with an original")
    failed = [status for status in STATUSES[1:] if status in set(cells["status"])]
    row = {
        **key,
        "scenario": scenario,
        "test_half": cells["test_half"].iloc[0],
        "method": name,
        "touches": " / ".join(dict.fromkeys(t for t in cells["touches"] if t)),
        "settings": " / ".join(dict.fromkeys(t for t in cells["settings_from"] if t)),
        "flag": ", ".join(_flags(cells, done, group)),
        "over": summarise([0.0] * len(done), done).over,
        "n_cells": len(cells),
        "n_ok": len(done),
        "status": ", ".join(failed) or "ok",
        "status_note": "; ".join(note for note in notes if note),
    }
    for metric, summary in summaries.items():
        row[f"{metric}_mean"], row[f"{metric}_sd"] = summary.mean, summary.sd
        row[f"{metric}_n"] = summary.n
    return row | {
        "aus_of_means": score,
        "aus_of_means_sd": score_sd,
        "aus_of_means_n": score_n,
    }


def _flags(cells: pd.DataFrame, done: pd.DataFrame, group: pd.DataFrame) -> Iterator[str]:
    if _below_original(done, group):
        yield "below original"
    if stand_ins(cells):
        yield "stand-ins"


def _aus_of_means(scenario: str, done: pd.DataFrame, group: pd.DataFrame) -> tuple:
    """AUS of mean accuracies, against the originals of the very same cells.

    Which original is the column `compared_with`; where that is empty, `original`. None in sub-class
    removal, of which the paper has no convention.
    """
    if scenario not in CONVENTION:
        return math.nan, math.nan, 0
    removal = scenario == "class_removal"
    test = "retain_test_accuracy" if removal else "test_accuracy"
    forget = "forget_test_accuracy" if removal else "forget_train_accuracy"
    paired = _beside_original(done, group, [test, forget], test)
    if paired.empty:
        return math.nan, math.nan, 0
    mean_sd = [
        (part.mean, part.sd)
        for part in (summarise(paired[c].tolist(), {}) for c in (test, f"{test}_original", forget))
    ]
    return *aus_of_means(scenario, *mean_sd), len(paired)


def _below_original(done: pd.DataFrame, group: pd.DataFrame) -> bool:
    """Whether the mean AUS is lower than that of doing nothing, over the same cells."""
    paired = _beside_original(done, group, ["aus"], "aus")
    return bool(len(paired) and paired["aus"].mean() < paired["aus_original"].mean())


def _beside_original(
    done: pd.DataFrame, group: pd.DataFrame, columns: list[str], other: str
) -> pd.DataFrame:
    """`columns` of a method's cells and `other` of their originals, where all are known."""
    compared = set(done["compared_with"]) - {""} or {"original"}
    originals = group[group["method"].isin(compared) & (group["status"] == "ok")]
    originals = originals.drop_duplicates(CELL)[[*CELL, other]]
    paired = done[[*CELL, *columns]].merge(originals, on=CELL, suffixes=("", "_original"))
    return paired.dropna()


def _name_cells(rows: pd.DataFrame) -> str:
    seeds = rows["unlearn_seed"].replace("", "–")
    return ", ".join(
        f"{split} (training seed {train}, unlearning seed {unlearn})"
        for split, train, unlearn in zip(rows["split"], rows["train_seed"], seeds, strict=True)
    )


def nothing(scenario: str) -> str:
    """The sentence that stands where a scenario has no cell."""
    return f"No {scenario} cell in this run"
