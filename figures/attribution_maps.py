"""Which pixels speak for the forgotten class and for the assigned one, in each model."""

from __future__ import annotations

import common
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from unlearning.results.display import shown, system
from unlearning.results.keys import GROUP

CASE = [*GROUP, "scenario", "split", "train_seed", "image", "label", "assigned"]
COLUMNS = [*CASE, "model", "output", "row", "column", "value", "limit"]
MODELS = ("original", "duck", "oracle")
OUTPUTS = ("true", "assigned")
COLOURS = "RdBu_r"  # red and blue: told apart by colour-blind eyes
MOST = 4  # images
GAP = 0.05  # the width between two groups of maps, in widths of a map
ROW, HEAD = 0.83, 0.34  # inches: one image, and the heads above the columns


def read(path: str) -> pd.DataFrame:
    """Read attribution_maps.csv: pixels in 0..255, attributions in changes of the logit.

    Raises ValueError, naming file and column, for a column that is missing or no number.
    """
    integers = dict.fromkeys(("label", "assigned", "row", "column"), int)
    text = [name for name in COLUMNS[:-2] if name not in integers]
    return common.tidy(path, text, [*integers, "value"]).astype(integers)


def numbers(maps: pd.DataFrame) -> pd.DataFrame:
    """The pixels and attributions of the first MOST images, with the scale of each as `limit`.

    `limit` is the largest absolute attribution of the image, in any model and for either class.
    """
    drawn = maps[CASE].drop_duplicates()[:MOST].merge(maps, on=CASE)
    sizes = drawn["value"].abs().where(drawn["model"].isin(MODELS))
    drawn["limit"] = sizes.groupby([drawn[name] for name in CASE]).transform("max")
    return drawn[COLUMNS]


def grid(drawn: pd.DataFrame) -> np.ndarray:
    """The values of one map as an array [rows, columns]."""
    return drawn.pivot(index="row", columns="column", values="value").to_numpy()


def picture(drawn: pd.DataFrame) -> np.ndarray:
    """The image in 0..255: [rows, columns] in grey, integers [rows, columns, 3] in colour."""
    channels = [grid(own) for _, own in drawn.groupby("output")]
    return np.stack(channels, axis=-1).astype(int) if len(channels) == 3 else channels[0]


def draw_map(axes: Axes, drawn: pd.DataFrame, limit: float) -> AxesImage | None:
    """One attribution map on the scale of its row, or the word that there is none."""
    if drawn.empty:
        missing = {"ha": "center", "va": "center", "color": common.MUTED}
        axes.text(0.5, 0.5, "missing", fontsize=common.SMALL, transform=axes.transAxes, **missing)
        return None
    scale = {"cmap": COLOURS, "vmin": -limit, "vmax": limit}
    return axes.imshow(grid(drawn), interpolation="nearest", **scale)


def draw_case(axes: list[Axes], drawn: pd.DataFrame) -> None:
    """One row: the image, the maps for its true class, those for the assigned one, the scale."""
    case = drawn.iloc[0]
    axes[0].set_ylabel(f"class {case['label']} → {case['assigned']}")
    pixels = drawn[drawn["model"] == "image"]
    if len(pixels):
        axes[0].imshow(picture(pixels), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    limit = case["limit"] or 1.0  # maps of zeros alone have a scale as well
    by_map = dict(list(drawn.groupby(["output", "model"])))
    names = [(output, model) for output in OUTPUTS for model in MODELS]
    shown = [
        draw_map(place, by_map.get(name, drawn[:0]), limit)
        for place, name in zip(axes[1:], names, strict=True)
    ]
    painted = [image for image in shown if image is not None]
    if painted:
        bar = axes[0].figure.colorbar(painted[0], ax=axes, fraction=0.012, pad=0.004, aspect=12)
        bar.set_ticks([-limit, 0, limit], labels=[f"−{limit:.2g}", "0", f"{limit:.2g}"])
        bar.ax.set_ylabel("change of\nthe logit", labelpad=0)
        bar.ax.yaxis.set_label_coords(6.5, 0.5)
        bar.outline.set_visible(False)


def layout(part: Figure, cases: int) -> list[list[Axes]]:
    """Axes [cases, 7] under their heads: the image, and two groups of one map a model."""
    widths = [1, GAP, 1, 1, 1, GAP, 1, 1, 1]
    part.figure.get_layout_engine().set(w_pad=0.015, h_pad=0.02, wspace=0.0, hspace=0.0)
    everything = part.subplots(cases, len(widths), squeeze=False, width_ratios=widths)
    for gap in everything[:, [1, 5]].flat:
        gap.set_axis_off()
    rows = everything[:, [0, 2, 3, 4, 6, 7, 8]]
    for axes in rows.flat:
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        for side in axes.spines:
            axes.spines[side].set(visible=True, color="#bbbbbb")
    heads = ["Image", *map(shown, MODELS), *map(shown, MODELS)]
    heads[2], heads[5] = (f"for the {output} class\n{shown(MODELS[1])}" for output in OUTPUTS)
    for axes, head in zip(rows[0], heads, strict=True):
        axes.set_title(head, loc="center", fontsize=7)
    return [list(row) for row in rows]


def draw(maps: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The figure and the numbers in it; without a map, a sentence that says so."""
    table = numbers(maps)
    if table.empty:
        return common.only_say("No attribution map in this run."), table
    cases = [drawn for _, drawn in table.groupby(CASE, sort=False)]
    lines = common.wrapped(_notes(maps, table), common.PAGE)
    heights = [HEAD + ROW * len(cases), 0.05 + common.LINE * len(lines)]
    figure, (top, bottom) = common.sheet(common.PAGE, heights)
    for axes, drawn in zip(layout(top, len(cases)), cases, strict=True):
        draw_case(axes, drawn)
    common.write_notes(bottom, lines)
    return figure, table


def _notes(maps: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """What is drawn, on which scale, and which images these are."""
    cases, known = table[CASE].drop_duplicates(), len(maps[CASE].drop_duplicates())
    which = [f"{row.image} ({row.split}, seed {row.train_seed})" for row in cases.itertuples()]
    row = cases.iloc[0]
    return [
        "SHAP values, summed over colour channels: how much a pixel raises (red) or lowers (blue) "
        "the logit of the class. Rows: true class → class of the centroid that was assigned. "
        "Each row has one scale, up to its largest absolute value in any model.",
        f"{system(row['dataset'], row['arch'])}: {len(cases)} of {known} images, "
        f"from top to bottom {', '.join(which)} of the test part; one run each.",
    ]


if __name__ == "__main__":
    common.run(draw, __doc__, read)
