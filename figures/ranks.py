"""Average ranks of AUS with the critical difference: which methods are told apart."""

from __future__ import annotations

import math

import common
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearning.methods import ORIGINALS
from unlearning.results.display import shown
from unlearning.results.runs import by_method
from unlearning.stats.comparisons import Ranks, average_ranks

COLUMNS = [
    "scenario",
    "experiment",
    "dataset",
    "arch",
    "method",
    "rank",
    "n",
    "over",
    "friedman_p",
    "critical_difference",
]
HEAD, RULER = 0.42, 0.27  # inches above the axis: its panel's top and the critical difference
ROW, BAR, TITLE = 0.135, 0.06, 0.42  # inches: one method, one level of bars, the title


QUIET = "#8a8a8a"


def scores(panel: common.Panel) -> pd.DataFrame:
    """AUS [cells (split, train_seed) x methods], the mean over unlearning seeds, of `ok` runs.

    A method without any AUS has no column.
    """
    done = panel.cells[(panel.cells["status"] == "ok") & panel.cells["aus"].notna()]
    methods = [name for name, _ in by_method(done)]
    table = done.pivot_table("aus", ["split", "train_seed"], "method", aggfunc="mean")
    return table.reindex(columns=methods)


def ranked(panel: common.Panel) -> Ranks | str:
    """The average ranks of the panel's methods, or the sentence why there are none."""
    try:
        return average_ranks(scores(panel))
    except ValueError as error:
        return f"No ranks: {error}."


def numbers(panel: common.Panel, found: Ranks | str) -> pd.DataFrame:
    """Every drawn number: one row a method, best first; none without ranks."""
    if isinstance(found, str):
        return pd.DataFrame(columns=COLUMNS)
    table = found.ranks.reset_index()
    for name in COLUMNS[:4]:
        table[name] = getattr(panel, name)
    for name in ("n", "over", "friedman_p", "critical_difference"):
        table[name] = getattr(found, name)
    return table[COLUMNS]


def levels(found: Ranks) -> list[tuple[float, float, int]]:
    """First rank, last rank and level of each group's bar; bars of one level do not touch."""
    ends, bars = [], []
    gap = 0.03 * len(found.ranks)
    for group in found.groups:
        low, high = found.ranks[group[0]], found.ranks[group[-1]]
        level = next((k for k, end in enumerate(ends) if low > end + gap), len(ends))
        ends[level : level + 1] = [high]
        bars.append((low, high, level))
    return bars


def draw_panel(axes: Axes, panel: common.Panel, found: Ranks | str) -> None:
    """The axis of ranks with the critical difference above, groups and methods below it."""
    axes.set_title(panel.title)
    if panel.cells.empty:
        common.say_nothing(axes, panel)
        return
    if isinstance(found, str):
        axes.set_axis_off()
        axes.text(0, 0.5, found, va="center", color=common.MUTED, transform=axes.transAxes)
        return
    k, first = len(found.ranks), _depth(found, 0)
    _axis(axes, max(k, 1 + found.critical_difference), k, _depth(found, (k + 1) // 2))
    _ruler(axes, found.critical_difference)
    for low, high, level in levels(found):
        ends = [low - 0.004 * k, high + 0.004 * k]  # a bar of equal ranks is seen as well
        y = 2 * [BAR * (level + 1)]
        axes.plot(ends, y, color="black", linewidth=2.2, solid_capstyle="butt", zorder=3)
    noted = {name for name, _ in lost(panel)}
    for place, (method, rank) in enumerate(found.ranks.items()):
        left = place < (k + 1) // 2
        y = first + ROW * (place if left else k - 1 - place)
        name = f"{shown(method)} (reference)" if method in common.REFERENCE else shown(method)
        label = f"{name} †" if method in noted else name
        _method(axes, rank, y, left, label, method)


def _depth(found: Ranks, rows: int) -> float:
    """Inches from the axis to the name after `rows` others."""
    below = max((level + 1 for *_, level in levels(found)), default=0)
    return BAR * below + ROW * (rows + 0.7)


def _axis(axes: Axes, right: float, methods: int, depth: float) -> None:
    """Ranks from 1 to the number of methods on top, inches downwards."""
    axes.set(xlim=(0.97, right + 0.03), ylim=(depth, -HEAD), yticks=[])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["top"].set(visible=True, position=("data", 0), bounds=(1, methods))
    axes.grid(False)
    axes.xaxis.tick_top()
    axes.set_xticks(range(1, methods + 1, math.ceil(methods / 25)))


def _ruler(axes: Axes, difference: float) -> None:
    """The critical difference as a labelled bar from rank 1 on, above the axis."""
    axes.plot([1, 1 + difference], 2 * [-RULER], color="black", linewidth=1, marker="|")
    text = f"critical difference {difference:.2f}"
    axes.text(1, -RULER - 0.04, text, fontsize=common.SMALL, va="bottom")


def _method(axes: Axes, rank: float, y: float, left: bool, label: str, method: str) -> None:
    """A line from the rank down and out to the name; DUCK's and the oracle's stand out."""
    loud = method in common.PROMINENT
    look = common.name_look(method)
    colour = look["color"] if loud else QUIET
    end = 0 if left else 1
    style = {"color": colour, "linewidth": 1.4 if loud else 0.7, "zorder": 3 if loud else 2}
    axes.plot([rank, rank], [0, y], **style)
    axes.plot([rank, axes.get_xlim()[end]], [y, y], **style)
    marker = {"oracle": "*"}.get(method, "o")
    size = (7 if marker == "*" else 5) if loud else 2.5
    axes.plot(rank, y, color=colour, marker=marker, markersize=size, markeredgewidth=0, zorder=4)
    axes.text(
        1.012 if end else -0.012,
        y,
        f"{rank:.2f}  {label}" if end else f"{label}  {rank:.2f}",
        transform=axes.get_yaxis_transform(),
        ha="left" if end else "right",
        va="center",
        fontsize=6.5,
        color=look["color"],
        weight="bold" if method == "duck" else "normal",
    )


def draw(runs: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The figure and the numbers in it: one panel a row, as names stand on both sides.

    Originals are no methods and have no rank; the oracle has one, as a reference.
    """
    runs = runs[~runs["method"].isin(ORIGINALS)]
    panels = common.panels(runs)
    found = [ranked(panel) for panel in panels]
    tables = [numbers(panel, ranks) for panel, ranks in zip(panels, found, strict=True)]
    lines = common.wrapped(_notes(panels, found), common.PAGE)
    tall = [_height(ranks) for ranks in found]
    figure, parts = common.sheet(common.PAGE, [*tall, 0.05 + common.LINE * len(lines)])
    for part, panel, ranks in zip(parts, panels, found, strict=False):
        draw_panel(part.subplots(), panel, ranks)
    common.write_notes(parts[-1], lines)
    return figure, pd.concat(tables, ignore_index=True)


def _height(found: Ranks | str) -> float:
    if isinstance(found, str):
        return common.EMPTY
    return TITLE + HEAD + _depth(found, (len(found.ranks) + 1) // 2)


def _notes(panels: list[common.Panel], found: list[Ranks | str]) -> list[str]:
    """What is ranked, over how many classes, what they tell, and every method without a rank."""
    notes = [
        "Mean rank of AUS (1 = best) over classes or forget sets, or over the training seeds of a "
        "single one. Bars join methods within the critical difference (Nemenyi, α = 0.05)."
    ]
    for panel, ranks in zip(panels, found, strict=True):
        if isinstance(ranks, str):
            continue
        cells = len(scores(panel))
        of = f"{ranks.cells} of {cells}" if ranks.cells < cells else f"{cells}"
        notes.append(
            f"{panel.short}: n = {ranks.n} {ranks.over} from {of} cells, "
            f"Friedman p = {ranks.friedman_p:.2g}."
        )
    for panel in panels:
        notes += common.footnotes(panel, lost(panel))
    return notes


def lost(panel: common.Panel) -> list[tuple[str, str]]:
    """Method and note for each method with a cell that is not ok or has no AUS."""
    notes = common.status_notes(panel)
    for method, cells in by_method(panel.cells):
        done = cells[cells["status"] == "ok"]
        absent = int(done["aus"].isna().sum())
        if absent:
            notes.append((method, f"{absent} of {len(done)} ok cells without AUS, not ranked"))
    return notes


if __name__ == "__main__":
    common.run(draw, __doc__)
