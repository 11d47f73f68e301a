"""The studies' tables as frames at full precision: what DUCK does inside, and where else it holds.

`results/study_files.py` reads the tidy CSVs that they are made from; `study_layouts` prints
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from unlearning.methods import ORIGINALS, REFERENCES
from unlearning.metrics.aus import SCENARIOS
from unlearning.metrics.names import SHORTCUT
from unlearning.results.keys import CELLS, GROUP, KEY
from unlearning.results.runs import by_method, scenario_table
from unlearning.stats.comparisons import paired, rank_sum, signed_rank
from unlearning.stats.crossed import blocks
from unlearning.stats.summary import summarise
from unlearning.tables.evaluation_tables import BASELINE

MODELS = ("original", "duck", "oracle")
RIVAL = "fine_tuning"
TESTED = ("log_density", "silhouette", "margin")
"""The measures of features.csv that forgotten and retained classes both have."""
DUCK_PAIR, ORIGINAL_PAIR = "duck~oracle", "original~oracle"
PAIR_DIFFERENCE = f"{DUCK_PAIR} − {ORIGINAL_PAIR}"


def feature_space_table(features: pd.DataFrame) -> pd.DataFrame:
    """Means of each measure, and tests between models and parts: a row each.

    One value a removed class and training seed. `quantity` is a part and model; a row with
    `against`, another of them, is a test over the `n` classes and seeds that have both values:
    `difference` of the means with its 95 % interval `low`, `high`, `p`, `verdict` and `over`
    (`comparisons.paired`, not corrected for the number of rows); `rank_sum_p` and `rank_biserial`
    (Mann–Whitney), `signed_rank_p` and `signed_rank_effect` (Wilcoxon) over the classes, seeds
    averaged (`crossed.blocks`). log_density at the largest percentile.
    """
    columns = [*KEY, "layer", "measure", "percentile", "quantity", "against", *FEATURE_NUMBERS]
    rows = []
    for key, group in features.groupby([*KEY, "layer", "measure"], sort=False):
        largest = max(group["percentile"], key=lambda text: float(text or "-inf"))
        identity = dict(zip([*KEY, "layer", "measure"], key, strict=True))
        identity["percentile"] = float(largest or "nan")
        shown = group[group["percentile"] == largest]
        values = {name: v.set_index(CELLS)["value"] for name, v in shown.groupby(["part", "model"])}
        rows += [identity | row for row in _quantities(values)]
        if identity["measure"] in TESTED:
            rows += [identity | row for row in _tests(values)]
    return pd.DataFrame(rows, columns=columns)


FEATURE_NUMBERS = [
    *("mean", "sd", "n", "difference", "low", "high", "p", "verdict", "over"),
    *("rank_sum_p", "rank_biserial", "signed_rank_p", "signed_rank_effect"),
]


def _quantities(values: Mapping[tuple[str, str], pd.Series]) -> Iterator[dict]:
    for part in ("forget", "retain"):
        for model in MODELS:
            if (part, model) in values:
                found = summarise(values[part, model].tolist(), {})
                numbers = {"mean": found.mean, "sd": found.sd, "n": found.n}
                yield {"quantity": f"{part}, {model}", "against": "", **numbers}


def _tests(values: Mapping[tuple[str, str], pd.Series]) -> Iterator[dict]:
    pairs = [((part, "duck"), (part, "oracle")) for part in ("retain", "forget")]
    pairs += [(("forget", model), ("retain", model)) for model in MODELS]
    for one, other in pairs:
        if one in values and other in values:
            both = pd.concat([values[one], values[other]], axis=1, keys=["x", "y"]).dropna()
            test, (units, _) = paired(both, "y").loc["x"], blocks(both)
            ranks, signs = rank_sum(units["x"], units["y"]), signed_rank(units["x"], units["y"])
            yield {
                "quantity": ", ".join(one),
                "against": ", ".join(other),
                **test[["n", "difference", "low", "high", "p", "verdict", "over"]],
                "rank_sum_p": ranks.p,
                "rank_biserial": ranks.effect,
                "signed_rank_p": signs.p,
                "signed_rank_effect": signs.effect,
            }


def attributions_table(attributions: pd.DataFrame) -> pd.DataFrame:
    """Correlations of attribution maps by output and pair of models, and their difference.

    `mean`, `sd` over `n` images; `undefined` images have a constant map. The row PAIR_DIFFERENCE
    is paired by image; `group_mean`, its 95 % interval `group_low`, `group_high`, `p` and `over`
    are over the `groups`, the means of each forget set and training seed, whose images share
    their models (`comparisons.paired`).
    """
    rows = []
    for key, group in attributions.groupby([*KEY, "output"], sort=False):
        identity = dict(zip([*KEY, "output"], key, strict=True))
        values = group.pivot(index=[*CELLS, "image"], columns="pair", values="correlation")
        for pair in dict.fromkeys(group["pair"]):
            undefined = int(group.loc[group["pair"] == pair, "correlation"].isna().sum())
            rows.append(identity | _correlation(pair, values[pair]) | {"undefined": undefined})
        if {DUCK_PAIR, ORIGINAL_PAIR} <= set(values):
            rows.append(identity | _pair_difference(values[[DUCK_PAIR, ORIGINAL_PAIR]]))
    numbers = ["mean", "sd", "n", "undefined"]
    groups = ["group_mean", "group_low", "group_high", "groups", "p", "over"]
    return pd.DataFrame(rows, columns=[*KEY, "output", "pair", *numbers, *groups])


def _correlation(pair: str, values: pd.Series) -> dict:
    found = summarise(values.tolist(), {})
    return {"pair": pair, "mean": found.mean, "sd": found.sd, "n": found.n}


def _pair_difference(values: pd.DataFrame) -> dict:
    both = values.dropna()
    groups = paired(both.groupby(level=CELLS, sort=False).mean(), ORIGINAL_PAIR).loc[DUCK_PAIR]
    found = _correlation(PAIR_DIFFERENCE, both[DUCK_PAIR] - both[ORIGINAL_PAIR])
    found |= {"undefined": len(values) - len(both), "groups": int(groups["n"])}
    return found | {
        **groups[["p", "over"]],
        "group_mean": groups["difference"],
        "group_low": groups["low"],
        "group_high": groups["high"],
    }


def shortcut_table(shortcut: pd.DataFrame) -> pd.DataFrame:
    """Mean, sd and n over training seeds of each measure SHORTCUT, a row a method; `seeds`."""
    key = [*GROUP, "source", "label"]
    rows = []
    for name, group in shortcut.groupby(key, sort=False):
        for method, values in by_method(group):
            row = dict(zip(key, name, strict=True)) | {"method": method}
            row["seeds"] = values["train_seed"].nunique()
            for measure in SHORTCUT:
                found = summarise(values.loc[values["measure"] == measure, "value"].tolist(), {})
                row |= {f"{measure}_mean": found.mean, f"{measure}_sd": found.sd}
                row[f"{measure}_n"] = found.n
            rows.append(row)
    parts = [f"{measure}_{part}" for measure in SHORTCUT for part in ("mean", "sd", "n")]
    return pd.DataFrame(rows, columns=[*key, "method", "seeds", *parts])


DIFFERENCE = ["difference", "difference_low", "difference_high", "pairs", "p", "difference_over"]


def multiple_classes_table(studies: pd.DataFrame) -> pd.DataFrame:
    """`runs.scenario_table` for each number of classes removed, and AUS of duck − fine_tuning.

    The difference, with its 95 % interval and p (`comparisons.paired`), stands in duck's row; it
    is over the forget sets and training seeds that have both.
    """
    cells = studies[studies["study"] == "multiple_classes"]
    found = []
    for _, system in cells.groupby(GROUP, sort=False):
        for count, group in system.groupby("classes_removed"):
            table = scenario_table(group, "class_removal").assign(classes_removed=int(count))
            found.append(_with_differences(table, group, RIVAL, [BASELINE])[[*table, *DIFFERENCE]])
    plain = scenario_table(cells, "class_removal").columns
    return _stacked(found, [*plain, "classes_removed", *DIFFERENCE])


def ablation_table(studies: pd.DataFrame) -> pd.DataFrame:
    """`runs.scenario_table` of the variants, and AUS of each − duck over the same cells.

    The test (`comparisons.paired`) is Holm-corrected over the variants of one experiment and
    scenario; the references are no variants.
    """
    cells = studies[studies["study"] == "ablation"]
    found = []
    for (*_, scenario), group in cells.groupby(KEY, sort=False):
        variants = [m for m in set(group["method"]) if m not in (*REFERENCES, *ORIGINALS)]
        table = scenario_table(group, scenario)
        found.append(_with_differences(table, group, BASELINE, variants))
    plain = scenario_table(cells, "class_removal").columns
    return _stacked(found, [*plain, *DIFFERENCE, "p_holm", "verdict"])


def architectures_table(studies: pd.DataFrame) -> pd.DataFrame:
    """`runs.scenario_table` of every architecture, both scenarios in one frame."""
    cells = studies[studies["study"] == "architectures"]
    found = [scenario_table(cells, scenario) for scenario in SCENARIOS]
    return _stacked([table for table in found if len(table)], found[0].columns)


def _with_differences(
    table: pd.DataFrame, cells: pd.DataFrame, baseline: str, methods: Sequence[str]
) -> pd.DataFrame:
    """`table` and, in the rows of `methods`, the paired test of AUS against `baseline`."""
    done = cells[(cells["status"] == "ok") & cells["aus"].notna()]
    values = done.pivot_table(index=CELLS, columns="method", values="aus", sort=False)
    names = {"n": "pairs"} | {name: f"difference_{name}" for name in ("low", "high", "over")}
    tests = pd.DataFrame(columns=[*DIFFERENCE, "p_holm", "verdict"], dtype=object)
    if baseline in values:
        chosen = [name for name in values if name == baseline or name in methods]
        tests = paired(values[chosen], baseline).rename(columns=names)
    beside = tests.reindex(table["method"]).set_axis(table.index)
    return pd.concat([table, beside], axis=1)


def _stacked(frames: list[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    found = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    return found.reindex(columns=columns)
