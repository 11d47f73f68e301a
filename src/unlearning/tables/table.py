"""A table as one object: full precision, printed text, and what each number rests on.

`tables/NAME.json` holds it; whoever shows, quotes or traces a number reads that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from unlearning.files import DamagedFile, read_json, write_text
from unlearning.tables import render

VERSION = 1
"""Of the form of the JSON file (CHANGELOG.md)."""
NAMES = [
    *("row", "claim", "experiment", "dataset", "arch", "scenario", "classes_removed"),
    *("source", "label", "method", "metric", "layer", "measure", "percentile", "quantity"),
    *("against", "output", "pair"),
]
"""The columns that name a row of a table, of those that it has."""


@dataclass(frozen=True)
class Column:
    """A printed column: its header, how and in which unit it prints numbers, and which.

    value, spread, n, low, high: columns of the CSV file, "" where there is none. part: of a table
    with several rows of the CSV file in one printed row, the one that is meant.
    """

    header: str
    format: str = "text"
    unit: str = ""
    value: str = ""
    spread: str = ""
    n: str = ""
    low: str = ""
    high: str = ""
    part: str = ""

    @property
    def numbers(self) -> list[str]:
        """The columns of the CSV file that it prints."""
        names = (self.value, self.spread, self.n, self.low, self.high)
        return [name for name in names if name]


@dataclass(frozen=True)
class Cell:
    """What stands at one place: the text, the number at full precision, what that rests on.

    row: the row of the CSV file, from 0. value, spread, n: in the CSV file's unit, None where
    there is none. rests_on: places in the table's `basis`.
    """

    text: str
    row: int | None = None
    value: float | None = None
    spread: float | None = None
    n: float | None = None
    rests_on: Sequence[int] = ()


@dataclass(frozen=True)
class Part:
    """One printed table: the first `left` columns are text and stand to the left."""

    title: str
    caption: str
    notes: list[str]
    left: int
    columns: list[Column]
    rows: list[list[Cell]]

    @property
    def printed(self) -> render.Section:
        """Its texts."""
        headers = [column.header for column in self.columns]
        cells = pd.DataFrame([[cell.text for cell in row] for row in self.rows], columns=headers)
        return render.Section(self.title, self.caption, cells, self.notes, self.left)


@dataclass(frozen=True)
class Table:
    """A table of a run.

    nothing: the sentence that stands there if it is empty. frame: the CSV file; its index is
    0, 1, …. file: the file of the run that it is made from, without an ending. keys, basis: the
    rows of that file that its numbers rest on, by the columns that name them.
    """

    name: str
    title: str
    nothing: str
    frame: pd.DataFrame
    parts: list[Part] = field(default_factory=list)
    file: str = ""
    keys: list[str] = field(default_factory=list)
    basis: list[list[str]] = field(default_factory=list)

    @property
    def sections(self) -> list[render.Section]:
        """The printed tables."""
        return [part.printed for part in self.parts]

    @cached_property
    def identity(self) -> pd.DataFrame:
        """The columns of NAMES that it has, as text."""
        names = [name for name in NAMES if name in self.frame]
        return self.frame[names].map(in_csv)

    def names(self, row: int) -> dict[str, str]:
        """What names a row of the CSV file."""
        return self.identity.loc[row].to_dict()

    def text(self, row: int, column: str) -> str:
        """A value as the CSV file has it."""
        return in_csv(self.frame.at[row, column])


def in_csv(value: Any) -> str:
    """A value as the CSV file has it, "" where there is none."""
    return "" if pd.isna(value) else str(value)


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the index 0, 1, … and "" where a column of text is empty."""
    texts = [name for name in frame if frame[name].map(lambda v: isinstance(v, str)).any()]
    return frame.reset_index(drop=True).assign(**{name: frame[name].fillna("") for name in texts})


def number(value: Any) -> Any:
    """A number as JSON has it: None for text and what is not finite."""
    if isinstance(value, str) or value is None or not math.isfinite(value):
        return None
    return int(value) if value == int(value) and not isinstance(value, float) else float(value)


def write(folder: Path, table: Table) -> None:
    """NAME.csv, .json, .md, .tex and .html, each whole or not at all."""
    stem = folder / table.name
    texts = {
        "csv": table.frame.to_csv(index=False, lineterminator="\n"),
        "json": json.dumps(as_json(table), ensure_ascii=False, allow_nan=False) + "\n",
        "md": render.markdown(table.sections, table.nothing),
        "tex": render.latex(table.sections, table.nothing),
        "html": render.page(table.sections, table.title, table.nothing),
    }
    for ending, text in texts.items():
        write_text(stem.with_suffix(f".{ending}"), text)


def as_json(table: Table) -> dict[str, Any]:
    """The table as JSON; of columns, cells and rows what is empty is left out."""
    rows = table.frame.astype(object).to_numpy().tolist()
    return {
        "version": VERSION,
        "name": table.name,
        "title": table.title,
        "nothing": table.nothing,
        "columns": list(table.frame),
        "rows": [[v if isinstance(v, str) else number(v) for v in row] for row in rows],
        "rests_on": {"file": table.file, "keys": table.keys, "rows": table.basis},
        "sections": [
            {
                **{
                    key: value
                    for key, value in vars(part).items()
                    if key not in ("columns", "rows")
                },
                "columns": [_filled(column) for column in part.columns],
                "rows": [[_filled(cell) for cell in row] for row in part.rows],
            }
            for part in table.parts
        ],
    }


def _filled(one: Column | Cell) -> dict[str, Any]:
    return {key: value for key, value in asdict(one).items() if value not in (None, "", (), [])}


def read(path: Path) -> Table:
    """Read what `write` wrote as NAME.json.

    Raises FileNotFoundError, and DamagedFile for a file that is no table of this VERSION.
    """
    found = read_json(path)
    version = found.get("version") if isinstance(found, dict) else None
    if version != VERSION:
        raise DamagedFile(path, f"not a table of version {VERSION} (its version: {version})")
    frame = pd.DataFrame(found["rows"], columns=found["columns"])
    return Table(
        *(found[key] for key in ("name", "title", "nothing")),
        frame=plain(frame.map(lambda value: math.nan if value is None else value)),
        parts=[_part(part) for part in found["sections"]],
        **{name: found["rests_on"][key] for name, key in _BASIS.items()},
    )


_BASIS = {"file": "file", "keys": "keys", "basis": "rows"}


def _part(found: Mapping[str, Any]) -> Part:
    columns = [Column(**column) for column in found["columns"]]
    rows = [[Cell(**({"text": ""} | cell)) for cell in row] for row in found["rows"]]
    return Part(**{**found, "columns": columns, "rows": rows})
