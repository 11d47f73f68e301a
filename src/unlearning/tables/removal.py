"""The tables of class and homogeneous removal as they are printed, and all tables of runs.csv.

The CSV, in full precision, is the table; the texts are drawn from it and from nothing else. A cell
that is not `ok` keeps its row, its status and a footnote.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from unlearning.metrics.aus import SCENARIOS
from unlearning.results.keys import GROUP
from unlearning.results.runs import nothing, read_runs, scenario_table
from unlearning.results.study_files import read_ensembles
from unlearning.tables import evaluation, render
from unlearning.tables.render import Section, percent, score, seconds, write

MARKS = {
    "Settings": "Settings: published for this data set, or elsewhere for others; searched for this "
    "data set and network, or elsewhere; not searched: none was found, the published ones stand.",
    "Flag": "Below original: a lower mean AUS than that of doing nothing.",
}
"""Columns that are printed where a row has something in them, and what they say."""


def sections(table: pd.DataFrame, scenario: str) -> list[Section]:
    """The printed tables of `scenario_table`, one per experiment, data set and architecture."""
    groups = list(table.groupby(GROUP, sort=False))
    systems = [(dataset, arch) for (_, dataset, arch), _ in groups]
    found = []
    for (experiment, dataset, arch), rows in groups:
        title = f"{scenario.replace('_', ' ').capitalize()}: {dataset}, {arch}"
        if systems.count((dataset, arch)) > 1:
            title += f", experiment {experiment}"
        if half := rows["test_half"].iloc[0]:
            title += f", {half} half of the test images"
        cells = pd.DataFrame([_printed(row, scenario) for row in rows.to_dict("records")])
        empty = [name for name in MARKS if set(cells[name]) <= {"", "–"}]
        cells = cells.drop(columns=empty)
        found.append(Section(title, _caption(rows, scenario), cells, _footnotes(rows)))
    return found


def _printed_columns(scenario: str) -> list[tuple[str, str, Callable[[float, float], str]]]:
    columns = [
        ("A_r (%)", "retain_train_accuracy", percent),
        ("A_f (%)", "forget_train_accuracy", percent),
    ]
    if scenario == "class_removal":
        columns.append(("A_r^t (%)", "retain_test_accuracy", percent))
        columns.append(("A_f^t (%)", "forget_test_accuracy", percent))
    else:
        columns.append(("A^t (%)", "test_accuracy", percent))
    return [*columns, ("AUS", "aus", score), ("Time (s)", "unlearning_seconds", seconds)]


def _printed(row: dict, scenario: str) -> dict[str, str]:
    mark = " †" if row["status_note"] else ""
    lost = row["status"].replace("_", " ") if row["n_ok"] == 0 else ""
    shown = {"Method": row["method"], "Touches": row["touches"] or "–"}
    shown["Settings"] = row["settings"] or "–"
    for header, metric, show in _printed_columns(scenario):
        text = show(row[f"{metric}_mean"], row[f"{metric}_sd"])
        shown[header] = lost or (text if text == "–" else text + mark)
        if metric == "aus":
            text = score(row["aus_of_means"], row["aus_of_means_sd"])
            shown["AUS of means"] = lost or (text if text == "–" else text + mark)
    whole = row["n_ok"] == row["n_cells"]
    shown["n"] = str(row["n_ok"]) if whole else f"{row['n_ok']} of {row['n_cells']}"
    shown["Flag"] = row["flag"]
    return shown


def _footnotes(rows: pd.DataFrame) -> list[str]:
    """A line for each note, with every method that it holds for."""
    named: dict[str, list[str]] = {}
    for row in rows[rows["status_note"] != ""].to_dict("records"):
        note = ("† " if row["n_ok"] else "", row["status_note"])
        named.setdefault(note, []).append(row["method"])
    return [f"{mark}{', '.join(names)}: {note}." for (mark, note), names in named.items()]


def _caption(rows: pd.DataFrame, scenario: str) -> str:
    if scenario == "class_removal":
        what = (
            "A_r, A_f: accuracy on the retained and the forgotten training images; "
            "A_r^t, A_f^t: the same on the test images. "
            "AUS = (1 − (A_or − A_r^t)) / (1 + A_f^t), A_or being A_r^t of the original; "
        )
    else:
        what = (
            "A_r, A_f: accuracy on the retained and the forgotten training images; "
            "A^t: on the evaluation half of the test images. "
            "AUS = (1 − (A_or − A^t)) / (1 + |A_f − A^t|), A_or being A^t of the original; "
        )
    return (
        f"{what}it is computed per run and averaged, and AUS of means is the paper's way: from the "
        "mean accuracies, errors propagated as independent. Time: the unlearning steps alone, "
        "without evaluation or saving; for the oracle, its training. "
        f"{_spread(rows)} A value without ± rests on one run; – is not measured. Cells whose "
        "status is not ok are named, never averaged: a word in place of numbers where no cell "
        "is ok, † where some are not."
        + "".join(f" {said}" for name, said in MARKS.items() if any(rows[name.lower()]))
    )


def _spread(rows: pd.DataFrame) -> str:
    done = rows[rows["n_ok"] > 0]
    if done.empty:
        return "No cell is ok."
    if set(done["over"]) == {"1 run"}:
        return "Every row is one run, without a spread (n = 1)."
    usual = done.loc[done["n_ok"].idxmax()]
    text = f"± is the sample standard deviation over {usual['over']} (n = {usual['n_ok']})"
    others = done[done["over"] != usual["over"]]
    exceptions = [
        f"for {method} over {over} (n = {n})"
        for method, over, n in zip(others["method"], others["over"], others["n_ok"], strict=True)
    ]
    return "; ".join([text, *exceptions]) + "."


def tabulate(
    runs_csv: str | Path, out_dir: str | Path, ensembles_csv: str | Path | None = None
) -> None:
    """Write every table as .csv, .md, .tex and .html: one a scenario, and those of `evaluation`.

    ensembles_csv: what takes several training seeds; without it that table is empty.
    """
    runs = read_runs(runs_csv)
    for scenario in SCENARIOS:
        table = scenario_table(runs, scenario)
        title = scenario.replace("_", " ").capitalize()
        write(Path(out_dir) / scenario, table, sections(table, scenario), title, nothing(scenario))
    several = read_ensembles(ensembles_csv) if ensembles_csv else None
    for name, layout in evaluation.LAYOUTS.items():
        table = layout.table(runs, several)
        found = evaluation.sections(table, layout)
        write(Path(out_dir) / name, table, found, layout.title, layout.nothing)


MOST_WANTED = [
    *("Method", "AUS", "A_f^t (%)", "A_r^t (%)", "A^t (%)", "Time (s)", "A_f (%)", "Flag", "n"),
    *("A_r (%)", "AUS of means", "Touches", "Settings"),
]
"""The columns of these tables: where the width is too small for all, the first of them stay."""


def shown(runs_csv: str | Path, scenario: str, width: int) -> str:
    """The tables of one scenario from runs.csv, lines of at most `width` where they can be."""
    found = sections(scenario_table(read_runs(runs_csv), scenario), scenario)
    return render.plain(found, nothing(scenario), width, MOST_WANTED)
