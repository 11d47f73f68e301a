"""The printed tables of attacks, oracle distance, statistics, variance and ensembles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from unlearning.config.elsewhere import GIVEN
from unlearning.tables import evaluation_tables as tables
from unlearning.tables.render import Section, plus_minus, probability

Row = Mapping[str, Any]
UNKNOWN_MEMBERS = (
    "The original was trained elsewhere, and on which images is not known here: those that count "
    "as members may have been left out, and those that do not may have been learned."
)
"""Of a table of membership inference on a model that was made elsewhere."""


@dataclass(frozen=True)
class Layout:
    """A table: its frame from runs.csv and ensembles.csv, its columns as text, what they mean.

    columns: a function of the table's rows that gives headers and how a row prints under
    each. nothing: the sentence that stands there if the table is empty.
    """

    title: str
    table: Callable[[pd.DataFrame, pd.DataFrame | None], pd.DataFrame]
    columns: Callable[[pd.DataFrame], dict[str, Callable[[Row], str]]]
    caption: str
    nothing: str


def sections(table: pd.DataFrame, layout: Layout) -> list[Section]:
    """The printed tables of a layout: one per experiment and scenario."""
    found = []
    for (experiment, dataset, arch, scenario), rows in table.groupby(tables.KEY, sort=False):
        system = f"{dataset}, {arch}"
        if table.groupby(["dataset", "arch", "scenario"])["experiment"].nunique().max() > 1:
            system += f", experiment {experiment}"
        title = f"{layout.title}, {scenario.replace('_', ' ')}: {system}"
        shown = layout.columns(rows)
        cells = [{h: show(row) for h, show in shown.items()} for row in _rows(rows)]
        notes = [UNKNOWN_MEMBERS] if GIVEN in set(rows.get("original", ())) else []
        found.append(Section(title, layout.caption, pd.DataFrame(cells), notes, left=1))
    return found


def _rows(rows: pd.DataFrame) -> list[dict]:
    """One mapping a printed row; of the statistics, a method's metrics side by side."""
    if "metric" not in rows:
        return rows.to_dict("records")
    found: dict[str, dict] = {}
    for row in rows.to_dict("records"):
        found.setdefault(row["method"], {"method": row["method"]})[row["metric"]] = row
    return list(found.values())


def _mean(metric: str, places: int = 3, factor: float = 1.0) -> Callable[[Row], str]:
    return lambda row: plus_minus(
        factor * row[f"{metric}_mean"], factor * row[f"{metric}_sd"], places
    )


def _method(row: Row) -> str:
    return row["method"]


def _span(value: float, low: float, high: float, places: int = 3) -> str:
    """`0.512 [0.480, 0.544]`; a value without an interval alone, nothing known –."""
    if math.isnan(value):
        return "–"
    ends = "" if math.isnan(low) else f" [{low:.{places}f}, {high:.{places}f}]"
    return f"{value:.{places}f}{ends}"


def _known(rows: pd.DataFrame, columns: dict) -> dict:
    """The columns but those of metrics that no row of the section has."""
    return {
        header: show
        for header, show in columns.items()
        if any(show(row) != "–" for row in rows.to_dict("records"))
    }


def _membership_columns(rows: pd.DataFrame) -> dict[str, Callable[[Row], str]]:
    models = int(rows["shadow_models_mean"].max())
    found = {
        "Method": _method,
        f"LiRA AUC [95 %] ({models} shadow models)": lambda row: _span(
            row["lira_auc_mean"], row["lira_auc_low"], row["lira_auc_high"]
        ),
        "TPR at 1 % FPR (%)": _mean("lira_tpr_at_1_percent", 1, 100),
        "TPR at 0.1 % FPR (%)": _mean("lira_tpr_at_01_percent", 1, 100),
        "Balanced accuracy (%)": _mean("lira_balanced_accuracy", 1, 100),
        "LiRA offline AUC": _mean("lira_offline_auc"),
        "Released attack AUC": _mean("released_attack_auc"),
        "SVC F1 (%)": _mean("svc_f1", 1, 100),
        "|F1 − 50| (%)": _mean("svc_chance_distance", 1, 100),
        "n": lambda row: str(row["lira_auc_n"]),
    }
    return _known(rows, found)


def _distance_columns(rows: pd.DataFrame) -> dict[str, Callable[[Row], str]]:
    found = {
        "Method": _method,
        "JS on D_f": _mean("js_forget"),
        "JS on D_r": _mean("js_retain"),
        "JS on D^t": _mean("js_test"),
        "L2 on D_f": _mean("l2_forget"),
        "L2 on D_r": _mean("l2_retain"),
        "L2 on D^t": _mean("l2_test"),
        "Agreement on D_f (%)": _mean("agreement_forget", 1, 100),
        "Agreement on D^t (%)": _mean("agreement_test", 1, 100),
        "Accuracy gap (points)": _mean("accuracy_gap", 1, 100),
        "CKA on D_f": _mean("cka_forget"),
        "CKA on D^t": _mean("cka_test"),
        "Linear probe (%)": _mean("probe_accuracy", 1, 100),
        "Steps to relearn": _mean("relearn_steps", 1),
        "n": lambda row: str(row["js_forget_n"] or row["relearn_steps_n"]),  # without an oracle
    }
    return _known(rows, found)


def _statistics_columns(rows: pd.DataFrame) -> dict[str, Callable[[Row], str]]:
    columns: dict[str, Callable[[Row], str]] = {"Method": _method}
    labels = {"aus": "AUS", "js_forget": "JS on D_f"}
    for metric in dict.fromkeys(rows["metric"]):
        for header, show in _STATISTICS.items():
            columns[header.format(labels[metric])] = _of(metric, show)
    first = rows["metric"].iloc[0]
    columns["n"] = _of(first, lambda row: str(row["n"]))
    columns["Generalises to"] = _of(first, lambda row: row["over"] or "–")
    return columns


def _of(metric: str, show: Callable[[Row], str]) -> Callable[[Row], str]:
    return lambda row: show(row[metric]) if metric in row else "–"


_STATISTICS: dict[str, Callable[[Row], str]] = {
    "{} [95 %]": lambda row: _span(row["mean"], row["low"], row["high"]),
    "{}, one original": lambda row: plus_minus(row["paper_mean"], row["paper_sd"], 3),
    "{} − DUCK": lambda row: plus_minus(row["difference"], math.nan, 3),
    "{}: Holm p": lambda row: probability(row["p_holm"]),
    "{}: verdict": lambda row: row["verdict"] if isinstance(row["verdict"], str) else "–",
    "{}: rank": lambda row: plus_minus(row["rank"], math.nan, 1),
}


def _root(name: str) -> Callable[[Row], str]:
    return lambda row: plus_minus(math.sqrt(row[name]), math.nan, 4)


def _variance_columns(rows: pd.DataFrame) -> dict[str, Callable[[Row], str]]:
    what = "class" if set(rows["scenario"]) == {"class_removal"} else "forget set"
    found = {
        "Method": _method,
        "training seed": _root("train_seed"),
        what: _root("split"),
        f"training seed x {what}": _root("interaction"),
        "unlearning seed": _root("unlearn_seed"),
        "n": lambda row: str(row["cells"]),
    }
    return found


def _ensemble_columns(rows: pd.DataFrame) -> dict[str, Callable[[Row], str]]:
    return {
        "Method": _method,
        "KLOM on D_f": _mean("klom_forget", 2),
        "KLOM on D_r": _mean("klom_retain", 2),
        "KLOM on D^t": _mean("klom_test", 2),
        "U-LiRA AUC": _mean("u_lira_auc"),
        "worst image": _mean("u_lira_worst_auc"),
        "models": lambda row: plus_minus(row["models"], math.nan, 0),
    }


_MEANS = "Mean ± sample standard deviation over n cells (forget set and training seed)"

LAYOUTS = {
    "membership": Layout(
        "Membership inference",
        lambda runs, _: tables.membership_table(runs),
        _membership_columns,
        "Whether an attacker tells forgotten training images from test images of the same kind "
        "(class removal: of the removed classes). An AUC of 0.5 is chance; the oracle, which never "
        f"saw the forgotten images, is the level to reach. {_MEANS}; the interval of LiRA's AUC "
        "is over the images, for these very models (DeLong; cells of one forget set share them). "
        "TPR at a FPR below one over the number of test images is not resolved and shown as –. "
        "F1 is micro-averaged; 50 is chance.",
        "No attack in this run",
    ),
    "oracle_distance": Layout(
        "Distance to the oracle",
        lambda runs, _: tables.distance_table(runs),
        _distance_columns,
        "Each model beside the oracle of the same forget set and training seed. JS: "
        "Jensen-Shannon divergence of the softmax outputs in bits, L2: their Euclidean distance; "
        "0 is the oracle's own behaviour. Accuracy gap: mean absolute difference of the "
        "scenario's accuracies. CKA: linear, debiased, of the embeddings; 1 is the same up to "
        "rotation and scale. Linear probe: accuracy on the removed classes' test images of a "
        "logistic regression on the embeddings. Steps to relearn: until the forget accuracy is "
        f"within five points of the original's; the largest value means not within it. {_MEANS}.",
        "No distance to an oracle in this run",
    ),
    "statistics": Layout(
        "Statistics",
        lambda runs, _: tables.statistics_table(runs),
        _statistics_columns,
        "Mean over n ok cells (forget set and training seed), which are crossed: interval and p "
        "are the more cautious of Student's t over forget sets (classes) and over training seeds, "
        "and hold for those of which there are several. One original: the paper's convention, "
        "mean ± sample standard deviation over forget sets at the first training seed. − DUCK: "
        "mean paired difference over the shared cells; p: Holm-adjusted over the methods; verdict "
        "at 0.05. Rank: among the methods that are ok in every cell, 1 is best (highest AUS, "
        "lowest JS); mean over forget sets with seeds averaged, of one forget set over seeds.",
        "No ok cell in this run",
    ),
    "variance": Layout(
        "What AUS varies with",
        lambda runs, _: tables.variance_table(runs),
        _variance_columns,
        "Standard deviations of the variance components of AUS (method of moments for a crossed "
        "grid; a negative estimate is 0). A factor with one level has none (–). With one "
        "unlearning seed, its share is in the interaction.",
        "No ok cell in this run",
    ),
    "ensembles": Layout(
        "Several models of one forget set",
        lambda _, several: tables.ensemble_table(several) if several is not None else _EMPTY,
        _ensemble_columns,
        "KLOM: KL divergence, in nats, between the oracles' and the unlearned models' margins of "
        "an image, mean over the images. U-LiRA: AUC of telling unlearned models from oracles by "
        "an image's margin, leave one out over the training seeds; worst image: the largest AUC of "
        "a single image, which is high by chance alone with few models. Mean ± sample standard "
        "deviation over forget sets.",
        "No forget set in this run has models of enough training seeds",
    ),
}
_EMPTY = pd.DataFrame(columns=tables.KEY)
