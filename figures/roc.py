"""LiRA's ROC curve of each method, log-log: who leaks membership at low false-positive rates."""

from __future__ import annotations

import math

import common
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from unlearning.metrics.aus import SCENARIOS
from unlearning.report import labels
from unlearning.results.display import shown, system
from unlearning.results.keys import GROUP
from unlearning.results.runs import by_method

COLUMNS = [
    *("scenario", "experiment", "dataset", "arch", "method"),
    *("false_positive_rate", "true_positive_rate", "cells", "shadow_models"),
]
LOWEST = 1e-3
PANEL = 2.6  # inches: the height of a panel
DASHES = [
    "-",
    "--",
    "-.",
    ":",
    (0, (5, 1)),
    (0, (3, 1, 1, 1)),
    (0, (1, 1)),
    (0, (8, 2)),
    (0, (5, 1, 1, 1, 1, 1)),
]


def read(path: str) -> pd.DataFrame:
    """Read roc.csv; rates as fractions. Raises ValueError if a column is missing."""
    text = [*COLUMNS[:5], "split", "train_seed", "unlearn_seed"]
    return common.tidy(path, text, [*COLUMNS[5:7], "shadow_models"])


def numbers(points: pd.DataFrame) -> pd.DataFrame:
    """Mean true-positive rate of a method's cells at each false-positive rate all resolve."""
    rows = []
    for scenario in SCENARIOS:
        here = points[points["scenario"] == scenario]
        for key, group in here.groupby(GROUP, sort=False):
            identity = {"scenario": scenario, **dict(zip(GROUP, key, strict=True))}
            for method, own in by_method(group):
                rows += [identity | {"method": method} | row for row in _curve(own)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _curve(own: pd.DataFrame) -> list[dict]:
    cells = own[["split", "train_seed", "unlearn_seed"]].drop_duplicates().shape[0]
    means = own.groupby("false_positive_rate")["true_positive_rate"].agg(["mean", "size"])
    shared = {"cells": cells, "shadow_models": int(own["shadow_models"].max())}
    return [
        {"false_positive_rate": rate, "true_positive_rate": row["mean"]} | shared
        for rate, row in means.iterrows()
        if row["size"] == cells
    ]


def style(method: str, looks: dict) -> dict:
    """Colour and dash of a method; the references stand out."""
    if method in common.REFERENCE:
        dash = "--" if method == "original" else ":"
        return {"color": common.REFERENCE[method], "linestyle": dash, "linewidth": 1.8}
    colour, marker = looks[method]
    dash = DASHES[common.MARKERS.index(marker)]
    return {"color": colour, "linestyle": dash, "linewidth": 1.8 if method == "duck" else 0.8}


def draw_panel(axes: Axes, drawn: pd.DataFrame, looks: dict) -> None:
    """The curves of one scenario and system, and chance as a thin diagonal."""
    row = drawn.iloc[0]
    place = system(row["dataset"], row["arch"])
    axes.set_title(f"{shown(row['scenario'])}\n{place}")
    axes.plot([LOWEST, 1], [LOWEST, 1], color="#bbbbbb", linewidth=0.6, zorder=1)
    for method, curve in by_method(drawn):
        known = curve[curve["true_positive_rate"] > 0]
        front = 4 if method in ("duck", *common.REFERENCE) else 2
        axes.plot(
            known["false_positive_rate"],
            known["true_positive_rate"],
            zorder=front,
            **style(method, looks),
        )
    low = max(LOWEST, drawn["false_positive_rate"].min())
    axes.set(xscale="log", yscale="log", xlim=(low, 1), ylim=(LOWEST, 1.05))
    for axis in (axes.xaxis, axes.yaxis):  # over less than a decade they would be written, and meet
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("false-positive rate")
    axes.set_ylabel("true-positive rate")
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.spines[["left", "right"]].set_visible(True)


def write_names(axes: Axes, drawn: pd.DataFrame, looks: dict) -> None:
    """Each method's name left of the panel, joined to where its curve comes into view.

    A curve that stays below the panel has its name at the lower left corner.
    """
    left, bottom = axes.get_xlim()[0], axes.get_ylim()[0]
    starts = []
    for method, curve in by_method(drawn):
        seen = curve[curve["true_positive_rate"] >= bottom]
        x = seen["false_positive_rate"].iloc[0] if len(seen) else left
        y = seen["true_positive_rate"].iloc[0] if len(seen) else bottom
        starts.append(labels.Label(shown(method), x, y, common.name_look(method), looks[method][0]))
    starts.sort(key=lambda label: (label.x <= left, label.y if label.x <= left else label.x))
    labels.column(axes, starts, "left")


def draw(points: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The figure and the numbers in it; without an attack, a sentence that says so."""
    table = numbers(points)
    if table.empty:
        figure = plt.figure(figsize=(common.COLUMN, common.EMPTY))
        figure.text(0.02, 0.5, "No attack in this run.", va="center", color=common.MUTED)
        return figure, table
    panels = [group for _, group in table.groupby(["scenario", *GROUP], sort=False)]
    methods = [name for name, _ in by_method(table)]
    looks = common.looks(methods)
    width = common.PAGE if len(panels) > 1 else common.COLUMN
    per_row = min(2, len(panels))
    rows = math.ceil(len(panels) / per_row)
    lines = common.wrapped(_notes(table), width)
    figure, parts = common.sheet(width, [PANEL * rows, 0.05 + common.LINE * len(lines)])
    grid = list(parts[0].subplots(rows, per_row, squeeze=False).flat)
    for axes, drawn in zip(grid, panels, strict=False):
        draw_panel(axes, drawn, looks)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    common.write_notes(parts[1], lines)
    common.settle(figure)
    for axes, drawn in zip(grid, panels, strict=False):
        write_names(axes, drawn, looks)
    return figure, table


def _notes(table: pd.DataFrame) -> list[str]:
    """What a curve is, and where it begins."""
    cells, shadows = (
        ", ".join(str(n) for n in sorted(set(table[name]))) for name in ("cells", "shadow_models")
    )
    return [
        f"LiRA, online, {shadows} shadow models. Members: the forgotten training images; others: "
        "test images of the same kind. A curve is the mean over a method's cells (forget set and "
        f"training seed; n = {cells}), from the lowest rate that they resolve. Grey: chance."
    ]


if __name__ == "__main__":
    common.run(draw, __doc__, read)
