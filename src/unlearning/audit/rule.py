"""The verdict on a reported number, by the distance h that both sides leave open.

With d = ours - reported, of the quantity that is judged and in its unit, the verdict is

    reproduced       |d| <= h, and h <= 3 points of accuracy or 0.03 of a score
    differs          |d| > h
    not comparable   |d| <= h with a larger h: so many more forget sets would settle it

    h   = t_{0.975, nu} SE + e
    SE² = s_r²/10 + s_b²/B + s_t² (1 + 1/S)      grade A
    SE² = s_r²/10 + s_b²/B + 2 s_o²              grade B

e is the reading error of the reported number, or half a unit of its last digit; s_r its spread
over the release's ten runs (classes or forget sets of one original); s_b our standard deviation
over B forget sets, training seeds averaged; s_t that over the S training seeds that have every
forget set, forget sets averaged. The reported mean rests on one original, hence 1 + 1/S: with
the first two terms alone two originals of different seeds would differ by their seeds, however
many forget sets there are. With S < 2 that term is unknown and left out (`one_original`). nu is
Welch and Satterthwaite's. An unknown s_r is taken to be s_b; both terms are then one estimate,
s_b² (1/10 + 1/B), with B - 1 degrees of freedom. If all of ours are equal as well (a forgotten
class's accuracy of 0), no spread is known on either side, and a difference is no `differs`.

In grade B ours and the published original are two of unlike recipes, hence 2 s_o², s_o being the
standard deviation of the quantity over K originals of other recipes (K - 1 degrees of freedom).
If t_{0.975, K-1} sqrt(2) s_o alone exceeds the 3 points or 0.03, there is no verdict, and a
larger h with |d| <= h is `not judged`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearning.audit.quantities import Movement
from unlearning.audit.reported import Metric, Reported, own_scenario
from unlearning.metrics.names import COSTS
from unlearning.seeds import seed_for
from unlearning.stats.crossed import rounding
from unlearning.stats.summary import interval

REPORTED_RUNS = 10
"""Runs behind a reported mean and its spread: the release's ten classes or ten forget sets."""
LIMIT = 0.03
"""The largest h, as a fraction, with which a number can be reproduced."""
MOST_SETS = 1000
"""Forget sets beyond which nobody is asked for more."""


@dataclass(frozen=True)
class Ours:
    """Our number: mean over n cells with its 95 % interval, and the spreads that decide.

    sets_sd, sets: s_b and B; seeds_sd, seeds: s_t (NaN for S < 2) and S.
    """

    mean: float
    low: float
    high: float
    n: int
    sets_sd: float
    sets: int
    seeds_sd: float
    seeds: int


def measure(cells: pd.DataFrame, identity: Sequence[str]) -> Ours:
    """Mean, interval and spreads of the column `value` of cells, unlearning seeds averaged first.

    With two training seeds that have every forget set the interval is `summary.interval`, else
    Student's over forget sets. identity: of the bootstrap's seed.
    """
    grid = cells.pivot_table(index="train_seed", columns="split", values="value", sort=False)
    sets, seeds = grid.mean(axis=0).to_numpy(), grid.dropna().mean(axis=1).to_numpy()
    if len(seeds) > 1:
        generator = np.random.default_rng(seed_for(*identity))
        found = interval(grid.dropna().to_numpy(), generator)
        low, high = found.low, found.high
    else:
        room = float(_half_width([(_square(sets) / len(sets), len(sets) - 1)]))
        low, high = sets.mean() - room, sets.mean() + room
    spreads = [math.sqrt(_square(sets)), len(sets), math.sqrt(_square(seeds)), len(seeds)]
    return Ours(float(cells["value"].mean()), float(low), float(high), len(cells), *spreads)


def _square(values: np.ndarray) -> float:
    """The sample variance; 0 if all values are equal but for rounding, NaN for fewer than two."""
    if len(values) < 2:
        return math.nan
    return 0.0 if np.ptp(values) <= rounding(values) else float(values.var(ddof=1))


def _half_width(terms: Sequence[tuple]) -> np.ndarray:
    """t_{0.975, nu} sqrt(sum of variances), `terms` being variances and degrees of freedom.

    Both may be arrays of one shape. 0 where nothing varies, NaN where a variance is unknown.
    """
    from scipy.stats import t

    arrays = [(np.asarray(variance, float), np.asarray(n, float)) for variance, n in terms]
    total = sum(variance for variance, _ in arrays)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = total**2 / sum(variance**2 / degrees for variance, degrees in arrays)
        wide = t.ppf(0.975, freedom) * np.sqrt(total)
    return np.where(total == 0, 0.0, wide)


def margin(number: Reported, ours: Ours, moves: Movement | None = None) -> float:
    """h, in the reported unit; ours has two forget sets at least. moves: of grade B."""
    return float(_margins(number, ours, np.array([ours.sets]), moves)[0])


def _margins(number: Reported, ours: Ours, sets: np.ndarray, moves: Movement | None) -> np.ndarray:
    """h for each number of forget sets, spreads as they are."""
    square = ours.sets_sd**2
    if math.isnan(number.spread):
        terms = [(square * (1 / REPORTED_RUNS + 1 / sets), sets - 1)]
    else:
        reported = number.spread**2 / REPORTED_RUNS + 0 * sets
        terms = [(reported, REPORTED_RUNS - 1), (square / sets, sets - 1)]
    if moves:
        terms.append((2 * moves.sd**2 + 0 * sets, moves.n - 1))
    elif ours.seeds > 1:
        terms.append((ours.seeds_sd**2 * (1 + 1 / ours.seeds) + 0 * sets, ours.seeds - 1))
    return _half_width(terms) + number.error


def moved(moves: Movement) -> float:
    """The half-width that the original leaves open: t_{0.975, K-1} sqrt(2) s_o."""
    return float(_half_width([(2 * moves.sd**2, moves.n - 1)]))


def decide(
    number: Reported, ours: Ours, metric: Metric, moves: Movement | None = None
) -> tuple[str, list[str]]:
    """The verdict on a number and its reasons, by the rule at the top of this module.

    moves: how much the quantity moves with the original, for grade B; None: grade A.
    """
    alone = ["one_original"] if ours.seeds < 2 and not moves else []
    undecided = "not judged" if moves else "not comparable"
    if metric.column in COSTS:
        return "not comparable", ["other_hardware", *alone]
    if ours.sets < 2:
        return undecided, ["one_forget_set", *alone]
    slack, limit = rounding(np.array([ours.mean, number.mean])), LIMIT * metric.factor
    if moves and moved(moves) > limit + slack:
        return "not judged", [f"moves_with_original: {moved(moves):.2g}"]
    h = margin(number, ours, moves)
    caveats = [*alone, *(["spread_unknown"] if math.isnan(number.spread) else [])]
    if abs(ours.mean - number.mean) > h + slack:
        if ours.sets_sd == 0 and math.isnan(number.spread):
            return undecided, ["no_spread", *caveats]
        return "differs", caveats
    if h > limit + slack:
        more = f"too_uncertain: {_settling(number, ours, limit, moves)}"
        return undecided, [more, *caveats]
    return "reproduced", caveats


def _settling(number: Reported, ours: Ours, limit: float, moves: Movement | None) -> str:
    """How many more forget sets would give a verdict, if means and spreads stay as they are."""
    removal = own_scenario(number.scenario) == "class_removal"
    one, several = ("class", "classes") if removal else ("forget set", "forget sets")
    sets = np.arange(ours.sets + 1, MOST_SETS + 1)
    h = _margins(number, ours, sets, moves)
    settled = np.flatnonzero((h <= limit) | (np.abs(ours.mean - number.mean) > h))
    if not len(settled):
        return f"more {several} would not settle it"
    more = int(settled[0]) + 1
    return f"{more} more {one if more == 1 else several} would settle it"
