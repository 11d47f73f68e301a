"""Maps of the embeddings: where the forgotten images lie, before and after unlearning."""

from __future__ import annotations

import common
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unlearning.results.display import shown, system
from unlearning.results.keys import GROUP

MAP = [*GROUP, "scenario", "split", "train_seed"]
COLUMNS = [*MAP, "model", "kind", "x", "y", "class", "forgotten", "assigned", "joined"]
MODELS = ("original", "duck", "oracle")
SHADES = (0.35, 0.7, 0.5, 0.8, 0.6)  # how much white the blue of a class holds, in turn
STAR = {"linestyle": "", "marker": "*", "markeredgecolor": "black"}
OWN = {**STAR, "markersize": 8, "markerfacecolor": common.FORGET, "markeredgewidth": 0.7}
OTHER = {**STAR, "markersize": 5, "markerfacecolor": "white", "markeredgewidth": 0.4}
FORGOTTEN = {"linestyle": "", "marker": "^", "markersize": 2.6, "markeredgewidth": 0}
RETAINED = {"linestyle": "", "marker": "o", "markersize": 1.6, "markeredgewidth": 0}
JOINED = 12  # forgotten images with a line to their centroid
MOST = 20  # classes, beyond which only those assigned have their number written
PANEL = 2.75  # inches: the height of a panel with its title


def read(path: str) -> pd.DataFrame:
    """Read maps.csv; an empty `assigned` is missing.

    Raises ValueError, naming file and column, for a column that is missing or no number.
    """
    integers = {"class": int, "forgotten": int, "assigned": "Int64"}
    return common.tidy(path, [*MAP, "model", "kind"], ["x", "y", *integers]).astype(integers)


def numbers(maps: pd.DataFrame) -> pd.DataFrame:
    """The first map's images and centroids, and a `class_number` row for each number written.

    `joined` is 1 for the forgotten images that a line joins to their centroid. A number stands
    at the median of its retained images; beyond MOST classes only those assigned have one.
    """
    if maps.empty:
        return pd.DataFrame(columns=COLUMNS)
    first = maps[(maps[MAP] == maps.iloc[0][MAP]).all(axis=1)].reset_index(drop=True)
    first["joined"] = first.index.isin(_to_join(first)).astype(int)
    images = first[(first["kind"] == "image") & (first["forgotten"] == 0)]
    if images["class"].nunique() > MOST:
        images = images[images["class"].isin(_assigned(first))]
    places = images.groupby([*MAP, "model", "class"], sort=False)[["x", "y"]].median()
    written = places.reset_index().assign(kind="class_number")
    table = pd.concat([first, written], ignore_index=True)
    return table.astype({"forgotten": "Int64", "joined": "Int64"})[COLUMNS]


def _to_join(drawn: pd.DataFrame) -> pd.Index:
    """Up to JOINED forgotten images of `duck`, evenly spaced in the order of the file."""
    known = drawn["assigned"].isin(_centroids(drawn)["class"])
    able = drawn.index[(drawn["model"] == "duck") & known]
    places = np.linspace(0, len(able) - 1, min(JOINED, len(able)))
    return able[places.round().astype(int)]


def _centroids(drawn: pd.DataFrame) -> pd.DataFrame:
    return drawn[drawn["kind"] == "centroid"]


def _assigned(drawn: pd.DataFrame) -> set[int]:
    return set(drawn["assigned"].dropna().astype(int))


def shade(label: int) -> tuple[float, float, float]:
    """The pale blue of a retained class; classes that follow one another differ."""
    white = SHADES[label % len(SHADES)]
    red, green, blue = (white + (1 - white) * part for part in to_rgb(common.RETAIN))
    return red, green, blue


def draw_images(axes: Axes, images: pd.DataFrame) -> None:
    """Retained images as pale dots, class by class, and the forgotten ones upon them."""
    retained = images[images["forgotten"] == 0]
    for label, own in retained.groupby("class", sort=False):  # thousands: no vector needs them
        axes.plot(own["x"], own["y"], color=shade(label), rasterized=True, **RETAINED)
    gone = images[images["forgotten"] == 1]
    axes.plot(gone["x"], gone["y"], color=common.FORGET, zorder=3, **FORGOTTEN)


def draw_centroids(axes: Axes, drawn: pd.DataFrame, centroids: pd.DataFrame, own: set) -> None:
    """The retained centroids, those in `own` large, and the lines to them in `drawn`."""
    places = centroids.set_index("class")
    for image in drawn[drawn["joined"] == 1].itertuples():
        end = places.loc[image.assigned]
        axes.plot([image.x, end["x"]], [image.y, end["y"]], color="black", lw=0.5, zorder=4)
    other = OTHER | ({"markersize": 2.5} if len(places) > MOST else {})
    chosen = places.index.isin(own)
    for look, kept in ((other, ~chosen), (OWN, chosen)):
        axes.plot(places["x"][kept], places["y"][kept], zorder=5, **look)


def draw_panel(axes: Axes, drawn: pd.DataFrame, table: pd.DataFrame) -> None:
    """The map of one model, and on it the retained centroids of the original."""
    if drawn.empty:
        axes.text(0.05, 0.5, "Not in this run.", color=common.MUTED, transform=axes.transAxes)
        return
    draw_images(axes, drawn[drawn["kind"] == "image"])
    draw_centroids(axes, drawn, _centroids(table), _assigned(table))
    for row in drawn[drawn["kind"] == "class_number"].to_dict("records"):
        above = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.3}
        label, place = str(row["class"]), (row["x"], row["y"])
        axes.annotate(label, place, fontsize=common.SMALL, zorder=6, bbox=box, **above)


def square(drawn: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Limits of both axes of equal length about everything drawn, with room for a number."""
    low, high = drawn[["x", "y"]].min(), drawn[["x", "y"]].max()
    half, middle = 0.56 * (high - low).max() or 1.0, (low + high) / 2
    return {f"{axis}lim": (middle[axis] - half, middle[axis] + half) for axis in ("x", "y")}


def draw(maps: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The figure and the numbers in it; without a map, a sentence that says so."""
    table = numbers(maps)
    if table.empty:
        return common.only_say("No map of embeddings in this run."), table
    lines = common.wrapped(_notes(maps, table), common.PAGE)
    figure, parts = common.sheet(common.PAGE, [PANEL, 0.25, 0.05 + common.LINE * len(lines)])
    grid = parts[0].subplots(1, len(MODELS), sharex=True, sharey=True)
    for axes, model in zip(grid, MODELS, strict=True):
        axes.set(title=shown(model), xticks=[], yticks=[], aspect="equal", **square(table))
        axes.set_xlabel("t-SNE 1 (no unit)")
        for side in axes.spines:
            axes.spines[side].set_visible(True)
        draw_panel(axes, table[table["model"] == model], table)
    grid[0].set_ylabel("t-SNE 2 (no unit)")
    parts[1].legend(handles=_handles(), loc="center", ncols=5, handletextpad=0.1)
    common.write_notes(parts[2], lines)
    return figure, table


def _handles() -> list[Line2D]:
    """The legend: two kinds of images, two kinds of centroids, and the line."""
    return [
        Line2D([], [], color=common.FORGET, label="forgotten image", **FORGOTTEN),
        Line2D([], [], color=shade(0), label="retained image", **RETAINED | {"markersize": 3}),
        Line2D([], [], label="assigned centroid", **OWN),
        Line2D([], [], label="other retained centroid", **OTHER),
        Line2D([], [], color="black", linewidth=0.5, label=" image to its centroid"),
    ]


def _notes(maps: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """Which map it is, of how many, and what its axes, numbers and lines mean."""
    row, images = table.iloc[0], table[table["kind"] == "image"]
    counts = images.groupby("model")["forgotten"].agg(["sum", "size"]).max()
    several = len(maps[MAP].drop_duplicates())
    which = f"the first of {several} maps in this run" if several > 1 else "the only map"
    written = table[table["kind"] == "class_number"]["class"].nunique()
    classes = images[images["forgotten"] == 0]["class"].nunique()
    whose = "each retained class" if written == classes else "each class that was assigned"
    return [
        f"{system(row['dataset'], row['arch'])}, removed: {row['split']}, training "
        f"seed {row['train_seed']} ({which}). n = {counts['sum']} forgotten and "
        f"{counts['size'] - counts['sum']} retained images a model. One t-SNE for all panels: only "
        f"what lies near what can be read. Stars: the original's centroids. Numbers: {whose}, at "
        f"the median of its images. Lines: {table['joined'].sum()} of DUCK's forgotten images."
    ]


if __name__ == "__main__":
    common.run(draw, __doc__, read)
