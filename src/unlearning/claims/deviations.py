"""Where paper, release and this code differ, and what each measured switch does to AUS.

`paper/deviations.yaml` says by hand what was decided and why; a decision that names an ablation
is measured by it: AUS of that method less AUS of `duck` over the cells that both have.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

import pandas as pd
from pydantic import Field, TypeAdapter, ValidationError

from unlearning.config.scenarios import unique
from unlearning.config.yaml_files import read_yaml
from unlearning.metrics.aus import PAPER_SCENARIOS
from unlearning.recipe import Strict
from unlearning.results.keys import KEY
from unlearning.results.runs import CELL, read_runs
from unlearning.stats.comparisons import holm, paired
from unlearning.stats.crossed import ALPHA
from unlearning.stats.summary import summarise

BASELINE = "duck"
NOT_MEASURED = "not measured"
NOTHING = "does nothing here"
Part = Literal[
    "The method", "Training and evaluation", "Attacks and statistics", "What DUCK does inside"
]
PARTS = get_args(Part)
COLUMNS = ["part", "decision", "paper", "release", "here", "switch", *PAPER_SCENARIOS, "reason"]
EFFECT = [
    *(*KEY, "method", "aus", "aus_sd", "aus_n"),
    *("n", "difference", "sd", "low", "high", "p"),
]

Text = Annotated[str, Field(min_length=1)]


class Decision(Strict):
    """One decision: what the paper says, what the release does, what is done here, and why.

    numbers: the release's known departures that it is about. switch: the setting that decides it.
    ablation: the methods of a run that measure it. without_effect: scenarios in which it cannot
    move AUS, by construction.
    """

    part: Part
    decision: Text
    numbers: list[Annotated[str, Field(pattern=r"^D\d+$")]] = Field(default_factory=list)
    paper: Text
    release: Text
    here: Text
    switch: Text
    reason: Text
    ablation: list[Text] = Field(default_factory=list)
    without_effect: list[Literal[PAPER_SCENARIOS]] = Field(default_factory=list)

    @property
    def title(self) -> str:
        """The decision with its D-numbers: `targets (D1, D5, D9)`."""
        return f"{self.decision} ({', '.join(self.numbers)})" if self.numbers else self.decision


def read_decisions(path: str | Path) -> list[Decision]:
    """The decisions of a YAML file, in the order of PARTS and then of the file.

    Raises ValueError, naming the file, the entry and the key, for what is not valid YAML, an
    unknown or missing key, a value of another kind, a key or a decision given twice.
    """
    raw = read_yaml(path)
    try:
        found = TypeAdapter(list[Decision]).validate_python(raw)
        unique([one.decision for one in found], "decision")
    except ValidationError as error:
        raise ValueError("\n".join(_describe(e, raw, path) for e in error.errors())) from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return sorted(found, key=lambda one: PARTS.index(one.part))


def _describe(error: dict, raw: object, path: str | Path) -> str:
    """One line a problem: `FILE: entry 3 ('targets'): release: Field required`."""
    number, *keys = error["loc"] or [None]
    if number is None:
        return f"{path}: {error['msg']}"
    entry = raw[number]
    name = f" ({entry['decision']!r})" if isinstance(entry, dict) and "decision" in entry else ""
    key = ".".join(str(key) for key in keys)
    return f"{path}: entry {number + 1}{name}: {f'{key}: ' if key else ''}{error['msg']}"


def measure(decisions: Sequence[Decision], runs: Sequence[str | Path]) -> pd.DataFrame:
    """`effects` of every ablation that `decisions` name, in each of the files `runs`.

    runs: runs.csv or studies.csv files. `p_holm`: p, Holm-adjusted over all rows of a scenario,
    whatever their run. Raises ValueError for an ablation that is not a method of any of the files,
    naming it and its decision, and as `runs.read_runs` does.
    """
    named = {method: one.decision for one in decisions for method in one.ablation}
    frames = [read_runs(path) for path in runs]
    known = {method for frame in frames for method in frame["method"]}
    for method, decision in named.items():
        if method not in known:
            files = ", ".join(map(str, runs))
            raise ValueError(f"{decision}: ablation {method!r} is not a method of {files}")
    found = pd.concat([effects(frame, named) for frame in frames], ignore_index=True)
    return found.assign(p_holm=found.groupby("scenario")["p"].transform(holm))


def effects(runs: pd.DataFrame, methods: Collection[str]) -> pd.DataFrame:
    """AUS of each of `methods` less AUS of `duck`: a row a system, scenario and method.

    `aus`, `aus_sd`, `aus_n`: of the method's ok cells. `difference`, its `sd` (ddof 1), `low` and
    `high`: the paired mean over the `n` cells (forget set and training seed, unlearning seeds
    averaged) that both have, its 95 % interval and test (`comparisons.paired`).
    """
    done = runs[(runs["status"] == "ok") & runs["aus"].notna()]
    rows = []
    for key, cells in done.groupby(KEY, sort=False):
        values = cells.pivot_table(index=CELL, columns="method", values="aus", sort=False)
        asked = [name for name in values if name in methods and name != BASELINE]
        if not asked or BASELINE not in values:
            continue
        tests = paired(values[[BASELINE, *asked]], BASELINE)
        for name, test in tests.iterrows():
            own = summarise(cells.loc[cells["method"] == name, "aus"].tolist(), {})
            row = dict(zip(KEY, key, strict=True)) | {"method": name}
            row |= {"aus": own.mean, "aus_sd": own.sd, "aus_n": own.n}
            row |= {"sd": (values[name] - values[BASELINE]).std()}
            rows.append(row | {number: test[number] for number in EFFECT if number in test})
    return pd.DataFrame(rows, columns=EFFECT)


def table(decisions: Sequence[Decision], measured: pd.DataFrame) -> pd.DataFrame:
    """A row a decision with COLUMNS, all text; measured: a frame of `measure`.

    In the scenarios' columns: the change of AUS, NOTHING or NOT_MEASURED.
    """
    rows = []
    for one in decisions:
        row = {name: getattr(one, name) for name in COLUMNS if name not in PAPER_SCENARIOS}
        cells = {scenario: _effect(one, scenario, measured) for scenario in PAPER_SCENARIOS}
        rows.append(row | cells | {"decision": one.title})
    return pd.DataFrame(rows, columns=COLUMNS)


def _effect(decision: Decision, scenario: str, measured: pd.DataFrame) -> str:
    """One cell: a change, or several, each after its method and data set."""
    if scenario in decision.without_effect:
        return NOTHING
    own = measured["method"].isin(decision.ablation) & (measured["scenario"] == scenario)
    rows = list(measured[own].itertuples())
    rows.sort(key=lambda row: decision.ablation.index(row.method))
    if len(rows) == 1:
        return change(rows[0])
    return "; ".join(f"{r.method} on {r.dataset}: {change(r)}" for r in rows) or NOT_MEASURED


def change(row: tuple) -> str:
    """`+0.003 [-0.010, +0.016] (n = 4)` of a row of `measure`, with * if p_holm < 0.05.

    Without an interval, where it is not defined, the mean alone.
    """
    rounded = (round(value, 3) + 0.0 for value in (row.difference, row.low, row.high))  # no -0.000
    mean, low, high = (f"{value:+.3f}" for value in rounded)
    bounds = "" if pd.isna(row.low) else f" [{low}, {high}]"
    return f"{mean}{bounds} (n = {row.n}){' *' if row.p_holm < ALPHA else ''}"
