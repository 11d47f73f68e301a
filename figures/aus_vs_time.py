"""AUS against unlearning time: what each method keeps and forgets, and how fast."""

from __future__ import annotations

import math

import common
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from unlearning.methods import ORIGINALS
from unlearning.report import labels
from unlearning.results.display import shown
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
PANEL = 2.85  # inches: the height of a panel


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
    for method, rows in drawn[drawn["kind"] == "cell"].groupby("method", sort=False):
        colour, marker = looks[method]
        style = {"color": colour, "marker": marker, "markeredgewidth": 0, "linestyle": ""}
        axes.plot(rows["unlearning_seconds"], rows["aus"], alpha=0.3, ms=2.2, zorder=2, **style)
    for row in drawn[drawn["kind"] == "mean"].itertuples():
        draw_mean(axes, row, *looks[row.method])
    _limits(axes, drawn)
    _reference_lines(axes, drawn)


def draw_mean(axes: Axes, row: tuple, colour: str, marker: str) -> None:
    """A method's mean and its bars: large for DUCK and the oracle, small and pale for others."""
    loud = row.method in common.PROMINENT
    size = (9 if marker == "*" else 6.5) if loud else 4
    *_, bars = axes.errorbar(
        row.unlearning_seconds,
        row.aus,
        xerr=_bar(row.unlearning_seconds_sd),
        yerr=_bar(row.aus_sd),
        color=colour,
        marker=marker,
        markersize=size,
        markeredgecolor="white",
        markeredgewidth=0.4,
        elinewidth=1 if loud else 0.6,
        zorder=4 if loud else 3,
    )
    for bar in () if loud else bars:
        bar.set_alpha(0.45)


def write_names(axes: Axes, drawn: pd.DataFrame, noted: set[str]) -> None:
    """Each method's name beside its mean; at the edge, with the value, if that lies below it.

    The oracle's name stands at its line.
    """
    bottom, _ = axes.get_ylim()
    means = drawn[(drawn["kind"] == "mean") & (drawn["method"] != "oracle")]
    wanted = []
    for row in means.itertuples():
        name = f"{shown(row.method)} †" if row.method in noted else shown(row.method)
        if row.aus < bottom:
            mark = {"marker": "v", "s": 16, "color": common.name_look(row.method)["color"]}
            axes.scatter(row.unlearning_seconds, bottom, clip_on=False, zorder=5, **mark)
            name = f"{name} {row.aus:.2f}"
        place = (row.unlearning_seconds, max(row.aus, bottom))
        wanted.append(labels.Label(name, *place, common.name_look(row.method)))
    points = drawn.loc[drawn["kind"] != "line", ["unlearning_seconds", "aus"]]
    labels.beside(axes, wanted, points.to_numpy(dtype=float))


def _bar(sd: float) -> float | None:
    return None if math.isnan(sd) else sd


def _limits(axes: Axes, drawn: pd.DataFrame) -> None:
    """Room for points, bars and names, and a decade at least, so that ticks are labelled."""
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
    means = drawn[drawn["kind"] != "cell"]
    fence = common.fence(means["aus"])
    near = means[means["aus"] >= fence]
    spread = near["aus_sd"].fillna(0)
    low = (near["aus"] - spread).clip(lower=min(fence, near["aus"].min())).min()
    high = (near["aus"] + spread).max()
    room = max(0.1 * (high - low), 0.005)
    axes.set_ylim(low - room, high + 1.5 * room)


def _reference_lines(axes: Axes, drawn: pd.DataFrame) -> None:
    """Original and oracle as lines over the panel, named beyond its right edge.

    A line below the panel is named at its edge, with the value.
    """
    levels = drawn[(drawn["kind"] != "cell") & drawn["method"].isin(common.REFERENCE)]
    bottom, top = axes.get_ylim()
    gap, last = 0.04 * (top - bottom), -math.inf
    for row in levels.sort_values("aus").itertuples():
        colour = common.REFERENCE[row.method]
        dash = "--" if row.method == "original" else ":"
        axes.axhline(row.aus, color=colour, linestyle=dash, linewidth=0.9, zorder=1)
        if row.kind == "line" and not math.isnan(row.aus_sd):
            band = (row.aus - row.aus_sd, row.aus + row.aus_sd)
            axes.axhspan(*band, color=colour, alpha=0.15, linewidth=0, zorder=0)
        value = f"\n{row.aus:.2f} ▾" if row.aus < bottom else ""
        last = max(row.aus, bottom + gap, last + gap)
        axes.text(
            1.01,
            last,
            shown(row.method) + value,
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=labels.SIZE,
            weight="bold",
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
    tall = [PANEL if any(len(p.cells) for p in row) else common.EMPTY for row in rows]
    figure, (top, bottom) = common.sheet(width, [sum(tall), 0.05 + common.LINE * len(lines)])
    grid = list(top.subplots(len(rows), len(rows[0]), squeeze=False, height_ratios=tall).flat)
    for axes, panel, table in zip(grid, found, tables, strict=False):
        draw_panel(axes, panel, table, looks)
    for axes in grid[len(found) :]:
        axes.set_axis_off()
    common.write_notes(bottom, lines)
    common.settle(figure)
    for axes, panel, table in zip(grid, found, tables, strict=False):
        if len(table):
            write_names(axes, table, {name for name, _ in lost(panel, table)})
    return figure, pd.concat(tables, ignore_index=True)


def _notes(found: list[common.Panel], tables: list[pd.DataFrame]) -> list[str]:
    """What the marks mean, over what the bars run, and every cell that is not drawn."""
    notes = ["Large: mean, bars: ±1 sample standard deviation; small: single cells."]
    means = [table.loc[table["kind"] != "cell", "aus"] for table in tables]
    if any((values < common.fence(values)).any() for values in means):
        notes[0] += " Triangle at the lower edge: a mean below it, with its value."
    for panel, table in zip(found, tables, strict=True):
        notes += common.spread_notes(panel, table)
    for panel, table in zip(found, tables, strict=True):
        notes += common.footnotes(panel, lost(panel, table))
    return notes


if __name__ == "__main__":
    common.run(draw, __doc__)
