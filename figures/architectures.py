"""Architectures: AUS and accuracies of DUCK beside original, oracle and Fine-Tuning on each."""

from __future__ import annotations

import dataclasses
import itertools

import common
import dot_rows
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from unlearning.results.display import shown
from unlearning.results.runs import by_method

COLUMNS = [*common.PLACE, "method", *common.MEASURED]
BESIDE = ("duck", "oracle")  # whose accuracies are shown
ROW, SHARE = 0.17, 0.8  # inches a method, and how much of an architecture's row methods take


def numbers(panel: common.Panel) -> pd.DataFrame:
    """Every drawn number of one architecture: AUS, and in percent the accuracies of BESIDE."""
    identity = {name: getattr(panel, name) for name in common.PLACE}
    rows = []
    for method, cells in by_method(panel.cells):
        for metric in ("aus", *(common.AIMS[panel.scenario] if method in BESIDE else ())):
            rows += common.measured(identity | {"method": method}, cells, metric)
    return pd.DataFrame(rows, columns=COLUMNS)


def blocks(found: list[common.Panel]) -> list[list[common.Panel]]:
    """The panels of each scenario and data set together, an architecture each."""
    grouped = itertools.groupby(
        sorted(found, key=lambda panel: (panel.scenario, panel.dataset)),
        key=lambda panel: (panel.scenario, panel.dataset),
    )
    return [list(group) for _, group in grouped]


def names(block: list[common.Panel]) -> list[str]:
    """The architecture of each panel, with its experiment where two share one."""
    archs = [panel.arch for panel in block]
    return [
        f"{shown(panel.arch)}\n({panel.experiment})"
        if archs.count(panel.arch) > 1
        else shown(panel.arch)
        for panel in block
    ]


def draw_block(
    left: Axes, right: Axes, block: list[common.Panel], drawn: pd.DataFrame, looks: dict
) -> None:
    """One scenario and data set, a row an architecture: AUS left, accuracies right."""
    left.set_title(f"{shown(block[0].scenario)}\n{shown(block[0].dataset)}")
    for row, panel in enumerate(block):
        own = drawn[(drawn["experiment"] == panel.experiment) & (drawn["arch"] == panel.arch)]
        draw_row(left, right, row, own, looks)
    score = drawn["metric"] == "aus"
    for axes, rows, least in ((left, drawn[score], 0.05), (right, drawn[~score], 10)):
        _frame(axes, len(block))
        if len(rows):
            near = rows[rows["method"] != "original"] if axes is left else rows
            dot_rows.room(axes, near if len(near) else rows, least)
    for row, panel in enumerate(block):
        own = drawn[score & (drawn["experiment"] == panel.experiment)]
        for method, means in own[own["arch"] == panel.arch].groupby("method"):
            dot_rows.mark_below(left, means, _height(row, method, looks))
    left.set_xlabel("AUS")
    right.set_xlabel("accuracy (%)")
    left.set_yticks(range(len(block)), names(block))
    right.set_yticks(range(len(block)), [])
    metrics = common.AIMS[block[0].scenario]
    colours = {name: common.PART[name.partition("_")[0]] for name in metrics}
    handles = [
        Patch(edgecolor=colour, facecolor=face(name) or colour, label=shown(name))
        for name, colour in colours.items()
    ]
    place = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1), "borderpad": 0}
    right.legend(handles=handles, handlelength=0.7, labelspacing=0.3, **place)


def draw_row(left: Axes, right: Axes, row: int, drawn: pd.DataFrame, looks: dict) -> None:
    """One architecture: its methods one below another, what is kept above what is forgotten."""
    for (method, metric), own in drawn.groupby(["method", "metric"], sort=False):
        colour, marker = looks[method]
        y = _height(row, method, looks)
        if metric == "aus":
            dot_rows.dots(left, own, y, colour, marker, 0.06)
        else:
            side = 0.05 if "forget" in metric else -0.05
            colour = common.PART[metric.partition("_")[0]]
            dot_rows.dots(right, own, y + side, colour, marker, side, face(metric))


def _height(row: int, method: str, looks: dict) -> float:
    """Where a method stands among those of its architecture's row."""
    return row + SHARE * ((list(looks).index(method) + 0.5) / len(looks) - 0.5)


def face(metric: str) -> str | None:
    """White for what is forgotten, whose marks are open."""
    return "white" if metric.startswith("forget") else None


def _frame(axes: Axes, rows: int) -> None:
    """Room for `rows` rows from top to bottom, with a line between them."""
    axes.set_ylim(rows - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    for edge in range(1, rows):
        axes.axhline(edge - 0.5, color="#bbbbbb", linewidth=0.5, zorder=0)


def draw(runs: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The figure and the numbers in it; without such a study, a sentence that says so."""
    found = [panel for panel in common.panels(runs) if len(panel.cells)]
    if not found:
        empty = pd.DataFrame(columns=COLUMNS)
        return common.only_say("No study of architectures in this run."), empty
    stacked = blocks(found)
    methods = [name for name, _ in by_method(runs)]
    looks = common.looks(methods)
    looks = {name: looks[name] for name in methods}
    tables = [pd.concat([numbers(panel) for panel in block]) for block in stacked]
    lines = common.wrapped(_notes(stacked, tables), common.PAGE)
    tall = [0.9 + ROW * len(looks) / SHARE * len(block) for block in stacked]
    figure, (top, middle, bottom) = common.sheet(
        common.PAGE, [sum(tall), 0.2, 0.05 + common.LINE * len(lines)]
    )
    grid = top.subplots(len(stacked), 2, squeeze=False, height_ratios=tall)
    for (left, right), block, table in zip(grid, stacked, tables, strict=True):
        draw_block(left, right, block, table, looks)
    _legend(middle, looks, {name for panel in found for name, _ in _lost(panel)})
    common.write_notes(bottom, lines)
    return figure, pd.concat(tables, ignore_index=True)


def _legend(part: SubFigure, looks: dict, noted: set[str]) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            linestyle="",
            markersize=6.5 if marker == "*" else 4,
            label=f"{shown(name)} †" if name in noted else shown(name),
        )
        for name, (colour, marker) in looks.items()
    ]
    part.legend(handles=handles, loc="center", ncols=6, handletextpad=0.1)


def _lost(panel: common.Panel) -> list[tuple[str, str]]:
    return common.lost(panel, ["aus"])


def _notes(stacked: list[list[common.Panel]], tables: list[pd.DataFrame]) -> list[str]:
    """What the marks mean, over what the bars run, and every cell that is not drawn."""
    notes = [
        "Marks: means (shape: method; accuracies of DUCK and oracle only), bars: ±1 sample "
        "standard deviation; dots: single cells; ◂: a mean left of the axis. "
        "AUS is against each architecture's own original."
    ]
    for block, table in zip(stacked, tables, strict=True):
        name = shown(block[0].scenario)
        whole = dataclasses.replace(block[0], short=f"{name}, {shown(block[0].dataset)}")
        method = table["method"].map(shown) + " on " + table["arch"].map(shown)
        notes += common.spread_notes(whole, table.assign(method=method))
    for panel in itertools.chain(*stacked):
        notes += common.footnotes(panel, _lost(panel))
    return notes


if __name__ == "__main__":
    common.run(draw, __doc__, common.read_study("architectures"))
