"""orders.csv: the order of methods, by AUS and by time, as reported and as of this run.

tau is Kendall's tau-b between the two orders. Its interval holds 95 % of DRAWS draws of both
sides: of ours, forget sets drawn with replacement, the same for all methods; of the reported, a
mean over ten runs with the reported spread (ours where none is reported) and an error anywhere
within that of reading; each method moves with the original by sqrt(2) s_o in grade B, and in
grade A by s_t sqrt(1 + 1/S) over S training seeds (letters as in `rule`). An order is

    reproduced       the interval lies at or above 1/2: three of four pairs stand as reported
    differs          it lies below 1/2
    not comparable   it holds 1/2, or an end is unknown (grade B: not judged)

Times are of cells that ran alone: a run beside other work has none (UNLEARNING_UNTIMED), and all
must be of one machine.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from unlearning.audit import grades, quantities
from unlearning.audit import reported as names
from unlearning.audit.beside import Beside, Run, beside, movement
from unlearning.audit.reported import Reported
from unlearning.audit.rule import REPORTED_RUNS
from unlearning.config.experiment import RunConfig
from unlearning.files import METHODS
from unlearning.methods import ORIGINALS, REFERENCES
from unlearning.seeds import seed_for

COLUMNS = [
    *("table_or_figure", "dataset", "scenario", "metric", "grade", "reported", "ours"),
    *("methods", "n", "tau", "low", "high", "verdict", "reason", "trace"),
]
"""The columns of orders.csv. reported, ours: methods from the highest value to the lowest."""
ORDERED = ("aus", "unlearning_seconds")
BOUND = 0.5
"""The least tau of an order that is reproduced: three of four pairs stand as reported."""
FEWEST = 3
DRAWS = 4000
SETS = ["split", "train_seed"]
MACHINE = ["device", "machine", "cpu"]


def orders(
    reported: Sequence[Reported],
    runs: pd.DataFrame,
    ours: RunConfig,
    paper: RunConfig,
    recorded: grades.Recorded | None = None,
    made: pd.DataFrame | None = None,
    folder: str | Path = METHODS,
) -> pd.DataFrame:
    """A row (COLUMNS) for each table or figure, data set, scenario and metric of ORDERED.

    Arguments as of `rows.audit`. made: the manifest, which knows the machines. methods: how many
    are in both orders; n: forget sets and seeds that all of them have.
    """
    run = Run(runs, ours, paper, recorded or {}, folder)
    groups: dict[tuple, list[Reported]] = {}
    for number in reported:
        metric = names.METRICS.get(number.metric)
        method = names.own_method(number.method)
        if metric and metric.column in ORDERED and method not in (None, *REFERENCES, *ORIGINALS):
            key = number.table_or_figure, number.dataset, number.scenario, number.metric
            groups.setdefault(key, []).append(number)
    found = [_order(numbers, run, made) for numbers in groups.values() if len(numbers) >= FEWEST]
    table = pd.DataFrame(found, columns=COLUMNS)
    return table.astype({"n": "Int64", "methods": "Int64"})


def _order(numbers: Sequence[Reported], run: Run, made: pd.DataFrame | None) -> dict:
    named = {names.own_method(number.method): number for number in reversed(numbers)}
    numbers = [number for number in numbers if number in named.values()]
    found = {number: beside(number, run) for number in numbers}
    there = {n: one for n, one in found.items() if isinstance(one, Beside) and one.published}
    labels = [one.experiment.label for one in there.values()]
    most = max(labels, key=labels.count, default="")  # two experiments never share an order
    there = {n: one for n, one in there.items() if one.experiment.label == most}
    first = next(iter(there.values()), None)
    absent = [names.own_method(n.method) for n in numbers if n not in there]
    notes = [first.why] if first and first.why else []
    notes += [f"left_out: {', '.join(absent)}"] if absent else []
    row = {name: getattr(numbers[0], name) for name in COLUMNS if hasattr(numbers[0], name)}
    row |= {"grade": first.grade if first else "", "methods": len(there), "n": 0}
    row |= dict.fromkeys(("tau", "low", "high"), math.nan) | {"reported": "", "ours": ""}
    if first is None:
        shown = any(isinstance(one, Beside) for one in found.values())
        why = ("not judged", "; ".join(notes)) if shown else ("ours not run", "not_in_run")
        return row | {"verdict": why[0], "reason": why[1], "trace": ""}
    row["trace"] = " ".join(
        f"{one.experiment.label}/{one.scenario}/{one.method}" for one in there.values()
    )
    values = pd.DataFrame(
        {one.method: one.done.groupby(SETS)["value"].mean() for one in there.values()}
    ).dropna()
    row |= {"n": len(values), "reported": _listed([n.mean for n in there], list(values))}
    row["ours"] = _listed(values.mean(), list(values)) if len(values) else ""
    if len(there) < FEWEST or values.empty:
        few = "too_few_methods" if len(there) < FEWEST else "not_in_run"
        return row | {"verdict": _open(first), "reason": "; ".join([*notes, few])}
    moves = {
        one.method: movement(quantities.as_printed(number, one.metric), one, run)
        for number, one in (there.items() if first.grade == "B" else ())
    }
    row |= _interval(list(there), values, moves, first)
    verdict, why = _verdict(row, first, moves, values, made)
    notes += [f"settings_unstated: {one.method}" for one in there.values() if one.unstated]
    return row | {"verdict": verdict, "reason": "; ".join([*why, *notes])}


def _open(first: Beside) -> str:
    return "not comparable" if first.grade == "A" else "not judged"


def _listed(values: Sequence[float], methods: Sequence[str]) -> str:
    """`duck > scrub > …`: methods from the highest value down, equal ones joined by =."""
    ordered = sorted(zip(values, methods, strict=True), key=lambda pair: -pair[0])
    text = ordered[0][1]
    for (before, _), (value, method) in itertools.pairwise(ordered):
        text += f" {'=' if value == before else '>'} {method}"
    return text


def _interval(
    numbers: Sequence[Reported], values: pd.DataFrame, moves: dict, first: Beside
) -> dict:
    """tau and the ends of its interval; NaN with one forget set."""
    theirs = np.array([number.mean for number in numbers])
    mine = values.to_numpy()
    found = {"tau": float(kendall(theirs, mine.mean(axis=0)))}
    sets = values.groupby("split").mean()
    if len(sets) < 2:
        return found
    identity = first.experiment.label, first.scenario, first.metric.column
    generator = np.random.default_rng(seed_for("order", numbers[0].table_or_figure, *identity))
    shape = DRAWS, len(numbers)
    drawn = sets.to_numpy()[generator.integers(len(sets), size=(DRAWS, len(sets)))].mean(axis=1)
    if moves:
        moving = np.array([math.sqrt(2) * one.sd if one else 0.0 for one in moves.values()])
    else:
        seeds = values.groupby("train_seed").mean()
        moving = seeds.std(ddof=1).fillna(0.0).to_numpy() * math.sqrt(1 + 1 / len(seeds))
    drawn = drawn + generator.normal(size=shape) * moving
    own = sets.std(ddof=1).to_numpy()
    spread = [s if math.isnan(n.spread) else n.spread for n, s in zip(numbers, own, strict=True)]
    errors = np.array([number.error for number in numbers])
    other = theirs + generator.normal(size=shape) * np.array(spread) / math.sqrt(REPORTED_RUNS)
    other = other + generator.uniform(-1, 1, size=shape) * errors
    low, high = np.quantile(kendall(other, drawn), [0.025, 0.975])
    return found | {"low": float(low), "high": float(high)}


def kendall(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of the last axes; NaN where all values of a side are equal."""
    left, right = np.triu_indices(one.shape[-1], 1)
    a = np.sign(one[..., left] - one[..., right])
    b = np.sign(other[..., left] - other[..., right])
    pairs = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    with np.errstate(invalid="ignore"):
        return (a * b).sum(axis=-1) / pairs


def _verdict(
    row: dict, first: Beside, moves: dict, values: pd.DataFrame, made: pd.DataFrame | None
) -> tuple[str, list[str]]:
    if first.grade == "C":
        return "not judged", []
    if first.metric.column == "unlearning_seconds":
        count = _machines(row["trace"].split(), made)
        if count != "1":
            return "not judged", [f"machines: {count}"]
    unknown = [method for method, one in moves.items() if one is None]
    if unknown:
        return "not judged", [f"originals_unknown: {', '.join(unknown)}"]
    elsewhere = {one.dataset for one in moves.values()} - {first.dataset}
    why = [f"originals_elsewhere: {', '.join(sorted(elsewhere))}"] if elsewhere else []
    alone = first.grade == "A" and values.index.get_level_values("train_seed").nunique() < 2
    why += ["one_original"] if alone else []
    if math.isnan(row["low"]):
        return _open(first), ["one_forget_set", *why]
    if row["low"] >= BOUND:
        return "reproduced", why
    return ("differs", why) if row["high"] < BOUND else (_open(first), ["too_uncertain", *why])


def _machines(traces: Sequence[str], made: pd.DataFrame | None) -> str:
    """Of how many machines the cells are; `not recorded` where the manifest does not say."""
    if made is None:
        return "not recorded"
    place = made["experiment"] + "/" + made["scenario"] + "/" + made["method"]
    cells = made[place.isin(traces) & (made["record"] != "")]
    return str(len(cells[MACHINE].drop_duplicates())) if len(cells) else "not recorded"
