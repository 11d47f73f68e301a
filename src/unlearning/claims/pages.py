"""The verdicts on the claims as printed tables: a frame of `verdicts.judge` by data set."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd

from unlearning.claims.verdicts import HOLDS, IDLE
from unlearning.tables.fields import PROBABILITY, Field, Row, count, number, text
from unlearning.tables.layout import Layout
from unlearning.tables.render import Section
from unlearning.tables.table import Column

CAPTION = (
    "What the paper, its release and papers that quote it say, as predicates on this run "
    "(paper/claims.yaml). Value: mean over n cells, a forget set and training seed each, with its "
    "95 % interval; a claim holds if the interval lies wholly on the claimed side of the bound, "
    "does not hold if wholly on the other. p: two-sided against the bound, Holm-corrected within a "
    "family of claims, whose verdicts need p < 0.05 as well. Cells are crossed: interval and p are "
    "the more cautious of Student's t over forget sets (classes) and over training seeds, and hold "
    "for those of which there are several. Original: the same asked of the original, which does "
    "nothing, in the method's place; a claim that it passes as well does not discriminate. AUCs of "
    "attacks are taken as their distance from 1/2."
)
VERDICTS = {
    HOLDS: "hold",
    IDLE: "do not discriminate",
    "does not hold": "do not hold",
    "not told apart": "are not told apart",
    "not tested": "are not tested",
}
"""Each verdict, and its verb for several claims."""


def section(found: pd.DataFrame) -> list[Section]:
    """The printed tables of `judge`, one a data set, by verdict; the reasons are footnotes."""
    return LAYOUT.build(found).sections


def _fields(rows: pd.DataFrame) -> list[Field]:
    """A claim that is asked of several experiments says of which."""
    asked_often = set(rows["claim"][rows["claim"].duplicated()])

    def claim(row: Row) -> str:
        often = row["claim"] in asked_often
        return f"{row['statement']} ({row['experiment']})" if often else row["statement"]

    value = Column("Value [95 %]", "3 significant digits", value="value", low="low", high="high")
    control = Column("Original", "3 significant digits", value="control_value")
    control = replace(control, low="control_low", high="control_high")
    return [
        Field(Column("Claim"), claim),
        text("Verdict"),
        Field(value, lambda row: _interval(row, "")),
        Field(Column("Bound"), lambda row: row["bound"]),
        Field(Column("Unit"), lambda row: row["unit"]),
        count("n", "n"),
        text("Generalises to", "over"),
        number("p", PROBABILITY, "p"),
        Field(control, _said_control),
    ]


def _caption(rows: pd.DataFrame) -> str:
    counts = [f"{(rows['verdict'] == verdict).sum()} {said}" for verdict, said in VERDICTS.items()]
    return f"Of {len(rows)} asked here {', '.join(counts)}. {CAPTION}"


def _by_verdict(rows: pd.DataFrame) -> pd.DataFrame:
    rank = list(VERDICTS).index
    return rows.sort_values("verdict", key=lambda c: c.map(rank), kind="stable")


def _interval(row: dict, of: str) -> str:
    value, low, high = (row[f"{of}{name}"] for name in ("value", "low", "high"))
    if math.isnan(value):
        return "–"
    return f"{value:.3g}" if math.isnan(low) else f"{value:.3g} [{low:.3g}, {high:.3g}]"


def _said_control(row: dict) -> str:
    """The control's verdict and numbers, if there is a control and it has any."""
    if math.isnan(row["control_value"]):
        return "–"
    return f"{row['control']}: {_interval(row, 'control_')}"


def _footnotes(rows: pd.DataFrame) -> list[str]:
    """A line for each reason, and for each why there is no control, with its claims."""
    told = rows[rows["reason"] != ""].groupby("reason", sort=False)["claim"]
    found = [f"{', '.join(dict.fromkeys(claims))}: {reason}." for reason, claims in told]
    without = rows[rows["control"].str.startswith("none: ")].groupby("control", sort=False)["claim"]
    for why, claims in without:
        named = ", ".join(dict.fromkeys(claims))
        found.append(f"Not asked of the original ({why.removeprefix('none: ')}): {named}.")
    return found


LAYOUT = Layout(
    name="claims",
    title="Claims",
    file="",
    frame=lambda found: found,
    fields=_fields,
    caption=_caption,
    nothing="No claim",
    keys=["dataset"],
    heading="{title}: {dataset}",
    tail=lambda row: "" if row["dataset"] else "nothing to ask them of",
    left=2,
    notes=_footnotes,
    order=_by_verdict,
    rests=None,
)
