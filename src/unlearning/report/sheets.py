"""The tables of the page: cells as text or markup."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup, escape

from unlearning.metrics.aus import SCENARIOS
from unlearning.metrics.names import STUDY_TABLES
from unlearning.report.drawings import as_download, in_order, present
from unlearning.results.manifest import trace_id
from unlearning.results.shown import tables
from unlearning.tables import table
from unlearning.tables.render import seconds, with_symbols

TRACED = ["experiment", "scenario", "method"]
"""What a link leads to: the cells of these."""


@dataclass(frozen=True)
class Sheet:
    """A table of the page, its cells as text or markup.

    The first `left` columns are text and stand to the left; `wrapped` ones break their lines.
    Those under a header that ends in "verdict" can be chosen from.
    """

    id: str
    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    notes: Sequence[str] = ()
    left: int = 1
    wrapped: tuple[int, ...] = ()


@dataclass(frozen=True)
class Result:
    """A table of the run: its printed parts, or the sentence that stands there if it is empty."""

    name: str
    title: str
    sheets: list[Sheet]
    nothing: str
    numbers: str


def counts(frame: pd.DataFrame, columns: list[str]) -> list[tuple]:
    """Each combination of values with how often it is there, the most frequent first."""
    found = frame.groupby(columns, sort=True).size().sort_values(ascending=False, kind="stable")
    return [(*(key if isinstance(key, tuple) else (key,)), n) for key, n in found.items()]


def link(text: str, key: tuple[str, ...], traced: set[tuple]) -> str:
    """`text`, which leads to the cells of `key` if the manifest has them."""
    if key not in traced:
        return text
    return Markup('<a href="#{}">{}</a>').format(trace_id(*key), text)


def in_words(text: str) -> str:
    """A name with blanks in place of underscores."""
    return text.replace("_", " ")


def results(folder: Path, traced: set[tuple]) -> list[Result]:
    """The tables of a folder; methods lead to their cells."""
    found = []
    for path in in_order(folder.glob("*.csv"), (*tables(SCENARIOS), *STUDY_TABLES)):
        present(path.with_suffix(".json"))
        own = table.read(path.with_suffix(".json"))
        sheets = [_printed(own, number, traced) for number in range(len(own.parts))]
        nothing = "" if sheets else f"{own.nothing}."
        found.append(Result(own.name, own.title, sheets, nothing, as_download(path)))
    return found


def _printed(own: table.Table, number: int, traced: set[tuple]) -> Sheet:
    """A printed table with its symbols set, and a link from each method to its cells."""
    part = own.parts[number]
    rows = [
        [
            link(_symbols(cell.text), _key(own, cell.row), traced)
            if column.header in ("Method", "Variant")
            else _symbols(cell.text)
            for column, cell in zip(part.columns, row, strict=True)
        ]
        for row in part.rows
    ]
    return Sheet(
        id=f"{own.name}-{number + 1}",
        title=_symbols(part.title),
        headers=[_symbols(column.header) for column in part.columns],
        rows=rows,
        caption=_symbols(part.caption),
        notes=[_symbols(note) for note in part.notes],
        left=part.left,
    )


def _key(own: table.Table, row: int) -> tuple[str, ...]:
    """The experiment, scenario and method of a row."""
    names = own.names(row)
    return tuple(names.get(name, "") for name in TRACED)


def _symbols(text: str) -> Markup:
    """A_r, A_f^t, … with their indices set."""
    plain = lambda part: str(escape(part))  # noqa: E731
    return Markup(with_symbols(text, plain, str, "<sub>%s</sub>", "<sup>%s</sup>"))


def times_sheet(manifest: pd.DataFrame) -> Sheet:
    """Seconds by method: in all, on average, the shortest and the longest."""
    headers = ["Experiment", "Scenario", "Method", "Jobs", "Total (s)", "Mean (s)"]
    headers += ["Shortest (s)", "Longest (s)"]
    traced = set(manifest[TRACED].itertuples(index=False, name=None))
    rows = []
    for key, cells in manifest[manifest["record"] != ""].groupby(TRACED, sort=False):
        own = cells["seconds"].dropna()
        found = [own.sum(min_count=1), own.mean(), own.min(), own.max()]
        shown = [seconds(value, float("nan")) for value in found]
        rows.append([key[0], in_words(key[1]), link(key[2], key, traced), str(len(cells)), *shown])
    return Sheet("times-table", "Seconds by method", headers, rows, left=3)


def software_sheet(manifest: pd.DataFrame) -> Sheet:
    """Each package with its versions and how many records name them, one line a version."""
    ran = manifest[manifest["record"] != ""]
    versions = [_versions(*row) for row in ran[["record", "software"]].to_numpy()]
    names = sorted({name for found in versions for name in found})
    rows = []
    for name in names:
        own = pd.Series([found.get(name, "not there") for found in versions]).value_counts()
        agree = "" if len(own) == 1 else Markup('<span class="verdict bad">records differ</span>')
        rows += [[name, version, str(n), agree] for version, n in sorted(own.items())]
    headers = ["Package", "Version", "Records", "Agreement"]
    if all(not row[-1] for row in rows):
        headers, rows = headers[:-1], [row[:-1] for row in rows]
    return Sheet("software-table", "Software", headers, rows, left=2)


def _versions(record: str, text: str) -> dict[str, str]:
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError) as error:
        raise ValueError(f"manifest: {record}: software is not a JSON object: {error}") from error
