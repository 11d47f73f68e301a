"""CSV files as frames of text and numbers: one reader, one set of messages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class Schema:
    """What a CSV file holds.

    columns: those that are read, in this order; none means all that the file has. numbers: those
    that are floats, NaN where empty; the others are text, "" where empty. later: those that older
    files lack, read as empty. key: those that no two rows share. row: what a row is called in the
    message of one that is given twice.
    """

    columns: Sequence[str] = ()
    numbers: Collection[str] = ()
    later: Collection[str] = ()
    key: Sequence[str] = ()
    row: str = "row"


ANY = Schema()
"""Every column as text."""


def read_table(path: str | Path, schema: Schema = ANY) -> pd.DataFrame:
    """Read a CSV file in UTF-8, with or without a byte-order mark.

    Raises FileNotFoundError, and ValueError naming the file for a missing column, a value that is
    no number, and a row that is given twice.
    """
    found = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    found = found.assign(**{name: "" for name in schema.later if name not in found})
    absent = [name for name in schema.columns if name not in found]
    if absent:
        raise ValueError(f"{path}: no column {', '.join(absent)}")
    found = found[list(schema.columns) or list(found)].copy()
    for name in schema.numbers:
        try:
            found[name] = found[name].replace("", "nan").astype(float)
        except ValueError as error:
            raise ValueError(f"{path}: column {name}: {error}") from error
    twice = found[found.duplicated(list(schema.key))] if schema.key else ()
    if len(twice):
        row = ", ".join(f"{name}={text}" for name, text in twice.iloc[0][[*schema.key]].items())
        raise ValueError(f"{path}: a {schema.row} is given twice: {row}")
    return found
