"""The audit: every reported number beside this run's, with a verdict and its reason.

Ours is the mean over the `ok` cells of the one experiment whose data set, model and recipe are
those of the paper's grid. With d = ours - reported, in the reported unit, the verdict is

    reproduced       |d| <= h, and h <= 3 points of accuracy or 0.03 of a score
    differs          |d| > h
    not comparable   |d| <= h with a larger h, or there is nothing to compare
    ours not run     no cell of this run has the number

    h   = t_{0.975, nu} SE + e
    SE² = s_r²/10 + s_b²/B + s_t² (1 + 1/S)

e is the reading error of the reported number, or half a unit of its last digit; s_r its spread
over the release's ten runs (classes or forget sets of one original); s_b our standard deviation
over B forget sets, training seeds averaged; s_t that over the S training seeds that have every
forget set, forget sets averaged. The reported mean rests on one original, hence 1 + 1/S: with
the first two terms alone two originals of different seeds would differ by their seeds, however
many forget sets there are. With S < 2 that term is unknown and left out (`one_original`). nu is
Welch and Satterthwaite's. An unknown s_r is taken to be s_b; both terms are then one estimate,
s_b² (1/10 + 1/B), with B - 1 degrees of freedom. paper/AUDIT.md has the same for readers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearning import reported as names
from unlearning.comparisons import rounding
from unlearning.config import Experiment, RunConfig, Variant
from unlearning.metrics.names import COSTS
from unlearning.reported import Metric, Reported
from unlearning.seeds import seed_for
from unlearning.stats import interval
from unlearning.tables import status_note

COLUMNS = [
    *("row", "source", "version", "table_or_figure", "dataset", "scenario", "method", "metric"),
    *("exactness", "reported", "spread", "spread_over", "ours", "difference", "low", "high", "n"),
    *("verdict", "reason", "command", "trace"),
]
"""The columns of audit.csv."""
REPORTED_RUNS = 10
"""Runs behind a reported mean and its spread: the release's ten classes or ten forget sets."""
LIMIT = 0.03
"""The largest h, as a fraction, with which a number can be reproduced."""
RECIPE = ("pretrained", "head_dropout", "precision", "training", "evaluation")
VERDICTS = {
    "reproduced": "Ours is within h of the reported number, and h is at most 3 points (0.03).",
    "differs": "Ours is farther from the reported number than h.",
    "ours not run": "No cell of this run has the number; the command would make it, where a "
    "config has the data set.",
    "not comparable": "There is nothing to compare with, or the comparison would say nothing.",
}
REASONS = {
    "no_counterpart": "This project has no such data set, scenario, method or metric, or the "
    "source does not say for certain which it is.",
    "no_paper_recipe": "The paper's grid has no experiment on this data set, so that it is not "
    "written down how the reported models were trained.",
    "no_config": "Neither this run nor the paper's grid has an experiment on this data set.",
    "not_in_run": "This run has no finished cell of this data set, scenario and method.",
    "not_measured": "The cells are there, but not this metric of them.",
    "other_architecture": "This run has the data set with another architecture alone.",
    "other_recipe": "This run has the data set with other settings than the paper's grid alone: "
    "those named.",
    "none_ok": "No cell came to an end that could be averaged.",
    "some_not_ok": "Some cells are not ok and not in the mean.",
    "other_hardware": "Seconds and memory depend on the machine, which the paper does not name.",
    "one_forget_set": "Ours rests on one forget set, the reported mean on ten: the spread between "
    "forget sets is unknown.",
    "too_uncertain": "Ours is within h, but h is more than 3 points (0.03).",
    "one_original": "Ours has fewer than two training seeds with every forget set. The interval "
    "is Student's over forget sets, and h leaves out what another training seed changes: a small "
    "difference may be that alone.",
    "spread_unknown": "No spread is reported; it is taken to be ours.",
}
"""What the code words in the column `reason` mean."""


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


def audit(
    reported: Sequence[Reported],
    runs: pd.DataFrame,
    ours: RunConfig,
    paper: RunConfig,
    command: str,
) -> pd.DataFrame:
    """A row (COLUMNS) for each reported number, in its own unit and in the order given.

    runs: `tables.read_runs` of the run that `ours` describes. paper: the paper's grid. command:
    what would run that. reason: code words of REASONS, with `; ` between them; some name details.
    """
    rows = [_row(number) | _judged(number, runs, ours, paper, command) for number in reported]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"n": "Int64"})


def _row(number: Reported) -> dict:
    kept = {name: getattr(number, name) for name in COLUMNS if hasattr(number, name)}
    return kept | {"reported": number.printed}


def _judged(
    number: Reported, runs: pd.DataFrame, ours: RunConfig, paper: RunConfig, command: str
) -> dict:
    datasets = {one.dataset for one in (*ours.experiments, *paper.experiments)}
    identity = {
        "data set": names.own_dataset(number.dataset, datasets),
        "scenario": names.own_scenario(number.scenario),
        "method": names.own_method(number.method),
        "metric": names.METRICS.get(number.metric),
    }
    absent = [what for what, name in identity.items() if name is None]
    if absent:
        return _without("not comparable", f"no_counterpart: {', '.join(absent)}")
    dataset, scenario, method, metric = identity.values()
    there, wanted = _experiments(ours, dataset), _experiments(paper, dataset)
    if not wanted:
        missing = ("not comparable", "no_paper_recipe") if there else ("ours not run", "no_config")
        return _without(*missing)
    if not there:
        return _without("ours not run", "not_in_run", command)
    differences = [_differences(one, wanted[0], method) for one in there]
    if all(differences):
        return _without("not comparable", differences[0], command)
    same = [one.label for one, other in zip(there, differences, strict=True) if not other]
    cells = runs[(runs["scenario"] == scenario) & (runs["method"] == method)]
    cells = cells[cells["experiment"].isin(same)]
    cells = cells[cells["experiment"] == next(iter(cells["experiment"]), "")]
    cells = cells.assign(value=values(cells, metric))
    done = cells[(cells["status"] == "ok") & cells["value"].notna()]
    if done.empty:
        return _nothing(cells, command)
    experiment = done["experiment"].iloc[0]
    found = measure(done, ("audit", experiment, scenario, method, metric.column))
    verdict, reasons = decide(number, found, metric)
    trace = f"{experiment}/{scenario}/{method}"
    return {
        **{name: getattr(found, name) for name in ("low", "high", "n")},
        **{"ours": found.mean, "difference": found.mean - number.mean, "verdict": verdict},
        **{"reason": "; ".join([*reasons, *_left_out(cells)]), "command": "", "trace": trace},
    }


def _without(verdict: str, reason: str, command: str = "") -> dict:
    numbers = dict.fromkeys(("ours", "difference", "low", "high"), math.nan)
    return numbers | {"verdict": verdict, "reason": reason, "command": command, "trace": ""}


def _experiments(config: RunConfig, dataset: str) -> list[Experiment]:
    """The experiments on a data set that are in runs.csv."""
    return [one for one in config.experiments if one.dataset == dataset and one.study is None]


def _differences(one: Experiment, wanted: Experiment, method: str) -> str:
    """Why a method's cells of `one` are not those of the paper's grid; "" if they are."""
    if one.arch != wanted.arch:
        return f"other_architecture: {one.arch}"
    differing = [key for key in RECIPE if getattr(one, key) != getattr(wanted, key)]
    if _variant(one, method) != _variant(wanted, method):
        differing.append(f"settings of {method}")
    return f"other_recipe: {', '.join(differing)}" if differing else ""


def _variant(experiment: Experiment, method: str) -> Variant:
    named = {variant.name: variant for variant in experiment.variants}
    return named.get(method, Variant(name=method, method=method))


def values(cells: pd.DataFrame, metric: Metric) -> pd.Series:
    if metric.column == names.GAP:
        values = (cells["forget_train_accuracy"] - cells["test_accuracy"]).abs()
    else:
        values = cells[metric.column]
    return metric.factor * values


def _nothing(cells: pd.DataFrame, command: str) -> dict:
    """Why no cell has the number."""
    statuses = set(cells["status"])
    if "ok" in statuses:
        return _without("ours not run", "not_measured", command)
    if statuses <= {"missing"}:
        note = [f"none_ok: {status_note(cells)}"] if statuses else []
        return _without("ours not run", "; ".join(["not_in_run", *note]), command)
    return _without("not comparable", f"none_ok: {status_note(cells)}")


def _left_out(cells: pd.DataFrame) -> list[str]:
    """What is not in the mean."""
    unknown = int((cells["value"].isna() & (cells["status"] == "ok")).sum())
    notes = [f"{unknown} of {len(cells)} cells without this metric"] if unknown else []
    notes = [note for note in (status_note(cells), *notes) if note]
    return [f"some_not_ok: {'; '.join(notes)}"] if notes else []


def measure(cells: pd.DataFrame, identity: Sequence[str]) -> Ours:
    """Mean, interval and spreads of the column `value` of cells, unlearning seeds averaged first.

    With two training seeds that have every forget set the interval is `stats.interval`, else
    Student's over forget sets. identity: of the bootstrap's seed.
    """
    grid = cells.pivot_table(index="train_seed", columns="split", values="value", sort=False)
    sets, seeds = grid.mean(axis=0).to_numpy(), grid.dropna().mean(axis=1).to_numpy()
    if len(seeds) > 1:
        generator = np.random.default_rng(seed_for(*identity))
        found = interval(grid.dropna().to_numpy(), generator)
        low, high = found.low, found.high
    else:
        room = _half_width([(_square(sets) / len(sets), len(sets) - 1)])
        low, high = sets.mean() - room, sets.mean() + room
    spreads = [math.sqrt(_square(sets)), len(sets), math.sqrt(_square(seeds)), len(seeds)]
    return Ours(float(cells["value"].mean()), float(low), float(high), len(cells), *spreads)


def _square(values: np.ndarray) -> float:
    """The sample variance; 0 if all values are equal but for rounding, NaN for fewer than two."""
    if len(values) < 2:
        return math.nan
    return 0.0 if np.ptp(values) <= rounding(values) else float(values.var(ddof=1))


def _half_width(terms: Sequence[tuple[float, int]]) -> float:
    """t_{0.975, nu} sqrt(sum of variances), `terms` being variances and degrees of freedom."""
    total = sum(variance for variance, _ in terms)
    if not total > 0:
        return total
    from scipy.stats import t

    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in terms)
    return float(t.ppf(0.975, freedom)) * math.sqrt(total)


def decide(number: Reported, ours: Ours, metric: Metric) -> tuple[str, list[str]]:
    """The verdict on a number and its reasons, by the rule at the top of this module."""
    alone = ["one_original"] if ours.seeds < 2 else []
    if metric.column in COSTS:
        return "not comparable", ["other_hardware", *alone]
    if ours.sets < 2:
        return "not comparable", ["one_forget_set", *alone]
    h = margin(number, ours)
    caveats = [*alone, *(["spread_unknown"] if math.isnan(number.spread) else [])]
    slack = rounding(np.array([ours.mean, number.mean]))
    if abs(ours.mean - number.mean) > h + slack:
        return "differs", caveats
    if h > LIMIT * metric.factor + slack:
        return "not comparable", ["too_uncertain", *caveats]
    return "reproduced", caveats


def margin(number: Reported, ours: Ours) -> float:
    """h, in the reported unit; ours has two forget sets at least."""
    square, sets = ours.sets_sd**2, ours.sets
    if math.isnan(number.spread):
        terms = [(square * (1 / REPORTED_RUNS + 1 / sets), sets - 1)]
    else:
        terms = [(number.spread**2 / REPORTED_RUNS, REPORTED_RUNS - 1), (square / sets, sets - 1)]
    if ours.seeds > 1:
        terms.append((ours.seeds_sd**2 * (1 + 1 / ours.seeds), ours.seeds - 1))
    return _half_width(terms) + number.error
