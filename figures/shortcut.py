"""A shortcut unlearned: what models predict on patched and clean images, and where they look."""

from __future__ import annotations

import common
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unlearning.results.display import shown, system
from unlearning.results.keys import GROUP
from unlearning.results.runs import by_method
from unlearning.stats.summary import summarise

IDENTITY = [*GROUP, "source", "label"]
COLUMNS = [
    *(*IDENTITY, "method", "measure", "kind", "train_seed", "value", "sd", "n", "over"),
]
FIRST = ("original", "duck", "oracle")
ANSWER = {"label": ("#882255", "s"), "source": ("#009E73", "o")}  # neither forget nor retain
LEFT = ("patched_label", "patched_source", "clean_label", "clean_source")
RIGHT = ("attribution_mass", "patch_area")
ROW = 0.4  # inches: one method


def read(path: str) -> pd.DataFrame:
    """Read shortcut.csv. Raises ValueError, naming file and column, as `common.tidy` does.

    Also for a value outside [0, 1] among the drawn measures, which are all shares.
    """
    text = [*IDENTITY, "train_seed", "method", "measure"]
    found = common.tidy(path, text, ["value", "n"])
    shares = found[found["measure"].isin([*LEFT, *RIGHT])]
    outside = shares[~shares["value"].dropna().between(0, 1).reindex(shares.index, fill_value=True)]
    if len(outside):
        name, value = outside.iloc[0][["measure", "value"]]
        raise ValueError(f"{path}: column value: {name} is {value:g}, no share in [0, 1]")
    return found


def methods(rows: pd.DataFrame) -> list[str]:
    """Original, duck, oracle, then the others as they first appear."""
    found = [name for name, _ in by_method(rows)]
    return sorted(found, key=lambda name: (*FIRST, name).index(name))


def numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Every drawn number in percent: a row a `seed` and one a `mean`; the patch's area a `line`."""
    found = []
    identity = rows.iloc[0][IDENTITY].to_dict()
    for method in methods(rows):
        for measure in (*LEFT, "attribution_mass"):
            own = rows[(rows["method"] == method) & (rows["measure"] == measure)]
            found += _measured(identity | {"method": method, "measure": measure}, own)
    area = rows.loc[rows["measure"] == "patch_area", "value"].dropna()
    if len(area):
        line = {"measure": "patch_area", "kind": "line", "value": 100 * area.mean()}
        found.append(identity | {"method": ""} | line)
    return pd.DataFrame(found, columns=COLUMNS)


def _measured(identity: dict, own: pd.DataFrame) -> list[dict]:
    own = own[own["value"].notna()]
    if own.empty:
        return []
    seeds = own[["train_seed", "value"]].to_dict("records")
    found = [{"kind": "seed", **row, "value": 100 * row["value"]} for row in seeds]
    mean = summarise([row["value"] for row in found], own[["train_seed"]])
    spread = {"sd": mean.sd, "n": mean.n, "over": mean.over}
    return [identity | row for row in (*found, {"kind": "mean", "value": mean.mean, **spread})]


def draw_answers(axes: Axes, drawn: pd.DataFrame, heights: dict[str, int]) -> None:
    """Shares predicted as each class; a method's patched images above, its clean ones below."""
    for (method, measure), rows in drawn.groupby(["method", "measure"], sort=False):
        images, _, answer = measure.partition("_")
        y = heights[method] + (-0.2 if images == "patched" else 0.2)
        colour, marker = ANSWER[answer]
        mark(axes, rows, y, colour, marker, images == "patched")
    axes.set(xlim=(-4, 104), xlabel="share of the source's test images so predicted (%)")


def draw_mass(axes: Axes, drawn: pd.DataFrame, heights: dict[str, int]) -> None:
    """Attribution mass inside the patch, and the patch's area as a line."""
    for method, rows in drawn[drawn["kind"] != "line"].groupby("method", sort=False):
        mark(axes, rows, heights[method], common.NEITHER, "D", True)
    for area in drawn.loc[drawn["kind"] == "line", "value"]:
        axes.axvline(area, color=common.NEITHER, linestyle="--", linewidth=0.9, zorder=1)
    axes.set_xlabel("|SHAP| inside the patch (%)")
    top = (drawn["value"] + drawn["sd"].astype(float).fillna(0)).max() if len(drawn) else 100
    axes.set_xlim(-0.04 * top, 1.06 * max(top, 1))


def mark(axes: Axes, rows: pd.DataFrame, y: float, colour: str, marker: str, filled: bool) -> None:
    """The mean with ±1 sd, filled or open, and the seeds below it as small dots."""
    for row in rows.itertuples():
        if row.kind == "seed":
            axes.plot(row.value, y + 0.13, "o", color=colour, markersize=2, markeredgewidth=0)
        else:
            face = colour if filled else "white"
            bar = None if pd.isna(row.sd) else row.sd
            look = {"fmt": marker, "color": colour, "markersize": 4.5, "elinewidth": 0.8}
            axes.errorbar(row.value, y, xerr=bar, markerfacecolor=face, zorder=3, **look)


def draw_row(left: Axes, right: Axes, rows: pd.DataFrame, drawn: pd.DataFrame) -> None:
    """One poisoned data set: predictions left, attributions right, methods from top to bottom."""
    heights = {name: k for k, name in enumerate(methods(rows))}
    source, label = rows.iloc[0][["source", "label"]]
    where = system(*rows.iloc[0][["dataset", "arch"]])
    left.set_title(f"{where}: class {source} poisoned as class {label}")
    right.set_title("dashed: the patch's area")
    draw_answers(left, drawn[drawn["measure"].isin(LEFT)], heights)
    draw_mass(right, drawn[drawn["measure"].isin(RIGHT)], heights)
    names = [_named(name, rows) for name in heights]
    for axes, ticks in ((left, names), (right, [])):
        axes.set_yticks(list(heights.values()), ticks)
        axes.set_ylim(len(heights) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        for edge in range(1, len(heights)):
            axes.axhline(edge - 0.5, color="#bbbbbb", linewidth=0.5, zorder=0)


def _named(method: str, rows: pd.DataFrame) -> str:
    poisoned = " (poisoned)" if method == "original" else ""
    return shown(method) + poisoned + (" †" if _lost(rows, [method]) else "")


def draw(frame: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The figure and the numbers in it; without a shortcut study, a sentence that says so."""
    groups = [group for _, group in frame.groupby(IDENTITY, sort=False)]
    if not groups:
        empty = pd.DataFrame(columns=COLUMNS)
        return common.only_say("No shortcut study in this run."), empty
    tables = [numbers(group) for group in groups]
    lines = common.wrapped(_notes(groups, tables), common.PAGE)
    tall = [0.65 + ROW * group["method"].nunique() for group in groups]
    figure, (top, middle, bottom) = common.sheet(
        common.PAGE, [sum(tall), 0.2, 0.05 + common.LINE * len(lines)]
    )
    shape = {"height_ratios": tall, "width_ratios": [1.6, 1]}
    grid = top.subplots(len(groups), 2, squeeze=False, **shape)
    for (left, right), group, table in zip(grid, groups, tables, strict=True):
        draw_row(left, right, group, table)
    middle.legend(handles=_handles(), loc="center", ncols=4, handletextpad=0.2, columnspacing=1)
    common.write_notes(bottom, lines)
    return figure, pd.concat(tables, ignore_index=True)


def _handles() -> list[Line2D]:
    words = {"label": "the wrong label", "source": "the source class"}
    look = {"linestyle": "", "markersize": 4.5}
    handles = []
    for measure in LEFT:
        images, _, answer = measure.partition("_")
        colour, marker = ANSWER[answer]
        face = colour if images == "patched" else "white"
        label = f"{images}, as {words[answer]}"
        handles.append(
            Line2D([], [], color=colour, marker=marker, markerfacecolor=face, label=label, **look)
        )
    return handles


def _notes(groups: list[pd.DataFrame], tables: list[pd.DataFrame]) -> list[str]:
    """What the marks mean, how many images and seeds they stand for, and what is not known."""
    notes = [
        "Large: mean, bars: ±1 sample standard deviation; small: training seeds. Right: mean share "
        "of the absolute SHAP values for the wrong label that falls inside the patch, on patched "
        "images of the source class; the patch's area is what chance would give."
    ]
    for group, table in zip(groups, tables, strict=True):
        where = f"Class {group['source'].iloc[0]} as {group['label'].iloc[0]}"
        means = table[table["kind"] == "mean"]
        over = ", ".join(dict.fromkeys(means["over"]))
        counts = [
            f"{what}: n = {_range(group.loc[group['measure'].isin(measures), 'n'])} images"
            for what, measures in (("left", LEFT), ("right", ["attribution_mass"]))
        ]
        notes.append(f"{where}; {'; '.join(counts)} a seed; means over {over}.")
        notes += [f"† {where}, {lost}" for lost in _lost(group, methods(group))]
    return notes


def _range(n: pd.Series) -> str:
    known = sorted({int(value) for value in n.dropna()})
    return f"{known[0]} to {known[-1]}" if len(known) > 1 else "".join(map(str, known)) or "no"


def _lost(group: pd.DataFrame, found: list[str]) -> list[str]:
    """A line for each method of `found` and measure whose value is not known for every seed."""
    seeds = group["train_seed"].nunique()
    lines = []
    for method in found:
        own = group[(group["method"] == method) & group["value"].notna()]
        for measure in (*LEFT, "attribution_mass"):
            known = int((own["measure"] == measure).sum())
            if known < seeds:
                words = measure.replace("_", " ")
                lines.append(
                    f"{shown(method)}: {words} known for {known} of {seeds} training seeds"
                )
    return lines


if __name__ == "__main__":
    common.run(draw, __doc__, read)
