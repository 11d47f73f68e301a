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
from unlearning.study_files import IDENTITIES, read_studies, read_tidy
from unlearning.study_layouts import LAYOUTS, Row, StudyLayout

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
