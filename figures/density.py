"""How densely the forgotten and the retained classes lie in feature space, model by model."""

from __future__ import annotations

import math

import common
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unlearning.results.display import shown, system
from unlearning.results.keys import GROUP
from unlearning.stats.summary import summarise

TEXT = [*GROUP, "split", "train_seed", "model", "layer", "measure", "part"]
PLACE = [*GROUP, "layer", "model", "part", "percentile"]
COLUMNS = [*PLACE, "kind", "split", "train_seed", "log_density", "sem", "n", "over"]
LAYERS = ("embedding", "intermediate")
LOOK = {"original": ("--", "s"), "duck": ("-", "o"), "oracle": (":", "^")}
PARTS = {
    "forget": (common.FORGET, "removed class", -0.2),
    "retain": (common.RETAIN, "mean of the other classes", 0.2),
}
DOT = {"markersize": 2.8, "alpha": 0.8, "markeredgecolor": "white", "markeredgewidth": 0.3}
FACES = {
    "forget": {},
    "retain": {
        "markerfacecolor": "white",
        "markeredgecolor": common.RETAIN,
        "markeredgewidth": 0.7,
    },
}
HATCHES = {"forget": {"hatch": "////"}, "retain": {}}
PANEL = 1.85  # inches: the height of one layer


def read(path: str) -> pd.DataFrame:
    """The log densities of features.csv, in nats. Raises ValueError for a column missing or odd."""
    features = common.tidy(path, TEXT, ["percentile", "value"])
    return features[features["measure"] == "log_density"].reset_index(drop=True)


def numbers(densities: pd.DataFrame) -> pd.DataFrame:
    """Every drawn number: a `mean` with its SEM per percentile, each `cell` at the largest one.

    `sem` is the sample standard deviation over √n, NaN for n = 1. An empty or infinite log
    density is left out, and n says so.
    """
    rows = []
    known = densities[np.isfinite(densities["value"])]
    widest = known.groupby([*GROUP, "layer"])["percentile"].transform("max")
    for key, cells in known.groupby(PLACE, sort=False):
        identity = dict(zip(PLACE, key, strict=True))
        found = summarise(cells["value"].tolist(), cells[["split", "train_seed"]])
        mean = {"log_density": found.mean, "sem": found.sd / math.sqrt(found.n)}
        rows.append(identity | mean | {"kind": "mean", "n": found.n, "over": found.over})
        if key[-1] == widest[cells.index[0]]:
            for cell in cells.to_dict("records"):
                where = {name: cell[name] for name in ("split", "train_seed")}
                rows.append(identity | where | {"kind": "cell", "log_density": cell["value"]})
    return pd.DataFrame(rows, columns=COLUMNS).astype({"n": "Int64"})


def draw_boxes(axes: Axes, cells: pd.DataFrame) -> None:
    """A box for each model and part, with its single values as dots upon it."""
    for place, model in enumerate(LOOK):
        for part, (colour, _, shift) in PARTS.items():
            own = cells[(cells["model"] == model) & (cells["part"] == part)]
            values = own["log_density"].to_numpy()
            if not len(values):
                continue
            line = {"color": colour, "linewidth": 0.8}
            axes.boxplot(
                values,
                positions=[place + shift],
                widths=0.3,
                showfliers=False,
                patch_artist=True,
                boxprops={"facecolor": colour + "30", "edgecolor": colour, "linewidth": 0.8}
                | HATCHES[part],
                medianprops=line | {"linewidth": 1.6},
                whiskerprops=line,
                capprops=line,
            )
            across = place + shift + np.linspace(-0.09, 0.09, len(values) + 2)[1:-1]
            axes.plot(across, values, "o", color=colour, zorder=4, **DOT | FACES[part])
    axes.set_xticks(range(len(LOOK)), map(shown, LOOK))
    axes.set_xlim(-0.5, len(LOOK) - 0.5)
    axes.grid(False, axis="x")


def draw_lines(axes: Axes, means: pd.DataFrame) -> None:
    """Mean ± SEM against the percentile: colour is the part, dash and marker the model."""
    for model, (dash, marker) in LOOK.items():
        for part, (colour, *_) in PARTS.items():
            own = means[(means["model"] == model) & (means["part"] == part)]
            own = own.sort_values("percentile")
            axes.errorbar(
                own["percentile"],
                own["log_density"],
                yerr=own["sem"].to_numpy(),
                color=colour,
                linestyle=dash,
                marker=marker,
                **{"markersize": 3, "markeredgecolor": "white", "markeredgewidth": 0.3}
                | FACES[part],
                elinewidth=0.7,
            )
    axes.set_xticks(sorted(set(means["percentile"])))


def draw_row(left: Axes, right: Axes, layer: str, drawn: pd.DataFrame) -> None:
    """One layer: the boxes at the largest percentile, and the means at all of them."""
    cells, means = (drawn[drawn["kind"] == kind] for kind in ("cell", "mean"))
    left.set_title(layer.capitalize())
    if drawn.empty:
        left.text(0.02, 0.5, "No log density of this layer.", color=common.MUTED)
        left.set_axis_off()
        right.set_axis_off()
        return
    draw_boxes(left, cells)
    draw_lines(right, means)
    left.set_ylabel("log density (nats)")
    left.set_xlabel(f"model (percentile {cells['percentile'].iloc[0]:g})")
    right.set_ylabel("mean log density (nats)")
    right.set_xlabel("percentile of the distance to the class's centroid")


def draw(densities: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The figure and the numbers in it; without a density, a sentence that says so."""
    table = numbers(densities)
    if table.empty:
        return common.only_say("No log density in this run."), table
    systems = [group for _, group in table.groupby(GROUP, sort=False)]
    lines = common.wrapped(_notes(densities, table), common.PAGE)
    tall = [PANEL * len(LAYERS) + 0.15] * len(systems)
    figure, parts = common.sheet(common.PAGE, [*tall, 0.36, 0.05 + common.LINE * len(lines)])
    for part, drawn in zip(parts, systems, strict=False):
        part.suptitle(_name(drawn), x=0.01, ha="left", fontsize=7.5)
        grid = part.subplots(len(LAYERS), 2, width_ratios=[1, 1.4])
        for (left, right), layer in zip(grid, LAYERS, strict=True):
            draw_row(left, right, layer, drawn[drawn["layer"] == layer])
    parts[-2].legend(handles=_handles(), loc="center", ncols=5, handlelength=2.6)
    common.write_notes(parts[-1], lines)
    return figure, table


def _name(drawn: pd.DataFrame) -> str:
    row = drawn.iloc[0]
    return system(row["dataset"], row["arch"])


def _handles() -> list[Line2D]:
    """The legend: the two parts (filled and open), then the dash and marker of each model."""
    colours = [
        Line2D([], [], color=colour, marker="o", markersize=4, label=label, **FACES[part])
        for part, (colour, label, _) in PARTS.items()
    ]
    return colours + [
        Line2D(
            [], [], color="black", linestyle=dash, marker=marker, markersize=3, label=shown(model)
        )
        for model, (dash, marker) in LOOK.items()
    ]


def _notes(densities: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """What a density is, what the boxes hold, and over what the means run."""
    notes = [
        "Boxes: quartiles and median, whiskers within 1.5 interquartile ranges; dots: every "
        "removed class and training seed. Lines: means ± one standard error. Densities of "
        "different layers do not compare.",
    ]
    means = table[table["kind"] == "mean"]
    for _, own in means.groupby(GROUP, sort=False):
        spreads = dict.fromkeys(f"n = {row.n}: {row.over}" for row in own.itertuples())
        notes.append(f"{_name(own)}, {'; '.join(spreads)}.")
    lost = int((~np.isfinite(densities["value"])).sum())
    if lost:
        notes.append(f"{lost} of {len(densities)} values without a finite density, not drawn.")
    return notes


if __name__ == "__main__":
    common.run(draw, __doc__, read)
