"""The columns of printed tables: which numbers each shows, and how."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from unlearning.tables import render
from unlearning.tables.table import Column

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """A column and how a row prints under it. optional: left out where no row has anything."""

    column: Column
    show: Callable[[Row], str]
    optional: bool = False


@dataclass(frozen=True)
class Format:
    """How a number and its spread are printed."""

    name: str
    show: Callable[[float, float], str]
    unit: str = ""


def places(count: int) -> Format:
    """A number with so many decimals."""
    return Format(f"{count} decimals", lambda mean, sd: render.plus_minus(mean, sd, count))


def _root(value: float, _: float) -> str:
    return render.plus_minus(math.sqrt(value), math.nan, 4)


PERCENT = Format("percent, 1 decimal", render.percent, "%")
SCORE = Format("3 decimals", render.score)
SECONDS = Format("3 significant digits", render.seconds, "s")
PROBABILITY = Format("p value, 3 decimals", lambda p, _: render.probability(p))
ROOT = Format("square root, 4 decimals", _root)


def text(header: str, name: str = "", part: str = "", optional: bool = False) -> Field:
    """A column of text, – where it is empty; without a name that of the header."""
    name = name or header.lower()

    def show(row: Row) -> str:
        value = row[name]
        return value if isinstance(value, str) and value else "–"

    return Field(Column(header, part=part), show, optional)


def count(header: str, name: str, part: str = "") -> Field:
    """A whole number."""
    return Field(Column(header, "count", value=name, part=part), lambda row: str(row[name]))


def number(
    header: str, form: Format, value: str, spread: str = "", n: str = "", part: str = ""
) -> Field:
    """A number, ± its spread where there is one, by the names of their columns."""
    column = Column(header, form.name, form.unit, value, spread, n, part=part)
    return Field(column, lambda row: form.show(row[value], row[spread] if spread else math.nan))


def mean(header: str, form: Format, metric: str) -> Field:
    """The mean ± spread of a metric (METRIC_mean, METRIC_sd)."""
    return number(header, form, *(f"{metric}_{part}" for part in ("mean", "sd", "n")))


def interval(
    header: str, value: str, low: str, high: str, part: str = "", signed: bool = False
) -> Field:
    """`0.512 [0.480, 0.544]`: a number with its interval; signed: each with its sign."""
    column = Column(header, "3 decimals", value=value, low=low, high=high, part=part)
    sign = "+" if signed else ""
    return Field(column, lambda row: render.span(row[value], row[low], row[high], 3, sign))


def of_ok(one: Field) -> Field:
    """A number of cells: their status where none is ok, † where some are not."""

    def show(row: Row) -> str:
        if row["n_ok"] == 0:
            return row["status"].replace("_", " ")
        found = one.show(row)
        return found if found == "–" or not row["status_note"] else f"{found} †"

    return Field(one.column, show)


def _cells(row: Row) -> str:
    whole = row["n_ok"] == row["n_cells"]
    return str(row["n_ok"]) if whole else f"{row['n_ok']} of {row['n_cells']}"


AUS = of_ok(mean("AUS", SCORE, "aus"))
TIME = of_ok(mean("Time (s)", SECONDS, "unlearning_seconds"))
CELLS = Field(Column("n", "count", value="n_ok", n="n_cells"), _cells)
"""How many cells are ok, of how many."""
