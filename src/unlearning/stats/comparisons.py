"""Comparisons over cells: paired tests, Holm's correction, average ranks, rank tests of two.

Cells are classes (or forget sets) × training seeds: `crossed` says what an interval and a p value
are then, and which rows a rank test takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearning.stats.crossed import ALPHA, Crossed, blocks, crossed, rounding


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p values (Holm 1979), in the order given; NaN stays NaN, not counted.

    With m values the k-th smallest (k from 0) becomes the largest (m - j) p_j of all j <= k,
    at most 1. Raises ValueError for a p outside [0, 1].
    """
    adjusted = np.array(p, dtype=float)
    if ((adjusted < 0) | (adjusted > 1)).any():
        raise ValueError(f"p must be in [0, 1], got {list(p)}")
    order = np.argsort(adjusted)[: np.count_nonzero(~np.isnan(adjusted))]  # NaN sorts last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * adjusted[order]), 1)
    return adjusted


def paired(values: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Each method against `baseline` over the same cells, by `crossed` with Holm's correction.

    `values` is [cells x methods], in any unit, its index with the levels `split` and `train_seed`.
    One row a method but the baseline, in the order of the columns: `n`, the cells with both;
    `difference`, mean of method minus baseline; `low`, `high`, `p` and `over`: its 95 % interval,
    two-sided p and to what they generalise; `p_holm` over the methods with a p; `verdict`:
    "higher" or "lower" if p_holm < 0.05, else "not told apart". Columns that are equal in all of
    n >= 2 cells have p = 1. With n < 2, or differences that are all the same number, p is NaN and
    the verdict "not tested".
    Raises ValueError if `baseline` is no column, and for an index without the two levels.
    """
    if baseline not in values:
        raise ValueError(f"baseline {baseline!r} is none of {', '.join(map(str, values))}")
    methods = [name for name in values if name != baseline]
    rows = [_against(values[name], values[baseline]) for name in methods]
    table = pd.DataFrame(
        [(found.n, found.mean, found.low, found.high, found.p, found.over) for found in rows],
        index=pd.Index(methods, name="method"),
        columns=["n", "difference", "low", "high", "p", "over"],
    )
    table["p_holm"] = holm(table["p"])
    table["verdict"] = [
        verdict(row.difference, row.p_holm) for row in table.itertuples(index=False)
    ]
    return table


def _against(method: pd.Series, baseline: pd.Series) -> Crossed:
    both = method.notna() & baseline.notna()
    one, other = method[both].astype(float), baseline[both].astype(float)
    return crossed(one - other, rounding(one, other) if len(one) else 0.0)


def verdict(difference: float, p_holm: float) -> str:
    """`higher`, `lower`, `not told apart`, or `not tested` without a p."""
    if math.isnan(p_holm):
        return "not tested"
    if p_holm >= ALPHA:
        return "not told apart"
    return "higher" if difference > 0 else "lower"


@dataclass(frozen=True)
class Ranks:
    """Average ranks over n blocks, best first, and which of them differ by chance alone.

    over: what the blocks are: `classes`, `forget sets` or `seeds`. cells: those with every method.
    """

    ranks: pd.Series
    n: int
    over: str
    cells: int
    friedman_p: float
    critical_difference: float
    groups: list[tuple[str, ...]]


def average_ranks(values: pd.DataFrame, higher_is_better: bool = True) -> Ranks:
    """Friedman's test and Nemenyi's critical difference at 0.05 (Demšar 2006, §3.2).

    `values` is [cells x methods], its index with the levels `split` and `train_seed`; a cell
    without a value of every method is dropped, `cells` counts the others. Ranked are the `n`
    blocks: classes (forget sets), seeds averaged; with one class, seeds (`crossed.blocks`).
    `ranks`: the mean rank of each method over blocks, 1 = best, ties averaged, sorted.
    critical_difference = q sqrt(k (k + 1) / (6 n)) for k methods, q the studentised range's
    quantile over sqrt(2). `groups`: the largest sets of two or more methods whose ranks differ by
    no more than that, best first. If every block is one tie, friedman_p is 1.
    Raises ValueError for fewer than 3 methods or 2 complete blocks, and for another index.
    """
    complete = values.dropna()
    cells = len(complete)
    complete, over = blocks(complete)
    n, k = complete.shape
    if k < 3 or n < 2:
        raise ValueError(
            f"ranks need 3 methods and 2 classes, forget sets or seeds with all of them, "
            f"got {k} and {n}"
        )
    from scipy.stats import friedmanchisquare, studentized_range

    each = complete.rank(axis=1, ascending=not higher_is_better)
    tied = bool((each == (k + 1) / 2).all(axis=None))
    friedman_p = 1.0 if tied else float(friedmanchisquare(*each.to_numpy().T).pvalue)
    ranks = each.mean().sort_values(kind="stable").rename("rank").rename_axis("method")
    quantile = studentized_range.ppf(1 - ALPHA, k, math.inf) / math.sqrt(2)
    difference = float(quantile * math.sqrt(k * (k + 1) / (6 * n)))
    return Ranks(ranks, n, over, cells, friedman_p, difference, _groups(ranks, difference))


def _groups(ranks: pd.Series, difference: float) -> list[tuple[str, ...]]:
    """Runs of the sorted `ranks` no wider than `difference`, without those inside another."""
    found, reached = [], 0
    for first, rank in enumerate(ranks):
        end = int((ranks <= rank + difference).sum())
        if end > max(reached, first + 1):
            found.append(tuple(ranks.index[first:end]))
            reached = end
    return found


@dataclass(frozen=True)
class RankTest:
    """A two-sided test of two samples by ranks: `n` values (or pairs), `p`, `effect` in [-1, 1]."""

    n: int
    p: float
    effect: float


def rank_sum(x: Sequence[float | None], y: Sequence[float | None]) -> RankTest:
    """Mann and Whitney's U test of two independent samples; None and NaN are left out.

    `n`: the values of both sides. `effect`: the rank-biserial 2 U / (m n) - 1 = P(x > y) -
    P(x < y), positive where x is larger. `p` is exact without ties and with a side of at most 8,
    else normal with a correction for ties and continuity; 1 if all values are equal. With fewer
    than 2 values on a side both are NaN.
    """
    one, other = (side[~np.isnan(side)] for side in (np.array(x, float), np.array(y, float)))
    n = len(one) + len(other)
    if min(len(one), len(other)) < 2:
        return RankTest(n, math.nan, math.nan)
    from scipy.stats import mannwhitneyu

    test = mannwhitneyu(one, other, alternative="two-sided", method="auto")
    return RankTest(n, float(test.pvalue), float(2 * test.statistic / len(one) / len(other) - 1))


def signed_rank(x: Sequence[float | None], y: Sequence[float | None]) -> RankTest:
    """Wilcoxon's signed-rank test of paired values; a pair with None or NaN is left out.

    `n`: the pairs, with those that are equal, which the test then drops. `effect`: the
    matched-pairs rank-biserial (W+ - W-) / (W+ + W-), positive where x is larger. `p` is exact
    without ties up to 50 pairs and with them up to 13, else normal; 1 (and effect 0) if all
    differences are zero. With fewer than 2 pairs both are NaN.
    Raises ValueError for sides of unequal length.
    """
    one, other = np.array(x, float), np.array(y, float)
    if len(one) != len(other):
        raise ValueError(f"pairs need equally many values, got {len(one)} and {len(other)}")
    both = ~np.isnan(one - other)
    one, other, n = one[both], other[both], int(both.sum())
    if n < 2:
        return RankTest(n, math.nan, math.nan)
    size = max(np.abs(one).max(), np.abs(other).max()) or 1.0
    differences = np.round((one - other) / size, 12)  # else 0.3 - 0.2 and 0.2 - 0.1 are no tie
    differences = differences[differences != 0]
    if len(differences) == 0:
        return RankTest(n, 1.0, 0.0)
    from scipy.stats import rankdata, wilcoxon

    ranks = rankdata(np.abs(differences))
    effect = float((np.sign(differences) * ranks).sum() / ranks.sum())
    return RankTest(n, float(wilcoxon(differences, method="auto").pvalue), effect)
