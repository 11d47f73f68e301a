"""Ablation: what DUCK reaches without one of its parts or with another value of a setting."""

from __future__ import annotations

import common
import dot_rows
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unlearning.results.display import shown
from unlearning.results.runs import by_method

COLUMNS = [*common.PLACE, "method", *common.MEASURED]
FIRST = ("duck", "oracle", "original")
ROW = 0.2  # inches: one variant


def variants(cells: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The cells of each variant: duck, oracle, original, then the others as they first appear."""
    found = by_method(cells)
    return sorted(found, key=lambda item: (*FIRST, item[0]).index(item[0]))


def numbers(panel: common.Panel) -> pd.DataFrame:
    """Every drawn number: AUS and two accuracies in percent, a row a `cell`, one a `mean`."""
    identity = {name: getattr(panel, name) for name in common.PLACE}
    rows = []
    for method, cells in variants(panel.cells):
        for metric in ("aus", *common.AIMS[panel.scenario]):
            rows += common.measured(identity | {"method": method}, cells, metric)
    return pd.DataFrame(rows, columns=COLUMNS)


def draw_panel(axes: Axes, drawn: pd.DataFrame, heights: dict[str, int], colours: dict) -> None:
    """Some metrics, a row a variant; a dashed line at duck's mean of each."""
    axes.set_ylim(len(heights) - 0.4, -0.5)
    axes.tick_params(axis="y", length=0)
    for (method, metric), rows in drawn.groupby(["method", "metric"], sort=False):
        colour = colours.get(metric) or common.REFERENCE.get(method, common.NEITHER)
        marker = "*" if method == "duck" else "o" if "forget" in metric else "s"
        side = 0 if metric == "aus" else 1 if "forget" in metric else -1
        dot_rows.dots(axes, rows, heights[method] + 0.14 * side, colour, marker, 0.2 * (side or 1))
        if method == "duck":
            mean = rows.loc[rows["kind"] == "mean", "value"].item()
            axes.axvline(mean, color=colour, linestyle="--", linewidth=0.8, zorder=1)
    if len(drawn):
        score = set(drawn["metric"]) == {"aus"}
        near = drawn[drawn["method"] != "original"] if score else drawn
        dot_rows.room(axes, near if len(near) else drawn, 0.05 if score else 10)


def draw_row(left: Axes, right: Axes, panel: common.Panel, drawn: pd.DataFrame) -> None:
    """One scenario and system: AUS left, the accuracies that it is made of right."""
    found = variants(panel.cells)
    heights = {name: k for k, (name, _) in enumerate(found)}
    colours = {name: common.PART[name.partition("_")[0]] for name in common.AIMS[panel.scenario]}
    score = drawn["metric"] == "aus"
    draw_panel(left, drawn[score], heights, {})
    draw_panel(right, drawn[~score], heights, colours)
    left.set_title(panel.title)
    for name, height in heights.items():
        dot_rows.mark_below(left, drawn[score & (drawn["method"] == name)], height)
    left.set_xlabel("AUS")
    right.set_xlabel("accuracy (%)")
    noted = {name for name, _ in common.lost(panel, ["aus", *colours])}
    names = [f"{shown(name)} †" if name in noted else shown(name) for name in heights]
    left.set_yticks(list(heights.values()), names)
    right.set_yticks(list(heights.values()), [])
    common.stress(left, list(heights))
    for name, cells in found:
        if "ok" not in set(cells["status"]):
            _say(left, heights[name], ", ".join(dict.fromkeys(cells["status"])))
    _legend(right, colours)


def _legend(axes: Axes, colours: dict[str, str]) -> None:
    """Which mark is which accuracy, above the panel."""
    marks = {"linestyle": "", "markersize": 4}
    handles = [
        Line2D([], [], color=c, marker="o" if "forget" in m else "s", label=shown(m), **marks)
        for m, c in colours.items()
    ]
    place = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1), "borderpad": 0}
    axes.legend(handles=handles, handletextpad=0.1, labelspacing=0.3, **place)


def _say(axes: Axes, height: int, status: str) -> None:
    style = {"fontsize": common.SMALL, "color": common.MUTED, "style": "italic"}
    axes.text(
        0.5,
        height,
        status.replace("_", " "),
        transform=axes.get_yaxis_transform(),
        ha="center",
        va="center",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        **style,
    )


def draw(runs: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The figure and the numbers in it; without an ablation, a sentence that says so."""
    found = [panel for panel in common.panels(runs) if len(panel.cells)]
    if not found:
        return common.only_say("No ablation in this run."), pd.DataFrame(columns=COLUMNS)
    tables = [numbers(panel) for panel in found]
    lines = common.wrapped(_notes(found, tables), common.PAGE)
    tall = [0.85 + ROW * panel.cells["method"].nunique() for panel in found]
    figure, (top, bottom) = common.sheet(common.PAGE, [sum(tall), 0.05 + common.LINE * len(lines)])
    grid = top.subplots(len(found), 2, squeeze=False, height_ratios=tall)
    for (left, right), panel, table in zip(grid, found, tables, strict=True):
        draw_row(left, right, panel, table)
    common.write_notes(bottom, lines)
    return figure, pd.concat(tables, ignore_index=True)


def _notes(found: list[common.Panel], tables: list[pd.DataFrame]) -> list[str]:
    """What the marks mean, over what the bars run, and every cell that is not drawn."""
    notes = [
        "Large: mean, bars: ±1 sample standard deviation; dots: single cells; star and dashed "
        "line: DUCK; ◂: a mean left of the axis."
    ]
    for panel, table in zip(found, tables, strict=True):
        notes += common.spread_notes(panel, table)
    for panel in found:
        lost = common.lost(panel, ["aus", *common.AIMS[panel.scenario]])
        notes += common.footnotes(panel, lost)
    return notes


if __name__ == "__main__":
    common.run(draw, __doc__, common.read_study("ablation"))
