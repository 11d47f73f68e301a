"""The studies' CSV files, typed: studies.csv as runs.csv is, and the tidy files of findings."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from unlearning.results.runs import CELL, GROUP, read_runs

KEY = [*GROUP, "scenario"]
CELLS = CELL[:2]

IDENTITIES = {
    "features": [*KEY, *CELLS, "model", "layer", "measure", "part", "percentile"],
    "attributions": [*KEY, *CELLS, "image", "output", "pair"],
    "shortcut": [*GROUP, "train_seed", "method", "source", "label", "measure"],
}
"""What names a row of each tidy CSV."""
VALUES = {"features": "value", "attributions": "correlation", "shortcut": "value"}
"""The column with its measurement."""


def read_studies(path: str | Path) -> pd.DataFrame:
    """Read studies.csv as `runs.read_runs` does, with `study` and `classes_removed`.

    classes_removed: how many, NaN in homogeneous removal. Raises ValueError, naming the file, for
    a missing column and for a row of multiple_classes that does not say how many.
    """
    runs = read_runs(path)
    beside = _text(path, ["study", "classes_removed"])
    runs = runs.assign(study=beside["study"])
    runs["classes_removed"] = _numbers(path, beside["classes_removed"])
    unknown = (runs["study"] == "multiple_classes") & runs["classes_removed"].isna()
    if unknown.any():
        split = runs.loc[unknown, "split"].iloc[0]
        raise ValueError(f"{path}: classes_removed is empty for {split} of multiple_classes")
    return runs


def read_tidy(path: str | Path, kind: str) -> pd.DataFrame:
    """Read features.csv, attributions.csv or shortcut.csv (`kind`): text, and one float column.

    Raises ValueError, naming the file, for a missing column, a value that is no number, and a
    row that is given twice.
    """
    identity, value = IDENTITIES[kind], VALUES[kind]
    found = _text(path, [*identity, value])
    found[value] = _numbers(path, found[value])
    twice = found[found.duplicated(identity)]
    if len(twice):
        row = ", ".join(f"{name}={text}" for name, text in twice.iloc[0][identity].items())
        raise ValueError(f"{path}: a row is given twice: {row}")
    return found


def _text(path: str | Path, columns: list[str]) -> pd.DataFrame:
    found = pd.read_csv(path, dtype=str, keep_default_na=False)
    absent = [name for name in columns if name not in found]
    if absent:
        raise ValueError(f"{path}: no column {', '.join(absent)}")
    return found[columns].copy()


def _numbers(path: str | Path, column: pd.Series) -> pd.Series:
    try:
        return column.replace("", "nan").astype(float)
    except ValueError as error:
        raise ValueError(f"{path}: column {column.name}: {error}") from error
