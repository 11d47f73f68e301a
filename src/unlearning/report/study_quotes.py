"""The texts of the paper about the studies, each of the first experiment of its table."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from unlearning.metrics.names import SHORTCUT
from unlearning.report.quote import APART, Quote, Quotes, counted, listed, on, p_value, quote, whole
from unlearning.tables.render import percent, plus_minus, score, span
from unlearning.tables.study_tables import BASELINE, PAIR_DIFFERENCE, RIVAL

SPAN = ("difference", "difference_low", "difference_high")


def of_studies(tables: Mapping[str, pd.DataFrame]) -> Quotes:
    """tables: the rows of each study's table, as `quote.rows_of`."""
    found = {}
    for name, texts in {
        "feature_space": _features,
        "attributions": _attributions,
        "shortcut": _shortcut,
        "multiple_classes": _many,
        "ablation": _ablation,
        "architectures": _architectures,
    }.items():
        table = tables[name]
        if len(table):
            first = table["experiment"] == table["experiment"].iloc[0]
            own = table if name == "architectures" else table[first]
            found |= {f"{name}.{key}": text for key, text in texts(own).items()}
    return found


def _features(table: pd.DataFrame) -> Quotes:
    """`embedding.margin.forget.duck`, and its tests: `….forget.duck_oracle`, `….duck.parts`."""
    found = {"n": Quote(str(int(table["n"].max())), on(table.loc[table["n"].idxmax()], "n"))}
    for row in table.to_dict("records"):
        part, model = row["quantity"].split(", ")
        stem = f"{row['layer']}.{row['measure']}"
        places = 2 if row["measure"] == "log_density" else 3
        if not row["against"]:
            text = plus_minus(row["mean"], row["sd"], places)
            found[f"{stem}.{part}.{model}"] = Quote(text, on(row, "mean", "sd"))
        elif row["against"].startswith(part):
            found[f"{stem}.{part}.duck_oracle"] = _rank_tested(row)
        else:
            found[f"{stem}.{model}.parts"] = _rank_tested(row)
    return found


def _rank_tested(row: Mapping) -> Quote:
    amount = span(row["difference"], row["low"], row["high"], sign="+")
    word = "not told apart" if row["verdict"] == "not told apart" else "told apart"
    if math.isnan(row["p"]):
        text = f"{amount} (n = {int(row['n'])}, no test)"
    else:
        text = (
            f"{amount} (n = {int(row['n'])}, for {row['over']}: {word}, {p_value(row['p'])}; "
            f"Wilcoxon {p_value(row['signed_rank_p'])}, Mann–Whitney {p_value(row['rank_sum_p'])})"
        )
    columns = ("difference", "low", "high", "n", "over", "verdict", "p")
    return Quote(text, on(row, *columns, "signed_rank_p", "rank_sum_p"))


def _attributions(table: pd.DataFrame) -> Quotes:
    found = {}
    for row in table.to_dict("records"):
        if row["pair"] == PAIR_DIFFERENCE:
            amount = span(row["group_mean"], row["group_low"], row["group_high"], sign="+")
            reach = f", for {row['over']}" if row["over"] else ""
            text = f"{amount} over {counted(whole(row['groups']), 'model')}{reach}"
            columns = ("group_mean", "group_low", "group_high", "groups", "over")
            found[f"{row['output']}.difference"] = Quote(text, on(row, *columns))
        else:
            pair = row["pair"].replace("~", "_")
            found[f"{row['output']}.{pair}"] = quote(score, row, "mean", "sd")
            found[f"{row['output']}.images"] = quote(str, row, "n")
    return found


def _shortcut(table: pd.DataFrame) -> Quotes:
    most = table.loc[table["seeds"].idxmax()]
    found = {"seeds": Quote(counted(int(most["seeds"]), "training seed"), on(most, "seeds"))}
    for row in table.to_dict("records"):
        for measure in SHORTCUT:
            text = quote(percent, row, f"{measure}_mean", f"{measure}_sd")
            found[f"{row['method']}.{measure}"] = text
    return found


def _many(table: pd.DataFrame) -> Quotes:
    """What DUCK reaches with the fewest and most classes removed, and against Fine-Tuning."""
    duck = table[(table["method"] == BASELINE) & (table["n_ok"] > 0)].set_index("classes_removed")
    if duck.empty:
        return {}
    found = {}
    for name, count in (("fewest", duck.index.min()), ("most", duck.index.max())):
        row = duck.loc[count]
        found[name] = Quote(str(int(count)), on(row, "n_ok"))
        found[f"{name}.duck"] = quote(score, row, "aus_mean", "aus_sd")
    known = duck[duck["difference"].notna()]
    if known.empty:
        text = f"{RIVAL} is not in this study."
        return found | {"against": Quote(text, on(duck, "difference"))}
    above = known["difference"] > 0
    apart = known["difference_low"] * known["difference_high"] > 0
    last = known.iloc[-1]
    amount = span(*last[list(SPAN)], sign="+")
    text = (
        f"DUCK's mean AUS is above that of {RIVAL} at {above.sum()} of "
        f"{counted(len(above), 'number')} of classes; the interval of the difference excludes zero "
        f"at {apart.sum()}. With {int(last.name)} removed it is {amount}{_reach(last)}."
    )
    return found | {"against": Quote(text, on(known, *SPAN, "difference_over"))}


def _reach(row: Mapping) -> str:
    """To what the difference of a row generalises, if to anything."""
    return f" (for {row['difference_over']})" if row["difference_over"] else ""


def _ablation(table: pd.DataFrame) -> Quotes:
    """Which of the variants are told apart from DUCK, and which change AUS the most."""
    variants = table[table["verdict"].isin((*APART, "not tested"))].set_index("method")
    if variants.empty:
        text = "No variant shares a cell with DUCK."
        return {"verdicts": Quote(text, on(table, "verdict"))}
    apart = variants[variants["verdict"].isin(("higher", "lower"))]
    told = [f"{name} ({row['difference']:+.3f})" for name, row in apart.iterrows()]
    untested = int((variants["verdict"] == "not tested").sum())
    text = (
        f"Of {counted(len(variants), 'variant')} over "
        f"{counted(int(variants['pairs'].max()), 'cell')}"
        f"{_reach(variants.iloc[0])}, {listed(told)} "
        f"{'are' if len(told) > 1 else 'is'} told apart from DUCK after Holm's correction"
    )
    text += f", {untested} cannot be tested." if untested else "."
    numbers = on(variants, "verdict", "difference", "pairs", "difference_over")
    order = variants.sort_values("difference", kind="stable").head(3)
    shown = [f"{name} ({row['difference']:+.3f})" for name, row in order.iterrows()]
    duck = table[table["method"] == BASELINE].iloc[0]
    return {
        "verdicts": Quote(text, numbers),
        "lowest": Quote(listed(shown), on(order, "difference")),
        "duck": quote(score, duck, "aus_mean", "aus_sd"),
    }


def _architectures(table: pd.DataFrame) -> Quotes:
    """DUCK's AUS less the oracle's on each architecture, in class removal."""
    removal = table[(table["scenario"] == "class_removal") & (table["n_ok"] > 0)]
    values = removal.pivot_table(index=["arch", "experiment"], columns="method", values="aus_mean")
    if not {BASELINE, "oracle"} <= set(values):
        return {}
    values = values.dropna(subset=[BASELINE, "oracle"])
    gaps = values[BASELINE] - values["oracle"]
    each = [f"{arch} {gap:+.3f}" for (arch, _), gap in gaps.items()]
    numbers = on(removal[removal["method"].isin((BASELINE, "oracle"))], "aus_mean")
    return {"count": Quote(str(len(gaps)), numbers), "gaps": Quote(listed(each), numbers)}
