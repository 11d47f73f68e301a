"""AUS against unlearning time: what each method keeps and forgets, and how fast."""

from __future__ import annotations

import math

import common
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from unlearning.methods import ORIGINALS
from unlearning.results.runs import by_method, summarise_metric

COLUMNS = [
    "scenario",
    "experiment",
    "dataset",
    "arch",
    "method",
    "kind",
    "split",
    "train_seed",
    "unlearn_seed",
    "unlearning_seconds",
    "unlearning_seconds_sd",
    "aus",
    "aus_sd",
    "n",
    "over",
]
PANEL, LABEL = 2.15, 0.137  # inches: the height of a panel and of a line of the legend


def numbers(panel: common.Panel) -> pd.DataFrame:
    """Every drawn number: one row a `cell`, one row a `mean`, and the original's `line`.

    A point needs both its time and its AUS; the original has no time and is a line.
    """
    rows = []
    for method, cells in by_method(panel.cells):
        cells = cells[(cells["status"] == "ok") & cells["aus"].notna()]
        if method != "original":
            cells = cells[cells["unlearning_seconds"] > 0]
        if cells.empty:
            continue
        identity = {name: getattr(panel, name) for name in COLUMNS[:4]} | {"method": method}
        score = summarise_metric(cells, "aus")
        mean = {"kind": "line", "aus": score.mean, "aus_sd": score.sd}
        if method != "original":
            spent = summarise_metric(cells, "unlearning_seconds")
            mean |= {"kind": "mean", "unlearning_seconds": spent.mean}
            mean["unlearning_seconds_sd"] = spent.sd
            drawn = ["split", "train_seed", "unlearn_seed", "unlearning_seconds", "aus"]
            rows += [identity | {"kind": "cell"} | row for row in cells[drawn].to_dict("records")]
        rows.append(identity | mean | {"n": score.n, "over": score.over})
    return pd.DataFrame(rows, columns=COLUMNS)


def lost(panel: common.Panel, drawn: pd.DataFrame) -> list[tuple[str, str]]:
    """Method and note for each cell that has no point: not ok, or without AUS or time."""
    notes = common.status_notes(panel)
    for method, cells in by_method(panel.cells):
        wanted = int((cells["status"] == "ok").sum())
        got = int(drawn.loc[(drawn["method"] == method) & (drawn["kind"] != "cell"), "n"].sum())
        if got < wanted:
            what = "AUS" if method == "original" else "AUS or time"
            note = f"{wanted - got} of {wanted} ok cells without {what}, not drawn"
            notes.append((method, note))
    return notes


def draw_panel(axes: Axes, panel: common.Panel, drawn: pd.DataFrame, looks: dict) -> None:
    """Light cells, means with one standard deviation each way, the references as lines."""
    axes.set_title(panel.title)
    if panel.cells.empty:
        common.say_nothing(axes, panel)
        return
    axes.set_xscale("log", nonpositive="clip")
    axes.set_xlabel("unlearning time (s)")
    axes.set_ylabel("AUS")
    if drawn.empty:
        axes.text(0.5, 0.5, "no cell is ok", ha="center", transform=axes.transAxes)
        return
    for row in drawn[drawn["kind"] == "cell"].itertuples():
        colour, marker = looks[row.method]
        style = {"color": colour, "marker": marker, "markeredgewidth": 0}
        axes.plot(row.unlearning_seconds, row.aus, alpha=0.4, markersize=3, zorder=2, **style)
    for row in drawn[drawn["kind"] == "mean"].itertuples():
        colour, marker = looks[row.method]
        spread = {"xerr": _bar(row.unlearning_seconds_sd), "yerr": _bar(row.aus_sd)}
        axes.errorbar(
            row.unlearning_seconds,
            row.aus,
            **spread,
            color=colour,
            marker=marker,
            markersize=8 if marker == "*" else 5,
            markeredgecolor="white",
            markeredgewidth=0.5,
            elinewidth=0.8,
            zorder=3,
        )
    _limits(axes, drawn)
    _reference_lines(axes, drawn)


def _bar(sd: float) -> float | None:
    return None if math.isnan(sd) else sd


def _limits(axes: Axes, drawn: pd.DataFrame) -> None:
    """Room for every point and bar, and a decade at least, so that ticks are labelled."""
    times = drawn["unlearning_seconds"].dropna()
    if len(times):
        spread = drawn["unlearning_seconds_sd"].fillna(0)
        ends = (drawn["unlearning_seconds"] - spread).min(), (times + spread).max()
        low = max(ends[0], times.min() / 3)  # a bar may reach zero, which a log axis cannot
        low, high = math.log10(min(low, times.min())) - 0.15, math.log10(ends[1]) + 0.15
        short = max(0.0, 1.2 - (high - low)) / 2
        axes.set_xlim(10 ** (low - short), 10 ** (high + short))
        narrow = high - low < 2
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if narrow else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda time, _: f"{time:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    spread = drawn["aus_sd"].fillna(0)
    low, high = (drawn["aus"] - spread).min(), (drawn["aus"] + spread).max()
    room = max(0.06 * (high - low), 0.005)
    axes.set_ylim(low - room, high + room)


def _reference_lines(axes: Axes, drawn: pd.DataFrame) -> None:
    """Original and oracle as lines over the panel, named beyond its right edge."""
    levels = drawn[(drawn["kind"] != "cell") & drawn["method"].isin(common.REFERENCE)]
    bottom, top = axes.get_ylim()
    gap, last = 0.055 * (top - bottom), -math.inf
    for row in levels.sort_values("aus").itertuples():
        colour = common.REFERENCE[row.method]
        dash = "--" if row.method == "original" else ":"
        axes.axhline(row.aus, color=colour, linestyle=dash, linewidth=0.9, zorder=1)
        if row.kind == "line" and not math.isnan(row.aus_sd):
            band = (row.aus - row.aus_sd, row.aus + row.aus_sd)
            axes.axhspan(*band, color=colour, alpha=0.15, linewidth=0, zorder=0)
        last = max(row.aus, last + gap)
        axes.text(
            1.01,
            last,
            row.method,
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=common.SMALL,
            color=colour if row.method == "oracle" else common.MUTED,
        )


def draw(runs: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The figure and the numbers in it. A method's own original has no time: it is not here."""
    runs = runs[~runs["method"].isin(set(ORIGINALS) - {"original"})]
    found = common.panels(runs)
    tables = [numbers(panel) for panel in found]
    looks = common.looks(name for name, _ in by_method(runs) if name != "original")
    rows = common.in_rows(found)
    width = common.COLUMN if len(rows[0]) == 1 else common.PAGE
    lines = common.wrapped(_notes(found, tables), width)
    handles = _handles(
        looks, {name for p, t in zip(found, tables, strict=True) for name, _ in lost(p, t)}
    )
    columns = common.legend_columns([handle.get_label() for handle in handles], width)
    tall = [PANEL if any(len(p.cells) for p in row) else common.EMPTY for row in rows]
    legend = 0.1 + LABEL * math.ceil(len(looks) / columns)
    figure, (top, middle, bottom) = common.sheet(
        width, [sum(tall), legend, 0.05 + common.LINE * len(lines)]
    )
    grid = list(top.subplots(len(rows), len(rows[0]), squeeze=False, height_ratios=tall).flat)
    for axes, panel, table in zip(grid, found, tables, strict=False):
        draw_panel(axes, panel, table, looks)
    for axes in grid[len(found) :]:
        axes.set_axis_off()
    if handles:
        middle.legend(handles=handles, loc="center", ncols=columns, handletextpad=0.2)
    common.write_notes(bottom, lines)
    return figure, pd.concat(tables, ignore_index=True)


def _handles(looks: dict, noted: set[str]) -> list[Line2D]:
    return [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            linestyle="",
            markersize=7 if marker == "*" else 5,
            label=f"{name} †" if name in noted else name,
        )
        for name, (colour, marker) in looks.items()
    ]


def _notes(found: list[common.Panel], tables: list[pd.DataFrame]) -> list[str]:
    """What the marks mean, over what the bars run, and every cell that is not drawn."""
    notes = ["Large: mean, bars: ±1 sample standard deviation; small: single cells."]
    for panel, table in zip(found, tables, strict=True):
        notes += common.spread_notes(panel, table)
    for panel, table in zip(found, tables, strict=True):
        notes += common.footnotes(panel, lost(panel, table))
    return notes


if __name__ == "__main__":
    common.run(draw, __doc__)
