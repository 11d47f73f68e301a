"""The statistics of crossed cells in plain Python, for tests to compare with."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from scipy import stats


def cautious(cells: Mapping[tuple, float]) -> tuple[float, float, float, float]:
    """Mean, ends of the 95 % interval and p of {(split, seed): value}: the widest of three t.

    Over classes, over seeds and over cells, each from the sums of the deviations from the mean.
    """
    mean, n = statistics.fmean(cells.values()), len(cells)
    rooms, ps = [], []
    for group in (lambda cell: cell[0], lambda cell: cell[1], lambda cell: cell):
        sums: dict = {}
        for cell, value in cells.items():
            sums[group(cell)] = sums.get(group(cell), 0.0) + value - mean
        if len(sums) > 1:
            freedom = len(sums) - 1
            squares = sum(value**2 for value in sums.values())
            error = math.sqrt(squares * len(sums) / freedom) / n
            rooms.append(error * stats.t.ppf(0.975, freedom))
            ps.append(2 * stats.t.sf(abs(mean) / error, freedom) if error else 0.0)
    return mean, mean - max(rooms), mean + max(rooms), max(ps)


def by_split(cells: Mapping[tuple, float]) -> list[float]:
    """The mean of each split over its seeds."""
    found: dict = {}
    for (split, _), value in cells.items():
        found.setdefault(split, []).append(value)
    return [statistics.fmean(values) for values in found.values()]
