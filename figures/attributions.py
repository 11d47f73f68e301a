"""How alike the explanations are: correlations of attribution maps, image by image."""

from __future__ import annotations

import math

import common
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from unlearning.results.display import shown, system
from unlearning.results.keys import GROUP
from unlearning.stats.summary import interval

IDENTITY = [*GROUP, "scenario", "output", "pair"]
COLUMNS = [*IDENTITY, "kind", "split", "image", "correlation", "low", "high", "n"]
OUTPUTS = {"true": "for the true class", "assigned": f"for the class that {shown('duck')} assigns"}
PAIRS = ("duck~oracle", "original~oracle", "original~duck")
PANEL = 1.6  # inches: three pairs, with title and axis
GOLDEN = 0.618034  # of a turn: spreads dots evenly without a random number


def read(path: str) -> pd.DataFrame:
    """Read attributions.csv. Raises ValueError, naming file and column, as `common.tidy` does.

    Also for an unknown output or pair and for a correlation outside [-1, 1].
    """
    text = [*GROUP, "scenario", "split", "train_seed", "image", "output", "pair"]
    found = common.tidy(path, text, ["correlation"])
    for name, known in (("output", OUTPUTS), ("pair", PAIRS)):
        strange = sorted(set(found[name]) - set(known))
        if strange:
            raise ValueError(f"{path}: {name} {strange[0]!r} is none of {', '.join(known)}")
    if not found["correlation"].dropna().between(-1 - 1e-9, 1 + 1e-9).all():
        raise ValueError(f"{path}: correlation holds a value outside [-1, 1]")
    return found


def numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Every drawn number of one output: a row an `image`, a `quartiles` and a `mean` a pair.

    An image is one of one forget set, its correlations averaged over training seeds. `low` and
    `high` of quartiles are the 25th and 75th percentile around the median, those of the mean
    its 95 % interval over images (`unlearning.stats.summary.interval`).
    """
    found = []
    for pair in PAIRS:
        own = rows[(rows["pair"] == pair) & rows["correlation"].notna()]
        if own.empty:
            continue
        identity = own.iloc[0][IDENTITY].to_dict()
        images = own.groupby(["split", "image"], sort=False)["correlation"].mean().reset_index()
        values = images["correlation"].to_numpy()
        low, median, high = np.percentile(values, [25, 50, 75])
        box = {"correlation": median, "low": low, "high": high}
        found += [identity | {"kind": "image"} | row for row in images.to_dict("records")]
        found += [identity | {"kind": "quartiles", "n": len(values)} | box]
        mean = {"kind": "mean", "correlation": values.mean(), "n": len(values)}
        inside = interval(values[:, None], np.random.default_rng(0))
        found.append(identity | mean | {"low": inside.low, "high": inside.high})
    return pd.DataFrame(found, columns=COLUMNS)


def draw_panel(axes: Axes, drawn: pd.DataFrame) -> None:
    """One output: a row a pair, with the mean above its box and the images below."""
    for row, pair in enumerate(PAIRS):
        own = drawn[drawn["pair"] == pair]
        colour = common.NEITHER if pair.startswith("original") else "black"
        values = np.sort(own.loc[own["kind"] == "image", "correlation"].to_numpy(dtype=float))
        y = row + 0.26 + 0.26 * ((np.arange(len(values)) * GOLDEN) % 1 - 0.5)
        axes.plot(values, y, "o", color=colour, markersize=1.6, alpha=0.45, markeredgewidth=0)
        for box in own[own["kind"] == "quartiles"].itertuples():
            _box(axes, box, row, colour)
        for mean in own[own["kind"] == "mean"].itertuples():
            _mean(axes, mean, row - 0.3, colour)
        if own.empty:
            style = {"fontsize": common.SMALL, "color": common.MUTED, "style": "italic"}
            place = axes.get_yaxis_transform()
            axes.text(0.5, row, "no correlation", transform=place, ha="center", **style)
    axes.set_yticks(range(len(PAIRS)), [_words(pair) for pair in PAIRS])
    axes.set_ylim(len(PAIRS) - 0.5, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.axvline(0, color=common.MUTED, linewidth=0.6, zorder=0)


def _box(axes: Axes, box: tuple, row: int, colour: str) -> None:
    """A box from the first to the third quartile, cut by the median."""
    style = {"facecolor": "white", "edgecolor": colour, "linewidth": 0.8, "zorder": 2}
    axes.broken_barh([(box.low, box.high - box.low)], (row - 0.13, 0.2), **style)
    cut = {"color": colour, "linewidth": 1.4, "zorder": 3}
    axes.plot(2 * [box.correlation], [row - 0.13, row + 0.07], **cut)


def _mean(axes: Axes, mean: tuple, y: float, colour: str) -> None:
    """The mean with its interval; without one (a single image) the mean alone."""
    known = not np.isnan(mean.low)
    sides = [[mean.correlation - mean.low], [mean.high - mean.correlation]] if known else None
    look = {"fmt": "D", "color": colour, "markersize": 3, "elinewidth": 0.9, "capsize": 1.5}
    axes.errorbar(mean.correlation, y, xerr=sides, zorder=3, **look)


def draw(frame: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The figure and the numbers in it; without attributions, a sentence that says so."""
    systems = [rows for _, rows in frame.groupby([*GROUP, "scenario"], sort=False)]
    if not systems:
        empty = pd.DataFrame(columns=COLUMNS)
        return common.only_say("No attributions in this run."), empty
    width = common.COLUMN if len(systems) == 1 else common.PAGE
    lines = common.wrapped(_notes(systems), width)
    per_row = min(2, len(systems))
    tall = 2 * PANEL * math.ceil(len(systems) / per_row)
    figure, (top, bottom) = common.sheet(width, [tall, 0.05 + common.LINE * len(lines)])
    parts = top.subfigures(math.ceil(len(systems) / per_row), per_row, squeeze=False).flat
    tables = [draw_system(part, rows) for part, rows in zip(parts, systems, strict=False)]
    common.write_notes(bottom, lines)
    return figure, pd.concat(tables, ignore_index=True)


def draw_system(part: SubFigure, rows: pd.DataFrame) -> pd.DataFrame:
    """One data set and architecture, an output below the other; the numbers drawn."""
    above, below = part.subplots(2, 1, sharex=True)
    tables = [numbers(rows[rows["output"] == output]) for output in OUTPUTS]
    for axes, table, title in zip((above, below), tables, OUTPUTS.values(), strict=True):
        draw_panel(axes, table)
        axes.set_title(title)
        axes.tick_params(labelbottom=True)
    above.set_title(f"{_system(rows)}\n{above.get_title(loc='left')}")
    below.set_xlabel("Pearson correlation of two models' attributions")
    drawn = pd.concat(tables, ignore_index=True)
    lowest = drawn[["correlation", "low"]].min().min()
    below.set_xlim(-1.03 if lowest < -0.97 else min(0, lowest) - 0.06 if len(drawn) else 0, 1.03)
    return drawn


def _system(rows: pd.DataFrame) -> str:
    return system(*rows.iloc[0][["dataset", "arch"]])


def _notes(systems: list[pd.DataFrame]) -> list[str]:
    """What the marks mean, how many images and models they stand for, and what is left out."""
    notes = [
        "Dots: images, each the mean over its training seeds; box: quartiles and median; diamond: "
        "mean with its 95 % interval over images. It holds for these models: what other trainings "
        "would change is not in it."
    ]
    for rows in systems:
        known = rows[rows["correlation"].notna()]
        counts = {
            what: len(known[columns].drop_duplicates())
            for what, columns in (
                ("image", ["split", "image"]),
                ("group of models", ["split", "train_seed"]),
                ("removed class", ["split"]),
                ("training seed", ["train_seed"]),
            )
        }
        images, groups, classes, seeds = (_many(n, what) for what, n in counts.items())
        notes.append(f"{_system(rows)}: n = {images}; {groups}: {classes} and {seeds}.")
        notes += _constant(rows)
    return notes


def _words(pair: str) -> str:
    """`DUCK – Oracle`."""
    return " – ".join(map(shown, pair.split("~")))


def _many(n: int, what: str) -> str:
    """`1 removed class`, `3 groups of models`."""
    noun, of, rest = what.partition(" of ")
    plural = noun if n == 1 else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{n} {plural}{of}{rest}"


def _constant(rows: pd.DataFrame) -> list[str]:
    """The pairs without a correlation in some images, as one map is constant there; or nothing."""
    found = [
        f"{int(own['correlation'].isna().sum())} of {len(own)} ({_words(pair)}, {OUTPUTS[output]})"
        for (output, pair), own in rows.groupby(["output", "pair"], sort=False)
        if own["correlation"].isna().any()
    ]
    named = ", ".join(found)
    return [f"† {_system(rows)}, no correlation as a map is constant: {named}."] if found else []


if __name__ == "__main__":
    common.run(draw, __doc__, read)
