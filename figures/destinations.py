"""Where the forgotten images go: the nearest centroid before and after, and the oracle's word."""

from __future__ import annotations

import math

import common
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from unlearning.results.display import shown, system
from unlearning.results.keys import GROUP

TEXT = [*GROUP, "split", "train_seed", "model", "by"]
COLUMNS = [*GROUP, "model", "by", "removed", "class", "share_percent", "n"]
PANELS = {
    ("original", "centroid"): f"{shown('original')}: nearest centroid",
    ("duck", "centroid"): f"{shown('duck')}: nearest centroid",
    ("oracle", "prediction"): f"{shown('oracle')}: predicted class",
}
COLOURS = "Oranges"  # one hue, that of forgotten images: its lightness says it all
MOST = 20  # classes, beyond which cells are too small for a number
MANY = {"markersize": 1.8, "mew": 0.35}  # the crosses then
WRITTEN = 5  # percent, from which a cell has its number
ROW, ROOM = 0.19, 0.75  # inches: one removed class, and what stands above and below the panels


def read(path: str) -> pd.DataFrame:
    """Read destinations.csv, with the removed class as the integer column `removed`.

    Only rows of single removed classes (`class-3`) stay. Raises ValueError, naming file and
    column, for a column that is missing or holds no number, and for a share outside [0, 1].
    """
    shares = common.tidy(path, TEXT, ["class", "share"])
    if not shares["share"].between(0, 1).all():
        raise ValueError(f"{path}: share holds a value that is no fraction in [0, 1]")
    removed = shares["split"].str.extract(r"^class-(\d+)$")[0]
    shares = shares.assign(removed=removed)[removed.notna()]
    return shares.astype({"removed": int, "class": int}).reset_index(drop=True)


def numbers(shares: pd.DataFrame) -> pd.DataFrame:
    """Mean share in percent per panel, removed class and destination, over `n` training seeds.

    A destination that a seed does not name has a share of 0 there.
    """
    tables = []
    for key, cells in shares.groupby(GROUP, sort=False):
        classes = range(1 + cells[["removed", "class"]].to_numpy().max())
        for model, by in PANELS:
            own = cells[(cells["model"] == model) & (cells["by"] == by)]
            for removed, rows in own.groupby("removed"):
                seeds = rows["train_seed"].nunique()
                sums = rows.groupby("class")["share"].sum().reindex(classes, fill_value=0.0)
                facts = dict(zip(GROUP, key, strict=True)) | {"model": model, "by": by}
                facts |= {"removed": removed, "class": list(classes), "n": seeds}
                tables.append(pd.DataFrame(facts | {"share_percent": 100 * sums.array / seeds}))
    return pd.concat(tables)[COLUMNS] if tables else pd.DataFrame(columns=COLUMNS)


def draw_panel(axes: Axes, drawn: pd.DataFrame, removed: list[int], by: str) -> None:
    """One heat map: removed classes downwards, destinations to the right."""
    if drawn.empty:
        axes.set_axis_off()
        axes.text(0, 0.5, "Not in this run.", color=common.MUTED, transform=axes.transAxes)
        return
    grid = drawn.pivot(index="removed", columns="class", values="share_percent").reindex(removed)
    axes.imshow(grid, cmap=COLOURS, vmin=0, vmax=100, aspect="auto", interpolation="nearest")
    axes.grid(False)
    axes.tick_params(length=0)
    for side in axes.spines:
        axes.spines[side].set_visible(True)
    step = 1 if grid.shape[1] <= MOST else 10 * math.ceil(grid.shape[1] / 100)
    axes.set_xticks(range(0, grid.shape[1], step))
    axes.set_xlabel("destination class")
    if by == "centroid":
        size = {"markersize": 4, "mew": 0.7} if grid.shape[1] <= MOST else MANY
        axes.plot(removed, range(len(removed)), "x", color=common.MUTED, **size)
    if grid.shape[1] <= MOST:
        write_shares(axes, grid.to_numpy())


def write_shares(axes: Axes, grid: np.ndarray) -> None:
    """The share in each cell of `grid` [removed, destinations] that has 5 % or more."""
    for (row, column), share in np.ndenumerate(grid):
        if share >= WRITTEN:
            colour = "white" if share > 55 else "black"
            place = {"ha": "center", "va": "center", "color": colour}
            axes.text(column, row, f"{share:.0f}", fontsize=5, **place)


def draw_system(part: Figure, drawn: pd.DataFrame) -> None:
    """The three panels of one data set and architecture, one row a removed class."""
    row = drawn.iloc[0]
    part.suptitle(system(row["dataset"], row["arch"]), x=0.01, ha="left", fontsize=7.5)
    removed = sorted(set(drawn["removed"]))
    for axes, ((model, by), title) in zip(part.subplots(1, 3), PANELS.items(), strict=True):
        axes.set_title(title)
        draw_panel(axes, drawn[(drawn["model"] == model) & (drawn["by"] == by)], removed, by)
        step = 1 if len(removed) <= MOST else 10 * math.ceil(len(removed) / 100)
        axes.set_yticks(range(0, len(removed), step), removed[::step])
        if model == "original":
            axes.set_ylabel("removed class")
    scale = ScalarMappable(Normalize(0, 100), COLOURS)
    bar = part.colorbar(scale, ax=part.axes, pad=0.01, fraction=0.03, aspect=12)
    bar.set_label("share (%)")
    bar.outline.set_visible(False)


def draw(shares: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The figure and the numbers in it; without a removed class, a sentence that says so."""
    table = numbers(shares)
    if table.empty:
        return common.only_say("No destination of a single removed class in this run."), table
    systems = [group for _, group in table.groupby(GROUP, sort=False)]
    lines = common.wrapped(_notes(table), common.PAGE)
    heights = [ROOM + min(2.2, max(0.5, ROW * group["removed"].nunique())) for group in systems]
    figure, parts = common.sheet(common.PAGE, [*heights, 0.05 + common.LINE * len(lines)])
    for part, drawn in zip(parts, systems, strict=False):
        draw_system(part, drawn)
    common.write_notes(parts[-1], lines)
    return figure, table


def _notes(table: pd.DataFrame) -> list[str]:
    """What a cell is, over how many seeds, and what the mark means."""
    seeds = ", ".join(str(n) for n in sorted(set(table["n"])))
    few = table["class"].max() < MOST
    written = f"Numbers: shares from {WRITTEN} % on. " if few else ""
    return [
        "A row: the training images of one removed class, in percent, by the class they go to; "
        f"mean over training seeds (n = {seeds}). {written}Nearest centroid: by cosine, of the "
        "retained classes only: the removed class (cross) is no destination. The oracle may "
        "predict any class."
    ]


if __name__ == "__main__":
    common.run(draw, __doc__, read)
