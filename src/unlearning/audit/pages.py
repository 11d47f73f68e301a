"""The audit as printed tables and pages: Markdown, LaTeX and HTML of `rows` and `orders`."""

from __future__ import annotations

import math
import re
import textwrap

import pandas as pd

from unlearning.audit import reported as names
from unlearning.audit.quantities import A_T
from unlearning.audit.words import DETAIL, GRADES, REASONS, VERDICTS, codes, sentence, shown, tally
from unlearning.metrics.names import COSTS
from unlearning.results.manifest import trace_id
from unlearning.tables.render import Section, latex, markdown, page, plus_minus, seconds

ROWS = 40
"""The most rows of one table in LaTeX, which breaks no table over pages."""
CAPTION = (
    "In the tables below, reported: as printed, in the metric's unit, ± its spread; ours: mean "
    "over n cells with its 95 % interval; judged: the quantity that is, where it is not the number "
    "as printed, reported and ours; difference: ours less reported, of what is judged; h: the "
    "difference that both sides leave open; row: line of paper/reported.csv; cells: what was "
    "averaged. Grades, verdicts and reasons are explained at the end."
)
ORDERS = (
    "The order of methods from the highest value to the lowest, as reported and of ours, and "
    "Kendall's tau of the two with its 95 % interval. Reproduced: the interval lies at or above "
    "0.5, three of four pairs standing as reported; differs: below."
)


def sections(found: pd.DataFrame, orders: pd.DataFrame | None = None) -> list[Section]:
    """The audit as printed tables: summary, orders, a table a data set and scenario, words.

    found: of `rows.audit`. orders: of `orders.orders`; without it no table of orders.
    """
    datasets = found["dataset"].map(lambda text: names.own_dataset(text, ()) or text)
    scenarios = found["scenario"].map(lambda text: names.own_scenario(text) or text)
    parts = [
        _part(f"Reported numbers: {dataset}, {scenario.replace('_', ' ')}", rows, scenario)
        for (dataset, scenario), rows in found.groupby([datasets, scenarios], sort=False)
    ]
    ordered = [] if orders is None or orders.empty else [_orders(orders)]
    return [_summary(found), *ordered, *parts, *_explanations()]


def _summary(found: pd.DataFrame) -> Section:
    counted = found.assign(reason=found["reason"].map(codes))
    keys = ["grade", "verdict", "reason"]
    counts = counted.groupby(keys, sort=False).size().reset_index(name="Numbers")
    grades, order = [*GRADES, ""], list(VERDICTS)
    ranks = counts["grade"].map(grades.index), counts["verdict"].map(order.index)
    counts = counts.assign(a=ranks[0], b=ranks[1]).sort_values(["a", "b"], kind="stable")
    counts = counts.drop(columns=["a", "b"]).astype(str).replace("", "–")
    counts = counts.rename(columns={name: name.capitalize() for name in keys})
    caption = f"{len(found)} reported numbers: {tally(found)}. {CAPTION}"
    return Section("Summary", caption, counts, [])


def _part(title: str, rows: pd.DataFrame, scenario: str) -> Section:
    cells = pd.DataFrame([_printed(row) for row in rows.to_dict("records")])
    if not rows["trace"].any():
        cells = cells.drop(columns="Cells")
    caption = f"{_originals(rows, scenario)}{sentence(tally(rows))}."
    return Section(title, caption, cells, _notes(rows), left=3)


def _originals(rows: pd.DataFrame, scenario: str) -> str:
    """The original's accuracy, as published and ours: what most differences come down to."""
    if scenario not in A_T:
        return ""
    methods = rows["method"].map(names.own_method)
    metrics = rows["metric"].map(lambda text: names.METRICS.get(text))
    about = metrics.map(lambda metric: metric is not None and metric.column == A_T[scenario])
    found = rows[(methods == "original") & about]
    if found.empty:
        return "The original's accuracy is not reported. "
    row = _printed(found.iloc[0].to_dict())
    ours = row["Ours [95 %]"]
    mine = "not in this run" if ours == "–" else f"{ours} (grade {row['Grade']}, {row['Cells']})"
    return f"Original, {row['Metric']}: published {row['Reported']}, ours {mine}. "


def _orders(orders: pd.DataFrame) -> Section:
    printed = []
    for row in orders.to_dict("records"):
        ends = "" if math.isnan(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]"
        tau = "–" if math.isnan(row["tau"]) else f"{row['tau']:.2f}{ends}".replace("-", "−")
        printed.append(
            {
                "Reported in": row["table_or_figure"],
                "Data set": row["dataset"],
                "Scenario": row["scenario"],
                "By": row["metric"],
                "Reported": row["reported"] or "–",
                "Ours": row["ours"] or "–",
                "Kendall's tau [95 %]": tau,
                "Grade": row["grade"] or "–",
                "Verdict": row["verdict"],
                "Reason": shown(row["reason"]) or "–",
            }
        )
    return Section("Orders of methods", ORDERS, pd.DataFrame(printed), [], left=6)


def _printed(row: dict) -> dict[str, str]:
    show, of_judged = _shower(row["metric"]), _shower(row["metric"])
    if row["quantity"].startswith("UT / "):
        of_judged = lambda value: plus_minus(value, math.nan, 2)  # noqa: E731
    ends = "" if math.isnan(row["low"]) else f" [{show(row['low'])}, {show(row['high'])}]"
    spread = "" if math.isnan(row["spread"]) else f" ± {row['spread']:g}"
    sign = "+" if row["difference"] > 0 else ""
    judged = "–"
    if row["quantity"] not in ("", row["metric"]):
        sides = of_judged(row["reported_quantity"]), of_judged(row["our_quantity"])
        judged = f"{row['quantity']}: {sides[0]}, ours {sides[1]}".replace("-", "−")
    return {
        "Row": str(row["row"]),
        "Method": row["method"],
        "Metric": row["metric"],
        "Reported": f"{row['reported']}{spread}",
        "Ours [95 %]": show(row["ours"]) + ends,
        "Judged": judged,
        "Difference": f"{sign}{of_judged(row['difference'])}".replace("-", "−"),
        "h": of_judged(row["h"]),
        "n": "–" if pd.isna(row["n"]) else str(row["n"]),
        "Grade": row["grade"] or "–",
        "Verdict": row["verdict"],
        "Reason": shown(row["reason"]) or "–",
        "Cells": row["trace"] or "–",
    }


def _shower(name: str):
    """How a number of the metric is printed: percent to two decimals, scores to three."""
    metric = names.METRICS.get(name)
    if metric and metric.column in COSTS:
        return lambda value: seconds(value, math.nan)
    places = 2 if metric and metric.factor == 100 else 3
    return lambda value: plus_minus(value, math.nan, places)


def _notes(rows: pd.DataFrame) -> list[str]:
    """Where the numbers stand and how exact they are; cells that are not ok; what would run."""
    notes = []
    origin = ["source", "version", "table_or_figure", "exactness"]
    for texts, group in rows.groupby(origin, sort=False):
        notes.append(f"{_lines(group)}: {', '.join(text for text in texts if text)}.")
    details = rows["reason"].str.extract(DETAIL)[1].dropna()
    for detail, group in rows.loc[details.index].groupby(details, sort=False):
        notes.append(f"{_lines(group)}: {detail}.")
    for command, group in rows[rows["command"] != ""].groupby("command", sort=False):
        notes.append(f"{_lines(group)} would be run by: {command}")
    return notes


def _lines(rows: pd.DataFrame) -> str:
    """`Rows 10–12, 14`."""
    spans: list[list[int]] = []
    for row in rows["row"]:
        if spans and row == spans[-1][1] + 1:
            spans[-1][1] = row
        else:
            spans.append([row, row])
    said = [f"{first}" if first == last else f"{first}–{last}" for first, last in spans]
    return f"Row{'s' if len(rows) > 1 else ''} {', '.join(said)}"


def _explanations() -> list[Section]:
    rule = (
        "h = t SE + e at 95 %, with SE² = s_r²/10 + s_b²/B + s_t² (1 + 1/S), in grade B with "
        "2 s_o² as the last term: s_r the reported spread over ten runs, s_b ours over B forget "
        "sets, s_t ours over S training seeds, s_o ours over originals of other recipes; e the "
        "reading error, or half a unit of the last printed digit (paper/AUDIT.md)."
    )
    found = [
        ("Grades", "How comparable ours is.", "Grade", GRADES),
        ("Verdicts", rule, "Verdict", VERDICTS),
        ("Reasons", "Code words.", "Code", REASONS),
    ]
    return [
        Section(title, caption, pd.DataFrame(texts.items(), columns=[head, "Meaning"]), [])
        for title, caption, head, texts in found
    ]


def documents(
    claims: list[Section], found: pd.DataFrame, orders: pd.DataFrame | None = None
) -> dict[str, str]:
    """The audit as text by ending, `md`, `tex` and `html`: claims first, then the numbers."""
    printed, nothing = [*claims, *sections(found, orders)], "Nothing was reported"
    return {
        "md": markdown(printed, nothing),
        "tex": latex([piece for section in printed for piece in _pieces(section)], nothing),
        "html": _linked(page(printed, "Audit", nothing)),
    }


def _pieces(section: Section) -> list[Section]:
    """For LaTeX: several tables of at most ROWS rows, the notes under the last; no long column."""
    shown = section.cells.drop(columns="Cells", errors="ignore")
    if "Meaning" in shown:
        shown = shown.assign(Meaning=[textwrap.wrap(text, 90) for text in shown["Meaning"]])
        shown = shown.explode("Meaning")
        shown.iloc[:, 0] = shown.iloc[:, 0].where(~shown.index.duplicated(), "")
    starts = range(0, len(shown), ROWS)
    found = []
    for start in starts:
        title = section.title if start == 0 else f"{section.title} (continued)"
        cells = shown.iloc[start : start + ROWS]
        notes = section.notes if start == starts[-1] else []
        caption = section.caption if start == 0 else ""
        found.append(Section(title, caption, cells, notes, section.left))
    return found


CELLS = re.compile(r"<td>([^<>/\s]+)/([^<>/\s]+)/([^<>/\s]+)</td>")
STYLE = """\
.left3 :is(th, td):nth-child(-n+3) { text-align: left; }
td:first-child, td:nth-last-child(-n+2) { white-space: normal; max-width: 40em;
  min-width: 3.5em; }
p { overflow-wrap: anywhere; }
</style>"""


def _linked(text: str) -> str:
    """The page with links from what was averaged to report.html, and with long cells wrapped."""

    def link(match: re.Match) -> str:
        target = f"report.html#{trace_id(*match.groups())}"
        return f'<td><a href="{target}" title="{"/".join(match.groups())}">{match[3]}</a></td>'

    return CELLS.sub(link, text).replace("</style>", STYLE, 1)
