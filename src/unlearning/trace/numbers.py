"""Trace a printed number to its cells, and to what made each of them.

The number is not trusted: its table is computed again from runs.csv and similar files and compared
with every copy, CSV and JSON to the last bit, the Markdown as printed.
"""

from __future__ import annotations

import difflib
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from unlearning.frames import read_table
from unlearning.results.keys import KEY
from unlearning.tables import render, table
from unlearning.tables.table import NAMES, Cell, Column, Table
from unlearning.trace.made import cells, models
from unlearning.trace.run import NotFound, Run

LISTED = 40
"""Maximum number of a column's values in a message."""
PARTS = {"mean": statistics.fmean, "sd": statistics.stdev, "n": len}
"""What a column METRIC_PART is of the cells' values."""


@dataclass(frozen=True)
class Traced:
    """A table that can be traced.

    build: the table again, from the run's files. values: the measurements behind a row and
    column, a row each with `value`, `metric` and what is known of the cell. file: the name of its
    files below `made`, without an ending.
    """

    name: str
    build: Callable[[Run], Table]
    values: Callable[[Run, Mapping[str, Any], str], pd.DataFrame]
    file: str

    def table(self, run: Run) -> Table:
        """The table of a run, made once."""
        if self.name not in run.built:
            run.built[self.name] = self.build(run)
        return run.built[self.name]


def trace(run: Run, known: Mapping[str, Traced], name: str, words: Sequence[str]) -> dict[str, Any]:
    """What a number is, as `number` says it.

    words: what names the row, each a value of NAMES or `column=value`, and last the column: one
    of the CSV file, a metric (its mean), or a header as it is printed. Raises NotFound, listing
    what there is, for an unknown table, row or column.
    """
    traced = known[one_of(name, known, "table")]
    ours = traced.table(run)
    if ours.frame.empty:
        raise NotFound(f"{name}: this run has no row of it")
    if not words:
        raise NotFound(f"{name}: name a row and a column; rows: {_choices(_named(ours))}")
    *rows, last = words
    row = _row(ours, rows)
    return number(run, traced, row, _column(ours, row, last))


def number(
    run: Run, traced: Traced, row: int, column: str, opened: dict[Path, Any] | None = None
) -> dict[str, Any]:
    """A number of a table as JSON: as `stands`, its cells, what made them, and `wrong`.

    row: of the table's frame. `wrong` lists what does not agree.
    """
    known = traced.table(run).frame.loc[row].to_dict()
    values = traced.values(run, known, column).reset_index(drop=True)
    made_by = cells(run, values)
    found = stands(run, traced, row, column, opened) | {
        "values": values.astype(object).where(values.notna(), None).to_dict("records"),
        "again": _again(column, known, values),
        "cells": made_by,
        "models": models(run, made_by),
    }
    return found | {"wrong": [*found["wrong"], *_wrong(found)]}


def stands(
    run: Run, traced: Traced, row: int, column: str, opened: dict[Path, Any] | None = None
) -> dict[str, Any]:
    """A number of a table with its copies and what is wrong with them, as JSON.

    opened: the files that were read before, by path; more are added.
    """
    ours = traced.table(run)
    copies = list(_copies(run, traced, row, column, {} if opened is None else opened))
    words = [f"{name}={value}" for name, value in _named(ours).loc[row].items()]
    return {
        "run": run.folder.as_posix(),
        "table": traced.name,
        "row": ours.names(row),
        "column": column,
        "value": ours.text(row, column),
        "copies": copies,
        "words": [traced.name, *words, column],
        "wrong": [_said(copy) for copy in copies if not copy["agrees"]],
    }


def _said(copy: Mapping[str, Any]) -> str:
    shown = "nothing of this row" if copy["found"] is None else copy["found"]
    where = f"{copy['file']}, {copy['column']}"
    return f"{where}: says {shown}, the run's files give {copy['expected'] or 'nothing'}"


def one_of(asked: str, known: Iterable[str], what: str) -> str:
    """`asked`, if it is known. Raises NotFound with the nearest one and all of them."""
    known = list(known)
    if asked in known:
        return asked
    near = difflib.get_close_matches(asked, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise NotFound(f"no {what} {asked!r}{hint} There are: {', '.join(known)}")


def _named(ours: Table) -> pd.DataFrame:
    """The names that are enough to tell rows apart: an audit's rows have a number."""
    text = ours.identity
    names = list(text)
    if "row" in names:
        names = ["row"]
    if "claim" in names:
        names = [name for name in ("claim", *KEY) if name in names]
    return text[names]


def _choices(named: pd.DataFrame) -> str:
    """The columns that tell rows apart, with their values."""
    found = []
    for name, column in named.items():
        values = [v if v and ", " not in v else repr(v) for v in dict.fromkeys(column)]
        more = [f"… ({len(values)})"] if len(values) > LISTED else []
        if len(values) > 1:
            found.append(f"{name}: {', '.join([*values[:LISTED], *more])}")
    return "; ".join(found)


def _row(ours: Table, words: Sequence[str]) -> int:
    """The row that every word fits, and no other."""
    text, named, table = ours.identity, _named(ours), ours.name
    kept = pd.Series(True, index=text.index)
    for word in words:
        key, equals, value = word.partition("=")
        column = equals and key in text
        fits = text[key] == value if column else (text == word).any(axis=1)
        if not fits.any():
            known = sorted(set(text.to_numpy().ravel()) - {""})
            near = difflib.get_close_matches(value if column else word, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise NotFound(f"{table}: no row has {word!r}{hint} Rows: {_choices(named)}")
        kept &= fits
    if not kept.any():
        asked = ", ".join(words)
        raise NotFound(f"{table}: no row has all of {asked}. Rows: {_choices(named)}")
    if kept.sum() > 1:
        choices = _choices(named[kept])
        raise NotFound(f"{table}: {kept.sum()} rows fit; say which: {choices}")
    return int(text.index[kept][0])


def _column(ours: Table, row: int, asked: str) -> str:
    """The column of the CSV file that `asked` means."""
    numbers = [name for name in ours.frame if name not in NAMES]
    for name in (asked, f"{asked}_mean"):
        if name in numbers:
            return name
    for _, column, cell in _cells(ours):
        if cell.row == row and column.value and column.header.lower() == asked.lower():
            return column.value
    return one_of(asked, numbers, "column")


def _cells(ours: Table) -> Iterator[tuple[tuple[int, int], Column, Cell]]:
    """Every printed cell with its part and row, and its column."""
    for k, part in enumerate(ours.parts):
        for line, row in enumerate(part.rows):
            for column, cell in zip(part.columns, row, strict=True):
                yield (k, line), column, cell


def _copies(
    run: Run, traced: Traced, row: int, column: str, opened: dict[Path, Any]
) -> Iterator[dict[str, Any]]:
    """Where the number stands in the files that were made, and whether it is ours there."""
    ours, stem = traced.table(run), run.made / traced.file
    printed = [
        (place, named.header, cell.text)
        for place, named, cell in _cells(ours)
        if cell.row == row and column in named.numbers
    ]
    for ending, (read, compare) in FORMS.items():
        path = stem.with_suffix(ending)
        if path.is_file():
            there = opened[path] if path in opened else opened.setdefault(path, read(path))
            for name, expected, found in compare(there, ours, row, column, printed):
                copy = {"file": path.as_posix(), "column": name, "expected": expected}
                yield copy | {"found": found, "agrees": found == expected}


Copy = tuple[str, str, str | None]
"""A column or header, what should stand there, and what does; None if there is no such row."""
Printed = Sequence[tuple[tuple[int, int], str, str]]


def _csv_copy(
    there: pd.DataFrame, ours: Table, row: int, column: str, printed: Printed
) -> Iterator[Copy]:
    expected = ours.text(row, column)
    named = _named(ours)
    names = [name for name in named if name in there]
    same = there[(there[names] == named.loc[row, names]).all(axis=1)]
    known = column in there and len(same) == 1
    yield column, expected, same[column].iloc[0] if known else None


def _json_copies(
    there: Table, ours: Table, row: int, column: str, printed: Printed
) -> Iterator[Copy]:
    """The number at full precision, and each text that prints it."""
    names = ours.names(row)
    same = [k for k, known in there.identity.iterrows() if known.to_dict() == names]
    expected = ours.text(row, column)
    known = column in there.frame and len(same) == 1
    yield column, expected, there.text(same[0], column) if known else None
    texts = {(c.header, cell.text) for _, c, cell in _cells(there) if cell.row in same}
    for _, header, text in printed:
        others = [other for name, other in texts if name == header]
        yield header, text, text if (header, text) in texts else next(iter(others), None)


def _markdown_copies(
    there: set[str], ours: Table, row: int, column: str, printed: Printed
) -> Iterator[Copy]:
    """Each text of a row that stands there as it is printed, to the last character."""
    for (part, line), header, text in printed:
        wanted = render.markdown_lines(ours.parts[part].printed)[line + 2]
        yield header, text, text if wanted in there else None


def _lines(path: Path) -> set[str]:
    return set(path.read_text(encoding="utf-8").splitlines())


FORMS: dict[str, tuple[Callable[[Path], Any], Callable[..., Iterator[Copy]]]] = {
    ".csv": (read_table, _csv_copy),
    ".json": (table.read, _json_copies),
    ".md": (_lines, _markdown_copies),
}
"""The files of a table, by ending: how each is read, and compared with a number."""


def _again(column: str, row: Mapping[str, Any], values: pd.DataFrame) -> dict[str, Any] | None:
    """The number by plain arithmetic from the values; None if it is no mean, spread or count."""
    metric, _, part = column.rpartition("_")
    if column in PARTS:
        metric, part = "", column
    if part not in PARTS or metric in ("aus_of_means", "group", "paper") or not len(values):
        return None
    if values["metric"].nunique() != 1 or values["method"].nunique() != 1:
        return None
    known = values["value"].dropna().tolist()
    if len(known) < {"mean": 1, "sd": 2, "n": 0}[part]:
        return None
    found = float(PARTS[part](known))
    number = float(row[column])
    agrees = math.isclose(found, number, rel_tol=1e-9, abs_tol=1e-12)
    return {"part": part, "n": len(known), "value": found, "agrees": agrees}


def _wrong(found: Mapping[str, Any]) -> Iterable[str]:
    """A line for everything that does not agree."""
    again = found["again"]
    if again and not again["agrees"]:
        yield f"{again['part']} of the {again['n']} values is {again['value']!r}, not the number"
    for cell in found["cells"]:
        where = f"{cell['method']}, {cell['split']}, training seed {cell['train_seed']}"
        for role, now in cell["here"].items():
            if now.startswith("changed"):
                yield f"{where}: its {role} differs from the manifest ({now})"
        for one in cell["measured"]:
            if not one["agrees"]:
                yield f"{where}: {one['metric']} is {one['value']} in {one['file']}"
    for model in found["models"]:
        if model["weights_here"].startswith("changed"):
            yield f"{model['weights']}: {model['weights_here']}, the cells started from another"
        now = model["pretrained_here"] or ""
        if now.startswith("changed"):
            yield f"{model['pretrained']}: {now}, {model['weights']} was trained from another"
