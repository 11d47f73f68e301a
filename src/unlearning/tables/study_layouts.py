"""The layouts of the studies' tables."""

from __future__ import annotations

import pandas as pd

from unlearning.results.keys import GROUP, KEY
from unlearning.tables import study_tables as tables
from unlearning.tables.basis import of_attributions, of_features, of_scenario, of_shortcut, of_study
from unlearning.tables.fields import (
    AUS,
    CELLS,
    PERCENT,
    PROBABILITY,
    SCORE,
    TIME,
    Field,
    Row,
    count,
    interval,
    mean,
    number,
    of_ok,
    places,
    text,
)
from unlearning.tables.layout import Layout
from unlearning.tables.table import Column

MEASURE = {
    "log_density": "log density, percentile {percentile:.0f}",
    "margin": "margin",
    "reached": "assigned centroid reached",
    "destination_distance": "distance of the destinations",
}


def _accuracies(rows: pd.DataFrame) -> list[Field]:
    """The scenario's two accuracies and AUS."""
    if set(rows["scenario"]) == {"class_removal"}:
        names = {"A_r^t (%)": "retain_test_accuracy", "A_f^t (%)": "forget_test_accuracy"}
    else:
        names = {"A^t (%)": "test_accuracy", "A_f (%)": "forget_train_accuracy"}
    found = [of_ok(mean(header, PERCENT, metric)) for header, metric in names.items()]
    return [*found, AUS]


def _difference(header: str) -> Field:
    return interval(header, "difference", "difference_low", "difference_high", signed=True)


def _quantity(row: Row) -> str:
    """`forget, duck`; of a test `retain, duck − oracle` or `forget − retain, duck`."""
    if not row["against"]:
        return row["quantity"]
    (part, model), (other_part, other) = (row[k].split(", ") for k in ("quantity", "against"))
    return f"{part}, {model} − {other}" if part == other_part else f"{part} − {other_part}, {model}"


def _mean_of_measure(row: Row) -> str:
    form = places(2 if row["measure"] == "log_density" else 3)
    return form.show(row["mean"], row["sd"])


def _features(rows: pd.DataFrame) -> list[Field]:
    def measure(row: Row) -> str:
        return MEASURE.get(row["measure"], row["measure"]).format(**row)

    return [
        Field(Column("Measure"), measure),
        Field(Column("Quantity"), _quantity),
        Field(Column("Mean", "3 decimals", "", "mean", "sd", "n"), _mean_of_measure),
        interval("Difference [95 %]", "difference", "low", "high", signed=True),
        number("p", PROBABILITY, "p"),
        number("Mann–Whitney p", PROBABILITY, "rank_sum_p"),
        number("rank-biserial", places(2), "rank_biserial"),
        number("Wilcoxon p", PROBABILITY, "signed_rank_p"),
        number("matched rank-biserial", places(2), "signed_rank_effect"),
        count("n", "n"),
        text("Generalises to", "over"),
    ]


def _attributions(rows: pd.DataFrame) -> list[Field]:
    return [
        text("Output"),
        text("Pair"),
        number("r", SCORE, "mean", "sd", "n"),
        count("n images", "n"),
        count("undefined", "undefined"),
        interval("Over models [95 %]", "group_mean", "group_low", "group_high", signed=True),
        number("p", PROBABILITY, "p"),
        number("n models", places(0), "groups"),
        text("Generalises to", "over"),
    ]


_SHORTCUT = {
    "Test accuracy (%)": "test_accuracy",
    "Patched as source (%)": "patched_source",
    "Patched as label (%)": "patched_label",
    "Strength (points)": "strength",
    "SHAP in patch (%)": "attribution_mass",
    "Patch area (%)": "patch_area",
    "Poisoned as label (%)": "poisoned_accuracy",
}


def _shortcut(rows: pd.DataFrame) -> list[Field]:
    shares = [mean(header, PERCENT, name) for header, name in _SHORTCUT.items()]
    return [text("Method"), *shares, count("n", "seeds")]


def _classes(rows: pd.DataFrame) -> list[Field]:
    return [
        count("Classes removed", "classes_removed"),
        text("Method"),
        *_accuracies(rows),
        _difference("AUS: duck − fine_tuning [95 %]"),
        number("pairs", places(0), "pairs"),
        text("Generalises to", "difference_over"),
        TIME,
        CELLS,
    ]


def _ablation(rows: pd.DataFrame) -> list[Field]:
    return [
        text("Variant", "method"),
        *_accuracies(rows),
        _difference("AUS: variant − duck [95 %]"),
        number("Holm p", PROBABILITY, "p_holm"),
        number("pairs", places(0), "pairs"),
        text("Generalises to", "difference_over"),
        TIME,
        CELLS,
    ]


def _architectures(rows: pd.DataFrame) -> list[Field]:
    several = rows.groupby("arch")["experiment"].nunique().max() > 1

    def arch(row: Row) -> str:
        return f"{row['arch']}, {row['experiment']}" if several else row["arch"]

    return [
        Field(Column("Architecture"), arch),
        text("Method"),
        *_accuracies(rows),
        TIME,
        CELLS,
    ]


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

_LAYOUTS = (
    Layout(
        "feature_space",
        "Feature space",
        "features",
        tables.feature_space_table,
        _features,
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
        "{title}: {dataset}, {arch}, {scenario}, {layer} layer",
        [*KEY, "layer"],
        left=2,
        by=(*KEY, "layer", "measure", "part", "model", "percentile"),
        rests=of_features,
    ),
    Layout(
        "attributions",
        "Attributions",
        "attributions",
        tables.attributions_table,
        _attributions,
        "Pearson correlation r of two models' SHAP maps of one image: for the output of its true "
        "class, or of the class that it was assigned to. Mean ± sample standard deviation over "
        "n images; undefined: images with a constant map. The row with − is paired by image; over "
        "models takes the mean of each forget set and training seed, whose images share their "
        f"models, as one value: interval and p are {_CROSSED}.",
        "No attribution in this run",
        "{title}: {dataset}, {arch}, {scenario}",
        left=2,
        by=(*KEY, "output", "pair"),
        rests=of_attributions,
    ),
    Layout(
        "shortcut",
        "Shortcut",
        "shortcut",
        tables.shortcut_table,
        _shortcut,
        "Some training images of the source class carry a patch and a wrong label, and are to be "
        "forgotten. Patched as source, as label: test images of the source class with the patch, "
        "predicted as either. Strength: patched less clean images predicted as the label. SHAP in "
        "patch: share of the absolute attribution for the label inside the patch; by chance it is "
        "the patch area. Poisoned as label: poisoned training images that are still answered with "
        "the label. The oracle never saw them. Mean ± sample standard deviation over n training "
        "seeds.",
        "No shortcut in this run",
        "{title}: {dataset}, {arch}, source class {source}, labelled class {label}",
        [*GROUP, "source", "label"],
        by=(*GROUP, "source", "label", "method", "measure"),
        rests=of_shortcut,
    ),
    Layout(
        "multiple_classes",
        "Many classes at once",
        "studies",
        tables.multiple_classes_table,
        _classes,
        f"{_CELLS} Forget sets of one size differ in the classes drawn and may share some. "
        f"Differences of AUS are {_PAIRED}.",
        "No removal of several classes in this run",
        "{title}: {dataset}, {arch}",
        GROUP,
        left=2,
        study="multiple_classes",
        label=lambda row: f"{row['method']} ({row['classes_removed']} removed)",
        by=(*KEY, "classes_removed", "method"),
        rests=of_study(tables.RIVAL),
    ),
    Layout(
        "ablation",
        "Ablation",
        "studies",
        tables.ablation_table,
        _ablation,
        f"DUCK with one choice changed at a time. {_CELLS} Differences of AUS are {_PAIRED}; p is "
        "Holm-adjusted over the variants of a section.",
        "No ablation in this run",
        "{title}: {dataset}, {arch}, {scenario}",
        study="ablation",
        rests=of_study(tables.BASELINE),
    ),
    Layout(
        "architectures",
        "Architectures",
        "studies",
        tables.architectures_table,
        _architectures,
        _CELLS,
        "No comparison of architectures in this run",
        "{title}: {dataset}, {scenario}",
        ["dataset", "scenario"],
        left=2,
        study="architectures",
        label=lambda row: f"{row['arch']}, {row['method']}",
        rests=of_scenario,
    ),
)
LAYOUTS = {layout.name: layout for layout in _LAYOUTS}
