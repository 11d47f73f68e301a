"""Mean, interval and p value of cells that are crossed: classes (forget sets) × training seeds.

Cells of one class share the class and cells of one seed share the original, so neither classes ×
seeds cells nor their t-test are independent. Tables, claims and text all use `crossed`: the most
cautious of Student's t over the class means, over the seed means and over the cells.

Simulated: share of 10,000 grids whose 95 % interval misses the true mean, by the share of the
variance that classes have; the rest is halved between seeds and cells (tests/test_crossed.py).
"Mean squares" is the two-way random-effects error, MS_class + MS_seed - MS_interaction with
Satterthwaite's degrees of freedom, at least the larger of the first two: no clear gain, and too
short without an interaction (docs/metrics.md).

    classes × seeds  class share  over cells  mean squares  most cautious
    3 × 3            .37          .217        .006          .016
    3 × 3            .90          .324        .043          .040
    10 × 1           .37          .048        –             .048
    10 × 1           .90          .047        –             .047
    3 × 5            .37          .288        .027          .031
    3 × 5            .90          .451        .055          .047
    2 × 2            .37          .124        .007          .006
    2 × 2            .90          .238        .022          .015
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

ALPHA = 0.05
LEVELS = ("split", "train_seed")
"""The index levels that say to which class (forget set) and seed a cell belongs."""
NOUNS = {
    "class": ("class", "classes"),
    "classes": ("class set", "class sets"),
    "draw": ("draw of classes", "draws of classes"),
}
FORGET_SET = ("forget set", "forget sets")


@dataclass(frozen=True)
class Crossed:
    """A mean over n cells, its 95 % interval and two-sided p against 0.

    over: to what the interval generalises, `classes and seeds`, `classes of this original`,
    `seeds of this class`, or "" for one cell.
    """

    mean: float
    low: float
    high: float
    p: float
    n: int
    over: str


def crossed(cells: pd.Series, slack: float = 0.0) -> Crossed:
    """The mean of `cells`, whose index has the levels LEVELS, in their unit.

    Each cell has the same weight. With one class the interval generalises over seeds only, with
    one seed over classes only. Of a grid with holes the classes' (seeds') share of the squared
    error is that of their sums of deviations from the mean (Liang and Zeger 1986), which is the
    error of their mean where no cell is missing. Cells within `slack` of each other are equal:
    low, high and p are then NaN, or 0, 0 and 1 if they are 0 as well. With n < 2 they are NaN.
    Raises ValueError for an index without the levels and for a NaN.
    """
    levels_of = _levels(cells)
    values, n = cells.to_numpy(float), len(cells)
    if np.isnan(values).any():
        raise ValueError(f"cells holds {np.isnan(values).sum()} NaN; leave them out")
    mean, over = float(values.mean()) if n else math.nan, generalises_to(*levels_of)
    if n > 1 and np.abs(values).max() <= slack:
        return Crossed(0.0, 0.0, 0.0, 1.0, n, over)
    if n < 2 or np.ptp(values) <= slack:
        return Crossed(mean, math.nan, math.nan, math.nan, n, over)
    from scipy.stats import t

    room, p = 0.0, 0.0
    for group in (*(pd.factorize(level)[0] for level in levels_of), np.arange(n)):
        sums = np.bincount(group, values - mean)
        levels = len(sums)
        if levels > 1:
            error = math.sqrt((sums**2).sum() * levels / (levels - 1)) / n
            room = max(room, float(t.ppf(1 - ALPHA / 2, levels - 1)) * error)
            p = max(p, 2 * float(t.sf(abs(mean) / error, levels - 1)) if error > 0 else 0.0)
    return Crossed(mean, mean - room, mean + room, p, n, over)


def generalises_to(splits: Iterable[str], seeds: Iterable) -> str:
    """The factors with two or more levels, and the one level of the other: see `Crossed.over`."""
    splits = list(splits)
    one, many = nouns(splits)
    several = (len(set(splits)) > 1, len(set(seeds)) > 1)
    return {
        (True, True): f"{many} and seeds",
        (True, False): f"{many} of this original",
        (False, True): f"seeds of this {one}",
        (False, False): "",
    }[several]


def nouns(splits: Iterable[str]) -> tuple[str, str]:
    """What the splits are called, one and several: class, class set or forget set."""
    kinds = {split.partition("-")[0] for split in splits}
    return NOUNS.get(kinds.pop(), FORGET_SET) if len(kinds) == 1 else FORGET_SET


def blocks(cells: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """`cells` [cells × columns] as independent rows for rank tests, and what a row is.

    A row a class or forget set, its seeds averaged; with one of them a row a seed. Raises
    ValueError for an index without LEVELS.
    """
    splits, seeds = _levels(cells)
    if splits.nunique() > 1:
        return cells.groupby(splits, sort=False).mean(), nouns(splits)[1]
    return cells.groupby(seeds, sort=False).mean(), "seeds"


def draws(splits: Iterable[str]) -> dict[str, str]:
    """The draw, `draw-0` …, of each class set `classes-3-8`: sets of one draw contain each other.

    Nested sets share their classes, so a draw is one unit however many sizes it has. Where a set
    contains the largest of several draws, those with fewer choices are placed first.
    """
    sets = {split: frozenset(split.split("-")[1:]) for split in splits}
    chains: list[list[str]] = []
    for size in sorted({len(classes) for classes in sets.values()}):
        waiting = [split for split, classes in sets.items() if len(classes) == size]
        free = list(chains)
        while waiting:
            choices = {
                split: [chain for chain in free if sets[chain[-1]] < sets[split]]
                for split in waiting
            }
            split = min(waiting, key=lambda name: len(choices[name]) or len(free) + 1)
            waiting.remove(split)
            if choices[split]:
                chain = choices[split][0]
                free = [other for other in free if other is not chain]
            else:
                chains.append(chain := [])
            chain.append(split)
    return {split: f"draw-{k}" for k, chain in enumerate(chains) for split in chain}


def _levels(cells: pd.Series | pd.DataFrame) -> list[pd.Index]:
    """Class and seed of each cell."""
    absent = [name for name in LEVELS if name not in cells.index.names]
    if absent:
        raise ValueError(f"cells need index levels split and train_seed, got no {absent[0]}")
    return [cells.index.get_level_values(name) for name in LEVELS]


def rounding(*values: np.ndarray) -> float:
    """A bound on what the rounding of sums and differences adds to values of this size."""
    return 8 * np.finfo(float).eps * max(float(np.abs(value).max()) for value in values)
