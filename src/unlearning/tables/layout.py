"""How a table is laid out: one class for all tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from unlearning.results.keys import KEY
from unlearning.results.runs import stand_ins
from unlearning.tables.basis import NAMED, File, Wanted, of_cells
from unlearning.tables.fields import Field, Row
from unlearning.tables.table import Cell, Part, Table, number, plain

Rows = pd.DataFrame
EMPTY = ("–", "")


@dataclass(frozen=True)
class Layout:
    """A table: its rows from a file of the run, its printed columns, what they mean.

    frame: the rows at full precision, of the typed file `file`. fields: the columns of a
    section's rows; the first `left` are text. caption: what they mean, or a function of a
    section's rows. nothing: the sentence if the table is empty. keys: a printed table for each of
    their values, under `heading` of its first row, with its experiment where several have the
    same, and `tail`. label: what a row is called in a footnote. notes: other footnotes than those
    on cells that are not ok; those on `stand_ins` follow. order: of the rows. beside: the column
    whose values stand side by side in the row of a method. study: of studies.csv, the one whose
    rows are meant. by: the columns that find the file's rows. rests: which of them a number of a
    row and column rests on; None if the table does not know.
    """

    name: str
    title: str
    file: str
    frame: Callable[[Rows], Rows]
    fields: Callable[[Rows], Sequence[Field]]
    caption: str | Callable[[Rows], str]
    nothing: str
    heading: str = "{title}, {scenario}: {dataset}, {arch}"
    keys: Sequence[str] = tuple(KEY)
    tail: Callable[[Row], str] = lambda row: ""
    left: int = 1
    label: Callable[[Row], str] = lambda row: row["method"]
    notes: Callable[[Rows], list[str]] | None = None
    order: Callable[[Rows], Rows] = lambda rows: rows
    beside: str = ""
    study: str = ""
    by: Sequence[str] = (*KEY, "method")
    rests: Callable[[File, Row, str], Wanted] | None = of_cells

    def rows_of(self, data: pd.DataFrame) -> File:
        """The rows of the run's file that the table is made from."""
        own = data[data["study"] == self.study] if self.study else data
        return File(self.file, own, self.by)

    def build(self, data: pd.DataFrame | None) -> Table:
        """The table of a typed file of the run; an empty one without the file."""
        if data is None:
            return self.without()
        frame = plain(self.frame(data))
        basis = _Basis(self, self.rows_of(data) if self.rests else None)
        groups = frame.groupby(list(self.keys), sort=False)
        lacks = stand_ins(data) if "method" in data else {}
        parts = [self._part(frame, rows, basis, lacks) for _, rows in groups]
        keys = NAMED[self.file] if self.rests else []
        return Table(
            self.name, self.title, self.nothing, frame, parts, self.file, list(keys), basis.named
        )

    def without(self) -> Table:
        """The table without a row."""
        return Table(self.name, self.title, self.nothing, pd.DataFrame(columns=KEY))

    def _part(self, frame: Rows, rows: Rows, basis: _Basis, lacks: Mapping[str, str]) -> Part:
        fields, lines = self.fields(rows), _lines(self.order(rows), self.beside)
        cells = [[_cell(field, line, basis) for field in fields] for line in lines]
        kept = [
            k
            for k, one in enumerate(fields)
            if not one.optional or any(line[k].text not in EMPTY for line in cells)
        ]
        notes = self.notes(rows) if self.notes else footnotes(rows, self.label)
        shown = set(rows.get("method", ()))
        notes += [
            f"{name}: not the published method whole, {why}."
            for name, why in lacks.items()
            if name in shown
        ]
        return Part(
            self._title(frame, rows.iloc[0]),
            self.caption if isinstance(self.caption, str) else self.caption(rows),
            notes,
            self.left,
            [fields[k].column for k in kept],
            [[line[k] for k in kept] for line in cells],
        )

    def _title(self, frame: pd.DataFrame, first: Row) -> str:
        said = {"title": self.title, **first, "scenario": str(first.get("scenario"))}
        said["scenario"] = said["scenario"].replace("_", " ")
        title = self.heading.format(**said)
        if "experiment" in self.keys:
            names = [name for name in self.keys if name != "experiment"]
            same = (frame[names] == first[names]).all(axis=1)
            if frame.loc[same, "experiment"].nunique() > 1:
                title += f", experiment {first['experiment']}"
        return title + self.tail(first)


def footnotes(rows: pd.DataFrame, label: Callable[[Row], str]) -> list[str]:
    """A line for each note on cells that are not ok, with every row that it holds for."""
    named: dict[tuple, list[str]] = {}
    for row in rows.to_dict("records") if "status_note" in rows else []:
        if row["status_note"]:
            note = ("† " if row["n_ok"] else "", row["status_note"])
            named.setdefault(note, []).append(label(row))
    return [f"{mark}{', '.join(names)}: {note}." for (mark, note), names in named.items()]


@dataclass
class _Basis:
    """Collects the rows of a file that a table's numbers rest on, each once."""

    layout: Layout
    file: File | None
    named: list[list[str]] = field(default_factory=list)
    _known: dict[int, int] = field(default_factory=dict)
    _places: dict[tuple, list[int]] = field(default_factory=dict)

    def of(self, row: Row, column: str) -> list[int]:
        """The places in `named` of what a number rests on."""
        if self.file is None:
            return []
        keys = tuple(key for key, _ in self.layout.rests(self.file, row, column))
        if keys not in self._places:
            rows = dict.fromkeys(place for key in keys for place in self.file.rows(key))
            self._places[keys] = [self._place(row) for row in rows]
        return self._places[keys]

    def _place(self, row: int) -> int:
        if row not in self._known:
            self._known[row] = len(self.named)
            names = self.file.frame[NAMED[self.file.name]].iloc[row]
            self.named.append([str(value) for value in names])
        return self._known[row]


def _lines(rows: pd.DataFrame, beside: str) -> list[dict[str, tuple[int, Row]]]:
    """What each printed row shows: a row of the frame by its part, with its place."""
    records = zip(rows.index, rows.to_dict("records"), strict=True)
    if not beside:
        return [{"": one} for one in records]
    found: dict[str, dict] = {}
    for place, row in records:
        found.setdefault(row["method"], {})[row[beside]] = (place, row)
    return list(found.values())


def _cell(one: Field, line: Mapping[str, tuple[int, Row]], basis: _Basis) -> Cell:
    """A printed cell; – where the line has no such part, of any part if the column names none."""
    column = one.column
    if column.part and column.part not in line:
        return Cell("–")
    place, row = line[column.part] if column.part else next(iter(line.values()))
    if not column.value:
        return Cell(one.show(row), place)
    numbers = [
        number(row[name]) if name else None for name in (column.value, column.spread, column.n)
    ]
    return Cell(one.show(row), place, *numbers, basis.of(row, column.value))
