"""What a number of a table rests on: rows of a file of the run, and which of their columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from unlearning.metrics.names import METRICS
from unlearning.results.keys import IDENTITY, KEY
from unlearning.results.study_files import IDENTITIES, VALUES
from unlearning.tables.study_tables import (
    BASELINE,
    DIFFERENCE,
    DUCK_PAIR,
    ORIGINAL_PAIR,
    PAIR_DIFFERENCE,
)

Row = Mapping[str, Any]
Wanted = list[tuple[tuple, Sequence[str]]]
"""Keys of rows (`File.rows`), each with the columns of the file that are taken of them."""
PARTS = ("mean", "sd", "n")
PAIRED = ("difference", "difference_low", "difference_high", "p", "p_holm", "verdict", "cells")
RANKED = ("rank", "rank_blocks", "rank_over", "friedman_p", "critical_difference")
NAMED = {
    "runs": IDENTITY,
    "studies": IDENTITY,
    "ensembles": [*KEY, "split", "method"],
    **IDENTITIES,
    "tuning": ["dataset", "arch", "scenario", "method", "candidate"],
}
"""What names a row of each file."""


class File:
    """The rows of a file of the run, found by the columns `by` or the first of them."""

    def __init__(self, name: str, frame: pd.DataFrame, by: Sequence[str]) -> None:
        self.name, self.frame, self.by = name, frame, list(by)
        self._places: dict[int, dict[tuple, Any]] = {}

    def rows(self, key: tuple) -> list[int]:
        """The places of the rows whose first columns of `by` are `key`, in the file's order."""
        if len(key) not in self._places:
            groups = self.frame.groupby(self.by[: len(key)], sort=False)
            self._places[len(key)] = groups.indices
        return [int(place) for place in self._places[len(key)].get(key, ())]

    def place(self, row: Row, upto: int | None = None) -> tuple:
        """The key of what a table's row is of, without the last columns of `by`."""
        return tuple(row[name] for name in self.by[:upto])


def values(file: File, wanted: Wanted) -> pd.DataFrame:
    """The measurements, a row each: `value`, `metric` and what names the cell.

    Cells that are not ok have no value. Without columns their status is all that is told.
    """
    measured = _MEASURED.get(file.name, _run_values)
    found = [measured(file.frame.iloc[file.rows(key)], columns) for key, columns in wanted]
    return pd.concat(found) if found else pd.DataFrame()


def _run_values(cells: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    found = [
        cells[[*IDENTITY, "status"]].assign(
            metric=metric,
            value=cells[metric].where(cells["status"] == "ok") if metric else math.nan,
        )
        for metric in metrics or [""]
    ]
    return pd.concat(found)


def _feature_values(rows: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    found = rows.rename(columns={"model": "method"})
    return found.assign(metric=rows["part"] + " " + rows["measure"])


def _attribution_values(rows: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """`method` is the pair's first model."""
    return rows.assign(
        method=rows["pair"].str.partition("~")[0],
        metric="correlation of " + rows["pair"],
        value=rows[VALUES["attributions"]],
    )


def _shortcut_values(rows: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    return rows.assign(metric=rows["measure"], scenario="shortcut_removal", split="poisoned")


def _ensemble_values(rows: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """One value a forget set, of the models of every training seed of it."""
    named = rows[NAMED["ensembles"]]
    return pd.concat([named.assign(metric=name, value=rows[name]) for name in metrics])


_MEASURED: dict[str, Callable[[pd.DataFrame, Sequence[str]], pd.DataFrame]] = {
    "features": _feature_values,
    "attributions": _attribution_values,
    "shortcut": _shortcut_values,
    "ensembles": _ensemble_values,
}


def metrics_of(column: str) -> list[str]:
    """The metrics that a column of a table of runs.csv is made of."""
    if column in ("lira_auc_low", "lira_auc_high"):
        return ["lira_auc", "lira_auc_error"]
    known = [metric for metric in METRICS if column.startswith(metric)]
    return [max(known, key=len)] if known else []


def of_cells(file: File, row: Row, column: str) -> Wanted:
    """The method's own cells."""
    return [(file.place(row), metrics_of(column))]


def of_aus(file: File, row: Row, column: str) -> Wanted:
    """The AUS of the method's own cells, whatever the column."""
    return [(file.place(row), ["aus"])]


def of_scenario(file: File, row: Row, column: str) -> Wanted:
    """Its own cells; AUS of means also takes the originals that they are compared with."""
    if not column.startswith("aus_of_means"):
        return of_cells(file, row, column)
    removal = row["scenario"] == "class_removal"
    test, forget = ("retain_test", "forget_test") if removal else ("test", "forget_train")
    own = file.frame.iloc[file.rows(file.place(row))]
    compared = dict.fromkeys(own["compared_with"].replace("", "original"))
    place, accuracy = file.place(row, -1), f"{test}_accuracy"
    found = [(file.place(row), [accuracy, f"{forget}_accuracy"])]
    return found + [((*place, name), [accuracy]) for name in compared]


def of_statistics(file: File, row: Row, column: str) -> Wanted:
    """Tests also take DUCK's cells, ranks and adjusted p values those of every method."""
    place, metrics = file.place(row, -1), [row["metric"]]
    if column in (*RANKED, "p_holm", "verdict"):
        return [(place, metrics)]
    methods = dict.fromkeys([row["method"], *([BASELINE] if column in PAIRED else [])])
    return [((*place, name), metrics) for name in methods]


def of_study(other: str) -> Callable[[File, Row, str], Wanted]:
    """Of a table of studies.csv; differences also take the cells of the method `other`."""

    def wanted(file: File, row: Row, column: str) -> Wanted:
        place = file.place(row, -1)
        if column in ("p_holm", "verdict"):
            return [(place, ["aus"])]
        if column not in DIFFERENCE:
            return of_scenario(file, row, column)
        return [((*place, name), ["aus"]) for name in dict.fromkeys((row["method"], other))]

    return wanted


def of_features(file: File, row: Row, column: str) -> Wanted:
    """One value a class and seed, of a test those of both sides."""
    percentile = () if math.isnan(row["percentile"]) else (_percentile(file, row),)
    sides = [side.split(", ") for side in (row["quantity"], row["against"]) if side]
    return [((*file.place(row, -3), *side, *percentile), []) for side in sides]


def _percentile(file: File, row: Row) -> str:
    """The percentile of a row as the file has it."""
    known = filter(None, file.frame["percentile"].unique())
    return next(text for text in known if float(text) == row["percentile"])


def of_attributions(file: File, row: Row, column: str) -> Wanted:
    """One value an image and pair of models."""
    difference = row["pair"] == PAIR_DIFFERENCE
    pairs = [DUCK_PAIR, ORIGINAL_PAIR] if difference else [row["pair"]]
    return [((*file.place(row, -1), pair), []) for pair in pairs]


def of_shortcut(file: File, row: Row, column: str) -> Wanted:
    """One value a training seed."""
    measure, _, part = column.rpartition("_")
    place = file.place(row, -1)
    return [((*place, measure) if part in PARTS else place, [])]


def of_ensembles(file: File, row: Row, column: str) -> Wanted:
    """One value a forget set."""
    metric, _, part = column.rpartition("_")
    return [(file.place(row), [metric if part in PARTS else column])]
