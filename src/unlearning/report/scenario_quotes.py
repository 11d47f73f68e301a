"""The texts of the paper about one scenario of the grid, from the tables of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from unlearning.report.quote import (
    APART,
    Quote,
    Quotes,
    counted,
    listed,
    on,
    p_value,
    quote,
    ranked,
    rivals,
    whole,
)
from unlearning.stats.comparisons import verdict
from unlearning.tables.evaluation_tables import BASELINE
from unlearning.tables.render import percent, plus_minus, score, seconds, span

SHORT = {
    "retain_train": "retain_train_accuracy",
    "forget_train": "forget_train_accuracy",
    "retain_test": "retain_test_accuracy",
    "forget_test": "forget_test_accuracy",
    "test": "test_accuracy",
}


def of_scenario(cells: pd.DataFrame, scenario: str, tables: Mapping[str, pd.DataFrame]) -> Quotes:
    """cells: its rows of runs.csv; tables: its rows of each table, as `quote.rows_of`."""
    table, statistics = tables[scenario], tables["statistics"]
    done = table[table["n_ok"] > 0].set_index("method")
    aus = statistics[statistics["metric"] == "aus"].set_index("method")
    found = {"sets": Quote(_forget_sets(cells), files=("runs.csv",)), "spread": _spread(table)}
    for method, row in done.iterrows():
        found |= {f"{method}.{name}": text for name, text in _method(row).items()}
    for method, row in aus.iterrows():
        found[f"{method}.aus_interval"] = quote(span, row, "mean", "low", "high")
        found[f"{method}.paper_aus"] = quote(score, row, "paper_mean", "paper_sd")
    lost = table[table["n_ok"] == 0]
    found["lost"] = Quote(listed(lost["method"]) if len(lost) else "", on(lost, "n_ok"))
    if BASELINE in done.index:
        found |= _beside(done, aus) | _rank(aus)
    found |= _against_oracle(aus)
    found |= _attacked(tables["membership"].set_index("method"))
    found |= _distant(tables["oracle_distance"].set_index("method"))
    return found | _varied(tables["variance"].set_index("method"))


def _forget_sets(cells: pd.DataFrame) -> str:
    """`classes 0 and 8`, or how many random forget sets."""
    splits = list(dict.fromkeys(cells["split"]))
    if all(split.startswith("class-") for split in splits):
        names = listed(split.removeprefix("class-") for split in splits)
        return f"class{'es' if len(splits) > 1 else ''} {names}"
    return counted(len(splits), "forget set")


def _spread(table: pd.DataFrame) -> Quote:
    """What a ± of the scenario runs over, and how many runs that are."""
    done = table[table["n_ok"] > 0]
    if done.empty:
        return Quote("")
    usual = done.loc[done["n_ok"].idxmax()]
    over = usual["over"].replace(" x ", " × ")
    text = f"± is the sample standard deviation over {over} (n = {usual['n_ok']})"
    if usual["n_ok"] == 1:
        text = "each row is one run and has no spread"
    return Quote(text, on(usual, "n_ok", "over"))


def _method(row: pd.Series) -> Quotes:
    found = {
        name: quote(percent, row, f"{metric}_mean", f"{metric}_sd")
        for name, metric in SHORT.items()
        if f"{metric}_mean" in row
    }
    return found | {
        "aus": quote(score, row, "aus_mean", "aus_sd"),
        "aus_of_means": quote(score, row, "aus_of_means", "aus_of_means_sd"),
        "seconds": quote(seconds, row, "unlearning_seconds_mean", "unlearning_seconds_sd"),
        "n": quote(str, row, "n_ok"),
    }


def _beside(done: pd.DataFrame, aus: pd.DataFrame) -> Quotes:
    """DUCK among its rivals: verdicts, places, and who is both better and sooner."""
    others = rivals(done.index)
    spent, scores = done["unlearning_seconds_mean"], done["aus_mean"]
    found = {}
    if "oracle" in done.index:
        ratio = plus_minus(spent["oracle"] / spent[BASELINE], math.nan, 1)
        both = done.loc[["oracle", BASELINE]]
        found["speedup"] = Quote(ratio, on(both, "unlearning_seconds_mean"))
    if not others:
        return found | {"rivals": Quote("No other method is in this run.", on(done, "n_ok"))}
    better = scores[others] >= scores[BASELINE]
    both = better & (spent[others] <= spent[BASELINE])
    ahead = listed(both[both].index)
    dominating = (
        f"{ahead} {'reach' if both.sum() > 1 else 'reaches'} at least DUCK's mean AUS in no more "
        "than its mean time"
        if both.any()
        else "no other method reaches DUCK's mean AUS in as little time"
    )
    compared = done.loc[[BASELINE, *others]]
    shown = compared["aus_mean"].dropna()
    place = ranked(shown, BASELINE, lowest=False)
    by_time = ranked(spent[compared.index].dropna(), BASELINE, lowest=True)
    best = f"{shown.idxmax()} ({shown.max():.3f})"
    return found | {
        "dominating": Quote(dominating, on(compared, "aus_mean", "unlearning_seconds_mean")),
        "place": Quote(place, on(compared, "aus_mean")),
        "time_place": Quote(by_time, on(compared, "unlearning_seconds_mean")),
        "best": Quote(best, on(done.loc[[shown.idxmax()]], "aus_mean")),
        **_tested_rivals(aus, others),
    }


def _tested_rivals(aus: pd.DataFrame, others: Sequence[str]) -> Quotes:
    """How many other methods have a higher or lower AUS than DUCK, and which."""
    tested = aus.loc[[name for name in others if name in aus.index]]
    verdicts = tested["verdict"]
    groups = {name: list(verdicts.index[verdicts == name]) for name in (*APART, "not tested")}
    parts = [
        f"{len(groups[name])} {name} ({listed(groups[name])})"
        for name in ("higher", "lower")
        if groups[name]
    ]
    if groups["not told apart"]:
        parts.append(f"{len(groups['not told apart'])} not told apart from it")
    if groups["not tested"]:
        parts.append(f"{len(groups['not tested'])} not tested, for want of cells")
    text = f"Of {counted(len(verdicts), 'other method')}, by AUS against DUCK: {listed(parts)}."
    numbers = on(tested, "verdict")
    counts = {
        f"rivals_{name}": Quote(f"{len(groups[name])} of {len(verdicts)}", numbers)
        for name in ("higher", "lower")
    }
    return {"rivals": Quote(text, numbers), **counts}


def _rank(aus: pd.DataFrame) -> Quotes:
    if BASELINE not in aus.index or math.isnan(aus.loc[BASELINE, "rank"]):
        text = "Ranks need three methods, and two classes or seeds with all of them."
        return {"ranked": Quote(text, on(aus, "rank"))}
    row = aus.loc[BASELINE]
    text = (
        f"DUCK's mean rank is {row['rank']:.1f} over {int(row['rank_blocks'])} "
        f"{row['rank_over']} (Friedman's test of all methods: {p_value(row['friedman_p'])}; "
        f"critical difference {row['critical_difference']:.1f})."
    )
    columns = ("rank", "rank_blocks", "rank_over", "friedman_p", "critical_difference")
    return {"ranked": Quote(text, on(row, *columns))}


def _against_oracle(aus: pd.DataFrame) -> Quotes:
    """The paired test of DUCK and the oracle over the cells that both have.

    It stands in the oracle's row, as oracle less DUCK; one comparison is not corrected by Holm.
    """
    if not {BASELINE, "oracle"} <= set(aus.index):
        return {}
    row = aus.loc["oracle"]
    columns = ("difference", "difference_low", "difference_high", "cells", "p", "over")
    less, high, low = (0.0 - row[name] for name in columns[:3])
    numbers, amount = on(row, *columns), span(less, low, high, sign="+")
    over, found = counted(whole(row["cells"]), "shared cell"), verdict(less, row["p"])
    if found not in APART:
        text = (
            f"DUCK's AUS differs from the oracle's by {amount} over {over}, which no test can judge"
        )
    else:
        text = (
            f"DUCK's AUS {APART[found]} the oracle's: {amount} over {over} "
            f"(for {row['over']}, {p_value(row['p'])})"
        )
    return {
        "duck_minus_oracle": Quote(amount, numbers),
        "duck_oracle": Quote(text, numbers),
        "duck_oracle_verdict": Quote(found, on(row, "difference", "p")),
    }


def _attacked(attacks: pd.DataFrame) -> Quotes:
    """LiRA on original, DUCK and oracle, and DUCK's place by the distance from the oracle."""
    attacks = attacks[attacks["lira_auc_mean"].notna()]
    columns = ("lira_auc_mean", "lira_auc_low", "lira_auc_high")
    found = {f"{method}.lira": quote(span, row, *columns) for method, row in attacks.iterrows()}
    if not {BASELINE, "oracle"} <= set(attacks.index):
        return found
    duck, oracle = attacks.loc[BASELINE], attacks.loc["oracle"]
    if duck["lira_auc_low"] > oracle["lira_auc_high"]:
        said = "DUCK's interval lies wholly above the oracle's"
    elif duck["lira_auc_high"] < oracle["lira_auc_low"]:
        said = "DUCK's interval lies wholly below the oracle's"
        if duck["lira_auc_high"] < 0.5:
            said += " and below 0.5: an attack turned round tells forgotten images"
    else:
        said = "DUCK's interval overlaps with the oracle's"
    compared = attacks.loc[[BASELINE, *rivals(attacks.index)]]
    gaps = (compared["lira_auc_mean"] - oracle["lira_auc_mean"]).abs()
    nearest = on(pd.concat([compared, attacks.loc[["oracle"]]]), "lira_auc_mean")
    return found | {
        "lira_verdict": Quote(said, on(attacks.loc[[BASELINE, "oracle"]], *columns[1:])),
        "lira_place": Quote(ranked(gaps, BASELINE, lowest=True), nearest),
    }


def _distant(distances: pd.DataFrame) -> Quotes:
    shown = {
        "js_forget": score,
        "cka_forget": score,
        "agreement_forget": percent,
        "accuracy_gap": percent,
        "probe_accuracy": percent,
        "relearn_steps": lambda mean, sd: plus_minus(mean, sd, 1),
    }
    found = {
        f"{method}.{metric}": quote(show, row, f"{metric}_mean", f"{metric}_sd")
        for method, row in distances.iterrows()
        for metric, show in shown.items()
    }
    known = distances[distances["js_forget_mean"].notna()]
    known = known.loc[_present((BASELINE, *rivals(known.index)), known.index)]
    if BASELINE in known.index:
        nearest = known["js_forget_mean"]
        place, best = ranked(nearest, BASELINE, lowest=True), nearest.idxmin()
        found["js_place"] = Quote(place, on(known, "js_forget_mean"))
        said = f"{best} ({nearest.min():.3f})"
        found["js_best"] = Quote(said, on(known.loc[[best]], "js_forget_mean"))
    return found


def _present(names: Iterable[str], index: pd.Index) -> list[str]:
    return [name for name in names if name in index]


def _varied(variance: pd.DataFrame) -> Quotes:
    """The standard deviations that DUCK's AUS owes to each factor, those that are known."""
    if BASELINE not in variance.index:
        return {}
    named = {
        "train_seed": "training seed",
        "split": "forget set",
        "interaction": "the two together",
        "unlearn_seed": "unlearning seed",
    }
    row = variance.loc[BASELINE]
    parts = [
        f"{math.sqrt(row[name]):.4f} ({what})"
        for name, what in named.items()
        if not math.isnan(row[name])
    ]
    text = f"the spread of DUCK's AUS divides into {listed(parts)}."
    if not parts:
        text = "one run says nothing of what AUS varies with."
    return {"varied": Quote(text, on(row, *named))}
