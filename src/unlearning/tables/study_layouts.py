"""The printed tables of the studies: their columns as text, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from unlearning.results.keys import GROUP, KEY
from unlearning.tables import study_tables
from unlearning.tables.render import Section, percent, plus_minus, probability, score, seconds

Row = Mapping[str, Any]
Columns = Mapping[str, Callable[[Row], str]]
MEASURE = {
    "log_density": "log density, percentile {percentile:.0f}",
    "margin": "margin",
    "reached": "assigned centroid reached",
    "destination_distance": "distance of the destinations",
}


@dataclass(frozen=True)
class StudyLayout:
    """A printed table: a section for each value of `keys`, its columns, what they mean.

    columns: from a section's rows, headers and how a row prints under each; the first `left`
    are text. label: how a row is called in a footnote. nothing: the sentence if it is empty.
    """

    title: str
    keys: Sequence[str]
    columns: Callable[[pd.DataFrame], Columns]
    caption: str
    nothing: str
    left: int = 2
    label: Callable[[Row], str] = lambda row: row["method"]


def _plain(name: str) -> Callable[[Row], str]:
    return lambda row: str(row[name])


def _number(name: str, places: int = 3) -> Callable[[Row], str]:
    return lambda row: plus_minus(row[name], math.nan, places)


def _probability(name: str) -> Callable[[Row], str]:
    return lambda row: probability(row[name])


def _over(name: str) -> Callable[[Row], str]:
    return lambda row: row[name] if isinstance(row[name], str) and row[name] else "–"


def _difference(value: str, low: str = "", high: str = "") -> Callable[[Row], str]:
    """`+0.012 [-0.003, +0.027]`; without an interval the difference alone, unknown –."""

    def text(row: Row) -> str:
        if math.isnan(row[value]):
            return "–"
        ends = f" [{row[low]:+.3f}, {row[high]:+.3f}]" if low and not math.isnan(row[low]) else ""
        return f"{row[value]:+.3f}{ends}"

    return text


def _measured(metric: str, show: Callable[[float, float], str]) -> Callable[[Row], str]:
    """A metric of runs: its status where no cell is ok, † where some are not."""

    def text(row: Row) -> str:
        if row["n_ok"] == 0:
            return row["status"].replace("_", " ")
        found = show(row[f"{metric}_mean"], row[f"{metric}_sd"])
        return found if found == "–" or not row["status_note"] else f"{found} †"

    return text


def _count(row: Row) -> str:
    whole = row["n_ok"] == row["n_cells"]
    return str(row["n_ok"]) if whole else f"{row['n_ok']} of {row['n_cells']}"


def _accuracies(rows: pd.DataFrame) -> dict[str, Callable[[Row], str]]:
    """The scenario's two accuracies and AUS."""
    if set(rows["scenario"]) == {"class_removal"}:
        names = {"A_r^t (%)": "retain_test_accuracy", "A_f^t (%)": "forget_test_accuracy"}
    else:
        names = {"A^t (%)": "test_accuracy", "A_f (%)": "forget_train_accuracy"}
    found = {header: _measured(metric, percent) for header, metric in names.items()}
    return found | {"AUS": _measured("aus", score)}


_COSTS = {"Time (s)": _measured("unlearning_seconds", seconds), "n": _count}
_AUS_DIFFERENCE = _difference("difference", "difference_low", "difference_high")


def _quantity(row: Row) -> str:
    """`forget, duck`; of a test `retain, duck − oracle` or `forget − retain, duck`."""
    if not row["against"]:
        return row["quantity"]
    (part, model), (other_part, other) = (row[k].split(", ") for k in ("quantity", "against"))
    return f"{part}, {model} − {other}" if part == other_part else f"{part} − {other_part}, {model}"


def _feature_columns(rows: pd.DataFrame) -> Columns:
    def mean(row: Row) -> str:
        return plus_minus(row["mean"], row["sd"], 2 if row["measure"] == "log_density" else 3)

    return {
        "Measure": lambda row: MEASURE.get(row["measure"], row["measure"]).format(**row),
        "Quantity": _quantity,
        "Mean": mean,
        "Difference [95 %]": _difference("difference", "low", "high"),
        "p": _probability("p"),
        "Mann–Whitney p": _probability("rank_sum_p"),
        "rank-biserial": _number("rank_biserial", 2),
        "Wilcoxon p": _probability("signed_rank_p"),
        "matched rank-biserial": _number("signed_rank_effect", 2),
        "n": _plain("n"),
        "Generalises to": _over("over"),
    }


def _attribution_columns(rows: pd.DataFrame) -> Columns:
    return {
        "Output": _plain("output"),
        "Pair": _plain("pair"),
        "r": lambda row: plus_minus(row["mean"], row["sd"], 3),
        "n images": _plain("n"),
        "undefined": _plain("undefined"),
        "Over models [95 %]": _difference("group_mean", "group_low", "group_high"),
        "p": _probability("p"),
        "n models": _number("groups", 0),
        "Generalises to": _over("over"),
    }


_SHORTCUT = {
    "Test accuracy (%)": "test_accuracy",
    "Patched as source (%)": "patched_source",
    "Patched as label (%)": "patched_label",
    "Strength (points)": "strength",
    "SHAP in patch (%)": "attribution_mass",
    "Patch area (%)": "patch_area",
    "Poisoned as label (%)": "poisoned_accuracy",
}


def _share(name: str) -> Callable[[Row], str]:
    return lambda row: percent(row[f"{name}_mean"], row[f"{name}_sd"])


def _shortcut_columns(rows: pd.DataFrame) -> Columns:
    shares = {header: _share(name) for header, name in _SHORTCUT.items()}
    return {"Method": _plain("method"), **shares, "n": _plain("seeds")}


def _class_columns(rows: pd.DataFrame) -> Columns:
    return {
        "Classes removed": _plain("classes_removed"),
        "Method": _plain("method"),
        **_accuracies(rows),
        "AUS: duck − fine_tuning [95 %]": _AUS_DIFFERENCE,
        "pairs": _number("pairs", 0),
        "Generalises to": _over("difference_over"),
        **_COSTS,
    }


def _ablation_columns(rows: pd.DataFrame) -> Columns:
    return {
        "Variant": _plain("method"),
        **_accuracies(rows),
        "AUS: variant − duck [95 %]": _AUS_DIFFERENCE,
        "Holm p": _probability("p_holm"),
        "pairs": _number("pairs", 0),
        "Generalises to": _over("difference_over"),
        **_COSTS,
    }


def _architecture_columns(rows: pd.DataFrame) -> Columns:
    several = rows.groupby("arch")["experiment"].nunique().max() > 1
    return {
        "Architecture": lambda row: (
            f"{row['arch']}, {row['experiment']}" if several else row["arch"]
        ),
        "Method": _plain("method"),
        **_accuracies(rows),
        **_COSTS,
    }


_CELLS = (
    "A_r^t, A_f^t: accuracy on the retained and the removed classes' test images; in homogeneous "
    "removal A^t on the test images, A_f on the forgotten training images. Mean ± sample standard "
    "deviation over n cells (forget set and training seed); a value without ± rests on one. AUS "
    "is computed per run and averaged. Time: the unlearning steps alone; for the oracle, its "
    "training. Cells whose status is not ok are named, never averaged: a word in place of numbers "
    "where no cell is ok, † where some are not."
)
_CROSSED = (
    "the more cautious of Student's t over forget sets (classes) and over training seeds, which "
    "holds for those of which there are several"
)
_PAIRED = f"paired by forget set and training seed; their 95 % interval and p are {_CROSSED}"

LAYOUTS = {
    "feature_space": StudyLayout(
        "Feature space",
        [*KEY, "layer"],
        _feature_columns,
        "One value a removed class and training seed: forget is the removed class's, retain the "
        "mean over the other classes. Mean ± sample standard deviation over n of them; of log "
        "densities (natural logarithm) the largest percentile. Margin: cosine distance to the "
        "nearest other centroid less that to the own. Assigned centroid reached: share of the "
        "forgotten images whose nearest retained centroid is the one that was nearest in the "
        "original. Distance of the destinations: total variation between the shares of forgotten "
        "images at each retained centroid and the oracle's predictions of them. A row with − is "
        "a test over the n classes and seeds that have both values, two-sided and not corrected "
        f"for the number of rows: interval and p are {_CROSSED}. Over classes, seeds averaged: "
        "Mann–Whitney with the rank-biserial, Wilcoxon's signed ranks with the matched-pairs "
        "rank-biserial; an effect is positive where the first is larger.",
        "No feature space in this run",
    ),
    "attributions": StudyLayout(
        "Attributions",
        KEY,
        _attribution_columns,
        "Pearson correlation r of two models' SHAP maps of one image: for the output of its true "
        "class, or of the class that it was assigned to. Mean ± sample standard deviation over "
        "n images; undefined: images with a constant map. The row with − is paired by image; over "
        "models takes the mean of each forget set and training seed, whose images share their "
        f"models, as one value: interval and p are {_CROSSED}.",
        "No attribution in this run",
    ),
    "shortcut": StudyLayout(
        "Shortcut",
        [*GROUP, "source", "label"],
        _shortcut_columns,
        "Some training images of the source class carry a patch and a wrong label, and are to be "
        "forgotten. Patched as source, as label: test images of the source class with the patch, "
        "predicted as either. Strength: patched less clean images predicted as the label. SHAP in "
        "patch: share of the absolute attribution for the label inside the patch; by chance it is "
        "the patch area. Poisoned as label: poisoned training images that are still answered with "
        "the label. The oracle never saw them. Mean ± sample standard deviation over n training "
        "seeds.",
        "No shortcut in this run",
        left=1,
    ),
    "multiple_classes": StudyLayout(
        "Many classes at once",
        GROUP,
        _class_columns,
        f"{_CELLS} Forget sets of one size differ in the classes drawn and may share some. "
        f"Differences of AUS are {_PAIRED}.",
        "No removal of several classes in this run",
        label=lambda row: f"{row['method']} ({row['classes_removed']} removed)",
    ),
    "ablation": StudyLayout(
        "Ablation",
        KEY,
        _ablation_columns,
        f"DUCK with one choice changed at a time. {_CELLS} Differences of AUS are {_PAIRED}; p is "
        "Holm-adjusted over the variants of a section.",
        "No ablation in this run",
        left=1,
    ),
    "architectures": StudyLayout(
        "Architectures",
        ["dataset", "scenario"],
        _architecture_columns,
        _CELLS,
        "No comparison of architectures in this run",
        label=lambda row: f"{row['arch']}, {row['method']}",
    ),
}

TABLES = {
    "feature_space": (study_tables.feature_space_table, "features"),
    "attributions": (study_tables.attributions_table, "attributions"),
    "shortcut": (study_tables.shortcut_table, "shortcut"),
    "multiple_classes": (study_tables.multiple_classes_table, "studies"),
    "ablation": (study_tables.ablation_table, "studies"),
    "architectures": (study_tables.architectures_table, "studies"),
}
"""Each table's frame, and the file that it is made from."""

LABEL = {"source": "source class {}", "label": "labelled class {}", "layer": "{} layer"}
"""How a section's title says what it is of."""


def sections(table: pd.DataFrame, layout: StudyLayout) -> list[Section]:
    """The printed tables of a frame of `study_tables`."""
    names = [key for key in layout.keys if key != "experiment"]
    found = []
    for _, rows in table.groupby(list(layout.keys), sort=False):
        first = rows.iloc[0]
        parts = [_said(name, first[name]) for name in names]
        same = (table[names] == first[names]).all(axis=1)
        if "experiment" in layout.keys and table.loc[same, "experiment"].nunique() > 1:
            parts.append(f"experiment {first['experiment']}")
        shown = layout.columns(rows)
        cells = [{h: show(row) for h, show in shown.items()} for row in rows.to_dict("records")]
        title = f"{layout.title}: {', '.join(parts)}"
        notes = _footnotes(rows, layout.label)
        found.append(Section(title, layout.caption, pd.DataFrame(cells), notes, layout.left))
    return found


def _said(name: str, value: str) -> str:
    if name == "scenario":
        return value.replace("_", " ")
    return LABEL.get(name, "{}").format(value)


def _footnotes(rows: pd.DataFrame, label: Callable[[Row], str]) -> list[str]:
    """A line for each note on cells that are not ok, with every row that it holds for."""
    named: dict[tuple, list[str]] = {}
    for row in rows.to_dict("records"):
        if row.get("status_note"):
            note = ("† " if row["n_ok"] else "", row["status_note"])
            named.setdefault(note, []).append(label(row))
    return [f"{mark}{', '.join(names)}: {note}." for (mark, note), names in named.items()]
