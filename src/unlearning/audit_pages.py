"""The audit as printed tables and pages: a frame of `audit` as Markdown, LaTeX and HTML."""

from __future__ import annotations

import math
import re
import textwrap

import pandas as pd

from unlearning import reported as names
from unlearning.audit import REASONS, VERDICTS
from unlearning.manifest import trace_id
from unlearning.metrics.names import COSTS
from unlearning.render import Section, latex, markdown, page, plus_minus, seconds

ROWS = 40
"""The most rows of one table in LaTeX, which breaks no table over pages."""
CAPTION = (
    "In the tables below, reported: as printed, in the metric's unit, ± its spread; ours: mean "
    "over n cells with its 95 % interval; difference: ours less reported; row: line of "
    "paper/reported.csv; cells: what was averaged. Verdicts and reasons are explained at the end."
)


def sections(found: pd.DataFrame) -> list[Section]:
    """`audit` as printed tables: a summary, a table a data set and scenario, the explanations."""
    datasets = found["dataset"].map(lambda text: names.own_dataset(text, ()) or text)
    scenarios = found["scenario"].map(lambda text: names.own_scenario(text) or text)
    parts = [
        _part(f"Reported numbers: {dataset}, {scenario.replace('_', ' ')}", rows)
        for (dataset, scenario), rows in found.groupby([datasets, scenarios], sort=False)
    ]
    return [_summary(found), *parts, *_explanations()]


def _summary(found: pd.DataFrame) -> Section:
    shown = found.assign(reason=found["reason"].map(_shown))
    counts = shown.groupby(["verdict", "reason"], sort=False).size().reset_index(name="Numbers")
    order = list(VERDICTS)
    counts = counts.sort_values("verdict", key=lambda c: c.map(order.index), kind="stable")
    counts = counts.rename(columns={"verdict": "Verdict", "reason": "Reason"}).astype(str)
    caption = f"{len(found)} reported numbers: {_tally(found)}. {CAPTION}"
    return Section("Summary", caption, counts.replace("", "–"), [])


def _tally(rows: pd.DataFrame) -> str:
    counts = rows["verdict"].value_counts()
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if verdict in counts)


def _part(title: str, rows: pd.DataFrame) -> Section:
    cells = pd.DataFrame([_printed(row) for row in rows.to_dict("records")])
    if not rows["trace"].any():
        cells = cells.drop(columns="Cells")
    return Section(title, f"{_tally(rows)}.", cells, _notes(rows), left=3)


def _printed(row: dict) -> dict[str, str]:
    show = _shower(row["metric"])
    ends = "" if math.isnan(row["low"]) else f" [{show(row['low'])}, {show(row['high'])}]"
    spread = "" if math.isnan(row["spread"]) else f" ± {row['spread']:g}"
    sign = "+" if row["difference"] > 0 else ""
    return {
        "Row": str(row["row"]),
        "Method": row["method"],
        "Metric": row["metric"],
        "Reported": f"{row['reported']}{spread}",
        "Ours [95 %]": show(row["ours"]) + ends,
        "Difference": f"{sign}{show(row['difference'])}".replace("-", "−"),
        "n": "–" if pd.isna(row["n"]) else str(row["n"]),
        "Verdict": row["verdict"],
        "Reason": _shown(row["reason"]) or "–",
        "Cells": row["trace"] or "–",
    }


def _shower(name: str):
    """How a number of the metric is printed: percent to two decimals, scores to three."""
    metric = names.METRICS.get(name)
    if metric and metric.column in COSTS:
        return lambda value: seconds(value, math.nan)
    places = 2 if metric and metric.factor == 100 else 3
    return lambda value: plus_minus(value, math.nan, places)


DETAIL = re.compile(r"(none_ok|some_not_ok): (.*)", re.DOTALL)


def _shown(reason: str) -> str:
    """The reason without the names of the cells, which stand in a note."""
    return DETAIL.sub(r"\1", reason)


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
        "h = t SE + e at 95 %, with SE² = s_r²/10 + s_b²/B + s_t² (1 + 1/S): s_r the reported "
        "spread over ten runs, s_b ours over B forget sets, s_t ours over S training seeds; e the "
        "reading error, or half a unit of the last printed digit (paper/AUDIT.md)."
    )
    found = [("Verdicts", rule, "Verdict", VERDICTS), ("Reasons", "Code words.", "Code", REASONS)]
    return [
        Section(title, caption, pd.DataFrame(texts.items(), columns=[head, "Meaning"]), [])
        for title, caption, head, texts in found
    ]


def documents(claims: list[Section], found: pd.DataFrame) -> dict[str, str]:
    """The audit as text by ending, `md`, `tex` and `html`: claims first, then the numbers."""
    printed, nothing = [*claims, *sections(found)], "Nothing was reported"
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
