"""Removing more and more classes: accuracies and AUS against the number of classes removed."""

from __future__ import annotations

import common
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from unlearning.report import labels
from unlearning.results.display import shown
from unlearning.results.runs import by_method

COLUMNS = [
    *(*common.PLACE, "method", "classes_removed", "metric", "unit", "value", "sd", "n", "over"),
]
LABEL = {
    "retain_test_accuracy": "test accuracy (%),\nremaining classes ($A_r^t$)",
    "aus": "AUS",
    "forget_test_accuracy": "test acc. (%),\nremoved ($A_f^t$)",
}
TALL = {"retain_test_accuracy": 1.35, "aus": 1.35, "forget_test_accuracy": 1.0}  # inches


def numbers(panel: common.Panel) -> pd.DataFrame:
    """Every drawn number, accuracies in percent: a row a method, number of classes and metric.

    The original is there with its accuracy on the remaining classes alone.
    """
    identity = {name: getattr(panel, name) for name in common.PLACE}
    rows = []
    for method, own in by_method(panel.cells):
        for metric in LABEL if method != "original" else ["retain_test_accuracy"]:
            for count, cells in own.groupby("classes_removed"):
                key = identity | {"method": method, "classes_removed": int(count)}
                rows += common.measured(key, cells, metric)[-1:]
    return pd.DataFrame(rows, columns=COLUMNS)


def draw_panel(axes: Axes, drawn: pd.DataFrame, counts: list[int], looks: dict) -> None:
    """One metric: a line a method, broken where it has no result, in a band of ±1 sd."""
    for method, rows in by_method(drawn):
        rows = rows.set_index("classes_removed").reindex(counts)
        mean, sd = rows["value"].astype(float), rows["sd"].astype(float)
        style = line(method, looks)
        axes.plot(counts, mean, **style)
        shade = {"color": style["color"], "alpha": 0.18, "linewidth": 0, "zorder": 1}
        axes.fill_between(counts, mean - sd, mean + sd, **shade)
        alone = sd.notna() & sd.shift(1).isna() & sd.shift(-1).isna()  # a band without width
        bar = {"fmt": "none", "ecolor": style["color"], "elinewidth": 0.8}
        axes.errorbar(sd[alone].index, mean[alone], yerr=sd[alone], **bar)


def line(method: str, looks: dict) -> dict:
    """The look of a method's line; the references are dashed and dotted, as in every figure."""
    colour, marker = looks[method]
    size = {"markersize": 6 if marker == "*" else 3.5, "markeredgewidth": 0}
    dash = {"original": "--", "oracle": ":"}.get(method, "-")
    return {"color": colour, "marker": marker, "linestyle": dash, "zorder": 3, **size}


def draw_column(column: list[Axes], panel: common.Panel, drawn: pd.DataFrame, looks: dict) -> None:
    """The metrics of one data set and architecture, one below another."""
    counts = sorted({int(count) for count in panel.cells["classes_removed"]})
    column[0].set_title(panel.title)
    for axes, metric in zip(column, LABEL, strict=True):
        draw_panel(axes, drawn[drawn["metric"] == metric], counts, looks)
        axes.set_ylabel(LABEL[metric])
        edge = 0.03 * (counts[-1] - counts[0]) or 0.5
        axes.set_xlim(counts[0] - edge, counts[-1] + edge)
        axes.xaxis.set_major_locator(
            MaxNLocator(10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
        )
        axes.tick_params(labelbottom=axes is column[-1])
    column[-1].set_xlabel("number of classes removed")


def write_names(
    axes: Axes, drawn: pd.DataFrame, methods: list[str], looks: dict, noted: set[str]
) -> None:
    """The name of each method beside the last point of its line."""
    last = drawn.groupby("method", sort=False).last()
    names = {name: f"{shown(name)} †" if name in noted else shown(name) for name in methods}
    wanted = [
        labels.Label(
            names[row.Index],
            row.classes_removed,
            row.value,
            common.name_look(row.Index),
            looks[row.Index][0],
        )
        for row in last.sort_values("value", kind="stable").itertuples()
    ]
    widest = labels.Label(max(names.values(), key=len), 0, 0, {"weight": "bold"})
    labels.column(axes, wanted, "right", widest)


def draw(runs: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The figure and the numbers in it; without such a study, a sentence that says so."""
    runs = runs[runs["classes_removed"].notna()]
    found = [panel for panel in common.panels(runs) if len(panel.cells)]
    if not found:
        empty = pd.DataFrame(columns=COLUMNS)
        return common.only_say("No removal of several classes in this run."), empty
    tables = [numbers(panel) for panel in found]
    methods = [name for name, _ in by_method(runs)]
    looks = common.looks(methods)
    width = common.COLUMN if len(found) == 1 else common.PAGE
    lines = common.wrapped(_notes(found, tables), width)
    figure, (top, bottom) = common.sheet(
        width, [sum(TALL.values()) + 0.6, 0.05 + common.LINE * len(lines)]
    )
    grid = top.subplots(len(TALL), len(found), squeeze=False, height_ratios=list(TALL.values()))
    for column, panel, table in zip(grid.T, found, tables, strict=True):
        draw_column(list(column), panel, table, looks)
    common.write_notes(bottom, lines)
    common.settle(figure)
    for column, panel, table in zip(grid.T, found, tables, strict=True):
        noted = {name for name, _ in _lost(panel)}
        for axes, metric in zip(column, LABEL, strict=True):
            write_names(axes, table[table["metric"] == metric], methods, looks, noted)
    return figure, pd.concat(tables, ignore_index=True)


def _lost(panel: common.Panel) -> list[tuple[str, str]]:
    return common.lost(panel, list(LABEL))


def _notes(found: list[common.Panel], tables: list[pd.DataFrame]) -> list[str]:
    """What line and band are, how many cells a point stands for, and what is not drawn."""
    notes = [
        "Points: means; bands or bars: ±1 sample standard deviation. Accuracy rises as fewer "
        "classes remain: compare with the original."
    ]
    for panel, table in zip(found, tables, strict=True):
        notes += _counts(panel, table)
    for panel in found:
        notes += common.footnotes(panel, _lost(panel))
    return notes


def _counts(panel: common.Panel, drawn: pd.DataFrame) -> list[str]:
    """Over what the cells of a point run, those of most points first, the others by name."""
    if drawn.empty:
        return []
    usual = drawn["over"].mode()[0]
    odd = drawn[drawn["over"] != usual].groupby(["classes_removed", "over"])["method"]
    others = [
        f"{over} at {count} ({', '.join(dict.fromkeys(map(shown, methods)))})"
        for (count, over), methods in odd
    ]
    return [f"{panel.short}, a point stands for {'; '.join([usual, *others])}."]


if __name__ == "__main__":
    common.run(draw, __doc__, common.read_study("multiple_classes"))
