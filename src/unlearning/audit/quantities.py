"""What is judged of a reported number: it, or what it is relative to the original.

With another original only these say something of the paper's: AUS, A_or - A_r^t (class removal),
A_or - A^t (homogeneous removal), A_f^t and |A_f - A^t|. A_or is the plain original's, cell by cell
that of the same forget set and training seed, and on the reported side the accuracy of the
original that `paper/reported.csv` has for the same data set and scenario.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearning.audit import reported as names
from unlearning.audit.reported import Metric, Reported
from unlearning.methods import ORIGINALS
from unlearning.metrics.aus import class_removal_aus

A_T = {"class_removal": "retain_test_accuracy", "homogeneous_removal": "test_accuracy"}
"""The accuracy that AUS compares with the original's."""
SYMBOLS = {"retain_test_accuracy": "A_r^t", "test_accuracy": "A^t"}
BESIDE = ["experiment", "scenario", "split", "train_seed"]
Published = dict[tuple[str, str, str], Reported]
Values = Callable[[pd.DataFrame, pd.DataFrame], pd.Series]


@dataclass(frozen=True)
class Quantity:
    """What is judged: its name, the reported side, and ours.

    reported: the number with mean, spread and error of the quantity. of: its values, in the
    reported unit, from a method's cells and the plain original's; NaN where either is unknown.
    """

    name: str
    reported: Reported
    of: Values


@dataclass(frozen=True)
class Movement:
    """How much a quantity moves with the original: sd of its means over n originals (ddof 1).

    dataset: where it was measured. labels: the experiments, one recipe each.
    """

    sd: float
    n: int
    dataset: str
    labels: tuple[str, ...]


def single(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells that forget one class, or a random share: as every reported number does."""
    return cells[~cells["split"].str.startswith("classes-")]


def values(cells: pd.DataFrame, metric: Metric) -> pd.Series:
    """The metric of each cell, in the reported unit."""
    if metric.column == names.GAP:
        found = (cells["forget_train_accuracy"] - cells["test_accuracy"]).abs()
    else:
        found = cells[metric.column]
    return metric.factor * found


def published_originals(reported: Iterable[Reported], known: Iterable[str]) -> Published:
    """The reported accuracies of originals by data set, scenario and column; the first counts."""
    found: Published = {}
    for number in reported:
        metric = names.METRICS.get(number.metric)
        key = names.own_dataset(number.dataset, known), names.own_scenario(number.scenario)
        if metric and None not in key and names.own_method(number.method) == "original":
            found.setdefault((*key, metric.column), number)
    return found


def as_printed(number: Reported, metric: Metric) -> Quantity:
    """The number itself."""
    return Quantity(number.metric, number, lambda cells, _: values(cells, metric))


def plain_aus(number: Reported) -> Quantity:
    """AUS of a class removal with the plain original's accuracy in place of the method's own."""

    def of(cells: pd.DataFrame, originals: pd.DataFrame) -> pd.Series:
        before = _matched(cells, originals, "retain_test_accuracy")
        sides = cells["retain_test_accuracy"], before, cells["forget_test_accuracy"]
        return pd.Series(
            [
                class_removal_aus(*three) if np.isfinite(three).all() else math.nan
                for three in zip(*sides, strict=True)
            ],
            index=cells.index,
            dtype=float,
        )

    return Quantity("AUS on the plain original", number, of)


def relative(
    number: Reported, metric: Metric, dataset: str, scenario: str, published: Published
) -> Quantity | str:
    """What of a number is relative to the original, or the code word of why nothing is."""
    column = metric.column
    if names.own_method(number.method) in ORIGINALS:
        return "absolute"
    as_it_is = {"aus", names.GAP}
    if scenario == "class_removal":
        as_it_is.add("forget_test_accuracy")
    if column in as_it_is:
        return as_printed(number, metric)
    if column != A_T[scenario]:
        return "absolute"
    original = published.get((dataset, scenario, column))
    if original is None:
        return "original_unreported"
    unit = metric.factor / names.METRICS[original.metric].factor
    lost = dataclasses.replace(
        number,
        mean=unit * original.mean - number.mean,
        error=unit * original.error + number.error,
        spread=math.nan,  # of a difference: not what is reported of its sides
    )

    def of(cells: pd.DataFrame, originals: pd.DataFrame) -> pd.Series:
        return metric.factor * (_matched(cells, originals, column) - cells[column])

    return Quantity(f"A_or − {SYMBOLS[column]}", lost, of)


def _matched(cells: pd.DataFrame, originals: pd.DataFrame, column: str) -> pd.Series:
    """The plain original's value for each cell: same forget set and training seed."""
    known = originals[originals["status"] == "ok"].drop_duplicates(BESIDE).set_index(BESIDE)[column]
    wanted = pd.MultiIndex.from_frame(cells[BESIDE])
    return pd.Series(known.reindex(wanted).to_numpy(float), index=cells.index)


def movement(
    quantity: Quantity, groups: Sequence[pd.DataFrame], runs: pd.DataFrame
) -> Movement | None:
    """How much the quantity moves between the originals of `groups`; None with fewer than two.

    groups: the method's ok cells of experiments on one data set and network, a recipe each. Only
    the forget sets and training seeds that all of them have count, averaged.
    """
    originals = runs[runs["method"] == "original"]
    columns = {}
    for cells in groups:
        found = cells.assign(quantity=quantity.of(cells, originals)).dropna(subset="quantity")
        if len(found):
            means = found.groupby(["split", "train_seed"])["quantity"].mean()
            columns[found["experiment"].iloc[0]] = means
    shared = pd.DataFrame(columns).dropna()
    if len(columns) < 2 or shared.empty:
        return None
    means = shared.mean()
    dataset = groups[0]["dataset"].iloc[0]
    return Movement(float(means.std(ddof=1)), len(means), dataset, tuple(means.index))
