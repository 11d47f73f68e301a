"""The other CSV files of a run, typed: studies.csv as runs.csv is, findings, ensembles."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from unlearning.frames import Schema, read_table
from unlearning.metrics.names import ENSEMBLES
from unlearning.results.keys import CELLS, GROUP, KEY
from unlearning.results.runs import read_runs

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
    beside = read_table(path, Schema(["study", "classes_removed"], numbers=["classes_removed"]))
    runs = runs.assign(**beside)
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
    return read_table(path, Schema([*identity, value], numbers=[value], key=identity))


def read_ensembles(path: str | Path) -> pd.DataFrame:
    """Read ensembles.csv: text, measurements as floats. Raises ValueError as `read_tidy` does."""
    numbers = ["models", *ENSEMBLES]
    return read_table(path, Schema([*KEY, "split", "method", *numbers], numbers=numbers))


def read_file(path: str | Path, name: str) -> pd.DataFrame:
    """A file of a run, typed; ValueError, naming it, if it is not as it should be.

    name: runs, ensembles, studies, features, attributions or shortcut.
    """
    if name in IDENTITIES:
        return read_tidy(path, name)
    return {"runs": read_runs, "ensembles": read_ensembles, "studies": read_studies}[name](path)
