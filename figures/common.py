"""What the figures share: reading runs.csv, panels, colours, notes, and saving."""

from __future__ import annotations

import argparse
import itertools
import textwrap
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure, SubFigure

from unlearning.files import whole, write_text
from unlearning.frames import Schema, read_table
from unlearning.metrics.aus import shown_scenarios
from unlearning.results.display import shown, system
from unlearning.results.keys import GROUP
from unlearning.results.runs import (
    by_method,
    nothing,
    read_runs,
    status_note,
    summarise_metric,
)
from unlearning.runtime.job import in_one_line, reported

FORGET, RETAIN, NEITHER = "#D55E00", "#0072B2", "#4D4D4D"
REFERENCE = {"original": "#8C8C8C", "oracle": "#000000"}
PROMINENT = ("duck", *REFERENCE)  # what a figure is about; the other methods are drawn quietly
MUTED = "#555555"
COLUMN, PAGE = 3.4, 7.0  # inches: one column and the full width of an A4 page
LINE = 0.106  # inches: one line of small text
EMPTY = 0.5  # inches: a panel without cells
SMALL = 6  # points

# Okabe and Ito's colours without black and yellow, with two of Tol's: told apart by most eyes.
COLOURS = ["#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">"]  # 9 beside 8 colours: 72 distinct pairs
KNOWN = [
    "duck",
    "fine_tuning",
    "random_labels",
    "negative_gradient",
    "boundary_shrink",
    "boundary_expanding",
    "duck_released",
    "scrub",
    "erm_ktp",
    "negative_gradient_plus",
    "amnesiac",
    "bad_teacher",
    "unsir",
    "ssd",
    "l1_sparse",
    "salun",
    "delete",
    "scar",
    "l_codec",
    "fisher",
]


@dataclass(frozen=True)
class Panel:
    """The cells of one scenario on one data set and architecture; none if it was not run."""

    scenario: str
    experiment: str
    dataset: str
    arch: str
    title: str
    short: str
    cells: pd.DataFrame


def panels(runs: pd.DataFrame) -> list[Panel]:
    """One panel per data set, architecture and experiment of each scenario, an empty one too."""
    found = []
    for scenario in shown_scenarios(set(runs["scenario"])):
        cells = runs[runs["scenario"] == scenario]
        name = shown(scenario)
        groups = list(cells.groupby(GROUP, sort=False))
        systems = [key[1:] for key, _ in groups]
        for key, group in groups:
            place = system(*key[1:]) + (f" ({key[0]})" if systems.count(key[1:]) > 1 else "")
            short = name if len(groups) == 1 else f"{name}, {place}"
            found.append(Panel(scenario, *key, f"{name}\n{place}", short, group))
        if not groups:
            found.append(Panel(scenario, "", "", "", name, name, cells))
    return found


def in_rows(found: list[Panel]) -> list[list[Panel]]:
    """The panels row by row: one a row in a one-column figure, two where there are many."""
    per_row = 1 if len(found) <= 2 else 2
    return [found[k : k + per_row] for k in range(0, len(found), per_row)]


def say_nothing(axes: plt.Axes, panel: Panel) -> None:
    """Fill the panel of a scenario without cells with the sentence that says so."""
    axes.set_axis_off()
    text = f"{nothing(shown(panel.scenario).lower())}."
    axes.text(0, 0.5, text, va="center", color=MUTED, transform=axes.transAxes, in_layout=False)


def looks(methods: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each method: its own in every figure, whatever else is drawn.

    Methods named in KNOWN have fixed ones. Any other takes the place its name hashes to, or
    the next free one, so that two methods of one figure never share colour and marker.
    """
    methods = list(dict.fromkeys(methods))
    slots = {name: KNOWN.index(name) for name in methods if name in KNOWN}
    others = range(len(KNOWN), len(COLOURS) * len(MARKERS))
    for name in sorted(set(methods) - set(slots)):
        start = zlib.crc32(name.encode()) % len(others)
        probes = [others[(start + step) % len(others)] for step in range(len(others))]
        slots[name] = next((k for k in probes if k not in slots.values()), probes[0])
    pairs = {n: (COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]) for n, k in slots.items()}
    return {name: pairs[name] for name in methods} | {
        name: (colour, "*") for name, colour in REFERENCE.items() if name in methods
    }


def name_look(method: str) -> dict:
    """How a method's name is written: bold and dark for what a figure is about, others quiet."""
    if method in PROMINENT:
        return {"color": REFERENCE.get(method, FORGET), "weight": "bold"}
    return {"color": "#333333"}


def status_notes(panel: Panel) -> list[tuple[str, str]]:
    """Method and note for each method of the panel with a cell that is not ok.

    A list of cells too long for a figure is cut, visibly; the tables have it whole.
    """
    notes = [(name, status_note(cells)) for name, cells in by_method(panel.cells)]
    cut = " … (whole list: tables)"
    return [(name, textwrap.shorten(note, 180, placeholder=cut)) for name, note in notes if note]


def footnotes(panel: Panel, notes: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each note, with every method that it holds for."""
    named: dict[str, list[str]] = {}
    for name, note in notes:
        named.setdefault(note, []).append(shown(name))
    return [f"† {panel.short}, {', '.join(names)}: {note}" for note, names in named.items()]


def spread_notes(panel: Panel, drawn: pd.DataFrame) -> list[str]:
    """Over what the means of `drawn` (column `over`) run, the methods that differ by name."""
    overs = drawn.loc[drawn["kind"] != "cell", ["method", "over"]].drop_duplicates()
    if overs.empty:
        return []
    if set(overs["over"]) == {"1 run"}:
        return [f"{panel.short}: one run each, no spread."]
    usual = overs["over"].mode()[0]
    others = overs[overs["over"] != usual]
    exceptions = [f"{shown(row.method)}: {row.over}" for row in others.itertuples()]
    return [f"{panel.short}, spread over {'; '.join([usual, *exceptions])}."]


def wrapped(notes: Iterable[str], width: float) -> list[str]:
    """The notes as lines of small text that fit into `width` inches."""
    per_line = int(width / (SMALL * 0.00785))
    return [
        line for note in notes for line in textwrap.wrap(note, per_line, subsequent_indent="   ")
    ]


def sheet(width: float, heights: list[float]) -> tuple[Figure, list[SubFigure]]:
    """A figure of `width` inches with one part below another, each of its height in inches."""
    figure = plt.figure(figsize=(width, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, hspace=0)
    return figure, list(parts) if len(heights) > 1 else [parts]


def stress(axes: plt.Axes, methods: list[str]) -> None:
    """Write the prominent ones of the methods beside the rows in bold."""
    for label, method in zip(axes.get_yticklabels(), methods, strict=True):
        label.set_weight("bold" if method in PROMINENT else "normal")


def write_notes(part: SubFigure, lines: list[str]) -> None:
    """Small text from the top of `part`, one line under another."""
    part.text(0.01, 1, "\n".join(lines), va="top", fontsize=SMALL, color=MUTED, linespacing=1.25)


def settle(figure: Figure) -> None:
    """Lay the figure out once and round every place: equal numbers, equal bytes.

    The solver behind the constrained layout takes its unknowns in the order of their addresses
    in memory, so that the last digits of a place differ from one process to the next. A figure
    without an engine is settled already.
    """
    if figure.get_layout_engine() is None:
        return
    figure.draw_without_rendering()
    figure.set_layout_engine(None)  # any engine, "none" too, makes each saving draw twice
    for part in figure.subfigs:
        corners = part.bbox_relative
        corners.p0, corners.p1 = corners.p0.round(6), corners.p1.round(6)
    for text in (text for part in figure.subfigs for text in part.texts):
        text.set_position([round(float(place), 6) for place in text.get_position()])
    for axes in figure.axes:
        axes.set_position([round(place, 6) for place in axes.get_position(original=True).bounds])


def save(figure: Figure, numbers: pd.DataFrame, stem: str | Path) -> None:
    """Write STEM.svg, .pdf, .png and STEM.csv, the plotted numbers; equal input, equal bytes."""
    settle(figure)
    dateless = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    for form, metadata in dateless.items():
        with whole(f"{stem}.{form}") as temporary:
            figure.savefig(temporary, format=form, metadata=metadata)
    plt.close(figure)
    write_text(f"{stem}.csv", numbers.to_csv(index=False, lineterminator="\n"))


def run(
    draw: Callable[[pd.DataFrame], tuple[Figure, pd.DataFrame]],
    about: str,
    read: Callable[[str], pd.DataFrame] = read_runs,
) -> None:
    """The command line of a figure: `--runs CSV --out STEM`."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--runs", required=True, help="the CSV file with what it shows, such as runs.csv"
    )
    parser.add_argument("--out", required=True, help="stem of the files to write")
    options = parser.parse_args()
    style = Path(__file__).with_name("style.mplstyle")
    with in_one_line(), reported(), plt.style.context(style):
        save(*draw(read(options.runs)), options.out)


def tidy(path: str | Path, text: Iterable[str], numbers: Iterable[str] = ()) -> pd.DataFrame:
    """Read a tidy CSV: `text` columns as text ("" if empty), `numbers` as floats (NaN if empty).

    Other columns are left out. Raises ValueError, naming file and column, for a column that is
    missing and for a value of `numbers` that is no number.
    """
    text, numbers = list(text), list(numbers)
    return read_table(path, Schema([*text, *numbers], numbers=numbers))


def only_say(sentence: str, width: float = COLUMN) -> Figure:
    """A figure that holds nothing but the sentence why there is nothing to draw."""
    figure = plt.figure(figsize=(width, EMPTY))
    figure.text(0.02, 0.5, sentence, va="center", color=MUTED)
    return figure


PLACE = ["scenario", "experiment", "dataset", "arch"]
MEASURED = [
    *("metric", "unit", "kind", "split", "train_seed", "unlearn_seed"),
    *("value", "sd", "n", "over"),
]

AIMS = {  # what AUS is made of, in the order (kept, forgotten)
    "class_removal": ("retain_test_accuracy", "forget_test_accuracy"),
    "homogeneous_removal": ("test_accuracy", "forget_train_accuracy"),
    "sample_removal": ("test_accuracy", "forget_train_accuracy"),
    "subclass_removal": ("retain_test_accuracy", "forget_test_accuracy"),
}
PART = {"retain": RETAIN, "forget": FORGET, "test": NEITHER}


def read_study(study: str) -> Callable[[str], pd.DataFrame]:
    """A reader of studies.csv: the cells of `study` as `read_runs` types them.

    With `classes_removed` as a float, NaN where empty. The reader raises ValueError as `tidy`
    and `read_runs` do.
    """

    def read(path: str) -> pd.DataFrame:
        beside = tidy(path, ["study"], ["classes_removed"])
        runs = read_runs(path).assign(classes_removed=beside["classes_removed"])
        return runs[beside["study"] == study].reset_index(drop=True)

    return read


def measured(identity: dict, cells: pd.DataFrame, metric: str) -> list[dict]:
    """Rows of MEASURED after `identity`: one a `cell` that is ok and has the metric, one `mean`.

    Accuracies in percent. No such cell, no row.
    """
    done = cells[(cells["status"] == "ok") & cells[metric].notna()]
    if done.empty:
        return []
    scale, unit = (1, "") if metric == "aus" else (100, "percent")
    identity = identity | {"metric": metric, "unit": unit}
    rows = done[["split", "train_seed", "unlearn_seed"]].to_dict("records")
    for row, value in zip(rows, done[metric], strict=True):
        row |= {"kind": "cell", "value": scale * value}
    found = summarise_metric(done, metric)
    mean = {"kind": "mean", "value": scale * found.mean, "sd": scale * found.sd}
    rows.append(mean | {"n": found.n, "over": found.over})
    return [identity | row for row in rows]


def lost(panel: Panel, metrics: Iterable[str]) -> list[tuple[str, str]]:
    """Method and note for each method with cells not ok, or ok without one of `metrics`."""
    notes = status_notes(panel)
    for (name, cells), metric in itertools.product(by_method(panel.cells), metrics):
        done = cells[cells["status"] == "ok"]
        absent = int(done[metric].isna().sum())
        if absent:
            what = "AUS" if metric == "aus" else metric.replace("_", " ")
            notes.append((name, f"{absent} of {len(done)} ok cells without {what}, not drawn"))
    return notes


def fence(values: pd.Series) -> float:
    """Tukey's lower fence: values below it are outliers, and an axis that serves the rest ends."""
    low, high = values.quantile([0.25, 0.75])
    return low - 1.5 * (high - low)
