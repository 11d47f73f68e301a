"""The tables of the page that hold verdicts: claims by what they ask, and the audit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import pandas as pd
from markupsafe import Markup

from unlearning.audit.reported import METRICS, Metric
from unlearning.audit.words import codes
from unlearning.claims.statements import QUESTIONS
from unlearning.claims.verdicts import HOLDS, IDLE
from unlearning.report.marks import Scale, against_bound, beside_reported, float_of
from unlearning.report.sheets import Sheet, counts, in_words, link
from unlearning.results.display import system
from unlearning.tables.render import probability

FAILS = "does not hold"
TIMES = (Metric("unlearning_seconds"), Metric("official_seconds"))
TONES = {
    HOLDS: "good",
    "reproduced": "good",
    FAILS: "bad",
    IDLE: "open",
    "differs": "bad",
    "not told apart": "open",
    "not comparable": "open",
}
"""How a verdict is coloured; others are grey. Its shape and its text say the same."""


def verdict(text: str) -> Markup:
    """A verdict as a coloured label."""
    tone = TONES.get(text, "grey")
    return Markup('<span class="verdict {}">{}</span>').format(tone, text)


def claims_sheets(claims: pd.DataFrame, traced: set[tuple]) -> list[Sheet]:
    """A table for each question, a row a claim and place that it was asked of."""
    claims = claims.assign(number=range(len(claims)))
    often = set(claims["claim"][claims["claim"].duplicated()])
    asked = [name for name in QUESTIONS if name in set(claims["asks"])]
    asked += sorted(set(claims["asks"]) - set(asked))
    return [
        Sheet(
            id=f"claims-{number}",
            title=QUESTIONS.get(name, name),
            headers=["Verdict", "Statement", "Interval and bound", "Value [95 %]", "Bound", "n"],
            rows=[
                _claim(row, row["claim"] in often, traced)
                for row in claims[claims["asks"] == name].to_dict("records")
            ],
            left=2,
            wrapped=(1,),
        )
        for number, name in enumerate(asked, 1)
    ]


def _claim(row: Mapping[str, str], often: bool, traced: set[tuple]) -> list[str]:
    place = _place(row)
    statement = f"{row['statement']} ({row['experiment']})" if often else row["statement"]
    details = {
        "Asked of": place,
        "Quantity": row["quantity"],
        "Unit": row["unit"],
        "Holds for": row["over"],
        "p": number(row["p"], probability),
        "Test": row["test"],
        "Original": _control(row),
        "Reason": row["reason"],
        "Source": row["source"],
        "Cells": traces(row["trace"], traced),
        "Name": row["claim"],
    }
    first = next(iter(keys(row["trace"])), ("", "", ""))
    return [
        verdict(row["verdict"]),
        folded(statement, details, claim_id(row["number"])),
        against_bound(row, said(row)),
        link(interval(row, "value"), first, traced),
        row["bound"],
        row["n"] or "–",
    ]


def claim_id(row: int) -> str:
    """The id of a row of claims.csv in the page."""
    return f"claim-{row}"


def said(row: Mapping[str, str]) -> str:
    """Value, interval, bound and unit of a row of claims.csv in words."""
    return f"{interval(row, 'value')}, claimed {row['bound']} {row['unit']}".strip()


def folded(summary: str, details: Mapping[str, str], anchor: str) -> Markup:
    """A line that opens to a list of what is known, empty values left out."""
    pairs = [
        Markup("<dt>{}</dt><dd>{}</dd>").format(name, value)
        for name, value in details.items()
        if value not in ("", "–")
    ]
    fold = '<details id="{}"><summary>{}</summary><dl>{}</dl></details>'
    return Markup(fold).format(anchor, summary, Markup("").join(pairs))


def keys(text: str) -> list[tuple[str, ...]]:
    """The space-separated `experiment/scenario/method`."""
    return [tuple(part.split("/")) for part in text.split()]


def traces(text: str, traced: set[tuple]) -> str:
    """Links to the cells of each `experiment/scenario/method` that the manifest has."""
    found = keys(text)
    shown = [key[-1] if key in traced else "/".join(key) for key in found]
    return Markup(", ").join(map(link, shown, found, itertools.repeat(traced)))


def number(text: str, show: Callable[[float], str] = "{:.3g}".format) -> str:
    """A number to three significant digits, or as `show` has it; – where there is none.

    What is left of zero by rounding (2.8e-17) is zero.
    """
    try:
        return show(round(float(text), 12) + 0.0)
    except ValueError:
        return text or "–"


def interval(row: Mapping[str, str], name: str, of: str = "") -> str:
    """`0.01 [-0.02, 0.03]`, from the columns of a row."""
    low, high = row[f"{of}low"], row[f"{of}high"]
    ends = f"[{number(low)}, {number(high)}]" if low else ""
    return f"{number(row[name])} {ends}".rstrip()


def _control(row: Mapping[str, str]) -> str:
    """The verdict on the original in the method's place with its interval, or why there is none."""
    if not row["control_value"]:
        return row["control"] or "–"
    return f"{row['control']}: {interval(row, 'control_value', 'control_')}"


def _place(row: Mapping[str, str]) -> str:
    where = system(row["dataset"], row["arch"]) if row["dataset"] else ""
    return ", ".join(part for part in (in_words(row["scenario"]), where) if part) or "–"


def audit_sheet(audit: pd.DataFrame, traced: set[tuple]) -> Sheet:
    """A row a reported number, ours beside it; rows of one metric share the scale of their plot."""
    scales = {
        metric: Scale.around(
            map(float_of, (*rows["reported"], *rows["ours"])), log=METRICS.get(metric) in TIMES
        )
        for metric, rows in audit.groupby("metric")
    }
    headers = ["Method", "Metric", "Where", "Verdict", "Grade"]
    headers += ["◇ reported, ● ours", "Reported", "Ours [95 %]"]
    rows = [_reported(row, scales.get(row["metric"]), traced) for row in audit.to_dict("records")]
    return Sheet("audit-table", "Reported numbers", headers, rows, left=5, wrapped=(0, 1, 2))


def _reported(row: Mapping[str, str], scale: Scale | None, traced: set[tuple]) -> list[str]:
    printed = " ± ".join(part for part in (row["reported"], row["spread"]) if part)
    details = {
        "Row": row["row"],
        "Reported in": ", ".join(
            row[name] for name in ("source", "version", "table_or_figure") if row[name]
        ),
        "Exactness": row["exactness"],
        "± over": row["spread_over"],
        "Judged": _quantity(row),
        "Difference": number(row["difference"]),
        "h": number(row["h"]),
        "n": row["n"],
        "Reason": row["reason"],
        "Cells": traces(row["trace"], traced),
        "Command": Markup("<code>{}</code>").format(row["command"]) if row["command"] else "",
    }
    where = ", ".join(part for part in (row["dataset"], in_words(row["scenario"])) if part)
    ours = interval(row, "ours")
    first = next(iter(keys(row["trace"])), ("", "", ""))
    return [
        row["method"],
        row["metric"],
        folded(where or "–", details, f"audit-{row['row']}"),
        verdict(row["verdict"]),
        row["grade"] or "–",
        beside_reported(row, scale, f"reported {printed}, ours {ours}"),
        printed,
        link(ours, first, traced),
    ]


def _quantity(row: Mapping[str, str]) -> str:
    """What is judged where it is not the number as printed: its name, reported and ours."""
    if row["quantity"] in ("", row["metric"]):
        return "–"
    sides = number(row["reported_quantity"]), number(row["our_quantity"])
    return f"{row['quantity']}: {sides[0]}, ours {sides[1]}"


def counts_sheet(audit: pd.DataFrame) -> Sheet:
    """How many reported numbers have each grade and verdict, and why."""
    found = counts(audit.assign(reason=audit["reason"].map(codes)), ["grade", "verdict", "reason"])
    rows = [[grade or "–", verdict(name), why or "–", str(n)] for grade, name, why, n in found]
    headers = ["Grade", "Verdict", "Reason", "Numbers"]
    return Sheet("audit-counts", "Grades, verdicts and reasons", headers, rows, left=3)
