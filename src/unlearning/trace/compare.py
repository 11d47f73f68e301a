"""Compare two runs of one config to the last digit: files as text, not rounded.

Ignores times, memory, machine and code, by their names in ASIDE, NO_SETTING and COSTS, and nothing
else. There is no tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pandas as pd

from unlearning.audit.reported import METRICS
from unlearning.files import canonical_json, read_json, sha256_file
from unlearning.frames import read_table
from unlearning.metrics.names import COSTS
from unlearning.results import runs
from unlearning.results.manifest import LATER

ASIDE = (
    *("seconds", "started", "ended", "machine", "cpu", "software"),
    *("commit", "dirty", "code_sha256", "record_sha256"),
    *("adopted_from", "adopting_code_sha256"),
)
"""Columns that say when, where and by which code; beside them all that begin as one of COSTS."""
NO_SETTING = ("models", "keep")
"""Keys of a config that say where models come from and whether they stay, not what they are."""
NAMING = ("metric", "measure", "quantity")
"""Columns that may say that a whole row is about a cost."""
NAMED = (
    *("claim", "experiment", "scenario", "method", "split", "train_seed", "unlearn_seed"),
    *("model", "metric", "measure", "quantity", "pair", "image"),
)
"""What a row is called in a message, of the columns that it has."""
PATTERNS = ("*.csv", "tables/*.csv", "figures/*.csv")


@dataclass(frozen=True)
class Difference:
    """One place where two runs differ.

    row: its line in the file and what it is of; column: "" for a whole row or file; one, other:
    the text of both, None where there is none.
    """

    file: str
    row: str
    column: str
    one: str | None
    other: str | None

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.file, self.row, self.column) if part)
        sides = ["nothing" if side is None else side or "''" for side in (self.one, self.other)]
        try:
            apart = f" (difference {float(self.other) - float(self.one):.3g})"
        except (TypeError, ValueError):
            apart = ""
        return f"{place}: {sides[0]} and {sides[1]}{apart}"


@dataclass(frozen=True)
class Comparison:
    """What was compared: files below both folders, cells of CSV files, and what differs."""

    files: list[str]
    fields: int
    only: list[str]
    differences: list[Difference]


def compare(one: Path, other: Path, shared: bool = False) -> Comparison:
    """Compare the config, every CSV file and all weights and logits of two runs.

    shared: leave aside what only one of them has, as a committed run has no weights; else that
    is a difference. Raises ValueError if they have no CSV file in common.
    """
    names = [_names(folder) for folder in (one, other)]
    both = [name for name in names[0] if name in names[1]]
    if not any(name.endswith(".csv") for name in both):
        raise ValueError(f"{one} and {other} have no CSV file in common: are they folders of runs?")
    only = sorted(set(names[0]) ^ set(names[1]))
    found, fields = [], 0
    for name in [] if shared else only:
        sides = ["there" if (folder / name).exists() else None for folder in (one, other)]
        found.append(Difference(name, "", "", *sides))
    for name in both:
        if name.endswith(".csv"):
            tables = [read_table(folder / name) for folder in (one, other)]
            found += _rows(name, *tables)
            fields += sum(not aside(column) for column in tables[0]) * len(tables[0])
        else:
            sides = [_content(folder / name) for folder in (one, other)]
            found += [Difference(name, "", "", *sides)] if sides[0] != sides[1] else []
    return Comparison(both, fields, only, found)


def _names(folder: Path) -> list[str]:
    """The files of a run that are compared, below its folder."""
    paths = [path for pattern in PATTERNS for path in folder.glob(pattern)]
    paths += [folder / "config.json", *folder.rglob("*.safetensors")]
    return sorted(str(path.relative_to(folder)) for path in paths if path.is_file())


def _content(path: Path) -> str:
    """The canonical text of a config without NO_SETTING, the SHA-256 of any other file."""
    if path.suffix != ".json":
        return sha256_file(path)
    return canonical_json({k: v for k, v in read_json(path).items() if k not in NO_SETTING})


def aside(column: str) -> bool:
    """Whether a column is about time, memory, machine or code."""
    return column in ASIDE or column.endswith("code_sha256") or column.startswith(COSTS)


def _of_cost(row: dict[str, str]) -> bool:
    """Whether a row is about a cost: in a tidy file its metric says so."""
    named = [row[name] for name in NAMING if name in row]
    known = [METRICS[name].column for name in named if name in METRICS]
    return any(text.startswith(COSTS) for text in (*named, *known))


def _rows(file: str, one: pd.DataFrame, other: pd.DataFrame) -> Iterator[Difference]:
    columns = [name for name in one if name in other and not aside(name)]
    for name in set(one) ^ set(other):
        if not aside(name) and name not in (*LATER, *runs.LATER):
            sides = ["there" if name in table else None for table in (one, other)]
            yield Difference(file, "", name, *sides)
    rows = zip_longest(one.to_dict("records"), other.to_dict("records"))
    for line, (left, right) in enumerate(rows, start=2):
        known = left or right
        names = [known[name] for name in NAMED if known.get(name)]
        row = f"line {line} ({' '.join(names)})"
        if left is None or right is None:
            sides = [None if side is None else "there" for side in (left, right)]
            yield Difference(file, row, "", *sides)
        elif not (_of_cost(left) and _of_cost(right)):
            for name in columns:
                if left[name] != right[name]:
                    yield Difference(file, row, name, left[name], right[name])
