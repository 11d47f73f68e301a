"""Comparisons over cells: paired tests, Holm's correction, average ranks, rank tests of two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

ALPHA = 0.05


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
    """Each method against `baseline` over the same cells, by the paired t-test with Holm.

    `values` is [cells x methods], in any unit. One row a method but the baseline, in the order of
    the columns: `n`, the cells with both; `difference`, mean of method minus baseline; `low` and
    `high`, its 95 % Student interval; `p`, two-sided; `p_holm` over the methods with a p;
    `verdict`: "higher" or "lower" if p_holm < 0.05, else "not told apart". Columns that are equal
    in all of n >= 2 cells have p = 1. With n < 2, or differences that are all the same number, p
    is NaN and the verdict "not tested". The test takes cells as independent.
    Raises ValueError if `baseline` is no column.
    """
    if baseline not in values:
        raise ValueError(f"baseline {baseline!r} is none of {', '.join(map(str, values))}")
    methods = [name for name in values if name != baseline]
    rows = [_against(values[name], values[baseline]) for name in methods]
    columns = ["n", "difference", "low", "high", "p"]
    table = pd.DataFrame(rows, index=pd.Index(methods, name="method"), columns=columns)
    table["p_holm"] = holm(table["p"])
    table["verdict"] = [
        _verdict(row.difference, row.p_holm) for row in table.itertuples(index=False)
    ]
    return table


def _against(method: pd.Series, baseline: pd.Series) -> tuple[int, float, float, float, float]:
    both = (method.notna() & baseline.notna()).to_numpy()
    one, other = method.to_numpy(float)[both], baseline.to_numpy(float)[both]
    n, differences = len(one), one - other
    mean = float(differences.mean()) if n else math.nan
    if n > 1 and np.abs(differences).max() <= rounding(one, other):
        return n, 0.0, 0.0, 0.0, 1.0
    if n < 2 or np.ptp(differences) <= rounding(one, other):
        return n, mean, math.nan, math.nan, math.nan
    from scipy.stats import ttest_rel

    test = ttest_rel(one, other)
    low, high = test.confidence_interval(1 - ALPHA)
    return n, mean, float(low), float(high), float(test.pvalue)


def _verdict(difference: float, p_holm: float) -> str:
    if math.isnan(p_holm):
        return "not tested"
    if p_holm >= ALPHA:
        return "not told apart"
    return "higher" if difference > 0 else "lower"


@dataclass(frozen=True)
class Ranks:
    """Average ranks over n cells, best first, and which of them differ by chance alone."""

    ranks: pd.Series
    n: int
    friedman_p: float
    critical_difference: float
    groups: list[tuple[str, ...]]


def average_ranks(values: pd.DataFrame, higher_is_better: bool = True) -> Ranks:
    """Friedman's test and Nemenyi's critical difference at 0.05 (Demšar 2006, §3.2).

    `values` is [cells x methods]; a cell without a value of every method is dropped, `n` counts
    the others. `ranks`: the mean rank of each method, 1 = best, ties averaged, sorted.
    critical_difference = q sqrt(k (k + 1) / (6 n)) for k methods, q the studentised range's
    quantile over sqrt(2). `groups`: the largest sets of two or more methods whose ranks differ by
    no more than that, best first. If every cell is one tie, friedman_p is 1. Both tests take
    cells as independent.
    Raises ValueError for fewer than 3 methods or 2 complete cells.
    """
    complete = values.dropna()
    n, k = complete.shape
    if k < 3 or n < 2:
        raise ValueError(f"ranks need 3 methods and 2 cells with all of them, got {k} and {n}")
    from scipy.stats import friedmanchisquare, studentized_range

    each = complete.rank(axis=1, ascending=not higher_is_better)
    tied = bool((each == (k + 1) / 2).all(axis=None))
    friedman_p = 1.0 if tied else float(friedmanchisquare(*each.to_numpy().T).pvalue)
    ranks = each.mean().sort_values(kind="stable").rename("rank").rename_axis("method")
    quantile = studentized_range.ppf(1 - ALPHA, k, math.inf) / math.sqrt(2)
    difference = float(quantile * math.sqrt(k * (k + 1) / (6 * n)))
    return Ranks(ranks, n, friedman_p, difference, _groups(ranks, difference))


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


def rounding(*values: np.ndarray) -> float:
    """A bound on what the rounding of sums and differences adds to values of this size."""
    return 8 * np.finfo(float).eps * max(float(np.abs(value).max()) for value in values)
