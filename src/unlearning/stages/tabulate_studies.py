"""tabulate_studies: the studies' tidy CSVs to tables, as CSV, Markdown, LaTeX and HTML."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from unlearning import study_tables
from unlearning.metrics.names import STUDY_TABLES as NAMES
from unlearning.render import Section
from unlearning.stages.tabulate import write
from unlearning.study_layouts import LAYOUTS, Row, StudyLayout
from unlearning.study_tables import CELLS, KEY
from unlearning.tables import GROUP, read_runs

IDENTITIES = {
    "features": [*KEY, *CELLS, "model", "layer", "measure", "part", "percentile"],
    "attributions": [*KEY, *CELLS, "image", "output", "pair"],
    "shortcut": [*GROUP, "train_seed", "method", "source", "label", "measure"],
}
"""What names a row of each tidy CSV."""
VALUES = {"features": "value", "attributions": "correlation", "shortcut": "value"}
"""The column with its measurement."""
TABLES = {
    "feature_space": (study_tables.feature_space_table, "features"),
    "attributions": (study_tables.attributions_table, "attributions"),
    "shortcut": (study_tables.shortcut_table, "shortcut"),
    "multiple_classes": (study_tables.multiple_classes_table, "studies"),
    "ablation": (study_tables.ablation_table, "studies"),
    "architectures": (study_tables.architectures_table, "studies"),
}
"""Each table's frame, and the file that it is made from."""

LABEL = {"source": "source class {}", "label": "labelled class {}", "layer": "{} layer"}
"""How a section's title says what it is of."""


def read_studies(path: str | Path) -> pd.DataFrame:
    """Read studies.csv as `tables.read_runs` does, with `study` and `classes_removed`.

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


def sections(table: pd.DataFrame, layout: StudyLayout) -> list[Section]:
    """The printed tables of a frame of `study_tables`."""
    names = [key for key in layout.keys if key != "experiment"]
    found = []
    for _, rows in table.groupby(list(layout.keys), sort=False):
        first = rows.iloc[0]
        parts = [_said(name, first[name]) for name in names]
        same = (table[names] == first[names]).all(axis=1)
        if "experiment" in layout.keys and table.loc[same, "experiment"].nunique() > 1:
            parts.append(f"experiment {first['experiment']}")
        shown = layout.columns(rows)
        cells = [{h: show(row) for h, show in shown.items()} for row in rows.to_dict("records")]
        title = f"{layout.title}: {', '.join(parts)}"
        notes = _footnotes(rows, layout.label)
        found.append(Section(title, layout.caption, pd.DataFrame(cells), notes, layout.left))
    return found


def _said(name: str, value: str) -> str:
    if name == "scenario":
        return value.replace("_", " ")
    return LABEL.get(name, "{}").format(value)


def _footnotes(rows: pd.DataFrame, label: Callable[[Row], str]) -> list[str]:
    """A line for each note on cells that are not ok, with every row that it holds for."""
    named: dict[tuple, list[str]] = {}
    for row in rows.to_dict("records"):
        if row.get("status_note"):
            note = ("† " if row["n_ok"] else "", row["status_note"])
            named.setdefault(note, []).append(label(row))
    return [f"{mark}{', '.join(names)}: {note}." for (mark, note), names in named.items()]


def main(argv: list[str]) -> None:
    """Write the tables NAMES of the studies of one run into a folder."""
    parser = argparse.ArgumentParser(prog="unlearning tabulate_studies", description=__doc__)
    parser.add_argument("--studies", required=True, help="studies.csv, one row a cell")
    for kind in IDENTITIES:
        parser.add_argument(f"--{kind}", required=True, help=f"{kind}.csv")
    parser.add_argument("--out", required=True, help="folder for the tables")
    options = vars(parser.parse_args(argv))
    files = {kind: read_tidy(options[kind], kind) for kind in IDENTITIES}
    files["studies"] = read_studies(options["studies"])
    for name in NAMES:
        frame_of, source = TABLES[name]
        table, layout = frame_of(files[source]), LAYOUTS[name]
        found = sections(table, layout)
        write(Path(options["out"]) / name, table, found, layout.title, layout.nothing)
