"""A text of the paper and the numbers of the run's tables that it rests on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from unlearning.methods import ORIGINALS, REFERENCES
from unlearning.tables.evaluation_tables import BASELINE
from unlearning.tables.render import probability
from unlearning.tables.table import Table

APART = {
    "higher": "is higher than",
    "lower": "is lower than",
    "not told apart": "is not told apart from",
}
BLANK = (
    *("touches", "settings", "flag", "test_half", "over", "status_note", "verdict"),
    *("against", "rank_over", "difference_over"),
)
"""Columns of text that may be empty."""
AT = "at"
"""The column that says of which table, and which row of it, a row is."""


class Number(NamedTuple):
    """A number of a table: its row, from 0, and its column of the CSV file."""

    table: str
    row: int
    column: str


@dataclass(frozen=True)
class Quote:
    """A text, the numbers that it rests on, and the files of facts that are no table."""

    text: str
    numbers: tuple[Number, ...] = ()
    files: tuple[str, ...] = ()


Quotes = dict[str, Quote]


def rows_of(table: Table) -> pd.DataFrame:
    """The rows of a table at full precision, each with its place AT."""
    frame = table.frame
    blank = {name: frame[name].astype(object).fillna("") for name in BLANK if name in frame}
    return frame.assign(**blank, **{AT: [(table.name, k) for k in frame.index]})


def on(rows: pd.DataFrame | pd.Series | Mapping, *columns: str) -> tuple[Number, ...]:
    """The numbers of some columns, of a row or of several."""
    places = rows[AT] if isinstance(rows, pd.DataFrame) else [rows[AT]]
    return tuple(Number(*place, column) for place in places for column in columns)


def quote(show: Callable[..., str], row: pd.Series | Mapping, *columns: str) -> Quote:
    """The columns of one row as `show` prints them."""
    return Quote(show(*(row[name] for name in columns)), on(row, *columns))


def facts(texts: Mapping[str, str], *files: str) -> Quotes:
    """Texts that rest on files of the run or the project, not on a table."""
    return {name: Quote(text, files=files) for name, text in texts.items()}


def listed(words: Iterable[str]) -> str:
    """`a, b and c`; nothing is the word none."""
    *most, last = list(words) or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


def counted(n: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def p_value(p: float) -> str:
    """`p = 0.012`, `p < 0.001`."""
    text = probability(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def rivals(names: Iterable[str]) -> list[str]:
    """The methods that are neither DUCK nor a reference."""
    return [name for name in names if name not in (*REFERENCES, *ORIGINALS, BASELINE)]


def ranked(values: pd.Series, of: str, lowest: bool) -> str:
    """`3 of 17`: the place of `of` among `values`, 1 for the lowest or the highest."""
    return f"{int(values.rank(ascending=lowest, method='min')[of])} of {len(values)}"


def whole(value: float) -> int:
    """A count; 0 where it is unknown."""
    return 0 if math.isnan(value) else int(value)
