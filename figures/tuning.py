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
from unlearning.results.display import shown, system

TEXT = ["dataset", "arch", "scenario", "method", "candidate", "settings", "chosen"]
NUMBERS = ["aus_mean", "aus_sd"]
COLUMNS = [*TEXT[:5], "kind", "setting", "value", *NUMBERS]
RATES = ("lr", "lr_impair", "alpha")
"""What a panel's horizontal axis shows: the first of these that the method has."""
KINDS = ("candidate", "published", "chosen")
COLOURS = dict(zip(SCENARIOS, common.COLOURS, strict=False))
MARKS = dict(zip(SCENARIOS, "osD^", strict=True))
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
        axes.set_title(f"{shown(method)}\n{system(dataset, arch)}" if several else shown(method))
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.legend(handles=handles(table), loc="outside lower center", ncols=5)
    return figure, table


def draw_panel(axes: Axes, group: pd.DataFrame) -> None:
    """One method's candidates, ± a standard deviation over their cells."""
    for (scenario, kind), points in group.groupby(["scenario", "kind"], sort=False):
        colour = COLOURS[scenario]
        axes.errorbar(
            *(points["value"], points["aus_mean"], points["aus_sd"].fillna(0)),
            **{"fmt": "none", "ecolor": colour, "alpha": 0.35, "linewidth": 0.6},
        )
        axes.plot(points["value"], points["aus_mean"], MARKS[scenario], **look(kind, colour))
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(shown(group["setting"].iloc[0]))
    axes.set_ylabel("AUS")


def look(kind: str, colour: str) -> dict:
    """A candidate small, the published settings open, the chosen ones full with a black edge."""
    return {
        "candidate": {"color": colour, "markersize": 3, "mew": 0, "alpha": 0.7},
        "published": {"mec": colour, "mfc": "white", "markersize": 5, "mew": 1, "zorder": 3},
        "chosen": {"mec": "black", "mfc": colour, "markersize": 5.5, "mew": 1, "zorder": 4},
    }[kind]


def handles(table: pd.DataFrame) -> list[Line2D]:
    """What shapes with their colours mean, and what their sizes and edges do."""
    colours = [
        Line2D([], [], color=COLOURS[s], linestyle="none", marker=MARKS[s], label=shown(s))
        for s in dict.fromkeys(table["scenario"])
    ]
    marks = [
        Line2D([], [], linestyle="none", marker="o", label=kind, **look(kind, "0.5"))
        for kind in KINDS
        if kind in set(table["kind"])
    ]
    return colours + marks


if __name__ == "__main__":
    common.run(draw, __doc__, read)
