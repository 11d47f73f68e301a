"""The layouts of the tables of attacks, oracle distance, statistics, variance and ensembles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from unlearning.config.elsewhere import GIVEN
from unlearning.tables import evaluation_tables as tables
from unlearning.tables.basis import of_aus, of_ensembles, of_statistics
from unlearning.tables.fields import (
    PERCENT,
    PROBABILITY,
    ROOT,
    SCORE,
    Field,
    Row,
    count,
    interval,
    mean,
    number,
    places,
    text,
)
from unlearning.tables.layout import Layout
from unlearning.tables.table import Column

UNKNOWN_MEMBERS = (
    "The original was trained elsewhere, and on which images is not known here: those that count "
    "as members may have been left out, and those that do not may have been learned."
)
"""Of a table of membership inference on a model that was made elsewhere."""


def _membership(rows: pd.DataFrame) -> list[Field]:
    models = int(rows["shadow_models_mean"].max())
    auc = f"LiRA AUC [95 %] ({models} shadow models)"
    return [
        text("Method"),
        interval(auc, "lira_auc_mean", "lira_auc_low", "lira_auc_high"),
        mean("TPR at 1 % FPR (%)", PERCENT, "lira_tpr_at_1_percent"),
        mean("TPR at 0.1 % FPR (%)", PERCENT, "lira_tpr_at_01_percent"),
        mean("Balanced accuracy (%)", PERCENT, "lira_balanced_accuracy"),
        mean("LiRA offline AUC", SCORE, "lira_offline_auc"),
        mean("Released attack AUC", SCORE, "released_attack_auc"),
        mean("SVC F1 (%)", PERCENT, "svc_f1"),
        mean("|F1 − 50| (%)", PERCENT, "svc_chance_distance"),
        count("n", "lira_auc_n"),
    ]


def _distance(rows: pd.DataFrame) -> list[Field]:
    return [
        text("Method"),
        mean("JS on D_f", SCORE, "js_forget"),
        mean("JS on D_r", SCORE, "js_retain"),
        mean("JS on D^t", SCORE, "js_test"),
        mean("L2 on D_f", SCORE, "l2_forget"),
        mean("L2 on D_r", SCORE, "l2_retain"),
        mean("L2 on D^t", SCORE, "l2_test"),
        mean("Agreement on D_f (%)", PERCENT, "agreement_forget"),
        mean("Agreement on D^t (%)", PERCENT, "agreement_test"),
        mean("Accuracy gap (points)", PERCENT, "accuracy_gap"),
        mean("CKA on D_f", SCORE, "cka_forget"),
        mean("CKA on D^t", SCORE, "cka_test"),
        mean("Linear probe (%)", PERCENT, "probe_accuracy"),
        mean("Steps to relearn", places(1), "relearn_steps"),
        Field(Column("n", "count", value="js_forget_n"), _measured),
    ]


def _measured(row: Row) -> str:
    """The cells beside an oracle, or without any those that learned again."""
    return str(row["js_forget_n"] or row["relearn_steps_n"])


def _statistics(rows: pd.DataFrame) -> list[Field]:
    """The columns of each metric side by side; n and reach are those of the first."""
    metrics = list(dict.fromkeys(rows["metric"]))
    found = [text("Method")]
    for metric in metrics:
        name = {"aus": "AUS", "js_forget": "JS on D_f"}[metric]
        found += [
            interval(f"{name} [95 %]", "mean", "low", "high", part=metric),
            number(f"{name}, one original", SCORE, "paper_mean", "paper_sd", "paper_n", metric),
            number(f"{name} − DUCK", SCORE, "difference", part=metric),
            number(f"{name}: Holm p", PROBABILITY, "p_holm", part=metric),
            text(f"{name}: verdict", "verdict", part=metric),
            number(f"{name}: rank", places(1), "rank", part=metric),
        ]
    first = metrics[0]
    return [*found, count("n", "n", part=first), text("Generalises to", "over", part=first)]


def _variance(rows: pd.DataFrame) -> list[Field]:
    what = "class" if set(rows["scenario"]) == {"class_removal"} else "forget set"
    return [
        text("Method"),
        number("training seed", ROOT, "train_seed"),
        number(what, ROOT, "split"),
        number(f"training seed x {what}", ROOT, "interaction"),
        number("unlearning seed", ROOT, "unlearn_seed"),
        count("n", "cells"),
    ]


def _ensembles(rows: pd.DataFrame) -> list[Field]:
    return [
        text("Method"),
        mean("KLOM on D_f", places(2), "klom_forget"),
        mean("KLOM on D_r", places(2), "klom_retain"),
        mean("KLOM on D^t", places(2), "klom_test"),
        mean("U-LiRA AUC", SCORE, "u_lira_auc"),
        mean("worst image", SCORE, "u_lira_worst_auc"),
        number("models", places(0), "models"),
    ]


def _known(fields: Callable[[pd.DataFrame], list[Field]]) -> Callable[[pd.DataFrame], list[Field]]:
    """The columns but those of metrics that no row of the section has."""
    return lambda rows: [replace(one, optional=True) for one in fields(rows)]


_MEANS = "Mean ± sample standard deviation over n cells (forget set and training seed)"

_LAYOUTS = (
    Layout(
        "membership",
        "Membership inference",
        "runs",
        tables.membership_table,
        _known(_membership),
        "Whether an attacker tells forgotten training images from test images of the same kind "
        "(class removal: of the removed classes). An AUC of 0.5 is chance; the oracle, which never "
        f"saw the forgotten images, is the level to reach. {_MEANS}; the interval of LiRA's AUC "
        "is over the images, for these very models (DeLong; cells of one forget set share them). "
        "TPR at a FPR below one over the number of test images is not resolved and shown as –. "
        "F1 is micro-averaged; 50 is chance.",
        "No attack in this run",
        notes=lambda rows: [UNKNOWN_MEMBERS] if GIVEN in set(rows.get("original", ())) else [],
    ),
    Layout(
        "oracle_distance",
        "Distance to the oracle",
        "runs",
        tables.distance_table,
        _known(_distance),
        "Each model beside the oracle of the same forget set and training seed. JS: "
        "Jensen-Shannon divergence of the softmax outputs in bits, L2: their Euclidean distance; "
        "0 is the oracle's own behaviour. Accuracy gap: mean absolute difference of the "
        "scenario's accuracies. CKA: linear, debiased, of the embeddings; 1 is the same up to "
        "rotation and scale. Linear probe: accuracy on the removed classes' test images of a "
        "logistic regression on the embeddings. Steps to relearn: until the forget accuracy is "
        f"within five points of the original's; the largest value means not within it. {_MEANS}.",
        "No distance to an oracle in this run",
    ),
    Layout(
        "statistics",
        "Statistics",
        "runs",
        tables.statistics_table,
        _statistics,
        "Mean over n ok cells (forget set and training seed), which are crossed: interval and p "
        "are the more cautious of Student's t over forget sets (classes) and over training seeds, "
        "and hold for those of which there are several. One original: the paper's convention, "
        "mean ± sample standard deviation over forget sets at the first training seed. − DUCK: "
        "mean paired difference over the shared cells; p: Holm-adjusted over the methods; verdict "
        "at 0.05. Rank: among the methods that are ok in every cell, 1 is best (highest AUS, "
        "lowest JS); mean over forget sets with seeds averaged, of one forget set over seeds.",
        "No ok cell in this run",
        beside="metric",
        rests=of_statistics,
    ),
    Layout(
        "variance",
        "What AUS varies with",
        "runs",
        tables.variance_table,
        _variance,
        "Standard deviations of the variance components of AUS (method of moments for a crossed "
        "grid; a negative estimate is 0). A factor with one level has none (–). With one "
        "unlearning seed, its share is in the interaction.",
        "No ok cell in this run",
        rests=of_aus,
    ),
    Layout(
        "ensembles",
        "Several models of one forget set",
        "ensembles",
        tables.ensemble_table,
        _ensembles,
        "KLOM: KL divergence, in nats, between the oracles' and the unlearned models' margins of "
        "an image, mean over the images. U-LiRA: AUC of telling unlearned models from oracles by "
        "an image's margin, leave one out over the training seeds; worst image: the largest AUC of "
        "a single image, which is high by chance alone with few models. Mean ± sample standard "
        "deviation over forget sets.",
        "No forget set in this run has models of enough training seeds",
        rests=of_ensembles,
    ),
)
LAYOUTS = {layout.name: layout for layout in _LAYOUTS}
