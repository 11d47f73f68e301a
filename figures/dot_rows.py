"""Rows of a dot plot along one axis: means with bars and single cells, and what lies beyond."""

from __future__ import annotations

import common
import pandas as pd
from matplotlib.axes import Axes


def dots(
    axes: Axes,
    rows: pd.DataFrame,
    y: float,
    colour: str,
    marker: str,
    beside: float = 0.2,
    face: str | None = None,
) -> None:
    """Rows of MEASURED along x at height `y`: the mean and ±1 sd, and cells `beside` it, small.

    A `face` of its own colour makes the mark open.
    """
    cell = {"alpha": 0.5, "markersize": 2, "markeredgewidth": 0, "color": colour}
    size = 6.5 if marker == "*" else 4
    look = {"fmt": marker, "color": colour, "markersize": size, "elinewidth": 0.8, "zorder": 3}
    cells, means = rows[rows["kind"] == "cell"], rows[rows["kind"] != "cell"]
    axes.plot(cells["value"], [y + beside] * len(cells), "o", **cell)
    for row in means.itertuples():
        bar = None if pd.isna(row.sd) else row.sd
        edge = {"mec": colour, "mfc": face, "mew": 0.9} if face else {"mec": "white", "mew": 0.4}
        axes.errorbar(row.value, y, xerr=bar, **look, **edge)


def mark_below(axes: Axes, rows: pd.DataFrame, y: float) -> None:
    """Write the mean in `rows` of MEASURED at the left edge, at height `y`, if it lies below it."""
    for value in rows.loc[rows["kind"] == "mean", "value"]:
        if value < axes.get_xlim()[0]:
            place = {
                "transform": axes.get_yaxis_transform(),
                "va": "center",
                "fontsize": common.SMALL,
            }
            axes.text(0.008, y, f"◂ {value:.2f}", color=common.MUTED, **place)


def room(axes: Axes, rows: pd.DataFrame, least: float) -> None:
    """Set the x axis from below the lowest to above the highest drawn value, `least` wide."""
    spread = rows["sd"].astype(float).fillna(0)
    low, high = (rows["value"] - spread).min(), (rows["value"] + spread).max()
    edge = max(0.05 * (high - low), (least - (high - low)) / 2)
    axes.set_xlim(low - edge, high + edge)
