"""Tables beyond the accuracies: attacks, distance to the oracle, statistics, ensembles.

Each is a tidy frame at full precision, one row per experiment, scenario and method.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from unlearning.config.elsewhere import GIVEN
from unlearning.methods import ORIGINALS
from unlearning.metrics import names
from unlearning.results.keys import CELLS, KEY
from unlearning.results.runs import by_method, summarise_metric
from unlearning.stats.comparisons import average_ranks, paired
from unlearning.stats.crossed import crossed, rounding
from unlearning.stats.summary import summarise, variance_components

BASELINE = "duck"
COMPARED = {"aus": True, "js_forget": False}
"""The metrics of the statistics table, and whether higher is better."""


def membership_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean, sd and n of each attack's results; LiRA's AUC with a 95 % interval.

    The interval is over the images, of the mean over these very models, from the cells' DeLong
    errors: added within a forget set, whose cells share their images, and in quadrature over
    forget sets, times 1.96. `original`, where one was trained elsewhere: whether it was.
    """
    attacked = runs[runs["shadow_models"].notna()]
    found = _means(attacked, names.ATTACKS)
    within = attacked.groupby([*KEY, "method", "split"])["lira_auc_error"].sum()
    squares = (within**2).groupby([*KEY, "method"]).sum()
    total = [squares[tuple(row)] for row in found[[*KEY, "method"]].to_numpy()]
    room = 1.96 * np.sqrt(np.array(total, dtype=float)) / found["lira_auc_n"]
    found = found.assign(
        lira_auc_low=found["lira_auc_mean"] - room, lira_auc_high=found["lira_auc_mean"] + room
    )
    given = runs[(runs["method"] == "original") & (runs["settings_from"] == GIVEN)]
    if given.empty:
        return found
    elsewhere = found["experiment"].isin(given["experiment"])
    return found.assign(original=np.where(elsewhere, GIVEN, "trained here"))


def distance_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean, sd and n of each distance to the oracle of the same forget set and seed."""
    known = runs[list(names.DISTANCES)].notna().any(axis=1)
    return _means(runs[known], names.DISTANCES)


def _means(runs: pd.DataFrame, metrics: tuple[str, ...]) -> pd.DataFrame:
    rows = []
    for key, group in runs.groupby(KEY, sort=False):
        for method, cells in by_method(group):
            row = dict(zip(KEY, key, strict=True)) | {"method": method, "n_cells": len(cells)}
            for metric in metrics:
                summary = summarise_metric(cells, metric)
                row[f"{metric}_mean"], row[f"{metric}_sd"] = summary.mean, summary.sd
                row[f"{metric}_n"] = summary.n
            rows.append(row | {"over": summarise_metric(cells.assign(one=1.0), "one").over})
    parts = [f"{metric}_{part}" for metric in metrics for part in ("mean", "sd", "n")]
    return pd.DataFrame(rows, columns=[*KEY, "method", "n_cells", "over", *parts])


def statistics_table(runs: pd.DataFrame) -> pd.DataFrame:
    """What the report may say of one method being better: one row a metric and method.

    Columns: `mean` over `n` ok cells; `low`, `high`, `over`: its 95 % interval and to what that
    generalises (crossed.crossed); `paper_mean`, `paper_sd`, `paper_n`: the paper's convention,
    the spread over forget sets of one original (the first training seed);
    `difference`, `difference_low`, `difference_high`, `cells`, `p`, `p_holm`, `verdict`: the
    paired test against DUCK over the same cells; `rank`, `rank_blocks`, `rank_over`,
    `friedman_p`, `critical_difference`: average ranks among the methods that are ok in every
    cell, over classes or forget sets with seeds averaged (crossed.blocks).
    """
    rows = []
    for key, group in runs.groupby(KEY, sort=False):
        for metric in COMPARED:
            if group[metric].notna().any():
                found = _statistics(group, metric)
                identity = dict(zip(KEY, key, strict=True)) | {"metric": metric}
                rows += [identity | row for row in found]
    return pd.DataFrame(rows, columns=[*KEY, "metric", "method", *STATISTICS])


STATISTICS = [
    *("mean", "n", "low", "high", "over", "paper_mean", "paper_sd", "paper_n"),
    *("difference", "difference_low", "difference_high", "cells", "p", "p_holm", "verdict"),
    *("rank", "rank_blocks", "rank_over", "friedman_p", "critical_difference"),
]


def _statistics(group: pd.DataFrame, metric: str) -> list[dict]:
    """The rows of one experiment, scenario and metric."""
    done = group[(group["status"] == "ok") & group[metric].notna()]
    values = done.pivot_table(index=CELLS, columns="method", values=metric, sort=False)
    tests = paired(values, BASELINE) if BASELINE in values else pd.DataFrame()
    ranks = _ranks(values, metric)
    rows = []
    for method, cells in by_method(done):
        row = {"method": method, "mean": cells[metric].mean(), "n": len(cells)}
        row |= _interval(cells, metric) | _one_original(cells, metric) | ranks.get(method, {})
        if method in tests.index:
            test = tests.loc[method]
            row |= {"difference": test["difference"], "difference_low": test["low"]}
            row |= {"difference_high": test["high"], "cells": test["n"]}
            row |= {name: test[name] for name in ("p", "p_holm", "verdict")}
        rows.append(row)
    return rows


def _interval(cells: pd.DataFrame, metric: str) -> dict:
    """The interval of the mean over cells, unlearning seeds averaged; all equal: that number."""
    values = cells.groupby(CELLS, sort=False)[metric].mean()
    found = crossed(values, rounding(values))
    equal = found.n > 1 and not found.low < found.high
    low, high = (found.mean, found.mean) if equal else (found.low, found.high)
    return {"low": low, "high": high, "over": found.over}


def _one_original(cells: pd.DataFrame, metric: str) -> dict:
    """Mean and spread over forget sets at the first training seed."""
    one = cells[cells["train_seed"] == cells["train_seed"].iloc[0]]
    spread = summarise(one.groupby("split")[metric].mean().tolist(), {})
    return {"paper_mean": spread.mean, "paper_sd": spread.sd, "paper_n": spread.n}


def _ranks(values: pd.DataFrame, metric: str) -> dict[str, dict]:
    """Average ranks of the methods that have a value in every cell, the originals left out."""
    rivals = values.drop(columns=[name for name in ORIGINALS if name in values]).dropna(axis=1)
    if rivals.shape[0] < 2 or rivals.shape[1] < 3:
        return {}
    found = average_ranks(rivals, higher_is_better=COMPARED[metric])
    shared = {"rank_blocks": found.n, "rank_over": found.over, "friedman_p": found.friedman_p}
    shared["critical_difference"] = found.critical_difference
    return {method: {"rank": rank} | shared for method, rank in found.ranks.items()}


def variance_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Variance components of AUS by method (summary.variance_components), NaN where unbalanced."""
    parts = ["train_seed", "split", "interaction", "unlearn_seed"]
    rows = []
    for key, group in runs.groupby(KEY, sort=False):
        for method, cells in by_method(group[group["aus"].notna() & (group["status"] == "ok")]):
            try:
                found = variance_components(cells.rename(columns={"aus": "value"}))
            except ValueError:  # a cell of the grid is missing: no balanced split
                found = dict.fromkeys(parts, math.nan)
            identity = dict(zip(KEY, key, strict=True)) | {"method": method, "cells": len(cells)}
            rows.append(identity | found)
    return pd.DataFrame(rows, columns=[*KEY, "method", "cells", *parts])


def ensemble_table(ensembles: pd.DataFrame) -> pd.DataFrame:
    """Mean, sd and n over forget sets of what takes the models of every training seed."""
    rows = []
    for key, group in ensembles.groupby(KEY, sort=False):
        for method, sets in by_method(group):
            row = dict(zip(KEY, key, strict=True)) | {"method": method}
            row["models"] = sets["models"].min()
            for metric in names.ENSEMBLES:
                summary = summarise(sets[metric].tolist(), {})
                row[f"{metric}_mean"], row[f"{metric}_sd"] = summary.mean, summary.sd
                row[f"{metric}_n"] = summary.n
            rows.append(row)
    parts = [f"{metric}_{part}" for metric in names.ENSEMBLES for part in ("mean", "sd", "n")]
    return pd.DataFrame(rows, columns=[*KEY, "method", "models", *parts])
