"""From a text of the paper to the numbers that it rests on, and to what made the first of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearning.files import sha256_file
from unlearning.metrics.names import STUDY_TABLES
from unlearning.report.quote import Quotes
from unlearning.report.quotes import quotes, read_tables
from unlearning.tables.layouts import LAYOUTS
from unlearning.trace.numbers import Traced, number, one_of, stands
from unlearning.trace.run import Run


@dataclass(frozen=True)
class Paper:
    """The texts of the paper of a run. known: every table, audit and claims among them."""

    run: Run
    known: Mapping[str, Traced]
    _opened: dict[Path, Any] = field(default_factory=dict)

    @cached_property
    def texts(self) -> Quotes:
        """By name, made again from the run's files; a study that it lacks has none."""
        tables = {name: one.table(self.run) for name, one in self.known.items() if self._has(name)}
        absent = {name: LAYOUTS[name].without() for name in STUDY_TABLES if name not in tables}
        return quotes(self.run.folder, tables | absent)

    @cached_property
    def here(self) -> Quotes | None:
        """As the tables that are here give them; None where there are none as JSON."""
        if not any((self.run.made / "tables").glob("*.json")):
            return None
        return quotes(self.run.folder, read_tables(self.run.made))

    def _has(self, table: str) -> bool:
        file = self.run.folder / f"{LAYOUTS[table].file}.csv" if table in STUDY_TABLES else None
        return file is None or file.is_file()

    def trace(self, name: str) -> dict[str, Any]:
        """What a text is made of, as JSON: its numbers and files, the first number traced, `wrong`.

        Raises NotFound for an unknown name.
        """
        quote = self.texts[one_of(name, self.texts, "text")]
        numbers = [
            stands(self.run, self.known[one.table], one.row, one.column, self._opened)
            for one in quote.numbers
        ]
        whole = None
        if quote.numbers:
            table, row, column = quote.numbers[0]
            whole = number(self.run, self.known[table], row, column, self._opened)
        wrong = [line for one in ([whole] if whole else []) + numbers[1:] for line in one["wrong"]]
        there = self.here and self.here.get(name)
        if self.here is not None and (there is None or there.text != quote.text):
            said = repr(there.text) if there else "nothing"
            where = f"{self.run.made}: its tables"
            wrong.append(f"{where} give {said}, the run's files {quote.text!r}")
        return {
            "run": self.run.folder.as_posix(),
            "quote": name,
            "text": quote.text,
            "files": [_file(self.run, file) for file in quote.files],
            "numbers": numbers,
            "first": whole,
            "wrong": list(dict.fromkeys(wrong)),
        }


def _file(run: Run, name: str) -> dict[str, str]:
    """A file of facts, of the run or else of the project, with its hash."""
    path = run.folder / name if (run.folder / name).is_file() else Path(name)
    return {"file": path.as_posix(), "sha256": sha256_file(path)}
