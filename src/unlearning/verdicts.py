"""What a run says of each claim of paper/claims.yaml, by one rule.

A claim holds if the 95 % Student interval over the cells lies wholly on the claimed side of its
bound, does not hold if wholly on the other side, and is not told apart otherwise, also where an
end of the interval touches the bound. p is two-sided, of the mean against the bound (of d and -d
the nearer one): a t-test or, in features and attributions, Wilcoxon's. Claims of one `family`
in one experiment and scenario have p after Holm, and both verdicts need p < 0.05 as well.
If all cells are equal, the interval is that number; there is no p (1 on the bound), so that in a
family they are not told apart. Not tested: fewer than two cells, or a method, metric or file that
is not there. Cells share originals, so the interval over training seeds (stats.interval)
stands beside. Two experiments never share a mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from unlearning.claims import FILES, UNITS, Claim
from unlearning.comparisons import ALPHA, holm, paired, rounding, signed_rank
from unlearning.metrics import names
from unlearning.render import Section, probability
from unlearning.seeds import seed_for
from unlearning.stats import interval
from unlearning.study_files import read_studies, read_tidy
from unlearning.tables import CELL, GROUP, read_runs, status_note

KEY = [*GROUP, "scenario"]
CELLS = CELL[:2]
COLUMNS = [
    *("claim", "statement", "source", *KEY, "quantity", "value", "low", "high", "bound", "unit"),
    *("n", "p", "test", "seeds_low", "seeds_high", "verdict", "reason", "trace"),
]
"""The columns of claims.csv."""
WILCOXON = ("features", "attributions")


def judge(claims: Sequence[Claim], source: str | Path) -> pd.DataFrame:
    """A row (COLUMNS) a claim and experiment that has its scenario; one row if none has.

    source: the folder with runs.csv and the studies' files. value, low, high: mean and 95 %
    interval in `unit`; n: cells; reason: why not tested, or which cells are left out.
    Raises ValueError, naming the file, for one that cannot be read as what it is.
    """
    needed = dict.fromkeys(FILES[claim.table] for claim in claims)
    files = {name: _read(Path(source) / f"{name}.csv", name) for name in needed}
    rows = [row for claim in claims for row in _rows(claim, files[FILES[claim.table]])]
    found = pd.DataFrame(rows, columns=[*COLUMNS, "family", "side"])
    for _, members in found[found["family"] != ""].groupby(["family", *KEY], sort=False):
        tested = members.index[members["side"].notna()]
        found.loc[members.index, "p"] = holm(members["p"])
        found.loc[tested, "test"] += f", Holm over {members['p'].notna().sum()}"
    verdicts = map(_verdict, found["side"], found["p"], found["family"] != "")
    return found.assign(verdict=list(verdicts))[COLUMNS]


def _read(path: Path, name: str) -> pd.DataFrame | None:
    if not path.exists():
        return None
    if name in ("runs", "studies"):
        return (read_runs if name == "runs" else read_studies)(path)
    return read_tidy(path, name)


def _rows(claim: Claim, file: pd.DataFrame | None) -> list[dict]:
    if file is None:
        return [_row(claim, reason=f"no {FILES[claim.table]}.csv; {_remedy(claim)}")]
    cells = asked_cells(claim, file)
    cells = cells[cells["scenario"] == claim.scenario]
    if cells.empty:
        reason = f"no {claim.scenario} in {FILES[claim.table]}.csv that it could be asked of"
        return [_row(claim, reason=f"{reason}; {_remedy(claim)}")]
    groups = cells.groupby(KEY, sort=False)
    return [_judged(claim, dict(zip(KEY, key, strict=True)), group) for key, group in groups]


def asked_cells(claim: Claim, file: pd.DataFrame) -> pd.DataFrame:
    """What the claim is asked of: KEY, CELLS, `method`, `value` (NaN unless ok and finite)."""
    cells = CHOOSE.get(claim.table, _run_cells)(claim, file)
    usable = np.isfinite(cells["value"])
    if claim.kind == "ratio":
        usable &= cells["value"] > 0
    return cells.assign(value=cells["value"].where(usable))


def _run_cells(claim: Claim, runs: pd.DataFrame) -> pd.DataFrame:
    if claim.table != "runs":
        runs = runs[runs["study"] == claim.table]
    if claim.table == "multiple_classes":
        runs = runs[runs["classes_removed"] > 1]
    return runs.assign(value=runs[claim.metric].where(runs["status"] == "ok"))


def _feature_cells(claim: Claim, features: pd.DataFrame) -> pd.DataFrame:
    """Density at the largest percentile, as in study_tables."""
    asked = (features["measure"] == claim.metric) & (features["layer"] == claim.layer)
    cells = features[asked]
    percentile = cells["percentile"].replace("", "nan").astype(float)
    largest = percentile.groupby([cells[name] for name in KEY]).transform("max")
    cells = cells[percentile.isna() | (percentile == largest)]
    return cells.assign(method=cells["part"] + " " + cells["model"])


def _attribution_cells(claim: Claim, attributions: pd.DataFrame) -> pd.DataFrame:
    """Images whose maps all have a correlation: else the pairs of a cell had other images."""
    asked = attributions["pair"].isin(claim.compared) & (attributions["output"] == claim.output)
    cells = attributions[asked].rename(columns={"pair": "method", "correlation": "value"})
    absent = cells["value"].isna()
    lost = absent.groupby([cells[name] for name in (*KEY, *CELLS, "image")]).transform("any")
    return cells.assign(value=cells["value"].where(~lost))


def _shortcut_cells(claim: Claim, shortcut: pd.DataFrame) -> pd.DataFrame:
    cells = shortcut[shortcut["measure"] == claim.metric]
    return cells.assign(scenario="shortcut_removal", split="poisoned")


CHOOSE = {
    "features": _feature_cells,
    "attributions": _attribution_cells,
    "shortcut": _shortcut_cells,
}


def _judged(claim: Claim, key: dict, group: pd.DataFrame) -> dict:
    """The row of one experiment, before Holm and the verdict."""
    notes = [_note(claim, name, group[group["method"] == name]) for name in claim.compared]
    reason = _joined(*notes)
    there = [name for name in claim.compared if name in set(group["method"])]
    models = [part for name in there for part in re.split("[ ~]", name)]
    models = [model for model in dict.fromkeys(models) if model not in ("forget", "retain")]
    trace = " ".join(f"{key['experiment']}/{key['scenario']}/{model}" for model in models)
    values = group.pivot_table(index=CELLS, columns="method", values="value", sort=False)
    values = values.reindex(columns=claim.compared).dropna()
    if len(values):
        return _row(claim, **key, trace=trace, **_measured(claim, key, values, reason))
    return _row(claim, **key, trace=trace, n=0, reason=reason or "no cell has both")


def _note(claim: Claim, method: str, rows: pd.DataFrame) -> str:
    """What keeps the method, or some of its cells, out of the claim; "" if nothing does."""
    if rows.empty:
        return f"no cell of {method}; {_remedy(claim)}"
    done = rows
    notes = []
    if "status" in rows:
        done = rows[rows["status"] == "ok"]
        notes.append(status_note(rows))
    known = int(done["value"].notna().sum())
    if known < len(done):
        note = f"{claim.metric} known in {known} of {len(done)} {_noun(claim)}"
        attacked = claim.metric in names.ATTACKS and not known
        notes.append(f"{note}; needs `attacks` in the config" if attacked else note)
    said = _joined(*notes)
    return f"{method}: {said}" if said else ""


def _noun(claim: Claim) -> str:
    return "images" if claim.table == "attributions" else "cells"


def _remedy(claim: Claim) -> str:
    """What would measure it."""
    if claim.table == "runs":
        return "list it under `methods` or `scenarios` of the config and run `snakemake`"
    needed = {
        "features": "study `feature_space`",
        "attributions": "study `feature_space` and `attributions`",
    }
    study = needed.get(claim.table, f"study `{claim.table}`")
    return f"`snakemake understanding` with the {study} in the config makes it"


def _measured(claim: Claim, key: dict, values: pd.DataFrame, reason: str) -> dict:
    """Mean, intervals and p of the cells `values` [cells x compared], and the side of the bound.

    The claim is tested as method against `against` moved by the bound (a level: the bound
    itself), so that one paired test serves all.
    """
    ratio = claim.kind == "ratio"
    if ratio:
        values = -np.log(values)
    one = values[claim.method]
    other = values[claim.against] if claim.against else one * 0.0
    bound = math.log(claim.bound) if ratio else claim.bound
    differences = one - other
    mean, n = float(differences.mean()), len(differences)
    target = math.copysign(bound, mean) if claim.side in ("within", "outside") else bound
    test = paired(pd.DataFrame({"cell": one, "bound": other + target}), "bound").loc["cell"]
    low, high, p = test["low"] + target, test["high"] + target, test["p"]
    equal = n > 1 and not test["low"] < test["high"]
    if equal:
        low = high = mean
    elif claim.table in WILCOXON:
        p = signed_rank(one, other + target).p
    numbers = {"value": mean, "low": low, "high": high}
    numbers |= _over_seeds(claim, key, differences)
    if ratio:
        numbers = {name: math.exp(number) for name, number in numbers.items()}
    found = {**numbers, "n": n, "p": p}
    if n < 2:
        note = "one cell; a second forget set or training seed is needed"
        return found | {"reason": _joined(note, reason)}
    found["side"] = _side(claim.side, bound, low, high, rounding(one, other + target))
    found["test"] = _test(claim)
    note = f"all {n} cells are equal, so there is no spread to test with" if equal else ""
    return found | {"reason": _joined(reason, note)}


def _test(claim: Claim) -> str:
    if claim.table in WILCOXON:
        return "Wilcoxon"
    return "paired t" if claim.against else "one-sample t"


def _joined(*notes: str) -> str:
    return "; ".join(dict.fromkeys(note for note in notes if note))


def _over_seeds(claim: Claim, key: dict, differences: pd.Series) -> dict:
    """The interval over those training seeds that have every forget set."""
    grid = differences.unstack("split").dropna()
    if grid.empty:
        return {}
    seed = seed_for("claim", claim.claim, *key.values())
    found = interval(grid.to_numpy(), np.random.default_rng(seed))
    return {"seeds_low": found.low, "seeds_high": found.high}


def _side(side: str, bound: float, low: float, high: float, slack: float) -> int:
    """1 if [low, high] lies wholly on the claimed side of the bound, -1 on the other, else 0."""
    if side in ("above", "below"):
        up, down = low > bound + slack, high < bound - slack
        return int(up) - int(down) if side == "above" else int(down) - int(up)
    inside = -bound + slack < low and high < bound - slack
    out = low > bound + slack or high < -bound - slack
    return int(inside) - int(out) if side == "within" else int(out) - int(inside)


def _verdict(side: float, p: float, in_family: bool) -> str:
    if math.isnan(side):
        return "not tested"
    if side == 0 or (in_family and not p < ALPHA):
        return "not told apart"
    return "holds" if side > 0 else "does not hold"


def _row(claim: Claim, **found: object) -> dict:
    """A row of claims.csv with `family` and `side`; what is not found is empty."""
    row = dict.fromkeys(("value", "low", "high", "p", "seeds_low", "seeds_high", "side"), math.nan)
    row |= dict.fromkeys((*GROUP, "test", "reason", "trace"), "") | {"n": 0}
    row |= claim.model_dump(include={"claim", "statement", "source", "scenario"})
    unit = "times" if claim.kind == "ratio" else UNITS[claim.table][claim.metric]
    row |= {"quantity": claim.quantity, "bound": claim.said_bound, "unit": unit}
    return row | {"family": claim.family or ""} | found


CAPTION = (
    "What the paper, its release and papers that quote it say, as predicates on this run "
    "(paper/claims.yaml). Value: mean over n cells, a forget set and training seed each, with its "
    "95 % Student interval; a claim holds if the interval lies wholly on the claimed side of the "
    "bound, does not hold if wholly on the other. p: two-sided against the bound, Holm-corrected "
    "within a family of claims, whose verdicts need p < 0.05 as well. Cells share originals: over "
    "seeds is the interval over training seeds, those of one original being one value; – with one."
)
VERDICTS = {
    "holds": "hold",
    "does not hold": "do not hold",
    "not told apart": "are not told apart",
    "not tested": "are not tested",
}
"""Each verdict, and how it is said of several claims."""


def section(found: pd.DataFrame) -> list[Section]:
    """The printed tables of `judge`, one a data set, by verdict; the reasons are footnotes."""
    sections = []
    for dataset, rows in found.groupby("dataset", sort=False):
        counts = [
            f"{(rows['verdict'] == verdict).sum()} {said}" for verdict, said in VERDICTS.items()
        ]
        caption = f"Of {len(rows)} asked here {', '.join(counts)}. {CAPTION}"
        rank = list(VERDICTS).index
        ordered = rows.sort_values("verdict", key=lambda c: c.map(rank), kind="stable")
        asked_once = ~rows["claim"].duplicated(keep=False)
        printed = [
            _printed(row, once)
            for row, once in zip(ordered.to_dict("records"), asked_once[ordered.index], strict=True)
        ]
        title = f"Claims: {dataset}" if dataset else "Claims: nothing to ask them of"
        sections.append(Section(title, caption, pd.DataFrame(printed), _footnotes(rows)))
    return sections


def _printed(row: dict, once: bool) -> dict[str, str]:
    """A row; a claim that is asked of several experiments says of which."""
    value, low, high, *seeds = (
        f"{row[name]:.3g}" for name in ("value", "low", "high", "seeds_low", "seeds_high")
    )
    known = "–" if math.isnan(row["value"]) else value
    return {
        "Claim": row["statement"] if once else f"{row['statement']} ({row['experiment']})",
        "Verdict": row["verdict"],
        "Value [95 %]": known if math.isnan(row["low"]) else f"{value} [{low}, {high}]",
        "Over seeds": "–" if math.isnan(row["seeds_low"]) else f"[{', '.join(seeds)}]",
        "Bound": row["bound"],
        "Unit": row["unit"],
        "n": str(row["n"]),
        "p": probability(row["p"]),
    }


def _footnotes(rows: pd.DataFrame) -> list[str]:
    """A line for each reason, with every claim that it holds for."""
    told = rows[rows["reason"] != ""].groupby("reason", sort=False)["claim"]
    return [f"{', '.join(dict.fromkeys(claims))}: {reason}." for reason, claims in told]
