"""Accuracy on retained and forgotten images, train and test, of every method beside the oracle."""

from __future__ import annotations

import common
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unlearning.results.display import shown
from unlearning.results.runs import by_method, summarise_metric

COLUMNS = [
    "scenario",
    "experiment",
    "dataset",
    "arch",
    "method",
    "images",
    "metric",
    "kind",
    "split",
    "train_seed",
    "unlearn_seed",
    "accuracy_percent",
    "sd_percent",
    "n",
    "over",
]
TRAIN = ["retain_train_accuracy", "forget_train_accuracy"]
TEST = {
    "class_removal": ["retain_test_accuracy", "forget_test_accuracy"],
    "homogeneous_removal": ["test_accuracy"],
    "sample_removal": ["test_accuracy"],
    "subclass_removal": ["retain_test_accuracy", "forget_test_accuracy"],
}
LOOK = {
    "retain": (common.RETAIN, "s"),
    "forget": (common.FORGET, "o"),
    "test": (common.NEITHER, "D"),
}
LABEL = {
    "retain": "retained",
    "forget": "forgotten",
    "test": "neither (evaluation half)",
}
ROW = 0.155  # inches: one method


def numbers(panel: common.Panel) -> pd.DataFrame:
    """Every drawn number in percent: one row a `cell` and one a `mean`, per method and metric."""
    rows = []
    shown = [("train", TRAIN), ("test", TEST[panel.scenario])]
    for method, cells in by_method(panel.cells):
        for images, metric in [(images, metric) for images, names in shown for metric in names]:
            done = cells[(cells["status"] == "ok") & cells[metric].notna()]
            if done.empty:
                continue
            identity = {name: getattr(panel, name) for name in COLUMNS[:4]}
            identity |= {"method": method, "images": images, "metric": metric}
            where = done[["split", "train_seed", "unlearn_seed"]].to_dict("records")
            for place, value in zip(where, done[metric], strict=True):
                rows.append(identity | place | {"kind": "cell", "accuracy_percent": 100 * value})
            summary = summarise_metric(done, metric)
            accuracy = {"accuracy_percent": 100 * summary.mean, "sd_percent": 100 * summary.sd}
            rows.append(
                identity | accuracy | {"kind": "mean", "n": summary.n, "over": summary.over}
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def draw_panel(axes: Axes, drawn: pd.DataFrame, heights: dict[str, int]) -> None:
    """Means with single cells, one line a method; the oracle's means as lines over all methods."""
    for metric, rows in drawn.groupby("metric", sort=False):
        colour, marker = LOOK[metric.partition("_")[0]]
        side = {"retain": -1, "forget": 1}.get(metric.partition("_")[0], 0)
        places = rows["method"].map(heights) + 0.14 * side
        single = rows["kind"] == "cell"
        beside = places[single] + 0.2 * (side or 1)  # its mean would hide it
        cell = {"color": colour, "alpha": 0.5, "markersize": 2, "markeredgewidth": 0}
        axes.plot(rows.loc[single, "accuracy_percent"], beside, "o", **cell)
        means = rows[~single]
        axes.errorbar(
            means["accuracy_percent"],
            places[~single],
            xerr=means["sd_percent"].fillna(0),
            fmt=marker,
            color=colour,
            markersize=4,
            markeredgecolor="white",
            markeredgewidth=0.4,
            elinewidth=0.8,
            zorder=3,
        )
        for x in means.loc[means["method"] == "oracle", "accuracy_percent"]:
            axes.axvline(x, color=colour, linestyle=":", linewidth=0.9, zorder=1)


def draw_row(left: Axes, right: Axes, panel: common.Panel, drawn: pd.DataFrame) -> None:
    """One scenario: train images left, test images right, methods from top to bottom."""
    left.set_title(panel.title)
    if panel.cells.empty:
        common.say_nothing(left, panel)
        right.set_axis_off()
        return
    methods = by_method(panel.cells)
    heights = {name: k for k, (name, _) in enumerate(methods)}
    low, high = _range(drawn)
    for axes, images in ((left, "train"), (right, "test")):
        draw_panel(axes, drawn[drawn["images"] == images], heights)
        axes.set_xlim(low, high)
        axes.set_ylim(len(heights) - 0.5, -0.5)
        axes.set_xlabel(f"{images} accuracy (%)")
        axes.tick_params(axis="y", length=0)
        for name, cells in methods:
            status = _word(cells)
            if status:
                middle = (low + high) / 2
                axes.text(
                    middle,
                    heights[name],
                    status,
                    ha="center",
                    va="center",
                    fontsize=common.SMALL,
                    color=common.MUTED,
                    style="italic",
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
                )
    left.set_yticks(list(heights.values()), [_named(name, cells) for name, cells in methods])
    common.stress(left, list(heights))
    right.set_yticks(list(heights.values()), [])


def _word(cells: pd.DataFrame) -> str:
    """`missing`, `diverged`, … for a method without any `ok` cell, else empty."""
    statuses = dict.fromkeys(cells["status"])
    return "" if "ok" in statuses else ", ".join(statuses).replace("_", " ")


def _named(name: str, cells: pd.DataFrame) -> str:
    return shown(name) + (" †" if (cells["status"] != "ok").any() else "")


def _range(drawn: pd.DataFrame) -> tuple[float, float]:
    """From below the lowest number to above the highest, 10 points at least."""
    if drawn.empty:
        return 0.0, 100.0
    spread = drawn["sd_percent"].fillna(0)
    low = (drawn["accuracy_percent"] - spread).min()
    high = (drawn["accuracy_percent"] + spread).max()
    room = max(0.04 * (high - low), (10 - (high - low)) / 2)
    return low - room, high + room


def draw(runs: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The figure and the numbers in it."""
    found = common.panels(runs)
    tables = [numbers(panel) for panel in found]
    rows = common.in_rows(found)
    width = common.COLUMN if len(rows[0]) == 1 else common.PAGE
    lines = common.wrapped(_notes(found, tables), width)
    tall = [max(_height(panel) for panel in row) for row in rows]
    figure, (top, middle, bottom) = common.sheet(
        width, [sum(tall), 0.2, 0.05 + common.LINE * len(lines)]
    )
    grid = top.subplots(len(rows), 2 * len(rows[0]), squeeze=False, height_ratios=tall)
    pairs = grid.reshape(-1, 2)
    for (left, right), panel, table in zip(pairs, found, tables, strict=False):
        draw_row(left, right, panel, table)
    for axes in pairs[len(found) :].flat:
        axes.set_axis_off()
    drawn = pd.concat(tables, ignore_index=True)
    kinds = {metric.partition("_")[0] for metric in drawn["metric"]}
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=4, label=LABEL[name])
        for name, (colour, marker) in LOOK.items()
        if name in kinds
    ]
    if handles:
        middle.legend(handles=handles, loc="center", ncols=3, handletextpad=0.1, columnspacing=1)
    common.write_notes(bottom, lines)
    return figure, drawn


def _height(panel: common.Panel) -> float:
    return 0.75 + ROW * panel.cells["method"].nunique() if len(panel.cells) else common.EMPTY


def _notes(found: list[common.Panel], tables: list[pd.DataFrame]) -> list[str]:
    notes = [
        "Squares, circles, diamonds: mean, bars: ±1 sample standard deviation; dots: single "
        "cells; dotted lines: the oracle's mean."
    ]
    for panel, table in zip(found, tables, strict=True):
        notes += common.spread_notes(panel, table)
    for panel in found:
        notes += common.footnotes(panel, common.status_notes(panel))
    return notes


if __name__ == "__main__":
    common.run(draw, __doc__)
