"""What a run says of each claim of paper/claims.yaml, by one rule.

A claim holds if the 95 % interval of its mean over the crossed cells (`crossed.crossed`) lies
wholly on the claimed side of its bound, does not hold if wholly on the other side, and is not told
apart otherwise, also where an end of the interval touches the bound. p is two-sided, of the mean
against the bound (of d and -d the nearer one). Claims of one `family` in one experiment and
scenario have p after Holm, and both verdicts need p < 0.05 as well. If all cells are equal, the
interval is that number; there is no p (1 on the bound), so that in a family they are not told
apart. Not tested: fewer than two cells, a method, metric or file that is not there, or a method
that has stand-ins for what its publication needs (`runs.stand_ins`): its value is shown alone.
The control asks the same of the original in the method's place (`Claim.control`), by the same
interval, without Holm: a claim that would hold does not discriminate where doing nothing passes.
Two experiments never share a mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from unlearning.claims.statements import AUCS, FILES, UNITS, Claim
from unlearning.metrics import names
from unlearning.results.keys import CELLS, GROUP, KEY
from unlearning.results.runs import stand_ins, status_note
from unlearning.results.study_files import read_file
from unlearning.stats.comparisons import holm, paired
from unlearning.stats.crossed import ALPHA, draws, rounding

COLUMNS = [
    *(
        "claim",
        "asks",
        "statement",
        "source",
        *KEY,
        "quantity",
        "value",
        "low",
        "high",
        "bound",
        "unit",
    ),
    *("n", "over", "p", "test", "control", "control_value", "control_low", "control_high"),
    *("verdict", "reason", "trace"),
]
"""The columns of claims.csv."""
HOLDS, IDLE = "holds", "does not discriminate"


def judge(claims: Sequence[Claim], source: str | Path) -> pd.DataFrame:
    """A row (COLUMNS) a claim and experiment that has its scenario; one row if none has.

    source: the folder with runs.csv and the studies' files. value, low, high: mean and 95 %
    interval in `unit`; n: cells; over: to what they generalise; control: the original's verdict
    (or `none: ` and why there is no control), with its mean and interval; reason: why not tested,
    or which cells are left out.
    Raises ValueError, naming the file, for one that cannot be read as what it is.
    """
    needed = dict.fromkeys(FILES[claim.table] for claim in claims)
    paths = {name: Path(source) / f"{name}.csv" for name in needed}
    files = {n: read_file(path, n) if path.exists() else None for n, path in paths.items()}
    rows = [row for claim in claims for row in _rows(claim, files[FILES[claim.table]])]
    found = pd.DataFrame(rows, columns=[*COLUMNS, "family", "side"])
    for _, members in found[found["family"] != ""].groupby(["family", *KEY], sort=False):
        tested = members.index[members["side"].notna()]
        found.loc[members.index, "p"] = holm(members["p"])
        found.loc[tested, "test"] += f", Holm over {members['p'].notna().sum()}"
    families = found["family"] != ""
    verdicts = list(map(_verdict, found["side"], found["p"], families))
    found = found.assign(verdict=verdicts)
    idle = (found["verdict"] == HOLDS) & (found["control"] == HOLDS)
    return found.assign(verdict=found["verdict"].mask(idle, IDLE))[COLUMNS]


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
    """What the claim is asked of: KEY, CELLS, `method`, `value` (NaN unless ok and finite).

    `unit`, if there is such a column, has what stands for the split in the statistics.
    """
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
        runs = runs.assign(unit=runs["split"].map(draws(runs["split"])))
    values = runs[claim.metric].where(runs["status"] == "ok")
    return runs.assign(value=(values - 0.5).abs() if claim.metric in AUCS else values)


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
    beside = {**key, "trace": trace, **_control(claim, group)}
    values = _cells(claim, group)
    if len(values):
        row = _row(claim, **beside, **_measured(claim, values, reason))
        lacks = stand_ins(group[group["method"].isin(claim.compared)])
        whys = [f"{name} is not the published method whole: {why}" for name, why in lacks.items()]
        untested = {"side": math.nan, "p": math.nan, "reason": _joined(row["reason"], *whys)}
        return row | untested if whys else row
    return _row(claim, **beside, n=0, reason=reason or "no cell has both")


def _cells(claim: Claim, group: pd.DataFrame) -> pd.DataFrame:
    """The values [cells x compared] of the cells that have all."""
    if "unit" in group:
        group = group.assign(split=group["unit"])
    values = group.pivot_table(index=CELLS, columns="method", values="value", sort=False)
    return values.reindex(columns=claim.compared).dropna()


def _control(claim: Claim, group: pd.DataFrame) -> dict:
    """What the same cells say of the original in the method's place."""
    control = claim.control
    if isinstance(control, str):
        return {"control": f"none: {control}"}
    values = _cells(control, group)
    found = _measured(control, values, "") if len(values) else {}
    verdict = _verdict(found.get("side", math.nan), math.nan, False)
    numbers = {f"control_{name}": found.get(name, math.nan) for name in ("value", "low", "high")}
    return {"control": verdict, **numbers}


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


def _measured(claim: Claim, values: pd.DataFrame, reason: str) -> dict:
    """Mean, interval and p of the cells `values` [cells x compared], and the side of the bound.

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
    low, high = test["low"] + target, test["high"] + target
    equal = n > 1 and not test["low"] < test["high"]
    if equal:
        low = high = mean
    numbers = {"value": mean, "low": low, "high": high}
    if ratio:
        numbers = {name: math.exp(number) for name, number in numbers.items()}
    found = {**numbers, "n": n, "p": test["p"], "over": test["over"]}
    if n < 2:
        note = "one cell; a second forget set or training seed is needed"
        return found | {"reason": _joined(note, reason)}
    found["side"] = _side(claim.side, bound, low, high, rounding(one, other + target))
    found["test"] = "paired t" if claim.against else "one-sample t"
    note = f"all {n} cells are equal, so there is no spread to test with" if equal else ""
    return found | {"reason": _joined(reason, note)}


def _joined(*notes: str) -> str:
    return "; ".join(dict.fromkeys(note for note in notes if note))


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
    return HOLDS if side > 0 else "does not hold"


def _row(claim: Claim, **found: object) -> dict:
    """A row of claims.csv with `family` and `side`; what is not found is empty."""
    row = dict.fromkeys(("value", "low", "high", "p", "side"), math.nan)
    row |= dict.fromkeys(("control_value", "control_low", "control_high"), math.nan)
    row |= dict.fromkeys((*GROUP, "over", "test", "control", "reason", "trace"), "") | {"n": 0}
    row |= claim.model_dump(include={"claim", "statement", "source", "scenario"})
    unit = "times" if claim.kind == "ratio" else UNITS[claim.table][claim.metric]
    row |= {"asks": claim.asks, "quantity": claim.quantity, "bound": claim.said_bound, "unit": unit}
    return row | {"family": claim.family or ""} | found
