"""AUS against learning rate in a search, a panel a method: every candidate, and the chosen one."""

from __future__ import annotations

import json
import math

import common
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from unlearning.metrics.aus import SCENARIOS
from unlearning.plan.tuning import PUBLISHED

TEXT = ["dataset", "arch", "scenario", "method", "candidate", "settings", "chosen"]
NUMBERS = ["aus_mean", "aus_sd"]
COLUMNS = [*TEXT[:5], "kind", "setting", "value", *NUMBERS]
RATES = ("lr", "lr_impair", "alpha")
"""What a panel's horizontal axis shows: the first of these that the method has."""
MARKS = {"candidate": ("o", 9, 0.8), "published": ("D", 18, 1.0), "chosen": ("*", 55, 1.0)}
COLOURS = dict(zip(SCENARIOS, common.COLOURS, strict=False))
ACROSS, PANEL, HEAD = 3, 1.25, 0.5  # panels a row; inches: a row of panels, the legend


def read(path: str) -> pd.DataFrame:
    """A trace of a search."""
    return common.tidy(path, TEXT, NUMBERS)


def numbers(trace: pd.DataFrame) -> pd.DataFrame:
    """Every drawn point: one row a candidate that has an AUS, or the published settings."""
    rows = []
    for row in trace[trace["aus_mean"].notna()].to_dict("records"):
        settings = json.loads(row["settings"])
        setting = next((name for name in RATES if name in settings), None)
        if setting is not None:
            published = row["candidate"].endswith(PUBLISHED)
            kind = "chosen" if row["chosen"] else "published" if published else "candidate"
            rows.append(row | {"kind": kind, "setting": setting, "value": settings[setting]})
    return pd.DataFrame(rows, columns=COLUMNS)


def draw(trace: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The figure and its numbers, the systems one after another; a sentence without any."""
    table = numbers(trace)
    if table.empty:
        return common.only_say("No candidate of a search has an AUS."), table
    panels = list(table.groupby(["dataset", "arch", "method"], sort=False))
    rows = math.ceil(len(panels) / ACROSS)
    figure = plt.figure(figsize=(common.PAGE, HEAD + PANEL * rows), layout="constrained")
    several = table.groupby(["dataset", "arch"]).ngroups > 1
    grid = figure.subplots(rows, ACROSS, squeeze=False).ravel()
    for axes, ((dataset, arch, method), group) in zip(grid, panels, strict=False):
        draw_panel(axes, group)
        axes.set_title(f"{method}\n{dataset}, {arch}" if several else method)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.legend(handles=handles(table), loc="outside lower center", ncols=5)
    return figure, table


def draw_panel(axes: Axes, group: pd.DataFrame) -> None:
    """One method's candidates, ± a standard deviation over their cells."""
    for (scenario, kind), points in group.groupby(["scenario", "kind"], sort=False):
        marker, size, alpha = MARKS[kind]
        colour = COLOURS[scenario]
        axes.errorbar(
            *(points["value"], points["aus_mean"], points["aus_sd"].fillna(0)),
            **{"fmt": "none", "ecolor": colour, "alpha": 0.35, "linewidth": 0.6},
        )
        filled = {"color": colour} if kind != "published" else {"facecolors": "none"}
        filled |= {"edgecolors": colour} if kind == "published" else {"linewidths": 0}
        axes.scatter(
            points["value"], points["aus_mean"], size, marker=marker, alpha=alpha, **filled
        )
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel({"lr": "learning rate"}.get(group["setting"].iloc[0], group["setting"].iloc[0]))
    axes.set_ylabel("AUS")


def handles(table: pd.DataFrame) -> list[Line2D]:
    """What colours and marks mean."""
    colours = [
        Line2D([], [], color=COLOURS[s], linestyle="none", marker="o", label=s.replace("_", " "))
        for s in dict.fromkeys(table["scenario"])
    ]
    marks = [
        Line2D([], [], color="0.3", linestyle="none", marker=MARKS[kind][0], label=kind)
        for kind in MARKS
        if kind in set(table["kind"])
    ]
    return colours + marks


if __name__ == "__main__":
    common.run(draw, __doc__, read)
