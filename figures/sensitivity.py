"""Sensitivity: how far DUCK's AUS hangs on the original and on DUCK's own settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import common
import dot_rows
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unlearning.methods import ORIGINALS, REFERENCES
from unlearning.results.display import shown, system
from unlearning.results.runs import by_method

COLUMNS = [*common.PLACE, "part", "method", "original_accuracy", *common.MEASURED]
ROW, HEAD = 0.26, 0.75  # inches: one original or variant; title and axis
SYSTEM = ["scenario", "dataset", "arch"]


@dataclass(frozen=True)
class Part:
    """One panel: cells of the forget sets and seeds that all its rows have.

    by: what the rows are, `original` (an experiment each) or `variant` (a method each).
    """

    by: str
    scenario: str
    title: str
    cells: pd.DataFrame

    @property
    def rows(self) -> list[str]:
        """Experiments as they come, or DUCK and then its variants."""
        return list(dict.fromkeys(self.cells["experiment" if self.by == "original" else "method"]))


def parts(runs: pd.DataFrame) -> Iterator[Part]:
    """The panels: a data set's originals, where several have DUCK; an experiment's DUCKs."""
    methods = runs[~runs["method"].isin([*REFERENCES, *ORIGINALS])]
    for (scenario, *place), cells in methods.groupby(SYSTEM, sort=False):
        title = f"{shown(scenario)}, {system(*place)}"
        with_duck = [e for e, one in cells.groupby("experiment", sort=False) if _has(one, "duck")]
        several = cells[cells["experiment"].isin(with_duck)]
        everywhere = [m for m, one in by_method(several) if one["experiment"].nunique() > 1]
        several = _shared(several[several["method"].isin(everywhere)], ["experiment", "method"])
        if len(with_duck) > 1 and len(several):
            yield Part("original", scenario, f"{title}: by the original", several)
        for experiment, one in cells.groupby("experiment", sort=False):
            names = [m for m, _ in by_method(one) if m == "duck" or m.startswith("duck_")]
            own = _shared(one[one["method"].isin(names)], ["method"])
            if "duck" in names and len(names) > 1 and len(own):
                where = "" if len(with_duck) == 1 else f", {_original(experiment, own)}"
                own = own.sort_values("method", key=lambda m: m.map(names.index), kind="stable")
                yield Part("variant", scenario, f"{title}{where}: variants of DUCK", own)


def _has(cells: pd.DataFrame, method: str) -> bool:
    return method in set(cells["method"])


def _shared(cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The cells whose forget set and training seed every group has."""
    held = [set(zip(one["split"], one["train_seed"], strict=True)) for _, one in cells.groupby(by)]
    common_to_all = set.intersection(*held) if held else set()
    places = pd.Series(list(zip(cells["split"], cells["train_seed"], strict=True)), cells.index)
    return cells[places.isin(common_to_all)]


def _original(experiment: str, cells: pd.DataFrame) -> str:
    """The name of an experiment's original: that of a config without one is `main`."""
    dataset, arch = cells[["dataset", "arch"]].iloc[0]
    return "main" if experiment == f"{dataset}-{arch}" else experiment


def numbers(part: Part, runs: pd.DataFrame) -> pd.DataFrame:
    """Every drawn number: AUS, a row a `cell`, one a `mean`; the original's accuracy beside it.

    That is the accuracy in percent that AUS is relative to, the mean over the same forget sets.
    """
    rows = []
    kept = common.AIMS[part.scenario][0]
    for keys, cells in part.cells.groupby(["experiment", "method"], sort=False):
        identity = cells[common.PLACE].iloc[0].to_dict()
        beside = runs[(runs["method"] == "original") & (runs["experiment"] == keys[0])]
        beside = beside[
            (beside["scenario"] == part.scenario) & beside["split"].isin(cells["split"])
        ]
        identity |= {"part": part.by, "method": keys[1]}
        identity |= {"original_accuracy": 100 * beside[kept].mean()}
        rows += common.measured(identity, cells, "aus")
    return pd.DataFrame(rows, columns=COLUMNS)


def draw_part(axes: Axes, part: Part, drawn: pd.DataFrame) -> None:
    """A row an original or a variant; the star is DUCK, the dashed line its mean where it leads."""
    methods = [name for name, _ in by_method(part.cells)]
    looks, by = common.looks(methods), "experiment" if part.by == "original" else "method"
    heights = {name: height for height, name in enumerate(part.rows)}
    step = 0.5 / max(1, len(methods) - 1) if part.by == "original" else 0
    axes.set_ylim(len(heights) - 0.5, -0.6)
    for height in list(heights.values())[1:]:
        axes.axhline(height - 0.5, color="#dddddd", linewidth=0.6, zorder=0)
    axes.tick_params(axis="y", length=0)
    axes.set_title(part.title)
    axes.set_xlabel("AUS")
    for (row, method), rows in drawn.groupby([by, "method"], sort=False):
        colour, marker = looks[method]
        place = heights[row] + (methods.index(method) * step - 0.25 if step else 0)
        duck = method == "duck"
        if part.by == "variant":
            colour, marker = (common.FORGET if duck else common.NEITHER), "o"
            mean = rows.loc[rows["kind"] == "mean", "value"].item()
            if duck:
                axes.axvline(mean, color=colour, linestyle="--", linewidth=0.8, zorder=1)
        dot_rows.dots(axes, rows, place, colour, "*" if duck else marker, 0 if step else 0.2)
    if len(drawn):
        dot_rows.room(axes, drawn, 0.05)
    axes.set_yticks(list(heights.values()), [_label(part, row, drawn) for row in heights])
    if part.by == "original":
        _legend(axes, methods, looks)
    else:
        common.stress(axes, list(heights))


def _label(part: Part, row: str, drawn: pd.DataFrame) -> str:
    """A row's name; of an original with its accuracy."""
    if part.by == "variant":
        return shown(row)
    found = drawn.loc[drawn["experiment"] == row, "original_accuracy"].dropna()
    accuracy = f" ({found.iloc[0]:.1f} %)" if len(found) else ""
    return f"{_original(row, part.cells[part.cells['experiment'] == row])}{accuracy}"


def _legend(axes: Axes, methods: list[str], looks: dict[str, tuple[str, str]]) -> None:
    marks = {"linestyle": "", "markersize": 4}
    handles = [
        Line2D([], [], color=c, marker="*" if m == "duck" else mark, label=shown(m), **marks)
        for m, (c, mark) in ((m, looks[m]) for m in methods)
    ]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), handletextpad=0.1)


def draw(runs: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The figure and the numbers in it; without another original or variant, a sentence."""
    found = list(parts(runs))
    if not found:
        sentence = "No second original or variant in this run."
        return common.only_say(sentence), pd.DataFrame(columns=COLUMNS)
    tables = [numbers(part, runs) for part in found]
    lines = common.wrapped(_notes(found, tables), common.PAGE)
    tall = [HEAD + ROW * len(part.rows) for part in found]
    figure, (top, bottom) = common.sheet(common.PAGE, [sum(tall), 0.05 + common.LINE * len(lines)])
    grid = top.subplots(len(found), 1, squeeze=False, height_ratios=tall)[:, 0]
    for axes, part, table in zip(grid, found, tables, strict=True):
        draw_part(axes, part, table)
    common.write_notes(bottom, lines)
    return figure, pd.concat(tables, ignore_index=True)


def _notes(found: list[Part], tables: list[pd.DataFrame]) -> list[str]:
    """What the marks mean, over what the bars run, and every cell that is not drawn."""
    notes = [
        "Large: mean, bars: ±1 sample standard deviation; small: single cells; star: DUCK. Each "
        "panel holds the forget sets that all its rows have."
    ]
    if any(part.by == "original" for part in found):
        notes.append("In brackets: the accuracy of the original that AUS is relative to.")
    for part, table in zip(found, tables, strict=True):
        for experiment, cells in part.cells.groupby("experiment", sort=False):
            own = f" ({_original(experiment, cells)})" if part.by == "original" else ""
            name = f"{part.title}{own}"
            panel = common.Panel(part.scenario, experiment, "", "", name, name, cells)
            drawn = table[table["experiment"] == experiment]
            if experiment == part.cells["experiment"].iloc[0]:
                notes += common.spread_notes(panel, drawn)
            notes += common.footnotes(panel, common.lost(panel, ["aus"]))
    return notes


if __name__ == "__main__":
    common.run(draw, __doc__)
