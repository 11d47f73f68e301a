"""The layouts of the tables of class and homogeneous removal.

A cell that is not `ok` keeps its row, its status and a footnote.
"""

from __future__ import annotations

import functools

import pandas as pd

from unlearning.config.elsewhere import GIVEN
from unlearning.metrics.aus import BY_CLASS, SCENARIOS
from unlearning.results.keys import GROUP
from unlearning.results.runs import nothing, scenario_table
from unlearning.tables import fields
from unlearning.tables.basis import of_scenario
from unlearning.tables.fields import AUS, CELLS, PERCENT, SCORE, TIME, Field, mean, of_ok, text
from unlearning.tables.layout import Layout, footnotes
from unlearning.tables.table import Column

MARKS = {
    "Settings": "Settings: published for this data set, or elsewhere for others; searched for this "
    "data set and network, or elsewhere; not searched: none was found, the published ones stand.",
    "Flag": "Below original: a lower mean AUS than that of doing nothing; stand-ins: not the "
    "published method whole, see below.",
}
"""Columns that are printed where a row has something in them, and what they say."""
NO_ORACLE = (
    "There is no oracle, so nothing is compared with retraining: without `training` in the config "
    "there are no oracles and no shadow models, and no distances and attacks that need them."
)
"""Of a table beside an original that was made elsewhere."""
AUS_OF_MEANS = [f"aus_of_means{part}" for part in ("", "_sd", "_n")]


def _fields(scenario: str, rows: pd.DataFrame) -> list[Field]:
    accuracies = {"A_r (%)": "retain_train_accuracy", "A_f (%)": "forget_train_accuracy"}
    if scenario in BY_CLASS:
        accuracies |= {"A_r^t (%)": "retain_test_accuracy", "A_f^t (%)": "forget_test_accuracy"}
    else:
        accuracies["A^t (%)"] = "test_accuracy"
    if scenario == "sample_removal":
        accuracies["A^t, mix of D_f (%)"] = "reweighted_test_accuracy"
        accuracies["Gap to it (points)"] = "reweighted_gap"
    return [
        text("Method"),
        text("Touches"),
        text("Settings", optional=True),
        *(of_ok(mean(head, PERCENT, metric)) for head, metric in accuracies.items()),
        AUS,
        of_ok(fields.number("AUS of means", SCORE, *AUS_OF_MEANS)),
        TIME,
        CELLS,
        Field(Column("Flag"), lambda row: row["flag"], optional=True),
    ]


def _notes(rows: pd.DataFrame) -> list[str]:
    """Of cells that are not ok, and of what was made elsewhere."""
    found = footnotes(rows, lambda row: row["method"])
    theirs = list(rows.loc[rows["settings"] == GIVEN, "method"])
    if theirs:
        found.append(f"{', '.join(theirs)}: made elsewhere, how and how fast is not known.")
    if "original" in theirs and "oracle" not in set(rows["method"]):
        found.append(NO_ORACLE)
    return found


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
    if scenario == "subclass_removal":
        what = (
            "Labels are super-classes, and the forgotten images are those of one sub-class. A_r, "
            "A_f: accuracy on the retained and the forgotten training images; A_r^t, A_f^t: the "
            "same on the test images. AUS, ours: (1 − (A_or − A_r^t)) / (1 + |A_f − A_f^t|), A_or "
            "being A_r^t of the original; "
        )
    if scenario == "sample_removal":
        what = (
            "Mix of D_f: A^t with each class weighted by its share among the forgotten images; the "
            f"gap to it: |A_f − that|. {what}"
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


def _half(row: fields.Row) -> str:
    return f", {row['test_half']} half of the test images" if row["test_half"] else ""


LAYOUTS = {
    scenario: Layout(
        name=scenario,
        title=scenario.replace("_", " ").capitalize(),
        file="runs",
        frame=functools.partial(scenario_table, scenario=scenario),
        fields=functools.partial(_fields, scenario),
        caption=functools.partial(_caption, scenario=scenario),
        nothing=nothing(scenario),
        heading="{title}: {dataset}, {arch}",
        keys=GROUP,
        tail=_half,
        left=2,
        notes=_notes,
        rests=of_scenario,
    )
    for scenario in SCENARIOS
}
MOST_WANTED = [
    *("Method", "AUS", "A_f^t (%)", "A_r^t (%)", "A^t (%)", "Gap to it (points)", "Time (s)"),
    *("A_f (%)", "A^t, mix of D_f (%)", "Flag", "n"),
    *("A_r (%)", "AUS of means", "Touches", "Settings"),
]
"""The columns of these tables: where the width is too small for all, the first of them stay."""
